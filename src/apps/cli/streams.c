/* SPDX-License-Identifier: Apache-2.0
 *
 * streams.c - see streams.h.
 *
 * The calling thread moves output.  Input has a thread of its own, because a
 * command may write a lot before it reads; signals have theirs.
 */
#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>

#include "core/fd.h"

enum { CHUNK = 64 << 10 };

/* What a shell would report for a program that cannot be started. */
enum { STATUS_NOT_EXECUTABLE = 126, STATUS_NOT_FOUND = 127 };

/* One of our streams that the command's goes to.  A command without a terminal
 * of its own has no business steering ours: its control characters are shown. */
struct stream {
  bool is_shown;
  char rest[4]; /* of a character that was cut between two reads */
  size_t n;
};

/* The command while it runs. */
typedef struct session {
  pthread_mutex_t lock; /* the signal thread never ends, so it asks is_over first */
  bool is_over;
  csn_proc *proc;
  csn_scope input; /* of the input thread; cancelled at the end */
  int end_fd;      /* readable at the end */
  bool is_raw;
  struct termios cooked;
  struct stream out, err;
} session;

static void *
pump_input(void *arg)
{
  session *s = arg;
  csn_buf chunk = CSN_BUF(CHUNK + 1);
  for (;;) {
    struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
                            {.fd = s->end_fd, .events = POLLIN}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR)
      break;
    if (fds[1].revents)
      break;
    if (!fds[0].revents)
      continue;
    char *room = csn_buf_room(&chunk, CHUNK);
    ssize_t n = read(STDIN_FILENO, room, CHUNK);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
      continue;
    if (n <= 0) { /* the end, or nothing to read from */
      csn_proc_close_stdin(s->proc);
      break;
    }
    csn_err err;
    if (csn_proc_write(s->proc, &s->input, csn_strn(room, (size_t)n), &err) < 0)
      break; /* it reads no more, or it has ended */
  }
  csn_buf_fini(&chunk);
  return NULL;
}

static void
window_size(uint16_t *rows, uint16_t *cols)
{
  struct winsize w = {0};
  if (ioctl(STDIN_FILENO, TIOCGWINSZ, &w) == 0) {
    *rows = w.ws_row;
    *cols = w.ws_col;
  }
}

static void
hand_on_signal(void *user, int sig)
{
  session *s = user;
  csn_err err; /* a command that has just ended cannot be signalled: no harm */
  pthread_mutex_lock(&s->lock);
  if (!s->is_over && sig == SIGWINCH) {
    uint16_t rows = 0, cols = 0;
    window_size(&rows, &cols);
    (void)!csn_proc_resize(s->proc, rows, cols, &err);
  } else if (!s->is_over) {
    (void)!csn_proc_signal(s->proc, sig, &err);
  }
  pthread_mutex_unlock(&s->lock);
}

static void
make_raw(session *s)
{
  if (tcgetattr(STDIN_FILENO, &s->cooked) < 0)
    return;
  struct termios raw = s->cooked;
  cfmakeraw(&raw);
  s->is_raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

/* Bytes at the end that begin a character and do not end it. */
static size_t
cut_off(csn_str s)
{
  for (size_t back = 1; back <= 3 && back <= s.n; back++) {
    unsigned char ch = (unsigned char)s.p[s.n - back];
    if (ch >= 0xc0)
      return back < (ch < 0xe0 ? 2u : ch < 0xf0 ? 3u : 4u) ? back : 0;
    if (ch < 0x80)
      return 0;
  }
  return 0;
}

static void
show(struct stream *to, FILE *file, csn_str bytes, bool is_end)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(CHUNK + 8);
  csn_buf_add(&text, csn_strn(to->rest, to->n));
  csn_buf_add(&text, bytes);
  to->n = is_end ? 0 : cut_off(csn_buf_str(&text));
  if (to->n)
    memcpy(to->rest, text.p + text.n - to->n, to->n);
  cli_put(file, csn_strn(text.p, text.n - to->n));
  fflush(file);
}

static int
pass_on(session *s, enum csn_stream which, csn_str bytes, csn_err *err)
{
  bool is_err = which == CSN_STDERR;
  struct stream *to = is_err ? &s->err : &s->out;
  FILE *file = is_err ? stderr : stdout;
  if (!to->is_shown)
    return csn_fd_write_all(is_err ? STDERR_FILENO : STDOUT_FILENO, bytes, err);
  show(to, file, bytes, false);
  return ferror(file) ? csn_fail_errno(err, "write") : 0;
}

/* Moves output until there is no more. */
static int
pump_output(session *s, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf chunk = CSN_BUF(CHUNK + 1);
  for (;;) {
    enum csn_stream which = CSN_STDOUT;
    csn_buf_clear(&chunk);
    int rc = csn_proc_read(s->proc, sc, &chunk, CHUNK, &which, err);
    if (rc <= 0) {
      show(&s->out, stdout, csn_strn(NULL, 0), true);
      show(&s->err, stderr, csn_strn(NULL, 0), true);
      return rc;
    }
    rc = pass_on(s, which, csn_buf_str(&chunk), err);
    if (rc < 0)
      return csn_wrap(err, rc, "cannot pass the output on");
  }
}

/* On stderr, so that a limit's kill is told from a crash. */
static void
tell_limits(cli *c, const csn_sandbox *sb, const csn_exit *ended)
{
  csn_auto(csn_buf_finip) csn_buf why = CSN_BUF(1000);
  csn_exit_explain(sb, ended, &why);
  if (why.n)
    cli_error(c, "%s", why.p);
}

static int
run_session(cli *c, session *s, bool with_stdin, csn_exit *ended, csn_err *err)
{
  static const int signals[] = {SIGINT,  SIGTERM, SIGHUP,   SIGQUIT, SIGUSR1,
                                SIGUSR2, SIGCONT, SIGWINCH, 0};
  int rc = cli_on_signals(c, signals, hand_on_signal, s, err);
  if (rc < 0)
    return rc;
  pthread_t input;
  if (with_stdin) {
    errno = pthread_create(&input, NULL, pump_input, s);
    if (errno != 0)
      return csn_fail_errno(err, "cannot start the thread that moves input");
  }
  rc = pump_output(s, &c->scope, err);
  if (rc >= 0)
    rc = csn_proc_wait(s->proc, &c->scope, ended, err);
  if (with_stdin) {
    csn_scope_cancel(&s->input);
    (void)!eventfd_write(s->end_fd, 1);
    pthread_join(input, NULL);
  }
  return rc;
}

/* Everything but an empty stdin needs a thread. */
static bool
is_dev_null(int fd)
{
  struct stat st;
  return fstat(fd, &st) < 0 || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

static void
end_session(session *s)
{
  if (s->is_raw)
    tcsetattr(STDIN_FILENO, TCSADRAIN, &s->cooked);
  pthread_mutex_lock(&s->lock);
  s->is_over = true;
  csn_proc_close(s->proc);
  pthread_mutex_unlock(&s->lock);
}

int
cli_exec(cli *c, csn_sandbox *sb, const cli_command *what, csn_err *err)
{
  bool tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
  csn_exec x = {.argv = what->argv,
                .cwd = what->cwd,
                .user = what->user,
                .environment = what->environment,
                .tty = tty,
                .with_stdin = tty || !is_dev_null(STDIN_FILENO),
                .split_output = !tty,
                .claim_fd = -1};
  if (tty)
    window_size(&x.rows, &x.cols);
  session *s = csn_arena_alloc(c->arena, sizeof *s); /* outlives this call, for the signals */
  pthread_mutex_init(&s->lock, NULL);
  s->end_fd = eventfd(0, EFD_CLOEXEC);
  int rc = csn_sandbox_spawn(sb, &c->scope, &x, &s->proc, err);
  if (rc == CSN_E_NOT_FOUND || rc == CSN_E_DENIED) {
    cli_error(c, "%s", err->msg);
    return rc == CSN_E_DENIED ? STATUS_NOT_EXECUTABLE : STATUS_NOT_FOUND;
  }
  if (rc < 0)
    return rc;
  csn_scope_init(&s->input, NULL, -1);
  s->out.is_shown = !tty && isatty(STDOUT_FILENO);
  s->err.is_shown = !tty && isatty(STDERR_FILENO);
  if (tty)
    make_raw(s);
  csn_exit ended = {0};
  rc = run_session(c, s, x.with_stdin, &ended, err);
  end_session(s);
  if (rc < 0)
    return rc;
  tell_limits(c, sb, &ended);
  return ended.code;
}
