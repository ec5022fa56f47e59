/* SPDX-License-Identifier: Apache-2.0
 * step_child.c - agents that are called as tools: each is a run of its own that
 * gets a share of what is left, so that several at once cannot overrun. */
#include "run/step_impl.h"

enum { SHARE_MIN_TOKENS = 256 };

const csn_json *
csn_step_child(const csn_state *st, const csn_pending *p)
{
  csn_json_each (t, p->is_custom ? NULL : st->cfg.agent_tools)
    if (csn_str_eq(csn_json_str(t, "tool", CSN_STR("")), csn_cstr(p->name)))
      return t;
  return NULL;
}

csn_str
csn_step_child_agent(const csn_state *st, const csn_pending *p)
{
  return csn_json_str(csn_step_child(st, p), "agent", CSN_STR(""));
}

/* Calls of agents that this turn still brings, with this one. */
static int64_t
count_to_come(const csn_state *st)
{
  int64_t n = 1;
  for (size_t i = 0; i < st->n_pending; i++)
    n += st->pending[i].seq < 0 && csn_step_child(st, &st->pending[i]) != NULL;
  return n;
}

/* False when too little is left. */
static bool
reserve(csn_state *st, csn_pending *p)
{
  int64_t tokens = 0, cost = 0, n = count_to_come(st) - (p->seq < 0);
  n = n > 0 ? n : 1;
  for (size_t i = 0; i < st->n_pending; i++) {
    tokens += st->pending[i].tokens;
    cost += st->pending[i].cost_pusd;
  }
  if (st->cfg.max_tokens) {
    p->tokens =
        (st->cfg.max_tokens - st->usage.total_tokens - st->budget.child_tokens - tokens) / n;
    if (p->tokens < SHARE_MIN_TOKENS)
      return false;
  }
  if (st->cfg.max_cost_pusd) {
    p->cost_pusd = (st->cfg.max_cost_pusd - st->budget.cost_pusd - cost) / n;
    if (p->cost_pusd <= 0)
      return false;
  }
  return true;
}

bool
csn_step_start_child(struct csn_step *s, csn_pending *p)
{
  csn_state *st = s->st;
  const char *why = NULL;
  if (st->cfg.max_children && st->budget.children >= st->cfg.max_children)
    why = "The call was not made: no more agents may be called in this run (limits.children).";
  else if (!reserve(st, p))
    why = "The call was not made: too little is left of the budget.";
  if (why) {
    p->tokens = p->cost_pusd = 0;
    csn_step_set_text(&p->answer, csn_cstr(why));
    return false;
  }
  st->budget.children++;
  p->kind = CSN_DO_CHILD_START;
  p->seq = csn_emit_child(s->out, s->ev, p, csn_step_child_agent(st, p));
  return true;
}

/* {"effect","run"?,"state"?,"reason"?,"tokens"?,"cost_pusd"?,"items"} */
int
csn_step_on_child_done(struct csn_step *s)
{
  csn_state *st = s->st;
  csn_pending *p = csn_pending_answered(s, CSN_DO_CHILD_START);
  if (!p)
    return CSN_E_INVALID;
  int64_t tokens = csn_json_int(s->ev->data, "tokens", 0);
  int64_t cost = csn_json_int(s->ev->data, "cost_pusd", 0);
  st->budget.child_tokens += tokens > 0 ? tokens : 0;
  st->budget.cost_pusd += cost > 0 ? cost : 0;
  csn_step_absorb(s);
  csn_step_settle(s, p);
  return 0;
}
