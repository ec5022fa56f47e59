/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate of a provider: what goes in at once and in a minute, whose turn it
 * is, and what a Retry-After does.  Time is a number here. */
#include "check.h"
#include "run/gate.h"

#define S INT64_C(1000000000)

struct caller {
  csn_gate_call call;
  int woken;
};

static void
wake(void *user)
{
  ((struct caller *)user)->woken++;
}

static struct caller
caller(const void *group, int64_t tokens)
{
  return (struct caller){.call = {.group = group, .tokens = tokens, .wake = wake}};
}

/* 1: inside, 0: it waits. */
static int
enter(csn_gate *g, struct caller *c, int64_t now)
{
  csn_err err;
  c->call.user = c;
  int rc = csn_gate_enter(g, &c->call, now, &err);
  if (rc < 0)
    fail_msg("%s", err.msg);
  return rc;
}

static csn_gate *
gate(int64_t requests, int64_t tokens, int64_t concurrency)
{
  csn_gate_limits l = {requests, tokens, concurrency};
  return csn_gate_new(CSN_STR("p"), &l);
}

TEST(no_more_requests_than_the_limit_go_in_within_any_minute)
{
  enum { CALLS = 40, LIMIT = 5 };
  csn_gate *g = gate(LIMIT, 0, 0);
  struct caller c[CALLS];
  int64_t went[CALLS], now = 1000 * S;
  size_t come = 0, gone = 0;
  for (; gone < CALLS && now < 3000 * S; now += S / 3) {
    if (come < CALLS) {
      c[come] = caller(&c[come], 0);
      (void)!enter(g, &c[come++], now);
    }
    csn_gate_serve(g, now);
    for (size_t i = 0; i < come; i++)
      if (c[i].call.where == CSN_GATE_INSIDE) {
        went[gone++] = now;
        csn_gate_leave(g, &c[i].call, 0, now);
      }
  }
  csn_gate_free(g);
  assert_int_equal(gone, CALLS);
  for (size_t i = LIMIT; i < CALLS; i++)
    assert_true(went[i] - went[i - LIMIT] >= 60 * S && went[i] - went[i - LIMIT] < 61 * S);
}

TEST(tokens_count_as_estimated_until_they_are_known)
{
  csn_gate *g = gate(0, 1000, 0);
  struct caller a = caller(&a, 600), b = caller(&b, 600), c = caller(&c, 5000), d = caller(&d, 1);
  assert_int_equal(enter(g, &a, 100 * S), 1);
  assert_int_equal(enter(g, &b, 101 * S), 0);
  csn_gate_leave(g, &a.call, 300, 102 * S); /* it used less */
  assert_int_equal(b.woken, 1);
  csn_gate_leave(g, &b.call, 600, 103 * S);
  assert_int_equal(enter(g, &c, 104 * S), 0); /* more than a minute holds: alone */
  assert_int_equal(enter(g, &d, 104 * S), 0); /* not before it */
  assert_true(csn_gate_serve(g, 160 * S) == 162 * S);
  assert_true(csn_gate_serve(g, 162 * S) > 162 * S);
  assert_int_equal(c.woken, 1);
  assert_int_equal(d.woken, 0);
  assert_true(csn_gate_serve(g, 222 * S) == INT64_MAX);
  assert_int_equal(d.woken, 1);
  csn_gate_free(g);
}

TEST(one_run_with_many_calls_does_not_hold_up_another)
{
  csn_gate *g = gate(0, 0, 1);
  int many = 0, few = 0;
  struct caller inside = caller(&inside, 0), m[6], f = caller(&few, 0), f2 = caller(&few, 0);
  assert_int_equal(enter(g, &inside, S), 1);
  for (size_t i = 0; i < 6; i++) {
    m[i] = caller(&many, 0);
    assert_int_equal(enter(g, &m[i], S), 0);
  }
  assert_int_equal(enter(g, &f, S), 0);
  assert_int_equal(enter(g, &f2, S), 0);
  struct caller *order[] = {&inside, &m[0], &f, &m[1], &f2, &m[2], &m[3], &m[4], &m[5]};
  for (size_t i = 0; i + 1 < CSN_COUNT(order); i++) {
    csn_gate_leave(g, &order[i]->call, 0, S);
    assert_int_equal(order[i + 1]->call.where, CSN_GATE_INSIDE);
  }
  csn_gate_free(g);
}

TEST(a_provider_that_asks_to_wait_is_left_alone_by_all)
{
  csn_gate *g = gate(0, 0, 0);
  struct caller a = caller(&a, 0), b = caller(&b, 0), c = caller(&c, 0);
  assert_int_equal(enter(g, &a, 10 * S), 1);
  csn_gate_leave(g, &a.call, 0, 11 * S);
  csn_gate_hold(g, 31 * S, 11 * S);
  csn_gate_hold(g, 21 * S, 11 * S); /* a shorter one changes nothing */
  assert_int_equal(enter(g, &a, 12 * S), 0);
  assert_int_equal(enter(g, &b, 12 * S), 0);
  assert_true(csn_gate_serve(g, 30 * S) == 31 * S);
  assert_int_equal(a.woken + b.woken, 0);
  assert_true(csn_gate_serve(g, 31 * S) == INT64_MAX);
  assert_int_equal(a.woken + b.woken, 2);
  /* Longer than anybody should wait: who stands there is told, who comes is, too. */
  csn_gate_hold(g, 35 * S, 31 * S);
  assert_int_equal(enter(g, &c, 32 * S), 0);
  csn_gate_hold(g, 3600 * S, 32 * S);
  assert_true(c.woken == 1 && c.call.is_refused && c.call.where == CSN_GATE_OUT);
  csn_err err;
  assert_int_equal(csn_gate_enter(g, &c.call, 33 * S, &err), CSN_E_UNAVAILABLE);
  assert_int_equal(err.retry_after_ms, 3567000);
  assert_non_null(strstr(err.msg, "3567 s"));
  csn_gate_free(g);
}

TEST(who_gives_up_is_out_of_the_queue)
{
  csn_gate *g = gate(0, 0, 1);
  struct caller a = caller(&a, 0), b = caller(&b, 0), c = caller(&c, 0);
  assert_int_equal(enter(g, &a, S), 1);
  assert_int_equal(enter(g, &b, S), 0);
  assert_int_equal(enter(g, &c, S), 0);
  assert_true(csn_gate_drop(g, &b.call, S));
  assert_false(csn_gate_drop(g, &b.call, S));
  csn_gate_leave(g, &a.call, 0, S);
  csn_gate_leave(g, &a.call, 0, S); /* once is enough */
  assert_true(b.woken == 0 && c.woken == 1);
  assert_false(csn_gate_drop(g, &c.call, S));
  csn_gate_free(g);
}

/* ---- with a loop, whose timer serves ---- */

struct waiter {
  struct caller c;
  pthread_mutex_t lock;
  pthread_cond_t changed;
};

static void
signal_it(void *user)
{
  struct waiter *w = user;
  pthread_mutex_lock(&w->lock);
  w->c.woken++;
  pthread_cond_signal(&w->changed);
  pthread_mutex_unlock(&w->lock);
}

TEST(the_timer_of_a_loop_lets_them_in)
{
  csn_loop *loop = NULL;
  csn_err err;
  csn_scope sc;
  OK(csn_loop_new(&loop, &err), &err);
  csn_scope_init(&sc, NULL, 20000);
  csn_gate *g = gate(0, 0, 0);
  csn_gate_run_on(g, loop);
  struct waiter w = {.c = {.call = {.wake = signal_it}}, .lock = PTHREAD_MUTEX_INITIALIZER};
  csn_cond_init(&w.changed);
  w.c.call.user = &w;
  int64_t now = csn_now_ns();
  csn_gate_hold(g, now + S / 20, now);
  assert_int_equal(csn_gate_enter(g, &w.c.call, now, &err), 0);
  pthread_mutex_lock(&w.lock);
  while (!w.c.woken)
    OK(csn_scope_wait(&sc, &w.changed, &w.lock, &err), &err);
  pthread_mutex_unlock(&w.lock);
  assert_true(csn_now_ns() - now >= S / 20);
  csn_gate_free(g);
  csn_loop_free(loop);
  csn_scope_fini(&sc);
}

RUN_TESTS("run/gate", RUN(no_more_requests_than_the_limit_go_in_within_any_minute),
          RUN(tokens_count_as_estimated_until_they_are_known),
          RUN(one_run_with_many_calls_does_not_hold_up_another),
          RUN(a_provider_that_asks_to_wait_is_left_alone_by_all),
          RUN(who_gives_up_is_out_of_the_queue), RUN(the_timer_of_a_loop_lets_them_in))
