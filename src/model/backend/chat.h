/* SPDX-License-Identifier: Apache-2.0
 * chat.h - the two halves of the Chat Completions codec: chat.c writes
 * requests, chat_reply.c reads replies. */
#ifndef CSN_MODEL_CHAT_H
#define CSN_MODEL_CHAT_H

#include "caisson/model.h"

csn_decoder *csn_chat_decoder(csn_arena *arena, const csn_reply_head *head,
                              const csn_model_request *rq, csn_delta_fn *fn, void *user);
int csn_chat_feed(csn_decoder *d, csn_str bytes, csn_err *err);
int csn_chat_finish(csn_decoder *d, csn_model_reply *out, csn_err *err);
void csn_chat_close(csn_decoder *d);

#endif
