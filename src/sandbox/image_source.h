/* SPDX-License-Identifier: Apache-2.0
 *
 * image_source.h - reads an image from where it lies and unpacks its layers
 * into the store: a tar archive of a root file system, an OCI layout folder,
 * an archive of one or of `docker save`.
 */
#ifndef CSN_SANDBOX_IMAGE_SOURCE_H
#define CSN_SANDBOX_IMAGE_SOURCE_H

#include "sandbox/layer_store.h"
#include "sandbox/oci.h"

/* What was read.  All of it is in the arena that was given. */
typedef struct csn_image_found {
  csn_image_config config; /* a plain archive has no variables, no user, one layer */
  csn_str name;            /* what the source calls it; may be "" */
  uint64_t bytes, files;   /* of all layers */
  bool must_merge;         /* of any layer */
} csn_image_found;

/* fd: the archive's file.  The store's lock is held meanwhile. */
int csn_image_read_tar(csn_layer_store *s, csn_scope *sc, csn_arena *a, int fd,
                       const csn_image_progress *progress, csn_image_found *out,
                       csn_err *err) CSN_MUST;
/* fd: a folder or a file.  tag: which of several images; "" for the only one. */
int csn_image_read_oci(csn_layer_store *s, csn_scope *sc, csn_arena *a, int fd, csn_str tag,
                       const csn_image_progress *progress, csn_image_found *out,
                       csn_err *err) CSN_MUST;
/* Whether the file is an archive of images and not of a root file system:
 * 1 or 0. */
int csn_image_is_oci(csn_layer_store *s, csn_scope *sc, int fd, csn_err *err) CSN_MUST;

#endif
