/* SPDX-License-Identifier: Apache-2.0
 *
 * netlog.h - from an egress process's events to the notes of a run.
 *
 * A sandbox decides how many connections it tries, so it must not decide how
 * much is kept of them: of connections that are alike (who, where, verdict)
 * the first are told one by one, the others in sums that come ever more
 * rarely, and the rest at the end.
 */
#ifndef CSN_RUN_NETLOG_H
#define CSN_RUN_NETLOG_H

#include "caisson/json.h"

typedef struct csn_netlog csn_netlog;

/* tell gets an object that belongs to it for the call.  One thread at a time. */
csn_netlog *csn_netlog_new(void (*tell)(void *user, csn_str json), void *user);
/* One event; what is no JSON object is dropped. */
void csn_netlog_add(csn_netlog *l, csn_str json);
/* Tells the sums that were not told yet. */
void csn_netlog_flush(csn_netlog *l);
void csn_netlog_free(csn_netlog *l);

CSN_FREER(netlog)

#endif
