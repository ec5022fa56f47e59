/* SPDX-License-Identifier: Apache-2.0
 *
 * Limits that are raised before a run goes on: of one that they ended, and of one
 * that waits. */
#include "bench.h"
#include "play.h"

#define RAISE(limits) "{\"ask\":[],\"limits\":{" limits "}}"

TEST(each_limit_that_ended_a_run_may_be_raised)
{
  static const struct {
    const char *limits, *raised, *ends, *goes_on;
  } rows[] = {
      {"\"turns\":1", "\"turns\":2", "finish@6", "model_call@8"},
      {"\"tokens\":600", "\"tokens\":90000", "finish@6", "model_call@8"},
      {"\"tool_calls\":1", "\"tool_calls\":9", "finish@6", "model_call@8"},
      {"\"wall_ms\":50", "\"wall_ms\":90", NULL, NULL},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    struct play p;
    char agent[200], reply[400], raised[100];
    snprintf(agent, sizeof agent, "{\"limits\":{%s}}", rows[i].limits);
    begin(&p, agent);
    bool is_timed = !rows[i].ends;
    play(&p, CSN_EV_INPUT, HELLO, is_timed ? "timer_set@2 model_call@3" : "model_call@2");
    snprintf(
        reply, sizeof reply,
        "{\"effect\":%d,\"items\":[" CALL("a", "t") "%s],\"usage\":{\"input_tokens\":500,"
                                                    "\"output_tokens\":50,\"total_tokens\":550}}",
        is_timed ? 3 : 2, i == 2 ? "," CALL("b", "t") : "");
    play(&p, CSN_EV_MODEL_REPLIED, reply, is_timed ? "tool_call@5" : "tool_call@4");
    if (is_timed) {
      p.ts = 1050;
      play(&p, CSN_EV_TIMER_FIRED, "{\"effect\":2}", "tool_cancel@7");
      play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(5, "a"), "finish@9");
    } else {
      play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), rows[i].ends);
    }
    assert_int_equal(p.st.outcome, CSN_RUN_LIMIT);
    assert_true(csn_state_may_be_raised(&p.st));
    snprintf(raised, sizeof raised, RAISE("%s"), rows[i].raised);
    p.ts = 5000;
    play(&p, CSN_EV_RESUMED, raised, is_timed ? "timer_set@11 model_call@12" : rows[i].goes_on);
    if (is_timed) /* forty more than it had, from now on */
      assert_int_equal(p.st.timer_at_ms, 5040);
    csn_step_config had = p.st.cfg;
    reread(&p, agent);
    assert_int_equal(p.st.cfg.max_turns, had.max_turns);
    assert_int_equal(p.st.cfg.wall_ms, had.wall_ms);
    assert_int_equal(p.st.cfg.max_tokens, had.max_tokens);
    assert_int_equal(p.st.cfg.max_tool_calls, had.max_tool_calls);
    int64_t call = p.seq - 1;
    snprintf(reply, sizeof reply,
             "{\"effect\":%lld,\"items\":[{\"type\":\"message\",\"content\":[{\"type\":"
             "\"output_text\",\"text\":\"x\"}]}]}",
             (long long)call);
    play(&p, CSN_EV_MODEL_REPLIED, reply, is_timed ? "timer_cancel@14 finish@15" : "finish@10");
    assert_int_equal(p.st.outcome, CSN_RUN_DONE);
    assert_null(p.st.limit_what);
    end(&p);
  }
}

TEST(what_a_run_was_about_to_do_is_done_when_it_goes_on)
{
  struct play p;
  static const char team[] =
      "{\"name\":\"a\",\"sandbox\":{},\"limits\":{\"wall_ms\":50},\"handoffs\":[{\"agent\":\"b\","
      "\"tool\":\"to_b\"}],\"agents\":[{\"name\":\"b\"}]}";
  begin(&p, team);
  play(&p, CSN_EV_INPUT, HELLO, "timer_set@2 sandbox_open@3");
  play(&p, CSN_EV_SANDBOX_READY, "{\"effect\":3}", "model_call@5");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":5,\"items\":[" CALL("a", "to_b") "]}", "tool_call@7");
  play(&p, CSN_EV_TIMER_FIRED, "{\"effect\":2}", "tool_cancel@9");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(7, "a"), "finish@11 sandbox_close@12");
  play(&p, CSN_EV_RESUMED,
       "{\"limits\":{\"wall_ms\":99},\"items\":[{\"type\":\"function_call_output\"}]}",
       "timer_set@14 model_call@15"); /* the workspace is there still */
  last_holds(&p, "\"agent\":\"b\"");
  last_holds(&p, "\"items\":[1,13]");
  assert_true(p.st.sandbox_open);
  end(&p);

  begin(&p, "{\"tool_use\":\"stop_on_first\",\"limits\":{\"wall_ms\":50}}");
  play(&p, CSN_EV_INPUT, HELLO, "timer_set@2 model_call@3");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":3,\"items\":[" CALL("a", "t") "]}", "tool_call@5");
  play(&p, CSN_EV_TIMER_FIRED, "{\"effect\":2}", "tool_cancel@7");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(5, "a"), "finish@9");
  play(&p, CSN_EV_RESUMED, RAISE("\"wall_ms\":99"), "timer_set@11 timer_cancel@12 finish@13");
  assert_string_equal(p.st.output, "ok"); /* a result that was the answer */
  end(&p);
}

TEST(a_run_that_waits_keeps_waiting_with_its_new_limits)
{
  struct play p;
  static const char agent[] =
      "{\"approvals\":[{\"tool\":\"t\",\"do\":\"ask\"}],\"limits\":{\"turns\":1,\"wall_ms\":50}}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "timer_set@2 model_call@3");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":3,\"items\":[" CALL("a", "t") "]}", "ask@5");
  play(&p, CSN_EV_RESUMED, RAISE("\"turns\":2,\"wall_ms\":90"), "timer_cancel@7 timer_set@8");
  assert_int_equal(p.st.timer_at_ms, 1090);
  reread(&p, agent);
  play(&p, CSN_EV_TIMER_FIRED, "{\"effect\":8}", "finish@10");
  assert_string_equal(p.st.reason, "wall");
  end(&p);

  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "timer_set@2 model_call@3");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":3,\"items\":[" CALL("a", "t") "]}", "ask@5");
  play(&p, CSN_EV_RESUMED, RAISE("\"turns\":2"), "");
  play(&p, CSN_EV_DECIDED, "{\"effect\":5,\"allow\":true}", "tool_call@8");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(8, "a"), "model_call@10");
  end(&p);
}

TEST(what_no_limit_ended_does_not_go_on)
{
  static const char *const events[] = {"{}", RAISE("\"turns\":9")};
  for (size_t i = 0; i < CSN_COUNT(events); i++) {
    struct play p;
    csn_err err;
    csn_event ev = {.kind = CSN_EV_RESUMED, .seq = 5};
    begin(&p, i ? "{}" : "{\"limits\":{\"turns\":1}}");
    play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
    if (i) {
      play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(2, "x"), "finish@4");
    } else {
      play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[{\"type\":\"web_search_call\"}]}",
           "finish@4");
    }
    OK(csn_json_parse(p.arena, csn_cstr(events[i]), &ev.data, &err), &err);
    assert_int_equal(csn_step(&p.st, &ev, &p.fx, &err), CSN_E_INVALID);
    assert_int_equal(p.st.phase, CSN_PHASE_ENDED);
    end(&p);
  }
}

/* ---- for real ---- */

#define BOOK                                                                                       \
  "rules:\n- {name: first, when: {first: true}, reply: [{count: {x: a}}, {count: {x: b}}]}\n"      \
  "- {name: end, reply: fine}\n"

/* A run that ended after its first turn; its id. */
static void
run_once(struct bench *b, const char *limits, char id[40])
{
  bench_init(b, BOOK);
  bench_tool(b, "count", bench_count);
  bench_set(b, "limits", limits);
  csn_run *r = bench_start(b);
  snprintf(id, 40, "%s", csn_run_id(r));
  assert_int_equal(bench_await(b, r).state, CSN_RUN_LIMIT);
  csn_run_free(r);
}

static csn_run *
reopen(struct bench *b, const char *id, csn_tool *t)
{
  csn_run *r = NULL;
  csn_err err;
  *t = (csn_tool){.size = sizeof *t,
                  .name = "count",
                  .description = "for a test",
                  .schema = "{}",
                  .call = bench_count,
                  .user = b};
  csn_run_options o = {.listener = bench_listen, .user = b, .tools = t, .n_tools = 1};
  csn_buf_clear(&b->events);
  OK(csn_run_open(b->rt, csn_cstr(id), &o, &r, &err), &err);
  return r;
}

TEST(it_goes_on_where_it_stood_and_unmade_calls_are_answered)
{
  struct bench b;
  csn_err err;
  csn_tool t;
  char id[40];
  run_once(&b, "{\"tool_calls\":1}", id);
  assert_int_equal(atomic_load(&b.calls), 1);
  csn_run *r = reopen(&b, id, &t);
  OK(csn_run_raise(r, CSN_STR("{\"tool_calls\":5}"), "ann", &err), &err);
  assert_int_equal(csn_run_raise(r, CSN_STR("{\"tool_calls\":6}"), NULL, &err), CSN_E_EXISTS);
  csn_run_free(r); /* the process ends before it goes on: what was raised stands */
  r = reopen(&b, id, &t);
  OK(csn_run_go_on(r, &err), &err);
  csn_result res = bench_await(&b, r);
  assert_int_equal(res.state, CSN_RUN_DONE);
  STR_EQ(res.output, "fine");
  assert_true(bench_saw(&b, "resumed {\"ask\":[],\"limits\":{\"tool_calls\":5},\"note\":"));
  assert_true(bench_saw(&b, "the run had reached a limit"));
  assert_int_equal(csn_run_raise(r, CSN_STR("{\"tool_calls\":9}"), NULL, &err), CSN_E_INVALID);
  csn_run_free(r);
  r = reopen(&b, id, &t); /* and replays to its end */
  STR_EQ(bench_await(&b, r).output, "fine");
  csn_run_free(r);
  bench_fini(&b);
}

TEST(what_cannot_be_raised_is_told)
{
  static const struct {
    const char *limits, *said;
  } rows[] = {
      {"", "limits"},
      {"[]", "expected an object"},
      {"{}", "expected an object like"},
      {"{\"turns\":\"x\"}", "turns: expected a whole number"},
      {"{\"turns\":1}", "limits.turns: expected more than the run has"},
      {"{\"turns\":0}", "limits.turns: expected more"},
      {"{\"tokens\":5}", "limits.tokens: the run has no such limit"},
      {"{\"wall\":\"soon\"}", "wall: expected a time"},
      {"{\"repeats\":5}", "repeats"},
  };
  struct bench b;
  csn_tool t;
  char id[40];
  csn_err err;
  run_once(&b, "{\"turns\":1}", id);
  csn_run *r = reopen(&b, id, &t);
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    err.msg[0] = '\0';
    int rc = csn_run_raise(r, csn_cstr(rows[i].limits), NULL, &err);
    if (rc >= 0 || !strstr(err.msg, rows[i].said))
      fail_msg("%s: %d, %s", rows[i].limits, rc, err.msg);
  }
  OK(csn_run_go_on(r, &err), &err);
  assert_int_equal(bench_await(&b, r).state, CSN_RUN_LIMIT);
  csn_run_free(r);
  bench_fini(&b);
}

TEST(a_run_that_was_saved_in_its_session_does_not_go_on)
{
  struct bench b;
  csn_err err;
  csn_tool t;
  char id[40];
  csn_run *r = NULL;
  bench_init(&b, BOOK);
  bench_tool(&b, "count", bench_count);
  bench_set(&b, "limits", "{\"turns\":1}");
  csn_run_options o = {.session = "s"};
  OK(csn_run_start(b.rt, b.agent, CSN_STR("go"), &o, &r, &err), &err);
  snprintf(id, sizeof id, "%s", csn_run_id(r));
  assert_int_equal(bench_await(&b, r).state, CSN_RUN_LIMIT);
  csn_run_free(r);
  r = reopen(&b, id, &t);
  assert_int_equal(csn_run_raise(r, CSN_STR("{\"turns\":5}"), NULL, &err), CSN_E_INVALID);
  assert_non_null(strstr(err.msg, "caisson run --after"));
  csn_run_free(r);
  bench_fini(&b);
}

TEST(a_tool_that_nobody_bound_again_is_told_to_the_model)
{
  struct bench b;
  csn_err err;
  char id[40];
  csn_run *r = NULL;
  bench_init(&b, "rules:\n- {name: first, when: {first: true}, reply: [{count: {x: a}}]}\n"
                 "- {name: end, reply: \"${output}\"}\n");
  bench_tool(&b, "count", bench_count);
  bench_set(&b, "approvals", "[{\"tool\":\"count\",\"do\":\"ask\"}]");
  r = bench_start(&b);
  snprintf(id, sizeof id, "%s", csn_run_id(r));
  assert_int_equal(bench_await(&b, r).state, CSN_RUN_WAITING);
  csn_run_free(r);
  OK(csn_run_resume(b.rt, csn_cstr(id), NULL, &r, &err), &err);
  const csn_decision yes = {.allow = true};
  OK(csn_run_decide(r, CSN_STR(""), &yes, &err), &err);
  STR_EQ(bench_await(&b, r).output, "Tool 'count' not found. The tools are:");
  csn_run_free(r);
  bench_fini(&b);
}

RUN_TESTS("run/raise", RUN(each_limit_that_ended_a_run_may_be_raised),
          RUN(what_a_run_was_about_to_do_is_done_when_it_goes_on),
          RUN(a_run_that_waits_keeps_waiting_with_its_new_limits),
          RUN(what_no_limit_ended_does_not_go_on),
          RUN(it_goes_on_where_it_stood_and_unmade_calls_are_answered),
          RUN(what_cannot_be_raised_is_told),
          RUN(a_run_that_was_saved_in_its_session_does_not_go_on),
          RUN(a_tool_that_nobody_bound_again_is_told_to_the_model))
