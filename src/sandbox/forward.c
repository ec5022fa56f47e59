/* SPDX-License-Identifier: Apache-2.0
 *
 * forward.c - passes connections on; see forward.h.
 *
 * One thread that polls: few people look at a sandbox's port at once, and the
 * bytes only change hands.  Each direction has one buffer and reads only when
 * that is empty, so a slow reader slows its writer down.
 */
#include "sandbox/forward.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "core/thread.h"

enum { LINKS = 32, PIECE = 16 << 10, BACKLOG = 64, DIAL_MS = 5000 };

struct way {
  size_t at, n; /* of buffer: what is still to be written */
  bool ended;   /* no more to read */
  bool told;    /* and the other side knows */
  char buffer[PIECE];
};

/* fds[0] is the connection here, fds[1] the one into the sandbox; ways[i]
 * leads from fds[i] to the other. */
struct link {
  int fds[2];
  struct way ways[2];
};

struct csn_forward {
  csn_forward_dial *dial;
  void *user;
  csn_sandbox *sb; /* NULL: dial knows where to */
  uint16_t port, here;
  int listener, end_fd;
  csn_scope scope;
  pthread_t thread;
  struct link *links[LINKS];
  size_t n;
};

static void
link_free(struct link *l)
{
  csn_closep(&l->fds[0]);
  csn_closep(&l->fds[1]);
  free(l);
}

/* ---- one link ---- */

/* False when the connection is broken. */
static bool
fill(struct way *w, int from)
{
  ssize_t n = recv(from, w->buffer, sizeof w->buffer, MSG_DONTWAIT);
  if (n < 0)
    return errno == EAGAIN || errno == EINTR;
  w->at = 0;
  w->n = (size_t)n;
  w->ended = n == 0;
  return true;
}

static bool
drain(struct way *w, int to)
{
  while (w->n) {
    ssize_t n = send(to, w->buffer + w->at, w->n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return errno == EAGAIN;
    w->at += (size_t)n;
    w->n -= (size_t)n;
  }
  if (w->ended && !w->told) {
    w->told = true;
    shutdown(to, SHUT_WR);
  }
  return true;
}

/* Moves what can be moved; false when the link is over. */
static bool
move(struct link *l, const struct pollfd polled[2])
{
  for (int i = 0; i < 2; i++) {
    struct way *w = &l->ways[i];
    if (polled[i].revents & (POLLERR | POLLNVAL))
      return false;
    if (polled[i].revents & (POLLIN | POLLHUP) && w->n == 0 && !w->ended && !fill(w, l->fds[i]))
      return false;
    if (!drain(w, l->fds[!i]))
      return false;
  }
  return !(l->ways[0].told && l->ways[1].told);
}

static void
watch(const struct link *l, struct pollfd polled[2])
{
  for (int i = 0; i < 2; i++) {
    bool reads = l->ways[i].n == 0 && !l->ways[i].ended, writes = l->ways[!i].n > 0;
    /* A side with nothing to do is left out: its hang-up would be told again
     * and again. */
    polled[i] = (struct pollfd){.fd = reads || writes ? l->fds[i] : -1,
                                .events = (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0))};
  }
}

/* ---- the thread ---- */

static void
take_connection(csn_forward *f)
{
  static const struct linger at_once = {.l_onoff = 1};
  int inside = -1, fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0)
    return;
  csn_scope sc;
  csn_err err;
  csn_scope_init(&sc, &f->scope, DIAL_MS);
  int rc = f->dial(f->user, &sc, &inside, &err);
  csn_scope_fini(&sc);
  if (rc < 0) { /* as if nobody listened here */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
    return;
  }
  struct link *l = f->links[f->n++] = csn_alloc(sizeof *l);
  l->fds[0] = fd;
  l->fds[1] = inside;
}

static void *
serve(void *user)
{
  csn_forward *f = user;
  for (;;) {
    struct pollfd fds[2 + 2 * LINKS];
    size_t n = f->n;
    fds[0] = (struct pollfd){.fd = f->end_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = n < LINKS ? f->listener : -1, .events = POLLIN};
    for (size_t i = 0; i < n; i++)
      watch(f->links[i], &fds[2 + 2 * i]);
    if (poll(fds, 2 + 2 * n, -1) < 0)
      continue;
    if (fds[0].revents)
      return NULL;
    for (size_t i = n; i-- > 0;)
      if (!move(f->links[i], &fds[2 + 2 * i])) {
        link_free(f->links[i]);
        f->links[i] = f->links[--f->n];
      }
    if (fds[1].revents)
      take_connection(f);
  }
}

static int
listen_here(csn_forward *f, csn_err *err)
{
  struct sockaddr_in here = {
      .sin_family = AF_INET, .sin_port = htons(f->here), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t n = sizeof here;
  static const int on = 1;
  f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (f->listener < 0)
    return csn_fail_errno(err, "socket");
  setsockopt(f->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(f->listener, (struct sockaddr *)&here, n) < 0 || listen(f->listener, BACKLOG) < 0 ||
      getsockname(f->listener, (struct sockaddr *)&here, &n) < 0)
    return csn_fail_errno(err, "cannot listen on 127.0.0.1:%u", f->here);
  f->here = ntohs(here.sin_port);
  f->end_fd = eventfd(0, EFD_CLOEXEC);
  return f->end_fd < 0 ? csn_fail_errno(err, "eventfd") : 0;
}

static void
forward_free(csn_forward *f)
{
  while (f->n)
    link_free(f->links[--f->n]);
  csn_closep(&f->listener);
  csn_closep(&f->end_fd);
  csn_scope_fini(&f->scope);
  free(f);
}

static int
dial_sandbox(void *user, csn_scope *sc, int *fd, csn_err *err)
{
  csn_forward *f = user;
  return csn_sandbox_dial(f->sb, sc, f->port, fd, err);
}

static csn_forward *
forward_new(uint16_t here)
{
  csn_forward *f = csn_alloc(sizeof *f);
  *f = (csn_forward){.here = here, .listener = -1, .end_fd = -1};
  return f;
}

/* Takes f, also when it fails. */
static int
begin(csn_forward *f, csn_forward **out, csn_err *err)
{
  csn_scope_init(&f->scope, NULL, -1);
  int rc = listen_here(f, err);
  if (rc == 0)
    rc = csn_thread_start(&f->thread, serve, f, "a port", err);
  if (rc < 0) {
    forward_free(f);
    return rc;
  }
  *out = f;
  return 0;
}

int
csn_forward_open(csn_forward **out, csn_sandbox *sb, uint16_t port, uint16_t here, csn_err *err)
{
  csn_forward *f = forward_new(here);
  f->sb = sb;
  f->port = port;
  f->dial = dial_sandbox;
  f->user = f;
  return begin(f, out, err);
}

int
csn_forward_open_by(csn_forward **out, csn_forward_dial *dial, void *user, uint16_t here,
                    csn_err *err)
{
  csn_forward *f = forward_new(here);
  f->dial = dial;
  f->user = user;
  return begin(f, out, err);
}

uint16_t
csn_forward_port(const csn_forward *f)
{
  return f->here;
}

void
csn_forward_close(csn_forward *f)
{
  if (!f)
    return;
  csn_scope_cancel(&f->scope);
  (void)!eventfd_write(f->end_fd, 1);
  pthread_join(f->thread, NULL);
  forward_free(f);
}
