/* SPDX-License-Identifier: Apache-2.0
 * depot_keep.c - snapshots in another place: whether they are sound, and
 * dropping what nobody needs; see depot.h. */
#include <stdio.h>

#include "core/fd.h"
#include "sandbox/depot_int.h"

/* ---- verifying ---- */

struct verifying {
  csn_depot *d;
  csn_scope *sc;
  void (*fn)(void *user, const char *line);
  void *user;
  int n;
  csn_depot_record *records;
  size_t n_records;
  int64_t *there; /* bytes of each of d->packs; -1: it is missing */
  csn_digest *bad;
  size_t n_bad;
};

static void CSN_PRINTF(2, 3) tell(struct verifying *v, const char *fmt, ...)
{
  char line[700];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  v->fn(v->user, line);
  v->n++;
}

/* Unlike a list, this goes on when one cannot be read. */
static int
read_records(struct verifying *v, csn_err *err)
{
  csn_depot_keys l = {0};
  int rc = csn_depot_keys_list(v->d, v->sc, &l, err);
  v->records = csn_alloc((l.n + 1) * sizeof *v->records);
  for (size_t i = 0; rc == 0 && i < l.n; i++) {
    csn_err why;
    int got = csn_depot_record_at(v->d, v->sc, l.p[i], &v->records[v->n_records], &why);
    if (got == 0)
      v->n_records++;
    else if (got == CSN_E_PARSE || got == CSN_E_DENIED || got == CSN_E_LIMIT)
      tell(v, "%.460s", why.msg);
    else if (got != CSN_E_NOT_FOUND) /* removed meanwhile */
      rc = csn_fail(err, (enum csn_code)got, "%s", why.msg);
  }
  free(l.p);
  return rc;
}

static int
note_pack(void *user, const csn_object *object, csn_err *err)
{
  struct verifying *v = user;
  csn_str name = csn_cstr(object->name);
  csn_str id = csn_strn(name.p + 6, name.n - 6);
  (void)err;
  for (size_t i = 0; i < v->d->n_packs; i++)
    if (csn_str_eq(id, csn_cstr(v->d->packs[i].id)))
      v->there[i] = object->bytes;
  return 0;
}

/* The indexes of packs, one by one: what is damaged is told. */
static int
read_indexes(struct verifying *v, csn_err *err)
{
  csn_depot *d = v->d;
  d->is_wary = true;
  int rc = csn_depot_load_all(d, v->sc, err);
  if (rc < 0)
    return rc;
  v->there = csn_alloc((d->n_packs + 1) * sizeof *v->there);
  for (size_t i = 0; i < d->n_packs; i++)
    v->there[i] = -1;
  rc = csn_objects_list(d->o, v->sc, "packs/", note_pack, v, err);
  for (size_t i = 0; rc == 0 && i < d->n_packs; i++) {
    if (!d->packs[i].is_loaded)
      tell(v, "index/%s is damaged", d->packs[i].id);
    if (v->there[i] < 0)
      tell(v, "packs/%s is missing", d->packs[i].id);
    else if (d->packs[i].is_loaded && v->there[i] < d->packs[i].bytes)
      tell(v, "packs/%s is cut: %lld bytes of %lld", d->packs[i].id, (long long)v->there[i],
           (long long)d->packs[i].bytes);
  }
  return rc;
}

static int
by_digest(const void *a, const void *b)
{
  return memcmp(a, b, sizeof(csn_digest));
}

static int
check_content(void *user, const csn_depot_row *row, int fd, int64_t at, int64_t n, csn_err *err)
{
  struct verifying *v = user;
  return csn_packed_check(v->sc, fd, at, n, &row->digest, row->size, err);
}

/* Reads all contents, each alone when something is wrong, so that all is told. */
static int
read_contents(struct verifying *v, csn_err *err)
{
  csn_depot *d = v->d;
  csn_auto(csn_freep) csn_depot_row *rows = csn_alloc((d->n_rows + 1) * sizeof *rows);
  csn_depot_moved moved = {0};
  size_t n = 0;
  int rc = 0;
  d->watch.done = d->watch.all = 0;
  v->bad = csn_alloc((d->n_rows + 1) * sizeof *v->bad);
  for (size_t i = 0; i < d->n_rows; i++)
    if (v->there[d->rows[i].pack] >= d->rows[i].offset + d->rows[i].stored) {
      rows[n++] = d->rows[i];
      d->watch.all += d->rows[i].stored;
    } else {
      v->bad[v->n_bad++] = d->rows[i].digest;
    }
  for (size_t from = 0; rc == 0 && from < n;) {
    size_t to = from + 1000 < n ? from + 1000 : n;
    csn_err why;
    rc = csn_depot_fetch(d, v->sc, rows + from, to - from, check_content, v, &moved, &why);
    for (size_t i = from; rc == CSN_E_PARSE && i < to; i++) {
      int one = csn_depot_fetch(d, v->sc, rows + i, 1, check_content, v, &moved, &why);
      if (one == CSN_E_PARSE) {
        tell(v, "%.460s", why.msg);
        v->bad[v->n_bad++] = rows[i].digest;
      } else if (one < 0) {
        rc = one;
      }
    }
    if (rc < 0 && rc != CSN_E_PARSE)
      return csn_fail(err, (enum csn_code)rc, "%s", why.msg);
    rc = 0;
    from = to;
  }
  if (v->n_bad)
    qsort(v->bad, v->n_bad, sizeof *v->bad, by_digest);
  return rc;
}

static bool
is_bad(struct verifying *v, const csn_digest *digest)
{
  const csn_depot_row *row = csn_depot_row_find(v->d, digest);
  return !row || v->there[row->pack] < row->offset + row->stored ||
         (v->n_bad && bsearch(digest, v->bad, v->n_bad, sizeof *v->bad, by_digest));
}

struct tree_text {
  csn_scope *sc;
  csn_buf *text;
};

static int
unpack_tree(void *user, const csn_depot_row *row, int fd, int64_t at, int64_t n, csn_err *err)
{
  struct tree_text *t = user;
  csn_buf_clear(t->text);
  return csn_packed_get(t->sc, fd, at, n, &row->digest, row->size, t->text, err);
}

static int
check_record(struct verifying *v, const csn_depot_record *r, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CSN_SNAP_TEXT_MAX);
  csn_auto(csn_snap_tree_finip) csn_snap_tree t;
  csn_snap_tree_init(&t);
  csn_depot_moved moved = {0};
  csn_err why = {0};
  struct tree_text to = {v->sc, &text};
  const csn_snap_entry *first = NULL;
  size_t n = 0;
  if (is_bad(v, &r->snapshot.tree)) {
    tell(v, "snapshot %s: it cannot be restored: the list of its files is missing or damaged",
         r->snapshot.name);
    return 0;
  }
  csn_depot_row row = *csn_depot_row_find(v->d, &r->snapshot.tree);
  int rc = csn_depot_fetch(v->d, v->sc, &row, 1, unpack_tree, &to, &moved, &why);
  if (rc == 0)
    rc = csn_snap_tree_parse(&t, csn_buf_str(&text), &why);
  if (rc == CSN_E_PARSE) {
    tell(v, "snapshot %s: it cannot be restored: %.400s", r->snapshot.name, why.msg);
    return 0;
  }
  if (rc < 0)
    return csn_fail(err, (enum csn_code)rc, "%s", why.msg);
  for (size_t i = 0; i < t.n; i++)
    if (t.p[i].kind == CSN_SNAP_FILE && is_bad(v, &t.p[i].digest)) {
      first = first ? first : &t.p[i];
      n++;
    }
  if (first)
    tell(v, "snapshot %s: %zu of its files cannot be restored, the first is %.300s",
         r->snapshot.name, n, first->path.p);
  return 0;
}

int
csn_depot_verify(csn_depot *d, csn_scope *sc, bool quick, void (*fn)(void *user, const char *line),
                 void *user, csn_err *err)
{
  struct verifying v = {.d = d, .sc = sc, .fn = fn, .user = user};
  int rc = csn_depot_check_place(d, sc, err);
  if (rc == 0)
    rc = read_records(&v, err);
  if (rc == 0)
    rc = read_indexes(&v, err);
  if (rc == 0 && !quick)
    rc = read_contents(&v, err);
  for (size_t i = 0; rc == 0 && i < v.n_records; i++)
    rc = check_record(&v, &v.records[i], err);
  for (size_t i = 0; i < v.n_records; i++)
    csn_depot_record_fini(&v.records[i]);
  free(v.records);
  free(v.there);
  free(v.bad);
  return rc < 0 ? rc : v.n;
}

/* ---- dropping ---- */

struct sweeping {
  csn_depot *d;
  csn_scope *sc;
  const csn_retention *keep;
  csn_snapshots_swept *out;
  char own[64]; /* our lock */
  csn_depot_record *records;
  size_t n_records;
  char (*doomed)[100];
  size_t n_doomed;
};

static void
doom(struct sweeping *w, const char *name)
{
  if ((w->n_doomed & (w->n_doomed + 1)) == 0) /* room doubles */
    w->doomed = csn_realloc(w->doomed, 2 * w->n_doomed + 2, sizeof *w->doomed);
  snprintf(w->doomed[w->n_doomed++], sizeof *w->doomed, "%s", name);
}

static int
look_at_lock(void *user, const csn_object *object, csn_err *err)
{
  struct sweeping *w = user;
  if (strcmp(object->name, w->own) == 0)
    return 0;
  if (!csn_depot_lock_is_over(object))
    return csn_fail(err, CSN_E_CONFLICT,
                    "somebody pushes to %s or drops things there right now (%.90s); try again; if "
                    "that one has died, its mark ends %d hours after its last sign of life",
                    csn_depot_place(w->d), object->name, CSN_DEPOT_LOCK_HOURS);
  doom(w, object->name);
  return 0;
}

static int
keep_record(void *user, const csn_depot_record *r, csn_err *err)
{
  struct sweeping *w = user;
  (void)err;
  if ((w->n_records & (w->n_records + 1)) == 0) /* room doubles */
    w->records = csn_realloc(w->records, 2 * w->n_records + 2, sizeof *w->records);
  csn_depot_record *to = &w->records[w->n_records++];
  *to = *r;
  to->packs = csn_alloc((r->n_packs + 1) * sizeof *to->packs);
  memcpy(to->packs, r->packs, r->n_packs * sizeof *to->packs);
  return 0;
}

/* Forgets names; what the others need is what their records say. */
static int
forget(struct sweeping *w, csn_err *err)
{
  csn_depot *d = w->d;
  csn_auto(csn_freep) csn_snapshot *list = csn_alloc((w->n_records + 1) * sizeof *list);
  csn_auto(csn_freep) bool *gone = csn_alloc(w->n_records + 1);
  for (size_t i = 0; i < w->n_records; i++)
    list[i] = w->records[i].snapshot;
  csn_retention_apply(w->keep, list, w->n_records, gone);
  for (size_t i = 0; i < w->n_records; i++) {
    const csn_depot_record *r = &w->records[i];
    for (size_t k = 0; !gone[i] && k < r->n_packs; k++) {
      size_t pack = csn_depot_pack_of(d, r->packs[k]);
      d->packs[pack].is_needed = true;
    }
    if (!gone[i])
      continue;
    char key[200];
    int rc = 0;
    for (size_t k = 0; rc == 0 && !w->keep->dry_run && csn_depot_name_key(d, list[i].name, k, key);
         k++)
      rc = csn_object_remove(d->o, w->sc, key, err);
    if (rc < 0)
      return rc;
    if (w->keep->forgotten)
      w->keep->forgotten(w->keep->user, list[i].name);
    w->out->snapshots++;
  }
  return 0;
}

/* Of index/ and packs/: what is not needed. */
static int
look_at_pack(void *user, const csn_object *object, csn_err *err)
{
  struct sweeping *w = user;
  csn_str name = csn_cstr(object->name), id = csn_strn(name.p + 6, name.n - 6);
  (void)err;
  if (!csn_depot_is_id(id))
    return 0;
  for (size_t i = 0; i < w->d->n_packs; i++)
    if (csn_str_eq(id, csn_cstr(w->d->packs[i].id)) && w->d->packs[i].is_needed)
      return 0;
  doom(w, object->name);
  if (csn_str_starts(name, CSN_STR("packs/")))
    w->out->bytes += object->bytes;
  return 0;
}

static int
remove_doomed(void *user, size_t i, csn_err *err)
{
  const struct sweeping *w = user;
  return csn_object_remove(w->d->o, w->sc, w->doomed[i], err);
}

/* Indexes go first: what has one is thought to be there. */
static int
drop(struct sweeping *w, csn_err *err)
{
  static const char *const heads[] = {"index/", "packs/"};
  int rc = csn_transfer_each(w->d->parallel, w->n_doomed, remove_doomed, w, err); /* old locks */
  for (size_t i = 0; rc == 0 && i < CSN_COUNT(heads); i++) {
    w->n_doomed = 0;
    rc = csn_objects_list(w->d->o, w->sc, heads[i], look_at_pack, w, err);
    if (rc == 0)
      rc = csn_transfer_each(w->d->parallel, w->n_doomed, remove_doomed, w, err);
  }
  return rc;
}

static int
sweep(struct sweeping *w, csn_err *err)
{
  int rc = csn_objects_list(w->d->o, w->sc, "locks/", look_at_lock, w, err);
  if (rc == 0)
    rc = csn_depot_records(w->d, w->sc, keep_record, w, err);
  if (rc == CSN_E_PARSE || rc == CSN_E_DENIED)
    return csn_wrap(err, rc, "nothing was dropped, because what a snapshot needs is not known");
  if (rc == 0)
    rc = forget(w, err);
  return rc == 0 && !w->keep->dry_run ? drop(w, err) : rc;
}

int
csn_depot_gc(csn_depot *d, csn_scope *sc, const csn_retention *keep, csn_snapshots_swept *out,
             csn_err *err)
{
  struct sweeping w = {.d = d, .sc = sc, .keep = keep, .out = out};
  char name[25];
  *out = (csn_snapshots_swept){0};
  csn_random_name(name, sizeof name - 1);
  snprintf(w.own, sizeof w.own, "locks/gc-%s", name);
  int rc = csn_depot_check_place(d, sc, err);
  if (rc == 0)
    rc = csn_object_put(d->o, sc, w.own, CSN_STR("gc\n"), false, err);
  if (rc == 0) {
    rc = sweep(&w, err);
    csn_depot_unlock(d, w.own);
  }
  for (size_t i = 0; i < w.n_records; i++)
    csn_depot_record_fini(&w.records[i]);
  free(w.records);
  free(w.doomed);
  return rc;
}
