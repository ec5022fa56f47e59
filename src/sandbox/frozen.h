/* SPDX-License-Identifier: Apache-2.0
 *
 * frozen.h - workspaces that were frozen and not looked at: a name stands for
 * their layers, so it is given in a time that does not depend on how much they
 * hold.  csn_snapshot_save_layers() makes a snapshot of one.
 *
 *   snapshots/frozen/NAME   the layers in snapshots/layers, the lowest first; "LAYER
 *                           copy": nothing else has that one
 *
 * Nothing is written to the disk at once, as with the workspace itself.  No
 * lock is needed: gc leaves alone what a name, or the workspace of a run, has.
 */
#ifndef CSN_SANDBOX_FROZEN_H
#define CSN_SANDBOX_FROZEN_H

#include "sandbox/snapshots.h"

/* The folder that layers are kept in, made when missing: a descriptor. */
int csn_frozen_layers_open(int state_fd, csn_err *err) CSN_MUST;
int csn_frozen_put(int state_fd, const char *name, const char *const *layers,
                   csn_err *err) CSN_MUST;
/* The same with a layer above them (which may be NULL: none) that is a copy made for this name
 * only: it goes with it, unless the run's workspace has begun with it since. */
int csn_frozen_put_copy(int state_fd, const char *name, const char *const *layers, const char *copy,
                        csn_err *err) CSN_MUST;
/* NULL-terminated, in the arena.  CSN_E_NOT_FOUND, also when a layer is gone. */
int csn_frozen_get(int state_fd, const char *name, csn_arena *a, const char *const **layers,
                   csn_err *err) CSN_MUST;
/* Forgets it; a name that is not there is fine. */
void csn_frozen_drop(int state_fd, const char *name);
/* The same for a snapshot. */
void csn_frozen_drop_snapshot(int state_fd, const char *name);
/* All frozen workspaces and snapshots whose names begin with TOP and a dot. */
void csn_frozen_drop_of(int state_fd, const char *top);
/* Layers of that list, a line each, that nothing has: they go at once and not
 * with the next gc. */
void csn_frozen_drop_layers(int state_fd, csn_str layers);

/* What began with a snapshot says so in a file: the digest of its tree. */
enum { CSN_BEGAN_MAX = 100 };
int csn_began_with_read(int dir, csn_digest *tree, csn_err *err) CSN_MUST;
int csn_began_with_write(int dir, const csn_digest *tree, csn_err *err) CSN_MUST;

/* The name is that of a checkpoint whose run has its workspace. */
bool csn_frozen_is_of_run(const csn_snapshots *s, const char *name);
/* For gc: appends the layers that names here and workspaces of runs have, a
 * line each; calls fn with the tree of each run that began with a snapshot. */
int csn_frozen_kept(const csn_snapshots *s, csn_buf *layers,
                    void (*fn)(void *user, const csn_digest *tree), void *user,
                    csn_err *err) CSN_MUST;

#endif
