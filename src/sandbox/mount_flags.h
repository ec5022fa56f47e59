/* SPDX-License-Identifier: Apache-2.0
 *
 * mount_flags.h - how rclone of this machine is told to serve a mount, and
 * which mounts it can serve.
 *
 * Whatever pattern of in_container an entry has, it is rclone that serves it
 * here: the pattern says how a sandbox would do it by itself.
 */
#ifndef CSN_SANDBOX_MOUNT_FLAGS_H
#define CSN_SANDBOX_MOUNT_FLAGS_H

#include "sandbox/manifest_mount.h"

enum { CSN_MOUNT_FLAGS_MAX = 48 };

/* What can be told without a look at this machine: CSN_E_UNSUPPORTED or INVALID,
 * naming the mount. */
int csn_mount_flags_check(const csn_mount *const *mounts, const char *root, csn_err *err) CSN_MUST;
/* The same of one, for the check before a run. */
int csn_mount_flags_check_one(const csn_mount *m, const char *root, csn_err *err) CSN_MUST;
/* A mount whose fields are those that count: its own before its pattern's. */
int csn_mount_flags_fields(csn_mount *out, const csn_mount *m, csn_arena *a, csn_err *err) CSN_MUST;
/* The arguments, NULL-terminated, for descriptors 3 (/dev/fuse), 4 (the
 * configuration) and 6 (a folder for what waits to be stored). */
int csn_mount_flags(const csn_mount *m, csn_str remote, unsigned uid, unsigned gid, csn_arena *a,
                    const char *argv[CSN_MOUNT_FLAGS_MAX], csn_err *err) CSN_MUST;

/* Those of a look whether it is there and the credentials are good, with the
 * configuration as standard input. */
int csn_mount_flags_look(const csn_mount *m, csn_str remote, csn_arena *a,
                         const char *argv[CSN_MOUNT_FLAGS_MAX], csn_err *err) CSN_MUST;

#endif
