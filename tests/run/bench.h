/* SPDX-License-Identifier: Apache-2.0
 * bench.h - a folder with a state and a playbook, a runtime over it, an agent
 * and what a test wants to see of its runs. */
#ifndef CSN_TESTS_RUN_BENCH_H
#define CSN_TESTS_RUN_BENCH_H

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>

#include "caisson/run.h"
#include "check.h"
#include "core/fd.h"

struct bench {
  char folder[64], model[96], state[80];
  csn_rt *rt;
  csn_agent *agent;
  csn_scope sc;
  atomic_int calls;
  csn_buf events; /* "type data\n" of each */
};

static inline void
bench_write(struct bench *b, const char *name, const char *text)
{
  csn_err err;
  csn_auto(csn_closep) int dir = open(b->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  OK(csn_file_write(dir, name, csn_cstr(text), 0600, false, &err), &err);
}

static inline void
bench_open(struct bench *b)
{
  csn_err err;
  csn_rt_options o = {.state_dir = b->state};
  OK(csn_rt_new(&b->rt, &o, &err), &err);
}

static inline void
bench_init(struct bench *b, const char *playbook)
{
  *b = (struct bench){.folder = "/tmp/caisson-bench-XXXXXX", .events = CSN_BUF(4 << 20)};
  assert_non_null(mkdtemp(b->folder));
  bench_write(b, "book.yaml", playbook);
  snprintf(b->model, sizeof b->model, "script:%s/book.yaml", b->folder);
  snprintf(b->state, sizeof b->state, "%s/state", b->folder);
  csn_scope_init(&b->sc, NULL, 60000);
  bench_open(b);
  b->agent = csn_agent_new("tester");
  csn_agent_set_model(b->agent, b->model);
}

static inline void
bench_fini(struct bench *b)
{
  csn_err err;
  csn_rt_free(b->rt);
  csn_agent_free(b->agent);
  csn_scope_fini(&b->sc);
  csn_buf_fini(&b->events);
  csn_auto(csn_closep) int top = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  OK(csn_remove_tree(top, b->folder + 1, &err), &err);
}

static inline void
bench_set(struct bench *b, const char *section, const char *json)
{
  csn_err err;
  OK(csn_agent_set(b->agent, section, csn_cstr(json), &err), &err);
}

static inline void
bench_listen(void *user, const char *run, const char *type, int64_t seq, csn_str data)
{
  struct bench *b = user;
  csn_buf_addf(&b->events, "%s %.*s\n", type, (int)data.n, data.p);
}

static inline csn_run *
bench_start(struct bench *b)
{
  csn_run *r = NULL;
  csn_err err;
  csn_run_options o = {.listener = bench_listen, .user = b};
  csn_buf_clear(&b->events);
  OK(csn_run_start(b->rt, b->agent, CSN_STR("go"), &o, &r, &err), &err);
  return r;
}

static inline csn_result
bench_await(struct bench *b, csn_run *r)
{
  csn_result res = {0};
  csn_err err;
  OK(csn_run_wait(r, &b->sc, &res, &err), &err);
  return res;
}

static inline bool
bench_saw(struct bench *b, const char *text)
{
  return csn_str_find(csn_buf_str(&b->events), csn_cstr(text), 0) != SIZE_MAX;
}

static inline void
bench_tool(struct bench *b, const char *name, int (*fn)(csn_call *c, void *user, csn_err *err))
{
  csn_err err;
  csn_tool t = {.size = sizeof t,
                .name = name,
                .description = "for a test",
                .schema = "{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"string\"}}}",
                .replay = CSN_REPLAY_SAFE,
                .call = fn,
                .user = b};
  OK(csn_agent_add_tool(b->agent, &t, &err), &err);
}

/* Counts, and answers "call N". */
static inline int
bench_count(csn_call *c, void *user, csn_err *err)
{
  struct bench *b = user;
  csn_buf_addf(csn_call_out(c), "call %d", atomic_fetch_add(&b->calls, 1) + 1);
  return 0;
}

#endif
