/* SPDX-License-Identifier: Apache-2.0
 * jail_dial.h - connections into a jail. */
#ifndef CSN_SANDBOX_JAIL_DIAL_H
#define CSN_SANDBOX_JAIL_DIAL_H

#include "caisson/scope.h"

/* A socket connected to a port of the loopback interface of the jail behind
 * the control stream; `sending` keeps frames on that apart. */
int csn_jail_dial_port(int control, pthread_mutex_t *sending, csn_scope *sc, uint16_t port, int *fd,
                       csn_err *err) CSN_MUST;

#endif
