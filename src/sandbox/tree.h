/* SPDX-License-Identifier: Apache-2.0
 *
 * tree.h - what changed between two folders, and bringing it to a third.
 *
 * `base` is the copy made when work began, `work` the workspace as it is now.
 * Folders named .git and .caisson are left out everywhere: they are not the
 * work, and a repository's own files (hooks, configuration) written by a
 * sandbox must never reach the host.  Special files count as absent.
 */
#ifndef CSN_SANDBOX_TREE_H
#define CSN_SANDBOX_TREE_H

#include "caisson/scope.h"
#include "caisson/str.h"

/* A unified diff in the style of git, in the order of paths: added, deleted
 * and changed files, modes, links; binary files are only named.  It can be fed
 * to `git apply`.  CSN_E_LIMIT when it passes out's cap; what fitted is there. */
int csn_tree_diff(csn_scope *sc, int base_fd, int work_fd, csn_buf *out, csn_err *err) CSN_MUST;

/* Brings the changes to `target`, the folder that base was copied from.  A file
 * that changed there too is merged by lines; where that is not possible it is a
 * conflict, and then nothing is changed: CSN_E_CONFLICT, with "Conflict PATH:
 * reason" lines in the report.  Otherwise all files are staged and put in place
 * by renames; the report has "Created P", "Updated P", "Merged P", "Deleted P".
 * Returns how many files changed. */
int csn_tree_apply(csn_scope *sc, int base_fd, int work_fd, int target_fd, csn_buf *report,
                   csn_err *err) CSN_MUST;

#endif
