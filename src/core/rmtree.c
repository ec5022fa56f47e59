/* SPDX-License-Identifier: Apache-2.0
 *
 * rmtree.c - csn_remove_tree() of core/fd.h.
 *
 * The tree may be a sandbox's, changing while it is removed and built to
 * break this: as deep as the disk allows, with links and with folders that
 * nobody may enter.  Each folder is opened from its parent's descriptor, not
 * through a link and not across a mount, so that a bucket that is mounted
 * inside is not emptied.  A folder deeper than DEPTH is first moved up to
 * the top, so that neither descriptors nor stack grow with the tree. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "core/fd.h"
#include "core/hash.h"

enum { DEPTH = 24, IDLE_ROUNDS = 1000, ROUNDS = 1 << 20 };

struct removal {
  int top; /* the tree's own folder; borrowed */
  dev_t device;
  bool moved; /* something was moved up: the top must be read again */
  bool (*take)(int folder);
  csn_err *err;
};

/* A folder in `parent`, as it is: no link, no mount. */
static int
open_folder(int parent, const char *name)
{
  struct open_how how = {
      .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
      .resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH,
  };
  int fd = (int)syscall(SYS_openat2, parent, name, &how, sizeof how);
  return fd < 0 && errno == ENOSYS ? openat(parent, name, (int)how.flags) : fd;
}

/* Somebody else's becomes ours, if it can. */
static void
take_folder(int parent, const char *name, bool (*take)(int folder))
{
  struct stat st;
  csn_auto(csn_closep) int fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid != geteuid())
    take(fd);
}

/* The same in spite of its mode; -1 and errno. */
static int
enter(int parent, const char *name, bool (*take)(int folder))
{
  if (take)
    take_folder(parent, name, take);
  int fd = open_folder(parent, name);
  if (fd < 0 && errno == EACCES && fchmodat(parent, name, 0700, AT_SYMLINK_NOFOLLOW) == 0)
    fd = open_folder(parent, name);
  return fd;
}

static int
refused(csn_err *err, const char *name)
{
  if (errno == EXDEV)
    return csn_fail(err, CSN_E_DENIED, "something is mounted at %s; unmount it first", name);
  return csn_fail_errno(err, "cannot remove %s", name);
}

static int
move_up(struct removal *r, int parent, const char *name)
{
  char up[24] = ".csn-";
  csn_random_name(up + 5, 16);
  if (fchmodat(parent, name, 0700, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
    return 0; /* somebody else removed it */
  if (renameat(parent, name, r->top, up) < 0 && errno != ENOENT)
    return csn_fail_errno(r->err, "cannot move up %s", name);
  r->moved = true;
  return 0;
}

static int empty(struct removal *r, int fd, int depth);

static int
remove_entry(struct removal *r, int parent, const char *name, int depth)
{
  if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
    return 0;
  if (errno != EISDIR && errno != EPERM)
    return csn_fail_errno(r->err, "cannot remove %s", name);
  if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
    return 0;
  if (depth >= DEPTH)
    return move_up(r, parent, name);
  int fd = enter(parent, name, r->take);
  if (fd < 0)
    return errno == ENOENT ? 0 : refused(r->err, name);
  int rc = empty(r, fd, depth + 1);
  if (rc == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
    rc = csn_fail_errno(r->err, "cannot remove %s", name);
  return rc;
}

/* Removes what is in a folder; takes fd. */
static int
empty(struct removal *r, int fd, int depth)
{
  struct stat st;
  DIR *d = fstat(fd, &st) < 0 ? NULL : fdopendir(fd);
  if (!d) {
    int rc = csn_fail_errno(r->err, "cannot list a folder");
    close(fd);
    return rc;
  }
  if (st.st_dev != r->device) {
    closedir(d);
    errno = EXDEV;
    return refused(r->err, "a folder inside");
  }
  if ((st.st_mode & 0700) != 0700)
    fchmod(fd, 0700); /* entries go only from a folder that may be written */
  int rc = 0;
  for (struct dirent *e; rc == 0 && (e = readdir(d));)
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
      rc = remove_entry(r, fd, e->d_name, depth);
  closedir(d);
  return rc;
}

/* Again while something was moved up, and a few times more for somebody who
 * adds entries meanwhile. */
static int
remove_folder(int parent, const char *name, bool (*take)(int folder), csn_err *err)
{
  csn_auto(csn_closep) int top = enter(parent, name, take);
  struct stat st;
  if (top < 0 || fstat(top, &st) < 0)
    return errno == ENOENT ? 0 : refused(err, name);
  struct removal r = {.top = top, .device = st.st_dev, .take = take, .err = err};
  for (int i = 0, idle = 0; i < ROUNDS && idle < IDLE_ROUNDS; i++, idle += !r.moved) {
    r.moved = false;
    int again = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (again < 0)
      return errno == ENOENT ? 0 : csn_fail_errno(err, "cannot remove %s", name);
    int rc = empty(&r, again, 0);
    if (rc < 0)
      return rc;
    if (r.moved)
      continue;
    if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
      return 0;
    if (errno != ENOTEMPTY && errno != EEXIST)
      return csn_fail_errno(err, "cannot remove %s", name);
  }
  return csn_fail(err, CSN_E_CONFLICT, "%s is being filled while it is removed", name);
}

int
csn_remove_tree_with(int dir, const char *path, bool (*take)(int folder), csn_err *err)
{
  csn_auto(csn_freep) char *name = NULL;
  csn_err why;
  csn_auto(csn_closep) int parent = csn_open_parent(dir, path, &name, &why);
  if (parent == CSN_E_NOT_FOUND)
    return 0;
  if (parent < 0) {
    if (err)
      *err = why;
    return parent;
  }
  if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
    return 0;
  if (errno != EISDIR && errno != EPERM)
    return csn_fail_errno(err, "cannot remove %s", path);
  return csn_wrap(err, remove_folder(parent, name, take, err), "%s", path);
}

int
csn_remove_tree(int dir, const char *path, csn_err *err)
{
  return csn_remove_tree_with(dir, path, NULL, err);
}
