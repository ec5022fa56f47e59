/* SPDX-License-Identifier: Apache-2.0
 *
 * resolve.c - a stub resolver; see resolve.h.
 *
 * Each question has a socket of its own, connected to the server that is
 * asked: a forged answer must hit its port and its id.  IPv4 is asked for
 * first, IPv6 only when there is none.
 */
#include "egress/resolve.h"

#include <errno.h>
#include <netinet/in.h>

#include "caisson/scope.h"
#include "core/hash.h"

enum { CACHE = 256, TRY_MS = 2000, ROUNDS = 2, TTL_MAX_S = 60, FAILED_S = 2, HOSTS_MAX = 4096 };

struct cached {
  char name[CSN_HOST_TEXT];
  int64_t until_ns;
  size_t n;
  const char *why;
  bool missing;
  csn_address addresses[CSN_DNS_ADDRESSES];
};

struct csn_resolver {
  csn_reactor *reactor;
  const csn_config *config;
  csn_arena *arena;
  csn_fixed_name *hosts;
  size_t n_hosts;
  csn_endpoint servers[CSN_NAMESERVERS_MAX];
  size_t n_servers;
  struct cached cache[CACHE];
  size_t next_cached;
};

/* ---- the machine's files ---- */

static bool
take_word(csn_str *line, csn_str *word)
{
  csn_str s = csn_str_trim(*line);
  size_t n = 0;
  while (n < s.n && s.p[n] != ' ' && s.p[n] != '\t')
    n++;
  *word = csn_strn(s.p, n);
  *line = csn_strn(s.p + n, s.n - n);
  return n > 0 && s.p[0] != '#' && s.p[0] != ';';
}

static void
read_hosts(csn_resolver *r, csn_str text)
{
  r->hosts = csn_alloc(HOSTS_MAX * sizeof *r->hosts);
  for (csn_str line, word; csn_str_line(&text, &line);) {
    csn_address a;
    if (!take_word(&line, &word) || !csn_address_parse(word, &a))
      continue;
    while (r->n_hosts < HOSTS_MAX && take_word(&line, &word)) {
      csn_dest d;
      if (csn_dest_set(&d, word, 0) && !d.is_address)
        r->hosts[r->n_hosts++] = (csn_fixed_name){csn_arena_dup(r->arena, csn_dest_host(&d)), a};
    }
  }
}

static void
read_servers(csn_resolver *r, csn_str text)
{
  for (csn_str line, word; csn_str_line(&text, &line);) {
    csn_address a;
    if (r->n_servers < CSN_NAMESERVERS_MAX && take_word(&line, &word) &&
        csn_str_eq(word, CSN_STR("nameserver")) && take_word(&line, &word) &&
        csn_address_parse(word, &a))
      r->servers[r->n_servers++] = (csn_endpoint){a, 53};
  }
  if (r->n_servers == 0)
    r->servers[r->n_servers++] = (csn_endpoint){csn_address_v4(127, 0, 0, 1), 53};
}

csn_resolver *
csn_resolver_new(csn_reactor *reactor, const csn_config *c, csn_str hosts, csn_str resolv_conf)
{
  csn_resolver *r = csn_alloc(sizeof *r);
  r->reactor = reactor;
  r->config = c;
  r->arena = csn_arena_new(4 << 20);
  read_hosts(r, hosts);
  if (c->n_nameservers == 0)
    read_servers(r, resolv_conf);
  for (size_t i = 0; i < c->n_nameservers; i++)
    r->servers[r->n_servers++] = c->nameservers[i];
  return r;
}

void
csn_resolver_free(csn_resolver *r)
{
  if (!r)
    return;
  csn_arena_free(r->arena);
  free(r->hosts);
  free(r);
}

/* ---- answers that are known ---- */

static bool
find_fixed(csn_lookup *l, const csn_fixed_name *list, size_t n)
{
  for (size_t i = 0; i < n && l->n < CSN_DNS_ADDRESSES; i++)
    if (csn_str_eq(list[i].name, csn_cstr(l->name)))
      l->addresses[l->n++] = list[i].address;
  return l->n > 0;
}

static bool
find_cached(csn_lookup *l)
{
  csn_resolver *r = l->resolver;
  for (size_t i = 0; i < CACHE; i++) {
    const struct cached *c = &r->cache[i];
    if (c->until_ns > r->reactor->now_ns && strcmp(c->name, l->name) == 0) {
      l->n = c->n;
      l->why = c->why;
      l->missing = c->missing;
      memcpy(l->addresses, c->addresses, sizeof l->addresses);
      return true;
    }
  }
  return false;
}

static void
keep(csn_lookup *l, uint32_t ttl_s)
{
  csn_resolver *r = l->resolver;
  struct cached *c = &r->cache[r->next_cached++ % CACHE];
  *c = (struct cached){.n = l->n, .why = l->why, .missing = l->missing};
  memcpy(c->name, l->name, sizeof c->name);
  memcpy(c->addresses, l->addresses, sizeof c->addresses);
  if (ttl_s > TTL_MAX_S)
    ttl_s = TTL_MAX_S;
  c->until_ns = r->reactor->now_ns + (int64_t)ttl_s * 1000000000;
}

/* ---- asking ---- */

static void try_next(csn_lookup *l);

static void
close_socket(csn_lookup *l)
{
  csn_alarm_drop(&l->alarm);
  csn_ready_close(l->resolver->reactor, &l->socket);
  csn_buf_fini(&l->in);
  csn_buf_fini(&l->out);
}

static void
finish(csn_lookup *l, const char *why, uint32_t ttl_s)
{
  close_socket(l);
  l->active = false;
  l->why = l->n ? NULL : why;
  if (ttl_s)
    keep(l, ttl_s);
  l->fn(l->user);
}

static void
on_reply(csn_lookup *l, const csn_dns_reply *reply)
{
  if (reply->cut && !l->tcp) {
    close_socket(l);
    l->tcp = true;
    l->tries--; /* the same server again */
    try_next(l);
    return;
  }
  l->n = reply->n;
  memcpy(l->addresses, reply->addresses, sizeof l->addresses);
  if (l->n > 0) {
    finish(l, NULL, reply->ttl_s ? reply->ttl_s : 1);
  } else if (reply->code == CSN_DNS_NO_NAME) {
    l->missing = true;
    finish(l, "there is no such name", FAILED_S);
  } else if (reply->code != CSN_DNS_OK) {
    close_socket(l);
    try_next(l);
  } else if (l->type == CSN_DNS_A) {
    close_socket(l);
    l->type = CSN_DNS_AAAA;
    l->tries = 0;
    l->tcp = false;
    try_next(l);
  } else {
    l->missing = true;
    finish(l, "the name has no address", FAILED_S);
  }
}

static bool
take_packet(csn_lookup *l, csn_str packet)
{
  csn_dns_reply reply;
  if (csn_dns_reply_parse(&reply, packet, l->id, csn_cstr(l->name), l->type, NULL) < 0)
    return false;
  on_reply(l, &reply);
  return true;
}

static void
on_udp(csn_lookup *l)
{
  char packet[4096];
  for (int i = 0; i < 8; i++) {
    ssize_t n = recv(l->socket.fd, packet, sizeof packet, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
      return;
    if (n < 0) {
      close_socket(l);
      try_next(l);
      return;
    }
    if (take_packet(l, csn_strn(packet, (size_t)n)))
      return;
  }
}

static void
on_tcp(csn_lookup *l)
{
  char bytes[4096];
  ssize_t n = 1;
  if (l->out.n > 0) {
    n = send(l->socket.fd, l->out.p, l->out.n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
      csn_buf_drop(&l->out, (size_t)n);
    csn_ready_set(l->resolver->reactor, &l->socket, l->out.n ? EPOLLOUT : EPOLLIN);
  } else {
    n = recv(l->socket.fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n > 0)
      csn_buf_add(&l->in, csn_strn(bytes, (size_t)n));
    csn_str rest = csn_buf_str(&l->in), packet;
    if (n > 0 && csn_dns_frame(&rest, &packet) == 1 && take_packet(l, packet))
      return;
  }
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
    close_socket(l);
    try_next(l);
  }
}

static void
on_socket(void *user, uint32_t events)
{
  csn_lookup *l = user;
  (void)events;
  if (l->tcp)
    on_tcp(l);
  else
    on_udp(l);
}

static void
on_late(void *user)
{
  csn_lookup *l = user;
  close_socket(l);
  try_next(l);
}

static bool
send_query(csn_lookup *l, const csn_endpoint *server)
{
  csn_resolver *r = l->resolver;
  struct sockaddr_storage to;
  socklen_t n = csn_address_to_sockaddr(&server->address, server->port, &to);
  csn_auto(csn_buf_finip) csn_buf query = CSN_BUF(600);
  csn_random_bytes(&l->id, sizeof l->id);
  if (csn_dns_ask(&query, l->id, csn_cstr(l->name), l->type, NULL) < 0)
    return false;
  int kind = (l->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
  l->socket = (csn_ready){.fd = socket(to.ss_family, kind, 0), .fn = on_socket, .user = l};
  if (l->socket.fd < 0)
    return false;
  bool ok = connect(l->socket.fd, (struct sockaddr *)&to, n) == 0 || errno == EINPROGRESS;
  if (l->tcp) {
    l->in = CSN_BUF(CSN_DNS_TCP_MAX + 2);
    l->out = CSN_BUF(1000);
    csn_buf_addc(&l->out, (char)(query.n >> 8));
    csn_buf_addc(&l->out, (char)query.n);
    csn_buf_add(&l->out, csn_buf_str(&query));
  } else {
    ok = ok && send(l->socket.fd, query.p, query.n, MSG_NOSIGNAL) == (ssize_t)query.n;
  }
  if (!ok) {
    csn_ready_close(r->reactor, &l->socket);
    return false;
  }
  csn_ready_set(r->reactor, &l->socket, l->tcp ? EPOLLOUT : EPOLLIN);
  csn_alarm_set(r->reactor, &l->alarm, r->reactor->now_ns + TRY_MS * INT64_C(1000000));
  return true;
}

/* Some time later, so that a start never calls back inside itself. */
static void
on_given_up(void *user)
{
  finish(user, "no name server answered", 0);
}

static void
try_next(csn_lookup *l)
{
  const csn_resolver *r = l->resolver;
  l->alarm = (csn_alarm){.fn = on_late, .user = l};
  while (l->tries < r->n_servers * ROUNDS)
    if (send_query(l, &r->servers[l->tries++ % r->n_servers]))
      return;
  l->alarm.fn = on_given_up;
  csn_alarm_set(l->resolver->reactor, &l->alarm, r->reactor->now_ns);
}

int
csn_lookup_start(csn_lookup *l, csn_resolver *r, const char *name)
{
  l->resolver = r;
  l->n = 0;
  l->why = NULL;
  l->missing = false;
  l->tries = 0;
  l->tcp = false;
  l->type = CSN_DNS_A;
  l->socket.fd = -1;
  memcpy(l->name, name, strlen(name) + 1);
  if (find_fixed(l, r->config->fixed, r->config->n_fixed) || find_fixed(l, r->hosts, r->n_hosts) ||
      find_cached(l))
    return 1;
  l->active = true;
  try_next(l);
  return 0;
}

void
csn_lookup_stop(csn_lookup *l)
{
  if (!l->active)
    return;
  l->active = false;
  close_socket(l);
}
