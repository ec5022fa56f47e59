/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists of models: which one is asked, who takes its place, and that a state
 * that is read back chooses alike. */
#include "play.h"

#define FAILED(effect, code)                                                                       \
  "{\"effect\":" #effect ",\"error\":{\"code\":\"" code "\",\"message\":\"no\"}}"
#define REFUSED(effect)                                                                            \
  "{\"effect\":" #effect ",\"refused\":true,\"error\":{\"code\":\"model\",\"message\":\"never\"}," \
  "\"usage\":{\"input_tokens\":10,\"output_tokens\":5,\"total_tokens\":15}}"
#define COUNTED(effect, in)                                                                        \
  "{\"effect\":" #effect                                                                           \
  ",\"items\":[" CALL("c", "t") "],\"usage\":{\"input_tokens\":" #in                               \
                                ",\"output_tokens\":1,\"total_tokens\":" #in "}}"

static const char three[] =
    "{\"name\":\"a\",\"models\":{\"a\":[{\"model\":\"x/1\"},{\"model\":\"y/2\"},{\"model\":\"z/3\"}"
    "]}}";

TEST(the_next_takes_the_place_of_one_that_failed)
{
  struct play p;
  begin(&p, three);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  last_holds(&p, "\"model\":\"x/1\",\"why\":\"first\"");
  assert_true(csn_state_has_other_model(&p.st));
  play(&p, CSN_EV_MODEL_FAILED, FAILED(2, "unavailable"), "model_call@4");
  last_holds(&p, "\"turn\":1,");
  last_holds(&p, "\"model\":\"y/2\",\"why\":\"failed\"");
  reread(&p, three);
  play(&p, CSN_EV_MODEL_FAILED, REFUSED(4), "model_call@6");
  last_holds(&p, "\"model\":\"z/3\",\"why\":\"refused\"");
  assert_int_equal(p.st.usage.total_tokens, 15);
  assert_false(csn_state_has_other_model(&p.st));
  play(&p, CSN_EV_MODEL_FAILED, FAILED(6, "model"), "finish@8");
  assert_string_equal(p.st.reason, "model");
  end(&p);
}

TEST(one_that_failed_comes_last_for_five_minutes)
{
  struct play p;
  begin(&p, three);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_FAILED, FAILED(2, "timeout"), "model_call@4");
  play(&p, CSN_EV_MODEL_REPLIED, COUNTED(4, 10), "tool_call@6");
  p.ts += 299999;
  reread(&p, three);
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(6, "c"), "model_call@8");
  last_holds(&p, "\"model\":\"y/2\",\"why\":\"rests\"");
  play(&p, CSN_EV_MODEL_FAILED, FAILED(8, "timeout"), "model_call@10");
  last_holds(&p, "\"model\":\"z/3\",\"why\":\"failed\"");
  play(&p, CSN_EV_MODEL_FAILED, FAILED(10, "timeout"), "model_call@12");
  last_holds(&p, "\"model\":\"x/1\",\"why\":\"failed\""); /* all rest: better it than none */
  play(&p, CSN_EV_MODEL_REPLIED, COUNTED(12, 10), "tool_call@14");
  p.ts += 300000;
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(14, "c"), "model_call@16");
  last_holds(&p, "\"model\":\"x/1\",\"why\":\"first\"");
  end(&p);
}

TEST(a_clock_that_is_set_back_ends_the_rest)
{
  struct play p;
  begin(&p, three);
  p.ts = 5000000;
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_FAILED, FAILED(2, "timeout"), "model_call@4");
  play(&p, CSN_EV_MODEL_REPLIED, COUNTED(4, 10), "tool_call@6");
  p.ts = 1000;
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(6, "c"), "model_call@8");
  last_holds(&p, "\"model\":\"x/1\",\"why\":\"first\"");
  end(&p);
}

TEST(a_cancelled_call_is_not_made_with_another)
{
  struct play p;
  begin(&p, three);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_CANCEL_REQUESTED, "{\"mode\":\"now\"}", "model_cancel@4");
  play(&p, CSN_EV_MODEL_FAILED, FAILED(2, "cancelled"), "finish@6");
  end(&p);
}

TEST(conditions_look_at_context_budget_and_agent)
{
  struct play p;
  static const char agent[] =
      "{\"name\":\"a\",\"limits\":{\"tokens\":100000},\"models\":{\"a\":["
      "{\"model\":\"cheap/1\",\"when\":{\"budget_under\":0.2}},"
      "{\"model\":\"other/1\",\"when\":{\"agent\":\"b*\"}},"
      "{\"model\":\"long/1\",\"when\":{\"context_over\":5000}},"
      "{\"model\":\"short/1\",\"when\":{\"context_under\":1000,\"agent\":\"a\"}},"
      "{\"model\":\"x/1\"}]}}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  last_holds(&p, "\"model\":\"short/1\",\"why\":\"when\"");
  play(&p, CSN_EV_MODEL_REPLIED, COUNTED(2, 2000), "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "c"), "model_call@6");
  last_holds(&p, "\"model\":\"x/1\",\"why\":\"first\"");
  play(&p, CSN_EV_MODEL_REPLIED, COUNTED(6, 6000), "tool_call@8");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(8, "c"), "model_call@10");
  last_holds(&p, "\"model\":\"long/1\",\"why\":\"when\"");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":10,\"items\":[" CALL("c", "t") "],\"usage\":{\"input_tokens\":100,"
                                                   "\"total_tokens\":75000}}",
       "tool_call@12");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(12, "c"), "model_call@14");
  last_holds(&p, "\"model\":\"cheap/1\",\"why\":\"when\"");
  end(&p);
}

TEST(the_model_of_the_soft_threshold_goes_before_the_list)
{
  struct play p;
  static const char agent[] =
      "{\"name\":\"a\",\"limits\":{\"tool_calls\":2,\"soft\":{\"at\":0.5,\"do\":\"switch\","
      "\"model\":\"s/1\"}},\"models\":{\"a\":[{\"model\":\"x/1\"}]}}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, COUNTED(2, 10), "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "c"), "model_call@6");
  last_holds(&p, "\"model\":\"s/1\",\"why\":\"budget\"");
  reread(&p, agent);
  play(&p, CSN_EV_MODEL_FAILED, FAILED(6, "unavailable"), "model_call@8");
  last_holds(&p, "\"model\":\"x/1\",\"why\":\"failed\"");
  end(&p);
}

TEST(the_price_is_that_of_the_model_that_answered)
{
  struct play p;
  static const char agent[] =
      "{\"name\":\"a\",\"prices\":{\"x/1\":{\"input\":1,\"output\":1},\"y/2\":{\"input\":100,"
      "\"output\":100}},\"models\":{\"a\":[{\"model\":\"x/1\"},{\"model\":\"y/2\"}]}}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_FAILED, REFUSED(2), "model_call@4");
  assert_int_equal(p.st.budget.cost_pusd, 15);
  play(&p, CSN_EV_MODEL_REPLIED, COUNTED(4, 10), "tool_call@6");
  assert_int_equal(p.st.budget.cost_pusd, 15 + 1100);
  end(&p);
}

TEST(members_have_lists_of_their_own_or_the_first_ones)
{
  struct play p;
  static const char agent[] =
      "{\"name\":\"a\",\"handoffs\":[{\"agent\":\"b\",\"tool\":\"to_b\"}],\"agents\":[{\"name\":"
      "\"b\",\"model\":\"z/1\",\"handoffs\":[{\"agent\":\"c\",\"tool\":\"to_c\"}]},{\"name\":\"c\"}"
      "],\"models\":{\"a\":[{\"model\":\"x/1\"},{\"model\":\"y/2\"}]}}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[" CALL("c", "to_b") "],\"usage\":{\"total_tokens\":1}}",
       "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "c"), "model_call@6");
  assert_true(csn_str_find(last_effect(&p), CSN_STR("\"model\""), 0) == SIZE_MAX);
  STR_EQ(p.st.cfg.model, "z/1");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":6,\"items\":[" CALL("d", "to_c") "],\"usage\":{\"total_tokens\":1}}",
       "tool_call@8");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(8, "d"), "model_call@10");
  last_holds(&p, "\"model\":\"x/1\",\"why\":\"first\"");
  end(&p);
}

RUN_TESTS("run/route", RUN(the_next_takes_the_place_of_one_that_failed),
          RUN(one_that_failed_comes_last_for_five_minutes),
          RUN(a_clock_that_is_set_back_ends_the_rest),
          RUN(a_cancelled_call_is_not_made_with_another),
          RUN(conditions_look_at_context_budget_and_agent),
          RUN(the_model_of_the_soft_threshold_goes_before_the_list),
          RUN(the_price_is_that_of_the_model_that_answered),
          RUN(members_have_lists_of_their_own_or_the_first_ones))
