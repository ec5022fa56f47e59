/* SPDX-License-Identifier: Apache-2.0
 * mockmodel.h - what the mock's two APIs share: what a model's name asks for. */
#ifndef BENCH_MOCKMODEL_H
#define BENCH_MOCKMODEL_H

#include "caisson/str.h"

struct script {
  csn_str name;
  int64_t n, delay_ms, pace_ms;
  int64_t status; /* with which each request is refused first; 0: none is */
  bool is_chat, is_stream, is_cut;
  int64_t turn; /* outputs seen */
};

/* Whether this turn is a call; its arguments, JSON inside a string, and the tool's name. */
bool mock_calls(const struct script *s);
const char *mock_arguments(csn_buf *out, const struct script *s, csn_str body);
/* Of an answer. */
int64_t mock_words(const struct script *s);

/* ---- mockchat.c ---- */
void mock_chat(csn_buf *out, const struct script *s, csn_str body);
/* The events, one HTTP chunk each. */
void mock_chat_stream(csn_buf *out, const struct script *s, csn_str body);

#endif
