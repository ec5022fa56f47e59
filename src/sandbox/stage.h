/* SPDX-License-Identifier: Apache-2.0
 *
 * stage.h - some files of a workspace that is elsewhere, in a folder here, so
 * that code which works on folders does its work; then back what it changed.
 *
 * A stage is a folder of its own: NAME/files, and NAME/sealed once what has to
 * be sent is decided.  Sending is the same however often it is done, so that a
 * process which died in it is finished by csn_stage_recover(), and one that
 * died before has changed nothing.
 */
#ifndef CSN_SANDBOX_STAGE_H
#define CSN_SANDBOX_STAGE_H

#include "caisson/remote.h"

typedef struct csn_stage csn_stage;

/* Makes the folder `name` in `dir` anew and fetches the paths; those that are
 * missing are not there.  More than `most` bytes: CSN_E_LIMIT. */
int csn_stage_open(csn_stage **out, csn_scope *sc, csn_sandbox *sb, int dir, const char *name,
                   const char *const *paths, int64_t most, csn_err *err) CSN_MUST;
/* Removes the folder. */
void csn_stage_free(csn_stage *s);
CSN_FREER(stage)

int csn_stage_fd(const csn_stage *s); /* of files; the stage's */
/* Files and links that are new, changed or gone are what will be sent. */
int csn_stage_seal(csn_stage *s, csn_err *err) CSN_MUST;
/* Seals it unless it is; what fails may be repeated. */
int csn_stage_send(csn_stage *s, csn_scope *sc, csn_err *err) CSN_MUST;

/* After a crash: 1 when a sealed one was there, which is sent now; 0 when none
 * was.  Either way the folder is gone then. */
int csn_stage_recover(csn_scope *sc, csn_sandbox *sb, int dir, const char *name,
                      csn_err *err) CSN_MUST;

/* A whole folder, as it is, into the workspace. */
int csn_stage_push(csn_scope *sc, csn_sandbox *sb, int folder, csn_err *err) CSN_MUST;
/* The whole workspace into an empty folder. */
int csn_stage_pull(csn_scope *sc, csn_sandbox *sb, int folder, csn_err *err) CSN_MUST;

#endif
