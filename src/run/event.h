/* SPDX-License-Identifier: Apache-2.0
 *
 * event.h - the closed lists: what can happen to a run, and what a run can ask
 * for.  Each is one journal record whose `kind` is the word given here.
 *
 * Every event's data is a JSON object.  Members that occur in several:
 *   effect  seq of the effect it answers
 *   items   list of items that join the conversation
 *   error   {"code","message",...} when the effect failed
 */
#ifndef CSN_RUN_EVENT_H
#define CSN_RUN_EVENT_H

#include "caisson/json.h"

#define CSN_EVENTS(X)                                                                              \
  X(INPUT, input)                                                                                  \
  X(MODEL_REPLIED, model_replied)                                                                  \
  X(MODEL_FAILED, model_failed)                                                                    \
  X(TOOL_RETURNED, tool_returned)                                                                  \
  X(CALLBACK_RETURNED, callback_returned)                                                          \
  X(SANDBOX_READY, sandbox_ready)                                                                  \
  X(SANDBOX_LOST, sandbox_lost)                                                                    \
  X(CHECKPOINTED, checkpointed)                                                                    \
  X(SESSION_LOADED, session_loaded)                                                                \
  X(MCP_LISTED, mcp_listed)                                                                        \
  X(CHILD_DONE, child_done)                                                                        \
  X(DECIDED, decided)                                                                              \
  X(TIMER_FIRED, timer_fired)                                                                      \
  X(CANCEL_REQUESTED, cancel_requested)                                                            \
  X(RESUMED, resumed)                                                                              \
  X(INTERRUPTED, interrupted)

#define CSN_EFFECTS(X)                                                                             \
  X(MODEL_CALL, model_call)                                                                        \
  X(MODEL_CANCEL, model_cancel)                                                                    \
  X(TOOL_CALL, tool_call)                                                                          \
  X(TOOL_CANCEL, tool_cancel)                                                                      \
  X(CALLBACK, callback)                                                                            \
  X(SANDBOX_OPEN, sandbox_open)                                                                    \
  X(SANDBOX_CHECKPOINT, sandbox_checkpoint)                                                        \
  X(SANDBOX_CLOSE, sandbox_close)                                                                  \
  X(SESSION_READ, session_read)                                                                    \
  X(SESSION_APPEND, session_append)                                                                \
  X(MCP_LIST, mcp_list)                                                                            \
  X(CHILD_START, child_start)                                                                      \
  X(CHILD_CANCEL, child_cancel)                                                                    \
  X(ASK, ask)                                                                                      \
  X(TIMER_SET, timer_set)                                                                          \
  X(TIMER_CANCEL, timer_cancel)                                                                    \
  X(FINISH, finish)

#define X(id, word) CSN_EV_##id,
enum csn_event_kind { CSN_EVENTS(X) CSN_EV_COUNT };
#undef X
#define X(id, word) CSN_DO_##id,
enum csn_effect_kind { CSN_EFFECTS(X) CSN_DO_COUNT };
#undef X

typedef struct csn_event {
  enum csn_event_kind kind;
  int64_t seq, ts_ms;
  const csn_json *data;
} csn_event;

typedef struct csn_effect {
  enum csn_effect_kind kind;
  int64_t seq;  /* the event's seq + its position among the effects + 1 */
  csn_str data; /* serialised JSON object */
} csn_effect;

const char *csn_event_name(enum csn_event_kind k);
const char *csn_effect_name(enum csn_effect_kind k);
/* -1 when the word is no kind of that list. */
int csn_event_find(csn_str word);
int csn_effect_find(csn_str word);

#endif
