/* SPDX-License-Identifier: Apache-2.0
 * jail_dial.c - connections into a jail: its warden makes the socket, begins to
 * connect it and hands it over. */
#include "sandbox/jail_dial.h"

#include <errno.h>
#include <sys/socket.h>

#include "core/command.h"
#include "core/poll.h"
#include "jail/proto.h"
#include "sandbox/proc.h"

/* Asks the warden for a socket that it has begun to connect. */
static int
ask_dial(int control, pthread_mutex_t *sending, csn_scope *sc, const csn_jail_dial *to, int *fd,
         csn_err *err)
{
  struct {
    csn_jail_frame head;
    csn_jail_dial to;
  } frame = {{CSN_JAIL_DIAL, sizeof frame.to}, *to};
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return csn_fail_errno(err, "socketpair");
  csn_auto(csn_closep) int channel = pair[0];
  pthread_mutex_lock(sending);
  int rc =
      csn_fds_send(control, NULL, csn_strn((const char *)&frame, sizeof frame), &pair[1], 1, err);
  pthread_mutex_unlock(sending);
  close(pair[1]);
  struct pollfd ready = {.fd = channel, .events = POLLIN};
  if (rc == 0)
    rc = csn_poll(sc, &ready, 1, err);
  if (rc < 0)
    return rc;
  csn_command_event e;
  if (csn_fds_recv(channel, &e, sizeof e, fd, 1) != sizeof e)
    return csn_fail(err, CSN_E_SANDBOX, "the process in it that connects was killed");
  errno = e.kind == CSN_COMMAND_STARTED && *fd >= 0 ? 0 : e.value ? e.value : EPROTO;
  return errno ? csn_fail_errno(err, "connect") : 0;
}

/* Waits for the connection; closes the socket when there is none. */
static int
await_connection(csn_scope *sc, int *fd, csn_err *err)
{
  struct pollfd ready = {.fd = *fd, .events = POLLOUT};
  int failed = 0, rc = csn_poll(sc, &ready, 1, err);
  socklen_t n = sizeof failed;
  if (rc >= 0 && getsockopt(*fd, SOL_SOCKET, SO_ERROR, &failed, &n) < 0)
    failed = errno;
  errno = failed;
  if (rc >= 0)
    rc = failed ? csn_fail_errno(err, "connect") : 0;
  if (rc < 0) {
    csn_closep(fd);
    *fd = -1;
  }
  return rc;
}

int
csn_jail_dial_port(int control, pthread_mutex_t *sending, csn_scope *sc, uint16_t port, int *fd,
                   csn_err *err)
{
  csn_err why;
  int rc = 0;
  for (uint16_t v6 = 0; v6 < 2; v6++) {
    csn_jail_dial to = {.port = port, .v6 = v6};
    rc = ask_dial(control, sending, sc, &to, fd, &why);
    if (rc == 0)
      rc = await_connection(sc, fd, &why);
    if (rc == 0 || why.sys_errno != ECONNREFUSED)
      break;
  }
  if (rc < 0 && (why.sys_errno == ECONNREFUSED || why.sys_errno == EADDRNOTAVAIL)) /* no IPv6 */
    return csn_fail(err, CSN_E_UNAVAILABLE, "nobody listens there");
  if (rc < 0 && err)
    *err = why;
  return rc;
}
