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
  csn_policy_call_read(&c, NULL, p.arena);
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

/* In the machine: `decided` about the first call, then what becomes of the
 * second turn's reply. */
static void
decide_then(const char *agent, const char *item, const char *always, bool allow, const char *next,
            const char *want)
{
  struct play p;
  char decided[400], reply[600];
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  snprintf(reply, sizeof reply, "{\"effect\":2,\"items\":[%s]}", item);
  play(&p, CSN_EV_MODEL_REPLIED, reply, "ask@4");
  snprintf(decided, sizeof decided, "{\"effect\":4,\"allow\":%s,\"items\":[],\"always\":%s}",
           allow ? "true" : "false", always);
  play(&p, CSN_EV_DECIDED, decided, allow ? "tool_call@6" : "model_call@6");
  if (allow)
    play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(6, "a"), "model_call@8");
  snprintf(reply, sizeof reply, "{\"effect\":%d,\"items\":[%s]}", allow ? 8 : 6, next);
  play(&p, CSN_EV_MODEL_REPLIED, reply, want);
  end(&p);
}

#define PUSH_ASKS RULES("{\"tool\":\"push\",\"do\":\"ask\"}")
#define SERVER(id, label, name)                                                                    \
  "{\"type\":\"mcp_approval_request\",\"id\":\"" id "\",\"server_label\":\"" label                 \
  "\",\"name\":\"" name "\",\"arguments\":\"{\\\"q\\\":\\\"x\\\"}\"}"

TEST(a_decision_holds_for_its_agent_its_tool_and_its_server)
{
  static const char push[] = ARGS("a", "push", "dev"), again[] = ARGS("b", "push", "dev2");
  decide_then(PUSH_ASKS, push, "{\"tool\":\"push\",\"agent\":\"a\",\"like\":\"*\"}", true, again,
              "tool_call@10");
  decide_then(PUSH_ASKS, push, "{\"tool\":\"push\",\"agent\":\"b\",\"like\":\"*\"}", true, again,
              "ask@10");
  decide_then(PUSH_ASKS, push, "{\"tool\":\"pull\",\"agent\":\"a\",\"like\":\"*\"}", true, again,
              "ask@10");
  static const char server[] = "{\"tool\":\"docs.get\",\"agent\":\"a\",\"like\":\"*\"}";
  decide_then("{\"name\":\"a\"}", SERVER("r1", "docs", "get"), server, true,
              SERVER("r2", "docs", "get"), "tool_call@10");
  decide_then("{\"name\":\"a\"}", SERVER("r1", "docs", "get"), server, true,
              SERVER("r2", "mail", "get"), "ask@10");
  decide_then("{\"name\":\"a\"}", SERVER("r1", "docs", "get"), server, true,
              SERVER("r2", "docs", "put"), "ask@10");
}

TEST(of_several_decisions_the_newest_counts)
{
  struct play p;
  begin(&p, PUSH_ASKS);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[" ARGS("a", "push", "x") "," ARGS("b", "push", "y") "]}",
       "ask@4 ask@5");
  play(
      &p, CSN_EV_DECIDED,
      "{\"effect\":4,\"allow\":true,\"always\":{\"tool\":\"push\",\"agent\":\"a\",\"like\":\"*\"}}",
      "tool_call@7");
  play(&p, CSN_EV_DECIDED,
       "{\"effect\":5,\"allow\":false,\"items\":[],\"reason\":\"no\",\"always\":{\"tool\":\"push\","
       "\"agent\":\"a\",\"like\":\"*\"}}",
       "");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(7, "a"), "model_call@10");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":10,\"items\":[" ARGS("c", "push", "z") "]}",
       "tool_call@12");
  last_holds(&p, "denied by a human: no");
  end(&p);
}

TEST(guardrails_on_a_call_look_after_rules_and_humans)
{
  struct play p;
  static const char agent[] =
      "{\"name\":\"a\",\"approvals\":[{\"tool\":\"pull\",\"do\":\"deny\"},{\"tool\":\"push\","
      "\"do\":"
      "\"ask\"}],\"guardrails\":[{\"callback\":\"g\",\"on\":\"tool_input\"}]}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[" ARGS("a", "pull", "x") "," ARGS("b", "push", "y") "]}",
       "tool_call@4 ask@5"); /* what is denied is looked at by nobody */
  assert_true(csn_str_find(p.fx.v[0].data, CSN_STR("\"answer\""), 0) != SIZE_MAX);
  play(&p, CSN_EV_DECIDED, "{\"effect\":5,\"allow\":true,\"arguments\":\"{}\"}", "callback@7");
  last_holds(&p, "\"for\":\"tool_input\"");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":7}", "tool_call@9");
  last_holds(&p, "\"arguments\":\"{}\",\"edited\":true"); /* as the human wrote it */
  end(&p);
}

RUN_TESTS("run/rules", RUN(a_rule_that_denies_answers_in_the_place_of_the_tool),
          RUN(a_decision_may_hold_for_the_same_arguments_and_for_no_others),
          RUN(a_decision_may_hold_for_a_pattern_and_may_deny),
          RUN(what_a_human_edited_is_what_is_called),
          RUN(a_decision_holds_for_its_agent_its_tool_and_its_server),
          RUN(of_several_decisions_the_newest_counts),
          RUN(guardrails_on_a_call_look_after_rules_and_humans))
