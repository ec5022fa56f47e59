/* SPDX-License-Identifier: Apache-2.0
 *
 * images.h - the images of a user: records of which layers belong together.
 *
 * An image that was imported has a name.  One that a sandbox used straight
 * from its archive or layout has none: its record is kept under the source's
 * word, so that the next sandbox starts at once, and is renewed when the
 * source changes.  Either is removed by that name or word, and layers that no
 * record needs go with it.
 */
#ifndef CSN_SANDBOX_IMAGES_H
#define CSN_SANDBOX_IMAGES_H

#include "sandbox/layer_store.h"
#include "sandbox/oci.h"

typedef struct csn_image {
  csn_arena *arena;      /* of all that follows */
  csn_str name, source;  /* name: "" for one without; source: "oci:/path" */
  csn_str stamp;         /* tells whether the source has changed */
  int64_t created_ms;    /* when it was imported, since 1970 */
  uint64_t bytes, files; /* of its layers */
  bool must_merge;       /* no overlay can be made of them: csn_layer_stats says why */
  csn_image_config config;
  csn_str resolved; /* of a built one: its packages with their versions, as JSON; else "" */
} csn_image;

void csn_image_free(csn_image *i);
CSN_FREER(image)

/* Imports what `source` names: "tar:FILE", "oci:PATH[@TAG]", or a path, whose
 * kind is then found out.  name NULL: what the source calls it, else the
 * file's name.  A record of that name is replaced. */
int csn_image_import(csn_layer_store *s, csn_scope *sc, const char *source, const char *name,
                     const csn_image_progress *progress, csn_image **out, csn_err *err) CSN_MUST;
/* The same without a name, and without work while the source is as it was. */
int csn_image_cached(csn_layer_store *s, csn_scope *sc, const char *source,
                     const csn_image_progress *progress, csn_image **out, csn_err *err) CSN_MUST;
/* Keeps a record of one whose layers are in the store. */
int csn_image_keep(const csn_layer_store *s, const csn_image *i, csn_err *err) CSN_MUST;
/* CSN_E_NOT_FOUND says how to get one. */
int csn_image_find(const csn_layer_store *s, const char *name, csn_image **out,
                   csn_err *err) CSN_MUST;
/* All records, by name; *list and what is in it are the caller's. */
int csn_image_list(const csn_layer_store *s, csn_image ***list, size_t *n, csn_err *err) CSN_MUST;
/* By name or source.  Layers that only it needed are removed, unless a sandbox
 * uses them: the next removal takes those.  *bytes: what that freed. */
int csn_image_remove(csn_layer_store *s, const char *name, uint64_t *bytes, csn_err *err) CSN_MUST;

#endif
