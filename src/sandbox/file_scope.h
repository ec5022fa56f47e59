/* SPDX-License-Identifier: Apache-2.0
 * file_scope.h - whether a path of the workspace is among those that a caller
 * may use, for what the harness itself reads and writes there. */
#ifndef CSN_SANDBOX_FILE_SCOPE_H
#define CSN_SANDBOX_FILE_SCOPE_H

#include "caisson/sandbox.h"

/* path: relative, clean, without links.  s may be NULL: everything. */
bool csn_file_scope_reads(const csn_file_scope *s, csn_str path);
bool csn_file_scope_writes(const csn_file_scope *s, csn_str path);
/* What an open file is called beneath the open folder `top`; CSN_E_DENIED when
 * it is elsewhere. */
int csn_file_scope_name(int top, int fd, csn_buf *out, csn_err *err) CSN_MUST;

#endif
