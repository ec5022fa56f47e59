/* SPDX-License-Identifier: Apache-2.0
 *
 * label.h - what a run may do less of once it has seen what is not to be
 * trusted, and how it comes to have.
 *
 * The state of the machine keeps the label; these say which events bring it and
 * make what the sandbox can send follow from it.
 */
#ifndef CSN_RUN_LABEL_H
#define CSN_RUN_LABEL_H

#include "run/driver.h"

/* Lock held: the record of that seq was stepped, and may have brought the label. */
void csn_label_note(csn_run *r, int64_t seq);
/* Lock held or not needed: the policy of a sandbox that is about to be opened. */
void csn_label_policy(const csn_run *r, csn_network *policy);
/* The sandbox, from now on with no more network than the rules leave; the
 * network is restricted when this returns. */
int csn_label_box(csn_run *r, struct csn_box *b, csn_scope *sc, csn_sandbox **sb, csn_shell **shell,
                  csn_err *err) CSN_MUST;
/* Why what a call gave is not to be trusted; NULL: nothing says so.  used: the
 * sandbox that it did something in; or NULL. */
const char *csn_label_of_call(csn_run *r, const csn_agent *a, csn_str tool, struct csn_box *used);

#endif
