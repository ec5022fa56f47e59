/* SPDX-License-Identifier: Apache-2.0
 * agent_file.c - agent.yaml: reading, with file and line in every complaint.
 *
 * The resolved form that csn_agent_to_json() writes is read by the same code,
 * so record 0 of a journal and a file differ only in what was filled in. */
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>

#include "base/yaml.h"
#include "caisson/backend.h"
#include "core/fd.h"
#include "run/agent_read.h"
#include "run/driver.h"
#include "run/project.h"

enum { INSTRUCTIONS_MAX_BYTES = 1 << 20 };

int
csn_agent_read_outputs(const struct csn_agent_reader *r, const csn_json *v)
{
  static const char *const keys[] = {"path", "to", NULL};
  const csn_json *m = csn_json_get(v, "outputs");
  if (!m)
    return 0;
  if (r->a->n_outputs)
    return csn_agent_complain(r, m, "outputs: the first of the sandboxes has some; leave one out");
  int rc = csn_agent_want(r, m, "outputs", CSN_JSON_ARRAY);
  if (rc < 0)
    return rc;
  r->a->outputs = csn_arena_alloc(r->a->arena, m->n * sizeof *r->a->outputs);
  csn_json_each (o, m) {
    csn_str path = CSN_STR(""), to = CSN_STR("");
    rc = csn_agent_want(r, o, "outputs", CSN_JSON_OBJECT);
    if (rc == 0)
      rc = csn_agent_only(r, o, "outputs.", keys);
    if (rc == 0)
      rc = csn_agent_text(r, o, "path", &path);
    if (rc == 0)
      rc = csn_agent_text(r, o, "to", &to);
    if (rc == 0 && !path.n)
      rc = csn_agent_complain(r, o, "outputs: each needs a `path` in the workspace");
    if (rc < 0)
      return rc;
    r->a->outputs[r->a->n_outputs++] = (csn_output){path, to};
  }
  return 0;
}

/* What stands around the agent's own text. */
static int
read_around(const struct csn_agent_reader *r, const csn_json *v)
{
  const csn_json *agents_md = csn_json_get(v, "agents_md");
  int rc = csn_agent_text(r, v, "base_instructions", &r->a->base_instructions);
  if (rc == 0 && agents_md)
    rc = csn_agent_want(r, agents_md, "agents_md", CSN_JSON_BOOL);
  if (rc == 0 && agents_md)
    r->a->ignores_agents_md = !agents_md->truth;
  return rc;
}

static int
read_instructions(const struct csn_agent_reader *r, const csn_json *v)
{
  csn_agent *a = r->a;
  csn_str file = CSN_STR(""), callback = CSN_STR("");
  static const char *const keys[] = {"callback", NULL};
  const csn_json *given = csn_json_get(v, "instructions");
  int rc = 0;
  if (csn_json_is(given, CSN_JSON_OBJECT)) {
    rc = csn_agent_only(r, given, "instructions.", keys);
    if (rc == 0)
      rc = csn_agent_text(r, given, "callback", &callback);
    if (rc == 0 && !callback.n)
      rc = csn_agent_complain(r, given, "instructions.callback: missing");
    a->instructions_callback = callback.p;
  } else {
    rc = csn_agent_text(r, v, "instructions", &a->instructions);
  }
  if (rc == 0)
    rc = read_around(r, v);
  if (rc == 0)
    rc = csn_agent_text(r, v, "instructions_file", &file);
  if (rc < 0 || !file.n)
    return rc;
  const csn_json *at = csn_json_get(v, "instructions_file");
  if (csn_json_get(v, "instructions"))
    return csn_agent_complain(r, at, "instructions and instructions_file exclude each other");
  csn_str path = file.p[0] == '/' ? file : csn_arena_printf(a->arena, "%s/%s", a->folder, file.p);
  csn_auto(csn_closep) int fd = open(path.p, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(INSTRUCTIONS_MAX_BYTES);
  csn_err why;
  if (fd < 0)
    rc = csn_fail_errno(&why, "cannot open %s", path.p);
  else
    rc = csn_fd_read_all(fd, &text, &why);
  if (rc < 0)
    return csn_agent_complain(r, at, "instructions_file: %s", why.msg);
  a->instructions = csn_arena_dup(a->arena, csn_buf_str(&text));
  return 0;
}

int
csn_agent_read_manifest(const struct csn_agent_reader *r, const csn_json *v)
{
  const csn_json *m = csn_json_get(v, "manifest");
  if (!m)
    return 0;
  int rc = csn_agent_want(r, m, "manifest", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = csn_manifest_from_json(r->a->arena, m, &r->a->manifest, r->err);
  if (rc < 0)
    return csn_wrap(r->err, rc, "%s: manifest", r->file);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(256u << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_manifest_to_json(r->a->manifest, &w);
  rc = csn_jw_done(&w, r->err);
  csn_str json = csn_arena_dup(r->a->arena, csn_buf_str(&text));
  return rc < 0 ? rc : csn_json_parse(r->a->arena, json, &r->a->manifest_json, r->err);
}

/* Of the resolved form: which tools of the program a member has. */
static int
read_bound(const struct csn_agent_reader *r, const csn_json *v)
{
  const csn_json *m = csn_json_get(v, "bound_tools");
  if (!m)
    return 0;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_value(&w, m);
  int rc = csn_agent_want(r, m, "bound_tools", CSN_JSON_ARRAY);
  return rc < 0 ? rc : csn_agent_keep(r, &w, &r->a->bound_tools);
}

/* What an agent of `agents` shares with the first one is written there. */
static int
check_member(const struct csn_agent_reader *r, const csn_json *v)
{
  static const char *const shared[] = {"manifest",  "sandbox",  "sandboxes", "outputs",
                                       "folder",    "limits",   "approvals", "agents",
                                       "untrusted", "agents_md"};
  for (size_t i = 0; i < CSN_COUNT(shared); i++) {
    const csn_json *m = csn_json_get(v, shared[i]);
    if (m)
      return csn_agent_complain(r, m, "agents: %s is shared; write it in the first agent",
                                shared[i]);
  }
  return 0;
}

static int
read_agent(const struct csn_agent_reader *r, const csn_json *v)
{
  static const char *const keys[] = {"name",
                                     "description",
                                     "model",
                                     "instructions",
                                     "instructions_file",
                                     "base_instructions",
                                     "agents_md",
                                     "capabilities",
                                     "manifest",
                                     "sandbox",
                                     "sandboxes",
                                     "outputs",
                                     "folder",
                                     ".bound_tools",
                                     ".parent",
                                     NULL};
  const char *all[CSN_COUNT(keys) + CSN_SECTIONS_MAX];
  size_t n = CSN_COUNT(keys) - 1;
  memcpy(all, keys, sizeof keys);
  n += csn_agent_section_keys(all + n);
  all[n] = NULL;
  csn_agent *a = r->a;
  int rc = csn_agent_want(r, v, "the agent", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = csn_agent_only(r, v, "", all);
  csn_str name = CSN_STR(""), folder = CSN_STR(""), text = CSN_STR("");
  if (rc == 0 && a->parent)
    rc = check_member(r, v);
  csn_str parent = CSN_STR("");
  if (rc == 0)
    rc = csn_agent_text(r, v, "parent", &parent);
  if (parent.n)
    a->run_parent = parent.p;
  if (rc == 0)
    rc = csn_agent_text(r, v, "description", &text);
  if (rc == 0)
    rc = csn_agent_text(r, v, "name", &name);
  if (rc == 0 && !name.n)
    rc = csn_agent_complain(r, v, "name: missing; give the agent a name");
  if (rc == 0)
    rc = csn_agent_text(r, v, "folder", &folder);
  if (rc < 0)
    return rc;
  a->name = name.p;
  a->description = text.n ? text.p : NULL;
  if (folder.n)
    a->folder = folder.p;
  rc = csn_agent_read_model(r, csn_json_get(v, "model"));
  if (rc == 0)
    rc = read_bound(r, v);
  if (rc < 0)
    return rc;
  int (*const parts[])(const struct csn_agent_reader *, const csn_json *) = {
      read_instructions,      csn_agent_read_capabilities, csn_agent_read_manifest,
      csn_agent_read_sandbox, csn_agent_read_outputs,      csn_agent_read_sections};
  for (size_t i = 0; i < CSN_COUNT(parts); i++) {
    bool is_shared = parts[i] == csn_agent_read_sandbox;
    rc = is_shared && a->parent ? 0 : parts[i](r, v);
    if (rc < 0)
      return rc;
  }
  return csn_agent_finish(a, r->err);
}

int
csn_agent_read_member(const struct csn_agent_reader *r, const csn_json *v, csn_agent **out)
{
  csn_auto(csn_agent_freep) csn_agent *a = csn_agent_new("");
  a->folder = r->a->folder;
  a->parent = r->a;
  struct csn_agent_reader member = {a, r->file, r->err, r->backends};
  int rc = read_agent(&member, v);
  if (rc == 0)
    *out = csn_steal(a);
  return rc;
}

int
csn_agent_from_json(csn_agent **out, const csn_json *v, const char *file, const char *folder,
                    csn_err *err)
{
  return csn_agent_from_json_of(out, v, file, folder, NULL, err);
}

int
csn_agent_from_json_of(csn_agent **out, const csn_json *v, const char *file, const char *folder,
                       const csn_sandbox_ops *const *own, csn_err *err)
{
  csn_auto(csn_agent_freep) csn_agent *a = csn_agent_new("");
  a->folder = csn_arena_dup(a->arena, csn_cstr(folder)).p;
  struct csn_agent_reader r = {a, file, err, own};
  int rc = read_agent(&r, v);
  if (rc == 0)
    *out = csn_steal(a);
  return rc;
}

static int
load(csn_agent **out, const char *path, const csn_sandbox_ops *const *own, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  csn_auto(csn_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return csn_fail_errno(err, "cannot open the agent file %s; `caisson init` writes one", path);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_YAML_MAX);
  int rc = csn_fd_read_all(fd, &text, err);
  const csn_json *v;
  if (rc == 0)
    rc = csn_yaml_parse(arena, csn_buf_str(&text), path, &v, err);
  if (rc < 0)
    return csn_wrap(err, rc, "agent file");
  csn_auto(csn_freep) char *real = realpath(path, NULL);
  return csn_agent_from_json_of(out, v, path, real ? dirname(real) : ".", own, err);
}

int
csn_agent_load(csn_agent **out, const char *path, csn_err *err)
{
  return load(out, path, NULL, err);
}

int
csn_rt_load_agent(csn_rt *rt, csn_agent **out, const char *path, csn_err *err)
{
  return load(out, path, rt->backends, err);
}
