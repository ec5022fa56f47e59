/* SPDX-License-Identifier: Apache-2.0
 * seal.h - how a warden gives up all that it could do outside of its jail. */
#ifndef CSN_JAIL_SEAL_H
#define CSN_JAIL_SEAL_H

#include <stdbool.h>

/* The warden's last privileges go; commands inherit all of it.  `ranged`: it
 * stays user 0 of the jail and keeps what it takes to become user 1000 and to
 * kill.  `root` is the workspace.  Gives the ABI of the Landlock rules in
 * force, 0 for none.  A failure is told to the harness and ends the process. */
int csn_jail_seal(bool ranged, const char *root);

/* Tells the failing step with errno, and ends the process. */
_Noreturn void csn_warden_fail(const char *what, const char *name);

#endif
