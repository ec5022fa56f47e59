/* SPDX-License-Identifier: Apache-2.0
 * exchange.c - see exchange.h. */
#include "wire/exchange.h"

static int
on_body(void *user, csn_str bytes)
{
  csn_exchange *x = user;
  size_t room = x->body.cap - x->body.n;
  x->is_cut = bytes.n > room;
  csn_buf_add(&x->body, x->is_cut ? csn_strn(bytes.p, room) : bytes);
  return x->is_cut ? CSN_E_LIMIT : 0;
}

void
csn_exchange_init(csn_exchange *x, csn_http *http, size_t body_max)
{
  *x = (csn_exchange){.http = http, .body = CSN_BUF(body_max)};
  csn_http_reply_init(&x->reply, on_body, x);
}

void
csn_exchange_fini(csn_exchange *x)
{
  csn_http_reply_fini(&x->reply);
  csn_buf_fini(&x->body);
}

int
csn_exchange_perform(csn_exchange *x, const csn_http_req *req, csn_scope *sc, csn_err *err)
{
  x->is_cut = false;
  csn_buf_clear(&x->body);
  int rc = csn_http_wait(x->http, req, sc, &x->reply, err);
  x->status = x->reply.status;
  return rc == CSN_E_LIMIT && x->is_cut ? 0 : rc;
}
