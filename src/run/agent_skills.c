/* SPDX-License-Identifier: Apache-2.0
 * agent_skills.c - the capability `skills` of agent.yaml: where skills come from.
 *
 *   skills                                          those of the workspace, in .agents
 *   {type: skills, path: .agents, sources: [workspace, {workspace: PATH}, {local: DIR},
 *     {git: {repo, ref, host, subpath}},
 *     {inline: {name, description, content, files: {PATH: TEXT}}}]} */
#include "core/fd.h"
#include "run/agent_read.h"
#include "run/clean_text.h"
#include "run/skill.h"
#include "sandbox/manifest_int.h"

enum { SOURCES_MAX = 50, PATH_MAX_BYTES = 1000 };

/* A path of the workspace: relative, clean, not its top. */
static int
read_path(const struct csn_agent_reader *r, const csn_json *at, csn_str path, csn_str *out)
{
  csn_auto(csn_buf_finip) csn_buf clean = CSN_BUF(PATH_MAX_BYTES);
  bool is_good = path.n && path.p[0] != '/' && !memchr(path.p, '\0', path.n) &&
                 !memchr(path.p, '\\', path.n) && csn_path_add(&clean, path) && clean.n &&
                 !clean.over;
  if (!is_good)
    return csn_agent_complain(r, at, "skills: expected a folder inside the workspace");
  *out = csn_arena_dup(r->a->arena, csn_buf_str(&clean));
  return 0;
}

static void
member(csn_jw *w, const char *key, csn_str s)
{
  csn_jw_key(w, key);
  csn_jw_str(w, s);
}

static int
read_local(const struct csn_agent_reader *r, const csn_json *s, csn_jw *w)
{
  csn_str path = CSN_STR("");
  int rc = csn_agent_text(r, s, "local", &path);
  if (rc == 0 && !path.n)
    rc = csn_agent_complain(r, s, "skills.sources.local: expected a folder");
  if (rc < 0)
    return rc;
  if (path.p[0] != '/')
    path = csn_arena_printf(r->a->arena, "%s/%.*s", r->a->folder, (int)path.n, path.p);
  member(w, "local", path);
  return 0;
}

static int
read_git(const struct csn_agent_reader *r, const csn_json *git, csn_jw *w)
{
  static const char *const keys[] = {"repo", "ref", "host", "subpath", NULL};
  static const char *(*const checks[])(csn_str s) = {csn_git_bad_repo, csn_git_bad_ref,
                                                     csn_git_bad_host, csn_git_bad_subpath};
  int rc = csn_agent_want(r, git, "skills.sources.git", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = csn_agent_only(r, git, "skills.sources.git.", keys);
  csn_jw_key(w, "git");
  csn_jw_obj(w);
  for (size_t i = 0; rc == 0 && keys[i]; i++) {
    csn_str value = CSN_STR("");
    const csn_json *m = csn_json_get(git, keys[i]);
    rc = csn_agent_text(r, git, keys[i], &value);
    if (rc == 0 && !m && i < 2)
      rc = csn_agent_complain(r, git, "skills.sources.git: each needs a `repo` and a `ref`");
    const char *bad = rc == 0 && m ? checks[i](value) : NULL;
    if (bad)
      rc = csn_agent_complain(r, m, "skills.sources.git.%s: %s", keys[i], bad);
    if (rc == 0 && m)
      member(w, keys[i], value);
  }
  csn_jw_end(w);
  return rc;
}

static int
read_files(const struct csn_agent_reader *r, const csn_json *files, csn_jw *w)
{
  int rc = csn_agent_want(r, files, "skills.sources.inline.files", CSN_JSON_OBJECT);
  csn_jw_key(w, "files");
  csn_jw_obj(w);
  csn_json_each (f, rc == 0 ? files : NULL) {
    csn_str path;
    rc = read_path(r, f, f->key, &path);
    if (rc == 0)
      rc = csn_agent_want(r, f, "skills.sources.inline.files", CSN_JSON_STRING);
    if (rc == 0 && csn_str_eq(path, CSN_STR("SKILL.md")))
      rc = csn_agent_complain(r, f, "skills.sources.inline.files: SKILL.md is made of `content`");
    if (rc < 0)
      return rc;
    member(w, path.p, f->text);
  }
  csn_jw_end(w);
  return rc;
}

static int
read_inline(const struct csn_agent_reader *r, const csn_json *s, csn_jw *w)
{
  static const char *const keys[] = {"name", "description", "content", "files", NULL};
  csn_str name = CSN_STR(""), about = CSN_STR(""), content = CSN_STR("");
  csn_auto(csn_buf_finip) csn_buf line = CSN_BUF((size_t)8 * CSN_SKILL_DESCRIPTION_MAX);
  csn_err why;
  int rc = csn_agent_want(r, s, "skills.sources.inline", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = csn_agent_only(r, s, "skills.sources.inline.", keys);
  if (rc == 0)
    rc = csn_agent_text(r, s, "name", &name);
  if (rc == 0)
    rc = csn_agent_text(r, s, "description", &about);
  if (rc == 0)
    rc = csn_agent_text(r, s, "content", &content);
  if (rc < 0)
    return rc;
  csn_text_clean_line(about, &line);
  if (csn_skill_name_check(name, &why) < 0)
    return csn_agent_complain(r, s, "skills.sources.inline.name: %s", why.msg);
  if (!line.n || line.over || line.n > (size_t)4 * CSN_SKILL_DESCRIPTION_MAX || !content.n)
    return csn_agent_complain(r, s,
                              "skills.sources.inline: expected a `description` of at most %d "
                              "characters and a `content`",
                              CSN_SKILL_DESCRIPTION_MAX);
  csn_jw_key(w, "inline");
  csn_jw_obj(w);
  member(w, "name", name);
  member(w, "description", csn_buf_str(&line));
  member(w, "content", content);
  const csn_json *files = csn_json_get(s, "files");
  if (files)
    rc = read_files(r, files, w);
  csn_jw_end(w);
  return rc;
}

static int
read_workspace(const struct csn_agent_reader *r, const csn_json *at, csn_str path, csn_jw *w)
{
  csn_str clean = CSN_STR("");
  int rc = read_path(r, at, path, &clean);
  if (rc == 0)
    member(w, "workspace", clean);
  return rc;
}

static int
read_source(const struct csn_agent_reader *r, const csn_json *s, csn_str path, csn_jw *w)
{
  static const char *const keys[] = {"workspace", "local", "git", "inline", NULL};
  if (csn_json_is(s, CSN_JSON_STRING) && csn_str_eq(s->text, CSN_STR("workspace"))) {
    csn_jw_obj(w);
    int rc = read_workspace(r, s, path, w);
    csn_jw_end(w);
    return rc;
  }
  if (s->kind != CSN_JSON_OBJECT || s->n != 1)
    return csn_agent_complain(r, s,
                              "skills.sources: expected the word workspace, or one of {workspace: "
                              "PATH}, {local: DIR}, {git: ...}, {inline: ...}");
  int rc = csn_agent_only(r, s, "skills.sources.", keys);
  csn_jw_obj(w);
  if (rc < 0)
    return rc;
  if (csn_str_eq(s->child->key, CSN_STR("workspace"))) {
    rc = csn_agent_want(r, s->child, "skills.sources.workspace", CSN_JSON_STRING);
    rc = rc < 0 ? rc : read_workspace(r, s->child, s->child->text, w);
  } else if (csn_str_eq(s->child->key, CSN_STR("local"))) {
    rc = read_local(r, s, w);
  } else if (csn_str_eq(s->child->key, CSN_STR("git"))) {
    rc = read_git(r, s->child, w);
  } else {
    rc = read_inline(r, s->child, w);
  }
  csn_jw_end(w);
  return rc;
}

static int
read_sources(const struct csn_agent_reader *r, const csn_json *list, csn_str path, csn_jw *w)
{
  int rc = list ? csn_agent_want(r, list, "skills.sources", CSN_JSON_ARRAY) : 0;
  if (rc == 0 && list && (!list->n || list->n > SOURCES_MAX))
    rc = csn_agent_complain(r, list, "skills.sources: expected 1 to %d", SOURCES_MAX);
  csn_jw_key(w, "sources");
  csn_jw_arr(w);
  csn_json_each (s, list)
    if (rc == 0)
      rc = read_source(r, s, path, w);
  if (!list) {
    csn_jw_obj(w);
    member(w, "workspace", path);
    csn_jw_end(w);
  }
  csn_jw_end(w);
  return rc;
}

int
csn_agent_read_skills(const struct csn_agent_reader *r, const csn_json *m)
{
  static const char *const keys[] = {"type", "path", "sources", NULL};
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(16u << 20);
  csn_str path = CSN_STR(".agents");
  const csn_json *settings = m->kind == CSN_JSON_OBJECT ? m : NULL;
  const csn_json *given = csn_json_get(settings, "path");
  int rc = settings ? csn_agent_only(r, m, "capabilities.", keys) : 0;
  if (rc == 0 && given)
    rc = csn_agent_want(r, given, "skills.path", CSN_JSON_STRING);
  if (rc == 0 && given)
    rc = read_path(r, given, given->text, &path);
  if (rc < 0)
    return rc;
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  member(&w, "type", CSN_STR("skills"));
  member(&w, "path", path);
  rc = read_sources(r, csn_json_get(settings, "sources"), path, &w);
  csn_jw_end(&w);
  return rc < 0 ? rc : csn_agent_keep(r, &w, &r->a->skills);
}
