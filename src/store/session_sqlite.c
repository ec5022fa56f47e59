/* SPDX-License-Identifier: Apache-2.0
 *
 * session_sqlite.c - sessions in the state folder's database, in tables that
 * are made at the first append.
 *
 * Items share one B-tree, as records do: pos = session number << 32 | n.  The
 * searchable text of an item has the item's pos as its row.  Other programs of
 * this format, which know no sessions, leave these tables alone.
 */
#include <stdio.h>

#include "store/db.h"
#include "store/session_backend.h"

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS sessions("
    " no INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, parent TEXT NOT NULL,"
    " created INTEGER NOT NULL, updated INTEGER NOT NULL, items INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE IF NOT EXISTS session_items("
    " pos INTEGER PRIMARY KEY, data TEXT NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS session_runs("
    " session INTEGER NOT NULL, run TEXT NOT NULL, PRIMARY KEY(session, run)) STRICT, WITHOUT "
    "ROWID;"
    "CREATE VIRTUAL TABLE IF NOT EXISTS session_text USING fts5(text);";

enum { TEXT_MAX = 1 << 20 };

struct lite_sessions {
  csn_sessions base;
  csn_lite *store;
};

static csn_lite *
store_of(csn_sessions *s)
{
  return ((struct lite_sessions *)s)->store; /* base is the first member */
}

/* Statements of sessions are rare, so they are prepared when they are used. */
static int
prepare(csn_db *db, const char *sql, sqlite3_stmt **st, csn_err *err)
{
  return sqlite3_prepare_v2(db->sq, sql, -1, st, NULL) == SQLITE_OK ? 0 : csn_db_fail(db, err);
}

static void
finalize(sqlite3_stmt **st)
{
  sqlite3_finalize(*st);
}

static csn_str
column(sqlite3_stmt *st, int i)
{
  const char *p = (const char *)sqlite3_column_text(st, i);
  return csn_strn(p ? p : "", (size_t)sqlite3_column_bytes(st, i));
}

static void
bind_str(sqlite3_stmt *st, int i, csn_str s)
{
  sqlite3_bind_text64(st, i, s.n ? s.p : "", s.n, SQLITE_STATIC, SQLITE_UTF8);
}

/* 1: the tables are there; 0: no session was made yet. */
static int
has_tables(csn_db *db, csn_err *err)
{
  csn_auto(finalize) sqlite3_stmt *st = NULL;
  int rc = prepare(db, "SELECT 1 FROM sqlite_schema WHERE name = 'session_text'", &st, err);
  return rc < 0 ? rc : csn_db_row(db, st, err);
}

struct session {
  int64_t no, items;
};

/* 1: found, 0: there is none. */
static int
find(csn_db *db, csn_str name, struct session *out, csn_err *err)
{
  csn_auto(finalize) sqlite3_stmt *st = NULL;
  int rc = prepare(db, "SELECT no, items FROM sessions WHERE name = ?1", &st, err);
  if (rc < 0)
    return rc;
  bind_str(st, 1, name);
  rc = csn_db_row(db, st, err);
  if (rc > 0)
    *out = (struct session){sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1)};
  return rc;
}

/* One statement without rows, with up to three numbers. */
static int
run_numbers(csn_db *db, const char *sql, int64_t a, int64_t b, int64_t c, csn_err *err)
{
  csn_auto(finalize) sqlite3_stmt *st = NULL;
  int rc = prepare(db, sql, &st, err);
  if (rc < 0)
    return rc;
  const int64_t v[] = {a, b, c};
  for (int i = 0; i < sqlite3_bind_parameter_count(st) && i < (int)CSN_COUNT(v); i++)
    sqlite3_bind_int64(st, i + 1, v[i]);
  return csn_db_run(db, st, err);
}

static int
add_item(csn_db *db, int64_t pos, csn_str item, csn_err *err)
{
  csn_auto(finalize) sqlite3_stmt *st = NULL;
  csn_auto(finalize) sqlite3_stmt *index = NULL;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(TEXT_MAX);
  int rc = prepare(db, "INSERT INTO session_items(pos, data) VALUES(?1, ?2)", &st, err);
  if (rc == 0)
    rc = prepare(db, "INSERT INTO session_text(rowid, text) VALUES(?1, ?2)", &index, err);
  if (rc < 0)
    return rc;
  csn_session_text(item, &text);
  sqlite3_bind_int64(st, 1, pos);
  bind_str(st, 2, item);
  rc = csn_db_run(db, st, err);
  if (rc < 0 || !text.n)
    return rc;
  sqlite3_bind_int64(index, 1, pos);
  bind_str(index, 2, csn_strn(text.p, text.n));
  return csn_db_run(db, index, err);
}

/* ---- reading ---- */

static int
find_in(csn_db *db, csn_str name, csn_session_stat *out, csn_err *err)
{
  csn_auto(finalize) sqlite3_stmt *st = NULL;
  int rc = has_tables(db, err);
  if (rc <= 0)
    return rc;
  rc =
      prepare(db, "SELECT items, created, updated, parent FROM sessions WHERE name = ?1", &st, err);
  if (rc < 0)
    return rc;
  bind_str(st, 1, name);
  rc = csn_db_row(db, st, err);
  if (rc <= 0)
    return rc;
  csn_str parent = column(st, 3);
  *out = (csn_session_stat){.items = sqlite3_column_int64(st, 0),
                            .created_ms = sqlite3_column_int64(st, 1),
                            .updated_ms = sqlite3_column_int64(st, 2)};
  snprintf(out->parent, sizeof out->parent, "%.*s", (int)parent.n, parent.p);
  return 1;
}

static int
lite_find(csn_sessions *s, csn_str name, csn_session_stat *out, csn_err *err)
{
  csn_db *db;
  int rc = csn_reader_take(store_of(s), &db, err);
  if (rc < 0)
    return rc;
  rc = find_in(db, name, out, err);
  csn_reader_give(store_of(s), db);
  return rc;
}

static int
read_items(csn_db *db, const struct session *s, int64_t from, int64_t to, csn_session_item_fn *fn,
           void *user, csn_err *err)
{
  csn_auto(finalize) sqlite3_stmt *st = NULL;
  int rc =
      prepare(db, "SELECT pos, data FROM session_items WHERE pos >= ?1 AND pos < ?2 ORDER BY pos",
              &st, err);
  if (rc < 0)
    return rc;
  sqlite3_bind_int64(st, 1, csn_record_pos(s->no, from));
  sqlite3_bind_int64(st, 2, csn_record_pos(s->no, to));
  while ((rc = csn_db_row(db, st, err)) > 0) {
    rc = fn(user, sqlite3_column_int64(st, 0) & UINT32_MAX, column(st, 1));
    if (rc < 0)
      return rc;
  }
  return rc;
}

static int
lite_read(csn_sessions *s, csn_str name, int64_t from, int64_t to, csn_session_item_fn *fn,
          void *user, csn_err *err)
{
  csn_db *db;
  struct session it = {0};
  int rc = csn_reader_take(store_of(s), &db, err);
  if (rc < 0)
    return rc;
  rc = has_tables(db, err);
  if (rc > 0)
    rc = find(db, name, &it, err);
  if (rc > 0)
    rc = read_items(db, &it, from, to, fn, user, err);
  csn_reader_give(store_of(s), db);
  return rc;
}

static int
lite_list(csn_sessions *s, int (*fn)(void *user, const csn_session_row *r), void *user,
          csn_err *err)
{
  csn_db *db;
  int rc = csn_reader_take(store_of(s), &db, err);
  if (rc < 0)
    return rc;
  sqlite3_stmt *st = NULL;
  rc = has_tables(db, err);
  if (rc > 0)
    rc = prepare(db,
                 "SELECT name, parent, created, updated, items FROM sessions ORDER BY updated "
                 "DESC, no DESC",
                 &st, err);
  while (st && rc >= 0 && (rc = csn_db_row(db, st, err)) > 0) {
    csn_session_row r = {.name = column(st, 0),
                         .parent = column(st, 1),
                         .created_ms = sqlite3_column_int64(st, 2),
                         .updated_ms = sqlite3_column_int64(st, 3),
                         .items = sqlite3_column_int64(st, 4)};
    rc = fn(user, &r);
  }
  sqlite3_finalize(st);
  csn_reader_give(store_of(s), db);
  return rc;
}

/* Words become phrases, so that no character of theirs is an operator. */
static void
query_of(csn_str words, csn_buf *out)
{
  csn_str rest = words;
  while (rest.n) {
    size_t n = 0;
    while (n < rest.n && rest.p[n] != ' ')
      n++;
    if (n) {
      csn_buf_addz(out, out->n ? " \"" : "\"");
      for (size_t i = 0; i < n; i++) {
        if (rest.p[i] == '"')
          csn_buf_addc(out, '"');
        if (rest.p[i])
          csn_buf_addc(out, rest.p[i]);
      }
      csn_buf_addc(out, '"');
    }
    rest = csn_strn(rest.p + n + (n < rest.n), rest.n - n - (n < rest.n));
  }
}

static int
lite_search(csn_sessions *s, csn_str words, int (*fn)(void *user, const csn_session_hit *h),
            void *user, csn_err *err)
{
  csn_db *db;
  csn_auto(csn_buf_finip) csn_buf query = CSN_BUF(4096);
  query_of(words, &query);
  if (query.over)
    return csn_fail(err, CSN_E_INVALID, "search: the words are too long");
  int rc = csn_reader_take(store_of(s), &db, err);
  if (rc < 0)
    return rc;
  sqlite3_stmt *st = NULL;
  rc = has_tables(db, err);
  if (rc > 0)
    rc = prepare(db,
                 "SELECT sessions.name, t.rowid & 4294967295, snippet(session_text, 0, '', '', "
                 "'...', 24) FROM session_text AS t JOIN sessions ON sessions.no = t.rowid >> 32 "
                 "WHERE session_text MATCH ?1 ORDER BY rank LIMIT ?2",
                 &st, err);
  if (st) {
    bind_str(st, 1, csn_buf_str(&query));
    sqlite3_bind_int64(st, 2, SESSION_HITS_MAX);
  }
  while (st && rc >= 0 && (rc = csn_db_row(db, st, err)) > 0) {
    csn_session_hit h = {
        .session = column(st, 0), .n = sqlite3_column_int64(st, 1), .text = column(st, 2)};
    rc = fn(user, &h);
  }
  sqlite3_finalize(st);
  csn_reader_give(store_of(s), db);
  return rc;
}

/* ---- writing ---- */

struct change {
  csn_job job;
  csn_str name;
  const csn_session_add *add;
  int64_t items, keep;
  int result;
};

static int
make_session(csn_db *db, csn_str name, csn_str parent, struct session *out, csn_err *err)
{
  csn_auto(finalize) sqlite3_stmt *st = NULL;
  int rc = prepare(
      db, "INSERT INTO sessions(name, parent, created, updated) VALUES(?1, ?2, ?3, ?3)", &st, err);
  if (rc < 0)
    return rc;
  bind_str(st, 1, name);
  bind_str(st, 2, parent);
  sqlite3_bind_int64(st, 3, csn_unix_ms());
  rc = csn_db_run(db, st, err);
  *out = (struct session){.no = sqlite3_last_insert_rowid(db->sq)};
  return rc;
}

/* 1: it is new here. */
static int
enter_run(csn_db *db, const struct session *s, csn_str run, csn_err *err)
{
  csn_auto(finalize) sqlite3_stmt *st = NULL;
  int rc = prepare(db, "INSERT OR IGNORE INTO session_runs(session, run) VALUES(?1, ?2)", &st, err);
  if (rc < 0)
    return rc;
  sqlite3_bind_int64(st, 1, s->no);
  bind_str(st, 2, run);
  rc = csn_db_run(db, st, err);
  return rc < 0 ? rc : sqlite3_changes(db->sq) > 0;
}

/* 1: the run is among those of the session. */
static int
has_run(csn_db *db, const struct session *s, csn_str run, csn_err *err)
{
  csn_auto(finalize) sqlite3_stmt *st = NULL;
  int rc = prepare(db, "SELECT 1 FROM session_runs WHERE session = ?1 AND run = ?2", &st, err);
  if (rc < 0)
    return rc;
  sqlite3_bind_int64(st, 1, s->no);
  bind_str(st, 2, run);
  return csn_db_row(db, st, err);
}

/* Drops the items from `from` on. */
static int
drop_items(csn_db *db, const struct session *s, int64_t from, csn_err *err)
{
  int64_t first = csn_record_pos(s->no, from), end = csn_record_pos(s->no + 1, 0);
  int rc = run_numbers(db, "DELETE FROM session_text WHERE rowid >= ?1 AND rowid < ?2", first, end,
                       0, err);
  return rc < 0 ? rc
                : run_numbers(db, "DELETE FROM session_items WHERE pos >= ?1 AND pos < ?2", first,
                              end, 0, err);
}

static int
append_in(csn_job *job, csn_db *db, csn_err *err)
{
  struct change *c = (struct change *)job;
  const csn_session_add *a = c->add;
  struct session s = {0};
  int rc = csn_db_exec(db, schema, err);
  if (rc == 0)
    rc = find(db, a->name, &s, err);
  if (rc < 0)
    return rc;
  if (rc > 0 && a->is_new)
    return csn_session_exists(a->name, err);
  if (rc > 0 && a->run.n) {
    rc = has_run(db, &s, a->run, err);
    c->result = 0;
    if (rc != 0)
      return rc < 0 ? rc : 0;
  }
  if (a->at >= 0 && a->at != s.items)
    return csn_session_conflict(a->name, err);
  rc = s.no ? 0 : make_session(db, a->name, a->parent, &s, err);
  if (rc >= 0 && a->run.n)
    rc = enter_run(db, &s, a->run, err);
  if (rc < 0)
    return rc;
  if (s.items + (int64_t)a->n > UINT32_MAX)
    return csn_fail(err, CSN_E_LIMIT, "session '%.*s' is full", (int)a->name.n, a->name.p);
  c->result = 1;
  rc = 0;
  if (a->replaces) {
    rc = drop_items(db, &s, a->keep, err);
    s.items = a->keep;
  }
  for (size_t i = 0; i < a->n && rc == 0; i++)
    rc = add_item(db, csn_record_pos(s.no, s.items + (int64_t)i), a->items[i], err);
  return rc < 0 ? rc
                : run_numbers(db, "UPDATE sessions SET items = ?2, updated = ?3 WHERE no = ?1",
                              s.no, s.items + (int64_t)a->n, csn_unix_ms(), err);
}

static int
lite_append(csn_sessions *s, const csn_session_add *a, csn_err *err)
{
  struct change c = {.job.fn = append_in, .add = a};
  int rc = csn_store_commit(store_of(s), &c.job, err);
  return rc < 0 ? rc : c.result;
}

static int
cut_in(csn_job *job, csn_db *db, csn_err *err)
{
  struct change *c = (struct change *)job;
  struct session s = {0};
  int rc = find(db, c->name, &s, err);
  if (rc < 0)
    return rc;
  if (rc == 0 || s.items != c->items)
    return csn_session_conflict(c->name, err);
  rc = drop_items(db, &s, c->keep, err);
  return rc < 0 ? rc
                : run_numbers(db, "UPDATE sessions SET items = ?2, updated = ?3 WHERE no = ?1",
                              s.no, c->keep, csn_unix_ms(), err);
}

static int
lite_cut(csn_sessions *s, csn_str name, int64_t items, int64_t keep, csn_err *err)
{
  struct change c = {.job.fn = cut_in, .name = name, .items = items, .keep = keep};
  return csn_store_commit(store_of(s), &c.job, err);
}

static int
remove_in(csn_job *job, csn_db *db, csn_err *err)
{
  struct change *c = (struct change *)job;
  struct session s = {0};
  int rc = has_tables(db, err);
  if (rc > 0)
    rc = find(db, c->name, &s, err);
  c->result = rc;
  if (rc <= 0)
    return rc;
  rc = drop_items(db, &s, 0, err);
  if (rc == 0)
    rc = run_numbers(db, "DELETE FROM session_runs WHERE session = ?1", s.no, 0, 0, err);
  return rc < 0 ? rc : run_numbers(db, "DELETE FROM sessions WHERE no = ?1", s.no, 0, 0, err);
}

static int
lite_remove(csn_sessions *s, csn_str name, csn_err *err)
{
  struct change c = {.job.fn = remove_in, .name = name};
  int rc = csn_store_commit(store_of(s), &c.job, err);
  return rc < 0 ? rc : c.result;
}

static void
lite_close(csn_sessions *s)
{
  free(s);
}

static const csn_session_ops lite_ops = {
    .name = "sqlite",
    .close = lite_close,
    .find = lite_find,
    .read = lite_read,
    .append = lite_append,
    .cut = lite_cut,
    .remove = lite_remove,
    .list = lite_list,
    .search = lite_search,
};

csn_sessions *
csn_sessions_sqlite(csn_store *store)
{
  struct lite_sessions *s = csn_alloc(sizeof *s);
  *s = (struct lite_sessions){.base.ops = &lite_ops, .store = csn_lite_of(store)};
  return &s->base;
}
