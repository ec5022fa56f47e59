/* SPDX-License-Identifier: Apache-2.0
 *
 * instructions.h - what an agent's model is told before the conversation.
 *
 * An agent without a workspace is told its own text and nothing else.  Others get
 * parts with headings, each only when there is something to say:
 *
 *   how to work                    csn_base_instructions(), or `base_instructions`
 *   # Agent instructions           the agent's own text, or what its callback gave
 *   # Sandbox capability instructions
 *                                  shell, skills, memory, in the file's order
 *   # Sandbox remote mount policy  what is mounted, and how to treat it
 *   # Filesystem                   where commands start, what the workspace holds
 *   # Project instructions         AGENTS.md of the workspace
 *
 * What differs from run to run stands behind what does not, so that requests of an
 * agent share their beginning as far as can be.  What the workspace and the memory say
 * is read once, when the run begins, and stands in its journal: all requests
 * of a run begin with the same bytes, also after it was resumed.
 */
#ifndef CSN_RUN_INSTRUCTIONS_H
#define CSN_RUN_INSTRUCTIONS_H

#include "caisson/run.h"
#include "run/agent_impl.h"

/* What was found when the run began; may be NULL. */
struct csn_told {
  const csn_json *workspace; /* `context` of sandbox_ready: {agents_md?, skills?} */
  csn_str memory;            /* text of the blob that `memory` of the input names */
};

/* A child's is its parent's. */
const struct csn_told *csn_run_told(const csn_run *r);

/* The whole: appends to out. */
int csn_instructions_write(const csn_agent *a, csn_str own, const struct csn_told *told,
                           csn_buf *out, csn_err *err) CSN_MUST;

/* What every agent with a workspace is told, unless its file says otherwise. */
const char *csn_base_instructions(void);

#endif
