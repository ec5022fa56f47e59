/* SPDX-License-Identifier: Apache-2.0
 * step_budget.c - what a run may use up, reserved before it is used.
 *
 * A token is at least a byte, so what the model has not counted yet counts as
 * bytes: what a request will cost is never underestimated, and the reply is
 * capped to what is left.  Once the model has counted a request, only what
 * came after it is estimated. */
#include <stdio.h>

#include "run/items.h"
#include "run/step_impl.h"

enum {
  OUTPUT_MIN_TOKENS = 64, /* a reply that may be no longer is not worth its request */
  ITEM_TOKENS = 16        /* what a provider adds around an item, at most */
};

/* ---- what is used ---- */

static int64_t
used_of(const csn_state *st, const char *what)
{
  if (strcmp(what, "tokens") == 0)
    return st->usage.total_tokens + st->budget.child_tokens;
  if (strcmp(what, "cost_usd") == 0)
    return st->budget.cost_pusd;
  return strcmp(what, "tool_calls") == 0 ? st->tool_calls + st->budget.child_calls : st->turns;
}

/* Ends the run with the numbers; spent as it is in the limit's unit. */
void
csn_step_exhaust(struct csn_step *s, const char *what, int64_t max, const char *why)
{
  csn_state *st = s->st;
  char text[300];
  int64_t used = used_of(st, what);
  bool is_cost = strcmp(what, "cost_usd") == 0;
  int n = is_cost ? snprintf(text, sizeof text,
                             "the budget of %.6g USD is used up (%.6g spent%s); raise limits.%s",
                             (double)max / 1e12, (double)used / 1e12, why, what)
                  : snprintf(text, sizeof text,
                             "the budget of %lld %s is used up (%lld used%s); raise limits.%s",
                             (long long)max, strcmp(what, "tokens") == 0 ? "tokens" : "tool calls",
                             (long long)used, why, what);
  if (st->outcome == CSN_RUN_RUNNING) {
    csn_step_set_text(&st->limit_what, csn_cstr(what));
    st->limit_max = max;
    st->limit_used = used;
  }
  csn_step_give_up(s, CSN_RUN_LIMIT, "budget_exhausted", csn_strn(text, (size_t)n));
}

static csn_price
price_now(const csn_state *st)
{
  const char *model = csn_state_model(st);
  csn_str name = model ? csn_cstr(model) : st->cfg.model;
  csn_auto(csn_freep) char *key = csn_dupz(name);
  return csn_price_of(csn_json_get(st->cfg.prices, key));
}

void
csn_step_count_items(csn_state *st, const csn_json *items)
{
  csn_json_each (item, items)
    st->budget.fresh_bytes += (int64_t)item->raw.n + ITEM_TOKENS;
}

/* A reply came: what it used is known, and what its request held. */
void
csn_step_charge(csn_state *st, const csn_json *usage)
{
  csn_usage u = {0};
  csn_usage_add(&u, usage);
  csn_price price = price_now(st);
  int64_t cost = price.is_known ? csn_price_cost(&price, &u) : 0;
  if (usage)
    csn_step_use(st, st->cfg.agent, &(csn_agent_use){.usage = u, .cost_pusd = cost});
  if (__builtin_add_overflow(st->budget.cost_pusd, cost, &st->budget.cost_pusd))
    st->budget.cost_pusd = INT64_MAX;
  if (u.input_tokens > 0) { /* else the reply's items count as they are */
    st->budget.context_tokens = u.input_tokens + u.output_tokens;
    st->budget.fresh_bytes = 0;
  }
}

/* ---- before a call ---- */

/* Tokens that the reply may have, INT64_MAX for no limit; < 0: none are left. */
static int64_t
room_for_reply(struct csn_step *s, const csn_price *price)
{
  csn_state *st = s->st;
  int64_t in = st->budget.context_tokens + st->budget.fresh_bytes, room = INT64_MAX;
  if (st->cfg.max_tokens) {
    room = st->cfg.max_tokens - used_of(st, "tokens") - in;
    if (room < OUTPUT_MIN_TOKENS) {
      csn_step_exhaust(s, "tokens", st->cfg.max_tokens,
                       ", the next call may need more than is left");
      return -1;
    }
  }
  if (!st->cfg.max_cost_pusd || !price->is_known)
    return room;
  __int128 left = (__int128)st->cfg.max_cost_pusd - st->budget.cost_pusd -
                  (__int128)in * csn_price_input_most(price, st->cfg.caches_for_hour);
  __int128 paid = price->output ? left / price->output : left < 0 ? -1 : INT64_MAX;
  if (left < 0 || paid < OUTPUT_MIN_TOKENS) {
    csn_step_exhaust(s, "cost_usd", st->cfg.max_cost_pusd,
                     ", the next call may cost more than is left");
    return -1;
  }
  return paid < room ? (int64_t)paid : room;
}

bool
csn_step_reserve(struct csn_step *s)
{
  csn_state *st = s->st;
  st->budget.max_output = 0;
  if (!st->cfg.max_tokens && !st->cfg.max_cost_pusd)
    return true;
  csn_price price = price_now(st);
  int64_t room = room_for_reply(s, &price);
  if (room < 0)
    return false;
  int64_t own =
      price.max_output && (!st->cfg.reply_tokens || price.max_output < st->cfg.reply_tokens)
          ? price.max_output
          : st->cfg.reply_tokens;
  if (room != INT64_MAX && (!own || room < own))
    st->budget.max_output = room;
  return true;
}

/* The reply that was capped could not be finished. */
bool
csn_step_was_capped(struct csn_step *s)
{
  csn_state *st = s->st;
  if (!st->budget.max_output)
    return false;
  bool by_cost = st->cfg.max_cost_pusd != 0;
  csn_step_exhaust(s, by_cost ? "cost_usd" : "tokens",
                   by_cost ? st->cfg.max_cost_pusd : st->cfg.max_tokens,
                   ", the last reply did not fit into the rest");
  return true;
}

/* ---- soft thresholds ---- */

static bool
has_reached(const csn_state *st, int64_t used, int64_t max)
{
  return max && (__int128)used * 100 >= (__int128)max * st->cfg.soft_percent;
}

/* Asks a human, or goes on with another model; once. */
void
csn_step_soften(struct csn_step *s)
{
  csn_state *st = s->st;
  if (!st->cfg.soft_percent || st->budget.is_soft)
    return;
  if (!has_reached(st, used_of(st, "tokens"), st->cfg.max_tokens) &&
      !has_reached(st, st->budget.cost_pusd, st->cfg.max_cost_pusd) &&
      !has_reached(st, used_of(st, "tool_calls"), st->cfg.max_tool_calls))
    return;
  st->budget.is_soft = true;
  if (st->cfg.soft_model.n) {
    csn_step_set_text(&st->model, st->cfg.soft_model);
    return;
  }
  char text[200];
  snprintf(text, sizeof text,
           "{\"tokens\":%lld,\"cost_usd\":%.6g,\"tool_calls\":%lld,\"turns\":%lld}",
           (long long)used_of(st, "tokens"), (double)st->budget.cost_pusd / 1e12,
           (long long)used_of(st, "tool_calls"), (long long)st->turns);
  csn_pending *p = csn_pending_add(st, CSN_DO_ASK, -1);
  p->purpose = CSN_FOR_BUDGET;
  p->call_id = csn_dupz(CSN_STR("budget"));
  p->name = csn_dupz(CSN_STR("budget"));
  p->arguments = csn_dupz(csn_cstr(text));
  p->seq = csn_emit_ask(s->out, s->ev, p, "budget", NULL);
}

void
csn_step_soft_decided(struct csn_step *s, csn_pending *p)
{
  csn_state *st = s->st;
  csn_pending_drop(st, p);
  if (csn_json_bool(s->ev->data, "allow", false))
    return;
  bool by_cost = has_reached(st, st->budget.cost_pusd, st->cfg.max_cost_pusd);
  bool by_tokens = has_reached(st, used_of(st, "tokens"), st->cfg.max_tokens);
  if (by_cost)
    csn_step_exhaust(s, "cost_usd", st->cfg.max_cost_pusd, ", and a human allowed no more");
  else if (by_tokens)
    csn_step_exhaust(s, "tokens", st->cfg.max_tokens, ", and a human allowed no more");
  else
    csn_step_exhaust(s, "tool_calls", st->cfg.max_tool_calls, ", and a human allowed no more");
}
