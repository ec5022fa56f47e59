/* SPDX-License-Identifier: Apache-2.0
 * step_child.c - agents that are called as tools: each is a run of its own that
 * gets a share of what is left, so that several at once cannot overrun. */
#include "run/items.h"
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

/* An n-th part of what is left of a limit; 0 without one.  False when that is
 * less than what a child needs. */
static bool
share(int64_t max, int64_t used, int64_t n, int64_t least, int64_t *out)
{
  *out = max ? (max - used) / n : 0;
  return !max || *out >= least;
}

/* False when too little is left. */
static bool
reserve(csn_state *st, csn_pending *p)
{
  const csn_budget *b = &st->budget;
  const csn_step_config *cfg = &st->cfg;
  int64_t tokens = st->usage.total_tokens + b->child_tokens, cost = b->cost_pusd;
  int64_t turns = st->turns + b->child_turns + 1; /* one, to use what they found */
  int64_t calls = st->tool_calls + b->child_calls, n = count_to_come(st) - (p->seq < 0);
  n = n > 0 ? n : 1;
  for (size_t i = 0; i < st->n_pending; i++) {
    tokens += st->pending[i].tokens;
    cost += st->pending[i].cost_pusd;
    turns += st->pending[i].turns;
    calls += st->pending[i].tool_calls;
  }
  return share(cfg->max_tokens, tokens, n, SHARE_MIN_TOKENS, &p->tokens) &&
         share(cfg->max_cost_pusd, cost, n, 1, &p->cost_pusd) &&
         share(cfg->max_turns, turns, n, 1, &p->turns) &&
         share(cfg->max_tool_calls, calls, n, 1, &p->tool_calls);
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
    p->tokens = p->cost_pusd = p->turns = p->tool_calls = 0;
    csn_step_set_text(&p->answer, csn_cstr(why));
    return false;
  }
  st->budget.children++;
  csn_auto(csn_freep) char *guards = csn_step_tool_guards(st, "tool_output", p->name);
  p->is_held = guards != NULL;
  p->kind = CSN_DO_CHILD_START;
  p->seq = csn_emit_child(s->out, s->ev, p, csn_step_child_agent(st, p));
  return true;
}

static int64_t
at_least_0(const csn_json *v, const char *key)
{
  int64_t n = csn_json_int(v, key, 0);
  return n > 0 ? n : 0;
}

/* {"effect","run"?,"state"?,"reason"?,"tokens"?,"cost_pusd"?,"turns"?,
 * "tool_calls"?,"usage"?,"held"?,"items"}.  Held: as in tool_returned; runs that
 * began before there was such a thing have results that are not. */
int
csn_step_on_child_done(struct csn_step *s)
{
  csn_state *st = s->st;
  const csn_json *v = s->ev->data, *usage = csn_json_get(v, "usage");
  csn_pending *p = csn_pending_answered(s, CSN_DO_CHILD_START);
  if (!p)
    return CSN_E_INVALID;
  csn_agent_use use = {.turns = at_least_0(v, "turns"),
                       .tool_calls = at_least_0(v, "tool_calls"),
                       .cost_pusd = at_least_0(v, "cost_pusd")};
  csn_usage_add(&use.usage, usage);
  st->budget.child_tokens += at_least_0(v, "tokens");
  st->budget.child_turns += use.turns;
  st->budget.child_calls += use.tool_calls;
  st->budget.cost_pusd += use.cost_pusd;
  if (usage)
    csn_step_use(st, csn_step_child_agent(st, p), &use);
  csn_step_touch(s);                                       /* it works in the same sandbox */
  p->tokens = p->cost_pusd = p->turns = p->tool_calls = 0; /* it comes back */
  if (csn_json_bool(v, "held", false)) {
    csn_step_take_held(s, p);
    return 0;
  }
  csn_step_absorb(s);
  csn_step_settle(s, p);
  return 0;
}
