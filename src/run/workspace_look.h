/* SPDX-License-Identifier: Apache-2.0
 *
 * workspace_look.h - what a workspace has to say to the model before its first
 * turn: AGENTS.md and skills.
 *
 * It is read when the workspace is there and before any command has run, once for
 * a run.  The answer becomes the member `context` of sandbox_ready.
 */
#ifndef CSN_RUN_WORKSPACE_LOOK_H
#define CSN_RUN_WORKSPACE_LOOK_H

#include "run/skills.h"

/* Whether anything of it is looked at. */
bool csn_workspace_is_told(const csn_agent *a);
/* What of it, for a workspace whose files are fetched: NULL-terminated, in the
 * arena. */
const char *const *csn_workspace_paths(const csn_agent *a, csn_arena *arena);
/* Writes {agents_md?, skills?, skipped?} into out; nothing when there is nothing. */
int csn_workspace_look(const csn_agent *a, csn_scope *sc, const struct csn_skill_places *p,
                       csn_buf *out, csn_err *err) CSN_MUST;

#endif
