/* SPDX-License-Identifier: Apache-2.0
 *
 * Handlers for runs that would end without an answer. */
#include "caisson/agent.h"
#include "play.h"

#define HANDLERS                                                                                   \
  "\"error_handlers\":{\"max_turns\":{\"callback\":\"h\"},\"model_refusal\":{\"output\":"          \
  "\"sorry\"},"                                                                                    \
  "\"invalid_final_output\":{\"callback\":\"h\"}}"
#define REFUSAL(effect)                                                                            \
  "{\"effect\":" #effect ",\"items\":[{\"type\":\"message\",\"content\":[{\"type\":\"refusal\","   \
  "\"refusal\":\"I won't\"}]}]}"

TEST(a_run_out_of_turns_may_be_given_an_answer)
{
  struct play p;
  static const char agent[] = "{\"limits\":{\"turns\":1}," HANDLERS
                              ",\"guardrails\":[{\"callback\":\"g\",\"on\":\"output\"}]}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "t") "]}", "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "callback@6");
  STR_EQ(last_effect(&p), "{\"for\":\"error\",\"callbacks\":[\"h\"],\"error\":\"max_turns\"}");
  reread(&p, agent);
  play(&p, CSN_EV_CALLBACK_RETURNED,
       "{\"effect\":6,\"output\":\"half done\",\"items\":[{\"type\":\"message\"}]}", "callback@8");
  assert_int_equal(p.st.items_to, 7);
  reread(&p, agent);
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":8}", "finish@10"); /* the guardrail passed it */
  assert_int_equal(p.st.outcome, CSN_RUN_DONE);
  assert_string_equal(p.st.output, "half done");
  end(&p);

  begin(&p, agent); /* a handler may have none: it ends as it would have */
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "t") "]}", "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "callback@6");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":6}", "finish@8");
  assert_int_equal(p.st.outcome, CSN_RUN_LIMIT);
  assert_string_equal(p.st.reason, "turns");
  assert_non_null(strstr(p.st.message, "limit of 1 turns"));
  end(&p);

  begin(&p, agent); /* cancelled while it thinks */
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "t") "]}", "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "callback@6");
  play(&p, CSN_EV_CANCEL_REQUESTED, "{}", "");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":6,\"output\":\"late\"}", "finish@9");
  assert_string_equal(p.st.reason, "cancelled");
  end(&p);
}

TEST(a_refusal_may_be_answered_by_the_program)
{
  struct play p;
  begin(&p, "{" HANDLERS "}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, REFUSAL(2), "callback@4");
  STR_EQ(last_effect(&p), "{\"for\":\"error\",\"callbacks\":[],\"error\":\"model_refusal\"}");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":4,\"output\":\"sorry\"}", "finish@6");
  assert_int_equal(p.st.outcome, CSN_RUN_DONE);
  assert_string_equal(p.st.output, "sorry");
  end(&p);

  begin(&p, "{}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, REFUSAL(2), "finish@4");
  assert_string_equal(p.st.message, "I won't");
  end(&p);
}

TEST(what_a_handler_gives_must_fit_the_schema_too)
{
  struct play p;
  static const char agent[] = "{\"output_schema\":{}," HANDLERS "}";
  for (int good = 0; good < 2; good++) {
    begin(&p, agent);
    play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
    play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(2, "x"), "callback@4");
    play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":4,\"valid\":false,\"items\":[]}",
         "model_call@6");
    play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(6, "y"), "callback@8");
    play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":8,\"valid\":false,\"message\":\"bad\"}",
         "callback@10");
    last_holds(&p, "\"error\":\"invalid_final_output\"");
    play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":10,\"output\":\"{}\"}", "callback@12");
    last_holds(&p, "schema");
    reread(&p, agent);
    play(&p, CSN_EV_CALLBACK_RETURNED,
         good ? "{\"effect\":12,\"valid\":true}"
              : "{\"effect\":12,\"valid\":false,\"message\":\"worse\",\"items\":[]}",
         "finish@14");
    assert_int_equal(p.st.outcome, good ? CSN_RUN_DONE : CSN_RUN_FAILED);
    if (!good)
      assert_string_equal(p.st.message, "worse");
    end(&p);
  }
}

TEST(mistakes_in_the_section_are_told)
{
  static const struct {
    const char *section, *text;
  } rows[] = {
      {"[]", "error_handlers: expected an object"},
      {"{\"tool_error\":{}}", "max_turns, model_refusal, invalid_final_output"},
      {"{\"max_turns\":{}}", "each is a `callback` or an `output`"},
      {"{\"max_turns\":{\"callback\":\"x\",\"output\":\"y\"}}",
       "each is a `callback` or an `output`"},
      {"{\"max_turns\":{\"output\":\"y\",\"history\":1}}", "expected true or false"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_agent_freep) csn_agent *a = csn_agent_new("n");
    csn_err err;
    assert_int_equal(csn_agent_set(a, "error_handlers", csn_cstr(rows[i].section), &err),
                     CSN_E_INVALID);
    if (!strstr(err.msg, rows[i].text))
      fail_msg("%s does not hold %s", err.msg, rows[i].text);
  }
}

RUN_TESTS("run/error", RUN(a_run_out_of_turns_may_be_given_an_answer),
          RUN(a_refusal_may_be_answered_by_the_program),
          RUN(what_a_handler_gives_must_fit_the_schema_too), RUN(mistakes_in_the_section_are_told))
