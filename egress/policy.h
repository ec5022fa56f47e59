/* SPDX-License-Identifier: Apache-2.0
 *
 * policy.h - which host and port a sandbox may talk to, and how.
 *
 * Pure: a destination and the configuration go in, a verdict comes out.  Names
 * are judged here, and so are the addresses that they turn out to have, each
 * time that one is about to be connected to.
 */
#ifndef CSN_EGRESS_POLICY_H
#define CSN_EGRESS_POLICY_H

#include "egress/config.h"

enum { CSN_HOST_TEXT = 254 };

/* Where a connection wants to go. */
typedef struct csn_dest {
  char host[CSN_HOST_TEXT]; /* lower case, no last dot; an address in its usual spelling */
  uint16_t port;
  bool is_address;
  csn_address address; /* when is_address */
} csn_dest;

/* False when the text is neither a host name nor an address. */
bool csn_dest_set(csn_dest *d, csn_str host, uint16_t port);
void csn_dest_set_address(csn_dest *d, const csn_address *a, uint16_t port);
static inline csn_str
csn_dest_host(const csn_dest *d)
{
  return csn_cstr(d->host);
}

typedef struct csn_verdict {
  bool allowed;
  bool terminate;       /* requests are to be seen: a secret or a rule of methods needs it */
  const csn_rule *rule; /* NULL: none names this host */
} csn_verdict;

csn_verdict csn_policy_judge(const csn_config *c, const csn_dest *d);
/* Is the host itself listed, for whatever port? */
bool csn_policy_lists(const csn_config *c, const csn_dest *d);
/* May this method be used? */
bool csn_policy_method(const csn_verdict *v, csn_str method);
/* Does a request with this method only read? */
bool csn_policy_reads(csn_str method);
/* NULL when the address may be connected to, else what it is instead. */
const char *csn_policy_address(const csn_config *c, const csn_address *a, uint16_t port);
bool csn_policy_is_private(const csn_config *c, const csn_address *a, uint16_t port);

/* ---- patterns, also for the configuration and secrets ---- */

/* "api.example.com", "*.example.com" (not example.com itself), an address. */
int csn_pattern_parse(csn_pattern *out, csn_arena *a, csn_str text, csn_err *err) CSN_MUST;
bool csn_pattern_matches(const csn_pattern *p, const csn_dest *d);

#endif
