/* SPDX-License-Identifier: Apache-2.0
 *
 * depot_push.c - snapshots in another place: putting them there; see depot.h.
 *
 * Contents that the place lacks go into new packs in the order of the tree, so
 * that a push which is run again after a cut makes the same packs of what is
 * left, and the parts that had arrived are not sent again.  For the same reason
 * what is sealed gets a salt made of what it is, which no other bytes have. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>

#include "core/fd.h"
#include "sandbox/depot_int.h"

enum {
  PACK = 32 << 20,    /* bytes after which a pack ends */
  PACK_ROWS = 100000, /* contents, likewise */
  LEASE_NAME = 64,
  LEASE_RENEW_MS = 3600000,
};

struct pushing {
  csn_depot *d;
  csn_scope *sc;
  csn_depot_moved *moved;
  char lease[LEASE_NAME];
  int64_t leased_ms;
};

/* ---- the lease: gc of the place waits for it ---- */

static int64_t
now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int
put_lease(struct pushing *p, csn_err *err)
{
  int rc = csn_object_put(p->d->o, p->sc, p->lease, CSN_STR("push\n"), false, err);
  p->leased_ms = now_ms();
  return rc;
}

static int
find_gc(void *user, const csn_object *object, csn_err *err)
{
  (void)user;
  return csn_depot_lock_is_over(object)
             ? 0
             : csn_fail(err, CSN_E_CONFLICT,
                        "a gc is under way there (%.100s); try again when it is over",
                        object->name);
}

/* First it is told, then looked: of two that do so, one sees the other. */
static int
begin_lease(struct pushing *p, csn_err *err)
{
  char name[25];
  csn_random_name(name, sizeof name - 1);
  snprintf(p->lease, sizeof p->lease, "locks/push-%s", name);
  int rc = put_lease(p, err);
  return rc < 0 ? rc : csn_objects_list(p->d->o, p->sc, "locks/gc-", find_gc, NULL, err);
}

/* ---- one pack ---- */

struct stream {
  csn_uploader *u;
  csn_sha256 sum;
  int64_t n;
};

static int
put_bytes(void *user, csn_str bytes, csn_err *err)
{
  struct stream *s = user;
  s->n += (int64_t)bytes.n;
  return csn_uploader_add(s->u, bytes, err);
}

static int
hash_bytes(void *user, csn_str bytes, csn_err *err)
{
  (void)err;
  csn_sha256_add(&((struct stream *)user)->sum, bytes);
  return 0;
}

struct sealing {
  struct stream *to;
  csn_vault_stream *s;
};

static int
seal_bytes(void *user, csn_str bytes, csn_err *err)
{
  struct sealing *s = user;
  return csn_vault_add(s->s, bytes, put_bytes, s->to, err);
}

/* A content, sealed with a salt that only these packed bytes have. */
static int
put_sealed(struct pushing *p, const csn_depot_row *row, struct stream *to, csn_vault_stream *seal,
           csn_err *err)
{
  csn_depot *d = p->d;
  char with[64];
  struct sealing s = {to, seal};
  csn_sha256_init(&to->sum);
  csn_sha256_add(&to->sum, csn_strn((const char *)row->digest.b, 32));
  int rc = csn_packs_read_packed(d->s->packs, p->sc, &row->digest, hash_bytes, to, err);
  csn_digest sum = csn_sha256_end(&to->sum);
  csn_digest salt = csn_vault_blind(d->vault, 0, "salt", csn_strn((const char *)sum.b, 32));
  if (rc == 0)
    rc = csn_vault_seal_begin(seal, d->vault, csn_depot_binding(with, &row->digest), salt.b,
                              put_bytes, to, err);
  if (rc == 0)
    rc = csn_packs_read_packed(d->s->packs, p->sc, &row->digest, seal_bytes, &s, err);
  return rc < 0 ? rc : csn_vault_end(seal, put_bytes, to, err);
}

static int
put_contents(struct pushing *p, const csn_depot_row *rows, size_t n, csn_uploader *u, csn_err *err)
{
  struct stream to = {.u = u};
  csn_auto(csn_vault_stream_fini) csn_vault_stream seal = {0};
  for (size_t i = 0; i < n; i++) {
    int64_t before = to.n;
    int rc = p->d->vault ? put_sealed(p, &rows[i], &to, &seal, err)
                         : csn_packs_read_packed(p->d->s->packs, p->sc, &rows[i].digest, put_bytes,
                                                 &to, err);
    if (rc == 0 && to.n - before != rows[i].stored)
      rc = csn_fail(err, CSN_E_PARSE, "content in the store of this machine is damaged");
    if (rc < 0)
      return rc;
  }
  return csn_uploader_end(u, err);
}

static int
upload(struct pushing *p, const char *id, const csn_depot_row *rows, size_t n, csn_err *err)
{
  csn_depot *d = p->d;
  char name[80], note[80];
  snprintf(name, sizeof name, "packs/%s", id);
  snprintf(note, sizeof note, "u-%s", id);
  csn_auto(csn_closep) int notes =
      openat(d->notes, note, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (notes < 0)
    return csn_fail_errno(err, "the notes of an upload");
  csn_uploader_spec spec = {.objects = d->o,
                            .sc = p->sc,
                            .name = name,
                            .parallel = d->parallel,
                            .notes_fd = notes,
                            .watch = d->watch.fn ? &d->watch : NULL};
  int rc = CSN_E_CONFLICT;
  for (int tries = 0; tries < 2 && rc == CSN_E_CONFLICT; tries++) {
    csn_auto(csn_uploader_freep) csn_uploader *u = NULL;
    int64_t done = d->watch.done;
    if (tries && ftruncate(notes, 0) < 0) /* the store has forgotten what we noted */
      return csn_fail_errno(err, "the notes of an upload");
    rc = csn_uploader_new(&u, &spec, err);
    if (rc == 0)
      rc = put_contents(p, rows, n, u, err);
    if (u)
      csn_uploader_count(u, &p->moved->bytes_sent, &p->moved->bytes_there);
    if (rc < 0)
      d->watch.done = done;
  }
  if (rc == 0)
    (void)!unlinkat(d->notes, note, 0);
  return rc;
}

/* Its name: what it holds, and nothing that tells what that is. */
static void
pack_id(const csn_depot *d, csn_str index, char id[CSN_DEPOT_ID + 1])
{
  char hex[65];
  csn_digest of = d->vault ? csn_vault_blind(d->vault, 0, "pack", index) : csn_sha256_of(index);
  csn_digest_hex(&of, hex);
  snprintf(id, CSN_DEPOT_ID + 1, "%.40s", hex);
}

static int
put_index(csn_depot *d, csn_scope *sc, const char *id, csn_str index, csn_err *err)
{
  char name[80];
  csn_auto(csn_buf_finip) csn_buf sealed = CSN_BUF(CSN_DEPOT_INDEX_MAX);
  snprintf(name, sizeof name, "index/%s", id);
  int rc = d->vault ? csn_vault_seal(d->vault, csn_cstr(name), index, &sealed, err) : 0;
  return rc < 0
             ? rc
             : csn_object_put(d->o, sc, name, d->vault ? csn_buf_str(&sealed) : index, false, err);
}

static int
push_pack(struct pushing *p, csn_depot_row *rows, size_t n, csn_err *err)
{
  csn_depot *d = p->d;
  char id[CSN_DEPOT_ID + 1];
  csn_auto(csn_buf_finip) csn_buf index = CSN_BUF(CSN_DEPOT_INDEX_MAX);
  int64_t end = 0;
  for (size_t i = 0; i < n; i++) {
    rows[i].offset = end;
    end += rows[i].stored;
  }
  csn_depot_index_write(rows, n, &index);
  pack_id(d, csn_buf_str(&index), id);
  int rc = csn_buf_done(&index, "the index of a pack", err);
  if (rc == 0 && now_ms() - p->leased_ms > LEASE_RENEW_MS)
    rc = put_lease(p, err);
  if (rc == 0)
    rc = upload(p, id, rows, n, err);
  if (rc == 0)
    rc = put_index(d, p->sc, id, csn_buf_str(&index), err);
  if (rc < 0)
    return rc;
  size_t pack = csn_depot_pack_of(d, id);
  d->packs[pack].is_loaded = true;
  for (size_t i = 0; i < n; i++) {
    rows[i].pack = (uint32_t)pack;
    csn_depot_row_add(d, &rows[i]);
  }
  p->moved->packs++;
  p->moved->contents += (int64_t)n;
  return 0;
}

/* ---- all of them ---- */

static int
by_digest(const void *a, const void *b)
{
  return memcmp(a, b, sizeof(csn_digest));
}

/* Digests of a tree and of what it lists, in its order, each once. */
static csn_digest *
contents_of(const csn_digest *tree, const csn_snap_tree *t, size_t *n)
{
  csn_digest *all = csn_alloc((t->n + 1) * sizeof *all);
  csn_auto(csn_freep) csn_digest *seen = csn_alloc((t->n + 1) * sizeof *seen);
  csn_auto(csn_freep) bool *is_given = csn_alloc(t->n + 1);
  size_t m = 0, distinct = 0;
  seen[m++] = *tree;
  for (size_t i = 0; i < t->n; i++)
    if (t->p[i].kind == CSN_SNAP_FILE)
      seen[m++] = t->p[i].digest;
  qsort(seen, m, sizeof *seen, by_digest);
  for (size_t i = 0; i < m; i++)
    if (i == 0 || by_digest(&seen[i], &seen[distinct - 1]) != 0)
      seen[distinct++] = seen[i];
  *n = 0;
  for (size_t i = 0; i <= t->n; i++) {
    const csn_digest *d = i == 0                              ? tree
                          : t->p[i - 1].kind == CSN_SNAP_FILE ? &t->p[i - 1].digest
                                                              : NULL;
    const csn_digest *at = d ? bsearch(d, seen, distinct, sizeof *seen, by_digest) : NULL;
    if (!at || is_given[at - seen])
      continue;
    is_given[at - seen] = true;
    all[(*n)++] = *d;
  }
  return all;
}

static int
plan_row(csn_depot *d, const csn_digest *digest, csn_depot_row *out, csn_err *err)
{
  int64_t size = csn_packs_size(d->s->packs, digest),
          packed = csn_packs_packed_bytes(d->s->packs, digest);
  char hex[65];
  csn_digest_hex(digest, hex);
  if (size < 0 || packed < 0)
    return csn_fail(
        err, CSN_E_PARSE,
        "the store of this machine lacks the content %.16s; see caisson snapshot verify", hex);
  *out = (csn_depot_row){.digest = *digest,
                         .size = size,
                         .stored = d->vault ? csn_vault_sealed_bytes(packed) : packed};
  return 0;
}

static int
push_contents(struct pushing *p, const csn_digest *all, size_t n, csn_err *err)
{
  csn_depot *d = p->d;
  csn_auto(csn_freep) csn_depot_row *rows = csn_alloc((n + 1) * sizeof *rows);
  size_t m = 0;
  int rc = 0;
  d->watch.done = d->watch.all = 0;
  for (size_t i = 0; rc == 0 && i < n; i++) {
    if (csn_depot_row_find(d, &all[i]))
      continue;
    rc = plan_row(d, &all[i], &rows[m], err);
    if (rc == 0)
      d->watch.all += rows[m++].stored;
  }
  for (size_t from = 0; rc == 0 && from < m;) {
    size_t to = from;
    for (int64_t bytes = 0; to < m && bytes < PACK && to - from < PACK_ROWS; to++)
      bytes += rows[to].stored;
    rc = push_pack(p, rows + from, to - from, err);
    from = to;
  }
  return rc;
}

static int
name_packs(csn_depot *d, const csn_digest *all, size_t n, csn_depot_record *r, csn_err *err)
{
  csn_auto(csn_freep) bool *is_needed = csn_alloc(d->n_packs + 1);
  for (size_t i = 0; i < n; i++) {
    const csn_depot_row *row = csn_depot_row_find(d, &all[i]);
    if (!row)
      return csn_fail(err, CSN_E_CONFLICT, "contents that were put there are gone; try again");
    is_needed[row->pack] = true;
  }
  r->packs = csn_alloc((d->n_packs + 1) * sizeof *r->packs);
  for (size_t i = 0; i < d->n_packs; i++)
    if (is_needed[i])
      memcpy(r->packs[r->n_packs++], d->packs[i].id, sizeof *r->packs);
  return 0;
}

/* Whether it is there (1), or nothing of that name (0). */
static int
look_there(csn_depot *d, csn_scope *sc, const csn_snapshot *r, csn_depot_record *there,
           csn_err *err)
{
  int rc = csn_depot_record_get(d, sc, r->name, there, err);
  if (rc == CSN_E_NOT_FOUND)
    return 0;
  if (rc == 0 && memcmp(&there->snapshot.tree, &r->tree, sizeof r->tree) != 0)
    return csn_fail(err, CSN_E_EXISTS, "there is another snapshot %s at %s already", r->name,
                    csn_depot_place(d));
  return rc < 0 ? rc : 1;
}

/* It is there; under the lease, since a gc may just forget it. */
static int
push_tag(struct pushing *p, const csn_snapshot *r, csn_err *err)
{
  csn_auto(csn_depot_record_fini) csn_depot_record there = {0};
  int rc = look_there(p->d, p->sc, r, &there, err);
  if (rc == 0)
    rc = csn_fail(err, CSN_E_CONFLICT, "it was removed there; try again");
  memcpy(there.snapshot.tag, r->tag, sizeof r->tag);
  if (rc > 0)
    rc = csn_depot_record_replace(p->d, p->sc, &there, err);
  p->moved->is_tagged = rc == 0;
  return rc;
}

static int
push(struct pushing *p, csn_depot_record *r, csn_err *err)
{
  csn_depot *d = p->d;
  csn_auto(csn_depot_record_fini) csn_depot_record there = {0};
  csn_auto(csn_snap_tree_finip) csn_snap_tree tree;
  csn_snap_tree_init(&tree);
  size_t n = 0;
  int rc = csn_snapshot_tree(d->s, p->sc, &r->snapshot.tree, &tree, err);
  csn_auto(csn_freep) csn_digest *all = rc < 0 ? NULL : contents_of(&r->snapshot.tree, &tree, &n);
  if (rc == 0)
    rc = csn_depot_load_all(d, p->sc, err);
  if (rc == 0)
    rc = push_contents(p, all, n, err);
  if (rc == 0)
    rc = name_packs(d, all, n, r, err);
  if (rc == 0)
    rc = csn_depot_record_put(d, p->sc, r, err);
  /* The first of two tries may have arrived. */
  return rc == CSN_E_EXISTS ? look_there(d, p->sc, &r->snapshot, &there, err) : rc;
}

int
csn_depot_push(csn_depot *d, csn_scope *sc, const char *name, csn_depot_moved *out, csn_err *err)
{
  csn_auto(csn_depot_record_fini) csn_depot_record r = {0}, there = {0};
  struct pushing p = {.d = d, .sc = sc, .moved = out};
  *out = (csn_depot_moved){0};
  int rc = csn_snapshot_find(d->s, name, &r.snapshot, err);
  if (rc == 0 && flock(d->notes, LOCK_EX | LOCK_NB) < 0)
    rc = csn_fail(err, CSN_E_CONFLICT, "another push to %s is under way", csn_depot_place(d));
  if (rc == 0)
    rc = csn_depot_mark_place(d, sc, err);
  if (rc == 0)
    rc = look_there(d, sc, &r.snapshot, &there, err);
  out->was_there = rc > 0;
  bool has_tag = !r.snapshot.tag[0] || strcmp(r.snapshot.tag, there.snapshot.tag) == 0;
  if (rc == 0 || (rc > 0 && !has_tag)) {
    rc = begin_lease(&p, err);
    if (rc == 0)
      rc = out->was_there ? push_tag(&p, &r.snapshot, err) : push(&p, &r, err);
    csn_depot_unlock(d, p.lease);
  }
  (void)flock(d->notes, LOCK_UN);
  return rc < 0 ? csn_wrap(err, rc, "push %s", name) : 0;
}
