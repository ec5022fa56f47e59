/* SPDX-License-Identifier: Apache-2.0
 *
 * hello.h - the first message of a TLS client (RFC 8446, 4.1.2), read without
 * answering it: which server it wants, and what it would speak.
 *
 * Bytes are fed as they come, cut anywhere: across records, and records across
 * fragments of the message.  Only the message is kept, so a caller that passes
 * the connection on keeps the bytes themselves.
 */
#ifndef CSN_WIRE_HELLO_H
#define CSN_WIRE_HELLO_H

#include "caisson/mem.h"

/* A message may have this many bytes; those of browsers have about 2,000. */
enum { CSN_HELLO_MAX = 32768, CSN_HELLO_NAME_TEXT = 254 };

typedef struct csn_hello {
  /* Once feed returned 1: */
  char name[CSN_HELLO_NAME_TEXT]; /* the server's, in lower case; "" when it did not say */
  csn_str alpn;                   /* its list in wire form, inside `message`; empty: none */
  bool ech; /* it holds an encrypted hello (or one that is made up, to look like it) */
  /* How far it has come. */
  csn_buf message;
  size_t left; /* of the record at hand */
  unsigned char head[5];
  uint8_t head_n;
} csn_hello;

void csn_hello_init(csn_hello *h);
void csn_hello_fini(csn_hello *h);
/* 1: the message is whole (what follows it in `bytes` was not looked at); 0:
 * more is needed; CSN_E_PARSE when this is not how TLS begins or a rule is
 * broken, CSN_E_LIMIT past CSN_HELLO_MAX.  Not to be called again after 1 or
 * an error. */
int csn_hello_feed(csn_hello *h, csn_str bytes, csn_err *err) CSN_MUST;
/* Whether it offers to speak `protocol`, such as "http/1.1". */
bool csn_hello_offers(const csn_hello *h, csn_str protocol);

#endif
