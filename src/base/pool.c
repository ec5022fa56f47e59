/* SPDX-License-Identifier: Apache-2.0
 * pool.c - worker threads that come when work waits and go when it does not.
 * A thread that ends joins the one that ended before it, so no stack is kept
 * and the last join of csn_pool_free() covers all. */
#include "base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "caisson/mem.h"
#include "caisson/scope.h"

enum { DEFAULT_MAX = 256, LEAST_BUSY = 4, STACK_BYTES = 512 << 10, IDLE_NS = 2000000000 };

struct task {
  struct task *next;
  void (*fn)(void *user);
  void *user;
};

struct csn_pool {
  pthread_mutex_t lock;
  pthread_cond_t work, gone;
  struct task *first, **last;
  int max, busy, threads, idle, blocked; /* blocked: work that said so */
  bool has_ended;
  pthread_t ended; /* the last thread that ended; it has joined those before it */
  size_t waiting;
  bool closing;
};

static int
default_busy(void)
{
  int n = (int)sysconf(_SC_NPROCESSORS_ONLN) * 2;
  return n > LEAST_BUSY ? n : LEAST_BUSY;
}

csn_pool *
csn_pool_new(int max, int busy)
{
  csn_pool *p = csn_alloc(sizeof *p);
  p->max = max > 0 ? max : DEFAULT_MAX;
  p->busy = busy > 0 ? busy : default_busy();
  p->last = &p->first;
  pthread_mutex_init(&p->lock, NULL);
  csn_cond_init(&p->work);
  csn_cond_init(&p->gone);
  return p;
}

/* The next task, or NULL when this thread should end. Lock held. */
static struct task *
next_task(csn_pool *p)
{
  int64_t until = csn_now_ns() + IDLE_NS;
  struct timespec t = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
  bool waited = false;
  while (!p->first) {
    if (p->closing || waited)
      return NULL;
    p->idle++;
    waited = pthread_cond_timedwait(&p->work, &p->lock, &t) != 0;
    p->idle--;
  }
  struct task *k = p->first;
  p->first = k->next;
  if (!p->first)
    p->last = &p->first;
  p->waiting--;
  return k;
}

static void *
worker(void *user)
{
  csn_pool *p = user;
  pthread_mutex_lock(&p->lock);
  for (struct task *k; (k = next_task(p));) {
    pthread_mutex_unlock(&p->lock);
    k->fn(k->user);
    free(k);
    pthread_mutex_lock(&p->lock);
  }
  bool join = p->has_ended;
  pthread_t before = p->ended;
  p->has_ended = true;
  p->ended = pthread_self();
  p->threads--;
  pthread_cond_broadcast(&p->gone);
  pthread_mutex_unlock(&p->lock);
  if (join)
    pthread_join(before, NULL);
  return NULL;
}

/* Lock held.  Workers take no signals: those are for the program's threads. */
static bool
add_thread(csn_pool *p)
{
  pthread_attr_t at;
  pthread_t id;
  sigset_t all, old;
  sigfillset(&all);
  pthread_attr_init(&at);
  pthread_attr_setstacksize(&at, STACK_BYTES);
  pthread_sigmask(SIG_BLOCK, &all, &old);
  bool ok = pthread_create(&id, &at, worker, p) == 0;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  pthread_attr_destroy(&at);
  p->threads += ok;
  return ok;
}

/* Lock held: one thread more when that helps.  Since each start and each end of
 * waiting asks, one at a time is enough. */
static void
grow(csn_pool *p)
{
  if (p->waiting <= (size_t)p->idle || p->threads == p->max || p->threads - p->blocked >= p->busy)
    return;
  if (!add_thread(p) && !p->threads)
    abort(); /* not one thread to be had: nothing can ever run */
}

void
csn_pool_add(csn_pool *p, void (*fn)(void *user), void *user)
{
  struct task *k = csn_alloc(sizeof *k);
  *k = (struct task){.fn = fn, .user = user};
  pthread_mutex_lock(&p->lock);
  *p->last = k;
  p->last = &k->next;
  p->waiting++;
  grow(p);
  if (p->idle > 0) /* under the lock: once it is free the task may run and end the pool */
    pthread_cond_signal(&p->work);
  pthread_mutex_unlock(&p->lock);
}

void
csn_pool_wait_begin(csn_pool *p)
{
  pthread_mutex_lock(&p->lock);
  p->blocked++;
  grow(p);
  pthread_mutex_unlock(&p->lock);
}

void
csn_pool_wait_end(csn_pool *p)
{
  pthread_mutex_lock(&p->lock);
  p->blocked--;
  pthread_mutex_unlock(&p->lock);
}

void
csn_pool_free(csn_pool *p)
{
  if (!p)
    return;
  pthread_mutex_lock(&p->lock);
  p->closing = true;
  pthread_cond_broadcast(&p->work);
  while (p->threads)
    pthread_cond_wait(&p->gone, &p->lock);
  pthread_mutex_unlock(&p->lock);
  if (p->has_ended)
    pthread_join(p->ended, NULL);
  pthread_cond_destroy(&p->work);
  pthread_cond_destroy(&p->gone);
  pthread_mutex_destroy(&p->lock);
  free(p);
}
