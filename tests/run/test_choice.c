/* SPDX-License-Identifier: Apache-2.0
 *
 * A choice of tools that is forced by the settings, and how it ends. */
#include "bench.h"
#include "play.h"

#define FREE "\"free_choice\":true"

static void
last_lacks(struct play *p, const char *text)
{
  csn_str s = last_effect(p);
  if (csn_str_find(s, csn_cstr(text), 0) != SIZE_MAX)
    fail_msg("%.*s holds %s", (int)s.n, s.p, text);
}

/* The second call of an agent that has used a tool. */
static void
second_call(const char *agent, bool is_free)
{
  struct play p;
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  last_lacks(&p, "free_choice");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "t") "]}", "tool_call@4");
  reread(&p, agent);
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "model_call@6");
  is_free ? last_holds(&p, FREE) : last_lacks(&p, "free_choice");
  end(&p);
}

TEST(it_holds_until_the_agent_has_used_a_tool)
{
  static const char resets[] = "{\"reset_tool_choice\":true}";
  second_call(resets, true);
  second_call("{\"reset_tool_choice\":false}", false);
  second_call("{}", false); /* of a run that began before there was the key */
  static const struct {
    const char *type;
    bool counts;
  } hosted[] = {{"web_search_call", true},
                {"mcp_call", true},
                {"mcp_list_tools", false},
                {"tool_search_call", false}};
  for (size_t i = 0; i < CSN_COUNT(hosted); i++) {
    struct play p;
    char reply[200];
    begin(&p, resets);
    play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
    snprintf(reply, sizeof reply, "{\"effect\":2,\"items\":[{\"type\":\"%s\"}]}", hosted[i].type);
    play(&p, CSN_EV_MODEL_REPLIED, reply, "model_call@4");
    hosted[i].counts ? last_holds(&p, FREE) : last_lacks(&p, FREE);
    end(&p);
  }
}

#define TEAM                                                                                       \
  "{\"name\":\"a\",\"reset_tool_choice\":true,\"handoffs\":[{\"agent\":\"b\",\"tool\":\"to_b\"}]," \
  "\"agents\":[{\"name\":\"b\",\"reset_tool_choice\":true,\"handoffs\":[{\"agent\":\"a\","         \
  "\"tool\":\"to_a\"}]}]}"

TEST(each_agent_has_its_own)
{
  struct play p;
  begin(&p, TEAM);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":2,\"items\":[" CALL("a", "to_b") "]}", "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "model_call@6");
  last_holds(&p, "\"agent\":\"b\"");
  last_lacks(&p, FREE);
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":6,\"items\":[" CALL("b", "to_a") "]}", "tool_call@8");
  reread(&p, TEAM);
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(8, "b"), "model_call@10");
  last_holds(&p, "\"agent\":\"a\"," FREE);
  end(&p);
}

static void
resolved(csn_agent *a, csn_buf *out)
{
  csn_jw w;
  csn_err err;
  csn_buf_clear(out);
  csn_jw_init(&w, out);
  csn_agent_to_json(a, &w);
  OK(csn_jw_done(&w, &err), &err);
}

TEST(the_key_is_written_where_there_is_a_choice_and_is_true_unless_said)
{
  static const struct {
    const char *yaml, *holds;
  } rows[] = {
      {"{\"name\":\"x\",\"settings\":{\"tool_choice\":\"required\"}}",
       "\"reset_tool_choice\":true"},
      {"{\"name\":\"x\",\"settings\":{\"tool_choice\":\"t\"},\"reset_tool_choice\":false}",
       "\"reset_tool_choice\":false"},
      {"{\"name\":\"x\",\"reset_tool_choice\":false}", NULL},
  };
  csn_auto(csn_buf_finip) csn_buf first = CSN_BUF(1 << 16), again = CSN_BUF(1 << 16);
  csn_err err;
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
    csn_auto(csn_agent_freep) csn_agent *a = NULL, *b = NULL;
    const csn_json *v;
    OK(csn_json_parse(arena, csn_cstr(rows[i].yaml), &v, &err), &err);
    OK(csn_agent_from_json(&a, v, "f", "/", &err), &err);
    resolved(a, &first);
    bool has = strstr(first.p, "reset_tool_choice") != NULL;
    assert_int_equal(has, rows[i].holds != NULL);
    if (rows[i].holds)
      assert_non_null(strstr(first.p, rows[i].holds));
    OK(csn_json_parse(arena, csn_buf_str(&first), &v, &err), &err);
    OK(csn_agent_from_json(&b, v, "f", "/", &err), &err);
    resolved(b, &again);
    STR_EQ(csn_buf_str(&again), first.p);
  }
  csn_auto(csn_agent_freep) csn_agent *c = csn_agent_new("c");
  OK(csn_agent_set(c, "reset_tool_choice", CSN_STR("false"), &err), &err);
  assert_int_equal(csn_agent_set(c, "reset_tool_choice", CSN_STR("1"), &err), CSN_E_INVALID);
}

RUN_TESTS("run/choice", RUN(it_holds_until_the_agent_has_used_a_tool), RUN(each_agent_has_its_own),
          RUN(the_key_is_written_where_there_is_a_choice_and_is_true_unless_said))
