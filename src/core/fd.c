/* SPDX-License-Identifier: Apache-2.0
 * fd.c - files by descriptor; see fd.h. */
#include "core/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "core/hash.h"

enum { DEPTH_MAX = 4096 };

int
csn_fd_read_all(int fd, csn_buf *out, csn_err *err)
{
  for (;;) {
    size_t room = out->cap - out->n < 65536 ? out->cap - out->n : 65536;
    char extra;
    char *p = room ? csn_buf_room(out, room) : &extra;
    ssize_t n = read(fd, p, room ? room : 1);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return csn_fail_errno(err, "read");
    if (n == 0)
      break;
    if (!room)
      return csn_fail(err, CSN_E_LIMIT, "the file is larger than %zu bytes", out->cap);
    out->n += (size_t)n;
  }
  if (out->p)
    out->p[out->n] = '\0';
  return 0;
}

int
csn_fd_write_all(int fd, csn_str bytes, csn_err *err)
{
  while (bytes.n) {
    ssize_t n = write(fd, bytes.p, bytes.n);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return csn_fail_errno(err, "write");
    bytes.p += n;
    bytes.n -= (size_t)n;
  }
  return 0;
}

int
csn_open_beneath(int dir, const char *path, int flags, mode_t mode, csn_err *err)
{
  struct open_how how = {
      .flags = (unsigned)flags | O_CLOEXEC,
      .mode = flags & (O_CREAT | O_TMPFILE) ? mode : 0,
      .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
  };
  for (int tries = 0;; tries++) {
    long fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
    if (fd >= 0)
      return (int)fd;
    if (errno == EINTR || (errno == EAGAIN && tries < 100)) /* a rename beside it: look again */
      continue;
    if (errno == EXDEV || errno == ELOOP)
      return csn_fail(err, CSN_E_DENIED, "%s leads out of its folder", path);
    return csn_fail_errno(err, "%s", path);
  }
}

int
csn_file_read(int dir, const char *path, csn_buf *out, csn_err *err)
{
  csn_auto(csn_closep) int fd = csn_open_beneath(dir, path, O_RDONLY | O_NONBLOCK, 0, err);
  if (fd < 0)
    return fd;
  struct stat st;
  if (fstat(fd, &st) < 0)
    return csn_fail_errno(err, "%s", path);
  if (!S_ISREG(st.st_mode))
    return csn_fail(err, CSN_E_INVALID, "%s is not a regular file", path);
  return csn_wrap(err, csn_fd_read_all(fd, out, err), "%s", path);
}

/* The folder of a path, opened beneath dir, and the last part's offset. */
static int
open_parent(int dir, const char *path, const char **name, csn_err *err)
{
  const char *slash = strrchr(path, '/');
  *name = slash ? slash + 1 : path;
  if (!slash)
    return csn_open_beneath(dir, ".", O_RDONLY | O_DIRECTORY, 0, err);
  csn_auto(csn_freep) char *parent = csn_dupz(csn_strn(path, (size_t)(slash - path)));
  return csn_open_beneath(dir, parent, O_RDONLY | O_DIRECTORY, 0, err);
}

int
csn_file_write(int dir, const char *path, csn_str bytes, mode_t mode, bool durable, csn_err *err)
{
  const char *name;
  csn_auto(csn_closep) int parent = open_parent(dir, path, &name, err);
  if (parent < 0)
    return parent;
  char tmp[32] = ".csn-";
  csn_random_name(tmp + 5, 12);
  csn_auto(csn_closep) int fd =
      openat(parent, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0)
    return csn_fail_errno(err, "%s", path);
  int rc = csn_fd_write_all(fd, bytes, err);
  if (rc == 0 && fchmod(fd, mode) < 0)
    rc = csn_fail_errno(err, "mode");
  if (rc == 0 && durable && fsync(fd) < 0)
    rc = csn_fail_errno(err, "fsync");
  if (rc == 0 && renameat(parent, tmp, parent, name) < 0)
    rc = csn_fail_errno(err, "rename");
  if (rc < 0)
    unlinkat(parent, tmp, 0);
  else if (durable && fsync(parent) < 0)
    rc = csn_fail_errno(err, "fsync of the folder");
  return csn_wrap(err, rc, "%s", path);
}

int
csn_mkdirs(int dir, const char *path, mode_t mode, csn_err *err)
{
  csn_auto(csn_closep) int at = csn_open_beneath(dir, ".", O_RDONLY | O_DIRECTORY, 0, err);
  if (at < 0)
    return at;
  csn_auto(csn_freep) char *copy = csn_dupz(csn_cstr(path));
  if (*copy == '/')
    return csn_fail(err, CSN_E_DENIED, "%s leads out of its folder", path);
  for (char *part = copy; *part;) {
    char *end = strchrnul(part, '/');
    bool is_last = !*end;
    *end = '\0';
    if (*part) {
      if (mkdirat(at, part, mode) < 0 && errno != EEXIST)
        return csn_fail_errno(err, "cannot make folder %s", path);
      int next = csn_open_beneath(at, part, O_RDONLY | O_DIRECTORY, 0, err);
      if (next < 0)
        return next;
      close(at);
      at = next;
    }
    part = is_last ? end : end + 1;
  }
  return 0;
}

static int remove_entries(int fd, int depth, csn_err *err);

static int
remove_at(int parent, const char *name, int depth, csn_err *err)
{
  if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
    return 0;
  if (errno != EISDIR && errno != EPERM)
    return csn_fail_errno(err, "cannot remove %s", name);
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 && errno == EACCES && fchmodat(parent, name, 0700, 0) == 0)
    fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return csn_fail_errno(err, "cannot remove %s", name);
  int rc = remove_entries(fd, depth + 1, err);
  if (rc == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
    rc = csn_fail_errno(err, "cannot remove %s", name);
  return rc;
}

/* Takes fd. */
static int
remove_entries(int fd, int depth, csn_err *err)
{
  DIR *d = fdopendir(fd);
  if (!d) {
    close(fd);
    return csn_fail_errno(err, "cannot list a folder");
  }
  fchmod(fd, 0700); /* a folder without write permission can hold entries too */
  int rc = depth > DEPTH_MAX ? csn_fail(err, CSN_E_LIMIT, "folders nested too deeply") : 0;
  for (struct dirent *e; rc == 0 && (e = readdir(d));) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
      continue;
    rc = remove_at(fd, e->d_name, depth, err);
  }
  closedir(d);
  return rc;
}

int
csn_remove_tree(int dir, const char *path, csn_err *err)
{
  const char *name;
  csn_err why;
  csn_auto(csn_closep) int parent = open_parent(dir, path, &name, &why);
  if (parent == CSN_E_NOT_FOUND)
    return 0;
  if (parent < 0) {
    if (err)
      *err = why;
    return parent;
  }
  return remove_at(parent, name, 0, err);
}
