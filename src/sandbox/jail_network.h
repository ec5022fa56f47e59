/* SPDX-License-Identifier: Apache-2.0
 *
 * jail_network.h - a policy put into force where a process of ours (the first
 * of a jail, or a container's graft) makes listening sockets in the sandbox's
 * network namespace: the egress process gets them and accepts from then on.
 */
#ifndef CSN_SANDBOX_JAIL_NETWORK_H
#define CSN_SANDBOX_JAIL_NETWORK_H

#include "sandbox/egress.h"
#include "sandbox/network.h"

typedef struct csn_jail_network_plan {
  const csn_network *policy; /* NULL: none, and nothing else is set */
  const char *const *placeholders, *const *variables;
  uint16_t ports[CSN_JAIL_PORTS_MAX];
  size_t n_ports;
  csn_egress *egress; /* to be taken over, or closed */
} csn_jail_network_plan;

/* Starts the egress process, so that it gets ready while the sandbox is made.
 * Texts are in the arena. */
int csn_jail_network_begin(csn_jail_network_plan *p, const csn_network *policy, csn_arena *a,
                           csn_err *err) CSN_MUST;
/* What the process in the namespace is asked for. */
void csn_jail_network_ask(const csn_jail_network_plan *p, csn_jail_open *open);
/* Waits for a word of that kind on a control stream, or why there is none (then
 * *note holds it); n descriptors with it. */
int csn_jail_await(int control, csn_scope *sc, int kind, csn_jail_note *note, int *fds, size_t n,
                   csn_err *err) CSN_MUST;
/* Takes the sockets and hands them to the egress process; adds to *trust what
 * programs inside are to trust. */
int csn_jail_network_join(const csn_jail_network_plan *p, int control, csn_scope *sc,
                          csn_buf *trust, csn_err *err) CSN_MUST;

#endif
