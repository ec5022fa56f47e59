/* SPDX-License-Identifier: Apache-2.0
 *
 * tokens.h - about how many tokens a model counts a text as.
 *
 * No tokenizer is carried along: they differ from model to model, are large,
 * and some are secret.  A text is cut into words, numbers, signs and blanks the
 * way all of them do, and each piece is given what they use on the average,
 * rather a little more than less.  What a provider counted goes before this.
 */
#ifndef CSN_MODEL_TOKENS_H
#define CSN_MODEL_TOKENS_H

#include "caisson/str.h"

/* Models whose tokens are about of one size. */
enum csn_token_family { CSN_TOKENS_OPENAI, CSN_TOKENS_CLAUDE, CSN_TOKENS_GEMINI, CSN_TOKENS_OTHER };

/* By the model's full name ("anthropic/claude-sonnet-4-5"). */
enum csn_token_family csn_token_family(csn_str model);
/* json: serialised; escapes count as what they stand for, an image as an
 * image. */
int64_t csn_tokens_estimate(enum csn_token_family family, csn_str json);

#endif
