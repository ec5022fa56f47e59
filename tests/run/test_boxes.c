/* SPDX-License-Identifier: Apache-2.0
 * The section `sandboxes`: what is read, what a model is given of it. */
#include "base/yaml.h"
#include "check.h"
#include "run/agent_impl.h"
#include "run/policy.h"

static const char two[] = "name: a\nmodel: openai/m\n"
                          "sandboxes:\n"
                          "  build: {description: compilers, environment: {A: b}}\n"
                          "  data:\n"
                          "    backend: local\n"
                          "    manifest: {entries: {x: {type: dir}}}\n"
                          "    outputs: [{path: r}]\n"
                          "outputs: [{path: log}]\n"
                          "agents: [{name: m, model: openai/m, capabilities: [shell]}]\n";

static csn_agent *
load(const char *text)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_agent *out = NULL;
  const csn_json *v;
  csn_err err;
  int rc = csn_yaml_parse(a, csn_cstr(text), "agent.yaml", &v, &err);
  if (rc == 0)
    rc = csn_agent_from_json(&out, v, "agent.yaml", "/home/of/agent", &err);
  OK(rc, &err);
  if (!out)
    abort();
  return out;
}

static const csn_json *
resolved(const csn_agent *of, csn_arena *a)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  const csn_json *v = NULL;
  csn_jw w;
  csn_err err;
  csn_jw_init(&w, &text);
  csn_agent_to_json(of, &w);
  OK(csn_jw_done(&w, &err), &err);
  OK(csn_json_parse(a, csn_arena_dup(a, csn_buf_str(&text)), &v, &err), &err);
  return v;
}

static const csn_json *
schema_of(const csn_agent *a, const char *tool, csn_arena *arena)
{
  const csn_json *v = NULL;
  csn_err err;
  for (size_t i = 0; i < a->n_tools; i++)
    if (strcmp(a->tools[i].tool.name, tool) == 0 && a->tools[i].tool.schema)
      OK(csn_json_parse(arena, csn_cstr(a->tools[i].tool.schema), &v, &err), &err);
  return csn_json_get(v, "properties");
}

TEST(the_first_is_the_agents_own_and_what_was_resolved_is_read_again)
{
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  csn_auto(csn_agent_freep) csn_agent *a = load(two), *again = NULL;
  csn_err err;
  assert_string_equal(a->box_name, "build");
  assert_string_equal(a->sandbox.backend, "jail");
  assert_int_equal(a->n_boxes, 1);
  assert_string_equal(a->boxes[0]->sandbox.backend, "local");
  assert_non_null(a->boxes[0]->manifest);
  assert_null(a->manifest);
  assert_int_equal(a->n_outputs, 1);
  assert_int_equal(a->boxes[0]->n_outputs, 1);
  OK(csn_agent_check_manifest(a, &err), &err);
  const csn_json *v = resolved(a, arena);
  assert_null(csn_json_get(v, "sandbox"));
  OK(csn_agent_from_json(&again, v, "record 0", ".", &err), &err);
  assert_true(csn_str_eq(resolved(again, arena)->raw, v->raw));
  size_t i = 9;
  assert_true(csn_agent_box_find(again->agents[0], CSN_STR("data"), &i));
  assert_int_equal(i, 1);
  assert_false(csn_agent_box_find(again, CSN_STR("dat"), &i));
}

TEST(the_example_is_read)
{
  csn_auto(csn_agent_freep) csn_agent *a = NULL;
  csn_err err;
  OK(csn_agent_load(&a, JOURNALS "/../../examples/sandboxes.yaml", &err), &err);
  OK(csn_agent_check_approvals(a, &err), &err);
  assert_int_equal(a->n_boxes, 1);
}

TEST(tools_take_a_sandbox_where_there_are_several_and_are_as_ever_where_not)
{
  static const char *const all[] = {"exec_command", "write_stdin", "apply_patch", "view_image"};
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  csn_auto(csn_agent_freep) csn_agent *a = load(two), *one = load("name: a\nsandbox: {}\n");
  for (size_t i = 0; i < CSN_COUNT(all); i++) {
    const csn_json *box = csn_json_get(schema_of(a, all[i], arena), "sandbox");
    STR_EQ(csn_json_get(box, "enum")->raw, "[\"build\",\"data\"]");
    STR_EQ(csn_json_str(box, "default", CSN_STR("")), "build");
    assert_null(csn_json_get(schema_of(one, all[i], arena), "sandbox"));
  }
  assert_non_null(schema_of(a, "copy_files", arena));
  assert_null(schema_of(one, "copy_files", arena));
  assert_null(schema_of(one, "apply_patch", arena)); /* free text */
  assert_non_null(csn_json_get(schema_of(a->agents[0], "exec_command", arena), "sandbox"));
  assert_null(schema_of(a->agents[0], "copy_files", arena)); /* it has no files */
}

TEST(the_model_is_told_which_there_are)
{
  csn_auto(csn_agent_freep) csn_agent *a = load(two), *one = load("name: a\nsandbox: {}\n");
  csn_str said = a->full_instructions;
  assert_int_not_equal(csn_str_find(said, CSN_STR("- `build`: compilers\n- `data`"), 0), SIZE_MAX);
  assert_int_not_equal(csn_str_find(said, CSN_STR("# Filesystem of `data`\n\n"), 0), SIZE_MAX);
  assert_int_equal(csn_str_find(one->full_instructions, CSN_STR("# Sandboxes"), 0), SIZE_MAX);
}

TEST(a_member_of_a_program_must_know_of_them)
{
  csn_auto(csn_agent_freep) csn_agent *a = load(two);
  csn_agent *late = csn_agent_new("late");
  csn_err err;
  csn_agent_set_sandbox(late, "jail");
  assert_int_equal(csn_agent_add_agent(a, late, &err), CSN_E_UNSUPPORTED);
  assert_non_null(strstr(err.msg, "do not know of the sandboxes"));
}

/* Who leaves the name out means the first, for a rule as for the call. */
static const struct {
  const char *match, *tool, *arguments;
  enum csn_verdict verdict; /* of a rule that denies */
} rules[] = {
    {"{\"sandbox\":\"build\"}", "exec_command", "{\"cmd\":\"ls\"}", CSN_DENY},
    {"{\"sandbox\":\"build\"}", "exec_command", "{\"cmd\":\"ls\",\"sandbox\":null}", CSN_DENY},
    {"{\"sandbox\":\"build\"}", "exec_command", "{\"cmd\":\"ls\",\"sandbox\":\"\"}", CSN_DENY},
    {"{\"sandbox\":\"build\"}", "exec_command", "{\"cmd\":\"ls\",\"sandbox\":\"data\"}", CSN_ALLOW},
    {"{\"sandbox\":\"data\"}", "apply_patch", "{\"input\":\"\",\"sandbox\":\"data\"}", CSN_DENY},
    {"{\"sandbox\":\"data\"}", "exec_command", "{\"cmd\":\"ls\"}", CSN_ALLOW},
    {"{\"sandbox\":\"build\"}", "a_tool", "{}", CSN_ALLOW},
    {"\"*.png\"", "view_image", "{\"path\":\"a.png\",\"sandbox\":\"data\"}", CSN_DENY},
    {"\"data\"", "view_image", "{\"path\":\"a.png\",\"sandbox\":\"data\"}", CSN_ALLOW},
};

TEST(rules_know_in_which_a_call_would_work)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *root, *list, *rule;
  csn_err err;
  OK(csn_json_parse(a, CSN_STR("{\"sandboxes\":{\"build\":{},\"data\":{}}}"), &root, &err), &err);
  for (size_t i = 0; i < CSN_COUNT(rules); i++) {
    csn_str text =
        csn_arena_printf(a, "[{\"tool\":\"*\",\"match\":%s,\"do\":\"deny\"}]", rules[i].match);
    csn_policy_call c = {.tool = csn_cstr(rules[i].tool), .input = csn_cstr(rules[i].arguments)};
    OK(csn_json_parse(a, text, &list, &err), &err);
    csn_policy_call_read(&c, root, a);
    if (csn_policy_look(list, &c, 0, &rule) != rules[i].verdict)
      fail_msg("%s and %s %s", rules[i].match, rules[i].tool, rules[i].arguments);
  }
}

RUN_TESTS("run/boxes", RUN(the_first_is_the_agents_own_and_what_was_resolved_is_read_again),
          RUN(tools_take_a_sandbox_where_there_are_several_and_are_as_ever_where_not),
          RUN(the_example_is_read), RUN(the_model_is_told_which_there_are),
          RUN(a_member_of_a_program_must_know_of_them), RUN(rules_know_in_which_a_call_would_work))
