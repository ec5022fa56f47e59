/* SPDX-License-Identifier: Apache-2.0
 * seal.h - how a warden gives up all that it could do outside of its jail. */
#ifndef CSN_JAIL_SEAL_H
#define CSN_JAIL_SEAL_H

#include "jail/build.h"

/* The warden's privileges go, most before `graft` puts the workspace in place
 * (which may wait long for it), the last after; commands inherit all of it.
 * Where the jail has a range of user ids it stays user 0 of it and keeps what it
 * takes to become user 1000 and to kill.  Gives the ABI of the Landlock rules in
 * force, 0 for none.  A failure is told to the harness and ends the process. */
int csn_jail_seal(struct csn_jail_plan *plan, void (*graft)(struct csn_jail_plan *));

#endif
