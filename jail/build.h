/* SPDX-License-Identifier: Apache-2.0
 * build.h - the steps from a cloned process to the warden of a jail. */
#ifndef CSN_JAIL_BUILD_H
#define CSN_JAIL_BUILD_H

#include <stdbool.h>

#include "jail/proto.h"

struct csn_jail_plan {
  bool ranged;           /* the jail has 65536 user ids, 0 among them; else one, 1000 */
  csn_jail_open open;    /* what the harness asked for */
  int fds[CSN_JAIL_FDS]; /* by their CSN_JAIL_ number; -1 or 0: not there */
};

/* In the first process of the new namespaces: makes the jail and executes the
 * warden.  A failure is told on the control stream and ends the process. */
_Noreturn void csn_jail_build(struct csn_jail_plan *plan);

/* Tells the failing step with errno, and ends the process. */
_Noreturn void csn_jail_fail(const char *what, const char *name);

/* The file systems; ends with the new root as "/" and as the folder at hand. */
void csn_jail_mounts(const struct csn_jail_plan *plan);

#endif
