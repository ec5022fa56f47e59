/* SPDX-License-Identifier: Apache-2.0
 * caisson schema - the JSON Schemas of the files that users write. */
#include "caisson/agent.h"
#include "commands.h"

static int
schema_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  const char *what = argc ? argv[0] : "agent";
  bool is_agent = strcmp(what, "agent") == 0;
  if (!is_agent && strcmp(what, "project") != 0)
    return csn_fail(err, CSN_E_INVALID, "schema: expected agent or project");
  fputs(is_agent ? csn_agent_schema() : csn_project_schema(), stdout);
  return CLI_DONE;
}

const cli_cmd cmd_schema = {
    .name = "schema",
    .args = "[agent|project]",
    .brief = "Print the JSON Schema of agent.yaml or caisson.yaml",
    .main = schema_main,
};
