/* SPDX-License-Identifier: Apache-2.0
 * fuzz_open.c - packets to the spawner: the first byte is how many descriptors
 * came along, the rest is the packet.  What csn_open_check() takes names a
 * folder in which nothing leads upward. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "jail/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  csn_jail_open *open = calloc(1, sizeof *open);
  if (!open)
    abort();
  if (n > 0) {
    size_t room = n - 1 < sizeof *open ? n - 1 : sizeof *open;
    memcpy(open, p + 1, room);
    if (csn_open_check(open, n - 1, p[0])) {
      assert(n - 1 == sizeof *open &&
             p[0] <= CSN_JAIL_GIVEN - CSN_JAIL_CONTROL + CSN_JAIL_LAYERS_MAX);
      assert(open->root[0] == '/' && memchr(open->root, '\0', sizeof open->root));
      assert(!strstr(open->root, "//") && !strstr(open->root, "/../") &&
             !strstr(open->root, "/./"));
    }
  }
  free(open);
  return 0;
}
