/* SPDX-License-Identifier: Apache-2.0
 * jail_pack.h - a command as the frame that a jail's warden takes. */
#ifndef CSN_SANDBOX_JAIL_PACK_H
#define CSN_SANDBOX_JAIL_PACK_H

#include "caisson/sandbox.h"
#include "sandbox/accounts.h"

/* An EXEC, whole, with the environment of the jail (NULL-terminated) and the
 * workspace's place. */
int csn_jail_pack(csn_buf *to, const char *root, const char *const *environment, const csn_exec *x,
                  const csn_account *who, csn_err *err) CSN_MUST;
/* What is said where the kernel has no rules for files. */
int csn_jail_no_scopes(csn_err *err);

#endif
