/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules and decisions in the machine: what is denied, what holds for later
 * calls, what was edited. */
#include "play.h"
#include "run/policy.h"

#define RULES(list) "{\"name\":\"a\",\"approvals\":[" list "]}"
#define ARGS(id, name, args)                                                                       \
  "{\"type\":\"function_call\",\"call_id\":\"" id "\",\"name\":\"" name                            \
  "\",\"arguments\":\"{\\\"x\\\":\\\"" args "\\\"}\"}"

TEST(a_rule_that_denies_answers_in_the_place_of_the_tool)
{
  struct play p;
  begin(&p, RULES("{\"tool\":\"push\",\"match\":\"main*\",\"do\":\"deny\",\"reason\":\"no\"}"));
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[" ARGS("a", "push", "dev") "," ARGS("b", "push", "main2") "]}",
       "tool_call@4 tool_call@5");
  assert_true(csn_str_find(p.fx.v[0].data, CSN_STR("answer"), 0) == SIZE_MAX);
  assert_true(csn_str_find(p.fx.v[1].data,
                           CSN_STR("\"answer\":\"The call was not made: it was denied by a rule of "
                                   "this agent: no\""),
                           0) != SIZE_MAX);
  end(&p);
}

TEST(a_decision_may_hold_for_the_same_arguments_and_for_no_others)
{
  struct play p;
  char decided[300], hex[65];
  begin(&p, RULES("{\"tool\":\"push\",\"do\":\"ask\"}"));
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" ARGS("a", "push", "dev") "]}",
       "ask@4");
  csn_policy_call c = {.tool = CSN_STR("push"), .input = CSN_STR("{ \"x\" : \"dev\" }")};
  csn_policy_call_read(&c, p.arena);
  csn_digest scope = csn_policy_scope(&c);
  csn_digest_hex(&scope, hex);
  snprintf(
      decided, sizeof decided,
      "{\"effect\":4,\"allow\":true,\"always\":{\"tool\":\"push\",\"agent\":\"a\",\"scope\":\"%s\","
      "\"until_ms\":2000}}",
      hex);
  play(&p, CSN_EV_DECIDED, decided, "tool_call@6");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(6, "a"), "model_call@8");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":8,\"items\":[" ARGS("b", "push", "dev") "," ARGS("c", "push", "main") "]}",
       "tool_call@10 ask@11");
  play(&p, CSN_EV_DECIDED, "{\"effect\":11,\"allow\":false,\"items\":[]}", "");
  p.ts = 2000; /* it has expired */
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(10, "b"), "model_call@14");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":14,\"items\":[" ARGS("d", "push", "dev") "]}",
       "ask@16");
  end(&p);
}

TEST(a_decision_may_hold_for_a_pattern_and_may_deny)
{
  struct play p;
  begin(&p, RULES("{\"tool\":\"push\",\"do\":\"ask\"}"));
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" ARGS("a", "push", "dev") "]}",
       "ask@4");
  play(&p, CSN_EV_DECIDED,
       "{\"effect\":4,\"allow\":false,\"items\":[],\"reason\":\"never\",\"always\":{\"tool\":"
       "\"push\","
       "\"agent\":\"a\",\"like\":\"d*\"}}",
       "model_call@6");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":6,\"items\":[" ARGS("b", "push", "dev2") "," ARGS("c", "push", "main") "]}",
       "tool_call@8 ask@9");
  assert_true(csn_str_find(p.fx.v[0].data, CSN_STR("denied by a human: never"), 0) != SIZE_MAX);
  end(&p);
}

TEST(what_a_human_edited_is_what_is_called)
{
  struct play p;
  begin(&p, RULES("{\"do\":\"ask\"}"));
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" ARGS("a", "push", "dev") "]}",
       "ask@4");
  play(&p, CSN_EV_DECIDED, "{\"effect\":4,\"allow\":true,\"arguments\":\"{}\"}", "tool_call@6");
  STR_EQ(last_effect(&p),
         "{\"call_id\":\"a\",\"name\":\"push\",\"arguments\":\"{}\",\"edited\":true}");
  end(&p);
}

RUN_TESTS("run/rules", RUN(a_rule_that_denies_answers_in_the_place_of_the_tool),
          RUN(a_decision_may_hold_for_the_same_arguments_and_for_no_others),
          RUN(a_decision_may_hold_for_a_pattern_and_may_deny),
          RUN(what_a_human_edited_is_what_is_called))
