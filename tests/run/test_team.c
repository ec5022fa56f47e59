/* SPDX-License-Identifier: Apache-2.0
 *
 * Several agents in one run: hand-offs in the machine and for real. */
#include "bench.h"
#include "play.h"

#define TEAM(limits)                                                                               \
  "{\"name\":\"coder\",\"model\":\"m\",\"handoffs\":[{\"agent\":\"reviewer\",\"tool\":"            \
  "\"transfer_to_reviewer\"},{\"agent\":\"boss\",\"tool\":\"transfer_to_boss\",\"filter\":"        \
  "\"last\"}],\"limits\":{" limits "},\"agents\":[{\"name\":\"reviewer\",\"model\":\"n\","         \
  "\"handoffs\":[{\"agent\":\"coder\",\"tool\":\"transfer_to_coder\"}]},{\"name\":\"boss\","       \
  "\"guardrails\":[{\"callback\":\"g\",\"on\":\"output\"}]}]}"

TEST(a_hand_off_waits_for_the_turn_and_the_first_one_counts)
{
  struct play p;
  begin(&p, TEAM(""));
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  last_holds(&p, "\"agent\":\"coder\"");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[" CALL("a", "t") "," CALL("b", "transfer_to_boss") "," CALL(
           "c", "transfer_to_reviewer") "]}",
       "tool_call@4 tool_call@5 tool_call@6");
  last_holds(&p, "\"answer\":\"Multiple handoffs detected, ignoring this one.\"");
  assert_true(csn_str_find(p.fx.v[1].data, CSN_STR("{\\\"assistant\\\": \\\"boss\\\"}"), 0) !=
              SIZE_MAX);
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(5, "b"), "");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(6, "c"), "");
  reread(&p, TEAM(""));
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "model_call@10");
  last_holds(&p, "\"agent\":\"boss\",\"filter\":\"last\",\"filter_to\":9,\"gate\":true");
  reread(&p, TEAM(""));
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(10, "done"),
       "callback@12"); /* the last agent's guardrail */
  end(&p);
}

/* The model's reply to `effect` is a hand-off. */
static void
hand_off(struct play *p, int64_t effect, const char *tool, const char *want)
{
  char reply[300], output[200], call[40];
  snprintf(
      reply, sizeof reply,
      "{\"effect\":%lld,\"items\":[{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"%s\","
      "\"arguments\":\"{}\"}]}",
      (long long)effect, tool);
  snprintf(call, sizeof call, "tool_call@%lld", (long long)effect + 2);
  snprintf(output, sizeof output, "{\"effect\":%lld,\"items\":[{\"output\":\"x\"}]}",
           (long long)effect + 2);
  play(p, CSN_EV_MODEL_REPLIED, reply, call);
  play(p, CSN_EV_TOOL_RETURNED, output, want);
}

TEST(hand_offs_to_and_fro_without_anything_new_are_a_loop)
{
  struct play p;
  begin(&p, TEAM("\"handoffs\":3"));
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  hand_off(&p, 2, "transfer_to_reviewer", "model_call@6");
  hand_off(&p, 6, "transfer_to_coder", "model_call@10");
  hand_off(&p, 10, "transfer_to_reviewer", "finish@14");
  assert_string_equal(p.st.reason, "loop_detected");
  last_holds(&p, "\"limit\":{\"what\":\"handoffs\",\"max\":3,\"used\":3}");
  end(&p);

  begin(&p, TEAM("\"handoffs\":3,\"repeats\":9"));
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  hand_off(&p, 2, "transfer_to_reviewer", "model_call@6");
  hand_off(&p, 6, "transfer_to_coder", "model_call@10");
  hand_off(&p, 10, "patch", "model_call@14"); /* something new */
  hand_off(&p, 14, "transfer_to_reviewer", "model_call@18");
  hand_off(&p, 18, "transfer_to_coder", "model_call@22");
  hand_off(&p, 22, "patch", "model_call@26"); /* the same once more is not */
  hand_off(&p, 26, "transfer_to_reviewer", "finish@30");
  end(&p);
}

TEST(a_tool_of_another_agent_is_no_hand_off)
{
  struct play p;
  begin(&p, TEAM(""));
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  hand_off(&p, 2, "transfer_to_coder", "model_call@6");
  last_holds(&p, "\"agent\":\"coder\"");
  end(&p);
}

#define WITH_INPUT_AND(limits)                                                                     \
  "{\"name\":\"a\",\"handoffs\":[{\"agent\":\"b\",\"tool\":\"to_b\",\"filter\":{\"callback\":"     \
  "\"f\"},"                                                                                        \
  "\"input_schema\":{\"type\":\"object\",\"properties\":{\"why\":{\"type\":\"string\"},"           \
  "\"urgency\":{"                                                                                  \
  "\"enum\":[1,2]}},\"required\":[\"why\",\"urgency\"],\"additionalProperties\":false}}],"         \
  "\"limits\":{" limits "},\"agents\":[{\"name\":\"b\"}]}"
#define WITH_INPUT WITH_INPUT_AND("")
#define TO_B(id, args)                                                                             \
  "{\"type\":\"function_call\",\"call_id\":\"" id "\",\"name\":\"to_b\",\"arguments\":\"" args "\"}"

TEST(a_hand_off_may_want_an_input_and_is_not_made_without)
{
  static const struct {
    const char *args, *complaint;
  } bad[] = {{"", "input: why is missing"},
             {"{\\\"why\\\":1,\\\"urgency\\\":1}", "input.why: expected string, got a number"},
             {"{\\\"why\\\":\\\"x\\\",\\\"urgency\\\":3}", "input.urgency: "},
             {"{\\\"why\\\":\\\"x\\\",\\\"urgency\\\":1,\\\"z\\\":1}", "z"},
             {"{oops", "Invalid input for the hand-off: "}};
  struct play p;
  char reply[400];
  for (size_t i = 0; i < CSN_COUNT(bad); i++) {
    begin(&p, WITH_INPUT);
    play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
    snprintf(reply, sizeof reply, "{\"effect\":2,\"items\":[" TO_B("c", "%s") "]}", bad[i].args);
    play(&p, CSN_EV_MODEL_REPLIED, reply, "tool_call@4");
    last_holds(&p, "\"answer\":\"Invalid input for the hand-off: ");
    last_holds(&p, bad[i].complaint);
    play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "c"), "model_call@6");
    last_holds(&p, "\"agent\":\"a\"");
    end(&p);
  }
  begin(&p, WITH_INPUT); /* of several the first that is one counts */
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[" TO_B("c", "{}") "," TO_B(
           "d", "{\\\"why\\\":\\\"it broke\\\",\\\"urgency\\\":2}") "]}",
       "tool_call@4 tool_call@5");
  last_holds(&p, "{\\\"assistant\\\": \\\"b\\\"}");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "c"), "");
  reread(&p, WITH_INPUT);
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(5, "d"), "callback@8");
  last_holds(&p, "{\"for\":\"handoff\",\"callbacks\":[\"f\"],\"input\":"
                 "\"{\\\"why\\\":\\\"it broke\\\",\\\"urgency\\\":2}\"}");
  reread(&p, WITH_INPUT);
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":8}", "model_call@10");
  last_holds(&p, "\"agent\":\"b\"");
  end(&p);
}

TEST(the_same_wrong_input_again_and_again_is_a_loop)
{
  struct play p;
  char reply[200], want[40];
  begin(&p, WITH_INPUT_AND("\"repeats\":3"));
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  for (int i = 0; i < 3; i++) {
    int at = 2 + 4 * i;
    snprintf(reply, sizeof reply, "{\"effect\":%d,\"items\":[" TO_B("c", "{}") "]}", at);
    snprintf(want, sizeof want, "tool_call@%d", at + 2);
    play(&p, CSN_EV_MODEL_REPLIED, reply, want);
    snprintf(reply, sizeof reply, "{\"effect\":%d,\"items\":[{\"output\":\"Invalid\"}]}", at + 2);
    snprintf(want, sizeof want, i < 2 ? "model_call@%d" : "finish@%d", at + 4);
    play(&p, CSN_EV_TOOL_RETURNED, reply, want);
  }
  assert_string_equal(p.st.reason, "loop_detected");
  end(&p);
}

TEST(a_hand_off_goes_before_a_result_that_would_be_the_answer)
{
  struct play p;
  static const char agent[] = "{\"name\":\"a\",\"tool_use\":\"stop_on_first\",\"handoffs\":[{"
                              "\"agent\":\"b\",\"tool\":\"to_b\"}],"
                              "\"agents\":[{\"name\":\"b\"}]}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[" CALL("a", "t") "," CALL("b", "to_b") "]}",
       "tool_call@4 tool_call@5");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "");
  reread(&p, agent);
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(5, "b"), "model_call@8");
  last_holds(&p, "\"agent\":\"b\"");
  end(&p);
}

/* ---- for real ---- */

static void
load(struct bench *b, const char *yaml)
{
  csn_err err;
  char path[120];
  csn_agent_free(b->agent);
  bench_write(b, "agent.yaml", yaml);
  snprintf(path, sizeof path, "%s/agent.yaml", b->folder);
  OK(csn_agent_load(&b->agent, path, &err), &err);
}

#define CODER                                                                                      \
  "rules:\n- {name: first, when: {first: true}, reply: [{transfer_to_reviewer: {}}]}\n"            \
  "- {name: back, reply: never}\n"
#define FILE(more)                                                                                 \
  "name: coder\nmodel: script:book.yaml\ncapabilities: []\nhandoffs: [" more "]\nagents:\n"        \
  "- {name: reviewer, description: Reads code., model: \"script:reviewer.yaml\"}\n"

TEST(the_other_agent_goes_on_with_its_own_model)
{
  struct bench b;
  bench_init(&b, CODER);
  bench_write(
      &b, "reviewer.yaml",
      "rules: [{name: end, when: {contains: '{\"assistant\": \"reviewer\"}'}, reply: fine}]\n");
  load(&b, FILE("reviewer"));
  csn_run *r = bench_start(&b);
  csn_result res = bench_await(&b, r);
  STR_EQ(res.output, "fine");
  assert_int_equal(res.turns, 2);
  csn_run_free(r);
  bench_fini(&b);
}

TEST(a_filter_leaves_messages_or_the_last_one)
{
  static const char *const filters[] = {"messages", "last"};
  for (size_t i = 0; i < CSN_COUNT(filters); i++) {
    struct bench b;
    char yaml[400];
    bench_init(&b, CODER);
    bench_write(&b, "reviewer.yaml",
                "rules: [{name: end, when: {first: true, task: '^go$'}, reply: it begins}]\n");
    snprintf(yaml, sizeof yaml, FILE("{agent: reviewer, filter: %s}"), filters[i]);
    load(&b, yaml);
    csn_run *r = bench_start(&b);
    STR_EQ(bench_await(&b, r).output, "it begins");
    csn_run_free(r);
    bench_fini(&b);
  }
}

TEST(members_made_by_a_program_have_their_tools_also_after_a_resume)
{
  struct bench b;
  csn_err err;
  char model[100], id[40];
  bench_init(&b, "rules: [{name: first, reply: [{transfer_to_the_helper: {}}]}]\n");
  bench_write(&b, "helper.yaml",
              "rules:\n- {name: ask, when: {tool: transfer_to_the_helper}, reply: [{push: {}}]}\n"
              "- {name: end, when: {contains: call 1}, reply: pushed}\n");
  snprintf(model, sizeof model, "script:%s/helper.yaml", b.folder);
  csn_agent *helper = csn_agent_new("The helper");
  csn_agent_set_model(helper, model);
  csn_tool t = {.size = sizeof t,
                .name = "push",
                .description = "d",
                .schema = "{}",
                .call = bench_count,
                .user = &b};
  OK(csn_agent_add_tool(helper, &t, &err), &err);
  OK(csn_agent_add_agent(b.agent, helper, &err), &err);
  bench_set(&b, "handoffs", "[\"The helper\"]");
  bench_set(&b, "approvals", "[{\"agent\":\"The helper\",\"tool\":\"p*\",\"do\":\"ask\"}]");
  csn_run *r = bench_start(&b);
  snprintf(id, sizeof id, "%s", csn_run_id(r));
  assert_int_equal(bench_await(&b, r).state, CSN_RUN_WAITING);
  csn_run_free(r);
  csn_run_options o = {.tools = &t, .n_tools = 1};
  OK(csn_run_resume(b.rt, csn_cstr(id), &o, &r, &err), &err);
  const csn_decision yes = {.allow = true};
  OK(csn_run_decide(r, CSN_STR(""), &yes, &err), &err);
  STR_EQ(bench_await(&b, r).output, "pushed");
  csn_run_free(r);
  bench_fini(&b);
}

static int
keep_last(void *user, csn_scope *sc, const csn_json *in, csn_buf *out, csn_err *err)
{
  (void)sc, (void)err;
  const csn_json *items = csn_json_get(in, "items");
  *(size_t *)user = items->n;
  if (csn_json_get(in, "input"))
    assert_int_equal(csn_json_int(csn_json_get(in, "input"), "urgency", 0), 2);
  csn_buf_addz(out, "{\"items\":[{\"role\":\"user\",\"content\":\"filtered\"}]}");
  return 0;
}

TEST(a_function_says_what_the_next_agent_sees)
{
  struct bench b;
  char model[100];
  size_t seen = 0;
  csn_err err;
  bench_init(&b, "rules:\n- {name: over, reply: [{transfer_to_helper: {urgency: 2}}]}\n");
  bench_write(&b, "helper.yaml",
              "rules:\n- {name: end, when: {task: filtered, turn: 1}, reply: it was}\n"
              "- {name: no, reply: it was not}\n");
  snprintf(model, sizeof model, "script:%s/helper.yaml", b.folder);
  csn_agent *helper = csn_agent_new("helper");
  csn_agent_set_model(helper, model);
  OK(csn_agent_add_agent(b.agent, helper, &err), &err);
  bench_set(&b, "handoffs",
            "[{\"agent\":\"helper\",\"filter\":{\"callback\":\"keep\"},\"input_schema\":"
            "{\"properties\":{\"urgency\":{\"type\":\"integer\"}}}}]");
  csn_callback cb = {.size = sizeof cb, .name = "keep", .fn = keep_last, .user = &seen};
  csn_run *r = NULL;
  assert_int_equal(csn_run_start(b.rt, b.agent, CSN_STR("go"), NULL, &r, &err), CSN_E_INVALID);
  assert_non_null(strstr(err.msg, "handoffs names a callback keep that is not bound"));
  OK(csn_agent_add_callback(b.agent, &cb, &err), &err);
  r = bench_start(&b);
  STR_EQ(bench_await(&b, r).output, "it was");
  assert_int_equal(seen, 3); /* the task, the call, its answer */
  csn_run_free(r);
  bench_fini(&b);
}

static int
answer_nonsense(void *user, csn_scope *sc, const csn_json *in, csn_buf *out, csn_err *err)
{
  (void)sc, (void)err;
  csn_buf_addz(out, user);
  return 0;
}

TEST(a_filter_that_answers_something_else_ends_the_run)
{
  static char list[] = "[]", text[] = "{\"items\":\"x\"}", empty[] = "{\"items\":[]}",
              numbers[] = "{\"items\":[1]}";
  char *const answers[] = {list, text, empty, numbers};
  for (size_t i = 0; i < CSN_COUNT(answers); i++) {
    struct bench b;
    csn_err err;
    bench_init(&b, CODER);
    bench_write(&b, "reviewer.yaml", "rules: [{name: end, reply: never}]\n");
    load(&b, FILE("{agent: reviewer, filter: {callback: f}}"));
    csn_callback cb = {.size = sizeof cb, .name = "f", .fn = answer_nonsense, .user = answers[i]};
    OK(csn_agent_add_callback(b.agent, &cb, &err), &err);
    csn_run *r = bench_start(&b);
    csn_result res = bench_await(&b, r);
    assert_int_equal(res.state, CSN_RUN_FAILED);
    STR_EQ(res.reason, "callback");
    csn_run_free(r);
    bench_fini(&b);
  }
}

TEST(guardrails_on_input_are_those_of_the_first_agent_only)
{
  struct play p;
  static const char agent[] =
      "{\"name\":\"a\",\"handoffs\":[{\"agent\":\"b\",\"tool\":\"transfer_to_b\"}],\"agents\":[{"
      "\"name\":\"b\",\"guardrails\":[{\"callback\":\"g\",\"on\":\"input\",\"blocking\":true}]}]}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  hand_off(&p, 2, "transfer_to_b", "model_call@6"); /* and no callback before or beside it */
  last_holds(&p, "\"agent\":\"b\"");
  play(&p, CSN_EV_INPUT, MORE, "");
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(6, "x"), "callback@9");
  STR_EQ(last_effect(&p), "{\"for\":\"added\",\"callbacks\":[\"g\"],\"of\":7}"); /* but of this */
  end(&p);
}

TEST(what_cannot_be_is_an_error_before_the_run)
{
  static const struct {
    const char *yaml, *complaint;
  } rows[] = {
      {FILE("nobody"), "hands off to nobody, which is no agent here"},
      {FILE("reviewer") "- {name: reviewer}\n", "there is an agent reviewer already"},
      {FILE("reviewer") "- {name: b, sandbox: {}}\n",
       "sandbox is shared; write it in the first agent"},
      {FILE("reviewer") "- {name: b, agents: []}\n", "agents is shared"},
      {FILE("{agent: reviewer, filter: some}"), "handoffs.filter: expected all, messages, last or"},
      {FILE("{tool: x}"), "the name of an `agent`"},
      {FILE("{agent: reviewer, input_schema: {type: string}}"),
       "handoffs.input_schema: expected the schema of an object"},
      {FILE("{agent: reviewer, input_schema: 1}"), "handoffs.input_schema: expected an object"},
      {FILE("reviewer") "- {name: b, model: \"nowhere/x\"}\n", "no such provider"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    struct bench b;
    csn_err err = {0};
    csn_run *r = NULL;
    char path[120];
    bench_init(&b, CODER);
    bench_write(&b, "agent.yaml", rows[i].yaml);
    snprintf(path, sizeof path, "%s/agent.yaml", b.folder);
    csn_agent_free(csn_steal(b.agent));
    int rc = csn_agent_load(&b.agent, path, &err);
    if (rc == 0)
      rc = csn_run_start(b.rt, b.agent, CSN_STR("go"), NULL, &r, &err);
    if (rc != CSN_E_INVALID && rc != CSN_E_EXISTS)
      fail_msg("accepted: %s", rows[i].yaml);
    if (!strstr(err.msg, rows[i].complaint))
      fail_msg("got '%s', expected '%s'", err.msg, rows[i].complaint);
    bench_fini(&b);
  }
}

static int
no_tool(csn_call *c, void *user, csn_err *err)
{
  (void)c, (void)user, (void)err;
  return 0;
}

TEST(two_things_of_one_name_are_an_error_before_the_run_that_names_both)
{
  static const struct {
    const char *tool, *hosted, *agent_tools, *handoffs, *complaint;
  } rows[] = {
      {"x", NULL, NULL, "[{\"agent\":\"b\",\"tool\":\"x\"}]",
       "agent tester: the tool x and the hand-off to b are both named x"},
      {"x", NULL, "[{\"agent\":\"b\",\"tool\":\"x\"}]", NULL,
       "the tool x and the agent tool for b are both named x"},
      {NULL, NULL, "[{\"agent\":\"b\",\"tool\":\"x\"}]", "[{\"agent\":\"c\",\"tool\":\"x\"}]",
       "the agent tool for b and the hand-off to c are both named x"},
      {NULL, NULL, NULL, "[\"b\",{\"agent\":\"c\",\"tool\":\"transfer_to_b\"}]",
       "the hand-off to b and the hand-off to c are both named transfer_to_b"},
      {NULL, NULL, "[\"b\",{\"agent\":\"c\",\"tool\":\"b\"}]", NULL,
       "the agent tool for b and the agent tool for c are both named b"},
      {"web_search", "[{\"hosted\":\"web_search\"}]", NULL, NULL,
       "the hosted tool web_search and the tool web_search are both named web_search"},
      {"x", NULL, "[{\"agent\":\"b\",\"tool\":\"y\"}]", "[{\"agent\":\"b\",\"tool\":\"z\"}]", NULL},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    struct bench b;
    csn_err err = {0};
    csn_run *r = NULL;
    bench_init(&b, "rules: [{name: end, reply: fine}]\n");
    OK(csn_agent_add_agent(b.agent, csn_agent_new("b"), &err), &err);
    OK(csn_agent_add_agent(b.agent, csn_agent_new("c"), &err), &err);
    if (rows[i].tool)
      bench_tool(&b, rows[i].tool, no_tool);
    if (rows[i].hosted)
      bench_set(&b, "tools", rows[i].hosted);
    if (rows[i].agent_tools)
      bench_set(&b, "agent_tools", rows[i].agent_tools);
    if (rows[i].handoffs)
      bench_set(&b, "handoffs", rows[i].handoffs);
    int rc = csn_run_start(b.rt, b.agent, CSN_STR("go"), NULL, &r, &err);
    assert_int_equal(rc, rows[i].complaint ? CSN_E_INVALID : 0);
    if (rows[i].complaint && (!strstr(err.msg, rows[i].complaint) || !strstr(err.msg, "give one")))
      fail_msg("got '%s', expected '%s'", err.msg, rows[i].complaint);
    csn_run_free(r);
    bench_fini(&b);
  }
}

RUN_TESTS("run/team", RUN(a_hand_off_waits_for_the_turn_and_the_first_one_counts),
          RUN(hand_offs_to_and_fro_without_anything_new_are_a_loop),
          RUN(a_tool_of_another_agent_is_no_hand_off),
          RUN(a_hand_off_may_want_an_input_and_is_not_made_without),
          RUN(the_same_wrong_input_again_and_again_is_a_loop),
          RUN(the_other_agent_goes_on_with_its_own_model),
          RUN(a_filter_leaves_messages_or_the_last_one),
          RUN(members_made_by_a_program_have_their_tools_also_after_a_resume),
          RUN(a_function_says_what_the_next_agent_sees),
          RUN(a_filter_that_answers_something_else_ends_the_run),
          RUN(guardrails_on_input_are_those_of_the_first_agent_only),
          RUN(what_cannot_be_is_an_error_before_the_run),
          RUN(two_things_of_one_name_are_an_error_before_the_run_that_names_both),
          RUN(a_hand_off_goes_before_a_result_that_would_be_the_answer))
