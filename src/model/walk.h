/* SPDX-License-Identifier: Apache-2.0
 *
 * walk.h - what codecs of APIs other than the Responses API do alike with a
 * request: going through its items, and reading which tool the model shall use.
 */
#ifndef CSN_MODEL_WALK_H
#define CSN_MODEL_WALK_H

#include "caisson/model.h"

/* What becomes of each kind of item.  Items that mean nothing to another
 * provider (its own tools' records, unknown types) are passed over; what would
 * lose context is an error that names `api`. */
typedef struct csn_item_writer {
  const char *api;  /* "the Messages API" */
  bool keeps_items; /* the parsed items live until the end of the walk */
  int (*message)(void *m, const csn_json *item, csn_err *err);
  int (*output)(void *m, const csn_json *item, csn_err *err); /* of a call of either kind */
  void (*call)(void *m, const csn_json *item, bool is_custom);
  void (*thought)(void *m, const csn_json *item); /* NULL: they are not sent back */
} csn_item_writer;

/* scratch: cleared for each item unless they are kept; m: a writer's own.
 * *left, if not NULL, says how many items follow the one that is written. */
int csn_items_write(const csn_item_writer *w, void *m, const csn_model_request *rq,
                    csn_arena *scratch, size_t *left, csn_err *err) CSN_MUST;

/* A part of a content that is plain text, whoever said it. */
bool csn_part_is_text(const csn_json *part);

/* The setting tool_choice. */
enum csn_choice {
  CSN_CHOICE_NONE_GIVEN,
  CSN_CHOICE_AUTO,
  CSN_CHOICE_NONE,
  CSN_CHOICE_ANY,  /* "required" */
  CSN_CHOICE_TOOL, /* named by *value */
  CSN_CHOICE_WIRE, /* *value: in the API's own form */
};
enum csn_choice csn_choice_of(const csn_model_request *rq, const csn_json **value);

#endif
