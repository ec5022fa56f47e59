/* SPDX-License-Identifier: Apache-2.0
 * agent_budget.c - the section `limits` of agent.yaml. */
#include "run/agent_read.h"
#include "run/prices.h"
#include "run/project.h"

/* 90, "90s", "30m", "2h". */
static int
read_wall(const struct csn_agent_reader *r, const csn_json *limits)
{
  const csn_json *m = csn_json_get(limits, "wall");
  if (!m)
    return csn_agent_whole(r, limits, "wall_ms", 0, &r->a->limits.wall_ms);
  csn_str s = m->text;
  int64_t unit = 1000, n;
  if (m->kind == CSN_JSON_STRING && s.n) {
    char last = s.p[s.n - 1];
    unit = last == 'h' ? 3600000 : last == 'm' ? 60000 : 1000;
    if (last == 'h' || last == 'm' || last == 's')
      s.n--;
  }
  if ((m->kind != CSN_JSON_STRING && m->kind != CSN_JSON_NUMBER) || !csn_str_int(s, &n) || n < 1 ||
      n > INT64_MAX / 3600000 / 2)
    return csn_agent_complain(r, m, "wall: expected a time like 90s, 30m or 2h");
  r->a->limits.wall_ms = n * unit;
  return 0;
}

static int
read_cost(const struct csn_agent_reader *r, const csn_json *limits)
{
  const csn_json *m = csn_json_get(limits, "cost_usd");
  if (!m)
    return 0;
  double usd = csn_json_to_double(m);
  if (m->kind != CSN_JSON_NUMBER || !(usd > 0 && usd <= 1e6))
    return csn_agent_complain(r, m, "cost_usd: expected an amount like 1.50");
  r->a->limits.cost_usd = usd;
  return 0;
}

/* {at: 80%, do: ask} or {at: 0.8, do: switch, model: PREFIX/NAME} */
static int
read_soft(const struct csn_agent_reader *r, const csn_json *limits)
{
  static const char *const keys[] = {"at", "do", "model", NULL};
  const csn_json *m = csn_json_get(limits, "soft"), *at = csn_json_get(m, "at");
  struct csn_agent_limits *l = &r->a->limits;
  csn_str word = CSN_STR(""), model = CSN_STR("");
  if (!m)
    return 0;
  int rc = csn_agent_want(r, m, "limits.soft", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = csn_agent_only(r, m, "limits.soft.", keys);
  if (rc == 0)
    rc = csn_agent_text(r, m, "do", &word);
  if (rc == 0)
    rc = csn_agent_text(r, m, "model", &model);
  if (rc < 0)
    return rc;
  double share = csn_json_to_double(at);
  int64_t percent = 0;
  if (csn_json_is(at, CSN_JSON_STRING) && csn_str_ends(at->text, CSN_STR("%")) &&
      csn_str_int(csn_strn(at->text.p, at->text.n - 1), &percent))
    share = (double)percent / 100;
  if (!at || !(share > 0 && share < 1))
    return csn_agent_complain(r, m, "limits.soft.at: expected a part like 80%% or 0.8");
  bool switches = csn_str_eq(word, CSN_STR("switch"));
  if (!switches && !csn_str_eq(word, CSN_STR("ask")))
    return csn_agent_complain(r, m, "limits.soft.do: expected ask or switch");
  if (switches != (model.n > 0))
    return csn_agent_complain(r, m,
                              "limits.soft.model: needed by `do: switch`, and by nothing else");
  l->soft_percent = (int64_t)(share * 100 + 0.5);
  l->soft_model = switches ? model.p : NULL;
  return 0;
}

int
csn_agent_read_budget(const struct csn_agent_reader *r, const csn_json *m)
{
  static const char *const keys[] = {"turns",    "wall",       ".wall_ms", "output",   "tokens",
                                     "cost_usd", "tool_calls", "repeats",  "handoffs", "parallel",
                                     "soft",     "children",   NULL};
  struct csn_agent_limits *l = &r->a->limits;
  const struct {
    const char *key;
    int64_t least, *to;
  } numbers[] = {{"turns", 0, &l->turns},       {"output", 1, &l->output_tokens},
                 {"tokens", 1, &l->tokens},     {"tool_calls", 1, &l->tool_calls},
                 {"repeats", 0, &l->repeats},   {"handoffs", 0, &l->handoffs},
                 {"children", 1, &l->children}, {"parallel", 1, &l->parallel}};
  int rc = csn_agent_want(r, m, "limits", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = csn_agent_only(r, m, "limits.", keys);
  for (size_t i = 0; rc == 0 && i < CSN_COUNT(numbers); i++)
    rc = csn_agent_whole(r, m, numbers[i].key, numbers[i].least, numbers[i].to);
  if (rc == 0 && l->repeats == 1)
    rc = csn_agent_complain(r, csn_json_get(m, "repeats"),
                            "repeats: expected 0 (never) or at least 2");
  if (rc == 0)
    rc = read_cost(r, m);
  if (rc == 0)
    rc = read_soft(r, m);
  return rc < 0 ? rc : read_wall(r, m);
}

static void
number(csn_jw *w, const char *key, int64_t n)
{
  csn_jw_key(w, key);
  csn_jw_int(w, n);
}

void
csn_agent_write_budget(const csn_agent *a, csn_jw *w)
{
  const struct csn_agent_limits *l = &a->limits;
  csn_jw_key(w, "limits");
  csn_jw_obj(w);
  number(w, "turns", l->turns);
  number(w, "wall_ms", l->wall_ms);
  number(w, "output", l->output_tokens);
  if (l->tokens)
    number(w, "tokens", l->tokens);
  if (l->cost_usd > 0) {
    csn_jw_key(w, "cost_usd");
    csn_jw_double(w, l->cost_usd);
  }
  if (l->tool_calls)
    number(w, "tool_calls", l->tool_calls);
  number(w, "repeats", l->repeats);
  if (l->parallel)
    number(w, "parallel", l->parallel);
  if (l->children)
    number(w, "children", l->children);
  if (a->n_agents)
    number(w, "handoffs", l->handoffs);
  if (l->soft_percent) {
    csn_jw_key(w, "soft");
    csn_jw_obj(w);
    csn_jw_key(w, "at");
    csn_jw_double(w, (double)l->soft_percent / 100);
    csn_jw_key(w, "do");
    csn_jw_strz(w, l->soft_model ? "switch" : "ask");
    if (l->soft_model) {
      csn_jw_key(w, "model");
      csn_jw_strz(w, l->soft_model);
    }
    csn_jw_end(w);
  }
  csn_jw_end(w);
}

static int
need_price(const struct csn_project *p, const char *model, void *user, csn_err *err)
{
  const csn_agent *a = user;
  if (csn_price_find(p, csn_cstr(model)).is_known)
    return 0;
  return csn_fail(err, CSN_E_INVALID,
                  "agent %s has a limit of cost, and the price of model %s is not known; write it "
                  "into caisson.yaml as prices: {\"%s\": {input: USD, output: USD}} per 1,000,000 "
                  "tokens",
                  a->name, model, model);
}

int
csn_agent_check_prices(const csn_agent *a, const struct csn_project *p, csn_err *err)
{
  void *user = (void *)(uintptr_t)a;
  return a->limits.cost_usd > 0 ? csn_agent_each_model(a, p, need_price, user, err) : 0;
}

static int
write_price(const struct csn_project *p, const char *model, void *user, csn_err *err)
{
  csn_price price = csn_price_find(p, csn_cstr(model));
  if (!price.is_known)
    return 0;
  csn_jw_key(user, model);
  csn_price_to_json(&price, user);
  return 0;
}

int
csn_agent_write_prices(const csn_agent *a, const struct csn_project *p, csn_jw *w, csn_err *err)
{
  csn_jw_obj(w);
  int rc = csn_agent_each_model(a, p, write_price, w, err);
  csn_jw_end(w);
  return rc;
}
