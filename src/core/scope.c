/* SPDX-License-Identifier: Apache-2.0
 * scope.c - deadlines and cancellation; see caisson/scope.h.
 *
 * Wakers hang on the root of a tree of scopes.  A waker's function runs
 * without the root's lock, marked as running, so that it may take the lock
 * its waiter sleeps under. */
#include "core/cancel.h"

#include <limits.h>
#include <stddef.h>
#include <time.h>

int64_t
csn_now_ns(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void
csn_scope_init(csn_scope *s, csn_scope *parent, int64_t timeout_ms)
{
  *s = (csn_scope){.parent = parent, .root = parent ? parent->root : s, .deadline_ns = INT64_MAX};
  if (timeout_ms >= 0 && timeout_ms < INT64_MAX / 1000000 / 2)
    s->deadline_ns = csn_now_ns() + timeout_ms * 1000000;
  if (!parent) {
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->idle, NULL);
  }
}

void
csn_scope_fini(csn_scope *s)
{
  if (s->root != s)
    return;
  pthread_cond_destroy(&s->idle);
  pthread_mutex_destroy(&s->lock);
}

static bool
is_cancelled(const csn_scope *s)
{
  for (; s; s = s->parent)
    if (atomic_load(&s->cancelled))
      return true;
  return false;
}

static void
unlink_waker(csn_waker *w)
{
  if (!w->link)
    return;
  *w->link = w->next;
  if (w->next)
    w->next->link = w->link;
  w->link = NULL;
}

/* Taken off the list, so that each is found once and at once. */
static csn_waker *
next_to_fire(csn_scope *root)
{
  csn_waker *w = root->wakers;
  while (w && !is_cancelled(w->scope))
    w = w->next;
  if (w)
    unlink_waker(w);
  return w;
}

void
csn_scope_mark(csn_scope *s)
{
  atomic_store(&s->cancelled, true);
}

void
csn_scope_wake(csn_scope *s)
{
  csn_scope *root = s->root;
  pthread_mutex_lock(&root->lock);
  for (csn_waker *w; (w = next_to_fire(root));) {
    w->running = true;
    pthread_mutex_unlock(&root->lock);
    w->fn(w->user);
    pthread_mutex_lock(&root->lock);
    w->running = false;
    pthread_cond_broadcast(&root->idle);
  }
  pthread_mutex_unlock(&root->lock);
}

void
csn_scope_cancel(csn_scope *s)
{
  csn_scope_mark(s);
  csn_scope_wake(s);
}

int
csn_scope_check(const csn_scope *s, csn_err *err)
{
  if (is_cancelled(s))
    return csn_fail(err, CSN_E_CANCELLED, "cancelled");
  int64_t deadline = csn_scope_deadline_ns(s);
  if (deadline != INT64_MAX && csn_now_ns() >= deadline)
    return csn_fail(err, CSN_E_TIMEOUT, "timed out");
  return 0;
}

int64_t
csn_scope_deadline_ns(const csn_scope *s)
{
  int64_t first = INT64_MAX;
  for (; s; s = s->parent)
    if (s->deadline_ns < first)
      first = s->deadline_ns;
  return first;
}

int
csn_scope_poll_ms(const csn_scope *s)
{
  int64_t deadline = csn_scope_deadline_ns(s);
  if (deadline == INT64_MAX)
    return -1;
  int64_t left = deadline - csn_now_ns();
  if (left <= 0)
    return 0;
  left = (left + 999999) / 1000000;
  return left > INT_MAX ? INT_MAX : (int)left;
}

void
csn_waker_add(csn_waker *w, csn_scope *s, void (*fn)(void *user), void *user)
{
  *w = (csn_waker){.scope = s, .fn = fn, .user = user};
  if (!s)
    return;
  csn_scope *root = s->root;
  pthread_mutex_lock(&root->lock);
  w->next = root->wakers;
  w->link = &root->wakers;
  if (w->next)
    w->next->link = &w->next;
  root->wakers = w;
  pthread_mutex_unlock(&root->lock);
}

void
csn_waker_drop(csn_waker *w)
{
  if (!w->scope)
    return;
  csn_scope *root = w->scope->root;
  pthread_mutex_lock(&root->lock);
  while (w->running)
    pthread_cond_wait(&root->idle, &root->lock);
  unlink_waker(w);
  pthread_mutex_unlock(&root->lock);
}

void
csn_cond_init(pthread_cond_t *c)
{
  pthread_condattr_t at;
  pthread_condattr_init(&at);
  pthread_condattr_setclock(&at, CLOCK_MONOTONIC);
  pthread_cond_init(c, &at);
  pthread_condattr_destroy(&at);
}

struct sleeper {
  pthread_cond_t *c;
  pthread_mutex_t *m;
};

static void
wake(void *user)
{
  struct sleeper *z = user;
  pthread_mutex_lock(z->m);
  pthread_cond_broadcast(z->c);
  pthread_mutex_unlock(z->m);
}

int
csn_scope_wait(csn_scope *s, pthread_cond_t *c, pthread_mutex_t *m, csn_err *err)
{
  struct sleeper z = {c, m};
  csn_waker w;
  csn_waker_add(&w, s, wake, &z);
  int rc = csn_scope_check(s, err);
  if (rc == 0) {
    int64_t deadline = csn_scope_deadline_ns(s);
    if (deadline == INT64_MAX) {
      pthread_cond_wait(c, m);
    } else {
      struct timespec t = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};
      pthread_cond_timedwait(c, m, &t);
    }
  }
  pthread_mutex_unlock(m);
  csn_waker_drop(&w);
  pthread_mutex_lock(m);
  return rc;
}
