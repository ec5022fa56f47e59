/* SPDX-License-Identifier: Apache-2.0
 *
 * redis.h - a connection to a Redis server: one command, one reply, each under
 * a scope.  TCP without TLS: for loopback, a private network or a tunnel.
 */
#ifndef CSN_WIRE_REDIS_H
#define CSN_WIRE_REDIS_H

#include "caisson/scope.h"
#include "wire/resp.h"

typedef struct csn_redis csn_redis; /* one thread at a time */

typedef struct csn_redis_options {
  const char *host, *port; /* NULL: 127.0.0.1, 6379 */
  csn_str user, password;  /* empty: none */
  int64_t database;
} csn_redis_options;

/* CSN_E_UNAVAILABLE: nobody there; CSN_E_DENIED: wrong password. */
int csn_redis_open(csn_redis **out, const csn_redis_options *o, csn_scope *sc,
                   csn_err *err) CSN_MUST;
void csn_redis_close(csn_redis *r);
/* Runs a command; *reply is valid until the next one.  An error of the server
 * is CSN_E_IO with its words; after any other failure the connection is of no
 * use: csn_redis_is_broken(). */
int csn_redis_call(csn_redis *r, csn_scope *sc, const csn_str *words, size_t n,
                   const csn_resp **reply, csn_err *err) CSN_MUST;
bool csn_redis_is_broken(const csn_redis *r);

#endif
