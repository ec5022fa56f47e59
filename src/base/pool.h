/* SPDX-License-Identifier: Apache-2.0
 *
 * pool.h - worker threads for blocking work: none at first, one more when
 * work waits and none is idle, up to `max`; an idle one ends after a while.
 */
#ifndef CSN_BASE_POOL_H
#define CSN_BASE_POOL_H

#include "caisson/err.h"

typedef struct csn_pool csn_pool;

/* max: threads at most (256 when 0); stacks are 512 KiB of address space. */
csn_pool *csn_pool_new(int max);
/* Runs what waits, then joins all threads. */
void csn_pool_free(csn_pool *p);
/* Any thread.  First come, first served. */
void csn_pool_add(csn_pool *p, void (*fn)(void *user), void *user);

#endif
