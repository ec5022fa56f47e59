/* SPDX-License-Identifier: Apache-2.0
 *
 * layer_marks.c - how a layer says that something below it is gone; see
 * sandbox/layer_unpack.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "sandbox/layer_unpack.h"

static bool
has_mark(int fd, const char *name)
{
  char c = 0;
  return fgetxattr(fd, name, &c, 1) == 1 && c == 'y';
}

bool
csn_layer_hides(int folder, const char *name, const struct stat *st)
{
  if (S_ISCHR(st->st_mode))
    return st->st_rdev == makedev(0, 0);
  if (!S_ISREG(st->st_mode) || st->st_size != 0)
    return false;
  csn_auto(csn_closep) int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  return fd >= 0 && has_mark(fd, CSN_LAYER_HIDES);
}

bool
csn_layer_is_opaque(int folder)
{
  return has_mark(folder, CSN_LAYER_OPAQUE) || has_mark(folder, CSN_LAYER_HIDES);
}

static int
mark(int fd, csn_err *err)
{
  if (fsetxattr(fd, CSN_LAYER_HIDES, "y", 1, 0) == 0)
    return 1;
  if (errno == EOPNOTSUPP)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "the file system of the image store has no user attributes; choose a folder "
                    "on another one with CAISSON_IMAGES");
  return csn_fail_errno(err, "mark what is hidden");
}

int
csn_layer_hide(int folder, const char *name, csn_err *err)
{
  if (mknodat(folder, name, S_IFCHR, makedev(0, 0)) == 0)
    return 0;
  if (errno != EPERM && errno != EOPNOTSUPP && errno != EINVAL)
    return csn_fail_errno(err, "hide %.200s", name);
  csn_auto(csn_closep) int fd =
      openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  return fd < 0 ? csn_fail_errno(err, "hide %.200s", name) : mark(fd, err);
}

int
csn_layer_make_opaque(int folder, csn_err *err)
{
  if (fsetxattr(folder, CSN_LAYER_OPAQUE, "y", 1, 0) == 0)
    return 0;
  return mark(folder, err);
}
