/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_resolve.c - values of the environment that are not in the manifest:
 * {"type": T, ...}.  They are found when a sandbox is opened and stand nowhere:
 * what is written of a manifest has the question, never the answer. */
#include <fcntl.h>

#include "core/fd.h"
#include "sandbox/manifest_read.h"

enum { VALUE_MAX = 128 << 10 }; /* as much as execve(2) takes of one */

typedef int resolve_fn(const csn_manifest *m, const csn_env_source *from, const csn_json *spec,
                       csn_buf *out, csn_err *err);

/* {"type":"env","name","default"?}: a variable of this process. */
static int
from_env(const csn_manifest *m, const csn_env_source *from, const csn_json *spec, csn_buf *out,
         csn_err *err)
{
  (void)m;
  (void)from;
  csn_auto(csn_freep) char *name = csn_dupz(csn_json_str(spec, "name", CSN_STR("")));
  const char *value = getenv(name);
  const csn_json *otherwise = csn_json_get(spec, "default");
  if (!value && !csn_json_is(otherwise, CSN_JSON_STRING))
    return csn_fail(err, CSN_E_INVALID,
                    "the variable %.100s is not set here; set it, or give a \"default\"", name);
  csn_buf_add(out, value ? csn_cstr(value) : otherwise->text);
  return 0;
}

/* {"type":"file","path"}: a file beneath the manifest's folder or a grant,
 * without the line end behind it. */
static int
from_file(const csn_manifest *m, const csn_env_source *from, const csn_json *spec, csn_buf *out,
          csn_err *err)
{
  csn_auto(csn_freep) char *path = csn_dupz(csn_json_str(spec, "path", CSN_STR("")));
  csn_auto(csn_closep) int fd =
      csn_source_open(m, from->source_fd, csn_cstr(path), O_RDONLY | O_NONBLOCK, err);
  if (fd < 0)
    return fd;
  struct stat st;
  if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
    return csn_fail(err, CSN_E_INVALID, "%.200s is not a regular file", path);
  int rc = csn_fd_read_all(fd, out, err);
  while (rc == 0 && out->n && strchr("\r\n", out->p[out->n - 1]))
    out->p[--out->n] = '\0';
  return rc;
}

static const struct builtin {
  const char *type, *keys[4];
  size_t n_keys; /* the first of them, "type" apart, is needed */
  resolve_fn *fn;
} builtins[] = {
    {"env", {"type", "name", "default"}, 3, from_env},
    {"file", {"type", "path"}, 2, from_file},
};

static const struct builtin *
find_builtin(csn_str type)
{
  for (size_t i = 0; i < CSN_COUNT(builtins); i++)
    if (csn_str_eq(type, csn_cstr(builtins[i].type)))
      return &builtins[i];
  return NULL;
}

int
csn_env_read_resolved(csn_reader *r, const csn_json *v, csn_env *e)
{
  int rc = csn_mr_need_str(r, v, "type", &e->type);
  const struct builtin *b = find_builtin(e->type);
  csn_str ignored;
  e->shape = CSN_ENV_RESOLVED;
  if (rc == 0 && b)
    rc = csn_mr_check_keys(r, v, b->keys, b->n_keys);
  if (rc == 0 && b)
    rc = csn_mr_need_str(r, v, b->keys[1], &ignored);
  return rc < 0 ? rc : csn_mr_keep_json(r, v, &e->spec);
}

static const csn_callback *
find_callback(const csn_env_source *from, csn_str type)
{
  return from && from->find ? from->find(from->user, type) : NULL;
}

static int
no_resolver(const csn_env *e, csn_err *err)
{
  return csn_fail(err, CSN_E_UNSUPPORTED,
                  "environment.%.100s: nothing finds values of the type \"%.60s\"; there are str, "
                  "env, file and the callbacks that the program binds under such a name",
                  e->name.p, e->type.p);
}

int
csn_manifest_check_environment(const csn_manifest *m, const csn_env_source *from, csn_err *err)
{
  for (size_t i = 0; i < m->n_env; i++) {
    const csn_env *e = &m->env[i];
    if (e->shape == CSN_ENV_RESOLVED && !find_builtin(e->type) && !find_callback(from, e->type))
      return no_resolver(e, err);
  }
  return 0;
}

static int
ask_callback(const csn_callback *cb, const csn_env *e, csn_scope *sc, csn_buf *out, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(4u << 20);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20), said = CSN_BUF(1 << 20);
  const csn_json *in, *answer = NULL;
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_jw_key(&w, "for");
  csn_jw_strz(&w, "environment");
  csn_jw_key(&w, "name");
  csn_jw_str(&w, e->name);
  csn_jw_key(&w, "value");
  csn_jw_value(&w, e->spec);
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  if (rc == 0)
    rc = csn_json_parse(a, csn_buf_str(&text), &in, err);
  if (rc == 0)
    rc = cb->fn(cb->user, sc, in, &said, err);
  if (rc < 0)
    return csn_wrap(err, rc, "callback %s", cb->name);
  rc = csn_buf_done(&said, "its answer", err);
  if (rc == 0)
    rc = csn_json_parse(a, csn_buf_str(&said), &answer, err);
  const csn_json *value = csn_json_get(answer, "value");
  if (rc == 0 && !csn_json_is(value, CSN_JSON_STRING))
    rc = csn_fail(err, CSN_E_INVALID, "its answer is no {\"value\": TEXT}");
  if (rc < 0)
    return csn_wrap(err, rc, "callback %s", cb->name);
  csn_buf_add(out, value->text);
  return 0;
}

static int
resolve(const csn_manifest *m, const csn_env *e, csn_scope *sc, const csn_env_source *from,
        csn_buf *out, csn_err *err)
{
  const struct builtin *b = find_builtin(e->type);
  const csn_callback *cb = b ? NULL : find_callback(from, e->type);
  if (!b && !cb)
    return no_resolver(e, err);
  int rc = b ? b->fn(m, from, e->spec, out, err) : ask_callback(cb, e, sc, out, err);
  if (rc == 0)
    rc = csn_buf_done(out, "the value", err);
  if (rc == 0 && memchr(out->p ? out->p : "", '\0', out->n))
    rc = csn_fail(err, CSN_E_INVALID, "the value holds a NUL byte");
  return csn_wrap(err, rc, "environment.%.100s", e->name.p);
}

int
csn_manifest_resolve(const csn_manifest *m, csn_scope *sc, const csn_env_source *from, csn_arena *a,
                     const char *const **out, csn_err *err)
{
  const char **list = csn_arena_alloc(a, (m->n_env + 1) * sizeof *list);
  *out = list;
  for (size_t i = 0; i < m->n_env; i++) {
    const csn_env *e = &m->env[i];
    csn_auto(csn_buf_finip) csn_buf value = CSN_BUF(VALUE_MAX);
    int rc = csn_scope_check(sc, err);
    if (rc == 0 && e->shape == CSN_ENV_RESOLVED)
      rc = resolve(m, e, sc, from, &value, err);
    if (rc < 0)
      return rc;
    list[i] = csn_arena_printf(a, "%s=%s", e->name.p,
                               e->shape != CSN_ENV_RESOLVED ? e->value.p
                               : value.n                    ? value.p
                                                            : "")
                  .p;
  }
  return 0;
}
