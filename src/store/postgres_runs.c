/* SPDX-License-Identifier: Apache-2.0
 *
 * postgres_runs.c - the list of runs, and blobs, in PostgreSQL.
 *
 * A blob that is being named and one that is being collected as unnamed are
 * kept apart by an advisory lock: who names takes it shared, who collects alone.
 */
#include <stdio.h>

#include "store/postgres.h"

/* ---- the list ---- */

struct list_op {
  csn_arena *arena;
  int64_t before; /* the smallest number that was read */
  csn_run_row *rows;
  int n;
};

static int
list_page(csn_pg_call *k, void *user, csn_err *err)
{
  struct list_op *o = user;
  csn_pg_args a = {0};
  csn_pg_int(&a, o->before);
  csn_pg_int(&a, PG_PAGE);
  int n = csn_pg_run(k, "run_list",
                     "SELECT id, state, agent, model, task, started, updated, turns, tokens, "
                     "owner, lease_until, no, " PG_NOW " FROM runs WHERE no < $1 "
                     "ORDER BY no DESC LIMIT $2",
                     &a, err);
  if (n < 0)
    return n;
  csn_arena_clear(o->arena);
  o->n = n;
  o->rows = csn_arena_alloc(o->arena, (size_t)(n + 1) * sizeof *o->rows);
  int64_t before = o->before;
  for (int i = 0; i < n; i++) {
    csn_run_row *row = &o->rows[i];
    *row = (csn_run_row){
        .state = csn_arena_dup(o->arena, csn_pg_cell(k, i, 1)),
        .agent = csn_arena_dup(o->arena, csn_pg_cell(k, i, 2)),
        .model = csn_arena_dup(o->arena, csn_pg_cell(k, i, 3)),
        .task = csn_arena_dup(o->arena, csn_pg_cell(k, i, 4)),
        .started_ms = csn_pg_cell_int(k, i, 5),
        .updated_ms = csn_pg_cell_int(k, i, 6),
        .turns = csn_pg_cell_int(k, i, 7),
        .tokens = csn_pg_cell_int(k, i, 8),
    };
    csn_str id = csn_pg_cell(k, i, 0), owner = csn_pg_cell(k, i, 9);
    char name[STORE_OWNER_MAX];
    snprintf(row->id, sizeof row->id, "%.*s", (int)id.n, id.p);
    snprintf(name, sizeof name, "%.*s", (int)owner.n, owner.p);
    row->is_owned = csn_owner_is_live(name, csn_pg_cell_int(k, i, 10), csn_pg_cell_int(k, i, 12));
    before = csn_pg_cell_int(k, i, 11);
  }
  o->before = before;
  return 0;
}

int
csn_pg_run_list(csn_store *s, int (*fn)(void *user, const csn_run_row *r), void *user, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  struct list_op o = {.arena = arena, .before = INT64_MAX, .n = PG_PAGE};
  int rc = 0;
  while (rc >= 0 && o.n == PG_PAGE) {
    rc = csn_pg_do(csn_pg_of(s), list_page, &o, err);
    for (int i = 0; rc >= 0 && i < o.n; i++)
      rc = fn(user, &o.rows[i]);
  }
  return rc;
}

struct remove_op {
  csn_str id;
  csn_run_head head;
};

static int
remove_run(csn_pg_call *k, void *user, csn_err *err)
{
  static const char *const sql[][2] = {{"record_drop", "DELETE FROM record WHERE run = $1"},
                                       {"refs_drop", "DELETE FROM refs WHERE run = $1"}};
  struct remove_op *o = user;
  int64_t now = 0;
  int rc = csn_pg_find(k, o->id, &o->head, &now, err);
  if (rc == CSN_E_NOT_FOUND && k->is_again && *o->head.id)
    return 0; /* by the try before */
  if (rc >= 0)
    rc = csn_run_check_free(&o->head, now, err);
  if (rc >= 0)
    rc = csn_pg_begin(k, err);
  if (rc < 0)
    return rc;
  csn_pg_args a = {0}, b = {0};
  csn_pg_int(&a, o->head.no);
  csn_pg_int(&a, o->head.fence);
  csn_pg_text(&a, csn_cstr(o->head.owner));
  rc = csn_pg_run(k, "run_drop", "DELETE FROM runs WHERE no = $1 AND fence = $2 AND owner = $3", &a,
                  err);
  if (rc >= 0 && csn_pg_changed(k) == 0)
    return csn_fail(err, CSN_E_CONFLICT, "run %s was taken by another process just now",
                    o->head.id);
  csn_pg_int(&b, o->head.no);
  for (size_t i = 0; rc >= 0 && i < CSN_COUNT(sql); i++)
    rc = csn_pg_run(k, sql[i][0], sql[i][1], &b, err);
  return rc < 0 ? rc : csn_pg_commit(k, err);
}

int
csn_pg_run_remove(csn_store *s, csn_str id, csn_err *err)
{
  struct remove_op o = {.id = id};
  return csn_pg_do(csn_pg_of(s), remove_run, &o, err);
}

/* ---- blobs ---- */

static csn_str
digest_bytes(const csn_digest *d)
{
  return csn_strn((const char *)d->b, sizeof d->b);
}

static int
share_blobs(csn_pg_call *k, csn_err *err)
{
  csn_pg_args a = {0};
  csn_pg_int(&a, PG_LOCK_BLOBS);
  return csn_pg_run(k, "share_blobs", "SELECT pg_advisory_xact_lock_shared($1)", &a, err);
}

int
csn_pg_packed_store(csn_pg_call *k, const csn_packed *p, csn_err *err)
{
  int64_t now = csn_unix_ms();
  csn_pg_args find = {0}, add = {0};
  int rc = share_blobs(k, err);
  if (rc < 0)
    return rc;
  csn_pg_bytes(&find, digest_bytes(&p->digest));
  csn_pg_int(&find, now);
  csn_pg_int(&find, now - STORE_TOUCH_MS);
  rc = csn_pg_run(k, "blob_touch",
                  "WITH old AS (UPDATE blobs SET put = $2 WHERE sha256 = $1 AND put <= $3) "
                  "SELECT 1 FROM blobs WHERE sha256 = $1",
                  &find, err);
  if (rc != 0)
    return rc < 0 ? rc : 0;
  csn_str stored = p->z ? csn_strn(p->z, p->z_size) : p->raw;
  csn_pg_bytes(&add, digest_bytes(&p->digest));
  csn_pg_int(&add, (int64_t)p->raw.n);
  csn_pg_int(&add, now);
  csn_pg_int(&add, p->z != NULL);
  csn_pg_bytes(&add, stored);
  return csn_pg_run(k, "blob_add",
                    "INSERT INTO blobs(sha256, size, put, zstd, bytes) "
                    "VALUES($1, $2, $3, $4, $5) ON CONFLICT (sha256) DO NOTHING",
                    &add, err);
}

int
csn_pg_blob_ref(csn_pg_call *k, int64_t run_no, const csn_digest *d, csn_err *err)
{
  csn_pg_args a = {0};
  int rc = share_blobs(k, err);
  if (rc < 0)
    return rc;
  csn_pg_int(&a, run_no);
  csn_pg_bytes(&a, digest_bytes(d));
  rc = csn_pg_run(k, "ref_add",
                  "WITH found AS (SELECT sha256 FROM blobs WHERE sha256 = $2), "
                  "added AS (INSERT INTO refs(run, sha256) SELECT $1, sha256 FROM found "
                  "ON CONFLICT DO NOTHING) SELECT 1 FROM found",
                  &a, err);
  if (rc != 0)
    return rc < 0 ? rc : 0;
  char hex[65];
  csn_digest_hex(d, hex);
  return csn_fail(err, CSN_E_NOT_FOUND, "blob %.16s: a record names it, but it was not put", hex);
}

static int
put_blob(csn_pg_call *k, void *user, csn_err *err)
{
  int rc = csn_pg_begin(k, err);
  if (rc >= 0)
    rc = csn_pg_packed_store(k, user, err);
  return rc < 0 ? rc : csn_pg_commit(k, err);
}

int
csn_pg_blob_put(csn_store *s, const csn_packed *p, csn_err *err)
{
  csn_packed copy = *p; /* borrows what p has */
  return csn_pg_do(csn_pg_of(s), put_blob, &copy, err);
}

struct blob_op {
  const csn_digest *digest;
  csn_buf *out;
  int64_t before_ms;
  int dropped;
};

static int
get_blob(csn_pg_call *k, void *user, csn_err *err)
{
  struct blob_op *o = user;
  csn_pg_args a = {0};
  csn_pg_bytes(&a, digest_bytes(o->digest));
  int rc =
      csn_pg_run(k, "blob_get", "SELECT size, zstd, bytes FROM blobs WHERE sha256 = $1", &a, err);
  if (rc <= 0)
    return rc < 0 ? rc : csn_fail_blob(o->digest, err);
  return csn_blob_unpack(o->digest, csn_pg_cell_int(k, 0, 0), csn_pg_cell_int(k, 0, 1) != 0,
                         csn_pg_cell(k, 0, 2), o->out, err);
}

int
csn_pg_blob_get(csn_store *s, const csn_digest *d, csn_buf *out, csn_err *err)
{
  struct blob_op o = {.digest = d, .out = out};
  return csn_pg_do(csn_pg_of(s), get_blob, &o, err);
}

static int
drop_blob(csn_pg_call *k, void *user, csn_err *err)
{
  struct blob_op *o = user;
  csn_pg_args a = {0};
  csn_pg_bytes(&a, digest_bytes(o->digest));
  int rc = csn_pg_run(k, "blob_drop", "DELETE FROM blobs WHERE sha256 = $1", &a, err);
  if (rc < 0 || csn_pg_changed(k) || k->is_again)
    return rc;
  return csn_fail_blob(o->digest, err);
}

int
csn_pg_blob_drop(csn_store *s, const csn_digest *d, csn_err *err)
{
  struct blob_op o = {.digest = d};
  return csn_pg_do(csn_pg_of(s), drop_blob, &o, err);
}

/* The lock comes first, so the second statement sees what was named before. */
static int
drop_unnamed(csn_pg_call *k, void *user, csn_err *err)
{
  struct blob_op *o = user;
  csn_pg_args lock = {0}, a = {0};
  csn_pg_int(&lock, PG_LOCK_BLOBS);
  csn_pg_int(&a, o->before_ms);
  int rc = csn_pg_begin(k, err);
  if (rc >= 0)
    rc = csn_pg_run(k, NULL, "SELECT pg_advisory_xact_lock($1)", &lock, err);
  if (rc >= 0)
    rc = csn_pg_run(k, NULL,
                    "DELETE FROM blobs WHERE put < $1 AND NOT EXISTS "
                    "(SELECT 1 FROM refs WHERE refs.sha256 = blobs.sha256)",
                    &a, err);
  if (rc < 0)
    return rc;
  o->dropped = (int)csn_pg_changed(k);
  return csn_pg_commit(k, err);
}

int
csn_pg_gc(csn_store *s, int64_t before_ms, csn_err *err)
{
  struct blob_op o = {.before_ms = before_ms};
  int rc = csn_pg_do(csn_pg_of(s), drop_unnamed, &o, err);
  return rc < 0 ? rc : o.dropped;
}
