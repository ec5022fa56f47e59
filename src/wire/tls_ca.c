/* SPDX-License-Identifier: Apache-2.0
 *
 * tls_ca.c - an authority in memory; see wire/tls.h.
 *
 * All leaves share one key, made with the authority: a leaf then costs one
 * signature.  They live two days, and the last ones are kept by name.
 */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "core/hash.h"
#include "wire/tls_impl.h"

enum { LEAVES = 64, NAME_MAX_BYTES = 254, LEAF_S = 48 * 3600, RENEW_S = 24 * 3600, SKEW_S = 3600 };

struct leaf {
  char host[NAME_MAX_BYTES + 1];
  X509 *cert;
  int64_t used;   /* the authority's count of uses */
  time_t made_at; /* by the wall clock, like the certificate */
};

struct csn_tls_ca {
  EVP_PKEY *key, *leaf_key;
  X509 *cert;
  char *pem;
  SSL_CTX *ctx;
  BIO_METHOD *bio;
  int64_t uses;
  time_t ends_at;
  struct leaf leaves[LEAVES];
};

/* ---- certificates ---- */

static bool
add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
  X509V3_CTX ctx;
  X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
  X509V3_set_ctx_nodb(&ctx);
  X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
  bool ok = e && X509_add_ext(cert, e, -1) == 1;
  X509_EXTENSION_free(e);
  return ok;
}

/* Not by X509V3_EXT_conf_nid: a name must not be read as configuration. */
static bool
add_subject_name(X509 *cert, const char *host)
{
  ASN1_OCTET_STRING *address = a2i_IPADDRESS(host);
  GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
  GENERAL_NAME *name = GENERAL_NAME_new();
  ASN1_IA5STRING *text = ASN1_IA5STRING_new();
  bool ok = names && name && text;
  if (ok && address) {
    GENERAL_NAME_set0_value(name, GEN_IPADD, address);
    ASN1_IA5STRING_free(text);
  } else if (ok) {
    ok = ASN1_STRING_set(text, host, -1) == 1;
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
  }
  if (ok && sk_GENERAL_NAME_push(names, name) > 0)
    ok = X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
  else
    GENERAL_NAME_free(name);
  sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
  return ok;
}

static bool
set_basics(X509 *cert, EVP_PKEY *key, const char *name, time_t from, time_t until)
{
  unsigned char serial[16];
  csn_random_bytes(serial, sizeof serial);
  serial[0] = (serial[0] & 0x7f) | 0x40; /* positive, and of one length */
  BIGNUM *number = BN_bin2bn(serial, sizeof serial, NULL);
  X509_NAME *subject = X509_get_subject_name(cert);
  bool ok = number && X509_set_version(cert, X509_VERSION_3) == 1 &&
            BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) &&
            X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                       (const unsigned char *)name, -1, -1, 0) == 1 &&
            ASN1_TIME_set(X509_getm_notBefore(cert), from) &&
            ASN1_TIME_set(X509_getm_notAfter(cert), until) && X509_set_pubkey(cert, key) == 1;
  BN_free(number);
  return ok;
}

static bool
make_root(csn_tls_ca *ca, int days)
{
  char name[48] = "Caisson sandbox ";
  time_t now = time(NULL);
  csn_random_name(name + strlen(name), 12); /* two authorities are never one to a client */
  ca->ends_at = now + (time_t)days * 24 * 3600;
  X509 *c = ca->cert = X509_new();
  return c && set_basics(c, ca->key, name, now - SKEW_S, ca->ends_at) &&
         X509_set_issuer_name(c, X509_get_subject_name(c)) == 1 &&
         add_extension(c, c, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
         add_extension(c, c, NID_key_usage, "critical,keyCertSign,cRLSign") &&
         add_extension(c, c, NID_subject_key_identifier, "hash") &&
         X509_sign(c, ca->key, EVP_sha256()) > 0;
}

static X509 *
make_leaf(csn_tls_ca *ca, const char *host)
{
  time_t now = time(NULL), until = now + LEAF_S;
  X509 *c = X509_new();
  bool ok = c &&
            set_basics(c, ca->leaf_key, "Caisson", now - SKEW_S,
                       until < ca->ends_at ? until : ca->ends_at) &&
            X509_set_issuer_name(c, X509_get_subject_name(ca->cert)) == 1 &&
            add_subject_name(c, host) &&
            add_extension(c, ca->cert, NID_basic_constraints, "critical,CA:FALSE") &&
            add_extension(c, ca->cert, NID_key_usage, "critical,digitalSignature") &&
            add_extension(c, ca->cert, NID_ext_key_usage, "serverAuth") &&
            add_extension(c, ca->cert, NID_subject_key_identifier, "hash") &&
            add_extension(c, ca->cert, NID_authority_key_identifier, "keyid:always") &&
            X509_sign(c, ca->key, EVP_sha256()) > 0;
  if (ok)
    return c;
  X509_free(c);
  return NULL;
}

/* The kept leaf, or a new one in the place of the one that was used longest
 * ago. */
static X509 *
find_leaf(csn_tls_ca *ca, const char *host)
{
  struct leaf *oldest = &ca->leaves[0];
  time_t now = time(NULL);
  for (size_t i = 0; i < LEAVES; i++) {
    struct leaf *l = &ca->leaves[i];
    if (l->cert && strcmp(l->host, host) == 0) {
      if (now - l->made_at < RENEW_S) {
        l->used = ++ca->uses;
        return l->cert;
      }
      oldest = l;
      break;
    }
    if (l->used < oldest->used)
      oldest = l;
  }
  X509 *made = make_leaf(ca, host);
  if (!made)
    return NULL;
  X509_free(oldest->cert);
  *oldest = (struct leaf){.cert = made, .used = ++ca->uses, .made_at = now};
  memcpy(oldest->host, host, strlen(host) + 1);
  return made;
}

/* ---- the authority ---- */

static int
choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *n, const unsigned char *offered,
                unsigned offered_n, void *user)
{
  static const unsigned char ours[] = "\x08http/1.1";
  (void)ssl;
  (void)user;
  return SSL_select_next_proto((unsigned char **)(uintptr_t)out, n, ours, sizeof ours - 1, offered,
                               offered_n) == OPENSSL_NPN_NEGOTIATED
             ? SSL_TLSEXT_ERR_OK
             : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool
make_context(csn_tls_ca *ca)
{
  ca->bio = csn_tls_bio_new();
  ca->ctx = SSL_CTX_new(TLS_server_method());
  if (!ca->bio || !ca->ctx || SSL_CTX_set_min_proto_version(ca->ctx, TLS1_2_VERSION) != 1)
    return false;
  SSL_CTX_set_alpn_select_cb(ca->ctx, choose_protocol, NULL);
  SSL_CTX_set_options(ca->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(ca->ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(ca->ctx, 1);
  SSL_CTX_set_mode(ca->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return true;
}

static bool
write_pem(csn_tls_ca *ca)
{
  char *text = NULL;
  BIO *b = BIO_new(BIO_s_mem());
  bool ok = b && PEM_write_bio_X509(b, ca->cert) == 1;
  long n = ok ? BIO_get_mem_data(b, &text) : 0;
  if (n > 0)
    ca->pem = csn_dupz(csn_strn(text, (size_t)n));
  BIO_free(b);
  return n > 0;
}

int
csn_tls_ca_new(csn_tls_ca **out, int days, csn_err *err)
{
  csn_auto(csn_tls_ca_freep) csn_tls_ca *ca = csn_alloc(sizeof *ca);
  csn_tls_begin();
  *out = NULL;
  ca->key = EVP_EC_gen("P-256");
  ca->leaf_key = EVP_EC_gen("P-256");
  if (!ca->key || !ca->leaf_key || !make_root(ca, days) || !write_pem(ca) || !make_context(ca))
    return csn_tls_fail(err, CSN_E_IO, "make an authority");
  *out = csn_steal(ca);
  return 0;
}

void
csn_tls_ca_free(csn_tls_ca *ca)
{
  if (!ca)
    return;
  for (size_t i = 0; i < LEAVES; i++)
    X509_free(ca->leaves[i].cert);
  SSL_CTX_free(ca->ctx);
  BIO_meth_free(ca->bio);
  X509_free(ca->cert);
  EVP_PKEY_free(ca->key);
  EVP_PKEY_free(ca->leaf_key);
  free(ca->pem);
  free(ca);
}

csn_str
csn_tls_ca_pem(const csn_tls_ca *ca)
{
  return csn_cstr(ca->pem);
}

SSL_CTX *
csn_tls_ca_context(csn_tls_ca *ca)
{
  return ca->ctx;
}

BIO_METHOD *
csn_tls_ca_bio(csn_tls_ca *ca)
{
  return ca->bio;
}

int
csn_tls_ca_dress(csn_tls_ca *ca, SSL *ssl, csn_str host, csn_err *err)
{
  char name[NAME_MAX_BYTES + 1];
  if (host.n == 0 || host.n > NAME_MAX_BYTES || memchr(host.p, 0, host.n))
    return csn_fail(err, CSN_E_INVALID, "TLS: no certificate can be made for that name");
  memcpy(name, host.p, host.n);
  name[host.n] = '\0';
  X509 *cert = find_leaf(ca, name);
  csn_digest d = csn_sha256_of(host);
  /* A session that was begun as one host is not resumed as another. */
  if (!cert || SSL_use_certificate(ssl, cert) != 1 || SSL_use_PrivateKey(ssl, ca->leaf_key) != 1 ||
      SSL_set_session_id_context(ssl, d.b, sizeof d.b) != 1)
    return csn_tls_fail(err, CSN_E_IO, "make a certificate");
  return 0;
}
