/* SPDX-License-Identifier: Apache-2.0
 * models.c - see models.h. */
#include "run/models.h"

#include "run/project.h"

/* ---- checking ---- */

static int
check_share(const csn_json *m, const csn_json **at, csn_err *err)
{
  int64_t percent = 0;
  double share = csn_json_to_double(m);
  if (m->kind == CSN_JSON_STRING && csn_str_ends(m->text, CSN_STR("%")) &&
      csn_str_int(csn_strn(m->text.p, m->text.n - 1), &percent))
    share = (double)percent / 100;
  if (share > 0 && share < 1)
    return 0;
  *at = m;
  return csn_fail(err, CSN_E_INVALID, "when.%.*s: expected a part like 20%% or 0.2", (int)m->key.n,
                  m->key.p);
}

static int
check_when(const csn_json *when, const csn_json **at, csn_err *err)
{
  *at = when;
  if (when->kind != CSN_JSON_OBJECT || !when->n)
    return csn_fail(err, CSN_E_INVALID, "when: expected an object");
  csn_json_each (m, when) {
    int64_t n = 0;
    int rc = 0;
    *at = m;
    if (csn_str_eq(m->key, CSN_STR("budget_under")))
      rc = check_share(m, at, err);
    else if (csn_str_eq(m->key, CSN_STR("agent")))
      rc = m->kind == CSN_JSON_STRING && m->text.n
               ? 0
               : csn_fail(err, CSN_E_INVALID, "when.agent: expected a name or a pattern");
    else if (!csn_str_eq(m->key, CSN_STR("context_over")) &&
             !csn_str_eq(m->key, CSN_STR("context_under")))
      rc = csn_fail(err, CSN_E_INVALID,
                    "unknown key when.%.*s; the keys here are: agent, context_over, "
                    "context_under, budget_under",
                    (int)m->key.n, m->key.p);
    else if (!csn_json_to_int(m, &n) || n < 1)
      rc = csn_fail(err, CSN_E_INVALID, "when.%.*s: expected a number of tokens", (int)m->key.n,
                    m->key.p);
    if (rc < 0)
      return rc;
  }
  return 0;
}

static int
check_name(const csn_json *v, const csn_json **at, csn_err *err)
{
  *at = v;
  if (v->kind == CSN_JSON_STRING && v->text.n && !memchr(v->text.p, '\0', v->text.n))
    return 0;
  return csn_fail(err, CSN_E_INVALID, "expected the name of a model");
}

static int
check_entry(const csn_json *v, const csn_json **at, csn_err *err)
{
  if (v->kind != CSN_JSON_OBJECT)
    return check_name(v, at, err);
  const csn_json *name = csn_json_get(v, "model"), *when = csn_json_get(v, "when");
  *at = v;
  if (!name)
    return csn_fail(err, CSN_E_INVALID, "expected {model: PREFIX/NAME, when: {...}}");
  csn_json_each (m, v)
    if (m != name && m != when) {
      *at = m;
      return csn_fail(err, CSN_E_INVALID, "unknown key %.*s; the keys here are: model, when",
                      (int)m->key.n, m->key.p);
    }
  int rc = check_name(name, at, err);
  return rc < 0 || !when ? rc : check_when(when, at, err);
}

int
csn_models_check(const csn_json *v, const csn_json **at, csn_err *err)
{
  if (v->kind != CSN_JSON_ARRAY)
    return check_name(v, at, err);
  *at = v;
  if (!v->n || v->n > CSN_MODELS_MAX)
    return csn_fail(err, CSN_E_INVALID, "expected 1 to %d models", CSN_MODELS_MAX);
  int rc = 0;
  csn_json_each (entry, v)
    if (rc == 0)
      rc = check_entry(entry, at, err);
  return rc;
}

/* ---- writing ---- */

bool
csn_models_is_list(csn_str name)
{
  for (size_t i = 0; i < name.n; i++)
    if (name.p[i] == '/' || name.p[i] == ':')
      return false;
  return name.n > 0;
}

/* One list that is being written; an entry of ours may be a list itself. */
struct writer {
  csn_jw *w;
  csn_arena *arena;
  const struct csn_project *project;
  size_t n;
};

static void
write_condition(csn_jw *w, const csn_json *m)
{
  int64_t percent;
  csn_jw_keyn(w, m->key);
  if (csn_str_eq(m->key, CSN_STR("budget_under")) && m->kind == CSN_JSON_STRING &&
      csn_str_int(csn_strn(m->text.p, m->text.n - 1), &percent))
    csn_jw_double(w, (double)percent / 100);
  else
    csn_jw_value(w, m);
}

/* Both conditions must hold; where both name the same, the outer one counts. */
static void
write_when(csn_jw *w, const csn_json *outer, const csn_json *inner)
{
  if (!outer && !inner)
    return;
  csn_jw_key(w, "when");
  csn_jw_obj(w);
  csn_json_each (m, outer)
    write_condition(w, m);
  csn_json_each (m, inner) {
    csn_auto(csn_freep) char *key = csn_dupz(m->key);
    if (!csn_json_get(outer, key))
      write_condition(w, m);
  }
  csn_jw_end(w);
}

static int
write_entry(struct writer *to, const csn_json *v, const char *folder, const csn_json *outer,
            csn_err *err)
{
  const csn_json *name = v->kind == CSN_JSON_OBJECT ? csn_json_get(v, "model") : v;
  const csn_json *when = v->kind == CSN_JSON_OBJECT ? csn_json_get(v, "when") : NULL;
  if (to->n++ == CSN_MODELS_MAX)
    return csn_fail(err, CSN_E_INVALID, "more than %d models, one for the other", CSN_MODELS_MAX);
  const char *model = csn_arena_dup(to->arena, name->text).p;
  csn_jw_obj(to->w);
  csn_jw_key(to->w, "model");
  csn_jw_strz(to->w, folder ? csn_model_beside(to->arena, model, folder) : model);
  write_when(to->w, outer, when);
  csn_jw_end(to->w);
  return 0;
}

static int
write_named(struct writer *to, csn_str name, const csn_json *when, csn_err *err)
{
  const csn_json *list = csn_project_models(to->project, name);
  if (!list)
    return csn_fail(err, CSN_E_INVALID,
                    "model '%.*s': write PREFIX/NAME, or the name of a list under `models` of "
                    "caisson.yaml",
                    (int)(name.n & 0xff), name.p);
  const char *folder = csn_project_folder(to->project, to->arena);
  int rc = 0;
  if (list->kind == CSN_JSON_STRING)
    return write_entry(to, list, folder, when, err);
  csn_json_each (entry, list)
    if (rc == 0)
      rc = write_entry(to, entry, folder, when, err);
  return rc;
}

int
csn_models_write(const csn_json *v, const char *folder, const struct csn_project *p, csn_jw *w,
                 csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  struct writer to = {.w = w, .arena = arena, .project = p};
  int rc = 0;
  csn_jw_arr(w);
  const csn_json *first = v->kind == CSN_JSON_ARRAY ? v->child : v;
  for (const csn_json *entry = first; entry && rc == 0;
       entry = v->kind == CSN_JSON_ARRAY ? entry->next : NULL) {
    bool is_object = entry->kind == CSN_JSON_OBJECT;
    csn_str name = is_object ? csn_json_str(entry, "model", CSN_STR("")) : entry->text;
    if (p && csn_models_is_list(name))
      rc = write_named(&to, name, is_object ? csn_json_get(entry, "when") : NULL, err);
    else
      rc = write_entry(&to, entry, folder, NULL, err);
  }
  csn_jw_end(w);
  return rc;
}
