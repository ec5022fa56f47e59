/* SPDX-License-Identifier: Apache-2.0
 *
 * accounts.c - the users and groups of one jail, over those of its root file
 * system.
 *
 * The harness has made both texts; here they are put over the files, where the
 * root file system has files of these names.  They live in a small folder of
 * memory that is let go of at once. */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "jail/build.h"
#include "jail/steps.h"

static void
cover(const char *path, const char *by, const char *text)
{
  struct stat st;
  if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
    return;
  csn_make_file(by, text);
  int tree = sys_open_tree(AT_FDCWD, by, 0);
  if (tree < 0 || sys_tree_protect(tree, CSN_LOCKED, -1) < 0)
    csn_jail_fail("protect", path);
  csn_attach(tree, path);
}

void
csn_jail_accounts(const struct csn_jail_plan *plan)
{
  struct stat st;
  int fd = plan->fds[CSN_JAIL_ACCOUNTS];
  if (fd <= 0)
    return;
  if (fstat(fd, &st) < 0 || st.st_size < 2)
    csn_jail_fail("look at", "the accounts");
  const char *text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (text == MAP_FAILED || text[st.st_size - 1] != '\0')
    csn_jail_fail("read", "the accounts");
  size_t n = strlen(text) + 1;
  csn_mount_new("tmpfs", "/tmp", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4m,nr_inodes=4,mode=755");
  cover("/etc/passwd", "/tmp/passwd", text);
  if (n < (size_t)st.st_size)
    cover("/etc/group", "/tmp/group", text + n);
  if (umount2("/tmp", MNT_DETACH) < 0)
    csn_jail_fail("let go of", "the accounts");
}
