/* SPDX-License-Identifier: Apache-2.0
 * depots.h - a store of caisson.yaml, opened for a command. */
#ifndef CSN_APPS_DEPOTS_H
#define CSN_APPS_DEPOTS_H

#include "cli.h"
#include "run/stores.h"

/* The store of this machine, with the keys of caisson.yaml. */
int cli_snapshots_at(int state_fd, csn_snapshots **s, csn_err *err) CSN_MUST;

/* Zeroes at first. */
typedef struct cli_depot {
  cli *c;
  csn_loop *loop;
  csn_http *http;
  struct csn_project *project;
  csn_snapshots *here; /* the store of this machine */
  csn_depot *depot;
  int64_t shown_ms;
} cli_depot;

/* name NULL: the only one there is.  On a terminal its transfers are shown. */
int cli_depot_open(cli *c, cli_depot *d, const char *name, csn_err *err) CSN_MUST;
void cli_depot_close(cli_depot *d);

#endif
