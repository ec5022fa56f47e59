/* SPDX-License-Identifier: Apache-2.0
 * commands.c - the list that the program consists of. */
#include "commands.h"

/* clang-format off */
const cli_cmd *const cli_cmds[] = { /* in the order in which help lists them */
    &cmd_init,
    &cmd_run,
    &cmd_chat,
    &cmd_resume,
    &cmd_runs,
    &cmd_show,
    &cmd_approve,
    &cmd_diff,
    &cmd_apply,
    &cmd_audit,
    &cmd_session,
    &cmd_memory,
    &cmd_sandbox,
    &cmd_image,
    &cmd_snapshot,
    &cmd_manifest,
    &cmd_patch,
    &cmd_doctor,
    &cmd_trust,
    &cmd_schema,
    &cmd_completion,
    &cmd_help,
    &cmd_version,
    NULL,
};
/* clang-format on */
