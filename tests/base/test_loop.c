/* SPDX-License-Identifier: Apache-2.0 */
#include "base/loop.h"
#include "check.h"

#include <fcntl.h>
#include <stdatomic.h>

#include "caisson/scope.h"

static csn_loop *
loop_new(void)
{
  csn_loop *l;
  csn_err err;
  OK(csn_loop_new(&l, &err), &err);
  return l;
}

/* Waits for a counter, at most ten seconds. */
static bool
reaches(atomic_int *n, int want)
{
  int64_t until = csn_now_ns() + 10000000000;
  while (atomic_load(n) < want && csn_now_ns() < until)
    sched_yield();
  return atomic_load(n) >= want;
}

struct job {
  csn_loop *loop;
  int *next, number;
  bool was_in_order, was_current;
};

static void
take_number(void *user)
{
  struct job *j = user;
  j->was_in_order = (*j->next)++ == j->number;
  j->was_current = csn_loop_is_current(j->loop);
}

TEST(posts_run_in_their_order_in_the_loops_thread_and_before_free_returns)
{
  enum { JOBS = 2000 };
  csn_loop *l = loop_new();
  struct job *jobs = csn_alloc(JOBS * sizeof *jobs);
  int next = 0;
  assert_false(csn_loop_is_current(l));
  for (int i = 0; i < JOBS; i++) {
    jobs[i] = (struct job){.loop = l, .next = &next, .number = i};
    csn_loop_post(l, take_number, &jobs[i]);
  }
  csn_loop_free(l);
  assert_int_equal(next, JOBS);
  for (int i = 0; i < JOBS; i++)
    assert_true(jobs[i].was_in_order && jobs[i].was_current);
  free(jobs);
}

struct pipe_end {
  int fd;
  atomic_int bytes, calls, writable;
  csn_watch *watch; /* freed by its own callback when `ends` */
  bool ends;
};

static void
on_ready(void *user, int events)
{
  struct pipe_end *e = user;
  char b[64];
  atomic_fetch_add(&e->calls, 1);
  if (events & CSN_WRITABLE)
    atomic_fetch_add(&e->writable, 1);
  ssize_t n;
  while ((events & CSN_READABLE) && (n = read(e->fd, b, sizeof b)) > 0)
    atomic_fetch_add(&e->bytes, (int)n);
  if (e->ends)
    csn_watch_free(e->watch);
}

TEST(a_watch_tells_what_can_be_read_until_it_is_freed)
{
  csn_loop *l = loop_new();
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  struct pipe_end e = {.fd = ends[0]};
  csn_watch *w = csn_loop_watch(l, ends[0], CSN_READABLE, on_ready, &e);
  assert_int_equal(write(ends[1], "abc", 3), 3);
  assert_true(reaches(&e.bytes, 3));
  csn_watch_set(w, 0);
  csn_watch_set(w, CSN_READABLE);
  assert_int_equal(write(ends[1], "de", 2), 2);
  assert_true(reaches(&e.bytes, 5));
  csn_watch_free(w);
  int calls = atomic_load(&e.calls);
  assert_int_equal(write(ends[1], "f", 1), 1);
  csn_loop_free(l);
  assert_int_equal(atomic_load(&e.calls), calls);
  close(ends[0]);
  close(ends[1]);
}

TEST(a_watch_tells_what_can_be_written_only_while_asked)
{
  csn_loop *l = loop_new();
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  struct pipe_end e = {.fd = ends[1]};
  csn_watch *w = csn_loop_watch(l, ends[1], 0, on_ready, &e);
  csn_watch_set(w, CSN_WRITABLE);
  assert_true(reaches(&e.writable, 1));
  csn_watch_free(w);
  csn_loop_free(l);
  close(ends[0]);
  close(ends[1]);
}

static void
begin_own_watch(void *user)
{
  struct pipe_end *e = user;
  e->watch = csn_loop_watch(*(csn_loop **)(void *)(e + 1), e->fd, CSN_READABLE, on_ready, e);
}

TEST(a_callback_may_free_its_own_watch)
{
  csn_loop *l = loop_new();
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  struct {
    struct pipe_end e;
    csn_loop *l;
  } own = {.e = {.fd = ends[0], .ends = true}, .l = l};
  csn_loop_post(l, begin_own_watch, &own.e);
  assert_int_equal(write(ends[1], "abc", 3), 3);
  assert_true(reaches(&own.e.calls, 1));
  assert_int_equal(write(ends[1], "abc", 3), 3);
  csn_loop_free(l);
  assert_int_equal(atomic_load(&own.e.calls), 1);
  close(ends[0]);
  close(ends[1]);
}

TEST(a_file_that_cannot_be_polled_is_reported_as_ready)
{
  csn_loop *l = loop_new();
  csn_auto(csn_closep) int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
  struct pipe_end e = {.fd = fd};
  csn_watch *w = csn_loop_watch(l, fd, CSN_READABLE, on_ready, &e);
  assert_true(reaches(&e.calls, 1));
  csn_watch_free(w);
  csn_loop_free(l);
  assert_int_equal(atomic_load(&e.calls), 1);
}

struct alarm_clock {
  int64_t at_ns;
  atomic_int rang, early;
};

static void
ring(void *user)
{
  struct alarm_clock *a = user;
  if (csn_now_ns() < a->at_ns)
    atomic_fetch_add(&a->early, 1);
  atomic_fetch_add(&a->rang, 1);
}

TEST(timers_ring_once_and_never_early)
{
  enum { N = 40 };
  csn_loop *l = loop_new();
  struct alarm_clock a[N] = {0};
  csn_timer *t[N];
  for (int i = 0; i < N; i++) {
    a[i].at_ns = csn_now_ns() + i * 777777;
    t[i] = csn_loop_timer(l, a[i].at_ns, ring, &a[i]);
  }
  for (int i = 0; i < N; i++) {
    assert_true(reaches(&a[i].rang, 1));
    csn_timer_free(t[i]);
    assert_int_equal(atomic_load(&a[i].rang), 1);
    assert_int_equal(atomic_load(&a[i].early), 0);
  }
  csn_loop_free(l);
}

TEST(a_freed_timer_does_not_ring)
{
  csn_loop *l = loop_new();
  for (int i = 0; i < 300; i++) {
    struct alarm_clock a = {.at_ns = csn_now_ns() + (i % 3) * 300000};
    csn_timer *t = csn_loop_timer(l, a.at_ns, ring, &a);
    csn_timer_free(t);
    int rang = atomic_load(&a.rang);
    a.at_ns = 0;
    assert_int_equal(atomic_load(&a.rang), rang);
  }
  csn_loop_free(l);
}

struct cross {
  csn_loop *l;
  int fd;
  csn_watch *w;
  csn_timer *t;
  struct alarm_clock a;
  struct pipe_end e;
};

static void
free_both(void *user)
{
  struct cross *c = user;
  csn_watch_free(c->w);
  csn_timer_free(c->t);
}

/* Freed in the loop's thread while posts about them are on their way. */
TEST(what_another_thread_made_may_be_freed_in_the_loops_thread)
{
  csn_loop *l = loop_new();
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  for (int i = 0; i < 200; i++) {
    struct cross c = {.l = l, .fd = ends[0], .e = {.fd = ends[0]}};
    c.w = csn_loop_watch(l, ends[0], CSN_READABLE, on_ready, &c.e);
    c.t = csn_loop_timer(l, csn_now_ns(), ring, &c.a);
    csn_watch_set(c.w, i % 2 ? CSN_READABLE : 0);
    csn_loop_post(l, free_both, &c);
    struct alarm_clock mark = {0};
    csn_timer *end = csn_loop_timer(l, 0, ring, &mark);
    assert_true(reaches(&mark.rang, 1));
    csn_timer_free(end);
  }
  csn_loop_free(l);
  close(ends[0]);
  close(ends[1]);
}

TEST(freeing_the_loop_frees_what_is_left)
{
  csn_loop *l = loop_new();
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  struct pipe_end e = {.fd = ends[0]};
  struct alarm_clock a = {.at_ns = INT64_MAX / 2};
  (void)csn_loop_watch(l, ends[0], CSN_READABLE, on_ready, &e);
  (void)csn_loop_timer(l, a.at_ns, ring, &a);
  csn_loop_free(l);
  csn_loop_free(NULL);
  close(ends[0]);
  close(ends[1]);
}

RUN_TESTS("base/loop", RUN(posts_run_in_their_order_in_the_loops_thread_and_before_free_returns),
          RUN(a_watch_tells_what_can_be_read_until_it_is_freed),
          RUN(a_watch_tells_what_can_be_written_only_while_asked),
          RUN(a_callback_may_free_its_own_watch),
          RUN(a_file_that_cannot_be_polled_is_reported_as_ready),
          RUN(timers_ring_once_and_never_early), RUN(a_freed_timer_does_not_ring),
          RUN(what_another_thread_made_may_be_freed_in_the_loops_thread),
          RUN(freeing_the_loop_frees_what_is_left))
