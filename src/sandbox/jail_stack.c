/* SPDX-License-Identifier: Apache-2.0
 * jail_stack.c - what a jail needs for a workspace that can be frozen. */
#include "sandbox/jail_stack.h"

#include <sys/socket.h>

#include "core/command.h"
#include "core/poll.h"
#include "sandbox/proc.h"
#include "sandbox/stack.h"

void
csn_jail_stack_ask(csn_jail_ask *ask, const struct csn_stack *stack)
{
  size_t n;
  if (!stack)
    return;
  ask->fds[CSN_JAIL_WORKSPACE] = stack->dir;
  ask->under = csn_stack_layers(stack, &n);
  ask->open.under = (uint32_t)n;
}

int
csn_jail_build_ask(csn_jail_ask *ask, int folder, csn_err *err)
{
  if (ask->open.layers == 0)
    return csn_fail(err, CSN_E_INVALID, "only the root file system of an image can be built upon");
  if (ask->open.layers > CSN_JAIL_UNDER_MAX)
    return csn_fail(err, CSN_E_LIMIT, "the image has %u layers; at most %d can be built upon",
                    ask->open.layers, CSN_JAIL_UNDER_MAX);
  ask->fds[CSN_JAIL_WORKSPACE] = folder;
  ask->under = ask->layers;
  ask->open.under = ask->open.layers;
  ask->open.is_build = 1;
  return 0;
}

void
csn_jail_stack_take(csn_sandbox *sb, int view)
{
  if (view < 0)
    return;
  csn_closep(&sb->workspace_fd);
  sb->workspace_fd = view;
}

const char *
csn_jail_workspace(const csn_sandbox *sb)
{
  if (sb->stack)
    return sb->stack->is_copied ? "copy" : "overlay";
  return sb->workspace_fd >= 0 ? "folder" : "memory";
}

int
csn_jail_idle(int control, csn_scope *sc, bool *has_files, csn_err *err)
{
  const csn_jail_frame frame = {.kind = CSN_JAIL_IDLE};
  csn_command_event e;
  int pair[2], unused;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return csn_fail_errno(err, "socketpair");
  csn_auto(csn_closep) int channel = pair[0];
  int rc =
      csn_fds_send(control, NULL, csn_strn((const char *)&frame, sizeof frame), &pair[1], 1, err);
  close(pair[1]);
  struct pollfd ready = {.fd = channel, .events = POLLIN};
  if (rc == 0)
    rc = csn_poll(sc, &ready, 1, err);
  if (rc < 0)
    return rc;
  if (csn_fds_recv(channel, &e, sizeof e, &unused, 1) != sizeof e)
    return csn_fail(err, CSN_E_SANDBOX, "the warden of the jail was killed");
  if (has_files)
    *has_files = e.more != 0;
  return e.value ? csn_fail(err, CSN_E_CONFLICT,
                            "processes still run in it; end them, or wait until they have ended")
                 : 0;
}
