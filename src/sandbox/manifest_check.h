/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_check.h - what a manifest would make, and what would go wrong, as
 * far as this machine can tell without making or asking for anything.
 */
#ifndef CSN_SANDBOX_MANIFEST_CHECK_H
#define CSN_SANDBOX_MANIFEST_CHECK_H

#include "caisson/manifest.h"

/* One entry.  Borrowed during the call. */
typedef struct csn_manifest_line {
  const char *where; /* "entries.src" */
  uint32_t line;     /* of the file; 0: unknown */
  const char *path, *type;
  const char *what;    /* "a copy of ./src"; may be empty */
  const char *problem; /* why it cannot be made; NULL: it can */
  const char *note;    /* what should be known, or NULL */
  unsigned mode;
  bool is_ephemeral;
} csn_manifest_line;

/* Calls fn for each entry in the order of their paths.  source_fd: the folder
 * that relative paths start from.  The number of problems. */
size_t csn_manifest_look(const csn_manifest *m, csn_scope *sc, int source_fd,
                         void (*fn)(void *user, const csn_manifest_line *l), void *user);

#endif
