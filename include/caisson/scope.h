/* SPDX-License-Identifier: Apache-2.0
 *
 * scope.h - how long may this take, and does anyone still want it?
 *
 * Every call that can wait takes a scope first; there are no other time-outs.
 * A child lives inside its parent's lifetime; its deadline is never later
 * than the parent's, and cancelling the parent cancels it.
 */
#ifndef CAISSON_SCOPE_H
#define CAISSON_SCOPE_H

#include <pthread.h>
#ifdef __cplusplus
#include <atomic>
typedef std::atomic<bool> csn_atomic_bool;
#else
#include <stdatomic.h>
typedef atomic_bool csn_atomic_bool;
#endif

#include <stdbool.h>

#include "err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct csn_waker;

typedef struct csn_scope {
  struct csn_scope *parent, *root;
  int64_t deadline_ns; /* CLOCK_MONOTONIC; INT64_MAX means none */
  csn_atomic_bool cancelled;
  pthread_mutex_t lock;     /* of a root: guards its wakers */
  pthread_cond_t idle;      /* of a root: a waker has run */
  struct csn_waker *wakers; /* of a root */
} csn_scope;

/* timeout_ms < 0: only the parent limits it.  parent may be NULL. */
CSN_API void csn_scope_init(csn_scope *s, csn_scope *parent, int64_t timeout_ms);
CSN_API void csn_scope_fini(csn_scope *s);
/* Any thread.  Wakes every call that waits under this scope. */
CSN_API void csn_scope_cancel(csn_scope *s);
/* 0, CSN_E_TIMEOUT or CSN_E_CANCELLED.  s may be NULL: never ends. */
CSN_API int csn_scope_check(const csn_scope *s, csn_err *err) CSN_MUST;
/* The earliest deadline of s and its parents, INT64_MAX for none. */
CSN_API int64_t csn_scope_deadline_ns(const csn_scope *s);
/* Milliseconds left for poll(): -1 for no deadline, 0 when it has passed. */
CSN_API int csn_scope_poll_ms(const csn_scope *s);
/* CLOCK_MONOTONIC in nanoseconds. */
CSN_API int64_t csn_now_ns(void);

/* For code that waits: fn(user) runs once, in the cancelling thread, when s or
 * a parent is cancelled after the waker was added; so check the scope after
 * adding.  fn may take a lock, and csn_waker_drop() returns only when fn is
 * not running: do not hold that lock while dropping.  s may be NULL. */
typedef struct csn_waker {
  csn_scope *scope;
  void (*fn)(void *user);
  void *user;
  bool running;
  struct csn_waker *next, **link; /* link is NULL once it has fired */
} csn_waker;
CSN_API void csn_waker_add(csn_waker *w, csn_scope *s, void (*fn)(void *user), void *user);
CSN_API void csn_waker_drop(csn_waker *w);

/* Waits on a condition variable that uses CLOCK_MONOTONIC (made by
 * csn_cond_init), no longer than the scope allows.  The mutex is held on
 * entry and on return.  0 when woken (look again), or the scope's error. */
CSN_API void csn_cond_init(pthread_cond_t *c);
CSN_API int csn_scope_wait(csn_scope *s, pthread_cond_t *c, pthread_mutex_t *m,
                           csn_err *err) CSN_MUST;

#ifdef __cplusplus
}
#endif
#endif
