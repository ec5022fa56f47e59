/* SPDX-License-Identifier: Apache-2.0
 *
 * box.h - the sandbox of a run, as the driver uses it: its folder, its
 * workspace, its processes.  A run has one box and makes it when it needs it.
 */
#ifndef CSN_RUN_BOX_H
#define CSN_RUN_BOX_H

#include "caisson/run.h"
#include "caisson/sandbox.h"

struct csn_box;
typedef struct csn_shell csn_shell;

void csn_box_init(struct csn_box *b);
/* Makes folder and workspace anew, applies the manifest, opens the sandbox.
 * What could not be made whole is removed again. */
int csn_box_make(csn_run *r, csn_scope *sc, csn_buf *ready, csn_err *err) CSN_MUST;
/* Whose box a run uses: a child its parent's. */
csn_run *csn_box_owner(csn_run *r);
/* The open sandbox and its shell, opened over the kept workspace if need be. */
int csn_box_need(csn_run *r, csn_sandbox **sb, csn_shell **shell, csn_err *err) CSN_MUST;
/* Collects the declared outputs; report: a JSON list. */
int csn_box_collect(csn_run *r, csn_buf *report, csn_err *err) CSN_MUST;
/* Ends every process; removes the folder unless it is worth keeping. */
void csn_box_close(csn_run *r, bool is_over);
/* What a process that died after the end of the run could not remove. */
void csn_box_sweep(csn_run *r);
/* Descriptor of the state folder's sandboxes/ID, for diff and apply. */
int csn_box_folder(csn_rt *rt, const char *id, csn_err *err) CSN_MUST;
/* Box locked, its folder open: moves the workspace of the run opts.after into it. */
int csn_box_take_over(csn_run *r, csn_err *err) CSN_MUST;

#endif
