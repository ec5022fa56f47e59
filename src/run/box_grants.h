/* SPDX-License-Identifier: Apache-2.0
 * box_grants.h - what of this machine the manifest shows to commands. */
#ifndef CSN_RUN_BOX_GRANTS_H
#define CSN_RUN_BOX_GRANTS_H

#include "run/driver.h"
#include "sandbox/grants.h"

/* The grants of the box's manifest, in the arena; NULL: none.  CSN_E_DENIED: the
 * state folder or the caisson.yaml in use would be seen. */
int csn_box_grants(const struct csn_box *b, csn_arena *a, const csn_path_grant **out,
                   csn_err *err) CSN_MUST;

#endif
