/* SPDX-License-Identifier: Apache-2.0
 * scope.h - the parts of the workspace that one command may use. */
#ifndef CSN_JAIL_SCOPE_H
#define CSN_JAIL_SCOPE_H

#include <stdbool.h>

/* Paths in the workspace, clean and relative, "" for all of it; each list ends
 * with NULL.  A list that is NULL: no limit. */
struct csn_scope_words {
  char **reads, **writes; /* what may be written may be read */
};

/* In the command's process, as the command's user: holds it to them.  False
 * with errno; ENOSYS when this kernel cannot. */
bool csn_jail_scope(const struct csn_scope_words *s, const char *workspace);

#endif
