/* SPDX-License-Identifier: Apache-2.0
 *
 * ws.h - WebSocket frames (RFC 6455) as a client reads and writes them: feed
 * bytes however they are cut, get the same messages.
 *
 * Strict, as the other side is a server that may be hostile: no extensions, no
 * masked frames, no fragments between fragments, control frames of 125 bytes at
 * most, text in valid UTF-8, and lengths in their shortest form.
 */
#ifndef CSN_WIRE_WS_H
#define CSN_WIRE_WS_H

#include "caisson/mem.h"

enum csn_ws_op { CSN_WS_TEXT = 1, CSN_WS_BINARY = 2, CSN_WS_CLOSE = 8, CSN_WS_PING, CSN_WS_PONG };

typedef struct csn_ws {
  /* A whole message, or a control frame; a negative return ends the feed. */
  int (*on_message)(void *user, enum csn_ws_op op, csn_str data);
  void *user;
  /* the rest is the codec's own */
  csn_buf message, control;
  unsigned char head[14];
  size_t n_head;
  uint64_t left;
  int op, fragment; /* of the frame; of the message that is not whole yet, or 0 */
  bool is_last, in_frame, is_closed;
} csn_ws;

/* max_bytes: of one message. */
void csn_ws_init(csn_ws *w, size_t max_bytes,
                 int (*on_message)(void *user, enum csn_ws_op op, csn_str data), void *user);
/* CSN_E_PARSE for what no server may send, CSN_E_LIMIT past the cap, or what
 * on_message returned.  Nothing after a close frame is read. */
int csn_ws_feed(csn_ws *w, csn_str bytes, csn_err *err) CSN_MUST;
void csn_ws_fini(csn_ws *w);

/* One frame, masked with four random bytes. */
void csn_ws_write(csn_buf *out, enum csn_ws_op op, csn_str data, const unsigned char mask[4]);
/* The value of Sec-WebSocket-Key from 16 random bytes, and what the server must
 * answer to it. */
enum { CSN_WS_KEY = 25, CSN_WS_ACCEPT = 29 };
void csn_ws_key(const unsigned char random[16], char out[CSN_WS_KEY]);
void csn_ws_accept(const char *key, char out[CSN_WS_ACCEPT]);

#endif
