/* SPDX-License-Identifier: Apache-2.0
 *
 * module.h - parts of caisson that are opened at first use, because what they
 * need costs every start of the program: caisson-net.so, caisson-archive.so.
 */
#ifndef CSN_WIRE_MODULE_H
#define CSN_WIRE_MODULE_H

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

#endif
