/* SPDX-License-Identifier: Apache-2.0
 *
 * sqlite_runs.c - the list of runs in SQLite. */
#include <stdio.h>

#include "store/db.h"

static csn_str
column(sqlite3_stmt *st, int at)
{
  const char *p = (const char *)sqlite3_column_text(st, at);
  return csn_strn(p, p ? (size_t)sqlite3_column_bytes(st, at) : 0);
}

static void
read_head(sqlite3_stmt *st, csn_run_head *out)
{
  csn_str id = column(st, 4), owner = column(st, 5);
  *out = (csn_run_head){
      .no = sqlite3_column_int64(st, 0),
      .fence = sqlite3_column_int64(st, 1),
      .next_seq = sqlite3_column_int64(st, 2),
      .lease_until_ms = sqlite3_column_int64(st, 3),
  };
  snprintf(out->id, sizeof out->id, "%.*s", (int)id.n, id.p);
  snprintf(out->owner, sizeof out->owner, "%.*s", (int)owner.n, owner.p);
  const void *head = sqlite3_column_blob(st, 6);
  if (head && sqlite3_column_bytes(st, 6) == (int)sizeof out->head.b)
    memcpy(out->head.b, head, sizeof out->head.b);
}

int
csn_run_get(csn_db *db, int64_t no, csn_run_head *out, csn_err *err)
{
  sqlite3_stmt *st = csn_db_stmt(db, SQL_RUN_BY_NO);
  sqlite3_bind_int64(st, 1, no);
  int rc = csn_db_row(db, st, err);
  if (rc == 0)
    return csn_fail(err, CSN_E_NOT_FOUND, "the run was removed");
  if (rc < 0)
    return rc;
  read_head(st, out);
  sqlite3_reset(st);
  return 0;
}

int
csn_run_find(csn_db *db, csn_str id, csn_run_head *out, csn_err *err)
{
  csn_run_search find;
  int rc = csn_run_search_init(&find, id, out, err);
  if (rc < 0)
    return rc;
  sqlite3_stmt *st = csn_db_stmt(db, SQL_RUN_BY_HEAD);
  sqlite3_bind_text(st, 1, find.from, -1, SQLITE_TRANSIENT);
  sqlite3_bind_text(st, 2, find.to, -1, SQLITE_TRANSIENT);
  while ((rc = csn_db_row(db, st, err)) > 0) {
    csn_run_head one;
    read_head(st, &one);
    csn_run_search_take(&find, &one);
  }
  int found = csn_run_search_end(&find, rc < 0 ? NULL : err);
  return rc < 0 ? rc : found;
}

int
csn_lite_run_find(csn_store *s, csn_str id, csn_run_head *out, csn_err *err)
{
  csn_db *db;
  int rc = csn_reader_take(csn_lite_of(s), &db, err);
  if (rc < 0)
    return rc;
  rc = csn_run_find(db, id, out, err);
  csn_reader_give(csn_lite_of(s), db);
  return rc;
}

static int
list_rows(csn_db *db, int (*fn)(void *user, const csn_run_row *r), void *user, csn_err *err)
{
  int64_t now = csn_unix_ms();
  sqlite3_stmt *st = csn_db_stmt(db, SQL_RUN_LIST);
  int rc;
  while ((rc = csn_db_row(db, st, err)) > 0) {
    csn_run_row row = {
        .state = column(st, 1),
        .agent = column(st, 2),
        .model = column(st, 3),
        .task = column(st, 4),
        .started_ms = sqlite3_column_int64(st, 5),
        .updated_ms = sqlite3_column_int64(st, 6),
        .turns = sqlite3_column_int64(st, 7),
        .tokens = sqlite3_column_int64(st, 8),
    };
    csn_str id = column(st, 0), owner = column(st, 9);
    snprintf(row.id, sizeof row.id, "%.*s", (int)id.n, id.n ? id.p : "");
    char name[STORE_OWNER_MAX];
    snprintf(name, sizeof name, "%.*s", (int)owner.n, owner.n ? owner.p : "");
    row.is_owned = csn_owner_is_live(name, sqlite3_column_int64(st, 10), now);
    rc = fn(user, &row);
    if (rc < 0)
      return rc;
  }
  return rc;
}

int
csn_lite_run_list(csn_store *s, int (*fn)(void *user, const csn_run_row *r), void *user,
                  csn_err *err)
{
  csn_db *db;
  int rc = csn_reader_take(csn_lite_of(s), &db, err);
  if (rc < 0)
    return rc;
  rc = list_rows(db, fn, user, err);
  csn_reader_give(csn_lite_of(s), db);
  return rc;
}

struct remove_job {
  csn_job job;
  csn_str id;
};

static int
remove_run(csn_job *job, csn_db *db, csn_err *err)
{
  csn_run_head h;
  int rc = csn_run_find(db, ((struct remove_job *)job)->id, &h, err);
  if (rc >= 0)
    rc = csn_run_check_free(&h, csn_unix_ms(), err);
  if (rc < 0)
    return rc;
  sqlite3_stmt *st = csn_db_stmt(db, SQL_RECORDS_DROP);
  sqlite3_bind_int64(st, 1, csn_record_pos(h.no, 0));
  sqlite3_bind_int64(st, 2, csn_record_pos(h.no + 1, 0));
  rc = csn_db_run(db, st, err);
  for (int i = 0; rc >= 0 && i < 2; i++) {
    st = csn_db_stmt(db, i ? SQL_RUN_DROP : SQL_REFS_DROP);
    sqlite3_bind_int64(st, 1, h.no);
    rc = csn_db_run(db, st, err);
  }
  return rc;
}

int
csn_lite_run_remove(csn_store *s, csn_str id, csn_err *err)
{
  struct remove_job job = {.job.fn = remove_run, .id = id};
  return csn_store_commit(csn_lite_of(s), &job.job, err);
}
