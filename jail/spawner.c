/* SPDX-License-Identifier: Apache-2.0
 *
 * spawner.c - the process that makes jails for one harness: single-threaded,
 * small, started from a sealed memfd with nothing of the harness in it.
 *
 * It clones the first process of each jail (jail/build.c does the rest in
 * there), writes the jail's user id map, hands the harness a pidfd and
 * remembers the lock that belongs to the jail until the kernel reports that
 * its last process has ended.
 *
 * When the harness closes the socket or dies by whatever signal, every jail is
 * killed before the spawner ends.  When the spawner is killed, the life pipes
 * and PDEATHSIG end the jails.
 */
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "jail/build.h"
#include "jail/cgroup.h"
#include "jail/sys.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif

struct jail {
  pid_t pid;
  int lock; /* -1: none */
  int life; /* write end; its closing tells the warden that we are gone, and
               the harness that the jail has ended and the lock is free */
  struct csn_cgroup group;
  int64_t deadline_ms; /* when its wall time is over; INT64_MAX: never */
  bool is_late;
};

struct spawner {
  struct jail *jails;
  size_t n, room;
  bool ranged; /* root of this machine: jails get user ids of their own */
  struct csn_cgroups groups;
};

struct request {
  csn_jail_open open;
  int fds[CSN_JAIL_GIVEN]; /* by number; -1: not there */
};

static void
close_fd(int fd)
{
  if (fd >= 0)
    close(fd);
}

/* ---- user ids ---- */

static bool
write_text(const char *path, const char *text)
{
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return false;
  size_t n = strlen(text);
  bool done = write(fd, text, n) == (ssize_t)n;
  int e = errno;
  close(fd);
  errno = e;
  return done;
}

/* The next number of a map's text; stops at its end. */
static unsigned long
take_number(const char **text)
{
  unsigned long value = 0;
  while (**text == ' ' || **text == '\n')
    ++*text;
  for (; **text >= '0' && **text <= '9'; ++*text)
    value = value * 10 + (unsigned long)(**text - '0');
  return value;
}

/* Whether the ids of the jails' range exist in our own user namespace. */
static bool
range_exists(void)
{
  char text[512];
  int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  close_fd(fd);
  text[n > 0 ? n : 0] = '\0';
  for (const char *p = text; *p >= '0' || *p == ' ';) {
    unsigned long first = take_number(&p);
    take_number(&p); /* in the namespace above */
    unsigned long count = take_number(&p);
    if (first <= CSN_JAIL_BASE && first + count >= (unsigned long)CSN_JAIL_BASE + CSN_JAIL_RANGE)
      return true;
    if (*p == '\n')
      p++;
  }
  return false;
}

static size_t
put_number(char *to, unsigned long value)
{
  char digits[24];
  size_t n = 0, at = 0;
  do
    digits[n++] = (char)('0' + value % 10);
  while (value /= 10);
  while (n)
    to[at++] = digits[--n];
  return at;
}

static void
map_line(char *to, unsigned long inside, unsigned long outside, unsigned long count)
{
  size_t n = put_number(to, inside);
  to[n++] = ' ';
  n += put_number(to + n, outside);
  to[n++] = ' ';
  n += put_number(to + n, count);
  to[n++] = '\n';
  to[n] = '\0';
}

static void
proc_path(char *to, pid_t pid, const char *name)
{
  memcpy(to, "/proc/", 6);
  size_t n = 6 + put_number(to + 6, (unsigned long)pid);
  memcpy(to + n, name, strlen(name) + 1);
}

static const char *
write_maps(const struct spawner *s, pid_t pid)
{
  char path[64], uids[80], gids[80];
  if (s->ranged) {
    map_line(uids, 0, CSN_JAIL_BASE, CSN_JAIL_RANGE);
    map_line(gids, 0, CSN_JAIL_BASE, CSN_JAIL_RANGE);
  } else {
    map_line(uids, CSN_JAIL_UID, geteuid(), 1);
    map_line(gids, CSN_JAIL_UID, getegid(), 1);
    proc_path(path, pid, "/setgroups");
    if (!write_text(path, "deny"))
      return "setgroups of the user namespace";
  }
  proc_path(path, pid, "/uid_map");
  if (!write_text(path, uids))
    return "uid_map of the user namespace";
  proc_path(path, pid, "/gid_map");
  if (!write_text(path, gids))
    return "gid_map of the user namespace";
  return NULL;
}

/* ---- one jail ---- */

static bool
remember(struct spawner *s, struct jail j)
{
  if (s->n == s->room) {
    size_t room = s->room ? s->room * 2 : 64;
    struct jail *more = realloc(s->jails, room * sizeof *more);
    if (!more)
      return false;
    s->jails = more;
    s->room = room;
  }
  s->jails[s->n++] = j;
  return true;
}

/* A root harness owns folders that the jail's ids cannot reach, so the trees
 * are cloned here; otherwise the jail opens the same paths itself. */
static const char *
take_trees(const struct spawner *s, struct request *r)
{
  static const struct {
    int fd;
    const char *failed;
  } trees[] = {{CSN_JAIL_WORKSPACE, "clone the mount of the workspace"},
               {CSN_JAIL_ROOTFS, "clone the mount of the rootfs"}};
  int workspace = r->fds[CSN_JAIL_WORKSPACE];
  if (!s->ranged)
    return NULL;
  if (workspace >= 0 &&
      fchown(workspace, CSN_JAIL_BASE + CSN_JAIL_UID, CSN_JAIL_BASE + CSN_JAIL_UID) < 0)
    return "change the owner of the workspace";
  for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
    int *fd = &r->fds[trees[i].fd];
    if (*fd < 0)
      continue;
    int tree = sys_open_tree(*fd, "", AT_EMPTY_PATH | TREE_RECURSIVE);
    if (tree < 0)
      return trees[i].failed;
    close(*fd);
    *fd = tree;
  }
  return NULL;
}

/* The kernel's clone(2) like fork: the child goes on here with a copy.  Only
 * clone3(2) can put it into a control group. */
static pid_t
clone_process(unsigned long flags, int group, int *pidfd)
{
  struct clone_request q = {.flags = flags | CLONE_PIDFD | INTO_CGROUP,
                            .pidfd = (uint64_t)(uintptr_t)pidfd,
                            .exit_signal = SIGCHLD,
                            .cgroup = (uint64_t)group};
  if (group >= 0)
    return (pid_t)syscall(NR_clone3, &q, sizeof q);
  return (pid_t)syscall(SYS_clone, flags | CLONE_PIDFD | SIGCHLD, NULL, pidfd, NULL, 0);
}

/* What the jail may use: decides what was left to us, and sets what groups
 * hold.  Memory that none holds is at least limited for each process, where it
 * was asked for. */
static void
set_limits(const struct spawner *s, const struct csn_cgroup *group, csn_jail_limits *l,
           csn_jail_held *held)
{
  bool asked = l->memory > 0;
  if (l->memory == 0)
    l->memory = (int64_t)(s->groups.available / 4 * 3);
  csn_cgroup_limit(&s->groups, group, l, held);
  l->data = asked && !held->memory ? l->memory : -1;
  if (held->pids && l->pids >= 0)
    l->pids += 64; /* RLIMIT_NPROC stays behind the group, which counts refusals */
  if (!asked && !held->memory)
    l->memory = -1;
}

static int64_t
now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Clones the first process and writes its ids; fds are as the harness gets
 * them.  What failed, with errno. */
static const char *
start_first(struct spawner *s, struct csn_jail_plan *plan, struct jail *j, int fds[2])
{
  int life[2];
  if (pipe2(life, O_CLOEXEC) < 0)
    return "pipe";
  plan->fds[CSN_JAIL_LIFE] = fds[1] = life[0];
  plan->fds[CSN_JAIL_WARDEN] = CSN_SPAWNER_WARDEN;
  j->life = life[1];
  int group = csn_cgroup_target(&s->groups, &j->group);
  j->pid = clone_process(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS, group, &fds[0]);
  if (j->pid == 0)
    csn_jail_build(plan);
  int e = errno;
  close_fd(group);
  errno = e;
  if (j->pid < 0)
    return "make user, process and mount namespaces";
  const char *failed = write_maps(s, j->pid);
  if (!failed && write(life[1], "", 1) != 1)
    failed = "start the first process";
  return failed;
}

static const char *
start_jail(struct spawner *s, struct request *r, csn_jail_opened *a, int fds[4])
{
  struct csn_jail_plan plan = {.ranged = s->ranged, .open = r->open};
  struct jail j = {.pid = -1, .lock = r->fds[CSN_JAIL_LOCK], .life = -1, .deadline_ms = INT64_MAX};
  memcpy(plan.fds, r->fds, sizeof r->fds);
  csn_cgroups_take(&s->groups, &j.group);
  set_limits(s, &j.group, &plan.open.limits, &a->held);
  if (plan.open.limits.wall_ms >= 0)
    j.deadline_ms = now_ms() + plan.open.limits.wall_ms;
  const char *failed = start_first(s, &plan, &j, fds);
  if (!failed && !remember(s, j))
    failed = "remember the jail";
  if (!failed) {
    r->fds[CSN_JAIL_LOCK] = -1; /* the table's now */
    csn_cgroup_events(&s->groups, &j.group, fds + 2);
    return NULL;
  }
  int e = errno;
  if (j.pid > 0) {
    kill(j.pid, SIGKILL);
    waitpid(j.pid, NULL, 0);
  }
  close_fd(j.life);
  csn_cgroup_drop(&s->groups, &j.group);
  errno = e;
  return failed;
}

/* ---- the socket ---- */

static void
answer(csn_jail_opened *a, const int fds[4])
{
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(4 * sizeof(int))];
  } c = {.head = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
  struct iovec iov = {a, sizeof *a};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
  int sent[4];
  size_t n = 0;
  for (size_t i = 0; i < 4 && a->error == 0; i++)
    if (fds[i] >= 0) {
      a->events |= i >= 2 ? 1u << (i - 2) : 0;
      sent[n++] = fds[i];
    }
  if (n) {
    c.head.cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(&c.head), sent, n * sizeof(int));
    m.msg_control = &c;
    m.msg_controllen = CMSG_SPACE(n * sizeof(int));
  }
  (void)!sendmsg(CSN_SPAWNER_SOCKET, &m, MSG_NOSIGNAL);
}

static void
handle(struct spawner *s, struct request *r)
{
  csn_jail_opened a = {.uid = s->ranged ? CSN_JAIL_BASE + CSN_JAIL_UID : -1};
  int fds[4] = {-1, -1, -1, -1};
  const char *failed = take_trees(s, r);
  if (!failed)
    failed = start_jail(s, r, &a, fds);
  if (failed) {
    a.error = errno ? errno : EIO;
    step_name(a.step, sizeof a.step, failed, "");
  }
  answer(&a, fds);
  for (size_t i = 0; i < 4; i++)
    close_fd(fds[i]);
}

/* Puts the descriptors to their numbers; false when they are not those that
 * the request names. */
static bool
sort_fds(struct request *r, const int *fds, size_t count)
{
  size_t at = 0;
  for (int i = CSN_JAIL_CONTROL; i < CSN_JAIL_GIVEN; i++)
    if (r->open.with & CSN_JAIL_WITH(i) && at < count)
      r->fds[i] = fds[at++];
  return at == count && r->fds[CSN_JAIL_CONTROL] >= 0;
}

/* Takes one request; false when the harness has gone. */
static bool
serve(struct spawner *s)
{
  enum { MOST = CSN_JAIL_GIVEN - CSN_JAIL_CONTROL };
  struct request r;
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int) * MOST)];
  } c;
  struct iovec iov = {&r.open, sizeof r.open};
  struct msghdr m = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
  ssize_t n = recvmsg(CSN_SPAWNER_SOCKET, &m, MSG_CMSG_CLOEXEC);
  if (n <= 0)
    return n < 0 && (errno == EINTR || errno == EAGAIN);
  int fds[MOST];
  size_t count = 0;
  struct cmsghdr *h = CMSG_FIRSTHDR(&m);
  if (h && h->cmsg_type == SCM_RIGHTS) {
    count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(h), count * sizeof(int));
  }
  memset(r.fds, -1, sizeof r.fds);
  r.open.root[sizeof r.open.root - 1] = '\0';
  if (n == sizeof r.open && sort_fds(&r, fds, count)) {
    handle(s, &r);
  } else {
    answer(&(csn_jail_opened){.error = EPROTO, .step = "understand the request"}, NULL);
    for (size_t i = 0; i < count; i++)
      close(fds[i]);
    return true;
  }
  for (int i = CSN_JAIL_CONTROL; i < CSN_JAIL_GIVEN; i++)
    close_fd(r.fds[i]);
  return true;
}

/* Says on the life pipe how it was, and gives back what it had. */
static void
bury(struct spawner *s, struct jail *j)
{
  csn_jail_end end = {.is_late = j->is_late};
  csn_cgroup_count(&s->groups, &j->group, &end);
  close_fd(j->lock);
  (void)!write(j->life, &end, sizeof end);
  close_fd(j->life);
  csn_cgroup_drop(&s->groups, &j->group);
}

static void
reap(struct spawner *s, int flags)
{
  pid_t pid;
  while ((pid = waitpid(-1, NULL, flags)) > 0)
    for (size_t i = 0; i < s->n; i++)
      if (s->jails[i].pid == pid) {
        bury(s, &s->jails[i]);
        s->jails[i] = s->jails[--s->n];
        break;
      }
}

/* Ends the jails whose wall time is over; milliseconds to the next such, -1
 * when there is none. */
static int
end_late(struct spawner *s)
{
  int64_t next = INT64_MAX, now = now_ms();
  for (size_t i = 0; i < s->n; i++) {
    struct jail *j = &s->jails[i];
    if (j->deadline_ms <= now) {
      j->is_late = true;
      j->deadline_ms = INT64_MAX;
      kill(j->pid, SIGKILL);
    }
    next = j->deadline_ms < next ? j->deadline_ms : next;
  }
  return next == INT64_MAX ? -1 : next - now > INT32_MAX ? INT32_MAX : (int)(next - now);
}

/* The harness that made our socket; its end must not be missed when its
 * descriptors live on in a process it forked. */
static int
watch_harness(void)
{
  struct ucred peer;
  socklen_t n = sizeof peer;
  if (getsockopt(CSN_SPAWNER_SOCKET, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
    return -1;
  int fd = (int)syscall(SYS_pidfd_open, peer.pid, 0);
  if (fd >= 0 && getppid() != peer.pid)
    _exit(0); /* it has died already and the number may be another's */
  return fd;
}

int
main(void)
{
  struct spawner s = {0};
  sigset_t child, blocked;
  prctl(PR_SET_NAME, "caisson-spawner");
  close(CSN_SPAWNER_IMAGE);
  fcntl(CSN_SPAWNER_SOCKET, F_SETFD, FD_CLOEXEC);
  fcntl(CSN_SPAWNER_WARDEN, F_SETFD, FD_CLOEXEC);
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  blocked = child;
  sigaddset(&blocked, SIGPIPE); /* a harness may have left a life pipe */
  sigprocmask(SIG_SETMASK, &blocked, NULL);
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  s.ranged = geteuid() == 0 && range_exists();
  struct pollfd fds[] = {
      {.fd = CSN_SPAWNER_SOCKET, .events = POLLIN},
      {.fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK), .events = POLLIN},
      {.fd = watch_harness(), .events = POLLIN},
  };
  if (fds[1].fd < 0 || chdir("/") < 0)
    return 1;
  csn_cgroups_open(&s.groups);
  for (bool alive = true, idle = false; alive;) {
    struct signalfd_siginfo info;
    int wait_ms = end_late(&s), ready = poll(fds, 3, idle ? wait_ms : 0);
    if (ready < 0)
      continue;
    if (ready == 0 && !idle) { /* nobody waits: now is the time */
      csn_cgroups_prepare(&s.groups);
      idle = true;
    }
    if (fds[1].revents) {
      while (read(fds[1].fd, &info, sizeof info) > 0)
        continue;
      reap(&s, WNOHANG);
    }
    idle &= fds[0].revents == 0;
    alive = fds[2].revents == 0 && (fds[0].revents == 0 || serve(&s));
  }
  for (size_t i = 0; i < s.n; i++)
    kill(s.jails[i].pid, SIGKILL);
  reap(&s, 0);
  csn_cgroups_close(&s.groups);
  return 0;
}
