/* SPDX-License-Identifier: Apache-2.0
 * agent_scopes.c - the section `scopes` of agent.yaml: what of the workspace
 * one agent may read and change.
 *
 *   scopes: {read: [docs], write: [out]} */
#include "core/fd.h"
#include "run/agent_read.h"
#include "sandbox/strings.h"

enum { PATHS_MAX = 64 };

static int
read_list(const struct csn_agent_reader *r, const csn_json *m, const char *key,
          const char *const **out)
{
  const csn_json *list = csn_json_get(m, key);
  if (!list)
    return 0;
  int rc = csn_agent_want(r, list, "scopes", CSN_JSON_ARRAY);
  if (rc < 0)
    return rc;
  if (list->n > PATHS_MAX)
    return csn_agent_complain(r, list, "scopes.%s: more than %d paths", key, PATHS_MAX);
  const char **paths = csn_arena_alloc(r->a->arena, (list->n + 1) * sizeof *paths);
  size_t n = 0;
  csn_json_each (v, list) {
    csn_auto(csn_buf_finip) csn_buf clean = CSN_BUF(4096);
    bool is_path = v->kind == CSN_JSON_STRING && v->text.n && v->text.p[0] != '/' &&
                   !memchr(v->text.p, '\0', v->text.n) && csn_path_add(&clean, v->text) &&
                   !clean.over;
    if (!is_path)
      return csn_agent_complain(
          r, v, "scopes.%s: expected a path in the workspace such as docs, or \".\" for all of it",
          key);
    paths[n++] = clean.n ? csn_arena_dup(r->a->arena, csn_buf_str(&clean)).p : ".";
  }
  *out = paths;
  return 0;
}

int
csn_agent_read_scopes(const struct csn_agent_reader *r, const csn_json *m)
{
  static const char *const keys[] = {"read", "write", NULL};
  csn_agent *a = r->a;
  int rc = csn_agent_want(r, m, "scopes", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = csn_agent_only(r, m, "scopes.", keys);
  a->scopes = (csn_file_scope){NULL, NULL};
  if (rc == 0)
    rc = read_list(r, m, "read", &a->scopes.read);
  if (rc == 0)
    rc = read_list(r, m, "write", &a->scopes.write);
  if (rc == 0 && !a->scopes.write)
    rc = csn_agent_complain(r, m,
                            "scopes: needs `write`, a list of paths; [] when nothing is to be "
                            "changed");
  a->has_scopes = rc == 0;
  return rc;
}

void
csn_agent_write_scopes(const csn_agent *a, csn_jw *w)
{
  if (!a->has_scopes)
    return;
  csn_jw_key(w, "scopes");
  csn_jw_obj(w);
  csn_strings_to_json(w, "read", a->scopes.read);
  csn_strings_to_json(w, "write", a->scopes.write);
  csn_jw_end(w);
}

static void
tell_list(csn_buf *out, const char *const *list)
{
  if (!*list)
    csn_buf_addz(out, "nothing");
  for (size_t i = 0; list[i]; i++)
    csn_buf_addf(out, "%s%s", i ? ", " : "", strcmp(list[i], ".") == 0 ? "all of it" : list[i]);
}

void
csn_agent_tell_scopes(const csn_agent *a, csn_buf *out)
{
  if (!a->has_scopes)
    return;
  csn_buf_addz(out, "Of the workspace you may change: ");
  tell_list(out, a->scopes.write);
  if (a->scopes.read) {
    csn_buf_addz(out, ". And read: ");
    tell_list(out, a->scopes.read);
  }
  csn_buf_addz(out, ". The rest is closed to your commands.");
}

bool
csn_agent_any_scopes(const csn_agent *a)
{
  bool any = a->has_scopes;
  for (size_t i = 0; i < a->n_agents; i++)
    any = any || a->agents[i]->has_scopes;
  return any;
}

int
csn_agent_check_scopes(const csn_agent *a, csn_err *err)
{
  const char *name = a->name;
  for (size_t i = 0; !a->has_scopes && i < a->n_agents; i++)
    if (a->agents[i]->has_scopes)
      name = a->agents[i]->name;
  if (!csn_agent_any_scopes(a))
    return 0;
  if (!a->has_sandbox)
    return csn_fail(err, CSN_E_INVALID, "agent %s: scopes: it has no sandbox", name);
  const csn_agent *box;
  for (size_t i = 0; (box = csn_agent_box(a, i)); i++) { /* they hold in each */
    const struct csn_agent_sandbox *s = &box->sandbox;
    bool is_jail = strcmp(s->backend, "jail") == 0;
    if (is_jail && (!s->level || strcmp(s->level, "native") == 0))
      continue;
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "agent %s: scopes: %s %s cannot hold commands to parts of the workspace; use "
                    "the jail's native level, or take `scopes` out",
                    name, is_jail ? "level" : "back-end", is_jail ? s->level : s->backend);
  }
  return 0;
}
