/* SPDX-License-Identifier: Apache-2.0
 *
 * local_proc.c - asks the keeper of a local sandbox to start a command; what
 * the harness does with it afterwards is in sandbox/proc.c. */
#include "sandbox/backend/local.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "sandbox/keeper.h"
#include "sandbox/proc.h"
#include "sandbox/strings.h"

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

static int
open_pipes(struct csn_piped *p, struct ends *e, const csn_exec *x, csn_err *err)
{
  int *in = &e->fd[CSN_KEEPER_STDIN_FD], *out = &e->fd[CSN_KEEPER_STDOUT_FD];
  int *other = &e->fd[CSN_KEEPER_STDERR_FD];
  int rc = csn_piped_pipes(p, x, in, err); /* the three follow one another */
  if (rc < 0)
    return rc;
  if (!x->with_stdin)
    *in = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (!x->split_output)
    *other = fcntl(*out, F_DUPFD_CLOEXEC, 3);
  if (*in < 0 || *other < 0)
    return csn_fail_errno(err, "the command's descriptors");
  return 0;
}

static int
open_terminal(struct csn_piped *p, struct ends *e, const csn_exec *x, csn_err *err)
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

/* One that is made there: we have a pipe to it and one from it. */
static int
open_far_terminal(struct csn_piped *p, struct ends *e, csn_err *err)
{
  const csn_exec both = {.with_stdin = true};
  int rc = csn_piped_pipes(p, &both, &e->fd[CSN_KEEPER_STDIN_FD], err);
  if (rc < 0)
    return rc;
  e->fd[CSN_KEEPER_STDERR_FD] = fcntl(e->fd[CSN_KEEPER_STDOUT_FD], F_DUPFD_CLOEXEC, 3);
  return e->fd[CSN_KEEPER_STDERR_FD] < 0 ? csn_fail_errno(err, "fcntl") : 0;
}

/* The request itself; `ends` in the order of keeper.h, but for the folder and
 * the claim. */
static int
send_start(csn_scope *sc, int control, const int ends[CSN_KEEPER_CWD_FD], csn_local_place cwd,
           const csn_exec *x, const char *const *environment, bool own_mounts, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf packet = CSN_BUF(CSN_KEEPER_PACKET);
  csn_keeper_start head = {.tty = x->tty,
                           .own_tty = x->tty && cwd.path,
                           .rows = x->rows,
                           .cols = x->cols,
                           .with_claim = x->claim_fd >= 0,
                           .with_cwd = cwd.path != NULL,
                           .own_mounts = own_mounts,
                           .null_stdin = cwd.path && !x->with_stdin && !x->tty};
  int fds[CSN_KEEPER_FDS];
  size_t n = CSN_KEEPER_CWD_FD;
  csn_buf_add(&packet, csn_strn((const char *)&head, sizeof head));
  head.args = csn_strings_pack(&packet, x->argv);
  head.variables = csn_strings_pack(&packet, environment);
  if (cwd.path) {
    csn_buf_addz(&packet, cwd.path);
    csn_buf_addc(&packet, '\0');
  }
  int rc = csn_buf_done(&packet, "the command with its environment", err);
  if (rc < 0)
    return rc;
  memcpy(packet.p, &head, sizeof head);
  memcpy(fds, ends, n * sizeof *fds);
  if (!cwd.path)
    fds[n++] = cwd.fd;
  if (x->claim_fd >= 0)
    fds[n++] = x->claim_fd;
  return csn_fds_send(control, sc, csn_buf_str(&packet), fds, n, err);
}

int
csn_local_proc_open(csn_proc **out, csn_scope *sc, int control, csn_local_place cwd,
                    const csn_exec *x, const char *const *environment, csn_err *err)
{
  csn_auto(csn_piped_freep) struct csn_piped *p = csn_piped_new(x->tty);
  csn_auto(ends_close) struct ends e = {{-1, -1, -1, -1, -1, -1}};
  int rc = csn_piped_channel(p, &e.fd[CSN_KEEPER_CHANNEL_FD], err);
  if (rc == 0)
    rc = !x->tty    ? open_pipes(p, &e, x, err)
         : cwd.path ? open_far_terminal(p, &e, err)
                    : open_terminal(p, &e, x, err);
  if (rc == 0)
    rc = send_start(sc, control, e.fd, cwd, x, environment, false, err);
  ends_close(&e);
  if (rc == 0)
    rc = csn_piped_await(p, sc, x, err);
  if (rc < 0)
    return rc;
  *out = &csn_steal(p)->base;
  return 0;
}

int
csn_local_proc_launch(csn_proc **out, csn_scope *sc, int control, csn_local_place cwd,
                      const int given[3], const csn_exec *x, const char *const *environment,
                      csn_err *err)
{
  csn_auto(csn_piped_freep) struct csn_piped *p = csn_piped_new(false);
  csn_auto(csn_closep) int channel = -1;
  int rc = csn_piped_channel(p, &channel, err);
  const int ends[] = {[CSN_KEEPER_CHANNEL_FD] = channel,
                      [CSN_KEEPER_STDIN_FD] = given[0],
                      [CSN_KEEPER_STDOUT_FD] = given[1],
                      [CSN_KEEPER_STDERR_FD] = given[2]};
  if (rc == 0)
    rc = send_start(sc, control, ends, cwd, x, environment, geteuid() == 0, err);
  csn_closep(&channel);
  channel = -1;
  if (rc == 0)
    rc = csn_piped_await(p, sc, x, err);
  if (rc < 0)
    return rc;
  *out = &csn_steal(p)->base;
  return 0;
}
