/* SPDX-License-Identifier: Apache-2.0
 *
 * journal.h - where runs are kept: per run an append-only, hash-chained list
 * of records, and blobs by SHA-256.  One SQLite file (`caisson.db`, WAL) in
 * the state folder, or a PostgreSQL database.
 *
 * A record is {seq, ts, kind, data, prev, hash} with
 *   hash = SHA-256(prev || header || data),  header = "<seq> <ts> <kind>\n"
 * exactly as stored; prev of record 0 is 32 zero bytes.  `data` is one JSON
 * value.  When it is longer than CSN_RECORD_INLINE it is kept as a blob and
 * "@<sha-256 in hex> <size>" is stored in its place (no JSON value begins with
 * "@"), which readers do not notice.  docs/journal.md shows how to verify a
 * journal by hand.  All records of one csn_journal_append() commit in one
 * transaction; appends of several threads at the same time share a commit.
 */
#ifndef CSN_STORE_JOURNAL_H
#define CSN_STORE_JOURNAL_H

#include "caisson/scope.h"
#include "core/hash.h"

typedef struct csn_store csn_store;     /* an open state database; any thread */
typedef struct csn_journal csn_journal; /* one run's records; one thread at a time */

#define CSN_RECORD_INLINE ((size_t)64 << 10) /* longer data becomes a blob */
#define CSN_BLOB_MAX ((size_t)256 << 20)     /* of a blob and of a record's data */

typedef struct csn_record {
  int64_t seq;           /* from 0, without gaps */
  int64_t ts_ms;         /* Unix time */
  csn_str kind;          /* "input", "model_call", "note", ...; [A-Za-z0-9_.:-], 1 to 64 bytes */
  csn_str data;          /* serialised JSON */
  csn_digest prev, hash; /* filled by append and read */
  /* For append: the blobs that data speaks of; they live as long as the run.
   * Each must exist (CSN_E_NOT_FOUND).  Not filled by read. */
  const csn_digest *blobs;
  size_t n_blobs;
  csn_str stored; /* by read: the bytes that the hash covers; data, or what stands in its place */
  bool is_erased; /* by read: its data was a blob and csn_blob_drop() took it; data is "null" */
} csn_record;

/* What `caisson runs` lists; kept beside the records for speed and written
 * with them by csn_journal_append(). */
typedef struct csn_run_row {
  char id[32];
  csn_str state; /* running waiting ready done failed limit cancelled interrupted */
  csn_str agent, model, task;
  int64_t started_ms, updated_ms, turns, tokens;
  bool is_owned; /* a live process holds its lease */
} csn_run_row;

enum csn_durability { CSN_DURABLE_PROCESS, CSN_DURABLE_POWER }; /* synchronous NORMAL, FULL */

/* dir: descriptor of the state folder (made 0700 if it is not; files 0600);
 * borrowed during the call.  A database of a newer format is
 * CSN_E_UNSUPPORTED and stays as it is. */
int csn_store_open(csn_store **out, int dir, enum csn_durability d, csn_err *err) CSN_MUST;
/* A PostgreSQL database by its URL; what is not in it comes from libpq's own
 * variables and files.  Makes the tables.  Each call on such a store is tried
 * again for 30 s when the connection is lost: then CSN_E_IO. */
int csn_store_connect(csn_store **out, const char *url, csn_err *err) CSN_MUST;
/* After all its journals were closed. */
void csn_store_close(csn_store *s);

/* A new run with a random id that sorts by time.  Takes the lease. */
int csn_journal_new(csn_store *s, csn_journal **out, csn_err *err) CSN_MUST;
/* An existing run, by id or by a unique head of it (CSN_E_INVALID lists
 * the runs when several begin so).  With `own` it takes the lease (CSN_E_CONFLICT
 * naming the owner while a live process, this one too, holds it) and raises
 * the fence; without, it only reads. */
int csn_journal_open(csn_store *s, csn_str id, bool own, csn_journal **out, csn_err *err) CSN_MUST;
/* Gives the lease back. */
void csn_journal_close(csn_journal *j);
const char *csn_journal_id(const csn_journal *j);
int64_t csn_journal_next_seq(const csn_journal *j);
/* Hash of the last record. */
csn_digest csn_journal_head(const csn_journal *j);

/* Appends records (seq, prev and hash are filled in) in one transaction and
 * returns when it is committed.  summary may be NULL; of it, turns, tokens and
 * those of state, agent, model and task that are not empty are written.  When
 * it fails nothing was appended: CSN_E_CONFLICT when the fence moved on,
 * CSN_E_IO when the disk is full (may be tried again), CSN_E_UNAVAILABLE when
 * another process kept the database locked for 10 s. */
int csn_journal_append(csn_journal *j, csn_record *records, size_t n, const csn_run_row *summary,
                       csn_err *err) CSN_MUST;
/* Calls fn for each record from `from` on, in order; negative ends it.  The
 * chain is verified while reading: a break is CSN_E_REPLAY naming the seq. */
int csn_journal_read(csn_journal *j, int64_t from,
                     int (*fn)(void *user, const csn_record *r, csn_err *err), void *user,
                     csn_err *err) CSN_MUST;
/* The hash of a record, from the one before. */
csn_digest csn_chain_hash(const csn_digest *prev, int64_t seq, int64_t ts_ms, csn_str kind,
                          csn_str stored);
/* Greatest seq of a record of that kind, or -1. */
int64_t csn_journal_last(csn_journal *j, const char *kind);

/* Blobs: content by its SHA-256, shared by all runs.  One that no record
 * names is kept for an hour at least. */
int csn_blob_put(csn_store *s, csn_str bytes, csn_digest *out, csn_err *err) CSN_MUST;
/* Appends the content to out.  CSN_E_NOT_FOUND; CSN_E_LIMIT when it does not
 * fit under out's cap; CSN_E_REPLAY when it is not what was put. */
int csn_blob_get(csn_store *s, const csn_digest *d, csn_buf *out, csn_err *err) CSN_MUST;
/* Erases the content for good, although records name it; chains still verify. */
int csn_blob_drop(csn_store *s, const csn_digest *d, csn_err *err) CSN_MUST;

/* Newest first; the row is valid during the call; negative from fn ends it. */
int csn_store_runs(csn_store *s, int (*fn)(void *user, const csn_run_row *r), void *user,
                   csn_err *err) CSN_MUST;
/* CSN_E_CONFLICT while a live process owns it. */
int csn_store_remove_run(csn_store *s, csn_str id, csn_err *err) CSN_MUST;
/* Removes blobs that no record names and that were put more than an hour ago;
 * gives the space back to the file system; returns how many. */
int csn_store_gc(csn_store *s, csn_err *err) CSN_MUST;

#endif
