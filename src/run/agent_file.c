/* SPDX-License-Identifier: Apache-2.0
 * agent_file.c - agent.yaml: reading, with file and line in every complaint.
 *
 * The resolved form that csn_agent_to_json() writes is read by the same code,
 * so record 0 of a journal and a file differ only in what was filled in. */
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>

#include "base/yaml.h"
#include "core/fd.h"
#include "model/retry.h"
#include "run/agent_impl.h"

enum { INSTRUCTIONS_MAX_BYTES = 1 << 20 };

struct reader {
  csn_agent *a;
  const char *file;
  csn_err *err;
};

static int complain(const struct reader *r, const csn_json *at, const char *fmt, ...)
    CSN_PRINTF(3, 4);

static int
complain(const struct reader *r, const csn_json *at, const char *fmt, ...)
{
  char text[300];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  if (at && at->line)
    return csn_fail(r->err, CSN_E_INVALID, "%s:%u: %s", r->file, at->line, text);
  return csn_fail(r->err, CSN_E_INVALID, "%s: %s", r->file, text);
}

static int
want(const struct reader *r, const csn_json *v, const char *key, enum csn_json_kind kind)
{
  if (v->kind == kind)
    return 0;
  return complain(r, v, "%s: expected %s, got %s", key, csn_json_kind_name(kind),
                  csn_json_kind_name((enum csn_json_kind)v->kind));
}

/* Fails on a member that is not in the list, and names the list. */
static int
only(const struct reader *r, const csn_json *v, const char *where, const char *const *keys)
{
  csn_json_each (m, v) {
    bool known = false;
    for (const char *const *k = keys; *k; k++)
      known = known || csn_str_eq(m->key, csn_cstr(*k));
    if (known)
      continue;
    csn_auto(csn_buf_finip) csn_buf list = CSN_BUF(1000);
    for (const char *const *k = keys; *k; k++)
      csn_buf_addf(&list, "%s%s", list.n ? ", " : "", *k);
    return complain(r, m, "unknown key %s%.*s; the keys here are: %s", where, (int)m->key.n,
                    m->key.p, list.p);
  }
  return 0;
}

static int
read_text(const struct reader *r, const csn_json *v, const char *key, csn_str *out)
{
  const csn_json *m = csn_json_get(v, key);
  if (!m)
    return 0;
  int rc = want(r, m, key, CSN_JSON_STRING);
  if (rc == 0 && memchr(m->text.p, '\0', m->text.n))
    rc = complain(r, m, "%s: a NUL character is not allowed", key);
  if (rc == 0)
    *out = csn_arena_dup(r->a->arena, m->text);
  return rc;
}

static int
read_whole(const struct reader *r, const csn_json *v, const char *key, int64_t least, int64_t *out)
{
  const csn_json *m = csn_json_get(v, key);
  if (!m)
    return 0;
  int64_t n;
  if (!csn_json_to_int(m, &n) || n < least)
    return complain(r, m, "%s: expected a whole number of at least %lld", key, (long long)least);
  *out = n;
  return 0;
}

/* 90, "90s", "30m", "2h". */
static int
read_wall(const struct reader *r, const csn_json *limits)
{
  const csn_json *m = csn_json_get(limits, "wall");
  if (!m)
    return read_whole(r, limits, "wall_ms", 0, &r->a->wall_ms);
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
    return complain(r, m, "wall: expected a time like 90s, 30m or 2h");
  r->a->wall_ms = n * unit;
  return 0;
}

static int
read_limits(const struct reader *r, const csn_json *v)
{
  static const char *const keys[] = {"turns", "wall", "wall_ms", "output", NULL};
  const csn_json *m = csn_json_get(v, "limits");
  if (!m)
    return 0;
  int rc = want(r, m, "limits", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = only(r, m, "limits.", keys);
  if (rc == 0)
    rc = read_whole(r, m, "turns", 1, &r->a->max_turns);
  if (rc == 0)
    rc = read_whole(r, m, "output", 1, &r->a->output_tokens);
  return rc < 0 ? rc : read_wall(r, m);
}

static int
read_capabilities(const struct reader *r, const csn_json *v)
{
  const csn_json *m = csn_json_get(v, "capabilities");
  if (!m) {
    r->a->has_files = r->a->has_shell = true;
    return 0;
  }
  int rc = want(r, m, "capabilities", CSN_JSON_ARRAY);
  if (rc < 0)
    return rc;
  csn_json_each (c, m) {
    if (csn_str_eq(c->text, CSN_STR("filesystem")) && c->kind == CSN_JSON_STRING)
      r->a->has_files = true;
    else if (csn_str_eq(c->text, CSN_STR("shell")) && c->kind == CSN_JSON_STRING)
      r->a->has_shell = true;
    else
      return complain(r, c, "capabilities: unknown capability; there are filesystem and shell");
  }
  return 0;
}

const char *const *
csn_environment_of(csn_arena *a, const csn_json *v)
{
  const char **list = csn_arena_alloc(a, ((v ? v->n : 0) + 1) * sizeof *list);
  size_t n = 0;
  csn_json_each (m, v)
    list[n++] =
        csn_arena_printf(a, "%.*s=%.*s", (int)m->key.n, m->key.p, (int)m->text.n, m->text.p).p;
  return list;
}

static int
read_environment(const struct reader *r, const csn_json *box)
{
  const csn_json *env = csn_json_get(box, "environment");
  if (!env)
    return 0;
  int rc = want(r, env, "sandbox.environment", CSN_JSON_OBJECT);
  csn_json_each (m, env) {
    if (rc < 0)
      return rc;
    if (m->key.n == 0 || memchr(m->key.p, '=', m->key.n) || memchr(m->key.p, '\0', m->key.n))
      return complain(r, m, "sandbox.environment: '%.*s' is no name for a variable", (int)m->key.n,
                      m->key.p);
    rc = want(r, m, "sandbox.environment", CSN_JSON_STRING);
  }
  r->a->environment = csn_environment_of(r->a->arena, env);
  return rc;
}

static int
read_sandbox(const struct reader *r, const csn_json *v)
{
  static const char *const keys[] = {"backend", "rootfs", "environment", NULL};
  csn_agent *a = r->a;
  const csn_json *m = csn_json_get(v, "sandbox");
  a->has_sandbox = m || a->has_shell || a->has_files || a->manifest;
  csn_str backend = CSN_STR("jail"), rootfs = CSN_STR("");
  if (m) {
    int rc = want(r, m, "sandbox", CSN_JSON_OBJECT);
    if (rc == 0)
      rc = only(r, m, "sandbox.", keys);
    if (rc == 0)
      rc = read_text(r, m, "backend", &backend);
    if (rc == 0)
      rc = read_text(r, m, "rootfs", &rootfs);
    if (rc == 0)
      rc = read_environment(r, m);
    if (rc < 0)
      return rc;
    bool known = false;
    for (const char *const *b = csn_sandbox_backends(); *b; b++)
      known = known || csn_str_eq(backend, csn_cstr(*b));
    if (!known)
      return complain(r, csn_json_get(m, "backend"),
                      "sandbox.backend: unknown back-end '%.*s'; the default is jail",
                      (int)backend.n, backend.p);
  }
  a->backend = backend.p;
  if (rootfs.n)
    a->rootfs = rootfs.p[0] == '/' || csn_str_eq(rootfs, CSN_STR("host"))
                    ? rootfs.p
                    : csn_arena_printf(a->arena, "%s/%s", a->folder, rootfs.p).p;
  return 0;
}

static int
read_outputs(const struct reader *r, const csn_json *v)
{
  static const char *const keys[] = {"path", "to", NULL};
  const csn_json *m = csn_json_get(v, "outputs");
  if (!m)
    return 0;
  int rc = want(r, m, "outputs", CSN_JSON_ARRAY);
  if (rc < 0)
    return rc;
  r->a->outputs = csn_arena_alloc(r->a->arena, m->n * sizeof *r->a->outputs);
  csn_json_each (o, m) {
    csn_str path = CSN_STR(""), to = CSN_STR("");
    rc = want(r, o, "outputs", CSN_JSON_OBJECT);
    if (rc == 0)
      rc = only(r, o, "outputs.", keys);
    if (rc == 0)
      rc = read_text(r, o, "path", &path);
    if (rc == 0)
      rc = read_text(r, o, "to", &to);
    if (rc == 0 && !path.n)
      rc = complain(r, o, "outputs: each needs a `path` in the workspace");
    if (rc < 0)
      return rc;
    r->a->outputs[r->a->n_outputs++] = (csn_output){path, to};
  }
  return 0;
}

static int
read_instructions(const struct reader *r, const csn_json *v)
{
  csn_agent *a = r->a;
  csn_str file = CSN_STR("");
  int rc = read_text(r, v, "instructions", &a->instructions);
  if (rc == 0)
    rc = read_text(r, v, "instructions_file", &file);
  if (rc < 0 || !file.n)
    return rc;
  const csn_json *at = csn_json_get(v, "instructions_file");
  if (csn_json_get(v, "instructions"))
    return complain(r, at, "instructions and instructions_file exclude each other");
  csn_str path = file.p[0] == '/' ? file : csn_arena_printf(a->arena, "%s/%s", a->folder, file.p);
  csn_auto(csn_closep) int fd = open(path.p, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(INSTRUCTIONS_MAX_BYTES);
  csn_err why;
  if (fd < 0)
    rc = csn_fail_errno(&why, "cannot open %s", path.p);
  else
    rc = csn_fd_read_all(fd, &text, &why);
  if (rc < 0)
    return complain(r, at, "instructions_file: %s", why.msg);
  a->instructions = csn_arena_dup(a->arena, csn_buf_str(&text));
  return 0;
}

static int
read_settings(const struct reader *r, const csn_json *v)
{
  static const char *const keys[] = {
      "temperature", "top_p",     "max_tokens", "tool_choice", "parallel_tool_calls",
      "reasoning",   "verbosity", "store",      "truncation",  "metadata",
      "extra_body",  "retry",     NULL};
  const csn_json *m = csn_json_get(v, "settings");
  if (!m)
    return 0;
  int rc = want(r, m, "settings", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = only(r, m, "settings.", keys);
  csn_retry_policy policy;
  csn_err why;
  if (rc == 0 && csn_retry_from_json(&policy, csn_json_get(m, "retry"), &why) < 0)
    rc = complain(r, csn_json_get(m, "retry"), "settings.%s", why.msg);
  if (rc < 0)
    return rc;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_value(&w, m);
  rc = csn_jw_done(&w, r->err);
  csn_str json = csn_arena_dup(r->a->arena, csn_buf_str(&text));
  return rc < 0 ? rc : csn_json_parse(r->a->arena, json, &r->a->settings, r->err);
}

static int
read_manifest(const struct reader *r, const csn_json *v)
{
  const csn_json *m = csn_json_get(v, "manifest");
  if (!m)
    return 0;
  int rc = want(r, m, "manifest", CSN_JSON_OBJECT);
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

/* script and replay name files; a relative one starts from the agent file. */
static void
resolve_model(csn_agent *a)
{
  static const char *const kinds[] = {"script", "replay"};
  csn_str m = csn_cstr(a->model);
  for (size_t i = 0; i < CSN_COUNT(kinds); i++) {
    size_t n = strlen(kinds[i]);
    if (csn_str_starts(m, csn_cstr(kinds[i])) && m.n > n + 1 && (m.p[n] == ':' || m.p[n] == '/') &&
        m.p[n + 1] != '/')
      a->model = csn_arena_printf(a->arena, "%s:%s/%s", kinds[i], a->folder, a->model + n + 1).p;
  }
}

static int
read_agent(const struct reader *r, const csn_json *v)
{
  static const char *const keys[] = {
      "name",     "model",   "instructions", "instructions_file", "settings", "capabilities",
      "manifest", "sandbox", "limits",       "outputs",           "folder",   NULL};
  csn_agent *a = r->a;
  int rc = want(r, v, "the agent", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = only(r, v, "", keys);
  csn_str name = CSN_STR(""), model = CSN_STR(""), folder = CSN_STR("");
  if (rc == 0)
    rc = read_text(r, v, "name", &name);
  if (rc == 0 && !name.n)
    rc = complain(r, v, "name: missing; give the agent a name");
  if (rc == 0)
    rc = read_text(r, v, "model", &model);
  if (rc == 0)
    rc = read_text(r, v, "folder", &folder);
  if (rc < 0)
    return rc;
  a->name = name.p;
  a->model = model.p;
  if (folder.n)
    a->folder = folder.p;
  resolve_model(a);
  int (*const parts[])(const struct reader *, const csn_json *) = {
      read_instructions, read_settings, read_capabilities, read_manifest,
      read_sandbox,      read_limits,   read_outputs};
  for (size_t i = 0; i < CSN_COUNT(parts); i++) {
    rc = parts[i](r, v);
    if (rc < 0)
      return rc;
  }
  return csn_agent_finish(a, r->err);
}

int
csn_agent_from_json(csn_agent **out, const csn_json *v, const char *file, const char *folder,
                    csn_err *err)
{
  csn_auto(csn_agent_freep) csn_agent *a = csn_agent_new("");
  a->folder = csn_arena_dup(a->arena, csn_cstr(folder)).p;
  struct reader r = {a, file, err};
  int rc = read_agent(&r, v);
  if (rc == 0)
    *out = csn_steal(a);
  return rc;
}

int
csn_agent_load(csn_agent **out, const char *path, csn_err *err)
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
  return csn_agent_from_json(out, v, path, real ? dirname(real) : ".", err);
}
