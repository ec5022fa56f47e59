/* SPDX-License-Identifier: Apache-2.0
 *
 * keeper_tty.c - terminals inside; see keeper_tty.h.
 *
 * The relay is a process, since a harness that does not read must not stop the
 * keeper.  Each direction has one buffer and reads only when that is empty. */
#include "sandbox/keeper_tty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

enum { PIECE = 16 << 10, LAST_MS = 2000 };

struct way {
  size_t at, n; /* of buffer: what is still to be written */
  bool ended;
  char buffer[PIECE];
};

int
keeper_tty_open(struct keeper_tty *t, unsigned rows, unsigned cols)
{
  *t = (struct keeper_tty){.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), .stop = -1};
  char *name = t->master < 0 || unlockpt(t->master) < 0 ? NULL : ptsname(t->master);
  if (!name)
    return -1;
  fcntl(t->master, F_SETFL, O_NONBLOCK);
  keeper_tty_resize(t, rows, cols);
  return open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

void
keeper_tty_resize(const struct keeper_tty *t, unsigned rows, unsigned cols)
{
  struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};
  if (t->master >= 0)
    ioctl(t->master, TIOCSWINSZ, &size);
}

/* ---- the relay ---- */

static void
fill(struct way *w, int from)
{
  ssize_t n = read(from, w->buffer, sizeof w->buffer);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  w->at = 0;
  w->n = n > 0 ? (size_t)n : 0;
  w->ended = n <= 0;
}

static void
drain(struct way *w, int to)
{
  ssize_t n = write(to, w->buffer + w->at, w->n);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  w->ended |= n < 0;
  w->at += n > 0 ? (size_t)n : 0;
  w->n -= n > 0 ? (size_t)n : w->n;
}

/* Out of the terminal until it has no more or is told to stop. */
static void
relay(int master, const int pipes[2], int stop)
{
  static struct way out, in;
  bool stopping = false;
  while (!out.ended || out.n) {
    struct pollfd fds[] = {
        {.fd = master, .events = (short)((out.n ? 0 : POLLIN) | (in.n ? POLLOUT : 0))},
        {.fd = in.n || in.ended ? -1 : pipes[0], .events = POLLIN},
        {.fd = out.n ? pipes[1] : -1, .events = POLLOUT},
        {.fd = stopping ? -1 : stop}};
    int n = poll(fds, 4, stopping ? (out.n ? LAST_MS : 0) : -1);
    if (n == 0 || (n < 0 && errno != EINTR))
      return; /* nothing is left, or nobody takes it */
    stopping |= fds[3].revents != 0;
    if (out.n && fds[2].revents)
      drain(&out, pipes[1]);
    else if (!out.n && !out.ended && fds[0].revents & (POLLIN | POLLHUP | POLLERR))
      fill(&out, master);
    if (in.n && fds[0].revents & POLLOUT)
      drain(&in, master);
    else if (!in.n && !in.ended && fds[1].revents)
      fill(&in, pipes[0]);
  }
}

void
keeper_tty_relay(struct keeper_tty *t, const int pipes[2])
{
  int stop[2];
  if (pipe2(stop, O_CLOEXEC) < 0)
    return;
  fcntl(pipes[0], F_SETFL, O_NONBLOCK);
  fcntl(pipes[1], F_SETFL, O_NONBLOCK);
  pid_t keeper = getpid();
  t->relay = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0); /* as fork(2) */
  if (t->relay == 0) {
    close(stop[1]);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == keeper)
      relay(t->master, pipes, stop[0]);
    _exit(0);
  }
  close(stop[0]);
  t->stop = stop[1];
}

void
keeper_tty_close(struct keeper_tty *t)
{
  if (t->master >= 0)
    close(t->master);
  if (t->stop >= 0)
    close(t->stop);
  if (t->relay > 0)
    kill(t->relay, SIGKILL);
  *t = (struct keeper_tty){.master = -1, .stop = -1};
}
