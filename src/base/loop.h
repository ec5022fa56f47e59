/* SPDX-License-Identifier: Apache-2.0
 *
 * loop.h - the I/O thread: a libuv loop that others post work to.
 *
 * Every function may be called from any thread unless it says otherwise;
 * callbacks run in the loop's thread, one at a time, and must not block.
 *
 * Two threads take turns as the loop's: one may do work that was lent to it
 * (csn_loop_lend) while the other runs the loop if that is needed.
 */
#ifndef CSN_BASE_LOOP_H
#define CSN_BASE_LOOP_H

#include "caisson/scope.h"
#include "caisson/str.h"

typedef struct csn_loop csn_loop;
typedef struct csn_watch csn_watch;
typedef void csn_loop_fn(void *user);

/* Starts the thread. */
int csn_loop_new(csn_loop **out, csn_err *err) CSN_MUST;
/* Runs what was posted, joins the thread, frees the watches and timers that
 * are left.  Not from the loop's thread. */
void csn_loop_free(csn_loop *l);
/* Runs fn(user) in the loop's thread, in the order of posting. */
void csn_loop_post(csn_loop *l, csn_loop_fn *fn, void *user);
/* The same; of who does lent work and is about to be done with it: that nobody
 * is woken, the loop goes on when the work has ended. */
void csn_loop_post_last(csn_loop *l, csn_loop_fn *fn, void *user);
bool csn_loop_is_current(csn_loop *l);

/* In the loop's thread: it runs fn(user) as soon as libuv has returned to us,
 * as if in another thread: fn may block, and is not csn_loop_is_current().
 * False when something is under way for which the loop is needed: then the
 * caller finds a thread elsewhere, which costs as much as the loop's change of
 * threads would. */
bool csn_loop_lend(csn_loop *l, csn_loop_fn *fn, void *user) CSN_MUST;
/* In the loop's thread: one more (or less, -1) is under way. */
void csn_loop_hold(csn_loop *l, int by);

/* Calls fn in the loop's thread when fd can be read (and, while asked for,
 * written).  The fd stays the caller's, must outlive the watch, becomes
 * non-blocking and has one watch at a time.  One that cannot be polled (a
 * regular file) is reported as ready, once. */
enum { CSN_READABLE = 1, CSN_WRITABLE = 2 };
csn_watch *csn_loop_watch(csn_loop *l, int fd, int events, void (*fn)(void *user, int events),
                          void *user);
void csn_watch_set(csn_watch *w, int events);
/* After it returns, fn is not called again (waits for a running fn, except
 * from the loop's thread itself). */
void csn_watch_free(csn_watch *w);

/* Calls fn once, at_ns of CLOCK_MONOTONIC; free cancels it. */
typedef struct csn_timer csn_timer;
csn_timer *csn_loop_timer(csn_loop *l, int64_t at_ns, csn_loop_fn *fn, void *user);
void csn_timer_free(csn_timer *t);

/* The uv_loop_t, for wire/ code that runs in the loop's thread. */
void *csn_loop_uv(csn_loop *l);

#endif
