/* SPDX-License-Identifier: Apache-2.0
 *
 * guard.h - the limits that the port holds for every back-end: the wall time
 * and the output of a command, and which others were reached while it ran.
 */
#ifndef CSN_SANDBOX_GUARD_H
#define CSN_SANDBOX_GUARD_H

#include "caisson/sandbox.h"

struct csn_guard;

/* At a command's start. */
struct csn_guard *csn_guard_new(csn_sandbox *sb);
void csn_guard_free(struct csn_guard *g);

/* csn_proc_read() and csn_proc_wait() of a guarded command. */
int csn_guard_read(csn_proc *p, csn_scope *sc, csn_buf *out, size_t max, enum csn_stream *which,
                   csn_err *err) CSN_MUST;
int csn_guard_wait(csn_proc *p, csn_scope *sc, csn_exit *exit, csn_err *err) CSN_MUST;

/* After opening: what the port holds. */
void csn_guard_open(csn_sandbox *sb, const csn_sandbox_limits *l);
/* Before a command: fails when the sandbox's time is over or it is dead. */
int csn_guard_check(csn_sandbox *sb, csn_err *err) CSN_MUST;
/* Whether it died before its time, so that another one may take its place. */
bool csn_guard_is_dead(csn_sandbox *sb);
/* Puts the reason in place of a back-end's failure when its sandbox is dead. */
int csn_guard_explain(csn_sandbox *sb, int rc, csn_err *err) CSN_MUST;

#endif
