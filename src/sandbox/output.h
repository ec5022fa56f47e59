/* SPDX-License-Identifier: Apache-2.0
 *
 * output.h - what a command printed, made fit for a model: decoded as UTF-8
 * and cut in the middle to a token budget, in constant memory however much
 * there is.
 *
 * A token counts as 4 bytes of the decoded text.  Text within the budget is
 * unchanged.  Longer text becomes "Total output lines: N", an empty line, its
 * first bytes, "...K tokens truncated..." (with the real ellipsis) and its last
 * bytes; the whole is never longer than the budget, and cuts fall between
 * code points.  Lines are counted as Python's str.splitlines() does.
 */
#ifndef CSN_SANDBOX_OUTPUT_H
#define CSN_SANDBOX_OUTPUT_H

#include "caisson/mem.h"

typedef struct csn_output csn_output;

/* Looks at what came before any of it is kept or cut. */
typedef struct csn_output_filter {
  void *(*begin)(const void *user); /* the state of one command's output */
  /* Adds what may be kept to `out`; the rest comes with the next piece, at the
   * latest with the last. */
  void (*feed)(void *state, csn_str bytes, bool is_last, csn_buf *out);
  void (*end)(void *state);
  const void *user;
} csn_output_filter;

/* most_tokens: the largest budget that take will be asked for. */
csn_output *csn_output_new(int64_t most_tokens);
/* Before the first byte; copied. */
void csn_output_set_filter(csn_output *o, const csn_output_filter *f);
void csn_output_free(csn_output *o);
CSN_FREER(output)

/* Bytes as they come; a code point may be split between calls.  What is not
 * UTF-8 becomes U+FFFD, one for each maximal part of a broken sequence. */
void csn_output_feed(csn_output *o, csn_str bytes);
/* Nothing follows: what a filter held back is told. */
void csn_output_end(csn_output *o);

/* Appends the text to `out` and starts anew.  closed: no more bytes follow, so
 * an incomplete last sequence is broken; else it is kept for the next text.
 * The token count of the whole text if it was cut, or -1. */
int64_t csn_output_take(csn_output *o, int64_t max_tokens, bool closed, csn_buf *out);

/* All of that for a text at hand. */
int64_t csn_output_truncate(csn_str bytes, int64_t max_tokens, csn_buf *out);

#endif
