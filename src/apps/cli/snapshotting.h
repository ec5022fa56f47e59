/* SPDX-License-Identifier: Apache-2.0
 * snapshotting.h - a sandbox that begins with a snapshot or ends as one. */
#ifndef CSN_APPS_SNAPSHOTTING_H
#define CSN_APPS_SNAPSHOTTING_H

#include "caisson/sandbox.h"
#include "cli.h"
#include "sandbox/snapshots.h"

typedef struct cli_layered {
  const char *from, *save; /* names, or NULL */
  csn_snapshots *store;    /* while its lock is held */
  csn_snapshot base;       /* of `from` */
  csn_layers layers;
  int dir, work; /* snapshots/work, and the workspace's folder in it; -1 */
  char name[25];
} cli_layered;

/* Fills in the workspace of the specification, where one of the names is given;
 * spec->workspace_fd is a folder of the user's or -1. */
int cli_layered_open(cli *c, cli_layered *l, csn_sandbox_spec *spec, csn_err *err) CSN_MUST;
/* The sandbox is open, so what it uses stays. */
void cli_layered_opened(cli_layered *l);
/* The sandbox is closed: saves its workspace, or the folder if that is not -1. */
int cli_layered_save(cli *c, cli_layered *l, int folder, csn_err *err) CSN_MUST;
/* Says what was saved, and of what was not (csn_snapshot_saving.told). */
void cli_snapshot_saved(cli *c, const csn_snapshot *r, const csn_buf *told);
/* Removes the workspace. */
void cli_layered_close(cli_layered *l);
static inline void
cli_layered_closep(cli_layered **l)
{
  cli_layered_close(*l);
}

#endif
