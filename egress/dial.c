/* SPDX-License-Identifier: Apache-2.0
 *
 * dial.c - from a name to a connection outside.
 *
 * The name is resolved here, whatever address the sandbox asked for, and each
 * address is judged when it is about to be connected to: a name that turns
 * into an address of this machine's network between two look-ups gains nothing.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#include "egress/conn.h"

#define DIAL_NS INT64_C(10000000000)
enum { ADDRESSES_TRIED = 4 };

static void next_address(csn_conn *c);

static void
finish(csn_conn *c, int status)
{
  csn_alarm_drop(&c->dial_alarm);
  c->dialled(c, status);
}

static void
connected(csn_conn *c)
{
  c->egress->reached++;
  int on = 1;
  setsockopt(c->server.ready.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  csn_address_text(&c->lookup.addresses[c->next_address - 1], c->address);
  csn_conn_touch(c);
  finish(c, 0);
}

static void
note_failure(csn_conn *c, const csn_address *a, const char *what)
{
  char text[CSN_ADDRESS_TEXT];
  csn_address_text(a, text);
  snprintf(c->reason, sizeof c->reason, "%s (%s port %u): %s", c->dest.host, text, c->dest.port,
           what);
}

static void
connecting_step(csn_conn *c)
{
  int failure = 0;
  socklen_t n = sizeof failure;
  struct sockaddr_storage to;
  socklen_t to_n = sizeof to;
  getsockopt(c->server.ready.fd, SOL_SOCKET, SO_ERROR, &failure, &n);
  if (failure == 0 && getpeername(c->server.ready.fd, (struct sockaddr *)&to, &to_n) < 0)
    return; /* it was the client that woke us */
  if (failure == 0) {
    csn_ready_set(&c->egress->reactor, &c->server.ready, 0);
    connected(c);
    return;
  }
  note_failure(c, &c->lookup.addresses[c->next_address - 1], strerror(failure));
  csn_peer_close(&c->server);
  next_address(c);
}

static void
on_late(void *user)
{
  csn_conn *c = user;
  note_failure(c, &c->lookup.addresses[c->next_address - 1], "no answer");
  csn_peer_close(&c->server);
  next_address(c);
}

/* 1 connected, 0 under way, -1 not possible. */
static int
try_address(csn_conn *c, const csn_address *a)
{
  struct sockaddr_storage to;
  socklen_t n = csn_address_to_sockaddr(a, c->dest.port, &to);
  int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    note_failure(c, a, strerror(errno));
    return -1;
  }
  csn_peer_init(&c->server, &c->egress->reactor, fd, c->server.ready.fn, c);
  if (connect(fd, (struct sockaddr *)&to, n) == 0)
    return 1;
  if (errno == EINPROGRESS)
    return 0;
  note_failure(c, a, strerror(errno));
  csn_peer_close(&c->server);
  return -1;
}

static void
next_address(csn_conn *c)
{
  while (c->next_address < c->lookup.n && c->next_address < ADDRESSES_TRIED) {
    const csn_address *a = &c->lookup.addresses[c->next_address++];
    const char *not_public = csn_policy_address(&c->egress->config, a, c->dest.port);
    if (not_public) {
      char text[CSN_ADDRESS_TEXT];
      csn_address_text(a, text);
      snprintf(c->reason, sizeof c->reason,
               "%s is the address %s, which is %s: a sandbox reaches public addresses only",
               c->dest.host, text, not_public);
      continue;
    }
    int rc = try_address(c, a);
    if (rc > 0) {
      connected(c);
      return;
    }
    if (rc == 0) {
      c->step = connecting_step;
      c->dial_alarm = (csn_alarm){.fn = on_late, .user = c};
      csn_alarm_set(&c->egress->reactor, &c->dial_alarm, c->egress->reactor.now_ns + DIAL_NS);
      csn_ready_set(&c->egress->reactor, &c->server.ready, EPOLLOUT);
      return;
    }
  }
  finish(c, strstr(c->reason, "public addresses only") ? 403 : 502);
}

static void
on_lookup(void *user)
{
  csn_conn *c = user;
  c->next_address = 0;
  snprintf(c->reason, sizeof c->reason, "%s: %s", c->dest.host,
           c->lookup.why ? c->lookup.why : "no address");
  if (c->lookup.n == 0)
    finish(c, 502);
  else
    next_address(c);
}

/* While the name is looked up nothing else is to be done. */
static void
waiting_step(csn_conn *c)
{
  csn_peer_want(&c->client, false);
}

void
csn_conn_dial(csn_conn *c, void (*dialled)(csn_conn *c, int status))
{
  csn_conn_head_done(c);
  csn_peer_want(&c->client, false);
  c->dialled = dialled;
  c->step = waiting_step;
  c->reason[0] = '\0';
  c->lookup.fn = on_lookup;
  c->lookup.user = c;
  if (c->dest.is_address) {
    c->lookup.addresses[0] = c->dest.address;
    c->lookup.n = 1;
    on_lookup(c);
  } else if (csn_lookup_start(&c->lookup, c->egress->resolver, c->dest.host) == 1) {
    on_lookup(c);
  }
}

void
csn_conn_dial_stop(csn_conn *c)
{
  if (c->lookup.active)
    csn_lookup_stop(&c->lookup);
  csn_alarm_drop(&c->dial_alarm);
}
