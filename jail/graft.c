/* SPDX-License-Identifier: Apache-2.0
 *
 * graft.c - the network of a sandbox that somebody else made: the only process
 * of a container whose network namespace the sandbox shares (docs/docker.md).
 *
 * It runs from a folder of the harness, connects to the socket there, and does
 * in its namespace what the first process of a jail does in its own: leads all
 * addresses home, listens, hands the sockets over.  Then it has no capability
 * any more and only connects to ports for the harness, until that goes.
 */
#include "jail/graft.h"

#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "jail/network.h"
#include "jail/sys.h"
#include "jail/warden.h"
#include "jail/words.h"

static bool
join(const char *path)
{
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  size_t n = strlen(path);
  if (n >= sizeof to.sun_path)
    return false;
  memcpy(to.sun_path, path, n);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
    return false;
  if (fd == CSN_JAIL_CONTROL)
    return true;
  return dup3(fd, CSN_JAIL_CONTROL, O_CLOEXEC) >= 0 && close(fd) == 0;
}

static void
drop_all(void)
{
  struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {{0}};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_capset, &head, none) < 0)
    csn_jail_fail("drop the capabilities", "");
  prctl(PR_SET_DUMPABLE, 0);
}

/* One frame: a port to connect to.  False when the harness has gone. */
static bool
serve(void)
{
  struct {
    csn_jail_frame head;
    csn_jail_dial to;
  } frame;
  union {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int))];
  } c;
  struct iovec iov = {&frame, sizeof frame};
  struct msghdr m = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
  int channel = -1;
  ssize_t n = recvmsg(CSN_JAIL_CONTROL, &m, MSG_CMSG_CLOEXEC | MSG_WAITALL);
  if (n < 0)
    return errno == EINTR;
  if (csn_fds_take(&m, &channel, 1) != 1)
    return false;
  bool good = n == sizeof frame && frame.head.kind == CSN_JAIL_DIAL;
  if (good)
    csn_dial_tell(channel, &frame.to);
  close(channel);
  return good;
}

int
csn_graft_main(const char *path)
{
  csn_jail_open open;
  csn_jail_note ready = {.kind = CSN_JAIL_READY};
  prctl(PR_SET_NAME, "caisson-graft");
  signal(SIGPIPE, SIG_IGN); /* the first process of a container has no defaults */
  if (!join(path))
    return 1;
  if (recv(CSN_JAIL_CONTROL, &open, sizeof open, MSG_WAITALL) != sizeof open)
    return 1;
  if (open.networked)
    csn_jail_network(&open);
  drop_all();
  if (send(CSN_JAIL_CONTROL, &ready, sizeof ready, MSG_NOSIGNAL) != sizeof ready)
    return 1;
  while (serve())
    continue;
  return 0;
}
