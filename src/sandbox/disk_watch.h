/* SPDX-License-Identifier: Apache-2.0
 *
 * disk_watch.h - the size of a workspace folder, looked at from time to time:
 * a limit where the file system has none to offer.
 */
#ifndef CSN_SANDBOX_DISK_WATCH_H
#define CSN_SANDBOX_DISK_WATCH_H

#include "caisson/sandbox.h"

typedef struct csn_disk_watch csn_disk_watch;

/* Starts a thread that calls `end` when the folder holds more than `bytes` or
 * `inodes` (CSN_UNLIMITED: not looked at) and more than at the last call, so
 * that what is too much can still be removed.  folder_fd is duplicated. */
int csn_disk_watch_new(csn_disk_watch **out, int folder_fd, int64_t bytes, int64_t inodes,
                       void (*end)(void *user), void *user, csn_err *err) CSN_MUST;
/* Bytes on the disk of all that is in a folder, on one file system and through no
 * link; what cannot be opened is left out.  Ends early with the scope. */
int64_t csn_disk_used(const csn_scope *sc, int folder_fd);
void csn_disk_watch_free(csn_disk_watch *w);
/* Adds how often `end` was called for the limits of disk and inodes. */
void csn_disk_watch_count(csn_disk_watch *w, csn_sandbox_usage *u);

#endif
