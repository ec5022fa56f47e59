/* SPDX-License-Identifier: Apache-2.0
 * step_life.c - how a run begins, what surrounds it, how it ends. */
#include "run/step_impl.h"

void
csn_step_enter_closing(struct csn_step *s)
{
  csn_step_withhold(s->st);
  s->st->phase = CSN_PHASE_CLOSING;
  if (s->st->cfg.has_outputs && s->st->sandbox_open)
    csn_pending_add(s->st, CSN_DO_SANDBOX_CHECKPOINT, csn_emit_checkpoint(s->out, s->ev));
  csn_step_save_session(s);
}

void
csn_step_enter_ended(struct csn_step *s)
{
  csn_state *st = s->st;
  st->phase = CSN_PHASE_ENDED;
  if (st->timer_seq >= 0)
    csn_emit_cancel(s->out, s->ev, CSN_DO_TIMER_CANCEL, st->timer_seq);
  st->timer_seq = -1;
  if (csn_state_is_gated(st) && st->outcome != CSN_RUN_DONE)
    csn_step_set_text(&st->output, CSN_STR("")); /* no guardrail has passed it */
  csn_emit_finish(s->out, s->ev, st);
  if (st->sandbox_open)
    csn_emit_sandbox_close(s->out, s->ev);
  st->sandbox_open = false;
}

int
csn_step_on_input(struct csn_step *s)
{
  csn_state *st = s->st;
  csn_step_begin_session(s);
  st->budget.context_tokens = csn_json_int(s->ev->data, "request_bytes", 0);
  if (st->cfg.wall_ms) {
    st->timer_at_ms = s->ev->ts_ms + st->cfg.wall_ms;
    st->timer_seq = csn_emit_timer(s->out, s->ev, st->timer_at_ms);
  }
  st->phase = CSN_PHASE_SETUP;
  if (st->cfg.has_sandbox)
    csn_pending_add(st, CSN_DO_SANDBOX_OPEN, csn_emit_sandbox_open(s->out, s->ev));
  return 0;
}

int
csn_step_on_sandbox_ready(struct csn_step *s)
{
  csn_pending *p = csn_pending_answered(s, CSN_DO_SANDBOX_OPEN);
  if (!p)
    return CSN_E_INVALID;
  s->st->sandbox_open = true;
  s->st->saving.at_ms = s->ev->ts_ms;
  csn_pending_drop(s->st, p);
  return 0;
}

int
csn_step_on_timer(struct csn_step *s)
{
  int64_t seq = csn_json_int(s->ev->data, "effect", -1);
  if (seq < 0 || seq != s->st->timer_seq)
    return csn_fail(s->err, CSN_E_INVALID, "record %lld: no such timer", (long long)s->ev->seq);
  s->st->timer_seq = -1;
  csn_step_give_up(s, CSN_RUN_LIMIT, "wall",
                   CSN_STR("the time limit was reached; raise limits.wall"));
  return 0;
}

int
csn_step_on_cancel(struct csn_step *s)
{
  csn_str mode = csn_json_str(s->ev->data, "mode", CSN_STR("now"));
  if (csn_str_eq(mode, CSN_STR("after_turn")))
    s->st->stops_after_turn = true;
  else
    csn_step_give_up(s, CSN_RUN_CANCELLED, "cancelled", CSN_STR("cancelled"));
  return 0;
}
