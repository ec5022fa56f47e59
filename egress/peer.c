/* SPDX-License-Identifier: Apache-2.0
 *
 * peer.c - sockets and TLS; see peer.h.
 */
#include "egress/peer.h"

#include <errno.h>
#include <sys/socket.h>

enum { FULL = 256 << 10, QUEUE_MAX = 8 << 20, RECORD_MAX = 16 << 10, CORK_MAX = 16 << 10 };

void
csn_peer_init(csn_peer *p, csn_reactor *r, int fd, void (*fn)(void *, uint32_t), void *user)
{
  *p = (csn_peer){.ready = {.fd = fd, .fn = fn, .user = user},
                  .reactor = r,
                  .readable = true,
                  .in = CSN_BUF(QUEUE_MAX),
                  .out = CSN_BUF(QUEUE_MAX)};
}

void
csn_peer_close(csn_peer *p)
{
  csn_tls_free(p->tls);
  p->tls = NULL;
  csn_buf_fini(&p->in);
  csn_buf_fini(&p->out);
  csn_ready_close(p->reactor, &p->ready);
}

/* ---- the socket ---- */

static int
send_some(csn_peer *p, csn_str bytes, csn_err *err)
{
  ssize_t n = send(p->ready.fd, bytes.p, bytes.n, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return 0;
  return n < 0 ? csn_fail_errno(err, "the connection was cut") : (int)n;
}

static int
flush_tls(csn_peer *p, csn_err *err)
{
  int rc = csn_tls_is_ready(p->tls) ? csn_tls_write(p->tls, csn_buf_str(&p->out), err) : 0;
  if (rc > 0)
    csn_buf_drop(&p->out, (size_t)rc);
  if (rc >= 0 && p->shut && !p->was_shut && p->out.n == 0 && csn_tls_is_ready(p->tls)) {
    csn_tls_close(p->tls);
    p->was_shut = true;
  }
  for (csn_str wire; rc >= 0 && (wire = csn_tls_pending(p->tls)).n > 0;) {
    rc = send_some(p, wire, err);
    if (rc == 0)
      break;
    if (rc > 0)
      csn_tls_sent(p->tls, (size_t)rc);
  }
  return rc < 0 ? rc : 0;
}

/* ---- reading ---- */

/* Like recv: 0 without `ended` means "not now". */
static int
receive(csn_peer *p, char *out, size_t room, csn_err *err)
{
  if (!p->readable)
    return 0;
  ssize_t n = recv(p->ready.fd, out, room, MSG_DONTWAIT);
  p->readable = n == (ssize_t)room; /* else that was all, until the next event */
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return 0;
  if (n < 0)
    return csn_fail_errno(err, "the connection was cut");
  if (n == 0)
    p->ended = true;
  return (int)n;
}

/* As many records as are there and fit. */
static int
read_records(csn_peer *p, char *out, size_t room, csn_err *err)
{
  size_t n = 0;
  do {
    int rc = csn_tls_read(p->tls, out + n, room - n, n ? NULL : err);
    if (rc <= 0)
      return n ? (int)n : rc; /* a failure is told again by the next read */
    n += (size_t)rc;
  } while (room - n >= RECORD_MAX);
  return (int)n;
}

static int
read_tls(csn_peer *p, char *out, size_t room, char *wire, csn_err *err)
{
  for (;;) {
    int n = read_records(p, out, room, err);
    if (n != 0)
      return n;
    p->ended = csn_tls_ended(p->tls);
    if (p->ended)
      return 0;
    n = receive(p, wire, CSN_SCRATCH_BYTES, err);
    if (n < 0)
      return n;
    if (p->ended) /* without TLS's own end: whoever reads until the end may have lost some */
      return csn_fail(err, CSN_E_IO, "the connection ended in the middle of TLS");
    if (n == 0)
      return 0;
    csn_tls_feed(p->tls, csn_strn(wire, (size_t)n));
  }
}

int
csn_peer_read(csn_peer *p, char *out, size_t room, char *wire, csn_err *err)
{
  int n;
  if (p->in.n > 0) {
    size_t take = p->in.n < room ? p->in.n : room;
    memcpy(out, p->in.p, take);
    csn_buf_drop(&p->in, take);
    if (p->in.n == 0)
      csn_buf_fini(&p->in);
    return (int)take;
  }
  if (p->ended)
    return 0;
  if (p->tls) {
    n = read_tls(p, out, room, wire, err);
    (void)!flush_tls(p, NULL); /* what the handshake has to say, or the alert */
  } else {
    n = receive(p, out, room, err);
  }
  if (n > 0)
    p->up += (uint64_t)n;
  return n;
}

void
csn_peer_unread(csn_peer *p, csn_str bytes)
{
  csn_auto(csn_buf_finip) csn_buf rest = p->in;
  p->in = CSN_BUF(QUEUE_MAX);
  csn_buf_add(&p->in, bytes);
  csn_buf_add(&p->in, csn_buf_str(&rest));
}

bool
csn_peer_has_input(const csn_peer *p)
{
  return p->in.n > 0 || (p->tls && csn_tls_has_input(p->tls));
}

/* ---- writing ---- */

int
csn_peer_flush(csn_peer *p, csn_err *err)
{
  if (p->tls) {
    int rc = flush_tls(p, err);
    if (rc < 0 || !p->was_shut || csn_peer_waiting(p) > 0)
      return rc;
    shutdown(p->ready.fd, SHUT_WR);
    return 0;
  }
  while (p->out.n > 0) {
    int n = send_some(p, csn_buf_str(&p->out), err);
    if (n <= 0)
      return n;
    csn_buf_drop(&p->out, (size_t)n);
  }
  csn_buf_fini(&p->out);
  if (p->shut && !p->was_shut) {
    p->was_shut = true;
    shutdown(p->ready.fd, SHUT_WR);
  }
  return 0;
}

int
csn_peer_uncork(csn_peer *p, csn_err *err)
{
  p->corked = false;
  return csn_peer_is_open(p) ? csn_peer_flush(p, err) : 0;
}

int
csn_peer_write(csn_peer *p, csn_str bytes, csn_err *err)
{
  if (p->corked && p->out.n + bytes.n <= CORK_MAX) {
    csn_buf_add(&p->out, bytes);
    return 0;
  }
  if (!p->tls && p->out.n == 0) {
    int n = bytes.n ? send_some(p, bytes, err) : 0;
    if (n < 0)
      return n;
    bytes = csn_strn(bytes.p + n, bytes.n - (size_t)n);
  }
  csn_buf_add(&p->out, bytes);
  int rc = csn_buf_done(&p->out, "a connection's queue", err);
  return rc < 0 ? rc : csn_peer_flush(p, err);
}

int
csn_peer_shut(csn_peer *p, csn_err *err)
{
  p->shut = true;
  return csn_peer_flush(p, err);
}

size_t
csn_peer_waiting(const csn_peer *p)
{
  return p->out.n + (p->tls ? csn_tls_pending(p->tls).n : 0);
}

bool
csn_peer_is_full(const csn_peer *p)
{
  return csn_peer_waiting(p) >= FULL;
}

void
csn_peer_want(csn_peer *p, bool read)
{
  uint32_t events = read && !p->ended ? EPOLLIN : 0;
  /* Before the handshake is done, plain bytes wait for the other end's. */
  bool write = p->tls ? csn_tls_pending(p->tls).n > 0 : p->out.n > 0;
  csn_ready_set(p->reactor, &p->ready, events | (write ? EPOLLOUT : 0));
}
