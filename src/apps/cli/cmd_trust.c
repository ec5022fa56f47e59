/* SPDX-License-Identifier: Apache-2.0
 * caisson trust - let a caisson.yaml send requests to other machines. */
#include "commands.h"
#include "run/project.h"

static int
trust_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  csn_auto(csn_project_freep) struct csn_project *p = NULL;
  int rc = csn_project_load(&p, err);
  if (rc == 0 && !csn_project_file(p))
    rc = csn_fail(err, CSN_E_NOT_FOUND, "there is no caisson.yaml here or above");
  if (rc < 0)
    return rc;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_project_list(p, &text);
  cli_put(stdout, csn_buf_str(&text));
  rc = csn_project_trust(p, err);
  if (rc == 0)
    cli_note(c, "trusted as it is now: %s", csn_project_file(p));
  return rc < 0 ? rc : CLI_DONE;
}

const cli_cmd cmd_trust = {
    .name = "trust",
    .brief = "Let this project's caisson.yaml send requests to other machines",
    .help = "A caisson.yaml that was found in the current folder or above says which server gets "
            "what agents read, and which key. Unless it lies in your home folder, servers other "
            "than this machine are used only after this command has shown them, and again after "
            "each change of the file. CAISSON_TRUST_PROJECT=1 does the same for one call, for "
            "example in CI.",
    .main = trust_main,
};
