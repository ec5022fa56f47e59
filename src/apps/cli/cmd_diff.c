/* SPDX-License-Identifier: Apache-2.0
 * caisson diff - what a run changed in the folders it was given. */
#include "commands.h"
#include "sandbox/tree.h"
#include "stored.h"

enum { DIFF_MAX_BYTES = 256 << 20 };

static int
print_one(void *user, const cli_tree *t, csn_err *err)
{
  cli *c = user;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(DIFF_MAX_BYTES);
  int rc = csn_tree_diff(&c->scope, t->base_fd, t->work_fd, &text, err);
  if (rc == 0)
    rc = csn_buf_done(&text, "the diff", err);
  if (rc == 0 && t->box.n && text.n) /* patch(1) passes over it */
    printf("sandbox %.*s\n", (int)t->box.n, t->box.p);
  if (rc == 0)
    cli_print(csn_buf_str(&text));
  return csn_wrap(err, rc, "%.*s", (int)t->entry.n, t->entry.p);
}

static int
diff_main(cli *c, const void *o, int argc, char **argv, csn_err *err)
{
  cli_stored s;
  int rc = cli_stored_open(c, &s, err);
  if (rc == 0)
    rc = cli_each_tree(c, &s, argv[0], print_one, c, err);
  cli_stored_close(&s);
  return rc;
}

const cli_cmd cmd_diff = {
    .name = "diff",
    .args = "RUN",
    .brief = "Show what a run changed",
    .help = "A unified diff of each folder that was copied into the run's workspace, from what "
            "was copied to what is there now.",
    .main = diff_main,
};
