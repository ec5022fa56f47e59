/* SPDX-License-Identifier: Apache-2.0
 *
 * e2b.c - sandboxes of E2B, and of services that speak its protocol: virtual
 * machines elsewhere, by HTTP.  docs/e2b.md says what they can and what they
 * cannot do.
 *
 * A sandbox is made from a template and ends with us, or rests when nobody has
 * used it for its time-out; using it puts that off.  The account's key goes to the
 * service that makes sandboxes and nowhere else: inside, each sandbox has a token
 * of its own. */
#include "caisson/scope.h"
#include "sandbox/backend/e2b_stream.h"
#include "sandbox/limits.h"
#include "sandbox/strings.h"

enum { CLOSE_MS = 20000, REPLY_MEMORY = 4 << 20 };

/* ---- opening ---- */

/* What no template can hold is said before anything is made. */
static int
check_limits(const csn_sandbox_limits *asked, csn_err *err)
{
  static const enum csn_limit never[] = {CSN_LIMIT_SWAP, CSN_LIMIT_PIDS, CSN_LIMIT_INODES,
                                         CSN_LIMIT_OPEN_FILES, CSN_LIMIT_FILE_SIZE};
  for (size_t i = 0; asked && asked->strict && i < CSN_COUNT(never); i++)
    if (csn_limit_asked(asked, never[i]) > 0)
      return csn_fail(err, CSN_E_UNSUPPORTED,
                      "limits.%s: e2b cannot hold it, and strict asks for it; leave it out or set "
                      "the limit in the template",
                      csn_limit_name(never[i]));
  return 0;
}

static int
check_spec(const csn_sandbox_spec *spec, csn_err *err)
{
  int rc = check_limits(spec->limits, err);
  if (rc < 0)
    return rc;
  if (spec->rootfs)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "rootfs %.100s: what an e2b sandbox begins with is its template; name it in "
                    "sandbox.template",
                    spec->rootfs);
  if (spec->user && strlen(spec->user) > 100)
    return csn_fail(err, CSN_E_INVALID, "user: expected the name of a user of the template");
  return spec->network ? csn_e2b_check_network(spec->network, err) : 0;
}

static void
keep_environment(struct csn_e2b *e, const char *const *given)
{
  size_t n = csn_strings_count(given);
  const char **list = csn_arena_alloc(e->arena, (n + 1) * sizeof *list);
  for (size_t i = 0; i < n; i++)
    list[i] = csn_arena_dup(e->arena, csn_cstr(given[i])).p;
  e->environment = list;
}

static void
free_all(struct csn_e2b *e)
{
  csn_http_free(e->account.http); /* ends the calls that are left */
  for (struct csn_e2b_stream *s = e->streams, *next; s; s = next) {
    next = s->next;
    csn_e2b_stream_unref(s);
  }
  if (e->loop)
    csn_loop_free(e->loop);
  csn_e2b_forget(e->config.key);
  csn_e2b_forget(e->token);
  pthread_mutex_destroy(&e->lock);
  free(e->base.root);
  csn_arena_free(e->arena);
  free(e);
}

static void
e2b_close(csn_sandbox *sb)
{
  struct csn_e2b *e = csn_e2b_of(sb);
  csn_scope sc;
  csn_scope_init(&sc, NULL, CLOSE_MS);
  if (e->id.n && !e->keep && !e->is_ended && !e->is_gone)
    (void)!csn_e2b_kill(&e->account, &sc, e->id, NULL); /* else its time-out does it */
  csn_scope_fini(&sc);
  free_all(e);
}

static void
e2b_closep(struct csn_e2b **e)
{
  if (*e)
    e2b_close(&(*e)->base);
}

/* The folder for the workspace: the service makes it for the user, also where he
 * could not. */
static int
make_root(struct csn_e2b *e, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf body = CSN_BUF(16384);
  csn_err why;
  csn_jw w;
  csn_jw_init(&w, &body);
  csn_jw_obj(&w);
  csn_jw_key(&w, "path");
  csn_jw_strz(&w, e->base.root);
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  if (rc == 0)
    rc = csn_e2b_rpc(e, sc, "/filesystem.Filesystem/MakeDir", csn_buf_str(&body), true, &why);
  if (rc == CSN_E_EXISTS)
    return 0;
  if (rc < 0 && err)
    *err = why;
  return csn_wrap(err, rc, "the workspace %s", e->base.root);
}

/* What a template gives its machines is all they have. */
static int
read_limits(struct csn_e2b *e, csn_scope *sc, const csn_sandbox_limits *asked, csn_err *err)
{
  static const struct {
    enum csn_limit which;
    const char *key;
    int64_t unit;
  } rows[] = {{CSN_LIMIT_MEMORY, "memoryMB", 1 << 20},
              {CSN_LIMIT_CPU, "cpuCount", 1000},
              {CSN_LIMIT_DISK, "diskSizeMB", 1 << 20}};
  bool is_wanted = asked && asked->strict;
  for (size_t i = 0; i < CSN_COUNT(rows); i++)
    is_wanted = is_wanted || csn_limit_asked(asked, rows[i].which) > 0;
  if (!is_wanted)
    return 0;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(REPLY_MEMORY);
  csn_auto(csn_exchange_finip) csn_exchange x;
  csn_exchange_init(&x, NULL, CSN_E2B_REPLY_MAX);
  csn_str path = csn_arena_printf(a, "/sandboxes/%.*s", (int)e->id.n, e->id.p);
  struct csn_e2b_request q = {"GET", path, CSN_STR(""), true, NULL};
  const csn_json *v = NULL;
  int rc = csn_e2b_ask(&e->account, sc, &q, &x, a, &v, err);
  for (size_t i = 0; rc >= 0 && i < CSN_COUNT(rows); i++) {
    int64_t has = csn_json_int(v, rows[i].key, 0);
    int64_t want = csn_limit_asked(asked, rows[i].which);
    if (has <= 0 || has > INT32_MAX)
      continue;
    e->base.held.value[rows[i].which] = has * rows[i].unit;
    e->base.held.state[rows[i].which] =
        want > 0 && has * rows[i].unit > want ? CSN_LIMIT_SOFT : CSN_LIMIT_ENFORCED;
  }
  return rc < 0 ? rc : 0;
}

static int
enter(struct csn_e2b *e, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  csn_str id = csn_json_str(spec->state, "sandbox", CSN_STR(""));
  if (!spec->state)
    return csn_e2b_create(e, sc, spec, err);
  for (size_t i = 0; i < id.n; i++)
    if (!strchr("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_", id.p[i]))
      id.n = 0;
  if (!id.n || id.n > CSN_E2B_ID_MAX)
    return csn_fail(err, CSN_E_INVALID, "state.sandbox: expected the id of an e2b sandbox");
  e->id = csn_arena_dup(e->arena, id);
  int rc = csn_e2b_connect(e, sc, err);
  if (rc < 0) /* closing must not end what could not be reached */
    e->is_gone = true;
  return csn_wrap(err, rc, "e2b sandbox %s", e->id.p);
}

static int
e2b_open(csn_sandbox **out, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  int rc = check_spec(spec, err);
  if (rc < 0)
    return rc;
  csn_auto(e2b_closep) struct csn_e2b *e = csn_alloc(sizeof *e);
  e->base = (csn_sandbox){.ops = &csn_sandbox_e2b, .workspace_fd = -1, .uid = -1, .gid = -1};
  e->base.root = csn_dupz(csn_cstr(spec->root ? spec->root : "/workspace"));
  e->arena = csn_arena_new(0);
  e->keep = spec->state != NULL; /* until it is whole: what was made for us ends, no other */
  e->user = spec->user ? csn_arena_dup(e->arena, csn_cstr(spec->user)).p : NULL;
  pthread_mutex_init(&e->lock, NULL);
  keep_environment(e, spec->environment);
  rc = csn_e2b_config(&e->config, e->arena, spec->options, err);
  if (rc == 0)
    rc = csn_loop_new(&e->loop, err);
  if (rc < 0)
    return rc;
  e->account = (struct csn_e2b_account){csn_http_new(e->loop), e->config.api_url, e->config.key,
                                        e->config.key_env};
  rc = enter(e, sc, spec, err);
  if (rc == 0)
    rc = make_root(e, sc, err);
  if (rc == 0)
    rc = read_limits(e, sc, spec->limits, err);
  if (rc < 0)
    return rc;
  e->keep = spec->keep;
  *out = &csn_steal(e)->base;
  return 0;
}

/* ---- its life ---- */

static void
e2b_state(csn_sandbox *sb, csn_jw *w)
{
  csn_jw_key(w, "sandbox");
  csn_jw_str(w, csn_e2b_of(sb)->id);
}

static int
e2b_pause(csn_sandbox *sb, csn_scope *sc, csn_err *err)
{
  return csn_e2b_pause(csn_e2b_of(sb), sc, err);
}

static int
e2b_resume(csn_sandbox *sb, csn_scope *sc, csn_err *err)
{
  return csn_e2b_connect(csn_e2b_of(sb), sc, err);
}

static int
e2b_destroy(csn_sandbox *sb, csn_scope *sc, csn_err *err)
{
  struct csn_e2b *e = csn_e2b_of(sb);
  int rc = csn_e2b_kill(&e->account, sc, e->id, err);
  e->is_ended = rc == 0;
  return rc;
}

static void
e2b_describe(csn_sandbox *sb, csn_jw *w)
{
  struct csn_e2b *e = csn_e2b_of(sb);
  csn_jw_key(w, "isolation");
  csn_jw_strz(w, "virtual machine of the provider");
  csn_jw_key(w, "sandbox");
  csn_jw_str(w, e->id);
  csn_jw_key(w, "template");
  csn_jw_str(w, e->config.template);
  csn_jw_key(w, "limits");
  csn_sandbox_limits_to_json(sb, w);
}

const csn_sandbox_ops csn_sandbox_e2b = {
    .size = sizeof(csn_sandbox_ops),
    .name = "e2b",
    .open = e2b_open,
    .close = e2b_close,
    .spawn = csn_e2b_spawn,
    .dial = csn_sandbox_dial_by_command,
    .describe = e2b_describe,
    .restrict_network = csn_e2b_restrict,
    .check_network = csn_e2b_check_network,
    .options = csn_e2b_options,
    .keys = (const char *const[]){CSN_E2B_KEY, NULL},
    .is_remote = true,
    .has_users = true,
    .put = csn_e2b_put,
    .state = e2b_state,
    .pause = e2b_pause,
    .resume = e2b_resume,
    .destroy = e2b_destroy,
    .sweep = csn_e2b_sweep,
};
