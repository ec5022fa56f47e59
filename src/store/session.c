/* SPDX-License-Identifier: Apache-2.0
 *
 * session.c - see session.h.
 *
 * Items share one B-tree, as records do: pos = session number << 32 | n.  The
 * searchable text of an item has the item's pos as its row.  Other programs of
 * this format, which know no sessions, leave these tables alone.
 */
#include "store/session.h"

#include <stdio.h>

#include "caisson/json.h"
#include "store/db.h"

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

enum { BYTES_OF_TOKEN = 4, TEXT_MAX = 1 << 20, HITS_MAX = 100 };

int
csn_session_check(csn_str name, csn_err *err)
{
  bool good = name.n > 0 && name.n <= CSN_SESSION_NAME_MAX;
  for (size_t i = 0; good && i < name.n; i++) {
    char c = name.p[i];
    good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("_.:@/-", c));
  }
  if (good)
    return 0;
  return csn_fail(err, CSN_E_INVALID,
                  "session '%.*s': a name is 1 to %d of A-Z a-z 0-9 _ . : @ / -",
                  (int)(name.n < 60 ? name.n : 60), name.p, CSN_SESSION_NAME_MAX);
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

static int
need(csn_db *db, csn_str name, struct session *out, csn_err *err)
{
  int rc = has_tables(db, err);
  if (rc > 0)
    rc = find(db, name, out, err);
  if (rc == 0)
    return csn_fail(err, CSN_E_NOT_FOUND, "there is no session '%.*s'", (int)name.n, name.p);
  return rc < 0 ? rc : 0;
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

/* ---- items ---- */

static bool
is_user_message(csn_str item)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  return csn_json_parse(a, item, &v, NULL) == 0 &&
         csn_str_eq(csn_json_str(v, "role", CSN_STR("")), CSN_STR("user"));
}

static void
add_text(csn_buf *out, const csn_json *v)
{
  if (csn_json_is(v, CSN_JSON_STRING)) {
    csn_buf_add(out, v->text);
    csn_buf_addc(out, '\n');
  } else if (csn_json_is(v, CSN_JSON_ARRAY)) {
    csn_json_each (part, v)
      add_text(out, csn_json_get(part, "text"));
  }
}

/* What search finds an item by: its texts and what tools were called with. */
static void
text_of(csn_str item, csn_buf *out)
{
  static const char *const members[] = {"content", "output", "name", "arguments", "input"};
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  if (csn_json_parse(a, item, &v, NULL) == 0)
    for (size_t i = 0; i < CSN_COUNT(members); i++)
      add_text(out, csn_json_get(v, members[i]));
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
  text_of(item, &text);
  sqlite3_bind_int64(st, 1, pos);
  bind_str(st, 2, item);
  rc = csn_db_run(db, st, err);
  if (rc < 0 || !text.n)
    return rc;
  sqlite3_bind_int64(index, 1, pos);
  bind_str(index, 2, csn_strn(text.p, text.n));
  return csn_db_run(db, index, err);
}

/* Drops the items from `from` on; `items` is how many there were. */
static int
cut(csn_db *db, const struct session *s, int64_t from, csn_err *err)
{
  int64_t first = csn_record_pos(s->no, from), end = csn_record_pos(s->no + 1, 0);
  int rc = run_numbers(db, "DELETE FROM session_text WHERE rowid >= ?1 AND rowid < ?2", first, end,
                       0, err);
  if (rc == 0)
    rc = run_numbers(db, "DELETE FROM session_items WHERE pos >= ?1 AND pos < ?2", first, end, 0,
                     err);
  return rc < 0 ? rc
                : run_numbers(db, "UPDATE sessions SET items = ?2, updated = ?3 WHERE no = ?1",
                              s->no, from, csn_unix_ms(), err);
}

/* ---- reading ---- */

struct window {
  int64_t first; /* place of the oldest item that is read */
};

/* Goes back from the newest item, and remembers each place to begin at. */
static int
find_window(csn_db *db, const struct session *s, int64_t max_items, int64_t max_tokens,
            struct window *out, csn_err *err)
{
  csn_auto(finalize) sqlite3_stmt *st = NULL;
  int rc = prepare(
      db, "SELECT pos, data FROM session_items WHERE pos >= ?1 AND pos < ?2 ORDER BY pos DESC", &st,
      err);
  if (rc < 0)
    return rc;
  sqlite3_bind_int64(st, 1, csn_record_pos(s->no, 0));
  sqlite3_bind_int64(st, 2, csn_record_pos(s->no + 1, 0));
  int64_t items = 0, bytes = 0;
  out->first = s->items;
  while ((rc = csn_db_row(db, st, err)) > 0) {
    csn_str item = column(st, 1);
    bytes += (int64_t)item.n;
    items++;
    if ((max_items && items > max_items) || (max_tokens && bytes / BYTES_OF_TOKEN > max_tokens))
      break;
    if (is_user_message(item))
      out->first = sqlite3_column_int64(st, 0) & UINT32_MAX;
  }
  return rc < 0 ? rc : 0;
}

static int
read_items(csn_db *db, const struct session *s, int64_t first,
           int (*fn)(void *user, int64_t n, csn_str item), void *user, csn_err *err)
{
  csn_auto(finalize) sqlite3_stmt *st = NULL;
  int rc =
      prepare(db, "SELECT pos, data FROM session_items WHERE pos >= ?1 AND pos < ?2 ORDER BY pos",
              &st, err);
  if (rc < 0)
    return rc;
  sqlite3_bind_int64(st, 1, csn_record_pos(s->no, first));
  sqlite3_bind_int64(st, 2, csn_record_pos(s->no + 1, 0));
  while ((rc = csn_db_row(db, st, err)) > 0) {
    rc = fn(user, sqlite3_column_int64(st, 0) & UINT32_MAX, column(st, 1));
    if (rc < 0)
      return rc;
  }
  return rc;
}

int
csn_session_read(csn_store *s, csn_str name, int64_t max_items, int64_t max_tokens,
                 int (*fn)(void *user, int64_t n, csn_str item), void *user, csn_err *err)
{
  csn_db *db;
  struct session it = {0};
  struct window w = {0};
  int rc = csn_session_check(name, err);
  if (rc == 0)
    rc = csn_reader_take(csn_lite_of(s), &db, err);
  if (rc != 0)
    return rc;
  rc = csn_db_run(db, csn_db_stmt(db, SQL_READ_BEGIN), err);
  if (rc == 0)
    rc = has_tables(db, err);
  if (rc > 0)
    rc = find(db, name, &it, err);
  if (rc > 0) {
    rc = max_items || max_tokens ? find_window(db, &it, max_items, max_tokens, &w, err) : 0;
    if (rc == 0)
      rc = read_items(db, &it, w.first, fn, user, err);
  }
  csn_reader_give(csn_lite_of(s), db);
  return rc;
}

int
csn_session_list(csn_store *s, int (*fn)(void *user, const csn_session_row *r), void *user,
                 csn_err *err)
{
  csn_db *db;
  int rc = csn_reader_take(csn_lite_of(s), &db, err);
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
  csn_reader_give(csn_lite_of(s), db);
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

int
csn_session_search(csn_store *s, csn_str words, int (*fn)(void *user, const csn_session_hit *h),
                   void *user, csn_err *err)
{
  csn_db *db;
  csn_auto(csn_buf_finip) csn_buf query = CSN_BUF(4096);
  query_of(words, &query);
  if (!query.n || query.over)
    return csn_fail(err, CSN_E_INVALID, "search: expected some words, at most 4,096 bytes");
  int rc = csn_reader_take(csn_lite_of(s), &db, err);
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
    sqlite3_bind_int64(st, 2, HITS_MAX);
  }
  while (st && rc >= 0 && (rc = csn_db_row(db, st, err)) > 0) {
    csn_session_hit h = {
        .session = column(st, 0), .n = sqlite3_column_int64(st, 1), .text = column(st, 2)};
    rc = fn(user, &h);
  }
  sqlite3_finalize(st);
  csn_reader_give(csn_lite_of(s), db);
  return rc;
}

/* ---- writing ---- */

struct change {
  csn_job job;
  csn_str name, other; /* other: the run, or the session to make */
  const csn_str *items;
  size_t n;
  int64_t at;
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

static int
append_in(csn_job *job, csn_db *db, csn_err *err)
{
  struct change *c = (struct change *)job;
  struct session s = {0};
  int rc = csn_db_exec(db, schema, err);
  if (rc == 0)
    rc = find(db, c->name, &s, err);
  if (rc == 0)
    rc = make_session(db, c->name, CSN_STR(""), &s, err);
  if (rc >= 0)
    rc = enter_run(db, &s, c->other, err);
  c->result = rc;
  if (rc <= 0)
    return rc;
  if (s.items + (int64_t)c->n > UINT32_MAX)
    return csn_fail(err, CSN_E_LIMIT, "session '%.*s' is full", (int)c->name.n, c->name.p);
  rc = 0;
  for (size_t i = 0; i < c->n && rc == 0; i++)
    rc = add_item(db, csn_record_pos(s.no, s.items + (int64_t)i), c->items[i], err);
  return rc < 0 ? rc
                : run_numbers(db, "UPDATE sessions SET items = ?2, updated = ?3 WHERE no = ?1",
                              s.no, s.items + (int64_t)c->n, csn_unix_ms(), err);
}

int
csn_session_append(csn_store *s, csn_str name, csn_str run, const csn_str *items, size_t n,
                   csn_err *err)
{
  struct change c = {.job.fn = append_in, .name = name, .other = run, .items = items, .n = n};
  int rc = csn_session_check(name, err);
  if (rc == 0)
    rc = csn_store_commit(csn_lite_of(s), &c.job, err);
  return rc < 0 ? rc : c.result;
}

static int
fork_in(csn_job *job, csn_db *db, csn_err *err)
{
  struct change *c = (struct change *)job;
  struct session from = {0}, to = {0};
  int rc = need(db, c->name, &from, err);
  if (rc == 0)
    rc = find(db, c->other, &to, err);
  if (rc > 0)
    return csn_fail(err, CSN_E_EXISTS, "session '%.*s' exists already", (int)c->other.n,
                    c->other.p);
  if (rc == 0 && c->at > from.items)
    rc = csn_fail(err, CSN_E_INVALID, "session '%.*s' has %lld items only", (int)c->name.n,
                  c->name.p, (long long)from.items);
  if (rc == 0)
    rc = make_session(db, c->other, c->name, &to, err);
  if (rc < 0)
    return rc;
  int64_t items = c->at < 0 ? from.items : c->at;
  int64_t shift = csn_record_pos(to.no, 0) - csn_record_pos(from.no, 0);
  int64_t first = csn_record_pos(from.no, 0), end = csn_record_pos(from.no, items);
  rc = run_numbers(db,
                   "INSERT INTO session_items(pos, data) SELECT pos + ?3, data FROM session_items "
                   "WHERE pos >= ?1 AND pos < ?2",
                   first, end, shift, err);
  if (rc == 0)
    rc = run_numbers(db,
                     "INSERT INTO session_text(rowid, text) SELECT rowid + ?3, text FROM "
                     "session_text WHERE rowid >= ?1 AND rowid < ?2",
                     first, end, shift, err);
  return rc < 0 ? rc
                : run_numbers(db, "UPDATE sessions SET items = ?2 WHERE no = ?1", to.no, items, 0,
                              err);
}

int
csn_session_fork(csn_store *s, csn_str from, csn_str to, int64_t items, csn_err *err)
{
  struct change c = {.job.fn = fork_in, .name = from, .other = to, .at = items};
  int rc = csn_session_check(to, err);
  return rc < 0 ? rc : csn_store_commit(csn_lite_of(s), &c.job, err);
}

static int
undo_in(csn_job *job, csn_db *db, csn_err *err)
{
  struct change *c = (struct change *)job;
  struct session s = {0};
  int rc = need(db, c->name, &s, err);
  if (rc < 0)
    return rc;
  csn_auto(finalize) sqlite3_stmt *st = NULL;
  rc = prepare(db, "SELECT data FROM session_items WHERE pos = ?1", &st, err);
  int64_t at = s.items;
  for (bool found = false; rc >= 0 && !found && at > 0;) {
    sqlite3_bind_int64(st, 1, csn_record_pos(s.no, --at));
    rc = csn_db_row(db, st, err);
    found = rc > 0 && is_user_message(column(st, 0));
    sqlite3_reset(st);
  }
  c->result = (int)(s.items - at);
  return rc < 0 ? rc : cut(db, &s, at, err);
}

int
csn_session_undo(csn_store *s, csn_str name, csn_err *err)
{
  struct change c = {.job.fn = undo_in, .name = name};
  int rc = csn_store_commit(csn_lite_of(s), &c.job, err);
  return rc < 0 ? rc : c.result;
}

static int
remove_in(csn_job *job, csn_db *db, csn_err *err)
{
  struct change *c = (struct change *)job;
  struct session s = {0};
  int rc = need(db, c->name, &s, err);
  if (rc == 0)
    rc = cut(db, &s, 0, err);
  if (rc == 0)
    rc = run_numbers(db, "DELETE FROM session_runs WHERE session = ?1", s.no, 0, 0, err);
  return rc < 0 ? rc : run_numbers(db, "DELETE FROM sessions WHERE no = ?1", s.no, 0, 0, err);
}

int
csn_session_remove(csn_store *s, csn_str name, csn_err *err)
{
  struct change c = {.job.fn = remove_in, .name = name};
  return csn_store_commit(csn_lite_of(s), &c.job, err);
}
