/* SPDX-License-Identifier: Apache-2.0
 *
 * resolve.h - names into addresses, without blocking and without files.
 *
 * The operator's fixed answers, then the machine's hosts file, then its name
 * servers, asked over UDP and, for long answers, TCP.  Both files are read
 * once, before the process shuts itself off from files.
 */
#ifndef CSN_EGRESS_RESOLVE_H
#define CSN_EGRESS_RESOLVE_H

#include "egress/policy.h"
#include "egress/reactor.h"
#include "wire/dns_ask.h"

typedef struct csn_resolver csn_resolver;

/* One question; inside the object that asks, which sets fn and user. */
typedef struct csn_lookup {
  void (*fn)(void *user); /* the answer is there */
  void *user;
  csn_address addresses[CSN_DNS_ADDRESSES];
  size_t n;
  const char *why; /* when n is 0 */
  bool missing;    /* then: the name servers say that there is none */
  /* the rest is the resolver's */
  csn_resolver *resolver;
  char name[CSN_HOST_TEXT];
  csn_ready socket;
  csn_alarm alarm;
  csn_buf in, out; /* of TCP */
  enum csn_dns_type type;
  uint16_t id;
  size_t tries;
  bool active, tcp;
} csn_lookup;

/* Files of the machine as text; each may be empty. */
csn_resolver *csn_resolver_new(csn_reactor *r, const csn_config *c, csn_str hosts,
                               csn_str resolv_conf);
void csn_resolver_free(csn_resolver *r);

/* 1: the answer is there already, 0: fn is called later. */
int csn_lookup_start(csn_lookup *l, csn_resolver *r, const char *name);
/* Any time; fn is not called after it. */
void csn_lookup_stop(csn_lookup *l);

CSN_FREER(resolver)

#endif
