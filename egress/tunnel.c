/* SPDX-License-Identifier: Apache-2.0
 *
 * tunnel.c - bytes pass both ways, and nobody looks at them.
 *
 * One end is read only while the other takes what it is given, so a slow
 * reader holds at most one queue of memory and slows the writer down.
 */
#include "egress/conn.h"

enum { ROUNDS = 4 };

/* Some bytes from one end to the other: 1 when there may be more at once, 0, or
 * -1 after the end. */
static int
move(csn_conn *c, csn_peer *from, csn_peer *to)
{
  if (csn_peer_is_full(to))
    return 0;
  int n = csn_conn_read(c, from);
  if (n <= 0)
    return n;
  csn_str bytes = csn_strn(c->egress->scratch, (size_t)n);
  if (c->inspect && from == &c->client) {
    int rc = csn_sniff_inside(c, bytes);
    if (rc <= 0)
      return rc;
    c->inspect = false;
    csn_conn_head_done(c);
    n = csn_conn_write(c, to, csn_buf_str(&c->sniffed));
    csn_buf_fini(&c->sniffed);
    return n;
  }
  if (csn_conn_write(c, to, bytes) < 0)
    return -1;
  return n == CSN_SCRATCH_BYTES || csn_peer_has_input(from);
}

/* 0, or -1 after the end. */
static int
move_all(csn_conn *c, csn_peer *from, csn_peer *to)
{
  int more = 1;
  for (int i = 0; i < ROUNDS && more > 0; i++)
    if ((more = move(c, from, to)) < 0)
      return -1;
  csn_err err = {0};
  if (from->ended && !csn_peer_has_input(from) && !to->shut && csn_peer_shut(to, &err) < 0) {
    csn_conn_end(c, err.msg);
    return -1;
  }
  return 0;
}

static void
tunnel_step(csn_conn *c)
{
  csn_err err = {0};
  if (csn_peer_flush(&c->server, &err) < 0) {
    csn_conn_end(c, err.msg);
    return;
  }
  if (move_all(c, &c->client, &c->server) < 0 || move_all(c, &c->server, &c->client) < 0)
    return;
  if (c->client.ended && c->server.ended && csn_peer_waiting(&c->client) == 0 &&
      csn_peer_waiting(&c->server) == 0) {
    csn_conn_end(c, NULL);
    return;
  }
  csn_peer_want(&c->client, !csn_peer_is_full(&c->server));
  csn_peer_want(&c->server, !csn_peer_is_full(&c->client));
}

bool
csn_tunnel_is(const csn_conn *c)
{
  return c->step == tunnel_step;
}

void
csn_tunnel_begin(csn_conn *c)
{
  const char *why = csn_restriction_reason(c->egress);
  if (why) {
    c->verdict.allowed = false;
    csn_conn_end(c, why);
    return;
  }
  c->step = tunnel_step;
  csn_conn_head_done(c);
  tunnel_step(c);
}

static void
dialled(csn_conn *c, int status)
{
  if (status) {
    c->verdict.allowed = status != 403;
    csn_conn_end(c, c->reason);
    return;
  }
  csn_tunnel_begin(c);
}

void
csn_tunnel_dial(csn_conn *c)
{
  const char *why = csn_restriction_reason(c->egress);
  if (why) {
    csn_conn_refuse(c, 0, "%s", why);
    return;
  }
  csn_conn_dial(c, dialled);
}
