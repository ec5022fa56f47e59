/* SPDX-License-Identifier: Apache-2.0
 * jail_users.h - the accounts of a jail: from its root file system and from
 * what was asked for. */
#ifndef CSN_SANDBOX_JAIL_USERS_H
#define CSN_SANDBOX_JAIL_USERS_H

#include "sandbox/accounts.h"
#include "sandbox/rootfs.h"

int csn_jail_users_make(csn_accounts **out, const csn_rootfs *r, const csn_sandbox_spec *spec,
                        csn_err *err) CSN_MUST;
/* A descriptor with both files for jail/accounts.c; -1 when the jail's usual
 * ones do, or the code of an error below that. */
int csn_jail_users_file(const csn_accounts *a, const csn_rootfs *r, const csn_sandbox_spec *spec,
                        int *fd, csn_err *err) CSN_MUST;
/* Fails when the jail has one user only and more was asked for. */
int csn_jail_users_check(const csn_accounts *a, const csn_sandbox_spec *spec,
                         csn_err *err) CSN_MUST;
/* The number that a group's files have on the disk below an id-mapped mount. */
int csn_jail_users_group(const csn_accounts *a, bool is_mapped, const char *name, gid_t *gid,
                         csn_err *err) CSN_MUST;
/* Pipes belong to who made them; commands should be able to open /dev/stdout.
 * main_user: csn_jail_got's `user`; an end that is -1 is left out. */
int csn_jail_users_pipes(const csn_accounts *a, int main_user, const int ends[3],
                         const csn_account *who, csn_err *err) CSN_MUST;
/* USER, LOGNAME and HOME of an account, in the arena. */
const char *const *csn_jail_users_variables(csn_arena *a, const csn_account *who);

#endif
