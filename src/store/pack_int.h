/* SPDX-License-Identifier: Apache-2.0
 * pack_int.h - what pack.c (reading), pack_add.c and pack_sweep.c share. */
#ifndef CSN_STORE_PACK_INT_H
#define CSN_STORE_PACK_INT_H

#include "store/pack.h"

/* On the disk; numbers are little-endian. */
enum {
  CSN_PACK_HEAD = 56, /* "csn1", 4 bytes 0, content bytes, stored bytes, digest; sealed: "csn2",
                         4 bytes of its key's tag, the same, the digest blind */
  CSN_PACK_ROW = 56,  /* of the table: digest, where the header is, content bytes, stored bytes */
  CSN_PACK_TAIL = 48, /* number of rows, SHA-256 of the table, "csnpack1" or "csnpack2" */
  CSN_PACK_NAME = 29, /* 24 characters, ".pack", NUL is in it */
  CSN_PACK_CHUNK = 128 << 10,
};

typedef struct csn_pack_row {
  csn_digest digest;
  uint32_t pack; /* which of csn_packs.all; UINT32_MAX: the one being written */
  int64_t offset, size, stored;
} csn_pack_row;

typedef struct csn_pack {
  char name[CSN_PACK_NAME + 1];
  int fd;
  int64_t bytes;
  bool is_damaged, is_foreign;
} csn_pack;

struct csn_packs {
  int dir;
  const csn_vault *vault;
  csn_vault_stream sealing, opening;
  bool is_shared; /* rows are another's */
  /* For reading, made when first needed: ZSTD_DCtx, and CSN_PACK_CHUNK each. */
  void *unzstd;
  char *in, *out;
  csn_pack *all;
  size_t n;
  csn_pack_row *rows; /* a hash table: digest.b[0] begins an empty place's `stored` -1 */
  size_t n_rows, room;
  /* Being written. */
  int fd; /* -1: nothing */
  char temporary[40];
  int64_t end;
  csn_pack_row *added;
  size_t n_added;
  char *chunk, *packed; /* CSN_PACK_CHUNK and what it may pack to */
  size_t packed_room;
  void *zstd; /* ZSTD_CCtx */
};

uint64_t csn_pack_number(const unsigned char *p);
void csn_pack_put_number(unsigned char *p, uint64_t value);
const csn_pack_row *csn_pack_find(const csn_packs *p, const csn_digest *d);
void csn_pack_note(csn_packs *p, const csn_pack_row *row);
int csn_pack_begin(csn_packs *p, csn_err *err) CSN_MUST;
/* "csn1" or "csn2" with the tag of the newest key. */
void csn_pack_magic(const csn_packs *p, unsigned char head[8]);
/* What a record is bound to when it is sealed. */
csn_str csn_pack_binding(char text[64], const csn_digest *blind);
/* Reads a record of a pack to its end; CSN_E_PARSE when it is not sound. */
int csn_pack_unpack(csn_packs *p, csn_scope *sc, int fd, const csn_pack_row *row, csn_pack_fn *fn,
                    void *user, csn_err *err) CSN_MUST;
/* The same, by its place in the table. */
int csn_pack_read_row(csn_packs *p, csn_scope *sc, const csn_pack_row *row, csn_pack_fn *fn,
                      void *user, csn_err *err) CSN_MUST;

#endif
