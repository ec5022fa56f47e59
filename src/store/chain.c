/* SPDX-License-Identifier: Apache-2.0
 *
 * chain.c - a run's records read back, each verified against the one before.
 *
 * Reading happens in one transaction, so the end of the chain is compared with
 * what the run's row says: a tail that was cut off does not go unnoticed.
 */
#include <stdio.h>

#include "store/db.h"

enum { KIND_MAX = 64 };

csn_digest
csn_chain_hash(const csn_digest *prev, int64_t seq, int64_t ts_ms, csn_str kind, csn_str stored)
{
  char header[64 + KIND_MAX];
  int n = snprintf(header, sizeof header, "%lld %lld %.*s\n", (long long)seq, (long long)ts_ms,
                   (int)kind.n, kind.p);
  csn_sha256 h;
  csn_sha256_init(&h);
  csn_sha256_add(&h, csn_strn((const char *)prev->b, sizeof prev->b));
  csn_sha256_add(&h, csn_strn(header, (size_t)n));
  csn_sha256_add(&h, stored);
  return csn_sha256_end(&h);
}

bool
csn_kind_check(csn_str k)
{
  if (!k.n || k.n > KIND_MAX)
    return false;
  for (size_t i = 0; i < k.n; i++) {
    char c = k.p[i];
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
          c == '.' || c == ':' || c == '-'))
      return false;
  }
  return true;
}

struct reading {
  csn_journal *j;
  csn_db *db;
  csn_run_head run; /* as of the transaction that reads */
  csn_record record;
  csn_buf moved; /* content of a record that is a blob */
};

static csn_str
column(sqlite3_stmt *st, int at)
{
  const char *p = (const char *)sqlite3_column_text(st, at);
  return csn_strn(p ? p : "", p ? (size_t)sqlite3_column_bytes(st, at) : 0);
}

static bool
read_digest(sqlite3_stmt *st, int at, csn_digest *out)
{
  const void *p = sqlite3_column_blob(st, at);
  if (!p || sqlite3_column_bytes(st, at) != (int)sizeof out->b)
    return false;
  memcpy(out->b, p, sizeof out->b);
  return true;
}

static int
broken(const struct reading *rd, int64_t seq, const char *what, csn_err *err)
{
  return csn_fail(err, CSN_E_REPLAY, "journal of run %s: record %lld %s", rd->j->id, (long long)seq,
                  what);
}

/* Data that was stored as a reference, from its blob. */
static int
read_moved(struct reading *rd, csn_str reference, csn_err *err)
{
  csn_record *r = &rd->record;
  csn_digest d;
  int64_t size;
  if (reference.n < 67 || reference.p[65] != ' ' ||
      !csn_digest_from_hex(csn_strn(reference.p + 1, 64), &d) ||
      !csn_str_int(csn_strn(reference.p + 66, reference.n - 66), &size))
    return broken(rd, r->seq, "has a malformed reference to its data", err);
  csn_buf_clear(&rd->moved);
  int rc = csn_blob_load(rd->db, &d, &rd->moved, err);
  if (rc == CSN_E_NOT_FOUND) {
    r->is_erased = true;
    r->data = CSN_STR("null");
    return 0;
  }
  if (rc < 0)
    return csn_wrap(err, rc, "journal of run %s: record %lld", rd->j->id, (long long)r->seq);
  if (rd->moved.n != (size_t)size)
    return broken(rd, r->seq, "has data of another size", err);
  r->data = csn_buf_str(&rd->moved);
  return 0;
}

/* The row as a record, verified against the one before. */
static int
read_row(struct reading *rd, sqlite3_stmt *st, int64_t expected, const csn_digest *prev,
         csn_err *err)
{
  csn_record *r = &rd->record;
  csn_str stored = column(st, 4);
  *r = (csn_record){
      .seq = sqlite3_column_int64(st, 0) & UINT32_MAX,
      .ts_ms = sqlite3_column_int64(st, 1),
      .kind = column(st, 2),
      .data = stored,
      .stored = stored,
      .prev = *prev,
  };
  if (r->seq != expected)
    return broken(rd, expected, "is missing", err);
  if (expected >= rd->run.next_seq)
    return broken(rd, expected, "stands after the end that the run's row names", err);
  if (!csn_kind_check(r->kind) || !read_digest(st, 3, &r->hash))
    return broken(rd, expected, "was altered", err);
  csn_digest want = csn_chain_hash(prev, r->seq, r->ts_ms, r->kind, stored);
  if (memcmp(want.b, r->hash.b, sizeof want.b) != 0)
    return broken(rd, expected, "was altered: its hash does not match", err);
  return csn_str_starts(stored, CSN_STR("@")) ? read_moved(rd, stored, err) : 0;
}

/* Hash of the record before `from`. */
static int
read_prev(struct reading *rd, int64_t from, csn_digest *prev, csn_err *err)
{
  memset(prev, 0, sizeof *prev);
  if (from == 0)
    return 0;
  sqlite3_stmt *st = csn_db_stmt(rd->db, SQL_RECORD_HASH);
  sqlite3_bind_int64(st, 1, csn_record_pos(rd->j->no, from - 1));
  int rc = csn_db_row(rd->db, st, err);
  if (rc < 0)
    return rc;
  bool ok = rc > 0 && read_digest(st, 0, prev);
  sqlite3_reset(st);
  return ok ? 0 : broken(rd, from - 1, rc ? "was altered" : "is missing", err);
}

static int
read_all(struct reading *rd, int64_t from, int (*fn)(void *user, const csn_record *r, csn_err *err),
         void *user, csn_err *err)
{
  int rc = csn_db_run(rd->db, csn_db_stmt(rd->db, SQL_READ_BEGIN), err);
  if (rc >= 0)
    rc = csn_run_get(rd->db, rd->j->no, &rd->run, err);
  if (rc < 0)
    return csn_wrap(err, rc, "journal of run %s", rd->j->id);
  csn_digest prev;
  if (from > rd->run.next_seq)
    return 0;
  rc = read_prev(rd, from, &prev, err);
  if (rc < 0)
    return rc;
  sqlite3_stmt *st = csn_db_stmt(rd->db, SQL_RECORD_READ);
  sqlite3_bind_int64(st, 1, csn_record_pos(rd->j->no, from));
  sqlite3_bind_int64(st, 2, csn_record_pos(rd->j->no + 1, 0));
  int64_t next = from;
  while ((rc = csn_db_row(rd->db, st, err)) > 0) {
    rc = read_row(rd, st, next, &prev, err);
    if (rc >= 0)
      rc = fn(user, &rd->record, err);
    if (rc < 0)
      return rc;
    prev = rd->record.hash;
    next++;
  }
  if (rc < 0)
    return csn_wrap(err, rc, "journal of run %s", rd->j->id);
  if (next != rd->run.next_seq)
    return broken(rd, next, "is missing", err);
  if (memcmp(prev.b, rd->run.head.b, sizeof prev.b) != 0)
    return broken(rd, next - 1, "is not the one that the run's row names", err);
  return 0;
}

int
csn_journal_read(csn_journal *j, int64_t from,
                 int (*fn)(void *user, const csn_record *r, csn_err *err), void *user, csn_err *err)
{
  if (from < 0)
    return csn_fail(err, CSN_E_INVALID, "journal of run %s: record %lld", j->id, (long long)from);
  struct reading rd = {.j = j, .moved = CSN_BUF(CSN_BLOB_MAX)};
  int rc = csn_reader_take(j->store, &rd.db, err);
  if (rc < 0)
    return rc;
  rc = read_all(&rd, from, fn, user, err);
  csn_reader_give(j->store, rd.db);
  csn_buf_fini(&rd.moved);
  return rc < 0 ? rc : 0;
}

int64_t
csn_journal_last(csn_journal *j, const char *kind)
{
  csn_db *db;
  if (csn_reader_take(j->store, &db, NULL) < 0)
    return -1;
  sqlite3_stmt *st = csn_db_stmt(db, SQL_RECORD_LAST);
  sqlite3_bind_int64(st, 1, csn_record_pos(j->no, 0));
  sqlite3_bind_int64(st, 2, csn_record_pos(j->no + 1, 0));
  sqlite3_bind_text(st, 3, kind, -1, SQLITE_STATIC);
  int64_t seq = csn_db_row(db, st, NULL) > 0 ? sqlite3_column_int64(st, 0) & UINT32_MAX : -1;
  csn_reader_give(j->store, db);
  return seq;
}
