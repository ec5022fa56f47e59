/* SPDX-License-Identifier: Apache-2.0
 *
 * spawner.c - the process that makes jails for one harness: single-threaded,
 * small, started from a sealed memfd with nothing of the harness in it.
 *
 * It keeps what jails have in common (jail/start.c), clones the first process
 * of each (jail/build.c does the rest in there), hands the harness a pidfd and
 * remembers the lock that belongs to the jail until the kernel reports that
 * its last process has ended.  When nobody asks for anything it makes ready
 * what the next jails need.
 *
 * When the harness closes the socket or dies by whatever signal, every jail is
 * killed before the spawner ends.  When the spawner is killed, the life pipes
 * and PDEATHSIG end the jails.
 */
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "jail/cgroup.h"
#include "jail/start.h"
#include "jail/steps.h"
#include "jail/words.h"

enum { RETRY_MS = 50 }; /* for a control group that is not empty yet */

struct jail {
  pid_t pid;
  struct csn_ids *ids;
  int lock; /* -1: none */
  int life; /* write end; its closing tells the warden that we are gone, and
               the harness that the jail has ended and the lock is free */
  struct csn_cgroup group;
  int64_t deadline_ms; /* when its wall time is over; INT64_MAX: never */
  bool is_late;
};

enum { SPARES = 8 };

struct spawner {
  struct csn_home home;
  struct csn_template *templates;
  struct csn_spare spares[SPARES];
  size_t n_spares;
  struct jail *jails;
  size_t n, room;
  size_t served;
  struct csn_cgroups groups;
};

struct request {
  csn_jail_open open;
  int fds[CSN_JAIL_GIVEN]; /* by number; -1: not there */
  int layers[CSN_JAIL_LAYERS_MAX];
};

static void
close_fd(int fd)
{
  if (fd >= 0)
    close(fd);
}

/* ---- what the harness gave us ---- */

/* The tree of the workspace, in which user 1000 of the jail is its owner. */
static const char *
own_tree(struct spawner *s, struct csn_ids **ids, int folder, int tree, const csn_jail_open *open,
         csn_jail_opened *a)
{
  struct stat st;
  const char *failed = NULL;
  if (!s->home.ranged)
    return sys_tree_protect(tree, CSN_SAFE, -1) < 0 ? "protect the workspace" : NULL;
  if (fstat(folder, &st) < 0)
    return "look at the workspace";
  int owner = csn_ids_owner(*ids, st.st_uid, st.st_gid, (const uint32_t[]){open->uid, open->gid});
  if (owner >= 0 && sys_tree_protect(tree, CSN_SAFE, owner) == 0) {
    bool same = st.st_uid == geteuid() && st.st_gid == getegid();
    a->owner = CSN_JAIL_MAPPED;
    a->uid = same ? -1 : (int32_t)st.st_uid;
    a->gid = same ? -1 : (int32_t)st.st_gid;
    return NULL;
  }
  if (open->keep_owner)
    return "map the owner of the workspace";
  csn_ids_drop(*ids);
  *ids = csn_ids_take(&s->home.ids, true, &failed);
  if (failed)
    return failed;
  a->owner = CSN_JAIL_GIVEN_AWAY;
  a->uid = (int32_t)(CSN_JAIL_BASE + open->uid);
  a->gid = (int32_t)(CSN_JAIL_BASE + open->gid);
  if (fchown(folder, (uid_t)a->uid, (gid_t)a->gid) < 0)
    return "change the owner of the workspace";
  return sys_tree_protect(tree, CSN_SAFE, -1) < 0 ? "protect the workspace" : NULL;
}

static const char *
take_workspace(struct spawner *s, struct request *r, struct csn_ids **ids, csn_jail_opened *a)
{
  const char *failed = NULL;
  int folder = r->fds[CSN_JAIL_WORKSPACE];
  *ids = csn_ids_take(&s->home.ids, false, &failed);
  if (failed || folder < 0)
    return failed;
  int tree = csn_home_tree(&s->home, folder);
  if (tree < 0)
    return errno == ESTALE ? "find the folder of the workspace again" : "bind the workspace";
  r->fds[CSN_JAIL_WORKSPACE] = tree;
  failed = own_tree(s, ids, folder, tree, &r->open, a);
  int e = errno;
  close(folder);
  errno = e;
  return failed;
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

/* Clones the first process; fds are as the harness gets them.  What failed,
 * with errno. */
static const char *
start_first(struct spawner *s, const struct csn_template *t, struct csn_jail_plan *plan,
            struct jail *j, int fds[2])
{
  int life[2];
  struct csn_spare spare;
  /* A spare network is the host's; a jail that changes its own must own it. */
  bool has_spare = s->n_spares > 0 && !plan->open.networked;
  if (pipe2(life, O_CLOEXEC) < 0)
    return "pipe";
  plan->fds[CSN_JAIL_LIFE] = fds[1] = life[0];
  j->life = life[1];
  if (has_spare)
    spare = s->spares[--s->n_spares];
  int group = csn_cgroup_target(&s->groups, &j->group);
  j->pid = csn_jail_clone(&s->home, t, j->ids, has_spare ? &spare : NULL, group, plan, &fds[0]);
  int e = errno;
  close_fd(group);
  if (has_spare)
    csn_spare_drop(&spare);
  errno = e;
  return j->pid < 0 ? "make the namespaces of the jail" : NULL;
}

static const char *
start_jail(struct spawner *s, struct request *r, const struct csn_template *t, struct csn_ids *ids,
           csn_jail_opened *a, int fds[4])
{
  struct csn_jail_plan plan = {.open = r->open};
  struct jail j = {
      .pid = -1, .ids = ids, .lock = r->fds[CSN_JAIL_LOCK], .life = -1, .deadline_ms = INT64_MAX};
  memcpy(plan.fds, r->fds, sizeof r->fds);
  csn_cgroups_take(&s->groups, &j.group);
  set_limits(s, &j.group, &plan.open.limits, &a->held);
  if (plan.open.limits.wall_ms >= 0)
    j.deadline_ms = now_ms() + plan.open.limits.wall_ms;
  const char *failed = start_first(s, t, &plan, &j, fds);
  csn_cgroup_limit_processes(&s->groups, &j.group, &r->open.limits, &a->held);
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

static void
make_jail(struct spawner *s, struct request *r, csn_jail_opened *a, int fds[4])
{
  csn_jail_note why = {0};
  struct csn_ids *ids = NULL;
  const char *failed = csn_home_open(&s->home);
  if (!s->home.ranged || r->open.uid == 0 || r->open.uid >= CSN_JAIL_RANGE)
    r->open.uid = CSN_JAIL_UID;
  if (!s->home.ranged || r->open.gid == 0 || r->open.gid >= CSN_JAIL_RANGE)
    r->open.gid = CSN_JAIL_UID;
  if (!failed)
    failed = take_workspace(s, r, &ids, a);
  if (!failed) {
    a->user = s->home.ranged ? (int32_t)(ids->base + r->open.uid) : -1;
    struct csn_wanted want = {r->open.root, s->home.ranged ? ids : NULL, r->layers, r->open.layers};
    struct csn_template *t = csn_template_find(&s->home, &s->templates, &want, &why);
    failed = t ? start_jail(s, r, t, ids, a, fds) : why.step;
    if (!t)
      errno = why.error;
  }
  if (failed) {
    a->error = errno ? errno : EIO;
    step_name(a->step, sizeof a->step, failed, "");
    csn_ids_drop(ids);
  }
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
  csn_jail_opened a = {.owner = CSN_JAIL_SAME, .uid = -1, .gid = -1, .user = -1};
  int fds[4] = {-1, -1, -1, -1};
  make_jail(s, r, &a, fds);
  answer(&a, fds);
  for (size_t i = 0; i < 4; i++)
    close_fd(fds[i]);
  s->served++;
}

/* Takes one request; false when the harness has gone. */
static bool
serve(struct spawner *s)
{
  enum { MOST = CSN_JAIL_GIVEN - CSN_JAIL_CONTROL + CSN_JAIL_LAYERS_MAX };
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
  size_t count = csn_fds_take(&m, fds, MOST), at = 0;
  memset(r.fds, -1, sizeof r.fds);
  if (count == SIZE_MAX || !csn_open_check(&r.open, (size_t)n, count)) {
    answer(&(csn_jail_opened){.error = EPROTO, .step = "understand the request"}, NULL);
    for (size_t i = 0; count != SIZE_MAX && i < count; i++)
      close(fds[i]);
    return true;
  }
  for (int i = CSN_JAIL_CONTROL; i < CSN_JAIL_GIVEN; i++)
    if (r.open.with & CSN_JAIL_WITH(i))
      r.fds[i] = fds[at++];
  for (size_t i = 0; i < r.open.layers; i++)
    r.layers[i] = fds[at++];
  handle(s, &r);
  for (int i = CSN_JAIL_CONTROL; i < CSN_JAIL_GIVEN; i++)
    close_fd(r.fds[i]);
  for (size_t i = 0; i < r.open.layers; i++)
    close(r.layers[i]);
  return true;
}

/* ---- the loop ---- */

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
  csn_ids_drop(j->ids);
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
  if (s->groups.n_doomed && next > now + RETRY_MS)
    next = now + RETRY_MS;
  return next == INT64_MAX ? -1 : next - now > INT32_MAX ? INT32_MAX : (int)(next - now);
}

/* A piece of what the next jails will need, or false when all is there.  Who
 * wants one jail gets it before anything is made for a second. */
static bool
prepare(struct spawner *s)
{
  csn_jail_note why = {0};
  csn_cgroups_prepare(&s->groups);
  if (!s->served && !s->templates)
    return !csn_home_open(&s->home) &&
           csn_template_find(&s->home, &s->templates, &(struct csn_wanted){.root = "/workspace"},
                             &why);
  size_t wanted = s->served > 1 ? SPARES : s->served == 0;
  if (s->home.blank <= 0 || s->n_spares >= wanted)
    return false;
  return csn_spare_make(&s->spares[s->n_spares]) && ++s->n_spares;
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

static void
run(struct spawner *s, struct pollfd fds[3])
{
  for (bool alive = true, more = true; alive;) {
    struct signalfd_siginfo info;
    int wait_ms = end_late(s), n = poll(fds, 3, more ? 0 : wait_ms);
    if (n == 0 && (more || s->groups.n_doomed))
      more = prepare(s);
    if (n <= 0)
      continue;
    if (fds[1].revents) {
      while (read(fds[1].fd, &info, sizeof info) > 0)
        continue;
      reap(s, WNOHANG);
    }
    alive = fds[2].revents == 0 && (fds[0].revents == 0 || serve(s));
    more |= fds[0].revents != 0 || fds[1].revents != 0;
  }
}

int
main(void)
{
  static struct spawner s;
  sigset_t child, blocked;
  prctl(PR_SET_NAME, "caisson-spawner");
  close(CSN_SPAWNER_IMAGE);
  fcntl(CSN_SPAWNER_SOCKET, F_SETFD, FD_CLOEXEC);
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
  struct pollfd fds[] = {
      {.fd = CSN_SPAWNER_SOCKET, .events = POLLIN},
      {.fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK), .events = POLLIN},
      {.fd = watch_harness(), .events = POLLIN},
  };
  if (fds[1].fd < 0 || chdir("/") < 0)
    return 1;
  csn_cgroups_open(&s.groups);
  run(&s, fds);
  for (size_t i = 0; i < s.n; i++)
    kill(s.jails[i].pid, SIGKILL);
  reap(&s, 0);
  csn_cgroups_close(&s.groups);
  return 0;
}
