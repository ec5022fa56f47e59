/* SPDX-License-Identifier: Apache-2.0
 * step_use.c - who of several agents used what. */
#include "run/items.h"
#include "run/step_impl.h"

static csn_agent_use *
use_of(csn_state *st, csn_str agent)
{
  for (size_t i = 0; i < st->n_uses; i++)
    if (csn_str_eq(agent, csn_cstr(st->uses[i].name)))
      return &st->uses[i];
  st->uses = csn_realloc(st->uses, st->n_uses + 1, sizeof *st->uses);
  st->uses[st->n_uses] = (csn_agent_use){.name = csn_dupz(agent)};
  return &st->uses[st->n_uses++];
}

static void
add(int64_t *sum, int64_t more)
{
  if (more > 0 && __builtin_add_overflow(*sum, more, sum))
    *sum = INT64_MAX;
}

void
csn_step_use(csn_state *st, csn_str agent, const csn_agent_use *more)
{
  if (!csn_json_get(st->cfg.root, "agents"))
    return;
  csn_agent_use *u = use_of(st, agent);
  add(&u->turns, more->turns);
  add(&u->tool_calls, more->tool_calls);
  add(&u->cost_pusd, more->cost_pusd);
  add(&u->usage.input_tokens, more->usage.input_tokens);
  add(&u->usage.cached_tokens, more->usage.cached_tokens);
  add(&u->usage.output_tokens, more->usage.output_tokens);
  add(&u->usage.reasoning_tokens, more->usage.reasoning_tokens);
  add(&u->usage.total_tokens, more->usage.total_tokens);
  add(&u->usage.cache_write_tokens, more->usage.cache_write_tokens);
  add(&u->usage.cache_write_1h_tokens, more->usage.cache_write_1h_tokens);
}

static void
number(csn_jw *w, const char *key, int64_t n)
{
  csn_jw_key(w, key);
  csn_jw_int(w, n);
}

void
csn_step_uses_to_json(const csn_state *st, csn_jw *w, bool is_finish)
{
  if (!st->n_uses)
    return;
  csn_jw_key(w, "agents");
  csn_jw_obj(w);
  for (size_t i = 0; i < st->n_uses; i++) {
    const csn_agent_use *u = &st->uses[i];
    csn_jw_key(w, u->name);
    csn_jw_obj(w);
    number(w, "turns", u->turns);
    number(w, "tool_calls", u->tool_calls);
    csn_jw_key(w, "usage");
    csn_usage_to_json(&u->usage, w);
    if (!is_finish) {
      number(w, "cost_pusd", u->cost_pusd);
    } else if (st->cfg.prices) {
      csn_jw_key(w, "cost_usd");
      csn_jw_double(w, (double)u->cost_pusd / 1e12);
    }
    csn_jw_end(w);
  }
  csn_jw_end(w);
}

void
csn_step_uses_from_json(csn_state *st, const csn_json *v)
{
  csn_json_each (m, csn_json_get(v, "agents")) {
    csn_agent_use *u = use_of(st, m->key);
    u->turns = csn_json_int(m, "turns", 0);
    u->tool_calls = csn_json_int(m, "tool_calls", 0);
    u->cost_pusd = csn_json_int(m, "cost_pusd", 0);
    csn_usage_add(&u->usage, csn_json_get(m, "usage"));
  }
}
