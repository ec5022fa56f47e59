/* SPDX-License-Identifier: Apache-2.0
 *
 * rootfs.h - the root file system of a sandbox: which folders it is made of.
 */
#ifndef CSN_SANDBOX_ROOTFS_H
#define CSN_SANDBOX_ROOTFS_H

#include "sandbox/images.h"

typedef struct csn_rootfs {
  csn_image *image; /* NULL: of the host, or a folder */
  int *layers;      /* descriptors, the lowest first; while they are open nobody removes them */
  size_t n;         /* 0: the host's programs */
} csn_rootfs;

/* Finds what a word (sandbox/rootfs_word.h; NULL is the host) names, and
 * unpacks what is not in the store yet. */
int csn_rootfs_open(csn_rootfs **out, csn_scope *sc, const char *word,
                    const csn_image_progress *progress, csn_err *err) CSN_MUST;
void csn_rootfs_free(csn_rootfs *r);
CSN_FREER(rootfs)

/* Makes one folder of its layers, for machines without an overlay file system;
 * kept in the store for the next time. */
int csn_rootfs_flatten(csn_rootfs *r, csn_scope *sc, csn_err *err) CSN_MUST;

#endif
