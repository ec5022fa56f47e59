/* SPDX-License-Identifier: Apache-2.0
 *
 * reply.h - what the codecs share about replies: telling JSON from an event
 * stream, gathering output items, and turning a provider's error, in the many
 * shapes that exist, into a csn_err.
 */
#ifndef CSN_MODEL_REPLY_H
#define CSN_MODEL_REPLY_H

#include "caisson/model.h"
#include "wire/http.h"
#include "wire/sse.h"

/* Picks from an HTTP head (lower-case names) what decoders want. */
void csn_reply_head_read(csn_reply_head *out, int status, const csn_header *headers, size_t n);

typedef struct csn_reply csn_reply;

/* One event of a stream, or (with an empty name) the whole of a JSON reply.
 * v dies when it returns. */
typedef int csn_reply_fn(csn_reply *r, csn_str event, const csn_json *v, csn_err *err);

/* First member of a codec's decoder. */
struct csn_reply {
  csn_arena *arena; /* the caller's: what lives as long as the reply */
  const csn_model_request *rq;
  csn_delta_fn *fn;
  void *user;
  csn_reply_fn *on_event;
  csn_reply_head head;
  enum { CSN_FORM_UNKNOWN, CSN_FORM_JSON, CSN_FORM_EVENTS, CSN_FORM_ERROR } form;
  csn_sse sse;
  csn_buf body;       /* a JSON reply, or the head of an error's body */
  csn_arena *scratch; /* one event */
  csn_err *err;       /* of the feed that runs */
  int fault;          /* what ended the stream; later feeds return it again */
  csn_err fault_err;
  size_t room;
  csn_model_reply out;
  bool is_done;       /* the terminal event, or the whole JSON reply, was seen */
  bool saw_done_mark; /* "[DONE]" */
};

/* The head is copied into the arena; everything else is borrowed. */
void csn_reply_init(csn_reply *r, csn_arena *arena, const csn_reply_head *head,
                    const csn_model_request *rq, csn_delta_fn *fn, void *user,
                    csn_reply_fn *on_event);
void csn_reply_fini(csn_reply *r);
int csn_reply_feed(csn_reply *r, csn_str bytes, csn_err *err) CSN_MUST;
/* After the last byte: parses a JSON reply and reports an HTTP error.  Then
 * the codec checks is_done. */
int csn_reply_end(csn_reply *r, csn_err *err) CSN_MUST;
/* CSN_E_UNAVAILABLE: the stream ended before its terminal event. */
int csn_reply_cut(csn_reply *r, csn_err *err);

void csn_reply_delta(csn_reply *r, enum csn_delta_kind kind, csn_str text);
/* Copies a serialised item to the end of the list; empty text means that an
 * arena reached its limit. */
int csn_reply_add(csn_reply *r, csn_str item, csn_err *err) CSN_MUST;

/* From an error object ({"message","code","type"}, a string, or null) that came
 * with a good HTTP status.  Always negative. */
int csn_reply_fail(csn_reply *r, const csn_json *error, const char *otherwise, csn_err *err);

#endif
