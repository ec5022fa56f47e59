/* SPDX-License-Identifier: Apache-2.0
 *
 * layers.c - one root file system out of the layers of an image.
 *
 * An overlay of read-only layers, in the mount namespace that the template is
 * built in.  `userxattr` always: the store marks what a layer hides with
 * attributes that an ordinary user can set, and root's harness reads the same
 * layers.  The layers are put at names of one to three digits in a small
 * folder, so that 127 of them fit into the page that mount(2) has for options
 * where the kernel has no lowerdir+ yet (before Linux 6.8).
 */
#include "jail/layers.h"

#include "jail/build.h"
#include "jail/steps.h"
#include "jail/text.h"

enum { NR_fsopen = 430, NR_fsconfig = 431, NR_fsmount = 432 };
enum { SET_FLAG = 0, SET_STRING = 1, CREATE = 6, CONTEXT_CLOEXEC = 1, OPTIONS_MAX = 4000 };

/* The folder that a layer is put at. */
static const char *
name_of(char name[8], size_t i)
{
  text_number(name, 8, 0, i);
  return name;
}

/* The topmost layer is named first. */
static int
by_context(size_t n)
{
  char name[8];
  int fd = (int)syscall(NR_fsopen, "overlay", CONTEXT_CLOEXEC), tree = -1;
  if (fd < 0)
    return -1;
  bool good = syscall(NR_fsconfig, fd, SET_FLAG, "userxattr", NULL, 0) == 0;
  for (size_t i = n; good && i > 0; i--) {
    good = syscall(NR_fsconfig, fd, SET_STRING, "lowerdir+", name_of(name, i - 1), 0) == 0;
  }
  if (good && syscall(NR_fsconfig, fd, CREATE, NULL, NULL, 0) == 0)
    tree = (int)syscall(NR_fsmount, fd, CONTEXT_CLOEXEC, CSN_LOCKED);
  int e = errno;
  close(fd);
  errno = e;
  return tree;
}

static int
by_options(size_t n)
{
  char options[OPTIONS_MAX];
  size_t at = text_add(options, sizeof options, 0, "userxattr,lowerdir=");
  for (size_t i = n; i > 0; i--) {
    at = text_number(options, sizeof options, at, i - 1);
    at = text_add(options, sizeof options, at, i > 1 ? ":" : "");
  }
  csn_make_folder("all");
  if (mount("overlay", "all", "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOATIME, options) <
      0)
    return -1;
  return sys_open_tree(AT_FDCWD, "all", 0);
}

int
csn_layers_join(int *trees, size_t n)
{
  char name[8];
  if (n == 1) {
    int only = trees[0];
    trees[0] = -1; /* the memory is shared with the spawner */
    return only;
  }
  csn_mount_new("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "size=64k,nr_inodes=256,mode=755");
  if (chdir("/tmp") < 0)
    csn_jail_fail("enter", "a folder for layers");
  for (size_t i = 0; i < n; i++) {
    csn_make_folder(name_of(name, i));
    csn_attach(trees[i], name);
    trees[i] = -1;
  }
  int tree = by_context(n);
  if (tree < 0)
    tree = by_options(n);
  if (tree < 0)
    csn_jail_fail(CSN_JAIL_NO_OVERLAY, "");
  if (chdir("/") < 0 || umount2("/tmp", MNT_DETACH) < 0)
    csn_jail_fail("let go of", "the layers");
  return tree;
}
