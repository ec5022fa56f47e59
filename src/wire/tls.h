/* SPDX-License-Identifier: Apache-2.0
 *
 * tls.h - TLS 1.2 and 1.3 over OpenSSL, without I/O: bytes of the wire go in
 * and come out, plain bytes come out and go in.
 *
 * As a client the peer's chain and name are verified, always.  As a server the
 * certificate is made for the name that the client asked for, by an authority
 * that lives in memory only.  Both speak HTTP/1.1 (ALPN).  Files are read by
 * csn_tls_client_new() alone.  A client, an authority and what was made with
 * them belong to one thread at a time, and connections are freed first.
 */
#ifndef CSN_WIRE_TLS_H
#define CSN_WIRE_TLS_H

#include "caisson/mem.h"

/* How connections are made as a client: the roots that are trusted. */
typedef struct csn_tls_client csn_tls_client;
/* A certificate authority of our own, with an EC P-256 key. */
typedef struct csn_tls_ca csn_tls_ca;
/* One connection. */
typedef struct csn_tls csn_tls;

/* Trusts the system's roots, and those in extra_pem (may be empty).  A machine
 * without roots is CSN_E_NOT_FOUND, unless there are extra ones. */
int csn_tls_client_new(csn_tls_client **out, csn_str extra_pem, csn_err *err) CSN_MUST;
/* Trusts only these roots, and is known to servers by a certificate (others after
 * it lead to its root) and its key; all in PEM form. */
int csn_tls_client_as(csn_tls_client **out, csn_str roots, csn_str cert, csn_str key,
                      csn_err *err) CSN_MUST;
void csn_tls_client_free(csn_tls_client *c);

/* Valid from an hour ago for `days`. */
int csn_tls_ca_new(csn_tls_ca **out, int days, csn_err *err) CSN_MUST;
void csn_tls_ca_free(csn_tls_ca *ca);
/* The certificate, without the key, as PEM. */
csn_str csn_tls_ca_pem(const csn_tls_ca *ca);

/* The side that begins.  host: the name, or the address, that the peer's
 * certificate must be for. */
int csn_tls_connect(csn_tls **out, csn_tls_client *c, csn_str host, csn_err *err) CSN_MUST;
/* The side that is asked, as `host`; its certificate is made, or one of the
 * last 64 taken. */
int csn_tls_accept(csn_tls **out, csn_tls_ca *ca, csn_str host, csn_err *err) CSN_MUST;
/* NULL is fine. */
void csn_tls_free(csn_tls *t);

/* Bytes from the wire.  They are copied. */
void csn_tls_feed(csn_tls *t, csn_str wire);
/* Moves the handshake on and takes plain bytes: their number, or 0 when the
 * peer has to say more first (or has ended: csn_tls_ended).  CSN_E_DENIED when
 * the peer is not who it should be, CSN_E_PARSE for other failures; what is to
 * be sent then is the alert. */
int csn_tls_read(csn_tls *t, char *out, size_t room, csn_err *err) CSN_MUST;
/* Takes plain bytes: their number, 0 before the handshake is done. */
int csn_tls_write(csn_tls *t, csn_str plain, csn_err *err) CSN_MUST;
/* Says that no more is written. */
void csn_tls_close(csn_tls *t);
/* Bytes for the wire, until the next call but csn_tls_sent(n), which drops
 * the first n. */
csn_str csn_tls_pending(const csn_tls *t);
void csn_tls_sent(csn_tls *t, size_t n);

/* Bytes were fed that csn_tls_read() has not taken yet; perhaps too few. */
bool csn_tls_has_input(const csn_tls *t);
bool csn_tls_is_ready(const csn_tls *t); /* the handshake is done */
bool csn_tls_ended(const csn_tls *t);    /* the peer said that it writes no more */

CSN_FREER(tls)
CSN_FREER(tls_ca)
CSN_FREER(tls_client)

#endif
