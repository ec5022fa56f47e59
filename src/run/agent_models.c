/* SPDX-License-Identifier: Apache-2.0
 * agent_models.c - `model` of agent.yaml: a name, or a list (see models.h). */
#include "run/agent_read.h"
#include "run/models.h"
#include "run/project.h"

int
csn_agent_read_model(const struct csn_agent_reader *r, const csn_json *m)
{
  csn_agent *a = r->a;
  const csn_json *at = m;
  csn_err why;
  if (!m)
    return 0;
  if (m->kind == CSN_JSON_STRING) {
    a->model = csn_model_beside(a->arena, csn_arena_dup(a->arena, m->text).p, a->folder);
    return memchr(m->text.p, '\0', m->text.n)
               ? csn_agent_complain(r, m, "model: a NUL character is not allowed")
               : 0;
  }
  if (m->kind != CSN_JSON_ARRAY)
    return csn_agent_complain(r, m, "model: expected a name or a list of names");
  if (csn_models_check(m, &at, &why) < 0)
    return csn_agent_complain(r, at, "model: %s", why.msg);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  int rc = csn_models_write(m, a->folder, NULL, &w, r->err);
  if (rc == 0)
    rc = csn_agent_keep(r, &w, &a->models);
  if (rc < 0)
    return rc;
  /* What is shown of it: the first that is asked without a condition. */
  csn_json_each (entry, a->models)
    if (!*a->model && !csn_json_get(entry, "when"))
      a->model = csn_arena_dup(a->arena, csn_json_str(entry, "model", CSN_STR(""))).p;
  if (!*a->model)
    return csn_agent_complain(r, m, "model: one of the list must have no `when`");
  return 0;
}

void
csn_agent_write_model(const csn_agent *a, csn_jw *w)
{
  csn_jw_key(w, "model");
  if (a->models)
    csn_jw_value(w, a->models);
  else
    csn_jw_strz(w, a->model);
}

/* The list of one agent, whole; NULL: it has one model, or none of its own. */
static int
expand(const csn_agent *a, const struct csn_project *p, csn_arena *arena, const csn_json **out,
       csn_err *err)
{
  *out = NULL;
  csn_str name = csn_cstr(a->model);
  if (!a->models && !csn_models_is_list(name))
    return 0;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_json one = {.kind = CSN_JSON_STRING, .text = name};
  int rc = csn_models_write(a->models ? a->models : &one, NULL, p, &w, err);
  if (rc == 0)
    rc = csn_jw_done(&w, err);
  if (rc == 0)
    rc = csn_json_parse(arena, csn_arena_dup(arena, csn_buf_str(&text)), out, err);
  bool has_default = false;
  csn_json_each (entry, rc == 0 ? *out : NULL)
    has_default = has_default || !csn_json_get(entry, "when");
  if (rc == 0 && !has_default)
    rc = csn_fail(err, CSN_E_INVALID, "of the models of %s one must have no `when`", a->model);
  return csn_wrap(err, rc, "agent %s", a->name);
}

int
csn_agent_own_models(const csn_agent *a, const struct csn_project *p, csn_model_fn *fn, void *user,
                     csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  const csn_json *list;
  int rc = expand(a, p, arena, &list, err);
  if (rc == 0 && !list)
    return *a->model || !a->parent ? fn(p, a->model, user, err) : 0;
  csn_json_each (entry, rc == 0 ? list : NULL)
    if (rc == 0)
      rc = fn(p, csn_arena_dup(arena, csn_json_str(entry, "model", CSN_STR(""))).p, user, err);
  return rc;
}

int
csn_agent_each_model(const csn_agent *a, const struct csn_project *p, csn_model_fn *fn, void *user,
                     csn_err *err)
{
  int rc = csn_agent_own_models(a, p, fn, user, err);
  for (size_t i = 0; rc == 0 && i < a->n_agents; i++)
    rc = csn_agent_own_models(a->agents[i], p, fn, user, err);
  if (rc == 0 && a->limits.soft_model)
    rc = fn(p, a->limits.soft_model, user, err);
  return rc;
}

static int
route(const struct csn_project *p, const char *model, void *user, csn_err *err)
{
  struct csn_route r = {0};
  (void)user;
  int rc = csn_route_find(p, csn_cstr(model), &r, err);
  csn_route_fini(&r);
  return rc;
}

static bool
needs_budget(const csn_json *list)
{
  csn_json_each (entry, list)
    if (csn_json_get(csn_json_get(entry, "when"), "budget_under"))
      return true;
  return false;
}

int
csn_agent_check_models(const csn_agent *a, const struct csn_project *p, csn_err *err)
{
  bool has_budget = a->limits.tokens || a->limits.cost_usd > 0;
  bool asks = needs_budget(a->models);
  for (size_t i = 0; i < a->n_agents; i++)
    asks = asks || needs_budget(a->agents[i]->models);
  if (asks && !has_budget)
    return csn_fail(err, CSN_E_INVALID,
                    "agent %s: budget_under needs a budget; write limits.tokens or limits.cost_usd",
                    a->name);
  return csn_agent_each_model(a, p, route, NULL, err);
}

static int
write_list(const csn_agent *a, const struct csn_project *p, csn_jw *w, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  const csn_json *list;
  int rc = expand(a, p, arena, &list, err);
  if (rc == 0 && list) {
    csn_jw_key(w, a->name);
    csn_jw_value(w, list);
  }
  return rc;
}

int
csn_agent_write_models(const csn_agent *a, const struct csn_project *p, csn_jw *w, csn_err *err)
{
  csn_jw_obj(w);
  int rc = write_list(a, p, w, err);
  for (size_t i = 0; rc == 0 && i < a->n_agents; i++)
    rc = write_list(a->agents[i], p, w, err);
  csn_jw_end(w);
  return rc;
}
