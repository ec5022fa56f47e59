/* SPDX-License-Identifier: Apache-2.0
 * added.c - further input for a run that has not ended: see step_added.c. */
#include "run/driver.h"

int
csn_run_add_input(csn_run *r, csn_str text, csn_str parts, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf items = CSN_BUF(CSN_INPUT_MAX),
                                  data = CSN_BUF(CSN_INPUT_MAX + 100);
  if (!text.n && !parts.n)
    return csn_fail(err, CSN_E_INVALID, "the message is empty");
  int rc = csn_input_write(&(struct csn_input){.text = text, .parts = parts}, &items, err);
  if (rc < 0)
    return rc;
  csn_buf_addz(&data, "{\"added\":");
  csn_buf_add(&data, csn_buf_str(&items));
  csn_buf_addc(&data, '}');
  pthread_mutex_lock(&r->lock);
  bool has_ended = r->state.outcome != CSN_RUN_RUNNING;
  bool is_raised = r->raise && r->state.phase == CSN_PHASE_ENDED;
  if (has_ended && !is_raised)
    rc = csn_fail(err, CSN_E_INVALID, "run %s has ended (%s) and takes no more; %s", csn_run_id(r),
                  csn_run_state_name(r->state.outcome),
                  csn_state_may_be_raised(&r->state)
                      ? "raise its limits first (csn_run_raise, resume --limits)"
                      : "go on in its session and its workspace with a run of their own (session, "
                        "after)");
  else if (r->is_stopped)
    rc = csn_fail(err, CSN_E_CANCELLED, "run %s was stopped here; resume it first", csn_run_id(r));
  else
    csn_run_deliver_held(r, CSN_EV_INPUT, csn_buf_str(&data), false);
  if (rc == 0 && r->fatal.code) {
    rc = r->fatal.code;
    if (err)
      *err = r->fatal;
  }
  csn_run_wake(r);
  pthread_mutex_unlock(&r->lock);
  return rc;
}
