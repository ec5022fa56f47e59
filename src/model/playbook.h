/* SPDX-License-Identifier: Apache-2.0
 *
 * playbook.h - a model in a file: rules tried in order, each saying when it
 * holds and what it answers.  docs/playbook.md has the format.
 *
 * A playbook keeps no state.  Which rule made an earlier turn is read from
 * its call ids ("call_7_look": the seventh call, by rule "look"), so that
 * counting how often a rule fired needs the request's items alone.
 */
#ifndef CSN_MODEL_PLAYBOOK_H
#define CSN_MODEL_PLAYBOOK_H

#include "model/transcript.h"

typedef struct csn_playbook csn_playbook;

/* Reads and checks the whole of it: every pattern compiles, every ${...} in an
 * answer has something to stand for, unknown keys are errors.  `v` (a parsed
 * file) and `file`, the name for messages, are borrowed. */
int csn_playbook_new(csn_playbook **out, const csn_json *v, const char *file,
                     csn_err *err) CSN_MUST;
void csn_playbook_free(csn_playbook *p);

/* The next turn, in the arena.  When no rule holds it is a refusal that says
 * what the playbook saw. */
int csn_playbook_answer(const csn_playbook *p, csn_arena *a, const csn_model_request *rq,
                        const csn_transcript *t, csn_model_reply *out, csn_err *err) CSN_MUST;

CSN_FREER(playbook)

#endif
