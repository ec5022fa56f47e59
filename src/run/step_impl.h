/* SPDX-License-Identifier: Apache-2.0
 *
 * step_impl.h - what the files of the machine share.
 *
 *   step.c          the table, the joins, csn_step()
 *   step_pending.c  the set of pending effects, the outcome, cancelling
 *   step_life.c     input, the sandbox, timers, cancelling, the end
 *   step_model.c    model calls and what stands beside them
 *   step_context.c  what requests still hold of a long conversation
 *   step_tools.c    tool calls and questions about them
 *   step_budget.c   what may be used up
 *   step_error.c    answers for runs that have none
 *   step_use.c      who of several agents used what
 *   step_route.c    which model a call goes to
 *   step_save.c     checkpoints, and a sandbox that was lost
 *   step_team.c     several agents and hand-offs
 *   step_child.c    agents that are called as tools
 *   step_choice.c   a forced choice of tools, and its end
 *   step_loop.c     going in circles
 *   step_raise.c    limits that are raised when a run goes on
 *   step_session.c  the conversation before this run, and after it
 *   step_added.c    further input
 *   step_callback.c guardrails and what else functions of the user answer
 *
 * A handler (on_*) updates the state and emits effects; `enter_*` begins a
 * phase.  All are pure, see step.h.
 */
#ifndef CSN_RUN_STEP_IMPL_H
#define CSN_RUN_STEP_IMPL_H

#include "run/emit.h"
#include "run/step.h"

/* One call of csn_step(). */
struct csn_step {
  csn_state *st;
  const csn_event *ev;
  csn_effects *out;
  csn_err *err;
};

/* ---- step_pending.c ---- */

csn_pending *csn_pending_add(csn_state *st, enum csn_effect_kind kind, int64_t seq);
void csn_pending_drop(csn_state *st, csn_pending *p); /* both of the next */
void csn_pending_forget(csn_state *st, csn_pending *p);
void csn_pending_free(csn_pending *p);
/* The pending effect of that kind which the event answers; NULL with an error. */
csn_pending *csn_pending_answered(struct csn_step *s, enum csn_effect_kind kind);
/* The event's items join the conversation. */
void csn_step_absorb(struct csn_step *s);
/* What it holds from now on is not to be trusted, because; empty: nothing said. */
void csn_step_label(csn_state *st, csn_str why);
/* Decides the outcome, once: the first decision stands. */
void csn_step_decide(csn_state *st, enum csn_run_state outcome, const char *reason,
                     csn_str message);
/* The same, and asks the driver to end what is pending; each still gets its
 * result event. */
void csn_step_give_up(struct csn_step *s, enum csn_run_state outcome, const char *reason,
                      csn_str message);
/* The message of the event's `error`. */
csn_str csn_step_error_text(const csn_event *ev);
/* Frees what is there and keeps a copy. */
void csn_step_set_text(char **slot, csn_str s);

/* ---- entering a phase ---- */

void csn_step_enter_prepare(struct csn_step *s); /* or decides the outcome */
void csn_step_enter_model(struct csn_step *s);
void csn_step_enter_review(struct csn_step *s);
void csn_step_enter_tools(struct csn_step *s);
void csn_step_enter_closing(struct csn_step *s);
void csn_step_enter_ended(struct csn_step *s);

/* ---- step_callback.c ---- */

/* Emits a callback with one name; the purpose is `of` no call.  about: a tool, the
 * kind of an error, the arguments of a hand-off; or empty. */
void csn_step_ask_callback(struct csn_step *s, enum csn_purpose purpose, csn_str name,
                           csn_str about);
/* What is asked before each model call, and beside the first. */
void csn_step_prepare_callbacks(struct csn_step *s);
void csn_step_guard_input(struct csn_step *s);
/* Guardrails on a tool: their names as a JSON list, NULL for none; the caller
 * frees it. */
char *csn_step_tool_guards(const csn_state *st, const char *on, const char *tool);
/* The tool is not there in this turn. */
bool csn_step_is_disabled(const csn_state *st, const char *tool);

/* ---- step_budget.c ---- */

/* Items that join count until the model has counted them. */
void csn_step_count_items(csn_state *st, const csn_json *items);
void csn_step_charge(csn_state *st, const csn_json *usage);
/* Before a model call: caps its reply, or ends the run and returns false. */
bool csn_step_reserve(struct csn_step *s);
/* A reply that was capped failed: ends the run and returns true. */
bool csn_step_was_capped(struct csn_step *s);
/* Ends the run: `what` of the limits is used up; why: "" or ", because". */
void csn_step_exhaust(struct csn_step *s, const char *what, int64_t max, const char *why);
void csn_step_soften(struct csn_step *s);
void csn_step_soft_decided(struct csn_step *s, csn_pending *p);

/* ---- step_route.c ---- */

/* Before the first call of a turn. */
void csn_step_choose_model(struct csn_step *s);
/* The event is a failure or a refusal: asks the next and returns true. */
bool csn_step_fall_back(struct csn_step *s);
void csn_route_to_json(const csn_state *st, csn_jw *w);
void csn_route_from_json(csn_state *st, const csn_json *v);
void csn_route_state_fini(struct csn_route_state *r);
/* ---- step_context.c ---- */

/* Before a model call: true when room must be made first. */
bool csn_step_make_room(struct csn_step *s);
void csn_step_room_seen(struct csn_step *s);
/* A reply came for the request: its items, how it was counted. */
void csn_step_context_replied(struct csn_step *s);
/* The request was too long: true when a shorter one is to be tried. */
bool csn_step_was_too_long(struct csn_step *s);
void csn_step_context_to_json(const csn_state *st, csn_jw *w);
void csn_step_context_from_json(csn_state *st, const csn_json *v);

/* ---- step_model.c ---- */

void csn_step_ask_again(struct csn_step *s);

/* ---- step_save.c ---- */

/* Something was done in the sandbox. */
void csn_step_touch(struct csn_step *s);
/* Beside a model call: makes a checkpoint when it is time. */
void csn_step_save(struct csn_step *s);
void csn_step_saving_to_json(const csn_state *st, csn_jw *w);
void csn_step_saving_from_json(csn_state *st, const csn_json *v);

/* ---- step_error.c ---- */

/* The run ends without an answer, unless a handler has one: it is asked when
 * nothing else is pending (csn_step_ask_handler), or the outcome is decided. */
void csn_step_fail(struct csn_step *s, const char *kind, csn_str message);
/* Enters the review; true when a handler is asked. */
bool csn_step_ask_handler(struct csn_step *s);
void csn_step_error_handled(struct csn_step *s);
/* The answer stands: it is looked at as any other. */
void csn_step_review(struct csn_step *s);
void csn_step_failing_to_json(const csn_state *st, csn_jw *w);
void csn_step_failing_from_json(csn_state *st, const csn_json *v);

/* ---- step_use.c ---- */

/* Adds to what an agent has used, when the run has several. */
void csn_step_use(csn_state *st, csn_str agent, const csn_agent_use *more);
void csn_step_uses_from_json(csn_state *st, const csn_json *v);

/* ---- step_choice.c ---- */

void csn_step_note_tool_use(csn_state *st, const struct csn_reply_shape *shape);
void csn_step_choice_to_json(const csn_state *st, csn_jw *w);
void csn_step_choice_from_json(csn_state *st, const csn_json *v);
void csn_step_choice_fini(csn_state *st);

/* ---- step_team.c ---- */

/* Whose configuration holds; false when record 0 has no such agent. */
bool csn_step_set_agent(csn_state *st, csn_str name);
/* The hand-off that the call is; NULL: none. */
const csn_json *csn_step_handoff(const csn_state *st, const csn_pending *p);
/* How the answer of one begins whose arguments are not as it wants them. */
extern const char csn_step_bad_input[];
void csn_step_take_handoff(struct csn_step *s, csn_pending *p, const csn_json *h);
void csn_step_hand_off(struct csn_step *s);
void csn_step_filtered(struct csn_step *s);

/* ---- step_added.c ---- */

/* A turn begins: the oldest input that waits is looked at, if there is one. */
void csn_step_admit(struct csn_step *s);
void csn_step_admitted(struct csn_step *s); /* that one was; the next */
/* The answer has passed: the run ends, or goes on when something was added. */
void csn_step_answered(struct csn_step *s);
void csn_step_added_to_json(const csn_state *st, csn_jw *w);
void csn_step_added_from_json(csn_state *st, const csn_json *v);

/* ---- step_child.c ---- */

/* The agent tool that the call is; NULL: none. */
const csn_json *csn_step_child(const csn_state *st, const csn_pending *p);
/* Starts it, or gives it an answer and returns false. */
bool csn_step_start_child(struct csn_step *s, csn_pending *p);
int csn_step_on_child_done(struct csn_step *s);
/* p's result has joined: step_tools.c */
void csn_step_settle(struct csn_step *s, csn_pending *p);

/* ---- step_loop.c ---- */

/* The event brought the result of p's call. */
void csn_step_watch_loops(struct csn_step *s, const csn_pending *p);
void csn_step_loop_found(struct csn_step *s, const char *what, int64_t times, const char *name,
                         const char *input);
/* ---- step_session.c ---- */

/* The event is an input: asks for what was said before, if it names a session;
 * else the input begins the conversation. */
void csn_step_begin_session(struct csn_step *s);
void csn_step_save_session(struct csn_step *s);
/* The record of that seq begins an answer that guardrails on output look at. */
void csn_step_hold_answer(csn_state *st, int64_t seq);
/* All from there up to that record is not the answer after all. */
void csn_step_set_aside(csn_state *st, int64_t to);
/* The run has its outcome: what of it stays out of the session. */
void csn_step_withhold(csn_state *st);
void csn_step_withheld_to_json(const csn_state *st, csn_jw *w);
void csn_step_withheld_from_json(csn_state *st, const csn_json *v);

/* ---- step_raise.c ---- */

/* The event is a `resumed` that may say so. */
void csn_step_raise(struct csn_step *s);
void csn_step_raised_to_json(const csn_state *st, csn_jw *w);
void csn_step_raised_from_json(csn_state *st, const csn_json *v);

/* ---- step_tools.c ---- */

/* Begins queued calls while there is room. */
void csn_step_start_calls(struct csn_step *s);
/* The event brought a result that guardrails are to look at. */
void csn_step_take_held(struct csn_step *s, csn_pending *p);
/* A guardrail on a call answered. */
void csn_step_tool_guarded(struct csn_step *s, csn_pending *p);

/* ---- handlers ---- */

int csn_step_on_input(struct csn_step *s);
int csn_step_on_added(struct csn_step *s);
int csn_step_on_sandbox_ready(struct csn_step *s);
int csn_step_on_sandbox_lost(struct csn_step *s);
int csn_step_on_checkpointed(struct csn_step *s);
int csn_step_on_session_loaded(struct csn_step *s);
int csn_step_on_timer(struct csn_step *s);
int csn_step_on_cancel(struct csn_step *s);
int csn_step_on_model_replied(struct csn_step *s);
int csn_step_on_model_failed(struct csn_step *s);
int csn_step_on_summed_up(struct csn_step *s);
int csn_step_on_not_summed_up(struct csn_step *s);
int csn_step_on_callback(struct csn_step *s);
int csn_step_on_tool_returned(struct csn_step *s);
int csn_step_on_decided(struct csn_step *s);
int csn_step_on_resumed(struct csn_step *s);
int csn_step_on_reopened(struct csn_step *s);

#endif
