/* SPDX-License-Identifier: Apache-2.0
 *
 * keeper.c - the parent of all processes of one local sandbox; a program of
 * its own, single-threaded, with no secret in its memory.
 *
 * It is a subreaper: a daemon that left its process group and its parents
 * comes back here.  When the harness closes the sandbox or dies, by whatever
 * signal, the control socket ends and the keeper kills its children until none
 * is left, then ends itself.  Killing only its own unreaped children, again
 * and again as theirs become its own, never hits a process id that was reused.
 *
 * Commands start by clone(CLONE_VM | CLONE_VFORK), so a failed exec reports
 * its errno through shared memory.  They die with the keeper (PDEATHSIG). */
#include "sandbox/keeper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/command.h"
#include "sandbox/keeper_tty.h"

enum { CHILD_STACK = 64 * 1024, GIVE_UP_S = 10 };

/* A command whose leader runs; channel is -1 after the harness closed it. */
struct command {
  pid_t pid;
  int channel;
  struct keeper_tty tty;
  bool has_ended; /* and its terminal is being read to the end */
  int status;
};

struct keeper {
  int epoll, signals;
  struct command *commands;
  size_t n, room;
  pid_t self;
  char *packet;
  char *strings[CSN_KEEPER_STRINGS];
  char *stack;
};

/* A start request, and through shared memory how it failed. */
struct start {
  char **argv, **envp;
  const char *cwd; /* NULL: the folder came as a descriptor */
  int fds[CSN_KEEPER_FDS];
  bool tty, null_stdin, own_mounts, own_tty;
  uint16_t rows, cols;
  pid_t keeper;
  volatile int failure, stage;
};

static void
tell(int channel, int kind, int value, int more)
{
  csn_command_event e = {kind, value, more};
  if (channel >= 0)
    (void)!send(channel, &e, sizeof e, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* ---- in the child: shares memory with the keeper until it executes ---- */

static _Noreturn void
give_up(struct start *s, int stage)
{
  s->failure = errno ? errno : EIO;
  s->stage = stage;
  _exit(127);
}

static bool
is_program(const char *path)
{
  struct stat st;
  if (stat(path, &st) < 0)
    return false;
  if (!S_ISREG(st.st_mode)) {
    errno = EACCES;
    return false;
  }
  return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
}

static const char *
variable(char **envp, const char *name)
{
  size_t n = strlen(name);
  for (; *envp; envp++)
    if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
      return *envp + n + 1;
  return NULL;
}

/* The program's file as execvp(3) would find it; false with errno. */
static bool
find_program(const char *name, char **envp, char path[PATH_MAX])
{
  if (strchr(name, '/')) {
    if ((size_t)snprintf(path, PATH_MAX, "%s", name) < PATH_MAX)
      return is_program(path);
    errno = ENAMETOOLONG;
    return false;
  }
  const char *dirs = variable(envp, "PATH");
  struct stat st;
  bool denied = false;
  while (dirs) {
    const char *end = strchrnul(dirs, ':');
    int n = (int)(end - dirs);
    if (snprintf(path, PATH_MAX, "%.*s%s%s", n, dirs, n ? "/" : "./", name) < PATH_MAX) {
      if (is_program(path))
        return true;
      denied |= errno == EACCES && stat(path, &st) == 0; /* not: a folder closed to us */
    }
    dirs = *end ? end + 1 : NULL;
  }
  errno = denied ? EACCES : ENOENT;
  return false;
}

static void
execute(struct start *s)
{
  char path[PATH_MAX];
  if (!find_program(s->argv[0], s->envp, path))
    give_up(s, CSN_COMMAND_AT_EXEC);
  int claim = s->fds[CSN_KEEPER_CLAIM_FD];
  struct stat before = {0};
  if (claim >= 0 && (fstat(claim, &before) < 0 || write(claim, "1", 1) != 1))
    give_up(s, CSN_COMMAND_AT_CLAIM);
  execve(path, s->argv, s->envp);
  int e = errno;
  /* It did not start after all: take the claim back. */
  if (claim >= 0 && S_ISREG(before.st_mode))
    (void)!ftruncate(claim, before.st_size);
  errno = e;
  give_up(s, CSN_COMMAND_AT_EXEC);
}

static int
child_main(void *arg)
{
  struct start *s = arg;
  errno = 0;
  if (setsid() < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != s->keeper)
    give_up(s, CSN_COMMAND_AT_SETUP);
  for (int i = s->null_stdin; i < 3; i++)
    if (dup2(s->fds[CSN_KEEPER_STDIN_FD + i], i) < 0)
      give_up(s, CSN_COMMAND_AT_SETUP);
  if (s->own_mounts &&
      (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0))
    give_up(s, CSN_COMMAND_AT_SETUP);
  int null = s->null_stdin ? open("/dev/null", O_RDONLY) : 0;
  if (null < 0 || (null > 0 && dup2(null, 0) < 0))
    give_up(s, CSN_COMMAND_AT_SETUP);
  if (null > 0)
    close(null);
  if (s->tty && ioctl(0, TIOCSCTTY, 0) < 0)
    give_up(s, CSN_COMMAND_AT_SETUP);
  if (s->cwd ? chdir(s->cwd) < 0 : fchdir(s->fds[CSN_KEEPER_CWD_FD]) < 0)
    give_up(s, CSN_COMMAND_AT_CWD);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execute(s);
  return 0;
}

/* ---- in the keeper ---- */

static struct command *
find_command(struct keeper *k, pid_t pid)
{
  for (size_t i = 0; i < k->n; i++)
    if (k->commands[i].pid == pid)
      return &k->commands[i];
  return NULL;
}

static bool
add_command(struct keeper *k, pid_t pid, int channel, const struct keeper_tty *tty)
{
  if (k->n == k->room) {
    size_t room = k->room ? k->room * 2 : 16;
    struct command *more = realloc(k->commands, room * sizeof *more);
    if (!more)
      return false;
    k->commands = more;
    k->room = room;
  }
  k->commands[k->n++] = (struct command){.pid = pid, .channel = channel, .tty = *tty};
  struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)pid};
  return epoll_ctl(k->epoll, EPOLL_CTL_ADD, channel, &e) == 0;
}

/* Splits the packet's strings into k->strings; false when it is malformed. */
static bool
unpack(struct keeper *k, size_t n, struct start *s)
{
  csn_keeper_start head;
  if (n <= sizeof head || k->packet[n - 1] != '\0')
    return false;
  memcpy(&head, k->packet, sizeof head);
  size_t at = 0, total = (size_t)head.args + head.variables;
  if (head.args == 0 || total + 2 > CSN_KEEPER_STRINGS)
    return false;
  const char *end = k->packet + n;
  char *p = k->packet + sizeof head;
  s->argv = k->strings;
  s->envp = k->strings + head.args + 1;
  for (size_t i = 0; i < total; i++) {
    if (p >= end)
      return false;
    if (i == head.args)
      k->strings[at++] = NULL;
    k->strings[at++] = p;
    p += strlen(p) + 1;
  }
  if (head.variables == 0)
    k->strings[at++] = NULL;
  k->strings[at] = NULL;
  s->tty = head.tty;
  s->null_stdin = head.null_stdin;
  s->own_mounts = head.own_mounts;
  s->own_tty = head.own_tty;
  s->rows = head.rows;
  s->cols = head.cols;
  if (head.with_cwd) { /* in the place of the descriptor */
    s->cwd = p;
    s->fds[CSN_KEEPER_CLAIM_FD] = s->fds[CSN_KEEPER_CWD_FD];
    s->fds[CSN_KEEPER_CWD_FD] = -1;
  }
  return p < end || !head.with_cwd;
}

/* The command gets a terminal in the place of the pipes. */
static bool
make_tty(struct start *s, struct keeper_tty *tty, int pipes[2])
{
  int slave = keeper_tty_open(tty, s->rows, s->cols);
  pipes[0] = s->fds[CSN_KEEPER_STDIN_FD];
  pipes[1] = s->fds[CSN_KEEPER_STDOUT_FD];
  close(s->fds[CSN_KEEPER_STDERR_FD]);
  s->fds[CSN_KEEPER_STDIN_FD] = slave;
  for (int i = CSN_KEEPER_STDOUT_FD; i <= CSN_KEEPER_STDERR_FD; i++)
    s->fds[i] = slave < 0 ? -1 : fcntl(slave, F_DUPFD_CLOEXEC, 3);
  return slave >= 0;
}

static void
close_pipes(const int pipes[2])
{
  for (int i = 0; i < 2; i++)
    if (pipes[i] >= 0)
      close(pipes[i]);
}

static void
start_command(struct keeper *k, struct start *s)
{
  int channel = s->fds[CSN_KEEPER_CHANNEL_FD], pipes[2] = {-1, -1};
  struct keeper_tty tty = {.master = -1, .stop = -1};
  s->keeper = k->self;
  if (s->own_tty && !make_tty(s, &tty, pipes)) {
    tell(channel, CSN_COMMAND_FAILED, errno, CSN_COMMAND_AT_SETUP);
    keeper_tty_close(&tty);
    close_pipes(pipes);
    return;
  }
  pid_t pid = clone(child_main, k->stack + CHILD_STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, s);
  if (pid > 0 && !s->failure && s->own_tty)
    keeper_tty_relay(&tty, pipes);
  close_pipes(pipes);
  /* Before it is told as started: who writes to a command that has closed its
   * input is to hear of it. */
  for (int e = errno, i = CSN_KEEPER_STDIN_FD; i < CSN_KEEPER_FDS; i++, errno = e)
    if (s->fds[i] >= 0) {
      close(s->fds[i]);
      s->fds[i] = -1;
    }
  if (pid < 0 || s->failure) {
    tell(channel, CSN_COMMAND_FAILED, pid < 0 ? errno : s->failure,
         pid < 0 ? CSN_COMMAND_AT_SETUP : s->stage);
    if (pid > 0)
      waitpid(pid, NULL, 0);
    keeper_tty_close(&tty);
    return;
  }
  tell(channel, CSN_COMMAND_STARTED, pid, 0);
  if (!add_command(k, pid, channel, &tty)) {
    kill(-pid, SIGKILL);
    return;
  }
  s->fds[CSN_KEEPER_CHANNEL_FD] = -1; /* the table's now */
}

/* Takes one start request; false when the harness has gone. */
static bool
serve_control(struct keeper *k)
{
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int) * CSN_KEEPER_FDS)];
  } control;
  struct iovec iov = {k->packet, CSN_KEEPER_PACKET};
  struct msghdr m = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t n = recvmsg(CSN_KEEPER_CONTROL, &m, MSG_CMSG_CLOEXEC);
  if (n < 0)
    return errno == EINTR || errno == EAGAIN;
  if (n == 0)
    return false;
  struct start s = {0};
  for (int i = 0; i < CSN_KEEPER_FDS; i++)
    s.fds[i] = -1;
  size_t count = 0;
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  if (c && c->cmsg_type == SCM_RIGHTS) {
    count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(s.fds, CMSG_DATA(c), count * sizeof(int));
  }
  if (count >= CSN_KEEPER_CWD_FD && unpack(k, (size_t)n, &s))
    start_command(k, &s);
  for (int i = 0; i < CSN_KEEPER_FDS; i++)
    if (s.fds[i] >= 0)
      close(s.fds[i]);
  return true;
}

static void
serve_channel(struct keeper *k, pid_t pid)
{
  struct command *c = find_command(k, pid);
  if (!c || c->channel < 0)
    return;
  int32_t words[2];
  ssize_t n = recv(c->channel, words, sizeof words, MSG_DONTWAIT);
  if (n == sizeof *words) {
    kill(-pid, words[0]);
  } else if (n == sizeof words) {
    keeper_tty_resize(&c->tty, (unsigned)words[0], (unsigned)words[1]);
  } else if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
    close(c->channel);
    c->channel = -1;
    kill(-pid, SIGKILL);
  }
}

static void
tell_end(struct keeper *k, struct command *c)
{
  if (WIFSIGNALED(c->status))
    tell(c->channel, CSN_COMMAND_ENDED, 128 + WTERMSIG(c->status), WTERMSIG(c->status));
  else
    tell(c->channel, CSN_COMMAND_ENDED, WEXITSTATUS(c->status), 0);
  if (c->channel >= 0)
    close(c->channel);
  keeper_tty_close(&c->tty);
  *c = k->commands[--k->n];
}

/* What is in a terminal when its command ends is passed on before the end is
 * told, for nobody reads after that. */
static void
end_command(struct keeper *k, struct command *c, int status)
{
  c->status = status;
  c->has_ended = true;
  if (c->tty.relay <= 0) {
    tell_end(k, c);
    return;
  }
  close(c->tty.stop);
  c->tty.stop = -1;
}

static void
end_relay(struct keeper *k, pid_t relay)
{
  for (size_t i = 0; i < k->n; i++)
    if (k->commands[i].tty.relay == relay) {
      k->commands[i].tty.relay = 0;
      if (k->commands[i].has_ended)
        tell_end(k, &k->commands[i]);
      return;
    }
}

/* Collects who has ended; false when no child is left. */
static bool
reap(struct keeper *k)
{
  for (;;) {
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid <= 0)
      return pid == 0 || errno != ECHILD;
    struct command *c = find_command(k, pid);
    if (c)
      end_command(k, c, status);
    else
      end_relay(k, pid);
  }
}

/* For kernels without /proc/PID/task/TID/children. */
static void
kill_by_scan(pid_t self)
{
  DIR *proc = opendir("/proc");
  if (!proc)
    return;
  for (struct dirent *d; (d = readdir(proc));) {
    char path[sizeof d->d_name + 16], line[512];
    if (d->d_name[0] < '1' || d->d_name[0] > '9')
      continue;
    snprintf(path, sizeof path, "/proc/%s/stat", d->d_name);
    FILE *f = fopen(path, "re");
    if (!f)
      continue;
    size_t n = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    line[n] = '\0';
    char *after = strrchr(line, ')'); /* the name before it may hold anything */
    int pid, parent;
    char state;
    if (after && sscanf(line, "%d", &pid) == 1 &&
        sscanf(after + 1, " %c %d", &state, &parent) == 2 && parent == self)
      kill(pid, SIGKILL);
  }
  closedir(proc);
}

static void
kill_children(struct keeper *k)
{
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)k->self);
  FILE *f = fopen(path, "re");
  if (!f) {
    kill_by_scan(k->self);
    return;
  }
  int pid;
  while (fscanf(f, "%d", &pid) == 1)
    kill(pid, SIGKILL);
  fclose(f);
}

static void
end_all(struct keeper *k)
{
  struct timespec began, now, step = {.tv_nsec = 20000000};
  clock_gettime(CLOCK_MONOTONIC, &began);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  for (size_t i = 0; i < k->n; i++)
    kill(-k->commands[i].pid, SIGKILL); /* most go at once, whole groups */
  while (reap(k)) {
    kill_children(k);
    sigtimedwait(&child, NULL, &step);
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - began.tv_sec > GIVE_UP_S)
      return; /* another user's process, or one stuck in the kernel */
  }
}

static void
serve(struct keeper *k)
{
  for (;;) {
    struct epoll_event ready[32];
    int n = epoll_wait(k->epoll, ready, 32, -1);
    for (int i = 0; i < n; i++) {
      uint64_t who = ready[i].data.u64;
      struct signalfd_siginfo info;
      if (who > 1) {
        serve_channel(k, (pid_t)who);
      } else if (who == 1) {
        while (read(k->signals, &info, sizeof info) > 0)
          continue;
        reap(k);
      } else if (!serve_control(k)) {
        return;
      }
    }
  }
}

static bool
prepare(struct keeper *k)
{
  close(CSN_KEEPER_IMAGE);
  fcntl(CSN_KEEPER_CONTROL, F_SETFD, FD_CLOEXEC);
  fcntl(CSN_KEEPER_LOCK, F_SETFD, FD_CLOEXEC); /* absent: EBADF is fine */
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  sigemptyset(&all);
  sigaddset(&all, SIGCHLD);
  k->self = getpid();
  k->signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
  k->epoll = epoll_create1(EPOLL_CLOEXEC);
  k->packet = malloc(CSN_KEEPER_PACKET);
  k->stack = malloc(CHILD_STACK);
  struct epoll_event control = {.events = EPOLLIN, .data.u64 = 0};
  struct epoll_event signals = {.events = EPOLLIN, .data.u64 = 1};
  return k->packet && k->stack && prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 && chdir("/") == 0 &&
         epoll_ctl(k->epoll, EPOLL_CTL_ADD, CSN_KEEPER_CONTROL, &control) == 0 &&
         epoll_ctl(k->epoll, EPOLL_CTL_ADD, k->signals, &signals) == 0;
}

int
main(int argc, char **argv)
{
  struct keeper *k = calloc(1, sizeof *k);
  if (!k || !prepare(k) || (argc > 1 && send(CSN_KEEPER_CONTROL, argv[1], 1, MSG_NOSIGNAL) != 1)) {
    free(k);
    return 1;
  }
  serve(k);
  end_all(k);
  free(k);
  return 0;
}
