/* SPDX-License-Identifier: Apache-2.0
 * state.c - the state folder that the options name. */
#include "cli.h"
#include "run/statedir.h"
#include "store/place.h"

/* The command line is seen by everybody on the machine, the environment not. */
int
cli_state_choose(cli *c, const char *option, const char *variable, csn_err *err)
{
  bool option_is_url = option && csn_place_is_url(csn_cstr(option));
  bool variable_is_url = variable && csn_place_is_url(csn_cstr(variable));
  if (option_is_url) {
    int rc = csn_place_check_open(csn_cstr(option), "--state", err);
    if (rc < 0)
      return rc;
  }
  if (option && !option_is_url) {
    c->state_dir = option;
    return 0;
  }
  c->state_url = option_is_url ? option : variable_is_url ? variable : NULL;
  c->state_dir = variable && *variable && !variable_is_url ? variable : NULL;
  return 0;
}

int
cli_state_open(cli *c, bool make, int *dir, csn_buf *path, csn_err *err)
{
  csn_auto(csn_freep) char *name = NULL;
  int rc = csn_statedir_open(c->state_dir, make, &name, dir, err);
  if (rc == 0 && path)
    csn_buf_addz(path, name);
  return rc;
}
