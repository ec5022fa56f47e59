/* SPDX-License-Identifier: Apache-2.0
 *
 * build.c - the order of steps from a cloned process to the warden.
 *
 * The process starts as user 0 of a user namespace (or as the one user there
 * is), with all capabilities over the jail's namespaces and none over the
 * host, and with the skeleton as its root.  It adds what is the jail's own,
 * sets the limits every command inherits, and becomes the warden, which seals
 * itself.  No byte of the sandbox is read here.
 */
#include "jail/build.h"

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
#include "jail/warden.h"
#include "jail/words.h"

static csn_jail_note *listener;

void
csn_jail_tell(csn_jail_note *note)
{
  listener = note;
}

_Noreturn void
csn_jail_fail(const char *what, const char *name)
{
  csn_jail_note note = {.kind = CSN_JAIL_FAILED, .error = errno ? errno : EIO};
  step_name(note.step, sizeof note.step, what, name);
  if (listener)
    *listener = note;
  else
    (void)!send(CSN_JAIL_CONTROL, &note, sizeof note, MSG_NOSIGNAL);
  _exit(1);
}

bool
csn_jail_read(void *to, size_t n)
{
  for (char *p = to; n;) {
    ssize_t got = read(CSN_JAIL_CONTROL, p, n);
    if (got == 0 || (got < 0 && errno != EINTR))
      return false;
    if (got > 0) {
      p += got;
      n -= (size_t)got;
    }
  }
  return true;
}

bool
csn_jail_hand_over(int kind, const int *fds, size_t n)
{
  csn_jail_note note = {.kind = kind};
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(CSN_JAIL_LISTENERS_MAX * sizeof(int))];
  } c = {.head = {.cmsg_len = CMSG_LEN(n * sizeof(int)),
                  .cmsg_level = SOL_SOCKET,
                  .cmsg_type = SCM_RIGHTS}};
  struct iovec iov = {&note, sizeof note};
  struct msghdr m = {.msg_iov = &iov,
                     .msg_iovlen = 1,
                     .msg_control = &c,
                     .msg_controllen = CMSG_SPACE(n * sizeof(int))};
  memcpy(CMSG_DATA(&c.head), fds, n * sizeof *fds);
  return sendmsg(CSN_JAIL_CONTROL, &m, MSG_NOSIGNAL) == sizeof note;
}

/* Puts the plan's descriptors to their numbers and closes all others. */
static void
place_descriptors(struct csn_jail_plan *plan)
{
  for (int i = CSN_JAIL_CONTROL; i < CSN_JAIL_FDS; i++)
    if (plan->fds[i] > 0)
      plan->fds[i] = fcntl(plan->fds[i], F_DUPFD_CLOEXEC, CSN_JAIL_FDS);
  for (int i = CSN_JAIL_CONTROL; i < CSN_JAIL_FDS; i++) {
    if (plan->fds[i] <= 0) {
      close(i);
      plan->fds[i] = -1;
    } else if (dup3(plan->fds[i], i, O_CLOEXEC) < 0) {
      csn_jail_fail("place the descriptors", "");
    } else {
      plan->fds[i] = i;
    }
  }
  sys_close_range(CSN_JAIL_FDS, 0);
}

bool
csn_jail_loopback(void)
{
  struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  bool is_up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
  if (fd >= 0)
    close(fd);
  return is_up;
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
  set_limit(RLIMIT_NOFILE, "open files", l->open_files, l->most_open_files);
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

/* Counted for each user namespace, and what is in force when one is made binds
 * all of its parent's: so the warden asks for it once it is in the last. */
void
csn_jail_limit_processes(const struct csn_jail_plan *plan)
{
  const csn_jail_limits *l = &plan->open.limits;
  /* With one user id the warden is counted, too. */
  int64_t processes = l->pids < 0 ? -1 : l->pids + !plan->ranged;
  set_limit(RLIMIT_NPROC, "processes", processes, processes);
}

/* What an order brings to a warm jail. */
static const int brought[] = {CSN_JAIL_CONTROL, CSN_JAIL_LOCK, CSN_JAIL_WORKSPACE};
enum { BROUGHT = sizeof brought / sizeof *brought };

/* Until it comes, nothing else may have those numbers. */
static void
reserve_descriptors(void)
{
  for (size_t i = 0; i < BROUGHT; i++)
    if (dup3(CSN_JAIL_ORDERS, brought[i], O_CLOEXEC) < 0)
      csn_jail_fail("place the descriptors", "");
}

/* What a warm jail waits for. */
static void
await_order(struct csn_jail_plan *plan)
{
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof brought)];
  } c;
  uint32_t with = 0;
  int fds[BROUGHT];
  size_t at = 0;
  struct iovec iov = {&with, sizeof with};
  struct msghdr m = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
  if (recvmsg(CSN_JAIL_ORDERS, &m, MSG_CMSG_CLOEXEC) != sizeof with)
    _exit(1); /* the spawner has gone */
  size_t n = csn_fds_take(&m, fds, BROUGHT);
  if (n == SIZE_MAX)
    _exit(1);
  for (size_t i = 0; i < n; i++) { /* out of the way of each other */
    int high = fcntl(fds[i], F_DUPFD_CLOEXEC, CSN_JAIL_FDS);
    close(fds[i]);
    fds[i] = high;
  }
  for (size_t i = 0; i < BROUGHT; i++) {
    close(brought[i]);
    if (with & CSN_JAIL_WITH(brought[i]) && at < n) {
      plan->fds[brought[i]] = dup3(fds[at], brought[i], O_CLOEXEC);
      close(fds[at++]);
    }
  }
  close(CSN_JAIL_ORDERS);
}

void
csn_jail_finish(struct csn_jail_plan *plan)
{
  if (plan->fds[CSN_JAIL_ORDERS] > 0)
    await_order(plan);
  csn_jail_graft(plan);
}

_Noreturn void
csn_jail_build(struct csn_jail_plan *plan)
{
  place_descriptors(plan);
  if (plan->fds[CSN_JAIL_ORDERS] > 0)
    reserve_descriptors();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_DUMPABLE, 1); /* as long as our own files of /proc must be ours */
  umask(022);
  if (sethostname("caisson", 7) < 0)
    csn_jail_fail("set the host name", "");
  if (!plan->spare && !csn_jail_loopback())
    csn_jail_fail("raise the loopback interface", "");
  if (plan->open.networked)
    csn_jail_network(&plan->open);
  csn_jail_mounts(plan);
  if (plan->open.networked)
    csn_jail_trust();
  setsid();
  set_limits(plan);
  csn_warden_run(plan);
}
