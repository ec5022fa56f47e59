/* SPDX-License-Identifier: Apache-2.0
 *
 * exec.c - sandboxes that a program of the user provides: it is started once for
 * each and told what to do in JSON lines (docs/exec-backend.md).
 *
 * What a sandbox holds is the program's.  A program that ends, or says what it
 * must not, is a sandbox that is lost; one that can `keep` may find it again. */
#include "sandbox/backend/exec.h"

#include <errno.h>

#include "core/fd.h"
#include "core/hash.h"
#include "sandbox/limits.h"
#include "sandbox/snap_tree.h"
#include "sandbox/stack.h"
#include "sandbox/strings.h"

enum { CLOSE_MS = 20000, TOLD_MAX = 16 << 10, ROOT_MAX = 1000 };

static csn_log *
log_of(const csn_sandbox_spec *spec)
{
  return spec->own ? spec->own->log : NULL;
}

/* ---- opening ---- */

static void
write_limits(csn_jw *w, const csn_sandbox_limits *l)
{
  csn_jw_key(w, "limits");
  csn_jw_obj(w);
  for (enum csn_limit i = 0; i < CSN_LIMITS; i++) {
    if (csn_limit_asked(l, i) <= 0)
      continue;
    csn_jw_key(w, csn_limit_name(i));
    csn_jw_int(w, csn_limit_asked(l, i));
  }
  csn_jw_end(w);
}

static void
write_open(const struct csn_exec_box *b, csn_jw *w, const csn_sandbox_spec *spec)
{
  const char *const words[][2] = {
      {"root", spec->root}, {"user", spec->user}, {"label", spec->label}};
  csn_exec_write_options(w, spec->options);
  for (size_t i = 0; i < CSN_COUNT(words); i++) {
    if (!words[i][1])
      continue;
    csn_jw_key(w, words[i][0]);
    csn_jw_strz(w, words[i][1]);
  }
  if (csn_exec_can(b, CSN_EXEC_LIMITS))
    write_limits(w, spec->limits);
  if (csn_exec_can(b, CSN_EXEC_KEEP)) {
    csn_jw_key(w, "keep");
    csn_jw_bool(w, spec->keep);
  }
  if (spec->state) {
    csn_jw_key(w, "state");
    csn_jw_value(w, csn_json_get(spec->state, "state"));
  }
}

/* {"memory": {"state": "enforced", "value": 1073741824}} */
static int
read_limits(struct csn_exec_box *b, const csn_json *limits, csn_err *err)
{
  csn_json_each (m, limits) {
    enum csn_limit i = 0;
    int64_t value = csn_json_int(m, "value", 0);
    bool is_soft = csn_str_eq(csn_json_str(m, "state", CSN_STR("")), CSN_STR("soft"));
    while (i < CSN_LIMITS && !csn_str_eq(m->key, csn_cstr(csn_limit_name(i))))
      i++;
    if (i == CSN_LIMITS || value <= 0)
      return csn_fail(err, CSN_E_PARSE, "the program told a limit that cannot be, %.*s",
                      (int)(m->key.n & 0x3f), m->key.p);
    b->base.held.value[i] = value;
    b->base.held.state[i] = is_soft ? CSN_LIMIT_SOFT : CSN_LIMIT_ENFORCED;
  }
  return 0;
}

static int
read_opened(struct csn_exec_box *b, const csn_json *ok, csn_err *err)
{
  csn_str root = csn_json_str(ok, "root", CSN_STR(""));
  const csn_json *state = csn_json_get(ok, "state"), *about = csn_json_get(ok, "describe");
  if (!root.n || root.p[0] != '/' || root.n > ROOT_MAX || memchr(root.p, '\0', root.n) ||
      csn_utf8_valid(root) < root.n)
    return csn_fail(err, CSN_E_PARSE, "the program's answer to `open` has no absolute `root`");
  if (state && (state->kind != CSN_JSON_OBJECT || state->raw.n > TOLD_MAX))
    return csn_fail(err, CSN_E_PARSE, "its `state` is no object of at most %d bytes", TOLD_MAX);
  if (about && (about->kind != CSN_JSON_OBJECT || about->raw.n > TOLD_MAX))
    return csn_fail(err, CSN_E_PARSE, "its `describe` is no object of at most %d bytes", TOLD_MAX);
  free(b->base.root);
  b->base.root = csn_dupz(root);
  b->state = state ? state->raw : CSN_STR("{}");
  b->describe = about ? about->raw : CSN_STR("{}");
  return csn_exec_can(b, CSN_EXEC_LIMITS) ? read_limits(b, csn_json_get(ok, "limits"), err) : 0;
}

static int
enter(struct csn_exec_box *b, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  csn_auto(csn_talk_ask_finip) csn_talk_ask q = {0};
  const csn_json *ok = NULL;
  csn_talk_ask_init(b->talk, &q, "open");
  write_open(b, &q.w, spec);
  int rc = csn_talk_ask_send(b->talk, sc, &q, b->arena, &ok, err);
  if (rc < 0)
    return rc;
  b->is_open = true;
  return read_opened(b, ok, err);
}

/* ---- requests ---- */

/* Of the whole sandbox, with nothing to say. */
static int
tell(struct csn_exec_box *b, csn_scope *sc, const char *what, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_talk_ask_finip) csn_talk_ask q = {0};
  const csn_json *ok;
  csn_talk_ask_init(b->talk, &q, what);
  return csn_talk_ask_send(b->talk, sc, &q, a, &ok, err);
}

static void
exec_close(csn_sandbox *sb)
{
  struct csn_exec_box *b = csn_exec_of(sb);
  csn_scope sc;
  csn_scope_init(&sc, NULL, CLOSE_MS);
  if (b->talk && b->is_open && !csn_talk_is_dead(b->talk))
    (void)!tell(b, &sc, b->keep ? "leave" : "destroy", NULL);
  csn_scope_fini(&sc);
  csn_talk_close(b->talk);
  csn_arena_free(b->arena);
  free(b->base.root);
  free(b);
}

static void
exec_closep(struct csn_exec_box **b)
{
  if (*b)
    exec_close(&(*b)->base);
}

static struct csn_exec_box *
box_new(void)
{
  struct csn_exec_box *b = csn_alloc(sizeof *b);
  b->base = (csn_sandbox){.ops = &csn_sandbox_program, .workspace_fd = -1, .uid = -1, .gid = -1};
  b->arena = csn_arena_new(0);
  return b;
}

static void
keep_environment(struct csn_exec_box *b, const char *const *given)
{
  size_t n = csn_strings_count(given);
  const char **list = csn_arena_alloc(b->arena, (n + 1) * sizeof *list);
  for (size_t i = 0; i < n; i++)
    list[i] = csn_arena_dup(b->arena, csn_cstr(given[i])).p;
  b->environment = list;
}

static int
exec_open(csn_sandbox **out, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  csn_auto(exec_closep) struct csn_exec_box *b = box_new();
  int rc = csn_exec_start(b, sc, spec->backend, spec->options, log_of(spec), err);
  if (rc == 0)
    rc = csn_exec_check(b, spec, err);
  if (rc == 0 && spec->state && !csn_json_is(csn_json_get(spec->state, "state"), CSN_JSON_OBJECT))
    rc = csn_fail(err, CSN_E_INVALID, "the state has no `state`, an object of the program's");
  if (rc == 0 && spec->state && !csn_exec_can(b, CSN_EXEC_KEEP))
    rc = csn_fail(err, CSN_E_NOT_FOUND, "its sandboxes end with the process that opened them");
  if (rc < 0)
    return rc;
  b->keep = spec->state != NULL; /* one that was there stays should this fail */
  keep_environment(b, spec->environment);
  rc = enter(b, sc, spec, err);
  if (rc < 0)
    return rc;
  b->keep = spec->keep && csn_exec_can(b, CSN_EXEC_KEEP);
  *out = &csn_steal(b)->base;
  return 0;
}

/* ---- files ---- */

/* Until the stream ends. */
static int
drain(struct csn_exec_box *b, csn_talk_stream *s, csn_scope *sc, int fd, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf chunk = CSN_BUF(CSN_TALK_CHUNK);
  int64_t bytes = 0;
  for (;;) {
    enum csn_stream which;
    csn_buf_clear(&chunk);
    int rc = csn_talk_read(b->talk, s, sc, &chunk, CSN_TALK_CHUNK, &which, err);
    if (rc <= 0)
      return rc;
    bytes += rc;
    if (bytes > CSN_SNAP_BYTES_MAX)
      return csn_fail(err, CSN_E_LIMIT, "the files come to more than %lld bytes",
                      (long long)CSN_SNAP_BYTES_MAX);
    rc = csn_fd_write_all(fd, csn_buf_str(&chunk), err);
    if (rc < 0)
      return rc;
  }
}

static int
exec_get(csn_sandbox *sb, csn_scope *sc, const char *const *paths, int tar_fd, csn_err *err)
{
  struct csn_exec_box *b = csn_exec_of(sb);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_talk_ask_finip) csn_talk_ask q = {0};
  const csn_json *ok;
  if (!csn_exec_can(b, CSN_EXEC_GET))
    return csn_sandbox_get_by_tar(sb, sc, paths, tar_fd, err);
  csn_talk_ask_init(b->talk, &q, "get");
  csn_strings_to_json(&q.w, "paths", paths);
  csn_jw_key(&q.w, "credit");
  csn_jw_int(&q.w, CSN_TALK_WINDOW);
  csn_talk_stream *s = csn_talk_listen(b->talk, q.id, true);
  int rc = csn_talk_ask_begin(b->talk, sc, &q, err);
  if (rc == 0)
    rc = drain(b, s, sc, tar_fd, err);
  if (rc == 0)
    rc = csn_talk_ask_await(b->talk, sc, &q, a, &ok, err);
  csn_talk_drop(b->talk, s);
  return rc;
}

static int
exec_put(csn_sandbox *sb, csn_scope *sc, int tar_fd, csn_err *err)
{
  struct csn_exec_box *b = csn_exec_of(sb);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_talk_ask_finip) csn_talk_ask q = {0};
  csn_auto(csn_freep) char *chunk = NULL;
  const csn_json *ok;
  if (!csn_exec_can(b, CSN_EXEC_PUT))
    return csn_sandbox_put_by_tar(sb, sc, tar_fd, err);
  csn_talk_ask_init(b->talk, &q, "put");
  int rc = csn_talk_ask_begin(b->talk, sc, &q, err);
  if (rc < 0)
    return rc;
  chunk = csn_alloc(CSN_TALK_CHUNK);
  ssize_t n = 1;
  while (rc >= 0 && n > 0) {
    n = read(tar_fd, chunk, CSN_TALK_CHUNK);
    if (n < 0 && errno == EINTR)
      n = 1;
    else if (n < 0)
      rc = csn_fail_errno(err, "read the archive");
    else
      rc = csn_talk_write(b->talk, sc, q.id, csn_strn(chunk, (size_t)n), err);
  }
  if (rc == CSN_E_NOT_FOUND || rc == CSN_E_IO) /* it was refused, and the answer says why */
    rc = 0;
  return rc < 0 ? rc : csn_talk_ask_await(b->talk, sc, &q, a, &ok, err);
}

static int
exec_remove(csn_sandbox *sb, csn_scope *sc, const char *const *paths, csn_err *err)
{
  struct csn_exec_box *b = csn_exec_of(sb);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_talk_ask_finip) csn_talk_ask q = {0};
  const csn_json *ok;
  if (!csn_exec_can(b, CSN_EXEC_REMOVE))
    return csn_sandbox_remove_by_rm(sb, sc, paths, err);
  csn_talk_ask_init(b->talk, &q, "remove");
  csn_strings_to_json(&q.w, "paths", paths);
  return csn_talk_ask_send(b->talk, sc, &q, a, &ok, err);
}

/* ---- its life ---- */

static void
exec_state(csn_sandbox *sb, csn_jw *w)
{
  csn_jw_key(w, "state");
  csn_jw_raw(w, csn_exec_of(sb)->state);
}

const char *
csn_exec_word_of(const csn_sandbox *sb)
{
  return ((const struct csn_exec_box *)sb)->word; /* base is the first member */
}

static int
exec_pause(csn_sandbox *sb, csn_scope *sc, csn_err *err)
{
  struct csn_exec_box *b = csn_exec_of(sb);
  int rc = csn_exec_need(b, CSN_EXEC_PAUSE, err);
  return rc < 0 ? rc : tell(b, sc, "pause", err);
}

static int
exec_resume(csn_sandbox *sb, csn_scope *sc, csn_err *err)
{
  struct csn_exec_box *b = csn_exec_of(sb);
  int rc = csn_exec_need(b, CSN_EXEC_PAUSE, err);
  return rc < 0 ? rc : tell(b, sc, "resume", err);
}

static int
exec_destroy(csn_sandbox *sb, csn_scope *sc, csn_err *err)
{
  struct csn_exec_box *b = csn_exec_of(sb);
  int rc = b->is_open ? tell(b, sc, "destroy", err) : 0;
  b->is_open = b->is_open && rc < 0;
  return rc;
}

static void
exec_usage(csn_sandbox *sb, bool is_lost, csn_sandbox_usage *u)
{
  (void)is_lost; /* the talk knows before anybody is told */
  u->is_dead = u->is_told = csn_talk_is_dead(csn_exec_of(sb)->talk);
}

static void
exec_describe(csn_sandbox *sb, csn_jw *w)
{
  const struct csn_exec_box *b = csn_exec_of(sb);
  csn_jw_key(w, "isolation");
  csn_jw_strz(w, "what the program gives");
  csn_jw_key(w, "program");
  csn_jw_strz(w, b->program);
  csn_jw_key(w, "program_name");
  csn_jw_str(w, b->name);
  csn_jw_key(w, "program_says");
  csn_jw_raw(w, b->describe);
  csn_jw_key(w, "limits");
  csn_sandbox_limits_to_json(sb, w);
}

/* ---- what others left ---- */

/* One of the program's list: 1 when it was ended. */
static int
sweep_one(struct csn_exec_box *b, csn_scope *sc, const csn_json *v, const csn_sandbox_sweep *how,
          csn_err *err)
{
  csn_auto(csn_talk_ask_finip) csn_talk_ask q = {0};
  const csn_json *ok, *state = csn_json_get(v, "state");
  csn_str label = csn_json_str(v, "label", CSN_STR(""));
  csn_auto(csn_freep) char *name = csn_dupz(label.n ? label : CSN_STR("a sandbox"));
  if (!csn_json_is(state, CSN_JSON_OBJECT))
    return csn_fail(err, CSN_E_PARSE, "the program listed a sandbox without a `state`");
  if (how->is_wanted && how->is_wanted(how->user, label.n ? name : NULL))
    return 0;
  csn_talk_ask_init(b->talk, &q, "destroy");
  csn_jw_key(&q.w, "state");
  csn_jw_value(&q.w, state);
  int rc = csn_talk_ask_send(b->talk, sc, &q, b->arena, &ok, err);
  if (rc < 0)
    return rc;
  if (how->removed)
    how->removed(how->user, name);
  return 1;
}

static int
list(struct csn_exec_box *b, csn_scope *sc, const csn_json *options, const csn_sandbox_sweep *how,
     const csn_json **out, csn_err *err)
{
  enum { YOUNG_MS = 60000 };
  csn_auto(csn_talk_ask_finip) csn_talk_ask q = {0};
  const csn_json *ok;
  int64_t young = how->young_ms ? how->young_ms : YOUNG_MS;
  csn_talk_ask_init(b->talk, &q, "list");
  csn_exec_write_options(&q.w, options);
  csn_jw_key(&q.w, "owner");
  csn_jw_strz(&q.w, how->owner);
  csn_jw_key(&q.w, "young_ms");
  csn_jw_int(&q.w, young > 0 ? young : 0);
  int rc = csn_talk_ask_send(b->talk, sc, &q, b->arena, &ok, err);
  return rc < 0 ? rc : csn_json_need(ok, "sandboxes", CSN_JSON_ARRAY, out, err);
}

static int
exec_sweep(csn_scope *sc, const csn_json *options, const csn_sandbox_sweep *how, csn_err *err)
{
  csn_auto(exec_closep) struct csn_exec_box *b = box_new();
  const csn_json *all = NULL;
  int n = 0, rc = csn_exec_start(b, sc, how->backend, options, NULL, err);
  if (rc == 0 && !csn_exec_can(b, CSN_EXEC_SWEEP))
    return 0; /* it leaves none */
  if (rc == 0)
    rc = list(b, sc, options, how, &all, err);
  csn_json_each (v, all) {
    rc = rc < 0 ? rc : sweep_one(b, sc, v, how, err);
    n += rc > 0;
  }
  return rc < 0 ? rc : n;
}

const csn_sandbox_ops csn_sandbox_program = {
    .size = sizeof(csn_sandbox_ops),
    .name = "exec",
    .open = exec_open,
    .close = exec_close,
    .spawn = csn_exec_spawn,
    .describe = exec_describe,
    .usage = exec_usage,
    .options = csn_exec_options,
    .is_remote = true,
    .has_users = true,
    .get = exec_get,
    .put = exec_put,
    .remove = exec_remove,
    .state = exec_state,
    .pause = exec_pause,
    .resume = exec_resume,
    .destroy = exec_destroy,
    .sweep = exec_sweep,
};
