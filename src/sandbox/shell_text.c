/* SPDX-License-Identifier: Apache-2.0
 * shell_text.c - what a model is told about the shell tools.  Names, order,
 * titles, defaults and bounds are the contract; the sentences are ours. */
#include "sandbox/shell.h"

#define YIELD_TEXT "How many milliseconds to wait for the command before returning."
#define TOKENS_TEXT "Most tokens of output to return; the middle of longer output is left out."

#define MAX_OUTPUT_TOKENS                                                                          \
  "\"max_output_tokens\":{\"anyOf\":[{\"minimum\":1,\"type\":\"integer\"},{\"type\":\"null\"}],"   \
  "\"default\":null,\"description\":\"" TOKENS_TEXT "\",\"title\":\"Max Output Tokens\"}"

const char *
csn_shell_exec_schema(void)
{
  return "{\"properties\":{"
         "\"cmd\":{\"description\":\"The shell command to run.\",\"minLength\":1,"
         "\"title\":\"Cmd\",\"type\":\"string\"},"
         "\"workdir\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}],\"default\":null,"
         "\"description\":\"Folder to run it in, absolute or relative to the workspace; the "
         "workspace if left out.\",\"title\":\"Workdir\"},"
         "\"shell\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}],\"default\":null,"
         "\"description\":\"Shell program that runs it; sh if left out.\",\"title\":\"Shell\"},"
         "\"login\":{\"default\":true,\"description\":\"Whether the shell is a login shell (-lc "
         "instead of -c).\",\"title\":\"Login\",\"type\":\"boolean\"},"
         "\"tty\":{\"default\":false,\"description\":\"Whether the command gets a terminal; needed "
         "to write to it later. Otherwise it gets plain pipes and no input.\",\"title\":\"Tty\","
         "\"type\":\"boolean\"},"
         "\"yield_time_ms\":{\"default\":10000,\"description\":\"" YIELD_TEXT "\",\"minimum\":0,"
         "\"title\":\"Yield Time Ms\",\"type\":\"integer\"}," MAX_OUTPUT_TOKENS "},"
         "\"required\":[\"cmd\"],\"title\":\"ExecCommandArgs\",\"type\":\"object\"}";
}

const char *
csn_shell_write_stdin_schema(void)
{
  return "{\"properties\":{"
         "\"session_id\":{\"description\":\"The session that exec_command reported as running.\","
         "\"title\":\"Session Id\",\"type\":\"integer\"},"
         "\"chars\":{\"default\":\"\",\"description\":\"What to type into it; empty only collects "
         "new output.\",\"title\":\"Chars\",\"type\":\"string\"},"
         "\"yield_time_ms\":{\"default\":250,\"description\":\"" YIELD_TEXT "\",\"minimum\":0,"
         "\"title\":\"Yield Time Ms\",\"type\":\"integer\"}," MAX_OUTPUT_TOKENS "},"
         "\"required\":[\"session_id\"],\"title\":\"WriteStdinArgs\",\"type\":\"object\"}";
}

const char *
csn_shell_exec_description(void)
{
  return "Runs a shell command in the sandbox. Returns its output and exit code, or a session ID "
         "while it still runs.";
}

const char *
csn_shell_write_stdin_description(void)
{
  return "Types characters into a running session, or collects its new output when there are "
         "none.";
}

const char *
csn_shell_instructions(void)
{
  return "Shell:\n"
         "- Run commands with `exec_command`; one call takes one shell command line.\n"
         "- A command that outlasts its wait keeps running as a session: collect its output, or "
         "answer it, with `write_stdin`.\n"
         "- Only a command started with `tty=true` can be written to; send `\\u0003` to interrupt "
         "it.\n"
         "- Search with `rg` and list files with `rg --files` where they are installed; they are "
         "faster than grep and find.\n"
         "- Read files with the shell's own tools (`sed -n`, `head`, `tail`); don't start Python "
         "only to print a file.";
}
