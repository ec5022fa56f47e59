/* SPDX-License-Identifier: Apache-2.0
 *
 * local_models.h - model servers of this machine, on the ports they usually
 * listen on.
 */
#ifndef CLI_LOCAL_MODELS_H
#define CLI_LOCAL_MODELS_H

#include "caisson/json.h"

/* Asks all of them at once, for at most a second, and writes an object:
 * {NAME: {"base_url", "models": [...], "try": "the command to paste"}}. */
void cli_local_models(csn_jw *w);

#endif
