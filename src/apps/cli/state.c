/* SPDX-License-Identifier: Apache-2.0
 * state.c - the state folder that the options name. */
#include "cli.h"
#include "run/statedir.h"

int
cli_state_open(cli *c, bool make, int *dir, csn_buf *path, csn_err *err)
{
  csn_auto(csn_freep) char *name = NULL;
  int rc = csn_statedir_open(c->state_dir, make, &name, dir, err);
  if (rc == 0 && path)
    csn_buf_addz(path, name);
  return rc;
}
