/* SPDX-License-Identifier: Apache-2.0
 * anthropic.h - the two halves of the Messages codec: anthropic.c writes
 * requests, anthropic_reply.c reads replies.  bedrock.c uses both. */
#ifndef CSN_MODEL_ANTHROPIC_H
#define CSN_MODEL_ANTHROPIC_H

#include "caisson/model.h"

#define CSN_ANTHROPIC "anthropic" /* in "provider_data" */

/* The body of a request.  version: of a service that wants it there and the
 * model in the path, and knows no mark at the top; NULL: the API itself. */
int csn_anthropic_body(const csn_model_request *rq, const char *version, csn_buf *body,
                       csn_err *err) CSN_MUST;
csn_decoder *csn_anthropic_decoder(csn_arena *arena, const csn_reply_head *head,
                                   const csn_model_request *rq, csn_delta_fn *fn, void *user);
int csn_anthropic_feed(csn_decoder *d, csn_str bytes, csn_err *err);
int csn_anthropic_finish(csn_decoder *d, csn_model_reply *out, csn_err *err);
void csn_anthropic_close(csn_decoder *d);

#endif
