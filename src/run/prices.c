/* SPDX-License-Identifier: Apache-2.0
 * prices.c - see prices.h. */
#include "run/prices.h"

#include "prices_text.h"
#include "run/glob.h"
#include "run/project.h"

#define PICO_OF_MILLION 1e6 /* USD per 1e6 tokens -> picodollars per token */

static bool
to_pico(const csn_json *m, int64_t *out)
{
  double usd = csn_json_to_double(m);
  if (!csn_json_is(m, CSN_JSON_NUMBER) || !(usd >= 0 && usd <= 1e6))
    return false;
  *out = (int64_t)(usd * PICO_OF_MILLION + 0.5);
  return true;
}

int
csn_price_from_json(const csn_json *v, csn_price *out, csn_err *err)
{
  *out = (csn_price){.is_known = true};
  csn_json_each (m, v) {
    bool ok;
    if (csn_str_eq(m->key, CSN_STR("input")))
      ok = to_pico(m, &out->input);
    else if (csn_str_eq(m->key, CSN_STR("cached")))
      ok = to_pico(m, &out->cached);
    else if (csn_str_eq(m->key, CSN_STR("cache_write")))
      ok = to_pico(m, &out->cache_write);
    else if (csn_str_eq(m->key, CSN_STR("cache_write_1h")))
      ok = to_pico(m, &out->cache_write_1h);
    else if (csn_str_eq(m->key, CSN_STR("output")))
      ok = to_pico(m, &out->output);
    else if (csn_str_eq(m->key, CSN_STR("max_output")))
      ok = csn_json_to_int(m, &out->max_output) && out->max_output > 0;
    else
      return csn_fail(err, CSN_E_INVALID,
                      "unknown key %.*s; the keys here are: input, cached, cache_write, "
                      "cache_write_1h, output, max_output",
                      (int)(m->key.n & 0xff), m->key.p);
    if (!ok)
      return csn_fail(err, CSN_E_INVALID, "%.*s: expected USD per 1,000,000 tokens", (int)m->key.n,
                      m->key.p);
  }
  if (!csn_json_get(v, "input") || !csn_json_get(v, "output"))
    return csn_fail(err, CSN_E_INVALID, "a price needs `input` and `output`");
  if (!csn_json_get(v, "cached"))
    out->cached = out->input;
  if (!csn_json_get(v, "cache_write"))
    out->cache_write = out->input;
  if (!csn_json_get(v, "cache_write_1h"))
    out->cache_write_1h = out->cache_write;
  return 0;
}

/* "chat/x" costs what "openai/x" does; "x-2025-04-14" what "x" does. */
static csn_str
canonical(csn_arena *a, csn_str model)
{
  static const char *const openai[] = {"chat/", "responses/"};
  for (size_t i = 0; i < CSN_COUNT(openai); i++)
    if (csn_str_starts(model, csn_cstr(openai[i]))) {
      size_t n = strlen(openai[i]);
      model = csn_arena_printf(a, "openai/%.*s", (int)(model.n - n), model.p + n);
    }
  static const char date[] = "-dddd-dd-dd", brief[] = "-dddddddd";
  const char *forms[] = {date, brief};
  for (size_t f = 0; f < CSN_COUNT(forms); f++) {
    size_t n = strlen(forms[f]), i = 0;
    if (model.n <= n)
      continue;
    const char *tail = model.p + model.n - n;
    while (i < n && (forms[f][i] == 'd' ? tail[i] >= '0' && tail[i] <= '9' : tail[i] == '-'))
      i++;
    if (i == n)
      model.n -= n;
  }
  return model;
}

static csn_price
in_table(csn_arena *a, csn_str model)
{
  const csn_json *table;
  csn_price price = {0};
  if (csn_json_parse(a, csn_strn(prices_text, sizeof prices_text - 1), &table, NULL) < 0)
    return price;
  csn_str name = canonical(a, model);
  csn_json_each (m, csn_json_get(table, "models"))
    if (csn_str_eq(m->key, name) && csn_price_from_json(m, &price, NULL) < 0)
      price.is_known = false;
  return price;
}

csn_price
csn_price_find(const struct csn_project *p, csn_str model)
{
  csn_price price = {0};
  csn_json_each (m, csn_project_prices(p))
    if (csn_glob(m->key, model) && csn_price_from_json(m, &price, NULL) == 0)
      return price;
  if (csn_str_starts(model, CSN_STR("script:")) || csn_str_starts(model, CSN_STR("replay:")) ||
      csn_str_starts(model, CSN_STR("script/")) || csn_str_starts(model, CSN_STR("replay/")))
    return (csn_price){.is_known = true};
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  return in_table(a, model);
}

void
csn_price_to_json(const csn_price *p, csn_jw *w)
{
  csn_jw_obj(w);
  csn_jw_key(w, "input");
  csn_jw_int(w, p->input);
  csn_jw_key(w, "cached");
  csn_jw_int(w, p->cached);
  if (p->cache_write != p->input || p->cache_write_1h != p->input) {
    csn_jw_key(w, "cache_write");
    csn_jw_int(w, p->cache_write);
    csn_jw_key(w, "cache_write_1h");
    csn_jw_int(w, p->cache_write_1h);
  }
  csn_jw_key(w, "output");
  csn_jw_int(w, p->output);
  csn_jw_key(w, "max_output");
  csn_jw_int(w, p->max_output);
  csn_jw_end(w);
}

csn_price
csn_price_of(const csn_json *v)
{
  int64_t input = csn_json_int(v, "input", 0);
  return (csn_price){.is_known = csn_json_is(v, CSN_JSON_OBJECT),
                     .input = input,
                     .cache_write = csn_json_int(v, "cache_write", input),
                     .cache_write_1h = csn_json_int(v, "cache_write_1h", input),
                     .cached = csn_json_int(v, "cached", 0),
                     .output = csn_json_int(v, "output", 0),
                     .max_output = csn_json_int(v, "max_output", 0)};
}

int64_t
csn_price_input_most(const csn_price *p, bool for_hour)
{
  int64_t most = p->input > p->cache_write ? p->input : p->cache_write;
  return for_hour && p->cache_write_1h > most ? p->cache_write_1h : most;
}

/* At most what is left of the whole. */
static int64_t
part(int64_t *left, int64_t tokens)
{
  int64_t n = tokens < 0 ? 0 : tokens < *left ? tokens : *left;
  *left -= n;
  return n;
}

int64_t
csn_price_cost(const csn_price *p, const csn_usage *u)
{
  int64_t fresh = u->input_tokens, cached = part(&fresh, u->cached_tokens);
  int64_t brief = part(&fresh, u->cache_write_tokens),
          hour = part(&brief, u->cache_write_1h_tokens);
  __int128 cost = (__int128)fresh * p->input + (__int128)cached * p->cached +
                  (__int128)brief * p->cache_write + (__int128)hour * p->cache_write_1h +
                  (__int128)u->output_tokens * p->output;
  return cost > INT64_MAX ? INT64_MAX : (int64_t)cost;
}
