/* SPDX-License-Identifier: Apache-2.0
 * fuzz_exec.c - the body of a warden's EXEC; csn_words_split() must keep to its
 * bytes and to its list, and what it takes is whole. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "jail/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  char *body = malloc(n + 1), **list = malloc(CSN_JAIL_STRINGS_MAX * sizeof *list);
  struct csn_words w = {0};
  if (!body || !list)
    abort();
  memcpy(body, p, n);
  char *exact = realloc(body, n ? n : 1); /* a byte too far is seen */
  if (exact && csn_words_split(exact, n, list, &w)) {
    size_t args = 0, variables = 0, bytes = sizeof w.head + strlen(w.cwd) + 1;
    for (; w.argv[args]; args++)
      bytes += strlen(w.argv[args]) + 1;
    for (; w.envp[variables]; variables++)
      bytes += strlen(w.envp[variables]) + 1;
    size_t reads = 0, writes = 0;
    for (; w.scope.reads && w.scope.reads[reads]; reads++)
      bytes += strlen(w.scope.reads[reads]) + 1;
    for (; w.scope.writes && w.scope.writes[writes]; writes++)
      bytes += strlen(w.scope.writes[writes]) + 1;
    assert(reads == w.head.reads && writes == w.head.writes);
    assert(args == w.head.args && variables == w.head.variables && args > 0);
    assert(bytes == n && csn_words_fds(w.head.flags) <= CSN_JAIL_EXEC_FDS);
  }
  free(exact);
  free(list);
  return 0;
}
