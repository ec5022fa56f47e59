/* SPDX-License-Identifier: Apache-2.0
 *
 * pack.h - content by its SHA-256, in files that are written once: packs.
 *
 * A pack is records one after another, each a header (digest, sizes) and the
 * content as zstd frames, and at its end a table of them with a check sum.  It
 * is written under a temporary name, flushed to the disk and renamed, so one
 * that has a name was whole once.  One whose end is damaged is read record by
 * record as far as it goes, and told.
 *
 * With a vault (store/vault.h) every content is sealed and is found by an HMAC
 * of its digest; packs that are not of that kind are left alone then, and so
 * are sealed ones without a vault.
 *
 * Who adds or reads holds a shared lock of the caller's, who sweeps an
 * exclusive one.  Not for several threads.
 */
#ifndef CSN_STORE_PACK_H
#define CSN_STORE_PACK_H

#include "caisson/scope.h"
#include "core/hash.h"
#include "store/vault.h"

typedef struct csn_packs csn_packs;

/* `dir` and `vault` (may be NULL) are borrowed; the folder must be empty, or used so before. */
int csn_packs_open(csn_packs **out, int dir, const csn_vault *vault, csn_err *err) CSN_MUST;
/* What was added and not committed is gone. */
void csn_packs_free(csn_packs *p);
CSN_FREER(packs)

/* Another reader of the same content, for another thread: it sees what p holds
 * now, and p must not change while there is one.  Only for reading. */
csn_packs *csn_packs_share(const csn_packs *p);

bool csn_packs_has(const csn_packs *p, const csn_digest *d);
/* Bytes of content; -1: it is not there. */
int64_t csn_packs_size(const csn_packs *p, const csn_digest *d);

/* Adds what the store lacks.  From a file: from its beginning to its end;
 * CSN_E_CONFLICT when it changes meanwhile. */
int csn_packs_add(csn_packs *p, csn_str bytes, csn_digest *d, csn_err *err) CSN_MUST;
int csn_packs_add_file(csn_packs *p, csn_scope *sc, int fd, csn_digest *d, int64_t *size,
                       csn_err *err) CSN_MUST;
/* What was added is on the disk and has a name. */
int csn_packs_commit(csn_packs *p, csn_err *err) CSN_MUST;

/* Hands the content to fn, and says at the end whether it was sound: content
 * that is not is CSN_E_PARSE after some of it was handed over. */
typedef int csn_pack_fn(void *user, csn_str bytes, csn_err *err);
int csn_packs_read(csn_packs *p, csn_scope *sc, const csn_digest *d, csn_pack_fn *fn, void *user,
                   csn_err *err) CSN_MUST;
/* The same into a buffer, which has it only when it is sound. */
int csn_packs_get(csn_packs *p, csn_scope *sc, const csn_digest *d, csn_buf *out,
                  csn_err *err) CSN_MUST;

/* The content as it is packed (zstd frames), for another store; not compared
 * with its digest.  Its bytes: -1 when it is not there. */
int64_t csn_packs_packed_bytes(const csn_packs *p, const csn_digest *d);
int csn_packs_read_packed(csn_packs *p, csn_scope *sc, const csn_digest *d, csn_pack_fn *fn,
                          void *user, csn_err *err) CSN_MUST;
/* Adds content that was packed elsewhere: n bytes of a file, from `at` on.
 * CSN_E_PARSE: they are not `size` bytes of that digest. */
int csn_packs_add_packed(csn_packs *p, csn_scope *sc, const csn_digest *d, int64_t size, int fd,
                         int64_t at, int64_t n, csn_err *err) CSN_MUST;
/* The same bytes, read only: whether they are that content (CSN_E_PARSE), and it. */
int csn_packed_check(csn_scope *sc, int fd, int64_t at, int64_t n, const csn_digest *d,
                     int64_t size, csn_err *err) CSN_MUST;
int csn_packed_get(csn_scope *sc, int fd, int64_t at, int64_t n, const csn_digest *d, int64_t size,
                   csn_buf *out, csn_err *err) CSN_MUST;
/* What keep() and the verifier below get for a content: its digest, or what the
 * vault makes of it. */
csn_digest csn_packs_known_as(const csn_packs *p, const csn_digest *d);

/* Packs whose end is damaged: their names, as open found them. */
const char *csn_packs_damaged(const csn_packs *p, size_t i); /* NULL past the last */
/* Packs of the other kind: sealed, and there is no vault, or the other way round. */
const char *csn_packs_foreign(const csn_packs *p, size_t i);
/* Reads everything; fn gets what is not sound.  The number of these. */
int csn_packs_verify(csn_packs *p, csn_scope *sc,
                     void (*fn)(void *user, const char *pack, const csn_digest *d), void *user,
                     csn_err *err) CSN_MUST;
/* With nobody else in the store: drops what keep() denies, in packs of which
 * less than half is kept, or nothing.  *freed: bytes on the disk. */
int csn_packs_sweep(csn_packs *p, csn_scope *sc, bool (*keep)(void *user, const csn_digest *d),
                    void *user, int64_t *freed, csn_err *err) CSN_MUST;
/* Bytes of all packs on the disk. */
int64_t csn_packs_bytes(const csn_packs *p);

#endif
