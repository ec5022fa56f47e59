/* SPDX-License-Identifier: Apache-2.0
 *
 * conn.c - the life of a connection, and the listeners; see conn.h.
 */
#include "egress/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#include "caisson/scope.h"

enum {
  ACCEPT_ONCE = 64,
  PAUSE_MS = 100,
  LINGER_MS = 2000,
  LINGER_BYTES = 1 << 20,
  BODY_MAX = 2000
};
#define MS INT64_C(1000000)

/* ---- clocks ---- */

static int64_t
deadline_ns(const csn_conn *c)
{
  int64_t idle = c->moved_ns + c->egress->config.idle_ms * MS;
  return c->head_by_ns && c->head_by_ns < idle ? c->head_by_ns : idle;
}

static void
on_deadline(void *user)
{
  csn_conn *c = user;
  int64_t now = c->egress->reactor.now_ns, at = deadline_ns(c);
  if (at > now) {
    csn_alarm_set(&c->egress->reactor, &c->alarm, at);
    return;
  }
  if (c->head_by_ns && c->head_by_ns <= now && c->late) {
    csn_step_fn *late = c->late;
    csn_conn_head_done(c);
    csn_alarm_set(&c->egress->reactor, &c->alarm, deadline_ns(c));
    late(c);
    return;
  }
  csn_conn_end(c, c->head_by_ns && c->head_by_ns <= now ? "what it wants did not come in time"
                                                        : "nothing moved for too long");
}

void
csn_conn_touch(csn_conn *c)
{
  c->moved_ns = c->egress->reactor.now_ns;
}

void
csn_conn_expect_head(csn_conn *c, int64_t ms)
{
  c->head_by_ns = c->egress->reactor.now_ns + ms * MS;
  csn_alarm_set(&c->egress->reactor, &c->alarm, deadline_ns(c));
}

void
csn_conn_head_done(csn_conn *c)
{
  c->head_by_ns = 0;
  c->late = NULL;
}

/* ---- beginning and end ---- */

static void
on_ready(csn_conn *c, csn_peer *p, uint32_t events)
{
  if (events & ~(uint32_t)EPOLLOUT)
    p->readable = true;
  if (events & EPOLLOUT)
    csn_conn_touch(c); /* the other end took something */
  if (csn_peer_is_open(&c->client) && csn_peer_flush(&c->client, NULL) < 0) {
    csn_conn_end(c, NULL);
    return;
  }
  c->step(c);
}

static void
on_client(void *user, uint32_t events)
{
  csn_conn *c = user;
  on_ready(c, &c->client, events);
}

static void
on_server(void *user, uint32_t events)
{
  csn_conn *c = user;
  on_ready(c, &c->server, events);
}

csn_conn *
csn_conn_new(csn_egress *e, int fd, const char *how, csn_step_fn *step)
{
  int on = 1;
  csn_conn *c = csn_alloc(sizeof *c);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  c->egress = e;
  c->how = how;
  c->step = step;
  c->begun_ns = c->moved_ns = e->reactor.now_ns;
  c->alarm = (csn_alarm){.fn = on_deadline, .user = c};
  c->sniffed = CSN_BUF(64 << 10);
  csn_peer_init(&c->client, &e->reactor, fd, on_client, c);
  csn_peer_init(&c->server, &e->reactor, -1, on_server, c);
  c->next = e->conns;
  c->link = &e->conns;
  if (c->next)
    c->next->link = &c->next;
  e->conns = c;
  e->n_conns++;
  c->number = ++e->conns_ever;
  csn_conn_expect_head(c, e->config.header_ms);
  return c;
}

static void
free_conn(void *user)
{
  csn_conn *c = user;
  if (c->hello)
    csn_hello_fini(c->hello);
  free(c->hello);
  csn_web_free(c->web);
  csn_buf_fini(&c->sniffed);
  free(c);
}

void
csn_conn_end(csn_conn *c, const char *reason)
{
  csn_egress *e = c->egress;
  if (!c->link)
    return;
  if (!c->told)
    csn_conn_report(c, c->verdict.allowed, reason);
  *c->link = c->next;
  if (c->next)
    c->next->link = c->link;
  c->link = NULL;
  e->n_conns--;
  csn_conn_dial_stop(c);
  csn_alarm_drop(&c->alarm);
  csn_peer_close(&c->client);
  csn_peer_close(&c->server);
  c->grave = (csn_grave){.fn = free_conn, .user = c};
  csn_reactor_bury(&e->reactor, &c->grave);
}

void
csn_conn_report(csn_conn *c, bool allowed, const char *reason)
{
  c->told = true;
  if (c->how == NULL)
    return; /* questions for names are told one by one */
  csn_note n = {.how = c->how,
                .host = c->dest.host,
                .port = c->dest.port,
                .address = c->address,
                .allowed = allowed,
                .reason = reason,
                .up = c->client.up,
                .down = c->server.up,
                .ms = (c->egress->reactor.now_ns - c->begun_ns) / MS};
  csn_web_describe(c, &n);
  csn_report_note(c->egress->report, &n);
}

/* Closing with unread bytes would make the kernel take back what was written
 * last: the client gets some time to read it. */
static void
linger_step(csn_conn *c)
{
  csn_err err;
  if (csn_peer_shut(&c->client, &err) < 0) {
    csn_conn_end(c, NULL);
    return;
  }
  for (int n = 1; n > 0 && !c->client.ended;) {
    n = csn_peer_read(&c->client, c->egress->scratch, CSN_SCRATCH_BYTES, c->egress->wire, &err);
    if (n < 0 || c->client.up - c->counted_up > LINGER_BYTES) {
      csn_conn_end(c, NULL);
      return;
    }
  }
  if (c->client.ended && csn_peer_waiting(&c->client) == 0) {
    csn_conn_end(c, NULL);
    return;
  }
  csn_peer_want(&c->client, true);
}

void
csn_conn_linger(csn_conn *c)
{
  csn_conn_dial_stop(c);
  csn_peer_close(&c->server);
  csn_conn_head_done(c);
  if (!c->told)
    csn_conn_report(c, c->verdict.allowed, NULL);
  c->counted_up = c->client.up;
  c->step = linger_step;
  csn_conn_expect_head(c, LINGER_MS);
  linger_step(c);
}

static const char *
status_text(int status)
{
  switch (status) {
  case 400:
    return "Bad Request";
  case 403:
    return "Forbidden";
  case 405:
    return "Method Not Allowed";
  case 417:
    return "Expectation Failed";
  case 421:
    return "Misdirected Request";
  case 431:
    return "Request Header Fields Too Large";
  case 501:
    return "Not Implemented";
  case 503:
    return "Service Unavailable";
  case 504:
    return "Gateway Timeout";
  case 505:
    return "HTTP Version Not Supported";
  default:
    return "Bad Gateway";
  }
}

void
csn_conn_answer(csn_conn *c, int status, const char *reason, bool body)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(BODY_MAX), out = CSN_BUF(2 * BODY_MAX);
  csn_buf_addf(&text, "caisson: %s\n", reason);
  /* Many clients show the status line alone: it names the host. */
  csn_buf_addf(&out, "HTTP/1.1 %d %s", status, status_text(status));
  if (status == 403 && c->dest.host[0])
    csn_buf_addf(&out, " by caisson (%s:%u)", c->dest.host, c->dest.port);
  csn_buf_addf(&out,
               "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n"
               "Connection: close\r\nX-Caisson-Refused: %d\r\n\r\n",
               text.n, status);
  if (body)
    csn_buf_add(&out, csn_buf_str(&text));
  if (csn_conn_write(c, &c->client, csn_buf_str(&out)) == 0)
    csn_conn_linger(c);
}

void
csn_conn_refuse(csn_conn *c, int status, const char *fmt, ...)
{
  char reason[CSN_REASON_TEXT];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(reason, sizeof reason, fmt, ap);
  va_end(ap);
  if (!c->told)
    csn_conn_report(c, false, reason);
  if (status > 0)
    csn_conn_answer(c, status, reason, true);
  else
    csn_conn_linger(c);
}

bool
csn_conn_judge(csn_conn *c, int status)
{
  c->verdict = csn_policy_judge(&c->egress->config, &c->dest);
  if (c->egress->config.restriction == CSN_RESTRICT_ALL) {
    c->verdict.allowed = false;
    csn_conn_refuse(c, status, "%s", csn_restriction_reason(c->egress));
    return false;
  }
  if (c->verdict.allowed)
    return true;
  bool listed = csn_policy_lists(&c->egress->config, &c->dest);
  csn_conn_refuse(c, status,
                  listed ? "%s is on this sandbox's list, but not with port %u; to allow it, add "
                           "the port to that host in sandbox.network.allow"
                         : "%s:%u is not on this sandbox's list; to allow it, add the host to "
                           "sandbox.network.allow",
                  c->dest.host, c->dest.port);
  return false;
}

/* ---- moving bytes ---- */

int
csn_conn_take(csn_conn *c, csn_peer *from, csn_err *err)
{
  csn_egress *e = c->egress;
  uint64_t before = from->up;
  int n = csn_peer_read(from, e->scratch, CSN_SCRATCH_BYTES, e->wire, err);
  if (n <= 0)
    return n;
  csn_conn_touch(c);
  bool up = from == &c->client;
  uint64_t *total = up ? &e->up_bytes : &e->down_bytes;
  int64_t max = up ? e->config.max_up_bytes : e->config.max_down_bytes;
  *total += from->up - before;
  if (max && *total > (uint64_t)max)
    return csn_fail(err, CSN_E_LIMIT, "the sandbox's cap of %lld bytes %s is reached",
                    (long long)max, up ? "up" : "down");
  return n;
}

/* Once one end has said that it is done, it may be gone before the other's
 * last words, and a client that has what it wants need not say so at all: that
 * is how connections end. */
static const char *
why_cut(const csn_conn *c, const csn_peer *p, const csn_err *err)
{
  bool ending = p == &c->client || c->client.ended || c->server.ended;
  return ending && err->code == CSN_E_IO && err->sys_errno ? NULL : err->msg;
}

int
csn_conn_read(csn_conn *c, csn_peer *from)
{
  csn_err err = {0};
  int n = csn_conn_take(c, from, &err);
  if (n >= 0)
    return n;
  csn_conn_end(c, why_cut(c, from, &err));
  return -1;
}

int
csn_conn_write(csn_conn *c, csn_peer *to, csn_str bytes)
{
  csn_err err = {0};
  if (csn_peer_write(to, bytes, &err) >= 0)
    return 0;
  csn_conn_end(c, why_cut(c, to, &err));
  return -1;
}

/* ---- listeners ---- */

static void
refuse_more(csn_egress *e, int fd, const csn_listener *l, const char *reason)
{
  csn_note n = {.how = l->config.kind == CSN_LISTEN_PROXY ? "proxy" : "transparent",
                .port = l->config.kind == CSN_LISTEN_PROXY ? 0 : l->config.port,
                .reason = reason};
  csn_report_note(e->report, &n);
  if (l->config.kind == CSN_LISTEN_PROXY) {
    static const char busy[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                               "Connection: close\r\n\r\n";
    (void)!send(fd, busy, sizeof busy - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  close(fd);
}

static void
accepted(csn_egress *e, const csn_listener *l, int fd)
{
  struct sockaddr_storage at;
  socklen_t n = sizeof at;
  csn_address destination;
  uint16_t port;
  if (l->config.kind == CSN_LISTEN_DNS_TCP) {
    csn_conn *c = csn_conn_new(e, fd, NULL, csn_dns_tcp_step);
    c->step(c);
  } else if (l->config.kind == CSN_LISTEN_PROXY) {
    csn_web_begin(csn_conn_new(e, fd, "proxy", NULL), CSN_WEB_PROXY);
  } else if (getsockname(fd, (struct sockaddr *)&at, &n) < 0 ||
             !csn_address_from_sockaddr(&at, &destination, &port)) {
    close(fd);
  } else {
    csn_transparent_begin(csn_conn_new(e, fd, "transparent", NULL), &destination, l->config.port);
  }
}

static void
pause_all(csn_egress *e)
{
  for (size_t i = 0; i < e->config.n_listeners; i++)
    if (e->config.listeners[i].kind != CSN_LISTEN_DNS_UDP)
      csn_ready_set(&e->reactor, &e->listeners[i].ready, 0);
  csn_alarm_set(&e->reactor, &e->paused, e->reactor.now_ns + PAUSE_MS * MS);
}

static const char *
why_no_more(const csn_egress *e, char text[100])
{
  const csn_config *c = &e->config;
  if (e->n_conns >= c->max_connections)
    snprintf(text, 100, "the sandbox has %lld connections already", (long long)e->n_conns);
  else if (c->max_up_bytes && e->up_bytes >= (uint64_t)c->max_up_bytes)
    snprintf(text, 100, "the sandbox's cap of %lld bytes up is reached",
             (long long)c->max_up_bytes);
  else if (c->max_down_bytes && e->down_bytes >= (uint64_t)c->max_down_bytes)
    snprintf(text, 100, "the sandbox's cap of %lld bytes down is reached",
             (long long)c->max_down_bytes);
  else
    return NULL;
  return text;
}

static void
on_listener(void *user, uint32_t events)
{
  csn_listener *l = user;
  csn_egress *e = l->egress;
  (void)events;
  for (int i = 0; i < ACCEPT_ONCE; i++) {
    char text[100];
    if (csn_report_is_full(e->report)) {
      pause_all(e);
      return;
    }
    int fd = accept4(l->ready.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
        pause_all(e);
      return;
    }
    const char *why = why_no_more(e, text);
    if (why)
      refuse_more(e, fd, l, why);
    else
      accepted(e, l, fd);
  }
}

static void
on_paused(void *user)
{
  csn_egress_listen(user);
}

void
csn_egress_listen(csn_egress *e)
{
  e->paused = (csn_alarm){.fn = on_paused, .user = e};
  for (size_t i = 0; i < e->config.n_listeners; i++) {
    csn_listener *l = &e->listeners[i];
    bool udp = l->config.kind == CSN_LISTEN_DNS_UDP;
    l->ready.fn = udp ? csn_dns_udp_ready : on_listener;
    l->ready.user = l;
    csn_ready_set(&e->reactor, &l->ready, EPOLLIN);
  }
}
