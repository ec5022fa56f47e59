/* SPDX-License-Identifier: Apache-2.0
 * commands.h - all commands; commands.c has the order in which help lists them. */
#ifndef CSN_APPS_COMMANDS_H
#define CSN_APPS_COMMANDS_H

#include "cli.h"

extern const cli_cmd cmd_apply;
extern const cli_cmd cmd_approve;
extern const cli_cmd cmd_audit;
extern const cli_cmd cmd_chat;
extern const cli_cmd cmd_completion;
extern const cli_cmd cmd_diff;
extern const cli_cmd cmd_doctor;
extern const cli_cmd cmd_help;
extern const cli_cmd cmd_image;
extern const cli_cmd cmd_init;
extern const cli_cmd cmd_memory;
extern const cli_cmd cmd_manifest;
extern const cli_cmd cmd_patch;
extern const cli_cmd cmd_resume;
extern const cli_cmd cmd_run;
extern const cli_cmd cmd_runs;
extern const cli_cmd cmd_sandbox;
extern const cli_cmd cmd_sandbox_cp;
extern const cli_cmd cmd_sandbox_create;
extern const cli_cmd cmd_sandbox_exec;
extern const cli_cmd cmd_sandbox_gc;
extern const cli_cmd cmd_sandbox_ls;
extern const cli_cmd cmd_sandbox_move;
extern const cli_cmd cmd_sandbox_pause;
extern const cli_cmd cmd_sandbox_port;
extern const cli_cmd cmd_sandbox_resume;
extern const cli_cmd cmd_sandbox_rm;
extern const cli_cmd cmd_sandbox_snapshot;
extern const cli_cmd cmd_schema;
extern const cli_cmd cmd_session;
extern const cli_cmd cmd_show;
extern const cli_cmd cmd_snapshot;
extern const cli_cmd cmd_trust;
extern const cli_cmd cmd_version;

extern const cli_cmd *const cli_cmds[]; /* commands.c */

#endif
