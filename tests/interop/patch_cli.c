/* SPDX-License-Identifier: Apache-2.0
 * patch_cli.c - applies the patch on stdin to the current folder, for
 * comparisons with other programs: patch_cli < PATCH.  Exit 0, or 1 with the
 * refusal on stderr. */
#include <fcntl.h>
#include <stdio.h>

#include "caisson/patch.h"
#include "core/fd.h"

static int
run(csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF((size_t)64 << 20),
                                  report = CSN_BUF((size_t)4 << 20);
  csn_auto(csn_patch_freep) csn_patch *p = NULL;
  csn_auto(csn_closep) int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int rc = csn_fd_read_all(STDIN_FILENO, &text, err);
  if (rc < 0 || (rc = csn_patch_parse(&p, csn_buf_str(&text), err)) < 0 ||
      (rc = csn_patch_plan(p, dir, NULL, NULL, err)) < 0 ||
      (rc = csn_patch_stage(p, -1, -1, err)) < 0 || (rc = csn_patch_commit(p, NULL, NULL, err)) < 0)
    return rc;
  csn_patch_report(p, &report);
  printf("%s\n", report.p);
  return 0;
}

int
main(void)
{
  csn_err err = {0};
  if (run(&err) < 0) {
    fprintf(stderr, "%s\n", err.msg);
    return 1;
  }
  return 0;
}
