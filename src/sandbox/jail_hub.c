/* SPDX-License-Identifier: Apache-2.0
 *
 * jail_hub.c - the one spawner of this process.
 *
 * A spawner for each jail would cost a second start of a program each time, so
 * it is shared, and that is this file's one variable: docs/decisions says why.
 * A request is a packet and its answer, one at a time under the lock.  When
 * the spawner has died, the next request starts another; the old one's jails
 * died with it.  A process that was forked off us starts its own.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "core/fd.h"
#include "core/poll.h"
#include "sandbox/jail.h"
#include "sandbox/proc.h"
#include "sandbox/program.h"

/* The program's bytes; made by the build. */
extern const char csn_spawner_image[], csn_spawner_image_end[];

enum { ANSWER_FDS = 5 }; /* jail/proto.h, csn_jail_opened */

static struct hub {
  pthread_mutex_t lock;
  int sock;         /* -1 while there is none */
  pid_t pid, owner; /* the spawner, and the process that started it */
} hub = {.lock = PTHREAD_MUTEX_INITIALIZER, .sock = -1};

static void
forget(void)
{
  if (hub.sock >= 0)
    close(hub.sock);
  hub.sock = -1;
  if (hub.owner == getpid())
    while (waitpid(hub.pid, NULL, 0) < 0 && errno == EINTR)
      continue;
}

static int
start(csn_err *err)
{
  if (hub.sock >= 0 && hub.owner == getpid())
    return 0;
  if (hub.sock >= 0)
    forget();
  csn_str program =
      csn_strn(csn_spawner_image, (size_t)(csn_spawner_image_end - csn_spawner_image));
  csn_auto(csn_closep) int spawner = csn_program_open("caisson-spawner", program, err);
  if (spawner < 0)
    return spawner;
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return csn_fail_errno(err, "socketpair");
  csn_auto(csn_closep) int theirs = pair[1];
  const int fds[] = {theirs, spawner};
  int rc = csn_program_start(&hub.pid, "caisson-spawner", fds, CSN_COUNT(fds), 1, err);
  if (rc < 0) {
    close(pair[0]);
    return rc;
  }
  hub.sock = pair[0];
  hub.owner = getpid();
  return 0;
}

int
csn_jail_start(csn_err *err)
{
  pthread_mutex_lock(&hub.lock);
  int rc = start(err);
  pthread_mutex_unlock(&hub.lock);
  return rc;
}

/* One packet and its answer.  It does not heed a scope, because an answer that
 * nobody waits for would be taken for the next one's; the spawner only clones
 * a process for it. */
static int
ask_once(const csn_jail_ask *ask, csn_jail_opened *a, int got[ANSWER_FDS], csn_err *err)
{
  csn_jail_open open;
  int fds[CSN_JAIL_GIVEN + CSN_JAIL_LAYERS_MAX + CSN_JAIL_UNDER_MAX + CSN_JAIL_EXTRAS_MAX];
  int rc = start(err);
  size_t n = 0;
  memcpy(&open, &ask->open, sizeof open); /* all of it: the pool compares bytes */
  open.with = 0;
  for (int i = CSN_JAIL_CONTROL; i < CSN_JAIL_GIVEN; i++)
    if (ask->fds[i] >= 0) {
      open.with |= CSN_JAIL_WITH(i);
      fds[n++] = ask->fds[i];
    }
  for (size_t i = 0; i < open.layers; i++)
    fds[n++] = ask->layers[i];
  for (size_t i = 0; i < open.under; i++)
    fds[n++] = ask->under[i];
  for (size_t i = 0; i < open.devices + open.libraries + open.grants; i++)
    fds[n++] = ask->extras[i];
  if (rc == 0)
    rc = csn_fds_send(hub.sock, NULL, csn_strn((const char *)&open, sizeof open), fds, n, err);
  struct pollfd fd = {.fd = hub.sock, .events = POLLIN};
  if (rc == 0)
    rc = csn_poll(NULL, &fd, 1, err);
  if (rc < 0)
    return rc;
  if (csn_fds_recv(hub.sock, a, sizeof *a, got, ANSWER_FDS) != sizeof *a)
    return csn_fail(err, CSN_E_SANDBOX, "the spawner of the jails was killed");
  a->step[sizeof a->step - 1] = '\0';
  return 0;
}

static int
ask_for(const csn_jail_ask *ask, csn_jail_opened *a, int fds[ANSWER_FDS], csn_err *err)
{
  pthread_mutex_lock(&hub.lock);
  int rc = ask_once(ask, a, fds, err);
  if (rc == CSN_E_SANDBOX) { /* it died since the last one; the jails it had are gone */
    forget();
    rc = ask_once(ask, a, fds, err);
  }
  pthread_mutex_unlock(&hub.lock);
  if (rc < 0 || !a->error)
    return rc;
  errno = a->error;
  return csn_jail_explain(csn_fail_errno(err, "%s", a->step), a->step, err);
}

int
csn_jail_ask_about(csn_jail_about *about, csn_err *err)
{
  csn_jail_ask ask = {.open = {.what = CSN_JAIL_ABOUT}};
  csn_jail_opened a = {0};
  int fds[ANSWER_FDS];
  memset(ask.fds, -1, sizeof ask.fds);
  int rc = ask_for(&ask, &a, fds, err);
  about->ranged = rc == 0 && a.ranged;
  memcpy(about->why, a.step, sizeof about->why);
  return rc;
}

/* Only the spawner may. */
static bool
take_over(int folder)
{
  csn_jail_ask ask = {.open = {.what = CSN_JAIL_TAKE_OVER}};
  csn_jail_opened a = {0};
  int fds[ANSWER_FDS];
  memset(ask.fds, -1, sizeof ask.fds);
  ask.fds[CSN_JAIL_WORKSPACE] = folder;
  return ask_for(&ask, &a, fds, NULL) == 0;
}

int
csn_jail_remove(int dir, const char *path, csn_err *err)
{
  return csn_remove_tree_with(dir, path, geteuid() == 0 ? NULL : take_over, err);
}

int
csn_jail_request(const csn_jail_ask *ask, csn_jail_got *got, csn_err *err)
{
  csn_jail_opened a = {0};
  int fds[ANSWER_FDS], rc = ask_for(ask, &a, fds, err);
  if (rc < 0)
    return rc;
  *got = (csn_jail_got){.pidfd = fds[0],
                        .life = fds[1],
                        .events = {-1, -1},
                        .view = -1,
                        .owner = a.owner,
                        .uid = a.uid,
                        .gid = a.gid,
                        .user = a.user,
                        .ranged = a.ranged,
                        .held = a.held};
  int at = 2, *const places[] = {&got->events[0], &got->events[1], &got->view};
  for (size_t i = 0; i < CSN_COUNT(places); i++)
    if (a.events & 1u << i)
      *places[i] = fds[at++];
  return 0;
}
