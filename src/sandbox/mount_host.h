/* SPDX-License-Identifier: Apache-2.0
 *
 * mount_host.h - storage of others in a jail, served from outside: one rclone of
 * this machine for each mount.
 *
 * The jail makes the file systems and hands their descriptors over
 * (jail/storage.c).  rclone is told the credentials by a file without a name that
 * it alone has, so nothing of them is in an argument, a variable, a folder or the
 * jail.  It ends with the jail's mounts, after what was written has been stored;
 * when it ends before, each access to its mount fails at once and the reason is
 * kept here.
 */
#ifndef CSN_SANDBOX_MOUNT_HOST_H
#define CSN_SANDBOX_MOUNT_HOST_H

#include "sandbox/jail.h"
#include "sandbox/manifest_mount.h"

typedef struct csn_mount_host csn_mount_host;

/* Checks that each can be served here, and where it is to be; the list is
 * borrowed until they are served.  *out is NULL without mounts. */
int csn_mount_host_new(csn_mount_host **out, const csn_mount *const *mounts, const char *root,
                       csn_err *err) CSN_MUST;
/* Ends every rclone, and waits for it; NULL is fine. */
void csn_mount_host_free(csn_mount_host *h);
CSN_FREER(mount_host)

/* Puts the list into a request, which borrows. */
int csn_mount_host_ask(csn_mount_host *h, csn_jail_ask *ask, csn_err *err) CSN_MUST;
size_t csn_mount_host_count(const csn_mount_host *h);
/* Makes empty folders for those in the workspace.  uid, gid: whose; -1: ours. */
int csn_mount_host_folders(const csn_mount_host *h, int workspace_fd, int uid, int gid,
                           csn_err *err) CSN_MUST;
/* Starts them; fds, as many, are closed here.  uid, gid: whose the files look like
 * inside. */
int csn_mount_host_serve(csn_mount_host *h, csn_scope *sc, int *fds, unsigned uid, unsigned gid,
                         csn_err *err) CSN_MUST;
/* Puts what rclone said into an error of a jail that could not look into a mount. */
int csn_mount_host_explain(csn_mount_host *h, int rc, csn_err *err);

/* What was lost and why, a line; NULL: nothing.  Valid until free. */
const char *csn_mount_host_lost(csn_mount_host *h);
/* Nothing runs in the jail any more: waits until what was written has been stored.
 * told: a line when some of it was not; may be NULL. */
void csn_mount_host_store(csn_mount_host *h, csn_buf *told);
/* The jail is to end, whose life pipe that is: who waits in it for storage that does
 * not answer is let go of. */
void csn_mount_host_end(csn_mount_host *h, int life);

/* How it looks here: NULL, or what rclone and /dev/fuse lack. */
const char *csn_mount_host_missing(char room[400]);

#endif
