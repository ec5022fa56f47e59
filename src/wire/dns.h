/* SPDX-License-Identifier: Apache-2.0
 *
 * dns.h - DNS messages (RFC 1035, EDNS of RFC 6891) as a name server for one
 * sandbox needs them: one question is read, an answer is written.
 *
 * Reading is strict and bounded: one question, no pointers in its name, no
 * records but the additional ones, nothing after the last.  A query that
 * breaks a rule is still answered, with the code that says so, as long as it
 * has a header; what has none, and what is itself an answer, is to be dropped.
 */
#ifndef CSN_WIRE_DNS_H
#define CSN_WIRE_DNS_H

#include "caisson/str.h"
#include "wire/address.h"

enum csn_dns_type { CSN_DNS_A = 1, CSN_DNS_AAAA = 28, CSN_DNS_HTTPS = 65 };

enum csn_dns_code {
  CSN_DNS_OK = 0,
  CSN_DNS_FORMAT = 1,
  CSN_DNS_SERVER_FAILED = 2,
  CSN_DNS_NO_NAME = 3,
  CSN_DNS_NOT_KNOWN = 4,
  CSN_DNS_REFUSED = 5,
  CSN_DNS_BAD_VERSION = 16,
};

enum { CSN_DNS_NAME_TEXT = 254, CSN_DNS_QUESTION_MAX = 255 + 4, CSN_DNS_TCP_MAX = 65535 };

typedef struct csn_dns_query {
  uint16_t id, type, class;
  uint16_t udp_bytes;           /* what the asker takes in one datagram: 512 to 1232 */
  uint8_t opcode;               /* 0 of an ordinary query */
  bool recursion, checking_off; /* its RD and CD bits, which the answer repeats */
  bool edns;
  int code;                     /* CSN_DNS_OK, or what to answer without looking further */
  char name[CSN_DNS_NAME_TEXT]; /* lower case, without the last dot; the root is "" */
  /* The question as it was sent, with its letters' case; 0 bytes when it could
   * not be read. */
  size_t question_n;
  unsigned char question[CSN_DNS_QUESTION_MAX];
} csn_dns_query;

/* CSN_E_PARSE when nothing can be answered.  A byte that no host name has is
 * '?' in `name`, so such a name equals none that was listed. */
int csn_dns_parse(csn_dns_query *q, csn_str packet, csn_err *err) CSN_MUST;

/* Appends the answer, at most `max_bytes` of it (>= 512).  Addresses of the
 * other family than asked for are left out.  What does not fit is left out as
 * a whole and the answer marked as cut, so that the asker comes by TCP. */
int csn_dns_answer(csn_buf *out, const csn_dns_query *q, enum csn_dns_code code, uint32_t ttl_s,
                   const csn_address *addresses, size_t n, size_t max_bytes, csn_err *err) CSN_MUST;

/* DNS over TCP: cuts the next message off what has been received.  1: *packet
 * is it and *in goes on behind; 0: more bytes are needed. */
int csn_dns_frame(csn_str *in, csn_str *packet) CSN_MUST;

#endif
