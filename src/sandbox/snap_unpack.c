/* SPDX-License-Identifier: Apache-2.0
 *
 * snap_unpack.c - from what a snapshot holds to a folder; see snap_walk.h.
 *
 * A tree names only what stands in folders that it made before, so no path
 * leads through a link.  Folders get their modes and times last. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/fd.h"
#include "sandbox/snap_walk.h"

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

static int
make_entry(struct unpacking *u, const csn_snap_entry *e, csn_err *err)
{
  const char *name;
  int rc = enter(u, folder_of(e->path, &name), err);
  if (rc < 0)
    return rc;
  switch (e->kind) {
  case CSN_SNAP_DIR:
    return mkdirat(u->parent, name, 0700) < 0 ? csn_fail_errno(err, "make it") : 0;
  case CSN_SNAP_LINK:
    return make_link(u, name, e, err);
  case CSN_SNAP_FILE:
    break;
  }
  return make_file(u, name, e, err);
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
  for (size_t i = 0; rc == 0 && i < t->n; i++) {
    rc = csn_scope_check(sc, err);
    if (rc == 0)
      rc = csn_wrap(err, make_entry(&u, &t->p[i], err), "%.300s", t->p[i].path.p);
  }
  for (size_t i = t->n; rc == 0 && i > 0; i--)
    if (t->p[i - 1].kind == CSN_SNAP_DIR)
      rc = csn_wrap(err, finish_folder(&u, &t->p[i - 1], err), "%.300s", t->p[i - 1].path.p);
  csn_closep(&u.parent);
  return rc;
}
