/* SPDX-License-Identifier: Apache-2.0
 *
 * answer.h - what a reply says, for codecs whose providers do not speak in
 * items: thoughts, text, refusals and tool calls are gathered piece by piece,
 * in the order in which they began, and become items at the end.
 *
 * A piece may be sealed by its provider (a signature, or thoughts that only it
 * can read); the seal travels in the item and is sent back as it came:
 *   reasoning      "encrypted_content"
 *   others         "provider_data":{"seal"}
 * "provider_data" also says whose it is ("api"), so that no other provider is
 * sent what it cannot take.
 */
#ifndef CSN_MODEL_ANSWER_H
#define CSN_MODEL_ANSWER_H

#include "model/reply.h"

enum csn_piece_kind { CSN_PIECE_THOUGHT, CSN_PIECE_TEXT, CSN_PIECE_REFUSAL, CSN_PIECE_CALL };

typedef struct csn_piece {
  enum csn_piece_kind kind;
  int64_t index;    /* the provider's number for it; -1: none */
  csn_buf text;     /* of a call its arguments */
  csn_buf id, name; /* of a call */
  csn_buf seal;
  bool is_hidden; /* a thought of which there is a seal only */
  bool has_id;    /* the provider gave the call its id */
} csn_piece;

typedef struct csn_answer {
  const char *api; /* written to "provider_data"; NULL: nothing of the provider's is kept */
  csn_piece *v;
  size_t n, n_calls;
} csn_answer;

void csn_answer_fini(csn_answer *a);
/* NULL: there are too many already. */
csn_piece *csn_answer_add(csn_answer *a, enum csn_piece_kind kind, int64_t index, csn_err *err);
/* The newest with that index, or NULL. */
csn_piece *csn_answer_find(csn_answer *a, int64_t index);
/* The newest if it is of this kind, else a new one. */
csn_piece *csn_answer_go_on(csn_answer *a, enum csn_piece_kind kind, csn_err *err);
/* Whether there is text, a refusal or a call. */
bool csn_answer_says_something(const csn_answer *a);
/* The provider says that max_tokens were reached.  CSN_E_MODEL when nothing
 * usable came before that: no answer at all, or a call that was cut. */
int csn_answer_limit(const csn_answer *a, csn_arena *scratch, csn_err *err);
/* Adds the items to the reply and gives it out: neighbouring texts and refusals
 * are one message; an answer that says nothing is an empty message.  A call without an id, or
 * with one that occurred before, gets one made from the length of the
 * conversation and its place, the same in every replay. */
int csn_answer_finish(csn_answer *a, csn_reply *r, csn_model_reply *out, csn_err *err) CSN_MUST;

/* The member of an item's provider_data when it is of this API, else empty. */
csn_str csn_item_provided(const csn_json *item, const char *api, const char *key);

#endif
