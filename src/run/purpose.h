/* SPDX-License-Identifier: Apache-2.0
 *
 * purpose.h - the closed list of what callbacks are asked about.
 */
#ifndef CSN_RUN_PURPOSE_H
#define CSN_RUN_PURPOSE_H

/* What a callback is called for: the word is in the effect's `for`. */
#define CSN_PURPOSES(X)                                                                            \
  X(NONE, none)                                                                                    \
  X(INPUT, input)               /* guardrail on what the run begins with */                        \
  X(OUTPUT, output)             /* guardrail on the final answer */                                \
  X(TOOL_INPUT, tool_input)     /* guardrail on a call */                                          \
  X(TOOL_OUTPUT, tool_output)   /* guardrail on what a call gave */                                \
  X(INSTRUCTIONS, instructions) /* the instructions of a turn */                                   \
  X(ENABLED, enabled)           /* whether a tool is there in a turn */                            \
  X(SCHEMA, schema)             /* no callback: the driver looks whether the answer fits */        \
  X(BUDGET, budget)             /* no callback: a human is asked whether to go on */               \
  X(HANDOFF, handoff)           /* what the next agent sees of what came before */                 \
  X(ERROR, error)               /* what ends a run without an answer; the driver has fixed ones */ \
  X(CONTEXT, context)           /* no callback: the driver looks what has room in a request */     \
  X(ADDED, added)               /* guardrails on further input, which then joins */                \
  X(WORKSPACE, workspace)       /* no callback: a checkpoint of the workspace is made */
#define X(id, word) CSN_FOR_##id,
enum csn_purpose { CSN_PURPOSES(X) CSN_FOR_COUNT };
#undef X

const char *csn_purpose_name(enum csn_purpose p);

#endif
