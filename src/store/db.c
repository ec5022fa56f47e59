/* SPDX-License-Identifier: Apache-2.0
 *
 * db.c - SQLite connections to the state database.
 *
 * The database is reached through the folder's descriptor, so it stays the
 * same folder when somebody renames it or swaps a part of its path.  SQLite
 * would resolve /proc/self/fd/N to a path once and use that path for ever; a
 * copy of its own file layer that keeps the name as given prevents it.
 */
#include "store/db.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

static const char *const sql_text[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_READ_BEGIN] = "BEGIN",
    [SQL_RUN_ADD] = "INSERT INTO runs(id, owner, lease_until, fence, state, started, updated) "
                    "VALUES(?1, ?2, ?3, 1, 'running', ?4, ?4)",
    [SQL_RUN_BY_HEAD] = "SELECT no, fence, next, lease_until, id, owner, head FROM runs "
                        "WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 9",
    [SQL_RUN_BY_NO] =
        "SELECT no, fence, next, lease_until, id, owner, head FROM runs WHERE no = ?1",
    [SQL_RUN_TAKE] = "UPDATE runs SET owner = ?2, lease_until = ?3, fence = fence + 1 "
                     "WHERE no = ?1",
    [SQL_RUN_RELEASE] = "UPDATE runs SET owner = '', lease_until = 0 WHERE no = ?1 AND fence = ?2",
    [SQL_RUN_ADVANCE] = "UPDATE runs SET next = ?4, head = ?5, updated = ?6, lease_until = ?7, "
                        "state = coalesce(?8, state), agent = coalesce(?9, agent), "
                        "model = coalesce(?10, model), task = coalesce(?11, task), "
                        "turns = coalesce(?12, turns), tokens = coalesce(?13, tokens) "
                        "WHERE no = ?1 AND fence = ?2 AND next = ?3",
    [SQL_RUN_LIST] = "SELECT id, state, agent, model, task, started, updated, turns, tokens, "
                     "owner, lease_until FROM runs ORDER BY no DESC",
    [SQL_RUN_DROP] = "DELETE FROM runs WHERE no = ?1",
    [SQL_RECORD_ADD] = "INSERT INTO record(pos, ts, kind, hash, data) VALUES(?1, ?2, ?3, ?4, ?5)",
    [SQL_RECORD_HASH] = "SELECT hash FROM record WHERE pos = ?1",
    [SQL_RECORD_READ] = "SELECT pos, ts, kind, hash, data FROM record "
                        "WHERE pos >= ?1 AND pos < ?2 ORDER BY pos",
    [SQL_RECORD_LAST] = "SELECT pos FROM record WHERE pos >= ?1 AND pos < ?2 AND kind = ?3 "
                        "ORDER BY pos DESC LIMIT 1",
    [SQL_RECORDS_DROP] = "DELETE FROM record WHERE pos >= ?1 AND pos < ?2",
    [SQL_REF_ADD] = "INSERT OR IGNORE INTO refs(run, sha256) VALUES(?1, ?2)",
    [SQL_REFS_DROP] = "DELETE FROM refs WHERE run = ?1",
    [SQL_BLOB_FIND] = "SELECT put FROM blobs WHERE sha256 = ?1",
    [SQL_BLOB_ADD] = "INSERT INTO blobs(sha256, size, put, zstd, bytes) VALUES(?1, ?2, ?3, ?4, ?5)",
    [SQL_BLOB_TOUCH] = "UPDATE blobs SET put = ?2 WHERE sha256 = ?1",
    [SQL_BLOB_READ] = "SELECT size, zstd, bytes FROM blobs WHERE sha256 = ?1",
    [SQL_BLOB_DROP] = "DELETE FROM blobs WHERE sha256 = ?1",
    [SQL_BLOB_GC] = "DELETE FROM blobs WHERE put < ?1 AND sha256 NOT IN (SELECT sha256 FROM refs)",
    [SQL_SHRINK] = "PRAGMA incremental_vacuum",
};

int
csn_db_busy(void *store, int times)
{
  (void)store;
  /* 50 us at first, since a commit takes that long; 5 ms from the 100th on. */
  int64_t wait_us = times < 100 ? 50 + times * 50 : 5000;
  int64_t waited_us = times < 100 ? (int64_t)times * 50 + (int64_t)times * times * 25
                                  : 255000 + (int64_t)(times - 100) * 5000;
  if (waited_us >= (int64_t)STORE_BUSY_MS * 1000)
    return 0;
  struct timespec t = {.tv_nsec = (long)wait_us * 1000};
  clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
  return 1;
}

/* errno of the last failure.  A prepared statement does not carry it to the
 * connection; the log's file, written first, knows. */
static int
last_errno(sqlite3 *sq)
{
  int os = sqlite3_system_errno(sq);
  sqlite3_file *log = NULL;
  if (!os && sqlite3_errcode(sq) == SQLITE_IOERR &&
      sqlite3_file_control(sq, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK && log &&
      log->pMethods)
    log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &os);
  return os;
}

static int
fail_sql(sqlite3 *sq, csn_err *err)
{
  int rc = sqlite3_errcode(sq), os = last_errno(sq);
  const char *why = sqlite3_errmsg(sq);
  if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED) {
    rc = csn_fail(err, CSN_E_UNAVAILABLE,
                  "state database: another process has kept it locked for %d s; try again, or end "
                  "that process",
                  STORE_BUSY_MS / 1000);
    if (err)
      err->retry_after_ms = 1000;
    return rc;
  }
  if (rc == SQLITE_FULL || (rc == SQLITE_IOERR && (os == ENOSPC || os == EDQUOT || os == EFBIG)))
    rc = csn_fail(err, CSN_E_IO,
                  "state database: no room left (disk full, quota or file size limit); nothing "
                  "was written: free some space, or choose another folder with --state");
  else if (rc == SQLITE_READONLY || os == EROFS)
    rc = csn_fail(err, CSN_E_IO,
                  "state database: cannot be written (%s); choose a folder on a writable file "
                  "system with --state or CAISSON_STATE",
                  os ? strerror(os) : why);
  else if (rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB)
    rc = csn_fail(err, CSN_E_IO,
                  "state database: caisson.db is damaged or no state database (%s); move it away, "
                  "or restore it from a backup",
                  why);
  else
    rc = csn_fail(err, os == EACCES || os == EPERM ? CSN_E_DENIED : CSN_E_IO,
                  "state database: %s%s%s", why, os ? ": " : "", os ? strerror(os) : "");
  if (err)
    err->sys_errno = os;
  return rc;
}

int
csn_db_fail(csn_db *db, csn_err *err)
{
  return fail_sql(db->sq, err);
}

sqlite3_stmt *
csn_db_stmt(csn_db *db, enum csn_sql which)
{
  if (!db->st[which])
    sqlite3_prepare_v3(db->sq, sql_text[which], -1, SQLITE_PREPARE_PERSISTENT, &db->st[which],
                       NULL);
  return db->st[which];
}

int
csn_db_row(csn_db *db, sqlite3_stmt *st, csn_err *err)
{
  int rc = st ? sqlite3_step(st) : SQLITE_ERROR;
  if (rc == SQLITE_ROW)
    return 1;
  rc = rc == SQLITE_DONE ? 0 : csn_db_fail(db, err);
  sqlite3_reset(st);
  return rc;
}

int
csn_db_run(csn_db *db, sqlite3_stmt *st, csn_err *err)
{
  int rc;
  do
    rc = csn_db_row(db, st, err);
  while (rc > 0);
  return rc;
}

int
csn_db_exec(csn_db *db, const char *sql, csn_err *err)
{
  return sqlite3_exec(db->sq, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : csn_db_fail(db, err);
}

int
csn_db_open(csn_lite *s, csn_db **out, bool writes, csn_err *err)
{
  sqlite3 *sq = NULL;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
  int rc = sqlite3_open_v2(s->path, &sq, flags, s->vfs_name);
  if (rc != SQLITE_OK) {
    rc = sq ? fail_sql(sq, err) : csn_fail(err, CSN_E_IO, "state database: cannot be opened");
    sqlite3_close(sq);
    return rc;
  }
  if (sqlite3_db_readonly(sq, "main") == 1) { /* SQLite falls back to that by itself */
    sqlite3_close(sq);
    return csn_fail(err, CSN_E_IO,
                    "state database: caisson.db cannot be written; choose a writable folder with "
                    "--state or CAISSON_STATE");
  }
  csn_db *db = csn_alloc(sizeof *db);
  db->sq = sq;
  sqlite3_busy_handler(sq, csn_db_busy, s);
  sqlite3_wal_autocheckpoint(sq, 0); /* commit.c does it, where nobody waits */
  sqlite3_limit(sq, SQLITE_LIMIT_LENGTH, (int)CSN_BLOB_MAX + (1 << 20));
  sqlite3_db_config(sq, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  sqlite3_db_config(sq, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  char set[256];
  snprintf(set, sizeof set,
           "PRAGMA synchronous = %d; PRAGMA cache_size = %d; PRAGMA temp_store = MEMORY; "
           "PRAGMA journal_size_limit = 16777216;%s",
           s->synchronous, writes ? -160 : -128,
           writes ? "PRAGMA secure_delete = ON;" : "PRAGMA query_only = ON;");
  rc = csn_db_exec(db, set, err);
  if (rc < 0) {
    csn_db_close(db);
    return rc;
  }
  *out = db;
  return 0;
}

void
csn_db_close(csn_db *db)
{
  if (!db)
    return;
  for (int i = 0; i < SQL_COUNT; i++)
    sqlite3_finalize(db->st[i]);
  sqlite3_close(db->sq);
  free(db);
}

int
csn_reader_take(csn_lite *s, csn_db **out, csn_err *err)
{
  pthread_mutex_lock(&s->lock);
  csn_db *db = s->idle;
  if (db) {
    s->idle = db->next;
    s->n_idle--;
  }
  pthread_mutex_unlock(&s->lock);
  *out = db;
  return db ? 0 : csn_db_open(s, out, false, err);
}

void
csn_reader_give(csn_lite *s, csn_db *db)
{
  /* Content of a big record or blob that a statement still holds goes now. */
  for (int i = 0; i < SQL_COUNT; i++)
    sqlite3_reset(db->st[i]);
  if (!sqlite3_get_autocommit(db->sq))
    sqlite3_step(csn_db_stmt(db, SQL_COMMIT)), sqlite3_reset(db->st[SQL_COMMIT]);
  pthread_mutex_lock(&s->lock);
  bool keep = s->n_idle < STORE_READERS_KEPT;
  if (keep) {
    db->next = s->idle;
    s->idle = db;
    s->n_idle++;
  }
  pthread_mutex_unlock(&s->lock);
  if (!keep)
    csn_db_close(db);
}
