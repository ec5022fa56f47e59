/* SPDX-License-Identifier: Apache-2.0
 *
 * http_wait.h - a request whose caller waits for the reply, and where a
 * redirect leads.
 */
#ifndef CSN_WIRE_HTTP_WAIT_H
#define CSN_WIRE_HTTP_WAIT_H

#include "wire/http.h"

enum { CSN_URL_MAX = 8192 };

/* What comes back.  `body` gets its bytes in the loop's thread and must not
 * block for long; a negative result ends the reply with that code. */
typedef struct csn_http_reply {
  int status;
  csn_buf type, location; /* of the head */
  csn_buf head;           /* all of it: lines "name: value", names in lower case */
  int (*body)(void *user, csn_str bytes);
  void *user;
} csn_http_reply;

void csn_http_reply_init(csn_http_reply *r, int (*body)(void *user, csn_str bytes), void *user);
void csn_http_reply_fini(csn_http_reply *r);

/* Sends it and waits for the end of the reply, whatever its status; when the
 * scope ends, the reply is cut.  What an earlier one left in *r is dropped.
 * Several threads may call at once. */
int csn_http_wait(csn_http *h, const csn_http_req *req, csn_scope *sc, csn_http_reply *r,
                  csn_err *err) CSN_MUST;
/* The first header of that name, in lower case; empty when there is none. */
csn_str csn_http_reply_header(const csn_http_reply *r, const char *name);
/* Whether the reply is a redirect that says where to. */
bool csn_http_reply_leads_on(const csn_http_reply *r);

/* Unix time of "2006-01-02T15:04:05..." or of a head's date, both in UTC; 0: it is none. */
int64_t csn_http_time_ms(csn_str text);

/* "https://host" of an address. */
csn_str csn_url_origin(csn_str url);
/* Where a redirect from `url` leads; CSN_E_UNSUPPORTED for what is no http. */
int csn_url_next(csn_str url, csn_str location, csn_buf *out, csn_err *err) CSN_MUST;

#endif
