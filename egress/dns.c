/* SPDX-License-Identifier: Apache-2.0
 *
 * dns.c - the sandbox's name server.
 *
 * Names that it may use get an address that stands for them, all others do not
 * exist.  With a list, nothing is asked outside: what a sandbox looks up tells
 * nobody anything, and the real address is found when a connection is made.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "egress/conn.h"
#include "wire/dns.h"

enum {
  TTL_S = 60,
  PER_SECOND = 1000, /* queries that are answered; those above are dropped */
  AT_ONCE = 64,
  ASKING_MAX = 256, /* questions that are asked outside at once */
  TYPE_AXFR = 252,
  TYPE_IXFR = 251,
  TYPE_ANY = 255,
};

typedef void csn_dns_reply_fn(void *to, csn_str packet);

static bool
may_ask(csn_egress *e)
{
  int64_t passed = e->reactor.now_ns - e->dns_at_ns;
  int64_t more = passed / (INT64_C(1000000000) / PER_SECOND);
  if (more > 0) {
    e->dns_at_ns = e->reactor.now_ns;
    e->dns_tokens = e->dns_tokens + more > 2 * PER_SECOND ? 2 * PER_SECOND : e->dns_tokens + more;
  }
  if (e->dns_tokens == 0)
    return false;
  e->dns_tokens--;
  return true;
}

static void
note(csn_egress *e, const char *name, bool allowed, const char *reason)
{
  csn_note n = {.how = "dns", .host = name, .allowed = allowed, .reason = reason};
  csn_report_note(e->report, &n);
}

/* What stands for the name, or that there is nothing of this type. */
static enum csn_dns_code
answer(csn_egress *e, const csn_dest *d, unsigned type, csn_address *a, size_t *n)
{
  bool is_new;
  if (type != CSN_DNS_A)
    return CSN_DNS_OK;
  *a = csn_names_need(e->names, csn_dest_host(d), &is_new);
  *n = 1;
  if (is_new)
    note(e, d->host, true, NULL);
  return CSN_DNS_OK;
}

/* *ask: the answer depends on whether there is such a name. */
static enum csn_dns_code
find(csn_egress *e, const csn_dns_query *q, csn_dest *d, csn_address *a, size_t *n, bool *ask)
{
  *ask = false;
  if (q->type == TYPE_ANY || q->type == TYPE_AXFR || q->type == TYPE_IXFR)
    return CSN_DNS_REFUSED;
  if (!csn_dest_set(d, csn_cstr(q->name), 0) || d->is_address)
    return CSN_DNS_NO_NAME;
  if (strcmp(d->host, "localhost") == 0) {
    *a = q->type == CSN_DNS_AAAA ? (csn_address){.v6 = 1, .b = {[15] = 1}}
                                 : csn_address_v4(127, 0, 0, 1);
    *n = 1;
    return CSN_DNS_OK;
  }
  if (!csn_policy_lists(&e->config, d)) {
    char reason[CSN_REASON_TEXT];
    snprintf(reason, sizeof reason, "%s is not on this sandbox's list", d->host);
    note(e, d->host, false, reason);
    return CSN_DNS_NO_NAME;
  }
  *ask = e->config.open;
  return *ask ? CSN_DNS_OK : answer(e, d, q->type, a, n);
}

/* ---- the open policy ---- */

/* There all names are listed, those that do not exist among them: the question
 * is asked outside first, so that a misspelt name is told as such. */
struct csn_dns_question {
  csn_egress *egress;
  csn_lookup lookup;
  csn_dns_query query;
  csn_dest dest;
  size_t max_bytes;
  csn_dns_reply_fn *reply;
  void *to;
  csn_grave grave;
  struct csn_dns_question *next, **link;
};

static void
free_question(void *user)
{
  struct csn_dns_question *it = user;
  free(it->to);
  free(it);
}

static void
drop_question(struct csn_dns_question *it)
{
  *it->link = it->next;
  if (it->next)
    it->next->link = it->link;
  it->egress->dns_asking--;
  it->grave = (csn_grave){.fn = free_question, .user = it};
  csn_reactor_bury(&it->egress->reactor, &it->grave);
}

void
csn_dns_stop(csn_egress *e)
{
  while (e->questions) {
    csn_lookup_stop(&e->questions->lookup);
    drop_question(e->questions);
  }
}

static void
answered(void *user)
{
  struct csn_dns_question *it = user;
  csn_egress *e = it->egress;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(CSN_DNS_TCP_MAX);
  csn_address a;
  size_t n = 0;
  enum csn_dns_code code = CSN_DNS_OK;
  if (it->lookup.n > 0)
    code = answer(e, &it->dest, it->query.type, &a, &n);
  else
    code = it->lookup.missing ? CSN_DNS_NO_NAME : CSN_DNS_SERVER_FAILED;
  if (csn_dns_answer(&out, &it->query, code, TTL_S, &a, n, it->max_bytes, NULL) >= 0)
    it->reply(it->to, csn_buf_str(&out));
  drop_question(it);
}

static void
ask_outside(csn_egress *e, const csn_dns_query *q, const csn_dest *d, size_t max_bytes,
            csn_dns_reply_fn *reply, csn_str to)
{
  if (e->dns_asking == ASKING_MAX)
    return;
  struct csn_dns_question *it = csn_alloc(sizeof *it);
  it->egress = e;
  it->query = *q;
  it->dest = *d;
  it->max_bytes = max_bytes;
  it->reply = reply;
  it->to = csn_alloc(to.n);
  memcpy(it->to, to.p, to.n);
  it->lookup.fn = answered;
  it->lookup.user = it;
  it->next = e->questions;
  it->link = &e->questions;
  if (it->next)
    it->next->link = &it->next;
  e->questions = it;
  e->dns_asking++;
  if (csn_lookup_start(&it->lookup, e->resolver, it->dest.host) == 1)
    answered(it);
}

/* Answers one query by reply(to, ...), at once or, with a copy of `to`, later. */
static bool
serve(csn_egress *e, csn_str packet, size_t max_bytes, csn_dns_reply_fn *reply, csn_str to)
{
  csn_dns_query q;
  csn_dest d;
  csn_address a;
  size_t n = 0;
  bool ask = false;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(CSN_DNS_TCP_MAX);
  if (!may_ask(e) || csn_report_is_full(e->report) || csn_dns_parse(&q, packet, NULL) < 0)
    return false;
  if (max_bytes == 0)
    max_bytes = q.udp_bytes;
  enum csn_dns_code code = (enum csn_dns_code)q.code;
  if (code == CSN_DNS_OK)
    code = find(e, &q, &d, &a, &n, &ask);
  if (ask) {
    ask_outside(e, &q, &d, max_bytes, reply, to);
    return true;
  }
  if (csn_dns_answer(&out, &q, code, TTL_S, &a, n, max_bytes, NULL) < 0)
    return false;
  reply((void *)(uintptr_t)to.p, csn_buf_str(&out));
  return true;
}

/* ---- UDP ---- */

/* The answer comes from the address that was asked, whichever that is: the
 * control message of the query says it, and is sent back. */
static void
turn_control(struct msghdr *m)
{
  for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
    if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO) {
      struct in_pktinfo *info = (struct in_pktinfo *)CMSG_DATA(h);
      info->ipi_ifindex = 0;
      info->ipi_spec_dst = info->ipi_addr;
    } else if (h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_PKTINFO) {
      ((struct in6_pktinfo *)CMSG_DATA(h))->ipi6_ifindex = 0;
    }
  }
}

/* Where an answer goes. */
struct asker {
  int fd;
  struct sockaddr_storage from;
  socklen_t from_n;
  size_t control_n;
  union {
    struct cmsghdr align;
    char room[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
  } control;
};

static void
reply_udp(void *to, csn_str packet)
{
  struct asker *a = to;
  struct iovec part = {(void *)(uintptr_t)packet.p, packet.n};
  struct msghdr m = {.msg_name = &a->from,
                     .msg_namelen = a->from_n,
                     .msg_iov = &part,
                     .msg_iovlen = 1,
                     .msg_control = &a->control,
                     .msg_controllen = a->control_n};
  turn_control(&m);
  (void)!sendmsg(a->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void
csn_dns_udp_ready(void *listener, uint32_t events)
{
  const csn_listener *l = listener;
  (void)events;
  for (int i = 0; i < AT_ONCE; i++) {
    char packet[1500];
    struct asker a = {.fd = l->ready.fd};
    struct iovec part = {packet, sizeof packet};
    struct msghdr m = {.msg_name = &a.from,
                       .msg_namelen = sizeof a.from,
                       .msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = &a.control,
                       .msg_controllen = sizeof a.control};
    ssize_t n = recvmsg(l->ready.fd, &m, MSG_DONTWAIT);
    if (n < 0 && errno != EINTR)
      return;
    a.from_n = m.msg_namelen;
    a.control_n = m.msg_controllen;
    if (n >= 0 && !(m.msg_flags & MSG_TRUNC))
      (void)serve(l->egress, csn_strn(packet, (size_t)n), 0, reply_udp,
                  csn_strn((const char *)&a, sizeof a));
  }
}

/* ---- TCP ---- */

/* The connection may have ended while its question was asked outside: it is
 * named by its number, not by where it was. */
struct tcp_asker {
  csn_egress *egress;
  uint64_t number;
};

static void
reply_tcp(void *to, csn_str packet)
{
  const struct tcp_asker *a = to;
  csn_conn *c = a->egress->conns;
  char length[2] = {(char)(packet.n >> 8), (char)packet.n};
  while (c && c->number != a->number)
    c = c->next;
  if (c && csn_conn_write(c, &c->client, csn_strn(length, 2)) == 0 &&
      csn_conn_write(c, &c->client, packet) == 0) {
    csn_conn_expect_head(c, c->egress->config.header_ms);
    csn_peer_want(&c->client, !csn_peer_is_full(&c->client));
  }
}

void
csn_dns_tcp_step(csn_conn *c)
{
  csn_egress *e = c->egress;
  int n = csn_conn_read(c, &c->client);
  if (n < 0)
    return;
  csn_buf_add(&c->sniffed, csn_strn(e->scratch, (size_t)n));
  csn_str in = csn_buf_str(&c->sniffed), packet;
  struct tcp_asker asker = {e, c->number};
  while (!csn_peer_is_full(&c->client) && csn_dns_frame(&in, &packet) == 1) {
    bool ok =
        serve(e, packet, CSN_DNS_TCP_MAX, reply_tcp, csn_strn((const char *)&asker, sizeof asker));
    if (!ok)
      csn_conn_end(c, NULL);
    if (!c->link)
      return;
  }
  csn_buf_drop(&c->sniffed, c->sniffed.n - in.n);
  if (c->client.ended || c->sniffed.over) {
    csn_conn_end(c, NULL);
    return;
  }
  csn_peer_want(&c->client, !csn_peer_is_full(&c->client));
}
