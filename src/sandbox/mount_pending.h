/* SPDX-License-Identifier: Apache-2.0
 * mount_pending.h - what was written to storage of others and is not stored yet:
 * rclone keeps it in its cache, with a note for each file. */
#ifndef CSN_SANDBOX_MOUNT_PENDING_H
#define CSN_SANDBOX_MOUNT_PENDING_H

#include "caisson/mem.h"

/* Whether a cache, the folder of --cache-dir, has such a file; *name, when not
 * NULL, gets its path on the heap. */
bool csn_mount_is_pending(int cache_fd, char **name);

#endif
