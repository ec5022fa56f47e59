/* SPDX-License-Identifier: Apache-2.0
 * depot_int.h - what depot.c, depot_push.c, depot_pull.c and depot_keep.c share. */
#ifndef CSN_SANDBOX_DEPOT_INT_H
#define CSN_SANDBOX_DEPOT_INT_H

#include "sandbox/depot.h"

enum {
  CSN_DEPOT_ID = 40,              /* hexadecimal digits */
  CSN_DEPOT_RECORD_MAX = 8 << 20, /* a name's object */
  CSN_DEPOT_INDEX_MAX = 64 << 20,
  CSN_DEPOT_ROWS_MAX = 8 << 20, /* in memory */
  CSN_DEPOT_NAMES_MAX = 100000,
  CSN_DEPOT_PACKS_MAX = 50000,
};

/* A content there. */
typedef struct csn_depot_row {
  csn_digest digest;
  uint32_t pack; /* in d->packs */
  int64_t offset, size, stored;
} csn_depot_row;

typedef struct csn_depot_pack {
  char id[CSN_DEPOT_ID + 1];
  size_t key;    /* of the vault */
  int64_t bytes; /* what its rows need */
  bool is_loaded, is_needed;
} csn_depot_pack;

struct csn_depot {
  csn_objects *o;
  csn_vault *vault;
  csn_snapshots *s; /* borrowed */
  int parallel;
  csn_transfer_watch watch; /* fn NULL: nobody looks */
  int notes;                /* folder of s: what we know of this place */
  csn_depot_pack *packs;
  size_t n_packs;
  csn_depot_row *rows; /* sorted by digest when is_sorted */
  size_t n_rows, room;
  bool is_sorted;
  bool is_wary;         /* trusts no notes, and goes on past indexes that are damaged */
  pthread_mutex_t lock; /* guards packs and rows while indexes are loaded */
};

/* The record of a snapshot, with the packs that its contents are in. */
typedef struct csn_depot_record {
  csn_snapshot snapshot;
  char (*packs)[CSN_DEPOT_ID + 1];
  size_t n_packs;
} csn_depot_record;

void csn_depot_record_fini(csn_depot_record *r);

/* Locks of the place.  One that has not been written for so long is over. */
enum { CSN_DEPOT_LOCK_HOURS = 6 };
bool csn_depot_lock_is_over(const csn_object *lock);
/* Takes it away, whatever the caller's scope says. */
void csn_depot_unlock(csn_depot *d, const char *lock);

/* CSN_E_NOT_FOUND: there is nothing of ours in that place. */
int csn_depot_check_place(csn_depot *d, csn_scope *sc, csn_err *err) CSN_MUST;
int csn_depot_mark_place(csn_depot *d, csn_scope *sc, csn_err *err) CSN_MUST;

/* "names/NAME", as the i-th key makes it; false past the last. */
bool csn_depot_name_key(const csn_depot *d, const char *name, size_t i, char key[200]);
int csn_depot_record_get(csn_depot *d, csn_scope *sc, const char *name, csn_depot_record *out,
                         csn_err *err) CSN_MUST;
/* By its key. */
int csn_depot_record_at(csn_depot *d, csn_scope *sc, const char *key, csn_depot_record *out,
                        csn_err *err) CSN_MUST;
int csn_depot_record_put(csn_depot *d, csn_scope *sc, const csn_depot_record *r,
                         csn_err *err) CSN_MUST;
/* In the place of the one that is there, whichever key that has. */
int csn_depot_record_replace(csn_depot *d, csn_scope *sc, const csn_depot_record *r,
                             csn_err *err) CSN_MUST;
/* Keys of all records; free() l->p, also when it fails. */
typedef struct csn_depot_keys {
  char (*p)[200];
  size_t n;
} csn_depot_keys;
int csn_depot_keys_list(csn_depot *d, csn_scope *sc, csn_depot_keys *out, csn_err *err) CSN_MUST;
/* fn for each of them, in any order, one at a time. */
int csn_depot_records(csn_depot *d, csn_scope *sc,
                      int (*fn)(void *user, const csn_depot_record *r, csn_err *err), void *user,
                      csn_err *err) CSN_MUST;

/* The pack of that name, noted when it is new. */
size_t csn_depot_pack_of(csn_depot *d, const char *id);
/* Reads the indexes of packs that were not yet, some at once. */
int csn_depot_load(csn_depot *d, csn_scope *sc, csn_err *err) CSN_MUST;
/* The same for all packs that the place has. */
int csn_depot_load_all(csn_depot *d, csn_scope *sc, csn_err *err) CSN_MUST;
void csn_depot_row_add(csn_depot *d, const csn_depot_row *row);
const csn_depot_row *csn_depot_row_find(csn_depot *d, const csn_digest *digest);
bool csn_depot_is_id(csn_str id);
/* The text of an index. */
void csn_depot_index_write(const csn_depot_row *rows, size_t n, csn_buf *out);

/* What a sealed content is bound to. */
csn_str csn_depot_binding(char text[64], const csn_digest *digest);

/* Contents, in any order (they are sorted): fetched and handed to fn, packed, as
 * bytes of a file.  CSN_E_PARSE of fn: fetched once more. */
typedef int csn_depot_fetched_fn(void *user, const csn_depot_row *row, int fd, int64_t at,
                                 int64_t n, csn_err *err);
int csn_depot_fetch(csn_depot *d, csn_scope *sc, csn_depot_row *rows, size_t n,
                    csn_depot_fetched_fn *fn, void *user, csn_depot_moved *moved,
                    csn_err *err) CSN_MUST;

/* An unnamed file for what comes and goes. */
int csn_depot_spool(const csn_depot *d, csn_err *err) CSN_MUST;

#endif
