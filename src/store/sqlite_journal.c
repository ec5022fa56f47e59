/* SPDX-License-Identifier: Apache-2.0
 *
 * sqlite_journal.c - runs and their records in SQLite.
 *
 * One UPDATE of the run's row checks the fence, moves the head of the chain
 * and renews the lease; then come the records.  Reading happens in one
 * transaction, so what is read is what was there when it began.
 */
#include "store/db.h"

/* ---- owning ---- */

struct open_job {
  csn_job job;
  const char *self;
  csn_str id;
  csn_run_head *head;
};

static int
add_run(csn_job *job, csn_db *db, csn_err *err)
{
  struct open_job *o = (struct open_job *)job;
  int64_t now = csn_unix_ms();
  *o->head = (csn_run_head){.fence = 1};
  for (int i = 0; i < 16; i++) { /* a taken id is 1 in a million per run of the same millisecond */
    csn_run_id_new(now, o->head->id);
    sqlite3_stmt *st = csn_db_stmt(db, SQL_RUN_ADD);
    sqlite3_bind_text(st, 1, o->head->id, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, o->self, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 3, now + STORE_LEASE_MS);
    sqlite3_bind_int64(st, 4, now);
    int rc = csn_db_run(db, st, err);
    if (rc >= 0)
      o->head->no = sqlite3_last_insert_rowid(db->sq);
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
  int rc = csn_run_find(db, o->id, o->head, err);
  if (rc >= 0)
    rc = csn_run_check_free(o->head, now, err);
  if (rc < 0)
    return rc;
  sqlite3_stmt *st = csn_db_stmt(db, SQL_RUN_TAKE);
  sqlite3_bind_int64(st, 1, o->head->no);
  sqlite3_bind_text(st, 2, o->self, -1, SQLITE_STATIC);
  sqlite3_bind_int64(st, 3, now + STORE_LEASE_MS);
  o->head->fence++;
  return csn_db_run(db, st, err);
}

int
csn_lite_run_add(csn_store *s, csn_run_head *out, csn_err *err)
{
  struct open_job o = {.job.fn = add_run, .self = s->self, .head = out};
  return csn_store_commit(csn_lite_of(s), &o.job, err);
}

int
csn_lite_run_take(csn_store *s, csn_str id, csn_run_head *out, csn_err *err)
{
  struct open_job o = {.job.fn = take_run, .self = s->self, .id = id, .head = out};
  return csn_store_commit(csn_lite_of(s), &o.job, err);
}

struct release_job {
  csn_job job;
  int64_t no, fence;
};

static int
release_run(csn_job *job, csn_db *db, csn_err *err)
{
  const struct release_job *j = (struct release_job *)job;
  sqlite3_stmt *st = csn_db_stmt(db, SQL_RUN_RELEASE);
  sqlite3_bind_int64(st, 1, j->no);
  sqlite3_bind_int64(st, 2, j->fence);
  return csn_db_run(db, st, err);
}

int
csn_lite_run_release(csn_store *s, int64_t no, int64_t fence, csn_err *err)
{
  struct release_job r = {.job.fn = release_run, .no = no, .fence = fence};
  return csn_store_commit(csn_lite_of(s), &r.job, err);
}

/* ---- appending ---- */

struct append_job {
  csn_job job;
  const csn_append *append;
};

static void
bind_str(sqlite3_stmt *st, int at, csn_str s)
{
  sqlite3_bind_text64(st, at, s.p, s.n, SQLITE_STATIC, SQLITE_UTF8);
}

/* An empty text keeps what is there. */
static void
bind_summary(sqlite3_stmt *st, int at, csn_str s)
{
  s = csn_summary_text(s);
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
  return rc < 0 ? csn_wrap(err, rc, "run %s", j->id) : csn_fail_fence(j, &h, err);
}

static int
advance_run(csn_db *db, const csn_append *a, int64_t now, csn_err *err)
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
add_record(csn_db *db, int64_t run_no, const csn_record *r, const csn_stored *s, int64_t now,
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
  const csn_append *a = ((const struct append_job *)job)->append;
  int64_t now = csn_unix_ms();
  int rc = advance_run(db, a, now, err);
  for (size_t i = 0; rc >= 0 && i < a->n; i++)
    rc = add_record(db, a->j->no, &a->records[i], &a->stored[i], now, err);
  return rc;
}

int
csn_lite_append(csn_store *s, const csn_append *a, csn_err *err)
{
  struct append_job job = {.job.fn = append_all, .append = a};
  return csn_store_commit(csn_lite_of(s), &job.job, err);
}

/* ---- reading ---- */

static csn_str
column(sqlite3_stmt *st, int at)
{
  const char *p = (const char *)sqlite3_column_text(st, at);
  return csn_strn(p ? p : "", p ? (size_t)sqlite3_column_bytes(st, at) : 0);
}

static csn_str
bytes(sqlite3_stmt *st, int at)
{
  const char *p = sqlite3_column_blob(st, at);
  return csn_strn(p, p ? (size_t)sqlite3_column_bytes(st, at) : 0);
}

static int
load(void *source, const csn_digest *d, csn_buf *out, csn_err *err)
{
  return csn_blob_load(source, d, out, err);
}

/* Hash of the record before the first. */
static int
read_prev(csn_db *db, csn_chain *c, csn_err *err)
{
  if (c->from == 0)
    return 0;
  sqlite3_stmt *st = csn_db_stmt(db, SQL_RECORD_HASH);
  sqlite3_bind_int64(st, 1, csn_record_pos(c->j->no, c->from - 1));
  int rc = csn_db_row(db, st, err);
  if (rc < 0)
    return rc;
  bool ok = rc > 0 && csn_digest_read(bytes(st, 0), &c->prev);
  sqlite3_reset(st);
  return ok ? 0 : csn_chain_fail(c, c->from - 1, rc ? "was altered" : "is missing", err);
}

static int
read_all(csn_db *db, csn_chain *c, csn_err *err)
{
  int rc = csn_db_run(db, csn_db_stmt(db, SQL_READ_BEGIN), err);
  if (rc >= 0)
    rc = csn_run_get(db, c->j->no, &c->run, err);
  if (rc < 0)
    return csn_wrap(err, rc, "journal of run %s", c->j->id);
  if (c->from > c->run.next_seq)
    return 0;
  rc = read_prev(db, c, err);
  if (rc < 0)
    return rc;
  sqlite3_stmt *st = csn_db_stmt(db, SQL_RECORD_READ);
  sqlite3_bind_int64(st, 1, csn_record_pos(c->j->no, c->from));
  sqlite3_bind_int64(st, 2, csn_record_pos(c->j->no + 1, 0));
  while ((rc = csn_db_row(db, st, err)) > 0) {
    rc = csn_chain_take(c, sqlite3_column_int64(st, 0) & UINT32_MAX, sqlite3_column_int64(st, 1),
                        column(st, 2), bytes(st, 3), column(st, 4), err);
    if (rc < 0)
      return rc;
  }
  return csn_wrap(err, rc, "journal of run %s", c->j->id);
}

int
csn_lite_read(csn_store *s, csn_chain *c, csn_err *err)
{
  csn_db *db;
  int rc = csn_reader_take(csn_lite_of(s), &db, err);
  if (rc < 0)
    return rc;
  c->load = load;
  c->source = db;
  rc = read_all(db, c, err);
  csn_reader_give(csn_lite_of(s), db);
  return rc;
}

int64_t
csn_lite_last(const csn_journal *j, csn_str kind)
{
  csn_db *db;
  if (csn_reader_take(csn_lite_of(j->store), &db, NULL) < 0)
    return -1;
  sqlite3_stmt *st = csn_db_stmt(db, SQL_RECORD_LAST);
  sqlite3_bind_int64(st, 1, csn_record_pos(j->no, 0));
  sqlite3_bind_int64(st, 2, csn_record_pos(j->no + 1, 0));
  sqlite3_bind_text(st, 3, kind.p, (int)kind.n, SQLITE_STATIC);
  int64_t seq = csn_db_row(db, st, NULL) > 0 ? sqlite3_column_int64(st, 0) & UINT32_MAX : -1;
  csn_reader_give(csn_lite_of(j->store), db);
  return seq;
}
