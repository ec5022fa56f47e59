/* SPDX-License-Identifier: Apache-2.0
 *
 * link.h - one HTTP/1.1 connection to a server that is reached plainly, over a unix
 * socket or over TLS with a certificate of ours: blocking calls under a scope,
 * and a connection that stops being HTTP (101) goes on as a stream of bytes.
 *
 * For servers of this machine and its neighbours (a container engine).  What
 * is far away goes through http.h, which shares connections, proxies and TLS.
 */
#ifndef CSN_WIRE_LINK_H
#define CSN_WIRE_LINK_H

#include "caisson/scope.h"
#include "wire/http1.h"
#include "wire/tls_pipe.h"

/* Where to: a unix socket's path, or a host with its port. */
typedef struct csn_link_place {
  const char *path; /* NULL: host */
  const char *host; /* a name or an address */
  uint16_t port;
  const csn_tls_who *who; /* of a host: over TLS, as these; NULL: plainly */
} csn_link_place;

typedef struct csn_link csn_link;

/* CSN_E_UNAVAILABLE when nobody listens there. */
int csn_link_open(csn_link **out, csn_scope *sc, const csn_link_place *to, csn_err *err) CSN_MUST;
void csn_link_close(csn_link *l);
static inline void
csn_link_closep(csn_link **l)
{
  csn_link_close(*l);
}

/* Sends a request.  fields: further lines, each with its CRLF.  body.p NULL:
 * none; *is_chunked says that the body follows by csn_link_send(). */
typedef struct csn_link_request {
  const char *method, *target;
  csn_str fields, body;
  bool is_chunked;
} csn_link_request;
int csn_link_ask(csn_link *l, csn_scope *sc, const csn_link_request *r, csn_err *err) CSN_MUST;
/* A piece of a body that was announced; no bytes end it. */
int csn_link_send(csn_link *l, csn_scope *sc, csn_str bytes, csn_err *err) CSN_MUST;
/* The answer's head, which is the link's until the next; its status. */
int csn_link_head(csn_link *l, csn_scope *sc, const csn_http1_head **head, csn_err *err) CSN_MUST;
/* Bytes of the body, or of what follows a 101: their number (at most `max` are
 * added), 0 at the end.  A body needs room for CSN_LINK_PIECE. */
enum { CSN_LINK_PIECE = 64 << 10 };
int csn_link_read(csn_link *l, csn_scope *sc, csn_buf *out, size_t max, csn_err *err) CSN_MUST;
/* The same without waiting: CSN_E_TIMEOUT when there is nothing yet. */
int csn_link_read_now(csn_link *l, csn_buf *out, size_t max, csn_err *err) CSN_MUST;
/* The answer was read to its end and another request may follow. */
bool csn_link_is_reusable(const csn_link *l);

/* ---- a stream, after its head ---- */

int csn_link_fd(const csn_link *l);
/* All bytes; CSN_E_IO with EPIPE when nobody takes them any more. */
int csn_link_write(csn_link *l, csn_scope *sc, csn_str bytes, csn_err *err) CSN_MUST;
/* No more will be written. */
void csn_link_shut(csn_link *l);
/* Nothing goes either way any more: threads that wait in it return. */
void csn_link_abort(csn_link *l);

#endif
