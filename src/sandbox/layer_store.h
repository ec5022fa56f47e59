/* SPDX-License-Identifier: Apache-2.0
 *
 * layer_store.h - where unpacked layers of images are kept, each once, under
 * the SHA-256 of its tar archive, shared by all images of a user.
 *
 * The folder is $CAISSON_IMAGES, else caisson/images in $XDG_DATA_HOME or
 * ~/.local/share; it is 0700 and the user's own.  In it:
 *   layers/HEX/fs      a layer's files, never changed once they are there
 *   layers/HEX/info    {"bytes":N,"files":N}
 *   images/NAME, sources/HEX   records of images (sandbox/images.h)
 *   tmp/               what is being made or removed
 *   lock               flock: shared by who reads or adds, exclusive for who removes
 */
#ifndef CSN_SANDBOX_LAYER_STORE_H
#define CSN_SANDBOX_LAYER_STORE_H

#include "caisson/scope.h"
#include "core/hash.h"
#include "sandbox/layer_unpack.h"

typedef struct csn_layer_store {
  char *path;
  int dir, lock; /* lock: the open file "lock" */
} csn_layer_store;

/* How far an import is; called in the importing thread, a few times a second
 * at most for each layer. */
typedef struct csn_image_progress {
  void (*fn)(void *user, size_t layer, size_t layers, uint64_t done, uint64_t bytes);
  void *user;
} csn_image_progress;

/* Packed bytes of a layer, in a file. */
typedef struct csn_layer_source {
  int fd;
  int64_t offset, size;
  const csn_digest *blob;   /* of the packed bytes; NULL: not told */
  const csn_digest *digest; /* of the tar archive in them; NULL: not told */
  size_t index, count;      /* for the progress: which of how many */
} csn_layer_source;

/* Opens the store, made when missing, with a shared lock: nothing in it goes
 * away until it is freed. */
int csn_layer_store_open(csn_layer_store **out, csn_err *err) CSN_MUST;
void csn_layer_store_free(csn_layer_store *s);
CSN_FREER(layer_store)
/* Trades the shared lock for the exclusive one; CSN_E_CONFLICT while others
 * read or add. */
int csn_layer_store_own(csn_layer_store *s, csn_err *err) CSN_MUST;

/* A descriptor of a layer's files.  While it is open, the layer is in use and
 * will not be removed.  CSN_E_NOT_FOUND. */
int csn_layer_open(const csn_layer_store *s, const csn_digest *digest, csn_err *err) CSN_MUST;
bool csn_layer_exists(const csn_layer_store *s, const csn_digest *digest);
/* Unpacks a layer, unless it is there; *digest and *stats are filled.  A wrong
 * digest is CSN_E_PARSE, a bomb CSN_E_LIMIT; both leave nothing behind. */
int csn_layer_add(csn_layer_store *s, csn_scope *sc, const csn_layer_source *from,
                  const csn_image_progress *progress, csn_digest *digest, csn_layer_stats *stats,
                  csn_err *err) CSN_MUST;
/* Makes a folder of that name, unless it is there; fill() puts the files into
 * `dir`. */
int csn_layer_make(csn_layer_store *s, csn_scope *sc, const csn_digest *name,
                   int (*fill)(void *user, int dir, csn_scope *sc, csn_err *err), void *user,
                   csn_err *err) CSN_MUST;
/* With the exclusive lock: removes all layers that are not in `keep` and not
 * in use, and what was left by imports that died.  The number of layers
 * removed; *bytes of theirs. */
int csn_layer_store_sweep(csn_layer_store *s, const csn_digest *keep, size_t n, uint64_t *bytes,
                          csn_err *err) CSN_MUST;

#endif
