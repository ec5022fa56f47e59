/* SPDX-License-Identifier: Apache-2.0
 * caisson completion SHELL - the tables as a completion script. */
#include "commands.h"

static int
completion_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  cli_complete(c, argv[0], stdout);
  return CLI_DONE;
}

const cli_cmd cmd_completion = {
    .name = "completion",
    .args = "bash|zsh|fish",
    .brief = "Print a completion script for a shell",
    .help = "Put its output where the shell looks for completions, for example:\n\n"
            "caisson completion bash > ~/.local/share/bash-completion/completions/caisson",
    .main = completion_main,
};
