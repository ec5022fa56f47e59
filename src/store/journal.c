/* SPDX-License-Identifier: Apache-2.0
 *
 * journal.c - one run's records: open, own, append.
 *
 * Hashing and compressing happen in the caller's thread, before the shared
 * transaction.  There, one UPDATE of the run's row checks the fence, moves
 * the head of the chain and renews the lease; then come the records.
 */
#include <stdio.h>

#include "store/db.h"

enum {
  SUMMARY_MAX = 480,  /* bytes of a text in the list of runs */
  REFERENCE_MAX = 96, /* "@" 64 digits " " size */
  APPEND_ON_STACK = 8,
  DYING_MS = 250,
  ID_TIME = 9, /* base-32 digits of milliseconds: until the year 3084 */
  ID_RANDOM = 4,
};

/* --- open and close */

static void
new_id(int64_t now_ms, char out[32])
{
  static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
  unsigned char r[ID_RANDOM];
  csn_random_bytes(r, sizeof r);
  for (int i = 0; i < ID_TIME; i++)
    out[i] = digits[(now_ms >> (5 * (ID_TIME - 1 - i))) & 31];
  for (int i = 0; i < ID_RANDOM; i++)
    out[ID_TIME + i] = digits[r[i] & 31];
  out[ID_TIME + ID_RANDOM] = '\0';
}

struct open_job {
  csn_job job;
  csn_store *store;
  csn_str id;
  csn_run_head head;
};

static int
add_run(csn_job *job, csn_db *db, csn_err *err)
{
  struct open_job *o = (struct open_job *)job;
  int64_t now = csn_unix_ms();
  o->head = (csn_run_head){.fence = 1};
  for (int i = 0; i < 16; i++) { /* a taken id is 1 in a million per run of the same millisecond */
    new_id(now, o->head.id);
    sqlite3_stmt *st = csn_db_stmt(db, SQL_RUN_ADD);
    sqlite3_bind_text(st, 1, o->head.id, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, o->store->self, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 3, now + STORE_LEASE_MS);
    sqlite3_bind_int64(st, 4, now);
    int rc = csn_db_run(db, st, err);
    if (rc >= 0)
      o->head.no = sqlite3_last_insert_rowid(db->sq);
    if (rc >= 0 || sqlite3_errcode(db->sq) != SQLITE_CONSTRAINT)
      return rc;
  }
  return csn_fail(err, CSN_E_CONFLICT, "no free run id; try again");
}

static int
take_run(csn_job *job, csn_db *db, csn_err *err)
{
  struct open_job *o = (struct open_job *)job;
  int64_t now = csn_unix_ms();
  int rc = csn_run_find(db, o->id, &o->head, err);
  if (rc >= 0)
    rc = csn_run_check_free(&o->head, now, err);
  if (rc < 0)
    return rc;
  sqlite3_stmt *st = csn_db_stmt(db, SQL_RUN_TAKE);
  sqlite3_bind_int64(st, 1, o->head.no);
  sqlite3_bind_text(st, 2, o->store->self, -1, SQLITE_STATIC);
  sqlite3_bind_int64(st, 3, now + STORE_LEASE_MS);
  o->head.fence++;
  return csn_db_run(db, st, err);
}

static csn_journal *
journal_of(csn_store *s, const csn_run_head *h, bool owns)
{
  csn_journal *j = csn_alloc(sizeof *j);
  *j = (csn_journal){
      .store = s,
      .no = h->no,
      .fence = h->fence,
      .next_seq = h->next_seq,
      .head = h->head,
      .owns = owns,
  };
  memcpy(j->id, h->id, sizeof j->id);
  return j;
}

struct release_job {
  csn_job job;
  struct csn_owed owed;
};

static int
release_run(csn_job *job, csn_db *db, csn_err *err)
{
  const struct csn_owed *j = &((struct release_job *)job)->owed;
  sqlite3_stmt *st = csn_db_stmt(db, SQL_RUN_RELEASE);
  sqlite3_bind_int64(st, 1, j->no);
  sqlite3_bind_int64(st, 2, j->fence);
  return csn_db_run(db, st, err);
}

/* What fails is owed: it is tried again when the next journal is opened or
 * closed, and the end of this process gives the run free in any case. */
static void
release(csn_store *s, struct csn_owed owed)
{
  struct release_job job = {.job.fn = release_run, .owed = owed};
  if (csn_store_commit(s, &job.job, NULL) >= 0)
    return;
  pthread_mutex_lock(&s->lock);
  s->owed = csn_realloc(s->owed, s->n_owed + 1, sizeof *s->owed);
  s->owed[s->n_owed++] = owed;
  pthread_mutex_unlock(&s->lock);
}

void
csn_store_settle(csn_store *s)
{
  pthread_mutex_lock(&s->lock);
  size_t n = s->n_owed;
  struct csn_owed *owed = csn_steal(s->owed);
  s->n_owed = 0;
  pthread_mutex_unlock(&s->lock);
  for (size_t i = 0; i < n; i++)
    release(s, owed[i]);
  free(owed);
}

int
csn_journal_new(csn_store *s, csn_journal **out, csn_err *err)
{
  struct open_job o = {.job.fn = add_run, .store = s};
  csn_store_settle(s);
  int rc = csn_store_commit(s, &o.job, err);
  if (rc >= 0)
    *out = journal_of(s, &o.head, true);
  return rc;
}

int
csn_journal_open(csn_store *s, csn_str id, bool own, csn_journal **out, csn_err *err)
{
  struct open_job o = {.job.fn = take_run, .store = s, .id = id};
  int rc;
  csn_store_settle(s);
  if (own) {
    /* A killed process is dying for some milliseconds: then it is no owner. */
    int64_t until_ns = csn_now_ns() + DYING_MS * INT64_C(1000000);
    for (int i = 0; (rc = csn_store_commit(s, &o.job, err)) == CSN_E_CONFLICT; i++)
      if (csn_now_ns() > until_ns || csn_str_eq(csn_cstr(o.head.owner), csn_cstr(s->self)) ||
          !csn_db_busy(s, i))
        break;
  } else {
    csn_db *db;
    rc = csn_reader_take(s, &db, err);
    if (rc < 0)
      return rc;
    rc = csn_run_find(db, id, &o.head, err);
    csn_reader_give(s, db);
  }
  if (rc >= 0)
    *out = journal_of(s, &o.head, own);
  return rc;
}

void
csn_journal_close(csn_journal *j)
{
  if (!j)
    return;
  csn_store_settle(j->store);
  if (j->owns)
    release(j->store, (struct csn_owed){j->no, j->fence});
  free(j);
}

const char *
csn_journal_id(const csn_journal *j)
{
  return j->id;
}

int64_t
csn_journal_next_seq(const csn_journal *j)
{
  return j->next_seq;
}

csn_digest
csn_journal_head(const csn_journal *j)
{
  return j->head;
}

/* --- append */

/* A record as it will stand in its row. */
struct stored {
  csn_str data;
  bool is_moved;
  char reference[REFERENCE_MAX];
  csn_packed packed; /* when is_moved */
};

struct append_job {
  csn_job job;
  csn_journal *j;
  const csn_record *records;
  struct stored *stored;
  size_t n;
  const csn_run_row *summary;
};

static int
check_records(const csn_journal *j, const csn_record *r, size_t n, csn_err *err)
{
  if (!j->owns)
    return csn_fail(err, CSN_E_INVALID, "run %s: its journal was opened for reading only", j->id);
  if (j->next_seq + (int64_t)n > (int64_t)UINT32_MAX)
    return csn_fail(err, CSN_E_LIMIT, "run %s: its journal is full (2^32 records)", j->id);
  for (size_t i = 0; i < n; i++) {
    if (!csn_kind_check(r[i].kind))
      return csn_fail(err, CSN_E_INVALID, "record %zu: bad kind '%.*s'", i,
                      (int)(r[i].kind.n < 80 ? r[i].kind.n : 80), r[i].kind.p ? r[i].kind.p : "");
    if (!r[i].data.n || r[i].data.p[0] == '@')
      return csn_fail(err, CSN_E_INVALID, "record %zu (%.*s): data is no JSON value", i,
                      (int)r[i].kind.n, r[i].kind.p);
    if (r[i].data.n > CSN_BLOB_MAX)
      return csn_fail(err, CSN_E_LIMIT, "record %zu (%.*s): %zu bytes, at most %zu", i,
                      (int)r[i].kind.n, r[i].kind.p, r[i].data.n, CSN_BLOB_MAX);
  }
  return 0;
}

static void
store_form(struct stored *s, csn_str data)
{
  s->data = data;
  s->is_moved = data.n > CSN_RECORD_INLINE;
  if (!s->is_moved)
    return;
  csn_packed_init(&s->packed, data);
  char hex[65];
  csn_digest_hex(&s->packed.digest, hex);
  int n = snprintf(s->reference, sizeof s->reference, "@%s %zu", hex, data.n);
  s->data = csn_strn(s->reference, (size_t)n);
}

static void
bind_str(sqlite3_stmt *st, int at, csn_str s)
{
  sqlite3_bind_text64(st, at, s.p, s.n, SQLITE_STATIC, SQLITE_UTF8);
}

/* An empty text keeps what is there. */
static void
bind_summary(sqlite3_stmt *st, int at, csn_str s)
{
  if (s.n > SUMMARY_MAX)
    s.n = csn_utf8_valid(csn_strn(s.p, SUMMARY_MAX));
  if (s.n)
    bind_str(st, at, s);
  else
    sqlite3_bind_null(st, at);
}

/* Says why the run's row did not take the update. */
static int
fail_fence(csn_db *db, const csn_journal *j, csn_err *err)
{
  csn_run_head h;
  int rc = csn_run_get(db, j->no, &h, err);
  if (rc < 0)
    return csn_wrap(err, rc, "run %s", j->id);
  if (h.fence == j->fence)
    return csn_fail(err, CSN_E_REPLAY, "run %s: its row was altered: next is %lld, expected %lld",
                    j->id, (long long)h.next_seq, (long long)j->next_seq);
  return csn_fail(err, CSN_E_CONFLICT, "run %s was taken over%s%s; this process no longer owns it",
                  j->id, *h.owner ? " by " : "", h.owner);
}

static int
advance_run(csn_db *db, const struct append_job *a, int64_t now, csn_err *err)
{
  const csn_journal *j = a->j;
  const csn_run_row *sum = a->summary;
  const csn_digest *head = a->n ? &a->records[a->n - 1].hash : &j->head;
  csn_run_row none = {0};
  sqlite3_stmt *st = csn_db_stmt(db, SQL_RUN_ADVANCE);
  sqlite3_bind_int64(st, 1, j->no);
  sqlite3_bind_int64(st, 2, j->fence);
  sqlite3_bind_int64(st, 3, j->next_seq);
  sqlite3_bind_int64(st, 4, j->next_seq + (int64_t)a->n);
  sqlite3_bind_blob(st, 5, head->b, sizeof head->b, SQLITE_STATIC);
  sqlite3_bind_int64(st, 6, now);
  sqlite3_bind_int64(st, 7, now + STORE_LEASE_MS);
  const csn_run_row *row = sum ? sum : &none;
  bind_summary(st, 8, row->state);
  bind_summary(st, 9, row->agent);
  bind_summary(st, 10, row->model);
  bind_summary(st, 11, row->task);
  if (sum) {
    sqlite3_bind_int64(st, 12, sum->turns);
    sqlite3_bind_int64(st, 13, sum->tokens);
  } else {
    sqlite3_bind_null(st, 12);
    sqlite3_bind_null(st, 13);
  }
  int rc = csn_db_run(db, st, err);
  if (rc >= 0 && sqlite3_changes(db->sq) == 0)
    rc = fail_fence(db, j, err);
  return rc;
}

static int
add_record(csn_db *db, int64_t run_no, const csn_record *r, const struct stored *s, int64_t now,
           csn_err *err)
{
  int rc = 0;
  if (s->is_moved) {
    rc = csn_packed_store(db, &s->packed, now, err);
    if (rc >= 0)
      rc = csn_blob_ref(db, run_no, &s->packed.digest, err);
  }
  for (size_t i = 0; rc >= 0 && i < r->n_blobs; i++)
    rc = csn_blob_ref(db, run_no, &r->blobs[i], err);
  if (rc < 0)
    return rc;
  sqlite3_stmt *st = csn_db_stmt(db, SQL_RECORD_ADD);
  sqlite3_bind_int64(st, 1, csn_record_pos(run_no, r->seq));
  sqlite3_bind_int64(st, 2, r->ts_ms);
  bind_str(st, 3, r->kind);
  sqlite3_bind_blob(st, 4, r->hash.b, sizeof r->hash.b, SQLITE_STATIC);
  bind_str(st, 5, s->data);
  return csn_db_run(db, st, err);
}

static int
append_all(csn_job *job, csn_db *db, csn_err *err)
{
  const struct append_job *a = (const struct append_job *)job;
  int64_t now = csn_unix_ms();
  int rc = advance_run(db, a, now, err);
  for (size_t i = 0; rc >= 0 && i < a->n; i++)
    rc = add_record(db, a->j->no, &a->records[i], &a->stored[i], now, err);
  return rc;
}

int
csn_journal_append(csn_journal *j, csn_record *records, size_t n, const csn_run_row *summary,
                   csn_err *err)
{
  int rc = check_records(j, records, n, err);
  if (rc < 0)
    return rc;
  struct stored few[APPEND_ON_STACK];
  csn_auto(csn_freep) struct stored *many =
      n > APPEND_ON_STACK ? csn_realloc(NULL, n, sizeof *many) : NULL;
  struct stored *stored = many ? many : few;
  const csn_digest *prev = &j->head;
  for (size_t i = 0; i < n; i++) {
    csn_record *r = &records[i];
    store_form(&stored[i], r->data);
    r->seq = j->next_seq + (int64_t)i;
    r->prev = *prev;
    r->hash = csn_chain_hash(&r->prev, r->seq, r->ts_ms, r->kind, stored[i].data);
    prev = &r->hash;
  }
  struct append_job a = {
      .job.fn = append_all,
      .j = j,
      .records = records,
      .stored = stored,
      .n = n,
      .summary = summary,
  };
  rc = csn_store_commit(j->store, &a.job, err);
  if (rc >= 0) {
    j->next_seq += (int64_t)n;
    j->head = *prev;
  }
  for (size_t i = 0; i < n; i++)
    if (stored[i].is_moved)
      csn_packed_fini(&stored[i].packed);
  return rc < 0 ? rc : 0;
}
