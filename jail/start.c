/* SPDX-License-Identifier: Apache-2.0
 *
 * start.c - makes processes in namespaces that the spawner is not in.
 *
 * A helper shares the spawner's memory and descriptors, and the spawner waits
 * for it.  It joins what the first process is to have (network, template,
 * user ids) and clones that as the spawner's child.  So joining costs a few
 * microseconds for each jail, and the spawner stays where it is.
 */
#include "jail/start.h"

#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "jail/sys.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

enum { HELPER_STACK = 256 * 1024 };

/* Runs `go` beside us and waits for its end; the processes it clones with
 * CLONE_PARENT are ours. */
static int
beside(int (*go)(void *), void *arg, unsigned long more, char *stack)
{
  int status;
  pid_t pid = clone(go, stack + HELPER_STACK,
                    (int)(CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD | more), arg);
  if (pid < 0)
    return -1;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
    continue;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* Becomes user 0 of a range.  Without one we have all that is needed, and the
 * warden goes where the commands are at the end. */
static bool
enter_ids(const struct csn_ids *ids)
{
  return !ids->base || (setns(ids->users, CLONE_NEWUSER) == 0 && setgroups(0, NULL) == 0 &&
                        setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0);
}

/* ---- home ---- */

static const char *
make_blank(struct csn_home *home)
{
  if (unshare(CLONE_NEWNS) < 0)
    return "make user, process and mount namespaces";
  const char *failed = NULL;
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
      mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
            "size=4k,nr_inodes=1,mode=555") < 0 ||
      mount(NULL, "/tmp", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
            NULL) < 0 ||
      chdir("/tmp") < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
    failed = "make the blank mount namespace";
  else if ((home->blank = openat(home->proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC)) < 0)
    failed = "hold the blank mount namespace";
  int e = errno;
  if (setns(home->mounts, CLONE_NEWNS) < 0)
    _exit(1);
  errno = e;
  return failed;
}

const char *
csn_home_open(struct csn_home *home)
{
  const char *failed;
  if (home->blank > 0)
    return NULL;
  if (home->proc <= 0) {
    home->ranged = geteuid() == 0 && csn_ids_exist();
    home->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (home->proc < 0)
      return "open /proc";
  }
  if (home->mounts <= 0) {
    failed = home->ranged ? NULL : csn_ids_single();
    if (failed)
      return failed;
    home->mounts = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (home->mounts < 0)
      return "hold the mount namespace";
  }
  failed = make_blank(home);
  home->ids.blank = home->blank;
  home->ids.ranged = home->ranged;
  return failed;
}

/* ---- templates ---- */

struct making {
  const char *root;
  const struct csn_ids *ids;
  int rootfs;
  int mounts; /* what comes of it */
};

static int
make_skeleton(void *arg)
{
  struct making *m = arg;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  umask(022);
  /* The skeleton closes it, and we share the spawner's descriptors. */
  csn_jail_skeleton(m->root, m->rootfs < 0 ? -1 : fcntl(m->rootfs, F_DUPFD_CLOEXEC, 0));
  m->mounts = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
  if (m->mounts < 0)
    csn_jail_fail("hold the template", "");
  _exit(0);
}

/* Not as root of the host: a rootfs may be anybody's work. */
static int
make_template(void *arg)
{
  static _Alignas(16) char stack[HELPER_STACK];
  struct making *m = arg;
  if (!enter_ids(m->ids))
    csn_jail_fail("become user 0 of the jail", "");
  if (beside(make_skeleton, m, CLONE_NEWNS | CLONE_NEWPID, stack) < 0)
    csn_jail_fail("make user, process and mount namespaces", "");
  _exit(0);
}

static int
build(struct csn_home *home, const char *root, int rootfs, csn_jail_note *why)
{
  static _Alignas(16) char stack[HELPER_STACK];
  const char *failed = NULL;
  struct csn_ids *ids = csn_ids_take(&home->ids, false, &failed);
  struct making m = {.root = root, .ids = ids, .rootfs = rootfs, .mounts = -1};
  if (failed) {
    why->error = errno;
    step_name(why->step, sizeof why->step, failed, "");
  } else {
    csn_jail_tell(why);
    if (beside(make_template, &m, 0, stack) < 0)
      step_name(why->step, sizeof why->step, "start a process", "");
    csn_jail_tell(NULL);
    if (m.mounts < 0 && !why->error)
      why->error = errno ? errno : EIO;
  }
  csn_ids_drop(ids);
  return m.mounts;
}

static void
forget(struct csn_template **at)
{
  struct csn_template *t = *at;
  *at = t->next;
  close(t->mounts);
  free(t);
}

struct csn_template *
csn_template_find(struct csn_home *home, struct csn_template **list, const char *root, int rootfs,
                  csn_jail_note *why)
{
  enum { MOST = 16 };
  struct stat st;
  size_t n = 0;
  if ((rootfs >= 0 ? fstat(rootfs, &st) : stat("/etc", &st)) < 0)
    memset(&st, 0, sizeof st);
  for (struct csn_template **at = list, *t; (t = *at); n++) {
    bool same = t->is_host == (rootfs < 0) && t->device == st.st_dev && t->number == st.st_ino &&
                strcmp(t->root, root) == 0;
    if (same && t->changed.tv_sec == st.st_mtim.tv_sec &&
        t->changed.tv_nsec == st.st_mtim.tv_nsec) {
      *at = t->next;
      t->next = *list;
      return *list = t;
    }
    if (same || n == MOST)
      forget(at);
    else
      at = &t->next;
  }
  struct csn_template *t = calloc(1, sizeof *t);
  if (!t) {
    why->error = ENOMEM;
    return NULL;
  }
  t->mounts = build(home, root, rootfs, why);
  if (t->mounts < 0) {
    free(t);
    return NULL;
  }
  t->is_host = rootfs < 0;
  t->device = st.st_dev;
  t->number = st.st_ino;
  t->changed = st.st_mtim;
  memcpy(t->root, root, strlen(root) + 1);
  t->next = *list;
  return *list = t;
}

/* ---- spare namespaces ---- */

static int
make_spare(void *arg)
{
  struct csn_spare *spare = arg;
  if (unshare(CLONE_NEWNET | CLONE_NEWIPC) < 0)
    csn_jail_fail("make network and ipc namespaces", "");
  csn_jail_raise_loopback();
  spare->net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  spare->ipc = open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC);
  _exit(0);
}

bool
csn_spare_make(struct csn_spare *spare)
{
  static _Alignas(16) char stack[HELPER_STACK];
  csn_jail_note note;
  *spare = (struct csn_spare){-1, -1};
  csn_jail_tell(&note);
  beside(make_spare, spare, 0, stack);
  csn_jail_tell(NULL);
  if (spare->net >= 0 && spare->ipc >= 0)
    return true;
  csn_spare_drop(spare);
  return false;
}

void
csn_spare_drop(struct csn_spare *spare)
{
  if (spare->net >= 0)
    close(spare->net);
  if (spare->ipc >= 0)
    close(spare->ipc);
  *spare = (struct csn_spare){-1, -1};
}

/* ---- jails ---- */

struct cloning {
  const struct csn_template *t;
  const struct csn_ids *ids;
  const struct csn_spare *spare;
  struct csn_jail_plan *plan;
  pid_t pid;
  int pidfd, error;
};

/* What the first process is to inherit is done here; then come its own
 * namespaces. */
static int
clone_first(void *arg)
{
  struct cloning *c = arg;
  unsigned long flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_PARENT |
                        CLONE_PIDFD | SIGCHLD;
  bool joined = true;
  if (c->spare)
    joined = setns(c->spare->net, CLONE_NEWNET) == 0 && setns(c->spare->ipc, CLONE_NEWIPC) == 0;
  else
    flags |= CLONE_NEWNET | CLONE_NEWIPC;
  if (joined && setns(c->t->mounts, CLONE_NEWNS) == 0 && enter_ids(c->ids))
    c->pid = (pid_t)syscall(SYS_clone, flags, NULL, &c->pidfd, NULL, 0);
  if (c->pid == 0)
    csn_jail_build(c->plan);
  c->error = errno;
  _exit(0);
}

/* Only clone3(2) puts a process into a control group, and only we may.  The
 * helper has a copy of our memory then, as it cannot be given a stack from
 * here; what it found out it writes to a shared page. */
static int
beside_in_group(int group, const struct cloning *c, struct cloning *out)
{
  struct clone_request q = {.flags = CLONE_VFORK | CLONE_FILES | INTO_CGROUP,
                            .exit_signal = SIGCHLD,
                            .cgroup = (uint64_t)group};
  struct cloning *shared =
      mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED)
    return -1;
  *shared = *c;
  pid_t pid = (pid_t)syscall(NR_clone3, &q, sizeof q);
  if (pid == 0)
    clone_first(shared);
  int e = errno;
  while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
    continue;
  *out = *shared;
  munmap(shared, sizeof *shared);
  errno = e;
  return pid < 0 ? -1 : 0;
}

pid_t
csn_jail_clone(struct csn_home *home, const struct csn_template *t, const struct csn_ids *ids,
               const struct csn_spare *spare, int group, struct csn_jail_plan *plan, int *pidfd)
{
  static _Alignas(16) char stack[HELPER_STACK];
  struct cloning c = {.t = t, .ids = ids, .spare = spare, .plan = plan, .pid = -1, .pidfd = -1};
  plan->ranged = home->ranged;
  plan->spare = spare;
  plan->fds[CSN_JAIL_BLANK] = ids->blank;
  plan->fds[CSN_JAIL_USERS] = ids->users;
  if ((group >= 0 ? beside_in_group(group, &c, &c) : beside(clone_first, &c, 0, stack)) < 0)
    return -1;
  *pidfd = c.pidfd;
  errno = c.error;
  return c.pid;
}
