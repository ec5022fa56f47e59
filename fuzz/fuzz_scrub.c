/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a response, cut where the first two say: as in one piece, of the
 * same length, and without the secrets, which overlap in every way. */
#include <assert.h>

#include "egress/secret.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static const csn_secret secrets[] = {
    {.name = CSN_STR_INIT("A"), .value = CSN_STR_INIT("aaaaaaaa")},
    {.name = CSN_STR_INIT("B"), .value = CSN_STR_INIT("aaaaaaaab")},
    {.name = CSN_STR_INIT("C"), .value = CSN_STR_INIT("abababab")},
    {.name = CSN_STR_INIT("D"), .value = CSN_STR_INIT("b\"/+%aaa")},
};

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  if (n < 2)
    return 0;
  csn_config c = {.secrets = secrets, .n_secrets = CSN_COUNT(secrets)};
  csn_auto(csn_scrubber_freep) csn_scrubber *s = csn_scrubber_new(&c);
  csn_str in = {(const char *)p + 2, n - 2};
  size_t at = in.n ? p[0] % (in.n + 1) : 0, next = at + (in.n > at ? p[1] % (in.n - at + 1) : 0);
  csn_auto(csn_buf_finip) csn_buf whole = CSN_BUF(64u << 20), cut = CSN_BUF(64u << 20);
  csn_scrub_tail t = {0};
  csn_scrub(s, &t, in, true, &whole);
  csn_scrub(s, &t, csn_strn(in.p, at), false, &cut);
  csn_scrub(s, &t, csn_strn(in.p + at, next - at), false, &cut);
  csn_scrub(s, &t, csn_strn(in.p + next, in.n - next), true, &cut);
  csn_scrub_tail_fini(&t);
  assert(whole.n == in.n);
  assert(csn_str_eq(csn_buf_str(&whole), csn_buf_str(&cut)));
  for (size_t i = 0; i < CSN_COUNT(secrets); i++)
    assert(csn_str_find(csn_buf_str(&whole), secrets[i].value, 0) == SIZE_MAX);
  return 0;
}
