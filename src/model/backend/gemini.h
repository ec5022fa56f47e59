/* SPDX-License-Identifier: Apache-2.0
 * gemini.h - the two halves of the Gemini codec: gemini.c writes requests,
 * gemini_reply.c reads replies. */
#ifndef CSN_MODEL_GEMINI_H
#define CSN_MODEL_GEMINI_H

#include "caisson/model.h"

#define CSN_GEMINI "gemini" /* in "provider_data" */

csn_decoder *csn_gemini_decoder(csn_arena *arena, const csn_reply_head *head,
                                const csn_model_request *rq, csn_delta_fn *fn, void *user);
int csn_gemini_feed(csn_decoder *d, csn_str bytes, csn_err *err);
int csn_gemini_finish(csn_decoder *d, csn_model_reply *out, csn_err *err);
void csn_gemini_close(csn_decoder *d);

#endif
