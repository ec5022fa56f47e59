/* SPDX-License-Identifier: Apache-2.0
 *
 * tunnel.c - connections to ports inside of a sandbox that nobody can connect to
 * from outside: a command there connects, and its input and output are the
 * connection.
 *
 * So any protocol gets through, servers may listen on the loopback interface
 * alone, and the sandbox is not opened to anybody else.  Two threads pass the
 * bytes on, as a command has no descriptor to poll.  The commands are ours: no
 * limit on the model's counts them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

#include "core/poll.h"
#include "core/thread.h"
#include "sandbox/backends.h"

enum { PIECE = 64 << 10, MOST = 64, NO_PROGRAM = 3 };

/* ---- inside ---- */

/* Says "+" when it has connected.  IPv4 first, as clients do. */
static const char in_perl[] =
    "use Socket;\n"
    "my ($p) = @ARGV; my $s;\n"
    "for ([PF_INET, pack_sockaddr_in($p, INADDR_LOOPBACK)],\n"
    "     [PF_INET6, pack_sockaddr_in6($p, Socket::IN6ADDR_LOOPBACK)]) {\n"
    "  socket(my $t, $_->[0], SOCK_STREAM, 0) or next;\n"
    "  if (connect($t, $_->[1])) { $s = $t; last }\n"
    "}\n"
    "$s or exit 1;\n"
    "sub pass {\n"
    "  my ($from, $to) = @_;\n"
    "  while (sysread($from, my $b, 65536)) {\n"
    "    for (my $o = 0; $o < length $b;) { $o += syswrite($to, $b, 65536, $o) || exit 0 }\n"
    "  }\n"
    "}\n"
    "syswrite(STDOUT, '+');\n"
    "my $c = fork;\n"
    "if (!$c) { pass(*STDIN, $s); shutdown($s, 1); exit 0 }\n"
    "pass($s, *STDOUT);\n"
    "kill 9, $c;\n";

/* It cannot end one direction alone. */
static const char in_bash[] = "exec 3<>\"/dev/tcp/127.0.0.1/$1\" || exec 3<>\"/dev/tcp/::1/$1\" || "
                              "exit 1\n"
                              "printf +\n"
                              "cat <&0 >&3 &\n"
                              "cat <&3\n"
                              "kill -9 $!\n";

/* nc does not tell whether it has connected: who listens is looked up before. */
static const char in_sh[] = "exec 2>/dev/null\n"
                            "has() { command -v \"$1\" >/dev/null; }\n"
                            "! has perl || exec perl -e \"$2\" \"$1\"\n"
                            "! has bash || exec bash -c \"$3\" tunnel \"$1\"\n"
                            "has nc || exit 3\n"
                            "p=$(printf ':%04X [0-9A-F:]* 0A' \"$1\")\n"
                            "if grep -q \"$p\" /proc/net/tcp; then a=127.0.0.1\n"
                            "elif ! grep -q \"$p\" /proc/net/tcp6; then exit 1\n"
                            "else a=::1\n"
                            "fi\n"
                            "printf +\n"
                            "exec nc \"$a\" \"$1\"\n";

/* ---- one connection ---- */

struct tunnel {
  csn_proc *p;
  int fd;          /* our end of the pair */
  csn_scope scope; /* until it is over */
  pthread_t up, down;
  csn_atomic_bool is_over; /* its threads end or have ended */
  struct tunnel *next;
};

struct csn_tunnels {
  pthread_mutex_t lock;
  struct tunnel *list;
  int n;
};

/* All of it, to whom reads slowly, too. */
static int
send_all(struct tunnel *t, csn_str bytes)
{
  while (bytes.n) {
    struct pollfd ready = {.fd = t->fd, .events = POLLOUT};
    ssize_t n = send(t->fd, bytes.p, bytes.n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR)
      return CSN_E_IO;
    int rc = n < 0 ? csn_poll(&t->scope, &ready, 1, NULL) : 0;
    if (rc < 0)
      return rc;
    bytes = n < 0 ? bytes : csn_strn(bytes.p + n, bytes.n - (size_t)n);
  }
  return 0;
}

/* From the sandbox; when the server has ended, all has. */
static void *
pass_down(void *user)
{
  struct tunnel *t = user;
  csn_auto(csn_buf_finip) csn_buf piece = CSN_BUF(PIECE);
  enum csn_stream which = CSN_STDOUT;
  int rc;
  do {
    csn_buf_clear(&piece);
    rc = t->p->ops->read(t->p, &t->scope, &piece, PIECE, &which, NULL);
    if (rc > 0) /* the command is silent there: bytes were lost, which is told so */
      rc = which == CSN_STDERR ? CSN_E_IO : send_all(t, csn_buf_str(&piece)) < 0 ? CSN_E_IO : 1;
  } while (rc > 0);
  shutdown(t->fd, rc == 0 ? SHUT_WR : SHUT_RDWR);
  t->is_over = true;
  csn_scope_cancel(&t->scope);
  return NULL;
}

/* Waits until the client is gone for good, not only done with writing. */
static void
await_end(struct tunnel *t)
{
  struct pollfd gone = {.fd = t->fd};
  while (csn_poll(&t->scope, &gone, 1, NULL) >= 0 && !(gone.revents & (POLLHUP | POLLERR)))
    continue;
}

static void *
pass_up(void *user)
{
  struct tunnel *t = user;
  csn_auto(csn_freep) char *piece = csn_alloc(PIECE);
  struct pollfd ready = {.fd = t->fd, .events = POLLIN};
  ssize_t n = 1;
  int rc = 0;
  while (rc >= 0 && n > 0 && (rc = csn_poll(&t->scope, &ready, 1, NULL)) >= 0) {
    n = recv(t->fd, piece, PIECE, MSG_DONTWAIT);
    if (n > 0)
      rc = t->p->ops->write(t->p, &t->scope, csn_strn(piece, (size_t)n), NULL);
    else if (n < 0 && (errno == EAGAIN || errno == EINTR))
      n = 1;
  }
  if (rc >= 0 && n == 0) {
    t->p->ops->close_stdin(t->p);
    await_end(t);
  }
  t->is_over = true;
  csn_scope_cancel(&t->scope);
  return NULL;
}

/* Its threads have ended, or never began. */
static void
tunnel_free(struct tunnel *t)
{
  if (t->p)
    t->p->ops->close(t->p);
  csn_closep(&t->fd);
  csn_scope_fini(&t->scope);
  free(t);
}

static void
tunnel_join(struct tunnel *t)
{
  csn_scope_cancel(&t->scope);
  pthread_join(t->up, NULL);
  pthread_join(t->down, NULL);
  tunnel_free(t);
}

/* Waits for the command's word. */
static int
await_begin(csn_proc *p, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf word = CSN_BUF(1);
  enum csn_stream which = CSN_STDOUT;
  csn_exit end = {0};
  int rc = p->ops->read(p, sc, &word, 1, &which, err);
  if (rc == 1 && which == CSN_STDOUT && *word.p == '+')
    return 0;
  if (rc >= 0)
    rc = p->ops->wait(p, sc, &end, err);
  if (rc < 0)
    return rc;
  if (end.code == NO_PROGRAM)
    return csn_fail(err, CSN_E_UNSUPPORTED, "to connect there, the sandbox needs perl, bash or nc");
  return csn_fail(err, CSN_E_UNAVAILABLE, "nobody listens there");
}

static int
begin(struct tunnel *t, csn_sandbox *sb, csn_scope *sc, uint16_t port, csn_err *err)
{
  char number[8];
  snprintf(number, sizeof number, "%u", port);
  const char *argv[] = {"sh", "-c", in_sh, "tunnel", number, in_perl, in_bash, NULL};
  const csn_exec x = {
      .argv = argv, .cwd = "/", .with_stdin = true, .split_output = true, .claim_fd = -1};
  int rc = sb->ops->spawn(sb, sc, &x, &t->p, err);
  if (rc == 0)
    rc = await_begin(t->p, sc, err);
  if (rc == 0)
    rc = csn_thread_start(&t->up, pass_up, t, "a connection", err);
  if (rc < 0)
    return rc;
  rc = csn_thread_start(&t->down, pass_down, t, "a connection", err);
  if (rc < 0) {
    csn_scope_cancel(&t->scope);
    pthread_join(t->up, NULL);
  }
  return rc;
}

/* ---- all of a sandbox ---- */

/* Those that are over go. */
static void
reap(struct csn_tunnels *all)
{
  for (struct tunnel **at = &all->list, *t; (t = *at);) {
    if (!t->is_over) {
      at = &t->next;
      continue;
    }
    *at = t->next;
    all->n--;
    tunnel_join(t);
  }
}

struct csn_tunnels *
csn_tunnels_new(void)
{
  struct csn_tunnels *all = csn_alloc(sizeof *all);
  *all = (struct csn_tunnels){0};
  pthread_mutex_init(&all->lock, NULL);
  return all;
}

int
csn_sandbox_dial_by_command(csn_sandbox *sb, csn_scope *sc, uint16_t port, int *fd, csn_err *err)
{
  struct csn_tunnels *all = sb->tunnels;
  int pair[2], rc;
  pthread_mutex_lock(&all->lock);
  reap(all);
  rc = all->n >= MOST ? csn_fail(err, CSN_E_LIMIT, "more than %d connections at once", MOST) : 0;
  all->n += rc == 0;
  pthread_mutex_unlock(&all->lock);
  if (rc < 0)
    return rc;
  struct tunnel *t = csn_alloc(sizeof *t);
  *t = (struct tunnel){.fd = -1};
  csn_scope_init(&t->scope, NULL, -1);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
    rc = csn_fail_errno(err, "socketpair");
  csn_auto(csn_closep) int theirs = rc < 0 ? -1 : pair[1];
  t->fd = rc < 0 ? -1 : pair[0];
  if (rc == 0)
    rc = begin(t, sb, sc, port, err);
  if (rc < 0)
    tunnel_free(t);
  pthread_mutex_lock(&all->lock);
  if (rc < 0) {
    all->n--;
  } else {
    t->next = all->list;
    all->list = t;
  }
  pthread_mutex_unlock(&all->lock);
  if (rc < 0)
    return rc;
  *fd = theirs;
  theirs = -1;
  return 0;
}

void
csn_tunnels_free(struct csn_tunnels *all)
{
  if (!all)
    return;
  for (struct tunnel *t = all->list; t; t = t->next)
    csn_scope_cancel(&t->scope);
  for (struct tunnel *t = all->list, *next; t; t = next) {
    next = t->next;
    tunnel_join(t);
  }
  pthread_mutex_destroy(&all->lock);
  free(all);
}
