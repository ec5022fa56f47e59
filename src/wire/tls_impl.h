/* SPDX-License-Identifier: Apache-2.0
 *
 * tls_impl.h - what tls.c and tls_ca.c share.
 */
#ifndef CSN_WIRE_TLS_IMPL_H
#define CSN_WIRE_TLS_IMPL_H

#include <openssl/ssl.h>

#include "wire/tls.h"

/* Before anything else. What OpenSSL keeps is not taken down when the process ends: threads of
 * tls_pipe.c may be at work with it until then. */
static inline void
csn_tls_begin(void)
{
  OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
}

BIO_METHOD *csn_tls_bio_new(void);
/* With the last reason of OpenSSL's queue, which is then empty. */
int csn_tls_fail(csn_err *err, enum csn_code code, const char *what);

/* The roots of a client; freed after its context. */
typedef struct csn_tls_roots csn_tls_roots;
csn_tls_roots *csn_tls_roots_new(SSL_CTX *ctx);
void csn_tls_roots_free(csn_tls_roots *r);
/* The number of certificates in a bundle of this machine; -1: it is damaged. */
int csn_tls_roots_add_file(csn_tls_roots *r, const char *path);
/* The same of text, in which there may be nothing else. */
int csn_tls_roots_add_pem(csn_tls_roots *r, csn_str pem);

SSL_CTX *csn_tls_ca_context(csn_tls_ca *ca);
BIO_METHOD *csn_tls_ca_bio(csn_tls_ca *ca);
/* Gives a connection the key and the certificate of `host`. */
int csn_tls_ca_dress(csn_tls_ca *ca, SSL *ssl, csn_str host, csn_err *err) CSN_MUST;

#endif
