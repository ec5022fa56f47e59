/* SPDX-License-Identifier: Apache-2.0
 * commands.h - all commands, in the order in which help lists them. */
#ifndef CSN_APPS_COMMANDS_H
#define CSN_APPS_COMMANDS_H

#include "cli.h"

extern const cli_cmd cmd_completion, cmd_doctor, cmd_help, cmd_patch, cmd_sandbox, cmd_version;

extern const cli_cmd *const cli_cmds[]; /* commands.c */

#endif
