/* SPDX-License-Identifier: Apache-2.0
 * caisson help [COMMAND...] - the tables as text for people. */
#include "commands.h"

struct help_opts {
  bool man;
};

static const cli_opt opts[] = {
    {"man", 0, NULL, "Print the manual page caisson(1) as roff", CLI_BOOL(struct help_opts, man)},
    {0},
};

static int
help_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  const struct help_opts *h = o;
  if (h->man) {
    cli_man(c, stdout);
    return CLI_DONE;
  }
  const cli_cmd *cmd = NULL;
  for (int i = 0; i < argc; i++) {
    cmd = cli_cmd_find(i ? cmd->sub : c->cmds, argv[i]);
    if (!cmd)
      return csn_fail(err, CSN_E_INVALID, "there is no command '%s'; 'caisson help' lists them",
                      argv[i]);
  }
  cli_help(c, cmd, stdout);
  return CLI_DONE;
}

const cli_cmd cmd_help = {
    .name = "help",
    .args = "[COMMAND...]",
    .brief = "Tell about a command",
    .size = sizeof(struct help_opts),
    .opts = opts,
    .main = help_main,
};
