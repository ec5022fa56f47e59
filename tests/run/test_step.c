/* SPDX-License-Identifier: Apache-2.0
 *
 * The machine of a run, event by event.  A scenario is a list of events and
 * the effects that each must give; the last test fails when a row of the table
 * was never taken. */
#include "step_save.h"

TEST(a_reply_without_calls_is_the_final_answer)
{
  struct play p;
  begin(&p, "{}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(2, "hello"), "finish@4");
  assert_int_equal(p.st.phase, CSN_PHASE_ENDED);
  assert_int_equal(p.st.outcome, CSN_RUN_DONE);
  assert_string_equal(p.st.output, "hello");
  assert_int_equal(p.st.usage.total_tokens, 7);
  assert_true(csn_str_find(last_effect(&p), CSN_STR("\"state\":\"done\""), 0) != SIZE_MAX);
  end(&p);
}

TEST(a_sandbox_opens_before_the_first_model_call_and_closes_after_the_outputs)
{
  struct play p;
  begin(&p, "{\"sandbox\":{},\"outputs\":[{\"path\":\"a\"}]}");
  play(&p, CSN_EV_INPUT, HELLO, "sandbox_open@2");
  play(&p, CSN_EV_RESUMED, "{}", "");
  play(&p, CSN_EV_INTERRUPTED, "{}", "");
  play(&p, CSN_EV_SANDBOX_READY, "{\"effect\":2}", "model_call@6");
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(6, "x"), "sandbox_checkpoint@8");
  play(&p, CSN_EV_CANCEL_REQUESTED, "{}", "");
  play(&p, CSN_EV_RESUMED, "{}", "");
  play(&p, CSN_EV_INTERRUPTED, "{}", "");
  play(&p, CSN_EV_CHECKPOINTED, "{\"effect\":8}", "finish@13 sandbox_close@14");
  end(&p);
}

TEST(a_sandbox_that_cannot_be_made_ends_the_run)
{
  struct play p;
  begin(&p, "{\"sandbox\":{}}");
  play(&p, CSN_EV_INPUT, HELLO, "sandbox_open@2");
  play(&p, CSN_EV_SANDBOX_LOST, "{\"effect\":2,\"error\":{\"message\":\"no namespaces\"}}",
       "finish@4");
  assert_string_equal(p.st.reason, "sandbox");
  assert_string_equal(p.st.message, "no namespaces");
  end(&p);
}

TEST(the_next_turn_waits_for_all_calls_and_takes_results_in_any_order)
{
  struct play p;
  begin(&p, "{}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "t") "," CALL("b", "t") "]}",
       "tool_call@4 tool_call@5");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(5, "b"), "");
  play(&p, CSN_EV_RESUMED, "{}", "");
  play(&p, CSN_EV_INTERRUPTED, "{}", "");
  assert_false(p.st.turn_ended);
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "model_call@10");
  assert_true(p.st.turn_ended);
  assert_true(csn_str_find(last_effect(&p), CSN_STR("\"items\":[1,9]"), 0) != SIZE_MAX);
  end(&p);
}

TEST(one_call_may_wait_for_a_decision_while_others_run)
{
  struct play p;
  begin(&p, "{\"approvals\":[{\"tool\":\"push\",\"do\":\"ask\"}]}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[" CALL("a", "push") "," CALL("b", "t") "," CALL("c", "push") "]}",
       "ask@4 tool_call@5 ask@6");
  assert_false(csn_state_waits(&p.st));
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(5, "b"), "");
  assert_true(csn_state_waits(&p.st));
  play(&p, CSN_EV_DECIDED, "{\"effect\":4,\"allow\":true}", "tool_call@9");
  play(&p, CSN_EV_DECIDED, "{\"effect\":6,\"allow\":false,\"items\":[]}", "");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(9, "a"), "model_call@12");
  end(&p);
}

#define GUARD(name, on) "{\"callback\":\"" name "\",\"on\":\"" on "\"}"
#define BLOCKING(name) "{\"callback\":\"" name "\",\"on\":\"input\",\"blocking\":true}"

TEST(a_guardrail_beside_the_model_call_cancels_it)
{
  struct play p;
  begin(&p, "{\"guardrails\":[" GUARD("no_secrets", "input") "," GUARD("polite", "input") "]}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2 callback@3 callback@4");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":4}", "");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":3,\"trip\":true,\"message\":\"no\"}",
       "model_cancel@7");
  play(&p, CSN_EV_INTERRUPTED, "{}", "");
  play(&p, CSN_EV_MODEL_FAILED, "{\"effect\":2,\"error\":{}}", "finish@10");
  assert_string_equal(p.st.reason, "guardrail");
  end(&p);
}

TEST(a_guardrail_that_is_slower_than_the_answer_still_counts)
{
  struct play p;
  begin(&p, "{\"guardrails\":[" GUARD("g", "input") "]}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2 callback@3");
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(2, "hello"), "");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":3,\"trip\":true}", "finish@6");
  assert_string_equal(p.st.reason, "guardrail");
  end(&p);
}

TEST(what_blocks_is_asked_before_the_model)
{
  struct play p;
  static const char agent[] = "{\"instructions\":{\"callback\":\"i\"},\"guardrails\":[" BLOCKING(
      "g") "],"
           "\"tool_settings\":[{\"tool\":\"x\",\"enabled\":false},{\"tool\":\"t*\",\"enabled\":{"
           "\"callback\":\"e\"}}]}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "callback@2 callback@3 callback@4");
  STR_EQ(p.fx.v[0].data, "{\"for\":\"enabled\",\"callbacks\":[\"e\"],\"tool\":\"t*\"}");
  STR_EQ(p.fx.v[1].data, "{\"for\":\"instructions\",\"callbacks\":[\"i\"]}");
  STR_EQ(p.fx.v[2].data, "{\"for\":\"input\",\"callbacks\":[\"g\"]}");
  play(&p, CSN_EV_RESUMED, "{}", "");
  play(&p, CSN_EV_INTERRUPTED, "{}", "");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":2,\"enabled\":false}", "");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":4}", "");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":3,\"text\":\"Be good.\"}", "model_call@10");
  assert_true(csn_str_find(last_effect(&p),
                           CSN_STR("\"instructions\":9,\"without\":[\"x\",\"t*\"]"),
                           0) != SIZE_MAX);
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":10,\"items\":[" CALL("a", "two") "]}",
       "tool_call@12");
  STR_EQ(last_effect(&p),
         "{\"call_id\":\"a\",\"name\":\"two\",\"arguments\":\"{}\",\"answer\":\"This "
         "tool is not available now.\"}");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(12, "a"), "callback@14 callback@15");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":14}", "");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":15,\"error\":{\"message\":\"gone\"}}",
       "finish@18");
  assert_string_equal(p.st.reason, "callback");
  assert_string_equal(p.st.message, "gone");
  end(&p);

  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "callback@2 callback@3 callback@4");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":4,\"trip\":true,\"message\":\"no\"}", "");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":2}", "");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":3,\"text\":\"\"}", "finish@8");
  assert_string_equal(p.st.reason, "guardrail");
  assert_int_equal(p.st.turns, 0);
  end(&p);
}

TEST(preparing_can_be_cancelled_timed_out_and_lose_its_sandbox)
{
  static const char agent[] = "{\"instructions\":{\"callback\":\"i\"},\"limits\":{\"wall_ms\":50}}";
  static const struct {
    enum csn_event_kind kind;
    const char *data, *reason;
  } ends[] = {{CSN_EV_CANCEL_REQUESTED, "{}", "cancelled"},
              {CSN_EV_TIMER_FIRED, "{\"effect\":2}", "wall"},
              {CSN_EV_SANDBOX_LOST, "{\"error\":{}}", "sandbox"}};
  for (size_t i = 0; i < CSN_COUNT(ends); i++) {
    struct play p;
    begin(&p, agent);
    play(&p, CSN_EV_INPUT, HELLO, "timer_set@2 callback@3");
    play(&p, ends[i].kind, ends[i].data, "");
    play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":3,\"text\":\"x\"}",
         ends[i].kind == CSN_EV_TIMER_FIRED ? "finish@6" : "timer_cancel@6 finish@7");
    assert_string_equal(p.st.reason, ends[i].reason);
    end(&p);
  }
}

TEST(the_answer_is_reviewed_and_withheld_when_a_guardrail_objects)
{
  struct play p;
  static const char agent[] = "{\"guardrails\":[" GUARD("a", "output") "," GUARD(
      "b", "output") "],\"limits\":{\"wall_ms\":50}}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "timer_set@2 model_call@3");
  assert_true(csn_str_find(last_effect(&p), CSN_STR("\"gate\":true"), 0) != SIZE_MAX);
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(3, "hello"), "callback@5 callback@6");
  play(&p, CSN_EV_RESUMED, "{}", "");
  play(&p, CSN_EV_INTERRUPTED, "{}", "");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":5}", "");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":6}", "timer_cancel@11 finish@12");
  assert_string_equal(p.st.output, "hello");
  end(&p);

  static const struct {
    enum csn_event_kind kind;
    const char *data, *reason;
  } ends[] = {{CSN_EV_CALLBACK_RETURNED, "{\"effect\":5,\"trip\":true}", "guardrail"},
              {CSN_EV_CANCEL_REQUESTED, "{}", "cancelled"},
              {CSN_EV_TIMER_FIRED, "{\"effect\":2}", "wall"},
              {CSN_EV_SANDBOX_LOST, "{\"error\":{}}", "sandbox"}};
  for (size_t i = 0; i < CSN_COUNT(ends); i++) {
    begin(&p, agent);
    play(&p, CSN_EV_INPUT, HELLO, "timer_set@2 model_call@3");
    play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(3, "hello"), "callback@5 callback@6");
    play(&p, ends[i].kind, ends[i].data, "");
    bool first = ends[i].kind == CSN_EV_CALLBACK_RETURNED;
    if (!first)
      play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":5}", "");
    play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":6}",
         first                                ? "timer_cancel@9 finish@10"
         : ends[i].kind == CSN_EV_TIMER_FIRED ? "finish@10"
                                              : "timer_cancel@10 finish@11");
    assert_string_equal(p.st.reason, ends[i].reason);
    assert_string_equal(p.st.output, "");
    end(&p);
  }
}

TEST(guardrails_stand_before_and_behind_a_call)
{
  struct play p;
  static const char agent[] =
      "{\"guardrails\":[{\"callback\":\"i\",\"on\":\"tool_input\",\"tool\":\"t*\"},"
      "{\"callback\":\"j\",\"on\":\"tool_input\"},"
      "{\"callback\":\"o\",\"on\":\"tool_output\",\"tool\":\"t2\"}]}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[" CALL("a", "t1") "," CALL("b", "t2") "," CALL("c", "u") "]}",
       "callback@4 callback@5 callback@6");
  STR_EQ(p.fx.v[0].data, "{\"for\":\"tool_input\",\"callbacks\":[\"i\",\"j\"],\"call_id\":\"a\"}");
  STR_EQ(p.fx.v[2].data, "{\"for\":\"tool_input\",\"callbacks\":[\"j\"],\"call_id\":\"c\"}");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":4,\"reject\":\"not so\"}", "tool_call@8");
  assert_true(csn_str_find(last_effect(&p), CSN_STR("\"answer\":\"not so\""), 0) != SIZE_MAX);
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(8, "a"), "");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":5}", "tool_call@11");
  csn_err err;
  csn_event ev = {.kind = CSN_EV_TOOL_RETURNED, .seq = p.seq};
  OK(csn_json_parse(p.arena, CSN_STR(OUTPUT(11, "b")), &ev.data, &err), &err);
  assert_int_equal(csn_step(&p.st, &ev, &p.fx, &err), CSN_E_INVALID); /* it must be held */
  play(&p, CSN_EV_TOOL_RETURNED, "{\"effect\":11,\"held\":true,\"items\":[{\"secret\":1}]}",
       "callback@13");
  STR_EQ(last_effect(&p),
         "{\"for\":\"tool_output\",\"callbacks\":[\"o\"],\"call_id\":\"b\",\"of\":12}");
  assert_int_equal(p.st.items_to, 9);
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":13,\"items\":[{\"x\":1}]}", "");
  assert_int_equal(p.st.items_to, 14);
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":6,\"trip\":true,\"message\":\"stop\"}",
       "finish@16");
  assert_string_equal(p.st.message, "stop");
  end(&p);
}

TEST(calls_wait_for_the_guardrail_that_is_still_out)
{
  struct play p;
  begin(&p, "{\"guardrails\":[" GUARD("g", "input") "]}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2 callback@3");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "t") "]}", "");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":3,\"trip\":false}", "tool_call@6");
  end(&p);
}

TEST(cancel_now_awaits_what_it_cancels)
{
  struct play p;
  begin(&p, "{}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "t") "," CALL("b", "t") "]}",
       "tool_call@4 tool_call@5");
  play(&p, CSN_EV_CANCEL_REQUESTED, "{\"mode\":\"now\"}", "tool_cancel@7 tool_cancel@8");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(5, "b"), "finish@11");
  assert_int_equal(p.st.outcome, CSN_RUN_CANCELLED);
  end(&p);
}

TEST(cancel_in_setup_awaits_the_sandbox)
{
  struct play p;
  begin(&p, "{\"sandbox\":{}}");
  play(&p, CSN_EV_INPUT, HELLO, "sandbox_open@2");
  play(&p, CSN_EV_CANCEL_REQUESTED, "{}", "");
  play(&p, CSN_EV_SANDBOX_READY, "{\"effect\":2}", "finish@5 sandbox_close@6");
  end(&p);
}

TEST(cancel_while_the_model_thinks_cancels_the_call)
{
  struct play p;
  begin(&p, "{}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_RESUMED, "{}", "");
  play(&p, CSN_EV_CANCEL_REQUESTED, "{}", "model_cancel@5");
  play(&p, CSN_EV_CANCEL_REQUESTED, "{}", "");
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(2, "late"), "finish@8");
  assert_int_equal(p.st.outcome, CSN_RUN_CANCELLED);
  end(&p);
}

TEST(cancel_after_the_turn_lets_its_tools_finish)
{
  struct play p;
  begin(&p, "{}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_CANCEL_REQUESTED, "{\"mode\":\"after_turn\"}", "");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "t") "]}", "tool_call@5");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(5, "a"), "finish@7");
  assert_int_equal(p.st.outcome, CSN_RUN_CANCELLED);
  end(&p);
}

TEST(limits_end_a_run_with_what_it_has)
{
  struct play p;
  begin(&p, "{\"limits\":{\"turns\":1,\"wall_ms\":50}}");
  play(&p, CSN_EV_INPUT, HELLO, "timer_set@2 model_call@3");
  assert_true(csn_str_find(p.fx.v[0].data, CSN_STR("\"at_ms\":1050"), 0) != SIZE_MAX);
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":3,\"items\":[" CALL("a", "t") "]}", "tool_call@5");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(5, "a"), "timer_cancel@7 finish@8");
  assert_int_equal(p.st.outcome, CSN_RUN_LIMIT);
  assert_string_equal(p.st.reason, "turns");
  end(&p);
}

TEST(the_wall_limit_holds_in_every_phase)
{
  struct play p;
  static const char agent[] = "{\"sandbox\":{},\"outputs\":[{}],\"limits\":{\"wall_ms\":50}}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "timer_set@2 sandbox_open@3");
  play(&p, CSN_EV_TIMER_FIRED, "{\"effect\":2}", "");
  play(&p, CSN_EV_SANDBOX_LOST, "{\"effect\":3,\"error\":{}}", "finish@6");
  assert_string_equal(p.st.reason, "wall");
  end(&p);

  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "timer_set@2 sandbox_open@3");
  play(&p, CSN_EV_SANDBOX_READY, "{\"effect\":3}", "model_call@5");
  play(&p, CSN_EV_TIMER_FIRED, "{\"effect\":2}", "model_cancel@7");
  play(&p, CSN_EV_MODEL_FAILED, "{\"effect\":5,\"error\":{}}", "sandbox_checkpoint@9");
  play(&p, CSN_EV_CHECKPOINTED, "{\"effect\":9}", "finish@11 sandbox_close@12");
  end(&p);

  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "timer_set@2 sandbox_open@3");
  play(&p, CSN_EV_SANDBOX_READY, "{\"effect\":3}", "model_call@5");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":5,\"items\":[" CALL("a", "t") "]}", "tool_call@7");
  play(&p, CSN_EV_TIMER_FIRED, "{\"effect\":2}", "tool_cancel@9");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(7, "a"), "sandbox_checkpoint@11");
  play(&p, CSN_EV_CHECKPOINTED, "{\"effect\":11}", "finish@13 sandbox_close@14");
  end(&p);

  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "timer_set@2 sandbox_open@3");
  play(&p, CSN_EV_SANDBOX_READY, "{\"effect\":3}", "model_call@5");
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(5, "x"), "sandbox_checkpoint@7");
  play(&p, CSN_EV_TIMER_FIRED, "{\"effect\":2}", "");
  play(&p, CSN_EV_CHECKPOINTED, "{\"effect\":7}", "finish@10 sandbox_close@11");
  assert_int_equal(p.st.outcome, CSN_RUN_DONE);
  end(&p);
}

TEST(a_sandbox_that_dies_under_a_run_fails_it)
{
  struct play p;
  begin(&p, "{\"sandbox\":{}}");
  play(&p, CSN_EV_INPUT, HELLO, "sandbox_open@2");
  play(&p, CSN_EV_SANDBOX_READY, "{\"effect\":2}", "model_call@4");
  play(&p, CSN_EV_SANDBOX_LOST, "{\"error\":{\"message\":\"oom\"}}", "model_cancel@6");
  play(&p, CSN_EV_MODEL_FAILED, "{\"effect\":4,\"error\":{}}", "finish@8 sandbox_close@9");
  end(&p);

  begin(&p, "{}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "t") "]}", "tool_call@4");
  play(&p, CSN_EV_SANDBOX_LOST, "{\"error\":{}}", "tool_cancel@6");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "finish@8");
  assert_string_equal(p.st.reason, "sandbox");
  end(&p);
}

TEST(a_refusal_and_a_failed_model_end_the_run)
{
  struct play p;
  begin(&p, "{}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[{\"type\":\"message\",\"content\":[{\"type\":\"refusal\","
       "\"refusal\":\"I won't\"}]}]}",
       "finish@4");
  assert_string_equal(p.st.reason, "refusal");
  end(&p);
  begin(&p, "{}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_FAILED, "{\"effect\":2,\"error\":{\"message\":\"401\"}}", "finish@4");
  assert_string_equal(p.st.message, "401");
  end(&p);
}

#define IN_SESSION                                                                                 \
  "{\"session\":{\"name\":\"s\"},\"input\":[{\"role\":\"user\",\"content\":\"hi\"}]}"

TEST(a_session_is_read_before_the_model_is_called_and_appended_to_before_the_end)
{
  struct play p;
  begin(&p, "{\"sandbox\":{},\"outputs\":[{\"path\":\"a\"}]}");
  play(&p, CSN_EV_INPUT, IN_SESSION, "session_read@2 sandbox_open@3");
  assert_int_equal(p.st.items_from, -1);
  play(&p, CSN_EV_SANDBOX_READY, "{\"effect\":3}", "");
  play(&p, CSN_EV_SESSION_LOADED,
       "{\"effect\":2,\"history\":1,\"items\":[{\"role\":\"user\"},{\"role\":\"user\"}]}",
       "model_call@6");
  assert_int_equal(p.st.items_from, 5);
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(6, "hello"), "sandbox_checkpoint@8 session_append@9");
  play(&p, CSN_EV_SESSION_LOADED, "{\"effect\":9,\"saved\":2}", "");
  play(&p, CSN_EV_CHECKPOINTED, "{\"effect\":8,\"outputs\":[]}", "finish@12 sandbox_close@13");
  assert_int_equal(p.st.outcome, CSN_RUN_DONE);
  end(&p);
}

TEST(a_session_that_cannot_be_read_fails_the_run_and_is_not_appended_to)
{
  struct play p;
  begin(&p, "{}");
  play(&p, CSN_EV_INPUT, IN_SESSION, "session_read@2");
  play(&p, CSN_EV_SESSION_LOADED, "{\"effect\":2,\"error\":{\"message\":\"locked\"}}", "finish@4");
  assert_int_equal(p.st.outcome, CSN_RUN_FAILED);
  assert_string_equal(p.st.reason, "session");
  assert_string_equal(p.st.message, "locked");
  end(&p);
}

TEST(an_answer_stands_although_its_session_could_not_be_saved)
{
  struct play p;
  begin(&p, "{}");
  play(&p, CSN_EV_INPUT, IN_SESSION, "session_read@2");
  play(&p, CSN_EV_SESSION_LOADED, "{\"effect\":2,\"history\":0,\"items\":[{\"role\":\"user\"}]}",
       "model_call@4");
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(4, "hello"), "session_append@6");
  play(&p, CSN_EV_SESSION_LOADED, "{\"effect\":6,\"error\":{\"message\":\"full\"}}", "finish@8");
  assert_int_equal(p.st.outcome, CSN_RUN_DONE);
  assert_string_equal(p.st.message, "full");
  end(&p);
}

TEST(work_of_hosted_tools_without_a_message_runs_again)
{
  struct play p;
  begin(&p, "{}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[{\"type\":\"web_search_call\",\"id\":\"w\"}]}", "model_call@4");
  end(&p);
}

TEST(after_a_crash_a_human_may_be_asked_about_a_call)
{
  struct play p;
  begin(&p, "{}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "t") "]}", "tool_call@4");
  play(&p, CSN_EV_RESUMED, "{\"ask\":[4]}", "ask@6");
  assert_true(csn_state_waits(&p.st));
  play(&p, CSN_EV_DECIDED, "{\"effect\":6,\"allow\":true}", "tool_call@8");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(8, "a"), "model_call@10");
  end(&p);
}

TEST(only_so_many_calls_run_at_once_and_questions_take_no_room)
{
  struct play p;
  static const char agent[] =
      "{\"limits\":{\"parallel\":2},\"approvals\":[{\"tool\":\"q\",\"do\":\"ask\"}]}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[" CALL("a", "q") "," CALL("b", "t") "," CALL("c", "t") "," CALL(
           "d", "t") "]}",
       "ask@4 tool_call@5 tool_call@6");
  reread(&p, agent);
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(6, "c"), "tool_call@8");
  play(&p, CSN_EV_DECIDED, "{\"effect\":4,\"allow\":true}", "tool_call@10");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(8, "d"), "");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(10, "a"), "");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(5, "b"), "model_call@14");
  end(&p);

  begin(&p, agent); /* what waits for room is dropped by a cancel */
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[" CALL("b", "t") "," CALL("c", "t") "," CALL("d", "t") "]}",
       "tool_call@4 tool_call@5");
  play(&p, CSN_EV_CANCEL_REQUESTED, "{}", "tool_cancel@7 tool_cancel@8");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "b"), "");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(5, "c"), "finish@11");
  end(&p);
}

TEST(a_result_may_be_the_answer)
{
  struct play p;
  static const char agent[] = "{\"tool_use\":{\"stop_at\":[\"t\",\"u\"]}}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[" CALL("a", "x") "," CALL("b", "t") "," CALL("c", "u") "]}",
       "tool_call@4 tool_call@5 tool_call@6");
  play(&p, CSN_EV_TOOL_RETURNED, "{\"effect\":6,\"items\":[{\"output\":\"of u\"}]}", "");
  play(&p, CSN_EV_TOOL_RETURNED, "{\"effect\":5,\"items\":[{\"output\":\"of t\"}]}", "");
  reread(&p, agent);
  play(&p, CSN_EV_TOOL_RETURNED, "{\"effect\":4,\"items\":[{\"output\":\"of x\"}]}", "finish@10");
  assert_string_equal(p.st.output, "of t"); /* the first in the model's order */
  assert_int_equal(p.st.outcome, CSN_RUN_DONE);
  end(&p);

  begin(&p, "{\"tool_use\":\"stop_on_first\",\"approvals\":[{\"tool\":\"x\",\"do\":\"deny\"}]}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "x") "]}", "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "model_call@6"); /* denied: no answer */
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":6,\"items\":[" CALL("a", "y") "]}", "tool_call@8");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(8, "a"), "finish@10");
  assert_string_equal(p.st.output, "ok");
  end(&p);
}

#define BOSS(limits)                                                                               \
  "{\"name\":\"boss\",\"agent_tools\":[{\"agent\":\"w\",\"tool\":\"work\"}],\"agents\":[{"         \
  "\"name\":\"w\"}],"                                                                              \
  "\"limits\":{" limits "}}"

TEST(agents_called_at_once_share_what_is_left)
{
  struct play p;
  begin(&p, BOSS("\"tokens\":9000,\"children\":3"));
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[" CALL("a", "work") "," CALL("b", "t") "," CALL(
           "c", "work") "," CALL("d", "work") "],\"usage\":{\"total_tokens\":3000}}",
       "child_start@4 tool_call@5 child_start@6 child_start@7");
  for (size_t i = 0; i < 4; i += i ? 1 : 2)
    assert_true(csn_str_find(p.fx.v[i].data, CSN_STR("\"agent\":\"w\",\"tokens\":2000"), 0) !=
                SIZE_MAX);
  reread(&p, BOSS("\"tokens\":9000,\"children\":3"));
  play(&p, CSN_EV_CHILD_DONE,
       "{\"effect\":4,\"tokens\":500,\"cost_pusd\":7,\"items\":[{\"output\":\"x\"}]}", "");
  assert_int_equal(p.st.budget.child_tokens, 500);
  assert_int_equal(p.st.budget.cost_pusd, 7);
  play(&p, CSN_EV_CANCEL_REQUESTED, "{}", "tool_cancel@10 child_cancel@11 child_cancel@12");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(5, "b"), "");
  play(&p, CSN_EV_CHILD_DONE, "{\"effect\":6,\"items\":[]}", "");
  play(&p, CSN_EV_CHILD_DONE, "{\"effect\":7,\"items\":[]}", "finish@16");
  end(&p);

  begin(&p, BOSS("\"children\":1"));
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[" CALL("a", "work") "," CALL("b", "work") "]}",
       "child_start@4 tool_call@5");
  last_holds(&p, "no more agents may be called");
  end(&p);
}

TEST(an_answer_that_does_not_fit_its_schema_is_given_once_more)
{
  struct play p;
  static const char agent[] = "{\"output_schema\":{},\"guardrails\":[" GUARD("g", "output") "]}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(2, "no json"), "callback@4");
  STR_EQ(last_effect(&p), "{\"for\":\"schema\",\"callbacks\":[]}");
  play(&p, CSN_EV_CALLBACK_RETURNED,
       "{\"effect\":4,\"valid\":false,\"message\":\"bad\",\"items\":[{\"role\":\"user\"}]}",
       "model_call@6");
  assert_int_equal(p.st.items_to, 5);
  reread(&p, agent);
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(6, "fits"), "callback@8");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":8,\"valid\":true}", "callback@10");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":10}", "finish@12");
  assert_string_equal(p.st.output, "fits");
  end(&p);

  begin(&p, "{\"output_schema\":{}}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(2, "x"), "callback@4");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":4,\"valid\":false,\"items\":[]}", "model_call@6");
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(6, "y"), "callback@8");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":8,\"valid\":false,\"message\":\"still bad\"}",
       "finish@10");
  assert_string_equal(p.st.reason, "output_schema");
  assert_string_equal(p.st.message, "still bad");
  assert_string_equal(p.st.output, "y");
  end(&p);
}

TEST(a_human_may_be_asked_whether_a_budget_may_be_used_up)
{
  struct play p;
  begin(&p, "{\"limits\":{\"tool_calls\":2,\"soft\":{\"at\":0.5,\"do\":\"ask\"}}}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "t") "]}", "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "ask@6");
  play(&p, CSN_EV_DECIDED, "{\"effect\":6,\"allow\":true}", "model_call@8");
  end(&p);
}

TEST(what_has_no_room_is_summed_up_and_that_can_be_cut_short)
{
  static const char agent[] = "{\"model\":\"m\",\"compact_at\":{\"m\":{\"tokens\":2000}},"
                              "\"limits\":{\"wall_ms\":50}}";
  static const struct {
    enum csn_event_kind kind;
    const char *data, *effects, *reason;
  } ends[] = {{CSN_EV_CANCEL_REQUESTED, "{}", "model_cancel@12", "cancelled"},
              {CSN_EV_TIMER_FIRED, "{\"effect\":2}", "model_cancel@12", "wall"},
              {CSN_EV_SANDBOX_LOST, "{\"error\":{}}", "model_cancel@12", "sandbox"},
              {CSN_EV_MODEL_REPLIED, "{\"effect\":7,\"summary\":\"s\"}", "model_call@12", NULL},
              {CSN_EV_MODEL_FAILED, "{\"effect\":7,\"error\":{}}", "model_call@12", NULL}};
  for (size_t i = 0; i < CSN_COUNT(ends); i++) {
    struct play p;
    begin(&p, agent);
    play(&p, CSN_EV_INPUT, HELLO, "timer_set@2 model_call@3");
    play(&p, CSN_EV_MODEL_FAILED, "{\"effect\":3,\"error\":{\"code\":\"too_long\"}}", "callback@5");
    play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":5,\"tokens\":3000,\"at\":2000,\"cut\":1}",
         "model_call@7");
    play(&p, CSN_EV_RESUMED, "{}", "");
    play(&p, CSN_EV_INTERRUPTED, "{}", "");
    play(&p, CSN_EV_INPUT, "{\"added\":[]}", "");
    play(&p, ends[i].kind, ends[i].data, ends[i].effects);
    if (ends[i].reason) {
      play(&p, CSN_EV_MODEL_FAILED, "{\"effect\":7,\"error\":{}}",
           ends[i].kind == CSN_EV_TIMER_FIRED ? "finish@14" : "timer_cancel@14 finish@15");
      assert_string_equal(p.st.reason, ends[i].reason);
    }
    end(&p);
  }
}

TEST(something_may_be_added_in_every_phase)
{
  struct play p;
  begin(&p, "{\"sandbox\":{},\"guardrails\":[{\"callback\":\"g\",\"on\":\"output\"}]}");
  play(&p, CSN_EV_INPUT, HELLO, "sandbox_open@2");
  play(&p, CSN_EV_INPUT, MORE, "");
  play(&p, CSN_EV_SANDBOX_READY, "{\"effect\":2}", "callback@5");
  play(&p, CSN_EV_INPUT, MORE, "");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":5}", "callback@8");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":8}", "model_call@10");
  play(&p, CSN_EV_INPUT, MORE, "");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":10,\"items\":[" CALL("a", "t") "]}", "tool_call@13");
  play(&p, CSN_EV_INPUT, MORE, "");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(13, "a"), "callback@16");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":16}", "callback@18");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":18}", "model_call@20");
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(20, "done"), "callback@22");
  play(&p, CSN_EV_INPUT, MORE, "");
  end(&p);

  begin(&p, "{\"limits\":{\"turns\":1}}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "t") "]}", "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "finish@6");
  play(&p, CSN_EV_INPUT, MORE, "");
  play(&p, CSN_EV_RESUMED, "{\"limits\":{\"turns\":2}}", "callback@9");
  end(&p);
}

TEST(a_run_that_a_limit_ended_goes_on_when_it_is_raised)
{
  struct play p;
  static const char agent[] = "{\"limits\":{\"turns\":1}}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "t") "]}", "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "finish@6");
  play(&p, CSN_EV_RESUMED, "{\"ask\":[],\"limits\":{\"turns\":2}}", "model_call@8");
  reread(&p, agent);
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(8, "x"), "finish@10");
  assert_int_equal(p.st.outcome, CSN_RUN_DONE);
  assert_int_equal(p.st.turns, 2);
  end(&p);
}

TEST(events_that_do_not_belong_are_refused_and_change_nothing)
{
  struct play p;
  begin(&p, "{}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  csn_err err;
  csn_event ev = {.kind = CSN_EV_TOOL_RETURNED, .seq = 3};
  assert_int_equal(csn_step(&p.st, &ev, &p.fx, &err), CSN_E_INVALID);
  ev.kind = CSN_EV_MODEL_REPLIED;
  OK(csn_json_parse(p.arena, CSN_STR("{\"effect\":99}"), &ev.data, &err), &err);
  assert_int_equal(csn_step(&p.st, &ev, &p.fx, &err), CSN_E_INVALID);
  ev.kind = CSN_EV_TIMER_FIRED;
  OK(csn_json_parse(p.arena, CSN_STR("{\"effect\":-1}"), &ev.data, &err), &err);
  assert_int_equal(csn_step(&p.st, &ev, &p.fx, NULL), CSN_E_INVALID);
  assert_int_equal(p.st.phase, CSN_PHASE_MODEL);
  assert_int_equal(p.st.n_pending, 1);
  end(&p);
}

TEST(a_state_written_and_read_goes_on_alike)
{
  struct play p, q;
  static const char agent[] =
      "{\"approvals\":[{\"tool\":\"push\",\"do\":\"ask\"}],\"limits\":{\"wall_ms\":9}}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "timer_set@2 model_call@3");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":3,\"items\":[" CALL("a", "push") "," CALL("b", "t") "]}", "ask@5 tool_call@6");
  csn_auto(csn_buf_finip) csn_buf first = CSN_BUF(10000), second = CSN_BUF(10000);
  csn_jw w;
  csn_jw_init(&w, &first);
  csn_state_to_json(&p.st, &w);
  csn_err err;
  OK(csn_jw_done(&w, &err), &err);
  begin(&q, agent);
  const csn_json *v;
  OK(csn_json_parse(q.arena, csn_buf_str(&first), &v, &err), &err);
  OK(csn_state_from_json(&q.st, v, &err), &err);
  csn_jw_init(&w, &second);
  csn_state_to_json(&q.st, &w);
  STR_EQ(csn_buf_str(&second), first.p);
  q.seq = p.seq;
  play(&q, CSN_EV_DECIDED, "{\"effect\":5,\"allow\":true}", "tool_call@8");
  play(&q, CSN_EV_TOOL_RETURNED, OUTPUT(6, "b"), "");
  play(&q, CSN_EV_TOOL_RETURNED, OUTPUT(8, "a"), "model_call@11");
  end(&p);
  end(&q);
}

TEST(every_row_of_the_table_was_taken)
{
  int missed = 0;
  for (int ph = 0; ph < CSN_PHASE_COUNT; ph++)
    for (int ev = 0; ev < CSN_EV_COUNT; ev++)
      if (csn_step_accepts(ph, ev) && !taken[ph][ev]) {
        printf("# never taken: %s + %s\n", csn_phase_name(ph), csn_event_name(ev));
        missed++;
      }
  assert_int_equal(missed, 0);
}

RUN_TESTS("run/step", RUN(a_reply_without_calls_is_the_final_answer),
          RUN(a_sandbox_opens_before_the_first_model_call_and_closes_after_the_outputs),
          RUN(a_sandbox_that_cannot_be_made_ends_the_run),
          RUN(the_next_turn_waits_for_all_calls_and_takes_results_in_any_order),
          RUN(one_call_may_wait_for_a_decision_while_others_run),
          RUN(a_guardrail_beside_the_model_call_cancels_it),
          RUN(a_guardrail_that_is_slower_than_the_answer_still_counts),
          RUN(what_blocks_is_asked_before_the_model),
          RUN(preparing_can_be_cancelled_timed_out_and_lose_its_sandbox),
          RUN(the_answer_is_reviewed_and_withheld_when_a_guardrail_objects),
          RUN(guardrails_stand_before_and_behind_a_call),
          RUN(calls_wait_for_the_guardrail_that_is_still_out),
          RUN(cancel_now_awaits_what_it_cancels), RUN(cancel_in_setup_awaits_the_sandbox),
          RUN(cancel_while_the_model_thinks_cancels_the_call),
          RUN(cancel_after_the_turn_lets_its_tools_finish), RUN(limits_end_a_run_with_what_it_has),
          RUN(the_wall_limit_holds_in_every_phase), RUN(a_sandbox_that_dies_under_a_run_fails_it),
          RUN(a_refusal_and_a_failed_model_end_the_run),
          RUN(a_session_is_read_before_the_model_is_called_and_appended_to_before_the_end),
          RUN(a_session_that_cannot_be_read_fails_the_run_and_is_not_appended_to),
          RUN(an_answer_stands_although_its_session_could_not_be_saved),
          RUN(work_of_hosted_tools_without_a_message_runs_again),
          RUN(after_a_crash_a_human_may_be_asked_about_a_call),
          RUN(only_so_many_calls_run_at_once_and_questions_take_no_room),
          RUN(a_result_may_be_the_answer), RUN(agents_called_at_once_share_what_is_left),
          RUN(an_answer_that_does_not_fit_its_schema_is_given_once_more),
          RUN(a_human_may_be_asked_whether_a_budget_may_be_used_up),
          RUN(what_has_no_room_is_summed_up_and_that_can_be_cut_short),
          RUN(something_may_be_added_in_every_phase),
          RUN(a_run_that_a_limit_ended_goes_on_when_it_is_raised),
          RUN(events_that_do_not_belong_are_refused_and_change_nothing),
          RUN(a_state_written_and_read_goes_on_alike), STEP_SAVE_TESTS,
          RUN(every_row_of_the_table_was_taken))
