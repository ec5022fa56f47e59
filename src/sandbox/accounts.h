/* SPDX-License-Identifier: Apache-2.0
 *
 * accounts.h - the users and groups inside a sandbox: those of its root file
 * system and those that were asked for.  Pure: texts in, texts out.
 */
#ifndef CSN_SANDBOX_ACCOUNTS_H
#define CSN_SANDBOX_ACCOUNTS_H

#include "caisson/manifest.h"
#include "caisson/sandbox.h"

/* Groups of one user beside its first. */
enum { CSN_ACCOUNT_GROUPS = 32 };

typedef struct csn_account {
  const char *name; /* may be NULL: a number without a name */
  const char *home;
  uint32_t uid, gid;
  uint32_t groups[CSN_ACCOUNT_GROUPS];
  size_t n_groups;
} csn_account;

typedef struct csn_accounts csn_accounts;

/* What accounts are made from.  Borrowed until they are freed. */
typedef struct csn_accounts_wish {
  csn_str passwd, group;    /* of the root file system; both empty: the usual ones */
  const char *user;         /* who commands are: NAME or UID[:GID]; NULL: user 1000 */
  bool may_fall_back;       /* the image says so: what cannot be is user 1000 */
  const char *const *users; /* NULL-terminated, may be NULL */
  const csn_sandbox_group *groups;
  size_t n_groups;
  const char *home; /* of who commands are */
} csn_accounts_wish;

/* A user without an entry gets one: the one that commands are number 1000, the
 * others the next that are free.  CSN_E_INVALID for what is no name, and for
 * root: no command in a sandbox is root. */
int csn_accounts_make(csn_accounts **out, const csn_accounts_wish *w, csn_err *err) CSN_MUST;
void csn_accounts_free(csn_accounts *a);
CSN_FREER(accounts)

/* Who commands are when nothing else is said. */
const csn_account *csn_accounts_main(const csn_accounts *a);
/* NAME or UID[:GID]; CSN_E_NOT_FOUND names who there is. */
int csn_accounts_find(const csn_accounts *a, const char *who, csn_account *out,
                      csn_err *err) CSN_MUST;
/* The files /etc/passwd and /etc/group. */
csn_str csn_accounts_passwd(const csn_accounts *a);
csn_str csn_accounts_group(const csn_accounts *a);

/* The users and groups of a manifest, in the arena, as a specification wants
 * them. */
void csn_manifest_accounts(const csn_manifest *m, csn_arena *a, csn_sandbox_spec *out);

#endif
