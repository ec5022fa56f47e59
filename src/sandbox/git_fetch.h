/* SPDX-License-Identifier: Apache-2.0
 *
 * git_fetch.h - one commit of a repository into an empty folder, through a
 * cache that later fetches only ask for what is new.
 */
#ifndef CSN_SANDBOX_GIT_FETCH_H
#define CSN_SANDBOX_GIT_FETCH_H

#include "sandbox/git_run.h"

typedef struct csn_git_repo {
  csn_str url, ref;       /* NUL-terminated; ref: a branch, a tag, a commit */
  bool is_local;          /* of this machine: needs no cache */
  csn_str origin, header; /* see csn_git_open() */
} csn_git_repo;

/* Fills the folder `dir`: its .git, the files, and a branch when ref is one.
 * cache_fd: where repositories are kept by the digest of their address; <= 0:
 * nowhere.  Nothing in the folder tells of the cache or of the header. */
int csn_git_fetch(csn_scope *sc, const csn_git_repo *r, int cache_fd, int dir,
                  csn_err *err) CSN_MUST;

#endif
