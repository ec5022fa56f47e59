/* SPDX-License-Identifier: Apache-2.0
 *
 * session_postgres.c - sessions in PostgreSQL, beside the journal or in a
 * database of their own.  Who changes a session locks its row first.
 */
#include <stdio.h>

#include "store/postgres.h"
#include "store/session_backend.h"

struct pg_sessions {
  csn_sessions base;
  csn_store *store;
  bool owns_store;
};

static csn_pg *
pg_of(csn_sessions *s)
{
  return csn_pg_of(((struct pg_sessions *)s)->store); /* base is the first member */
}

struct op {
  csn_str name;
  csn_session_stat *stat;
  const csn_session_add *add;
  int64_t from, to; /* items to read; or how many there are, and are kept */
  csn_arena *arena;
  struct row {
    int64_t n;
    csn_str data;
    csn_session_row session;
  } * rows;
  int n_rows, result;
};

/* ---- reading ---- */

static int
find(csn_pg_call *k, void *user, csn_err *err)
{
  struct op *o = user;
  csn_pg_args a = {0};
  csn_pg_text(&a, o->name);
  int rc =
      csn_pg_run(k, "session_find",
                 "SELECT items, created, updated, parent FROM sessions WHERE name = $1", &a, err);
  o->result = rc > 0;
  if (rc <= 0)
    return rc;
  csn_str parent = csn_pg_cell(k, 0, 3);
  *o->stat = (csn_session_stat){.items = csn_pg_cell_int(k, 0, 0),
                                .created_ms = csn_pg_cell_int(k, 0, 1),
                                .updated_ms = csn_pg_cell_int(k, 0, 2)};
  snprintf(o->stat->parent, sizeof o->stat->parent, "%.*s", (int)parent.n, parent.p);
  return 0;
}

static int
pg_find(csn_sessions *s, csn_str name, csn_session_stat *out, csn_err *err)
{
  struct op o = {.name = name, .stat = out};
  int rc = csn_pg_do(pg_of(s), find, &o, err);
  return rc < 0 ? rc : o.result;
}

static struct row *
rows_of(struct op *o, int n)
{
  csn_arena_clear(o->arena);
  o->n_rows = n;
  o->rows = csn_arena_alloc(o->arena, (size_t)(n + 1) * sizeof *o->rows);
  return o->rows;
}

static int
read_page(csn_pg_call *k, void *user, csn_err *err)
{
  struct op *o = user;
  csn_pg_args a = {0};
  csn_pg_text(&a, o->name);
  csn_pg_int(&a, o->from);
  csn_pg_int(&a, o->to);
  csn_pg_int(&a, PG_PAGE);
  int n = csn_pg_run(k, "session_read",
                     "SELECT n, data FROM session_items WHERE session = "
                     "(SELECT no FROM sessions WHERE name = $1) AND n >= $2 AND n < $3 "
                     "ORDER BY n LIMIT $4",
                     &a, err);
  if (n < 0)
    return n;
  struct row *rows = rows_of(o, n);
  for (int i = 0; i < n; i++) {
    rows[i].n = csn_pg_cell_int(k, i, 0);
    rows[i].data = csn_arena_dup(o->arena, csn_pg_cell(k, i, 1));
  }
  return 0;
}

static int
pg_read(csn_sessions *s, csn_str name, int64_t from, int64_t to, csn_session_item_fn *fn,
        void *user, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  struct op o = {.name = name, .from = from, .to = to, .arena = arena, .n_rows = PG_PAGE};
  int rc = 0;
  while (rc >= 0 && o.n_rows == PG_PAGE) {
    rc = csn_pg_do(pg_of(s), read_page, &o, err);
    for (int i = 0; rc >= 0 && i < o.n_rows; i++) {
      o.from = o.rows[i].n + 1;
      rc = fn(user, o.rows[i].n, o.rows[i].data);
    }
  }
  return rc;
}

static int
list(csn_pg_call *k, void *user, csn_err *err)
{
  struct op *o = user;
  int n = csn_pg_run(k, "session_list",
                     "SELECT name, parent, created, updated, items FROM sessions "
                     "ORDER BY updated DESC, no DESC",
                     NULL, err);
  if (n < 0)
    return n;
  struct row *rows = rows_of(o, n);
  for (int i = 0; i < n; i++)
    rows[i].session = (csn_session_row){.name = csn_arena_dup(o->arena, csn_pg_cell(k, i, 0)),
                                        .parent = csn_arena_dup(o->arena, csn_pg_cell(k, i, 1)),
                                        .created_ms = csn_pg_cell_int(k, i, 2),
                                        .updated_ms = csn_pg_cell_int(k, i, 3),
                                        .items = csn_pg_cell_int(k, i, 4)};
  return 0;
}

static int
pg_list(csn_sessions *s, int (*fn)(void *user, const csn_session_row *r), void *user, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  struct op o = {.arena = arena};
  int rc = csn_pg_do(pg_of(s), list, &o, err);
  for (int i = 0; rc >= 0 && i < o.n_rows; i++)
    rc = fn(user, &o.rows[i].session);
  return rc;
}

/* ---- writing ---- */

/* The session's number and items, its row locked; 0 when there is none. */
static int
lock(csn_pg_call *k, csn_str name, int64_t *no, int64_t *items, csn_err *err)
{
  csn_pg_args a = {0};
  csn_pg_text(&a, name);
  int rc = csn_pg_run(k, "session_lock",
                      "SELECT no, items FROM sessions WHERE name = $1 FOR UPDATE", &a, err);
  if (rc > 0) {
    *no = csn_pg_cell_int(k, 0, 0);
    *items = csn_pg_cell_int(k, 0, 1);
  }
  return rc;
}

/* Like lock(), after making it when it is missing; 1 when it was made. */
static int
make(csn_pg_call *k, const csn_session_add *a, int64_t *no, int64_t *items, csn_err *err)
{
  csn_pg_args v = {0};
  csn_pg_text(&v, a->name);
  csn_pg_text(&v, a->parent);
  csn_pg_int(&v, csn_unix_ms());
  int made = csn_pg_run(k, "session_make",
                        "INSERT INTO sessions(name, parent, created, updated) "
                        "VALUES($1, $2, $3, $3) ON CONFLICT (name) DO NOTHING RETURNING no",
                        &v, err);
  int rc = made < 0 ? made : lock(k, a->name, no, items, err);
  if (rc == 0)
    rc = csn_session_conflict(a->name, err); /* removed just now */
  return rc < 0 ? rc : made;
}

/* 1: the run is new to the session. */
static int
enter_run(csn_pg_call *k, int64_t no, csn_str run, csn_err *err)
{
  csn_pg_args a = {0};
  csn_pg_int(&a, no);
  csn_pg_text(&a, run);
  return csn_pg_run(k, "session_enter",
                    "INSERT INTO session_runs(session, run) VALUES($1, $2) "
                    "ON CONFLICT DO NOTHING RETURNING 1",
                    &a, err);
}

static int
add_items(csn_pg_call *k, const csn_session_add *a, int64_t no, int64_t items, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf data = CSN_BUF((1 << 30) - 4096);
  csn_pg_args v = {0};
  csn_pg_list_init(&data, CSN_PQ_BYTES, a->n);
  for (size_t i = 0; i < a->n; i++)
    csn_pg_list_add(&data, a->items[i]);
  int rc = csn_buf_done(&data, "the items of one append", err);
  if (rc < 0)
    return rc;
  csn_pg_int(&v, no);
  csn_pg_int(&v, items);
  csn_pg_list(&v, CSN_PQ_BYTES_LIST, &data);
  csn_pg_int(&v, (int64_t)a->n);
  csn_pg_int(&v, csn_unix_ms());
  return csn_pg_run(k, "session_append",
                    "WITH moved AS (UPDATE sessions SET items = items + $4, updated = $5 "
                    "WHERE no = $1) INSERT INTO session_items(session, n, data) "
                    "SELECT $1, $2 + i.at - 1, i.data "
                    "FROM unnest($3::bytea[]) WITH ORDINALITY AS i(data, at)",
                    &v, err);
}

/* From `keep` on. */
static int
drop_items(csn_pg_call *k, int64_t no, int64_t keep, csn_err *err)
{
  csn_pg_args a = {0};
  csn_pg_int(&a, no);
  csn_pg_int(&a, keep);
  csn_pg_int(&a, csn_unix_ms());
  return csn_pg_run(k, "session_cut",
                    "WITH moved AS (UPDATE sessions SET items = $2, updated = $3 WHERE no = $1) "
                    "DELETE FROM session_items WHERE session = $1 AND n >= $2",
                    &a, err);
}

static int
append(csn_pg_call *k, void *user, csn_err *err)
{
  struct op *o = user;
  const csn_session_add *a = o->add;
  int64_t no = 0, items = 0;
  int rc = csn_pg_begin(k, err);
  if (rc >= 0)
    rc = make(k, a, &no, &items, err);
  if (rc < 0)
    return rc;
  o->result = 1;
  if (rc == 0 && a->is_new && k->is_again && items == (int64_t)a->n)
    return 0; /* by the try before */
  if (rc == 0 && a->is_new)
    return csn_session_exists(a->name, err);
  if (a->run.n) {
    rc = enter_run(k, no, a->run, err);
    o->result = rc;
    if (rc <= 0)
      return rc;
  }
  if (a->replaces && k->is_again && items == a->keep + (int64_t)a->n)
    return 0; /* by the try before */
  if (a->at >= 0 && a->at != items)
    return csn_session_conflict(a->name, err);
  if (a->replaces) {
    rc = drop_items(k, no, a->keep, err);
    items = a->keep;
  }
  if (rc >= 0)
    rc = add_items(k, a, no, items, err);
  return rc < 0 ? rc : csn_pg_commit(k, err);
}

static int
pg_append(csn_sessions *s, const csn_session_add *a, csn_err *err)
{
  struct op o = {.add = a};
  int rc = csn_pg_do(pg_of(s), append, &o, err);
  return rc < 0 ? rc : o.result;
}

static int
cut(csn_pg_call *k, void *user, csn_err *err)
{
  struct op *o = user;
  int64_t no = 0, items = 0;
  int rc = csn_pg_begin(k, err);
  if (rc >= 0)
    rc = lock(k, o->name, &no, &items, err);
  if (rc < 0)
    return rc;
  if (rc > 0 && k->is_again && items == o->to)
    return 0; /* by the try before */
  if (rc == 0 || items != o->from)
    return csn_session_conflict(o->name, err);
  rc = drop_items(k, no, o->to, err);
  return rc < 0 ? rc : csn_pg_commit(k, err);
}

static int
pg_cut(csn_sessions *s, csn_str name, int64_t items, int64_t keep, csn_err *err)
{
  struct op o = {.name = name, .from = items, .to = keep};
  return csn_pg_do(pg_of(s), cut, &o, err);
}

static int
remove_session(csn_pg_call *k, void *user, csn_err *err)
{
  struct op *o = user;
  csn_pg_args a = {0};
  csn_pg_text(&a, o->name);
  int rc = csn_pg_run(k, "session_remove",
                      "WITH gone AS (DELETE FROM sessions WHERE name = $1 RETURNING no), "
                      "items AS (DELETE FROM session_items USING gone WHERE session = gone.no), "
                      "runs AS (DELETE FROM session_runs USING gone WHERE session = gone.no) "
                      "SELECT 1 FROM gone",
                      &a, err);
  o->result = rc > 0 || (rc == 0 && k->is_again);
  return rc;
}

static int
pg_remove(csn_sessions *s, csn_str name, csn_err *err)
{
  struct op o = {.name = name};
  int rc = csn_pg_do(pg_of(s), remove_session, &o, err);
  return rc < 0 ? rc : o.result;
}

static void
pg_close(csn_sessions *s)
{
  struct pg_sessions *p = (struct pg_sessions *)s;
  if (p->owns_store)
    csn_store_close(p->store);
  free(p);
}

static const csn_session_ops pg_ops = {
    .name = "postgres",
    .close = pg_close,
    .find = pg_find,
    .read = pg_read,
    .append = pg_append,
    .cut = pg_cut,
    .remove = pg_remove,
    .list = pg_list,
};

csn_sessions *
csn_sessions_postgres(csn_store *store, bool owns_store)
{
  struct pg_sessions *s = csn_alloc(sizeof *s);
  *s = (struct pg_sessions){.base.ops = &pg_ops, .store = store, .owns_store = owns_store};
  return &s->base;
}
