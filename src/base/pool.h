/* SPDX-License-Identifier: Apache-2.0
 *
 * pool.h - worker threads: none at first, one more when work is queued and none
 * is idle, up to `busy`; work that says that it waits for something else does
 * not count there, so that what waits never holds up what could run, and a
 * thousand pieces of short work do not make hundreds of threads.  An idle
 * thread ends after a while.
 */
#ifndef CSN_BASE_POOL_H
#define CSN_BASE_POOL_H

#include "caisson/err.h"

typedef struct csn_pool csn_pool;

/* max: threads at most (256 when 0); stacks are 512 KiB of address space.
 * busy: of these, how many may run without saying that they wait (two for each
 * processor, at least four, when 0). */
csn_pool *csn_pool_new(int max, int busy);
/* Runs what waits, then joins all threads. */
void csn_pool_free(csn_pool *p);
/* Any thread.  First come, first served. */
void csn_pool_add(csn_pool *p, void (*fn)(void *user), void *user);
/* In a piece of work: it may wait from here on (for a command, a disk, a user's
 * function), and is over that. */
void csn_pool_wait_begin(csn_pool *p);
void csn_pool_wait_end(csn_pool *p);

#endif
