/* SPDX-License-Identifier: Apache-2.0
 * extras.h - devices of the host in one jail, and the libraries that go with
 * them. */
#ifndef CSN_JAIL_EXTRAS_H
#define CSN_JAIL_EXTRAS_H

#include "jail/jails.h"

/* For the spawner: makes the folders that the request asks for, as detached
 * trees in plan->fds.  NULL, or what failed with errno. */
const char *csn_extras_make(struct csn_jails *s, const struct csn_request *r,
                            const struct csn_ids *ids, struct csn_jail_plan *plan,
                            csn_jail_note *why);
/* Closes them again. */
void csn_extras_drop(struct csn_jail_plan *plan);

#endif
