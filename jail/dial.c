/* SPDX-License-Identifier: Apache-2.0
 *
 * dial.c - connects to a port of the jail for the harness.
 *
 * The socket is made here because it keeps the network namespace it was made
 * in, and is handed over before it is connected: the warden never waits.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/command.h"
#include "jail/sys.h"
#include "jail/warden.h"

static int
dial(const csn_jail_dial *to)
{
  struct sockaddr_in v4 = {.sin_family = AF_INET,
                           .sin_port = htons(to->port),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct sockaddr_in6 v6 = {
      .sin6_family = AF_INET6, .sin6_port = htons(to->port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  int fd = socket(to->v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return -1;
  int rc = to->v6 ? connect(fd, (struct sockaddr *)&v6, sizeof v6)
                  : connect(fd, (struct sockaddr *)&v4, sizeof v4);
  if (rc == 0 || errno == EINPROGRESS)
    return fd;
  int e = errno;
  close(fd);
  errno = e;
  return -1;
}

void
csn_dial_tell(int channel, const csn_jail_dial *to)
{
  int fd = dial(to);
  if (fd < 0) {
    csn_warden_tell(channel, CSN_COMMAND_FAILED, errno, CSN_COMMAND_AT_SETUP, -1);
    return;
  }
  csn_warden_tell(channel, CSN_COMMAND_STARTED, 0, 0, fd);
  close(fd);
}

bool
csn_warden_dial(struct warden *w, size_t n, int *fds, size_t count)
{
  csn_jail_dial to;
  bool good = n == sizeof to && count == 1;
  if (good) {
    memcpy(&to, w->body, sizeof to);
    csn_dial_tell(fds[0], &to);
  }
  for (size_t i = 0; i < count; i++)
    close(fds[i]);
  return good;
}
