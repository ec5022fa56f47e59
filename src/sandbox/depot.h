/* SPDX-License-Identifier: Apache-2.0
 *
 * depot.h - snapshots in another place: a bucket, or a folder on another disk.
 *
 *   caisson.json     what this is; its format, and whether it is sealed
 *   names/NAME       a snapshot: its tree, and which packs its contents are in
 *   index/ID         what a pack holds: digests, places, sizes
 *   packs/ID         contents, packed by zstd, one after another
 *   locks/           pushes that are under way, and gc
 *
 * Objects are written once: packs, then their index, then the name, so what has
 * a name is whole.  What comes from there is compared with its digest before it
 * counts.  With a vault all of them are sealed, and NAME and ID are HMACs.
 *
 * A depot is for one thread.  Errors are those of store/objects.h, and
 * CSN_E_PARSE for what is damaged there.
 */
#ifndef CSN_SANDBOX_DEPOT_H
#define CSN_SANDBOX_DEPOT_H

#include "sandbox/snapshots.h"
#include "store/transfer.h"

typedef struct csn_depot csn_depot;

/* Takes objects and vault (may be NULL), also when it fails; borrows the store
 * of this machine, where it notes how far it is.  Asks nobody yet. */
int csn_depot_open(csn_depot **out, csn_objects *objects, csn_vault *vault, csn_snapshots *s,
                   int parallel, csn_err *err) CSN_MUST;
void csn_depot_free(csn_depot *d);
CSN_FREER(depot)
/* "s3://BUCKET/PREFIX" */
const char *csn_depot_place(const csn_depot *d);
/* Called while contents are on their way. */
void csn_depot_watch(csn_depot *d, void (*fn)(void *user, int64_t done, int64_t all), void *user);

typedef struct csn_depot_moved {
  bool was_there;          /* the snapshot, whole */
  bool is_tagged;          /* it was, and has the tag now that it has here */
  int64_t contents, packs; /* that were moved */
  int64_t bytes_sent;      /* or fetched */
  int64_t bytes_there;     /* of an upload that was cut and has gone on */
} csn_depot_moved;

/* Puts a snapshot of this machine there: contents that the place lacks.  Run
 * again after a failure it goes on where it was.  Of one that is there a tag
 * follows; one that it has only there stays.  CSN_E_EXISTS: another snapshot
 * has the name there; CSN_E_CONFLICT: a gc is under way there, or another push. */
int csn_depot_push(csn_depot *d, csn_scope *sc, const char *name, csn_depot_moved *out,
                   csn_err *err) CSN_MUST;
/* Gets a snapshot from there: contents that we lack.  as: its name here, where
 * the same snapshot may have it already (else CSN_E_EXISTS); NULL: it gets none, and is
 * good for as long as the lock of the store is held. */
int csn_depot_pull(csn_depot *d, csn_scope *sc, const char *name, const char *as, csn_snapshot *out,
                   csn_depot_moved *moved, csn_err *err) CSN_MUST;

int csn_depot_find(csn_depot *d, csn_scope *sc, const char *name, csn_snapshot *out,
                   csn_err *err) CSN_MUST;
/* In the order of names.  free() *list.  One that cannot be read is an error. */
int csn_depot_list(csn_depot *d, csn_scope *sc, csn_snapshot **list, size_t *n,
                   csn_err *err) CSN_MUST;
/* The list of its files. */
int csn_depot_tree(csn_depot *d, csn_scope *sc, const csn_snapshot *r, csn_snap_tree *out,
                   csn_err *err) CSN_MUST;
/* Forgets the name; CSN_E_NOT_FOUND. */
int csn_depot_remove(csn_depot *d, csn_scope *sc, const char *name, csn_err *err) CSN_MUST;
/* fn gets a line for what is damaged; the number of lines.  `quick`: what there
 * is is not read, only asked for. */
int csn_depot_verify(csn_depot *d, csn_scope *sc, bool quick,
                     void (*fn)(void *user, const char *line), void *user, csn_err *err) CSN_MUST;
/* As csn_snapshots_gc().  CSN_E_CONFLICT while somebody pushes: a push that has
 * said nothing for six hours is over. */
int csn_depot_gc(csn_depot *d, csn_scope *sc, const csn_retention *keep, csn_snapshots_swept *out,
                 csn_err *err) CSN_MUST;

#endif
