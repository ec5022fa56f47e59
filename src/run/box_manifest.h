/* SPDX-License-Identifier: Apache-2.0
 * box_manifest.h - what a manifest says about the sandbox of a run: its files,
 * its environment. */
#ifndef CSN_RUN_BOX_MANIFEST_H
#define CSN_RUN_BOX_MANIFEST_H

#include "run/driver.h"

/* The folder that relative paths of a manifest start from. */
int csn_box_source(const struct csn_box *b, csn_err *err) CSN_MUST;
/* Box locked, its sandbox and workspace open, the agent with a manifest: makes
 * the entries.  base_fd: see csn_materialize; -1: none.  only_ephemeral: those
 * which no snapshot holds, in a workspace that comes from one. */
int csn_box_fill(struct csn_box *b, csn_scope *sc, int base_fd, bool only_ephemeral,
                 csn_err *err) CSN_MUST;
/* Folders that agents' scopes name for writing and that are not there yet, in a
 * new workspace. */
int csn_box_fill_scopes(struct csn_box *b, csn_err *err) CSN_MUST;
/* The variables, with values found now; *out is NULL without a manifest. */
int csn_box_environment(const struct csn_box *b, csn_scope *sc, csn_arena *a,
                        const char *const **out, csn_err *err) CSN_MUST;

#endif
