/* SPDX-License-Identifier: Apache-2.0
 * lent.h - user ids that this machine lends to an ordinary user. */
#ifndef CSN_JAIL_LENT_H
#define CSN_JAIL_LENT_H

#include <stdbool.h>
#include <stddef.h>

/* Enters user and mount namespaces with 65536 ids, in which we are 1000 with
 * all capabilities and the others are those that /etc/subuid and /etc/subgid
 * name.  False, and nothing was entered, when there are none: `why` says what
 * is missing. */
bool csn_lent_enter(char *why, size_t room);

#endif
