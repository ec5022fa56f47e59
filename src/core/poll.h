/* SPDX-License-Identifier: Apache-2.0
 *
 * poll.h - poll(2) that a scope can end.
 */
#ifndef CSN_CORE_POLL_H
#define CSN_CORE_POLL_H

#include <poll.h>

#include "caisson/scope.h"

/* Waits until one of at most 8 descriptors is ready; their revents are
 * filled.  The number of ready ones, or the scope's error.  A scope that has
 * ended wins over ready descriptors. */
int csn_poll(csn_scope *sc, struct pollfd *fds, nfds_t n, csn_err *err) CSN_MUST;

#endif
