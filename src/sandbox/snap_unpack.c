/* SPDX-License-Identifier: Apache-2.0
 *
 * snap_unpack.c - from what a snapshot holds to a folder; see snap_walk.h.
 *
 * A tree names only what stands in folders that it made before, so no path
 * leads through a link: folders come first, then files, then links; folders get
 * their modes and times last. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "sandbox/snap_walk.h"
#include "store/transfer.h"

struct unpacking {
  csn_packs *packs;
  csn_scope *sc;
  int top, parent; /* parent: the folder of the last entry, -1: none */
  csn_str parent_path;
  uid_t uid;
  gid_t gid;
};

static csn_str
folder_of(csn_str path, const char **name)
{
  const char *slash = memrchr(path.p, '/', path.n);
  *name = slash ? slash + 1 : path.p;
  return csn_strn(path.p, slash ? (size_t)(slash - path.p) : 0);
}

static int
enter(struct unpacking *u, csn_str folder, csn_err *err)
{
  if (u->parent >= 0 && csn_str_eq(u->parent_path, folder))
    return 0;
  csn_auto(csn_freep) char *path = csn_dupz(folder.n ? folder : CSN_STR("."));
  csn_closep(&u->parent);
  u->parent = csn_open_beneath(u->top, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, err);
  u->parent_path = folder;
  return u->parent < 0 ? u->parent : 0;
}

static int
write_piece(void *user, csn_str bytes, csn_err *err)
{
  return csn_fd_write_all(*(int *)user, bytes, err);
}

static int
set_attributes(const struct unpacking *u, int fd, const csn_snap_entry *e, csn_err *err)
{
  const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                    {.tv_sec = (time_t)e->mtime_s, .tv_nsec = e->mtime_ns}};
  if ((geteuid() == 0 && fchown(fd, u->uid, u->gid) < 0) || fchmod(fd, e->mode) < 0 ||
      futimens(fd, times) < 0)
    return csn_fail_errno(err, "owner, mode or time");
  return 0;
}

static int
make_file(struct unpacking *u, const char *name, const csn_snap_entry *e, csn_err *err)
{
  csn_auto(csn_closep) int fd =
      openat(u->parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0)
    return csn_fail_errno(err, "make it");
  int64_t size = csn_packs_size(u->packs, &e->digest);
  if (size >= 0 && size != e->size)
    return csn_fail(err, CSN_E_PARSE, "the store has another size for it");
  int rc = csn_packs_read(u->packs, u->sc, &e->digest, write_piece, &fd, err);
  return rc < 0 ? rc : set_attributes(u, fd, e, err);
}

static int
make_link(const struct unpacking *u, const char *name, const csn_snap_entry *e, csn_err *err)
{
  const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                    {.tv_sec = (time_t)e->mtime_s, .tv_nsec = e->mtime_ns}};
  if (symlinkat(e->target.p, u->parent, name) < 0 ||
      (geteuid() == 0 && fchownat(u->parent, name, u->uid, u->gid, AT_SYMLINK_NOFOLLOW) < 0) ||
      utimensat(u->parent, name, times, AT_SYMLINK_NOFOLLOW) < 0)
    return csn_fail_errno(err, "make it");
  return 0;
}

/* Entries of one kind from [from, to). */
static int
make_entries(struct unpacking *u, const csn_snap_tree *t, enum csn_snap_kind kind, size_t from,
             size_t to, csn_err *err)
{
  int rc = 0;
  for (size_t i = from; rc == 0 && i < to; i++) {
    const csn_snap_entry *e = &t->p[i];
    const char *name;
    if (e->kind != kind)
      continue;
    rc = csn_scope_check(u->sc, err);
    if (rc == 0)
      rc = enter(u, folder_of(e->path, &name), err);
    if (rc == 0 && kind == CSN_SNAP_DIR)
      rc = mkdirat(u->parent, name, 0700) < 0 ? csn_fail_errno(err, "make it") : 0;
    else if (rc == 0)
      rc = kind == CSN_SNAP_LINK ? make_link(u, name, e, err) : make_file(u, name, e, err);
    csn_wrap(err, rc, "%.300s", e->path.p);
  }
  csn_closep(&u->parent);
  return rc;
}

/* A slice of the files, by a thread with a reader of its own. */
struct slices {
  const struct unpacking *u;
  const csn_snap_tree *t;
  size_t n;
};

static int
make_slice(void *user, size_t i, csn_err *err)
{
  const struct slices *s = user;
  csn_auto(csn_packs_freep) csn_packs *packs = csn_packs_share(s->u->packs);
  struct unpacking own = *s->u;
  own.packs = packs;
  return make_entries(&own, s->t, CSN_SNAP_FILE, s->t->n * i / s->n, s->t->n * (i + 1) / s->n, err);
}

/* Files are most of the work: several threads make them where there are many. */
static int
make_files(struct unpacking *u, const csn_snap_tree *t, csn_err *err)
{
  enum { FEW = 500, THREADS_MAX = 4, SLICES = 4 };
  long cpus = sysconf(_SC_NPROCESSORS_ONLN);
  int threads = cpus > THREADS_MAX ? THREADS_MAX : (int)cpus;
  if (t->n < FEW || threads < 2)
    return make_entries(u, t, CSN_SNAP_FILE, 0, t->n, err);
  struct slices s = {u, t, (size_t)threads * SLICES};
  return csn_transfer_each(threads, s.n, make_slice, &s, err);
}

static int
finish_folder(struct unpacking *u, const csn_snap_entry *e, csn_err *err)
{
  const char *name;
  int rc = enter(u, folder_of(e->path, &name), err);
  if (rc < 0)
    return rc;
  csn_auto(csn_closep) int fd =
      openat(u->parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return fd < 0 ? csn_fail_errno(err, "open it") : set_attributes(u, fd, e, err);
}

int
csn_snap_unpack(const csn_snap_tree *t, csn_packs *packs, csn_scope *sc, int folder, csn_err *err)
{
  struct stat st;
  struct unpacking u = {.packs = packs, .sc = sc, .top = folder, .parent = -1};
  int rc = fstat(folder, &st) < 0 ? csn_fail_errno(err, "the folder") : 0;
  u.uid = st.st_uid;
  u.gid = st.st_gid;
  if (rc == 0)
    rc = make_entries(&u, t, CSN_SNAP_DIR, 0, t->n, err);
  if (rc == 0)
    rc = make_files(&u, t, err);
  if (rc == 0)
    rc = make_entries(&u, t, CSN_SNAP_LINK, 0, t->n, err);
  for (size_t i = t->n; rc == 0 && i > 0; i--)
    if (t->p[i - 1].kind == CSN_SNAP_DIR)
      rc = csn_wrap(err, finish_folder(&u, &t->p[i - 1], err), "%.300s", t->p[i - 1].path.p);
  csn_closep(&u.parent);
  return rc;
}
