/* SPDX-License-Identifier: Apache-2.0
 * The same for the Chat Completions codec. */
#define CODEC "chat"
#include "fuzz_responses.c"
