/* SPDX-License-Identifier: Apache-2.0
 *
 * copy_entry.c - one file or link of a folder, copied; see copy_entry.h.
 *
 * The kernel copies: by sharing the blocks (FICLONE), else copy_file_range(2),
 * else a loop of reads and writes. */
#include "sandbox/copy_entry.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "caisson/mem.h"
#include "core/fd.h"

enum { PIECE = 64 << 10 };

static int
copy_by_hand(int to, int from, csn_err *err)
{
  csn_auto(csn_freep) char *piece = csn_alloc(PIECE);
  for (;;) {
    ssize_t n = read(from, piece, PIECE);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? csn_fail_errno(err, "read") : 0;
    int rc = csn_fd_write_all(to, csn_strn(piece, (size_t)n), err);
    if (rc < 0)
      return rc;
  }
}

static int
copy_bytes(int to, int from, off_t size, csn_err *err)
{
  if (size == 0 || ioctl(to, FICLONE, from) == 0)
    return 0;
  for (off_t done = 0; done < size;) {
    ssize_t n = copy_file_range(from, NULL, to, NULL, (size_t)(size - done), 0);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && done == 0)
      return copy_by_hand(to, from, err);
    if (n <= 0)
      return n < 0 ? csn_fail_errno(err, "copy") : 0;
    done += n;
  }
  return 0;
}

static int
copy_file(int to, int from, const char *name, const struct stat *st, csn_err *err)
{
  const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, st->st_mtim};
  csn_auto(csn_closep) int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (in < 0)
    return csn_fail_errno(err, "%.200s", name);
  csn_auto(csn_closep) int out =
      openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (out < 0)
    return csn_fail_errno(err, "%.200s", name);
  int rc = copy_bytes(out, in, st->st_size, err);
  if (rc == 0 && ((geteuid() == 0 && fchown(out, st->st_uid, st->st_gid) < 0) ||
                  fchmod(out, st->st_mode & 01777) < 0 || futimens(out, times) < 0))
    rc = csn_fail_errno(err, "attributes");
  return csn_wrap(err, rc, "%.200s", name);
}

static int
copy_link(int to, int from, const char *name, const struct stat *st, csn_err *err)
{
  const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, st->st_mtim};
  char target[PATH_MAX];
  ssize_t n = readlinkat(from, name, target, sizeof target - 1);
  if (n < 0)
    return csn_fail_errno(err, "%.200s", name);
  target[n] = '\0';
  if (symlinkat(target, to, name) < 0 ||
      (geteuid() == 0 && fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0) ||
      utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) < 0)
    return csn_fail_errno(err, "%.200s", name);
  return 0;
}

int
csn_copy_entry(int to, int from, const char *name, const struct stat *st, csn_err *err)
{
  if (S_ISLNK(st->st_mode))
    return copy_link(to, from, name, st, err);
  return S_ISREG(st->st_mode) ? copy_file(to, from, name, st, err) : 0;
}
