/* SPDX-License-Identifier: Apache-2.0
 *
 * sse.h - server-sent events (WHATWG HTML, "event stream interpretation"):
 * feed bytes however they are cut, get the same events.
 */
#ifndef CSN_WIRE_SSE_H
#define CSN_WIRE_SSE_H

#include "caisson/mem.h"

typedef struct csn_sse {
  csn_buf line, data, event; /* made by init with their caps */
  bool skip_lf, bom_done;
  /* event is empty when the stream gave no name.  A negative return ends the
   * feed with that code; what went wrong is the callback's to remember. */
  int (*on_event)(void *user, csn_str event, csn_str data);
  void *user;
} csn_sse;

/* max_bytes caps the data of one event (and so each of its lines). */
void csn_sse_init(csn_sse *s, size_t max_bytes,
                  int (*on_event)(void *user, csn_str event, csn_str data), void *user);
/* CSN_E_LIMIT past a cap, or what on_event returned.  An event without its
 * blank line at the end of the stream is not an event. */
int csn_sse_feed(csn_sse *s, csn_str bytes, csn_err *err) CSN_MUST;
void csn_sse_fini(csn_sse *s);

#endif
