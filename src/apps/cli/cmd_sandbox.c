/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson sandbox run -- CMD... - one command in a fresh sandbox, with our
 * streams: bytes are handed on as they are, signals and the window's size go
 * in, the exit status comes out.
 *
 * The calling thread moves output.  Input has a thread of its own, because a
 * command may write a lot before it reads; signals have theirs.  Nothing else
 * of the harness (state, pool, loop) is started.
 */
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

#include "caisson/sandbox.h"
#include "commands.h"
#include "core/fd.h"
#include "importing.h"
#include "networking.h"
#include "sandbox/jail.h"
#include "sandbox/limits.h"
#include "sandbox/rootfs.h"
#include "sandbox/rootfs_word.h"
#include "snapshotting.h"

enum { CHUNK = 64 << 10 };

/* What a shell would report for a program that cannot be started. */
enum { STATUS_NOT_EXECUTABLE = 126, STATUS_NOT_FOUND = 127 };

struct run_opts {
  const char *backend, *level, *rootfs, *user, *workspace, *cwd, *from, *snapshot;
  cli_list env, devices;
  const char *limits[CSN_LIMITS];
  bool strict;
  cli_network_opts network;
  cli_list expose;
};

#define LIMIT(name, value, help, which)                                                            \
  {                                                                                                \
    name, 0, value, help, CLI_STR(struct run_opts, limits[CSN_LIMIT_##which])                      \
  }

static const cli_opt opts[] = {
    {"backend", 0, "jail|local", "How to isolate it; local does not",
     CLI_STR(struct run_opts, backend)},
    {"level", 0, "native|gvisor", "How strong a jail is; gvisor has a kernel of its own (runsc)",
     CLI_STR(struct run_opts, level)},
    {"rootfs", 0, "WORD",
     "Use the root file system dir:DIR, tar:FILE, oci:PATH or image:NAME instead of this machine's "
     "programs",
     CLI_STR(struct run_opts, rootfs)},
    {"user", 'u', "USER", "Be the user NAME or UID[:GID] of the root file system, or a new NAME",
     CLI_STR(struct run_opts, user)},
    {"device", 0, "nvidia|dri|fuse",
     "Let it use a device of this machine; may be given several times",
     CLI_LIST(struct run_opts, devices)},
    {"workspace", 'w', "DIR", "Make DIR the workspace instead of an empty one",
     CLI_STR(struct run_opts, workspace)},
    {"from", 0, "NAME", "Begin with what the snapshot NAME holds", CLI_STR(struct run_opts, from)},
    {"snapshot", 0, "NAME", "Save the workspace as snapshot NAME when the command has ended",
     CLI_STR(struct run_opts, snapshot)},
    {"chdir", 0, "PATH", "Start in PATH of the workspace", CLI_STR(struct run_opts, cwd)},
    {"env", 'e', "NAME=VALUE", "Set a variable; may be given several times",
     CLI_LIST(struct run_opts, env)},
    LIMIT("memory", "SIZE", "Most memory of all processes, /tmp and home; 1GiB, say", MEMORY),
    LIMIT("swap", "SIZE", "Most swap beside it; none unless given", SWAP),
    LIMIT("pids", "N", "Most processes and threads at once", PIDS),
    LIMIT("cpu", "N", "Processors; 1.5 is one and a half", CPU),
    LIMIT("disk", "SIZE", "Size of the workspace", DISK),
    LIMIT("inodes", "N", "Most files and folders in the workspace", INODES),
    LIMIT("open-files", "N", "Most open files of one process", OPEN_FILES),
    LIMIT("file-size", "SIZE", "Largest file", FILE_SIZE),
    LIMIT("wall", "TIME", "End it after this time; 90s, 10m or 1h", WALL),
    LIMIT("output", "SIZE", "Most output", OUTPUT),
    {"strict", 0, NULL, "Refuse where a limit that is given is not enforced",
     CLI_BOOL(struct run_opts, strict)},
    CLI_NETWORK_OPTS(struct run_opts, network),
    {"expose", 0, "[HERE:]PORT", "Reach its PORT at 127.0.0.1:HERE, or at any port that is free",
     CLI_LIST(struct run_opts, expose)},
    {0},
};

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

/* Unpacks an image here and not while the sandbox opens, for its progress to
 * be seen.  The word with an absolute path, or NULL. */
static const char *
prepare_rootfs(cli *c, const char *text, csn_rootfs **out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf word = CSN_BUF(1 << 16);
  csn_auto(csn_freep) char *here = getcwd(NULL, 0);
  csn_image_progress progress = cli_import_progress(c);
  csn_rootfs_word_resolve(&word, csn_cstr(text), here ? here : "");
  int rc = csn_buf_done(&word, "option --rootfs", err);
  if (rc == 0)
    rc = csn_rootfs_open(out, &c->scope, word.p, &progress, err);
  if (c->err_tty)
    cli_status(c, NULL);
  return rc < 0 ? NULL : csn_arena_dup(c->arena, csn_buf_str(&word)).p;
}

static int
read_limits(const struct run_opts *o, csn_sandbox_limits *l, csn_err *err)
{
  int rc = 0;
  *l = (csn_sandbox_limits){.strict = o->strict};
  for (enum csn_limit i = 0; i < CSN_LIMITS && rc == 0; i++) {
    int64_t value = 0;
    if (!o->limits[i])
      continue;
    rc = csn_limit_parse(i, csn_cstr(o->limits[i]), &value, err);
    csn_limit_ask(l, i, value);
  }
  return rc;
}

static int
run_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct run_opts *o = opt;
  csn_err unheard; /* the sandbox says so as well, when it is opened */
  if (!o->backend || strcmp(o->backend, "jail") == 0)
    (void)!csn_jail_start(&unheard);
  for (size_t i = 0; i < o->env.n; i++)
    if (!strchr(o->env.v[i], '=') || o->env.v[i][0] == '=')
      return csn_fail(err, CSN_E_INVALID, "option --env: '%s' should be NAME=VALUE", o->env.v[i]);
  csn_sandbox_limits limits;
  int rc = read_limits(o, &limits, err);
  if (rc < 0)
    return rc;
  csn_auto(csn_closep) int workspace = -1;
  if (o->workspace) {
    workspace = open(o->workspace, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (workspace < 0)
      return csn_fail_errno(err, "cannot open the workspace %s", o->workspace);
  }
  csn_auto(csn_rootfs_freep) csn_rootfs *rootfs = NULL;
  const char *word = NULL;
  if (o->rootfs && (word = prepare_rootfs(c, o->rootfs, &rootfs, err)) == NULL)
    return err->code;
  csn_network *network;
  cli_ports want;
  rc = cli_network_policy(c, &o->network, &network, err);
  if (rc == 0)
    rc = cli_ports_read(&want, &o->expose, err);
  if (rc < 0)
    return rc;
  csn_sandbox_spec spec = {.network = network,
                           .expose = want.ports,
                           .n_expose = want.n,
                           .backend = o->backend,
                           .level = o->level,
                           .workspace_fd = workspace,
                           .lock_fd = -1,
                           .rootfs = word,
                           .user = o->user,
                           .devices = o->devices.v,
                           .environment = o->env.v,
                           .limits = &limits};
  bool tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
  csn_exec x = {.argv = (const char *const *)argv,
                .cwd = o->cwd,
                .tty = tty,
                .with_stdin = tty || !is_dev_null(STDIN_FILENO),
                .split_output = !tty,
                .claim_fd = -1};
  if (tty)
    window_size(&x.rows, &x.cols);
  cli_no_sigpipe();
  cli_layered layered = {.from = o->from, .save = o->snapshot};
  csn_auto(cli_layered_closep) cli_layered *l = &layered; /* after the sandbox */
  csn_auto(csn_sandbox_closep) csn_sandbox *sb = NULL;
  csn_auto(cli_ports_close) cli_ports *ports = &want; /* before the sandbox */
  rc = cli_layered_open(c, l, &spec, err);
  if (rc == 0)
    rc = csn_sandbox_open(&sb, &c->scope, &spec, err);
  cli_layered_opened(l);
  if (rc == 0)
    rc = cli_ports_open(c, ports, sb, err);
  if (rc < 0)
    return rc;
  session *s = csn_arena_alloc(c->arena, sizeof *s); /* outlives this call, for the signals */
  pthread_mutex_init(&s->lock, NULL);
  s->end_fd = eventfd(0, EFD_CLOEXEC);
  rc = csn_sandbox_spawn(sb, &c->scope, &x, &s->proc, err);
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
  if (o->snapshot) { /* nothing may run in it any more */
    cli_ports_close(&ports);
    csn_sandbox_close(csn_steal(sb));
    rc = cli_layered_save(c, l, workspace, err);
  }
  return rc < 0 ? rc : ended.code;
}

static const cli_cmd sandbox_run = {
    .name = "run",
    .args = "CMD...",
    .brief = "Run one command in a fresh sandbox",
    .help =
        "The status is the command's; 126 and 127 mean that it could not be executed or was "
        "not found, and 128 plus a number that a signal ended it; when that was a limit, a "
        "line on stderr says which. Without a workspace it "
        "gets an empty one that goes away with it.\n\n"
        "When both stdin and stdout are a terminal the command gets one of its own and ours "
        "does what it says; else its control characters are shown on a terminal, not sent.\n\n"
        "What the command makes in a workspace belongs to the owner of the folder; what stands in "
        "it and belongs to somebody else keeps its owner and can be read as its mode says.\n\n"
        "With --from the workspace begins with a snapshot's files and goes away at the end, with "
        "--snapshot it is saved; processes that still run then are ended first.",
    .rest = true,
    .size = sizeof(struct run_opts),
    .opts = opts,
    .main = run_main,
};

static const cli_cmd *const subs[] = {&sandbox_run, &cmd_sandbox_port, &cmd_sandbox_gc, NULL};

const cli_cmd cmd_sandbox = {
    .name = "sandbox",
    .brief = "Work with sandboxes directly",
    .sub = subs,
};
