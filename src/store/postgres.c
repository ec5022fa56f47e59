/* SPDX-License-Identifier: Apache-2.0
 *
 * postgres.c - the journal in PostgreSQL: connect, make the tables, repeat what
 * a lost connection interrupted, renew leases; the table of the back-end.
 *
 * Several harnesses, on several machines, may use one database.  A run belongs
 * to one of them at a time: its lease is renewed while that one lives, and who
 * takes it over raises the fence that every append checks in its transaction.
 * libpq is in a module that is opened here.
 */
#include "store/postgres.h"

#include <endian.h>
#include <stdio.h>
#include <time.h>

#include "store/place.h"
#include "store/session_backend.h"

/* The tables, in a schema of their own so that they can share a database. */
static const char *const schema[] = {
    "CREATE SCHEMA IF NOT EXISTS caisson",
    "CREATE TABLE caisson.meta(format int8 NOT NULL)",
    "CREATE TABLE caisson.runs("
    " no int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text COLLATE \"C\" NOT NULL UNIQUE,"
    " owner text NOT NULL, lease_until int8 NOT NULL, fence int8 NOT NULL,"
    " next int8 NOT NULL DEFAULT 0, head bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),"
    " state text NOT NULL DEFAULT '', agent text NOT NULL DEFAULT '',"
    " model text NOT NULL DEFAULT '', task text NOT NULL DEFAULT '',"
    " started int8 NOT NULL, updated int8 NOT NULL,"
    " turns int8 NOT NULL DEFAULT 0, tokens int8 NOT NULL DEFAULT 0) WITH (fillfactor = 50)",
    "CREATE INDEX ON caisson.runs(owner) WHERE owner <> ''",
    "CREATE TABLE caisson.record("
    " run int8 NOT NULL, seq int8 NOT NULL, ts int8 NOT NULL, kind text NOT NULL,"
    " hash bytea NOT NULL, data bytea NOT NULL, PRIMARY KEY(run, seq))",
    "CREATE VIEW caisson.records AS SELECT runs.id AS run, seq, ts, kind,"
    " convert_from(data, 'UTF8') AS data, encode(hash, 'hex') AS hash"
    " FROM caisson.record JOIN caisson.runs ON runs.no = record.run",
    "CREATE TABLE caisson.blobs("
    " sha256 bytea PRIMARY KEY, size int8 NOT NULL, put int8 NOT NULL,"
    " zstd int8 NOT NULL, bytes bytea NOT NULL)",
    "ALTER TABLE caisson.blobs ALTER COLUMN bytes SET STORAGE EXTERNAL",
    "CREATE TABLE caisson.refs(run int8 NOT NULL, sha256 bytea NOT NULL,"
    " PRIMARY KEY(run, sha256))",
    "CREATE INDEX ON caisson.refs(sha256)",
    "CREATE TABLE caisson.sessions("
    " no int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE \"C\" NOT NULL UNIQUE,"
    " parent text NOT NULL, created int8 NOT NULL, updated int8 NOT NULL,"
    " items int8 NOT NULL DEFAULT 0)",
    "CREATE TABLE caisson.session_items("
    " session int8 NOT NULL, n int8 NOT NULL, data bytea NOT NULL, PRIMARY KEY(session, n))",
    "CREATE TABLE caisson.session_runs("
    " session int8 NOT NULL, run text NOT NULL, PRIMARY KEY(session, run))",
};

/* ---- values and cells ---- */

static void
push(csn_pg_args *a, enum csn_pq_type type, csn_str bytes)
{
  a->v[a->n++] = (csn_pq_value){type, bytes};
}

void
csn_pg_int(csn_pg_args *a, int64_t i)
{
  uint64_t be = htobe64((uint64_t)i);
  memcpy(a->ints[a->n], &be, sizeof be);
  push(a, CSN_PQ_INT, csn_strn((const char *)a->ints[a->n], sizeof be));
}

void
csn_pg_text(csn_pg_args *a, csn_str s)
{
  push(a, CSN_PQ_TEXT, csn_strn(s.n ? s.p : "", s.n));
}

void
csn_pg_bytes(csn_pg_args *a, csn_str s)
{
  push(a, CSN_PQ_BYTES, csn_strn(s.n ? s.p : "", s.n));
}

void
csn_pg_null(csn_pg_args *a, enum csn_pq_type type)
{
  push(a, type, csn_strn(NULL, 0));
}

void
csn_pg_list(csn_pg_args *a, enum csn_pq_type type, const csn_buf *b)
{
  push(a, type, csn_buf_str(b));
}

static void
add_be32(csn_buf *b, size_t n)
{
  uint32_t be = htobe32((uint32_t)n);
  csn_buf_add(b, csn_strn((const char *)&be, sizeof be));
}

void
csn_pg_list_init(csn_buf *b, enum csn_pq_type part, size_t n)
{
  add_be32(b, n ? 1 : 0); /* dimensions */
  add_be32(b, 0);         /* no nulls */
  add_be32(b, (size_t)part);
  if (!n)
    return;
  add_be32(b, n);
  add_be32(b, 1); /* the first index */
}

void
csn_pg_list_add(csn_buf *b, csn_str part)
{
  add_be32(b, part.n);
  csn_buf_add(b, part);
}

void
csn_pg_list_add_int(csn_buf *b, int64_t i)
{
  uint64_t be = htobe64((uint64_t)i);
  csn_pg_list_add(b, csn_strn((const char *)&be, sizeof be));
}

int
csn_pg_run(csn_pg_call *k, const char *name, const char *sql, const csn_pg_args *a, csn_err *err)
{
  return k->pg->m->run(k->c, k->sc, name, sql, a ? a->v : NULL, a ? a->n : 0, err);
}

csn_str
csn_pg_cell(const csn_pg_call *k, int row, int column)
{
  return k->pg->m->cell(k->c, row, column);
}

int64_t
csn_pg_cell_int(const csn_pg_call *k, int row, int column)
{
  csn_str s = csn_pg_cell(k, row, column);
  uint64_t be;
  if (s.n != sizeof be)
    return 0;
  memcpy(&be, s.p, sizeof be);
  return (int64_t)be64toh(be);
}

/* ---- connections ---- */

static int
open_conn(csn_pg *pg, csn_scope *sc, csn_pq **out, csn_err *err)
{
  static const char set[] = "SELECT set_config('search_path', 'caisson', false), "
                            "set_config('statement_timeout', '30000', false), "
                            "set_config('lock_timeout', '20000', false), "
                            "set_config('idle_in_transaction_session_timeout', '60000', false)";
  int rc = pg->m->open(out, pg->url, sc, err);
  if (rc < 0)
    return rc;
  rc = pg->m->run(*out, sc, NULL, set, NULL, 0, err);
  if (rc < 0)
    pg->m->close(*out);
  return rc < 0 ? rc : 0;
}

static int
take_conn(csn_pg *pg, csn_scope *sc, csn_pq **out, csn_err *err)
{
  int rc = 0;
  pthread_mutex_lock(&pg->lock);
  while (rc == 0 && !pg->n_idle && pg->n_open >= PG_CONNS)
    rc = csn_scope_wait(sc, &pg->changed, &pg->lock, err);
  bool is_new = rc == 0 && !pg->n_idle;
  if (is_new)
    pg->n_open++;
  else if (rc == 0)
    *out = pg->idle[--pg->n_idle];
  pthread_mutex_unlock(&pg->lock);
  if (!is_new)
    return rc;
  rc = open_conn(pg, sc, out, err);
  if (rc < 0) {
    pthread_mutex_lock(&pg->lock);
    pg->n_open--;
    pthread_cond_broadcast(&pg->changed);
    pthread_mutex_unlock(&pg->lock);
  }
  return rc;
}

static void
give_conn(csn_pg *pg, csn_pq *c)
{
  bool keep = !pg->m->is_broken(c);
  if (!keep)
    pg->m->close(c);
  pthread_mutex_lock(&pg->lock);
  if (keep)
    pg->idle[pg->n_idle++] = c;
  else
    pg->n_open--;
  pthread_cond_broadcast(&pg->changed);
  pthread_mutex_unlock(&pg->lock);
}

/* ---- operations ---- */

/* 50 ms at first, a second from the sixth on; false when time is up. */
static bool
back_off(const csn_scope *sc, int times)
{
  int64_t ms = times < 5 ? INT64_C(50) << times : 1000;
  int64_t left_ms = (csn_scope_deadline_ns(sc) - csn_now_ns()) / 1000000;
  if (left_ms <= ms)
    return false;
  struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
  clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
  return true;
}

static int
try_once(csn_pg_call *k, csn_pg_fn *fn, void *user, csn_err *err)
{
  int rc = take_conn(k->pg, k->sc, &k->c, err);
  if (rc < 0)
    return rc;
  k->in_transaction = false;
  rc = fn(k, user, err);
  if (k->in_transaction && !k->pg->m->is_broken(k->c))
    (void)!csn_pg_run(k, NULL, "ROLLBACK", NULL, NULL); /* a broken one is closed */
  give_conn(k->pg, k->c);
  return rc;
}

int
csn_pg_do(csn_pg *pg, csn_pg_fn *fn, void *user, csn_err *err)
{
  csn_scope sc;
  pthread_mutex_lock(&pg->lock);
  bool is_down = pg->is_down;
  pthread_mutex_unlock(&pg->lock);
  csn_scope_init(&sc, NULL, is_down ? PG_DOWN_MS : PG_WAIT_MS);
  csn_pg_call k = {.pg = pg, .sc = &sc};
  csn_err why = {0};
  int rc = try_once(&k, fn, user, &why);
  for (int i = 0; rc == CSN_E_UNAVAILABLE && !is_down && back_off(&sc, i); i++) {
    k.is_again = true;
    rc = try_once(&k, fn, user, &why);
  }
  csn_scope_fini(&sc);
  is_down = rc == CSN_E_TIMEOUT || rc == CSN_E_UNAVAILABLE;
  pthread_mutex_lock(&pg->lock);
  pg->is_down = is_down;
  pthread_mutex_unlock(&pg->lock);
  if (is_down) {
    rc = why.code = CSN_E_IO;
    csn_wrap(&why, rc, "state database: not usable for %d s", PG_WAIT_MS / 1000);
  }
  if (rc < 0 && err)
    *err = why;
  return rc < 0 ? rc : 0;
}

int
csn_pg_begin(csn_pg_call *k, csn_err *err)
{
  int rc = csn_pg_run(k, "begin", "BEGIN", NULL, err);
  k->in_transaction = rc >= 0;
  return rc;
}

int
csn_pg_commit(csn_pg_call *k, csn_err *err)
{
  int rc = csn_pg_run(k, "commit", "COMMIT", NULL, err);
  k->in_transaction = rc < 0;
  return rc;
}

/* ---- leases ---- */

static int
renew(csn_pg_call *k, void *user, csn_err *err)
{
  csn_pg_args a = {0};
  (void)user;
  csn_pg_text(&a, csn_cstr(k->pg->base.self));
  csn_pg_int(&a, STORE_LEASE_MS);
  csn_pg_int(&a, STORE_LEASE_MS - PG_RENEW_MS / 2);
  return csn_pg_run(k, "renew",
                    "UPDATE runs SET lease_until = " PG_NOW " + $2 "
                    "WHERE owner = $1 AND owner <> '' AND lease_until < " PG_NOW " + $3",
                    &a, err);
}

static void *
keep_leases(void *user)
{
  csn_pg *pg = user;
  pthread_mutex_lock(&pg->lock);
  while (!pg->is_closing) {
    csn_scope nap;
    csn_scope_init(&nap, NULL, PG_RENEW_MS);
    while (!pg->is_closing && csn_scope_wait(&nap, &pg->changed, &pg->lock, NULL) == 0)
      continue;
    csn_scope_fini(&nap);
    if (pg->is_closing)
      break;
    pthread_mutex_unlock(&pg->lock);
    /* When it fails for longer than the leases last, others take the runs over
     * and our appends are refused. */
    (void)!csn_pg_do(pg, renew, NULL, NULL);
    pthread_mutex_lock(&pg->lock);
  }
  pthread_mutex_unlock(&pg->lock);
  return NULL;
}

void
csn_pg_keep_leases(csn_pg *pg)
{
  enum { STACK_BYTES = 512 << 10 };
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, STACK_BYTES);
  pthread_mutex_lock(&pg->lock);
  if (!pg->has_keeper)
    pg->has_keeper = pthread_create(&pg->keeper, &attr, keep_leases, pg) == 0;
  pthread_mutex_unlock(&pg->lock);
  pthread_attr_destroy(&attr);
}

/* ---- open and close ---- */

/* 1: the tables are there, in a format that we read; 0: there are none. */
static int
check_format(csn_pg_call *k, csn_err *err)
{
  int rc = csn_pg_run(k, NULL,
                      "SELECT (current_setting('server_encoding') = 'UTF8')::int::int8, "
                      "(SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
                      "ON n.oid = c.relnamespace WHERE n.nspname = 'caisson' AND "
                      "c.relname = 'meta')",
                      NULL, err);
  if (rc < 0)
    return rc;
  if (!csn_pg_cell_int(k, 0, 0))
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "its encoding is not UTF8; make another one with "
                    "createdb -E UTF8 -T template0");
  if (!csn_pg_cell_int(k, 0, 1))
    return 0;
  rc = csn_pg_run(k, NULL, "SELECT max(format) FROM caisson.meta", NULL, err);
  if (rc < 0)
    return rc;
  int64_t format = csn_pg_cell_int(k, 0, 0);
  if (format > PG_FORMAT)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "it has format %lld, this program (%s) reads up to %d; use a newer caisson, or "
                    "another database",
                    (long long)format, CSN_VERSION, PG_FORMAT);
  return 1;
}

static int
create(csn_pg_call *k, csn_err *err)
{
  csn_pg_args a = {0};
  csn_pg_int(&a, PG_LOCK_SCHEMA);
  int rc = csn_pg_begin(k, err);
  if (rc >= 0)
    rc = csn_pg_run(k, NULL, "SELECT pg_advisory_xact_lock($1)", &a, err);
  if (rc >= 0)
    rc = check_format(k, err); /* somebody may have been faster */
  if (rc != 0)
    return rc < 0 ? rc : 0;
  for (size_t i = 0; rc >= 0 && i < CSN_COUNT(schema); i++)
    rc = csn_pg_run(k, NULL, schema[i], NULL, err);
  csn_pg_args f = {0};
  csn_pg_int(&f, PG_FORMAT);
  if (rc >= 0)
    rc = csn_pg_run(k, NULL, "INSERT INTO caisson.meta(format) VALUES($1)", &f, err);
  return rc < 0 ? rc : csn_pg_commit(k, err);
}

static int
prepare_database(csn_pg_call *k, void *user, csn_err *err)
{
  (void)user;
  int rc = check_format(k, err);
  return csn_wrap(err, rc == 0 ? create(k, err) : rc, "state database");
}

/* At the first time it is tried once: a server that is not there, or a name
 * that is wrong, is told at once. */
static int
first_time(csn_pg *pg, csn_err *err)
{
  csn_scope sc;
  csn_scope_init(&sc, NULL, PG_OPEN_MS);
  csn_pg_call k = {.pg = pg, .sc = &sc};
  int rc = try_once(&k, prepare_database, NULL, err);
  csn_scope_fini(&sc);
  if (rc != CSN_E_UNAVAILABLE && rc != CSN_E_TIMEOUT)
    return rc;
  if (err) /* not "try again": most likely the URL is wrong */
    err->code = CSN_E_IO;
  return CSN_E_IO;
}

static void
pg_close(csn_store *s)
{
  csn_pg *pg = csn_pg_of(s);
  pthread_mutex_lock(&pg->lock);
  pg->is_closing = true;
  pthread_cond_broadcast(&pg->changed);
  pthread_mutex_unlock(&pg->lock);
  if (pg->has_keeper)
    pthread_join(pg->keeper, NULL);
  for (int i = 0; i < pg->n_idle; i++)
    pg->m->close(pg->idle[i]);
  pthread_cond_destroy(&pg->changed);
  pthread_mutex_destroy(&pg->lock);
  pthread_mutex_destroy(&pg->take_lock);
  explicit_bzero(pg->url, strlen(pg->url));
  free(pg->url);
  csn_store_fini(s);
  free(pg);
}

static csn_sessions *
sessions_beside(csn_store *s)
{
  return csn_sessions_postgres(s, false);
}

static const csn_store_ops pg_ops = {
    .name = "postgres",
    .close = pg_close,
    .run_add = csn_pg_run_add,
    .run_find = csn_pg_run_find,
    .run_take = csn_pg_run_take,
    .run_release = csn_pg_run_release,
    .run_list = csn_pg_run_list,
    .run_remove = csn_pg_run_remove,
    .append = csn_pg_append,
    .read = csn_pg_read,
    .last = csn_pg_last,
    .blob_put = csn_pg_blob_put,
    .blob_get = csn_pg_blob_get,
    .blob_drop = csn_pg_blob_drop,
    .gc = csn_pg_gc,
    .sessions = sessions_beside,
};

int
csn_store_connect(csn_store **out, const char *url, csn_err *err)
{
  const csn_module *m = NULL;
  csn_place place;
  int rc = csn_place_parse(csn_cstr(url), &place, err);
  if (rc >= 0 && !csn_str_starts(place.scheme, CSN_STR("postgres")))
    rc = csn_fail(err, CSN_E_INVALID, "expected postgres://...");
  csn_wrap(err, rc, "state database");
  if (rc >= 0)
    rc = csn_module_open("caisson-postgres.so", "csn_pq_entry", CSN_PQ_ABI, &m, err);
  if (rc < 0)
    return rc;
  csn_pg *pg = csn_alloc(sizeof *pg);
  csn_store_init(&pg->base, &pg_ops);
  pg->m = (const csn_pq_module *)m; /* it is the first member */
  pg->url = csn_dupz(csn_cstr(url));
  pthread_mutex_init(&pg->lock, NULL);
  pthread_mutex_init(&pg->take_lock, NULL);
  csn_cond_init(&pg->changed);
  rc = first_time(pg, err);
  if (rc < 0)
    pg_close(&pg->base);
  else
    *out = &pg->base;
  return rc < 0 ? rc : 0;
}
