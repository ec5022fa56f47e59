/* SPDX-License-Identifier: Apache-2.0
 *
 * tls_pipe.h - a TLS connection as a descriptor of plain bytes, for who speaks to
 * a server that knows its clients by certificates.  A part of caisson-seal.so.
 */
#ifndef CSN_WIRE_TLS_PIPE_H
#define CSN_WIRE_TLS_PIPE_H

#include "caisson/scope.h"
#include "caisson/str.h"

/* Texts in PEM form: the only roots that are trusted, and who we are. */
typedef struct csn_tls_who {
  csn_str roots, cert, key;
} csn_tls_who;

/* Does the handshake over the connected, non-blocking `wire` with a server that is
 * `host`; from then on a thread passes bytes between it and `plain`, of which the
 * other end is the caller's: an end of writing there is one at the server, and the
 * other way round.  Both descriptors are the function's, also when it fails. */
int csn_tls_pipe(int wire, int plain, csn_str host, const csn_tls_who *who, csn_scope *sc,
                 csn_err *err) CSN_MUST;

#endif
