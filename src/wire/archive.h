/* SPDX-License-Identifier: Apache-2.0
 *
 * archive.h - the contract between unzip.c and caisson-archive.so, the only
 * part that is linked with libarchive.
 */
#ifndef CSN_WIRE_ARCHIVE_H
#define CSN_WIRE_ARCHIVE_H

#include <sys/types.h>

#include "wire/module.h"

enum { CSN_ARCHIVE_ABI = 1 };

/* The next bytes of the file, valid until the next call: their number, 0 at
 * the end, or -1. */
typedef ssize_t csn_archive_source(void *user, const void **bytes);

typedef struct csn_archive_module {
  csn_module base;
  /* Undoes gzip, xz or bzip2.  NULL: out of memory. */
  void *(*open)(csn_archive_source *source, void *user);
  /* Up to n bytes of what was packed; 0 at the end; -1 and *why. */
  ssize_t (*read)(void *z, void *to, size_t n, const char **why);
  void (*close)(void *z);
} csn_archive_module;

/* The one symbol that the module exports. */
CSN_API extern const csn_archive_module csn_archive_entry;

#endif
