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
  bool uses_tools; /* some of these did something: to search for tools is nothing */
  const csn_json *last_message;
  csn_str refusal; /* of the last message; empty: none */
};
struct csn_reply_shape csn_reply_shape_of(const csn_json *items);

bool csn_item_is_message(const csn_json *item);
/* The output_text parts of a message, joined; nothing for NULL. */
void csn_message_text(const csn_json *message, csn_buf *out);

/* {"role":"user","content":TEXT} */
void csn_item_user(csn_jw *w, csn_str text);
/* A message of the assistant's that no model wrote. */
void csn_item_assistant(csn_jw *w, csn_str text);
/* The output item of a call: text, or content parts when `parts` is given. */
void csn_item_output(csn_jw *w, bool is_custom, csn_str call_id, csn_str text, csn_str parts);

/* Calls that are answered by items of their own: an action on a computer, and a
 * question whether a server may be called (MCP, run by the provider). */
enum csn_call_how { CSN_HOW_CALL, CSN_HOW_COMPUTER, CSN_HOW_MCP };
const char *csn_call_how_name(enum csn_call_how how); /* NULL for an ordinary call */
enum csn_call_how csn_call_how_of(csn_str name);
/* What answers a call of any kind: one item, or two where the text of a call
 * that failed has no place in it.  input: of the call; is_denied: it was not made. */
struct csn_call_answer {
  enum csn_call_how how;
  bool is_custom, is_denied;
  csn_str call_id, input, text, parts;
};
void csn_item_answer(csn_jw *w, const struct csn_call_answer *a);

void csn_usage_to_json(const csn_usage *u, csn_jw *w);
/* Adds the members of that form; v may be NULL. Negative numbers count as 0. */
void csn_usage_add(csn_usage *u, const csn_json *v);

#endif
