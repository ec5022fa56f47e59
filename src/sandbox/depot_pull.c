/* SPDX-License-Identifier: Apache-2.0
 *
 * depot_pull.c - snapshots in another place: getting them; see depot.h.
 *
 * Contents that lie beside each other are fetched by one request, several at
 * once, into an unnamed file; from there each goes into a pack of this machine,
 * which finds what is not its digest.  What was taken over is kept when the
 * rest fails, so that it is not fetched again. */
#include <errno.h>
#include <stdio.h>

#include "sandbox/depot_int.h"

enum {
  GAP = 32 << 10,          /* fetched with its neighbours rather than asked around */
  BATCH = 64 << 20,        /* bytes of the file at once, but for a larger content */
  RANGE = CSN_OBJECT_PART, /* of one request */
  COMMIT = 256 << 20,      /* bytes after which a pack is finished */
  SEALED_CHUNK = 128 << 10,
};

/* ---- fetching ---- */

struct range {
  uint32_t pack;
  int64_t from, n, at; /* in the pack, and in the file */
};

struct fetching {
  csn_depot *d;
  csn_scope *sc;
  int fd;
  struct range *ranges;
  size_t n;
  csn_depot_moved *moved;
};

static int
write_at(int fd, csn_str bytes, int64_t at, csn_err *err)
{
  while (bytes.n) {
    ssize_t put = pwrite(fd, bytes.p, bytes.n, at);
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      return csn_fail_errno(err, "write what was fetched");
    at += put;
    bytes = csn_strn(bytes.p + put, bytes.n - (size_t)put);
  }
  return 0;
}

static int
fetch_range(void *user, size_t i, csn_err *err)
{
  const struct fetching *f = user;
  const struct range *r = &f->ranges[i];
  csn_depot *d = f->d;
  char name[80];
  csn_auto(csn_buf_finip) csn_buf bytes = CSN_BUF(RANGE + 1);
  snprintf(name, sizeof name, "packs/%s", d->packs[r->pack].id);
  int rc = csn_object_get(d->o, f->sc, name, r->from, r->n, &bytes, err);
  if (rc == 0)
    rc = write_at(f->fd, csn_buf_str(&bytes), r->at, err);
  if (rc < 0)
    return rc;
  pthread_mutex_lock(&d->lock);
  f->moved->bytes_sent += r->n;
  d->watch.done += r->n;
  if (d->watch.fn)
    d->watch.fn(d->watch.user, d->watch.done, d->watch.all);
  pthread_mutex_unlock(&d->lock);
  return 0;
}

/* The ranges of rows that are sorted by place; *at of each row is where it will
 * be in the file. */
static void
plan(struct fetching *f, const csn_depot_row *rows, size_t n, int64_t *at)
{
  int64_t end = 0; /* of the file */
  f->n = 0;
  for (size_t i = 0; i < n; i++) {
    struct range *last = f->n ? &f->ranges[f->n - 1] : NULL;
    int64_t to = rows[i].offset + rows[i].stored, from = rows[i].offset;
    bool joins = last && last->pack == rows[i].pack && from >= last->from &&
                 from - (last->from + last->n) <= GAP;
    if (joins)
      at[i] = last->at + (from - last->from);
    else
      at[i] = end;
    if (joins)
      from = last->from + last->n;
    while (from < to) {
      last = f->n ? &f->ranges[f->n - 1] : NULL;
      int64_t room = joins && last ? RANGE - last->n : 0;
      if (room <= 0) {
        if ((f->n & (f->n + 1)) == 0) /* room doubles */
          f->ranges = csn_realloc(f->ranges, 2 * f->n + 2, sizeof *f->ranges);
        f->ranges[f->n++] = (struct range){rows[i].pack, from, 0, end};
        last = &f->ranges[f->n - 1];
        room = RANGE;
        joins = true;
      }
      int64_t take = to - from < room ? to - from : room;
      last->n += take;
      from += take;
      end += take;
    }
  }
}

csn_str
csn_depot_binding(char text[64], const csn_digest *digest)
{
  memcpy(text, "caisson packed 1\n", 17);
  memcpy(text + 17, digest->b, sizeof digest->b);
  return csn_strn(text, 17 + sizeof digest->b);
}

struct opened {
  int fd;
  int64_t n;
};

static int
put_opened(void *user, csn_str bytes, csn_err *err)
{
  struct opened *o = user;
  int rc = write_at(o->fd, bytes, o->n, err);
  o->n += (int64_t)bytes.n;
  return rc;
}

/* What is sealed in `fd`, opened into o->fd. */
static int
open_row(csn_depot *d, const csn_depot_row *row, int fd, int64_t at, struct opened *o, csn_err *err)
{
  char with[64];
  csn_auto(csn_vault_stream_fini) csn_vault_stream s = {0};
  csn_auto(csn_freep) char *chunk = csn_alloc(SEALED_CHUNK);
  csn_vault_open_begin(&s, d->vault, d->packs[row->pack].key,
                       csn_depot_binding(with, &row->digest));
  int rc = 0;
  o->n = 0;
  for (int64_t left = row->stored; rc == 0 && left;) {
    ssize_t got = pread(fd, chunk, left < SEALED_CHUNK ? (size_t)left : SEALED_CHUNK, at);
    if (got <= 0)
      return csn_fail_errno(err, "read what was fetched");
    rc = csn_vault_add(&s, csn_strn(chunk, (size_t)got), put_opened, o, err);
    at += got;
    left -= got;
  }
  if (rc == 0)
    rc = csn_vault_end(&s, put_opened, o, err);
  return rc == CSN_E_DENIED ? CSN_E_PARSE : rc;
}

static int
hand_over(csn_depot *d, const csn_depot_row *row, int fd, int64_t at, int plain_fd,
          csn_depot_fetched_fn *fn, void *user, csn_err *err)
{
  if (!d->vault)
    return fn(user, row, fd, at, row->stored, err);
  struct opened o = {.fd = plain_fd};
  int rc = open_row(d, row, fd, at, &o, err);
  return rc < 0 ? rc : fn(user, row, plain_fd, 0, o.n, err);
}

static int
damaged(const csn_depot *d, const csn_depot_row *row, csn_err *err)
{
  char hex[65];
  csn_digest_hex(&row->digest, hex);
  return csn_fail(err, CSN_E_PARSE, "%s: packs/%s is damaged: content %.16s", csn_depot_place(d),
                  d->packs[row->pack].id, hex);
}

/* One file full; what turns out to be wrong is fetched once more, alone. */
static int
fetch_batch(struct fetching *f, const csn_depot_row *rows, size_t n, int plain_fd,
            csn_depot_fetched_fn *fn, void *user, csn_err *err)
{
  csn_auto(csn_freep) int64_t *at = csn_alloc((n + 1) * sizeof *at);
  plan(f, rows, n, at);
  int rc = csn_transfer_each(f->d->parallel, f->n, fetch_range, f, err);
  for (size_t i = 0; rc == 0 && i < n; i++) {
    rc = hand_over(f->d, &rows[i], f->fd, at[i], plain_fd, fn, user, err);
    if (rc != CSN_E_PARSE)
      continue;
    csn_auto(csn_closep) int again = csn_depot_spool(f->d, err);
    struct fetching one = {.d = f->d, .sc = f->sc, .fd = again, .moved = f->moved};
    int64_t where;
    plan(&one, &rows[i], 1, &where);
    rc = again < 0 ? again : csn_transfer_each(f->d->parallel, one.n, fetch_range, &one, err);
    free(one.ranges);
    if (rc == 0)
      rc = hand_over(f->d, &rows[i], again, where, plain_fd, fn, user, err);
    if (rc == CSN_E_PARSE)
      rc = damaged(f->d, &rows[i], err);
  }
  return rc;
}

static int
by_place(const void *a, const void *b)
{
  const csn_depot_row *x = a, *y = b;
  if (x->pack != y->pack)
    return x->pack < y->pack ? -1 : 1;
  return (x->offset > y->offset) - (x->offset < y->offset);
}

int
csn_depot_fetch(csn_depot *d, csn_scope *sc, csn_depot_row *rows, size_t n,
                csn_depot_fetched_fn *fn, void *user, csn_depot_moved *moved, csn_err *err)
{
  if (n == 0)
    return 0;
  csn_auto(csn_closep) int fd = csn_depot_spool(d, err);
  csn_auto(csn_closep) int plain = fd < 0 ? fd : csn_depot_spool(d, err);
  struct fetching f = {.d = d, .sc = sc, .fd = fd, .moved = moved};
  int rc = plain < 0 ? plain : 0;
  qsort(rows, n, sizeof *rows, by_place);
  for (size_t from = 0; rc == 0 && from < n;) {
    size_t to = from;
    for (int64_t bytes = 0; to < n && (to == from || bytes + rows[to].stored <= BATCH); to++)
      bytes += rows[to].stored;
    if (ftruncate(fd, 0) < 0)
      return csn_fail_errno(err, "empty a temporary file");
    rc = fetch_batch(&f, rows + from, to - from, plain, fn, user, err);
    from = to;
  }
  free(f.ranges);
  return rc;
}

/* ---- pulling ---- */

struct taking {
  csn_depot *d;
  csn_scope *sc;
  int64_t uncommitted;
  csn_depot_moved *moved;
};

static int
take(void *user, const csn_depot_row *row, int fd, int64_t at, int64_t n, csn_err *err)
{
  struct taking *t = user;
  int rc = csn_packs_add_packed(t->d->s->packs, t->sc, &row->digest, row->size, fd, at, n, err);
  if (rc < 0)
    return rc;
  t->moved->contents++;
  t->uncommitted += n;
  if (t->uncommitted < COMMIT)
    return 0;
  t->uncommitted = 0;
  return csn_packs_commit(t->d->s->packs, err);
}

/* Gets contents, if we lack them, and keeps what has come whatever happens. */
static int
get_contents(struct taking *t, csn_depot_row *rows, size_t n, csn_err *err)
{
  csn_depot *d = t->d;
  d->watch.done = d->watch.all = 0;
  for (size_t i = 0; i < n; i++)
    d->watch.all += rows[i].stored;
  int rc = csn_depot_fetch(d, t->sc, rows, n, take, t, t->moved, err);
  int kept = csn_packs_commit(d->s->packs, rc < 0 ? NULL : err);
  t->uncommitted = 0;
  return rc < 0 ? rc : kept;
}

static int
need_row(csn_depot *d, const csn_digest *digest, const char *what, csn_depot_row *out, csn_err *err)
{
  const csn_depot_row *row = csn_depot_row_find(d, digest);
  if (!row)
    return csn_fail(err, CSN_E_PARSE, "%s lacks %s", csn_depot_place(d), what);
  *out = *row;
  return 0;
}

/* The list of files, from us or from there. */
static int
get_tree(struct taking *t, const csn_digest *digest, csn_snap_tree *out, csn_err *err)
{
  csn_depot_row row;
  int rc = 0;
  if (!csn_packs_has(t->d->s->packs, digest)) {
    rc = need_row(t->d, digest, "the list of its files", &row, err);
    if (rc == 0)
      rc = get_contents(t, &row, 1, err);
  }
  return rc < 0 ? rc : csn_snapshot_tree(t->d->s, t->sc, digest, out, err);
}

int
csn_depot_tree(csn_depot *d, csn_scope *sc, const csn_snapshot *r, csn_snap_tree *out, csn_err *err)
{
  csn_depot_moved moved = {0};
  struct taking t = {.d = d, .sc = sc, .moved = &moved};
  int rc = csn_depot_load_all(d, sc, err);
  return rc < 0 ? rc : csn_wrap(err, get_tree(&t, &r->tree, out, err), "snapshot %s", r->name);
}

static int
by_content(const void *a, const void *b)
{
  return memcmp(&((const csn_depot_row *)a)->digest, &((const csn_depot_row *)b)->digest,
                sizeof(csn_digest));
}

/* What of a tree we lack, each once. */
static int
lacking(csn_depot *d, const csn_snap_tree *t, csn_depot_row **rows, size_t *n, csn_err *err)
{
  *rows = csn_alloc((t->n + 1) * sizeof **rows);
  *n = 0;
  for (size_t i = 0; i < t->n; i++) {
    const csn_snap_entry *e = &t->p[i];
    if (e->kind != CSN_SNAP_FILE || csn_packs_has(d->s->packs, &e->digest))
      continue;
    int rc = need_row(d, &e->digest, e->path.p, &(*rows)[*n], err);
    if (rc == 0 && (*rows)[*n].size != e->size)
      rc = csn_fail(err, CSN_E_PARSE, "%s: another size is known for %s", csn_depot_place(d),
                    e->path.p);
    if (rc < 0)
      return rc;
    ++*n;
  }
  size_t kept = 0;
  if (*n)
    qsort(*rows, *n, sizeof **rows, by_content);
  for (size_t i = 0; i < *n; i++)
    if (i == 0 || by_content(&(*rows)[i], &(*rows)[kept - 1]) != 0)
      (*rows)[kept++] = (*rows)[i];
  *n = kept;
  return 0;
}

static int
pull(csn_depot *d, csn_scope *sc, const csn_depot_record *r, csn_depot_moved *moved, csn_err *err)
{
  csn_auto(csn_snap_tree_finip) csn_snap_tree tree;
  csn_auto(csn_freep) csn_depot_row *rows = NULL;
  struct taking t = {.d = d, .sc = sc, .moved = moved};
  size_t n = 0;
  csn_snap_tree_init(&tree);
  for (size_t i = 0; i < r->n_packs; i++)
    (void)csn_depot_pack_of(d, r->packs[i]);
  int rc = csn_depot_load(d, sc, err);
  if (rc == 0)
    rc = get_tree(&t, &r->snapshot.tree, &tree, err);
  if (rc == 0)
    rc = lacking(d, &tree, &rows, &n, err);
  return rc < 0 ? rc : get_contents(&t, rows, n, err);
}

/* Whether the name here is free (0) or that very snapshot's (1). */
static int
look_here(csn_depot *d, const char *as, const csn_digest *tree, csn_err *err)
{
  csn_snapshot here;
  int rc = csn_snapshot_find(d->s, as, &here, err);
  if (rc == CSN_E_NOT_FOUND)
    return 0;
  if (rc == 0 && memcmp(&here.tree, tree, sizeof *tree) == 0)
    return 1;
  return rc < 0 ? rc
                : csn_fail(err, CSN_E_EXISTS,
                           "there is another snapshot %s here already; say --as NAME", as);
}

int
csn_depot_pull(csn_depot *d, csn_scope *sc, const char *name, const char *as, csn_snapshot *out,
               csn_depot_moved *moved, csn_err *err)
{
  csn_auto(csn_depot_record_fini) csn_depot_record r = {0};
  *moved = (csn_depot_moved){0};
  int rc = csn_depot_check_place(d, sc, err), there = 0;
  if (rc == 0)
    rc = csn_depot_record_get(d, sc, name, &r, err);
  if (rc == 0 && as)
    rc = there = look_here(d, as, &r.snapshot.tree, err);
  if (rc >= 0)
    rc = pull(d, sc, &r, moved, err);
  if (rc < 0)
    return csn_wrap(err, rc, "pull %s", name);
  *out = r.snapshot;
  if (as)
    snprintf(out->name, sizeof out->name, "%s", as);
  moved->was_there = there && moved->contents == 0;
  return as && !there ? csn_snapshot_add(d->s, out, err) : 0;
}
