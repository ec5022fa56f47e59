/* SPDX-License-Identifier: Apache-2.0
 * caisson init - write an agent file to start from. */
#include <fcntl.h>

#include "commands.h"
#include "core/fd.h"

static const char text[] =
    "# An agent. `caisson schema` prints every key; `caisson run agent.yaml \"...\"` runs it.\n"
    "name: engineer\n"
    "\n"
    "# PREFIX/NAME: openai/ is the Responses API, chat/ the Chat Completions API, both at\n"
    "# OPENAI_BASE_URL with OPENAI_API_KEY; other providers are named in caisson.yaml.\n"
    "model: openai/gpt-5.4-mini\n"
    "\n"
    "instructions: |\n"
    "  Find out why the tests fail, fix the code, and prove it by running them again.\n"
    "\n"
    "# What the agent can do: run commands, and read and patch files.\n"
    "capabilities: [filesystem, shell]\n"
    "\n"
    "# What is in its workspace. The folder is copied: `caisson diff` and `caisson apply`\n"
    "# bring changes back.\n"
    "manifest:\n"
    "  entries:\n"
    "    repo: {type: local_dir, src: .}\n"
    "\n"
    "# Where commands run. `jail` isolates them from this machine and the network.\n"
    "sandbox:\n"
    "  backend: jail\n"
    "\n"
    "limits:\n"
    "  turns: 40        # model calls\n"
    "  wall: 30m        # time in all\n"
    "  output: 10000    # tokens of one command's output that the model sees\n"
    "\n"
    "# Files to bring out when the run has ended, however it ended.\n"
    "# outputs:\n"
    "#   - {path: repo/report.txt, to: report.txt}\n";

static int
init_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  const char *path = argc ? argv[0] : "agent.yaml";
  csn_auto(csn_closep) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0)
    return csn_fail_errno(err, "cannot write %s", path);
  int rc = csn_fd_write_all(fd, csn_cstr(text), err);
  if (rc == 0)
    cli_note(c, "wrote %s; next: caisson run %s \"what to do\"", path, path);
  return rc;
}

const cli_cmd cmd_init = {
    .name = "init",
    .args = "[FILE]",
    .brief = "Write a commented agent.yaml",
    .main = init_main,
};
