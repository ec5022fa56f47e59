/* SPDX-License-Identifier: Apache-2.0
 * backends.h - the codecs behind the model port; model.c lists them. */
#ifndef CSN_MODEL_BACKENDS_H
#define CSN_MODEL_BACKENDS_H

#include "caisson/model.h"

extern const csn_model_ops csn_model_responses, csn_model_chat, csn_model_anthropic,
    csn_model_gemini, csn_model_bedrock, csn_model_script, csn_model_replay;

#endif
