/* SPDX-License-Identifier: Apache-2.0
 * tls_pipe.c - see tls_pipe.h. */
#include "wire/tls_pipe.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/poll.h"
#include "wire/tls.h"

enum { PIECE = 64 << 10, STACK = 256 << 10 };

struct pipe {
  csn_tls_client *client;
  csn_tls *tls;
  int wire, plain;
  bool is_wire_over;             /* nothing more comes from there */
  bool is_up_over, is_down_over; /* no more is written to the server, to `plain` */
  char down[PIECE];
  size_t at, n; /* of down: what waits */
};

static void
pipe_free(struct pipe *p)
{
  csn_tls_free(p->tls);
  csn_tls_client_free(p->client);
  close(p->wire);
  close(p->plain);
  free(p);
}

/* What was sealed goes out: 0, or -1 when nobody takes it. */
static int
flush(struct pipe *p)
{
  csn_str out = csn_tls_pending(p->tls);
  ssize_t n = out.n ? send(p->wire, out.p, out.n, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
  if (n > 0)
    csn_tls_sent(p->tls, (size_t)n);
  return n < 0 && errno != EAGAIN && errno != EINTR ? -1 : 0;
}

/* What came is fed to the other layer. */
static int
fill(struct pipe *p)
{
  char piece[16 << 10];
  ssize_t n = recv(p->wire, piece, sizeof piece, MSG_DONTWAIT);
  if (n > 0)
    csn_tls_feed(p->tls, csn_strn(piece, (size_t)n));
  p->is_wire_over |= n == 0;
  return n < 0 && errno != EAGAIN && errno != EINTR ? -1 : 0;
}

/* ---- the handshake ---- */

static int
shake(struct pipe *p, csn_scope *sc, csn_err *err)
{
  for (;;) {
    int rc = csn_tls_read(p->tls, p->down, sizeof p->down, err);
    if (flush(p) < 0 || rc < 0) /* the alert was to be sent */
      return rc < 0 ? rc : csn_fail_errno(err, "TLS handshake");
    p->n = (size_t)rc;
    if (csn_tls_is_ready(p->tls) && csn_tls_pending(p->tls).n == 0)
      return 0;
    if (p->is_wire_over)
      return csn_fail(err, CSN_E_UNAVAILABLE, "the server ended the TLS handshake");
    struct pollfd fd = {.fd = p->wire,
                        .events = (short)(POLLIN | (csn_tls_pending(p->tls).n ? POLLOUT : 0))};
    rc = csn_poll(sc, &fd, 1, err);
    if (rc < 0)
      return rc;
    if (fd.revents & ~POLLOUT && fill(p) < 0)
      return csn_fail_errno(err, "TLS handshake");
  }
}

/* ---- passing on ---- */

/* From the server to `plain`, as much as both can. */
static int
pass_down(struct pipe *p)
{
  csn_err unheard;
  for (;;) {
    if (p->at == p->n) {
      int rc = csn_tls_read(p->tls, p->down, sizeof p->down, &unheard);
      p->at = 0;
      p->n = rc > 0 ? (size_t)rc : 0;
      if (rc < 0)
        return -1;
      if (rc == 0)
        break;
    }
    ssize_t n = send(p->plain, p->down + p->at, p->n - p->at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0)
      return errno != EAGAIN && errno != EINTR ? -1 : 0;
    p->at += (size_t)n;
  }
  if (!p->is_down_over && (csn_tls_ended(p->tls) || p->is_wire_over)) {
    p->is_down_over = true;
    shutdown(p->plain, SHUT_WR);
  }
  return 0;
}

/* From `plain` to the server. */
static int
pass_up(struct pipe *p)
{
  char piece[16 << 10];
  csn_err unheard;
  ssize_t n = recv(p->plain, piece, sizeof piece, MSG_DONTWAIT);
  if (n > 0)
    return csn_tls_write(p->tls, csn_strn(piece, (size_t)n), &unheard) < 0 ? -1 : 0;
  if (n < 0)
    return errno != EAGAIN && errno != EINTR ? -1 : 0;
  p->is_up_over = true;
  csn_tls_close(p->tls);
  return 0;
}

/* Waits until something can go on; -1: nothing can. */
static int
wait_for(const struct pipe *p, struct pollfd fds[2])
{
  bool has_down = p->n > p->at, has_up = csn_tls_pending(p->tls).n > 0;
  fds[0] = (struct pollfd){.fd = p->wire};
  fds[1] = (struct pollfd){.fd = p->plain};
  fds[0].events = (short)((!has_down && !p->is_wire_over ? POLLIN : 0) | (has_up ? POLLOUT : 0));
  fds[1].events = (short)((!has_up && !p->is_up_over ? POLLIN : 0) | (has_down ? POLLOUT : 0));
  if (!fds[0].events)
    fds[0].fd = -1; /* its end would be told again and again */
  while (poll(fds, 2, -1) < 0)
    if (errno != EINTR)
      return -1;
  return fds[1].revents & POLLERR || (fds[1].revents & POLLHUP && p->is_up_over) ? -1 : 0;
}

static void *
pass(void *user)
{
  struct pipe *p = user;
  struct pollfd fds[2] = {{.fd = -1}, {.fd = -1}};
  int rc = 0;
  while (rc == 0 && !(p->is_down_over && (p->is_up_over || p->is_wire_over))) {
    if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
      rc = fill(p);
    if (rc == 0)
      rc = pass_down(p);
    if (rc == 0 && fds[1].revents & (POLLIN | POLLHUP) && !p->is_up_over)
      rc = pass_up(p);
    if (rc == 0)
      rc = flush(p);
    if (rc == 0)
      rc = wait_for(p, fds);
  }
  pipe_free(p);
  return NULL;
}

static int
go(struct pipe *p, csn_err *err)
{
  pthread_attr_t a;
  pthread_t thread;
  sigset_t all, old;
  pthread_attr_init(&a);
  pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&a, STACK);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are for threads of the program */
  int e = pthread_create(&thread, &a, pass, p);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  pthread_attr_destroy(&a);
  errno = e;
  return e ? csn_fail_errno(err, "a thread for a TLS connection") : 0;
}

int
csn_tls_pipe(int wire, int plain, csn_str host, const csn_tls_who *who, csn_scope *sc, csn_err *err)
{
  struct pipe *p = csn_alloc(sizeof *p);
  *p = (struct pipe){.wire = wire, .plain = plain};
  int rc = csn_tls_client_as(&p->client, who->roots, who->cert, who->key, err);
  if (rc == 0)
    rc = csn_tls_connect(&p->tls, p->client, host, err);
  if (rc == 0)
    rc = shake(p, sc, err);
  if (rc == 0)
    rc = go(p, err);
  if (rc < 0)
    pipe_free(p);
  return rc;
}
