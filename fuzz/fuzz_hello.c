/* SPDX-License-Identifier: Apache-2.0
 * Any bytes, cut where the first byte says: the same hello as in one piece. */
#include <assert.h>

#include "wire/hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static int
feed(csn_hello *h, csn_str in, size_t cut)
{
  csn_err err;
  csn_hello_init(h);
  int rc = csn_hello_feed(h, csn_strn(in.p, cut), &err);
  return rc ? rc : csn_hello_feed(h, csn_strn(in.p + cut, in.n - cut), &err);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  if (n == 0)
    return 0;
  csn_str in = {(const char *)p + 1, n - 1};
  csn_hello whole, cut;
  int a = feed(&whole, in, 0), b = feed(&cut, in, in.n ? p[0] % in.n : 0);
  assert(a == b);
  assert(a != 1 || (strcmp(whole.name, cut.name) == 0 && whole.ech == cut.ech &&
                    csn_str_eq(whole.alpn, cut.alpn)));
  assert(strlen(whole.name) < sizeof whole.name);
  assert(csn_hello_offers(&whole, CSN_STR("h2")) == csn_hello_offers(&cut, CSN_STR("h2")) || a < 0);
  csn_hello_fini(&whole);
  csn_hello_fini(&cut);
  return 0;
}
