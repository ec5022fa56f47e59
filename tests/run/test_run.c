/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs in one process, with tools of this program and a playbook as the model:
 * parallel calls, answers that come later, cancelling, stopping and resuming,
 * limits, many runs at once. */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/pool.h"
#include "caisson/run.h"
#include "check.h"
#include "core/fd.h"
#include "run/driver.h"

enum { WAIT_MS = 20000 };

/* A folder with a state and a playbook, an rt over it, and what tools saw. */
struct bench {
  char folder[64], model[96];
  csn_rt *rt;
  csn_agent *agent;
  csn_scope sc;
  csn_pool *later;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  atomic_int calls, inside;
  int most_inside;
  bool released;
  csn_buf events;
};

static void
write_file(struct bench *b, const char *name, const char *text)
{
  csn_err err;
  csn_auto(csn_closep) int dir = open(b->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  OK(csn_file_write(dir, name, csn_cstr(text), 0600, false, &err), &err);
}

static void
open_rt(struct bench *b)
{
  csn_err err;
  char state[80];
  snprintf(state, sizeof state, "%s/state", b->folder);
  csn_rt_options o = {.state_dir = state};
  OK(csn_rt_new(&b->rt, &o, &err), &err);
}

static void
setup(struct bench *b, const char *playbook)
{
  *b = (struct bench){.events = CSN_BUF(1 << 20)};
  snprintf(b->folder, sizeof b->folder, "/tmp/caisson-run-XXXXXX");
  assert_non_null(mkdtemp(b->folder));
  write_file(b, "book.yaml", playbook);
  snprintf(b->model, sizeof b->model, "script:%s/book.yaml", b->folder);
  csn_scope_init(&b->sc, NULL, WAIT_MS);
  pthread_mutex_init(&b->lock, NULL);
  csn_cond_init(&b->changed);
  b->later = csn_pool_new(4, 4);
  open_rt(b);
  b->agent = csn_agent_new("tester");
  csn_agent_set_model(b->agent, b->model);
}

static void
teardown(struct bench *b)
{
  csn_err err;
  csn_rt_free(b->rt);
  csn_agent_free(b->agent);
  csn_pool_free(b->later);
  csn_scope_fini(&b->sc);
  csn_buf_fini(&b->events);
  csn_auto(csn_closep) int top = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  OK(csn_remove_tree(top, b->folder + 1, &err), &err);
}

static void
add_tool(struct bench *b, const char *name, enum csn_replay replay,
         int (*fn)(csn_call *c, void *user, csn_err *err))
{
  csn_err err;
  csn_tool t = {.size = sizeof t,
                .name = name,
                .description = "for a test",
                .schema = "{\"type\":\"object\",\"properties\":{}}",
                .replay = replay,
                .call = fn,
                .user = b};
  OK(csn_agent_add_tool(b->agent, &t, &err), &err);
}

static csn_run *
start(struct bench *b, const csn_run_options *o)
{
  csn_run *r = NULL;
  csn_err err;
  OK(csn_run_start(b->rt, b->agent, CSN_STR("go"), o, &r, &err), &err);
  return r;
}

static csn_result
await(struct bench *b, csn_run *r)
{
  csn_result res = {0};
  csn_err err;
  OK(csn_run_wait(r, &b->sc, &res, &err), &err);
  return res;
}

static void
listen(void *user, const char *run, const char *type, int64_t seq, csn_str data)
{
  struct bench *b = user;
  csn_buf_addf(&b->events, "%s ", type);
}

static int
count(csn_call *c, void *user, csn_err *err)
{
  struct bench *b = user;
  csn_buf_addf(csn_call_out(c), "call %d", atomic_fetch_add(&b->calls, 1) + 1);
  return 0;
}

/* Blocks until all three calls of a turn are inside at once. */
static int
meet(csn_call *c, void *user, csn_err *err)
{
  struct bench *b = user;
  pthread_mutex_lock(&b->lock);
  int rc = 0, now = atomic_fetch_add(&b->inside, 1) + 1;
  if (now > b->most_inside)
    b->most_inside = now;
  pthread_cond_broadcast(&b->changed);
  while (rc == 0 && b->most_inside < 3)
    rc = csn_scope_wait(csn_call_scope(c), &b->changed, &b->lock, err);
  pthread_mutex_unlock(&b->lock);
  csn_buf_addz(csn_call_out(c), "met");
  return rc;
}

/* Blocks until its scope ends. */
static int
hang(csn_call *c, void *user, csn_err *err)
{
  struct bench *b = user;
  atomic_fetch_add(&b->calls, 1);
  pthread_mutex_lock(&b->lock);
  pthread_cond_broadcast(&b->changed);
  int rc = 0;
  while (rc == 0)
    rc = csn_scope_wait(csn_call_scope(c), &b->changed, &b->lock, err);
  pthread_mutex_unlock(&b->lock);
  return rc;
}

static void
await_calls(struct bench *b, int n)
{
  pthread_mutex_lock(&b->lock);
  csn_err err;
  while (atomic_load(&b->calls) < n)
    OK(csn_scope_wait(&b->sc, &b->changed, &b->lock, &err), &err);
  pthread_mutex_unlock(&b->lock);
}

static void
answer(void *user)
{
  csn_call *c = user;
  csn_buf_addz(csn_call_out(c), "later");
  csn_call_done(c, 0, NULL);
}

static int
answer_later(csn_call *c, void *user, csn_err *err)
{
  struct bench *b = user;
  csn_pool_add(b->later, answer, c);
  return CSN_CALL_LATER;
}

#define RULES "rules:\n"
#define FIRST(calls) "- {name: first, when: {first: true}, reply: [" calls "]}\n"
#define END(text) "- {name: end, reply: \"" text "\"}\n"

TEST(a_tool_is_called_and_its_output_comes_back)
{
  struct bench b;
  setup(&b, RULES FIRST("{count: {}}") "- {name: end, when: {contains: call 1}, reply: got it}\n");
  add_tool(&b, "count", CSN_REPLAY_SAFE, count);
  csn_run_options o = {.listener = listen, .user = &b};
  csn_auto(csn_run_freep) csn_run *r = start(&b, &o);
  csn_result res = await(&b, r);
  assert_int_equal(res.state, CSN_RUN_DONE);
  STR_EQ(res.output, "got it");
  assert_int_equal(res.turns, 2);
  assert_int_equal(res.tool_calls, 1);
  STR_EQ(csn_buf_str(&b.events), "run input model_call model_replied tool_call tool_returned "
                                 "model_call state model_replied finish state ");
  csn_run_free(csn_steal(r));
  teardown(&b);
}

TEST(calls_of_one_turn_run_at_the_same_time)
{
  struct bench b;
  setup(&b, RULES FIRST("{meet: {}}, {meet: {}}, {meet: {}}") END("done"));
  add_tool(&b, "meet", CSN_REPLAY_SAFE, meet);
  csn_auto(csn_run_freep) csn_run *r = start(&b, NULL);
  assert_int_equal(await(&b, r).state, CSN_RUN_DONE);
  assert_int_equal(b.most_inside, 3);
  csn_run_free(csn_steal(r));
  teardown(&b);
}

TEST(a_tool_may_answer_later_from_another_thread)
{
  struct bench b;
  setup(&b, RULES FIRST("{later: {}}") "- {name: end, when: {contains: later}, reply: ok}\n");
  add_tool(&b, "later", CSN_REPLAY_SAFE, answer_later);
  csn_auto(csn_run_freep) csn_run *r = start(&b, NULL);
  STR_EQ(await(&b, r).output, "ok");
  csn_run_free(csn_steal(r));
  teardown(&b);
}

TEST(unknown_tools_and_bad_arguments_are_told_to_the_model)
{
  struct bench b;
  setup(&b, RULES FIRST("{nothing: {}}") "- {name: end, when: {contains: \"'nothing' not found\"}, "
                                         "reply: ok}\n");
  add_tool(&b, "count", CSN_REPLAY_SAFE, count);
  csn_auto(csn_run_freep) csn_run *r = start(&b, NULL);
  STR_EQ(await(&b, r).output, "ok");
  csn_run_free(csn_steal(r));
  teardown(&b);
}

TEST(cancelling_ends_what_hangs)
{
  struct bench b;
  setup(&b, RULES FIRST("{hang: {}}") END("never"));
  add_tool(&b, "hang", CSN_REPLAY_SAFE, hang);
  csn_auto(csn_run_freep) csn_run *r = start(&b, NULL);
  await_calls(&b, 1);
  csn_run_cancel(r, false);
  assert_int_equal(await(&b, r).state, CSN_RUN_CANCELLED);
  csn_run_free(csn_steal(r));
  teardown(&b);
}

static void
take_and_give(void *lock)
{
  pthread_mutex_lock(lock);
  pthread_mutex_unlock(lock);
}

/* Holds its own lock while it notes something, and its waker wants that lock. */
static int
note_under_lock(csn_call *c, void *user, csn_err *err)
{
  struct bench *b = user;
  pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  csn_waker w;
  csn_waker_add(&w, csn_call_scope(c), take_and_give, &lock);
  pthread_mutex_lock(&lock);
  pthread_mutex_lock(&b->lock);
  atomic_fetch_add(&b->calls, 1);
  pthread_cond_broadcast(&b->changed);
  pthread_mutex_unlock(&b->lock);
  while (csn_scope_check(csn_call_scope(c), NULL) == 0)
    sched_yield();
  csn_err why;
  (void)!csn_call_note(c, CSN_STR("{}"), &why);
  pthread_mutex_unlock(&lock);
  csn_waker_drop(&w);
  return csn_fail(err, CSN_E_CANCELLED, "cancelled");
}

TEST(a_cancelled_tool_may_hold_a_lock_that_its_waker_wants)
{
  for (int interrupts = 0; interrupts < 2; interrupts++) {
    struct bench b;
    setup(&b, RULES FIRST("{noting: {}}") END("never"));
    add_tool(&b, "noting", CSN_REPLAY_SAFE, note_under_lock);
    csn_auto(csn_run_freep) csn_run *r = start(&b, NULL);
    await_calls(&b, 1);
    if (interrupts)
      csn_run_interrupt(r);
    else
      csn_run_cancel(r, false);
    assert_int_equal(await(&b, r).state, interrupts ? CSN_RUN_INTERRUPTED : CSN_RUN_CANCELLED);
    csn_run_free(csn_steal(r));
    teardown(&b);
  }
}

TEST(the_end_of_the_waiting_scope_cancels_the_run)
{
  struct bench b;
  setup(&b, RULES FIRST("{hang: {}}") END("never"));
  add_tool(&b, "hang", CSN_REPLAY_SAFE, hang);
  csn_auto(csn_run_freep) csn_run *r = start(&b, NULL);
  csn_scope brief;
  csn_result res;
  csn_err err;
  csn_scope_init(&brief, NULL, 20);
  OK(csn_run_wait(r, &brief, &res, &err), &err);
  assert_int_equal(res.state, CSN_RUN_CANCELLED);
  csn_scope_fini(&brief);
  csn_run_free(csn_steal(r));
  teardown(&b);
}

TEST(the_wall_limit_ends_what_hangs)
{
  struct bench b;
  setup(&b, RULES FIRST("{hang: {}}") END("never"));
  add_tool(&b, "hang", CSN_REPLAY_SAFE, hang);
  csn_agent_set_wall_ms(b.agent, 30);
  csn_auto(csn_run_freep) csn_run *r = start(&b, NULL);
  csn_result res = await(&b, r);
  assert_int_equal(res.state, CSN_RUN_LIMIT);
  STR_EQ(res.reason, "wall");
  csn_run_free(csn_steal(r));
  teardown(&b);
}

TEST(the_turn_limit_ends_a_loop)
{
  struct bench b;
  setup(&b, RULES "- {name: again, reply: [{count: {}}]}\n");
  add_tool(&b, "count", CSN_REPLAY_SAFE, count);
  csn_agent_set_turns(b.agent, 4);
  csn_auto(csn_run_freep) csn_run *r = start(&b, NULL);
  csn_result res = await(&b, r);
  assert_int_equal(res.state, CSN_RUN_LIMIT);
  assert_int_equal(res.turns, 4);
  assert_int_equal(atomic_load(&b.calls), 4);
  csn_run_free(csn_steal(r));
  teardown(&b);
}

/* Stops a run inside a tool and goes on with it in a second rt. */
static void
stop_and_resume(enum csn_replay replay, const char *second_rule, enum csn_run_state want_state,
                const char *want, int want_calls)
{
  struct bench b;
  char book[400];
  snprintf(book, sizeof book, RULES FIRST("{hang: {}}") "%s" END("other"), second_rule);
  setup(&b, book);
  add_tool(&b, "hang", replay, hang);
  csn_run *r = start(&b, NULL);
  char id[40];
  snprintf(id, sizeof id, "%s", csn_run_id(r));
  await_calls(&b, 1);
  csn_run_interrupt(r);
  assert_int_equal(await(&b, r).state, CSN_RUN_INTERRUPTED);
  csn_run_free(r);
  csn_rt_free(b.rt);
  open_rt(&b);
  csn_tool again = {.size = sizeof again,
                    .name = "hang",
                    .description = "for a test",
                    .schema = "{}",
                    .replay = replay,
                    .call = count,
                    .user = &b};
  csn_run_options o = {.tools = &again, .n_tools = 1};
  csn_err err;
  OK(csn_run_resume(b.rt, csn_cstr(id), &o, &r, &err), &err);
  csn_result res = await(&b, r);
  assert_int_equal(res.state, want_state);
  STR_EQ(res.output, want);
  assert_int_equal(atomic_load(&b.calls), want_calls);
  csn_run_free(r);
  teardown(&b);
}

TEST(a_stopped_run_goes_on_and_each_tool_by_its_rule)
{
  stop_and_resume(CSN_REPLAY_SAFE, "- {name: b, when: {contains: call 2}, reply: repeated}\n",
                  CSN_RUN_DONE, "repeated", 2);
  stop_and_resume(CSN_REPLAY_ONCE, "- {name: b, when: {contains: unknown}, reply: not repeated}\n",
                  CSN_RUN_DONE, "not repeated", 1);
  stop_and_resume(CSN_REPLAY_ASK, "", CSN_RUN_WAITING, "", 1);
}

TEST(a_run_without_a_route_to_its_model_does_not_start)
{
  struct bench b;
  setup(&b, RULES END("x"));
  csn_run *r = NULL;
  csn_err err;
  csn_agent_set_model(b.agent, "nowhere/gpt");
  assert_int_equal(csn_run_start(b.rt, b.agent, CSN_STR("go"), NULL, &r, &err), CSN_E_INVALID);
  assert_non_null(strstr(err.msg, "no such provider"));
  unsetenv("OPENAI_API_KEY");
  unsetenv("OPENAI_BASE_URL");
  csn_agent_set_model(b.agent, "openai/gpt");
  assert_int_equal(csn_run_start(b.rt, b.agent, CSN_STR("go"), NULL, &r, &err), CSN_E_INVALID);
  assert_non_null(strstr(err.msg, "OPENAI_API_KEY"));
  teardown(&b);
}

TEST(a_cancel_that_comes_after_the_end_changes_nothing)
{
  struct bench b;
  setup(&b, RULES END("done"));
  csn_auto(csn_run_freep) csn_run *r = start(&b, NULL);
  assert_int_equal(await(&b, r).state, CSN_RUN_DONE);
  /* As from a thread that looked a moment before the end. */
  csn_run_deliver(r, CSN_EV_CANCEL_REQUESTED, CSN_STR("{\"mode\":\"now\"}"), false);
  csn_run_deliver(r, CSN_EV_INTERRUPTED, CSN_STR("{}"), false);
  csn_run_deliver(r, CSN_EV_TIMER_FIRED, CSN_STR("{\"effect\":2}"), false);
  csn_result res = await(&b, r);
  assert_int_equal(res.state, CSN_RUN_DONE);
  STR_EQ(res.output, "done");
  csn_run_free(csn_steal(r));
  teardown(&b);
}

static int
fail_silently(csn_call *c, void *user, csn_err *err)
{
  csn_buf_addz(csn_call_out(c), "half an answer");
  return CSN_E_IO;
}

TEST(a_tool_that_fails_without_a_word_gives_the_model_no_stray_memory)
{
  struct bench b;
  setup(&b, RULES FIRST("{mute: {}}") "- {name: end, when: {contains: \"call failed: io\"}, "
                                      "reply: ok}\n");
  add_tool(&b, "mute", CSN_REPLAY_SAFE, fail_silently);
  csn_auto(csn_run_freep) csn_run *r = start(&b, NULL);
  STR_EQ(await(&b, r).output, "ok");
  csn_run_free(csn_steal(r));
  teardown(&b);
}

/* No file of this process grows any more, as on a full disk. */
static void
fill_disk(struct rlimit *before)
{
  signal(SIGXFSZ, SIG_IGN);
  getrlimit(RLIMIT_FSIZE, before);
  setrlimit(RLIMIT_FSIZE, &(struct rlimit){.rlim_cur = 1, .rlim_max = before->rlim_max});
}

TEST(a_full_disk_in_the_middle_ends_the_run_and_it_can_be_resumed)
{
  struct bench b;
  struct rlimit before;
  setup(&b, RULES FIRST("{hang: {}}") "- {name: b, when: {contains: call 2}, reply: ok}\n");
  add_tool(&b, "hang", CSN_REPLAY_SAFE, hang);
  csn_run *r = start(&b, NULL);
  char id[40];
  snprintf(id, sizeof id, "%s", csn_run_id(r));
  await_calls(&b, 1);
  fill_disk(&before);
  csn_run_cancel(r, false);
  csn_result res;
  csn_err err;
  assert_true(csn_run_wait(r, &b.sc, &res, &err) < 0);
  setrlimit(RLIMIT_FSIZE, &before);
  csn_run_free(r);
  csn_tool again = {.size = sizeof again,
                    .name = "hang",
                    .description = "for a test",
                    .schema = "{}",
                    .replay = CSN_REPLAY_SAFE,
                    .call = count,
                    .user = &b};
  csn_run_options o = {.tools = &again, .n_tools = 1};
  OK(csn_run_resume(b.rt, csn_cstr(id), &o, &r, &err), &err);
  STR_EQ(await(&b, r).output, "ok");
  csn_run_free(r);
  teardown(&b);
}

/* Tries while its journal takes no more records. */
TEST(a_retry_that_cannot_be_noted_ends_the_run_instead_of_hanging)
{
  struct bench b;
  struct rlimit before;
  setup(&b, RULES END("x"));
  setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1", 1);
  csn_agent_set_model(b.agent, "openai/gpt");
  csn_auto(csn_run_freep) csn_run *r = start(&b, NULL);
  fill_disk(&before);
  csn_result res;
  csn_err err;
  int rc = csn_run_wait(r, &b.sc, &res, &err);
  setrlimit(RLIMIT_FSIZE, &before);
  assert_true(rc < 0);
  assert_int_equal(csn_scope_check(&b.sc, NULL), 0); /* it did not take the deadline to end it */
  unsetenv("OPENAI_BASE_URL");
  csn_run_free(csn_steal(r));
  teardown(&b);
}

TEST(stopping_a_run_ends_what_its_scope_governs)
{
  struct bench b;
  setup(&b, RULES FIRST("{hang: {}}") END("never"));
  add_tool(&b, "hang", CSN_REPLAY_SAFE, hang);
  csn_auto(csn_run_freep) csn_run *r = start(&b, NULL);
  await_calls(&b, 1);
  assert_int_equal(csn_scope_check(&r->scope, NULL), 0);
  csn_run_interrupt(r);
  assert_int_equal(csn_scope_check(&r->scope, NULL), CSN_E_CANCELLED);
  csn_run_free(csn_steal(r));
  teardown(&b);
}

TEST(many_runs_share_one_runtime)
{
  enum { RUNS = 200 };
  struct bench b;
  setup(&b, RULES FIRST("{count: {}}, {later: {}}") END("done"));
  add_tool(&b, "count", CSN_REPLAY_SAFE, count);
  add_tool(&b, "later", CSN_REPLAY_SAFE, answer_later);
  csn_run *runs[RUNS];
  for (int i = 0; i < RUNS; i++)
    runs[i] = start(&b, NULL);
  for (int i = 0; i < RUNS; i++) {
    assert_int_equal(await(&b, runs[i]).state, CSN_RUN_DONE);
    csn_run_free(runs[i]);
  }
  assert_int_equal(atomic_load(&b.calls), RUNS);
  teardown(&b);
}

RUN_TESTS("run/run", RUN(a_tool_is_called_and_its_output_comes_back),
          RUN(calls_of_one_turn_run_at_the_same_time),
          RUN(a_tool_may_answer_later_from_another_thread),
          RUN(unknown_tools_and_bad_arguments_are_told_to_the_model),
          RUN(cancelling_ends_what_hangs),
          RUN(a_cancelled_tool_may_hold_a_lock_that_its_waker_wants),
          RUN(the_end_of_the_waiting_scope_cancels_the_run), RUN(the_wall_limit_ends_what_hangs),
          RUN(the_turn_limit_ends_a_loop), RUN(a_stopped_run_goes_on_and_each_tool_by_its_rule),
          RUN(a_run_without_a_route_to_its_model_does_not_start),
          RUN(a_cancel_that_comes_after_the_end_changes_nothing),
          RUN(a_tool_that_fails_without_a_word_gives_the_model_no_stray_memory),
          RUN(a_retry_that_cannot_be_noted_ends_the_run_instead_of_hanging),
          RUN(a_full_disk_in_the_middle_ends_the_run_and_it_can_be_resumed),
          RUN(stopping_a_run_ends_what_its_scope_governs), RUN(many_runs_share_one_runtime))
