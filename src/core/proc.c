/* SPDX-License-Identifier: Apache-2.0
 *
 * proc.c - one program, run to its end: posix_spawn, then a poll loop over its
 * output, its pidfd and the scope's wake-up. */
#include "core/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "caisson/mem.h"
#include "core/poll.h"

int
csn_command_start(const csn_command *c, int out, pid_t *pid, csn_err *err)
{
  posix_spawn_file_actions_t fa;
  posix_spawnattr_t at;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawn_file_actions_init(&fa);
  posix_spawnattr_init(&at);
  if (c->stdin_fd > 0)
    posix_spawn_file_actions_adddup2(&fa, c->stdin_fd, 0);
  else
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&fa, out, 1);
  posix_spawn_file_actions_adddup2(&fa, c->stderr_fd > 0 ? c->stderr_fd : out, 2);
  if (c->cwd_fd >= 0)
    posix_spawn_file_actions_addfchdir_np(&fa, c->cwd_fd);
  posix_spawn_file_actions_addclosefrom_np(&fa, 3);
  posix_spawnattr_setpgroup(&at, 0);
  posix_spawnattr_setsigmask(&at, &none);
  posix_spawnattr_setsigdefault(&at, &all);
  posix_spawnattr_setflags(&at,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  union {
    const char *const *in;
    char *const *out; /* posix_spawn changes neither */
  } argv = {.in = c->argv}, env = {.in = c->environment};
  int rc = posix_spawnp(pid, c->argv[0], &fa, &at, argv.out, env.out);
  posix_spawnattr_destroy(&at);
  posix_spawn_file_actions_destroy(&fa);
  errno = rc;
  return rc ? csn_fail_errno(err, "run %s", c->argv[0]) : 0;
}

/* Takes what is there now; false when no more will come. */
static bool
take(int fd, csn_buf *out)
{
  char block[16384];
  for (;;) {
    ssize_t n = read(fd, block, sizeof block);
    if (n > 0)
      csn_buf_add(out,
                  csn_strn(block, (size_t)n < out->cap - out->n ? (size_t)n : out->cap - out->n));
    else if (n < 0 && errno == EINTR)
      continue;
    else
      return n < 0 && errno == EAGAIN;
  }
}

/* Until the leader has ended, or the scope. */
static int
attend(int pid_fd, int in, csn_scope *sc, csn_buf *out, csn_err *err)
{
  struct pollfd p[] = {{.fd = pid_fd, .events = POLLIN}, {.fd = in, .events = POLLIN}};
  while (!p[0].revents) {
    int rc = csn_poll(sc, p, 2, err);
    if (rc < 0)
      return rc;
    if (p[1].revents && !take(in, out))
      p[1].fd = -1;
  }
  return 0;
}

int
csn_command_run(const csn_command *c, csn_scope *sc, csn_buf *out, csn_err *err)
{
  int pipe_fd[2];
  if (pipe2(pipe_fd, O_CLOEXEC) < 0)
    return csn_fail_errno(err, "pipe");
  csn_auto(csn_closep) int in = pipe_fd[0];
  fcntl(in, F_SETFL, O_NONBLOCK);
  pid_t pid;
  int rc = csn_command_start(c, pipe_fd[1], &pid, err);
  close(pipe_fd[1]);
  if (rc < 0)
    return rc;
  csn_auto(csn_closep) int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
  rc = pid_fd < 0 ? csn_fail_errno(err, "watch %s", c->argv[0]) : attend(pid_fd, in, sc, out, err);
  kill(-pid, SIGKILL); /* the leader is not reaped yet, so the number is still its group's */
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
    continue;
  take(in, out);
  if (rc < 0)
    return rc;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
