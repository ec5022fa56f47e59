/* SPDX-License-Identifier: Apache-2.0
 *
 * blob.c - content by its SHA-256, in the state database.
 *
 * Compressed with zstd when that saves an eighth or more.  The digest is of
 * the content, not of what is stored, and is checked on every read.
 */
#include <zstd.h>

#include "store/db.h"

enum {
  PACK_FROM_BYTES = 513,
  TOUCH_AFTER_MS = 600 * 1000,                /* putting a blob again renews its hour ... */
  GC_AFTER_MS = 3600 * 1000 + TOUCH_AFTER_MS, /* ... not more often than that */
};

void
csn_packed_init(csn_packed *p, csn_str raw)
{
  *p = (csn_packed){.digest = csn_sha256_of(raw), .raw = raw};
  if (raw.n < PACK_FROM_BYTES)
    return;
  size_t room = raw.n - raw.n / 8;
  p->z = csn_realloc(NULL, room, 1);
  size_t n = ZSTD_compress(p->z, room, raw.p, raw.n, 1);
  if (ZSTD_isError(n)) { /* it would be longer than `room` */
    free(p->z);
    p->z = NULL;
    return;
  }
  p->z_size = n;
}

void
csn_packed_fini(csn_packed *p)
{
  free(p->z);
}

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
    if (put > now_ms - TOUCH_AFTER_MS)
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

/* Appends what the row holds; false when it is not `size` bytes. */
static bool
unpack(sqlite3_stmt *st, size_t size, csn_buf *out)
{
  const void *bytes = sqlite3_column_blob(st, 2);
  size_t n = (size_t)sqlite3_column_bytes(st, 2);
  char *to = csn_buf_room(out, size);
  if (!to)
    return false;
  if (!sqlite3_column_int(st, 1)) {
    if (n != size)
      return false;
    if (n)
      memcpy(to, bytes, n);
  } else if (ZSTD_decompress(to, size, bytes, n) != size) {
    return false;
  }
  out->n += size;
  return true;
}

int
csn_blob_load(csn_db *db, const csn_digest *d, csn_buf *out, csn_err *err)
{
  char hex[65];
  csn_digest_hex(d, hex);
  sqlite3_stmt *st = csn_db_stmt(db, SQL_BLOB_READ);
  bind_digest(st, 1, d);
  int rc = csn_db_row(db, st, err);
  if (rc == 0)
    return csn_fail(err, CSN_E_NOT_FOUND, "blob %.16s: no such content; it was erased or never put",
                    hex);
  if (rc < 0)
    return rc;
  int64_t size = sqlite3_column_int64(st, 0);
  size_t at = out->n;
  if (size < 0 || (size_t)size > CSN_BLOB_MAX)
    rc = csn_fail(err, CSN_E_REPLAY, "blob %.16s: its size was altered", hex);
  else if ((size_t)size > out->cap - at)
    rc = csn_fail(err, CSN_E_LIMIT, "blob %.16s: %lld bytes, there is room for %zu", hex,
                  (long long)size, out->cap - at);
  else if (!unpack(st, (size_t)size, out))
    rc = csn_fail(err, CSN_E_REPLAY, "blob %.16s: its content was altered", hex);
  else
    rc = 0;
  sqlite3_reset(st);
  if (rc < 0)
    return rc;
  csn_digest is = csn_sha256_of(csn_strn(out->p + at, (size_t)size));
  if (memcmp(is.b, d->b, sizeof is.b) != 0) {
    out->n = at;
    return csn_fail(err, CSN_E_REPLAY, "blob %.16s: its content was altered", hex);
  }
  return 0;
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
  csn_packed packed;
};

static int
put_in(csn_job *job, csn_db *db, csn_err *err)
{
  return csn_packed_store(db, &((struct put_job *)job)->packed, csn_unix_ms(), err);
}

int
csn_blob_put(csn_store *s, csn_str bytes, csn_digest *out, csn_err *err)
{
  if (bytes.n > CSN_BLOB_MAX)
    return csn_fail(err, CSN_E_LIMIT, "blob: %zu bytes, at most %zu", bytes.n, CSN_BLOB_MAX);
  struct put_job put = {.job.fn = put_in};
  csn_packed_init(&put.packed, bytes);
  int rc = csn_store_commit(s, &put.job, err);
  *out = put.packed.digest;
  csn_packed_fini(&put.packed);
  return rc;
}

int
csn_blob_get(csn_store *s, const csn_digest *d, csn_buf *out, csn_err *err)
{
  csn_db *db;
  int rc = csn_reader_take(s, &db, err);
  if (rc < 0)
    return rc;
  rc = csn_blob_load(db, d, out, err);
  csn_reader_give(s, db);
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
empty_log(csn_store *s)
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
csn_blob_drop(csn_store *s, const csn_digest *d, csn_err *err)
{
  struct drop_job drop = {.job.fn = drop_one, .digest = d};
  int rc = csn_store_commit(s, &drop.job, err);
  if (rc < 0)
    return rc;
  if (!drop.dropped) {
    char hex[65];
    csn_digest_hex(d, hex);
    return csn_fail(err, CSN_E_NOT_FOUND, "blob %.16s: no such content", hex);
  }
  empty_log(s);
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
csn_store_gc(csn_store *s, csn_err *err)
{
  struct drop_job drop = {.job.fn = drop_unnamed, .older_than_ms = csn_unix_ms() - GC_AFTER_MS};
  int rc = csn_store_commit(s, &drop.job, err);
  if (rc < 0)
    return rc;
  empty_log(s);
  return drop.dropped;
}
