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
  csn_header headers[16];
  size_t n_headers;
  csn_str body;       /* copied? no: must live until done */
  int64_t timeout_ms; /* whole call; <= 0: none */
  int64_t idle_ms;    /* without a byte from the peer; <= 0: none */
} csn_http_req;

typedef struct csn_http_sink {
  /* Head of the final response.  Header names are lower case. */
  void (*head)(void *user, int status, const csn_header *headers, size_t n);
  /* Body bytes, decoded.  A negative return ends the call with that code. */
  int (*body)(void *user, csn_str bytes);
  /* err is NULL on success (any HTTP status); else CSN_E_UNAVAILABLE for
   * network failures, CSN_E_TIMEOUT, CSN_E_CANCELLED, or body's code. */
  void (*done)(void *user, const csn_err *err);
} csn_http_sink;

/* Cheap; opens nothing yet. */
csn_http *csn_http_new(csn_loop *loop);
/* Cancels what runs, waits for each done. */
void csn_http_free(csn_http *h);
/* Any thread.  Everything in *req but the body is copied; sink is copied.
 * Errors (module missing, bad URL) are returned and `done` is not called. */
int csn_http_start(csn_http *h, const csn_http_req *req, const csn_http_sink *sink, void *user,
                   csn_http_call **out, csn_err *err) CSN_MUST;
/* Any thread, until `done` was called: asks it to end with CSN_E_CANCELLED. */
void csn_http_cancel(csn_http *h, csn_http_call *c);

#endif
