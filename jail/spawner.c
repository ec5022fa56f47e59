/* SPDX-License-Identifier: Apache-2.0
 *
 * spawner.c - the process that makes jails for one harness: single-threaded,
 * small, started from a sealed memfd with nothing of the harness in it.
 *
 * It keeps what jails have in common (jail/start.c), clones the first process
 * of each (jail/build.c does the rest in there), hands the harness a pidfd and
 * remembers the lock that belongs to the jail until the kernel reports that
 * its last process has ended (jail/jails.c).  When nobody asks for anything it
 * makes ready what the next jails need, and whole jails where the harness
 * wants a pool (jail/pool.c).
 *
 * When the harness closes the socket or dies by whatever signal, every jail is
 * killed before the spawner ends.  When the spawner is killed, the life pipes
 * and PDEATHSIG end the jails.
 */
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "jail/graft.h"
#include "jail/jails.h"
#include "jail/sys.h"
#include "jail/words.h"

/* An answer's descriptors: pidfd, life pipe, two of events, and this. */
enum { VIEW = 4, ANSWER_FDS };

static void
close_fd(int fd)
{
  if (fd >= 0)
    close(fd);
}

/* ---- what else the harness asks ---- */

static void
tell_about(struct csn_jails *s, csn_jail_opened *a)
{
  const char *failed = csn_home_open(&s->home);
  a->error = failed ? errno : 0;
  a->ranged = s->home.ranged;
  step_name(a->step, sizeof a->step, failed ? failed : s->home.why, "");
}

/* A folder that a user with a lent id made in a workspace becomes the
 * harness's own, who wants to remove it. */
static void
take_over(struct csn_jails *s, int folder, csn_jail_opened *a)
{
  const char *failed = csn_home_open(&s->home);
  if (!failed && fchownat(folder, "", CSN_JAIL_UID, CSN_JAIL_UID, AT_EMPTY_PATH) < 0)
    failed = "take over a folder";
  a->error = failed ? errno : 0;
  step_name(a->step, sizeof a->step, failed ? failed : "", "");
}

/* ---- the socket ---- */

static void
answer(csn_jail_opened *a, const int fds[ANSWER_FDS])
{
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(ANSWER_FDS * sizeof(int))];
  } c = {.head = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
  struct iovec iov = {a, sizeof *a};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
  int sent[ANSWER_FDS];
  size_t n = 0;
  for (size_t i = 0; i < ANSWER_FDS && a->error == 0; i++)
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
handle(struct csn_jails *s, struct csn_request *r)
{
  csn_jail_opened a = {.owner = CSN_JAIL_SAME, .uid = -1, .gid = -1, .user = -1};
  int fds[ANSWER_FDS] = {-1, -1, -1, -1, -1};
  r->view = -1;
  if (r->open.what == CSN_JAIL_ABOUT)
    tell_about(s, &a);
  else if (r->open.what == CSN_JAIL_TAKE_OVER)
    take_over(s, r->fds[CSN_JAIL_WORKSPACE], &a);
  else
    csn_jails_make(s, r, &a, fds);
  fds[VIEW] = r->view;
  answer(&a, fds);
  for (size_t i = 0; i < ANSWER_FDS; i++)
    close_fd(fds[i]);
  s->served++;
}

/* Takes one request; false when the harness has gone. */
static bool
serve(struct csn_jails *s)
{
  enum {
    MOST = CSN_JAIL_GIVEN - CSN_JAIL_CONTROL + CSN_JAIL_LAYERS_MAX + CSN_JAIL_UNDER_MAX +
           CSN_JAIL_EXTRAS_MAX
  };
  struct csn_request r;
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
  for (size_t i = 0; i < r.open.layers + r.open.under; i++)
    r.layers[i] = fds[at++];
  size_t extras = count - at;
  memcpy(r.extras, fds + at, extras * sizeof *fds);
  handle(s, &r);
  for (int i = CSN_JAIL_CONTROL; i < CSN_JAIL_GIVEN; i++)
    close_fd(r.fds[i]);
  for (size_t i = 0; i < r.open.layers + r.open.under; i++)
    close(r.layers[i]);
  for (size_t i = 0; i < extras; i++)
    close(r.extras[i]);
  return true;
}

/* ---- the loop ---- */

/* Many a harness wants one jail, and has it to itself for a while.  Where there
 * is a pool, all who ask at once get theirs before others are made. */
enum { ALONE_MS = 50, BUSY_MS = 5, NOTHING = -1 };

/* Makes a piece of what the next jails will need; in how many milliseconds to
 * go on, or NOTHING. */
static int
prepare(struct csn_jails *s, int64_t asked_ms)
{
  csn_jail_note why = {0};
  csn_cgroups_prepare(&s->groups);
  if (!s->served && !s->templates)
    return !csn_home_open(&s->home) &&
                   csn_template_find(&s->home, &s->templates,
                                     &(struct csn_wanted){.root = "/workspace"}, &why)
               ? 0
               : NOTHING;
  csn_home_rest(&s->home);
  int64_t since_ms = csn_jails_now_ms() - asked_ms;
  if (s->kinds && since_ms < BUSY_MS)
    return (int)(BUSY_MS - since_ms);
  size_t wanted = s->served > 1 ? CSN_JAIL_SPARES : 1;
  if (csn_pool_refill(s))
    return 0;
  if (!s->home.is_open || s->n_spares >= wanted ||
      !csn_spare_make(&s->home, &s->spares[s->n_spares]))
    return NOTHING;
  s->n_spares++;
  return 0;
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
run(struct csn_jails *s, struct pollfd fds[3])
{
  int64_t asked_ms = 0;
  int next_ms = 0; /* until something is prepared */
  for (bool alive = true; alive;) {
    struct signalfd_siginfo info;
    int late_ms = csn_jails_end_late(s), wait_ms = next_ms;
    if (wait_ms == NOTHING || (late_ms >= 0 && late_ms < wait_ms))
      wait_ms = late_ms;
    int n = poll(fds, 3, wait_ms);
    if (n == 0 && (next_ms != NOTHING || s->groups.n_doomed))
      next_ms = prepare(s, asked_ms);
    if (n <= 0)
      continue;
    if (fds[1].revents) {
      while (read(fds[1].fd, &info, sizeof info) > 0)
        continue;
      csn_jails_reap(s, WNOHANG);
    }
    alive = fds[2].revents == 0 && (fds[0].revents == 0 || serve(s));
    if (fds[0].revents)
      asked_ms = csn_jails_now_ms();
    next_ms = s->served == 1 ? ALONE_MS : 0;
  }
}

/* The first jail is often asked for already: its network is made beside us
 * while we do the rest.  An ordinary user looks for control groups as who it
 * is, before it enters the user namespace that all it makes must belong to. */
static void
begin(struct csn_jails *s)
{
  bool is_root = geteuid() == 0 && csn_ids_exist();
  if (!is_root)
    csn_cgroups_open(&s->groups);
  if (!csn_home_open(&s->home))
    csn_spare_begin(&s->home);
  if (is_root)
    csn_cgroups_open(&s->groups);
}

int
main(int argc, char **argv)
{
  static struct csn_jails s;
  sigset_t child, blocked;
  if (argc == 3 && strcmp(argv[1], CSN_GRAFT_WORD) == 0)
    return csn_graft_main(argv[2]);
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
  begin(&s);
  run(&s, fds);
  csn_jails_end(&s);
  csn_cgroups_close(&s.groups);
  return 0;
}
