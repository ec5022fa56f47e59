/* SPDX-License-Identifier: Apache-2.0
 *
 * seal.c - the warden's seal: user namespace, capabilities, Landlock, seccomp.
 *
 * The order matters.  With one user id, a second user namespace is entered
 * first, so that nobody inside, not even with a capability there, has one over
 * the jail's mounts and network.  Then capabilities go, no_new_privs is set,
 * and last comes seccomp.  The filters are made at build time by
 * jail/seccomp_gen.c and are loaded once for each jail: commands inherit them.
 */
#include "jail/seal.h"

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "jail/proto.h"
#include "jail/seccomp_filters.h" /* made by the build */
#include "jail/sys.h"

/* ---- capabilities ---- */

static void
drop_capabilities(bool ranged)
{
  uint32_t kept = ranged ? 1u << CAP_KILL | 1u << CAP_SETUID | 1u << CAP_SETGID : 0;
  struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct caps[2] = {{.effective = kept, .permitted = kept}};
  for (int cap = 0; cap < 64; cap++)
    if (prctl(PR_CAPBSET_DROP, cap) < 0) {
      if (errno == EINVAL)
        break; /* past the last one of this kernel */
      csn_jail_fail("drop the bounding capabilities", "");
    }
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (syscall(SYS_capset, &head, caps) < 0)
    csn_jail_fail("drop the capabilities", "");
}

/* ---- Landlock ---- */

enum {
  LL_EXECUTE = 1 << 0,
  LL_WRITE_FILE = 1 << 1,
  LL_READ_FILE = 1 << 2,
  LL_READ_DIR = 1 << 3,
  LL_ALL_V1 = (1 << 13) - 1,
  LL_REFER = 1 << 13,
  LL_TRUNCATE = 1 << 14,
  LL_IOCTL_DEV = 1 << 15,
  LL_MAKE_CHAR = 1 << 6,
  LL_MAKE_BLOCK = 1 << 11,
  LL_RULE_PATH = 1,
};

struct path_rule {
  uint64_t access;
  int32_t fd;
} __attribute__((packed));

static void
allow_beneath(int rules, const char *path, uint64_t access)
{
  struct path_rule r = {.access = access, .fd = open(path, O_PATH | O_CLOEXEC)};
  if (r.fd < 0 || syscall(NR_landlock_add_rule, rules, LL_RULE_PATH, &r, 0) < 0)
    csn_jail_fail("allow by Landlock", path);
  close(r.fd);
}

/* A second wall behind the mounts: reading everywhere, writing only where the
 * mounts are writable, device files nowhere. */
static int
restrict_files(const char *root)
{
  uint64_t handled = LL_ALL_V1;
  long abi = syscall(NR_landlock_create_ruleset, NULL, 0, 1);
  if (abi <= 0)
    return 0;
  if (abi >= 2)
    handled |= LL_REFER;
  if (abi >= 3)
    handled |= LL_TRUNCATE;
  if (abi >= 5)
    handled |= LL_IOCTL_DEV;
  int rules = (int)syscall(NR_landlock_create_ruleset, &handled, sizeof handled, 0);
  if (rules < 0)
    csn_jail_fail("make Landlock rules", "");
  uint64_t own = handled & ~(uint64_t)(LL_MAKE_CHAR | LL_MAKE_BLOCK);
  const char *const writable[] = {root, "/tmp", CSN_JAIL_HOME, "/dev/shm"};
  allow_beneath(rules, "/", LL_EXECUTE | LL_READ_FILE | LL_READ_DIR);
  for (size_t i = 0; i < sizeof writable / sizeof *writable; i++)
    allow_beneath(rules, writable[i], own);
  uint64_t special = LL_WRITE_FILE | LL_READ_FILE | (handled & (LL_TRUNCATE | LL_IOCTL_DEV));
  allow_beneath(rules, "/dev", special);
  allow_beneath(rules, "/proc", special);
  if (syscall(NR_landlock_restrict_self, rules, 0) < 0)
    csn_jail_fail("apply Landlock rules", "");
  close(rules);
  return (int)abi;
}

/* ---- seccomp ---- */

static void
load_filter(const struct sock_filter *code, size_t n)
{
  struct sock_fprog program = {.len = (unsigned short)n,
                               .filter = (struct sock_filter *)(uintptr_t)code};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
    csn_jail_fail("load the seccomp filter", "");
}

int
csn_jail_seal(const struct csn_jail_plan *plan)
{
  if (!plan->ranged && setns(plan->fds[CSN_JAIL_USERS], CLONE_NEWUSER) < 0)
    csn_jail_fail("enter the commands' user namespace", "");
  csn_jail_limit_processes(plan);
  drop_capabilities(plan->ranged);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    csn_jail_fail("set no_new_privs", "");
  int landlock = restrict_files(plan->open.root);
  prctl(PR_SET_DUMPABLE, 0);
  load_filter(deny_filter, sizeof deny_filter / sizeof *deny_filter);
  load_filter(allow_filter, sizeof allow_filter / sizeof *allow_filter);
  return landlock;
}
