/* SPDX-License-Identifier: Apache-2.0
 * caisson apply - bring a run's changes back to the folders they came from. */
#include <fcntl.h>

#include "commands.h"
#include "sandbox/tree.h"
#include "stored.h"

enum { REPORT_MAX_BYTES = 64 << 20 };

static int
apply_one(void *user, const cli_tree *t, csn_err *err)
{
  cli *c = user;
  if (!t->src.n && t->box.n) {
    cli_note(c, "sandbox %.*s began with a snapshot and has no folder to bring changes back to",
             (int)t->box.n, t->box.p);
    return 0;
  }
  if (!t->src.n)
    return csn_fail(err, CSN_E_NOT_FOUND,
                    "the run began with a snapshot and has no folder of this machine to bring "
                    "changes back to; see `caisson diff`");
  csn_auto(csn_freep) char *src = csn_dupz(t->src);
  csn_auto(csn_closep) int target = open(src, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (target < 0)
    return csn_fail_errno(err, "cannot open %s", src);
  csn_auto(csn_buf_finip) csn_buf report = CSN_BUF(REPORT_MAX_BYTES);
  int rc = csn_tree_apply(&c->scope, t->base_fd, t->work_fd, target, &report, err);
  cli_put(stdout, csn_buf_str(&report));
  if (report.n && report.p[report.n - 1] != '\n')
    putchar('\n');
  return csn_wrap(err, rc < 0 ? rc : 0, "%s", src); /* not how many there were */
}

static int
apply_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  cli_stored s;
  int rc = cli_stored_open(c, &s, err);
  if (rc == 0)
    rc = cli_each_tree(c, &s, argv[0], apply_one, c, err);
  cli_stored_close(&s);
  return rc == CSN_E_CONFLICT ? (cli_error(c, "%s", err->msg), CLI_FAILED) : rc;
}

const cli_cmd cmd_apply = {
    .name = "apply",
    .args = "RUN",
    .brief = "Bring a run's changes back",
    .help = "A three-way patch: what changed in the workspace is applied to the folder it was "
            "copied from, beside what changed there meanwhile. Where both changed the same lines "
            "it is refused and nothing is written.",
    .main = apply_main,
};
