/* SPDX-License-Identifier: Apache-2.0
 * e2b_start.c - how a command begins inside of an E2B sandbox; see e2b_stream.h.
 *
 * The script finds the program before it says that the command begins, gives the
 * command a process group and standard input of its own, and waits for it.  With a
 * terminal both share one group, as a shell without job control does, so that keys
 * reach the command.  Only bash is needed. */
#include <stdio.h>

#include "core/hash.h"
#include "sandbox/backend/e2b_stream.h"
#include "sandbox/claim.h"
#include "sandbox/strings.h"

enum { BODY_MAX = 8 << 20, DAY_MS = 86400000, FORGET_MS = 10000 };

/* $1 what marks begin with, $2 the folder, $3 t: a terminal, s: outputs apart, m:
 * together; then the command.  Reading from 2, which is a pipe to itself by then,
 * tells what bash has to say of the command's end: only that tells a signal from
 * a code. */
static const char script[] =
    "N=$1 D=$2 F=$3\n"
    "shift 3\n"
    "say() { printf '\\036%s %s\\n' \"$N\" \"$1\"; }\n"
    "cd -- \"$D\" 2>/dev/null || { say D; exit 1; }\n"
    "case $1 in */*) p=$1 ;; *) p=$(type -P -- \"$1\") ;; esac\n"
    "[[ $p && -e $p ]] || { say N; exit 127; }\n"
    "[[ -f $p && -x $p ]] || { say X; exit 126; }\n"
    "l=\n"
    "{ IFS= read -r -n 256 l <\"$p\"; } 2>/dev/null\n"
    "if [[ $l == '#!'* ]]; then\n"
    "  read -r i l <<<\"${l:2}\"\n"
    "  [[ -x $i ]] || { say X; exit 126; }\n"
    "fi\n"
    "exec 9>&2 2<> <(:)\n"
    "trap : HUP INT QUIT USR1 USR2 ALRM PIPE WINCH\n"
    "if [[ $F == *t* ]]; then\n"
    "  (say \"S$$\"; exec \"$@\" 2>&9 9>&-)\n"
    "  c=$?\n"
    "else\n"
    "  [[ $F == *m* ]] && exec 9>&1\n"
    "  set -m\n"
    "  (say \"S$BASHPID\"; exec \"$@\" 2>&9 9>&-) <&0 &\n"
    "  j=$!\n"
    "  trap 't=1; kill -KILL -- -$j' TERM\n"
    "  exec 0</dev/null\n"
    "  while t=; wait \"$j\"; c=$?; [[ $t || $(jobs -s) ]]; do [[ $t ]] || sleep 0.2; done\n"
    "fi\n"
    "LC_ALL=C\n"
    "jobs >&2\n"
    "k=\n"
    "read -t 0 -u 2 && read -r k <&2\n"
    "case $k in '' | *Exit* | *Done*) k= ;; *) k=s ;; esac\n"
    "say \"E$c$k\"\n"
    "[[ $F == *s* ]] && say \"E$c$k\" >&9\n"
    "exit \"$c\"\n";

/* ---- requests ---- */

/* NAME=VALUE strings as an object: those of the sandbox, and of the command. */
static void
write_variables(csn_jw *w, const struct csn_e2b *e, const char *const *more)
{
  size_t room = csn_strings_count(e->environment) + csn_strings_count(more) + 1;
  csn_auto(csn_freep) const char **list = csn_alloc(room * sizeof *list);
  size_t n = csn_variables_put(list, 0, e->environment);
  n = csn_variables_put(list, n, more);
  csn_jw_key(w, "envs");
  csn_jw_obj(w);
  for (size_t i = 0; i < n; i++) {
    const char *equals = strchr(list[i], '=');
    csn_jw_keyn(w, csn_strn(list[i], (size_t)(equals - list[i])));
    csn_jw_strz(w, equals + 1);
  }
  csn_jw_end(w);
}

void
csn_e2b_write_size(csn_jw *w, int rows, int cols)
{
  csn_jw_key(w, "pty");
  csn_jw_obj(w);
  csn_jw_key(w, "size");
  csn_jw_obj(w);
  csn_jw_key(w, "cols");
  csn_jw_int(w, cols);
  csn_jw_key(w, "rows");
  csn_jw_int(w, rows);
  csn_jw_end(w);
  csn_jw_end(w);
}

static int
write_start(struct csn_e2b_proc *p, csn_buf *out, const csn_exec *x, const char *cwd, csn_err *err)
{
  csn_jw w;
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  csn_jw_key(&w, "process");
  csn_jw_obj(&w);
  csn_jw_key(&w, "cmd");
  csn_jw_strz(&w, "/bin/bash");
  csn_jw_key(&w, "args");
  csn_jw_arr(&w);
  const char *const head[] = {
      "-p", "-c", script, "sh", p->nonce, cwd, x->tty ? "t" : x->split_output ? "s" : "m"};
  for (size_t i = 0; i < CSN_COUNT(head); i++)
    csn_jw_strz(&w, head[i]);
  for (const char *const *v = x->argv; *v; v++)
    csn_jw_strz(&w, *v);
  csn_jw_end(&w);
  write_variables(&w, p->e, x->environment);
  csn_jw_key(&w, "cwd");
  csn_jw_strz(&w, "/");
  csn_jw_end(&w);
  csn_jw_key(&w, "tag");
  csn_jw_strz(&w, p->nonce);
  if (x->tty) {
    csn_e2b_write_size(&w, x->rows, x->cols);
  } else {
    csn_jw_key(&w, "stdin");
    csn_jw_bool(&w, x->with_stdin);
  }
  csn_jw_end(&w);
  return csn_jw_done(&w, err);
}

/* Opens a stream of `method` with the one message. */
int
csn_e2b_open_stream(struct csn_e2b_proc *p, const char *method, csn_str message, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  struct csn_e2b *e = p->e;
  csn_buf *body = &p->s->body;
  csn_buf_clear(body);
  csn_connect_write(body, message);
  int rc = csn_buf_done(body, "the command with its environment", err);
  if (rc < 0)
    return rc;
  csn_http_req req = {
      .method = "POST", .url = csn_e2b_url(e, a, method), .body = csn_buf_str(body)};
  csn_e2b_headers(e, a, &req, p->user);
  /* The service kills what takes longer, should nobody be left to do it. */
  int64_t most_ms = e->base.held.value[CSN_LIMIT_COMMAND_WALL];
  most_ms = most_ms > 0 && most_ms < DAY_MS - 60000 ? most_ms + 60000 : DAY_MS;
  static const csn_header fixed[] = {
      {CSN_STR_INIT("Content-Type"), CSN_STR_INIT("application/connect+json")},
      {CSN_STR_INIT("connect-protocol-version"), CSN_STR_INIT("1")},
      {CSN_STR_INIT("connect-content-encoding"), CSN_STR_INIT("identity")},
      {CSN_STR_INIT("Keepalive-Ping-Interval"), CSN_STR_INIT("50")}};
  for (size_t i = 0; i < CSN_COUNT(fixed); i++)
    req.headers[req.n_headers++] = fixed[i];
  req.headers[req.n_headers++] =
      (csn_header){CSN_STR("connect-timeout-ms"), csn_arena_printf(a, "%lld", (long long)most_ms)};
  return csn_e2b_stream_start(p->s, &req, err);
}

/* ---- starting ---- */

/* Locked: waits until it began, did not, or the call ended. */
static int
await_begin(struct csn_e2b_stream *s, csn_scope *sc, csn_err *err)
{
  int rc = 0;
  while (rc == 0 && !s->group && !s->fault && !s->is_done && !csn_e2b_stream_is_over(s))
    rc = csn_scope_wait(sc, &s->changed, &s->lock, err);
  return rc;
}

/* Locked: why there is no command, which was awaited. */
static int
not_begun(struct csn_e2b_stream *s, const csn_exec *x, csn_err *err)
{
  if (s->fault == 'D')
    return csn_fail(err, CSN_E_NOT_FOUND, "cwd %.200s: no such folder", x->cwd ? x->cwd : ".");
  if (s->fault == 'N')
    return csn_fail(err, CSN_E_NOT_FOUND, "no such program");
  if (s->fault == 'X')
    return csn_fail(err, CSN_E_DENIED, "cannot execute it");
  if (s->status && s->status != 200)
    return csn_e2b_refusal(csn_buf_str(&s->refusal), s->status, err);
  if (s->err.code && err)
    *err = s->err;
  if (s->err.code)
    return s->err.code;
  return csn_fail(err, CSN_E_SANDBOX,
                  "the command did not begin; e2b needs a template with bash, and a user who can "
                  "use it");
}

/* It may have begun, and nobody will ask for it. */
static void
forget(struct csn_e2b_proc *p)
{
  csn_auto(csn_buf_finip) csn_buf body = CSN_BUF(400);
  csn_scope sc;
  csn_scope_init(&sc, NULL, FORGET_MS);
  csn_buf_addf(&body, "{\"process\":{\"tag\":\"%s\"},\"signal\":\"%s\"}", p->nonce,
               p->base.tty ? "SIGNAL_SIGKILL" : "SIGNAL_SIGTERM");
  (void)!csn_e2b_rpc(p->e, &sc, "/process.Process/SendSignal", csn_buf_str(&body), true, NULL);
  csn_scope_fini(&sc);
}

/* One attempt; what is known afterwards is in the stream. */
static int
try_start(struct csn_e2b_proc *p, csn_scope *sc, const csn_exec *x, csn_str message, csn_err *err)
{
  struct csn_e2b_stream *s = p->s;
  int rc = csn_e2b_open_stream(p, "/process.Process/Start", message, err);
  if (rc < 0)
    return rc;
  pthread_mutex_lock(&s->lock);
  rc = await_begin(s, sc, err);
  bool has_begun = rc == 0 && s->group;
  if (rc == 0 && !has_begun)
    rc = not_begun(s, x, err);
  pthread_mutex_unlock(&s->lock);
  if (has_begun)
    return 0;
  csn_e2b_stream_stop(s);
  pthread_mutex_lock(&s->lock);
  p->is_unsure = !s->fault && !s->has_ended && (s->status == 200 || s->status == 0);
  pthread_mutex_unlock(&s->lock);
  if (p->is_unsure)
    forget(p);
  return rc;
}

/* Repeats what cannot have begun: too many requests at once, or a sandbox that
 * was paused. */
static int
start(struct csn_e2b_proc *p, csn_scope *sc, const csn_exec *x, csn_str message, csn_err *err)
{
  csn_err why = {0};
  int rc, tries = 0;
  bool is_revived = false;
  do {
    rc = try_start(p, sc, x, message, &why);
    int found = rc < 0 && !is_revived ? csn_e2b_revive(p->e, sc, &why, err) : CSN_E_CONFLICT;
    if (found == CSN_E_SANDBOX)
      return found;
    is_revived = is_revived || found == 0;
    if (found == 0 && why.http_status == 502)
      continue;
    if (rc >= 0 || !csn_e2b_again(sc, ++tries, false, rc, &why))
      break;
  } while (true);
  if (rc < 0 && err)
    *err = why;
  return rc;
}

/* Calls of commands that are over end by themselves a moment later; those that
 * do not are ended here. */
static void
reap(struct csn_e2b *e)
{
  int64_t now = csn_now_ns();
  pthread_mutex_lock(&e->lock);
  for (struct csn_e2b_stream **at = &e->streams, *s; (s = *at);) {
    pthread_mutex_lock(&s->lock);
    bool is_done = s->is_done;
    if (!is_done && now >= s->linger_ns && s->call)
      csn_http_cancel(s->http, s->call);
    pthread_mutex_unlock(&s->lock);
    if (!is_done) {
      at = &s->next;
      continue;
    }
    *at = s->next;
    csn_e2b_stream_unref(s);
  }
  pthread_mutex_unlock(&e->lock);
}

static csn_str
folder(csn_arena *a, const struct csn_e2b *e, const char *cwd)
{
  if (!cwd)
    return csn_cstr(e->base.root);
  return cwd[0] == '/' ? csn_cstr(cwd) : csn_arena_printf(a, "%s/%s", e->base.root, cwd);
}

void
csn_e2b_proc_free(struct csn_e2b_proc *p)
{
  csn_e2b_stream_unref(p->s);
  free(p->user);
  free(p);
}

int
csn_e2b_spawn(csn_sandbox *sb, csn_scope *sc, const csn_exec *x, csn_proc **out, csn_err *err)
{
  struct csn_e2b *e = csn_e2b_of(sb);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf message = CSN_BUF(BODY_MAX);
  off_t before = -1;
  reap(e);
  csn_e2b_renew(e, sc);
  struct csn_e2b_proc *p = csn_alloc(sizeof *p);
  const char *user = x->user ? x->user : e->user;
  *p = (struct csn_e2b_proc){.base = {&csn_e2b_proc_ops, x->tty}, .e = e};
  p->user = user ? csn_dupz(csn_cstr(user)) : NULL;
  csn_random_name(p->nonce, CSN_E2B_NONCE);
  p->s = csn_e2b_stream_new(e->account.http, p->nonce, x->split_output);
  int rc = write_start(p, &message, x, folder(a, e, x->cwd).p, err);
  if (rc == 0)
    rc = csn_claim(x->claim_fd, &before, err);
  if (rc == 0) {
    rc = start(p, sc, x, csn_buf_str(&message), err);
    if (rc < 0 && !p->is_unsure)
      csn_claim_back(x->claim_fd, before);
  }
  if (rc < 0)
    csn_e2b_proc_free(p);
  else
    *out = &p->base;
  return rc;
}
