/* SPDX-License-Identifier: Apache-2.0
 *
 * mounts.c - what is a jail's own on top of the skeleton: /proc, a terminal
 * folder, memory to write to, the workspace.
 *
 * At the end the process leaves the mount namespace of all this for an empty
 * one and keeps its root by a descriptor.  From then on nothing of the jail
 * can be unmounted or changed from inside, whatever capability somebody
 * gains, and /proc/self/mountinfo, which would name folders of the host, is
 * empty.
 */
#include <sched.h>
#include <sys/stat.h>

#include "jail/build.h"
#include "jail/steps.h"
#include "jail/text.h"

enum { SHM_BYTES = 256 << 20, SHM_FILES = 1 << 14 };

/* Puts a copy of a mount over a file or folder of /proc. */
static void
cover(const char *path, int tree)
{
  if (sys_move_mount(tree, AT_FDCWD, path) < 0)
    csn_jail_fail("cover", path);
  close(tree);
}

static void
processes(void)
{
  char path[64], with[64];
  csn_mount_new("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  for (const char *const *name = csn_jail_covered; *name; name++) {
    text_add(with, sizeof with, text_add(with, sizeof with, 0, "/tmp/"), *name);
    text_add(path, sizeof path, text_add(path, sizeof path, 0, "/proc/"), *name);
    int tree = sys_open_tree(AT_FDCWD, with, 0);
    if (tree >= 0)
      cover(path, tree);
    else if (errno != ENOENT)
      csn_jail_fail("cover", path);
  }
}

/* A writable folder of memory.  All of them together take less than the jail
 * may have, so that a full one is "no space left" and not the end of whoever
 * asks for memory next. */
static void
mount_memory(const char *path, unsigned long flags, const char *more, int64_t bytes, int64_t files)
{
  char options[120];
  size_t n = text_add(options, sizeof options, 0, "size=");
  n = text_number(options, sizeof options, n, (uint64_t)bytes);
  n = text_add(options, sizeof options, n, ",nr_inodes=");
  n = text_number(options, sizeof options, n, (uint64_t)files);
  text_add(options, sizeof options, n, more);
  csn_mount_new("tmpfs", path, MS_NOSUID | MS_NODEV | flags, options);
}

/* One that belongs to who commands are. */
static void
mount_own(const struct csn_jail_plan *plan, const char *path, int64_t bytes, int64_t files)
{
  char owner[60];
  size_t n = text_add(owner, sizeof owner, 0, ",mode=755,uid=");
  n = text_number(owner, sizeof owner, n, plan->open.uid);
  n = text_add(owner, sizeof owner, n, ",gid=");
  text_number(owner, sizeof owner, n, plan->open.gid);
  mount_memory(path, 0, owner, bytes, files);
}

/* The memory that the jail may have, where it is limited.  A full cache never
 * shows, so all of it is free. */
static void
mask_memory(int64_t bytes)
{
  static const char *const lines[] = {"MemTotal:       ", "MemFree:        ", "MemAvailable:   "};
  char text[400];
  size_t n = 0;
  if (bytes <= 0)
    return;
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
    n = text_add(text, sizeof text, n, lines[i]);
    n = text_number(text, sizeof text, n, (uint64_t)bytes / 1024);
    n = text_add(text, sizeof text, n, " kB\n");
  }
  text_add(text, sizeof text, n,
           "Buffers:        0 kB\nCached:         0 kB\nSwapCached:     0 kB\n"
           "SwapTotal:      0 kB\nSwapFree:       0 kB\nShmem:          0 kB\n"
           "SReclaimable:   0 kB\n");
  csn_make_file("/dev/shm/memory", text);
  int tree = sys_open_tree(AT_FDCWD, "/dev/shm/memory", 0);
  if (tree < 0 || sys_tree_protect(tree, CSN_LOCKED | ATTR_NOEXEC, -1) < 0)
    csn_jail_fail("cover", "/proc/meminfo");
  cover("/proc/meminfo", tree);
  unlink("/dev/shm/memory");
}

/* Devices of the host, and what their drivers bring (jail/extras.c). */
static void
attach_extras(const struct csn_jail_plan *plan)
{
  enum { FLAGS = MS_NOSUID | MS_NODEV };
  csn_attach(plan->fds[CSN_JAIL_DEV], "/dev");
  csn_mount_new("tmpfs", "/run", FLAGS, "size=16k,nr_inodes=4,mode=755");
  csn_make_folder("/run/caisson"); /* for jail/network.c */
  csn_make_folder(CSN_JAIL_DRIVERS_FOLDER);
  csn_attach(plan->fds[CSN_JAIL_DRIVERS], CSN_JAIL_DRIVERS_FOLDER);
  if (mount(NULL, "/run", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | FLAGS, NULL) < 0)
    csn_jail_fail("make read-only", "/run");
}

void
csn_jail_mounts(const struct csn_jail_plan *plan)
{
  const csn_jail_limits *l = &plan->open.limits;
  bool in_memory = plan->open.is_build || !(plan->open.with & CSN_JAIL_WITH(CSN_JAIL_WORKSPACE));
  /* An asked for workspace of memory may take half of it. */
  int64_t own = csn_jail_share(l, CSN_JAIL_OWN_BYTES, in_memory && l->disk >= 0 ? 8 : 4);
  processes(); /* first: its covers lie where /tmp comes */
  if (plan->open.is_build)
    csn_jail_system(plan);
  csn_jail_accounts(plan);
  if (plan->fds[CSN_JAIL_DEV] > 0)
    attach_extras(plan);
  csn_mount_new("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620");
  int64_t shm = csn_jail_share(l, SHM_BYTES, 8);
  mount_memory("/dev/shm", MS_NOEXEC, ",mode=1777", shm, csn_jail_files(shm, SHM_FILES));
  mask_memory(l->memory);
  int64_t files = csn_jail_files(own, CSN_JAIL_OWN_FILES);
  mount_memory("/tmp", 0, ",mode=1777", own, files);
  mount_own(plan, CSN_JAIL_HOME, own, files);
  csn_jail_storage_places(plan);
  csn_make_folders(plan->open.root); /* it may be in one of these */
}

/* Leaves the jail's mount namespace but not its files. */
static void
hide_mounts(const struct csn_jail_plan *plan)
{
  int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  int mounts = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC); /* kept open: it keeps them */
  if (root < 0 || mounts < 0 || setns(plan->fds[CSN_JAIL_BLANK], CLONE_NEWNS) < 0)
    csn_jail_fail("leave the mount namespace", "");
  if (fchdir(root) < 0 || chroot(".") < 0)
    csn_jail_fail("keep the root", "");
  close(root);
}

void
csn_jail_graft(const struct csn_jail_plan *plan)
{
  const csn_jail_limits *l = &plan->open.limits;
  const char *root = plan->open.root;
  if (plan->fds[CSN_JAIL_WORKSPACE] > 0 && !plan->open.is_build)
    csn_attach(plan->fds[CSN_JAIL_WORKSPACE], root);
  else
    mount_own(plan, root, csn_jail_workspace_bytes(l), csn_jail_workspace_files(l));
  csn_jail_storage(plan);
  hide_mounts(plan);
}
