/* SPDX-License-Identifier: Apache-2.0
 *
 * decide.h - what humans decided about a run: about its questions (decide.c)
 * and about its limits (raise.c).  Each decision is a signed note, and then an
 * event that follows from it.
 */
#ifndef CSN_RUN_DECIDE_H
#define CSN_RUN_DECIDE_H

#include "run/driver.h"

/* A `decision` note read back: CSN_E_REPLAY when it was altered. */
int csn_decided_keep(csn_run *r, const csn_record *rec, const csn_json *v, csn_err *err) CSN_MUST;
/* Whether that `decided` follows from a decision that was kept. */
bool csn_decided_stands(const csn_run *r, const csn_record *rec, const csn_json *v);
/* Delivers what was decided while the run was at rest. */
void csn_decided_deliver(csn_run *r);
/* Lock held: signs a decision about that effect (0: about the run), notes and
 * keeps it; row may be NULL.  NULL: it failed. */
const struct csn_decided *csn_decided_add(csn_run *r, int64_t effect, csn_str decision,
                                          const csn_run_row *row, csn_err *err);

/* A decision was kept: whether it raises limits. */
void csn_raise_keep(csn_run *r, const struct csn_decided *d, const csn_json *note);
/* Whether the limits of that `resumed` follow from one that was kept; then they
 * have been told. */
bool csn_raise_stands(csn_run *r, const csn_json *resumed);
/* What `resumed` says of it, as members: nothing without one. */
void csn_raise_write(const csn_run *r, csn_jw *w);

#endif
