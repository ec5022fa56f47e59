/* SPDX-License-Identifier: Apache-2.0
 * link.c - see link.h. */
#include "wire/link.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/poll.h"
#include "wire/seal.h"

enum { PIECE = CSN_LINK_PIECE, REQUEST_MAX = 64 << 20 };

struct csn_link {
  int fd;
  csn_http1 codec;
  csn_buf in; /* read and not given yet */
  bool has_head, is_over, is_stream, is_closed;
};

/* ---- connecting ---- */

/* A queue that is full makes connect(2) wait, which no poll tells the end of. */
static void
bound_connect(int fd, const csn_scope *sc)
{
  int ms = csn_scope_poll_ms(sc);
  struct timeval t = {.tv_sec = ms < 0 ? 60 : ms / 1000, .tv_usec = ms < 0 ? 0 : ms % 1000 * 1000};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}

static int
connect_unix(const char *path, csn_scope *sc, csn_err *err)
{
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof to.sun_path)
    return csn_fail(err, CSN_E_INVALID, "%.200s: too long for the path of a socket", path);
  memcpy(to.sun_path, path, strlen(path) + 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return csn_fail_errno(err, "socket");
  bound_connect(fd, sc);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
    return fd;
  int e = errno;
  close(fd);
  errno = e;
  if (e == EACCES || e == EPERM)
    return csn_fail_errno(err, "%s", path);
  return csn_fail(err, CSN_E_UNAVAILABLE, "%s: %s", path, strerror(e));
}

static int
connect_address(const struct addrinfo *a, csn_scope *sc, csn_err *err)
{
  int one = 1, e = 0;
  socklen_t n = sizeof e;
  csn_auto(csn_closep) int fd =
      socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
  if (fd < 0)
    return csn_fail_errno(err, "socket");
  if (connect(fd, a->ai_addr, a->ai_addrlen) < 0 && errno != EINPROGRESS)
    return csn_fail(err, CSN_E_UNAVAILABLE, "connect: %s", strerror(errno));
  struct pollfd p = {.fd = fd, .events = POLLOUT};
  int rc = csn_poll(sc, &p, 1, err);
  if (rc < 0)
    return rc;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n) < 0 || e)
    return csn_fail(err, CSN_E_UNAVAILABLE, "connect: %s", strerror(e));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  rc = fd;
  fd = -1;
  return rc;
}

static int
connect_host(const char *host, uint16_t port, csn_scope *sc, csn_err *err)
{
  const struct addrinfo want = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
  struct addrinfo *list = NULL;
  char text[8];
  snprintf(text, sizeof text, "%u", port);
  int rc = getaddrinfo(host, text, &want, &list);
  if (rc != 0)
    return csn_fail(err, CSN_E_UNAVAILABLE, "%.200s: %s", host, gai_strerror(rc));
  rc = CSN_E_UNAVAILABLE;
  for (struct addrinfo *a = list; a && rc == CSN_E_UNAVAILABLE; a = a->ai_next)
    rc = connect_address(a, sc, err);
  freeaddrinfo(list);
  return csn_wrap(err, rc, "%.200s:%u", host, port);
}

/* Plain bytes of a connection to a host; the module closes what it is given. */
static int
connect_tls(const csn_link_place *to, csn_scope *sc, csn_err *err)
{
  const csn_module *m;
  int pair[2];
  int rc = csn_module_open("caisson-seal.so", "csn_seal_entry", CSN_SEAL_ABI, &m, err);
  csn_auto(csn_closep) int wire = rc < 0 ? rc : connect_host(to->host, to->port, sc, err);
  if (wire < 0)
    return wire;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return csn_fail_errno(err, "socketpair");
  int given = wire;
  wire = -1;
  rc = ((const csn_seal_module *)(const void *)m)
           ->pipe(given, pair[1], csn_cstr(to->host), to->who, sc, err);
  if (rc == 0)
    return pair[0];
  close(pair[0]);
  return rc;
}

int
csn_link_open(csn_link **out, csn_scope *sc, const csn_link_place *to, csn_err *err)
{
  int fd = csn_scope_check(sc, err);
  if (fd == 0)
    fd = to->path  ? connect_unix(to->path, sc, err)
         : to->who ? connect_tls(to, sc, err)
                   : connect_host(to->host, to->port, sc, err);
  if (fd < 0)
    return fd;
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  csn_link *l = csn_alloc(sizeof *l);
  *l = (csn_link){.fd = fd, .in = CSN_BUF(PIECE), .is_over = true};
  csn_http1_init(&l->codec, CSN_HTTP1_RESPONSE, 0);
  *out = l;
  return 0;
}

void
csn_link_close(csn_link *l)
{
  if (!l)
    return;
  close(l->fd);
  csn_http1_fini(&l->codec);
  csn_buf_fini(&l->in);
  free(l);
}

/* ---- sending ---- */

int
csn_link_write(csn_link *l, csn_scope *sc, csn_str bytes, csn_err *err)
{
  while (bytes.n) {
    ssize_t n = send(l->fd, bytes.p, bytes.n, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      struct pollfd p = {.fd = l->fd, .events = POLLOUT};
      int rc = csn_poll(sc, &p, 1, err);
      if (rc < 0)
        return rc;
      continue;
    }
    if (n < 0)
      return csn_fail_errno(err, "write");
    bytes = csn_strn(bytes.p + n, bytes.n - (size_t)n);
  }
  return 0;
}

void
csn_link_shut(csn_link *l)
{
  shutdown(l->fd, SHUT_WR);
}

void
csn_link_abort(csn_link *l)
{
  shutdown(l->fd, SHUT_RDWR);
}

int
csn_link_ask(csn_link *l, csn_scope *sc, const csn_link_request *r, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(REQUEST_MAX);
  csn_buf_addf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\n", r->method, r->target);
  csn_buf_add(&b, r->fields);
  if (r->is_chunked)
    csn_buf_addz(&b, "Transfer-Encoding: chunked\r\n");
  else if (r->body.p || strcmp(r->method, "GET") != 0)
    csn_buf_addf(&b, "Content-Length: %zu\r\n", r->body.n);
  csn_buf_addz(&b, "\r\n");
  csn_buf_add(&b, r->body);
  int rc = csn_buf_done(&b, "a request", err);
  csn_http1_answers(&l->codec, csn_cstr(r->method));
  l->has_head = l->is_over = false;
  return rc < 0 ? rc : csn_link_write(l, sc, csn_buf_str(&b), err);
}

int
csn_link_send(csn_link *l, csn_scope *sc, csn_str bytes, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(bytes.n + 100);
  csn_http1_add_chunk(&b, bytes);
  return csn_link_write(l, sc, csn_buf_str(&b), err);
}

/* ---- receiving ---- */

/* More into l->in: > 0, 0 at the end of the connection, CSN_E_TIMEOUT when
 * there is nothing now and `sc` is not to be waited in. */
static int
receive(csn_link *l, csn_scope *sc, bool waits, csn_err *err)
{
  for (;;) {
    ssize_t n = recv(l->fd, csn_buf_room(&l->in, PIECE), PIECE, 0);
    if (n > 0)
      l->in.n += (size_t)n;
    if (n >= 0)
      return (int)n;
    if (errno == EINTR)
      continue;
    if (errno == ECONNRESET)
      return 0;
    if (errno != EAGAIN)
      return csn_fail_errno(err, "read");
    if (!waits)
      return CSN_E_TIMEOUT;
    struct pollfd p = {.fd = l->fd, .events = POLLIN};
    int rc = csn_poll(sc, &p, 1, err);
    if (rc < 0)
      return rc;
  }
}

/* The next event, with a piece of a body in *data, which is a part of l->in
 * until *taken bytes are dropped off it. */
static int
next(csn_link *l, csn_scope *sc, bool waits, csn_str *data, size_t *taken, csn_err *err)
{
  for (;;) {
    csn_str rest = csn_buf_str(&l->in);
    *data = csn_strn(NULL, 0);
    int event = csn_http1_next(&l->codec, &rest, data, err);
    *taken = l->in.n - rest.n;
    if (event != CSN_HTTP1_MORE)
      return event;
    csn_buf_clear(&l->in);
    int rc = receive(l, sc, waits, err);
    if (rc == 0) {
      event = csn_http1_eof(&l->codec, err);
      return event == CSN_HTTP1_MORE
                 ? csn_fail(err, CSN_E_UNAVAILABLE, "the connection was closed without an answer")
                 : event;
    }
    if (rc < 0)
      return rc;
  }
}

int
csn_link_head(csn_link *l, csn_scope *sc, const csn_http1_head **head, csn_err *err)
{
  csn_str data;
  size_t taken;
  for (;;) {
    int event = next(l, sc, true, &data, &taken, err);
    if (event < 0)
      return event;
    csn_buf_drop(&l->in, taken);
    if (event != CSN_HTTP1_HEAD)
      return csn_fail(err, CSN_E_PARSE, "the answer has no head");
    if (l->codec.head.status >= 200 || l->codec.head.status == 101)
      break;
    event = next(l, sc, true, &data, &taken, err); /* the end of an interim answer */
    if (event < 0)
      return event;
    csn_buf_drop(&l->in, taken);
  }
  l->has_head = true;
  l->is_stream = l->codec.head.status == 101;
  *head = &l->codec.head;
  return l->codec.head.status;
}

static int
take(csn_link *l, csn_buf *out, csn_str data, size_t max)
{
  size_t room = out->cap - out->n;
  max = max < room ? max : room;
  size_t n = data.n < max ? data.n : max;
  csn_buf_add(out, csn_strn(data.p, n));
  return (int)n;
}

/* After a 101: what was read beyond its head first. */
static int
read_stream(csn_link *l, csn_scope *sc, bool waits, csn_buf *out, size_t max, csn_err *err)
{
  if (l->in.n == 0 && !l->is_closed) {
    int rc = receive(l, sc, waits, err);
    l->is_closed = rc == 0;
    if (rc < 0)
      return rc;
  }
  int n = take(l, out, csn_buf_str(&l->in), max);
  csn_buf_drop(&l->in, (size_t)n);
  return n;
}

/* A piece of a body is given whole: it is no longer than what was read. */
static int
read_some(csn_link *l, csn_scope *sc, bool waits, csn_buf *out, size_t max, csn_err *err)
{
  csn_str data;
  size_t taken;
  if (l->is_stream)
    return read_stream(l, sc, waits, out, max, err);
  if (l->is_over)
    return 0;
  if (out->cap - out->n < PIECE || max < PIECE)
    return csn_fail(err, CSN_E_INVALID, "no room for a piece of %d bytes", PIECE);
  for (;;) {
    int event = next(l, sc, waits, &data, &taken, err);
    if (event < 0)
      return event;
    if (event == CSN_HTTP1_END || event == CSN_HTTP1_TUNNEL) {
      csn_buf_drop(&l->in, taken);
      l->is_over = true;
      return 0;
    }
    int n = take(l, out, data, max);
    csn_buf_drop(&l->in, taken);
    if (n > 0)
      return n;
  }
}

int
csn_link_read(csn_link *l, csn_scope *sc, csn_buf *out, size_t max, csn_err *err)
{
  return read_some(l, sc, true, out, max, err);
}

int
csn_link_read_now(csn_link *l, csn_buf *out, size_t max, csn_err *err)
{
  return read_some(l, NULL, false, out, max, err);
}

bool
csn_link_is_reusable(const csn_link *l)
{
  return l->has_head && l->is_over && !l->is_stream && l->codec.head.keep_alive && l->in.n == 0;
}

int
csn_link_fd(const csn_link *l)
{
  return l->fd;
}
