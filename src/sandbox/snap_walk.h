/* SPDX-License-Identifier: Apache-2.0
 * snap_walk.h - between folders and what a snapshot holds. */
#ifndef CSN_SANDBOX_SNAP_WALK_H
#define CSN_SANDBOX_SNAP_WALK_H

#include "sandbox/snap_tree.h"
#include "store/pack.h"

typedef struct csn_snap_walk {
  csn_packs *packs; /* gets the contents */
  csn_scope *sc;
  bool is_layer;           /* whiteouts and opaque folders are what an overlay means by them */
  const char *const *omit; /* paths that never enter, with all beneath; NULL-terminated or NULL */
  csn_buf *told;           /* may be NULL: a line for what is left out or cannot be restored */
  size_t left_out, links_out; /* pipes, sockets, devices; links that lead out of the workspace */
  size_t omitted;
} csn_snap_walk;

/* Fills `out` with what `base` (may be NULL: nothing) is below the folder.  The
 * folder must not change meanwhile, or it is CSN_E_CONFLICT or a mixture. */
int csn_snap_take(csn_snap_walk *w, const csn_snap_tree *base, int folder, csn_snap_tree *out,
                  csn_err *err) CSN_MUST;

/* Makes the files in an empty folder that nobody else changes; as root they
 * get its owner. */
int csn_snap_unpack(const csn_snap_tree *t, csn_packs *packs, csn_scope *sc, int folder,
                    csn_err *err) CSN_MUST;

#endif
