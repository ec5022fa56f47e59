/* SPDX-License-Identifier: Apache-2.0
 *
 * mount_inside.h - a mount that is made inside of a sandbox, by tools which its
 * image or template has: the strategy in_container (mount_plan.h has the
 * commands).
 */
#ifndef CSN_SANDBOX_MOUNT_INSIDE_H
#define CSN_SANDBOX_MOUNT_INSIDE_H

#include "caisson/sandbox.h"
#include "sandbox/manifest_mount.h"

/* Mounts it, unless it is mounted and answers; m with values found.
 * CSN_E_UNSUPPORTED names a tool that is missing.  No message has a secret. */
int csn_mount_inside_open(csn_sandbox *sb, csn_scope *sc, const csn_mount *m,
                          csn_err *err) CSN_MUST;
/* Takes it away, so that what was written is in the storage. */
int csn_mount_inside_close(csn_sandbox *sb, csn_scope *sc, const csn_mount *m,
                           csn_err *err) CSN_MUST;

#endif
