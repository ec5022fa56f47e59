/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_env.c - what a manifest holds beside its entries: users and groups,
 * the environment, grants of host folders, the allow-list. */
#include <stdio.h>

#include "sandbox/grants.h"
#include "sandbox/manifest_read.h"

static const char *const default_allowlist[] = {"ls",   "find", "stat", "cat",  "less",  "head",
                                                "tail", "du",   "grep", "rg",   "wc",    "sort",
                                                "cut",  "cp",   "tee",  "echo", "mkdir", "rm"};

static int
get_name(csn_reader *r, const csn_json *v, csn_str *out)
{
  int rc = csn_mr_kind(r, v, CSN_JSON_OBJECT);
  if (rc == 0)
    rc = csn_mr_need_str(r, v, "name", out);
  if (rc < 0)
    return rc;
  if (out->n == 0 || out->n > 64 || out->p[0] == '-')
    return csn_mr_fail(r, CSN_E_INVALID, "name: expected 1 to 64 characters, no '-' first");
  for (size_t i = 0; i < out->n; i++)
    if (strchr(":/\n\t ,", out->p[i]))
      return csn_mr_fail(r, CSN_E_INVALID, "name: blanks and : / , are not allowed");
  return 0;
}

/* {"name"} or {"name","users":[{"name"}]}. */
int
csn_mr_group(csn_reader *r, const csn_json *v, csn_group *out)
{
  static const char *const keys[] = {"name", "users"};
  int rc = get_name(r, v, &out->name);
  if (rc == 0)
    rc = CSN_MR_CHECK_KEYS(r, v, keys);
  const csn_json *users = csn_json_get(v, "users");
  if (rc < 0 || csn_mr_is_null(users))
    return rc;
  out->is_group = true;
  csn_mark k = csn_mr_enter(r, CSN_STR("users"), users);
  rc = csn_mr_kind(r, users, CSN_JSON_ARRAY);
  if (rc < 0)
    return rc;
  out->users = csn_mr_room(r, users->n, sizeof *out->users);
  csn_json_each (u, users) {
    if (r->is_full)
      break;
    rc = get_name(r, u, &out->users[out->n_users++]);
    if (rc < 0)
      return rc;
  }
  csn_mr_leave(r, k);
  return 0;
}

int
csn_mr_groups(csn_reader *r, const csn_json *top, const char *key, csn_group **out, size_t *n,
              bool is_group)
{
  const csn_json *list = csn_json_get(top, key);
  if (csn_mr_is_null(list))
    return 0;
  csn_mark k = csn_mr_enter(r, csn_cstr(key), list);
  int rc = csn_mr_kind(r, list, CSN_JSON_ARRAY);
  if (rc < 0)
    return rc;
  *out = csn_mr_room(r, list->n, sizeof **out);
  csn_json_each (v, list) {
    if (r->is_full)
      break;
    char nr[24];
    snprintf(nr, sizeof nr, "%zu", *n);
    csn_mark at = csn_mr_enter(r, csn_cstr(nr), v);
    rc = csn_mr_group(r, v, &(*out)[*n]);
    if (rc < 0)
      return rc;
    if (!is_group && (*out)[*n].is_group)
      return csn_mr_fail(r, CSN_E_INVALID, "a user has only a name");
    (*out)[(*n)++].is_group = is_group;
    csn_mr_leave(r, at);
  }
  csn_mr_leave(r, k);
  return 0;
}

static int
read_env_value(csn_reader *r, const csn_json *v, csn_env *e, bool may_wrap)
{
  static const char *const plain[] = {"type", "value"};
  static const char *const wrapped[] = {"description", "ephemeral", "value"};
  if (v->kind != CSN_JSON_OBJECT) {
    if (v->kind != CSN_JSON_STRING)
      return csn_mr_fail(r, CSN_E_INVALID, "expected a string: put it in quotes");
    if (memchr(v->text.p ? v->text.p : "", '\0', v->text.n))
      return csn_mr_fail(r, CSN_E_INVALID, "a NUL byte is not allowed here");
    e->value = csn_mr_keep(r, v->text);
    return 0;
  }
  const csn_json *type = csn_json_get(v, "type"), *value = csn_json_get(v, "value");
  if (!type && may_wrap && value && value->kind != CSN_JSON_STRING) {
    e->is_wrapped = true;
    int rc = CSN_MR_CHECK_KEYS(r, v, wrapped);
    if (rc == 0)
      rc = csn_mr_get_str(r, v, "description", &e->description, &e->has_description);
    if (rc == 0)
      rc = csn_mr_get_bool(r, v, "ephemeral", &e->is_ephemeral);
    if (rc < 0)
      return rc;
    csn_mark k = csn_mr_enter(r, CSN_STR("value"), value);
    rc = csn_mr_kind(r, value, CSN_JSON_OBJECT);
    if (rc == 0)
      rc = read_env_value(r, value, e, false);
    if (rc == 0)
      csn_mr_leave(r, k);
    return rc;
  }
  if (type && (type->kind != CSN_JSON_STRING || !type->text.n))
    return csn_mr_fail(r, CSN_E_INVALID, "type: expected a word such as str");
  if (type && !csn_str_eq(type->text, CSN_STR("str")))
    return csn_env_read_resolved(r, v, e);
  e->shape = type ? CSN_ENV_TYPED : CSN_ENV_SHORT;
  int rc = CSN_MR_CHECK_KEYS(r, v, plain);
  return rc == 0 ? csn_mr_need_str(r, v, "value", &e->value) : rc;
}

int
csn_mr_environment(csn_reader *r, const csn_json *top)
{
  static const char *const keys[] = {"value"};
  csn_manifest *m = r->m;
  const csn_json *env = csn_json_get(top, "environment");
  size_t n = 0;
  if (!csn_mr_is_null(env)) {
    csn_mark k = csn_mr_enter(r, CSN_STR("environment"), env);
    int rc = csn_mr_kind(r, env, CSN_JSON_OBJECT);
    if (rc == 0)
      rc = CSN_MR_CHECK_KEYS(r, env, keys);
    if (rc < 0)
      return rc;
    const csn_json *value = csn_json_get(env, "value");
    csn_mark k2 = csn_mr_enter(r, CSN_STR("value"), value);
    if (!csn_mr_is_null(value) && (rc = csn_mr_kind(r, value, CSN_JSON_OBJECT)) < 0)
      return rc;
    n = csn_mr_is_null(value) ? 0 : value->n;
    m->env = csn_mr_room(r, n, sizeof *m->env);
    csn_json_each (v, n ? value : NULL) {
      if (r->is_full)
        break;
      csn_mark at = csn_mr_enter(r, v->key, v);
      csn_env *e = &m->env[m->n_env++];
      if (v->key.n == 0 || memchr(v->key.p, '=', v->key.n) || memchr(v->key.p, '\0', v->key.n))
        return csn_mr_fail(r, CSN_E_INVALID, "not a usable name of a variable");
      e->name = csn_mr_keep(r, v->key);
      rc = read_env_value(r, v, e, true);
      if (rc < 0)
        return rc;
      csn_mr_leave(r, at);
    }
    csn_mr_leave(r, k2);
    csn_mr_leave(r, k);
  }
  m->environment = csn_mr_room(r, n, sizeof *m->environment);
  size_t k = 0;
  for (size_t i = 0; !r->is_full && i < m->n_env; i++) {
    m->has_resolved = m->has_resolved || m->env[i].shape == CSN_ENV_RESOLVED;
    if (m->env[i].shape == CSN_ENV_RESOLVED)
      continue;
    csn_str s = csn_arena_printf(r->a, "%s=%s", m->env[i].name.p, m->env[i].value.p);
    r->is_full = !s.p;
    m->environment[k++] = s.p;
  }
  return 0;
}

bool
csn_mr_is_clean_absolute(csn_str p)
{
  if (p.n < 2 || p.p[0] != '/' || p.p[1] == '/' || p.p[p.n - 1] == '/')
    return false;
  return csn_str_find(p, CSN_STR("//"), 0) == SIZE_MAX &&
         csn_str_find(p, CSN_STR("/../"), 0) == SIZE_MAX &&
         csn_str_find(p, CSN_STR("/./"), 0) == SIZE_MAX && !csn_str_ends(p, CSN_STR("/..")) &&
         !csn_str_ends(p, CSN_STR("/."));
}

int
csn_mr_grants(csn_reader *r, const csn_json *top)
{
  static const char *const keys[] = {"path", "read_only", "description", "host_path"};
  const csn_json *list = csn_json_get(top, "extra_path_grants");
  if (csn_mr_is_null(list))
    return 0;
  csn_mark k = csn_mr_enter(r, CSN_STR("extra_path_grants"), list);
  int rc = csn_mr_kind(r, list, CSN_JSON_ARRAY);
  if (rc < 0)
    return rc;
  r->m->grants = csn_mr_room(r, list->n, sizeof *r->m->grants);
  csn_json_each (v, list) {
    if (r->is_full)
      break;
    char nr[24];
    snprintf(nr, sizeof nr, "%zu", r->m->n_grants);
    csn_mark at = csn_mr_enter(r, csn_cstr(nr), v);
    csn_grant *g = &r->m->grants[r->m->n_grants++];
    rc = csn_mr_kind(r, v, CSN_JSON_OBJECT);
    if (rc == 0)
      rc = CSN_MR_CHECK_KEYS(r, v, keys);
    if (rc == 0)
      rc = csn_mr_need_str(r, v, "path", &g->path);
    if (rc == 0)
      rc = csn_mr_get_bool(r, v, "read_only", &g->is_read_only);
    if (rc == 0)
      rc = csn_mr_get_str(r, v, "description", &g->description, &g->has_description);
    if (rc == 0)
      rc = csn_mr_get_str(r, v, "host_path", &g->host_path, &g->has_host_path);
    if (rc < 0)
      return rc;
    if (!csn_mr_is_clean_absolute(g->path) ||
        (g->has_host_path && !csn_mr_is_clean_absolute(g->host_path)))
      return csn_mr_fail(
          r, CSN_E_INVALID,
          "expected an absolute path without \".\", \"..\" and \"//\", and not \"/\"");
    csn_mr_leave(r, at);
  }
  csn_mr_leave(r, k);
  return 0;
}

const csn_path_grant *
csn_manifest_grants(const csn_manifest *m, csn_arena *a)
{
  csn_path_grant *list = m->n_grants ? csn_arena_alloc(a, (m->n_grants + 1) * sizeof *list) : NULL;
  for (size_t i = 0; i < m->n_grants; i++) {
    const csn_grant *g = &m->grants[i];
    list[i] = (csn_path_grant){.path = csn_arena_dup(a, g->path).p,
                               .from = g->has_host_path ? csn_arena_dup(a, g->host_path).p : NULL,
                               .is_writable = !g->is_read_only};
  }
  if (list)
    list[m->n_grants] = (csn_path_grant){0};
  return list;
}

int
csn_mr_allowlist(csn_reader *r, const csn_json *top)
{
  csn_manifest *m = r->m;
  const csn_json *list = csn_json_get(top, "remote_mount_command_allowlist");
  if (!list) {
    m->allowlist = csn_mr_room(r, CSN_COUNT(default_allowlist), sizeof *m->allowlist);
    for (size_t i = 0; !r->is_full && i < CSN_COUNT(default_allowlist); i++)
      m->allowlist[m->n_allowlist++] = csn_cstr(default_allowlist[i]);
    return 0;
  }
  csn_mark k = csn_mr_enter(r, CSN_STR("remote_mount_command_allowlist"), list);
  int rc = csn_mr_kind(r, list, CSN_JSON_ARRAY);
  if (rc < 0)
    return rc;
  m->allowlist = csn_mr_room(r, list->n, sizeof *m->allowlist);
  csn_json_each (v, list) {
    if (r->is_full)
      break;
    rc = csn_mr_kind(r, v, CSN_JSON_STRING);
    if (rc < 0)
      return rc;
    m->allowlist[m->n_allowlist++] = csn_mr_keep(r, v->text);
  }
  csn_mr_leave(r, k);
  return 0;
}
