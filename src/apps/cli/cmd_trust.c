/* SPDX-License-Identifier: Apache-2.0
 * caisson trust - let a caisson.yaml send requests to other machines, or a program
 * be a back-end that agent files may name. */
#include <fcntl.h>
#include <sys/stat.h>

#include "commands.h"
#include "core/fd.h"
#include "run/project.h"
#include "run/trust.h"

enum { PROGRAM_MAX_BYTES = 256 << 20 };

static int
trust_program(cli *c, const char *path, csn_err *err)
{
  csn_auto(csn_freep) char *real = realpath(path, NULL);
  csn_auto(csn_buf_finip) csn_buf content = CSN_BUF(PROGRAM_MAX_BYTES);
  struct stat st;
  if (!real)
    return csn_fail_errno(err, "%s", path);
  csn_auto(csn_closep) int fd = open(real, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 || fstat(fd, &st) < 0)
    return csn_fail_errno(err, "%s", real);
  if (!S_ISREG(st.st_mode) || !(st.st_mode & 0111))
    return csn_fail(err, CSN_E_INVALID,
                    "%s is no program; a caisson.yaml is trusted from its folder, without its name",
                    real);
  int rc = csn_fd_read_all(fd, &content, err);
  if (rc == 0)
    rc = csn_trust_add(real, csn_buf_str(&content), err);
  if (rc == 0)
    cli_note(c, "trusted as it is now, as the back-end of any agent file: exec:%s", real);
  return rc < 0 ? rc : CLI_DONE;
}

static int
trust_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  csn_auto(csn_project_freep) struct csn_project *p = NULL;
  if (argc > 0)
    return trust_program(c, argv[0], err);
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
    .args = "[PROGRAM]",
    .brief = "Let a caisson.yaml send requests elsewhere, or a program be a back-end",
    .help = "A caisson.yaml that was found in the current folder or above says which server gets "
            "what agents read, and which key. Unless it lies in your home folder, servers other "
            "than this machine are used only after this command has shown them, and again after "
            "each change of the file. CAISSON_TRUST_PROJECT=1 does the same for one call, for "
            "example in CI. With PROGRAM: that program may be the back-end exec:PROGRAM of any "
            "agent file, as long as it is as it is now. It runs on this machine, outside of any "
            "sandbox.",
    .main = trust_main,
};
