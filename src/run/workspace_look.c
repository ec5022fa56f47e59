/* SPDX-License-Identifier: Apache-2.0
 * workspace_look.c - see workspace_look.h. */
#include "run/workspace_look.h"

#include "core/fd.h"
#include "run/agents_md.h"

static int
read_file(void *user, const char *path, csn_buf *out, csn_err *err)
{
  const struct csn_skill_places *p = user;
  int rc = csn_file_head(p->workspace_fd, path, out, err);
  return rc == 1 ? CSN_E_LIMIT : rc;
}

/* Some agent of the run works in the workspace. */
static bool
works_in_it(const csn_agent *a)
{
  bool yes = a->has_shell || a->has_files;
  for (size_t i = 0; i < a->n_agents; i++)
    yes = yes || a->agents[i]->has_shell || a->agents[i]->has_files;
  return yes;
}

static bool
is_project_told(const csn_agent *a)
{
  return !a->ignores_agents_md && works_in_it(a);
}

bool
csn_workspace_is_told(const csn_agent *a)
{
  return is_project_told(a) || a->skills;
}

const char *const *
csn_workspace_paths(const csn_agent *a, csn_arena *arena)
{
  const csn_json *sources = csn_json_get(a->skills, "sources");
  csn_str cwd = csn_cstr(a->sandbox.cwd);
  size_t n = 0, most = CSN_AGENTS_MD_DEPTH + 2 * (sources ? sources->n : 0);
  const char **list = csn_arena_alloc(arena, (most + 1) * sizeof *list);
  if (is_project_told(a))
    list[n++] = "AGENTS.md";
  for (size_t i = 1; is_project_told(a) && i <= cwd.n && n < CSN_AGENTS_MD_DEPTH; i++)
    if (i == cwd.n || cwd.p[i] == '/')
      list[n++] = csn_arena_printf(arena, "%.*s/AGENTS.md", (int)i, cwd.p).p;
  csn_json_each (s, sources) {
    csn_str path = csn_json_str(s, "workspace", CSN_STR(""));
    if (path.n)
      list[n++] = csn_arena_dup(arena, path).p;
    if (path.n && cwd.n)
      list[n++] = csn_arena_printf(arena, "%s/%.*s", cwd.p, (int)path.n, path.p).p;
  }
  return list;
}

int
csn_workspace_look(const csn_agent *a, csn_scope *sc, const struct csn_skill_places *p,
                   csn_buf *out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(4 * CSN_AGENTS_MD_MAX);
  csn_jw w;
  int rc = 0;
  if (is_project_told(a) && p->workspace_fd >= 0)
    csn_agents_md_read(read_file, (void *)(uintptr_t)p, p->cwd, &text);
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  if (text.n) {
    csn_jw_key(&w, "agents_md");
    csn_jw_str(&w, csn_buf_str(&text));
  }
  if (a->skills)
    rc = csn_skills_look(a->skills, sc, p, &w, err);
  csn_jw_end(&w);
  if (rc == 0)
    rc = csn_jw_done(&w, err);
  if (out->n == sizeof "{}" - 1)
    csn_buf_clear(out);
  return rc;
}
