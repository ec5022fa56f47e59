/* SPDX-License-Identifier: Apache-2.0
 *
 * exchange.h - requests whose replies are kept whole, head and body.
 */
#ifndef CSN_WIRE_EXCHANGE_H
#define CSN_WIRE_EXCHANGE_H

#include "wire/http_wait.h"

/* Of one thread, one after another; it must not move.  What the last reply left
 * is valid until the next is performed. */
typedef struct csn_exchange {
  csn_http *http;
  csn_http_reply reply; /* its head, for csn_http_reply_header() */
  int status;           /* 0: there was no reply */
  csn_buf body;         /* up to its cap */
  bool is_cut;          /* there was more; the call was ended there */
} csn_exchange;

void csn_exchange_init(csn_exchange *x, csn_http *http, size_t body_max);
void csn_exchange_fini(csn_exchange *x);
/* Sends it and waits for the end of the reply, whatever its status. */
int csn_exchange_perform(csn_exchange *x, const csn_http_req *req, csn_scope *sc,
                         csn_err *err) CSN_MUST;
static inline void
csn_exchange_finip(csn_exchange *x)
{
  csn_exchange_fini(x);
}

#endif
