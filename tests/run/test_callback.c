/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of a program that can change a run: guardrails, instructions,
 * predicates; bound by name, asked again after a stop, not asked on replay. */
#include "bench.h"

/* What callbacks saw and how often; `answer` is what they write. */
struct seen {
  struct bench *b;
  const char *answer;
  int rc;
  atomic_int n;
  csn_buf last;
};

static int
say(void *user, csn_scope *sc, const csn_json *in, csn_buf *out, csn_err *err)
{
  struct seen *s = user;
  atomic_fetch_add(&s->n, 1);
  csn_buf_clear(&s->last);
  csn_buf_add(&s->last, in->raw);
  csn_buf_addz(out, s->answer);
  return s->rc < 0 ? csn_fail(err, (enum csn_code)s->rc, "it is broken") : 0;
}

static void
bind(struct bench *b, const char *name, struct seen *s)
{
  csn_err err;
  csn_callback cb = {.size = sizeof cb, .name = name, .fn = say, .user = s};
  s->b = b;
  s->last = CSN_BUF(1 << 20);
  OK(csn_agent_add_callback(b->agent, &cb, &err), &err);
}

#define BOOK                                                                                       \
  "rules:\n"                                                                                       \
  "- {name: first, when: {first: true}, reply: [{count: {x: a}}]}\n"                               \
  "- {name: end, reply: \"${output}\"}\n"

/* One run with one callback of the given use; how it ended. */
static void
run_with(const char *guardrails, const char *answer, int rc, enum csn_run_state want,
         const char *output, const char *message, const char *question)
{
  struct bench b;
  struct seen s = {.answer = answer, .rc = rc};
  bench_init(&b, BOOK);
  bench_tool(&b, "count", bench_count);
  bind(&b, "g", &s);
  bench_set(&b, "guardrails", guardrails);
  csn_run *r = bench_start(&b);
  csn_result res = bench_await(&b, r);
  assert_int_equal(res.state, want);
  STR_EQ(res.output, output);
  if (!strstr(res.message.n ? res.message.p : "", message))
    fail_msg("got '%s', expected '%s'", res.message.p, message);
  if (!strstr(s.last.p, question))
    fail_msg("got %s, expected %s", s.last.p, question);
  csn_run_free(r);
  csn_buf_fini(&s.last);
  bench_fini(&b);
}

#define ON(on) "[{\"callback\":\"g\",\"on\":\"" on "\"}]"

TEST(guardrails_let_pass_trip_and_reject)
{
  run_with(ON("input"), "", 0, CSN_RUN_DONE, "call 1", "", "\"for\":\"input\"");
  run_with(ON("input"), "{\"trip\":false}", 0, CSN_RUN_DONE, "call 1", "",
           "\"items\":[{\"role\":\"user\",\"content\":\"go\"}]");
  run_with("[{\"callback\":\"g\",\"on\":\"input\",\"blocking\":true}]",
           "{\"trip\":true,\"message\":\"not that\"}", 0, CSN_RUN_FAILED, "", "not that",
           "\"agent\":\"tester\"");
  run_with(ON("output"), "{}", 0, CSN_RUN_DONE, "call 1", "", "\"output\":\"call 1\"");
  run_with(ON("output"), "{\"trip\":true}", 0, CSN_RUN_FAILED, "", "a guardrail tripped",
           "\"output\":\"call 1\"");
  run_with(
      ON("tool_input"), "{}", 0, CSN_RUN_DONE, "call 1", "",
      "\"tool\":\"count\",\"call_id\":\"call_1_first\",\"arguments\":\"{\\\"x\\\":\\\"a\\\"}\"");
  run_with(ON("tool_input"), "{\"reject\":\"not so\"}", 0, CSN_RUN_DONE, "not so", "", "count");
  run_with(ON("tool_input"), "{\"trip\":true,\"message\":\"stop\"}", 0, CSN_RUN_FAILED, "", "stop",
           "count");
  run_with(ON("tool_output"), "{}", 0, CSN_RUN_DONE, "call 1", "",
           "\"item\":{\"type\":\"function_call_output\",\"call_id\":\"call_1_first\",\"output\":"
           "\"call 1\"}");
  run_with(ON("tool_output"), "{\"reject\":\"hidden\"}", 0, CSN_RUN_DONE, "hidden", "", "call 1");
  run_with(ON("tool_output"), "{\"trip\":true}", 0, CSN_RUN_FAILED, "", "tripped", "call 1");
}

TEST(a_guardrail_that_cannot_look_lets_nothing_pass)
{
  run_with(ON("input"), "", CSN_E_IO, CSN_RUN_FAILED, "", "callback g: it is broken", "go");
  run_with(ON("output"), "", CSN_E_IO, CSN_RUN_FAILED, "", "it is broken", "call 1");
  run_with(ON("tool_input"), "[]", 0, CSN_RUN_FAILED, "", "expected an object", "count");
  run_with(ON("tool_output"), "{\"trip\":1}", 0, CSN_RUN_FAILED, "", "trip: expected true or false",
           "call 1");
}

TEST(text_is_held_back_until_the_guardrail_has_passed_it)
{
  for (int trips = 0; trips < 2; trips++) {
    struct bench b;
    struct seen s = {.answer = trips ? "{\"trip\":true}" : "{}"};
    bench_init(&b, "rules: [{name: end, reply: hello}]\n");
    bind(&b, "g", &s);
    bench_set(&b, "guardrails", ON("output"));
    csn_run *r = bench_start(&b);
    bench_await(&b, r);
    assert_true(bench_saw(&b, "\"gate\":true"));
    csn_run_free(r);
    csn_buf_fini(&s.last);
    bench_fini(&b);
  }
}

TEST(instructions_and_tools_may_change_from_turn_to_turn)
{
  struct bench b;
  struct seen i = {.answer = "{\"text\":\"Be \\\"brief\\\".\"}"},
              e = {.answer = "{\"enabled\":false}"};
  csn_err err;
  bench_init(&b, BOOK);
  bench_tool(&b, "count", bench_count);
  bind(&b, "i", &i);
  bind(&b, "e", &e);
  csn_agent_set_instructions_callback(b.agent, "i");
  bench_set(&b, "tool_settings", "[{\"tool\":\"c*\",\"enabled\":{\"callback\":\"e\"}}]");
  csn_run *r = bench_start(&b);
  char id[40];
  snprintf(id, sizeof id, "%s", csn_run_id(r));
  STR_EQ(bench_await(&b, r).output, "This tool is not available now.");
  assert_int_equal(atomic_load(&b.calls), 0);
  assert_int_equal(atomic_load(&i.n), 2);
  assert_true(bench_saw(&b, "\"without\":[\"c*\"]"));
  csn_run_free(r);

  OK(csn_run_resume(b.rt, csn_cstr(id), NULL, &r, &err), &err); /* ended: nothing is asked */
  STR_EQ(bench_await(&b, r).output, "This tool is not available now.");
  assert_int_equal(atomic_load(&i.n), 2);
  csn_run_free(r);
  csn_buf_fini(&i.last);
  csn_buf_fini(&e.last);
  bench_fini(&b);
}

TEST(the_answer_fits_its_schema_or_the_model_is_told_once)
{
  static const struct {
    const char *second, *output;
    enum csn_run_state state;
  } rows[] = {{"'{\"n\":2}'", "{\"n\":2}", CSN_RUN_DONE},
              {"'{\"n\":\"2\"}'", "{\"n\":\"2\"}", CSN_RUN_FAILED}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    struct bench b;
    char book[400];
    snprintf(book, sizeof book,
             "rules:\n- {name: again, when: {task: 'does not fit'}, reply: %s}\n"
             "- {name: first, reply: the number is two}\n",
             rows[i].second);
    bench_init(&b, book);
    bench_set(&b, "output_schema", "{\"properties\":{\"n\":{\"type\":\"integer\"}}}");
    csn_run *r = bench_start(&b);
    csn_result res = bench_await(&b, r);
    assert_int_equal(res.state, rows[i].state);
    STR_EQ(res.output, rows[i].output);
    assert_true(bench_saw(&b, "the answer is no JSON"));
    if (i)
      assert_non_null(strstr(res.message.p, "answer.n: expected integer, got a string"));
    csn_run_free(r);
    bench_fini(&b);
  }
}

TEST(a_name_that_is_not_bound_is_an_error_before_the_run)
{
  static const char *const uses[][2] = {
      {"guardrails", ON("output")},
      {"tool_settings", "[{\"tool\":\"x\",\"enabled\":{\"callback\":\"g\"}}]"}};
  for (size_t i = 0; i < CSN_COUNT(uses); i++) {
    struct bench b;
    csn_run *r = NULL;
    csn_err err;
    bench_init(&b, BOOK);
    bench_set(&b, uses[i][0], uses[i][1]);
    assert_int_equal(csn_run_start(b.rt, b.agent, CSN_STR("go"), NULL, &r, &err), CSN_E_INVALID);
    assert_non_null(strstr(err.msg, "names a callback g that is not bound"));
    bench_fini(&b);
  }
}

/* Blocks until its scope ends, which stopping the run does. */
static int
hang(void *user, csn_scope *sc, const csn_json *in, csn_buf *out, csn_err *err)
{
  struct seen *s = user;
  pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t c;
  csn_cond_init(&c);
  atomic_fetch_add(&s->n, 1);
  pthread_mutex_lock(&m);
  int rc = 0;
  while (rc == 0)
    rc = csn_scope_wait(sc, &c, &m, err);
  pthread_mutex_unlock(&m);
  pthread_cond_destroy(&c);
  return rc;
}

TEST(a_callback_that_was_out_is_bound_again_and_asked_again)
{
  struct bench b;
  struct seen s = {.answer = "{}"};
  csn_err err;
  bench_init(&b, BOOK);
  bench_tool(&b, "count", bench_count);
  csn_callback cb = {.size = sizeof cb, .name = "g", .fn = hang, .user = &s};
  OK(csn_agent_add_callback(b.agent, &cb, &err), &err);
  bench_set(&b, "guardrails", ON("output"));
  csn_run *r = bench_start(&b);
  char id[40];
  snprintf(id, sizeof id, "%s", csn_run_id(r));
  for (int64_t end = csn_now_ns() + 20000000000; !atomic_load(&s.n) && csn_now_ns() < end;)
    sched_yield();
  csn_run_interrupt(r);
  assert_int_equal(bench_await(&b, r).state, CSN_RUN_INTERRUPTED);
  csn_run_free(r);

  OK(csn_run_resume(b.rt, csn_cstr(id), NULL, &r, &err), &err);
  csn_result res = bench_await(&b, r);
  assert_int_equal(res.state, CSN_RUN_FAILED);
  assert_non_null(strstr(res.message.p, "callback g is not bound"));
  csn_run_free(r);

  r = bench_start(&b);
  snprintf(id, sizeof id, "%s", csn_run_id(r));
  for (int64_t end = csn_now_ns() + 20000000000; atomic_load(&s.n) < 2 && csn_now_ns() < end;)
    sched_yield();
  csn_run_interrupt(r);
  csn_run_free(r);
  cb.fn = say;
  s.last = CSN_BUF(1 << 20);
  csn_run_options o = {.callbacks = &cb, .n_callbacks = 1};
  OK(csn_run_resume(b.rt, csn_cstr(id), &o, &r, &err), &err);
  STR_EQ(bench_await(&b, r).output, "call 2");
  csn_run_free(r);
  csn_buf_fini(&s.last);
  bench_fini(&b);
}

RUN_TESTS("run/callback", RUN(guardrails_let_pass_trip_and_reject),
          RUN(a_guardrail_that_cannot_look_lets_nothing_pass),
          RUN(text_is_held_back_until_the_guardrail_has_passed_it),
          RUN(instructions_and_tools_may_change_from_turn_to_turn),
          RUN(the_answer_fits_its_schema_or_the_model_is_told_once),
          RUN(a_name_that_is_not_bound_is_an_error_before_the_run),
          RUN(a_callback_that_was_out_is_bound_again_and_asked_again))
