/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pool.h"
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

#include "caisson/scope.h"

struct gate {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int inside, most, done;
  bool open;
  csn_pool *pool;
};

static void
pass(void *user)
{
  struct gate *g = user;
  pthread_mutex_lock(&g->lock);
  csn_pool_wait_begin(g->pool);
  g->inside++;
  if (g->inside > g->most)
    g->most = g->inside;
  pthread_cond_broadcast(&g->changed);
  while (!g->open)
    pthread_cond_wait(&g->changed, &g->lock);
  csn_pool_wait_end(g->pool);
  g->inside--;
  g->done++;
  pthread_mutex_unlock(&g->lock);
}

static void
await_inside(struct gate *g, int n)
{
  pthread_mutex_lock(&g->lock);
  while (g->inside < n)
    pthread_cond_wait(&g->changed, &g->lock);
  g->open = true;
  pthread_cond_broadcast(&g->changed);
  pthread_mutex_unlock(&g->lock);
}

TEST(waiting_work_gets_a_thread_each_up_to_the_maximum)
{
  csn_pool *p = csn_pool_new(8, 1);
  struct gate g = {
      .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .pool = p};
  for (int i = 0; i < 50; i++)
    csn_pool_add(p, pass, &g);
  await_inside(&g, 8);
  csn_pool_free(p);
  assert_int_equal(g.most, 8);
  assert_int_equal(g.done, 50);
}

static void
stay(void *user)
{
  struct gate *g = user;
  pthread_mutex_lock(&g->lock);
  g->inside++;
  if (g->inside > g->most)
    g->most = g->inside;
  pthread_cond_broadcast(&g->changed);
  while (!g->open)
    pthread_cond_wait(&g->changed, &g->lock);
  g->inside--;
  g->done++;
  pthread_mutex_unlock(&g->lock);
}

TEST(work_that_does_not_say_that_it_waits_gets_a_few_threads)
{
  csn_pool *p = csn_pool_new(8, 3);
  struct gate g = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
  for (int i = 0; i < 50; i++)
    csn_pool_add(p, stay, &g);
  await_inside(&g, 3);
  csn_pool_free(p);
  assert_int_equal(g.most, 3);
  assert_int_equal(g.done, 50);
}

struct counter {
  atomic_int n;
  int order[1000];
  csn_pool *pool;
};

static void
count(void *user)
{
  struct counter *c = user;
  atomic_fetch_add(&c->n, 1);
}

static void
count_and_add(void *user)
{
  struct counter *c = user;
  count(c);
  csn_pool_add(c->pool, count, c);
}

TEST(free_runs_what_waits_also_what_the_work_added)
{
  struct counter c = {.pool = csn_pool_new(3, 0)};
  for (int i = 0; i < 1000; i++)
    csn_pool_add(c.pool, count_and_add, &c);
  csn_pool_free(c.pool);
  assert_int_equal(atomic_load(&c.n), 2000);
}

struct place {
  struct counter *c;
  int number;
};

static void
note(void *user)
{
  struct place *p = user;
  p->c->order[atomic_fetch_add(&p->c->n, 1)] = p->number;
}

TEST(one_thread_works_first_come_first_served)
{
  static struct counter c;
  static struct place all[1000];
  csn_pool *p = csn_pool_new(1, 0);
  for (int i = 0; i < 1000; i++) {
    all[i] = (struct place){&c, i};
    csn_pool_add(p, note, &all[i]);
  }
  csn_pool_free(p);
  for (int i = 0; i < 1000; i++)
    assert_int_equal(c.order[i], i);
}

static void *
add_many(void *user)
{
  struct counter *c = user;
  for (int i = 0; i < 2000; i++)
    csn_pool_add(c->pool, count, c);
  return NULL;
}

TEST(several_threads_may_add)
{
  struct counter c = {.pool = csn_pool_new(0, 0)};
  pthread_t id[4];
  for (int i = 0; i < 4; i++)
    assert_int_equal(pthread_create(&id[i], NULL, add_many, &c), 0);
  for (int i = 0; i < 4; i++)
    pthread_join(id[i], NULL);
  csn_pool_free(c.pool);
  assert_int_equal(atomic_load(&c.n), 8000);
  csn_pool_free(csn_pool_new(0, 0));
  csn_pool_free(NULL);
}

RUN_TESTS("base/pool", RUN(waiting_work_gets_a_thread_each_up_to_the_maximum),
          RUN(work_that_does_not_say_that_it_waits_gets_a_few_threads),
          RUN(free_runs_what_waits_also_what_the_work_added),
          RUN(one_thread_works_first_come_first_served), RUN(several_threads_may_add))
