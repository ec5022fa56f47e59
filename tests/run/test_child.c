/* SPDX-License-Identifier: Apache-2.0
 *
 * Agents that are called as tools: runs of their own, in the same workspace,
 * which wait, stop and go on with the run that called them. */
#include <sched.h>

#include "bench.h"
#include "run/driver.h"

static void
load(struct bench *b, const char *yaml, const char *worker)
{
  csn_err err;
  char path[120];
  csn_agent_free(b->agent);
  bench_write(b, "agent.yaml", yaml);
  bench_write(b, "worker.yaml", worker);
  snprintf(path, sizeof path, "%s/agent.yaml", b->folder);
  OK(csn_agent_load(&b->agent, path, &err), &err);
}

#define BOSS                                                                                       \
  "rules:\n- {name: first, when: {first: true}, reply: [{worker: {input: do it}}]}\n"              \
  "- {name: end, reply: \"boss: ${output}\"}\n"
#define TEAM(more)                                                                                 \
  "name: boss\nmodel: script:book.yaml\ncapabilities: []\nagent_tools: [worker]\nagents:\n"        \
  "- {name: worker, description: Works., model: \"script:worker.yaml\"" more "}\n"

TEST(an_agent_is_called_and_answers)
{
  struct bench b;
  bench_init(&b, BOSS);
  load(&b, TEAM(""), "rules: [{name: end, when: {task: '^do it$'}, reply: done it}]\n");
  csn_run *r = bench_start(&b);
  csn_result res = bench_await(&b, r);
  STR_EQ(res.output, "boss: done it");
  assert_true(bench_saw(&b, "child_start {\"call_id\":\"call_1_first\",\"name\":\"worker\""));
  assert_true(bench_saw(&b, "\"state\":\"done\",\"reason\":\"final\""));
  csn_run_free(r);
  bench_fini(&b);
}

TEST(what_went_wrong_in_it_is_told_to_the_model)
{
  struct bench b;
  bench_init(&b, BOSS);
  load(&b, TEAM(""), "rules: [{name: end, fail: true, reply: no}]\n");
  csn_run *r = bench_start(&b);
  STR_EQ(bench_await(&b, r).output, "boss: The agent ended without an answer (refusal): no");
  csn_run_free(r);
  bench_fini(&b);
}

TEST(many_are_called_at_once)
{
  struct bench b;
  csn_auto(csn_buf_finip) csn_buf book = CSN_BUF(10000);
  csn_buf_addz(&book, "rules:\n- name: first\n  when: {first: true}\n  reply:\n");
  for (int i = 0; i < 40; i++)
    csn_buf_addf(&book, "  - {worker: {input: \"job %d\"}}\n", i);
  csn_buf_addz(&book, "- {name: end, when: {contains: did job 39}, reply: all}\n");
  bench_init(&b, book.p);
  load(&b, TEAM(""),
       "rules: [{name: end, when: {task: '^job (?<n>[0-9]+)$'}, reply: \"did ${task}\"}]\n");
  csn_run *r = bench_start(&b);
  STR_EQ(bench_await(&b, r).output, "all");
  csn_run_free(r);
  bench_fini(&b);
}

TEST(it_works_in_the_same_workspace)
{
  struct bench b;
  bench_init(&b, "rules:\n- {name: first, when: {first: true}, reply: [{worker: {input: write}}]}\n"
                 "- {name: look, when: {tool: worker}, reply: [{exec_command: {cmd: cat note}}]}\n"
                 "- {name: end, when: {exit: 0}, reply: \"read: ${output}\"}\n");
  load(&b,
       "name: boss\nmodel: script:book.yaml\nsandbox: {backend: local}\nagent_tools: "
       "[worker]\nagents:\n"
       "- {name: worker, model: \"script:worker.yaml\"}\n",
       "rules:\n- {name: first, when: {first: true}, reply: [{exec_command: {cmd: echo hello "
       ">note}}]}\n"
       "- {name: end, when: {exit: 0}, reply: written}\n");
  csn_run *r = bench_start(&b);
  csn_result res = bench_await(&b, r);
  STR_EQ(res.output, "read: hello");
  csn_run_free(r);
  bench_fini(&b);
}

#define ASKS                                                                                       \
  "rules:\n- {name: first, when: {first: true}, reply: [{push: {}}]}\n"                            \
  "- {name: end, when: {contains: call 1}, reply: pushed}\n"

/* A worker of this program whose calls are asked about. */
static void
make_asking(struct bench *b, csn_tool *t)
{
  csn_err err;
  char model[120];
  bench_init(b, BOSS);
  bench_write(b, "worker.yaml", ASKS);
  snprintf(model, sizeof model, "script:%s/worker.yaml", b->folder);
  csn_agent *worker = csn_agent_new("worker");
  csn_agent_set_model(worker, model);
  *t = (csn_tool){.size = sizeof *t,
                  .name = "push",
                  .description = "d",
                  .schema = "{}",
                  .call = bench_count,
                  .user = b};
  OK(csn_agent_add_tool(worker, t, &err), &err);
  OK(csn_agent_add_agent(b->agent, worker, &err), &err);
  bench_set(b, "agent_tools", "[\"worker\"]");
  bench_set(b, "approvals", "[{\"agent\":\"worker\",\"do\":\"ask\"}]");
}

static int
see(void *user, const csn_ask *a)
{
  STR_EQ(a->tool, "push");
  ++*(int *)user;
  return 0;
}

TEST(the_run_waits_with_it_and_decides_through_it)
{
  struct bench b;
  csn_tool t;
  csn_err err;
  int n = 0;
  make_asking(&b, &t);
  csn_run *r = bench_start(&b);
  assert_int_equal(bench_await(&b, r).state, CSN_RUN_WAITING);
  csn_run_asks(r, see, &n);
  assert_int_equal(n, 1);
  const csn_decision yes = {.allow = true};
  assert_int_equal(csn_run_decide(r, CSN_STR("nope"), &yes, &err), CSN_E_NOT_FOUND);
  OK(csn_run_decide(r, CSN_STR(""), &yes, &err), &err);
  csn_result res = bench_await(&b, r);
  STR_EQ(res.output, "boss: pushed");
  csn_run_free(r);
  bench_fini(&b);
}

static int
list(void *user, const csn_run_row *row)
{
  csn_buf_addf(user, "%.*s ", (int)row->state.n, row->state.p);
  return 0;
}

TEST(at_rest_it_is_decided_by_the_parents_name_and_goes_on_with_it)
{
  struct bench b;
  csn_tool t;
  csn_err err;
  char id[40];
  csn_auto(csn_buf_finip) csn_buf states = CSN_BUF(1000);
  make_asking(&b, &t);
  csn_run *r = bench_start(&b);
  assert_int_equal(bench_await(&b, r).state, CSN_RUN_WAITING);
  snprintf(id, sizeof id, "%s", csn_run_id(r));
  csn_run_free(r);
  OK(csn_store_runs(b.rt->store, list, &states, &err), &err);
  STR_EQ(csn_buf_str(&states), "waiting waiting ");
  csn_rt_free(b.rt);

  bench_open(&b);
  OK(csn_run_open(b.rt, csn_cstr(id), NULL, &r, &err), &err);
  const csn_decision yes = {.allow = true, .by = "ann"};
  OK(csn_run_decide(r, CSN_STR("call_1_first"), &yes, &err), &err);
  csn_run_free(r);
  csn_buf_clear(&states);
  OK(csn_store_runs(b.rt->store, list, &states, &err), &err);
  STR_EQ(csn_buf_str(&states), "ready ready ");
  csn_rt_free(b.rt);

  bench_open(&b);
  csn_run_options o = {.tools = &t, .n_tools = 1};
  OK(csn_run_resume(b.rt, csn_cstr(id), &o, &r, &err), &err);
  STR_EQ(bench_await(&b, r).output, "boss: pushed");
  assert_int_equal(atomic_load(&b.calls), 1);
  csn_run_free(r);
  OK(csn_run_resume(b.rt, csn_cstr(id), &o, &r, &err), &err); /* replays */
  STR_EQ(bench_await(&b, r).output, "boss: pushed");
  csn_run_free(r);
  bench_fini(&b);
}

/* ---- two of them that wait with the same id ---- */

#define PUSHES                                                                                     \
  "rules:\n- {name: first, when: {first: true}, reply: [{push: {x: \"${task}\"}}]}\n"              \
  "- {name: end, reply: \"${output}\"}\n"

/* Tells in the events what it was called with. */
static int
push(csn_call *c, void *user, csn_err *err)
{
  struct bench *b = user;
  atomic_fetch_add(&b->calls, 1);
  csn_buf_add(csn_call_out(c), CSN_STR("pushed "));
  csn_buf_add(csn_call_out(c), csn_json_str(csn_call_args(c), "x", CSN_STR("?")));
  return 0;
}

static void
make_twins(struct bench *b, csn_tool *t)
{
  make_asking(b, t);
  bench_write(b, "book.yaml",
              "rules:\n- name: first\n  when: {first: true}\n"
              "  reply: [{worker: {input: one}}, {worker: {input: two}}]\n"
              "- {name: end, reply: boss}\n");
  bench_write(b, "worker.yaml", PUSHES);
  b->agent->agents[0]->tools[0].tool.call = push;
  t->call = push;
}

struct names {
  size_t n, n_decided;
  char call[4][100], input[4][40];
};

static int
take_name(void *user, const csn_ask *a)
{
  struct names *l = user;
  assert_true(l->n < 4);
  STR_EQ(a->id, "call_1_first");
  l->n_decided += a->is_decided;
  snprintf(l->call[l->n], sizeof l->call[0], "%.*s", (int)a->call.n, a->call.p);
  snprintf(l->input[l->n++], sizeof l->input[0], "%.*s", (int)a->input.n, a->input.p);
  return 0;
}

static struct names
names_of(csn_run *r, size_t expected)
{
  struct names l = {0};
  csn_run_asks(r, take_name, &l);
  assert_int_equal(l.n, expected);
  return l;
}

TEST(of_two_that_wait_with_equal_ids_the_one_that_is_meant_is_decided)
{
  for (size_t meant = 0; meant < 2; meant++) {
    struct bench b;
    csn_tool t;
    csn_err err;
    const csn_decision yes = {.allow = true};
    make_twins(&b, &t);
    csn_run *r = bench_start(&b);
    assert_int_equal(bench_await(&b, r).state, CSN_RUN_WAITING);
    struct names l = names_of(r, 2);
    assert_string_not_equal(l.call[0], l.call[1]);
    const char *other = strstr(l.input[meant], "one") ? "pushed two" : "pushed one";
    assert_int_equal(csn_run_decide(r, CSN_STR(""), &yes, &err), CSN_E_INVALID);
    assert_int_equal(csn_run_decide(r, CSN_STR("call_1_first"), &yes, &err), CSN_E_INVALID);
    assert_non_null(strstr(err.msg, l.call[0]));
    OK(csn_run_decide(r, csn_cstr(l.call[meant]), &yes, &err), &err);
    assert_int_equal(bench_await(&b, r).state, CSN_RUN_WAITING);
    assert_int_equal(atomic_load(&b.calls), 1);
    assert_false(bench_saw(&b, other));
    names_of(r, 1);
    assert_int_equal(csn_run_decide(r, csn_cstr(l.call[meant]), &yes, &err), CSN_E_NOT_FOUND);
    OK(csn_run_decide(r, csn_cstr(l.call[!meant]), &yes, &err), &err); /* its long name still is */
    STR_EQ(bench_await(&b, r).output, "boss");
    assert_true(bench_saw(&b, other));
    csn_run_free(r);
    bench_fini(&b);
  }
}

TEST(at_rest_both_are_decided_by_their_names)
{
  struct bench b;
  csn_tool t;
  csn_err err;
  char id[40];
  csn_auto(csn_buf_finip) csn_buf states = CSN_BUF(1000);
  make_twins(&b, &t);
  csn_run *r = bench_start(&b);
  assert_int_equal(bench_await(&b, r).state, CSN_RUN_WAITING);
  snprintf(id, sizeof id, "%s", csn_run_id(r));
  csn_run_free(r);
  csn_rt_free(b.rt);

  bench_open(&b);
  csn_run_options o = {.tools = &t, .n_tools = 1};
  OK(csn_run_open(b.rt, csn_cstr(id), &o, &r, &err), &err);
  const csn_decision yes = {.allow = true}, no = {.reason = CSN_STR("not that")};
  struct names l = names_of(r, 2);
  bool second_is_one = strstr(l.input[1], "one") != NULL;
  OK(csn_run_decide(r, csn_cstr(l.call[1]), &yes, &err), &err);
  assert_int_equal(csn_run_decide(r, csn_cstr(l.call[1]), &no, &err), CSN_E_EXISTS);
  OK(csn_store_runs(b.rt->store, list, &states, &err), &err);
  assert_int_equal(csn_str_find(csn_buf_str(&states), CSN_STR("ready waiting"), 0) != SIZE_MAX ||
                       csn_str_find(csn_buf_str(&states), CSN_STR("waiting ready"), 0) != SIZE_MAX,
                   true);
  struct names again = names_of(r, 2);
  assert_int_equal(again.n_decided, 1);
  assert_string_equal(again.call[0], l.call[0]); /* that one is decided takes no name away */
  OK(csn_run_decide(r, csn_cstr(l.call[0]), &no, &err), &err);
  csn_buf_clear(&states);
  OK(csn_store_runs(b.rt->store, list, &states, &err), &err);
  STR_EQ(csn_buf_str(&states), "ready ready ready ");
  csn_run_free(r);
  csn_rt_free(b.rt);

  bench_open(&b);
  o.listener = bench_listen;
  o.user = &b;
  OK(csn_run_resume(b.rt, csn_cstr(id), &o, &r, &err), &err);
  STR_EQ(bench_await(&b, r).output, "boss");
  assert_int_equal(atomic_load(&b.calls), 1);
  assert_true(bench_saw(&b, second_is_one ? "pushed one" : "pushed two"));
  assert_false(bench_saw(&b, second_is_one ? "pushed two" : "pushed one"));
  csn_run_free(r);
  bench_fini(&b);
}

/* Blocks until its scope ends, at its first call. */
static int
hang(csn_call *c, void *user, csn_err *err)
{
  struct bench *b = user;
  if (atomic_fetch_add(&b->calls, 1)) {
    csn_buf_addz(csn_call_out(c), "call 1");
    return 0;
  }
  pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t k;
  csn_cond_init(&k);
  pthread_mutex_lock(&m);
  int rc = 0;
  while (rc == 0)
    rc = csn_scope_wait(csn_call_scope(c), &k, &m, err);
  pthread_mutex_unlock(&m);
  pthread_cond_destroy(&k);
  return rc;
}

TEST(it_is_cancelled_and_stopped_with_the_run_and_goes_on_with_it)
{
  for (int stops = 0; stops < 2; stops++) {
    struct bench b;
    csn_tool t;
    csn_err err;
    char id[40];
    make_asking(&b, &t);
    bench_set(&b, "approvals", "[]");
    b.agent->agents[0]->tools[0].tool.call = hang;
    b.agent->agents[0]->tools[0].tool.replay = CSN_REPLAY_SAFE;
    csn_run *r = bench_start(&b);
    snprintf(id, sizeof id, "%s", csn_run_id(r));
    for (int64_t end = csn_now_ns() + 20000000000; !atomic_load(&b.calls) && csn_now_ns() < end;)
      sched_yield();
    if (stops)
      csn_run_interrupt(r);
    else
      csn_run_cancel(r, false);
    assert_int_equal(bench_await(&b, r).state, stops ? CSN_RUN_INTERRUPTED : CSN_RUN_CANCELLED);
    csn_run_free(r);
    if (stops) {
      t.call = hang;
      t.replay = CSN_REPLAY_SAFE;
      csn_run_options o = {.tools = &t, .n_tools = 1};
      OK(csn_run_resume(b.rt, csn_cstr(id), &o, &r, &err), &err);
      STR_EQ(bench_await(&b, r).output, "boss: pushed");
      csn_run_free(r);
    }
    bench_fini(&b);
  }
}

/* ---- who listens ---- */

struct alone {
  atomic_int inside, met;
  int told;
};

static void
listen_alone(void *user, const char *run, const char *type, int64_t seq, csn_str data)
{
  struct alone *l = user;
  (void)run, (void)type, (void)seq, (void)data;
  l->met += atomic_fetch_add(&l->inside, 1) > 0;
  sched_yield(); /* another one has the time to come in */
  l->told++;
  atomic_fetch_sub(&l->inside, 1);
}

TEST(one_listener_is_told_by_a_run_and_those_it_calls_one_at_a_time)
{
  struct bench b;
  struct alone l = {0};
  csn_tool t;
  csn_err err;
  csn_run *r = NULL;
  make_twins(&b, &t);
  bench_set(&b, "approvals", "[]");
  csn_run_options o = {.listener = listen_alone, .user = &l};
  for (int i = 0; i < 20; i++) {
    OK(csn_run_start(b.rt, b.agent, CSN_STR("go"), &o, &r, &err), &err);
    assert_int_equal(bench_await(&b, r).state, CSN_RUN_DONE);
    csn_run_free(r);
  }
  assert_int_equal(atomic_load(&l.met), 0);
  assert_true(l.told > 20 * 20);
  bench_fini(&b);
}

/* ---- guardrails on the call of an agent ---- */

static int
answer_with(void *user, csn_scope *sc, const csn_json *in, csn_buf *out, csn_err *err)
{
  const char *const *said = user; /* what it must see, what it writes */
  (void)sc;
  if (csn_str_find(in->raw, csn_cstr(said[0]), 0) == SIZE_MAX)
    return csn_fail(err, CSN_E_INVALID, "it saw %.*s", (int)(in->raw.n & 0xfff), in->raw.p);
  csn_buf_addz(out, said[1]);
  return 0;
}

TEST(guardrails_look_at_its_input_and_at_its_answer)
{
  static const struct {
    const char *on;
    const char *said[2];
    const char *output;
    bool is_called;
  } rows[] = {
      {"tool_output", {"\"output\":\"secret 42\"", "{}"}, "boss: secret 42", true},
      {"tool_output", {"secret 42", "{\"reject\":\"hidden\"}"}, "boss: hidden", true},
      {"tool_output", {"secret 42", "{\"trip\":true,\"message\":\"leaks\"}"}, "", true},
      {"tool_input", {"do it", "{}"}, "boss: secret 42", true},
      {"tool_input", {"do it", "{\"reject\":\"not that\"}"}, "boss: not that", false},
      {"tool_input", {"do it", "{\"trip\":true}"}, "", false},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    struct bench b;
    csn_err err;
    char yaml[400];
    csn_callback cb = {
        .size = sizeof cb, .name = "g", .fn = answer_with, .user = (void *)(uintptr_t)rows[i].said};
    bench_init(&b, BOSS);
    snprintf(yaml, sizeof yaml, TEAM("") "guardrails: [{callback: g, on: %s, tool: w*}]\n",
             rows[i].on);
    load(&b, yaml, "rules: [{name: end, reply: secret 42}]\n");
    OK(csn_agent_add_callback(b.agent, &cb, &err), &err);
    csn_run *r = bench_start(&b);
    csn_result res = bench_await(&b, r);
    if (rows[i].output[0])
      STR_EQ(res.output, rows[i].output);
    else
      STR_EQ(res.reason, "guardrail");
    assert_int_equal(bench_saw(&b, "child_done "), rows[i].is_called);
    csn_run_free(r);
    bench_fini(&b);
  }
}

TEST(its_own_guardrails_look_at_what_it_is_asked_and_at_what_it_says)
{
  static const char *const on[] = {"input", "output"};
  for (size_t i = 0; i < CSN_COUNT(on); i++) {
    struct bench b;
    csn_err err;
    char yaml[400];
    static const char *const said[2][2] = {{"do it", "{\"trip\":true,\"message\":\"leaks\"}"},
                                           {"secret 42", "{\"trip\":true,\"message\":\"leaks\"}"}};
    csn_callback cb = {
        .size = sizeof cb, .name = "g", .fn = answer_with, .user = (void *)(uintptr_t)said[i]};
    bench_init(&b, BOSS);
    snprintf(yaml, sizeof yaml, TEAM(", guardrails: [{callback: g, on: %s, blocking: %s}]"), on[i],
             i ? "false" : "true");
    if (i) /* a key of input only */
      snprintf(yaml, sizeof yaml, TEAM(", guardrails: [{callback: g, on: output}]"));
    load(&b, yaml, "rules: [{name: end, reply: secret 42}]\n");
    OK(csn_agent_add_callback(b.agent, &cb, &err), &err);
    csn_run *r = bench_start(&b);
    csn_result res = bench_await(&b, r);
    assert_int_equal(res.state, CSN_RUN_DONE); /* the caller's model is told */
    STR_EQ(res.output, "boss: The agent ended without an answer (guardrail): leaks");
    csn_run_free(r);
    bench_fini(&b);
  }
}

RUN_TESTS("run/child", RUN(an_agent_is_called_and_answers),
          RUN(what_went_wrong_in_it_is_told_to_the_model), RUN(many_are_called_at_once),
          RUN(it_works_in_the_same_workspace), RUN(the_run_waits_with_it_and_decides_through_it),
          RUN(at_rest_it_is_decided_by_the_parents_name_and_goes_on_with_it),
          RUN(of_two_that_wait_with_equal_ids_the_one_that_is_meant_is_decided),
          RUN(at_rest_both_are_decided_by_their_names),
          RUN(it_is_cancelled_and_stopped_with_the_run_and_goes_on_with_it),
          RUN(one_listener_is_told_by_a_run_and_those_it_calls_one_at_a_time),
          RUN(guardrails_look_at_its_input_and_at_its_answer),
          RUN(its_own_guardrails_look_at_what_it_is_asked_and_at_what_it_says))
