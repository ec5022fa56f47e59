/* SPDX-License-Identifier: Apache-2.0
 *
 * postgres.h - what the files of the PostgreSQL back-end share: connections,
 * operations that are repeated when a connection is lost, values and cells.
 *
 * An operation takes one connection of at most PG_CONNS and never calls what
 * the caller gave while it holds it, so nobody waits in a circle.
 */
#ifndef CSN_STORE_POSTGRES_H
#define CSN_STORE_POSTGRES_H

#include "store/backend.h"
#include "store/pq.h"

enum {
  PG_FORMAT = 1,          /* caisson.meta */
  PG_CONNS = 8,           /* of a process */
  PG_OPEN_MS = 10000,     /* for the first connection */
  PG_WAIT_MS = 30000,     /* for an operation, with all that is tried again */
  PG_DOWN_MS = 2000,      /* for one after that was in vain */
  PG_RENEW_MS = 20000,    /* leases are renewed this often */
  PG_PAGE = 200,          /* rows that are read at once */
  PG_LOCK_SCHEMA = 24899, /* our advisory locks */
  PG_LOCK_BLOBS = 24900,
};

/* Milliseconds since 1970 by the server's clock: all harnesses have that one. */
#define PG_NOW "(extract(epoch FROM clock_timestamp()) * 1000)::int8"

typedef struct csn_pg {
  csn_store base;
  const csn_pq_module *m;
  char *url;
  pthread_mutex_t take_lock; /* one run is taken at a time: see take_run() */
  pthread_mutex_t lock;      /* guards all below */
  pthread_cond_t changed;
  csn_pq *idle[PG_CONNS];
  int n_idle, n_open;
  bool has_keeper, is_closing;
  bool is_down;     /* the last operation waited in vain: the next ones try once */
  pthread_t keeper; /* renews the leases */
} csn_pg;

static inline csn_pg *
csn_pg_of(csn_store *s)
{
  return (csn_pg *)s; /* base is the first member */
}

/* One try of an operation. */
typedef struct csn_pg_call {
  csn_pg *pg;
  csn_pq *c;
  csn_scope *sc;
  bool is_again; /* an earlier try may have been committed, and nobody was told */
  bool in_transaction;
} csn_pg_call;
typedef int csn_pg_fn(csn_pg_call *k, void *user, csn_err *err);

/* Runs fn on a connection.  When that is lost, or the server asks for it, fn
 * runs again, for PG_WAIT_MS in all: then CSN_E_IO.  0 when fn's result is not
 * negative: it keeps its results in `user` only.  A transaction that fn left open is rolled back.
 */
int csn_pg_do(csn_pg *pg, csn_pg_fn *fn, void *user, csn_err *err) CSN_MUST;
int csn_pg_begin(csn_pg_call *k, csn_err *err) CSN_MUST;
int csn_pg_commit(csn_pg_call *k, csn_err *err) CSN_MUST;
/* Starts the thread that renews leases, once. */
void csn_pg_keep_leases(csn_pg *pg);

/* Parameters of a statement. */
typedef struct csn_pg_args {
  csn_pq_value v[24];
  unsigned char ints[24][8];
  int n;
} csn_pg_args;
void csn_pg_int(csn_pg_args *a, int64_t i);
/* An empty text is a text; p NULL with n 0, too. */
void csn_pg_text(csn_pg_args *a, csn_str s);
void csn_pg_bytes(csn_pg_args *a, csn_str s);
void csn_pg_null(csn_pg_args *a, enum csn_pq_type type);
/* A list whose parts csn_pg_list_add() put into b. */
void csn_pg_list(csn_pg_args *a, enum csn_pq_type type, const csn_buf *b);
/* Empty: n parts of that type will follow. */
void csn_pg_list_init(csn_buf *b, enum csn_pq_type part, size_t n);
void csn_pg_list_add(csn_buf *b, csn_str part);
void csn_pg_list_add_int(csn_buf *b, int64_t i);

/* Rows of the statement, or an error. */
int csn_pg_run(csn_pg_call *k, const char *name, const char *sql, const csn_pg_args *a,
               csn_err *err) CSN_MUST;
csn_str csn_pg_cell(const csn_pg_call *k, int row, int column);
int64_t csn_pg_cell_int(const csn_pg_call *k, int row, int column); /* of int8; null: 0 */
static inline int64_t
csn_pg_changed(const csn_pg_call *k)
{
  return k->pg->m->changed(k->c);
}

/* --- postgres_journal.c */
int csn_pg_run_add(csn_store *s, csn_run_head *out, csn_err *err);
int csn_pg_run_find(csn_store *s, csn_str id, csn_run_head *out, csn_err *err);
int csn_pg_run_take(csn_store *s, csn_str id, csn_run_head *out, csn_err *err);
int csn_pg_run_release(csn_store *s, int64_t no, int64_t fence, csn_err *err);
int csn_pg_append(csn_store *s, const csn_append *a, csn_err *err);
int csn_pg_read(csn_store *s, csn_chain *c, csn_err *err);
int64_t csn_pg_last(const csn_journal *j, csn_str kind);
/* By id or a unique head of it; *now_ms: the server's time. */
int csn_pg_find(csn_pg_call *k, csn_str id, csn_run_head *out, int64_t *now_ms,
                csn_err *err) CSN_MUST;

/* --- postgres_runs.c */
int csn_pg_run_list(csn_store *s, int (*fn)(void *user, const csn_run_row *r), void *user,
                    csn_err *err);
int csn_pg_run_remove(csn_store *s, csn_str id, csn_err *err);

int csn_pg_blob_put(csn_store *s, const csn_packed *p, csn_err *err);
int csn_pg_blob_get(csn_store *s, const csn_digest *d, csn_buf *out, csn_err *err);
int csn_pg_blob_drop(csn_store *s, const csn_digest *d, csn_err *err);
int csn_pg_gc(csn_store *s, int64_t before_ms, csn_err *err);
/* Within a transaction. */
int csn_pg_packed_store(csn_pg_call *k, const csn_packed *p, csn_err *err) CSN_MUST;
/* CSN_E_NOT_FOUND unless the blob exists. */
int csn_pg_blob_ref(csn_pg_call *k, int64_t run_no, const csn_digest *d, csn_err *err) CSN_MUST;

#endif
