/* SPDX-License-Identifier: Apache-2.0
 *
 * Budgets and circles: what is reserved, when a run ends and with which
 * numbers; what models cost. */
#include "bench.h"
#include "play.h"
#include "run/prices.h"
#include "run/project.h"

#define REPLY(effect, in, out, total, items)                                                       \
  "{\"effect\":" #effect ",\"items\":[" items "],\"usage\":{\"input_tokens\":" #in                 \
  ",\"output_tokens\":" #out ",\"total_tokens\":" #total "}}"

TEST(a_reply_is_capped_to_what_is_left_of_the_tokens)
{
  struct play p;
  static const char agent[] = "{\"limits\":{\"tokens\":30000}}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT,
       "{\"request_bytes\":1000,\"items\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
       "model_call@2");
  last_holds(&p, "\"max_output\":28954"); /* 30000 - 1000 - 30 - 16 */
  play(&p, CSN_EV_MODEL_REPLIED, REPLY(2, 100, 9900, 10000, CALL("a", "t")), "tool_call@4");
  assert_int_equal(p.st.usage.total_tokens, 10000);
  reread(&p, agent);
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "model_call@6");
  last_holds(&p, "\"max_output\":9925"); /* 30000 - 10000 - 10000 - 59 - 16 */
  play(&p, CSN_EV_MODEL_REPLIED, REPLY(6, 9900, 50, 9950, CALL("a", "t")), "tool_call@8");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(8, "a"), "finish@10");
  assert_int_equal(p.st.outcome, CSN_RUN_LIMIT);
  assert_string_equal(p.st.reason, "budget_exhausted");
  last_holds(&p, "\"limit\":{\"what\":\"tokens\",\"max\":30000,\"used\":19950}");
  end(&p);
}

#define PRICES                                                                                     \
  "\"prices\":{\"m\":{\"input\":1000000,\"cached\":100000,\"output\":10000000,\"max_output\":%d}}"

TEST(what_is_written_to_a_cache_has_its_own_price)
{
  static const struct {
    const char *price, *usage;
    int64_t cost;
  } rows[] = {
      {"{\"input\":100,\"cache_write\":125,\"cache_write_1h\":200,\"output\":1}",
       "{\"input_tokens\":10,\"cached_tokens\":2,\"cache_write_tokens\":5,"
       "\"cache_write_1h_tokens\":1,\"output_tokens\":7}",
       3 * 100 + 4 * 125 + 200 + 7},
      {"{\"input\":100,\"output\":1}", "{\"input_tokens\":10,\"cache_write_tokens\":5}", 1000},
      {"{\"input\":100,\"cached\":10,\"cache_write\":125,\"output\":1}", /* more than there is */
       "{\"input_tokens\":10,\"cached_tokens\":8,\"cache_write_tokens\":9}", 80 + 250},
      {"{\"input\":100,\"cache_write\":125,\"cache_write_1h\":200,\"output\":1}",
       "{\"input_tokens\":10,\"cache_write_tokens\":-5,\"cache_write_1h_tokens\":9}", 1000},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    const csn_json *price, *usage;
    csn_err err;
    csn_usage u = {0};
    OK(csn_json_parse(a, csn_cstr(rows[i].price), &price, &err), &err);
    OK(csn_json_parse(a, csn_cstr(rows[i].usage), &usage, &err), &err);
    csn_usage_add(&u, usage);
    csn_price p = csn_price_of(price);
    if (csn_price_cost(&p, &u) != rows[i].cost)
      fail_msg("row %zu: %lld", i, (long long)csn_price_cost(&p, &u));
  }
}

TEST(a_request_is_reserved_at_the_price_of_writing_it_to_a_cache)
{
  static const struct {
    const char *settings, *cap;
  } rows[] = {
      {"", "\"max_output\":4869"}, /* 1,047 tokens at 1.25 USD a million */
      {"\"settings\":{\"prompt_cache_retention\":\"1h\"},", "\"max_output\":4790"},
      {"\"settings\":{\"extra_body\":{\"cache_control\":{\"ttl\":\"1h\"}}},",
       "\"max_output\":4790"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    struct play p;
    char agent[500];
    snprintf(agent, sizeof agent,
             "{\"model\":\"m\",%s\"limits\":{\"cost_usd\":0.05},\"prices\":{\"m\":{"
             "\"input\":1000000,\"cache_write\":1250000,\"cache_write_1h\":2000000,"
             "\"output\":10000000}}}",
             rows[i].settings);
    begin(&p, agent);
    play(&p, CSN_EV_INPUT,
         "{\"request_bytes\":1000,\"items\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
         "model_call@2");
    last_holds(&p, rows[i].cap);
    end(&p);
  }
}

TEST(a_reply_is_capped_to_what_is_left_of_the_money)
{
  struct play p;
  char agent[300];
  snprintf(agent, sizeof agent, "{\"model\":\"m\",\"limits\":{\"cost_usd\":0.05}," PRICES "}",
           128000);
  begin(&p, agent);
  /* 5 cents: 1,000 + 47 tokens of input at 1 USD a million, then 10 a million. */
  play(&p, CSN_EV_INPUT,
       "{\"request_bytes\":1000,\"items\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
       "model_call@2");
  last_holds(&p, "\"max_output\":4895");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[" CALL(
           "a", "t") "],\"usage\":{\"input_tokens\":900,\"cached_tokens\":500,"
                     "\"output_tokens\":4000,\"total_tokens\":4900}}",
       "tool_call@4");
  assert_int_equal(p.st.budget.cost_pusd, 400 * 1000000LL + 500 * 100000LL + 4000 * 10000000LL);
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "model_call@6");
  play(&p, CSN_EV_MODEL_FAILED, "{\"effect\":6,\"error\":{\"message\":\"incomplete\"}}",
       "finish@8");
  assert_string_equal(p.st.reason, "budget_exhausted");
  last_holds(
      &p, "\"cost_usd\":0.04045,\"limit\":{\"what\":\"cost_usd\",\"max\":0.05,\"used\":0.04045}");
  end(&p);

  /* No cap is sent that the model has by itself. */
  snprintf(agent, sizeof agent, "{\"model\":\"m\",\"limits\":{\"cost_usd\":0.05}," PRICES "}",
           4000);
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  assert_int_equal(p.st.budget.max_output, 0);
  play(&p, CSN_EV_MODEL_FAILED, "{\"effect\":2,\"error\":{}}", "finish@4");
  assert_string_equal(p.st.reason, "model");
  end(&p);

  begin(&p, "{\"model\":\"m\",\"limits\":{\"cost_usd\":0.000001},\"prices\":{\"m\":{\"input\":"
            "1000000}}}");
  play(&p, CSN_EV_INPUT, HELLO, "finish@2");
  assert_string_equal(p.st.reason, "budget_exhausted");
  assert_int_equal(p.st.turns, 0);
  end(&p);
}

TEST(calls_over_the_limit_are_not_made_and_those_before_are)
{
  struct play p;
  begin(&p, "{\"limits\":{\"tool_calls\":3}}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "t") "," CALL("b", "t") "]}",
       "tool_call@4 tool_call@5");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(5, "b"), "model_call@8");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":8,\"items\":[" CALL("c", "t") "," CALL("d", "t") "]}",
       "tool_call@10");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(10, "c"), "finish@12");
  assert_int_equal(p.st.tool_calls, 3);
  last_holds(&p, "\"limit\":{\"what\":\"tool_calls\",\"max\":3,\"used\":3}");
  end(&p);

  begin(&p, "{\"limits\":{\"tool_calls\":1}}"); /* none of a turn's calls fits */
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "t") "]}", "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "model_call@6");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":6,\"items\":[" CALL("b", "t") "]}", "finish@8");
  assert_string_equal(p.st.reason, "budget_exhausted");
  end(&p);
}

TEST(a_soft_threshold_changes_the_model_or_asks)
{
  struct play p;
  static const char switches[] = "{\"model\":\"m\",\"limits\":{\"tokens\":40000,\"soft\":{\"at\":0."
                                 "25,\"do\":\"switch\",\"model\":\"s\"}}}";
  begin(&p, switches);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, REPLY(2, 100, 9900, 10000, CALL("a", "t")), "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "model_call@6");
  last_holds(&p, "\"model\":\"s\"");
  reread(&p, switches);
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(6, "done"), "finish@8");
  end(&p);

  static const char asks[] =
      "{\"limits\":{\"tokens\":40000,\"soft\":{\"at\":0.25,\"do\":\"ask\"}}}";
  for (int allow = 0; allow < 2; allow++) {
    begin(&p, asks);
    play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
    play(&p, CSN_EV_MODEL_REPLIED, REPLY(2, 100, 9900, 10000, CALL("a", "t")), "tool_call@4");
    play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "ask@6");
    assert_true(csn_state_waits(&p.st));
    last_holds(&p, "\"why\":\"budget\"");
    reread(&p, asks);
    if (allow) {
      play(&p, CSN_EV_DECIDED, "{\"effect\":6,\"allow\":true}", "model_call@8");
      play(&p, CSN_EV_MODEL_REPLIED, REPLY(8, 10, 0, 10, CALL("a", "t")), "tool_call@10");
      play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(10, "a"), "model_call@12");
    } else {
      play(&p, CSN_EV_DECIDED, "{\"effect\":6,\"allow\":false}", "finish@8");
      last_holds(&p, "a human allowed no more");
      assert_int_equal(p.st.outcome, CSN_RUN_LIMIT);
    }
    end(&p);
  }
}

/* One turn with one call of x and its result. */
static void
turn(struct play *p, int64_t effect, const char *args, const char *result, const char *want)
{
  char reply[400], output[400], call[40];
  snprintf(
      reply, sizeof reply,
      "{\"effect\":%lld,\"items\":[{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"x\","
      "\"arguments\":\"%s\"}]}",
      (long long)effect, args);
  snprintf(call, sizeof call, "tool_call@%lld", (long long)effect + 2);
  snprintf(output, sizeof output,
           "{\"effect\":%lld,\"items\":[{\"type\":\"function_call_output\",\"output\":\"%s\"}]}",
           (long long)effect + 2, result);
  play(p, CSN_EV_MODEL_REPLIED, reply, call);
  play(p, CSN_EV_TOOL_RETURNED, output, want);
}

TEST(the_same_call_with_the_same_result_is_a_loop)
{
  struct play p;
  static const char agent[] = "{\"limits\":{\"repeats\":3}}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  turn(&p, 2, "test", "fails", "model_call@6");
  turn(&p, 6, "test", "fails", "model_call@10");
  turn(&p, 10, "patch 1", "ok", "model_call@14"); /* something new */
  turn(&p, 14, "test", "fails", "model_call@18");
  turn(&p, 18, "patch 2", "ok", "model_call@22");
  turn(&p, 22, "test", "fails", "model_call@26");
  reread(&p, agent);
  turn(&p, 26, "patch 1", "ok", "model_call@30"); /* tried before: nothing new */
  turn(&p, 30, "test", "fails", "model_call@34");
  turn(&p, 34, "test", "fails", "finish@38");
  assert_int_equal(p.st.outcome, CSN_RUN_LIMIT);
  assert_string_equal(p.st.reason, "loop_detected");
  last_holds(&p, "\"limit\":{\"what\":\"repeats\",\"max\":3,\"used\":3}");
  end(&p);
}

TEST(waiting_for_a_command_and_other_chunk_ids_are_seen_through)
{
  struct play p;
#define FRAME(id, how)                                                                             \
  "Chunk ID: " id "\\nWall time: " id ".1 seconds\\nProcess " how                                  \
  "\\nOriginal token count: 1\\nOutput:\\nnothing"
  begin(&p, "{\"limits\":{\"repeats\":2}}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  turn(&p, 2, "w", FRAME("1", "running with session ID 5"), "model_call@6");
  turn(&p, 6, "w", FRAME("2", "running with session ID 5"), "model_call@10");
  turn(&p, 10, "w", FRAME("3", "running with session ID 5"), "model_call@14");
  turn(&p, 14, "w", FRAME("4", "exited with code 1"), "model_call@18");
  turn(&p, 18, "w", FRAME("5", "exited with code 2"), "model_call@22");
  turn(&p, 22, "w", FRAME("6", "exited with code 2"), "finish@26");
  assert_string_equal(p.st.reason, "loop_detected");
  end(&p);
}

/* ---- prices ---- */

static struct csn_project *
project(struct bench *b, const char *yaml)
{
  struct csn_project *p = NULL;
  csn_err err;
  char here[200];
  bench_write(b, "caisson.yaml", yaml);
  assert_non_null(getcwd(here, sizeof here));
  assert_int_equal(chdir(b->folder), 0);
  int rc = csn_project_load(&p, &err);
  assert_int_equal(chdir(here), 0);
  OK(rc, &err);
  return p;
}

TEST(prices_come_from_the_project_then_from_the_table)
{
  struct bench b;
  bench_init(&b, "rules: [{name: end, reply: x}]\n");
  struct csn_project *p = project(
      &b,
      "prices: {\"mine/*\": {input: 0.0375, output: 2}, openai/gpt-4o: {input: 1, output: 2}}\n");
  csn_price x = csn_price_find(p, CSN_STR("mine/large"));
  assert_true(x.is_known && x.input == 37500 && x.cached == 37500 && x.output == 2000000);
  assert_int_equal(csn_price_find(p, CSN_STR("openai/gpt-4o")).input, 1000000);
  assert_int_equal(csn_price_find(p, CSN_STR("chat/gpt-4.1-2025-04-14")).output, 8000000);
  assert_int_equal(csn_price_find(p, CSN_STR("anthropic/claude-sonnet-4-20250514")).cached, 300000);
  assert_false(csn_price_find(p, CSN_STR("openai/gpt-unheard-of")).is_known);
  csn_price known = csn_price_find(p, CSN_STR("anthropic/claude-haiku-4-5"));
  assert_int_equal(known.cache_write, 1250000);
  assert_int_equal(known.cache_write_1h, 2000000);
  assert_int_equal(csn_price_find(p, CSN_STR("openai/gpt-4.1")).cache_write, 2000000);
  assert_true(csn_price_find(p, CSN_STR("script:a.yaml")).is_known);
  csn_project_free(p);
  bench_fini(&b);
}

TEST(a_limit_of_cost_needs_a_price_before_the_run)
{
  struct bench b;
  csn_run *r = NULL;
  csn_err err;
  bench_init(&b, "rules: [{name: end, reply: x}]\n");
  setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1", 1);
  csn_agent_set_model(b.agent, "openai/gpt-unheard-of");
  bench_set(&b, "limits", "{\"cost_usd\":1}");
  assert_int_equal(csn_run_start(b.rt, b.agent, CSN_STR("go"), NULL, &r, &err), CSN_E_INVALID);
  assert_non_null(strstr(err.msg, "the price of model openai/gpt-unheard-of is not known"));
  unsetenv("OPENAI_BASE_URL");
  csn_agent_set_model(b.agent, b.model);
  r = bench_start(&b);
  assert_true(bench_await(&b, r).cost_usd == 0);
  csn_run_free(r);
  bench_fini(&b);
}

TEST(a_loop_ends_a_real_run_with_what_it_has)
{
  struct bench b;
  bench_init(&b, "rules:\n- {name: again, say: I try., reply: [{same: {}}]}\n");
  bench_tool(&b, "same", bench_count);
  atomic_store(&b.calls, 0);
  csn_run *r = bench_start(&b); /* each result is new, so only the turns end it */
  csn_result res = bench_await(&b, r);
  STR_EQ(res.reason, "turns");
  csn_run_free(r);
  bench_fini(&b);
}

#define TEAM(limits)                                                                               \
  "{\"name\":\"boss\",\"model\":\"m\",\"agent_tools\":[{\"agent\":\"w\",\"tool\":\"work\"}],"      \
  "\"agents\":[{"                                                                                  \
  "\"name\":\"w\"}],\"limits\":{" limits "}," PRICES "}"

TEST(calls_and_turns_of_children_count_in_the_limits_of_the_whole)
{
  struct play p;
  char agent[500];
  snprintf(agent, sizeof agent, TEAM("\"tool_calls\":10,\"turns\":12"), 4000);
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"model\":\"m\",\"items\":[" CALL("a", "work") "," CALL(
           "b",
           "work") "],"
                   "\"usage\":{\"input_tokens\":100,\"output_tokens\":10,\"total_tokens\":110}}",
       "child_start@4 child_start@5");
  for (int64_t seq = 4; seq <= 5; seq++) {
    assert_int_equal(csn_state_find(&p.st, seq)->tool_calls, 4); /* (10 - 2) / 2 */
    assert_int_equal(csn_state_find(&p.st, seq)->turns, 5);      /* (12 - 2) / 2 */
  }
  reread(&p, agent);
  play(&p, CSN_EV_CHILD_DONE,
       "{\"effect\":4,\"tokens\":50,\"cost_pusd\":7,\"turns\":5,\"tool_calls\":4,\"usage\":{"
       "\"input_tokens\":40,\"output_tokens\":10,\"total_tokens\":50},\"items\":[{\"output\":\"x\"}"
       "]}",
       "");
  play(&p, CSN_EV_CHILD_DONE,
       "{\"effect\":5,\"tokens\":9,\"turns\":4,\"tool_calls\":4,\"usage\":{\"total_tokens\":9},"
       "\"items\":[{\"output\":\"y\"}]}",
       "model_call@8");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":8,\"model\":\"m\",\"items\":[" CALL("c", "t") "]}",
       "finish@10");
  assert_string_equal(p.st.reason, "budget_exhausted"); /* 2 + 8 are used up */
  last_holds(&p, "\"limit\":{\"what\":\"tool_calls\",\"max\":10,\"used\":10}");
  last_holds(&p, "\"boss\":{\"turns\":2,\"tool_calls\":2,\"usage\":{\"input_tokens\":100");
  last_holds(&p, "\"w\":{\"turns\":9,\"tool_calls\":8,\"usage\":{\"input_tokens\":40");
  last_holds(&p, "\"cost_usd\":7e-12}");
  end(&p);

  snprintf(agent, sizeof agent, TEAM("\"turns\":2"), 4000); /* none would be left to go on */
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "work") "]}", "tool_call@4");
  last_holds(&p, "too little is left");
  end(&p);
}

TEST(an_attempt_that_failed_and_was_billed_is_counted_before_the_next)
{
  struct play p;
  static const char agent[] = "{\"limits\":{\"tokens\":3000}}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
#define BILLED(effect)                                                                             \
  "{\"effect\":" #effect                                                                           \
  ",\"error\":{\"code\":\"unavailable\",\"message\":\"cut\"},\"again\":true,"                      \
  "\"attempt\":1,\"usage\":{\"input_tokens\":100,\"output_tokens\":1300,\"total_tokens\":1400}}"
  play(&p, CSN_EV_MODEL_FAILED, BILLED(2), "model_call@4");
  assert_int_equal(p.st.turns, 1);
  assert_int_equal(p.st.usage.total_tokens, 1400);
  last_holds(&p, "\"attempts\":1");
  reread(&p, agent);
  play(&p, CSN_EV_MODEL_FAILED, BILLED(4), "finish@6"); /* there is nothing left for a third */
  assert_string_equal(p.st.reason, "budget_exhausted");
  end(&p);

  begin(&p, agent); /* whoever cancels gets no further attempt */
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_CANCEL_REQUESTED, "{}", "model_cancel@4");
  play(&p, CSN_EV_MODEL_FAILED, BILLED(2), "finish@6");
  assert_string_equal(p.st.reason, "cancelled");
  end(&p);
}

TEST(a_program_may_take_the_limit_of_turns_away_also_for_who_resumes)
{
  struct bench b;
  csn_err err;
  char id[40];
  bench_init(&b, "rules:\n- {name: ask, when: {first: true}, reply: [{count: {x: a}}]}\n"
                 "- {name: end, reply: fine}\n");
  bench_tool(&b, "count", bench_count);
  csn_agent_set_turns(b.agent, 0);
  bench_set(&b, "approvals", "[{\"tool\":\"count\",\"do\":\"ask\"}]");
  csn_run *r = bench_start(&b);
  snprintf(id, sizeof id, "%s", csn_run_id(r));
  assert_int_equal(bench_await(&b, r).state, CSN_RUN_WAITING);
  csn_run_free(r);
  csn_tool t = {.size = sizeof t,
                .name = "count",
                .description = "for a test",
                .schema = "{}",
                .call = bench_count,
                .user = &b};
  csn_run_options o = {.tools = &t, .n_tools = 1};
  OK(csn_run_resume(b.rt, csn_cstr(id), &o, &r, &err), &err);
  const csn_decision yes = {.allow = true};
  OK(csn_run_decide(r, CSN_STR(""), &yes, &err), &err);
  STR_EQ(bench_await(&b, r).output, "fine");
  csn_run_free(r);
  bench_fini(&b);
}

RUN_TESTS("run/budget", RUN(a_reply_is_capped_to_what_is_left_of_the_tokens),
          RUN(what_is_written_to_a_cache_has_its_own_price),
          RUN(a_request_is_reserved_at_the_price_of_writing_it_to_a_cache),
          RUN(a_reply_is_capped_to_what_is_left_of_the_money),
          RUN(calls_over_the_limit_are_not_made_and_those_before_are),
          RUN(a_soft_threshold_changes_the_model_or_asks),
          RUN(the_same_call_with_the_same_result_is_a_loop),
          RUN(waiting_for_a_command_and_other_chunk_ids_are_seen_through),
          RUN(prices_come_from_the_project_then_from_the_table),
          RUN(a_limit_of_cost_needs_a_price_before_the_run),
          RUN(a_loop_ends_a_real_run_with_what_it_has),
          RUN(calls_and_turns_of_children_count_in_the_limits_of_the_whole),
          RUN(an_attempt_that_failed_and_was_billed_is_counted_before_the_next),
          RUN(a_program_may_take_the_limit_of_turns_away_also_for_who_resumes))
