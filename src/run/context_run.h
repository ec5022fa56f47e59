/* SPDX-License-Identifier: Apache-2.0
 *
 * context_run.h - the view of a run's items (context.h), as its state says.
 * All are called with the run's lock held.
 */
#ifndef CSN_RUN_CONTEXT_RUN_H
#define CSN_RUN_CONTEXT_RUN_H

#include "run/driver.h"

/* Makes the view; while nothing is left out (no view.arena) items are only added. */
void csn_context_need(csn_run *r);
size_t csn_context_count(const csn_run *r);
const struct csn_item_ref *csn_context_item(const csn_run *r, size_t i);
struct csn_view_spec csn_context_spec(const csn_run *r);
const char *csn_run_model(const csn_run *r); /* at work */
enum csn_token_family csn_context_family(const csn_run *r);
csn_job *csn_context_job_new(csn_run *r); /* context_look.c */

#endif
