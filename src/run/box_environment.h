/* SPDX-License-Identifier: Apache-2.0
 * box_environment.h - the programs of a run's sandbox. */
#ifndef CSN_RUN_BOX_ENVIRONMENT_H
#define CSN_RUN_BOX_ENVIRONMENT_H

#include "run/box.h"
#include "sandbox/stack.h"

/* Sets what the sandbox begins with, a root file system or an image of its
 * back-end; builds the agent's environment where it has one that is not there
 * yet.  What is new in *spec is in the arena. */
int csn_box_programs(struct csn_box *b, csn_scope *sc, csn_arena *a, csn_sandbox_spec *spec,
                     csn_err *err) CSN_MUST;
/* By which the listener of the run hears what takes long; nobody without one. */
csn_sandbox_told csn_box_told(const struct csn_box *b);

#endif
