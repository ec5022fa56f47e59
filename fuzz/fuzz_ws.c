/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a WebSocket's, cut where the first byte says: the same messages
 * as in one piece. */
#include "halves.h"
#include "wire/ws.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static int
keep(void *user, enum csn_ws_op op, csn_str data)
{
  csn_buf_addc(user, (char)op);
  csn_buf_add(user, data);
  csn_buf_addc(user, '\f');
  return 0;
}

static int
feed(csn_str first, csn_str second, csn_buf *out)
{
  csn_ws w;
  csn_err err;
  csn_ws_init(&w, 4096, keep, out);
  int rc = csn_ws_feed(&w, first, &err);
  if (rc >= 0)
    rc = csn_ws_feed(&w, second, &err);
  csn_ws_fini(&w);
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
