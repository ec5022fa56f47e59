/* SPDX-License-Identifier: Apache-2.0 */
#include "caisson/scope.h"
#include "check.h"

#include "caisson/mem.h"

TEST(a_scope_ends_at_its_own_or_its_parents_deadline)
{
  csn_scope top, in, late;
  csn_scope_init(&top, NULL, 60000);
  csn_scope_init(&in, &top, 0);
  csn_scope_init(&late, &top, 3600000);
  assert_int_equal(csn_scope_check(&top, NULL), 0);
  assert_int_equal(csn_scope_check(&in, NULL), CSN_E_TIMEOUT);
  assert_int_equal(csn_scope_poll_ms(&in), 0);
  assert_true(csn_scope_deadline_ns(&late) == csn_scope_deadline_ns(&top));
  int left = csn_scope_poll_ms(&late);
  assert_true(left > 50000 && left <= 60000);
  csn_scope_fini(&top);
  csn_scope none;
  csn_scope_init(&none, NULL, -1);
  assert_int_equal(csn_scope_poll_ms(&none), -1);
  csn_scope_init(&late, &none, INT64_MAX);
  assert_int_equal(csn_scope_check(&late, NULL), 0);
  csn_scope_fini(&none);
  assert_int_equal(csn_scope_check(NULL, NULL), 0);
  assert_int_equal(csn_scope_poll_ms(NULL), -1);
}

static void
count(void *user)
{
  ++*(int *)user;
}

TEST(cancelling_goes_down_the_tree_and_not_up_or_beside)
{
  csn_scope top, a, b, under_a;
  csn_scope_init(&top, NULL, -1);
  csn_scope_init(&a, &top, -1);
  csn_scope_init(&b, &top, -1);
  csn_scope_init(&under_a, &a, -1);
  int n[4] = {0};
  csn_waker w[4];
  csn_waker_add(&w[0], &top, count, &n[0]);
  csn_waker_add(&w[1], &a, count, &n[1]);
  csn_waker_add(&w[2], &b, count, &n[2]);
  csn_waker_add(&w[3], &under_a, count, &n[3]);
  csn_scope_cancel(&a);
  csn_scope_cancel(&a); /* once is once */
  assert_true(n[0] == 0 && n[1] == 1 && n[2] == 0 && n[3] == 1);
  assert_int_equal(csn_scope_check(&under_a, NULL), CSN_E_CANCELLED);
  assert_int_equal(csn_scope_check(&b, NULL), 0);
  assert_int_equal(csn_scope_check(&top, NULL), 0);
  csn_waker_drop(&w[2]);
  csn_scope_cancel(&top);
  assert_true(n[0] == 1 && n[1] == 1 && n[2] == 0 && n[3] == 1);
  csn_waker_drop(&w[0]);
  csn_waker_drop(&w[1]);
  csn_waker_drop(&w[3]);
  csn_scope_fini(&top);
}

struct sleeper {
  csn_scope scope;
  pthread_mutex_t m;
  pthread_cond_t c;
  bool ready;
  int rc;
};

static void *
sleep_until_ended(void *user)
{
  struct sleeper *s = user;
  csn_scope in;
  csn_scope_init(&in, &s->scope, -1);
  pthread_mutex_lock(&s->m);
  s->ready = true;
  while ((s->rc = csn_scope_wait(&in, &s->c, &s->m, NULL)) == 0)
    ;
  pthread_mutex_unlock(&s->m);
  return NULL;
}

static int
sleep_in_thread(int64_t timeout_ms, bool cancel)
{
  struct sleeper s = {.m = PTHREAD_MUTEX_INITIALIZER};
  csn_cond_init(&s.c);
  csn_scope_init(&s.scope, NULL, timeout_ms);
  pthread_t id;
  assert_int_equal(pthread_create(&id, NULL, sleep_until_ended, &s), 0);
  for (bool ready = !cancel; !ready;) {
    pthread_mutex_lock(&s.m);
    ready = s.ready;
    pthread_mutex_unlock(&s.m);
  }
  if (cancel)
    csn_scope_cancel(&s.scope);
  pthread_join(id, NULL);
  csn_scope_fini(&s.scope);
  pthread_cond_destroy(&s.c);
  return s.rc;
}

TEST(a_waiter_wakes_when_its_scope_is_cancelled_or_ends)
{
  for (int i = 0; i < 50; i++)
    assert_int_equal(sleep_in_thread(-1, true), CSN_E_CANCELLED);
  assert_int_equal(sleep_in_thread(20, false), CSN_E_TIMEOUT);
}

struct slow {
  atomic_int entered, may_go, left;
  csn_scope *scope;
};

static void
slow_wake(void *user)
{
  struct slow *s = user;
  atomic_store(&s->entered, 1);
  while (!atomic_load(&s->may_go))
    sched_yield();
  atomic_store(&s->left, 1);
}

static void *
cancel_it(void *user)
{
  struct slow *s = user;
  csn_scope_cancel(s->scope);
  return NULL;
}

static void *
let_go(void *user)
{
  struct slow *s = user;
  while (!atomic_load(&s->entered))
    sched_yield();
  atomic_store(&s->may_go, 1);
  return NULL;
}

TEST(dropping_a_waker_waits_for_its_running_function)
{
  for (int i = 0; i < 50; i++) {
    csn_scope scope;
    csn_waker w;
    pthread_t a, b;
    csn_scope_init(&scope, NULL, -1);
    struct slow s = {.scope = &scope};
    csn_waker_add(&w, &scope, slow_wake, &s);
    assert_int_equal(pthread_create(&a, NULL, cancel_it, &s), 0);
    while (!atomic_load(&s.entered))
      sched_yield();
    assert_int_equal(pthread_create(&b, NULL, let_go, &s), 0);
    csn_waker_drop(&w);
    assert_int_equal(atomic_load(&s.left), 1);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    csn_scope_fini(&scope);
  }
}

static void *
add_and_drop(void *user)
{
  csn_scope *s = user;
  for (int i = 0; i < 2000; i++) {
    csn_waker w[3];
    int n = 0;
    for (int k = 0; k < 3; k++)
      csn_waker_add(&w[k], s, count, &n);
    csn_waker_drop(&w[1]);
    csn_waker_drop(&w[0]);
    csn_waker_drop(&w[2]);
  }
  return NULL;
}

TEST(wakers_come_and_go_while_others_cancel)
{
  csn_scope top, in;
  csn_scope_init(&top, NULL, -1);
  csn_scope_init(&in, &top, -1);
  struct slow s = {.scope = &in};
  pthread_t id[3];
  for (int i = 0; i < 2; i++)
    assert_int_equal(pthread_create(&id[i], NULL, add_and_drop, i ? &in : &top), 0);
  for (int i = 0; i < 500; i++)
    cancel_it(&s);
  for (int i = 0; i < 2; i++)
    pthread_join(id[i], NULL);
  assert_null(top.wakers);
  csn_scope_fini(&top);
}

RUN_TESTS("core/scope", RUN(a_scope_ends_at_its_own_or_its_parents_deadline),
          RUN(cancelling_goes_down_the_tree_and_not_up_or_beside),
          RUN(a_waiter_wakes_when_its_scope_is_cancelled_or_ends),
          RUN(dropping_a_waker_waits_for_its_running_function),
          RUN(wakers_come_and_go_while_others_cancel))
