/* SPDX-License-Identifier: Apache-2.0
 *
 * mount_rclone.h - a mount entry as rclone is told of it: one section of its
 * configuration, and the path in that remote.
 *
 * The section holds the credentials and goes into a file that only rclone
 * reads; everything else may be an argument.  A value must be text: those that
 * come from elsewhere (mount_secret.h) have been found before.
 */
#ifndef CSN_SANDBOX_MOUNT_RCLONE_H
#define CSN_SANDBOX_MOUNT_RCLONE_H

#include "sandbox/manifest_mount.h"

enum { CSN_MOUNT_CONFIG_MAX = 256 << 10, CSN_MOUNT_REMOTE_MAX = 128 };

/* What rclone calls the storage: "s3", "r2", "gcs", "gcs_s3" (with a pair of
 * keys), "azureblob", "box"; NULL: rclone has none (s3_files_mount). */
const char *csn_mount_rclone_kind(const csn_mount *m);
/* The remote's name: the pattern's remote_name, else "sandbox_KIND_ID".  id:
 * letters and digits. */
int csn_mount_rclone_remote(const csn_mount *m, csn_str id, csn_buf *out, csn_err *err) CSN_MUST;
/* Adds "[remote]" and its lines.  CSN_E_INVALID, naming the field and not its
 * value, when one cannot stand in such a file or half of a pair is missing;
 * CSN_E_UNSUPPORTED for what rclone does not serve.  To be wiped after use. */
int csn_mount_rclone_config(const csn_mount *m, csn_str remote, csn_buf *out,
                            csn_err *err) CSN_MUST;
/* Adds what stands after "remote:": "bucket/prefix". */
int csn_mount_rclone_path(const csn_mount *m, csn_buf *out, csn_err *err) CSN_MUST;

#endif
