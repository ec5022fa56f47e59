/* SPDX-License-Identifier: Apache-2.0
 * Calls that are answered by items of their own, in the machine: who is asked
 * before, and that a state that is read back asks and answers alike. */
#include "play.h"
#include "run/items.h"

#define REPLY(effect, item) "{\"effect\":" #effect ",\"items\":[" item "],\"usage\":{}}"
#define LOOK(more)                                                                                 \
  "{\"type\":\"computer_call\",\"call_id\":\"c1\",\"action\":{\"type\":\"screenshot\"}" more "}"
#define ASK                                                                                        \
  "{\"type\":\"mcp_approval_request\",\"id\":\"r1\",\"server_label\":\"docs\",\"name\":\"get\","   \
  "\"arguments\":\"{}\"}"
#define OUT(effect, type)                                                                          \
  "{\"effect\":" #effect ",\"items\":[{\"type\":\"" type "\",\"call_id\":\"c1\"}]}"

static const char agent[] = "{\"name\":\"a\"}";

TEST(an_action_on_a_computer_is_a_call_of_that_name)
{
  struct play p;
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, REPLY(2, LOOK("")), "tool_call@4");
  last_holds(&p, "\"name\":\"computer\",\"arguments\":\"{\\\"actions\\\":[{\\\"type\\\":"
                 "\\\"screenshot\\\"}]}\",\"how\":\"computer\"");
  reread(&p, agent);
  assert_int_equal(p.st.pending[0].how, CSN_HOW_COMPUTER);
  play(&p, CSN_EV_TOOL_RETURNED, OUT(4, "computer_call_output"), "model_call@6");
  end(&p);
}

TEST(doubts_of_the_provider_and_questions_of_a_server_wait_for_a_human)
{
  static const char *const items[] = {REPLY(2, LOOK(",\"pending_safety_checks\":[{\"id\":\"s\"}]")),
                                      REPLY(2, ASK)};
  static const char rules[] = "{\"name\":\"a\",\"approvals\":[{\"tool\":\"computer\",\"do\":"
                              "\"allow\"},{\"tool\":\"docs.*\","
                              "\"do\":\"allow\"}]}";
  for (size_t i = 0; i < CSN_COUNT(items); i++) {
    struct play p;
    begin(&p, agent);
    play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
    play(&p, CSN_EV_MODEL_REPLIED, items[i], "ask@4");
    reread(&p, agent);
    assert_true(csn_state_waits(&p.st));
    play(&p, CSN_EV_DECIDED, "{\"effect\":4,\"allow\":true}", "tool_call@6");
    end(&p);
    begin(&p, rules);
    play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
    play(&p, CSN_EV_MODEL_REPLIED, items[i], "tool_call@4");
    end(&p);
  }
}

TEST(guardrails_look_at_what_is_asked_for_and_at_functions_results_only)
{
  static const struct {
    const char *reply, *result;
  } rows[] = {{REPLY(2, LOOK("")), OUT(6, "computer_call_output")},
              {REPLY(2, ASK), OUT(6, "mcp_approval_response")}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    struct play p;
    begin(&p, "{\"name\":\"a\",\"approvals\":[{\"do\":\"allow\"}],\"guardrails\":[{\"callback\":"
              "\"g\",\"on\":\"tool_input\"},{\"callback\":\"h\",\"on\":\"tool_output\"}]}");
    play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
    play(&p, CSN_EV_MODEL_REPLIED, rows[i].reply, "callback@4");
    play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":4}", "tool_call@6");
    play(&p, CSN_EV_TOOL_RETURNED, rows[i].result, "model_call@8");
    end(&p);
  }
  struct play p; /* a hand-off is no call of a tool to them */
  begin(&p,
        "{\"name\":\"a\",\"handoffs\":[{\"agent\":\"b\",\"tool\":\"to_b\"}],\"agents\":[{\"name\":"
        "\"b\"}],\"guardrails\":[{\"callback\":\"g\",\"on\":\"tool_input\"},{\"callback\":\"h\","
        "\"on\":\"tool_output\"}]}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("c", "to_b") "]}", "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "c"), "model_call@6");
  end(&p);
}

static void
answer_is(const struct csn_call_answer *a, const char *want)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(10000);
  csn_jw w;
  csn_err err;
  csn_jw_init(&w, &b);
  csn_jw_arr(&w);
  csn_item_answer(&w, a);
  csn_jw_end(&w);
  OK(csn_jw_done(&w, &err), &err);
  if (!strstr(b.p, want))
    fail_msg("%s does not hold %s", b.p, want);
}

TEST(each_kind_of_call_has_its_kind_of_answer)
{
  struct csn_call_answer a = {.how = CSN_HOW_COMPUTER,
                              .call_id = CSN_STR("c1"),
                              .input = CSN_STR("{\"pending_safety_checks\":[{\"id\":\"s\"}]}"),
                              .parts = CSN_STR("[{\"type\":\"input_image\",\"image_url\":\"u\"}]")};
  answer_is(&a, "[{\"type\":\"computer_call_output\",\"call_id\":\"c1\",\"output\":{\"type\":"
                "\"computer_screenshot\",\"image_url\":\"u\"},\"acknowledged_safety_checks\":[{"
                "\"id\":\"s\"}]}]");
  a = (struct csn_call_answer){.how = CSN_HOW_COMPUTER, .is_denied = true, .text = CSN_STR("no")};
  answer_is(&a, "},{\"role\":\"developer\",\"content\":\"no\"}]");
  a = (struct csn_call_answer){.how = CSN_HOW_MCP, .call_id = CSN_STR("r1")};
  answer_is(&a, "[{\"type\":\"mcp_approval_response\",\"approval_request_id\":\"r1\","
                "\"approve\":true}]");
  a = (struct csn_call_answer){.is_custom = true, .call_id = CSN_STR("x"), .text = CSN_STR("t")};
  answer_is(&a, "[{\"type\":\"custom_tool_call_output\",\"call_id\":\"x\",\"output\":\"t\"}]");
}

RUN_TESTS("run/hosted", RUN(an_action_on_a_computer_is_a_call_of_that_name),
          RUN(doubts_of_the_provider_and_questions_of_a_server_wait_for_a_human),
          RUN(each_kind_of_call_has_its_kind_of_answer),
          RUN(guardrails_look_at_what_is_asked_for_and_at_functions_results_only))
