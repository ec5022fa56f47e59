/* SPDX-License-Identifier: Apache-2.0
 * box_environment.h - the root file system of a run's sandbox. */
#ifndef CSN_RUN_BOX_ENVIRONMENT_H
#define CSN_RUN_BOX_ENVIRONMENT_H

#include "run/box.h"

/* The word for it, in the arena or the agent's; builds the agent's environment
 * where it has one that is not there yet.  NULL: the back-end's own. */
int csn_box_rootfs(struct csn_box *b, csn_scope *sc, csn_arena *a, const char **word,
                   csn_err *err) CSN_MUST;

#endif
