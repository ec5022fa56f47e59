/* SPDX-License-Identifier: Apache-2.0
 * memory_prompt.h - what the models of both phases are asked; see memory.h. */
#ifndef CSN_RUN_MEMORY_PROMPT_H
#define CSN_RUN_MEMORY_PROMPT_H

#include "caisson/json.h"

/* The agent of a phase (1 or 2) as agent.yaml has it: its model, no tools, an answer
 * of one form, what may be used up. */
struct csn_memory_phase {
  int phase;
  const csn_json *config; /* `generate` */
  int64_t tokens;
  double cost_usd; /* 0: no limit */
  csn_str model;   /* JSON, of the agent whose memory it is */
};
void csn_memory_agent(const struct csn_memory_phase *p, csn_jw *w);
/* Of a rollout: lines cut in the middle where they are too many. */
void csn_memory_ask_one(csn_str id, csn_str lines, csn_buf *out);
/* Of all notes: what was made of them before, then the notes. */
void csn_memory_ask_two(csn_str entries, csn_str notes, csn_buf *out);

#endif
