/* SPDX-License-Identifier: Apache-2.0
 *
 * dns.c - the sandbox's name server.
 *
 * Names that it may use get an address that stands for them, all others do not
 * exist.  Nothing is asked outside: what a sandbox looks up tells nobody
 * anything, and the real address is found when a connection is made.
 */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "egress/conn.h"
#include "wire/dns.h"

enum {
  TTL_S = 60,
  PER_SECOND = 1000, /* queries that are answered; those above are dropped */
  AT_ONCE = 64,
  TYPE_AXFR = 252,
  TYPE_IXFR = 251,
  TYPE_ANY = 255,
};

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

/* The answer to a question for addresses. */
static enum csn_dns_code
find(csn_egress *e, const csn_dns_query *q, csn_address *a, size_t *n)
{
  csn_dest d;
  if (q->type == TYPE_ANY || q->type == TYPE_AXFR || q->type == TYPE_IXFR)
    return CSN_DNS_REFUSED;
  if (!csn_dest_set(&d, csn_cstr(q->name), 0) || d.is_address)
    return CSN_DNS_NO_NAME;
  if (strcmp(d.host, "localhost") == 0) {
    *a = q->type == CSN_DNS_AAAA ? (csn_address){.v6 = 1, .b = {[15] = 1}}
                                 : csn_address_v4(127, 0, 0, 1);
    *n = 1;
    return CSN_DNS_OK;
  }
  if (!csn_policy_lists(&e->config, &d)) {
    note(e, d.host, false, "the name is not on this sandbox's list");
    return CSN_DNS_NO_NAME;
  }
  if (q->type == CSN_DNS_A) {
    bool is_new;
    *a = csn_names_need(e->names, csn_dest_host(&d), &is_new);
    *n = 1;
    if (is_new)
      note(e, d.host, true, NULL);
  }
  return CSN_DNS_OK; /* of other types there is nothing */
}

bool
csn_dns_serve(csn_egress *e, csn_str packet, size_t max_bytes, csn_buf *out)
{
  csn_dns_query q;
  csn_address a;
  size_t n = 0;
  if (!may_ask(e) || csn_report_is_full(e->report) || csn_dns_parse(&q, packet, NULL) < 0)
    return false;
  enum csn_dns_code code = (enum csn_dns_code)q.code;
  if (code == CSN_DNS_OK)
    code = find(e, &q, &a, &n);
  if (max_bytes == 0)
    max_bytes = q.udp_bytes;
  return csn_dns_answer(out, &q, code, TTL_S, &a, n, max_bytes, NULL) >= 0;
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

void
csn_dns_udp_ready(void *listener, uint32_t events)
{
  const csn_listener *l = listener;
  (void)events;
  for (int i = 0; i < AT_ONCE; i++) {
    char packet[1500];
    union {
      struct cmsghdr align;
      char room[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
    } control;
    struct sockaddr_storage from;
    struct iovec part = {packet, sizeof packet};
    struct msghdr m = {.msg_name = &from,
                       .msg_namelen = sizeof from,
                       .msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    ssize_t n = recvmsg(l->ready.fd, &m, MSG_DONTWAIT);
    if (n < 0 && errno != EINTR)
      return;
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(CSN_DNS_TCP_MAX);
    if (n < 0 || m.msg_flags & MSG_TRUNC ||
        !csn_dns_serve(l->egress, csn_strn(packet, (size_t)n), 0, &out))
      continue;
    turn_control(&m);
    part = (struct iovec){out.p, out.n};
    (void)!sendmsg(l->ready.fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
}

/* ---- TCP ---- */

void
csn_dns_tcp_step(csn_conn *c)
{
  csn_egress *e = c->egress;
  int n = csn_conn_read(c, &c->client);
  if (n < 0)
    return;
  csn_buf_add(&c->sniffed, csn_strn(e->scratch, (size_t)n));
  csn_str in = csn_buf_str(&c->sniffed), packet;
  while (!csn_peer_is_full(&c->client) && csn_dns_frame(&in, &packet) == 1) {
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(CSN_DNS_TCP_MAX);
    if (!csn_dns_serve(e, packet, CSN_DNS_TCP_MAX, &out)) {
      csn_conn_end(c, NULL);
      return;
    }
    char length[2] = {(char)(out.n >> 8), (char)out.n};
    if (csn_conn_write(c, &c->client, csn_strn(length, 2)) < 0 ||
        csn_conn_write(c, &c->client, csn_buf_str(&out)) < 0)
      return;
    csn_conn_expect_head(c, e->config.header_ms);
  }
  csn_buf_drop(&c->sniffed, c->sniffed.n - in.n);
  if (c->client.ended || c->sniffed.over) {
    csn_conn_end(c, NULL);
    return;
  }
  csn_peer_want(&c->client, !csn_peer_is_full(&c->client));
}
