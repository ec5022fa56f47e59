/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a WebSocket's, cut where the first byte says: the same messages
 * as in one piece. */
#include <assert.h>

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
feed(csn_str in, size_t cut, csn_buf *out)
{
  csn_ws w;
  csn_err err;
  csn_ws_init(&w, 4096, keep, out);
  int rc = csn_ws_feed(&w, csn_strn(in.p, cut), &err);
  if (rc >= 0)
    rc = csn_ws_feed(&w, csn_strn(in.p + cut, in.n - cut), &err);
  csn_ws_fini(&w);
  return rc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
  if (n == 0)
    return 0;
  csn_str in = {(const char *)p + 1, n - 1};
  csn_auto(csn_buf_finip) csn_buf whole = CSN_BUF(64u << 20), cut = CSN_BUF(64u << 20);
  int a = feed(in, 0, &whole), b = feed(in, in.n ? p[0] % in.n : 0, &cut);
  assert(a == b);
  assert(csn_str_eq(csn_buf_str(&whole), csn_buf_str(&cut)));
  return 0;
}
