/* SPDX-License-Identifier: Apache-2.0
 *
 * mount_volume.h - a mount as a volume that a container engine makes by one of
 * its drivers, rclone or mountpoint: the strategy docker_volume.
 *
 * The engine's side holds credentials and does the work; nothing of them enters
 * a container.
 */
#ifndef CSN_SANDBOX_MOUNT_VOLUME_H
#define CSN_SANDBOX_MOUNT_VOLUME_H

#include "sandbox/manifest_mount.h"

bool csn_mount_is_volume(const csn_mount *m);
csn_str csn_mount_volume_driver(const csn_mount *m);
/* "CONTAINER-" and twelve digits that stand for its place. */
void csn_mount_volume_name(const char *container, const csn_mount *m, csn_buf *out);
/* Members of an open JSON object, `driver_options` of the manifest over those
 * that follow from the mount's fields (null takes one away).  uid, gid: whose the
 * files shall look like. */
int csn_mount_volume_options(const csn_mount *m, int uid, int gid, csn_jw *w,
                             csn_err *err) CSN_MUST;

#endif
