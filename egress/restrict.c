/* SPDX-License-Identifier: Apache-2.0
 *
 * restrict.c - what a sandbox may still send, once the harness says that its run
 * has seen what is not to be trusted.
 *
 * A restriction only grows.  When it does, what is under way and may write is
 * cut, before the harness hears that it holds.
 */
#include "egress/web.h"

static const char no_writes[] =
    "nothing may be written to the network any more (a rule of `approvals`): only requests with "
    "GET, HEAD or OPTIONS are let out";
static const char nothing[] = "nothing may be sent to the network any more (a rule of `approvals`)";

const char *
csn_restriction_reason(const csn_egress *e)
{
  enum csn_restriction r = e->config.restriction;
  return r == CSN_RESTRICT_ALL ? nothing : r == CSN_RESTRICT_WRITES ? no_writes : NULL;
}

const char *
csn_restriction_of(const csn_egress *e, csn_str method, bool more)
{
  bool reads = csn_policy_reads(method) && !more;
  return e->config.restriction == CSN_RESTRICT_WRITES && reads ? NULL : csn_restriction_reason(e);
}

static bool
may_write(const csn_conn *c)
{
  if (c->egress->config.restriction == CSN_RESTRICT_ALL)
    return csn_peer_is_open(&c->server) || c->lookup.active;
  return csn_tunnel_is(c) || (c->web && csn_web_writes(c->web));
}

static void
cut(csn_egress *e)
{
  for (csn_conn *c = e->conns, *next; c; c = next) {
    next = c->next;
    if (may_write(c))
      csn_conn_end(c, csn_restriction_reason(e));
  }
}

void
csn_egress_word(void *egress, char word)
{
  csn_egress *e = egress;
  enum csn_restriction to = word == 'a'   ? CSN_RESTRICT_ALL
                            : word == 'w' ? CSN_RESTRICT_WRITES
                                          : CSN_RESTRICT_NONE;
  if (to > e->config.restriction) {
    e->config.restriction = to;
    cut(e);
  }
  csn_report_told(e->report, e->reached);
}
