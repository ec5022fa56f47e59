/* SPDX-License-Identifier: Apache-2.0
 *
 * http.h - the HTTP client.  The implementation (libcurl on the loop) is the
 * module caisson-net.so, opened at the first request; programs that never
 * make one never load it.
 *
 * All callbacks of a request run in the loop's thread and must not block.
 * `done` is called exactly once, last; nothing is called after it.
 */
#ifndef CSN_WIRE_HTTP_H
#define CSN_WIRE_HTTP_H

#include "base/loop.h"
#include "caisson/mem.h"

typedef struct csn_http csn_http;
typedef struct csn_http_call csn_http_call;

typedef struct csn_header {
  csn_str name, value;
} csn_header;

typedef struct csn_http_req {
  const char *method; /* "POST" */
  csn_str url;        /* http or https */
  csn_header headers[24];
  size_t n_headers;
  csn_str body;       /* not copied: must live until done */
  int64_t timeout_ms; /* whole call; <= 0: none */
  int64_t idle_ms;    /* without a byte from the peer, connecting included; <= 0: none */
  bool is_last;       /* the caller returns after this: see csn_loop_post_last() */
  /* Connects to public addresses of the internet only, whatever a name leads to,
   * and to those of `allowed` ("ADDRESS:PORT", NULL at the end; may be NULL; must
   * live until done); over a connection of its own and no proxy.  Else: CSN_E_DENIED. */
  bool is_guarded;
  const char *const *allowed;
  /* Over a WebSocket, kept for later calls with the same address and headers: the
   * body is one text message, and each that comes back is given to the sink as an
   * event of an event stream, until body() returns CSN_HTTP_ENOUGH.  A server that
   * speaks none: CSN_E_UNSUPPORTED. */
  bool is_ws;
} csn_http_req;

enum { CSN_HTTP_ENOUGH = 1, CSN_HTTP_LATER = 2 };

typedef struct csn_http_sink {
  /* Head of the final response.  Header names are lower case. */
  void (*head)(void *user, int status, const csn_header *headers, size_t n);
  /* Body bytes, decoded.  A negative return ends the call with that code.
   * CSN_HTTP_LATER: not now; nothing more is read, and these bytes are given
   * again, after csn_http_resume().  (Not over a WebSocket.) */
  int (*body)(void *user, csn_str bytes);
  /* err is NULL on success (any HTTP status); else CSN_E_UNAVAILABLE for
   * network failures, CSN_E_DENIED for a certificate that does not verify,
   * CSN_E_TIMEOUT, CSN_E_CANCELLED, CSN_E_LIMIT for a head over 64 KiB or 100
   * headers, or body's code. */
  void (*done)(void *user, const csn_err *err);
} csn_http_sink;

/* Cheap; opens nothing yet. */
csn_http *csn_http_new(csn_loop *loop);
/* Opens the module in the loop's thread now, so that the first request finds
 * it loaded.  What goes wrong is reported by csn_http_start(). */
void csn_http_warm(csn_http *h);
/* Cancels what runs, waits for each done.  Not from the loop's thread. */
void csn_http_free(csn_http *h);
/* Any thread.  Everything in *req but the body is copied; sink is copied.
 * Errors (module missing, bad URL, a line break in a header) are returned and
 * `done` is not called.  `*out` is set before any callback runs.  Redirects
 * are not followed; a proxy is taken from http_proxy, https_proxy, no_proxy. */
int csn_http_start(csn_http *h, const csn_http_req *req, const csn_http_sink *sink, void *user,
                   csn_http_call **out, csn_err *err) CSN_MUST;
/* Any thread, as long as `done` was not called: asks it to end with
 * CSN_E_CANCELLED.  Callers that race with `done` hold the lock that their
 * `done` takes. */
void csn_http_cancel(csn_http *h, csn_http_call *c);
/* The same way: goes on with a body that was put off with CSN_HTTP_LATER. */
void csn_http_resume(csn_http *h, csn_http_call *c);

/* As a part of an address: all but letters, digits and "-_.~" percent-encoded. */
void csn_url_add(csn_buf *to, csn_str s);

#endif
