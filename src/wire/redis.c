/* SPDX-License-Identifier: Apache-2.0
 * redis.c - see redis.h. */
#include "wire/redis.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "core/poll.h"

enum { READ_BYTES = 64 << 10 };

struct csn_redis {
  int fd;
  bool is_broken;
  csn_buf out, in;
  csn_arena *arena; /* of the last reply */
  csn_resp reply;
};

static int
lost(csn_redis *r, const char *what, csn_err *err)
{
  r->is_broken = true;
  return csn_fail(err, CSN_E_UNAVAILABLE, "Redis: %s", what);
}

static int
connect_to(const struct addrinfo *a, csn_scope *sc, csn_err *err)
{
  int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return csn_fail_errno(err, "socket");
  int failed = connect(fd, a->ai_addr, a->ai_addrlen) < 0 ? errno : 0;
  if (failed == EINPROGRESS) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    socklen_t size = sizeof failed;
    int rc = csn_poll(sc, &p, 1, err);
    if (rc < 0) {
      close(fd);
      return csn_wrap(err, rc, "Redis does not answer");
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size) < 0)
      failed = errno;
  }
  if (!failed)
    return fd;
  close(fd);
  errno = failed;
  (void)csn_fail_errno(err, "Redis: cannot connect");
  if (err)
    err->code = CSN_E_UNAVAILABLE;
  return CSN_E_UNAVAILABLE;
}

static int
dial(const csn_redis_options *o, csn_scope *sc, csn_err *err)
{
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
  int rc = getaddrinfo(o->host ? o->host : "127.0.0.1", o->port ? o->port : "6379", &hints, &list);
  if (rc != 0)
    return csn_fail(err, CSN_E_UNAVAILABLE, "Redis: %s: %s", o->host, gai_strerror(rc));
  int fd = CSN_E_UNAVAILABLE;
  for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
    fd = connect_to(a, sc, err);
    if (fd == CSN_E_TIMEOUT || fd == CSN_E_CANCELLED)
      break;
  }
  freeaddrinfo(list);
  return fd;
}

/* Sends what is in r->out. */
static int
send_all(csn_redis *r, csn_scope *sc, csn_err *err)
{
  for (size_t at = 0; at < r->out.n;) {
    ssize_t n = send(r->fd, r->out.p + at, r->out.n - at, MSG_NOSIGNAL);
    if (n > 0) {
      at += (size_t)n;
      continue;
    }
    if (n < 0 && errno != EAGAIN && errno != EINTR)
      return lost(r, "the connection was lost", err);
    struct pollfd p = {.fd = r->fd, .events = POLLOUT};
    int rc = csn_poll(sc, &p, 1, err);
    if (rc < 0) {
      r->is_broken = true;
      return csn_wrap(err, rc, "Redis does not answer");
    }
  }
  return 0;
}

static int
receive(csn_redis *r, csn_scope *sc, csn_err *err)
{
  csn_buf_clear(&r->in);
  for (;;) {
    csn_arena_clear(r->arena);
    int64_t used = csn_resp_parse(r->arena, csn_buf_str(&r->in), &r->reply, err);
    if (used != 0) {
      r->is_broken = r->is_broken || used < 0 || (size_t)used != r->in.n;
      return used < 0 ? (int)used : 0;
    }
    char *to = csn_buf_room(&r->in, READ_BYTES);
    if (!to)
      return lost(r, "its reply is too big", err);
    ssize_t n = recv(r->fd, to, READ_BYTES, 0);
    if (n > 0) {
      r->in.n += (size_t)n;
      continue;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
      return lost(r, "the connection was lost", err);
    struct pollfd p = {.fd = r->fd, .events = POLLIN};
    int rc = csn_poll(sc, &p, 1, err);
    if (rc < 0) {
      r->is_broken = true;
      return csn_wrap(err, rc, "Redis does not answer");
    }
  }
}

int
csn_redis_call(csn_redis *r, csn_scope *sc, const csn_str *words, size_t n, const csn_resp **reply,
               csn_err *err)
{
  if (r->is_broken)
    return lost(r, "the connection was lost", err);
  csn_buf_clear(&r->out);
  csn_resp_add(&r->out, words, n);
  int rc = csn_buf_done(&r->out, "a command", err);
  if (rc == 0)
    rc = send_all(r, sc, err);
  if (rc == 0)
    rc = receive(r, sc, err);
  if (rc < 0)
    return rc;
  *reply = &r->reply;
  if (r->reply.kind != CSN_RESP_ERROR)
    return 0;
  csn_str said = r->reply.s;
  bool denied = csn_str_starts(said, CSN_STR("NOAUTH")) ||
                csn_str_starts(said, CSN_STR("WRONGPASS")) ||
                csn_str_starts(said, CSN_STR("NOPERM"));
  bool loading = csn_str_starts(said, CSN_STR("LOADING"));
  return csn_fail(err,
                  denied    ? CSN_E_DENIED
                  : loading ? CSN_E_UNAVAILABLE
                            : CSN_E_IO,
                  "Redis: %.*s%s", (int)(said.n < 200 ? said.n : 200), said.p,
                  denied ? "; set REDISCLI_AUTH to the password" : "");
}

bool
csn_redis_is_broken(const csn_redis *r)
{
  return r->is_broken;
}

void
csn_redis_close(csn_redis *r)
{
  if (!r)
    return;
  close(r->fd);
  csn_buf_fini(&r->out);
  csn_buf_fini(&r->in);
  csn_arena_free(r->arena);
  free(r);
}

static int
log_in(csn_redis *r, const csn_redis_options *o, csn_scope *sc, csn_err *err)
{
  const csn_resp *reply;
  char number[24];
  csn_str auth[3] = {CSN_STR("AUTH")};
  size_t n = 1;
  if (o->user.n)
    auth[n++] = o->user;
  auth[n++] = o->password;
  int rc = o->password.n ? csn_redis_call(r, sc, auth, n, &reply, err) : 0;
  if (o->password.n && r->out.p)
    explicit_bzero(r->out.p, r->out.n);
  snprintf(number, sizeof number, "%lld", (long long)o->database);
  const csn_str select[] = {CSN_STR("SELECT"), csn_cstr(number)};
  return rc < 0 ? rc : csn_redis_call(r, sc, select, 2, &reply, err);
}

int
csn_redis_open(csn_redis **out, const csn_redis_options *o, csn_scope *sc, csn_err *err)
{
  int fd = dial(o, sc, err);
  if (fd < 0)
    return fd;
  csn_redis *r = csn_alloc(sizeof *r);
  *r = (csn_redis){.fd = fd,
                   .out = CSN_BUF(CSN_RESP_MAX),
                   .in = CSN_BUF(CSN_RESP_MAX),
                   .arena = csn_arena_new(0)};
  int rc = log_in(r, o, sc, err);
  if (rc < 0)
    csn_redis_close(r);
  else
    *out = r;
  return rc;
}
