/* SPDX-License-Identifier: Apache-2.0
 * jail_variables.h - the environment of a jail's commands. */
#ifndef CSN_SANDBOX_JAIL_VARIABLES_H
#define CSN_SANDBOX_JAIL_VARIABLES_H

#include "sandbox/accounts.h"
#include "sandbox/devices.h"
#include "sandbox/rootfs.h"

/* Who has a say in it; lists are NULL-terminated and may be NULL. */
typedef struct csn_jail_sources {
  const csn_rootfs *rootfs;
  const csn_devices *devices;
  const csn_account *who;
  const char *const *network, *const *given;
} csn_jail_sources;

/* NAME=VALUE, NULL-terminated, all of it in the arena. */
const char **csn_jail_variables(csn_arena *a, const csn_jail_sources *from);

#endif
