/* SPDX-License-Identifier: Apache-2.0
 * refusal.h - a reply that will not answer, where another model may be asked. */
#ifndef CSN_RUN_REFUSAL_H
#define CSN_RUN_REFUSAL_H

#include "caisson/model.h"

/* Whether the reply refuses and calls no tool; adds what it says to why. */
bool csn_refusal_of(const csn_model_reply *reply, csn_arena *scratch, csn_buf *why);
/* The data of the model_failed that takes the reply's place: what was said does not
 * join the conversation, and was paid for. */
void csn_refusal_write(csn_buf *out, int64_t effect, const char *model, csn_str why,
                       const csn_usage *usage);

#endif
