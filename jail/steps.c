/* SPDX-License-Identifier: Apache-2.0
 * steps.c - small steps of file systems; see steps.h. */
#include "jail/steps.h"

#include <sys/stat.h>

#include "jail/build.h"

void
csn_make_folder(const char *path)
{
  if (mkdir(path, 0755) < 0 && errno != EEXIST)
    csn_jail_fail("make folder", path);
}

void
csn_make_folders(const char *path)
{
  char part[CSN_JAIL_ROOT_MAX];
  size_t n = 0;
  for (; path[n] && n + 1 < sizeof part; n++) {
    part[n] = '\0';
    if (n && path[n] == '/')
      csn_make_folder(part);
    part[n] = path[n];
  }
  part[n] = '\0';
  csn_make_folder(part);
}

void
csn_make_file(const char *path, const char *text)
{
  size_t n = strlen(text);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (fd < 0 || (n && write(fd, text, n) != (ssize_t)n))
    csn_jail_fail("write", path);
  close(fd);
}

void
csn_make_link(const char *target, const char *path)
{
  if (symlink(target, path) < 0)
    csn_jail_fail("link", path);
}

void
csn_mount_new(const char *type, const char *path, unsigned long flags, const char *options)
{
  if (mount(type, path, type, flags, options) < 0) {
    char what[40];
    step_name(what, sizeof what, "mount", type);
    csn_jail_fail(what, path);
  }
}

void
csn_attach(int tree, const char *path)
{
  if (sys_move_mount(tree, AT_FDCWD, path) < 0)
    csn_jail_fail("attach the mount", path);
  close(tree);
}

void
csn_bind(const char *source, const char *path, uint64_t flags)
{
  struct stat st;
  int tree = sys_open_tree(AT_FDCWD, source, TREE_RECURSIVE);
  if (tree < 0 && (errno == ENOENT || errno == EACCES))
    return;
  if (tree < 0 || fstat(tree, &st) < 0)
    csn_jail_fail("bind", source);
  if (S_ISDIR(st.st_mode))
    csn_make_folder(path);
  else
    csn_make_file(path, "");
  if (sys_tree_protect(tree, flags, -1) < 0)
    csn_jail_fail("protect the mount", path);
  csn_attach(tree, path);
}
