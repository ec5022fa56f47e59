/* SPDX-License-Identifier: Apache-2.0
 *
 * docker_proc.c - a command in a container: an exec whose connection is its
 * streams, with a launcher before it (engine_stream.h).
 *
 * Whoever reads or waits moves bytes off the connection, one thread at a time;
 * a few are kept for the next reader and the rest waits in the engine, which
 * makes the command wait.  An engine cannot signal an exec: another command
 * does that, by the number of the launcher's process group. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "sandbox/backend/docker.h"
#include "sandbox/claim.h"
#include "sandbox/engine_stream.h"
#include "sandbox/strings.h"

enum { PIECE = 32 << 10, PENDING = 64 << 10, REQUEST_MAX = 16 << 20, OWN_MS = 10000 };
enum { ENDED_POLLS = 100, ENDED_POLL_MS = 20, SIGNALS = 64 };

/* Says how the command began and ended.  What it prints for itself goes nowhere;
 * 4 is the command's stderr. */
static const char launcher[] =
    "w=$1 d=$2 m=$3 r=$4 c=$5; shift 5; unset CDPATH\n"
    "say() { printf '\\036%s %s\\036' \"$w\" \"$1\"; }\n"
    "exec 4>&2 2>/dev/null\n"
    "cd \"$d\" || { say cwd; exit; }\n"
    "set -f; p=\n"
    "case $1 in\n"
    "*/*) p=$1 ;;\n"
    "*) IFS=:; for q in $PATH; do\n"
    "  if [ -f \"$q/$1\" ] && [ -x \"$q/$1\" ]; then p=$q/$1; break; fi; done; unset IFS ;;\n"
    "esac\n"
    "if [ -z \"$p\" ] || [ ! -f \"$p\" ]; then say none; exit; fi\n"
    "[ -x \"$p\" ] || { say denied; exit; }\n"
    /* A script whose interpreter is missing fails only when it is executed. */
    "case $1 in /bin/*|/usr/*) ;; */*)\n"
    "  IFS= read -r l <\"$p\"; case $l in '#!'*) l=${l#??}; l=${l# }; l=${l%% *};\n"
    "  [ -x \"$l\" ] || { say none; exit; } ;; esac ;; esac\n"
    "case $m in *t*) stty rows \"$r\" cols \"$c\" ;; esac\n"
    "case $m in *z*) exec </dev/null ;; esac\n"
    "trap : HUP INT QUIT TERM USR1 USR2 ALRM\n"
    "say \"ok $$\"\n"
    "case $m in *s*) (exec \"$@\" 2>&4 4>&-) ;; *) (exec \"$@\" 2>&1 4>&-) ;; esac\n"
    "s=$?; o=0\n"
    "if [ $s = 137 ]; then\n"
    "  for f in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do\n"
    "    if [ -r $f ]; then\n"
    "      while read -r k v; do [ \"$k\" = oom_kill ] && o=$v; done <$f\n"
    "    fi\n"
    "  done\n"
    "fi\n"
    "say \"end $s $o\"\n"
    "case $m in *s*) say \"end $s $o\" >&4 ;; esac\n";

struct docker_proc {
  csn_proc base;
  struct csn_docker *d;
  csn_link *link;
  char exec[CSN_DOCKER_ID + 1];
  int64_t group;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool is_pumped, is_written; /* by a thread, without the lock */
  bool ended, lost;
  csn_engine_stream stream;
  csn_buf out[2], piece; /* piece: the pumping thread's */
  csn_exit exit;
};

static struct docker_proc *
proc_of(csn_proc *p)
{
  return (struct docker_proc *)p; /* base is the first member */
}

/* ---- requests ---- */

static int
exec_create(struct csn_docker *d, csn_scope *sc, const csn_exec *x, const char *const *argv,
            char id[CSN_DOCKER_ID + 1], csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf body = CSN_BUF(REQUEST_MAX);
  const csn_json *v = NULL;
  csn_str got;
  csn_jw w;
  csn_jw_init(&w, &body);
  csn_jw_obj(&w);
  csn_jw_key(&w, "AttachStdin");
  csn_jw_bool(&w, x->with_stdin || x->tty);
  csn_jw_key(&w, "AttachStdout");
  csn_jw_bool(&w, true);
  csn_jw_key(&w, "AttachStderr");
  csn_jw_bool(&w, true);
  csn_jw_key(&w, "Tty");
  csn_jw_bool(&w, x->tty);
  csn_jw_key(&w, "User");
  csn_jw_strz(&w, d->user);
  csn_jw_key(&w, "Env");
  csn_jw_arr(&w);
  if (x->tty)
    csn_jw_strz(&w, "TERM=xterm-256color");
  for (const char *const *e = d->variables; e && *e; e++)
    csn_jw_strz(&w, *e);
  for (const char *const *e = x->environment; e && *e; e++)
    csn_jw_strz(&w, *e);
  csn_jw_end(&w);
  csn_jw_key(&w, "Cmd");
  csn_jw_arr(&w);
  for (; *argv; argv++)
    csn_jw_strz(&w, *argv);
  csn_jw_end(&w);
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  if (rc < 0)
    return csn_wrap(err, rc, "the command with its environment");
  rc = csn_engine_ask(&d->engine, sc, "POST", csn_arena_printf(a, "/containers/%s/exec", d->id).p,
                      csn_buf_str(&body), a, &v, err);
  if (rc >= 0)
    rc = csn_json_need_str(v, "Id", &got, err);
  if (rc < 0)
    return rc == CSN_E_NOT_FOUND || rc == CSN_E_CONFLICT
               ? csn_fail(err, CSN_E_SANDBOX, "its container is gone or does not run")
               : rc;
  if (got.n != CSN_DOCKER_ID)
    return csn_fail(err, CSN_E_PARSE, "the container engine gave a strange id to a command");
  for (size_t i = 0; i < got.n; i++)
    if (!strchr("0123456789abcdef", got.p[i]) || !got.p[i])
      return csn_fail(err, CSN_E_PARSE, "the container engine gave a strange id to a command");
  memcpy(id, got.p, got.n);
  id[got.n] = '\0';
  return 0;
}

static int
exec_start(struct csn_docker *d, csn_scope *sc, const char *id, bool tty, csn_link **link,
           csn_err *err)
{
  char path[100];
  snprintf(path, sizeof path, "/exec/%s/start", id);
  return csn_engine_hijack(&d->engine, sc, path,
                           tty ? CSN_STR("{\"Detach\":false,\"Tty\":true}")
                               : CSN_STR("{\"Detach\":false,\"Tty\":false}"),
                           link, err);
}

/* The exit code, when the engine can tell it: 1; 0 while it runs. */
static int
exec_look(struct csn_docker *d, csn_scope *sc, const char *id, int64_t *code, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v = NULL;
  char path[100];
  snprintf(path, sizeof path, "/exec/%s/json", id);
  int rc = csn_engine_ask(&d->engine, sc, "GET", path, (csn_str){0}, a, &v, err);
  if (rc < 0)
    return rc;
  return !csn_json_bool(v, "Running", true) && csn_json_to_int(csn_json_get(v, "ExitCode"), code);
}

/* ---- the end ---- */

static csn_exit
exit_of(int64_t code)
{
  /* A signal's end and an exit with such a number look the same. */
  bool is_signal = code > 128 && code <= 128 + SIGNALS;
  code = code < 0 || code > 255 ? 255 : code;
  return (csn_exit){.code = (int)code, .signal = is_signal ? (int)code - 128 : 0};
}

/* Lock held: the launcher said how it ended. */
static void
take_end(struct docker_proc *p)
{
  csn_str rest = csn_cstr(p->stream.ended);
  size_t blank = csn_str_find(rest, CSN_STR(" "), 0);
  int64_t code = 255, kills = 0;
  if (blank != SIZE_MAX) {
    (void)!csn_str_int(csn_strn(rest.p, blank), &code);
    (void)!csn_str_int(csn_strn(rest.p + blank + 1, rest.n - blank - 1), &kills);
  }
  p->exit = exit_of(code);
  p->ended = true;
  csn_link_abort(p->link); /* who writes to it stops */
  pthread_mutex_lock(&p->d->lock);
  if (kills > p->d->oom_kills)
    p->d->oom_kills = kills;
  pthread_mutex_unlock(&p->d->lock);
}

/* The streams ended without a word: the launcher was killed. */
static int
ask_end(struct docker_proc *p, csn_scope *sc, csn_err *err)
{
  int64_t code = 0;
  int rc = 0;
  for (int i = 0; i < ENDED_POLLS && rc == 0; i++) {
    rc = exec_look(p->d, sc, p->exec, &code, err);
    if (rc == 0) { /* the engine hears of the end a moment after the streams' */
      struct timespec pause = {.tv_nsec = ENDED_POLL_MS * 1000000L};
      nanosleep(&pause, NULL);
    }
  }
  if (rc == CSN_E_TIMEOUT || rc == CSN_E_CANCELLED)
    return rc;
  pthread_mutex_lock(&p->lock);
  p->lost = rc <= 0;
  p->exit = exit_of(rc > 0 ? code : 128 + SIGKILL);
  p->ended = true;
  pthread_mutex_unlock(&p->lock);
  return 0;
}

/* ---- moving bytes ---- */

/* Lock held; lets go of it meanwhile.  0: something may have changed. */
static int
pump(struct docker_proc *p, csn_scope *sc, csn_err *err)
{
  if (p->is_pumped)
    return csn_scope_wait(sc, &p->changed, &p->lock, err);
  p->is_pumped = true;
  pthread_mutex_unlock(&p->lock);
  csn_buf_clear(&p->piece);
  int rc = csn_link_read(p->link, sc, &p->piece, PIECE, err);
  if (rc == 0 || rc == CSN_E_IO)
    rc = ask_end(p, sc, err);
  pthread_mutex_lock(&p->lock);
  p->is_pumped = false;
  if (rc >= 0 && p->piece.n)
    rc = csn_engine_stream_feed(&p->stream, csn_buf_str(&p->piece), p->out, err);
  else if (rc == 0)
    csn_engine_stream_flush(&p->stream, p->out);
  if (rc >= 0 && !p->ended && csn_engine_stream_is_over(&p->stream))
    take_end(p);
  pthread_cond_broadcast(&p->changed);
  return rc < 0 ? rc : 0;
}

static int
docker_read(csn_proc *base, csn_scope *sc, csn_buf *out, size_t max, enum csn_stream *which,
            csn_err *err)
{
  struct docker_proc *p = proc_of(base);
  int rc = 0;
  if (max > out->cap - out->n)
    max = out->cap - out->n;
  pthread_mutex_lock(&p->lock);
  while (rc == 0) {
    for (int i = 0; i < 2 && rc == 0; i++) {
      size_t n = p->out[i].n < max ? p->out[i].n : max;
      csn_buf_add(out, csn_strn(p->out[i].p, n));
      csn_buf_drop(&p->out[i], n);
      *which = i == 0 ? CSN_STDOUT : CSN_STDERR;
      rc = (int)n;
    }
    if (rc > 0)
      pthread_cond_broadcast(&p->changed);
    if (rc > 0 || p->ended)
      break;
    rc = pump(p, sc, err);
  }
  pthread_mutex_unlock(&p->lock);
  return rc;
}

static int
docker_wait(csn_proc *base, csn_scope *sc, csn_exit *exit, csn_err *err)
{
  struct docker_proc *p = proc_of(base);
  int rc = 0;
  pthread_mutex_lock(&p->lock);
  while (rc == 0 && !p->ended)
    rc = p->out[0].n + p->out[1].n < PENDING ? pump(p, sc, err)
                                             : csn_scope_wait(sc, &p->changed, &p->lock, err);
  *exit = p->exit;
  if (rc == 0 && p->lost)
    rc = csn_fail(err, CSN_E_SANDBOX, "the command was lost with its container");
  pthread_mutex_unlock(&p->lock);
  return rc;
}

static int
docker_write(csn_proc *base, csn_scope *sc, csn_str bytes, csn_err *err)
{
  struct docker_proc *p = proc_of(base);
  int rc = 0;
  pthread_mutex_lock(&p->lock);
  while (rc == 0 && p->is_written)
    rc = csn_scope_wait(sc, &p->changed, &p->lock, err);
  if (rc == 0 && p->ended) {
    errno = EPIPE;
    rc = csn_fail_errno(err, "the command does not read its input");
  }
  if (rc == 0) {
    p->is_written = true;
    pthread_mutex_unlock(&p->lock);
    rc = csn_link_write(p->link, sc, bytes, err);
    pthread_mutex_lock(&p->lock);
    p->is_written = false;
    pthread_cond_broadcast(&p->changed);
  }
  pthread_mutex_unlock(&p->lock);
  return rc < 0 ? rc : bytes.n > INT32_MAX ? INT32_MAX : (int)bytes.n;
}

static void
docker_close_stdin(csn_proc *base)
{
  if (!base->tty)
    csn_link_shut(proc_of(base)->link);
}

/* ---- control ---- */

static bool
has_ended(struct docker_proc *p)
{
  pthread_mutex_lock(&p->lock);
  bool ended = p->ended;
  pthread_mutex_unlock(&p->lock);
  return ended;
}

static int
kill_group(struct docker_proc *p, csn_scope *sc, int sig, csn_err *err)
{
  char number[16], group[24];
  snprintf(number, sizeof number, "-%d", sig);
  snprintf(group, sizeof group, "-%lld", (long long)p->group);
  const char *const argv[] = {"sh", "-c", "kill \"$1\" \"$2\"", "sh", number, group, NULL};
  const csn_exec x = {.argv = argv, .claim_fd = -1};
  char id[CSN_DOCKER_ID + 1];
  csn_auto(csn_link_closep) csn_link *link = NULL;
  csn_auto(csn_buf_finip) csn_buf piece = CSN_BUF(PIECE);
  int64_t code = 0;
  int rc = exec_create(p->d, sc, &x, argv, id, err);
  if (rc == 0)
    rc = exec_start(p->d, sc, id, false, &link, err);
  while (rc >= 0 && link) {
    csn_buf_clear(&piece);
    rc = csn_link_read(link, sc, &piece, PIECE, err);
    if (rc == 0)
      break;
  }
  if (rc >= 0)
    rc = exec_look(p->d, sc, id, &code, err);
  if (rc > 0 && code != 0)
    return csn_fail(err, CSN_E_NOT_FOUND, "the command has ended");
  return rc < 0 ? rc : 0;
}

static int
docker_signal(csn_proc *base, int sig, csn_err *err)
{
  struct docker_proc *p = proc_of(base);
  csn_scope sc;
  if (has_ended(p))
    return csn_fail(err, CSN_E_NOT_FOUND, "the command has ended");
  csn_scope_init(&sc, NULL, OWN_MS);
  int rc = kill_group(p, &sc, sig, err);
  csn_scope_fini(&sc);
  return rc;
}

static int
docker_resize(csn_proc *base, int rows, int cols, csn_err *err)
{
  struct docker_proc *p = proc_of(base);
  csn_scope sc;
  char path[140];
  snprintf(path, sizeof path, "/exec/%s/resize?h=%d&w=%d", p->exec, rows, cols);
  csn_scope_init(&sc, NULL, OWN_MS);
  int rc = csn_engine_ask(&p->d->engine, &sc, "POST", path, (csn_str){0}, NULL, NULL, err);
  csn_scope_fini(&sc);
  return rc < 0 ? rc : 0;
}

static void
docker_proc_close(csn_proc *base)
{
  struct docker_proc *p = proc_of(base);
  csn_err ended_already;
  if (p->group > 0 && !has_ended(p))
    (void)!docker_signal(base, SIGKILL, &ended_already);
  csn_link_close(p->link);
  csn_buf_fini(&p->out[0]);
  csn_buf_fini(&p->out[1]);
  csn_buf_fini(&p->piece);
  pthread_cond_destroy(&p->changed);
  pthread_mutex_destroy(&p->lock);
  free(p);
}

static const csn_proc_ops proc_ops = {
    .read = docker_read,
    .wait = docker_wait,
    .write = docker_write,
    .close_stdin = docker_close_stdin,
    .signal = docker_signal,
    .resize = docker_resize,
    .close = docker_proc_close,
};

/* ---- starting ---- */

/* Waits for the launcher's first word. */
static int
await(struct docker_proc *p, csn_scope *sc, const csn_exec *x, csn_err *err)
{
  static const csn_str ok = CSN_STR_INIT("ok ");
  int rc = 0;
  pthread_mutex_lock(&p->lock);
  while (rc == 0 && !p->ended && !p->stream.begun[0])
    rc = pump(p, sc, err);
  csn_str said = csn_cstr(p->stream.begun);
  pthread_mutex_unlock(&p->lock);
  if (rc < 0)
    return rc;
  if (csn_str_starts(said, ok) && csn_str_int(csn_strn(said.p + ok.n, said.n - ok.n), &p->group) &&
      p->group > 1)
    return 0;
  p->group = 0;
  if (csn_str_eq(said, CSN_STR("cwd")))
    return csn_fail(err, CSN_E_NOT_FOUND, "cwd %.200s: no such folder", x->cwd ? x->cwd : ".");
  if (csn_str_eq(said, CSN_STR("none")))
    return csn_fail(err, CSN_E_NOT_FOUND, "%.200s: no such program", x->argv[0]);
  if (csn_str_eq(said, CSN_STR("denied")))
    return csn_fail(err, CSN_E_DENIED, "%.200s: it may not be executed", x->argv[0]);
  csn_str text = csn_str_trim(csn_buf_str(&p->out[0]));
  if (text.n == 0)
    return csn_fail(err, CSN_E_SANDBOX, "the container ended before the command began");
  return csn_fail(err, CSN_E_SANDBOX,
                  "the command's launcher did not run; the image needs a POSIX sh: %.*s",
                  (int)(text.n < 200 ? text.n : 200), text.p);
}

/* Started, and then the caller gave up: it is ended as soon as it can be named. */
static void
give_up(struct docker_proc *p, const csn_exec *x)
{
  csn_scope own;
  csn_scope_init(&own, NULL, OWN_MS);
  (void)!await(p, &own, x, NULL);
  csn_scope_fini(&own);
}

static const char *const *
launch_argv(csn_arena *a, struct docker_proc *p, const csn_exec *x)
{
  size_t n = csn_strings_count(x->argv), k = 0;
  const char **argv = csn_arena_alloc(a, (n + 10) * sizeof *argv);
  const char *cwd = x->cwd ? x->cwd : p->d->base.root;
  argv[k++] = "sh";
  argv[k++] = "-c";
  argv[k++] = launcher;
  argv[k++] = "sh";
  argv[k++] = p->stream.word;
  argv[k++] = cwd[0] == '/' ? cwd : csn_arena_printf(a, "%s/%s", p->d->base.root, cwd).p;
  argv[k++] = x->tty            ? "t"
              : !x->with_stdin  ? x->split_output ? "sz" : "z"
              : x->split_output ? "s"
                                : "-";
  argv[k++] = csn_arena_printf(a, "%u", x->rows).p;
  argv[k++] = csn_arena_printf(a, "%u", x->cols).p;
  for (size_t i = 0; i < n; i++)
    argv[k++] = x->argv[i];
  return argv;
}

static void
docker_proc_freep(struct docker_proc **p)
{
  if (*p)
    docker_proc_close(&(*p)->base);
}

int
csn_docker_spawn(csn_sandbox *sb, csn_scope *sc, const csn_exec *x, csn_proc **out, csn_err *err)
{
  struct csn_docker *d = (struct csn_docker *)sb;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  off_t was = 0;
  if (x->user)
    return csn_fail(err, CSN_E_UNSUPPORTED, "commands in a container are all its one user");
  if (!d->id[0])
    return csn_fail(err, CSN_E_SANDBOX, "its container was removed");
  csn_auto(docker_proc_freep) struct docker_proc *p = csn_alloc(sizeof *p);
  *p = (struct docker_proc){.base = {&proc_ops, x->tty}, .d = d};
  pthread_mutex_init(&p->lock, NULL);
  csn_cond_init(&p->changed);
  p->out[0] = p->out[1] = CSN_BUF(PENDING + PIECE + CSN_ENGINE_SAYING_MAX);
  p->piece = CSN_BUF(PIECE);
  csn_engine_stream_init(&p->stream, !x->tty, x->split_output);
  int rc = exec_create(d, sc, x, launch_argv(a, p, x), p->exec, err);
  if (rc == 0)
    rc = csn_claim(x->claim_fd, &was, err);
  if (rc < 0)
    return rc;
  rc = exec_start(d, sc, p->exec, x->tty, &p->link, err);
  if (rc == CSN_E_NOT_FOUND || rc == CSN_E_CONFLICT || rc == CSN_E_DENIED)
    rc = csn_fail(err, CSN_E_SANDBOX, "its container is gone or does not run");
  if (rc == 0)
    rc = await(p, sc, x, err);
  if (rc < 0 && p->link && (rc == CSN_E_TIMEOUT || rc == CSN_E_CANCELLED))
    give_up(p, x);
  bool never_began = rc == CSN_E_NOT_FOUND || rc == CSN_E_DENIED;
  if (never_began)
    csn_claim_back(x->claim_fd, was);
  if (rc < 0)
    return rc;
  *out = &csn_steal(p)->base;
  return 0;
}
