/* SPDX-License-Identifier: Apache-2.0
 *
 * box_remote.h - a run's sandbox whose workspace is elsewhere.
 *
 * The box's folder has state.json as long as there is one: what opens it again.
 * The folder workspace/ is there only before its files were sent, and after
 * they came back: when the run is over, for diff, apply, snapshots and the run
 * that goes on from it.
 */
#ifndef CSN_RUN_BOX_REMOTE_H
#define CSN_RUN_BOX_REMOTE_H

#include "run/driver.h"
#include "sandbox/stage.h"

#define CSN_BOX_STATE "state.json" /* in the run's folder: what opens its sandbox again */

bool csn_box_is_remote(const struct csn_box *b);
/* That the back-end of its agent is there and may be used here. */
int csn_box_check_backend(const struct csn_box *b, csn_err *err) CSN_MUST;
/* The same, and opens a sandbox of it. */
int csn_box_open_sandbox(struct csn_box *b, csn_scope *sc, csn_sandbox_spec *spec,
                         csn_sandbox **out, csn_err *err) CSN_MUST;
/* "OWNER/NAME", or "OWNER" with a NULL name: a state folder's word for
 * sandboxes elsewhere, and a run's. */
int csn_box_label(const char *state_path, const char *name, csn_buf *out, csn_err *err) CSN_MUST;
/* Whether a run of that state folder still needs a sandbox of that label, which
 * may be NULL. */
bool csn_box_wants(int state_fd, const char *label);

/* Box locked, for all that follows; its folder is open. */

/* What the specification has beside what every box's has; in the arena. */
int csn_box_remote_spec(struct csn_box *b, csn_arena *a, csn_sandbox_spec *spec,
                        csn_err *err) CSN_MUST;
/* Writes down what was opened. */
int csn_box_remote_opened(struct csn_box *b, csn_err *err) CSN_MUST;
/* Ends what an attempt to make the same box left. */
int csn_box_remote_discard(struct csn_box *b, csn_scope *sc, csn_err *err) CSN_MUST;
/* Sends the folder workspace, if there is one, and removes it; then mounts what is
 * mounted inside. */
int csn_box_remote_send(struct csn_box *b, csn_scope *sc, csn_err *err) CSN_MUST;
/* Brings the workspace here, before the sandbox ends. */
int csn_box_remote_fetch(struct csn_box *b, csn_scope *sc, csn_err *err) CSN_MUST;
/* Ends the sandbox for good; an open one remains to be closed.  False: it could
 * not, and it is known how to try again. */
bool csn_box_remote_end(struct csn_box *b);
/* It is gone: nothing is known of it any more. */
int csn_box_remote_forget(struct csn_box *b, csn_err *err) CSN_MUST;
/* Whether there is one, open or not. */
bool csn_box_remote_is_there(const struct csn_box *b);

#endif
