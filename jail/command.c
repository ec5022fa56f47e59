/* SPDX-License-Identifier: Apache-2.0
 *
 * command.c - starts one command in the jail.
 *
 * The child comes from clone(CLONE_VM | CLONE_VFORK): it shares the warden's
 * memory until it executes, so a failure is told through a variable, and the
 * warden's size does not matter.  The seal is inherited; what is left to do is
 * a session, three descriptors, the folder and, where the jail has more than
 * one user id, who it is.
 */
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

#include "core/command.h"
#include "jail/sys.h"
#include "jail/warden.h"
#include "jail/words.h"

enum { CHILD_STACK = 64 * 1024 };

/* A request, and through shared memory how it failed. */
struct start {
  const struct warden *warden;
  const csn_jail_exec *x;
  const char *cwd;
  const struct csn_scope_words *scope;
  char **argv, **envp;
  int in, out, err, claim; /* claim: -1 for none */
  bool tty;
  volatile int failure, stage;
};

/* ---- in the child ---- */

static _Noreturn void
give_up(struct start *s, int stage)
{
  s->failure = errno ? errno : EIO;
  s->stage = stage;
  _exit(127);
}

static bool
is_program(const char *path)
{
  struct stat st;
  if (stat(path, &st) < 0)
    return false;
  if (!S_ISREG(st.st_mode)) {
    errno = EACCES;
    return false;
  }
  return access(path, X_OK) == 0;
}

static const char *
variable(char **envp, const char *name)
{
  size_t n = strlen(name);
  for (; *envp; envp++)
    if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
      return *envp + n + 1;
  return NULL;
}

/* The program's file as execvp(3) would find it; false with errno. */
static bool
find_program(const char *name, char **envp, char path[PATH_MAX])
{
  size_t len = strlen(name);
  if (strchr(name, '/')) {
    errno = ENAMETOOLONG;
    return len < PATH_MAX && is_program(memcpy(path, name, len + 1));
  }
  const char *dirs = variable(envp, "PATH");
  struct stat st;
  bool denied = false;
  while (dirs) {
    const char *end = strchrnul(dirs, ':');
    size_t n = (size_t)(end - dirs);
    if (n + len + 3 <= PATH_MAX) {
      memcpy(path, dirs, n);
      if (n == 0)
        path[n++] = '.';
      path[n++] = '/';
      memcpy(path + n, name, len + 1);
      if (is_program(path))
        return true;
      denied |= errno == EACCES && stat(path, &st) == 0; /* not: a folder closed to us */
    }
    dirs = *end ? end + 1 : NULL;
  }
  errno = denied ? EACCES : ENOENT;
  return false;
}

static void
execute(struct start *s)
{
  char path[PATH_MAX];
  struct stat before = {0};
  if (!find_program(s->argv[0], s->envp, path))
    give_up(s, CSN_COMMAND_AT_EXEC);
  if (s->claim >= 0 && (fstat(s->claim, &before) < 0 || write(s->claim, "1", 1) != 1))
    give_up(s, CSN_COMMAND_AT_CLAIM);
  execve(path, s->argv, s->envp);
  int e = errno;
  /* It did not start after all: take the claim back. */
  if (s->claim >= 0 && S_ISREG(before.st_mode))
    (void)!ftruncate(s->claim, before.st_size);
  errno = e;
  give_up(s, CSN_COMMAND_AT_EXEC);
}

/* Never root, which would be the warden's equal; but for a build, which needs
 * that, and whose warden keeps no capability that its commands have not. */
static uid_t
user_of(const struct warden *w, uint32_t id)
{
  return id || w->plan->open.is_build ? id : CSN_JAIL_UID;
}

static bool
become(const struct warden *w, const csn_jail_exec *x)
{
  gid_t groups[CSN_JAIL_GROUPS_MAX], gid = user_of(w, x->gid);
  uid_t uid = user_of(w, x->uid);
  errno = EPERM;
  if (x->n_groups > CSN_JAIL_GROUPS_MAX)
    return false;
  for (size_t i = 0; i < x->n_groups; i++) {
    if (x->groups[i] == 0)
      return false;
    groups[i] = x->groups[i];
  }
  bool keeps = w->plan->open.keep_groups && x->n_groups == 0;
  return (keeps || setgroups(x->n_groups, groups) == 0) && setresgid(gid, gid, gid) == 0 &&
         setresuid(uid, uid, uid) == 0;
}

static int
child_main(void *arg)
{
  struct start *s = arg;
  const int from[3] = {s->in, s->out, s->err};
  sigset_t none;
  errno = 0;
  if (setsid() < 0)
    give_up(s, CSN_COMMAND_AT_SETUP);
  for (int i = 0; i < 3; i++)
    if (dup2(from[i], i) < 0)
      give_up(s, CSN_COMMAND_AT_SETUP);
  if (s->tty && ioctl(0, TIOCSCTTY, 0) < 0)
    give_up(s, CSN_COMMAND_AT_SETUP);
  if (s->warden->plan->ranged && !become(s->warden, s->x))
    give_up(s, CSN_COMMAND_AT_SETUP);
  if (chdir(s->cwd) < 0)
    give_up(s, CSN_COMMAND_AT_CWD);
  if (!csn_jail_scope(s->scope, s->warden->plan->open.root))
    give_up(s, CSN_COMMAND_AT_SCOPE);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execute(s);
  return 0;
}

/* ---- in the warden ---- */

/* The jail's own terminal; its name belongs to the user of the commands. */
static int
open_terminal(const struct warden *w, struct start *s, const csn_jail_exec *x)
{
  int unlock = 0;
  if (w->plan->ranged) {
    setfsgid(user_of(w, x->gid));
    setfsuid(user_of(w, x->uid));
  }
  int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (w->plan->ranged) {
    setfsuid(0);
    setfsgid(0);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of ids clears it */
  }
  if (master < 0)
    return -1;
  struct winsize size = {.ws_row = x->rows, .ws_col = x->cols};
  ioctl(master, TIOCSPTLCK, &unlock);
  ioctl(master, TIOCSWINSZ, &size);
  s->in = s->out = s->err = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (s->in >= 0)
    return master;
  close(master);
  return -1;
}

static void
rank(const struct warden *w, const char *number)
{
  if (w->rank >= 0)
    (void)!pwrite(w->rank, number, strlen(number), 0);
}

static void
start_command(struct warden *w, struct start *s, int *fds, size_t count, int master)
{
  int *channel = &fds[0];
  static _Alignas(16) char stack[CHILD_STACK];
  s->warden = w;
  rank(w, w->rank_of_commands);
  pid_t pid = clone(child_main, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, s);
  int e = errno;
  /* Before it is told as started: who writes to a command that has closed its
   * input is to hear of it. */
  for (size_t i = 1; i < count; i++) {
    close(fds[i]);
    fds[i] = -1;
  }
  rank(w, w->own_rank);
  if (pid < 0) {
    csn_warden_tell(*channel, CSN_COMMAND_FAILED, e, CSN_COMMAND_AT_SETUP, -1);
    return;
  }
  if (s->failure) {
    waitpid(pid, NULL, 0);
    csn_warden_tell(*channel, CSN_COMMAND_FAILED, s->failure, s->stage, -1);
    return;
  }
  csn_warden_tell(*channel, CSN_COMMAND_STARTED, pid, 0, master);
  if (csn_warden_add(w, pid, *channel))
    *channel = -1; /* the table's now */
  else
    kill(-pid, SIGKILL);
}

bool
csn_warden_exec(struct warden *w, size_t n, int *fds, size_t count)
{
  struct csn_words words;
  bool good =
      csn_words_split(w->body, n, w->strings, &words) && csn_words_fds(words.head.flags) == count;
  if (good) {
    const csn_jail_exec x = words.head;
    struct start s = {.cwd = words.cwd,
                      .scope = &words.scope,
                      .argv = words.argv,
                      .envp = words.envp,
                      .x = &x,
                      .claim = -1};
    size_t at = 1;
    int master = -1, null = -1;
    s.tty = x.flags & CSN_JAIL_TTY;
    if (s.tty) {
      master = open_terminal(w, &s, &x);
    } else {
      s.out = s.err = fds[at++];
      s.in = x.flags & CSN_JAIL_WITH_STDIN ? fds[at++]
                                           : (null = open("/dev/null", O_RDONLY | O_CLOEXEC));
    }
    if (x.flags & CSN_JAIL_SPLIT)
      s.err = fds[at++];
    if (x.flags & CSN_JAIL_WITH_CLAIM)
      s.claim = fds[at];
    if (s.tty && master < 0)
      csn_warden_tell(fds[0], CSN_COMMAND_FAILED, errno, CSN_COMMAND_AT_SETUP, -1);
    else
      start_command(w, &s, fds, count, master);
    if (s.tty && master >= 0) {
      close(s.in);
      close(master);
    }
    if (null >= 0)
      close(null);
  }
  for (size_t i = 0; i < count; i++)
    if (fds[i] >= 0)
      close(fds[i]);
  return good;
}
