/* SPDX-License-Identifier: Apache-2.0
 * test_backend.c - back-ends that a program brings: the one of examples/backend.c. */
#include <limits.h>
#include <sys/stat.h>

int toy_main(int argc, char **argv);
#define main toy_main
#include "../../examples/backend.c"
#undef main

#include "check.h"
#include "place.h"

static const csn_sandbox_ops *const toy[] = {&toy_ops, NULL};

static int
rt_with(csn_rt **rt, place *p, const csn_sandbox_ops *const *own, csn_err *err)
{
  char state[PATH_MAX + 20];
  snprintf(state, sizeof state, "%s/state", p->path);
  mkdir(state, 0700);
  const csn_rt_options o = {.state_dir = state, .backends = own};
  return csn_rt_new(rt, &o, err);
}

/* The file agent.yaml of the place, with the rest of its section `sandbox`. */
static int
load(csn_rt *rt, place *p, const char *rest, csn_agent **out, csn_err *err)
{
  char text[1000], path[PATH_MAX + 20];
  snprintf(text, sizeof text,
           "name: a\nmodel: script:%s/book.yaml\n"
           "approvals:\n  - {tool: exec_command, match: 'echo two*', do: ask}\n"
           "sandbox:\n  backend: toy\n%s",
           p->path, rest);
  put(p, "agent.yaml", text, 0600);
  put(p, "book.yaml",
      "rules:\n"
      "  - {name: one, when: {turn: 1}, reply: [{exec_command: {cmd: 'echo $GREETING'}}]}\n"
      "  - {name: two, when: {turn: 2}, reply: [{exec_command: {cmd: 'echo two; cat "
      "/proc/self/comm'}}]}\n"
      "  - {name: end, when: {matches: 'two'}, reply: Done.}\n",
      0600);
  snprintf(path, sizeof path, "%s/agent.yaml", p->path);
  return csn_rt_load_agent(rt, out, path, err);
}

TEST(a_table_that_cannot_be_is_refused_by_name)
{
  place p;
  csn_sandbox_ops rows[] = {toy_ops, toy_ops, toy_ops, toy_ops, toy_ops, toy_ops, toy_ops};
  const char *const says[] = {"small letters", "small letters", "jail already", "exec:x",
                              "toy: its size", "toy: its size", "toy: its size"};
  csn_rt *rt = NULL;
  csn_err err;
  open_place(&p);
  rows[0].name = NULL;
  rows[1].name = "To y";
  rows[2].name = "jail";
  rows[3].name = "exec:x";
  rows[4].open = NULL;
  rows[5].spawn = NULL;
  rows[6].size = 8;
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    const csn_sandbox_ops *const own[] = {&rows[i], NULL};
    assert_int_equal(rt_with(&rt, &p, own, &err), CSN_E_INVALID);
    if (i != 3) /* which is no small letters either */
      assert_non_null(strstr(err.msg, says[i]));
  }
  const csn_sandbox_ops *const twice[] = {&toy_ops, &toy_ops, NULL};
  assert_int_equal(rt_with(&rt, &p, twice, &err), CSN_E_INVALID);
  assert_non_null(strstr(err.msg, "twice"));
  close_place(&p);
}

TEST(what_its_table_does_not_declare_is_refused_with_its_line)
{
  static const struct {
    const char *rest, *says;
  } rows[] = {{"  greeting: 3\n", "agent.yaml:7: sandbox.greeting: expected a string"},
              {"  greting: x\n", "agent.yaml:7: unknown key sandbox.greting"},
              {"  template: x\n", "unknown key sandbox.template"},
              {"  network: {allow: [example.com]}\n", "the back-end toy cannot hold a policy"},
              {"  devices: [fuse]\n", "only the back-end jail has devices"},
              {"  level: gvisor\n", "only the back-end jail has levels"}};
  place p;
  csn_rt *rt = NULL, *other = NULL;
  csn_agent *a = NULL;
  csn_err err;
  open_place(&p);
  OK(rt_with(&rt, &p, toy, &err), &err);
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    assert_int_equal(load(rt, &p, rows[i].rest, &a, &err), CSN_E_INVALID);
    if (!strstr(err.msg, rows[i].says))
      fail_msg("got \"%s\", expected \"%s\"", err.msg, rows[i].says);
  }
  csn_rt_free(rt);
  /* A runtime that was not given it knows none such, and says which there are. */
  OK(rt_with(&other, &p, NULL, &err), &err);
  assert_int_equal(load(other, &p, "", &a, &err), CSN_E_INVALID);
  assert_non_null(strstr(err.msg, "unknown back-end 'toy' of a sandbox; there are jail, local"));
  csn_rt_free(other);
  close_place(&p);
}

static void
work_on(const csn_sandbox_ops *const *own)
{
  place p;
  csn_rt *rt = NULL;
  csn_agent *a = NULL;
  csn_run *r = NULL;
  csn_result res;
  csn_err err;
  char id[64];
  csn_decision yes = {.allow = true};
  open_place(&p);
  OK(rt_with(&rt, &p, own, &err), &err);
  OK(load(rt, &p, "  greeting: hello-from-the-toy\n", &a, &err), &err);
  OK(csn_run_start(rt, a, CSN_STR("go"), NULL, &r, &err), &err);
  OK(csn_run_wait(r, NULL, &res, &err), &err);
  assert_int_equal(res.state, CSN_RUN_WAITING);
  snprintf(id, sizeof id, "%s", res.run);
  csn_run_free(r);
  csn_agent_free(a);
  csn_rt_free(rt);
  /* Another process without it: the run stays as it is. */
  OK(rt_with(&rt, &p, NULL, &err), &err);
  assert_int_equal(csn_run_resume(rt, csn_cstr(id), NULL, &r, &err), CSN_E_INVALID);
  assert_non_null(strstr(err.msg, "unknown back-end 'toy'"));
  csn_rt_free(rt);
  OK(rt_with(&rt, &p, own, &err), &err);
  OK(csn_run_open(rt, csn_cstr(id), NULL, &r, &err), &err);
  OK(csn_run_decide(r, CSN_STR(""), &yes, &err), &err);
  OK(csn_run_go_on(r, &err), &err);
  OK(csn_run_wait(r, NULL, &res, &err), &err);
  if (res.state != CSN_RUN_DONE)
    fail_msg("%.*s", (int)res.message.n, res.message.p);
  csn_run_free(r);
  csn_rt_free(rt);
  close_place(&p);
}

TEST(an_agent_works_on_it_and_goes_on_in_another_process)
{
  work_on(toy);
}

static csn_sandbox_ops old;

static int
open_old(csn_sandbox **out, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  int rc = toy_open(out, sc, spec, err);
  if (rc == 0)
    (*out)->ops = &old;
  return rc;
}

TEST(a_table_of_an_older_header_lacks_what_came_later)
{
  memset(&old, 0xff, sizeof old); /* what is beyond its size is nobody's */
  memcpy(&old, &toy_ops, offsetof(csn_sandbox_ops, restrict_network));
  old.size = offsetof(csn_sandbox_ops, restrict_network);
  old.open = open_old;
  static const csn_sandbox_ops *const own[] = {&old, NULL};
  place p;
  csn_rt *rt = NULL;
  csn_agent *a = NULL;
  csn_result res;
  csn_err err;
  csn_auto(csn_arena_freep) csn_arena *keep = csn_arena_new(0);
  open_place(&p);
  OK(rt_with(&rt, &p, own, &err), &err);
  OK(load(rt, &p, "", &a, &err), &err);
  OK(csn_agent_set(a, "approvals", CSN_STR("[]"), &err), &err);
  OK(csn_run_once(rt, NULL, a, CSN_STR("go"), NULL, keep, &res, &err), &err);
  assert_int_equal(res.state, CSN_RUN_DONE);
  csn_agent_free(a);
  csn_rt_free(rt);
  close_place(&p);
}

RUN_TESTS("run/backend", RUN(a_table_that_cannot_be_is_refused_by_name),
          RUN(what_its_table_does_not_declare_is_refused_with_its_line),
          RUN(an_agent_works_on_it_and_goes_on_in_another_process),
          RUN(a_table_of_an_older_header_lacks_what_came_later))
