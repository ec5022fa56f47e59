/* SPDX-License-Identifier: Apache-2.0
 *
 * command_tool.h - a tool that is a program: it reads the arguments as a JSON
 * object from stdin and writes what the model gets to stdout.
 */
#ifndef CSN_RUN_COMMAND_TOOL_H
#define CSN_RUN_COMMAND_TOOL_H

#include "caisson/tool.h"

struct csn_command_tool {
  const char *name, *folder;      /* folder: of the agent file, where one in the harness runs */
  const char *const *argv;        /* NULL-terminated */
  const char *const *environment; /* NAME=VALUE, NULL-terminated; may be NULL */
  bool in_harness;                /* else in a sandbox, in its workspace */
  const char *box;                /* in that one of several; NULL: the first */
};

/* Adds text to what the model gets, cut in the middle to limits.output. */
void csn_tool_add_text(csn_call *c, csn_str text);
/* csn_tool.call; user is a csn_command_tool. */
int csn_command_tool_call(csn_call *c, void *user, csn_err *err);

#endif
