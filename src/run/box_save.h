/* SPDX-License-Identifier: Apache-2.0
 *
 * box_save.h - the workspace of a run: what it begins with, its checkpoints,
 * and its loss.  Shared by box*.c.
 *
 *   boxes.c           all of a run
 *   box.c             the folder, the open sandbox, its end
 *   box_begin.c       what a workspace begins with
 *   box_after.c       a workspace taken over from an earlier run
 *   box_checkpoint.c  saving it between two steps
 *   box_move.c        carrying it into another sandbox while it is whole
 *   box_lost.c        going on in another one, and what the model hears of it
 *   box_snapshot.c    saving it when the run is over
 *   box_plain.c       layers as folders again, for people to look into
 *   box_outputs.c     the declared outputs
 */
#ifndef CSN_RUN_BOX_SAVE_H
#define CSN_RUN_BOX_SAVE_H

#include "run/driver.h"

/* All with the box locked and its folder open, unless it says otherwise. */

/* ---- box.c ---- */
int csn_box_open_folder(int dir, const char *path, csn_err *err) CSN_MUST;
int csn_box_lock_folder(struct csn_box *b, csn_err *err) CSN_MUST; /* makes and opens the folder */
int csn_box_open_machine(struct csn_box *b, csn_scope *sc, csn_err *err) CSN_MUST;
void csn_box_end_processes(struct csn_box *b);
/* The same, and lets go of the folder. */
void csn_box_let_go(struct csn_box *b);
/* The same, but what other calls are at work in stays until the run closes it. */
int csn_box_abandon(struct csn_box *b, csn_err *err) CSN_MUST;

/* ---- box_begin.c ---- */
/* Without the box: whether the snapshot that the run begins with is there. */
int csn_box_from_find(struct csn_box *b, csn_err *err) CSN_MUST;
/* A workspace is in the folder, and whole. */
bool csn_box_is_there(int folder);
/* A new workspace, and the sandbox open over it; from: a checkpoint, or NULL. */
int csn_box_begin(struct csn_box *b, csn_scope *sc, const struct csn_box_saved *from,
                  csn_err *err) CSN_MUST;
/* In an open sandbox elsewhere: what of the manifest does not last. */
int csn_box_fill_remote(struct csn_box *b, csn_scope *sc, csn_err *err) CSN_MUST;

/* Members of record 0 about all this, written and read back. */
void csn_box_zero(const struct csn_box *b, csn_jw *w);
void csn_box_read_zero(struct csn_box *b, const csn_json *zero);

/* ---- box_checkpoint.c ---- */
/* Name of the snapshot that base/ is kept as. */
void csn_box_base_name(const struct csn_box *b, char name[CSN_BOX_SAVED_NAME]);
/* Without the box: performs a sandbox_checkpoint, members of what answers it; or
 * CSN_BOX_AGAIN: not now. */
enum { CSN_BOX_AGAIN = 1 };
int csn_box_checkpoint(struct csn_box *b, int64_t seq, csn_jw *w, csn_err *err) CSN_MUST;
/* A `checkpointed` that was committed, or read back. */
void csn_box_saw(struct csn_box *b, int64_t seq, const csn_json *data);
/* The run is over: its checkpoints go. */
void csn_box_drop_saved(struct csn_box *b);
/* Lowest time between two, for record 0; -1: none. */
int64_t csn_box_checkpoint_ms(const struct csn_box *b);

/* ---- box_lost.c ---- */
/* Opens the sandbox, in a new workspace if the old one is gone. */
int csn_box_open_again(struct csn_box *b, csn_err *err) CSN_MUST;
/* For the model: first into the folder, then to be told. */
int csn_box_write_news(struct csn_box *b, csn_str text, csn_err *err) CSN_MUST;
void csn_box_take_news(struct csn_box *b, csn_str text);
/* Without the box, before a run that was read back goes on: makes a lost one anew
 * and finds what the model has not heard yet. */
struct csn_box_found {
  const struct csn_box_saved *from; /* of a lost one: the checkpoint; NULL: none */
  bool was_lost, is_told;
};
int csn_box_look(struct csn_box *b, struct csn_box_found *found, csn_err *err) CSN_MUST;
/* news: that the model hears by a message; empty: it hears of it otherwise. */
enum { CSN_BOX_NEWS_MAX = 16384 };
void csn_box_deliver_loss(struct csn_box *b, const struct csn_box_saved *from, csn_str news);

/* ---- box_lent.c ---- */
/* Looks at the state of a sandbox that was passed, and keeps it. */
int csn_box_lent_take(struct csn_box *b, csn_str state, csn_err *err) CSN_MUST;
/* Box locked: opens it, or begins as the run would without it. */
int csn_box_lent_begin(struct csn_box *b, csn_scope *sc, csn_err *err) CSN_MUST;
/* Of the run's folder: its sandbox is somebody else's. */
bool csn_box_is_lent(const struct csn_box *b);
/* Forgets that one. */
int csn_box_lent_return(const struct csn_box *b, csn_err *err) CSN_MUST;

/* ---- box_move.c ---- */
/* Into a new sandbox, where the provider ends this one soon. */
void csn_box_move_in_time(struct csn_box *b);
/* Without the box, before that: for good. */
int csn_box_change_backend(struct csn_box *b, const char *name, csn_err *err) CSN_MUST;

/* ---- boxes.c ---- */
/* The same of all sandboxes of a run. */
int csn_boxes_from_find(csn_run *r, csn_err *err) CSN_MUST;
int csn_boxes_check_backend(csn_run *r, csn_err *err) CSN_MUST;
int csn_boxes_network_need(csn_run *r, csn_err *err) CSN_MUST;
void csn_boxes_zero(csn_run *r, csn_jw *w);
void csn_boxes_read_zero(csn_run *r, const csn_json *zero);
int64_t csn_boxes_checkpoint_ms(csn_run *r);
int csn_boxes_checkpoint(csn_run *r, int64_t seq, csn_jw *w, csn_err *err) CSN_MUST;
void csn_boxes_saw(csn_run *r, const csn_json *data);
/* What opts.backend says. */
int csn_boxes_change_backend(csn_run *r, csn_err *err) CSN_MUST;
/* As a note says that it was done. */
int csn_boxes_read_backend(csn_run *r, const csn_json *note, csn_err *err) CSN_MUST;
int csn_box_set_backend(struct csn_box *b, const char *name, csn_err *err) CSN_MUST;
int csn_boxes_look(csn_run *r, csn_err *err) CSN_MUST;

#endif
