/* SPDX-License-Identifier: Apache-2.0
 * storage.h - storage of others in a jail: its file systems, and the
 * descriptors by which the harness serves them. */
#ifndef CSN_JAIL_STORAGE_H
#define CSN_JAIL_STORAGE_H

#include "jail/start.h"

/* Opens /dev/fuse for each mount of the plan, for a jail of these ids.  NULL or
 * what failed, with errno; to be dropped in any case. */
const char *csn_storage_open(const struct csn_home *home, const struct csn_ids *ids,
                             struct csn_jail_plan *plan);
void csn_storage_drop(const struct csn_jail_plan *plan);

#endif
