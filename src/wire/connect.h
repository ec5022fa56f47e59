/* SPDX-License-Identifier: Apache-2.0
 *
 * connect.h - the Connect protocol for RPC over plain HTTP, with JSON messages:
 * the envelopes that streams are made of, and its errors.
 *
 * A message of a stream is a flag byte, its length as 32 bits (big-endian) and
 * its bytes.  The last one, marked by a flag, holds an object: empty, or with
 * the error that the stream ended with.  Feed bytes however they are cut, get
 * the same messages.
 */
#ifndef CSN_WIRE_CONNECT_H
#define CSN_WIRE_CONNECT_H

#include "caisson/json.h"

typedef struct csn_connect {
  unsigned char head[5];
  size_t n_head;
  uint32_t left; /* bytes of the message that are still to come */
  csn_buf message;
  bool is_over; /* the last message was given */
  /* is_last: what follows is not read.  A negative return ends the feed with
   * that code; what went wrong is the callback's to remember. */
  int (*on_message)(void *user, csn_str message, bool is_last);
  void *user;
} csn_connect;

/* max_bytes caps one message. */
void csn_connect_init(csn_connect *c, size_t max_bytes,
                      int (*on_message)(void *user, csn_str message, bool is_last), void *user);
/* CSN_E_LIMIT past the cap, CSN_E_PARSE for a compressed message or an unknown
 * flag (neither was asked for) and for bytes after the last one; or what
 * on_message returned. */
int csn_connect_feed(csn_connect *c, csn_str bytes, csn_err *err) CSN_MUST;
void csn_connect_fini(csn_connect *c);

/* One message, not the last. */
void csn_connect_write(csn_buf *out, csn_str message);

/* What an error object says ({"code": "not_found", "message": "..."}), which
 * may be NULL; status: of HTTP, when there is no code that is known. */
int csn_connect_fail(csn_err *err, int status, const csn_json *error);

#endif
