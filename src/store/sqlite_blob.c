/* SPDX-License-Identifier: Apache-2.0
 *
 * sqlite_blob.c - blobs in SQLite. */
#include "store/db.h"

static void
bind_digest(sqlite3_stmt *st, int at, const csn_digest *d)
{
  sqlite3_bind_blob(st, at, d->b, sizeof d->b, SQLITE_STATIC);
}

int
csn_packed_store(csn_db *db, const csn_packed *p, int64_t now_ms, csn_err *err)
{
  sqlite3_stmt *st = csn_db_stmt(db, SQL_BLOB_FIND);
  bind_digest(st, 1, &p->digest);
  int rc = csn_db_row(db, st, err);
  if (rc > 0) {
    int64_t put = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    if (put > now_ms - STORE_TOUCH_MS)
      return 0;
    st = csn_db_stmt(db, SQL_BLOB_TOUCH);
    bind_digest(st, 1, &p->digest);
    sqlite3_bind_int64(st, 2, now_ms);
    return csn_db_run(db, st, err);
  }
  if (rc < 0)
    return rc;
  st = csn_db_stmt(db, SQL_BLOB_ADD);
  bind_digest(st, 1, &p->digest);
  sqlite3_bind_int64(st, 2, (int64_t)p->raw.n);
  sqlite3_bind_int64(st, 3, now_ms);
  sqlite3_bind_int(st, 4, p->z != NULL);
  if (p->z)
    sqlite3_bind_blob64(st, 5, p->z, p->z_size, SQLITE_STATIC);
  else
    sqlite3_bind_blob64(st, 5, p->raw.n ? p->raw.p : "", p->raw.n, SQLITE_STATIC);
  rc = csn_db_run(db, st, err);
  sqlite3_clear_bindings(st);
  return rc;
}

int
csn_blob_load(csn_db *db, const csn_digest *d, csn_buf *out, csn_err *err)
{
  sqlite3_stmt *st = csn_db_stmt(db, SQL_BLOB_READ);
  bind_digest(st, 1, d);
  int rc = csn_db_row(db, st, err);
  if (rc <= 0)
    return rc < 0 ? rc : csn_fail_blob(d, err);
  const char *bytes = sqlite3_column_blob(st, 2);
  rc = csn_blob_unpack(d, sqlite3_column_int64(st, 0), sqlite3_column_int(st, 1),
                       csn_strn(bytes, (size_t)sqlite3_column_bytes(st, 2)), out, err);
  sqlite3_reset(st);
  return rc;
}

int
csn_blob_ref(csn_db *db, int64_t run_no, const csn_digest *d, csn_err *err)
{
  sqlite3_stmt *st = csn_db_stmt(db, SQL_BLOB_FIND);
  bind_digest(st, 1, d);
  int rc = csn_db_row(db, st, err);
  sqlite3_reset(st);
  if (rc == 0) {
    char hex[65];
    csn_digest_hex(d, hex);
    return csn_fail(err, CSN_E_NOT_FOUND, "blob %.16s: a record names it, but it was not put", hex);
  }
  if (rc < 0)
    return rc;
  st = csn_db_stmt(db, SQL_REF_ADD);
  sqlite3_bind_int64(st, 1, run_no);
  bind_digest(st, 2, d);
  return csn_db_run(db, st, err);
}

struct put_job {
  csn_job job;
  const csn_packed *packed;
};

static int
put_in(csn_job *job, csn_db *db, csn_err *err)
{
  return csn_packed_store(db, ((struct put_job *)job)->packed, csn_unix_ms(), err);
}

int
csn_lite_blob_put(csn_store *s, const csn_packed *p, csn_err *err)
{
  struct put_job put = {.job.fn = put_in, .packed = p};
  return csn_store_commit(csn_lite_of(s), &put.job, err);
}

int
csn_lite_blob_get(csn_store *s, const csn_digest *d, csn_buf *out, csn_err *err)
{
  csn_db *db;
  int rc = csn_reader_take(csn_lite_of(s), &db, err);
  if (rc < 0)
    return rc;
  rc = csn_blob_load(db, d, out, err);
  csn_reader_give(csn_lite_of(s), db);
  return rc;
}

struct drop_job {
  csn_job job;
  const csn_digest *digest;
  int64_t older_than_ms;
  int dropped;
};

static int
drop_one(csn_job *job, csn_db *db, csn_err *err)
{
  struct drop_job *drop = (struct drop_job *)job;
  sqlite3_stmt *st = csn_db_stmt(db, SQL_BLOB_DROP);
  bind_digest(st, 1, drop->digest);
  int rc = csn_db_run(db, st, err);
  drop->dropped = sqlite3_changes(db->sq);
  return rc;
}

/* Erased content still stands in the log until the log is emptied.  Without
 * waiting: a reader in the way, perhaps in this thread, leaves it to the next
 * checkpoint. */
static void
empty_log(csn_lite *s)
{
  csn_db *db;
  if (csn_reader_take(s, &db, NULL) < 0)
    return;
  sqlite3_busy_handler(db->sq, NULL, NULL);
  sqlite3_wal_checkpoint_v2(db->sq, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
  sqlite3_busy_handler(db->sq, csn_db_busy, s);
  csn_reader_give(s, db);
}

int
csn_lite_blob_drop(csn_store *s, const csn_digest *d, csn_err *err)
{
  struct drop_job drop = {.job.fn = drop_one, .digest = d};
  int rc = csn_store_commit(csn_lite_of(s), &drop.job, err);
  if (rc < 0)
    return rc;
  if (!drop.dropped)
    return csn_fail_blob(d, err);
  empty_log(csn_lite_of(s));
  return 0;
}

static int
drop_unnamed(csn_job *job, csn_db *db, csn_err *err)
{
  struct drop_job *drop = (struct drop_job *)job;
  sqlite3_stmt *st = csn_db_stmt(db, SQL_BLOB_GC);
  sqlite3_bind_int64(st, 1, drop->older_than_ms);
  int rc = csn_db_run(db, st, err);
  drop->dropped = sqlite3_changes(db->sq);
  return rc < 0 ? rc : csn_db_run(db, csn_db_stmt(db, SQL_SHRINK), err);
}

int
csn_lite_gc(csn_store *s, int64_t before_ms, csn_err *err)
{
  struct drop_job drop = {.job.fn = drop_unnamed, .older_than_ms = before_ms};
  int rc = csn_store_commit(csn_lite_of(s), &drop.job, err);
  if (rc < 0)
    return rc;
  empty_log(csn_lite_of(s));
  return drop.dropped;
}
