/* SPDX-License-Identifier: Apache-2.0
 *
 * signals.c - signals arrive as calls in a thread of their own.
 *
 * A handler may only write a byte; the thread reads it and may do anything.
 * Handlers, other than a blocked mask or SIG_IGN, are not passed on to the
 * programs we start.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

#include "cli.h"

/* The only thing a handler can reach; written once before it is installed. */
static int bell = -1;

static void
on_signal(int sig)
{
  int saved = errno;
  char byte = (char)sig;
  (void)!write(bell, &byte, 1);
  errno = saved;
}

static void
on_sigpipe(int sig)
{
}

struct listener {
  void (*fn)(void *user, int sig);
  void *user;
  int fd;
};

static void *
listen_main(void *arg)
{
  struct listener *l = arg;
  char byte;
  for (;;) {
    ssize_t n = read(l->fd, &byte, 1);
    if (n == 1)
      l->fn(l->user, byte);
    else if (n == 0 || errno != EINTR)
      return NULL;
  }
}

void
cli_no_sigpipe(void)
{
  struct sigaction sa = {.sa_handler = on_sigpipe, .sa_flags = SA_RESTART};
  sigaction(SIGPIPE, &sa, NULL);
}

int
cli_on_signals(cli *c, const int *signals, void (*fn)(void *user, int sig), void *user,
               csn_err *err)
{
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0)
    return csn_fail_errno(err, "cannot make a pipe for signals");
  bell = ends[1];
  struct listener *l = csn_arena_alloc(c->arena, sizeof *l);
  *l = (struct listener){.fn = fn, .user = user, .fd = ends[0]};
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attr, 256 << 10);
  pthread_t thread;
  errno = pthread_create(&thread, &attr, listen_main, l);
  pthread_attr_destroy(&attr);
  if (errno != 0)
    return csn_fail_errno(err, "cannot start the thread that waits for signals");
  struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigemptyset(&sa.sa_mask);
  for (; *signals; signals++) {
    struct sigaction old;
    if (*signals == SIGHUP && sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
      continue; /* nohup */
    sigaction(*signals, &sa, NULL);
  }
  return 0;
}

static void
cancel(void *user, int sig)
{
  cli *c = user;
  if (csn_scope_check(&c->scope, NULL) < 0)
    _exit(CLI_INTERRUPTED);
  csn_scope_cancel(&c->scope);
}

int
cli_catch_signals(cli *c, csn_err *err)
{
  static const int ends[] = {SIGINT, SIGTERM, SIGHUP, 0};
  cli_no_sigpipe();
  return cli_on_signals(c, ends, cancel, c, err);
}
