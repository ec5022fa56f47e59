/* SPDX-License-Identifier: Apache-2.0
 *
 * mount_authority.h - which credentials a mount brings along, who has allowed
 * them into a sandbox, and how they are kept out of messages.
 *
 * A mount that is made inside takes its credentials there, where the commands of
 * a model can read them.  So the operator says, for that very path, that this
 * shall be; a manifest, which may come from elsewhere, cannot say it.
 */
#ifndef CSN_SANDBOX_MOUNT_AUTHORITY_H
#define CSN_SANDBOX_MOUNT_AUTHORITY_H

#include "sandbox/manifest_mount.h"

/* What would enter: nothing; keys that are given for this mount; more than that,
 * an identity or a file of the machine, or what a tool finds there by itself. */
enum csn_mount_scope { CSN_MOUNT_NOTHING, CSN_MOUNT_KEYS, CSN_MOUNT_BROAD };

/* Of a mount as if it were made inside.  *what: the key that says so, for
 * messages; may be NULL. */
enum csn_mount_scope csn_mount_authority(const csn_mount *m, const char **what);
/* Keys complete, none of them blank; credential files not made by another entry. */
int csn_mount_authority_check(const csn_manifest *of, const csn_mount *m, csn_err *err) CSN_MUST;

/* What the operator says, an object {PATH: "mount" | "broad"} or NULL: exact
 * places of mounts, absolute or in the workspace. */
int csn_mount_allowed_read(const csn_json *allowed, csn_err *err) CSN_MUST;
/* Before a run: csn_mount_authority_check() of each; CSN_E_DENIED, with what to
 * write, for one that is_inside and not allowed; CSN_E_INVALID for a path that
 * allows nothing.  of may be NULL. */
int csn_mount_allowed_check(const csn_manifest *of, const csn_json *allowed, bool is_inside,
                            csn_err *err) CSN_MUST;

/* The secret values of a mount; fn gets the field's name. */
void csn_mount_secrets(const csn_mount *m, void (*fn)(void *user, const char *field, csn_str value),
                       void *user);
/* Puts REDACTED in place of each of them. */
void csn_mount_redact(const csn_mount *m, csn_buf *text);
/* The same with the message of an error; returns rc. */
int csn_mount_redact_err(const csn_mount *m, int rc, csn_err *err);

#endif
