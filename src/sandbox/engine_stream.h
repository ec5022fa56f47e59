/* SPDX-License-Identifier: Apache-2.0
 *
 * engine_stream.h - what a container engine sends of a command: frames with
 * their stream's number, or bare bytes of a terminal; and in them what our
 * launcher says.  Fed however the bytes are cut, without I/O.
 *
 * The launcher is a shell that stands before each command and outlives it.  It
 * says, between two RS characters and after a word that only this call knows,
 * that the command begins, why it cannot, and how it ended:
 *
 *   RS WORD ok PID RS   RS WORD none RS   RS WORD end STATUS OOM RS
 *
 * So the end is known at once, also while children hold the streams open, for
 * which an engine waits.  A command could say it, too, and would deceive nobody
 * but who reads its output.
 */
#ifndef CSN_SANDBOX_ENGINE_STREAM_H
#define CSN_SANDBOX_ENGINE_STREAM_H

#include "caisson/mem.h"

enum { CSN_ENGINE_WORD = 16, CSN_ENGINE_SAYING_MAX = 80 };

/* One stream's search for what is said. */
typedef struct csn_engine_ear {
  char held[CSN_ENGINE_SAYING_MAX]; /* what may be the beginning of it */
  size_t n;
  bool is_over; /* the end was said; what follows is of others */
} csn_engine_ear;

typedef struct csn_engine_stream {
  bool is_framed, is_split;
  char word[CSN_ENGINE_WORD + 1];
  unsigned char head[8];
  size_t n_head;
  uint32_t left; /* of the frame */
  csn_engine_ear ears[2];
  /* What was said: `begun` "ok PID" or why not, `ended` "STATUS OOM"; empty until
   * then. */
  char begun[CSN_ENGINE_SAYING_MAX], ended[CSN_ENGINE_SAYING_MAX];
} csn_engine_stream;

/* is_framed: no terminal.  is_split: both streams have an end of their own. */
void csn_engine_stream_init(csn_engine_stream *s, bool is_framed, bool is_split);
/* Adds output to out[0] or, of stderr, to out[1], which have room for it all.
 * CSN_E_PARSE for what is no frame. */
int csn_engine_stream_feed(csn_engine_stream *s, csn_str bytes, csn_buf *out,
                           csn_err *err) CSN_MUST;
/* The command has ended, and all that it wrote was fed. */
bool csn_engine_stream_is_over(const csn_engine_stream *s);
/* The connection has ended: what was held back is output. */
void csn_engine_stream_flush(csn_engine_stream *s, csn_buf *out);

#endif
