/* SPDX-License-Identifier: Apache-2.0
 * box_network.h - the network of a run's sandbox: its policy with the values
 * of secrets, its connections as notes, the ports that it exposes. */
#ifndef CSN_RUN_BOX_NETWORK_H
#define CSN_RUN_BOX_NETWORK_H

#include "run/driver.h"

/* ---- box_ports.c ---- */
/* Box locked, its sandbox open. */
int csn_box_ports_open(struct csn_box *b, csn_err *err) CSN_MUST;
void csn_box_ports_close(struct csn_box *b);

/* ---- box_network.c ---- */
/* Reads the policy and the values of its secrets, once, before jobs run; from
 * then on the run's redact knows them.  Without a policy it does nothing. */
int csn_box_network_need(struct csn_box *b, csn_err *err) CSN_MUST;
const csn_network *csn_box_network_policy(const struct csn_box *b); /* NULL: none */
/* No more than this, when the sandbox is opened the next time. */
void csn_box_network_restrict(struct csn_box *b, enum csn_network_restriction to);
/* What takes the values of its secrets out of a text; NULL: nothing. */
const struct csn_redact *csn_box_secrets(const csn_run *r);
/* After the sandbox was closed: all its connections are in the journal then. */
void csn_box_network_settle(struct csn_box *b);
void csn_box_network_free(struct csn_box *b);
/* The run's redactor: has what nobody may see of accounts at any provider, as a
 * run may go on in another back-end. */
void csn_box_redact_need(csn_run *r);

#endif
