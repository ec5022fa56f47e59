/* SPDX-License-Identifier: Apache-2.0
 *
 * Tools that are commands, and what settings say about tools: time-outs,
 * tries. */
#include "bench.h"

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

#define BOOK                                                                                       \
  "rules:\n- {name: first, when: {first: true}, reply: [{t: {word: \"a'b\"}}]}\n"                  \
  "- {name: end, reply: \"${output}\"}\n"
static const struct {
  const char *script, *want;
} rows[] = {
    {"cat", "{\"word\":\"a'b\"}"},
    {"echo plain; echo noise >&2", "plain"},
    {"echo [1,2]", "[1,2]"},
    {"echo 1", "1"},
    {"echo []", "[]"},
    {"echo '{\\\"a\\\":1}'", "{\"a\":1}"},
    {"echo \\\"a\\\\nb\\\"", "a\nb"},
    {"echo '{\\\"output\\\":\\\"x\\\"}'", "x"},
    {"echo '{\\\"error\\\":\\\"no\\\"}'", "The call failed: no"},
    {"echo why >&2; echo what; exit 3", "The call failed: sh ended with exit code 3.\nwhy\nwhat"},
    {"echo $MINE $CAISSON_TOOL $CAISSON_CALL", "yes t call_1_first"},
    {"exec 0<&-; echo deaf", "deaf"},
};

TEST(a_command_reads_json_and_what_it_prints_is_the_result)
{
  for (int harness = 0; harness < 2; harness++)
    for (size_t i = 0; i < CSN_COUNT(rows); i++) {
      struct bench b;
      csn_run *r = NULL;
      csn_err err;
      bench_init(&b, BOOK);
      csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(2000);
      csn_buf_addf(&text,
                   "name: a\nmodel: script:book.yaml\ncapabilities: []\nsandbox: {backend: local}\n"
                   "tools:\n- name: t\n  schema: {properties: {word: {type: string}}}\n"
                   "  where: %s\n  environment: {MINE: \"yes\"}\n  command: [sh, -c, \"%s\"]\n",
                   harness ? "harness" : "sandbox", rows[i].script);
      load(&b, text.p);
      csn_run_options o = {.harness_tools = harness};
      OK(csn_run_start(b.rt, b.agent, CSN_STR("go"), &o, &r, &err), &err);
      csn_result res = bench_await(&b, r);
      if (!csn_str_eq(res.output, csn_cstr(rows[i].want)))
        fail_msg("%d: %s: got '%.*s' (%.*s), expected '%s'", harness, rows[i].script,
                 (int)res.output.n, res.output.p, (int)res.message.n, res.message.p, rows[i].want);
      csn_run_free(r);
      bench_fini(&b);
    }
}

#define HEAD "name: a\nmodel: script:book.yaml\ncapabilities: []\n"

TEST(outside_of_the_sandbox_only_when_the_operator_says_so)
{
  struct bench b;
  csn_run *r = NULL;
  csn_err err;
  char id[40];
  bench_init(&b, BOOK);
  load(&b, HEAD "tools: [{name: t, where: harness, command: [echo, x]}]\n"
                "approvals: [{tool: t, do: ask}]\n");
  assert_int_equal(csn_run_start(b.rt, b.agent, CSN_STR("go"), NULL, &r, &err), CSN_E_DENIED);
  assert_non_null(strstr(err.msg, "--harness-tools"));
  csn_run_options o = {.harness_tools = true};
  OK(csn_run_start(b.rt, b.agent, CSN_STR("go"), &o, &r, &err), &err);
  assert_int_equal(bench_await(&b, r).state, CSN_RUN_WAITING);
  snprintf(id, sizeof id, "%s", csn_run_id(r));
  csn_run_free(r);
  assert_int_equal(csn_run_resume(b.rt, csn_cstr(id), NULL, &r, &err), CSN_E_DENIED);
  OK(csn_run_resume(b.rt, csn_cstr(id), &o, &r, &err), &err);
  csn_run_free(r);
  bench_fini(&b);
}

TEST(a_command_that_is_too_slow_is_stopped_and_the_model_is_told)
{
  for (int harness = 0; harness < 2; harness++) {
    struct bench b;
    csn_run *r = NULL;
    csn_err err;
    char yaml[400];
    bench_init(&b, BOOK);
    snprintf(yaml, sizeof yaml,
             HEAD
             "sandbox: {backend: local}\ntools: [{name: t, where: %s, command: [sleep, '100']}]\n"
             "tool_settings: [{tool: t, timeout_ms: 50}]\n",
             harness ? "harness" : "sandbox");
    load(&b, yaml);
    csn_run_options o = {.harness_tools = true};
    OK(csn_run_start(b.rt, b.agent, CSN_STR("go"), &o, &r, &err), &err);
    STR_EQ(bench_await(&b, r).output, "Tool 't' timed out after 0.05 seconds.");
    csn_run_free(r);
    bench_fini(&b);
  }
}

/* Fails twice. */
static int
stumble(csn_call *c, void *user, csn_err *err)
{
  struct bench *b = user;
  csn_buf_addz(csn_call_out(c), "half");
  if (atomic_fetch_add(&b->calls, 1) < 2)
    return csn_fail(err, CSN_E_UNAVAILABLE, "busy");
  return 0;
}

TEST(a_tool_that_fails_may_be_tried_again)
{
  for (int retries = 1; retries < 3; retries++) {
    struct bench b;
    char settings[100];
    bench_init(&b, BOOK);
    bench_tool(&b, "t", stumble);
    snprintf(settings, sizeof settings, "[{\"tool\":\"t\",\"retries\":%d}]", retries);
    bench_set(&b, "tool_settings", settings);
    csn_run *r = bench_start(&b);
    STR_EQ(bench_await(&b, r).output, retries == 2 ? "half" : "The call failed: busy");
    csn_run_free(r);
    bench_fini(&b);
  }
}

TEST(a_long_result_is_cut_in_the_middle)
{
  struct bench b;
  bench_init(&b, BOOK);
  load(&b, HEAD "sandbox: {backend: local}\nlimits: {output: 10}\n"
                "tools: [{name: t, command: [sh, -c, 'seq 1 100']}]\n");
  csn_run *r = bench_start(&b);
  csn_result res = bench_await(&b, r);
  assert_true(csn_str_starts(res.output, CSN_STR("1\n2\n3\n")));
  assert_true(csn_str_ends(res.output, CSN_STR("\n99\n100")));
  assert_non_null(strstr(res.output.p, "[252 bytes left out]"));
  csn_run_free(r);
  bench_fini(&b);
}

RUN_TESTS("run/tools", RUN(a_command_reads_json_and_what_it_prints_is_the_result),
          RUN(outside_of_the_sandbox_only_when_the_operator_says_so),
          RUN(a_command_that_is_too_slow_is_stopped_and_the_model_is_told),
          RUN(a_tool_that_fails_may_be_tried_again), RUN(a_long_result_is_cut_in_the_middle))
