/* SPDX-License-Identifier: Apache-2.0
 * box_mount.h - storage of others that a manifest wants to be seen in the
 * sandbox of a run. */
#ifndef CSN_RUN_BOX_MOUNT_H
#define CSN_RUN_BOX_MOUNT_H

#include "run/driver.h"

/* Box locked, before the sandbox is opened: finds the credentials, once in a life
 * of the run, and lets the run's redactor know them.  b->mounts is the list. */
int csn_box_mounts_need(struct csn_box *b, csn_err *err) CSN_MUST;
/* Ends what runs in the sandbox, which has them, and logs what was not stored. */
void csn_box_mounts_end(const struct csn_box *b);
/* Overwrites them. */
void csn_box_mounts_free(struct csn_box *b);

/* Of a sandbox elsewhere, once its files are there: makes those that are made
 * inside; those that are there already stay. */
int csn_box_mounts_enter(struct csn_box *b, csn_scope *sc, csn_err *err) CSN_MUST;
/* Before it ends: what was written goes to the storage. */
void csn_box_mounts_leave(struct csn_box *b);

#endif
