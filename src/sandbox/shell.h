/* SPDX-License-Identifier: Apache-2.0
 *
 * shell.h - the tools exec_command and write_stdin over any sandbox.
 *
 * A command that still runs when its call yields stays as a session, with or
 * without a terminal; a thread of its own reads on, so that an unwatched
 * server never blocks, and keeps no more than the token budget.  Session ids
 * belong to one csn_shell, which belongs to one run: a random number names
 * nothing elsewhere.
 *
 * Calls may come from several threads at once.  Free the shell before its
 * sandbox is closed and after its last call has returned.
 */
#ifndef CSN_SANDBOX_SHELL_H
#define CSN_SANDBOX_SHELL_H

#include "caisson/sandbox.h"
#include "sandbox/output.h"

typedef struct csn_shell csn_shell;

/* output_tokens: the ceiling of every result, whatever the model asks for;
 * 0 or less: 10,000.  The sandbox is borrowed. */
csn_shell *csn_shell_new(csn_sandbox *sb, int64_t output_tokens);
/* Where commands start that name no folder, and what relative ones start from:
 * a folder of the workspace; before the first one.  Copied; NULL: its top. */
void csn_shell_set_cwd(csn_shell *sh, const char *cwd);
/* For the output of every command; before the first one.  Copied. */
void csn_shell_set_filter(csn_shell *sh, const csn_output_filter *f);
/* Kills the commands of all sessions. */
void csn_shell_free(csn_shell *sh);
CSN_FREER(shell)

/* `args` is the tool's JSON object.  What the model can mend (a bad argument,
 * an unknown folder, a missing program, a dead session) is text in `out` and
 * 0; negative: the sandbox failed, the scope ended, or `out` is too small.
 * claim_fd: see csn_exec; for write_stdin it gets its byte right before the
 * characters are written. */
int csn_shell_exec(csn_shell *sh, csn_scope *sc, const csn_json *args, int claim_fd, csn_buf *out,
                   csn_err *err) CSN_MUST;
int csn_shell_write_stdin(csn_shell *sh, csn_scope *sc, const csn_json *args, int claim_fd,
                          csn_buf *out, csn_err *err) CSN_MUST;

/* Who calls, where several share a shell: commands are held to `files` (NULL: to
 * nothing), and of a caller that is held only its own sessions answer. */
typedef struct csn_shell_caller {
  const csn_file_scope *files;
  const void *owner;
} csn_shell_caller;
int csn_shell_exec_as(csn_shell *sh, csn_scope *sc, const csn_shell_caller *who,
                      const csn_json *args, int claim_fd, csn_buf *out, csn_err *err) CSN_MUST;
int csn_shell_write_stdin_as(csn_shell *sh, csn_scope *sc, const csn_shell_caller *who,
                             const csn_json *args, int claim_fd, csn_buf *out,
                             csn_err *err) CSN_MUST;

/* JSON schemas of the arguments, and what the model is told about the tools. */
const char *csn_shell_exec_schema(void);
const char *csn_shell_write_stdin_schema(void);
const char *csn_shell_exec_description(void);
const char *csn_shell_write_stdin_description(void);
const char *csn_shell_instructions(void);

#endif
