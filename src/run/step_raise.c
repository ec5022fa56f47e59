/* SPDX-License-Identifier: Apache-2.0
 * step_raise.c - limits that are raised when a run goes on.
 *
 * `resumed` with {"limits"} raises them.  After the end of a run that a limit
 * ended it also opens it again: the turn that was cut short is left as if it had
 * just been over, with what its calls were answered meanwhile ("items"). */
#include "run/step_impl.h"

bool
csn_state_may_be_raised(const csn_state *st)
{
  static const char *const reasons[] = {"turns", "wall", "budget_exhausted", NULL};
  return st->phase == CSN_PHASE_ENDED && st->outcome == CSN_RUN_LIMIT &&
         csn_str_is_one_of(csn_cstr(st->reason), reasons);
}

static void
take(int64_t *limit, int64_t is)
{
  if (is > *limit)
    *limit = is;
}

static int64_t
picodollars(const csn_json *limits)
{
  return (int64_t)(csn_json_double(limits, "cost_usd", 0) * 1e12 + 0.5);
}

/* So much longer than it was, counted from now when it is over already. */
static void
prolong(struct csn_step *s, int64_t was_ms)
{
  csn_state *st = s->st;
  int64_t at = st->timer_at_ms > s->ev->ts_ms ? st->timer_at_ms : s->ev->ts_ms;
  st->timer_at_ms = at + st->cfg.wall_ms - was_ms;
  if (st->timer_seq >= 0)
    csn_emit_cancel(s->out, s->ev, CSN_DO_TIMER_CANCEL, st->timer_seq);
  st->timer_seq = -1;
}

void
csn_step_raise(struct csn_step *s)
{
  csn_state *st = s->st;
  const csn_json *limits = csn_json_get(s->ev->data, "limits");
  int64_t was_ms = st->cfg.wall_ms;
  if (!csn_json_is(limits, CSN_JSON_OBJECT))
    return;
  st->is_raised = true;
  take(&st->cfg.max_turns, csn_json_int(limits, "turns", 0));
  take(&st->cfg.wall_ms, csn_json_int(limits, "wall_ms", 0));
  take(&st->cfg.max_tokens, csn_json_int(limits, "tokens", 0));
  take(&st->cfg.max_tool_calls, csn_json_int(limits, "tool_calls", 0));
  take(&st->cfg.max_cost_pusd, picodollars(limits));
  if (st->cfg.wall_ms > was_ms)
    prolong(s, was_ms);
  if (st->cfg.wall_ms && st->timer_seq < 0)
    st->timer_seq = csn_emit_timer(s->out, s->ev, st->timer_at_ms);
}

int
csn_step_on_reopened(struct csn_step *s)
{
  csn_state *st = s->st;
  if (!csn_json_get(s->ev->data, "limits") || !csn_state_may_be_raised(st))
    return csn_fail(s->err, CSN_E_INVALID, "record %lld: the run has ended", (long long)s->ev->seq);
  st->outcome = CSN_RUN_RUNNING;
  free(csn_steal(st->reason));
  free(csn_steal(st->message));
  free(csn_steal(st->limit_what));
  st->withheld = -1;
  st->is_final = false;
  st->sandbox_open = st->cfg.has_sandbox; /* over the workspace as it is */
  csn_step_absorb(s);
  csn_step_raise(s);
  st->phase = CSN_PHASE_TOOLS; /* and nothing is pending: the turn is over */
  return 0;
}

void
csn_step_raised_to_json(const csn_state *st, csn_jw *w)
{
  const struct {
    const char *key;
    int64_t n;
  } limits[] = {{"turns", st->cfg.max_turns},
                {"wall_ms", st->cfg.wall_ms},
                {"tokens", st->cfg.max_tokens},
                {"tool_calls", st->cfg.max_tool_calls},
                {"cost_pusd", st->cfg.max_cost_pusd}};
  if (!st->is_raised)
    return;
  csn_jw_key(w, "limits");
  csn_jw_obj(w);
  for (size_t i = 0; i < CSN_COUNT(limits); i++) {
    csn_jw_key(w, limits[i].key);
    csn_jw_int(w, limits[i].n);
  }
  csn_jw_end(w);
}

void
csn_step_raised_from_json(csn_state *st, const csn_json *v)
{
  const csn_json *limits = csn_json_get(v, "limits");
  st->is_raised = limits != NULL;
  take(&st->cfg.max_turns, csn_json_int(limits, "turns", 0));
  take(&st->cfg.wall_ms, csn_json_int(limits, "wall_ms", 0));
  take(&st->cfg.max_tokens, csn_json_int(limits, "tokens", 0));
  take(&st->cfg.max_tool_calls, csn_json_int(limits, "tool_calls", 0));
  take(&st->cfg.max_cost_pusd, csn_json_int(limits, "cost_pusd", 0));
}
