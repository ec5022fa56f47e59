/* SPDX-License-Identifier: Apache-2.0
 *
 * jail_limits.h - a jail's limits as its spawner gets them, what became of
 * them, and what the kernel counted.
 */
#ifndef CSN_SANDBOX_JAIL_LIMITS_H
#define CSN_SANDBOX_JAIL_LIMITS_H

#include "caisson/sandbox.h"
#include "jail/proto.h"

/* Fills in the jail's defaults. */
void csn_jail_limits_ask(const csn_sandbox_limits *l, csn_jail_limits *to);
/* in_memory: the jail has made the workspace itself. */
void csn_jail_limits_held(csn_sandbox_held *held, const csn_sandbox_limits *l,
                          const csn_jail_held *groups, bool in_memory);

/* The descriptors are the jail's, which closes them. */
typedef struct csn_jail_counts {
  pthread_mutex_t lock;
  int control, life, events[2]; /* -1: not there */
  int64_t before[2];            /* events of jails that had the groups earlier */
  bool is_over;
  csn_jail_end end; /* when it is over */
} csn_jail_counts;
void csn_jail_counts_init(csn_jail_counts *c);
/* Once the descriptors are there. */
void csn_jail_counts_open(csn_jail_counts *c);
void csn_jail_counts_get(csn_jail_counts *c, bool is_lost, csn_sandbox_usage *u);

#endif
