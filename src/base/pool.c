/* SPDX-License-Identifier: Apache-2.0
 * pool.c - worker threads that come when work waits and go when it does not.
 * Work is handed to the thread that went idle last, whose semaphore is posted
 * without the lock: one wakes the other in one system call, and neither waits
 * for a lock that the other holds.  A thread that ends joins the one that ended before it, so no
 * stack is kept and the last join of csn_pool_free() covers all. */
#include "base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
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

/* A thread without work, on that thread's stack. */
struct idler {
  struct idler *next, **link;
  struct task *task; /* what it was handed */
  bool is_called;    /* no longer listed; `wake` has been or will be posted */
  sem_t wake;
};

struct csn_pool {
  pthread_mutex_t lock;
  pthread_cond_t gone;
  struct task *first, **last;      /* empty while a thread is idle */
  struct idler *idle;              /* the last that came is the first */
  int max, busy, threads, blocked; /* blocked: work that said so */
  bool has_ended;
  pthread_t ended; /* the last thread that ended; it has joined those before it */
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
  csn_cond_init(&p->gone);
  return p;
}

static void
idle_add(csn_pool *p, struct idler *w)
{
  w->next = p->idle;
  w->link = &p->idle;
  if (w->next)
    w->next->link = &w->next;
  p->idle = w;
}

static void
idle_drop(struct idler *w)
{
  *w->link = w->next;
  if (w->next)
    w->next->link = w->link;
}

/* Lock held: takes the idle thread off the list; the caller posts it. */
static struct idler *
call_idle(csn_pool *p, struct task *k)
{
  struct idler *w = p->idle;
  idle_drop(w);
  w->task = k;
  w->is_called = true;
  return w;
}

/* Waits to be handed a task; NULL after a while without one, and at the end. */
static struct task *
wait_for_task(csn_pool *p)
{
  int64_t until = csn_now_ns() + IDLE_NS;
  struct timespec t = {.tv_sec = until / 1000000000, .tv_nsec = until % 1000000000};
  struct idler w = {0};
  sem_init(&w.wake, 0, 0);
  idle_add(p, &w);
  pthread_mutex_unlock(&p->lock);
  int rc;
  while ((rc = sem_clockwait(&w.wake, CLOCK_MONOTONIC, &t)) < 0 && errno == EINTR)
    continue;
  pthread_mutex_lock(&p->lock);
  if (rc < 0 && !w.is_called) {
    idle_drop(&w);
  } else if (rc < 0) { /* called at the last moment: the post is on its way */
    pthread_mutex_unlock(&p->lock);
    while (sem_wait(&w.wake) < 0)
      continue;
    pthread_mutex_lock(&p->lock);
  }
  sem_destroy(&w.wake);
  return w.task;
}

/* The next task, or NULL when this thread should end. Lock held. */
static struct task *
next_task(csn_pool *p)
{
  struct task *k = p->first;
  if (!k)
    return p->closing ? NULL : wait_for_task(p);
  p->first = k->next;
  if (!p->first)
    p->last = &p->first;
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
  if (!p->first || p->idle || p->threads == p->max || p->threads - p->blocked >= p->busy)
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
  struct idler *w = p->idle ? call_idle(p, k) : NULL;
  if (!w) {
    *p->last = k;
    p->last = &k->next;
    grow(p);
  }
  pthread_mutex_unlock(&p->lock);
  /* The pool ends after its threads, and that thread goes on after this. */
  if (w)
    sem_post(&w->wake);
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
  while (p->idle)
    sem_post(&call_idle(p, NULL)->wake);
  while (p->threads)
    pthread_cond_wait(&p->gone, &p->lock);
  pthread_mutex_unlock(&p->lock);
  if (p->has_ended)
    pthread_join(p->ended, NULL);
  pthread_cond_destroy(&p->gone);
  pthread_mutex_destroy(&p->lock);
  free(p);
}
