/* SPDX-License-Identifier: Apache-2.0
 *
 * module.h - parts of caisson that are opened at first use, because what they
 * need costs every start of the program: caisson-net.so, caisson-archive.so.
 */
#ifndef CSN_WIRE_MODULE_H
#define CSN_WIRE_MODULE_H

#include <limits.h>

#include "caisson/mem.h"

/* What the entry symbol of every module starts with. */
typedef struct csn_module {
  int abi;
  const char *version; /* CSN_VERSION it was built with */
} csn_module;

/* Opens the module `file` and gives the struct behind its symbol `entry`, for
 * the life of the process.  Any thread; opening twice is fine.
 * CSN_E_NOT_FOUND: not installed; CSN_E_INVALID: of another version. */
int csn_module_open(const char *file, const char *entry, int abi, const csn_module **out,
                    csn_err *err) CSN_MUST;

/* Where such files lie: beside this program or library, in libexec/caisson
 * under the same prefix, in `folder` of the build folder above, or where they
 * were installed.  A descriptor of one that belongs to root, to the owner of
 * this program or to who runs it, and its path; CSN_E_NOT_FOUND. */
int csn_module_find(const char *file, const char *folder, char path[PATH_MAX],
                    csn_err *err) CSN_MUST;

#endif
