/* SPDX-License-Identifier: Apache-2.0
 *
 * trust.h - whether a caisson.yaml that was found may send requests elsewhere.
 *
 * One in a cloned repository could name a server of its author for a key of
 * ours, or for what an agent reads.  So one that names any server but this
 * machine counts only after its user has said so, for this content at this
 * path: a line "<sha-256 of the content> <path>" in caisson/trusted of the
 * user's configuration folder.  No word is needed for a file in the home folder
 * itself, for one of root's that its user cannot have made, and where
 * CAISSON_TRUST_PROJECT=1 is set.
 */
#ifndef CSN_RUN_TRUST_H
#define CSN_RUN_TRUST_H

#include <sys/stat.h>

#include "caisson/str.h"

/* The host with its port, without a user's name and password. */
csn_str csn_url_host(csn_str url);
/* 127.x.y.z, [::1] or localhost, and nothing that could be read otherwise. */
bool csn_url_is_local(csn_str url);
/* st: of the file.  What cannot be found out is no. */
bool csn_trust_has(const char *file, const struct stat *st, csn_str content);
/* Only whether its user has said so: of a program, which root's being there does
 * not make one that an agent file may start (docs/exec-backend.md). */
bool csn_trust_is_listed(const char *file, csn_str content);
int csn_trust_add(const char *file, csn_str content, csn_err *err) CSN_MUST;

#endif
