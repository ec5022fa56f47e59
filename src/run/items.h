/* SPDX-License-Identifier: Apache-2.0
 *
 * items.h - what the run needs to know of conversation items (the Responses
 * API's JSON objects); their content is otherwise opaque.
 */
#ifndef CSN_RUN_ITEMS_H
#define CSN_RUN_ITEMS_H

#include "caisson/model.h"

struct csn_reply_shape {
  size_t n_calls;  /* function_call and custom_tool_call */
  size_t n_hosted; /* items of tools that the provider ran */
  const csn_json *last_message;
  csn_str refusal; /* of the last message; empty: none */
};
struct csn_reply_shape csn_reply_shape_of(const csn_json *items);

/* The output_text parts of a message, joined; nothing for NULL. */
void csn_message_text(const csn_json *message, csn_buf *out);

/* {"role":"user","content":TEXT} */
void csn_item_user(csn_jw *w, csn_str text);
/* The output item of a call: text, or content parts when `parts` is given. */
void csn_item_output(csn_jw *w, bool is_custom, csn_str call_id, csn_str text, csn_str parts);

void csn_usage_to_json(const csn_usage *u, csn_jw *w);
/* Adds the members of that form; v may be NULL. Negative numbers count as 0. */
void csn_usage_add(csn_usage *u, const csn_json *v);

#endif
