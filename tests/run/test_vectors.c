/* SPDX-License-Identifier: Apache-2.0
 *
 * Values that other software for agents gives for the same input, measured
 * there, where ours are to be the same: names and texts of hand-offs and of
 * agents as tools, and answers of hand-offs.  Schemas are in test_schema.c,
 * patches in tests/golden/patch, requests in tests/golden/model and e2e/turns. */
#include "bench.h"
#include "play.h"
#include "run/agent_impl.h"

static const struct {
  const char *agent, *description; /* of the agent that is handed off to */
  const char *entry;               /* more of the hand-off's entry */
  const char *tool, *text;
} rows[] = {
    {"Billing Agent (EU)", NULL, "", "transfer_to_billing_agent__eu_",
     "Handoff to the Billing Agent (EU) agent to handle the request. "},
    {"B", "does b", "", "transfer_to_b", "Handoff to the B agent to handle the request. does b"},
    {"x-Y.9", "", "", "transfer_to_x_y_9", "Handoff to the x-Y.9 agent to handle the request. "},
    {"b", "does b", ",\"tool\":\"call_b\",\"description\":\"Over to b.\"", "call_b", "Over to b."},
};

#define EMPTY                                                                                      \
  "{\"additionalProperties\":false,\"type\":\"object\",\"properties\":{},\"required\":[]}"

TEST(hand_offs_have_the_names_texts_and_schemas_that_models_know)
{
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    struct bench b;
    csn_err err;
    char entry[300];
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    bench_init(&b, "rules: []\n");
    csn_agent *to = csn_agent_new(rows[i].agent);
    if (rows[i].description)
      csn_agent_set_description(to, rows[i].description);
    OK(csn_agent_add_agent(b.agent, to, &err), &err);
    snprintf(entry, sizeof entry, "[{\"agent\":\"%s\"%s}]", rows[i].agent, rows[i].entry);
    bench_set(&b, "handoffs", entry);
    csn_tool_decl d = csn_agent_handoff_decl(b.agent, b.agent->handoffs->child, a);
    STR_EQ(d.name, rows[i].tool);
    STR_EQ(d.description, rows[i].text);
    STR_EQ(d.schema, EMPTY);
    assert_true(d.strict);
    bench_fini(&b);
  }
}

TEST(the_answer_of_a_hand_off_names_the_agent)
{
  struct play p;
  begin(&p, "{\"name\":\"a\",\"handoffs\":[{\"agent\":\"Billing Agent (EU)\",\"tool\":\"t\"}],"
            "\"agents\":[{\"name\":\"Billing Agent (EU)\"}]}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "t") "]}", "tool_call@4");
  last_holds(&p, "\"answer\":\"{\\\"assistant\\\": \\\"Billing Agent (EU)\\\"}\"");
  end(&p);
}

/* The tool is named like the agent; the text is the agent's own, then the entry's. */
TEST(agents_as_tools_have_one_strict_text)
{
  static const struct {
    const char *entry, *tool, *text;
  } uses[] = {
      {"[\"Fix It!\"]", "fix_it_", "Repairs."},
      {"[{\"agent\":\"Fix It!\",\"tool\":\"fix\",\"description\":\"Ask it.\"}]", "fix", "Ask it."}};
  for (size_t i = 0; i < CSN_COUNT(uses); i++) {
    struct bench b;
    csn_err err;
    bench_init(&b, "rules: []\n");
    csn_agent *to = csn_agent_new("Fix It!");
    csn_agent_set_description(to, "Repairs.");
    OK(csn_agent_add_agent(b.agent, to, &err), &err);
    bench_set(&b, "agent_tools", uses[i].entry);
    csn_tool_decl d = csn_agent_child_decl(b.agent, b.agent->agent_tools->child);
    STR_EQ(d.name, uses[i].tool);
    STR_EQ(d.description, uses[i].text);
    STR_EQ(d.schema, "{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"}},"
                     "\"additionalProperties\":false,\"required\":[\"input\"]}");
    assert_true(d.strict);
    bench_fini(&b);
  }
}

RUN_TESTS("run/vectors", RUN(hand_offs_have_the_names_texts_and_schemas_that_models_know),
          RUN(the_answer_of_a_hand_off_names_the_agent), RUN(agents_as_tools_have_one_strict_text))
