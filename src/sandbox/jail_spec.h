/* SPDX-License-Identifier: Apache-2.0
 * jail_spec.h - what may be asked of a jail. */
#ifndef CSN_SANDBOX_JAIL_SPEC_H
#define CSN_SANDBOX_JAIL_SPEC_H

#include "caisson/sandbox.h"

/* The first part of an absolute path is a folder of the jail's own. */
bool csn_jail_owns_top(csn_str path);
/* The place of the workspace inside, and options, of which there are none. */
int csn_jail_spec_check(const csn_sandbox_spec *spec, csn_err *err) CSN_MUST;

#endif
