/* SPDX-License-Identifier: Apache-2.0
 *
 * address.h - internet addresses as values, and which of them are public.
 *
 * A sandbox reaches the network through a process that could also reach this
 * machine, its neighbours and the cloud's metadata service.  So what a name
 * resolves to is judged, not the name: csn_address_refusal() says why an
 * address is none that a sandbox may be connected to.
 */
#ifndef CSN_WIRE_ADDRESS_H
#define CSN_WIRE_ADDRESS_H

#include <sys/socket.h>

#include "caisson/str.h"

typedef struct csn_address {
  uint8_t v6;    /* 0: IPv4, the first 4 bytes; 1: IPv6, all 16 */
  uint8_t b[16]; /* network order; what is not used is 0 */
} csn_address;

/* Room for the longest text of an address, with its NUL; of one with a port. */
enum { CSN_ADDRESS_TEXT = 46, CSN_ENDPOINT_TEXT = 56 };

/* "192.0.2.1" or "2001:db8::1": nothing before or after, no zone, no brackets,
 * no leading zeros, no short forms. */
bool csn_address_parse(csn_str text, csn_address *out) CSN_MUST;
/* "192.0.2.1:80" or "[2001:db8::1]:80"; the port is 1 to 65535. */
bool csn_endpoint_parse(csn_str text, csn_address *out, uint16_t *port) CSN_MUST;
/* The one usual spelling; IPv4 inside IPv6 is written as the kernel does. */
void csn_address_text(const csn_address *a, char out[CSN_ADDRESS_TEXT]);
void csn_endpoint_text(const csn_address *a, uint16_t port, char out[CSN_ENDPOINT_TEXT]);

static inline csn_address
csn_address_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
  csn_address it = {0, {a, b, c, d}};
  return it;
}
static inline bool
csn_address_eq(const csn_address *a, const csn_address *b)
{
  return a->v6 == b->v6 && memcmp(a->b, b->b, sizeof a->b) == 0;
}

/* False when it is neither AF_INET nor AF_INET6.  v4-mapped becomes IPv4. */
bool csn_address_from_sockaddr(const struct sockaddr_storage *from, csn_address *out,
                               uint16_t *port) CSN_MUST;
/* The length of what was written. */
socklen_t csn_address_to_sockaddr(const csn_address *a, uint16_t port, struct sockaddr_storage *to);

/* NULL when it is a public address of the internet, else one word or two for
 * what it is instead: "loopback", "private", "link-local", "metadata" ...
 * Addresses that carry an IPv4 address inside are judged by that one; those
 * which tunnel to an address that nobody can check are refused. */
const char *csn_address_refusal(const csn_address *a);

#endif
