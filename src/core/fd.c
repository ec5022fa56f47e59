/* SPDX-License-Identifier: Apache-2.0
 *
 * fd.c - files by descriptor; see core/fd.h.
 *
 * openat2(2) decides about ways out, in the kernel, so that no name can be
 * swapped between a check and its use.  A kernel or a seccomp filter without
 * it (gVisor, old container engines) gets a walk, part by part, that follows
 * no link at all: stricter, never weaker. */
#include "core/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "core/hash.h"

enum { CHUNK_BYTES = 65536, TRIES = 1000 };

/* A non-blocking descriptor that is not ready: sleep until it is. */
static bool
again(int fd, short events)
{
  if (errno == EAGAIN) {
    struct pollfd p = {.fd = fd, .events = events};
    poll(&p, 1, -1);
    return true;
  }
  return errno == EINTR;
}

bool
csn_path_add(csn_buf *out, csn_str path)
{
  for (size_t i = 0; i <= path.n;) {
    size_t end = i;
    while (end < path.n && path.p[end] != '/')
      end++;
    csn_str part = csn_strn(path.p + i, end - i);
    i = end + 1;
    if (part.n == 0 || csn_str_eq(part, CSN_STR(".")))
      continue;
    if (csn_str_eq(part, CSN_STR(".."))) {
      if (out->n == 0)
        return false;
      while (out->n && out->p[out->n - 1] != '/')
        out->n--;
      out->n -= out->n != 0;
      out->p[out->n] = '\0';
      continue;
    }
    if (out->n)
      csn_buf_addc(out, '/');
    csn_buf_add(out, part);
  }
  return true;
}

int
csn_fd_read_all(int fd, csn_buf *out, csn_err *err)
{
  for (;;) {
    size_t left = out->cap > out->n ? out->cap - out->n : 0;
    size_t room = left < CHUNK_BYTES ? left : CHUNK_BYTES;
    char extra; /* one byte past the cap tells its end from more */
    char *p = room ? csn_buf_room(out, room) : &extra;
    if (!p)
      return csn_fail(err, CSN_E_LIMIT, "larger than %zu bytes", out->cap);
    ssize_t n = read(fd, p, room ? room : 1);
    if (n < 0 && again(fd, POLLIN))
      continue;
    if (n <= 0 && out->p)
      out->p[out->n] = '\0';
    if (n <= 0)
      return n < 0 ? csn_fail_errno(err, "read") : 0;
    if (!room) {
      out->over = true;
      return csn_fail(err, CSN_E_LIMIT, "larger than %zu bytes", out->cap);
    }
    out->n += (size_t)n;
    out->p[out->n] = '\0';
  }
}

int
csn_fd_write_all(int fd, csn_str bytes, csn_err *err)
{
  while (bytes.n) {
    ssize_t n = write(fd, bytes.p, bytes.n);
    if (n < 0 && again(fd, POLLOUT))
      continue;
    if (n < 0)
      return csn_fail_errno(err, "write");
    bytes.p += n;
    bytes.n -= (size_t)n;
  }
  return 0;
}

int
csn_fd_memory(const char *name, csn_str text, csn_err *err)
{
  int fd = memfd_create(name, MFD_CLOEXEC);
  int rc = fd < 0 ? csn_fail_errno(err, "a file in memory") : csn_fd_write_all(fd, text, err);
  if (rc == 0 && lseek(fd, 0, SEEK_SET) < 0)
    rc = csn_fail_errno(err, "a file in memory");
  if (rc < 0)
    csn_closep(&fd);
  return rc < 0 ? rc : fd;
}

/* Without openat2: one part at a time, through no link and no "..". */
static int
walk(int dir, const char *path, int flags, mode_t mode)
{
  csn_auto(csn_closep) int at = openat(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  csn_auto(csn_freep) char *copy = csn_dupz(csn_cstr(path));
  char *part = copy;
  if (at < 0)
    return -1;
  if (!*path || *path == '/') {
    errno = *path ? EXDEV : ENOENT;
    return -1;
  }
  for (;;) {
    char *end = strchrnul(part, '/');
    bool is_last = !end[strspn(end, "/")];
    if (*end && is_last)
      flags |= O_DIRECTORY;
    char *next = end + strspn(end, "/");
    *end = '\0';
    if (strcmp(part, "..") == 0) {
      errno = EXDEV;
      return -1;
    }
    int how =
        is_last ? flags | O_NOFOLLOW | O_CLOEXEC : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(at, part, how, mode);
    struct stat st;
    if (fd < 0 && errno == ENOTDIR && fstatat(at, part, &st, AT_SYMLINK_NOFOLLOW) == 0)
      errno = S_ISLNK(st.st_mode) ? ELOOP : ENOTDIR;
    if (fd < 0 || is_last)
      return fd;
    close(at);
    at = fd;
    part = next;
  }
}

int
csn_open_beneath(int dir, const char *path, int flags, mode_t mode, csn_err *err)
{
  struct open_how how = {
      .flags = (unsigned)flags | O_CLOEXEC,
      .mode = flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? mode : 0,
      .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
  };
  for (int tries = 0;; tries++) {
    int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
    if (fd < 0 && errno == ENOSYS)
      fd = walk(dir, path, flags, (mode_t)how.mode);
    if (fd >= 0)
      return fd;
    /* EAGAIN: something was renamed meanwhile, so that the kernel cannot
     * rule out a way out; a sandbox that keeps doing it gets no answer. */
    if (tries < TRIES && (errno == EINTR || errno == EAGAIN))
      continue;
    if (errno == EAGAIN)
      return csn_fail(err, CSN_E_CONFLICT, "%s is being renamed all the time", path);
    if (errno == EXDEV || errno == ELOOP)
      return csn_fail(err, CSN_E_DENIED, "%s leads out of its folder", path);
    return csn_fail_errno(err, "%s", path);
  }
}

/* Never blocks; anything but a regular file is CSN_E_INVALID. */
static int
open_regular(int dir, const char *path, struct stat *st, csn_err *err)
{
  csn_err why;
  csn_auto(csn_closep) int fd =
      csn_open_beneath(dir, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &why);
  if (fd < 0 && why.sys_errno == ENXIO) /* a socket */
    return csn_fail(err, CSN_E_INVALID, "%s is not a regular file", path);
  if (fd < 0) {
    if (err)
      *err = why;
    return fd;
  }
  if (fstat(fd, st) < 0)
    return csn_fail_errno(err, "%s", path);
  if (!S_ISREG(st->st_mode))
    return csn_fail(err, CSN_E_INVALID, "%s is not a regular file", path);
  int got = fd;
  fd = -1;
  return got;
}

int
csn_file_read(int dir, const char *path, csn_buf *out, csn_err *err)
{
  struct stat st;
  csn_auto(csn_closep) int fd = open_regular(dir, path, &st, err);
  if (fd < 0)
    return fd;
  if (st.st_size > 0 && (uint64_t)st.st_size > out->cap - out->n)
    return csn_fail(err, CSN_E_LIMIT, "%s has %lld bytes, more than %zu", path,
                    (long long)st.st_size, out->cap - out->n);
  return csn_wrap(err, csn_fd_read_all(fd, out, err), "%s", path);
}

int
csn_file_head(int dir, const char *path, csn_buf *out, csn_err *err)
{
  struct stat st;
  csn_auto(csn_closep) int fd = open_regular(dir, path, &st, err);
  if (fd < 0)
    return fd;
  size_t want = out->cap - out->n;
  char *room = csn_buf_room(out, want), more;
  for (size_t got = 0; room;) {
    bool is_full = got == want;
    ssize_t k = is_full ? read(fd, &more, 1) : read(fd, room + got, want - got);
    if (k < 0 && again(fd, POLLIN))
      continue;
    if (k < 0)
      return csn_fail_errno(err, "%s", path);
    if (k == 0 || is_full)
      return k > 0;
    got += (size_t)k;
    out->n += (size_t)k;
    out->p[out->n] = '\0';
  }
  return csn_fail(err, CSN_E_LIMIT, "%s: there is no room for it", path);
}

int
csn_open_parent(int dir, const char *path, char **name, csn_err *err)
{
  size_t end = strlen(path);
  while (end > 1 && path[end - 1] == '/')
    end--;
  size_t from = end;
  while (from && path[from - 1] != '/')
    from--;
  csn_str last = csn_strn(path + from, end - from);
  if (path[0] == '/' || csn_str_eq(last, CSN_STR("..")))
    return csn_fail(err, CSN_E_DENIED, "%s leads out of its folder", path);
  if (!last.n || csn_str_eq(last, CSN_STR(".")))
    return csn_fail(err, CSN_E_INVALID, "'%s' does not end in a name", path);
  csn_auto(csn_freep) char *parent = csn_dupz(from ? csn_strn(path, from) : CSN_STR("."));
  int fd = csn_open_beneath(dir, parent, O_RDONLY | O_DIRECTORY, 0, err);
  if (fd >= 0)
    *name = csn_dupz(last);
  return fd;
}

int
csn_file_write(int dir, const char *path, csn_str bytes, mode_t mode, bool durable, csn_err *err)
{
  csn_auto(csn_freep) char *name = NULL;
  csn_auto(csn_closep) int parent = csn_open_parent(dir, path, &name, err);
  if (parent < 0)
    return parent;
  char tmp[24] = ".csn-";
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
  if (*path == '/')
    return csn_fail(err, CSN_E_DENIED, "%s leads out of its folder", path);
  csn_auto(csn_closep) int at = csn_open_beneath(dir, ".", O_PATH | O_DIRECTORY, 0, err);
  if (at < 0)
    return at;
  csn_auto(csn_freep) char *copy = csn_dupz(csn_cstr(path));
  char *rest = copy;
  for (char *part; (part = strsep(&rest, "/"));) {
    if (!*part)
      continue;
    if (mkdirat(at, part, mode) < 0 && errno != EEXIST)
      return csn_fail_errno(err, "cannot make folder %s", path);
    int next = csn_open_beneath(at, part, O_PATH | O_DIRECTORY, 0, err);
    if (next < 0)
      return csn_wrap(err, next, "cannot make folder %s", path);
    close(at);
    at = next;
  }
  return 0;
}

static int
by_bytes(const void *a, const void *b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

int
csn_names_read(csn_names *l, int dir, size_t most, csn_err *err)
{
  int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
  DIR *d = again < 0 ? NULL : fdopendir(again);
  if (!d) {
    rc = csn_fail_errno(err, "a folder cannot be listed");
    csn_closep(&again);
    return rc;
  }
  for (struct dirent *e; rc == 0 && (e = readdir(d));) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
      continue;
    if (l->n == most) {
      rc = csn_fail(err, CSN_E_LIMIT, "more than %zu files", most);
      break;
    }
    if (l->n == l->room) {
      l->room = l->room ? l->room * 2 : 32;
      l->p = csn_realloc(l->p, l->room, sizeof *l->p);
    }
    l->p[l->n++] = csn_dupz(csn_cstr(e->d_name));
  }
  closedir(d);
  if (l->n)
    qsort(l->p, l->n, sizeof *l->p, by_bytes);
  return rc;
}

void
csn_names_fini(csn_names *l)
{
  for (size_t i = 0; i < l->n; i++)
    free(l->p[i]);
  free(l->p);
  *l = (csn_names){0};
}
