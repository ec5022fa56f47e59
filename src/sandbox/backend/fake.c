/* SPDX-License-Identifier: Apache-2.0
 *
 * fake.c - a back-end that answers from a script; for tests of the layers
 * above and for examples without a machine.
 *
 * options is a list of {"match": TEXT, "output": TEXT, "stderr": TEXT,
 * "exit": N, "signal": N, "hold": true}, or an object that has it as `answers`
 * and may have `session_ms`: after so long the sandbox has ended, as those of
 * providers do; no command starts any more.  The first entry whose match occurs
 * in the command (its arguments joined by blanks) answers; no entry is exit
 * 127.  With hold the command goes on after its output until it is signalled
 * or its stdin is closed; what is written to it comes back as output. */
#include <errno.h>
#include <fcntl.h>

#include "sandbox/backends.h"
#include "sandbox/network.h"

enum { MOST_ECHO = 1 << 20, SCRIPT_MAX = 16 << 20 };

struct answer {
  csn_str match, output, stderr_text;
  csn_exit exit;
  bool hold;
  struct answer *next;
};

struct fake {
  csn_sandbox base;
  csn_arena *arena;
  struct answer *script;
};

struct fake_proc {
  csn_proc base;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  csn_buf pending[2]; /* output that nobody has read yet */
  csn_exit exit;
  bool ended;
};

static struct fake *
fake_of(csn_sandbox *sb)
{
  return (struct fake *)sb; /* base is the first member */
}

static struct fake_proc *
proc_of(csn_proc *p)
{
  return (struct fake_proc *)p;
}

/* ---- commands ---- */

static int
fake_read(csn_proc *base, csn_scope *sc, csn_buf *out, size_t max, enum csn_stream *which,
          csn_err *err)
{
  struct fake_proc *p = proc_of(base);
  int rc = 0;
  pthread_mutex_lock(&p->lock);
  while (rc == 0) {
    for (int i = 0; i < 2 && rc == 0; i++) {
      csn_buf *from = &p->pending[i];
      size_t n = from->n < max ? from->n : max;
      n = n < out->cap - out->n ? n : out->cap - out->n;
      csn_buf_add(out, csn_strn(from->p, n));
      csn_buf_drop(from, n);
      *which = i == 0 ? CSN_STDOUT : CSN_STDERR;
      rc = (int)n;
    }
    if (rc == 0 && p->ended)
      break;
    if (rc == 0)
      rc = csn_scope_wait(sc, &p->changed, &p->lock, err);
  }
  pthread_mutex_unlock(&p->lock);
  return rc;
}

static int
fake_wait(csn_proc *base, csn_scope *sc, csn_exit *exit, csn_err *err)
{
  struct fake_proc *p = proc_of(base);
  int rc = 0;
  pthread_mutex_lock(&p->lock);
  while (rc == 0 && !p->ended)
    rc = csn_scope_wait(sc, &p->changed, &p->lock, err);
  if (rc == 0)
    *exit = p->exit;
  pthread_mutex_unlock(&p->lock);
  return rc;
}

static int
fake_write(csn_proc *base, csn_scope *sc, csn_str bytes, csn_err *err)
{
  struct fake_proc *p = proc_of(base);
  int rc = bytes.n > INT32_MAX ? INT32_MAX : (int)bytes.n;
  pthread_mutex_lock(&p->lock);
  if (p->ended) {
    errno = EPIPE;
    rc = csn_fail_errno(err, "the command does not read its input");
  } else {
    csn_buf_add(&p->pending[0], bytes);
    pthread_cond_broadcast(&p->changed);
  }
  pthread_mutex_unlock(&p->lock);
  return rc;
}

static void
end_proc(struct fake_proc *p, int signal)
{
  pthread_mutex_lock(&p->lock);
  if (!p->ended && signal)
    p->exit = (csn_exit){128 + signal, signal};
  p->ended = true;
  pthread_cond_broadcast(&p->changed);
  pthread_mutex_unlock(&p->lock);
}

static void
fake_close_stdin(csn_proc *base)
{
  end_proc(proc_of(base), 0);
}

static int
fake_signal(csn_proc *base, int sig, csn_err *err)
{
  end_proc(proc_of(base), sig);
  return 0;
}

static int
fake_resize(csn_proc *base, int rows, int cols, csn_err *err)
{
  return 0;
}

static void
fake_proc_close(csn_proc *base)
{
  struct fake_proc *p = proc_of(base);
  csn_buf_fini(&p->pending[0]);
  csn_buf_fini(&p->pending[1]);
  pthread_cond_destroy(&p->changed);
  pthread_mutex_destroy(&p->lock);
  free(p);
}

static const csn_proc_ops proc_ops = {
    .read = fake_read,
    .wait = fake_wait,
    .write = fake_write,
    .close_stdin = fake_close_stdin,
    .signal = fake_signal,
    .resize = fake_resize,
    .close = fake_proc_close,
};

/* ---- the sandbox ---- */

static void
fake_close(csn_sandbox *sb)
{
  struct fake *f = fake_of(sb);
  csn_closep(&sb->workspace_fd);
  csn_arena_free(f->arena);
  free(sb->root);
  free(f);
}

static const struct answer *
find_answer(const struct fake *f, const csn_exec *x)
{
  csn_auto(csn_buf_finip) csn_buf command = CSN_BUF(SCRIPT_MAX);
  for (size_t i = 0; x->argv[i]; i++)
    csn_buf_addf(&command, "%s%s", i ? " " : "", x->argv[i]);
  for (const struct answer *a = f->script; a; a = a->next)
    if (csn_str_find(csn_buf_str(&command), a->match, 0) != SIZE_MAX)
      return a;
  return NULL;
}

static bool
has_ended(const csn_sandbox *sb)
{
  return sb->ends_ns && csn_now_ns() >= sb->ends_ns;
}

static void
fake_usage(csn_sandbox *sb, bool is_lost, csn_sandbox_usage *u)
{
  u->is_dead = has_ended(sb);
}

static int
fake_spawn(csn_sandbox *sb, csn_scope *sc, const csn_exec *x, csn_proc **out, csn_err *err)
{
  static const struct answer unknown = {.exit = {127, 0}};
  const struct answer *a = find_answer(fake_of(sb), x);
  if (has_ended(sb))
    return csn_fail(err, CSN_E_SANDBOX, "its session has ended");
  if (!a)
    a = &unknown;
  if (x->claim_fd >= 0 && write(x->claim_fd, "1", 1) != 1)
    return csn_fail_errno(err, "cannot write to claim_fd");
  struct fake_proc *p = csn_alloc(sizeof *p);
  *p = (struct fake_proc){.base = {&proc_ops, x->tty}, .exit = a->exit, .ended = !a->hold};
  pthread_mutex_init(&p->lock, NULL);
  csn_cond_init(&p->changed);
  for (int i = 0; i < 2; i++)
    p->pending[i] = CSN_BUF(SCRIPT_MAX + MOST_ECHO);
  csn_buf_add(&p->pending[0], a->output);
  csn_buf_add(&p->pending[x->split_output ? 1 : 0], a->stderr_text);
  *out = &p->base;
  return 0;
}

static int
read_answer(struct fake *f, const csn_json *v, struct answer **out, csn_err *err)
{
  struct answer *a = csn_arena_alloc(f->arena, sizeof *a);
  csn_str match;
  int rc = csn_json_need_str(v, "match", &match, err);
  if (rc < 0)
    return rc;
  int64_t code = csn_json_int(v, "exit", 0), sig = csn_json_int(v, "signal", 0);
  if (code < 0 || code > 255 || sig < 0 || sig > 64)
    return csn_fail(err, CSN_E_INVALID, "exit must be 0 to 255 and signal 0 to 64");
  *a = (struct answer){
      .match = csn_arena_dup(f->arena, match),
      .output = csn_arena_dup(f->arena, csn_json_str(v, "output", CSN_STR(""))),
      .stderr_text = csn_arena_dup(f->arena, csn_json_str(v, "stderr", CSN_STR(""))),
      .exit = {sig ? 128 + (int)sig : (int)code, (int)sig},
      .hold = csn_json_bool(v, "hold", false),
  };
  *out = a;
  return 0;
}

static int
read_script(struct fake *f, const csn_json *list, csn_err *err)
{
  struct answer **end = &f->script;
  int i = 0;
  if (list && !csn_json_is(list, CSN_JSON_ARRAY))
    return csn_fail(err, CSN_E_INVALID, "options: expected a list of answers");
  csn_json_each (v, list) {
    int rc = read_answer(f, v, end, err);
    if (rc < 0)
      return csn_wrap(err, rc, "options[%d]", i);
    end = &(*end)->next;
    i++;
  }
  return 0;
}

static int
fake_open(csn_sandbox **out, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  int rc = csn_network_refuse(spec, "fake", err);
  if (rc < 0)
    return rc;
  struct fake *f = csn_alloc(sizeof *f);
  f->base = (csn_sandbox){
      .ops = &csn_sandbox_fake,
      .root = csn_dupz(csn_cstr(spec->root ? spec->root : "/workspace")),
      .workspace_fd = -1,
      .uid = -1,
      .gid = -1,
  };
  f->arena = csn_arena_new(0);
  bool is_object = csn_json_is(spec->options, CSN_JSON_OBJECT);
  rc = read_script(f, is_object ? csn_json_get(spec->options, "answers") : spec->options, err);
  int64_t session_ms = is_object ? csn_json_int(spec->options, "session_ms", 0) : 0;
  if (session_ms > 0 && session_ms < INT32_MAX)
    f->base.ends_ns = csn_now_ns() + session_ms * 1000000;
  if (rc == 0 && spec->workspace_fd >= 0) {
    f->base.workspace_fd = fcntl(spec->workspace_fd, F_DUPFD_CLOEXEC, 3);
    if (f->base.workspace_fd < 0)
      rc = csn_fail_errno(err, "workspace_fd %d", spec->workspace_fd);
  }
  if (rc < 0) {
    fake_close(&f->base);
    return rc;
  }
  *out = &f->base;
  return 0;
}

static void
fake_describe(csn_sandbox *sb, csn_jw *w)
{
  csn_jw_key(w, "isolation");
  csn_jw_strz(w, "nothing is executed");
}

static const csn_sandbox_option options[] = {
    {"answers", CSN_JSON_ARRAY},
    {"session_ms", CSN_JSON_NUMBER},
    {NULL},
};

const csn_sandbox_ops csn_sandbox_fake = {
    .size = sizeof(csn_sandbox_ops),
    .name = "fake",
    .open = fake_open,
    .close = fake_close,
    .spawn = fake_spawn,
    .describe = fake_describe,
    .usage = fake_usage,
    .options = options,
};
