/* SPDX-License-Identifier: Apache-2.0
 *
 * git_keep.h - repositories that are kept for the next fetch: bare and shallow, in a
 * folder, each named by the digest of its address.  One process at a time uses
 * one, with a lock on it.  All of it may be removed at any time.
 */
#ifndef CSN_SANDBOX_GIT_KEEP_H
#define CSN_SANDBOX_GIT_KEEP_H

#include "sandbox/git_run.h"

/* As much as they may take, but for the one that was used last; those that are
 * not used for so long are let go of by gc. */
#define CSN_GIT_KEEP_BYTES ((int64_t)2 << 30)
enum { CSN_GIT_KEEP_DAYS = 30 };

/* The one of that address, made when missing, locked: a descriptor.  When it is
 * new, others make room. */
int csn_git_kept_open(csn_git *g, csn_str url, int cache, csn_err *err) CSN_MUST;

typedef struct csn_git_trimmed {
  int64_t repositories, bytes;
} csn_git_trimmed;
/* Removes those that were not used since since_s (Unix time), and then the ones not
 * used for longest until the others take at most most_bytes.  Those that are in
 * use stay. */
int csn_git_kept_trim(csn_scope *sc, int cache, int64_t most_bytes, int64_t since_s,
                      csn_git_trimmed *out, csn_err *err) CSN_MUST;

#endif
