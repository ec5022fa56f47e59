/* SPDX-License-Identifier: Apache-2.0
 *
 * files.h - parts of a workspace that somebody may use.
 */
#ifndef CAISSON_FILES_H
#define CAISSON_FILES_H

/* Relative paths of the workspace, each with all beneath, "." for all of it,
 * NULL-terminated.  A list that is NULL is no limit.  What may be written may be
 * read.  One that is missing when a command starts gives nothing. */
typedef struct csn_file_scope {
  const char *const *read, *const *write;
} csn_file_scope;

#endif
