/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson patch [-C DIR] - what the apply_patch tool does, for people and
 * scripts: patch text on stdin, all of it or nothing applied.
 */
#include <fcntl.h>

#include "caisson/patch.h"
#include "commands.h"
#include "core/fd.h"

/* A patch is text that a model wrote; this is far beyond any. */
#define PATCH_MAX ((size_t)256 << 20)

struct patch_opts {
  const char *dir;
  bool check;
};

static const cli_opt opts[] = {
    {"dir", 'C', "DIR", "Apply it to DIR instead of the current folder",
     CLI_STR(struct patch_opts, dir)},
    {"check", 0, NULL, "Only say whether it would apply", CLI_BOOL(struct patch_opts, check)},
    {0},
};

static int
apply(csn_patch *p, int dir, const struct patch_opts *o, csn_err *err)
{
  int rc = csn_patch_plan(p, dir, NULL, NULL, err);
  if (rc < 0 || o->check)
    return rc;
  rc = csn_patch_stage(p, -1, -1, err);
  if (rc < 0)
    return rc;
  return csn_patch_commit(p, NULL, NULL, err);
}

static int
patch_main(cli *c, const void *opt, int argc, char **argv, csn_err *err)
{
  const struct patch_opts *o = opt;
  const char *name = o->dir ? o->dir : ".";
  csn_auto(csn_closep) int dir = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0)
    return csn_fail_errno(err, "cannot open the folder %s", name);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(PATCH_MAX);
  int rc = csn_fd_read_all(STDIN_FILENO, &text, err);
  if (rc < 0)
    return csn_wrap(err, rc, "cannot read the patch from stdin");
  csn_auto(csn_patch_freep) csn_patch *p = NULL;
  rc = csn_patch_parse(&p, csn_buf_str(&text), err);
  if (rc >= 0)
    rc = apply(p, dir, o, err);
  if (rc < 0) { /* whatever is wrong with it: it was not applied */
    cli_error(c, "%s", err->msg);
    return CLI_FAILED;
  }
  csn_auto(csn_buf_finip) csn_buf report = CSN_BUF(PATCH_MAX);
  csn_patch_report(p, &report);
  cli_put(stdout, csn_str_trim(csn_buf_str(&report)));
  fputc('\n', stdout);
  return CLI_DONE;
}

const cli_cmd cmd_patch = {
    .name = "patch",
    .brief = "Apply a patch from stdin, all of it or nothing",
    .help = "The text is the form that models write: `*** Begin Patch`, then operations, then "
            "`*** End Patch`. The status is 0 when all of it was applied and 1 when nothing was.",
    .size = sizeof(struct patch_opts),
    .opts = opts,
    .main = patch_main,
};
