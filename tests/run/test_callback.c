/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of a program that can change a run: guardrails, instructions,
 * predicates; bound by name, asked again after a stop, not asked on replay. */
#include "bench.h"
#include "play.h"
#include "run/memory.h"

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

/* A run in the session `s` that ends so. */
static void
run_in_session(struct bench *b, enum csn_run_state want)
{
  csn_run *r = NULL;
  csn_err err;
  csn_run_options o = {.listener = bench_listen, .user = b, .session = "s"};
  csn_buf_clear(&b->events);
  OK(csn_run_start(b->rt, b->agent, CSN_STR("go"), &o, &r, &err), &err);
  assert_int_equal(bench_await(b, r).state, want);
  csn_run_free(r);
}

/* The items of the session, as the next run reads them: {"effect":N,"items":[...]. */
static csn_str
read_session(struct bench *b)
{
  csn_str all = csn_buf_str(&b->events), kind = CSN_STR("session_loaded ");
  size_t at = csn_str_find(all, kind, 0);
  assert_true(at != SIZE_MAX);
  csn_str rest = csn_strn(all.p + at + kind.n, all.n - at - kind.n), line;
  assert_true(csn_str_line(&rest, &line));
  return line;
}

#define GO "{\"role\":\"user\",\"content\":\"go\"}"
#define STOPS "[{\"callback\":\"g\",\"on\":\"tool_output\"}]"

TEST(what_a_guardrail_held_back_stays_out_of_the_session)
{
  static const struct {
    const char *guardrails, *tool_use, *answer;
    int rc;
    enum csn_run_state state;
    const char *holds; /* the session, besides the task */
  } rows[] = {
      {ON("output"), NULL, "{}", 0, CSN_RUN_DONE, "secret 1"},
      {ON("output"), NULL, "{\"trip\":true}", 0, CSN_RUN_FAILED, "call 1"},
      {ON("output"), NULL, "", CSN_E_IO, CSN_RUN_FAILED, "call 1"},
      {ON("output"), "stop_on_first", "{}", 0, CSN_RUN_DONE, "call 1"},
      {ON("output"), "stop_on_first", "{\"trip\":true}", 0, CSN_RUN_FAILED, NULL},
      {STOPS, "stop_on_first", "{\"reject\":\"hidden\"}", 0, CSN_RUN_DONE, "hidden"},
      {STOPS, "stop_on_first", "{\"trip\":true}", 0, CSN_RUN_FAILED, "Withheld by a guardrail."},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    struct bench b;
    struct seen s = {.answer = rows[i].answer, .rc = rows[i].rc};
    bench_init(&b, "rules:\n- {name: first, when: {first: true}, reply: [{count: {x: a}}]}\n"
                   "- {name: end, reply: secret 1}\n");
    bench_tool(&b, "count", bench_count);
    bind(&b, "g", &s);
    bench_set(&b, "guardrails", rows[i].guardrails);
    if (rows[i].tool_use)
      bench_set(&b, "tool_use", "\"stop_on_first\"");
    run_in_session(&b, rows[i].state);
    run_in_session(&b, rows[i].state);
    csn_str got = read_session(&b);
    static const char *const texts[] = {"secret 1", "call 1", "hidden", "Withheld by"};
    bool is_open = rows[i].holds && strcmp(rows[i].holds, "secret 1") == 0;
    for (size_t k = 0; k < CSN_COUNT(texts); k++) {
      bool has = csn_str_find(got, csn_cstr(texts[k]), 0) != SIZE_MAX;
      bool wants = rows[i].holds && (strncmp(rows[i].holds, texts[k], strlen(texts[k])) == 0 ||
                                     (is_open && strcmp(texts[k], "call 1") == 0));
      if (has != wants)
        fail_msg("row %zu: %s in %.*s", i, texts[k], (int)got.n, got.p);
    }
    if (!rows[i].holds) /* not even the call */
      assert_true(csn_str_find(got, CSN_STR("\"items\":[" GO "," GO "]"), 0) != SIZE_MAX);
    csn_buf_fini(&s.last);
    bench_fini(&b);
  }
}

TEST(what_a_guardrail_held_back_is_in_no_memory)
{
  static const struct {
    const char *answer;
    enum csn_run_state state;
    bool is_noted;
  } rows[] = {{"{}", CSN_RUN_DONE, true}, {"{\"trip\":true}", CSN_RUN_FAILED, false}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    struct bench b;
    struct seen s = {.answer = rows[i].answer};
    csn_err err;
    char path[200];
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    const csn_json *v;
    bench_init(&b, "rules:\n- {name: end, reply: secret 1}\n");
    csn_agent_free(b.agent);
    OK(csn_json_parse(a, CSN_STR("{\"name\":\"tester\",\"capabilities\":[{\"type\":\"memory\"}]}"),
                      &v, &err),
       &err);
    OK(csn_agent_from_json(&b.agent, v, "tester", b.folder, &err), &err);
    csn_agent_set_model(b.agent, b.model);
    bind(&b, "g", &s);
    bench_set(&b, "guardrails", ON("output"));
    csn_run *r = bench_start(&b);
    assert_int_equal(bench_await(&b, r).state, rows[i].state);
    OK(csn_memory_note(r, &err), &err);
    snprintf(path, sizeof path, "memory/tester/sessions/%s.jsonl", csn_run_id(r));
    csn_auto(csn_closep) int folder = open(b.state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    OK(csn_file_read(folder, path, &text, &err), &err);
    assert_non_null(strstr(text.p, "\"content\":\"go\""));
    assert_int_equal(strstr(text.p, "secret 1") != NULL, rows[i].is_noted);
    csn_run_free(r);
    csn_buf_fini(&s.last);
    bench_fini(&b);
  }
}

TEST(an_answer_that_was_held_back_before_a_stop_stays_out_after_it)
{
  struct bench b;
  struct seen s = {.answer = "{\"trip\":true}"};
  csn_err err;
  bench_init(&b, BOOK);
  bench_tool(&b, "count", bench_count);
  csn_callback cb = {.size = sizeof cb, .name = "g", .fn = hang, .user = &s};
  OK(csn_agent_add_callback(b.agent, &cb, &err), &err);
  bench_set(&b, "guardrails", ON("output"));
  bench_set(&b, "tool_use", "\"stop_on_first\"");
  csn_run *r = NULL;
  csn_run_options in = {.session = "s"};
  OK(csn_run_start(b.rt, b.agent, CSN_STR("go"), &in, &r, &err), &err);
  char id[40];
  snprintf(id, sizeof id, "%s", csn_run_id(r));
  for (int64_t end = csn_now_ns() + 20000000000; !atomic_load(&s.n) && csn_now_ns() < end;)
    sched_yield();
  csn_run_interrupt(r);
  csn_run_free(r);
  cb.fn = say;
  s.last = CSN_BUF(1 << 20);
  csn_run_options o = {.callbacks = &cb, .n_callbacks = 1};
  OK(csn_run_resume(b.rt, csn_cstr(id), &o, &r, &err), &err);
  assert_int_equal(bench_await(&b, r).state, CSN_RUN_FAILED);
  csn_run_free(r);
  csn_agent_free(b.agent);
  b.agent = csn_agent_new("tester");
  csn_agent_set_model(b.agent, b.model);
  bench_tool(&b, "count", bench_count);
  run_in_session(&b, CSN_RUN_DONE);
  assert_true(csn_str_find(read_session(&b), CSN_STR("\"items\":[" GO "," GO "]"), 0) != SIZE_MAX);
  csn_buf_fini(&s.last);
  bench_fini(&b);
}

#define INPUT_GUARD "{\"guardrails\":[{\"callback\":\"g\",\"on\":\"input\"}]}"
#define OUTPUT_GUARD "{\"guardrails\":[{\"callback\":\"g\",\"on\":\"output\"}]}"

TEST(a_reply_beside_which_the_input_was_refused_stays_out_whichever_came_first)
{
  for (int first = 0; first < 2; first++) {
    struct play p;
    begin(&p, INPUT_GUARD);
    play(&p, CSN_EV_INPUT, HELLO, "model_call@2 callback@3");
    if (first)
      play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":3,\"trip\":true}", "model_cancel@5");
    play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(2, "x"), first ? "finish@7" : "");
    reread(&p, INPUT_GUARD);
    if (!first)
      play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":3,\"trip\":true}", "finish@6");
    assert_int_equal(p.st.withheld, first ? 6 : 4);
    end(&p);
  }
}

TEST(an_answer_that_no_guardrail_looked_at_stays_out_and_what_was_passed_does_not)
{
  struct play p;
  begin(&p, OUTPUT_GUARD);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "t") "]}", "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "model_call@6");
  reread(&p, OUTPUT_GUARD);
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(6, "x"), "callback@8");
  reread(&p, OUTPUT_GUARD);
  play(&p, CSN_EV_CANCEL_REQUESTED, "{}", "");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":8}", "finish@11");
  assert_int_equal(p.st.outcome, CSN_RUN_CANCELLED);
  assert_int_equal(p.st.withheld, 7);
  end(&p);

  begin(&p, OUTPUT_GUARD);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(2, "x"), "callback@4");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":4}", "finish@6");
  assert_int_equal(p.st.withheld, -1);
  end(&p);
}

RUN_TESTS("run/callback", RUN(guardrails_let_pass_trip_and_reject),
          RUN(a_guardrail_that_cannot_look_lets_nothing_pass),
          RUN(text_is_held_back_until_the_guardrail_has_passed_it),
          RUN(instructions_and_tools_may_change_from_turn_to_turn),
          RUN(the_answer_fits_its_schema_or_the_model_is_told_once),
          RUN(a_name_that_is_not_bound_is_an_error_before_the_run),
          RUN(a_callback_that_was_out_is_bound_again_and_asked_again),
          RUN(what_a_guardrail_held_back_stays_out_of_the_session),
          RUN(what_a_guardrail_held_back_is_in_no_memory),
          RUN(an_answer_that_was_held_back_before_a_stop_stays_out_after_it),
          RUN(a_reply_beside_which_the_input_was_refused_stays_out_whichever_came_first),
          RUN(an_answer_that_no_guardrail_looked_at_stays_out_and_what_was_passed_does_not))
