/* SPDX-License-Identifier: Apache-2.0
 *
 * tls_roots.c - the roots that are trusted, parsed when they are asked for.
 *
 * A distribution trusts some 140 authorities, and to parse their keys takes 20
 * milliseconds, of which a connection needs one.  So the bundle is cut into
 * certificates, and only their names are read; OpenSSL asks for an issuer by
 * its name, and gets that one certificate parsed into its store.
 */
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "wire/tls_impl.h"

enum { ROOTS_MAX = 4096 };

struct root {
  unsigned long hash; /* of the subject */
  unsigned char *der;
  long n;
  bool is_in_store;
};

struct csn_tls_roots {
  struct root *list;
  size_t n, room;
  X509_LOOKUP_METHOD *method;
};

/* Steps over one element; its whole length, or 0. */
static long
element(const unsigned char *p, long left)
{
  const unsigned char *at = p;
  long n = 0;
  int tag = 0, class = 0;
  if (ASN1_get_object(&at, &n, &tag, &class, left) & 0x80)
    return 0;
  return (long)(at - p) + n;
}

/* Steps into one; what is inside. */
static bool
enter(const unsigned char **p, long *left)
{
  int tag = 0, class = 0;
  long n = 0;
  if (ASN1_get_object(p, &n, &tag, &class, *left) != V_ASN1_CONSTRUCTED || tag != V_ASN1_SEQUENCE)
    return false;
  *left = n;
  return true;
}

/* The subject of a certificate: what follows version, serial number, algorithm,
 * issuer and validity. */
static X509_NAME *
subject_of(const unsigned char *der, long n)
{
  enum { BEFORE = 4, VERSION = 0xa0 };
  const unsigned char *p = der;
  long left = n;
  if (!enter(&p, &left) || !enter(&p, &left) || left < 1)
    return NULL;
  for (int i = p[0] == VERSION ? -1 : 0; i < BEFORE; i++) {
    long size = element(p, left);
    if (size <= 0 || size >= left)
      return NULL;
    p += size;
    left -= size;
  }
  return d2i_X509_NAME(NULL, &p, left);
}

/* OpenSSL's question for an issuer.  What is handed out is borrowed from the
 * store, to which it was added. */
static int
find(X509_LOOKUP *lookup, X509_LOOKUP_TYPE type, const X509_NAME *name, X509_OBJECT *out)
{
  csn_tls_roots *r = X509_LOOKUP_get_method_data(lookup);
  unsigned long hash = type == X509_LU_X509 ? X509_NAME_hash_ex(name, NULL, NULL, NULL) : 0;
  X509 *found = NULL;
  for (size_t i = 0; i < r->n && hash; i++) {
    struct root *at = &r->list[i];
    const unsigned char *p = at->der;
    if (at->hash != hash || at->is_in_store)
      continue;
    at->is_in_store = true;
    X509 *cert = d2i_X509(NULL, &p, at->n);
    if (cert && X509_STORE_add_cert(X509_LOOKUP_get_store(lookup), cert) == 1 && !found &&
        X509_NAME_cmp(X509_get_subject_name(cert), name) == 0)
      found = cert;
    X509_free(cert);
  }
  if (!found || X509_OBJECT_set1_X509(out, found) != 1)
    return 0;
  X509_free(found); /* the reference of `out`, whose user takes one of its own */
  return 1;
}

static bool
add(csn_tls_roots *r, unsigned char *der, long n)
{
  X509_NAME *subject = r->n < ROOTS_MAX ? subject_of(der, n) : NULL;
  if (!subject)
    return false;
  if (r->n == r->room) {
    r->room = r->room ? 2 * r->room : 64;
    r->list = csn_realloc(r->list, r->room, sizeof *r->list);
  }
  r->list[r->n++] =
      (struct root){.hash = X509_NAME_hash_ex(subject, NULL, NULL, NULL), .der = der, .n = n};
  X509_NAME_free(subject);
  return true;
}

/* All certificates of one source: their number, or -1 when it is not PEM to its
 * end.  `parse`: there may be nothing else, and they must be sound now, not
 * when they are asked for. */
static int
add_all(csn_tls_roots *r, BIO *from, bool parse)
{
  char *kind, *head;
  unsigned char *der;
  long n;
  int count = 0;
  bool ok = true;
  while (ok && PEM_read_bio(from, &kind, &head, &der, &n) == 1) {
    const unsigned char *p = der;
    X509 *cert = parse ? d2i_X509(NULL, &p, n) : NULL;
    bool taken = strcmp(kind, PEM_STRING_X509) == 0 && (!parse || cert) && add(r, der, n);
    X509_free(cert);
    OPENSSL_free(kind);
    OPENSSL_free(head);
    if (!taken)
      OPENSSL_free(der);
    count += taken;
    ok = taken || !parse; /* a machine's bundle may hold other things, too */
  }
  bool at_end = ok && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  return at_end ? count : -1;
}

int
csn_tls_roots_add_file(csn_tls_roots *r, const char *path)
{
  BIO *b = BIO_new_file(path, "r");
  int n = b ? add_all(r, b, false) : 0;
  BIO_free(b);
  ERR_clear_error();
  return n;
}

int
csn_tls_roots_add_pem(csn_tls_roots *r, csn_str pem)
{
  BIO *b = pem.n > INT_MAX ? NULL : BIO_new_mem_buf(pem.p, (int)pem.n);
  int n = b ? add_all(r, b, true) : -1;
  BIO_free(b);
  return n;
}

csn_tls_roots *
csn_tls_roots_new(SSL_CTX *ctx)
{
  csn_tls_roots *r = csn_alloc(sizeof *r);
  r->method = X509_LOOKUP_meth_new("roots by name");
  X509_LOOKUP *lookup = NULL;
  if (r->method && X509_LOOKUP_meth_set_get_by_subject(r->method, find) == 1)
    lookup = X509_STORE_add_lookup(SSL_CTX_get_cert_store(ctx), r->method);
  if (!lookup || X509_LOOKUP_set_method_data(lookup, r) != 1) {
    csn_tls_roots_free(r);
    return NULL;
  }
  return r;
}

void
csn_tls_roots_free(csn_tls_roots *r)
{
  if (!r)
    return;
  for (size_t i = 0; i < r->n; i++)
    OPENSSL_free(r->list[i].der);
  free(r->list);
  X509_LOOKUP_meth_free(r->method);
  free(r);
}
