/* SPDX-License-Identifier: Apache-2.0
 * Any bytes, cut where the first byte says: the same events as in one piece. */
#include "halves.h"
#include "wire/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static int
keep(void *user, csn_str event, csn_str data)
{
  csn_buf *out = user;
  csn_buf_add(out, event);
  csn_buf_addc(out, '\n');
  csn_buf_add(out, data);
  csn_buf_addc(out, '\f');
  return 0;
}

static int
feed(csn_str first, csn_str second, csn_buf *out)
{
  csn_sse s;
  csn_err err;
  csn_sse_init(&s, 4096, keep, out);
  int rc = csn_sse_feed(&s, first, &err);
  if (rc >= 0)
    rc = csn_sse_feed(&s, second, &err);
  csn_sse_fini(&s);
  return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  if (n == 0)
    return 0;
  csn_str in = {(const char *)p + 1, n - 1};
  expect_same(feed, in, p[0]);
  return 0;
}
