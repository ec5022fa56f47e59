/* SPDX-License-Identifier: Apache-2.0
 *
 * runs.c - the list of runs: find by the head of an id, list, remove. */
#include <stdio.h>

#include "store/db.h"

enum { ID_MAX = 31, AMBIGUOUS_SHOWN = 8 };

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

/* Ids are lower case; people type what they like.  False: it is no id. */
static bool
read_id(csn_str id, char text[ID_MAX + 2])
{
  if (!id.n || id.n > ID_MAX)
    return false;
  for (size_t i = 0; i < id.n; i++) {
    char c = id.p[i];
    if (c >= 'A' && c <= 'Z')
      c = (char)(c - 'A' + 'a');
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
      return false;
    text[i] = c;
  }
  text[id.n] = '\0';
  return true;
}

int
csn_run_find(csn_db *db, csn_str id, csn_run_head *out, csn_err *err)
{
  char from[ID_MAX + 2], to[ID_MAX + 3];
  if (!read_id(id, from))
    return csn_fail(err, CSN_E_INVALID,
                    "'%.*s' is no run id (letters and digits, at most %d); `caisson runs` lists "
                    "them",
                    (int)(id.n < 64 ? id.n : 64), id.p ? id.p : "", ID_MAX);
  snprintf(to, sizeof to, "%s{", from); /* '{' comes after 'z' */
  sqlite3_stmt *st = csn_db_stmt(db, SQL_RUN_BY_HEAD);
  sqlite3_bind_text(st, 1, from, -1, SQLITE_TRANSIENT);
  sqlite3_bind_text(st, 2, to, -1, SQLITE_TRANSIENT);
  csn_auto(csn_buf_finip) csn_buf ids = CSN_BUF(512);
  int rc, n = 0;
  while ((rc = csn_db_row(db, st, err)) > 0) {
    csn_str one = column(st, 4);
    if (n == 0 || csn_str_eq(one, csn_cstr(from)))
      read_head(st, out);
    if (csn_str_eq(one, csn_cstr(from))) { /* the whole id */
      sqlite3_reset(st);
      return 0;
    }
    if (n < AMBIGUOUS_SHOWN)
      csn_buf_addf(&ids, "%s%.*s", n ? " " : "", (int)one.n, one.p);
    n++;
  }
  if (rc < 0 || n == 1)
    return rc < 0 ? rc : 0;
  if (n == 0)
    return csn_fail(err, CSN_E_NOT_FOUND, "no run '%s'; `caisson runs` lists them", from);
  return csn_fail(err, CSN_E_INVALID, "several runs begin with '%s': %s%s; type more of it", from,
                  ids.p, n > AMBIGUOUS_SHOWN ? " ..." : "");
}

int
csn_run_check_free(const csn_run_head *h, int64_t now_ms, csn_err *err)
{
  if (!csn_owner_is_live(h->owner, h->lease_until_ms, now_ms))
    return 0;
  char self[STORE_OWNER_MAX];
  csn_owner_self(self);
  if (csn_str_eq(csn_cstr(self), csn_cstr(h->owner)))
    return csn_fail(err, CSN_E_CONFLICT, "run %s is in use by this process", h->id);
  return csn_fail(err, CSN_E_CONFLICT,
                  "run %s is in use by another process (boot:pid namespace:pid:start %s); end it, "
                  "or wait until it is done",
                  h->id, h->owner);
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
csn_store_runs(csn_store *s, int (*fn)(void *user, const csn_run_row *r), void *user, csn_err *err)
{
  csn_db *db;
  int rc = csn_reader_take(s, &db, err);
  if (rc < 0)
    return rc;
  rc = list_rows(db, fn, user, err);
  csn_reader_give(s, db);
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
csn_store_remove_run(csn_store *s, csn_str id, csn_err *err)
{
  struct remove_job job = {.job.fn = remove_run, .id = id};
  return csn_store_commit(s, &job.job, err);
}
