/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a pack of the store: it opens, and whatever is given out of it
 * has the digest that it was asked for by. */
#include <assert.h>
#include <fcntl.h>

#include "core/fd.h"
#include "store/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void
bad(void *user, const char *pack, const csn_digest *d)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 20);
  csn_packs *packs = user;
  assert(csn_packs_has(packs, d));
  assert(csn_packs_get(packs, NULL, d, &out, NULL) < 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  static const char name[] = "aaaaaaaaaaaaaaaaaaaaaaaa.pack";
  char path[] = "/tmp/caisson-fuzz-XXXXXX";
  csn_auto(csn_packs_freep) csn_packs *packs = NULL;
  csn_auto(csn_closep) int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_auto(csn_closep) int dir = mkdtemp(path) ? openat(tmp, path + 5, O_RDONLY | O_CLOEXEC) : -1;
  assert(dir >= 0);
  assert(csn_file_write(dir, name, csn_strn((const char *)p, n), 0600, false, NULL) == 0);
  assert(csn_packs_open(&packs, dir, NULL, NULL) == 0);
  assert(csn_packs_verify(packs, NULL, bad, packs, NULL) >= 0);
  assert(csn_remove_tree(tmp, path + 5, NULL) == 0);
  return 0;
}
