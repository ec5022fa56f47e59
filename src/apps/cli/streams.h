/* SPDX-License-Identifier: Apache-2.0
 *
 * streams.h - one command in a sandbox with our streams: bytes are handed on
 * as they are, signals and the window's size go in, the exit status comes out.
 * With a terminal on both sides it gets one of its own.
 */
#ifndef CSN_APPS_STREAMS_H
#define CSN_APPS_STREAMS_H

#include "caisson/sandbox.h"
#include "cli.h"

typedef struct cli_command {
  const char *const *argv;
  const char *cwd, *user;         /* may be NULL */
  const char *const *environment; /* likewise */
} cli_command;

/* Its status; 126 and 127 when it could not be executed or was not found, which
 * is told, as is a limit that ended it. */
int cli_exec(cli *c, csn_sandbox *sb, const cli_command *what, csn_err *err) CSN_MUST;

#endif
