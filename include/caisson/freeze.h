/* SPDX-License-Identifier: Apache-2.0
 *
 * freeze.h - workspaces of layers, which can be frozen (docs/snapshots.md).
 */
#ifndef CAISSON_FREEZE_H
#define CAISSON_FREEZE_H

#include "sandbox.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Makes a layer of what was changed in a workspace of layers, in a time that
 * does not depend on how much that is.  *names: all its layers, NULL-terminated,
 * the sandbox's until it is closed; another sandbox can begin with them, and
 * opening this workspace again goes on over them.  The last thing that is done
 * with a sandbox but closing it; nobody else may use it meanwhile.
 * CSN_E_CONFLICT while a process runs in it, and then nothing has happened;
 * CSN_E_UNSUPPORTED without layers. */
CSN_API int csn_sandbox_freeze(csn_sandbox *sb, csn_scope *sc, const char *const **names,
                               csn_err *err) CSN_MUST;

/* Whether freezing takes nothing away: CSN_E_CONFLICT while a process runs in
 * it; *has_more: there are files outside of the workspace (/tmp, the home), which
 * end with it.  CSN_E_UNSUPPORTED where that cannot be told. */
CSN_API int csn_sandbox_rests(csn_sandbox *sb, csn_scope *sc, bool *has_more,
                              csn_err *err) CSN_MUST;

#ifdef __cplusplus
}
#endif
#endif
