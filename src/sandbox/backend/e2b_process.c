/* SPDX-License-Identifier: Apache-2.0
 * e2b_process.c - a command inside of an E2B sandbox that has begun: its output,
 * its input, its end. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "core/hash.h"
#include "sandbox/backend/e2b_stream.h"

enum { BODY_MAX = 1 << 20, INPUT_CHUNK = 64 << 10, SIGNAL_MS = 10000, LINGER_MS = 2000 };
enum { CUTS_MAX = 5 }; /* lost connections in a row after which a command is given up */

static struct csn_e2b_proc *
proc_of(csn_proc *p)
{
  return (struct csn_e2b_proc *)p; /* base is the first member */
}

/* ---- requests ---- */

static void
write_process(csn_jw *w, const struct csn_e2b_stream *s)
{
  csn_jw_obj(w);
  csn_jw_key(w, "process");
  csn_jw_obj(w);
  csn_jw_key(w, "pid");
  csn_jw_int(w, s->pid);
  csn_jw_end(w);
}

/* A call about the command: `more` adds members beside its process. */
static int
ask(struct csn_e2b_proc *p, csn_scope *sc, const char *method, csn_jw *w, csn_buf *body,
    bool is_safe, csn_err *err)
{
  csn_jw_end(w);
  int rc = csn_jw_done(w, err);
  return rc < 0 ? rc : csn_e2b_rpc(p->e, sc, method, csn_buf_str(body), is_safe, err);
}

/* ---- its output and its end ---- */

/* Says in the output that some of it may be missing. */
static void
tell_cut(struct csn_e2b_stream *s)
{
  csn_buf_addz(&s->out[s->is_split],
               "\n[the connection to the sandbox was lost; some output may be missing here]\n");
}

/* The stream ended before the command did, as far as is known: asks for the
 * command again.  Unlocked. */
static int
attach(struct csn_e2b_proc *p, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf message = CSN_BUF(200);
  struct csn_e2b_stream *s = p->s;
  csn_err why = s->err;
  int rc = why.code;
  if (s->status && s->status != 200)
    rc = csn_e2b_refusal(csn_buf_str(&s->refusal), s->status, &why);
  if (rc == CSN_E_NOT_FOUND)
    return csn_fail(err, CSN_E_SANDBOX,
                    "the connection was lost, and the command is not known there any more: how it "
                    "ended cannot be told");
  if (rc == CSN_E_TIMEOUT && s->status == 200) { /* the service ended it */
    pthread_mutex_lock(&s->lock);
    s->has_ended = true;
    s->n_ends = 2;
    s->exit = (csn_exit){.code = 128 + SIGKILL, .signal = SIGKILL};
    pthread_mutex_unlock(&s->lock);
    return 0;
  }
  if (rc == 0) /* it ended in peace, but said no end */
    csn_fail(&why, CSN_E_UNAVAILABLE, "the connection was lost");
  if (rc == CSN_E_LIMIT || rc == CSN_E_PARSE || ++p->cuts > CUTS_MAX)
    return csn_fail(err, CSN_E_SANDBOX, "what the sandbox says of the command is no use: %.300s",
                    why.msg);
  int found = csn_e2b_revive(p->e, sc, &why, err);
  if (found == CSN_E_SANDBOX)
    return found;
  if (csn_scope_check(sc, err) < 0)
    return csn_scope_check(sc, err);
  pthread_mutex_lock(&s->lock);
  tell_cut(s);
  uint32_t pid = s->pid;
  pthread_mutex_unlock(&s->lock);
  csn_buf_addf(&message, "{\"process\":{\"pid\":%u}}", pid);
  return csn_e2b_open_stream(p, "/process.Process/Connect", csn_buf_str(&message), err);
}

/* Locked: waits for a change; a long wait puts the sandbox's time-out off, a lost
 * connection is made again. */
static int
await(struct csn_e2b_proc *p, csn_scope *sc, csn_err *err)
{
  struct csn_e2b_stream *s = p->s;
  if (s->is_done && !p->is_attaching) {
    p->is_attaching = true;
    pthread_mutex_unlock(&s->lock);
    int rc = attach(p, sc, err);
    pthread_mutex_lock(&s->lock);
    p->is_attaching = false;
    pthread_cond_broadcast(&s->changed);
    return rc;
  }
  csn_scope turn;
  csn_scope_init(&turn, sc, p->e->config.timeout_s * 1000 / 4);
  int rc = csn_scope_wait(&turn, &s->changed, &s->lock, err);
  csn_scope_fini(&turn);
  if (rc != CSN_E_TIMEOUT || csn_scope_check(sc, NULL) < 0)
    return rc;
  pthread_mutex_unlock(&s->lock);
  csn_e2b_renew(p->e, sc);
  pthread_mutex_lock(&s->lock);
  return 0;
}

/* Locked: what there is of one output. */
static int
hand_over(struct csn_e2b_stream *s, csn_buf *out, size_t max, enum csn_stream *which)
{
  for (int i = 0; i < 2; i++) {
    size_t n = s->out[i].n, room = out->cap - out->n;
    if (!n)
      continue;
    n = n < max ? n : max;
    n = n < room ? n : room;
    csn_buf_add(out, csn_strn(s->out[i].p, n));
    csn_buf_drop(&s->out[i], n);
    *which = i ? CSN_STDERR : CSN_STDOUT;
    return (int)n;
  }
  return 0;
}

static int
proc_read(csn_proc *base, csn_scope *sc, csn_buf *out, size_t max, enum csn_stream *which,
          csn_err *err)
{
  struct csn_e2b_proc *p = proc_of(base);
  struct csn_e2b_stream *s = p->s;
  int rc = 0, n;
  pthread_mutex_lock(&s->lock);
  while ((n = hand_over(s, out, max, which)) == 0 && rc == 0 && !csn_e2b_stream_is_over(s)) {
    csn_e2b_stream_go_on(s);
    rc = await(p, sc, err);
  }
  if (n > 0)
    p->cuts = 0;
  csn_e2b_stream_go_on(s);
  pthread_mutex_unlock(&s->lock);
  return n > 0 ? n : rc;
}

static int
proc_wait(csn_proc *base, csn_scope *sc, csn_exit *exit, csn_err *err)
{
  struct csn_e2b_proc *p = proc_of(base);
  struct csn_e2b_stream *s = p->s;
  int rc = 0;
  pthread_mutex_lock(&s->lock);
  s->is_waiting = true;
  while (rc == 0 && !s->has_ended) {
    csn_e2b_stream_go_on(s);
    rc = await(p, sc, err);
  }
  s->is_waiting = false;
  if (rc == 0)
    *exit = s->exit;
  pthread_mutex_unlock(&s->lock);
  return rc;
}

static bool
has_ended(struct csn_e2b_proc *p)
{
  pthread_mutex_lock(&p->s->lock);
  bool ended = p->s->has_ended;
  pthread_mutex_unlock(&p->s->lock);
  return ended;
}

/* ---- what is done to it ---- */

static int
closed(csn_err *err)
{
  errno = EPIPE;
  return csn_fail_errno(err, "the command has ended or closed its input");
}

static int
write_chunk(struct csn_e2b_proc *p, csn_scope *sc, csn_str bytes, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(2u * INPUT_CHUNK), body = CSN_BUF(BODY_MAX);
  csn_err why;
  csn_jw w;
  csn_base64_add(&text, bytes);
  csn_jw_init(&w, &body);
  write_process(&w, p->s);
  csn_jw_key(&w, "input");
  csn_jw_obj(&w);
  csn_jw_key(&w, p->base.tty ? "pty" : "stdin");
  csn_jw_str(&w, csn_buf_str(&text));
  csn_jw_end(&w);
  int rc = ask(p, sc, "/process.Process/SendInput", &w, &body, false, &why);
  if (rc == CSN_E_NOT_FOUND || rc == CSN_E_IO)
    return closed(err);
  if (rc < 0 && err)
    *err = why;
  return rc;
}

static int
proc_write(csn_proc *base, csn_scope *sc, csn_str bytes, csn_err *err)
{
  struct csn_e2b_proc *p = proc_of(base);
  for (size_t at = 0; at < bytes.n; at += INPUT_CHUNK) {
    size_t n = bytes.n - at < INPUT_CHUNK ? bytes.n - at : INPUT_CHUNK;
    if (p->is_input_closed || has_ended(p))
      return closed(err);
    int rc = write_chunk(p, sc, csn_strn(bytes.p + at, n), err);
    if (rc < 0)
      return rc;
  }
  return (int)bytes.n;
}

static void
proc_close_stdin(csn_proc *base)
{
  struct csn_e2b_proc *p = proc_of(base);
  csn_auto(csn_buf_finip) csn_buf body = CSN_BUF(200);
  csn_jw w;
  if (base->tty || p->is_input_closed)
    return;
  p->is_input_closed = true;
  csn_scope sc;
  csn_scope_init(&sc, NULL, SIGNAL_MS);
  csn_jw_init(&w, &body);
  write_process(&w, p->s);
  (void)!ask(p, &sc, "/process.Process/CloseStdin", &w, &body, true, NULL);
  csn_scope_fini(&sc);
}

/* The service itself knows two signals, and one process. */
static int
proc_signal(csn_proc *base, int sig, csn_err *err)
{
  struct csn_e2b_proc *p = proc_of(base);
  if (has_ended(p))
    return csn_fail(err, CSN_E_NOT_FOUND, "the command has ended");
  char number[12], group[16];
  snprintf(number, sizeof number, "-%d", sig);
  snprintf(group, sizeof group, "-%d", p->s->group);
  const char *argv[] = {"bash", "-c", "kill \"$1\" -- \"$2\"", "sh", number, group, NULL};
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  const csn_exec x = {.argv = argv, .cwd = "/", .user = p->user, .claim_fd = -1};
  csn_proc *killer = NULL;
  csn_scope sc;
  csn_exit end = {0};
  csn_scope_init(&sc, NULL, SIGNAL_MS);
  int rc = csn_e2b_spawn(&p->e->base, &sc, &x, &killer, err);
  if (rc == 0)
    rc = proc_wait(killer, &sc, &end, err);
  if (killer)
    killer->ops->close(killer);
  csn_scope_fini(&sc);
  if (rc == 0 && end.code != 0)
    rc = csn_fail(err, CSN_E_NOT_FOUND, "the command has ended");
  return rc;
}

static int
proc_resize(csn_proc *base, int rows, int cols, csn_err *err)
{
  struct csn_e2b_proc *p = proc_of(base);
  csn_auto(csn_buf_finip) csn_buf body = CSN_BUF(400);
  csn_jw w;
  csn_scope sc;
  csn_scope_init(&sc, NULL, SIGNAL_MS);
  csn_jw_init(&w, &body);
  write_process(&w, p->s);
  csn_e2b_write_size(&w, rows, cols);
  int rc = ask(p, &sc, "/process.Process/Update", &w, &body, true, err);
  csn_scope_fini(&sc);
  return rc;
}

static void
proc_close(csn_proc *base)
{
  struct csn_e2b_proc *p = proc_of(base);
  struct csn_e2b_stream *s = p->s;
  struct csn_e2b *e = p->e;
  if (!has_ended(p) && !e->is_gone && !e->is_ended)
    (void)!proc_signal(base, SIGKILL, NULL);
  if (!has_ended(p))
    csn_e2b_stream_stop(s);
  pthread_mutex_lock(&s->lock);
  bool lingers = !s->is_done;
  s->linger_ns = csn_now_ns() + LINGER_MS * 1000000LL;
  s->refs += lingers;
  if (s->is_put_off && s->call) { /* what it has is of no use to anybody */
    s->n_ends = 2;
    s->is_put_off = false;
    csn_http_resume(s->http, s->call);
  }
  pthread_mutex_unlock(&s->lock);
  if (lingers) {
    pthread_mutex_lock(&e->lock);
    s->next = e->streams;
    e->streams = s;
    pthread_mutex_unlock(&e->lock);
  }
  csn_e2b_proc_free(p);
}

const csn_proc_ops csn_e2b_proc_ops = {
    .read = proc_read,
    .wait = proc_wait,
    .write = proc_write,
    .close_stdin = proc_close_stdin,
    .signal = proc_signal,
    .resize = proc_resize,
    .close = proc_close,
};
