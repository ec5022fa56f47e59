/* SPDX-License-Identifier: Apache-2.0
 *
 * layer_unpack.h - makes a folder of files out of the entries of a hostile
 * tar archive: one layer of an image.
 *
 * Names are taken relative to the folder and never lead out of it or through
 * a link.  Whiteouts (.wh.NAME, .wh..wh..opq) become what the overlay file
 * system understands in a user namespace: a 0:0 character device, and the
 * attribute user.overlay.opaque on a folder.
 */
#ifndef CSN_SANDBOX_LAYER_UNPACK_H
#define CSN_SANDBOX_LAYER_UNPACK_H

#include "wire/tar.h"

/* Where the overlay's own marks cannot be made (on another overlay, as in a
 * container), these attributes stand for them: an empty file of that name hides
 * one below, a folder hides all there is below.  Such layers are merged. */
#define CSN_LAYER_HIDES "user.caisson.hides"
#define CSN_LAYER_OPAQUE "user.overlay.opaque"

/* What one layer may be; more is CSN_E_LIMIT. */
#define CSN_LAYER_BYTES_MAX ((uint64_t)32 << 30)
enum { CSN_LAYER_FILES_MAX = 2 << 20 };

typedef struct csn_layer_stats {
  uint64_t bytes, files; /* contents; entries of any kind */
  uint64_t dropped;      /* devices, pipes: left out */
  bool must_merge;       /* it hides things by CSN_LAYER_HIDES, which no overlay understands */
} csn_layer_stats;

typedef struct csn_unpacker csn_unpacker;

/* `dir` is borrowed; nobody else may change what is in it.  A cap of 0 is the
 * usual one. */
csn_unpacker *csn_unpacker_new(int dir, uint64_t bytes_max, uint64_t files_max);
void csn_unpacker_free(csn_unpacker *u);
CSN_FREER(unpacker)

/* For csn_tar_new(); borrows the unpacker. */
csn_tar_sink csn_unpacker_sink(csn_unpacker *u);
csn_layer_stats csn_unpacker_stats(const csn_unpacker *u);
/* After the last entry: folders get their modes and times. */
int csn_unpacker_end(csn_unpacker *u, csn_err *err) CSN_MUST;

struct stat;
/* Whether an entry of a layer's folder hides what is below; *st is of it. */
bool csn_layer_hides(int folder, const char *name, const struct stat *st);
/* Whether a folder of a layer hides all that is below. */
bool csn_layer_is_opaque(int folder);
/* The marks that make it so.  1: they are not the overlay's. */
int csn_layer_hide(int folder, const char *name, csn_err *err) CSN_MUST;
int csn_layer_make_opaque(int folder, csn_err *err) CSN_MUST;

#endif
