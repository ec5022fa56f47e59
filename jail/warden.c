/* SPDX-License-Identifier: Apache-2.0
 *
 * warden.c - the first process of a jail: starts the harness's commands and
 * collects whoever ends.
 *
 * It seals itself before it reads the first byte, and from then on can do
 * hardly more than the commands, which inherit the seal.  They can neither
 * kill it (the kernel shields the first process of a process namespace) nor
 * look into it (it is not dumpable).  When the control stream or the life pipe
 * ends, it ends, and the kernel kills everything in the jail.
 */
#include "jail/warden.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "core/command.h"
#include "jail/seal.h"
#include "jail/sys.h"
#include "jail/text.h"
#include "jail/words.h"

/* Marks of what epoll reports, beside the numbers of leaders (2 and up). */
enum { ON_CONTROL = 0, ON_SIGNAL = 1, ON_LIFE = INT32_MAX };

static struct leader *
find_leader(struct warden *w, pid_t pid)
{
  for (size_t i = 0; i < w->n; i++)
    if (w->leaders[i].pid == pid)
      return &w->leaders[i];
  return NULL;
}

void
csn_warden_tell(int channel, int kind, int value, int more, int fd)
{
  csn_command_event e = {kind, value, more};
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int))];
  } c = {.head = {
             .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
  struct iovec iov = {&e, sizeof e};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
  if (fd >= 0) {
    memcpy(CMSG_DATA(&c.head), &fd, sizeof fd);
    m.msg_control = &c;
    m.msg_controllen = sizeof c;
  }
  if (channel >= 0)
    (void)!sendmsg(channel, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool
csn_warden_add(struct warden *w, pid_t pid, int channel)
{
  if (w->n == w->room) {
    size_t room = w->room ? w->room * 2 : 16;
    struct leader *more = realloc(w->leaders, room * sizeof *more);
    if (!more)
      return false;
    w->leaders = more;
    w->room = room;
  }
  w->leaders[w->n++] = (struct leader){pid, channel};
  struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)pid};
  return epoll_ctl(w->epoll, EPOLL_CTL_ADD, channel, &e) == 0;
}

/* A signal for a command's group, or the wish that it end. */
static void
serve_channel(struct warden *w, pid_t pid)
{
  struct leader *l = find_leader(w, pid);
  int32_t sig;
  if (!l || l->channel < 0)
    return;
  ssize_t n = recv(l->channel, &sig, sizeof sig, MSG_DONTWAIT);
  if (n == sizeof sig) {
    kill(-pid, sig);
  } else if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
    close(l->channel);
    l->channel = -1;
    kill(-pid, SIGKILL);
  }
}

/* Collects whoever has ended, orphans too. */
static void
reap(struct warden *w)
{
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    struct leader *l = find_leader(w, pid);
    if (!l)
      continue;
    if (WIFSIGNALED(status))
      csn_warden_tell(l->channel, CSN_COMMAND_ENDED, 128 + WTERMSIG(status), WTERMSIG(status), -1);
    else
      csn_warden_tell(l->channel, CSN_COMMAND_ENDED, WEXITSTATUS(status), 0, -1);
    if (l->channel >= 0)
      close(l->channel);
    *l = w->leaders[--w->n];
  }
}

/* Files in the folders of memory, which end with the jail. */
static uint64_t
count_files(void)
{
  static const char *const folders[] = {"/tmp", CSN_JAIL_HOME, "/dev/shm"};
  uint64_t n = 0;
  struct statfs s;
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
    n += statfs(folders[i], &s) == 0 ? s.f_files - s.f_ffree : 1;
  return n;
}

/* Every process of the jail descends from us, so when there is none now, only
 * our next frame can start one. */
static bool
tell_idle(struct warden *w, int channel)
{
  reap(w);
  bool is_idle = kill(-1, 0) < 0 && errno == ESRCH;
  csn_warden_tell(channel, CSN_COMMAND_ENDED, !is_idle, count_files() != w->files, -1);
  close(channel);
  return true;
}

/* Takes one frame; false when the harness has gone or talks nonsense. */
static bool
serve_control(struct warden *w)
{
  csn_jail_frame head;
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int) * CSN_JAIL_EXEC_FDS)];
  } c;
  struct iovec iov = {&head, sizeof head};
  struct msghdr m = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
  ssize_t n = recvmsg(CSN_JAIL_CONTROL, &m, MSG_CMSG_CLOEXEC);
  if (n < 0)
    return errno == EINTR;
  int fds[CSN_JAIL_EXEC_FDS];
  size_t count = csn_fds_take(&m, fds, CSN_JAIL_EXEC_FDS);
  if (n == 0 || count == SIZE_MAX || !csn_jail_read((char *)&head + n, sizeof head - (size_t)n) ||
      head.length > CSN_JAIL_BODY_MAX || !csn_jail_read(w->body, head.length))
    return false;
  if (head.kind == CSN_JAIL_KILL && count == 0)
    return kill(-1, SIGKILL) == 0 || errno == ESRCH; /* not us */
  if (head.kind == CSN_JAIL_IDLE && count == 1)
    return tell_idle(w, fds[0]);
  if (head.kind != CSN_JAIL_EXEC && head.kind != CSN_JAIL_DIAL)
    return false;
  return head.kind == CSN_JAIL_DIAL ? csn_warden_dial(w, head.length, fds, count)
                                    : csn_warden_exec(w, head.length, fds, count);
}

static void
watch(const struct warden *w, int fd, uint64_t mark)
{
  struct epoll_event e = {.events = EPOLLIN, .data.u64 = mark};
  if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &e) < 0)
    csn_jail_fail("watch descriptors", "");
}

static void
serve(struct warden *w)
{
  for (;;) {
    struct epoll_event ready[32];
    struct signalfd_siginfo info;
    int n = epoll_wait(w->epoll, ready, 32, -1);
    for (int i = 0; i < n; i++) {
      uint64_t mark = ready[i].data.u64;
      if (mark == ON_LIFE) {
        return;
      } else if (mark == ON_SIGNAL) {
        while (read(w->signals, &info, sizeof info) > 0)
          continue;
        reap(w);
      } else if (mark != ON_CONTROL) {
        serve_channel(w, (pid_t)mark);
      } else if (!serve_control(w)) {
        return;
      }
    }
  }
}

/* Commands are ranked before us with the out-of-memory killer: the one of the
 * jail's own limit and the host's.  They inherit the rank that we have while
 * they are cloned. */
static void
take_rank(struct warden *w)
{
  char text[16] = "";
  w->rank = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
  ssize_t n = w->rank < 0 ? -1 : read(w->rank, text, sizeof text - 1);
  const char *at = text;
  int own = n > 0 && *at == '-' ? (at++, -(int)text_take(&at)) : (int)text_take(&at);
  snprintf(w->own_rank, sizeof w->own_rank, "%d", own);
  snprintf(w->rank_of_commands, sizeof w->rank_of_commands, "%d", own < 500 ? own + 500 : 1000);
}

_Noreturn void
csn_warden_run(struct csn_jail_plan *plan)
{
  static struct warden warden;
  struct warden *w = &warden;
  sigset_t all, child;
  w->plan = plan;
  prctl(PR_SET_NAME, "caisson-warden");
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  w->signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  w->epoll = epoll_create1(EPOLL_CLOEXEC);
  watch(w, CSN_JAIL_LIFE, ON_LIFE);
  watch(w, w->signals, ON_SIGNAL);
  take_rank(w); /* the seal makes the file root's */
  w->files = count_files();
  csn_jail_note ready = {.kind = CSN_JAIL_READY, .landlock = csn_jail_seal(plan, csn_jail_finish)};
  watch(w, CSN_JAIL_CONTROL, ON_CONTROL);
  if (send(CSN_JAIL_CONTROL, &ready, sizeof ready, MSG_NOSIGNAL) == sizeof ready)
    serve(w);
  _exit(0);
}
