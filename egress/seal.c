/* SPDX-License-Identifier: Apache-2.0
 *
 * seal.c - giving up rights; see seal.h.
 *
 * No file can be opened afterwards, by two walls: Landlock without a single
 * rule, and a filter without the system calls.  AddressSanitizer needs both
 * files and memory, so a build with it has neither wall.
 */
#include "egress/seal.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "egress/seccomp_filter.h" /* made by the build */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool sanitized = true;
#else
static const bool sanitized = false;
#endif

enum { MEMORY_BYTES = 1 << 30, OTHER_FDS = 256 };

static int
limit(int what, rlim_t most, const char *name, csn_err *err)
{
  struct rlimit now, to = {most, most};
  if (getrlimit((__rlimit_resource_t)what, &now) == 0 && now.rlim_max < most)
    to = (struct rlimit){now.rlim_max, now.rlim_max};
  if (setrlimit((__rlimit_resource_t)what, &to) < 0)
    return csn_fail_errno(err, "limit %s", name);
  return 0;
}

static int
set_limits(int64_t max_connections, csn_err *err)
{
  int rc = limit(RLIMIT_NOFILE, (rlim_t)max_connections * 3 + OTHER_FDS, "descriptors", err);
  if (rc >= 0)
    rc = limit(RLIMIT_CORE, 0, "core files", err);
  if (rc >= 0)
    rc = limit(RLIMIT_FSIZE, 0, "file sizes", err);
  if (rc >= 0 && !sanitized)
    rc = limit(RLIMIT_NPROC, 0, "processes", err);
  if (rc >= 0 && !sanitized)
    rc = limit(RLIMIT_AS, MEMORY_BYTES, "memory", err);
  return rc;
}

static int
drop_capabilities(csn_err *err)
{
  struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {{0}};
  for (int cap = 0; cap < 64; cap++)
    if (prctl(PR_CAPBSET_DROP, cap) < 0)
      break; /* past the last one, or not ours to drop: then there is none to gain */
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (syscall(SYS_capset, &head, none) < 0)
    return csn_fail_errno(err, "drop the capabilities");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return csn_fail_errno(err, "set no_new_privs");
  return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? csn_fail_errno(err, "be no file to debug") : 0;
}

/* Rights of Landlock by the ABI that brought them. */
struct ruleset {
  uint64_t files, net, scoped;
};
enum { CREATE_VERSION = 1, BIND_TCP = 1, SCOPE_ALL = 3 };

static int
shut_off_files(csn_err *err)
{
  long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
  if (abi <= 0)
    return 0;
  struct ruleset r = {.files = (1u << 13) - 1, .net = BIND_TCP, .scoped = SCOPE_ALL};
  if (abi >= 2)
    r.files |= 1u << 13;
  if (abi >= 3)
    r.files |= 1u << 14;
  if (abi >= 5)
    r.files |= 1u << 15;
  size_t size = abi >= 6 ? sizeof r : abi >= 4 ? offsetof(struct ruleset, scoped) : sizeof r.files;
  int rules = (int)syscall(SYS_landlock_create_ruleset, &r, size, 0);
  if (rules < 0 || syscall(SYS_landlock_restrict_self, rules, 0) < 0)
    return csn_fail_errno(err, "shut files off by Landlock");
  close(rules);
  return 0;
}

int
csn_egress_seal(int64_t max_connections, csn_err *err)
{
  struct sock_fprog program = {.len = sizeof egress_filter / sizeof *egress_filter,
                               .filter = (struct sock_filter *)(uintptr_t)egress_filter};
  int rc = set_limits(max_connections, err);
  if (rc >= 0)
    rc = drop_capabilities(err);
  if (rc < 0 || sanitized)
    return rc;
  rc = shut_off_files(err);
  if (rc >= 0 && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
    rc = csn_fail_errno(err, "load the seccomp filter");
  return rc;
}
