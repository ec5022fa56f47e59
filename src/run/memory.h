/* SPDX-License-Identifier: Apache-2.0
 *
 * memory.h - notes that an agent keeps between runs.
 *
 * The resolved entry of `capabilities`:
 *   {type: memory, store: NAME, read: true|false, generate: {max_raw_memories_for_consolidation,
 *    phase_one_model?, phase_two_model?, extra_prompt?, limits: {tokens, cost_usd?}}|false}
 *
 * Reading: what memory_summary.md says is told when a run begins; the tools
 * read_memory and search_memory look further.  Generating, when a run is over and
 * its sandbox closed: the run is appended to its rollout, a model draws notes from
 * each rollout that has grown (phase one), another makes one memory of all notes
 * (phase two).  Both are runs with journals of their own and without tools: what
 * they read was written by others, and nothing of it can act.
 *
 * The files are the harness's (memory_store.h); a sandbox sees none of them.
 */
#ifndef CSN_RUN_MEMORY_H
#define CSN_RUN_MEMORY_H

#include "caisson/run.h"
#include "run/agent_impl.h"

struct csn_redact;
struct csn_store;

/* ---- memory_read.c ---- */

/* What a run of this agent is told: appends the text, nothing when there is none.
 * *untrusted: some of it comes from runs whose context was not to be trusted. */
int csn_memory_read(const csn_agent *a, int state_fd, csn_buf *text, bool *untrusted,
                    csn_err *err) CSN_MUST;
/* The text that `memory` of a recorded input names; empty when it was erased. */
csn_str csn_memory_recall(struct csn_store *store, const csn_json *memory, csn_arena *a);
/* Members "memory" and "untrusted" of the input of a run that begins. */
int csn_memory_write_input(csn_run *r, csn_jw *w, csn_err *err) CSN_MUST;
/* As the instructions have it; nothing for an empty text. */
void csn_memory_tell(csn_str text, csn_buf *out);
/* The tools read_memory and search_memory. */
int csn_capability_memory(csn_agent *a, csn_err *err) CSN_MUST;

/* ---- memory_make.c ---- */

/* Whether runs of this agent are remembered. */
bool csn_memory_is_made(const csn_agent *a);
/* Appends a run that has ended to its rollout; once, also when it is done again. */
int csn_memory_note(csn_run *r, csn_err *err) CSN_MUST;

struct csn_memory_made {
  int64_t rollouts, entries, tokens; /* notes drawn from, entries now, tokens used */
  double cost_usd;
};
/* Both phases over what has grown.  CSN_E_CONFLICT while another process does so.
 * secrets: their values stay out; or NULL. */
int csn_memory_make(csn_rt *rt, csn_scope *sc, const csn_agent *a, const struct csn_redact *secrets,
                    struct csn_memory_made *out, csn_err *err) CSN_MUST;

#endif
