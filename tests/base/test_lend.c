/* SPDX-License-Identifier: Apache-2.0
 * test_lend.c - work that is lent to the loop's thread. */
#include "base/loop.h"
#include "check.h"

#include <fcntl.h>
#include <stdatomic.h>

struct bench {
  csn_loop *l;
  atomic_int steps, rang, refused;
  pthread_t lender;
  bool was_current, waits, posts_last;
  int64_t ring_at_ns;
};

static bool
reaches(atomic_int *n, int want)
{
  int64_t until = csn_now_ns() + 10000000000;
  while (atomic_load(n) < want && csn_now_ns() < until)
    sched_yield();
  return atomic_load(n) >= want;
}

static void
count(void *user)
{
  atomic_fetch_add((atomic_int *)user, 1);
}

static void
ring(void *user)
{
  struct bench *b = user;
  if (csn_now_ns() >= b->ring_at_ns)
    atomic_fetch_add(&b->rang, 1);
}

/* Steps 1: begun; 2: a post of ours has run; 3: done. */
static void
work(void *user)
{
  struct bench *b = user;
  b->was_current = csn_loop_is_current(b->l);
  b->lender = pthread_self();
  atomic_fetch_add(&b->steps, 1);
  if (b->posts_last)
    csn_loop_post_last(b->l, count, &b->steps);
  else
    csn_loop_post(b->l, count, &b->steps);
  if (b->waits && !reaches(&b->steps, 2))
    fail_msg("nobody ran the loop");
  if (b->ring_at_ns && !reaches(&b->rang, 1))
    fail_msg("nobody looked after the timer");
  if (b->posts_last && !b->waits)
    assert_int_equal(atomic_load(&b->steps), 1); /* its post comes after it */
  atomic_fetch_add(&b->steps, 1);
}

static void
lend(void *user)
{
  struct bench *b = user;
  if (!csn_loop_lend(b->l, work, b))
    atomic_fetch_add(&b->refused, 1);
}

static struct bench
bench_new(void)
{
  struct bench b = {0};
  csn_err err;
  OK(csn_loop_new(&b.l, &err), &err);
  return b;
}

/* The work before may have told its last step and not returned yet. */
static void
lend_soon(void *user)
{
  struct bench *b = user;
  if (!csn_loop_lend(b->l, work, b))
    csn_loop_post(b->l, lend_soon, b);
}

static void
lend_and_await(struct bench *b)
{
  atomic_store(&b->steps, 0);
  csn_loop_post(b->l, lend_soon, b);
  assert_true(reaches(&b->steps, 3));
  assert_int_equal(atomic_load(&b->refused), 0);
  assert_false(b->was_current);
}

TEST(the_loop_goes_on_while_lent_work_waits_for_it)
{
  struct bench b = bench_new();
  b.waits = true;
  for (int i = 0; i < 300; i++)
    lend_and_await(&b);
  csn_loop_free(b.l);
}

TEST(a_last_post_runs_when_the_work_has_ended)
{
  struct bench b = bench_new();
  b.posts_last = true;
  lend_and_await(&b);
  pthread_t first = b.lender;
  for (int i = 0; i < 300; i++) {
    lend_and_await(&b);
    assert_true(pthread_equal(first, b.lender)); /* nobody else was needed */
  }
  csn_loop_free(b.l);
}

TEST(posts_of_others_run_meanwhile)
{
  struct bench b = bench_new();
  atomic_int others = 0;
  b.posts_last = true;
  for (int i = 0; i < 300; i++) {
    int had = atomic_load(&others);
    atomic_store(&b.steps, 0);
    csn_loop_post(b.l, lend, &b);
    csn_loop_post(b.l, count, &others);
    assert_true(reaches(&others, had + 1));
    csn_loop_post(b.l, count, &others);
    assert_true(reaches(&others, had + 2));
    assert_true(reaches(&b.steps, 3));
  }
  csn_loop_free(b.l);
}

TEST(timers_ring_while_the_loops_thread_works)
{
  struct bench b = bench_new();
  for (int i = 0; i < 5; i++) {
    atomic_store(&b.rang, 0);
    b.ring_at_ns = csn_now_ns() + 20000000;
    csn_timer *t = csn_loop_timer(b.l, b.ring_at_ns, ring, &b);
    b.posts_last = true;
    b.waits = true; /* its post waits, too, until the timer has called somebody */
    lend_and_await(&b);
    csn_timer_free(t);
  }
  csn_loop_free(b.l);
}

TEST(a_timer_made_during_lent_work_can_be_freed_in_it)
{
  struct bench b = bench_new();
  csn_timer *t = csn_loop_timer(b.l, INT64_MAX / 2, ring, &b);
  for (int i = 0; i < 100; i++)
    lend_and_await(&b);
  csn_timer_free(t);
  csn_loop_free(b.l);
}

static void
hold(void *user)
{
  csn_loop_hold(((struct bench *)user)->l, 1);
}

static void
let_go(void *user)
{
  csn_loop_hold(((struct bench *)user)->l, -1);
}

static void
on_ready(void *user, int events)
{
  (void)user, (void)events;
}

TEST(nothing_is_lent_while_the_loop_is_needed)
{
  struct bench b = bench_new();
  csn_loop_post(b.l, hold, &b);
  csn_loop_post(b.l, lend, &b);
  assert_true(reaches(&b.refused, 1));
  csn_loop_post(b.l, let_go, &b);
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  csn_watch *w = csn_loop_watch(b.l, ends[0], CSN_READABLE, on_ready, &b);
  csn_loop_post(b.l, lend, &b);
  assert_true(reaches(&b.refused, 2));
  csn_watch_free(w);
  atomic_store(&b.refused, 0);
  lend_and_await(&b);
  csn_loop_free(b.l);
  close(ends[0]);
  close(ends[1]);
}

TEST(the_end_of_the_loop_waits_for_lent_work)
{
  for (int i = 0; i < 50; i++) {
    struct bench b = bench_new();
    csn_loop_post(b.l, lend, &b);
    csn_loop_free(b.l);
    assert_int_equal(atomic_load(&b.steps) + 3 * atomic_load(&b.refused), 3);
  }
}

RUN_TESTS("base/lend", RUN(the_loop_goes_on_while_lent_work_waits_for_it),
          RUN(a_last_post_runs_when_the_work_has_ended), RUN(posts_of_others_run_meanwhile),
          RUN(timers_ring_while_the_loops_thread_works),
          RUN(a_timer_made_during_lent_work_can_be_freed_in_it),
          RUN(nothing_is_lent_while_the_loop_is_needed),
          RUN(the_end_of_the_loop_waits_for_lent_work))
