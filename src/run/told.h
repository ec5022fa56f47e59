/* SPDX-License-Identifier: Apache-2.0
 *
 * told.h - what a model was told, or would be: for people who want to see it.
 */
#ifndef CSN_RUN_TOLD_H
#define CSN_RUN_TOLD_H

#include "caisson/run.h"
#include "run/instructions.h"
#include "store/journal.h"

/* An agent with what its run began with. */
struct csn_telling {
  csn_arena *arena;
  csn_agent *agent; /* the first one */
  csn_str own;      /* what a callback gave last, a JSON string; empty: none */
  struct csn_told told;
  csn_store *store; /* of its journal, borrowed; or NULL */
};

void csn_telling_fini(struct csn_telling *t);
/* As the journal of a run has it. */
int csn_telling_read(struct csn_telling *t, csn_store *store, csn_journal *j,
                     csn_err *err) CSN_MUST;
/* As a run of this file would begin now: its workspace is laid out in a temporary
 * folder and removed again.  state_fd: where its memory would be; -1: nowhere. */
int csn_telling_try(struct csn_telling *t, csn_scope *sc, const char *file, int state_fd,
                    csn_err *err) CSN_MUST;
/* The instructions of the agent of that name; NULL: of the first. */
int csn_telling_write(const struct csn_telling *t, const char *agent, csn_buf *out,
                      csn_err *err) CSN_MUST;

#endif
