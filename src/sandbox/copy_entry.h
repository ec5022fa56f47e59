/* SPDX-License-Identifier: Apache-2.0
 * copy_entry.h - one file or link of a folder that nobody changes, copied. */
#ifndef CSN_SANDBOX_COPY_ENTRY_H
#define CSN_SANDBOX_COPY_ENTRY_H

#include <sys/stat.h>

#include "caisson/err.h"

/* Content (shared where the file system can), owner as root, mode and time;
 * what is neither file nor link is left out.  *st is of the source. */
int csn_copy_entry(int to, int from, const char *name, const struct stat *st,
                   csn_err *err) CSN_MUST;

#endif
