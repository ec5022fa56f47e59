/* SPDX-License-Identifier: Apache-2.0
 *
 * postgres_journal.c - runs and their records in PostgreSQL.
 *
 * An append is one statement, so one way to the server and back: the UPDATE of
 * the run's row checks the fence and moves the head of the chain, and the
 * records go in only if it did.  When a connection is lost nobody knows whether
 * the last statement was committed; its repetition finds out by the row.
 */
#include <stdio.h>

#include "store/postgres.h"

#define HEAD_COLUMNS "no, fence, next, lease_until, id, owner, head"

static void
read_head(const csn_pg_call *k, int row, csn_run_head *out)
{
  csn_str id = csn_pg_cell(k, row, 4), owner = csn_pg_cell(k, row, 5);
  *out = (csn_run_head){
      .no = csn_pg_cell_int(k, row, 0),
      .fence = csn_pg_cell_int(k, row, 1),
      .next_seq = csn_pg_cell_int(k, row, 2),
      .lease_until_ms = csn_pg_cell_int(k, row, 3),
  };
  snprintf(out->id, sizeof out->id, "%.*s", (int)id.n, id.p);
  snprintf(out->owner, sizeof out->owner, "%.*s", (int)owner.n, owner.p);
  csn_str head = csn_pg_cell(k, row, 6);
  (void)!csn_digest_read(head, &out->head);
}

/* 1, or 0 when it was removed. */
static int
get_run(csn_pg_call *k, int64_t no, csn_run_head *out, csn_err *err)
{
  csn_pg_args a = {0};
  csn_pg_int(&a, no);
  int rc = csn_pg_run(k, "run_by_no", "SELECT " HEAD_COLUMNS " FROM runs WHERE no = $1", &a, err);
  if (rc > 0)
    read_head(k, 0, out);
  return rc;
}

/* ---- owning ---- */

struct open_op {
  csn_str id;
  csn_run_head *head;
  char new_id[32];
  int64_t no, fence; /* of the lease that an earlier try may have taken */
};

static int
add_run(csn_pg_call *k, void *user, csn_err *err)
{
  struct open_op *o = user;
  for (int i = 0; i < 16; i++) {
    csn_pg_args a = {0};
    int64_t now = csn_unix_ms();
    bool is_maybe_ours = k->is_again && *o->new_id;
    if (!is_maybe_ours)
      csn_run_id_new(now, o->new_id);
    csn_pg_text(&a, csn_cstr(o->new_id));
    csn_pg_text(&a, csn_cstr(k->pg->base.self));
    csn_pg_int(&a, STORE_LEASE_MS);
    csn_pg_int(&a, now);
    int rc = csn_pg_run(k, "run_add",
                        "INSERT INTO runs(id, owner, lease_until, fence, state, started, updated) "
                        "VALUES($1, $2, " PG_NOW " + $3, 1, 'running', $4, $4) "
                        "ON CONFLICT (id) DO NOTHING RETURNING no",
                        &a, err);
    if (rc == 0 && is_maybe_ours) {
      csn_pg_args b = {0};
      csn_pg_text(&b, csn_cstr(o->new_id));
      csn_pg_text(&b, csn_cstr(k->pg->base.self));
      rc = csn_pg_run(k, "run_added",
                      "SELECT no FROM runs WHERE id = $1 AND owner = $2 AND next = 0", &b, err);
    }
    if (rc > 0) {
      *o->head = (csn_run_head){.fence = 1, .no = csn_pg_cell_int(k, 0, 0)};
      memcpy(o->head->id, o->new_id, sizeof o->head->id);
    }
    if (rc != 0)
      return rc;
    k->is_again = false; /* another id then */
  }
  return csn_fail(err, CSN_E_CONFLICT, "no free run id; try again");
}

int
csn_pg_run_add(csn_store *s, csn_run_head *out, csn_err *err)
{
  struct open_op o = {.head = out};
  csn_pg_keep_leases(csn_pg_of(s));
  return csn_pg_do(csn_pg_of(s), add_run, &o, err);
}

int
csn_pg_find(csn_pg_call *k, csn_str id, csn_run_head *out, int64_t *now_ms, csn_err *err)
{
  csn_run_search find;
  int rc = csn_run_search_init(&find, id, out, err);
  if (rc < 0)
    return rc;
  csn_pg_args a = {0};
  csn_pg_text(&a, csn_cstr(find.from));
  csn_pg_text(&a, csn_cstr(find.to));
  int n = csn_pg_run(k, "run_by_head",
                     "SELECT " HEAD_COLUMNS ", " PG_NOW " FROM runs "
                     "WHERE id >= $1 AND id < $2 ORDER BY id LIMIT 9",
                     &a, err);
  for (int i = 0; i < n; i++) {
    csn_run_head one;
    read_head(k, i, &one);
    csn_run_search_take(&find, &one);
    *now_ms = csn_pg_cell_int(k, i, 7);
  }
  rc = csn_run_search_end(&find, n < 0 ? NULL : err);
  return n < 0 ? n : rc;
}

static int
find_run(csn_pg_call *k, void *user, csn_err *err)
{
  struct open_op *o = user;
  int64_t now;
  return csn_pg_find(k, o->id, o->head, &now, err);
}

int
csn_pg_run_find(csn_store *s, csn_str id, csn_run_head *out, csn_err *err)
{
  struct open_op o = {.id = id, .head = out};
  return csn_pg_do(csn_pg_of(s), find_run, &o, err);
}

/* Nobody else of this process is here at the same time, so a lease of ours
 * with the fence that we asked for is the one that a lost connection kept
 * from us. */
static int
take_run(csn_pg_call *k, void *user, csn_err *err)
{
  struct open_op *o = user;
  csn_run_head *h = o->head;
  int64_t now = 0;
  int rc = csn_pg_find(k, o->id, h, &now, err);
  if (rc < 0)
    return rc;
  if (k->is_again && h->no == o->no && h->fence == o->fence &&
      csn_str_eq(csn_cstr(h->owner), csn_cstr(k->pg->base.self)))
    return 0;
  rc = csn_run_check_free(h, now, err);
  if (rc < 0)
    return rc;
  o->no = h->no;
  o->fence = h->fence + 1;
  csn_pg_args a = {0};
  csn_pg_int(&a, h->no);
  csn_pg_int(&a, h->fence);
  csn_pg_int(&a, h->lease_until_ms);
  csn_pg_text(&a, csn_cstr(h->owner));
  csn_pg_text(&a, csn_cstr(k->pg->base.self));
  csn_pg_int(&a, STORE_LEASE_MS);
  rc = csn_pg_run(k, "run_take",
                  "UPDATE runs SET owner = $5, lease_until = " PG_NOW " + $6, fence = fence + 1 "
                  "WHERE no = $1 AND fence = $2 AND lease_until = $3 AND owner = $4 "
                  "RETURNING " HEAD_COLUMNS,
                  &a, err);
  if (rc > 0)
    read_head(k, 0, h); /* its owner may have appended since it was read */
  if (rc == 0)
    return csn_fail(err, CSN_E_CONFLICT, "run %s was taken by another process just now", h->id);
  return rc < 0 ? rc : 0;
}

int
csn_pg_run_take(csn_store *s, csn_str id, csn_run_head *out, csn_err *err)
{
  csn_pg *pg = csn_pg_of(s);
  struct open_op o = {.id = id, .head = out};
  csn_pg_keep_leases(pg);
  pthread_mutex_lock(&pg->take_lock);
  int rc = csn_pg_do(pg, take_run, &o, err);
  pthread_mutex_unlock(&pg->take_lock);
  return rc;
}

struct release_op {
  int64_t no, fence;
};

static int
release_run(csn_pg_call *k, void *user, csn_err *err)
{
  const struct release_op *o = user;
  csn_pg_args a = {0};
  csn_pg_int(&a, o->no);
  csn_pg_int(&a, o->fence);
  return csn_pg_run(k, "run_release",
                    "UPDATE runs SET owner = '', lease_until = 0 WHERE no = $1 AND fence = $2", &a,
                    err);
}

int
csn_pg_run_release(csn_store *s, int64_t no, int64_t fence, csn_err *err)
{
  struct release_op o = {no, fence};
  return csn_pg_do(csn_pg_of(s), release_run, &o, err);
}

/* ---- appending ---- */

static const char append_sql[] =
    "WITH moved AS (UPDATE runs SET next = $4, head = $5, updated = $6, "
    "lease_until = " PG_NOW " + $7, "
    "state = coalesce($8, state), agent = coalesce($9, agent), model = coalesce($10, model), "
    "task = coalesce($11, task), turns = coalesce($12, turns), tokens = coalesce($13, tokens) "
    "WHERE no = $1 AND fence = $2 AND next = $3 RETURNING no), "
    "added AS (INSERT INTO record(run, seq, ts, kind, hash, data) "
    "SELECT moved.no, r.seq, r.ts, r.kind, r.hash, r.data FROM moved, "
    "unnest($14::int8[], $15::int8[], $16::text[], $17::bytea[], $18::bytea[]) "
    "AS r(seq, ts, kind, hash, data)) "
    "SELECT count(*) FROM moved";

/* An empty text keeps what is there.  PostgreSQL takes valid UTF-8 only. */
static void
add_summary(csn_pg_args *a, csn_str s)
{
  s = csn_summary_text(s);
  const char *nul = s.n ? memchr(s.p, '\0', s.n) : NULL;
  if (nul)
    s.n = (size_t)(nul - s.p);
  s.n = s.n ? csn_utf8_valid(s) : 0;
  if (s.n)
    csn_pg_text(a, s);
  else
    csn_pg_null(a, CSN_PQ_TEXT);
}

struct append_op {
  const csn_append *a;
  csn_buf seq, ts, kind, hash, data; /* lists */
  bool has_blobs;
};

static int
make_lists(struct append_op *o, csn_err *err)
{
  const csn_append *a = o->a;
  csn_pg_list_init(&o->seq, CSN_PQ_INT, a->n);
  csn_pg_list_init(&o->ts, CSN_PQ_INT, a->n);
  csn_pg_list_init(&o->kind, CSN_PQ_TEXT, a->n);
  csn_pg_list_init(&o->hash, CSN_PQ_BYTES, a->n);
  csn_pg_list_init(&o->data, CSN_PQ_BYTES, a->n);
  for (size_t i = 0; i < a->n; i++) {
    const csn_record *r = &a->records[i];
    csn_pg_list_add_int(&o->seq, r->seq);
    csn_pg_list_add_int(&o->ts, r->ts_ms);
    csn_pg_list_add(&o->kind, r->kind);
    csn_pg_list_add(&o->hash, csn_strn((const char *)r->hash.b, sizeof r->hash.b));
    csn_pg_list_add(&o->data, a->stored[i].data);
    o->has_blobs = o->has_blobs || a->stored[i].is_moved || r->n_blobs;
  }
  return csn_buf_done(&o->data, "the records of one append", err);
}

/* The row did not take it: somebody else's it is, or ours from before. */
static int
why_not(csn_pg_call *k, const struct append_op *o, csn_err *err)
{
  const csn_append *a = o->a;
  const csn_digest *head = a->n ? &a->records[a->n - 1].hash : &a->j->head;
  csn_run_head h;
  int rc = get_run(k, a->j->no, &h, err);
  if (rc == 0)
    rc = csn_fail(err, CSN_E_NOT_FOUND, "the run was removed");
  if (rc < 0)
    return csn_wrap(err, rc, "run %s", a->j->id);
  bool is_ours = k->is_again && h.fence == a->j->fence &&
                 h.next_seq == a->j->next_seq + (int64_t)a->n &&
                 memcmp(h.head.b, head->b, sizeof head->b) == 0;
  return is_ours ? 0 : csn_fail_fence(a->j, &h, err);
}

static int
add_blobs(csn_pg_call *k, const csn_append *a, csn_err *err)
{
  int rc = 0;
  for (size_t i = 0; rc >= 0 && i < a->n; i++) {
    if (a->stored[i].is_moved)
      rc = csn_pg_packed_store(k, &a->stored[i].packed, err);
    if (rc >= 0 && a->stored[i].is_moved)
      rc = csn_pg_blob_ref(k, a->j->no, &a->stored[i].packed.digest, err);
    for (size_t b = 0; rc >= 0 && b < a->records[i].n_blobs; b++)
      rc = csn_pg_blob_ref(k, a->j->no, &a->records[i].blobs[b], err);
  }
  return rc;
}

static int
append(csn_pg_call *k, void *user, csn_err *err)
{
  const struct append_op *o = user;
  const csn_append *a = o->a;
  const csn_digest *head = a->n ? &a->records[a->n - 1].hash : &a->j->head;
  csn_run_row none = {0};
  const csn_run_row *row = a->summary ? a->summary : &none;
  csn_pg_args v = {0};
  csn_pg_int(&v, a->j->no);
  csn_pg_int(&v, a->j->fence);
  csn_pg_int(&v, a->j->next_seq);
  csn_pg_int(&v, a->j->next_seq + (int64_t)a->n);
  csn_pg_bytes(&v, csn_strn((const char *)head->b, sizeof head->b));
  csn_pg_int(&v, csn_unix_ms());
  csn_pg_int(&v, STORE_LEASE_MS);
  add_summary(&v, row->state);
  add_summary(&v, row->agent);
  add_summary(&v, row->model);
  add_summary(&v, row->task);
  if (a->summary) {
    csn_pg_int(&v, row->turns);
    csn_pg_int(&v, row->tokens);
  } else {
    csn_pg_null(&v, CSN_PQ_INT);
    csn_pg_null(&v, CSN_PQ_INT);
  }
  csn_pg_list(&v, CSN_PQ_INT_LIST, &o->seq);
  csn_pg_list(&v, CSN_PQ_INT_LIST, &o->ts);
  csn_pg_list(&v, CSN_PQ_TEXT_LIST, &o->kind);
  csn_pg_list(&v, CSN_PQ_BYTES_LIST, &o->hash);
  csn_pg_list(&v, CSN_PQ_BYTES_LIST, &o->data);
  int rc = o->has_blobs ? csn_pg_begin(k, err) : 0;
  if (rc >= 0)
    rc = csn_pg_run(k, "append", append_sql, &v, err);
  if (rc < 0)
    return rc;
  if (csn_pg_cell_int(k, 0, 0) == 0)
    return why_not(k, o, err);
  if (!o->has_blobs)
    return 0;
  rc = add_blobs(k, a, err);
  return rc < 0 ? rc : csn_pg_commit(k, err);
}

int
csn_pg_append(csn_store *s, const csn_append *a, csn_err *err)
{
  enum { MOST = 1 << 30 }; /* what PostgreSQL takes as one value */
  struct append_op o = {.a = a,
                        .seq = CSN_BUF(MOST),
                        .ts = CSN_BUF(MOST),
                        .kind = CSN_BUF(MOST),
                        .hash = CSN_BUF(MOST),
                        .data = CSN_BUF(MOST - 4096)};
  int rc = make_lists(&o, err);
  if (rc >= 0)
    rc = csn_pg_do(csn_pg_of(s), append, &o, err);
  csn_buf_fini(&o.seq);
  csn_buf_fini(&o.ts);
  csn_buf_fini(&o.kind);
  csn_buf_fini(&o.hash);
  csn_buf_fini(&o.data);
  return rc;
}

/* ---- reading ---- */

/* Rows are copied, so that the connection is free while the reader looks at
 * them: it may append. */
struct page {
  csn_chain *chain;
  csn_arena *arena;
  int64_t max; /* greatest seq there is */
  struct page_row {
    int64_t seq, ts;
    csn_str kind, hash, data;
  } * rows;
  int n;
};

static int
read_begin(csn_pg_call *k, void *user, csn_err *err)
{
  struct page *p = user;
  csn_chain *c = p->chain;
  csn_pg_args a = {0};
  csn_pg_int(&a, c->j->no);
  int rc = csn_pg_run(k, "read_begin",
                      "SELECT " HEAD_COLUMNS ", (SELECT max(seq) FROM record WHERE run = $1) "
                      "FROM runs WHERE no = $1",
                      &a, err);
  if (rc <= 0)
    return rc < 0 ? rc : csn_fail(err, CSN_E_NOT_FOUND, "the run was removed");
  read_head(k, 0, &c->run);
  p->max = csn_pg_cell_int(k, 0, 7);
  if (c->from == 0 || c->from > c->run.next_seq)
    return 0;
  csn_pg_args b = {0};
  csn_pg_int(&b, c->j->no);
  csn_pg_int(&b, c->from - 1);
  rc = csn_pg_run(k, "record_hash", "SELECT hash FROM record WHERE run = $1 AND seq = $2", &b, err);
  if (rc < 0)
    return rc;
  return rc > 0 && csn_digest_read(csn_pg_cell(k, 0, 0), &c->prev)
             ? 0
             : csn_chain_fail(c, c->from - 1, rc ? "was altered" : "is missing", err);
}

static int
read_page(csn_pg_call *k, void *user, csn_err *err)
{
  struct page *p = user;
  csn_pg_args a = {0};
  csn_pg_int(&a, p->chain->j->no);
  csn_pg_int(&a, p->chain->next);
  csn_pg_int(&a, p->chain->run.next_seq);
  csn_pg_int(&a, PG_PAGE);
  int n = csn_pg_run(k, "read_page",
                     "SELECT seq, ts, kind, hash, data FROM record "
                     "WHERE run = $1 AND seq >= $2 AND seq < $3 ORDER BY seq LIMIT $4",
                     &a, err);
  if (n < 0)
    return n;
  csn_arena_clear(p->arena);
  p->n = n;
  p->rows = csn_arena_alloc(p->arena, (size_t)(n + 1) * sizeof *p->rows);
  for (int i = 0; i < n; i++)
    p->rows[i] = (struct page_row){
        .seq = csn_pg_cell_int(k, i, 0),
        .ts = csn_pg_cell_int(k, i, 1),
        .kind = csn_arena_dup(p->arena, csn_pg_cell(k, i, 2)),
        .hash = csn_arena_dup(p->arena, csn_pg_cell(k, i, 3)),
        .data = csn_arena_dup(p->arena, csn_pg_cell(k, i, 4)),
    };
  return 0;
}

static int
load(void *source, const csn_digest *d, csn_buf *out, csn_err *err)
{
  return csn_pg_blob_get(source, d, out, err);
}

int
csn_pg_read(csn_store *s, csn_chain *c, csn_err *err)
{
  csn_pg *pg = csn_pg_of(s);
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  struct page p = {.chain = c, .arena = arena};
  c->load = load;
  c->source = s;
  int rc = csn_pg_do(pg, read_begin, &p, err);
  while (rc >= 0 && c->next < c->run.next_seq) {
    rc = csn_pg_do(pg, read_page, &p, err);
    if (rc >= 0 && p.n == 0)
      return csn_chain_fail(c, c->next, "is missing", err);
    for (int i = 0; rc >= 0 && i < p.n; i++)
      rc = csn_chain_take(c, p.rows[i].seq, p.rows[i].ts, p.rows[i].kind, p.rows[i].hash,
                          p.rows[i].data, err);
    if (rc < 0)
      return rc;
  }
  if (rc < 0)
    return csn_wrap(err, rc, "journal of run %s", c->j->id);
  if (c->from <= c->run.next_seq && p.max >= c->run.next_seq && c->run.next_seq > 0)
    return csn_chain_fail(c, c->run.next_seq, "stands after the end that the run's row names", err);
  return 0;
}

struct last_op {
  const csn_journal *j;
  csn_str kind;
  int64_t seq;
};

static int
last(csn_pg_call *k, void *user, csn_err *err)
{
  struct last_op *o = user;
  csn_pg_args a = {0};
  csn_pg_int(&a, o->j->no);
  csn_pg_text(&a, o->kind);
  int rc = csn_pg_run(k, "record_last",
                      "SELECT seq FROM record WHERE run = $1 AND kind = $2 ORDER BY seq DESC "
                      "LIMIT 1",
                      &a, err);
  o->seq = rc > 0 ? csn_pg_cell_int(k, 0, 0) : -1;
  return rc;
}

int64_t
csn_pg_last(const csn_journal *j, csn_str kind)
{
  struct last_op o = {.j = j, .kind = kind, .seq = -1};
  return csn_pg_do(csn_pg_of(j->store), last, &o, NULL) < 0 ? -1 : o.seq;
}
