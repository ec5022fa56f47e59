/* SPDX-License-Identifier: Apache-2.0
 *
 * transcript.h - what the models without a wire (script, replay) read out of a
 * request: how many turns there were, what the last tools said, what the task
 * is.  They keep no state of their own, so all of it comes from the items.
 */
#ifndef CSN_MODEL_TRANSCRIPT_H
#define CSN_MODEL_TRANSCRIPT_H

#include "caisson/model.h"

/* What one tool call gave. */
typedef struct csn_seen {
  csn_str call_id, tool; /* tool: empty when its call is not among the items */
  csn_str text;          /* of a command: what stands after "Output:" */
  bool has_exit;
  int64_t exit;    /* when has_exit */
  int64_t session; /* of a command that still runs; -1: none */
} csn_seen;

typedef struct csn_transcript {
  const csn_json **items; /* the request's, parsed */
  size_t n_items;
  size_t n_calls; /* tool calls of all turns */
  csn_str *turns; /* per assistant turn its first call_id, or its message's id */
  size_t n_turns;
  csn_seen *seen; /* outputs that came after the last assistant turn, oldest first */
  size_t n_seen;
  csn_str task;    /* the newest message of the user */
  bool is_waiting; /* no tool output since that message: a task begins */
} csn_transcript;

/* Everything lives in the arena.  Errors: CSN_E_INVALID for an item that is no
 * JSON object, CSN_E_LIMIT when the arena is full. */
int csn_transcript_read(csn_arena *a, const csn_model_request *rq, csn_transcript *out,
                        csn_err *err) CSN_MUST;

enum csn_item_side { CSN_SIDE_OTHER, CSN_SIDE_USER, CSN_SIDE_MODEL, CSN_SIDE_TOOL };
/* Who made an item. */
enum csn_item_side csn_item_side(const csn_json *item);
/* The text of a message or of a tool's output, its parts joined; empty past
 * the arena's limit. */
csn_str csn_item_text(csn_arena *a, const csn_json *item);

/* Reads the frame of a command's result; text that has none stays as it is. */
void csn_seen_frame(csn_str text, csn_seen *out);

#endif
