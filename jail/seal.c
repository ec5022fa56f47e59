/* SPDX-License-Identifier: Apache-2.0
 *
 * seal.c - the warden's seal: user namespace, capabilities, Landlock, seccomp.
 *
 * The order matters.  Before the workspace is in place go the capabilities but
 * those that this takes, and come no_new_privs and the long seccomp filters,
 * which leave four calls open: so a warm jail has most of it behind itself and
 * waits with little.  After the graft, with one user id, a second user namespace
 * is entered, so that nobody inside, not even with a capability there, has one
 * over the jail's mounts and network; the last capabilities and calls go, and
 * Landlock rules begin.  The filters are made at build time by
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
#include <sys/stat.h>

#include "jail/grants.h"
#include "jail/landlock.h"
#include "jail/proto.h"
#include "jail/seccomp_filters.h" /* made by the build */
#include "jail/sys.h"

/* ---- capabilities ---- */

static void
keep_capabilities(uint32_t kept)
{
  struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct caps[2] = {{.effective = kept, .permitted = kept}};
  if (syscall(SYS_capset, &head, caps) < 0)
    csn_jail_fail("drop the capabilities", "");
}

static void
drop_bounding_set(uint32_t but)
{
  for (int cap = 0; cap < 64; cap++)
    if ((cap > 31 || !(but >> cap & 1)) && prctl(PR_CAPBSET_DROP, cap) < 0) {
      if (errno == EINVAL)
        break; /* past the last one of this kernel */
      csn_jail_fail("drop the bounding capabilities", "");
    }
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

/* ---- Landlock ---- */

/* Device files are made nowhere. */
#define NO_NODES ((uint64_t)(LL_MAKE_CHAR | LL_MAKE_BLOCK))

static void
allow_beneath(int rules, const char *path, uint64_t access)
{
  int fd = open(path, O_PATH | O_CLOEXEC);
  if (!csn_landlock_allow(rules, fd, access))
    csn_jail_fail("allow by Landlock", path);
  close(fd);
}

struct rules {
  int abi, fd; /* 0 and -1: this kernel has no Landlock */
  uint64_t handled;
};

/* A second wall behind the mounts: reading everywhere, writing only where the
 * mounts are writable (in a build the mounts alone say where that is), device
 * files nowhere.  All but the workspace. */
static struct rules
make_rules(bool is_build)
{
  static const char *const writable[] = {"/tmp", CSN_JAIL_HOME, "/dev/shm"};
  struct rules r = {.fd = -1};
  r.abi = csn_landlock_version(&r.handled);
  if (r.abi == 0)
    return r;
  r.fd = csn_landlock_new(r.handled);
  if (r.fd < 0)
    csn_jail_fail("make Landlock rules", "");
  allow_beneath(r.fd, "/",
                is_build ? r.handled & ~NO_NODES : LL_EXECUTE | LL_READ_FILE | LL_READ_DIR);
  for (size_t i = 0; i < sizeof writable / sizeof *writable; i++)
    allow_beneath(r.fd, writable[i], r.handled & ~NO_NODES);
  uint64_t special = LL_WRITE_FILE | LL_READ_FILE | (r.handled & (LL_TRUNCATE | LL_IOCTL_DEV));
  allow_beneath(r.fd, "/dev", special);
  allow_beneath(r.fd, "/proc", special);
  return r;
}

/* A file, where rules about folders say nothing. */
static void
allow_granted(void *user, const char *path)
{
  const struct rules *r = user;
  struct stat st;
  bool is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
  allow_beneath(r->fd, path, r->handled & ~NO_NODES & (is_folder ? ~0ull : LL_OF_FILES));
}

static void
restrict_files(struct rules *r, const struct csn_jail_plan *plan)
{
  if (r->fd < 0)
    return;
  allow_beneath(r->fd, plan->open.root, r->handled & ~NO_NODES);
  csn_granted_writable(plan, allow_granted, r);
  if (plan->open.mounts) /* a mount says itself whether it may be written to */
    allow_beneath(r->fd, "/mnt", r->handled & ~NO_NODES);
  if (!csn_landlock_apply(r->fd))
    csn_jail_fail("apply Landlock rules", "");
  close(r->fd);
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

/* ---- all of it ---- */

int
csn_jail_seal(struct csn_jail_plan *plan, void (*graft)(struct csn_jail_plan *))
{
  /* What it takes to install packages: to give files to others. */
  const uint32_t installs = 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_FOWNER |
                            1u << CAP_FSETID | 1u << CAP_KILL | 1u << CAP_SETUID | 1u << CAP_SETGID;
  bool is_build = plan->open.is_build;
  uint32_t given = plan->ranged && is_build ? installs : 0;
  uint32_t own = given | (plan->ranged ? 1u << CAP_KILL | 1u << CAP_SETUID | 1u << CAP_SETGID : 0);
  drop_bounding_set(given);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    csn_jail_fail("set no_new_privs", "");
  keep_capabilities(own | 1u << CAP_SYS_ADMIN | 1u << CAP_SYS_CHROOT);
  struct rules rules = make_rules(is_build);
  if (is_build)
    load_filter(deny_build_filter, sizeof deny_build_filter / sizeof *deny_build_filter);
  else
    load_filter(deny_filter, sizeof deny_filter / sizeof *deny_filter);
  load_filter(allow_filter, sizeof allow_filter / sizeof *allow_filter);
  graft(plan);
  if (!plan->ranged) {
    if (setns(plan->fds[CSN_JAIL_USERS], CLONE_NEWUSER) < 0)
      csn_jail_fail("enter the commands' user namespace", "");
    drop_bounding_set(0); /* that had filled it again */
  }
  csn_jail_limit_processes(plan);
  keep_capabilities(own);
  restrict_files(&rules, plan);
  prctl(PR_SET_DUMPABLE, 0);
  load_filter(end_filter, sizeof end_filter / sizeof *end_filter);
  return rules.abi;
}
