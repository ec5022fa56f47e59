/* SPDX-License-Identifier: Apache-2.0
 *
 * egress.h - the egress process of one sandbox, seen from the harness.
 *
 * It is started while the jail is made, gets its configuration with the
 * jail's listening sockets, and says that it is ready with the certificate of
 * the authority that lives in it.  From then on it reports each connection as
 * a line.  It ends with its socket; when it dies before that, the sandbox
 * reaches nothing any more, and an event says so.
 */
#ifndef CSN_SANDBOX_EGRESS_H
#define CSN_SANDBOX_EGRESS_H

#include "caisson/json.h"
#include "caisson/network.h"
#include "caisson/scope.h"

typedef struct csn_egress csn_egress;

/* Starts the process. */
int csn_egress_start(csn_egress **out, const csn_network *n, csn_err *err) CSN_MUST;
/* Once: the configuration and the sockets it speaks of, which stay the
 * caller's; then waits until the process is ready. *ca_pem is a copy in `a`. */
int csn_egress_configure(csn_egress *e, csn_scope *sc, csn_str config, const int *fds, size_t n,
                         csn_arena *a, csn_str *ca_pem, csn_err *err) CSN_MUST;
/* From now on no more than this goes out; connections that may do more are
 * ended when it returns.  CSN_RESTRICT_NONE changes nothing.  *reached: how many
 * connections outside there were so far. */
int csn_egress_restrict(csn_egress *e, csn_scope *sc, enum csn_network_restriction to,
                        int64_t *reached, csn_err *err) CSN_MUST;
/* Lets it report what is under way, ends it, and frees.  NULL is fine. */
void csn_egress_close(csn_egress *e);

#endif
