/* SPDX-License-Identifier: Apache-2.0
 *
 * Labels: what makes a run untrusted, that it stays so, and what its rules then
 * say; the section `untrusted` and the rules that name the label. */
#include "caisson/agent.h"
#include "play.h"

#define RULES                                                                                      \
  "{\"approvals\":[{\"tool\":\"push\",\"label\":\"untrusted\",\"do\":\"deny\",\"reason\":\"no\"}]" \
  "}"
#define FROM_WEB(effect, id)                                                                       \
  "{\"effect\":" #effect ",\"items\":[{\"type\":\"function_call_output\",\"call_id\":\"" id        \
  "\",\"output\":\"ok\"}],\"untrusted\":\"web\"}"

TEST(a_result_that_is_not_to_be_trusted_labels_the_run_for_good)
{
  struct play p;
  begin(&p, RULES);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "push") "]}", "tool_call@4");
  assert_true(csn_str_find(last_effect(&p), CSN_STR("answer"), 0) == SIZE_MAX);
  play(&p, CSN_EV_TOOL_RETURNED, FROM_WEB(4, "a"), "model_call@6");
  assert_string_equal(p.st.untrusted, "web");
  reread(&p, RULES);
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":6,\"items\":[" CALL("b", "push") "," CALL("c", "t") "]}",
       "tool_call@8 tool_call@9");
  assert_true(csn_str_find(p.fx.v[0].data, CSN_STR("denied by a rule of this agent: no"), 0) !=
              SIZE_MAX);
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(8, "b"), "");
  play(&p, CSN_EV_TOOL_RETURNED,
       "{\"effect\":9,\"items\":[{\"output\":\"x\"}],\"untrusted\":\"tool\"}", "model_call@12");
  assert_string_equal(p.st.untrusted, "web"); /* the first reason */
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(12, "done"), "finish@14");
  last_holds(&p, "\"untrusted\":\"web\"");
  end(&p);
}

TEST(calls_of_the_same_turn_that_begin_later_are_judged_with_the_label)
{
  struct play p;
  begin(&p, "{\"limits\":{\"parallel\":1},\"approvals\":[{\"tool\":\"push\",\"label\":"
            "\"untrusted\",\"do\":\"ask\"}]}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[" CALL("a", "t") "," CALL("b", "push") "]}", "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, FROM_WEB(4, "a"), "ask@6");
  end(&p);
}

TEST(what_the_provider_found_in_the_web_labels_the_run)
{
  struct play p;
  begin(&p, RULES);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[{\"type\":\"web_search_call\"}," CALL("b", "push") "]}",
       "tool_call@4");
  last_holds(&p, "denied");
  end(&p);
}

TEST(a_hand_off_is_a_call_that_a_label_may_forbid)
{
  struct play p;
  begin(&p,
        "{\"name\":\"a\",\"handoffs\":[{\"agent\":\"b\",\"tool\":\"transfer_to_b\"}],\"agents\":["
        "{\"name\":\"b\"}],\"approvals\":[{\"tool\":\"transfer_to_b\",\"label\":\"untrusted\","
        "\"do\":\"deny\"}]}");
  play(&p, CSN_EV_INPUT,
       "{\"items\":[{\"role\":\"user\",\"content\":\"hi\"}],\"untrusted\":\"agent\"}",
       "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("x", "transfer_to_b") "]}",
       "tool_call@4");
  last_holds(&p, "denied");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "x"), "model_call@6");
  STR_EQ(p.st.cfg.agent, "a");
  end(&p);
}

static int
load(csn_agent **a, const char *json, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  const csn_json *v;
  OK(csn_json_parse(arena, csn_cstr(json), &v, err), err);
  return csn_agent_from_json(a, v, "f", "/", err);
}

TEST(mistakes_in_the_sections_are_told)
{
  static const struct {
    const char *section, *text;
  } rows[] = {
      {"\"untrusted\":[]", "untrusted: expected an object"},
      {"\"untrusted\":{\"files\":[]}", "the keys here are: entries, tools"},
      {"\"untrusted\":{\"tools\":\"x\"}", "untrusted: expected a list"},
      {"\"untrusted\":{\"tools\":[1]}", "untrusted: expected names"},
      {"\"approvals\":[{\"label\":\"evil\",\"do\":\"ask\"}]",
       "approvals.label: expected untrusted"},
      {"\"approvals\":[{\"network\":\"post\",\"do\":\"deny\"}]", "expected write or any"},
      {"\"approvals\":[{\"network\":\"write\",\"do\":\"ask\"}]", "expected `do: deny`"},
      {"\"approvals\":[{\"network\":\"write\",\"do\":\"deny\",\"tool\":\"x\"}]", "has no tool"},
      /* keys of the resolved form are known, and not told */
      {"\"limits\":{\"wal\":1}", "turns, wall, output"},
      {"\"colour\":1", "outputs, folder, settings"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    char json[300];
    csn_agent *a = NULL;
    csn_err err;
    snprintf(json, sizeof json, "{\"name\":\"n\",%s}", rows[i].section);
    assert_int_equal(load(&a, json, &err), CSN_E_INVALID);
    if (!strstr(err.msg, rows[i].text))
      fail_msg("%s does not hold %s", err.msg, rows[i].text);
  }
}

RUN_TESTS("run/label", RUN(a_result_that_is_not_to_be_trusted_labels_the_run_for_good),
          RUN(calls_of_the_same_turn_that_begin_later_are_judged_with_the_label),
          RUN(what_the_provider_found_in_the_web_labels_the_run),
          RUN(a_hand_off_is_a_call_that_a_label_may_forbid), RUN(mistakes_in_the_sections_are_told))
