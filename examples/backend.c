/* SPDX-License-Identifier: Apache-2.0
 * A back-end of this program's own: "toy" runs commands as plain processes in the
 * workspace's folder, which isolates nothing.  An agent file names it like any
 * other, with the option that its table declares. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pipe2, and folders of what posix_spawn starts */
#endif
#include <caisson/caisson.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

enum { ENV_MOST = 60, LOOK_MS = 20 };

struct toy {
  csn_sandbox base; /* first, as in each struct of a back-end */
  csn_arena *arena;
  const char *environment[ENV_MOST + 1];
};

struct toy_proc {
  csn_proc base;
  pid_t pid; /* 0: it was reaped */
  int in, out[2];
  csn_exit exit;
};

/* ---- a command ---- */

/* 0: it runs; 1: it has ended. */
static int
look(struct toy_proc *p)
{
  int status;
  if (p->pid == 0)
    return 1;
  if (waitpid(p->pid, &status, WNOHANG) != p->pid)
    return 0;
  p->exit = WIFSIGNALED(status)
                ? (csn_exit){.code = 128 + WTERMSIG(status), .signal = WTERMSIG(status)}
                : (csn_exit){.code = WEXITSTATUS(status)};
  p->pid = 0;
  return 1;
}

static int
toy_read(csn_proc *base, csn_scope *sc, csn_buf *out, size_t max, enum csn_stream *which,
         csn_err *err)
{
  struct toy_proc *p = (struct toy_proc *)base;
  for (;;) {
    int rc = csn_scope_check(sc, err), ended = look(p);
    if (rc < 0)
      return rc;
    struct pollfd fds[2] = {{.fd = p->out[0], .events = POLLIN},
                            {.fd = p->out[1], .events = POLLIN}};
    int ready = poll(fds, 2, ended ? 0 : LOOK_MS);
    for (int i = 0; i < 2 && ready > 0; i++) {
      char *room = fds[i].revents ? csn_buf_room(out, max) : NULL;
      ssize_t n = room ? read(p->out[i], room, max) : -1;
      if (n == 0)
        csn_closep(&p->out[i]);
      if (n <= 0)
        continue;
      out->n += (size_t)n;
      *which = i ? CSN_STDERR : CSN_STDOUT;
      return (int)n;
    }
    if (ready == 0 && ended) /* what it left was read */
      return 0;
    if (p->out[0] < 0 && p->out[1] < 0)
      return 0;
  }
}

static int
toy_wait(csn_proc *base, csn_scope *sc, csn_exit *exit, csn_err *err)
{
  struct toy_proc *p = (struct toy_proc *)base;
  while (!look(p)) {
    int rc = csn_scope_check(sc, err);
    if (rc < 0)
      return rc;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  *exit = p->exit;
  return 0;
}

static int
toy_write(csn_proc *base, csn_scope *sc, csn_str bytes, csn_err *err)
{
  struct toy_proc *p = (struct toy_proc *)base;
  ssize_t n = p->in < 0 || look(p) ? (errno = EPIPE, -1) : write(p->in, bytes.p, bytes.n);
  (void)sc; /* a toy: a command that does not read makes it wait */
  return n < 0 ? csn_fail_errno(err, "the command does not read its input") : (int)n;
}

static void
toy_close_stdin(csn_proc *base)
{
  csn_closep(&((struct toy_proc *)base)->in);
}

static int
toy_signal(csn_proc *base, int sig, csn_err *err)
{
  struct toy_proc *p = (struct toy_proc *)base;
  if (look(p) || kill(-p->pid, sig) < 0)
    return csn_fail(err, CSN_E_NOT_FOUND, "the command has ended");
  return 0;
}

static int
toy_resize(csn_proc *base, int rows, int cols, csn_err *err)
{
  (void)base, (void)rows, (void)cols;
  return csn_fail(err, CSN_E_UNSUPPORTED, "a toy has no terminals");
}

static void
toy_proc_close(csn_proc *base)
{
  struct toy_proc *p = (struct toy_proc *)base;
  if (!look(p)) {
    kill(-p->pid, SIGKILL);
    waitpid(p->pid, NULL, 0);
  }
  csn_closep(&p->in);
  csn_closep(&p->out[0]);
  csn_closep(&p->out[1]);
  free(p);
}

static const csn_proc_ops proc_ops = {toy_read,   toy_wait,   toy_write,     toy_close_stdin,
                                      toy_signal, toy_resize, toy_proc_close};

static int
start(struct toy_proc *p, struct toy *t, const csn_exec *x, int in, const int out[2])
{
  posix_spawn_file_actions_t fa;
  posix_spawnattr_t at;
  posix_spawn_file_actions_init(&fa);
  posix_spawnattr_init(&at);
  posix_spawn_file_actions_adddup2(&fa, in, 0);
  posix_spawn_file_actions_adddup2(&fa, out[0], 1);
  posix_spawn_file_actions_adddup2(&fa, x->split_output ? out[1] : out[0], 2);
  posix_spawn_file_actions_addfchdir_np(&fa, t->base.workspace_fd);
  if (x->cwd)
    posix_spawn_file_actions_addchdir_np(&fa, x->cwd);
  posix_spawn_file_actions_addclosefrom_np(&fa, 3);
  posix_spawnattr_setpgroup(&at, 0);
  posix_spawnattr_setflags(&at, POSIX_SPAWN_SETPGROUP);
  const char *environment[2 * ENV_MOST + 1] = {NULL};
  size_t n = 0;
  for (const char *const *e = t->environment; *e; e++)
    environment[n++] = *e;
  for (const char *const *e = x->environment; e && *e && n < 2 * (size_t)ENV_MOST; e++)
    environment[n++] = *e;
  errno = posix_spawnp(&p->pid, x->argv[0], &fa, &at, (char **)(uintptr_t)x->argv,
                       (char **)(uintptr_t)environment);
  posix_spawnattr_destroy(&at);
  posix_spawn_file_actions_destroy(&fa);
  return errno;
}

static int
toy_spawn(csn_sandbox *sb, csn_scope *sc, const csn_exec *x, csn_proc **out, csn_err *err)
{
  int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
  (void)sc;
  if (x->tty)
    return toy_resize(NULL, 0, 0, err);
  for (int i = 0; i < 3; i++)
    if (pipe2(pipes[i], O_CLOEXEC) < 0)
      return csn_fail_errno(err, "pipe");
  struct toy_proc *p = csn_alloc(sizeof *p);
  *p = (struct toy_proc){
      .base = {.ops = &proc_ops}, .in = pipes[0][1], .out = {pipes[1][0], pipes[2][0]}};
  if (!x->with_stdin)
    csn_closep(&p->in);
  int e = start(p, (struct toy *)sb, x, pipes[0][0], (const int[]){pipes[1][1], pipes[2][1]});
  csn_closep(&pipes[0][0]);
  csn_closep(&pipes[1][1]);
  csn_closep(&pipes[2][1]);
  if (e == 0 && x->claim_fd >= 0 && write(x->claim_fd, "1", 1) != 1)
    e = errno;
  if (e == 0) {
    *out = &p->base;
    return 0;
  }
  toy_proc_close(&p->base);
  errno = e;
  return csn_fail_errno(err, "%s: no such program", x->argv[0]);
}

/* ---- a sandbox ---- */

static void
toy_close(csn_sandbox *sb)
{
  struct toy *t = (struct toy *)sb;
  csn_closep(&sb->workspace_fd);
  csn_arena_free(t->arena);
  free(sb->root);
  free(t);
}

static int
toy_open(csn_sandbox **out, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  extern const csn_sandbox_ops toy_ops;
  csn_str greeting = csn_json_str(spec->options, "greeting", CSN_STR("none"));
  char folder[4096] = "", link[40];
  (void)sc;
  if (spec->workspace_fd < 0 || spec->rootfs)
    return csn_fail(err, CSN_E_UNSUPPORTED, "a toy needs a folder, and has no root file system");
  snprintf(link, sizeof link, "/proc/self/fd/%d", spec->workspace_fd);
  if (readlink(link, folder, sizeof folder - 1) < 0)
    return csn_fail_errno(err, "the workspace");
  struct toy *t = csn_alloc(sizeof *t);
  t->base = (csn_sandbox){.ops = &toy_ops,
                          .root = csn_dupz(csn_cstr(folder)),
                          .workspace_fd = fcntl(spec->workspace_fd, F_DUPFD_CLOEXEC, 3),
                          .uid = -1,
                          .gid = -1};
  t->arena = csn_arena_new(0);
  t->environment[0] = "PATH=/usr/local/bin:/usr/bin:/bin";
  t->environment[1] = csn_arena_printf(t->arena, "GREETING=%.*s", (int)greeting.n, greeting.p).p;
  for (size_t i = 0; spec->environment && spec->environment[i] && i + 2 < ENV_MOST; i++)
    t->environment[i + 2] = csn_arena_dup(t->arena, csn_cstr(spec->environment[i])).p;
  *out = &t->base;
  return 0;
}

static void
toy_describe(csn_sandbox *sb, csn_jw *w)
{
  (void)sb;
  csn_jw_key(w, "isolation");
  csn_jw_strz(w, "none, it is a toy");
}

static const csn_sandbox_option toy_options[] = {{"greeting", CSN_JSON_STRING}, {NULL, 0}};

const csn_sandbox_ops toy_ops = {
    .size = sizeof(csn_sandbox_ops),
    .name = "toy",
    .open = toy_open,
    .close = toy_close,
    .spawn = toy_spawn,
    .describe = toy_describe,
    .options = toy_options,
};

/* ---- an agent on it ---- */

int
main(int argc, char **argv)
{
  static const csn_sandbox_ops *const own[] = {&toy_ops, NULL};
  const csn_rt_options options = {.backends = own};
  csn_err err;
  csn_result answer;
  csn_auto(csn_arena_freep) csn_arena *keep = csn_arena_new(0);
  csn_auto(csn_rt_freep) csn_rt *rt = NULL;
  csn_auto(csn_agent_freep) csn_agent *agent = NULL;
  if (argc < 2)
    return fprintf(stderr, "usage: backend AGENT_FILE [MODEL]\n"), 2;
  if (csn_rt_new(&rt, &options, &err) < 0 || csn_rt_load_agent(rt, &agent, argv[1], &err) < 0)
    return fprintf(stderr, "%s\n", err.msg), 1;
  if (argc > 2)
    csn_agent_set_model(agent, argv[2]);
  if (csn_run_once(rt, NULL, agent, CSN_STR("Greet the world."), NULL, keep, &answer, &err) < 0)
    return fprintf(stderr, "%s\n", err.msg), 1;
  csn_str text = answer.state == CSN_RUN_DONE ? answer.output : answer.message;
  printf("%.*s\n", (int)text.n, text.p);
  return answer.state != CSN_RUN_DONE;
}
