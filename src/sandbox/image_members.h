/* SPDX-License-Identifier: Apache-2.0
 *
 * image_members.h - the pieces of an image's source by name: files beneath a
 * folder, or members of a tar archive, which are read where they lie in it.
 */
#ifndef CSN_SANDBOX_IMAGE_MEMBERS_H
#define CSN_SANDBOX_IMAGE_MEMBERS_H

#include "sandbox/layer_store.h"

typedef struct csn_members csn_members;

/* Bytes of a file. */
typedef struct csn_piece {
  int fd;   /* whose closing is csn_piece_close()'s business */
  bool own; /* the descriptor is this piece's alone */
  int64_t offset, size;
} csn_piece;

/* fd is borrowed.  A folder is only looked into by need; an archive is read
 * through once, seeking over contents, or unpacked into the store's tmp/ when
 * it is compressed. */
int csn_members_open(csn_members **out, csn_layer_store *s, csn_scope *sc, int fd,
                     csn_err *err) CSN_MUST;
void csn_members_free(csn_members *m);
CSN_FREER(members)

bool csn_members_has(const csn_members *m, const char *name);
int csn_piece_open(const csn_members *m, const char *name, csn_piece *out, csn_err *err) CSN_MUST;
void csn_piece_close(csn_piece *p);
/* A whole piece of at most `max` bytes; must have `digest` unless that is NULL. */
int csn_piece_read(const csn_members *m, const char *name, size_t max, const csn_digest *digest,
                   csn_buf *out, csn_err *err) CSN_MUST;

#endif
