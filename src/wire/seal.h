/* SPDX-License-Identifier: Apache-2.0
 *
 * seal.h - between who encrypts or signs and the module caisson-seal.so, the only
 * part of the library that is linked with OpenSSL: AES-256-GCM, RSA, TLS with a
 * certificate of the client.
 */
#ifndef CSN_WIRE_SEAL_H
#define CSN_WIRE_SEAL_H

#include "wire/module.h"
#include "wire/tls_pipe.h"

enum { CSN_SEAL_ABI = 3, CSN_SEAL_KEY = 32, CSN_SEAL_NONCE = 12, CSN_SEAL_TAG = 16 };

typedef struct csn_seal_module {
  csn_module base;
  /* Encrypts `plain` into out (plain.n + CSN_SEAL_TAG bytes); `with` is not
   * encrypted but bound to it.  0 or -1. */
  int (*seal)(const unsigned char key[CSN_SEAL_KEY], const unsigned char nonce[CSN_SEAL_NONCE],
              csn_str with, csn_str plain, unsigned char *out);
  /* Undoes it into out (sealed.n - CSN_SEAL_TAG bytes); -1: another key, or
   * something of it was altered; out is zero then. */
  int (*open)(const unsigned char key[CSN_SEAL_KEY], const unsigned char nonce[CSN_SEAL_NONCE],
              csn_str with, csn_str sealed, unsigned char *out);
  /* RS256 of JSON Web Tokens: RSA with PKCS #1 padding over SHA-256, with a private
   * key in PEM.  Bytes of the signature (at most 1024), or -1. */
  int (*sign_rs256)(csn_str pem, csn_str text, unsigned char out[1024]);
  /* csn_tls_pipe(). */
  int (*pipe)(int wire, int plain, csn_str host, const csn_tls_who *who, csn_scope *sc,
              csn_err *err);
} csn_seal_module;

/* The one symbol that the module exports. */
CSN_API extern const csn_seal_module csn_seal_entry;

#endif
