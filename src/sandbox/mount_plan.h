/* SPDX-License-Identifier: Apache-2.0
 *
 * mount_plan.h - the command that mounts inside of a sandbox, and the one that
 * takes a mount away.
 *
 * One script does it all: it looks for the tool, makes the folder, keeps the
 * configuration where the workspace is not and only as long as the tool reads
 * it, mounts, and looks whether the storage answers.  The configuration comes by
 * its input, so no secret is an argument.
 */
#ifndef CSN_SANDBOX_MOUNT_PLAN_H
#define CSN_SANDBOX_MOUNT_PLAN_H

#include "sandbox/manifest_mount.h"

/* How scripts end that did not mount: a tool is missing, whose name they print;
 * there is no room for their files; the tool failed, and they print what it said. */
enum { CSN_MOUNT_LACKS = 90, CSN_MOUNT_NO_ROOM = 91, CSN_MOUNT_FAILED = 92 };

/* Both in the arena. */
typedef struct csn_mount_plan {
  const char *const *argv;
  csn_str input; /* holds secrets: wipe it */
} csn_mount_plan;

/* m with values found.  root: of the workspace; base: what config_file_path has
 * inside, empty without one.  CSN_E_INVALID names the key of what cannot be
 * mounted so. */
int csn_mount_plan_make(const csn_mount *m, csn_str root, csn_str base, csn_arena *a,
                        csn_mount_plan *out, csn_err *err) CSN_MUST;
void csn_mount_plan_undo(const csn_mount *m, csn_arena *a, csn_mount_plan *out);

#endif
