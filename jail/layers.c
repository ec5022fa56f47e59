/* SPDX-License-Identifier: Apache-2.0
 *
 * layers.c - one root file system out of the layers of an image, and one
 * workspace out of the layers that it had when it was frozen.
 *
 * An overlay of read-only layers, in a mount namespace of its own; with a
 * workspace's, a folder on top takes all changes.  `userxattr` always: the store marks what a layer
 * hides with attributes that an ordinary user can set, and root's harness reads the same layers.
 * The layers are put at names of one to three digits in a small folder, so that 127 of them fit
 * into the page that mount(2) has for options where the kernel has no lowerdir+ yet (before
 * Linux 6.8).
 */
#include "jail/layers.h"

#include "jail/build.h"
#include "jail/steps.h"
#include "jail/text.h"

enum { NR_fsopen = 430, NR_fsconfig = 431, NR_fsmount = 432 };
enum { SET_FLAG = 0, SET_STRING = 1, CREATE = 6, CONTEXT_CLOEXEC = 1, OPTIONS_MAX = 4000 };

/* Where the folder on top is put. */
#define UPPER "top/upper"
#define WORK "top/work"

/* The folder that a layer is put at. */
static const char *
name_of(char name[8], size_t i)
{
  text_number(name, 8, 0, i);
  return name;
}

static bool
set(int fd, const char *key, const char *value)
{
  return syscall(NR_fsconfig, fd, SET_STRING, key, value, 0) == 0;
}

/* The topmost layer is named first. */
static int
by_context(size_t n, bool has_top)
{
  char name[8];
  int fd = (int)syscall(NR_fsopen, "overlay", CONTEXT_CLOEXEC), tree = -1;
  if (fd < 0)
    return -1;
  bool good = syscall(NR_fsconfig, fd, SET_FLAG, "userxattr", NULL, 0) == 0;
  /* What must survive a power cut is written to the disk by the harness; without
   * this the end of each jail would write the whole file system to it. */
  if (has_top)
    (void)!syscall(NR_fsconfig, fd, SET_FLAG, "volatile", NULL, 0);
  for (size_t i = n; good && i > 0; i--)
    good = set(fd, "lowerdir+", name_of(name, i - 1));
  if (has_top)
    good = good && set(fd, "upperdir", UPPER) && set(fd, "workdir", WORK);
  if (good && syscall(NR_fsconfig, fd, CREATE, NULL, NULL, 0) == 0)
    tree = (int)syscall(NR_fsmount, fd, CONTEXT_CLOEXEC, has_top ? CSN_SAFE : CSN_LOCKED);
  int e = errno;
  close(fd);
  errno = e;
  return tree;
}

static int
by_options(size_t n, bool has_top)
{
  char options[OPTIONS_MAX];
  unsigned long flags = MS_NOSUID | MS_NODEV | (has_top ? 0 : MS_RDONLY | MS_NOATIME);
  size_t at = text_add(options, sizeof options, 0, "userxattr,");
  if (has_top)
    at = text_add(options, sizeof options, at, "upperdir=" UPPER ",workdir=" WORK ",");
  at = text_add(options, sizeof options, at, "lowerdir=");
  for (size_t i = n; i > 0; i--) {
    at = text_number(options, sizeof options, at, i - 1);
    at = text_add(options, sizeof options, at, i > 1 ? ":" : "");
  }
  csn_make_folder("all");
  if (mount("overlay", "all", "overlay", flags, options) < 0)
    return -1;
  return sys_open_tree(AT_FDCWD, "all", 0);
}

/* Puts the layers at their names in a folder of memory and lays them over each
 * other there. */
static int
pile(int *trees, size_t n, int *top, const char *what)
{
  char name[8];
  csn_mount_new("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "size=64k,nr_inodes=256,mode=755");
  if (chdir("/tmp") < 0)
    csn_jail_fail("enter", "a folder for layers");
  for (size_t i = 0; i < n; i++) {
    csn_make_folder(name_of(name, i));
    csn_attach(trees[i], name);
    trees[i] = -1; /* the memory is shared with the spawner */
  }
  if (top) {
    csn_make_folder("top");
    csn_attach(*top, "top");
    *top = -1;
  }
  int tree = by_context(n, top);
  if (tree < 0)
    tree = by_options(n, top);
  if (tree < 0)
    csn_jail_fail(what, "");
  return tree;
}

int
csn_layers_join(int *trees, size_t n)
{
  if (n == 1) {
    int only = trees[0];
    trees[0] = -1;
    return only;
  }
  int tree = pile(trees, n, NULL, CSN_JAIL_NO_OVERLAY);
  if (chdir("/") < 0 || umount2("/tmp", MNT_DETACH) < 0)
    csn_jail_fail("let go of", "the layers");
  return tree;
}

int
csn_layers_stack(int *trees, size_t n, int *top)
{
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
    csn_jail_fail("keep mounts private", "");
  return pile(trees, n, top, CSN_JAIL_NO_STACK);
}
