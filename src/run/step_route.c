/* SPDX-License-Identifier: Apache-2.0
 * step_route.c - which model a call goes to.
 *
 * Where an agent has a list of models (models.h), the list is read from the top
 * before each call: entries whose `when` does not hold are passed over.  A
 * model that fails or refuses is followed by the next, in the same turn; one
 * that failed is not asked first again for some minutes, of the events' own
 * time, so that a replay makes the same choice. */
#include "run/glob.h"
#include "run/step_impl.h"

enum {
  SOFT = 1 << 30,     /* in the place of an entry: the model of the soft threshold */
  REST_MS = 300000,   /* how long one that failed comes last */
  BYTES_PER_TOKEN = 4 /* of what the model has not counted yet */
};

const char *
csn_state_model(const csn_state *st)
{
  return st->route.model ? st->route.model : st->model;
}

/* ---- conditions ---- */

/* Part of a budget that is left; 1 without one. */
static double
left_of(int64_t used, int64_t max)
{
  return max ? 1 - (double)used / (double)max : 1;
}

static bool
condition_holds(const csn_state *st, const csn_json *m)
{
  /* Before the first reply the whole of it is a number of bytes. */
  int64_t counted = st->budget.context_tokens / (st->usage.input_tokens ? 1 : BYTES_PER_TOKEN);
  int64_t context = counted + st->budget.fresh_bytes / BYTES_PER_TOKEN;
  if (csn_str_eq(m->key, CSN_STR("agent")))
    return csn_glob(m->text, st->cfg.agent);
  if (csn_str_eq(m->key, CSN_STR("budget_under"))) {
    double share = csn_json_to_double(m);
    int64_t tokens = st->usage.total_tokens + st->budget.child_tokens;
    return left_of(tokens, st->cfg.max_tokens) < share ||
           left_of(st->budget.cost_pusd, st->cfg.max_cost_pusd) < share;
  }
  int64_t n = 0;
  bool is_number = csn_json_to_int(m, &n);
  return is_number && (csn_str_eq(m->key, CSN_STR("context_over")) ? context > n : context < n);
}

static bool
holds(const csn_state *st, const csn_json *when)
{
  csn_json_each (m, when)
    if (!condition_holds(st, m))
      return false;
  return true;
}

/* ---- models that failed ---- */

/* A clock that was set back ends it, too. */
static bool
rests(const struct csn_step *s, csn_str model)
{
  const struct csn_route_state *r = &s->st->route;
  for (size_t i = 0; i < r->n_rests; i++)
    if (csn_str_eq(csn_cstr(r->rests[i].model), model))
      return s->ev->ts_ms >= r->rests[i].since_ms && s->ev->ts_ms - r->rests[i].since_ms < REST_MS;
  return false;
}

static void
lay_to_rest(struct csn_step *s, const char *model)
{
  struct csn_route_state *r = &s->st->route;
  size_t i = 0;
  while (i < r->n_rests && strcmp(r->rests[i].model, model) != 0)
    i++;
  if (i == CSN_RESTS_KEPT) { /* the oldest makes room */
    free(r->rests[0].model);
    memmove(r->rests, r->rests + 1, (CSN_RESTS_KEPT - 1) * sizeof *r->rests);
    r->n_rests--;
    i--;
  }
  if (i == r->n_rests)
    r->rests[r->n_rests++].model = csn_dupz(csn_cstr(model));
  r->rests[i].since_ms = s->ev->ts_ms;
}

/* ---- choosing ---- */

struct choice {
  int64_t at; /* bit of the entry; 0: none is left */
  csn_str model;
  bool has_when, passed_rest;
};

/* The first that was not tried in this turn: at first without those that rest,
 * then whatever is left. */
static struct choice
look(const struct csn_step *s, bool with_rests)
{
  const csn_state *st = s->st;
  struct choice c = {0};
  if (st->model && !(st->route.tried & SOFT) && (with_rests || !rests(s, csn_cstr(st->model))))
    return (struct choice){.at = SOFT, .model = csn_cstr(st->model)};
  int64_t bit = 1;
  csn_json_each (entry, st->cfg.models) {
    const csn_json *when = csn_json_get(entry, "when");
    csn_str model = csn_json_str(entry, "model", CSN_STR(""));
    int64_t at = bit;
    bit <<= 1;
    if ((st->route.tried & at) || !holds(st, when))
      continue;
    if (!with_rests && rests(s, model)) {
      c.passed_rest = true;
      continue;
    }
    c.at = at;
    c.model = model;
    c.has_when = when != NULL;
    return c;
  }
  return c;
}

static bool
choose(struct csn_step *s, const char *why)
{
  struct csn_route_state *r = &s->st->route;
  struct choice c = look(s, false);
  if (!c.at)
    c = look(s, true);
  if (!c.at)
    return false;
  r->tried |= c.at;
  csn_step_set_text(&r->model, c.model);
  r->why = why             ? why
           : c.at == SOFT  ? "budget"
           : c.passed_rest ? "rests"
           : c.has_when    ? "when"
                           : "first";
  return true;
}

void
csn_step_choose_model(struct csn_step *s)
{
  struct csn_route_state *r = &s->st->route;
  free(csn_steal(r->model));
  r->tried = 0;
  r->why = NULL;
  if (s->st->cfg.models)
    choose(s, NULL);
}

bool
csn_state_has_other_model(const csn_state *st)
{
  struct csn_step s = {.st = (csn_state *)(uintptr_t)st, .ev = &(csn_event){0}};
  return st->cfg.models && st->route.model && look(&s, true).at != 0;
}

bool
csn_step_fall_back(struct csn_step *s)
{
  csn_state *st = s->st;
  bool refused = csn_json_bool(s->ev->data, "refused", false);
  csn_str code = csn_json_str(csn_json_get(s->ev->data, "error"), "code", CSN_STR(""));
  if (!st->cfg.models || !st->route.model || csn_str_eq(code, CSN_STR("cancelled")))
    return false;
  if (!refused && !csn_str_eq(code, CSN_STR("too_long"))) /* it is well, only not for this */
    lay_to_rest(s, st->route.model);
  if (!choose(s, refused ? "refused" : "failed"))
    return false;
  st->attempts = 0;
  if (csn_step_reserve(s)) /* or the run is over */
    csn_pending_add(st, CSN_DO_MODEL_CALL, csn_emit_model_call(s->out, s->ev, st));
  return true;
}

/* ---- its JSON form ---- */

void
csn_route_to_json(const csn_state *st, csn_jw *w)
{
  const struct csn_route_state *r = &st->route;
  if (!r->model && !r->n_rests)
    return;
  csn_jw_key(w, "route");
  csn_jw_obj(w);
  if (r->model) {
    csn_jw_key(w, "model");
    csn_jw_strz(w, r->model);
    csn_jw_key(w, "tried");
    csn_jw_int(w, r->tried);
  }
  csn_jw_key(w, "rests");
  csn_jw_arr(w);
  for (size_t i = 0; i < r->n_rests; i++) {
    csn_jw_obj(w);
    csn_jw_key(w, "model");
    csn_jw_strz(w, r->rests[i].model);
    csn_jw_key(w, "since_ms");
    csn_jw_int(w, r->rests[i].since_ms);
    csn_jw_end(w);
  }
  csn_jw_end(w);
  csn_jw_end(w);
}

void
csn_route_from_json(csn_state *st, const csn_json *v)
{
  struct csn_route_state *r = &st->route;
  const csn_json *route = csn_json_get(v, "route"), *model = csn_json_get(route, "model");
  r->model = csn_json_is(model, CSN_JSON_STRING) ? csn_dupz(model->text) : NULL;
  r->tried = csn_json_int(route, "tried", 0);
  csn_json_each (rest, csn_json_get(route, "rests"))
    if (r->n_rests < CSN_RESTS_KEPT)
      r->rests[r->n_rests++] = (struct csn_rest){csn_dupz(csn_json_str(rest, "model", CSN_STR(""))),
                                                 csn_json_int(rest, "since_ms", 0)};
}

void
csn_route_state_fini(struct csn_route_state *r)
{
  free(r->model);
  for (size_t i = 0; i < r->n_rests; i++)
    free(r->rests[i].model);
  *r = (struct csn_route_state){0};
}
