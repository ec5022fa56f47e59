/* SPDX-License-Identifier: Apache-2.0
 *
 * sigv4.h - AWS Signature Version 4, in a header.  Pure: the time is an
 * argument, and nothing is sent.
 */
#ifndef CSN_WIRE_SIGV4_H
#define CSN_WIRE_SIGV4_H

#include "core/hash.h"
#include "wire/http.h"

/* token: of temporary keys; empty: none. */
typedef struct csn_aws_keys {
  csn_str id, secret, token;
} csn_aws_keys;

typedef struct csn_sigv4 {
  csn_str method;
  csn_str path;  /* as it is sent; services other than s3 want it escaped once more, and get it */
  csn_str query; /* as it is sent, without "?" */
  csn_str region, service;
  const csn_header *headers; /* those that are signed; host and x-amz-date are among them */
  size_t n_headers;
  csn_digest payload; /* SHA-256 of the body */
  csn_str date;       /* the value of x-amz-date */
} csn_sigv4;

enum { CSN_AWS_DATE = 17 };
/* "20150830T123600Z" */
void csn_aws_date(int64_t unix_s, char out[CSN_AWS_DATE]);
/* Appends the value of the header Authorization. */
int csn_sigv4_sign(const csn_sigv4 *rq, const csn_aws_keys *keys, csn_buf *out,
                   csn_err *err) CSN_MUST;

#endif
