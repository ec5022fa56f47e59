/* SPDX-License-Identifier: Apache-2.0
 *
 * sqlite.c - the default back-end, a database in the state folder: open,
 * create, refuse what is newer; the table of the back-end.
 *
 * The file is made before SQLite sees it, with mode 0600; SQLite gives its
 * side files (-wal, -shm) the mode of the database.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "store/db.h"
#include "store/session_backend.h"

#define DB_NAME "caisson.db"

/* Runs share the B-tree `record`: pos = run << 32 | seq.  The view shows the
 * two apart, for people. */
static const char schema[] =
    "CREATE TABLE runs("
    " no INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,"
    " owner TEXT NOT NULL, lease_until INTEGER NOT NULL, fence INTEGER NOT NULL,"
    " next INTEGER NOT NULL DEFAULT 0, head BLOB NOT NULL DEFAULT (zeroblob(32)),"
    " state TEXT NOT NULL DEFAULT '', agent TEXT NOT NULL DEFAULT '',"
    " model TEXT NOT NULL DEFAULT '', task TEXT NOT NULL DEFAULT '',"
    " started INTEGER NOT NULL, updated INTEGER NOT NULL,"
    " turns INTEGER NOT NULL DEFAULT 0, tokens INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE record("
    " pos INTEGER PRIMARY KEY, ts INTEGER NOT NULL, kind TEXT NOT NULL, hash BLOB NOT NULL,"
    " data TEXT NOT NULL) STRICT;"
    "CREATE VIEW records AS SELECT runs.id AS run, pos & 4294967295 AS seq, ts, kind, data,"
    " lower(hex(hash)) AS hash FROM record JOIN runs ON runs.no = pos >> 32;"
    "CREATE TABLE blobs("
    " id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, size INTEGER NOT NULL,"
    " put INTEGER NOT NULL, zstd INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT;"
    "CREATE TABLE refs("
    " run INTEGER NOT NULL, sha256 BLOB NOT NULL, PRIMARY KEY(run, sha256)) STRICT, WITHOUT ROWID;";

/* The name as given, not resolved: see db.c. */
static int
keep_name(sqlite3_vfs *vfs, const char *name, int room, char *out)
{
  (void)vfs;
  return snprintf(out, (size_t)room, "%s", name) < room ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int
after_commit(void *store, sqlite3 *sq, const char *name, int pages)
{
  (void)name;
  ((csn_lite *)store)->wal_pages = pages;
  return csn_log_is_written(sq);
}

static int
prepare_folder(int dir, csn_err *err)
{
  struct stat st;
  if (fstat(dir, &st) < 0)
    return csn_fail_errno(err, "state folder");
  if (!S_ISDIR(st.st_mode))
    return csn_fail(err, CSN_E_INVALID, "state folder: not a folder");
  if ((st.st_mode & 077) && fchmodat(dir, ".", 0700, 0) < 0)
    return csn_fail_errno(err, "state folder: others may look into it and that cannot be changed; "
                               "choose a folder of your own with --state or CAISSON_STATE");
  return 0;
}

/* mknod() makes the file without opening it: closing a descriptor of a
 * database would drop the locks that this process holds on it. */
static int
prepare_file(int dir, csn_err *err)
{
  if (mknodat(dir, DB_NAME, S_IFREG | 0600, 0) < 0 && errno != EEXIST) {
    int rc = csn_fail_errno(err,
                            "state folder: cannot make %s there; choose a writable folder "
                            "with --state or CAISSON_STATE",
                            DB_NAME);
    return rc;
  }
  struct stat st;
  if (fstatat(dir, DB_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return csn_fail_errno(err, "state folder: %s", DB_NAME);
  if (!S_ISREG(st.st_mode))
    return csn_fail(err, CSN_E_DENIED, "state folder: %s is not a regular file; move it away",
                    DB_NAME);
  if ((st.st_mode & 07777) != 0600 && fchmodat(dir, DB_NAME, 0600, 0) < 0)
    return csn_fail_errno(err, "state folder: mode of %s", DB_NAME);
  return 0;
}

static int
read_number(csn_db *db, const char *pragma, int64_t *out, csn_err *err)
{
  sqlite3_stmt *st = NULL;
  if (sqlite3_prepare_v2(db->sq, pragma, -1, &st, NULL) != SQLITE_OK)
    return csn_db_fail(db, err);
  int rc = csn_db_row(db, st, err);
  *out = rc > 0 ? sqlite3_column_int64(st, 0) : 0;
  sqlite3_finalize(st);
  return rc < 0 ? rc : 0;
}

/* The format of the file, 0 for a new one; refuses what is not ours.  Called
 * in a transaction: another process may create it between two of the reads. */
static int
check_format(csn_db *db, int64_t *format, csn_err *err)
{
  int64_t app = 0, tables = 0;
  *format = 0;
  int rc = read_number(db, "PRAGMA application_id", &app, err);
  if (rc >= 0)
    rc = read_number(db, "PRAGMA user_version", format, err);
  if (rc >= 0)
    rc = read_number(db, "SELECT count(*) FROM sqlite_schema", &tables, err);
  if (rc < 0)
    return rc;
  if (app != STORE_APP_ID && (app || *format || tables))
    return csn_fail(err, CSN_E_INVALID, "state database: %s was not made by caisson; move it away",
                    DB_NAME);
  if (*format > STORE_FORMAT)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "state database: %s has format %lld, this program (%s) reads up to %d; use a "
                    "newer caisson, or another folder with --state",
                    DB_NAME, (long long)*format, CSN_VERSION, STORE_FORMAT);
  return 0;
}

/* SQLite answers "busy" here without asking the busy handler when two
 * processes create the database at once. */
static int
use_log(csn_db *db, csn_err *err)
{
  static const char set[] = "PRAGMA journal_mode = WAL";
  int rc = sqlite3_exec(db->sq, set, NULL, NULL, NULL);
  for (int i = 0; rc == SQLITE_BUSY && csn_db_busy(NULL, i); i++)
    rc = sqlite3_exec(db->sq, set, NULL, NULL, NULL);
  if (rc != SQLITE_OK)
    return csn_db_fail(db, err);
  sqlite3_stmt *st = NULL;
  rc = sqlite3_prepare_v2(db->sq, "PRAGMA journal_mode", -1, &st, NULL);
  rc = rc == SQLITE_OK ? csn_db_row(db, st, err) : csn_db_fail(db, err);
  bool ok = rc > 0 && sqlite3_stricmp((const char *)sqlite3_column_text(st, 0), "wal") == 0;
  sqlite3_finalize(st);
  if (rc < 0 || ok)
    return rc < 0 ? rc : 0;
  return csn_fail(err, CSN_E_UNSUPPORTED,
                  "state database: the file system of the state folder cannot hold a shared log "
                  "(a network file system?); choose a local folder with --state");
}

static int
create(csn_db *db, csn_err *err)
{
  int rc = csn_db_exec(db, "BEGIN IMMEDIATE", err);
  if (rc < 0)
    return rc;
  int64_t format;
  rc = check_format(db, &format, err); /* somebody may have been faster */
  if (rc >= 0 && format == 0) {
    char mark[96];
    snprintf(mark, sizeof mark, "PRAGMA application_id = %d; PRAGMA user_version = %d",
             STORE_APP_ID, STORE_FORMAT);
    rc = csn_db_exec(db, schema, err);
    if (rc >= 0)
      rc = csn_db_exec(db, mark, err);
  }
  if (rc >= 0)
    rc = csn_db_exec(db, "COMMIT", err);
  if (rc < 0 && !sqlite3_get_autocommit(db->sq))
    (void)!csn_db_exec(db, "ROLLBACK", NULL);
  return rc;
}

/* Makes the database.  Without waiting for the disk: if power fails now there
 * is an empty file or one page, and the tables are in the checksummed log. */
static int
make_database(csn_lite *s, csn_err *err)
{
  char sync[40];
  snprintf(sync, sizeof sync, "PRAGMA synchronous = %d", s->synchronous);
  /* auto_vacuum counts only before the first page is written. */
  int rc = csn_db_exec(s->writer,
                       "PRAGMA synchronous = 0; PRAGMA page_size = 2048; "
                       "PRAGMA auto_vacuum = INCREMENTAL",
                       err);
  if (rc >= 0)
    rc = use_log(s->writer, err);
  if (rc >= 0)
    rc = create(s->writer, err);
  return rc < 0 ? rc : csn_db_exec(s->writer, sync, err);
}

static int
open_database(csn_lite *s, csn_err *err)
{
  int64_t format;
  int rc = csn_db_open(s, &s->writer, true, err);
  if (rc >= 0)
    rc = csn_db_exec(s->writer, "BEGIN", err);
  if (rc >= 0) {
    rc = check_format(s->writer, &format, err);
    int end = csn_db_exec(s->writer, "COMMIT", rc < 0 ? NULL : err);
    rc = rc < 0 ? rc : end;
  }
  if (rc < 0)
    return rc;
  return format ? use_log(s->writer, err) : make_database(s, err);
}

static void
lite_close(csn_store *base)
{
  csn_lite *s = csn_lite_of(base);
  for (csn_db *db = s->idle, *next; db; db = next) {
    next = db->next;
    csn_db_close(db);
  }
  csn_db_close(s->writer);
  sqlite3_vfs_unregister(&s->vfs);
  pthread_mutex_destroy(&s->lock);
  close(s->dir);
  csn_store_fini(base);
  free(s);
}

static const csn_store_ops lite_ops = {
    .name = "sqlite",
    .close = lite_close,
    .run_add = csn_lite_run_add,
    .run_find = csn_lite_run_find,
    .run_take = csn_lite_run_take,
    .run_release = csn_lite_run_release,
    .run_list = csn_lite_run_list,
    .run_remove = csn_lite_run_remove,
    .append = csn_lite_append,
    .read = csn_lite_read,
    .last = csn_lite_last,
    .blob_put = csn_lite_blob_put,
    .blob_get = csn_lite_blob_get,
    .blob_drop = csn_lite_blob_drop,
    .gc = csn_lite_gc,
    .sessions = csn_sessions_sqlite,
};

int
csn_store_open(csn_store **out, int dir, enum csn_durability d, csn_err *err)
{
  int rc = prepare_folder(dir, err);
  if (rc >= 0)
    rc = prepare_file(dir, err);
  if (rc < 0)
    return rc;
  int own = fcntl(dir, F_DUPFD_CLOEXEC, 3);
  if (own < 0)
    return csn_fail_errno(err, "state folder");
  csn_lite *s = csn_alloc(sizeof *s);
  csn_store_init(&s->base, &lite_ops);
  s->dir = own;
  s->synchronous = d == CSN_DURABLE_POWER ? 2 : 1;
  s->last = &s->first;
  s->checkpoint_at = STORE_CHECKPOINT_PAGES;
  pthread_mutex_init(&s->lock, NULL);
  snprintf(s->path, sizeof s->path, "/proc/self/fd/%d/" DB_NAME, own);
  snprintf(s->vfs_name, sizeof s->vfs_name, "caisson-%p", (void *)s);
  s->vfs = *sqlite3_vfs_find(NULL);
  s->vfs.pNext = NULL;
  s->vfs.zName = s->vfs_name;
  s->vfs.xFullPathname = keep_name;
  csn_log_setup(s);
  sqlite3_vfs_register(&s->vfs, 0);

  rc = open_database(s, err);
  if (rc < 0) {
    lite_close(&s->base);
    return rc;
  }
  sqlite3_wal_hook(s->writer->sq, after_commit, s);
  csn_marks_setup(&s->marks, s->writer->sq);
  *out = &s->base;
  return 0;
}
