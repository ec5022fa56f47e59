/* SPDX-License-Identifier: Apache-2.0
 * warden.h - what warden.c (the loop) and command.c (starting) share. */
#ifndef CSN_JAIL_WARDEN_H
#define CSN_JAIL_WARDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "jail/build.h"

/* A command whose leader runs; channel is -1 after the harness closed it. */
struct leader {
  pid_t pid;
  int channel;
};

struct warden {
  const struct csn_jail_plan *plan;
  int epoll, signals;
  int rank;       /* our own oom_score_adj, or -1 */
  uint64_t files; /* in folders of memory, before any command */
  char rank_of_commands[16], own_rank[16];
  struct leader *leaders;
  size_t n, room;
  char *strings[CSN_JAIL_STRINGS_MAX];
  char body[CSN_JAIL_BODY_MAX + 1];
};

/* The warden of a jail whose root is built but for the workspace; never comes
 * back. */
_Noreturn void csn_warden_run(struct csn_jail_plan *plan);

/* Starts what w->body asks for, whose length is `n`, and closes `fds`.  False
 * when it is malformed. */
bool csn_warden_exec(struct warden *w, size_t n, int *fds, size_t count);

/* The same for a connection to one of the jail's own ports. */
bool csn_warden_dial(struct warden *w, size_t n, int *fds, size_t count);

/* Begins to connect to a port, and says on the channel how that went. */
void csn_dial_tell(int channel, const csn_jail_dial *to);

/* Sends an event, and a descriptor if it is not -1, on a command's channel. */
void csn_warden_tell(int channel, int kind, int value, int more, int fd);
/* The channel belongs to the warden then; false: it could not be watched. */
bool csn_warden_add(struct warden *w, pid_t pid, int channel);

#endif
