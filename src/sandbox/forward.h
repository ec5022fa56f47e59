/* SPDX-License-Identifier: Apache-2.0
 *
 * forward.h - a port of this machine's loopback interface that leads
 * elsewhere, as to an exposed port of a sandbox.  Everybody on this machine can
 * reach it.
 */
#ifndef CSN_SANDBOX_FORWARD_H
#define CSN_SANDBOX_FORWARD_H

#include "caisson/sandbox.h"

typedef struct csn_forward csn_forward;

/* Listens on 127.0.0.1 at `here`, 0 for any, and passes connections on to
 * `port` of the sandbox, which must outlive it; 32 at once, the others wait.
 * Starts a thread. */
int csn_forward_open(csn_forward **out, csn_sandbox *sb, uint16_t port, uint16_t here,
                     csn_err *err) CSN_MUST;
/* The same to wherever `dial` connects: *fd is a non-blocking socket.  It is
 * called in the thread, under a scope of five seconds. */
typedef int csn_forward_dial(void *user, csn_scope *sc, int *fd, csn_err *err);
int csn_forward_open_by(csn_forward **out, csn_forward_dial *dial, void *user, uint16_t here,
                        csn_err *err) CSN_MUST;
uint16_t csn_forward_port(const csn_forward *f); /* where it listens */
/* Ends its connections.  NULL is fine. */
void csn_forward_close(csn_forward *f);

#endif
