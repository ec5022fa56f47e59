/* SPDX-License-Identifier: Apache-2.0
 * starting.h - what `run` and `chat` begin with: an agent and its model. */
#ifndef CSN_APPS_STARTING_H
#define CSN_APPS_STARTING_H

#include "caisson/run.h"
#include "cli.h"

bool cli_is_agent_file(const char *arg);
/* file NULL: an engineer with a copy of the current folder in a jail. */
int cli_agent_open(const char *file, csn_agent **out, csn_err *err) CSN_MUST;
/* `wanted` (may be NULL), else the agent's own, else the project's. */
void cli_choose_model(cli *c, csn_agent *a, const char *wanted, const csn_rt *rt);

#endif
