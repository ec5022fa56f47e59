/* SPDX-License-Identifier: Apache-2.0
 *
 * snapshots.h - saved workspaces, in the folder snapshots/ of a state folder:
 *   names/NAME        a snapshot: which tree, when, how much; JSON
 *   packs/            the contents of all files and the trees (store/pack.h)
 *   layers/           trees unpacked, and frozen workspaces (sandbox/stack.h)
 *   unpacked/TREE     the layers that are that tree, and since which start of
 *                     the machine: older ones may have lost what was not flushed
 *   work/             workspaces of sandboxes that begin with a snapshot
 *   lock              flock: shared by who reads or adds, exclusive for who drops
 *   sealed            with keys: it can be opened with one of them
 *
 * With keys the packs and records are encrypted, and what is found by a digest is
 * found by an HMAC of it; names of snapshots are not hidden (snap_seal.c).
 *
 * A snapshot is on the disk before it has a name.  Layers are a cache: what
 * counts is in the packs, whose contents are checked whenever they are read.
 */
#ifndef CSN_SANDBOX_SNAPSHOTS_H
#define CSN_SANDBOX_SNAPSHOTS_H

#include "caisson/json.h"
#include "sandbox/retention.h"
#include "sandbox/snap_walk.h"

typedef struct csn_snapshots {
  int dir, names, layers, unpacked, work, packs_dir, lock;
  csn_vault *vault; /* NULL: it is not encrypted */
  csn_packs *packs;
} csn_snapshots;

enum { CSN_SNAPSHOT_NAME_MAX = 100 };

typedef struct csn_snapshot {
  char name[CSN_SNAPSHOT_NAME_MAX + 1];
  csn_digest tree;
  int64_t created_ms, files, bytes;
  int64_t left_out, links_out;         /* see csn_snap_walk */
  char tag[CSN_SNAPSHOT_NAME_MAX + 1]; /* "": it has none */
} csn_snapshot;

/* Opens the store, made when missing, with the shared lock.  It is encrypted as a
 * whole, with the keys of `vault` (which the store shares from now on), or, with
 * NULL, not at all: what is otherwise is CSN_E_DENIED. */
int csn_snapshots_open(csn_snapshots **out, int state_fd, csn_vault *vault, csn_err *err) CSN_MUST;
void csn_snapshots_free(csn_snapshots *s);
CSN_FREER(snapshots)

/* CSN_E_INVALID for what cannot be a name. */
int csn_snapshot_name_check(const char *name, csn_err *err) CSN_MUST;
/* CSN_E_NOT_FOUND; CSN_E_PARSE for one that is damaged. */
int csn_snapshot_find(const csn_snapshots *s, const char *name, csn_snapshot *out,
                      csn_err *err) CSN_MUST;
/* In the order of names; those that are damaged are left out.  free() *list. */
int csn_snapshot_list(const csn_snapshots *s, csn_snapshot **list, size_t *n,
                      csn_err *err) CSN_MUST;
/* By name. */
void csn_snapshot_sort(csn_snapshot *list, size_t n);
int csn_snapshot_tree(const csn_snapshots *s, csn_scope *sc, const csn_digest *tree,
                      csn_snap_tree *out, csn_err *err) CSN_MUST;
void csn_snapshot_to_json(const csn_snapshot *r, csn_jw *w);
/* The record of a snapshot in a store, without its name: members of an object
 * that is open, and back (CSN_E_PARSE). */
void csn_snapshot_record_write(const csn_snapshot *r, csn_jw *w);
int csn_snapshot_record_read(const csn_json *v, csn_snapshot *out, csn_err *err) CSN_MUST;
/* A record's text gets a line with its SHA-256, and that line is looked at and
 * taken off again (CSN_E_PARSE). */
void csn_snapshot_record_close(csn_buf *text);
int csn_snapshot_record_open(csn_str *text, csn_err *err) CSN_MUST;
/* Gives a snapshot whose contents the packs have a name; CSN_E_EXISTS. */
int csn_snapshot_add(csn_snapshots *s, const csn_snapshot *r, csn_err *err) CSN_MUST;
/* tag: a name, or "" for none. */
int csn_snapshot_tag(csn_snapshots *s, const char *name, const char *tag, csn_err *err) CSN_MUST;

/* What is told while one is saved; a line for each entry of concern. */
typedef struct csn_snapshot_saving {
  const char *name;        /* CSN_E_EXISTS when it is taken */
  const char *const *omit; /* see csn_snap_walk */
  csn_buf *told;
} csn_snapshot_saving;

/* Saves a folder as it is. */
int csn_snapshot_save(csn_snapshots *s, csn_scope *sc, const csn_snapshot_saving *how, int folder,
                      csn_snapshot *out, csn_err *err) CSN_MUST;
/* Saves a frozen workspace, whose layers are in s->layers.  What of them is the
 * unpacked form of `base` (may be NULL) is not looked at again. */
int csn_snapshot_save_layers(csn_snapshots *s, csn_scope *sc, const csn_snapshot_saving *how,
                             const csn_snapshot *base, const char *const *layers, csn_snapshot *out,
                             csn_err *err) CSN_MUST;
/* Freezes the workspace of layers in `folder`, which nobody uses, and saves it. */
int csn_snapshot_save_stack(csn_snapshots *s, csn_scope *sc, const csn_snapshot_saving *how,
                            const csn_snapshot *base, int folder, csn_snapshot *out,
                            csn_err *err) CSN_MUST;
/* The layers of s->layers that are this snapshot; unpacked first when there
 * are none.  NULL-terminated, in the arena. */
int csn_snapshot_layers(csn_snapshots *s, csn_scope *sc, const csn_snapshot *r, csn_arena *a,
                        const char *const **layers, csn_err *err) CSN_MUST;
/* Into an empty folder. */
int csn_snapshot_restore(csn_snapshots *s, csn_scope *sc, const csn_snapshot *r, int folder,
                         csn_err *err) CSN_MUST;

/* A tar archive that every tar reads; the same snapshot gives the same bytes. */
int csn_snapshot_export(csn_snapshots *s, csn_scope *sc, const csn_snapshot *r, int fd,
                        csn_err *err) CSN_MUST;
/* An archive, packed or not, of anybody's: what would not stay inside, or is
 * neither file nor folder nor link, is CSN_E_DENIED. */
int csn_snapshot_import(csn_snapshots *s, csn_scope *sc, const csn_snapshot_saving *how, int fd,
                        csn_snapshot *out, csn_err *err) CSN_MUST;

/* Forgets the name; csn_snapshots_gc() gives back what it took. */
int csn_snapshot_remove(csn_snapshots *s, const char *name, csn_err *err) CSN_MUST;

typedef struct csn_snapshots_swept {
  int64_t snapshots, layers, bytes; /* bytes: of packs */
} csn_snapshots_swept;
/* Forgets snapshots that no rule keeps and drops what none that is left needs.
 * CSN_E_CONFLICT while others use the store; CSN_E_PARSE, and
 * nothing is dropped, when a snapshot cannot be read. */
int csn_snapshots_gc(csn_snapshots *s, csn_scope *sc, const csn_retention *keep,
                     csn_snapshots_swept *out, csn_err *err) CSN_MUST;
/* Reads everything; fn gets a line for what is damaged, and which snapshot
 * cannot be restored because of that.  The number of lines.  Unpacked layers
 * that are not their tree are told and will not be used again. */
int csn_snapshots_verify(csn_snapshots *s, csn_scope *sc, void (*fn)(void *user, const char *line),
                         void *user, csn_err *err) CSN_MUST;

/* ---- snap_seal.c */

/* With the shared lock: whether the store is of that kind and these keys; one that
 * is empty becomes it. */
int csn_snapshots_check_seal(const csn_snapshots *s, csn_err *err) CSN_MUST;
/* A record as it is stored, and back. */
int csn_snapshot_record_seal(const csn_snapshots *s, const char *name, csn_buf *text,
                             csn_err *err) CSN_MUST;
int csn_snapshot_record_unseal(const csn_snapshots *s, const char *name, csn_buf *text,
                               csn_err *err) CSN_MUST;
/* The name of a tree in unpacked/. */
void csn_unpacked_name(const csn_snapshots *s, const csn_digest *tree, char hex[65]);

/* Of the unpacked form, for gc and verify. */
int csn_unpacked_read(const csn_snapshots *s, const csn_digest *tree, csn_buf *text,
                      csn_err *err) CSN_MUST;
bool csn_unpacked_next(csn_str *text, csn_str *layer);

#endif
