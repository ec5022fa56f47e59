/* SPDX-License-Identifier: Apache-2.0
 * box_snapshot.h - the workspace of a run, saved when the run is over. */
#ifndef CSN_RUN_BOX_SNAPSHOT_H
#define CSN_RUN_BOX_SNAPSHOT_H

#include "run/driver.h"

/* Before the run begins: whether its options name a snapshot that can be. */
int csn_box_snapshot_check(const csn_rt *rt, const csn_agent *a, const csn_run_options *o,
                           csn_err *err) CSN_MUST;
/* Box locked, and nothing runs in it any more; what fails is in the log. */
void csn_box_snapshot_save(struct csn_box *b);

#endif
