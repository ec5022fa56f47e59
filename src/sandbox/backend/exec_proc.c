/* SPDX-License-Identifier: Apache-2.0
 * exec_proc.c - a command of the back-end "exec:PROGRAM": a stream of the talk,
 * and requests about it. */
#include <errno.h>
#include <stdio.h>

#include "sandbox/backend/exec.h"
#include "sandbox/claim.h"
#include "sandbox/strings.h"

enum { OWN_MS = 10000 };

struct exec_proc {
  csn_proc base;
  csn_talk *talk;
  csn_talk_stream *stream;
  int64_t id; /* of the request that started it */
};

static struct exec_proc *
proc_of(csn_proc *p)
{
  return (struct exec_proc *)p; /* base is the first member */
}

/* ---- while it runs ---- */

static int
proc_read(csn_proc *p, csn_scope *sc, csn_buf *out, size_t max, enum csn_stream *which,
          csn_err *err)
{
  return csn_talk_read(proc_of(p)->talk, proc_of(p)->stream, sc, out, max, which, err);
}

static int
proc_wait(csn_proc *p, csn_scope *sc, csn_exit *exit, csn_err *err)
{
  return csn_talk_wait(proc_of(p)->talk, proc_of(p)->stream, sc, exit, err);
}

static int
closed(csn_err *err)
{
  errno = EPIPE;
  return csn_fail_errno(err, "the command has ended or closed its input");
}

static int
proc_write(csn_proc *base, csn_scope *sc, csn_str bytes, csn_err *err)
{
  struct exec_proc *p = proc_of(base);
  if (csn_talk_has_ended(p->talk, p->stream))
    return closed(err);
  int rc = csn_talk_write(p->talk, sc, p->id, bytes, err);
  return rc == CSN_E_NOT_FOUND ? closed(err) : rc; /* it has ended meanwhile */
}

static void
proc_close_stdin(csn_proc *base)
{
  struct exec_proc *p = proc_of(base);
  csn_scope sc;
  if (base->tty || csn_talk_has_ended(p->talk, p->stream))
    return;
  csn_scope_init(&sc, NULL, OWN_MS);
  (void)!csn_talk_write(p->talk, &sc, p->id, CSN_STR(""), NULL);
  csn_scope_fini(&sc);
}

/* A request about it, of one or two numbers. */
static int
ask(struct exec_proc *p, const char *what, const char *const *keys, const int *values, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_talk_ask_finip) csn_talk_ask q = {0};
  const csn_json *ok;
  csn_scope sc;
  if (csn_talk_has_ended(p->talk, p->stream))
    return csn_fail(err, CSN_E_NOT_FOUND, "the command has ended");
  csn_scope_init(&sc, NULL, OWN_MS);
  csn_talk_ask_init(p->talk, &q, what);
  csn_jw_key(&q.w, "of");
  csn_jw_int(&q.w, p->id);
  for (size_t i = 0; keys[i]; i++) {
    csn_jw_key(&q.w, keys[i]);
    csn_jw_int(&q.w, values[i]);
  }
  int rc = csn_talk_ask_send(p->talk, &sc, &q, a, &ok, err);
  csn_scope_fini(&sc);
  return rc;
}

static int
proc_signal(csn_proc *base, int sig, csn_err *err)
{
  return ask(proc_of(base), "signal", (const char *const[]){"signal", NULL}, &sig, err);
}

static int
proc_resize(csn_proc *base, int rows, int cols, csn_err *err)
{
  const int size[] = {rows, cols};
  return ask(proc_of(base), "resize", (const char *const[]){"rows", "cols", NULL}, size, err);
}

static void
proc_close(csn_proc *base)
{
  struct exec_proc *p = proc_of(base);
  csn_talk_drop(p->talk, p->stream);
  free(p);
}

static const csn_proc_ops proc_ops = {
    .read = proc_read,
    .wait = proc_wait,
    .write = proc_write,
    .close_stdin = proc_close_stdin,
    .signal = proc_signal,
    .resize = proc_resize,
    .close = proc_close,
};

/* ---- starting ---- */

static void
write_command(csn_talk_ask *q, const struct csn_exec_box *b, const csn_exec *x, csn_arena *a)
{
  size_t most = csn_strings_count(b->environment) + csn_strings_count(x->environment);
  const char **all = csn_arena_alloc(a, (most + 1) * sizeof *all);
  size_t n = csn_variables_put(all, 0, b->environment);
  all[csn_variables_put(all, n, x->environment)] = NULL;
  csn_auto(csn_buf_finip) csn_buf cwd = CSN_BUF(1 << 16);
  bool is_below = x->cwd && x->cwd[0] != '/';
  csn_buf_addf(&cwd, "%s%s%s", x->cwd && !is_below ? "" : b->base.root, is_below ? "/" : "",
               x->cwd ? x->cwd : "");
  csn_jw *w = &q->w;
  csn_strings_to_json(w, "argv", x->argv);
  csn_jw_key(w, "cwd");
  csn_jw_str(w, csn_buf_str(&cwd));
  csn_strings_to_json(w, "environment", all);
  csn_jw_key(w, "stdin");
  csn_jw_bool(w, x->with_stdin || x->tty);
  csn_jw_key(w, "split");
  csn_jw_bool(w, x->split_output);
  if (x->tty) {
    csn_jw_key(w, "terminal");
    csn_jw_obj(w);
    csn_jw_key(w, "rows");
    csn_jw_int(w, x->rows);
    csn_jw_key(w, "cols");
    csn_jw_int(w, x->cols);
    csn_jw_end(w);
  }
  if (x->user) {
    csn_jw_key(w, "user");
    csn_jw_strz(w, x->user);
  }
  csn_jw_key(w, "credit");
  csn_jw_int(w, CSN_TALK_WINDOW);
}

/* Names what is missing. */
static int
explain(int rc, const csn_talk_ask *q, const csn_exec *x, csn_err *err)
{
  if (q->refused && strcmp(q->refused, "no_folder") == 0)
    return csn_wrap(err, rc, "cwd %.200s", x->cwd ? x->cwd : ".");
  return csn_wrap(err, rc, "%.200s", x->argv[0]);
}

int
csn_exec_spawn(csn_sandbox *sb, csn_scope *sc, const csn_exec *x, csn_proc **out, csn_err *err)
{
  struct csn_exec_box *b = csn_exec_of(sb);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_talk_ask_finip) csn_talk_ask q = {0};
  const csn_json *ok = NULL;
  off_t was = -1;
  int rc = x->tty ? csn_exec_need(b, CSN_EXEC_TERMINAL, err) : 0;
  if (rc == 0 && x->user)
    rc = csn_exec_need(b, CSN_EXEC_USER, err);
  if (rc == 0)
    rc = csn_claim(x->claim_fd, &was, err);
  if (rc < 0)
    return rc;
  struct exec_proc *p = csn_alloc(sizeof *p);
  csn_talk_ask_init(b->talk, &q, "spawn");
  write_command(&q, b, x, a);
  *p = (struct exec_proc){.base = {&proc_ops, x->tty}, .talk = b->talk, .id = q.id};
  p->stream = csn_talk_listen(b->talk, q.id, false);
  rc = csn_talk_ask_begin(b->talk, sc, &q, err);
  if (rc < 0) {
    csn_talk_forget(b->talk, p->stream);
    csn_claim_back(x->claim_fd, was);
    free(p);
    return rc;
  }
  rc = csn_talk_ask_await(b->talk, sc, &q, a, &ok, err);
  if (rc == 0) {
    *out = &p->base;
    return 0;
  }
  if (q.refused && strcmp(q.refused, "gone") != 0) { /* nothing has begun */
    csn_talk_forget(b->talk, p->stream);
    csn_claim_back(x->claim_fd, was);
    free(p);
    return explain(rc, &q, x, err);
  }
  proc_close(&p->base);
  return rc;
}
