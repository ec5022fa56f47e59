/* SPDX-License-Identifier: Apache-2.0
 *
 * graft.h - the network of a sandbox that an engine of this machine made: an
 * egress process, and a process of ours in the sandbox's network namespace
 * (jail/graft.h).
 *
 * They meet in a folder, $STORE/grafts/NAME, of which the engine gives two
 * parts to its containers: `own`, with our program and a socket that it
 * connects to, to the one in which it runs; `trust`, with the certificates, to
 * the sandbox.  Nobody listens at the socket once it was used.
 */
#ifndef CSN_SANDBOX_GRAFT_H
#define CSN_SANDBOX_GRAFT_H

#include "caisson/network.h"
#include "caisson/scope.h"

typedef struct csn_graft csn_graft;

/* Where both folders are inside; the command of the one with `own`. */
#define CSN_GRAFT_PLACE "/run/caisson"
extern const char *const csn_graft_command[];

/* Makes the folder anew and starts the egress process.  name: a file's name.
 * policy: NULL, where only ports are to be reached; borrowed until csn_graft_join(). */
int csn_graft_open(csn_graft **out, const char *name, const csn_network *policy,
                   csn_err *err) CSN_MUST;
/* Absolute paths of this machine. */
const char *csn_graft_own(const csn_graft *g);
const char *csn_graft_trust(const csn_graft *g);
/* NAME=VALUE list for all commands; NULL without a policy. */
const char *const *csn_graft_variables(const csn_graft *g);
/* Waits for our program and puts the policy into force.  gone_fd: readable when
 * the program's container has ended; -1: nobody knows. */
int csn_graft_join(csn_graft *g, csn_scope *sc, int gone_fd, csn_err *err) CSN_MUST;
/* As csn_sandbox_dial() and csn_sandbox_restrict(). */
int csn_graft_dial(csn_graft *g, csn_scope *sc, uint16_t port, int *fd, csn_err *err) CSN_MUST;
int csn_graft_restrict(csn_graft *g, csn_scope *sc, enum csn_network_restriction to,
                       int64_t *reached, csn_err *err) CSN_MUST;
/* Ends both processes; the folder stays.  NULL is fine. */
void csn_graft_close(csn_graft *g);
/* Removes the folder of that name, if there is one. */
void csn_graft_remove(const char *name);

#endif
