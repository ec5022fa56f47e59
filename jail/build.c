/* SPDX-License-Identifier: Apache-2.0
 *
 * build.c - the order of steps from a cloned process to the warden.
 *
 * The process starts with all capabilities over its new user namespace and
 * none over the host.  It waits until the spawner has written its user ids,
 * leaves the host's network, IPC, host name and control group view, builds
 * its root file system, sets the limits every command inherits and executes
 * the warden, which seals itself.  No byte of the sandbox is read here.
 */
#include "jail/build.h"

#include <grp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "jail/network.h"
#include "jail/sys.h"

#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

_Noreturn void
csn_jail_fail(const char *what, const char *name)
{
  csn_jail_note note = {.kind = CSN_JAIL_FAILED, .error = errno ? errno : EIO};
  step_name(note.step, sizeof note.step, what, name);
  (void)!send(CSN_JAIL_CONTROL, &note, sizeof note, MSG_NOSIGNAL);
  _exit(1);
}

/* Puts the plan's descriptors to their numbers and closes all others. */
static void
place_descriptors(struct csn_jail_plan *plan)
{
  for (int i = CSN_JAIL_CONTROL; i < CSN_JAIL_FDS; i++)
    if (plan->fds[i] > 0)
      plan->fds[i] = fcntl(plan->fds[i], F_DUPFD_CLOEXEC, CSN_JAIL_FDS);
  for (int i = CSN_JAIL_CONTROL; i < CSN_JAIL_FDS; i++) {
    bool kept = i == CSN_JAIL_CONTROL || i == CSN_JAIL_LIFE || i == CSN_JAIL_LOCK;
    if (plan->fds[i] <= 0) {
      close(i);
      plan->fds[i] = -1;
    } else if (dup3(plan->fds[i], i, kept ? 0 : O_CLOEXEC) < 0) {
      csn_jail_fail("place the descriptors", "");
    } else {
      plan->fds[i] = i;
    }
  }
  sys_close_range(CSN_JAIL_FDS, 0);
}

static void
raise_loopback(void)
{
  struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0)
    csn_jail_fail("raise the loopback interface", "");
  close(fd);
}

/* -1 leaves what the harness has. */
static void
set_limit(int resource, const char *name, int64_t soft, int64_t hard)
{
  struct rlimit now;
  if (getrlimit(resource, &now) < 0)
    csn_jail_fail("read the limit of", name);
  if (hard >= 0 && (rlim_t)hard < now.rlim_max)
    now.rlim_max = (rlim_t)hard;
  if (soft >= 0)
    now.rlim_cur = (rlim_t)soft;
  if (now.rlim_cur > now.rlim_max)
    now.rlim_cur = now.rlim_max;
  if (setrlimit(resource, &now) < 0)
    csn_jail_fail("limit", name);
}

static void
set_limits(const struct csn_jail_plan *plan)
{
  const csn_jail_limits *l = &plan->open.limits;
  /* With one user id the warden is counted, too. */
  int64_t processes = l->pids < 0 ? -1 : l->pids + !plan->ranged;
  set_limit(RLIMIT_NOFILE, "open files", l->open_files, l->most_open_files);
  set_limit(RLIMIT_NPROC, "processes", processes, processes);
  set_limit(RLIMIT_FSIZE, "file size", l->file_size, l->file_size);
  set_limit(RLIMIT_DATA, "writable memory", l->data, l->data);
  set_limit(RLIMIT_CORE, "core files", 1, 1); /* no file; see also jail/seccomp_gen.c */
  set_limit(RLIMIT_MSGQUEUE, "message queues", 0, 0);
  set_limit(RLIMIT_STACK, "stack", 8 << 20, 64 << 20);
  set_limit(RLIMIT_MEMLOCK, "locked memory", 64 << 10, 64 << 10);
  set_limit(RLIMIT_NICE, "priority", 0, 0);
  set_limit(RLIMIT_RTPRIO, "real-time priority", 0, 0);
  set_limit(RLIMIT_SIGPENDING, "queued signals", 1024, 1024);
}

/* Waits until the user ids are written; ends with the spawner. */
static void
await_ids(const struct csn_jail_plan *plan)
{
  char go;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (read(CSN_JAIL_LIFE, &go, 1) != 1)
    _exit(1);
  if (!plan->ranged)
    return;
  if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
    csn_jail_fail("become user 0 of the jail", "");
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of ids had cleared it */
}

_Noreturn void
csn_jail_build(struct csn_jail_plan *plan)
{
  char *argv[] = {"caisson-warden", plan->ranged ? "ranged" : "single", plan->open.root, NULL};
  char *envp[] = {NULL};
  place_descriptors(plan);
  await_ids(plan);
  if (unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP) < 0)
    csn_jail_fail("make network, ipc, uts and cgroup namespaces", "");
  umask(022);
  raise_loopback();
  if (plan->open.networked)
    csn_jail_network(&plan->open);
  csn_jail_mounts(plan);
  if (sethostname("caisson", 7) < 0)
    csn_jail_fail("set the host name", "");
  setsid();
  set_limits(plan);
  syscall(SYS_execveat, CSN_JAIL_WARDEN, "", argv, envp, AT_EMPTY_PATH);
  csn_jail_fail("execute the warden", "");
}
