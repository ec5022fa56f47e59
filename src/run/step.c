/* SPDX-License-Identifier: Apache-2.0
 * step.c - the machine of a run.
 *
 * Read the table `moves` first: which event is handled how in which phase.
 * A handler updates the state and emits effects.  After it, while nothing that
 * the phase waits for is pending (the join), `advance` leaves the phase. */
#include "run/step_impl.h"

static int
on_nothing(struct csn_step *s)
{
  (void)s;
  return 0;
}

/* ---- the table ---- */

typedef int handler(struct csn_step *s);

#define ALWAYS                                                                                     \
  [CSN_EV_CANCEL_REQUESTED] = csn_step_on_cancel, [CSN_EV_RESUMED] = csn_step_on_resumed,          \
  [CSN_EV_INTERRUPTED] = on_nothing, [CSN_EV_TIMER_FIRED] = csn_step_on_timer,                     \
  [CSN_EV_SANDBOX_LOST] = csn_step_on_sandbox_lost, [CSN_EV_INPUT] = csn_step_on_added

static handler *const moves[CSN_PHASE_COUNT][CSN_EV_COUNT] = {
    [CSN_PHASE_NEW] = {[CSN_EV_INPUT] = csn_step_on_input},
    [CSN_PHASE_SETUP] = {ALWAYS, [CSN_EV_SANDBOX_READY] = csn_step_on_sandbox_ready,
                         [CSN_EV_SESSION_LOADED] = csn_step_on_session_loaded},
    [CSN_PHASE_PREPARE] = {ALWAYS, [CSN_EV_CALLBACK_RETURNED] = csn_step_on_callback,
                           [CSN_EV_DECIDED] = csn_step_on_decided},
    [CSN_PHASE_COMPACT] = {ALWAYS, [CSN_EV_MODEL_REPLIED] = csn_step_on_summed_up,
                           [CSN_EV_MODEL_FAILED] = csn_step_on_not_summed_up},
    [CSN_PHASE_MODEL] = {ALWAYS, [CSN_EV_MODEL_REPLIED] = csn_step_on_model_replied,
                         [CSN_EV_MODEL_FAILED] = csn_step_on_model_failed,
                         [CSN_EV_CALLBACK_RETURNED] = csn_step_on_callback,
                         [CSN_EV_CHECKPOINTED] = csn_step_on_checkpointed},
    [CSN_PHASE_TOOLS] =
        {ALWAYS, [CSN_EV_CHILD_DONE] = csn_step_on_child_done,
         [CSN_EV_TOOL_RETURNED] = csn_step_on_tool_returned, [CSN_EV_DECIDED] = csn_step_on_decided,
         [CSN_EV_CALLBACK_RETURNED] = csn_step_on_callback},
    [CSN_PHASE_REVIEW] = {ALWAYS, [CSN_EV_CALLBACK_RETURNED] = csn_step_on_callback},
    [CSN_PHASE_CLOSING] = {[CSN_EV_CHECKPOINTED] = csn_step_on_checkpointed,
                           [CSN_EV_SESSION_LOADED] = csn_step_on_session_loaded,
                           [CSN_EV_SANDBOX_LOST] = on_nothing,
                           [CSN_EV_CANCEL_REQUESTED] = on_nothing,
                           [CSN_EV_RESUMED] = on_nothing,
                           [CSN_EV_INTERRUPTED] = on_nothing,
                           [CSN_EV_TIMER_FIRED] = csn_step_on_timer},
    [CSN_PHASE_ENDED] =
        {[CSN_EV_RESUMED] = csn_step_on_reopened, [CSN_EV_INPUT] = csn_step_on_added},
};

/* The join: nothing emitted may be pending.  (Calls that wait for the phase
 * after have no seq yet; among the tools they wait for room.) */
static bool
join_holds(const csn_state *st)
{
  for (size_t i = 0; i < st->n_pending; i++)
    if (st->pending[i].seq >= 0 || st->phase == CSN_PHASE_TOOLS)
      return false;
  return true;
}

static void
leave_model(struct csn_step *s)
{
  if (csn_step_ask_handler(s))
    return;
  if (s->st->n_pending)
    csn_step_enter_tools(s);
  else if (s->st->is_final)
    csn_step_enter_review(s);
  else
    csn_step_enter_prepare(s);
}

/* Leaves the phase; the next may be left at once. */
static void
leave(struct csn_step *s)
{
  csn_state *st = s->st;
  if (st->phase == CSN_PHASE_CLOSING)
    csn_step_enter_ended(s);
  else if (st->outcome != CSN_RUN_RUNNING)
    csn_step_enter_closing(s);
  else if (st->phase == CSN_PHASE_PREPARE || st->phase == CSN_PHASE_COMPACT)
    csn_step_enter_model(s);
  else if (st->phase == CSN_PHASE_MODEL)
    leave_model(s);
  else if (st->phase == CSN_PHASE_REVIEW && st->is_final)
    csn_step_answered(s);
  else if (st->next_agent)
    csn_step_hand_off(s); /* the phase is left anew */
  else if (st->stop_output)
    csn_step_enter_review(s);
  else
    csn_step_enter_prepare(s); /* or decides the outcome */
}

static void
advance(struct csn_step *s)
{
  csn_state *st = s->st;
  if (st->phase == CSN_PHASE_TOOLS)
    csn_step_start_calls(s);
  while (st->phase != CSN_PHASE_NEW && st->phase != CSN_PHASE_ENDED && join_holds(st))
    leave(s);
}

bool
csn_step_accepts(enum csn_phase p, enum csn_event_kind k)
{
  return moves[p][k] != NULL;
}

int
csn_step(csn_state *st, const csn_event *ev, csn_effects *out, csn_err *err)
{
  struct csn_step s = {st, ev, out, err};
  csn_effects_clear(out);
  handler *h = moves[st->phase][ev->kind];
  if (!h)
    return csn_fail(err, CSN_E_INVALID, "record %lld: %s does not belong in phase %s",
                    (long long)ev->seq, csn_event_name(ev->kind), csn_phase_name(st->phase));
  int64_t turns = st->turns;
  st->has_passed = false;
  size_t written = st->turn_ended ? st->results.n : 0; /* with the state of that turn */
  int rc = h(&s);
  if (rc < 0)
    return rc;
  csn_step_label(st, csn_json_str(ev->data, "untrusted", CSN_STR("")));
  advance(&s);
  csn_buf_drop(&st->results, written);
  st->turn_ended = turns && (st->turns > turns || st->phase == CSN_PHASE_ENDED);
  return csn_effects_done(out, err);
}
