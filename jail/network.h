/* SPDX-License-Identifier: Apache-2.0
 * network.h - the steps of a networked jail, in its first process. */
#ifndef CSN_JAIL_NETWORK_H
#define CSN_JAIL_NETWORK_H

#include "jail/build.h"

/* In the new network namespace, its loopback interface up: makes every address
 * lead there, listens, and hands the sockets to the harness. */
void csn_jail_network(const csn_jail_open *open);

/* On top of the skeleton as "/": waits for the certificates that the harness
 * wants to be trusted and puts them, and the name server, where programs look. */
void csn_jail_trust(void);

#endif
