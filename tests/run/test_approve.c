/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs that wait for a human: decided while they live, decided while they rest
 * in their journal, and thousands at once whose process was killed. */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>

#include "caisson/run.h"
#include "check.h"
#include "core/fd.h"
#include "run/driver.h"

enum { WAIT_MS = 60000 };

struct bench {
  char folder[64], model[96], state[80];
  csn_rt *rt;
  csn_agent *agent;
  csn_scope sc;
  atomic_int calls;
  char last[200]; /* input of the last call */
};

static int
push(csn_call *c, void *user, csn_err *err)
{
  struct bench *b = user;
  csn_str in = csn_call_input(c);
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&lock);
  snprintf(b->last, sizeof b->last, "%.*s", (int)in.n, in.p);
  pthread_mutex_unlock(&lock);
  csn_buf_addf(csn_call_out(c), "pushed %d", atomic_fetch_add(&b->calls, 1) + 1);
  return 0;
}

static csn_tool
push_tool(struct bench *b)
{
  return (csn_tool){.size = sizeof(csn_tool),
                    .name = "push",
                    .description = "for a test",
                    .schema = "{\"type\":\"object\",\"properties\":{\"to\":{\"type\":\"string\"}}}",
                    .call = push,
                    .user = b};
}

static void
open_rt(struct bench *b)
{
  csn_err err;
  csn_rt_options o = {.state_dir = b->state, .state_url = getenv("CAISSON_TEST_POSTGRES")};
  OK(csn_rt_new(&b->rt, &o, &err), &err);
}

static void
setup(struct bench *b, const char *playbook)
{
  csn_err err;
  *b = (struct bench){.folder = "/tmp/caisson-approve-XXXXXX"};
  assert_non_null(mkdtemp(b->folder));
  csn_auto(csn_closep) int dir = open(b->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  OK(csn_file_write(dir, "book.yaml", csn_cstr(playbook), 0600, false, &err), &err);
  snprintf(b->model, sizeof b->model, "script:%s/book.yaml", b->folder);
  snprintf(b->state, sizeof b->state, "%s/state", b->folder);
  csn_scope_init(&b->sc, NULL, WAIT_MS);
  b->agent = csn_agent_new("tester");
  csn_agent_set_model(b->agent, b->model);
  csn_tool t = push_tool(b);
  OK(csn_agent_add_tool(b->agent, &t, &err), &err);
  OK(csn_agent_set(b->agent, "approvals", CSN_STR("[{\"tool\":\"push\",\"do\":\"ask\"}]"), &err),
     &err);
}

static void
teardown(struct bench *b)
{
  csn_err err;
  csn_rt_free(b->rt);
  csn_agent_free(b->agent);
  csn_scope_fini(&b->sc);
  csn_auto(csn_closep) int top = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  OK(csn_remove_tree(top, b->folder + 1, &err), &err);
}

static csn_run *
start(struct bench *b)
{
  csn_run *r = NULL;
  csn_err err;
  OK(csn_run_start(b->rt, b->agent, CSN_STR("go"), NULL, &r, &err), &err);
  return r;
}

static csn_run *
reopen(struct bench *b, const char *id)
{
  csn_run *r = NULL;
  csn_err err;
  csn_tool t = push_tool(b);
  csn_run_options o = {.tools = &t, .n_tools = 1};
  OK(csn_run_open(b->rt, csn_cstr(id), &o, &r, &err), &err);
  return r;
}

static csn_result
await(struct bench *b, csn_run *r)
{
  csn_result res = {0};
  csn_err err;
  OK(csn_run_wait(r, &b->sc, &res, &err), &err);
  return res;
}

#define PUSHES                                                                                     \
  "rules:\n"                                                                                       \
  "- {name: first, when: {first: true}, reply: [{push: {to: a}}, {push: {to: b}}]}\n"              \
  "- {name: denied, when: {contains: denied by}, reply: \"was denied: ${output}\"}\n"              \
  "- {name: edited, when: {contains: A human changed}, reply: \"edited: ${output}\"}\n"            \
  "- {name: end, when: {contains: pushed 2}, reply: both}\n"                                       \
  "- {name: other, reply: other}\n"

static int
count_asks(void *user, const csn_ask *a)
{
  int *n = user;
  n[a->is_decided]++;
  STR_EQ(a->tool, "push");
  return 0;
}

TEST(a_live_run_goes_on_when_all_is_decided)
{
  struct bench b;
  csn_err err;
  setup(&b, PUSHES);
  open_rt(&b);
  csn_run *r = start(&b);
  assert_int_equal(await(&b, r).state, CSN_RUN_WAITING);
  int n[2] = {0};
  csn_run_asks(r, count_asks, n);
  assert_int_equal(n[0], 2);
  assert_int_equal(atomic_load(&b.calls), 0);
  const csn_decision yes = {.allow = true, .by = "ann"};
  assert_int_equal(csn_run_decide(r, CSN_STR(""), &yes, &err), CSN_E_INVALID);
  assert_int_equal(csn_run_decide(r, CSN_STR("nope"), &yes, &err), CSN_E_NOT_FOUND);
  OK(csn_run_decide(r, CSN_STR("call_1_first"), &yes, &err), &err);
  assert_int_equal(await(&b, r).state, CSN_RUN_WAITING);
  OK(csn_run_decide(r, CSN_STR(""), &yes, &err), &err);
  csn_result res = await(&b, r);
  assert_int_equal(res.state, CSN_RUN_DONE);
  STR_EQ(res.output, "both");
  assert_int_equal(csn_run_decide(r, CSN_STR(""), &yes, &err), CSN_E_NOT_FOUND);
  csn_run_free(r);
  teardown(&b);
}

TEST(a_run_at_rest_is_decided_by_one_process_and_goes_on_in_another)
{
  struct bench b;
  csn_err err;
  setup(&b, PUSHES);
  open_rt(&b);
  csn_run *r = start(&b);
  char id[40];
  snprintf(id, sizeof id, "%s", csn_run_id(r));
  assert_int_equal(await(&b, r).state, CSN_RUN_WAITING);
  csn_run *second = NULL;
  assert_int_equal(csn_run_open(b.rt, csn_cstr(id), NULL, &second, &err), CSN_E_CONFLICT);
  csn_run_free(r);
  csn_rt_free(b.rt);

  open_rt(&b); /* the approver: has no tools, performs nothing */
  OK(csn_run_open(b.rt, csn_cstr(id), NULL, &r, &err), &err);
  assert_int_equal(await(&b, r).state, CSN_RUN_WAITING);
  const csn_decision yes = {.allow = true}, no = {.by = "bob", .reason = CSN_STR("not to b")};
  OK(csn_run_decide(r, CSN_STR("call_1_first"), &yes, &err), &err);
  assert_int_equal(csn_run_decide(r, CSN_STR("call_1_first"), &yes, &err), CSN_E_EXISTS);
  csn_run_free(r);
  OK(csn_run_open(b.rt, csn_cstr(id), NULL, &r, &err), &err);
  int n[2] = {0};
  csn_run_asks(r, count_asks, n);
  assert_int_equal(n[1], 1);
  OK(csn_run_decide(r, CSN_STR(""), &no, &err), &err);
  csn_run_free(r);
  csn_rt_free(b.rt);
  assert_int_equal(atomic_load(&b.calls), 0);

  open_rt(&b);
  r = reopen(&b, id);
  OK(csn_run_go_on(r, &err), &err);
  csn_result res = await(&b, r);
  assert_int_equal(res.state, CSN_RUN_DONE);
  STR_EQ(res.output, "was denied: The call was not made: it was denied by bob: not to b");
  assert_int_equal(atomic_load(&b.calls), 1);
  csn_run_free(r);
  r = reopen(&b, id); /* and replays with its decisions */
  STR_EQ(await(&b, r).output, "was denied: The call was not made: it was denied by bob: not to b");
  csn_run_free(r);
  teardown(&b);
}

TEST(a_call_may_be_edited_and_the_model_is_told)
{
  struct bench b;
  csn_err err;
  setup(&b, "rules:\n- {name: first, when: {first: true}, reply: [{push: {to: a}}]}\n"
            "- {name: edited, when: {contains: A human changed}, reply: \"${output}\"}\n");
  open_rt(&b);
  csn_run *r = start(&b);
  assert_int_equal(await(&b, r).state, CSN_RUN_WAITING);
  csn_decision d = {.allow = true, .edited = CSN_STR("[1]")};
  assert_int_equal(csn_run_decide(r, CSN_STR(""), &d, &err), CSN_E_INVALID);
  d.edited = CSN_STR("{\"to\":\"z\"}");
  d.always = true;
  assert_int_equal(csn_run_decide(r, CSN_STR(""), &d, &err), CSN_E_INVALID);
  d.always = false;
  OK(csn_run_decide(r, CSN_STR(""), &d, &err), &err);
  csn_result res = await(&b, r);
  STR_EQ(res.output, "A human changed this call before allowing it. It was made with: "
                     "{\"to\":\"z\"}\n\npushed 1");
  assert_string_equal(b.last, "{\"to\":\"z\"}");
  csn_run_free(r);
  teardown(&b);
}

TEST(a_rule_about_a_tool_that_is_not_there_is_an_error_before_the_run)
{
  struct bench b;
  csn_err err;
  csn_run *r = NULL;
  setup(&b, PUSHES);
  open_rt(&b);
  OK(csn_agent_set(b.agent, "approvals", CSN_STR("[{\"tool\":\"psuh\",\"do\":\"deny\"}]"), &err),
     &err);
  assert_int_equal(csn_run_start(b.rt, b.agent, CSN_STR("go"), NULL, &r, &err), CSN_E_INVALID);
  assert_non_null(strstr(err.msg, "has no tool psuh; its tools are: push"));
  teardown(&b);
}

/* How many runs wait; CAISSON_WAITING sets it. */
static int
how_many(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  int64_t n = 500;
#else
  int64_t n = 10000;
#endif
  const char *said = getenv("CAISSON_WAITING");
  if (said && !csn_str_int(csn_cstr(said), &n))
    fail_msg("CAISSON_WAITING: expected a number");
  return (int)n;
}

/* Starts n runs, waits until all wait, says so and never ends. */
static void
be_the_first_process(struct bench *b, int n, int says)
{
  open_rt(b);
  csn_run **runs = csn_alloc((size_t)n * sizeof *runs);
  for (int i = 0; i < n; i++)
    runs[i] = start(b);
  for (int i = 0; i < n; i++)
    if (await(b, runs[i]).state != CSN_RUN_WAITING)
      _exit(1);
  for (int i = 0; i < n; i++)
    dprintf(says, "%s\n", csn_run_id(runs[i]));
  dprintf(says, "all\n");
  for (;;)
    pause();
}

static int
count_waiting(void *user, const csn_run_row *row)
{
  int *n = user;
  *n += csn_str_eq(row->state, CSN_STR("waiting"));
  return 0;
}

TEST(thousands_wait_their_process_is_killed_and_each_goes_on)
{
  struct bench b;
  csn_err err;
  int pipe_fd[2], n = how_many(), waiting = 0, status;
  setup(&b, "rules:\n- {name: first, when: {first: true}, reply: [{push: {to: a}}]}\n"
            "- {name: end, reply: done}\n");
  assert_int_equal(pipe(pipe_fd), 0);
  int64_t t0 = csn_now_ns();
  pid_t pid = fork();
  if (pid == 0)
    be_the_first_process(&b, n, pipe_fd[1]);
  close(pipe_fd[1]);
  FILE *said = fdopen(pipe_fd[0], "r");
  char line[64], (*ids)[40] = csn_alloc((size_t)n * sizeof *ids);
  int got = 0;
  while (fgets(line, sizeof line, said) && strcmp(line, "all\n") != 0)
    snprintf(ids[got++], sizeof *ids, "%.*s", (int)strcspn(line, "\n"), line);
  fclose(said);
  assert_int_equal(got, n);
  int64_t t1 = csn_now_ns();
  kill(pid, SIGKILL);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFSIGNALED(status));

  open_rt(&b);
  OK(csn_store_runs(b.rt->store, count_waiting, &waiting, &err), &err);
  assert_int_equal(waiting, n);
  csn_run **runs = csn_alloc((size_t)n * sizeof *runs);
  for (int i = 0; i < n; i++) {
    runs[i] = reopen(&b, ids[i]);
    OK(csn_run_go_on(runs[i], &err), &err);
  }
  int64_t t2 = csn_now_ns();
  const csn_decision yes = {.allow = true, .by = "ann"};
  for (int i = 0; i < n; i++)
    OK(csn_run_decide(runs[i], CSN_STR(""), &yes, &err), &err);
  for (int i = 0; i < n; i++) {
    assert_int_equal(await(&b, runs[i]).state, CSN_RUN_DONE);
    csn_run_free(runs[i]);
  }
  assert_int_equal(atomic_load(&b.calls), n);
  int64_t t3 = csn_now_ns();
  printf(
      "# %d runs: all waited after %.1f s, were read back in %.1f s, decided and done in %.1f s\n",
      n, (double)(t1 - t0) / 1e9, (double)(t2 - t1) / 1e9, (double)(t3 - t2) / 1e9);
  free(runs);
  free(ids);
  teardown(&b);
}

RUN_TESTS("run/approve", RUN(a_live_run_goes_on_when_all_is_decided),
          RUN(a_run_at_rest_is_decided_by_one_process_and_goes_on_in_another),
          RUN(a_call_may_be_edited_and_the_model_is_told),
          RUN(a_rule_about_a_tool_that_is_not_there_is_an_error_before_the_run),
          RUN(thousands_wait_their_process_is_killed_and_each_goes_on))
