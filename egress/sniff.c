/* SPDX-License-Identifier: Apache-2.0
 *
 * sniff.c - what a connection wants, from where it goes and how it begins.
 *
 * A transparent connection shows an address, which stands for a name when our
 * DNS gave it.  On port 443 the client's first message must name the same
 * host, or another one of the list; that host is then dialled, at the address
 * that it has for us.
 */
#include <stdio.h>

#include "egress/conn.h"

enum { SERVER_FIRST_MS = 2000, TLS_RECORD = 0x16 };

static const csn_str ssh = CSN_STR_INIT("SSH-");

static bool
is_connect(const csn_conn *c)
{
  return c->how[0] == 'c';
}

/* ---- refusals ---- */

/* Says it in TLS: "access denied". */
static int CSN_PRINTF(2, 3) refuse_tls(csn_conn *c, const char *fmt, ...)
{
  static const char alert[] = "\x15\x03\x01\x00\x02\x02\x31";
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(c->reason, sizeof c->reason, fmt, ap);
  va_end(ap);
  csn_conn_report(c, false, c->reason);
  if (csn_conn_write(c, &c->client, csn_strn(alert, sizeof alert - 1)) == 0)
    csn_conn_linger(c);
  return -1;
}

/* ---- the name in the hello ---- */

/* Makes c->dest the host that the hello is for: 0, or -1 after a refusal. */
static int
agree(csn_conn *c)
{
  const csn_config *config = &c->egress->config;
  csn_verdict at = csn_policy_judge(config, &c->dest);
  csn_dest named;
  bool has_name = csn_dest_set(&named, csn_cstr(c->hello->name), c->dest.port);
  if (!has_name || named.is_address) {
    if (config->open || (c->dest.is_address && at.allowed) || (c->by_name && at.terminate))
      return 0;
    return refuse_tls(c,
                      "no server name (SNI) in the connection to %s: without one it cannot be "
                      "told which host is meant",
                      c->dest.host);
  }
  if (strcmp(named.host, c->dest.host) == 0)
    return 0;
  csn_verdict v = csn_policy_judge(config, &named);
  if (is_connect(c)) {
    if (config->open || (c->dest.is_address && at.allowed))
      return 0;
    return refuse_tls(c, "the server name (SNI) %s is not %s, which CONNECT asked for", named.host,
                      c->dest.host);
  }
  /* What is terminated must be, however it was reached. */
  if (v.allowed && (!config->open || v.terminate)) {
    c->dest = named;
    c->by_name = true;
    return 0;
  }
  if (config->open || (c->dest.is_address && at.allowed))
    return 0;
  return refuse_tls(c,
                    "the server name (SNI) %s is not on this sandbox's list with port %u (the "
                    "connection went to %s)",
                    named.host, c->dest.port, c->dest.host);
}

static void
terminate(csn_conn *c)
{
  csn_err err = {0};
  if (csn_tls_accept(&c->client.tls, c->egress->ca, csn_dest_host(&c->dest), &err) < 0) {
    csn_conn_end(c, err.msg);
    return;
  }
  csn_tls_feed(c->client.tls, csn_buf_str(&c->sniffed));
  csn_buf_fini(&c->sniffed);
  csn_conn_expect_head(c, c->egress->config.header_ms);
  csn_web_begin(c, CSN_WEB_BOUND);
}

static void
pass(csn_conn *c)
{
  csn_peer_unread(&c->client, csn_buf_str(&c->sniffed));
  csn_buf_fini(&c->sniffed);
  csn_tunnel_dial(c);
}

static int
judge_tls(csn_conn *c)
{
  if (agree(c) < 0)
    return -1;
  c->verdict = csn_policy_judge(&c->egress->config, &c->dest);
  if (c->egress->config.restriction == CSN_RESTRICT_ALL)
    return refuse_tls(c, "%s", csn_restriction_reason(c->egress));
  if (!c->verdict.allowed)
    return refuse_tls(c,
                      "%s:%u is not on this sandbox's list; to allow it, add the host to "
                      "sandbox.network.allow",
                      c->dest.host, c->dest.port);
  if (c->hello->ech && !c->verdict.terminate && !c->egress->config.open)
    return refuse_tls(c,
                      "the connection to %s hides which host it is for (encrypted client hello); "
                      "turn ECH off in the client",
                      c->dest.host);
  return 0;
}

/* ---- other beginnings ---- */

/* Does it begin like a request?  Method and blank. */
static bool
is_http(csn_str s)
{
  size_t n = 0;
  while (n < s.n && n < 20 && s.p[n] >= 'A' && s.p[n] <= 'Z')
    n++;
  return n >= 3 && n < s.n && s.p[n] == ' ';
}

static void
plain(csn_conn *c)
{
  csn_str begin = csn_buf_str(&c->sniffed);
  bool is_ssh = csn_str_starts(begin, ssh);
  if (!csn_conn_judge(c, 0))
    return;
  bool rules = c->verdict.rule && c->verdict.rule->n_methods > 0;
  if (c->dest.port == 443 ? (c->egress->config.open || is_ssh) && !rules
                          : !rules || is_http(begin)) {
    if (c->dest.port != 443 && is_http(begin)) {
      csn_peer_unread(&c->client, begin);
      csn_buf_fini(&c->sniffed);
      csn_web_begin(c, CSN_WEB_BOUND);
    } else {
      pass(c);
    }
    return;
  }
  csn_conn_refuse(c, 0,
                  rules ? "only HTTP can be checked for the methods that %s:%u is allowed with"
                        : "what goes to %s:%u is not TLS",
                  c->dest.host, c->dest.port);
}

/* Enough to tell SSH and HTTP apart from others? */
static bool
is_clear(csn_str s)
{
  if (s.n >= 20)
    return true;
  if (s.n < ssh.n && memcmp(s.p, ssh.p, s.n) == 0)
    return false;
  for (size_t i = 0; i < s.n; i++)
    if (s.p[i] < 'A' || s.p[i] > 'Z')
      return true;
  return false;
}

/* 1: the hello is whole; 0: more is needed; 2: not TLS; -1: broken TLS. */
static int
look(csn_conn *c, csn_str bytes, csn_err *err)
{
  csn_buf_add(&c->sniffed, bytes);
  csn_str all = csn_buf_str(&c->sniffed);
  if (all.n == 0)
    return 0;
  if ((unsigned char)all.p[0] != TLS_RECORD)
    return is_clear(all) ? 2 : 0;
  if (!c->hello) {
    c->hello = csn_alloc(sizeof *c->hello);
    csn_hello_init(c->hello);
  }
  int rc = csn_hello_feed(c->hello, bytes, err);
  if (rc == 0)
    rc = csn_buf_done(&c->sniffed, "a TLS hello", err);
  return rc < 0 ? -1 : rc;
}

static void
sniff_step(csn_conn *c)
{
  csn_err err = {0};
  for (;;) {
    int n = csn_conn_read(c, &c->client);
    if (n < 0)
      return;
    if (n == 0)
      break;
    int rc = look(c, csn_strn(c->egress->scratch, (size_t)n), &err);
    if (rc == 0)
      continue;
    csn_conn_head_done(c);
    if (rc == 2) {
      plain(c);
    } else if (rc < 0) {
      refuse_tls(c, "%s", err.msg);
    } else if (judge_tls(c) == 0) {
      if (c->verdict.terminate)
        terminate(c);
      else
        pass(c);
    }
    return;
  }
  if (c->client.ended) {
    csn_conn_end(c, "it ended before it said what it wants");
    return;
  }
  csn_peer_want(&c->client, true);
}

/* The client waits for the server to begin: so does no HTTP. */
static void
server_first(csn_conn *c)
{
  if (c->sniffed.n == 0 && csn_conn_judge(c, 0)) {
    if (c->verdict.rule && c->verdict.rule->n_methods)
      csn_conn_refuse(c, 0, "only HTTP can be checked for the methods that %s:%u is allowed with",
                      c->dest.host, c->dest.port);
    else
      csn_tunnel_dial(c);
  } else if (c->sniffed.n > 0) {
    csn_conn_end(c, "what it wants did not come in time");
  }
}

void
csn_sniff_begin(csn_conn *c)
{
  c->step = sniff_step;
  if (c->dest.port != 443) {
    csn_conn_expect_head(c, SERVER_FIRST_MS);
    c->late = server_first;
  }
  sniff_step(c);
}

int
csn_sniff_inside(csn_conn *c, csn_str bytes)
{
  csn_err err = {0};
  int rc = look(c, bytes, &err);
  if (rc == 0)
    return 0;
  if (rc < 0)
    return refuse_tls(c, "%s", err.msg);
  if (rc == 1)
    return judge_tls(c) < 0 ? -1 : 1;
  if (c->dest.port != 443 || c->egress->config.open ||
      csn_str_starts(csn_buf_str(&c->sniffed), ssh))
    return 1;
  csn_conn_refuse(c, 0, "what goes to %s:%u is not TLS", c->dest.host, c->dest.port);
  return -1;
}

/* ---- beginnings ---- */

void
csn_transparent_begin(csn_conn *c, const csn_address *destination, uint16_t port)
{
  csn_str name = csn_names_find(c->egress->names, destination);
  if (name.n > 0) {
    c->by_name = csn_dest_set(&c->dest, name, port);
  } else {
    csn_dest_set_address(&c->dest, destination, port);
    if (csn_names_is_ours(destination)) {
      csn_conn_refuse(c, 0, "%s stands for no name (any more): ask for the name again",
                      c->dest.host);
      return;
    }
  }
  if (port == 443) {
    csn_sniff_begin(c);
  } else if (port == 80) {
    csn_web_begin(c, CSN_WEB_OPEN);
  } else if (csn_conn_judge(c, 0)) {
    if (c->verdict.terminate)
      csn_sniff_begin(c);
    else
      csn_tunnel_dial(c);
  }
}

static int
established(csn_conn *c)
{
  return csn_conn_write(c, &c->client, CSN_STR("HTTP/1.1 200 Connection established\r\n\r\n"));
}

static void
dialled(csn_conn *c, int status)
{
  if (status) {
    c->verdict.allowed = status != 403;
    csn_conn_report(c, c->verdict.allowed, c->reason);
    csn_conn_answer(c, status, c->reason, true);
    return;
  }
  if (established(c) < 0)
    return;
  c->inspect = true;
  csn_tunnel_begin(c);
}

void
csn_connect_begin(csn_conn *c)
{
  c->how = "connect";
  c->by_name = !c->dest.is_address;
  if (!csn_conn_judge(c, 403))
    return;
  if (c->dest.port != 80 && !c->verdict.terminate) {
    csn_conn_dial(c, dialled);
    return;
  }
  if (established(c) < 0)
    return;
  csn_conn_expect_head(c, c->egress->config.header_ms);
  if (c->dest.port == 80)
    csn_web_begin(c, CSN_WEB_BOUND);
  else
    csn_sniff_begin(c);
}
