/* SPDX-License-Identifier: Apache-2.0
 * Any bytes, cut where the first byte says: the same messages as in one piece. */
#include "halves.h"
#include "wire/connect.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static int
keep(void *user, csn_str message, bool is_last)
{
  csn_buf *out = user;
  csn_buf_add(out, message);
  csn_buf_addc(out, is_last ? '.' : '\n');
  return 0;
}

static int
feed(csn_str first, csn_str second, csn_buf *out)
{
  csn_connect c;
  csn_err err;
  csn_connect_init(&c, 4096, keep, out);
  int rc = csn_connect_feed(&c, first, &err);
  if (rc >= 0)
    rc = csn_connect_feed(&c, second, &err);
  csn_connect_fini(&c);
  return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  if (n == 0)
    return 0;
  expect_same(feed, csn_strn((const char *)p + 1, n - 1), p[0]);
  return 0;
}
