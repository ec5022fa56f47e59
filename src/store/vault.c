/* SPDX-License-Identifier: Apache-2.0
 * vault.c - encryption of snapshots; see vault.h. */
#include "store/vault.h"

#include <stdatomic.h>
#include <stdio.h>

enum { PIECE = CSN_VAULT_SEGMENT + CSN_SEAL_TAG };

static const char head[] = "caisson-sealed 1\n";

struct csn_vault {
  csn_keyring *keys; /* owned */
  const csn_seal_module *m;
  atomic_int owners;
};

int
csn_vault_new(csn_vault **out, csn_keyring *keys, csn_err *err)
{
  const csn_module *m = NULL;
  int rc = csn_module_open("caisson-seal.so", "csn_seal_entry", CSN_SEAL_ABI, &m, err);
  if (rc < 0) {
    csn_keyring_free(keys);
    return rc;
  }
  *out = csn_alloc(sizeof **out);
  **out = (csn_vault){keys, (const csn_seal_module *)m, 1}; /* it is the first member */
  return 0;
}

csn_vault *
csn_vault_share(csn_vault *v)
{
  if (v)
    atomic_fetch_add(&v->owners, 1);
  return v;
}

void
csn_vault_free(csn_vault *v)
{
  if (!v || atomic_fetch_sub(&v->owners, 1) > 1)
    return;
  csn_keyring_free(v->keys);
  free(v);
}

/* ---- keys ---- */

size_t
csn_vault_keys(const csn_vault *v)
{
  return csn_keyring_count(v->keys);
}

/* A key for one purpose, out of a key of the ring. */
static csn_digest
derive(const csn_vault *v, size_t key, const char *kind, csn_str text)
{
  const csn_session_key *k = csn_keyring_at(v->keys, key);
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(SIZE_MAX / 2);
  csn_buf_addf(&b, "caisson vault 1 %s\n", kind);
  csn_buf_add(&b, text);
  return csn_hmac_sha256(csn_strn((const char *)k->key, sizeof k->key), csn_buf_str(&b));
}

csn_digest
csn_vault_blind(const csn_vault *v, size_t key, const char *kind, csn_str text)
{
  return derive(v, key, kind, text);
}

void
csn_vault_tag(const csn_vault *v, size_t key, unsigned char tag[4])
{
  csn_digest d = derive(v, key, "tag", CSN_STR(""));
  memcpy(tag, d.b, 4);
}

int
csn_vault_find(const csn_vault *v, const unsigned char tag[4])
{
  for (size_t i = 0; i < csn_vault_keys(v); i++) {
    unsigned char own[4];
    csn_vault_tag(v, i, own);
    if (memcmp(own, tag, 4) == 0)
      return (int)i;
  }
  return -1;
}

/* ---- streams ---- */

static void
stream_init(csn_vault_stream *s, const csn_vault *v, size_t key, csn_str with)
{
  *s = (csn_vault_stream){
      .v = v, .ring = key, .with = csn_sha256_of(with), .in = s->in, .out = s->out};
  if (!s->in) {
    s->in = csn_alloc(PIECE);
    s->out = csn_alloc(PIECE);
  }
}

void
csn_vault_stream_fini(csn_vault_stream *s)
{
  explicit_bzero(s->key, sizeof s->key);
  free(s->in);
  free(s->out);
  s->in = s->out = NULL;
}

static void
take_salt(csn_vault_stream *s, const unsigned char *salt)
{
  csn_digest key = derive(s->v, s->ring, "data", csn_strn((const char *)salt, CSN_VAULT_SALT));
  memcpy(s->key, key.b, sizeof s->key);
  explicit_bzero(&key, sizeof key);
  s->has_salt = true;
}

int
csn_vault_seal_begin(csn_vault_stream *s, const csn_vault *v, csn_str with,
                     const unsigned char *salt, csn_vault_fn *fn, void *user, csn_err *err)
{
  unsigned char own[CSN_VAULT_SALT];
  stream_init(s, v, 0, with);
  if (!salt)
    csn_random_bytes(own, sizeof own);
  salt = salt ? salt : own;
  take_salt(s, salt);
  return fn(user, csn_strn((const char *)salt, CSN_VAULT_SALT), err);
}

void
csn_vault_open_begin(csn_vault_stream *s, const csn_vault *v, size_t key, csn_str with)
{
  stream_init(s, v, key, with);
  s->is_opening = true;
}

/* What has gathered, as one segment. */
static int
put_segment(csn_vault_stream *s, bool is_last, csn_vault_fn *fn, void *user, csn_err *err)
{
  unsigned char nonce[CSN_SEAL_NONCE] = {0}, with[sizeof s->with.b + 1];
  csn_str in = csn_strn((const char *)s->in, s->n);
  for (int i = 0; i < 8; i++)
    nonce[CSN_SEAL_NONCE - 1 - i] = (unsigned char)(s->segment >> (8 * i));
  memcpy(with, s->with.b, sizeof s->with.b);
  with[sizeof s->with.b] = is_last;
  csn_str bound = csn_strn((const char *)with, sizeof with);
  int rc = s->is_opening ? s->v->m->open(s->key, nonce, bound, in, s->out)
                         : s->v->m->seal(s->key, nonce, bound, in, s->out);
  if (rc < 0)
    return s->is_opening
               ? csn_fail(err, CSN_E_DENIED, "it was altered, or its key is another one now")
               : csn_fail(err, CSN_E_IO, "it cannot be encrypted");
  size_t n = s->is_opening ? s->n - CSN_SEAL_TAG : s->n + CSN_SEAL_TAG;
  s->n = 0;
  s->segment++;
  return n ? fn(user, csn_strn((const char *)s->out, n), err) : 0;
}

int
csn_vault_add(csn_vault_stream *s, csn_str bytes, csn_vault_fn *fn, void *user, csn_err *err)
{
  size_t full = s->is_opening ? PIECE : CSN_VAULT_SEGMENT;
  while (bytes.n) {
    size_t want = s->has_salt ? full : CSN_VAULT_SALT, n = want - s->n;
    if (n == 0) { /* more follows, so this one is not the last */
      int rc = put_segment(s, false, fn, user, err);
      if (rc < 0)
        return rc;
      continue;
    }
    n = n < bytes.n ? n : bytes.n;
    memcpy(s->in + s->n, bytes.p, n);
    s->n += n;
    bytes = csn_strn(bytes.p + n, bytes.n - n);
    if (!s->has_salt && s->n == CSN_VAULT_SALT) {
      take_salt(s, s->in);
      s->n = 0;
    }
  }
  return 0;
}

int
csn_vault_end(csn_vault_stream *s, csn_vault_fn *fn, void *user, csn_err *err)
{
  if (!s->has_salt || (s->is_opening && s->n < CSN_SEAL_TAG))
    return csn_fail(err, CSN_E_DENIED, "its end is missing");
  return put_segment(s, true, fn, user, err);
}

int64_t
csn_vault_sealed_bytes(int64_t n)
{
  int64_t segments = n ? (n + CSN_VAULT_SEGMENT - 1) / CSN_VAULT_SEGMENT : 1;
  return CSN_VAULT_SALT + n + segments * CSN_SEAL_TAG;
}

int64_t
csn_vault_plain_bytes(int64_t sealed)
{
  int64_t rest = sealed - CSN_VAULT_SALT, segments = (rest + PIECE - 1) / PIECE;
  int64_t n = rest - segments * CSN_SEAL_TAG;
  return n >= 0 && csn_vault_sealed_bytes(n) == sealed ? n : -1;
}

/* ---- small objects ---- */

static int
take(void *user, csn_str bytes, csn_err *err)
{
  csn_buf_add(user, bytes);
  return csn_buf_done(user, "what is encrypted", err);
}

int
csn_vault_seal(const csn_vault *v, csn_str with, csn_str plain, csn_buf *out, csn_err *err)
{
  unsigned char tag[4];
  csn_vault_tag(v, 0, tag);
  csn_buf_addz(out, head);
  csn_buf_add(out, csn_strn((const char *)tag, sizeof tag));
  csn_auto(csn_vault_stream_fini) csn_vault_stream s = {0};
  int rc = csn_vault_seal_begin(&s, v, with, NULL, take, out, err);
  if (rc == 0)
    rc = csn_vault_add(&s, plain, take, out, err);
  return rc < 0 ? rc : csn_vault_end(&s, take, out, err);
}

bool
csn_vault_is_sealed(csn_str bytes)
{
  return csn_str_starts(bytes, csn_cstr(head));
}

int
csn_vault_open(const csn_vault *v, csn_str with, csn_str sealed, csn_buf *out, size_t *key,
               csn_err *err)
{
  enum { HEAD = sizeof head - 1 + 4 };
  if (!csn_vault_is_sealed(sealed) || sealed.n < HEAD)
    return csn_fail(err, CSN_E_DENIED,
                    "it is not encrypted: somebody else wrote it, or it is older than the keys");
  int which = csn_vault_find(v, (const unsigned char *)sealed.p + HEAD - 4);
  if (which < 0)
    return csn_fail(err, CSN_E_DENIED, "it is encrypted with a key that is not among the keys");
  csn_auto(csn_vault_stream_fini) csn_vault_stream s = {0};
  csn_vault_open_begin(&s, v, (size_t)which, with);
  *key = (size_t)which;
  int rc = csn_vault_add(&s, csn_strn(sealed.p + HEAD, sealed.n - HEAD), take, out, err);
  return rc < 0 ? rc : csn_vault_end(&s, take, out, err);
}
