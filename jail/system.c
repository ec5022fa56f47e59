/* SPDX-License-Identifier: Apache-2.0
 *
 * system.c - the root file system of a jail in which one is built.
 *
 * Over the folders of the skeleton, which are read-only, come those of an
 * overlay that takes all changes; what is a link at the top stays one.  The
 * jail's own places are its own here too, and nothing of them is kept.
 */
#include <dirent.h>
#include <sys/stat.h>

#include "jail/build.h"
#include "jail/steps.h"

static void
lay(const char *from, const char *name)
{
  char path[NAME_MAX + 2] = "/";
  int tree = sys_open_tree(AT_FDCWD, from, 0);
  if (tree < 0)
    csn_jail_fail("bind", from);
  memcpy(path + 1, name, strlen(name) + 1);
  csn_attach(tree, path);
}

void
csn_jail_system(const struct csn_jail_plan *plan)
{
  struct stat st;
  csn_attach(plan->fds[CSN_JAIL_WORKSPACE], "/tmp");
  DIR *top = opendir("/tmp");
  if (!top)
    csn_jail_fail("read", "the root file system");
  for (struct dirent *d; (d = readdir(top));) {
    char from[NAME_MAX + 8] = "/tmp/";
    if (csn_jail_is_ours(d->d_name) || strlen(d->d_name) > NAME_MAX)
      continue;
    memcpy(from + 5, d->d_name, strlen(d->d_name) + 1);
    if (lstat(from, &st) == 0 && S_ISDIR(st.st_mode))
      lay(from, d->d_name);
  }
  closedir(top);
  if (umount2("/tmp", MNT_DETACH) < 0)
    csn_jail_fail("let go of", "the root file system");
  csn_mount_new("tmpfs", "/run", MS_NOSUID | MS_NODEV, "size=16m,nr_inodes=1024,mode=755");
  csn_make_folder("/run/caisson"); /* for jail/network.c */
  /* Its root owns the network's settings, and shall not change them. */
  int settings = sys_open_tree(AT_FDCWD, "/proc/sys", TREE_RECURSIVE);
  if (settings < 0 || sys_tree_protect(settings, CSN_LOCKED | ATTR_NOEXEC, -1) < 0)
    csn_jail_fail("protect", "/proc/sys");
  csn_attach(settings, "/proc/sys");
}
