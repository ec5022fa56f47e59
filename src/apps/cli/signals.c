/* SPDX-License-Identifier: Apache-2.0
 *
 * signals.c - SIGINT and SIGTERM cancel the command's scope.
 *
 * The handler may only write a byte; a thread reads it and cancels, which
 * takes a lock.  Handlers, other than a blocked mask, are not passed on to
 * the programs we start.
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

struct listener {
  cli *c;
  int fd;
};

static void *
listen_main(void *arg)
{
  struct listener *l = arg;
  char byte;
  for (int seen = 0;;) {
    ssize_t n = read(l->fd, &byte, 1);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return NULL;
    if (seen++)
      _exit(CLI_INTERRUPTED);
    csn_scope_cancel(&l->c->scope);
  }
}

int
cli_catch_signals(cli *c, csn_err *err)
{
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0)
    return csn_fail_errno(err, "cannot make a pipe for signals");
  bell = ends[1];
  struct listener *l = csn_arena_alloc(c->arena, sizeof *l);
  *l = (struct listener){.c = c, .fd = ends[0]};
  pthread_t thread;
  errno = pthread_create(&thread, NULL, listen_main, l);
  if (errno != 0)
    return csn_fail_errno(err, "cannot start the thread that waits for signals");
  pthread_detach(thread);
  struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigemptyset(&sa.sa_mask);
  sigaction(SIGINT, &sa, NULL);
  sigaction(SIGTERM, &sa, NULL);
  return 0;
}
