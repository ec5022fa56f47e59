/* SPDX-License-Identifier: Apache-2.0
 *
 * journal.h - where runs are kept: per run an append-only, hash-chained list
 * of records, and blobs by SHA-256.  One SQLite file (`caisson.db`, WAL) in
 * the state folder.
 *
 * A record is {seq, ts, kind, data, prev, hash} with
 *   hash = SHA-256(prev || header || data),  header = "<seq> <ts> <kind>\n"
 * exactly as stored; prev of record 0 is 32 zero bytes.  `data` is one JSON
 * value.  All records of one csn_journal_append() commit in one transaction;
 * appends of several threads at the same time share a commit.
 */
#ifndef CSN_STORE_JOURNAL_H
#define CSN_STORE_JOURNAL_H

#include "caisson/scope.h"
#include "core/hash.h"

typedef struct csn_store csn_store;     /* an open state database; any thread */
typedef struct csn_journal csn_journal; /* one run's records; one thread at a time */

typedef struct csn_record {
  int64_t seq;           /* from 0, without gaps */
  int64_t ts_ms;         /* Unix time */
  csn_str kind;          /* "input", "model_call", "note", ... */
  csn_str data;          /* serialised JSON */
  csn_digest prev, hash; /* filled by append and read */
} csn_record;

/* What `caisson runs` lists; kept beside the records for speed, derived from
 * them and rewritten by csn_journal_set_summary() in the same transaction. */
typedef struct csn_run_row {
  char id[32];
  csn_str state; /* running waiting done failed limit cancelled interrupted */
  csn_str agent, model, task;
  int64_t started_ms, updated_ms, turns, tokens;
  bool is_owned; /* a live process holds its lease */
} csn_run_row;

enum csn_durability { CSN_DURABLE_PROCESS, CSN_DURABLE_POWER }; /* synchronous NORMAL, FULL */

/* dir: descriptor of the state folder (made 0700 if it is not; files 0600). */
int csn_store_open(csn_store **out, int dir, enum csn_durability d, csn_err *err) CSN_MUST;
void csn_store_close(csn_store *s);

/* A new run with a random id that sorts by time.  Takes the lease. */
int csn_journal_new(csn_store *s, csn_journal **out, csn_err *err) CSN_MUST;
/* An existing run, by id or by a unique head of it.  With `own` it takes the
 * lease (CSN_E_CONFLICT naming the owner while another live process holds it)
 * and raises the fence; without, it only reads. */
int csn_journal_open(csn_store *s, csn_str id, bool own, csn_journal **out, csn_err *err) CSN_MUST;
/* Gives the lease back. */
void csn_journal_close(csn_journal *j);
const char *csn_journal_id(const csn_journal *j);
int64_t csn_journal_next_seq(const csn_journal *j);

/* Appends records (seq, prev and hash are filled in) in one transaction and
 * returns when it is committed.  summary may be NULL; of it, state, model,
 * turns and tokens are written.  CSN_E_CONFLICT when the fence moved on. */
int csn_journal_append(csn_journal *j, csn_record *records, size_t n, const csn_run_row *summary,
                       csn_err *err) CSN_MUST;
/* Calls fn for each record from `from` on, in order; negative ends it.  The
 * chain is verified while reading: a break is CSN_E_REPLAY naming the seq. */
int csn_journal_read(csn_journal *j, int64_t from,
                     int (*fn)(void *user, const csn_record *r, csn_err *err), void *user,
                     csn_err *err) CSN_MUST;
/* Greatest seq of a record of that kind, or -1. */
int64_t csn_journal_last(csn_journal *j, const char *kind);

/* Blobs: content by its SHA-256, shared by all runs. */
int csn_blob_put(csn_store *s, csn_str bytes, csn_digest *out, csn_err *err) CSN_MUST;
int csn_blob_get(csn_store *s, const csn_digest *d, csn_buf *out, csn_err *err) CSN_MUST;

/* Newest first. */
int csn_store_runs(csn_store *s, int (*fn)(void *user, const csn_run_row *r), void *user,
                   csn_err *err) CSN_MUST;
/* CSN_E_CONFLICT while a live process owns it. */
int csn_store_remove_run(csn_store *s, csn_str id, csn_err *err) CSN_MUST;
/* Removes blobs that no record names; returns how many. */
int csn_store_gc(csn_store *s, csn_err *err) CSN_MUST;

#endif
