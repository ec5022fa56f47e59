/* SPDX-License-Identifier: Apache-2.0
 *
 * dns_ask.h - DNS as one who asks: a question is written, its answer read.
 *
 * Only addresses are looked for.  An answer counts when it repeats the id and
 * the question; in it, the chain of aliases is followed from the name that was
 * asked, and addresses of other names are not looked at.
 */
#ifndef CSN_WIRE_DNS_ASK_H
#define CSN_WIRE_DNS_ASK_H

#include "wire/dns.h"

enum { CSN_DNS_ADDRESSES = 16 };

typedef struct csn_dns_reply {
  enum csn_dns_code code;
  bool cut; /* ask again by TCP */
  size_t n;
  csn_address addresses[CSN_DNS_ADDRESSES];
  uint32_t ttl_s; /* the least on the way; 0 without addresses */
} csn_dns_reply;

/* Appends a query with EDNS.  CSN_E_INVALID when it is no name. */
int csn_dns_ask(csn_buf *out, uint16_t id, csn_str name, enum csn_dns_type type,
                csn_err *err) CSN_MUST;
/* CSN_E_PARSE: not the answer to that question; wait on. */
int csn_dns_reply_parse(csn_dns_reply *r, csn_str packet, uint16_t id, csn_str name,
                        enum csn_dns_type type, csn_err *err) CSN_MUST;

#endif
