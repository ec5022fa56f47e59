/* SPDX-License-Identifier: Apache-2.0
 *
 * vault.h - encryption of snapshots, here and in other places.
 *
 * What is sealed is a salt of 16 bytes and segments, each of 64 KiB (the last
 * one less, or nothing) and a tag: AES-256-GCM with a key made of the salt and
 * a key of the ring, counted nonces, and bound to what it is (`with`), its
 * place and whether it is the last.  So nothing of it can be changed, swapped,
 * cut or put elsewhere without being found.
 *
 * Names and digests are replaced by HMACs of them (blind), so that they are
 * found without being told.  Sizes and numbers of things are not hidden.
 */
#ifndef CSN_STORE_VAULT_H
#define CSN_STORE_VAULT_H

#include "core/hash.h"
#include "store/keyring.h"

typedef struct csn_vault csn_vault;

enum { CSN_VAULT_SALT = 16, CSN_VAULT_SEGMENT = 64 << 10 };

/* Takes the keys, also when it fails. */
int csn_vault_new(csn_vault **out, csn_keyring *keys, csn_err *err) CSN_MUST;
/* One more owner of the same, which never changes; NULL of NULL. */
csn_vault *csn_vault_share(csn_vault *v);
void csn_vault_free(csn_vault *v);
CSN_FREER(vault)
/* Keys by number, the newest first: 0 is what is written with. */
size_t csn_vault_keys(const csn_vault *v);
/* Four bytes that tell keys apart, and the key of these; -1: none. */
void csn_vault_tag(const csn_vault *v, size_t key, unsigned char tag[4]);
int csn_vault_find(const csn_vault *v, const unsigned char tag[4]);
/* The same text is the same digest for one key and kind ("name"). */
csn_digest csn_vault_blind(const csn_vault *v, size_t key, const char *kind, csn_str text);

/* ---- streams */

/* Gets pieces of what comes out. */
typedef int csn_vault_fn(void *user, csn_str bytes, csn_err *err);

/* Zeroes at first; can be begun again and again. */
typedef struct csn_vault_stream {
  const csn_vault *v;
  unsigned char key[CSN_SEAL_KEY];
  csn_digest with;
  uint64_t segment;
  bool is_opening, has_salt;
  size_t ring; /* number of its key */
  size_t n;
  unsigned char *in, *out; /* a segment with its tag */
} csn_vault_stream;

/* salt NULL: random.  One that is given must be as good as never repeated for
 * other bytes under this key. */
int csn_vault_seal_begin(csn_vault_stream *s, const csn_vault *v, csn_str with,
                         const unsigned char *salt, csn_vault_fn *fn, void *user,
                         csn_err *err) CSN_MUST;
void csn_vault_open_begin(csn_vault_stream *s, const csn_vault *v, size_t key, csn_str with);
/* Of both.  CSN_E_DENIED: another key, or it was altered. */
int csn_vault_add(csn_vault_stream *s, csn_str bytes, csn_vault_fn *fn, void *user,
                  csn_err *err) CSN_MUST;
int csn_vault_end(csn_vault_stream *s, csn_vault_fn *fn, void *user, csn_err *err) CSN_MUST;
void csn_vault_stream_fini(csn_vault_stream *s);

/* How long n bytes are when sealed, and the other way round (-1: cannot be). */
int64_t csn_vault_sealed_bytes(int64_t n);
int64_t csn_vault_plain_bytes(int64_t sealed);

/* ---- small objects, whole: a line that says so and the key's tag, then the above */

int csn_vault_seal(const csn_vault *v, csn_str with, csn_str plain, csn_buf *out,
                   csn_err *err) CSN_MUST;
/* *key: number of the key it was sealed with.  CSN_E_DENIED. */
int csn_vault_open(const csn_vault *v, csn_str with, csn_str sealed, csn_buf *out, size_t *key,
                   csn_err *err) CSN_MUST;
/* Whether bytes begin as a sealed object does. */
bool csn_vault_is_sealed(csn_str bytes);

#endif
