/* SPDX-License-Identifier: Apache-2.0
 *
 * tls.c - connections; see wire/tls.h.  Certificates are made in tls_ca.c.
 *
 * OpenSSL reads and writes through a BIO of our own over two byte queues, so
 * the caller decides when anything touches a socket.
 */
#include "wire/tls.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "wire/tls_impl.h"

struct csn_tls_client {
  SSL_CTX *ctx;
  BIO_METHOD *bio;
  csn_tls_roots *roots;
};

/* ---- queues ---- */

struct queue {
  char *p;
  size_t at, n, room; /* bytes at..n wait */
};

struct csn_tls {
  SSL *ssl;
  struct queue in, out;
  bool ended, failed;
};

enum { QUEUE_KEEP = 64 << 10 };

static void
queue_add(struct queue *q, csn_str bytes)
{
  if (bytes.n == 0)
    return;
  if (q->at > 0 && q->room - q->n < bytes.n) {
    memmove(q->p, q->p + q->at, q->n - q->at);
    q->n -= q->at;
    q->at = 0;
  }
  if (q->room - q->n < bytes.n) {
    size_t room = q->room ? q->room : 4096;
    while (room - q->n < bytes.n)
      room *= 2;
    q->p = csn_realloc(q->p, room, 1);
    q->room = room;
  }
  memcpy(q->p + q->n, bytes.p, bytes.n);
  q->n += bytes.n;
}

/* An empty queue gives its memory back, so that resting connections are
 * cheap. */
static void
queue_drop(struct queue *q, size_t n)
{
  q->at += n;
  if (q->at < q->n)
    return;
  q->at = q->n = 0;
  if (q->room > QUEUE_KEEP) {
    free(q->p);
    *q = (struct queue){0};
  }
}

static int
bio_read(BIO *b, char *out, int room)
{
  csn_tls *t = BIO_get_data(b);
  size_t n = t->in.n - t->in.at;
  BIO_clear_retry_flags(b);
  if (n == 0) {
    BIO_set_retry_read(b);
    return -1;
  }
  if (n > (size_t)room)
    n = (size_t)room;
  memcpy(out, t->in.p + t->in.at, n);
  queue_drop(&t->in, n);
  return (int)n;
}

static int
bio_write(BIO *b, const char *bytes, int n)
{
  csn_tls *t = BIO_get_data(b);
  BIO_clear_retry_flags(b);
  queue_add(&t->out, csn_strn(bytes, (size_t)n));
  return n;
}

static long
bio_control(BIO *b, int what, long number, void *p)
{
  (void)b;
  (void)number;
  (void)p;
  return what == BIO_CTRL_FLUSH || what == BIO_CTRL_PUSH || what == BIO_CTRL_POP;
}

BIO_METHOD *
csn_tls_bio_new(void)
{
  BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "queues");
  if (!m)
    return NULL;
  BIO_meth_set_read(m, bio_read);
  BIO_meth_set_write(m, bio_write);
  BIO_meth_set_ctrl(m, bio_control);
  return m;
}

/* ---- errors ---- */

int
csn_tls_fail(csn_err *err, enum csn_code code, const char *what)
{
  char text[256] = "no reason given";
  unsigned long last = ERR_peek_last_error();
  const char *reason = last ? ERR_reason_error_string(last) : NULL;
  if (last)
    ERR_error_string_n(last, text, sizeof text);
  ERR_clear_error();
  return csn_fail(err, code, "TLS: %s: %s", what, reason ? reason : text);
}

static int
failed(csn_tls *t, int rc, csn_err *err)
{
  long verdict = SSL_get_verify_result(t->ssl);
  int why = SSL_get_error(t->ssl, rc);
  if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
    ERR_clear_error();
    return 0;
  }
  if (why == SSL_ERROR_ZERO_RETURN) {
    t->ended = true;
    return 0;
  }
  t->failed = true;
  if (!SSL_is_server(t->ssl) && verdict != X509_V_OK) {
    ERR_clear_error();
    return csn_fail(err, CSN_E_DENIED, "TLS: the server's certificate: %s",
                    X509_verify_cert_error_string(verdict));
  }
  return csn_tls_fail(err, CSN_E_PARSE, SSL_is_init_finished(t->ssl) ? "connection" : "handshake");
}

/* ---- the client's side ---- */

/* Where distributions keep their bundle. */
static const char *const bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
};

static int
load_roots(csn_tls_roots *r, csn_str extra_pem, csn_err *err)
{
  int system = 0;
  for (size_t i = 0; i < CSN_COUNT(bundles) && system <= 0; i++)
    system = csn_tls_roots_add_file(r, bundles[i]);
  if (extra_pem.n > 0 && csn_tls_roots_add_pem(r, extra_pem) <= 0)
    return csn_fail(err, CSN_E_INVALID, "TLS: the extra roots are not certificates in PEM form");
  if (extra_pem.n == 0 && system <= 0)
    return csn_fail(err, CSN_E_NOT_FOUND,
                    "TLS: no bundle of trusted roots on this machine (%s); install ca-certificates",
                    bundles[0]);
  return 0;
}

/* Without any root yet. */
static int
new_client(csn_tls_client **out, csn_err *err)
{
  static const unsigned char protocols[] = "\x08http/1.1";
  csn_tls_client *c = csn_alloc(sizeof *c);
  csn_tls_begin();
  *out = NULL;
  c->bio = csn_tls_bio_new();
  c->ctx = SSL_CTX_new(TLS_client_method());
  if (!c->bio || !c->ctx || SSL_CTX_set_min_proto_version(c->ctx, TLS1_2_VERSION) != 1 ||
      SSL_CTX_set_alpn_protos(c->ctx, protocols, sizeof protocols - 1) != 0) {
    csn_tls_client_free(c);
    return csn_tls_fail(err, CSN_E_IO, "set up a client");
  }
  SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
  SSL_CTX_set_options(c->ctx, SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(c->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                               SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  c->roots = csn_tls_roots_new(c->ctx);
  if (!c->roots) {
    csn_tls_client_free(c);
    return csn_tls_fail(err, CSN_E_IO, "set up the roots");
  }
  *out = c;
  return 0;
}

int
csn_tls_client_new(csn_tls_client **out, csn_str extra_pem, csn_err *err)
{
  csn_auto(csn_tls_client_freep) csn_tls_client *c = NULL;
  *out = NULL;
  int rc = new_client(&c, err);
  if (rc == 0)
    rc = load_roots(c->roots, extra_pem, err);
  if (rc == 0)
    *out = csn_steal(c);
  return rc;
}

static int
no_password(char *buf, int size, int for_writing, void *user)
{
  return -1; /* never asks on the terminal */
}

/* The certificate, those that lead to its root, and the key that belongs to it. */
static bool
take_certificate(SSL_CTX *ctx, BIO *cert, BIO *key)
{
  X509 *own = PEM_read_bio_X509(cert, NULL, no_password, NULL);
  bool ok = own && SSL_CTX_use_certificate(ctx, own) == 1;
  X509_free(own);
  for (X509 *more; ok && (more = PEM_read_bio_X509(cert, NULL, no_password, NULL));) {
    ok = SSL_CTX_add_extra_chain_cert(ctx, more) == 1;
    if (!ok)
      X509_free(more);
  }
  EVP_PKEY *k = ok ? PEM_read_bio_PrivateKey(key, NULL, no_password, NULL) : NULL;
  ok = k && SSL_CTX_use_PrivateKey(ctx, k) == 1 && SSL_CTX_check_private_key(ctx) == 1;
  EVP_PKEY_free(k);
  return ok;
}

int
csn_tls_client_as(csn_tls_client **out, csn_str roots, csn_str cert, csn_str key, csn_err *err)
{
  csn_auto(csn_tls_client_freep) csn_tls_client *c = NULL;
  *out = NULL;
  int rc = new_client(&c, err);
  if (rc == 0 && csn_tls_roots_add_pem(c->roots, roots) <= 0)
    rc = csn_fail(err, CSN_E_INVALID, "TLS: the roots are not certificates in PEM form");
  if (rc < 0)
    return rc;
  bool fits = cert.n < INT_MAX && key.n < INT_MAX;
  BIO *c_in = fits ? BIO_new_mem_buf(cert.p, (int)cert.n) : NULL;
  BIO *k_in = fits ? BIO_new_mem_buf(key.p, (int)key.n) : NULL;
  bool ok = c_in && k_in && take_certificate(c->ctx, c_in, k_in);
  BIO_free(c_in);
  BIO_free(k_in);
  ERR_clear_error();
  if (!ok)
    return csn_fail(err, CSN_E_INVALID,
                    "TLS: the client's certificate and its key do not belong together, or are not "
                    "in PEM form without a password");
  *out = csn_steal(c);
  return 0;
}

void
csn_tls_client_free(csn_tls_client *c)
{
  if (!c)
    return;
  SSL_CTX_free(c->ctx);
  csn_tls_roots_free(c->roots);
  BIO_meth_free(c->bio);
  free(c);
}

/* ---- connections ---- */

static int
new_tls(csn_tls **out, SSL_CTX *ctx, BIO_METHOD *method, csn_err *err)
{
  csn_tls *t = csn_alloc(sizeof *t);
  ERR_clear_error();
  t->ssl = SSL_new(ctx);
  BIO *b = BIO_new(method);
  if (!t->ssl || !b) {
    BIO_free(b);
    csn_tls_free(t);
    return csn_tls_fail(err, CSN_E_IO, "set up a connection");
  }
  BIO_set_data(b, t);
  BIO_set_init(b, 1);
  SSL_set_bio(t->ssl, b, b);
  *out = t;
  return 0;
}

int
csn_tls_connect(csn_tls **out, csn_tls_client *c, csn_str host, csn_err *err)
{
  csn_auto(csn_freep) char *name = csn_dupz(host);
  csn_auto(csn_tls_freep) csn_tls *t = NULL;
  int rc = new_tls(&t, c->ctx, c->bio, err);
  if (rc < 0)
    return rc;
  X509_VERIFY_PARAM *rules = SSL_get0_param(t->ssl);
  X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  bool ok = strlen(name) == host.n && host.n > 0;
  /* An address has no server name, and its certificate names it as such. */
  if (ok && X509_VERIFY_PARAM_set1_ip_asc(rules, name) != 1) {
    ERR_clear_error();
    ok = SSL_set1_host(t->ssl, name) == 1 && SSL_set_tlsext_host_name(t->ssl, name) == 1;
  }
  if (!ok)
    return csn_tls_fail(err, CSN_E_INVALID, "the name to verify");
  SSL_set_connect_state(t->ssl);
  *out = csn_steal(t);
  return 0;
}

int
csn_tls_accept(csn_tls **out, csn_tls_ca *ca, csn_str host, csn_err *err)
{
  csn_auto(csn_tls_freep) csn_tls *t = NULL;
  int rc = new_tls(&t, csn_tls_ca_context(ca), csn_tls_ca_bio(ca), err);
  if (rc >= 0)
    rc = csn_tls_ca_dress(ca, t->ssl, host, err);
  if (rc < 0)
    return rc;
  SSL_set_accept_state(t->ssl);
  *out = csn_steal(t);
  return 0;
}

void
csn_tls_free(csn_tls *t)
{
  if (!t)
    return;
  SSL_free(t->ssl);
  free(t->in.p);
  free(t->out.p);
  free(t);
}

void
csn_tls_feed(csn_tls *t, csn_str wire)
{
  queue_add(&t->in, wire);
}

int
csn_tls_read(csn_tls *t, char *out, size_t room, csn_err *err)
{
  if (t->failed)
    return csn_fail(err, CSN_E_PARSE, "TLS: the connection has failed before");
  ERR_clear_error();
  int rc;
  if (!SSL_is_init_finished(t->ssl)) {
    rc = SSL_do_handshake(t->ssl);
    if (rc != 1)
      return failed(t, rc, err);
  }
  if (t->ended)
    return 0;
  rc = SSL_read(t->ssl, out, room > INT_MAX ? INT_MAX : (int)room);
  return rc > 0 ? rc : failed(t, rc, err);
}

int
csn_tls_write(csn_tls *t, csn_str plain, csn_err *err)
{
  if (t->failed)
    return csn_fail(err, CSN_E_PARSE, "TLS: the connection has failed before");
  if (!SSL_is_init_finished(t->ssl) || plain.n == 0)
    return 0;
  ERR_clear_error();
  int taken = 0;
  while (plain.n > 0) {
    int rc = SSL_write(t->ssl, plain.p, plain.n > 1 << 20 ? 1 << 20 : (int)plain.n);
    if (rc <= 0) {
      rc = failed(t, rc, err);
      return rc < 0 ? rc : taken;
    }
    taken += rc;
    plain = csn_strn(plain.p + rc, plain.n - (size_t)rc);
  }
  return taken;
}

void
csn_tls_close(csn_tls *t)
{
  if (t->failed || !SSL_is_init_finished(t->ssl))
    return;
  ERR_clear_error();
  SSL_shutdown(t->ssl);
  ERR_clear_error();
}

csn_str
csn_tls_pending(const csn_tls *t)
{
  return csn_strn(t->out.p + t->out.at, t->out.n - t->out.at);
}

void
csn_tls_sent(csn_tls *t, size_t n)
{
  queue_drop(&t->out, n);
}

bool
csn_tls_has_input(const csn_tls *t)
{
  return t->in.n > t->in.at || SSL_pending(t->ssl) > 0;
}

bool
csn_tls_is_ready(const csn_tls *t)
{
  return SSL_is_init_finished(t->ssl);
}

bool
csn_tls_ended(const csn_tls *t)
{
  return t->ended;
}
