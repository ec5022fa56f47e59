/* SPDX-License-Identifier: Apache-2.0
 *
 * sys.h - system calls and constants that this system's headers may lack, and
 * the step names that errors carry.  Both programs of the jail use it. */
#ifndef CSN_JAIL_SYS_H
#define CSN_JAIL_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The numbers are the same on every architecture. */
enum {
  NR_open_tree = 428,
  NR_move_mount = 429,
  NR_clone3 = 435,
  NR_close_range = 436,
  NR_openat2 = 437,
  NR_mount_setattr = 442,
  NR_landlock_create_ruleset = 444,
  NR_landlock_add_rule = 445,
  NR_landlock_restrict_self = 446,
};

enum {
  TREE_CLONE = 1,
  MOVE_EMPTY_FROM = 0x4,
  MOVE_EMPTY_TO = 0x40,
  ATTR_RDONLY = 0x1,
  ATTR_NOSUID = 0x2,
  ATTR_NODEV = 0x4,
  ATTR_NOEXEC = 0x8,
  ATTR_IDMAP = 0x100000,
  RANGE_CLOEXEC = 4,
};
#define TREE_RECURSIVE 0x8000

struct mount_attributes {
  uint64_t set, clear, propagation, userns_fd;
};

struct clone_request {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
  uint64_t set_tid, set_tid_size, cgroup;
};
#define INTO_CGROUP 0x200000000ULL

static inline int
sys_open_tree(int dir, const char *path, unsigned flags)
{
  return (int)syscall(NR_open_tree, dir, path, flags | TREE_CLONE | O_CLOEXEC);
}

static inline int
sys_move_mount(int tree, int dir, const char *path)
{
  return (int)syscall(NR_move_mount, tree, "", dir, path, MOVE_EMPTY_FROM);
}

/* The same, onto what is open. */
static inline int
sys_move_mount_onto(int tree, int place)
{
  return (int)syscall(NR_move_mount, tree, "", place, "", MOVE_EMPTY_FROM | MOVE_EMPTY_TO);
}

/* Sets flags on a whole detached tree and cuts it off from the host's mounts;
 * with the descriptor of a user namespace, owners are seen through its map. */
static inline int
sys_tree_protect(int tree, uint64_t flags, int ids)
{
  struct mount_attributes a = {.set = flags, .propagation = MS_PRIVATE};
  if (ids >= 0) {
    a.set |= ATTR_IDMAP;
    a.userns_fd = (uint64_t)ids;
  }
  return (int)syscall(NR_mount_setattr, tree, "", AT_EMPTY_PATH | TREE_RECURSIVE, &a, sizeof a);
}

static inline int
sys_close_range(unsigned first, unsigned flags)
{
  return (int)syscall(NR_close_range, first, ~0u, flags);
}

/* "what name" into a fixed text. */
static inline void
step_name(char *to, size_t room, const char *what, const char *name)
{
  size_t n = 0;
  for (; *what && n + 2 < room; what++)
    to[n++] = *what;
  if (*name && n + 2 < room)
    to[n++] = ' ';
  for (; *name && n + 1 < room; name++)
    to[n++] = *name;
  to[n] = '\0';
}

#endif
