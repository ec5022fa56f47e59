/* SPDX-License-Identifier: Apache-2.0
 *
 * snapshots_check.c - saved workspaces: what is needed still, and whether it
 * is sound; see sandbox/snapshots.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

#include "core/fd.h"
#include "sandbox/frozen.h"
#include "sandbox/jail.h"
#include "sandbox/snapshots.h"

enum { UNPACKED_MAX = 1 << 16 };

static DIR *
open_list(int dir)
{
  int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = fd < 0 ? NULL : fdopendir(fd);
  if (!d)
    csn_closep(&fd);
  return d;
}

/* ---- what is needed ---- */

/* Digests, sorted once all are there. */
struct digests {
  csn_digest *p;
  size_t n, room;
};

static void
add(struct digests *l, const csn_digest *d)
{
  if (l->n == l->room) {
    l->room = l->room ? l->room * 2 : 1024;
    l->p = csn_realloc(l->p, l->room, sizeof *l->p);
  }
  l->p[l->n++] = *d;
}

static int
by_bytes(const void *a, const void *b)
{
  return memcmp(a, b, sizeof(csn_digest));
}

static bool
has(void *user, const csn_digest *d)
{
  const struct digests *l = user;
  return l->n && bsearch(d, l->p, l->n, sizeof *l->p, by_bytes);
}

/* As the packs know it. */
static void
add_content(const csn_snapshots *s, struct digests *l, const csn_digest *d)
{
  csn_digest known = csn_packs_known_as(s->packs, d);
  add(l, &known);
}

struct needed {
  struct digests contents, trees;
};

static void
needed_fini(struct needed *l)
{
  free(l->contents.p);
  free(l->trees.p);
}

static void
sort(struct digests *l)
{
  if (l->n)
    qsort(l->p, l->n, sizeof *l->p, by_bytes);
}

static void
need_contents(const csn_snapshots *s, struct needed *out, const csn_digest *digest,
              const csn_snap_tree *t)
{
  add_content(s, &out->contents, digest);
  add(&out->trees, digest);
  for (size_t i = 0; i < t->n; i++)
    if (t->p[i].kind == CSN_SNAP_FILE)
      add_content(s, &out->contents, &t->p[i].digest);
}

static int
need_tree(const csn_snapshots *s, csn_scope *sc, const csn_snapshot *r, csn_snap_tree *t,
          csn_err *err)
{
  csn_err why;
  int rc = csn_snapshot_tree(s, sc, &r->tree, t, &why);
  if (rc == CSN_E_NOT_FOUND || rc == CSN_E_PARSE)
    return csn_fail(err, CSN_E_PARSE,
                    "snapshot %s is damaged, and what it needs is not known; remove it first "
                    "(caisson snapshot rm %s)",
                    r->name, r->name);
  return rc < 0 ? csn_fail(err, (enum csn_code)rc, "%s", why.msg) : 0;
}

/* All of them; one whose record cannot be read is an error: what it needs is not
 * known. */
static int
read_all(const csn_snapshots *s, csn_snapshot **list, size_t *n, csn_err *err)
{
  DIR *d = open_list(s->names);
  int rc = d ? 0 : csn_fail_errno(err, "snapshots/names");
  *list = NULL;
  *n = 0;
  for (struct dirent *e; rc == 0 && (e = readdir(d));) {
    if (e->d_name[0] == '.')
      continue;
    *list = csn_realloc(*list, *n + 1, sizeof **list);
    rc = csn_snapshot_find(s, e->d_name, &(*list)[(*n)++], err);
  }
  if (d)
    closedir(d);
  return rc;
}

static int
collect(csn_snapshots *s, csn_scope *sc, const csn_retention *keep, struct needed *out,
        int64_t *forgotten, csn_err *err)
{
  csn_auto(csn_freep) csn_snapshot *list = NULL;
  size_t n = 0;
  int rc = read_all(s, &list, &n, err);
  csn_auto(csn_freep) bool *gone = csn_alloc(n + 1);
  csn_retention_apply(keep, list, n, gone);
  for (size_t k = 0; k < n; k++) /* the run forgets it when it is over */
    gone[k] = gone[k] && !csn_frozen_is_of_run(s, list[k].name);
  for (size_t k = 0; rc == 0 && k < n; k++) {
    const csn_snapshot *r = &list[k];
    if (gone[k])
      continue;
    csn_auto(csn_snap_tree_finip) csn_snap_tree t;
    csn_snap_tree_init(&t);
    rc = need_tree(s, sc, r, &t, err);
    if (rc < 0)
      break;
    need_contents(s, out, &r->tree, &t);
  }
  for (size_t k = 0; rc == 0 && k < n; k++) {
    if (!gone[k])
      continue;
    rc = keep->dry_run ? 0 : csn_snapshot_remove(s, list[k].name, err);
    if (rc == 0 && keep->forgotten)
      keep->forgotten(keep->user, list[k].name);
    ++*forgotten;
  }
  return rc;
}

static void
add_begun(void *user, const csn_digest *tree)
{
  add(user, tree);
}

/* What runs have that are kept: layers, and what they began with. */
static int
collect_of_runs(const csn_snapshots *s, csn_scope *sc, struct needed *out, csn_buf *layers,
                csn_err *err)
{
  struct digests begun = {0};
  int rc = csn_frozen_kept(s, layers, add_begun, &begun, err);
  for (size_t i = 0; rc == 0 && i < begun.n; i++) {
    csn_auto(csn_snap_tree_finip) csn_snap_tree t;
    csn_snap_tree_init(&t);
    if (csn_snapshot_tree(s, sc, &begun.p[i], &t, NULL) == 0)
      need_contents(s, out, &begun.p[i], &t);
  }
  free(begun.p);
  sort(&out->contents);
  sort(&out->trees);
  return rc;
}

/* ---- dropping ---- */

/* Layers of trees that are needed; the others' lists go.  Of a store that is
 * encrypted none stay that nobody uses: they are not. */
static int
keep_layers(const csn_snapshots *s, struct needed *need, csn_buf *kept, csn_err *err)
{
  DIR *d = open_list(s->unpacked);
  int rc = d ? 0 : csn_fail_errno(err, "snapshots/unpacked");
  for (struct dirent *e; rc == 0 && (e = readdir(d));) {
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(UNPACKED_MAX);
    csn_digest tree;
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
      continue;
    if (!s->vault && csn_digest_from_hex(csn_cstr(e->d_name), &tree) && has(&need->trees, &tree) &&
        csn_unpacked_read(s, &tree, &text, NULL) == 0)
      csn_buf_add(kept, csn_buf_str(&text));
    else if (unlinkat(s->unpacked, e->d_name, 0) < 0)
      rc = csn_fail_errno(err, "snapshots/unpacked/%.64s", e->d_name);
  }
  if (d)
    closedir(d);
  return rc < 0 ? rc : csn_buf_done(kept, "the list of layers", err);
}

/* Removes what nobody holds a lock on, unless it is kept. */
static int
drop_folders(int dir, csn_str kept, int64_t *n, csn_err *err)
{
  DIR *d = open_list(dir);
  int rc = d ? 0 : csn_fail_errno(err, "a folder of the snapshots");
  for (struct dirent *e; rc == 0 && (e = readdir(d));) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
        (kept.n && csn_str_find(kept, csn_cstr(e->d_name), 0) != SIZE_MAX))
      continue;
    csn_auto(csn_closep) int fd =
        openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
      continue;
    rc = csn_jail_remove(dir, e->d_name, err); /* files may be of lent user ids */
    ++*n;
  }
  if (d)
    closedir(d);
  return rc;
}

static int
drop_unneeded(csn_snapshots *s, csn_scope *sc, struct needed *need, csn_snapshots_swept *out,
              csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf kept = CSN_BUF(64u << 20);
  int64_t unused = 0;
  int rc = collect_of_runs(s, sc, need, &kept, err);
  if (rc == 0)
    rc = keep_layers(s, need, &kept, err);
  if (rc == 0)
    rc = drop_folders(s->work, csn_strn(NULL, 0), &unused, err);
  if (rc == 0)
    rc = drop_folders(s->layers, csn_buf_str(&kept), &out->layers, err);
  if (rc == 0)
    rc = csn_packs_sweep(s->packs, sc, has, &need->contents, &out->bytes, err);
  return rc;
}

int
csn_snapshots_gc(csn_snapshots *s, csn_scope *sc, const csn_retention *keep,
                 csn_snapshots_swept *out, csn_err *err)
{
  csn_auto(needed_fini) struct needed need = {{0}, {0}};
  *out = (csn_snapshots_swept){0};
  if (flock(s->lock, LOCK_EX | LOCK_NB) < 0)
    return csn_fail(err, CSN_E_CONFLICT,
                    "somebody saves a snapshot or begins with one right now; try again");
  int rc = collect(s, sc, keep, &need, &out->snapshots, err);
  if (rc == 0 && !keep->dry_run)
    rc = drop_unneeded(s, sc, &need, out, err);
  while (flock(s->lock, LOCK_SH) < 0 && errno == EINTR)
    continue;
  return rc;
}

/* ---- verifying ---- */

struct checking {
  csn_snapshots *s;
  csn_scope *sc;
  void (*fn)(void *user, const char *line);
  void *user;
  struct digests bad;
  int n;
};

static void CSN_PRINTF(2, 3) tell(struct checking *c, const char *fmt, ...)
{
  char line[700];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  c->fn(c->user, line);
  c->n++;
}

static void
note_bad(void *user, const char *pack, const csn_digest *d)
{
  struct checking *c = user;
  char hex[65];
  csn_digest_hex(d, hex);
  add(&c->bad, d);
  tell(c, "pack %s: content %.16s is damaged", pack, hex);
}

/* The first file that cannot be restored, and how many. */
static void
check_files(struct checking *c, const csn_snapshot *r, const csn_snap_tree *t)
{
  const csn_snap_entry *first = NULL;
  size_t n = 0;
  for (size_t i = 0; i < t->n; i++) {
    const csn_snap_entry *e = &t->p[i];
    if (e->kind != CSN_SNAP_FILE)
      continue;
    csn_digest known = csn_packs_known_as(c->s->packs, &e->digest);
    if (csn_packs_size(c->s->packs, &e->digest) == e->size && !has(&c->bad, &known))
      continue;
    first = first ? first : e;
    n++;
  }
  if (n)
    tell(c, "snapshot %s: %zu of its files cannot be restored, the first is %.300s", r->name, n,
         first->path.p);
}

/* Whether the layers are the tree; those that are not are forgotten. */
static void
check_unpacked(struct checking *c, const csn_snapshot *r, const csn_snap_tree *t)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(UNPACKED_MAX), a = CSN_BUF(CSN_SNAP_TEXT_MAX),
                                  b = CSN_BUF(CSN_SNAP_TEXT_MAX);
  csn_str rest, line;
  csn_err err;
  csn_snap_tree got, next;
  if (csn_unpacked_read(c->s, &r->tree, &text, NULL) < 0)
    return;
  csn_snap_walk w = {.packs = c->s->packs, .sc = c->sc, .is_layer = true};
  csn_snap_tree_init(&got);
  rest = csn_buf_str(&text);
  int rc = 0;
  while (rc == 0 && csn_unpacked_next(&rest, &line)) {
    csn_auto(csn_freep) char *name = csn_dupz(line);
    csn_auto(csn_closep) int fd =
        openat(c->s->layers, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    csn_snap_tree_init(&next);
    rc = fd < 0 ? CSN_E_NOT_FOUND : csn_snap_take(&w, &got, fd, &next, &err);
    csn_snap_tree_fini(&got);
    got = next;
  }
  bool same = rc == 0 && csn_snap_tree_write(&got, &a, &err) == 0 &&
              csn_snap_tree_write(t, &b, &err) == 0 && csn_str_eq(csn_buf_str(&a), csn_buf_str(&b));
  csn_snap_tree_fini(&got);
  if (same)
    return;
  char hex[65];
  csn_unpacked_name(c->s, &r->tree, hex);
  (void)!unlinkat(c->s->unpacked, hex, 0);
  tell(c, "snapshot %s: its unpacked files were changed; they will be unpacked again", r->name);
}

static int
check_snapshots(struct checking *c, csn_err *err)
{
  DIR *d = open_list(c->s->names);
  if (!d)
    return csn_fail_errno(err, "snapshots/names");
  int rc = 0;
  for (struct dirent *e; rc == 0 && (e = readdir(d));) {
    csn_snapshot r;
    csn_err why;
    csn_auto(csn_snap_tree_finip) csn_snap_tree t;
    csn_snap_tree_init(&t);
    if (e->d_name[0] == '.')
      continue;
    if (csn_snapshot_find(c->s, e->d_name, &r, &why) < 0)
      tell(c, "%.460s", why.msg);
    else if (csn_snapshot_tree(c->s, c->sc, &r.tree, &t, &why) < 0)
      tell(c, "snapshot %s: it cannot be restored: %.400s", r.name, why.msg);
    else {
      check_files(c, &r, &t);
      check_unpacked(c, &r, &t);
    }
    rc = csn_scope_check(c->sc, err);
  }
  closedir(d);
  return rc;
}

int
csn_snapshots_verify(csn_snapshots *s, csn_scope *sc, void (*fn)(void *user, const char *line),
                     void *user, csn_err *err)
{
  struct checking c = {.s = s, .sc = sc, .fn = fn, .user = user};
  const char *name;
  for (size_t i = 0; (name = csn_packs_damaged(s->packs, i)); i++)
    tell(&c, "pack %s: its end is damaged", name);
  int rc = csn_packs_verify(s->packs, sc, note_bad, &c, err);
  sort(&c.bad);
  if (rc >= 0)
    rc = check_snapshots(&c, err);
  free(c.bad.p);
  return rc < 0 ? rc : c.n;
}
