/* SPDX-License-Identifier: Apache-2.0
 *
 * snap_walk.c - from a folder to what a snapshot holds; see snap_walk.h.
 *
 * The folder is listed in the order of trees as a list of changes, which is
 * then merged with what lies below it.  A sandbox made the folder: everything
 * is opened by descriptor, never through a link, and nothing blocks. */
#include "sandbox/snap_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "core/fd.h"
#include "sandbox/layer_unpack.h"

struct change {
  csn_snap_entry e;
  bool hides, opaque;
};

struct walk {
  csn_snap_walk *w;
  csn_arena *arena;
  csn_buf path;
  struct change *p;
  size_t n, room;
  int depth;
};

static bool
is_omitted(const struct walk *k)
{
  csn_str path = csn_buf_str(&k->path);
  if (csn_str_eq(path, CSN_STR(".caisson")) || csn_str_ends(path, CSN_STR("/.caisson")))
    return true; /* a state folder: keys, journals */
  for (const char *const *o = k->w->omit; o && *o; o++)
    if (csn_str_eq(path, csn_cstr(*o)))
      return true;
  return false;
}

static void
tell(struct walk *k, const char *what)
{
  if (!k->w->told)
    return;
  csn_buf_addf(k->w->told, "%s ", what);
  csn_buf_add(k->w->told, csn_buf_str(&k->path));
  csn_buf_addc(k->w->told, '\n');
}

static int
leave_out(struct walk *k)
{
  k->w->left_out++;
  tell(k, "left out:");
  return 0;
}

static struct change *
note(struct walk *k, enum csn_snap_kind kind, const struct stat *st)
{
  if (k->n == k->room) {
    k->room = k->room ? k->room * 2 : 64;
    k->p = csn_realloc(k->p, k->room, sizeof *k->p);
  }
  struct change *c = &k->p[k->n++];
  *c = (struct change){.e = {.kind = kind,
                             .mode = st->st_mode & 0777,
                             .mtime_s = st->st_mtim.tv_sec,
                             .mtime_ns = (int32_t)st->st_mtim.tv_nsec,
                             .path = csn_arena_dup(k->arena, csn_buf_str(&k->path))}};
  return c;
}

static int
take_file(struct walk *k, int dir, const char *name, csn_err *err)
{
  struct stat st;
  csn_auto(csn_closep) int fd =
      openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0 && errno == EACCES)
    return leave_out(k);
  if (fd < 0 || fstat(fd, &st) < 0)
    return csn_fail_errno(err, "%.300s", k->path.p);
  if (!S_ISREG(st.st_mode))
    return csn_fail(err, CSN_E_CONFLICT, "%.300s changed meanwhile", k->path.p);
  struct change *c = note(k, CSN_SNAP_FILE, &st);
  int rc = csn_packs_add_file(k->w->packs, k->w->sc, fd, &c->e.digest, &c->e.size, err);
  return csn_wrap(err, rc, "%.300s", k->path.p);
}

static int
take_link(struct walk *k, int dir, const char *name, const struct stat *st, csn_err *err)
{
  char to[PATH_MAX];
  ssize_t n = readlinkat(dir, name, to, sizeof to);
  if (n <= 0 || n > CSN_SNAP_PATH_MAX)
    return csn_fail_errno(err, "%.300s", k->path.p);
  struct change *c = note(k, CSN_SNAP_LINK, st);
  c->e.mode = 0;
  c->e.target = csn_arena_dup(k->arena, csn_strn(to, (size_t)n));
  if (csn_snap_leads_out(c->e.path, c->e.target)) {
    k->w->links_out++;
    tell(k, "leads out:");
  }
  return 0;
}

static int walk_folder(struct walk *k, int dir, csn_err *err);

static int
take_folder(struct walk *k, int dir, const char *name, csn_err *err)
{
  struct stat st;
  csn_auto(csn_closep) int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && errno == EACCES)
    return leave_out(k);
  if (fd < 0 || fstat(fd, &st) < 0)
    return csn_fail_errno(err, "%.300s", k->path.p);
  struct change *c = note(k, CSN_SNAP_DIR, &st);
  c->opaque = k->w->is_layer && csn_layer_is_opaque(fd);
  if (++k->depth >= CSN_SNAP_DEPTH_MAX)
    return csn_fail(err, CSN_E_LIMIT, "more than %d folders in each other", CSN_SNAP_DEPTH_MAX);
  int rc = walk_folder(k, fd, err);
  k->depth--;
  return rc;
}

static int
take_entry(struct walk *k, int dir, const char *name, csn_err *err)
{
  struct stat st;
  int rc = csn_scope_check(k->w->sc, err);
  if (rc < 0)
    return rc;
  if (is_omitted(k)) {
    k->w->omitted++;
    return 0;
  }
  if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return csn_fail_errno(err, "%.300s", k->path.p);
  if (S_ISDIR(st.st_mode))
    return take_folder(k, dir, name, err);
  if (S_ISREG(st.st_mode))
    return take_file(k, dir, name, err);
  if (S_ISLNK(st.st_mode))
    return take_link(k, dir, name, &st, err);
  if (k->w->is_layer && S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0)) {
    note(k, CSN_SNAP_FILE, &st)->hides = true;
    return 0;
  }
  return leave_out(k);
}

static int
walk_folder(struct walk *k, int dir, csn_err *err)
{
  csn_auto(csn_names_fini) csn_names l = {0};
  int rc = csn_wrap(err, csn_names_read(&l, dir, CSN_SNAP_FILES_MAX - k->n, err), "%.300s",
                    k->path.n ? k->path.p : ".");
  size_t n = k->path.n;
  for (size_t i = 0; rc == 0 && i < l.n; i++) {
    if (n)
      csn_buf_addc(&k->path, '/');
    csn_buf_addz(&k->path, l.p[i]);
    rc = csn_buf_done(&k->path, "a path", err);
    if (rc == 0)
      rc = take_entry(k, dir, l.p[i], err);
    k->path.n = n;
    k->path.p[n] = '\0';
  }
  return rc;
}

/* Where what is below an entry of that path ends: nothing of it counts. */
static size_t
skip_beneath(const csn_snap_tree *base, size_t i, csn_str top)
{
  while (i < base->n && csn_snap_is_beneath(base->p[i].path, top))
    i++;
  return i;
}

static int
merge(const struct walk *k, const csn_snap_tree *base, csn_snap_tree *out, csn_err *err)
{
  int rc = 0;
  size_t i = 0;
  for (size_t c = 0; rc == 0 && (i < base->n || c < k->n);) {
    int order = c == k->n      ? -1
                : i == base->n ? 1
                               : csn_snap_path_order(base->p[i].path, k->p[c].e.path);
    if (order < 0) {
      rc = csn_snap_tree_add(out, &base->p[i++], err);
      continue;
    }
    const struct change *now = &k->p[c++];
    bool was_folder = order == 0 && base->p[i].kind == CSN_SNAP_DIR;
    i += order == 0;
    if (was_folder && (now->hides || now->opaque || now->e.kind != CSN_SNAP_DIR))
      i = skip_beneath(base, i, now->e.path);
    if (!now->hides)
      rc = csn_snap_tree_add(out, &now->e, err);
  }
  return rc;
}

int
csn_snap_take(csn_snap_walk *w, const csn_snap_tree *base, int folder, csn_snap_tree *out,
              csn_err *err)
{
  static const csn_snap_tree nothing;
  struct walk k = {
      .w = w, .arena = csn_arena_new(0), .path = CSN_BUF((size_t)2 * CSN_SNAP_PATH_MAX)};
  csn_buf_room(&k.path, 1)[0] = '\0';
  int rc = walk_folder(&k, folder, err);
  if (rc == 0)
    rc = merge(&k, base ? base : &nothing, out, err);
  csn_arena_free(k.arena);
  csn_buf_fini(&k.path);
  free(k.p);
  return rc;
}
