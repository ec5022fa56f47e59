/* SPDX-License-Identifier: Apache-2.0
 * cmd_snapshot.h - the parts of `caisson snapshot` that have files of their own. */
#ifndef CSN_APPS_CMD_SNAPSHOT_H
#define CSN_APPS_CMD_SNAPSHOT_H

#include "cli.h"
#include "sandbox/snapshots.h"

/* The store of this machine; from here on signals end the command. */
int cli_snapshots_open(cli *c, csn_snapshots **s, csn_err *err) CSN_MUST;

extern const cli_cmd cli_snapshot_push, cli_snapshot_pull; /* cmd_snapshot_store.c */
extern const cli_cmd cli_snapshot_gc, cli_snapshot_tag;    /* cmd_snapshot_keep.c */

#endif
