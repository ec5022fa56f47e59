/* SPDX-License-Identifier: Apache-2.0
 * caisson version - which version this is. */
#include "caisson/caisson.h"
#include "commands.h"

struct version_opts {
  bool json;
};

static const cli_opt opts[] = {
    {"json", 0, NULL, "Print one JSON object", CLI_BOOL(struct version_opts, json)},
    {0},
};

static int
version_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  const struct version_opts *v = o;
  if (v && v->json)
    printf("{\"name\":\"caisson\",\"version\":\"%s\"}\n", csn_version());
  else
    printf("caisson %s\n", csn_version());
  return CLI_DONE;
}

const cli_cmd cmd_version = {
    .name = "version",
    .brief = "Print the version",
    .size = sizeof(struct version_opts),
    .opts = opts,
    .main = version_main,
};
