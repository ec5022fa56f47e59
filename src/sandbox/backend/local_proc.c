/* SPDX-License-Identifier: Apache-2.0
 *
 * local_proc.c - one command of a local sandbox, seen from the harness.
 *
 * Output stays in its pipes (or the terminal) until somebody reads; the
 * command's channel to the keeper says how it ended.  The lock guards only
 * what does not block, so several threads may read, write and wait at once.
 * Descriptors are closed by close alone: others may poll them. */
#include "sandbox/backend/local.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>

#include "core/poll.h"
#include "sandbox/keeper.h"

enum { PIECE = 65536, TTY_REST = 128 * 1024 };

struct local_proc {
  csn_proc base;
  pthread_mutex_t lock;
  int channel;
  int out[2]; /* stdout and stderr, or the terminal's master; -1 when not there */
  bool eof[2];
  int in;                  /* stdin's pipe; -1: none or closed by close_stdin */
  bool ended, lost, drain; /* drain: `left` is known */
  size_t left;             /* bytes that the leader may have left behind */
  csn_exit exit;
};

static struct local_proc *
proc_of(csn_proc *p)
{
  return (struct local_proc *)p; /* base is the first member */
}

/* Reads the channel without waiting; true when the command has ended. */
static bool
has_ended(struct local_proc *p)
{
  csn_keeper_event e;
  if (p->ended)
    return true;
  ssize_t n = recv(p->channel, &e, sizeof e, MSG_DONTWAIT);
  if (n == sizeof e && e.kind == CSN_KEEPER_ENDED) {
    p->exit = (csn_exit){e.value, e.more};
    p->ended = true;
  } else if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
    p->ended = p->lost = true;
  }
  return p->ended;
}

static bool
has_ended_locked(struct local_proc *p)
{
  pthread_mutex_lock(&p->lock);
  bool ended = has_ended(p);
  pthread_mutex_unlock(&p->lock);
  return ended;
}

static int
lost(csn_err *err)
{
  return csn_fail(err, CSN_E_SANDBOX, "the sandbox's keeper process was killed; open it again");
}

/* How much to read after the leader's end: what is there now, so that
 * children which go on writing cannot hold the reader. */
static void
count_rest(struct local_proc *p)
{
  p->drain = true;
  p->left = 0;
  for (int i = 0; i < 2; i++) {
    int n = 0;
    if (p->out[i] < 0 || p->eof[i])
      continue;
    if (p->base.tty)
      p->left = TTY_REST; /* the kernel counts only what it has moved already */
    else if (ioctl(p->out[i], FIONREAD, &n) == 0)
      p->left += (size_t)n;
  }
}

/* One read of one stream without waiting: > 0 bytes, 0 nothing now. */
static int
read_stream(struct local_proc *p, int i, csn_buf *out, size_t max, csn_err *err)
{
  char *to = csn_buf_room(out, max);
  ssize_t n = read(p->out[i], to, max);
  if (n > 0) {
    out->n += (size_t)n;
    out->p[out->n] = '\0';
    return (int)n;
  }
  if (n == 0 || errno == EIO) /* EIO: nobody has the terminal open any more */
    p->eof[i] = true;
  else if (errno != EAGAIN && errno != EINTR)
    return csn_fail_errno(err, "read from the command");
  return 0;
}

/* > 0 bytes, 0 nothing now; *over when nothing will come. */
static int
read_now(struct local_proc *p, csn_buf *out, size_t max, enum csn_stream *which, bool *over,
         csn_err *err)
{
  bool ended = has_ended(p);
  if (ended && !p->drain)
    count_rest(p);
  if (max > out->cap - out->n)
    max = out->cap - out->n;
  if (max > PIECE)
    max = PIECE;
  if (ended && max > p->left)
    max = p->left;
  int rc = 0;
  bool open = false;
  for (int i = 0; i < 2 && rc == 0 && max > 0; i++) {
    if (p->out[i] < 0 || p->eof[i])
      continue;
    rc = read_stream(p, i, out, max, err);
    *which = i == 0 ? CSN_STDOUT : CSN_STDERR;
    open |= !p->eof[i];
  }
  if (ended && rc > 0)
    p->left -= (size_t)rc;
  *over = ended || !open;
  return rc;
}

static int
local_read(csn_proc *base, csn_scope *sc, csn_buf *out, size_t max, enum csn_stream *which,
           csn_err *err)
{
  struct local_proc *p = proc_of(base);
  for (;;) {
    bool over = false;
    struct pollfd fds[3];
    nfds_t n = 0;
    pthread_mutex_lock(&p->lock);
    int rc = read_now(p, out, max, which, &over, err);
    fds[n++] = (struct pollfd){.fd = p->channel, .events = POLLIN};
    for (int i = 0; i < 2; i++)
      if (p->out[i] >= 0 && !p->eof[i])
        fds[n++] = (struct pollfd){.fd = p->out[i], .events = POLLIN};
    pthread_mutex_unlock(&p->lock);
    if (rc != 0 || over)
      return rc;
    rc = csn_poll(sc, fds, n, err);
    if (rc < 0)
      return rc;
  }
}

static int
local_wait(csn_proc *base, csn_scope *sc, csn_exit *exit, csn_err *err)
{
  struct local_proc *p = proc_of(base);
  while (!has_ended_locked(p)) {
    struct pollfd fd = {.fd = p->channel, .events = POLLIN};
    int rc = csn_poll(sc, &fd, 1, err);
    if (rc < 0)
      return rc;
  }
  if (p->lost)
    return lost(err);
  *exit = p->exit;
  return 0;
}

/* write(2) that reports a closed reader by EPIPE and not by a signal: the one
 * it raises is taken off this thread again. */
static ssize_t
write_quietly(int fd, csn_str bytes)
{
  sigset_t pipe, old, pending;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  sigpending(&pending);
  bool was_pending = sigismember(&pending, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, &old);
  ssize_t n = write(fd, bytes.p, bytes.n);
  int e = errno;
  if (n < 0 && e == EPIPE && !was_pending)
    while (sigtimedwait(&pipe, NULL, &(struct timespec){0}) < 0 && errno == EINTR)
      continue;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  errno = e;
  return n;
}

static int
local_write(csn_proc *base, csn_scope *sc, csn_str bytes, csn_err *err)
{
  struct local_proc *p = proc_of(base);
  csn_str rest = bytes;
  while (rest.n) {
    pthread_mutex_lock(&p->lock);
    int fd = base->tty ? p->out[0] : p->in;
    bool ended = has_ended(p);
    errno = EPIPE;
    ssize_t n = fd < 0 || ended ? -1 : write_quietly(fd, rest);
    int e = errno;
    pthread_mutex_unlock(&p->lock);
    if (n > 0) {
      rest = csn_strn(rest.p + n, rest.n - (size_t)n);
      continue;
    }
    if (n < 0 && e != EAGAIN && e != EINTR) {
      errno = e;
      return csn_fail_errno(err, "the command does not read its input");
    }
    struct pollfd fds[2] = {{.fd = fd, .events = POLLOUT}, {.fd = p->channel, .events = POLLIN}};
    int rc = csn_poll(sc, fds, 2, err);
    if (rc < 0)
      return rc;
  }
  return bytes.n > INT32_MAX ? INT32_MAX : (int)bytes.n;
}

static void
local_close_stdin(csn_proc *base)
{
  struct local_proc *p = proc_of(base);
  pthread_mutex_lock(&p->lock);
  if (p->in >= 0)
    close(p->in);
  p->in = -1;
  pthread_mutex_unlock(&p->lock);
}

static int
local_signal(csn_proc *base, int sig, csn_err *err)
{
  struct local_proc *p = proc_of(base);
  if (has_ended_locked(p))
    return csn_fail(err, CSN_E_NOT_FOUND, "the command has ended");
  int32_t number = sig;
  if (send(p->channel, &number, sizeof number, MSG_NOSIGNAL) != sizeof number)
    return csn_fail(err, CSN_E_NOT_FOUND, "the command has ended");
  return 0;
}

static int
local_resize(csn_proc *base, int rows, int cols, csn_err *err)
{
  struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};
  if (ioctl(proc_of(base)->out[0], TIOCSWINSZ, &size) < 0)
    return csn_fail_errno(err, "resize");
  return 0;
}

static void
local_proc_close(csn_proc *base)
{
  struct local_proc *p = proc_of(base);
  csn_closep(&p->channel); /* the keeper kills the group of a leader that still runs */
  csn_closep(&p->out[0]);
  csn_closep(&p->out[1]);
  csn_closep(&p->in);
  pthread_mutex_destroy(&p->lock);
  free(p);
}

static const csn_proc_ops proc_ops = {
    .read = local_read,
    .wait = local_wait,
    .write = local_write,
    .close_stdin = local_close_stdin,
    .signal = local_signal,
    .resize = local_resize,
    .close = local_proc_close,
};

/* ---- starting ---- */

/* The command's ends; all are closed here once the keeper has them. */
struct ends {
  int fd[CSN_KEEPER_FDS];
};

static void
ends_close(struct ends *e)
{
  for (int i = 0; i < CSN_KEEPER_FDS; i++) {
    csn_closep(&e->fd[i]);
    e->fd[i] = -1;
  }
}

/* A pipe whose end `ours` does not block for us. */
static int
open_pipe(int *ours, int *theirs, bool we_read, csn_err *err)
{
  int fd[2];
  if (pipe2(fd, O_CLOEXEC) < 0)
    return csn_fail_errno(err, "pipe");
  *ours = fd[we_read ? 0 : 1];
  *theirs = fd[we_read ? 1 : 0];
  fcntl(*ours, F_SETFL, O_NONBLOCK);
  return 0;
}

static int
open_pipes(struct local_proc *p, struct ends *e, const csn_exec *x, csn_err *err)
{
  int rc = open_pipe(&p->out[0], &e->fd[CSN_KEEPER_STDOUT_FD], true, err);
  if (rc == 0 && x->split_output)
    rc = open_pipe(&p->out[1], &e->fd[CSN_KEEPER_STDERR_FD], true, err);
  else if (rc == 0)
    e->fd[CSN_KEEPER_STDERR_FD] = fcntl(e->fd[CSN_KEEPER_STDOUT_FD], F_DUPFD_CLOEXEC, 3);
  if (rc == 0 && x->with_stdin)
    rc = open_pipe(&p->in, &e->fd[CSN_KEEPER_STDIN_FD], false, err);
  else if (rc == 0)
    e->fd[CSN_KEEPER_STDIN_FD] = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (rc == 0 && (e->fd[CSN_KEEPER_STDIN_FD] < 0 || e->fd[CSN_KEEPER_STDERR_FD] < 0))
    rc = csn_fail_errno(err, "the command's descriptors");
  return rc;
}

static int
open_terminal(struct local_proc *p, struct ends *e, const csn_exec *x, csn_err *err)
{
  int unlock = 0;
  p->out[0] = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (p->out[0] < 0 || ioctl(p->out[0], TIOCSPTLCK, &unlock) < 0)
    return csn_fail_errno(err, "cannot get a terminal from /dev/ptmx");
  struct winsize size = {.ws_row = x->rows, .ws_col = x->cols};
  ioctl(p->out[0], TIOCSWINSZ, &size);
  int *in = &e->fd[CSN_KEEPER_STDIN_FD];
  *in = ioctl(p->out[0], TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  e->fd[CSN_KEEPER_STDOUT_FD] = *in < 0 ? -1 : fcntl(*in, F_DUPFD_CLOEXEC, 3);
  e->fd[CSN_KEEPER_STDERR_FD] = *in < 0 ? -1 : fcntl(*in, F_DUPFD_CLOEXEC, 3);
  if (e->fd[CSN_KEEPER_STDERR_FD] < 0)
    return csn_fail_errno(err, "cannot open the terminal for the command");
  return 0;
}

static uint32_t
add_strings(csn_buf *b, const char *const *list)
{
  uint32_t n = 0;
  for (; list && list[n]; n++)
    csn_buf_add(b, csn_strn(list[n], strlen(list[n]) + 1));
  return n;
}

static int
send_start(int control, csn_scope *sc, const csn_buf *packet, const int *fds, size_t n,
           csn_err *err)
{
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int) * CSN_KEEPER_FDS)];
  } c = {.head = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
  c.head.cmsg_len = CMSG_LEN(n * sizeof(int));
  memcpy(CMSG_DATA(&c.head), fds, n * sizeof(int));
  struct iovec iov = {packet->p, packet->n};
  struct msghdr m = {.msg_iov = &iov,
                     .msg_iovlen = 1,
                     .msg_control = &c,
                     .msg_controllen = CMSG_SPACE(n * sizeof(int))};
  while (sendmsg(control, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    if (errno == EPIPE || errno == ECONNRESET)
      return lost(err);
    if (errno != EAGAIN && errno != EINTR)
      return csn_fail_errno(err, "send to the keeper");
    struct pollfd fd = {.fd = control, .events = POLLOUT};
    int rc = csn_poll(sc, &fd, 1, err);
    if (rc < 0)
      return rc;
  }
  return 0;
}

static int
not_started(const csn_keeper_event *e, const csn_exec *x, csn_err *err)
{
  errno = e->value;
  switch (e->more) {
  case CSN_KEEPER_AT_CWD:
    return csn_fail_errno(err, "cwd %.200s", x->cwd ? x->cwd : ".");
  case CSN_KEEPER_AT_CLAIM:
    return csn_fail_errno(err, "cannot write to claim_fd");
  case CSN_KEEPER_AT_EXEC:
    if (errno == ENOENT || errno == ENOTDIR)
      return csn_fail(err, CSN_E_NOT_FOUND, "no such program");
    return csn_fail_errno(err, "cannot execute it");
  default:
    return csn_fail_errno(err, "cannot start a process");
  }
}

static int
await_start(struct local_proc *p, csn_scope *sc, const csn_exec *x, csn_err *err)
{
  struct pollfd fd = {.fd = p->channel, .events = POLLIN};
  int rc = csn_poll(sc, &fd, 1, err);
  if (rc < 0)
    return rc;
  csn_keeper_event e;
  if (recv(p->channel, &e, sizeof e, MSG_DONTWAIT) != sizeof e)
    return lost(err);
  return e.kind == CSN_KEEPER_STARTED ? 0 : not_started(&e, x, err);
}

static void
proc_closep(struct local_proc **p)
{
  if (*p)
    local_proc_close(&(*p)->base);
}

int
csn_local_proc_open(csn_proc **out, csn_scope *sc, int control, int cwd_fd, const csn_exec *x,
                    const char *const *environment, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf packet = CSN_BUF(CSN_KEEPER_PACKET);
  csn_keeper_start head = {.tty = x->tty, .with_claim = x->claim_fd >= 0};
  csn_buf_add(&packet, csn_strn((const char *)&head, sizeof head));
  head.args = add_strings(&packet, x->argv);
  head.variables = add_strings(&packet, environment);
  int rc = csn_buf_done(&packet, "the command with its environment", err);
  if (rc < 0)
    return rc;
  memcpy(packet.p, &head, sizeof head);

  csn_auto(proc_closep) struct local_proc *p = csn_alloc(sizeof *p);
  *p = (struct local_proc){.base = {&proc_ops, x->tty}, .channel = -1, .out = {-1, -1}, .in = -1};
  pthread_mutex_init(&p->lock, NULL);
  csn_auto(ends_close) struct ends e = {{-1, -1, -1, -1, -1, -1}};
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return csn_fail_errno(err, "socketpair");
  p->channel = pair[0];
  e.fd[CSN_KEEPER_CHANNEL_FD] = pair[1];
  rc = x->tty ? open_terminal(p, &e, x, err) : open_pipes(p, &e, x, err);
  if (rc < 0)
    return rc;
  int send[CSN_KEEPER_FDS];
  memcpy(send, e.fd, sizeof send);
  send[CSN_KEEPER_CWD_FD] = cwd_fd;
  send[CSN_KEEPER_CLAIM_FD] = x->claim_fd;
  rc = send_start(control, sc, &packet, send,
                  x->claim_fd < 0 ? CSN_KEEPER_CLAIM_FD : CSN_KEEPER_FDS, err);
  ends_close(&e);
  if (rc == 0)
    rc = await_start(p, sc, x, err);
  if (rc < 0)
    return rc;
  *out = &csn_steal(p)->base;
  return 0;
}
