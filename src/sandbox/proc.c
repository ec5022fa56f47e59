/* SPDX-License-Identifier: Apache-2.0
 *
 * proc.c - a command on this machine, seen from the harness.
 *
 * Output stays in its pipes (or the terminal) until somebody reads; the
 * command's channel to its parent says how it ended.  The lock guards only
 * what does not block, so several threads may read, write and wait at once.
 * Descriptors are closed by close alone: others may poll them. */
#include "sandbox/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>

#include "core/command.h"
#include "core/poll.h"

enum { PIECE = 65536, TTY_REST = 128 * 1024 };

static struct csn_piped *
proc_of(csn_proc *p)
{
  return (struct csn_piped *)p; /* base is the first member */
}

/* Reads the channel without waiting; true when the command has ended. */
static bool
has_ended(struct csn_piped *p)
{
  csn_command_event e;
  if (p->ended)
    return true;
  ssize_t n = recv(p->channel, &e, sizeof e, MSG_DONTWAIT);
  if (n == sizeof e && e.kind == CSN_COMMAND_ENDED) {
    p->exit = (csn_exit){e.value, e.more};
    p->ended = true;
  } else if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
    p->ended = p->lost = true;
  }
  return p->ended;
}

static bool
has_ended_locked(struct csn_piped *p)
{
  pthread_mutex_lock(&p->lock);
  bool ended = has_ended(p);
  pthread_mutex_unlock(&p->lock);
  return ended;
}

static int
lost(csn_err *err)
{
  return csn_fail(err, CSN_E_SANDBOX,
                  "the process that keeps the sandbox was killed; open it again");
}

/* How much to read after the leader's end: what is there now, so that
 * children which go on writing cannot hold the reader. */
static void
count_rest(struct csn_piped *p)
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
read_stream(struct csn_piped *p, int i, csn_buf *out, size_t max, csn_err *err)
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
read_now(struct csn_piped *p, csn_buf *out, size_t max, enum csn_stream *which, bool *over,
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
piped_read(csn_proc *base, csn_scope *sc, csn_buf *out, size_t max, enum csn_stream *which,
           csn_err *err)
{
  struct csn_piped *p = proc_of(base);
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
piped_wait(csn_proc *base, csn_scope *sc, csn_exit *exit, csn_err *err)
{
  struct csn_piped *p = proc_of(base);
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
piped_write(csn_proc *base, csn_scope *sc, csn_str bytes, csn_err *err)
{
  struct csn_piped *p = proc_of(base);
  csn_str rest = bytes;
  while (rest.n) {
    pthread_mutex_lock(&p->lock);
    int fd = p->in < 0 && base->tty ? p->out[0] : p->in;
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
piped_close_stdin(csn_proc *base)
{
  struct csn_piped *p = proc_of(base);
  pthread_mutex_lock(&p->lock);
  if (p->in >= 0 && !base->tty) { /* keeper_tty.h: a terminal's is not its end of input */
    close(p->in);
    p->in = -1;
  }
  pthread_mutex_unlock(&p->lock);
}

static int
piped_signal(csn_proc *base, int sig, csn_err *err)
{
  struct csn_piped *p = proc_of(base);
  if (has_ended_locked(p))
    return csn_fail(err, CSN_E_NOT_FOUND, "the command has ended");
  int32_t number = sig;
  if (send(p->channel, &number, sizeof number, MSG_NOSIGNAL) != sizeof number)
    return csn_fail(err, CSN_E_NOT_FOUND, "the command has ended");
  return 0;
}

static int
piped_resize(csn_proc *base, int rows, int cols, csn_err *err)
{
  struct csn_piped *p = proc_of(base);
  struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};
  const int32_t told[2] = {rows, cols};
  if (ioctl(p->out[0], TIOCSWINSZ, &size) == 0)
    return 0;
  if (errno != ENOTTY || send(p->channel, told, sizeof told, MSG_NOSIGNAL) != sizeof told)
    return csn_fail_errno(err, "resize");
  return 0;
}

static void
piped_close(csn_proc *base)
{
  struct csn_piped *p = proc_of(base);
  csn_closep(&p->channel); /* the keeper kills the group of a leader that still runs */
  csn_closep(&p->out[0]);
  csn_closep(&p->out[1]);
  csn_closep(&p->in);
  pthread_mutex_destroy(&p->lock);
  free(p);
}

static const csn_proc_ops proc_ops = {
    .read = piped_read,
    .wait = piped_wait,
    .write = piped_write,
    .close_stdin = piped_close_stdin,
    .signal = piped_signal,
    .resize = piped_resize,
    .close = piped_close,
};

/* ---- starting ---- */

struct csn_piped *
csn_piped_new(bool tty)
{
  struct csn_piped *p = csn_alloc(sizeof *p);
  *p = (struct csn_piped){.base = {&proc_ops, tty}, .channel = -1, .out = {-1, -1}, .in = -1};
  pthread_mutex_init(&p->lock, NULL);
  return p;
}

void
csn_piped_free(struct csn_piped *p)
{
  if (p)
    piped_close(&p->base);
}

int
csn_piped_channel(struct csn_piped *p, int *theirs, csn_err *err)
{
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return csn_fail_errno(err, "socketpair");
  p->channel = pair[0];
  *theirs = pair[1];
  return 0;
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

int
csn_piped_pipes(struct csn_piped *p, const csn_exec *x, int theirs[3], csn_err *err)
{
  int rc = open_pipe(&p->out[0], &theirs[1], true, err);
  if (rc == 0 && x->split_output)
    rc = open_pipe(&p->out[1], &theirs[2], true, err);
  if (rc == 0 && x->with_stdin)
    rc = open_pipe(&p->in, &theirs[0], false, err);
  return rc;
}

static int
not_started(const csn_command_event *e, const csn_exec *x, csn_err *err)
{
  errno = e->value;
  switch (e->more) {
  case CSN_COMMAND_AT_CWD:
    return csn_fail_errno(err, "cwd %.200s", x->cwd ? x->cwd : ".");
  case CSN_COMMAND_AT_CLAIM:
    return csn_fail_errno(err, "cannot write to claim_fd");
  case CSN_COMMAND_AT_SCOPE:
    return csn_fail_errno(err, "hold it to its parts of the workspace");
  case CSN_COMMAND_AT_EXEC:
    if (errno == ENOENT || errno == ENOTDIR)
      return csn_fail(err, CSN_E_NOT_FOUND, "no such program");
    return csn_fail_errno(err, "cannot execute it");
  default:
    return csn_fail_errno(err, "cannot start a process");
  }
}

int
csn_piped_await(struct csn_piped *p, csn_scope *sc, const csn_exec *x, csn_err *err)
{
  struct pollfd fd = {.fd = p->channel, .events = POLLIN};
  int rc = csn_poll(sc, &fd, 1, err);
  if (rc < 0)
    return rc;
  csn_command_event e;
  int master = -1;
  if (csn_fds_recv(p->channel, &e, sizeof e, &master, 1) != sizeof e) {
    csn_closep(&master);
    return lost(err);
  }
  if (master >= 0 && x->tty && p->out[0] < 0)
    p->out[0] = master;
  else
    csn_closep(&master);
  return e.kind == CSN_COMMAND_STARTED ? 0 : not_started(&e, x, err);
}

/* ---- descriptors over sockets ---- */

int
csn_fds_send(int sock, csn_scope *sc, csn_str bytes, const int *fds, size_t n, csn_err *err)
{
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int) * CSN_FDS_MAX)];
  } c = {.head = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
  c.head.cmsg_len = CMSG_LEN(n * sizeof(int));
  if (n)
    memcpy(CMSG_DATA(&c.head), fds, n * sizeof(int));
  while (bytes.n) {
    struct iovec iov = {(void *)(uintptr_t)bytes.p, bytes.n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n) {
      m.msg_control = &c;
      m.msg_controllen = CMSG_SPACE(n * sizeof(int));
    }
    ssize_t sent = sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      bytes = csn_strn(bytes.p + sent, bytes.n - (size_t)sent);
      n = 0; /* they travel with the first byte */
      continue;
    }
    if (errno == EPIPE || errno == ECONNRESET)
      return lost(err);
    if (errno != EAGAIN && errno != EINTR)
      return csn_fail_errno(err, "send to the process that keeps the sandbox");
    struct pollfd fd = {.fd = sock, .events = POLLOUT};
    int rc = csn_poll(sc, &fd, 1, err);
    if (rc < 0)
      return rc;
  }
  return 0;
}

ssize_t
csn_fds_recv(int sock, void *to, size_t room, int *fds, size_t n)
{
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int) * CSN_FDS_MAX)];
  } c;
  struct iovec iov = {to, room};
  struct msghdr m = {.msg_iov = &iov,
                     .msg_iovlen = 1,
                     .msg_control = &c,
                     .msg_controllen = CMSG_SPACE(n * sizeof(int))};
  for (size_t i = 0; i < n; i++)
    fds[i] = -1;
  ssize_t got = recvmsg(sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  struct cmsghdr *h = got < 0 ? NULL : CMSG_FIRSTHDR(&m);
  size_t count = h && h->cmsg_type == SCM_RIGHTS ? (h->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
  for (size_t i = 0; i < count; i++) { /* alignment leaves room for one more than n */
    int fd;
    memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
    if (i < n)
      fds[i] = fd;
    else
      close(fd);
  }
  return got;
}
