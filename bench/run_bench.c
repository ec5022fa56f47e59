/* SPDX-License-Identifier: Apache-2.0
 *
 * run_bench.c - what runs cost: CPU per turn, per delta, memory of a crowd of
 * runs, memory while a command floods.
 *
 *   run_bench [-s FOLDER] plain|streamed|guarded|guarded-tools N | deltas N | crowd N | beside N |
 *                        flood BYTES
 *
 * guarded: the same with budgets and guardrails on input and output, beside a
 * run without them; guarded-tools: with guardrails around each call as well.
 *
 * The model is the server at OPENAI_BASE_URL (bench/mockmodel), the journal is
 * on at default durability in FOLDER (/dev/shm when not given).  One small run
 * goes first, so that a measurement holds no loading of libraries.
 */
#include <time.h>

#include "bench.h"
#include "caisson/run.h"

enum { CROWD_MAX = 100000 };

static const char add_schema[] =
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":"
    "\"integer\"}},\"required\":[\"a\",\"b\"]}";

static int
add(csn_call *c, void *user, csn_err *err)
{
  (void)user, (void)err;
  csn_buf_addf(
      csn_call_out(c), "%lld",
      (long long)(csn_json_int(csn_call_args(c), "a", 0) + csn_json_int(csn_call_args(c), "b", 0)));
  return 0;
}

static csn_agent *
adder(const char *model)
{
  csn_err err;
  csn_agent *a = csn_agent_new("adder");
  csn_agent_set_model(a, model);
  csn_agent_set_instructions(a, CSN_STR("You add numbers with the tool and say the sum."));
  csn_agent_set_turns(a, 1000000);
  csn_tool tool = {.size = sizeof tool,
                   .name = "add",
                   .description = "Adds two integers.",
                   .schema = add_schema,
                   .replay = CSN_REPLAY_SAFE,
                   .call = add};
  bench_must(csn_agent_add_tool(a, &tool, &err), &err);
  return a;
}

static int
pass(void *user, csn_scope *sc, const csn_json *in, csn_buf *out, csn_err *err)
{
  (void)sc, (void)in, (void)out, (void)err;
  ++*(int64_t *)user;
  return 0;
}

static void
guard(csn_agent *a, bool tools_too, int64_t *asked)
{
  csn_err err;
  csn_callback cb = {.size = sizeof cb, .name = "pass", .fn = pass, .user = asked};
  bench_must(csn_agent_add_callback(a, &cb, &err), &err);
  bench_must(csn_agent_set(a, "guardrails",
                           tools_too ? CSN_STR("[{\"callback\":\"pass\",\"on\":\"input\"},"
                                               "{\"callback\":\"pass\",\"on\":\"output\"},"
                                               "{\"callback\":\"pass\",\"on\":\"tool_input\"},"
                                               "{\"callback\":\"pass\",\"on\":\"tool_output\"}]")
                                     : CSN_STR("[{\"callback\":\"pass\",\"on\":\"input\"},"
                                               "{\"callback\":\"pass\",\"on\":\"output\"}]"),
                           &err),
             &err);
  bench_must(csn_agent_set(a, "limits",
                           CSN_STR("{\"turns\":1000000,\"wall\":\"2h\",\"tokens\":4000000000,"
                                   "\"tool_calls\":1000000}"),
                           &err),
             &err);
}

static csn_agent *
adder_of(const char *script, int64_t n, const char *rest)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(200);
  csn_buf_addf(&b, "openai/%s-%lld%s", script, (long long)n, rest);
  return adder(b.p);
}

static void
expect(const csn_result *res, int64_t turns)
{
  if (res->state == CSN_RUN_DONE && (turns < 0 || res->turns == turns))
    return;
  fprintf(stderr, "run_bench: run %s: %s after %lld turns: %.*s\n", res->run,
          csn_run_state_name(res->state), (long long)res->turns, (int)res->message.n,
          res->message.p);
  exit(1);
}

static void
run(csn_rt *rt, const csn_agent *a, const csn_run_options *o, int64_t turns)
{
  csn_err err;
  csn_result res;
  csn_auto(csn_arena_freep) csn_arena *keep = csn_arena_new(0);
  bench_must(csn_run_once(rt, NULL, a, CSN_STR("Add."), o, keep, &res, &err), &err);
  expect(&res, turns);
}

static void
warm_up(csn_rt *rt, const csn_run_options *o)
{
  csn_auto(csn_agent_freep) csn_agent *a = adder_of("tools", 3, "");
  run(rt, a, o, 4);
}

/* ---- turns ---- */

static void
turns(csn_rt *rt, const char *how, int64_t n)
{
  csn_run_options o = {.no_stream = strcmp(how, "plain") == 0};
  csn_auto(csn_agent_freep) csn_agent *a = adder_of("tools", n, "");
  warm_up(rt, &o);
  double cpu = bench_cpu_us();
  int64_t began = csn_now_ns();
  run(rt, a, &o, n + 1);
  double wall_us = bench_ms_since(began) * 1e3;
  char name[64];
  snprintf(name, sizeof name, "%s-%lld", how, (long long)n);
  bench_sample(name, "ours", (bench_cpu_us() - cpu) / (double)(n + 1));
  snprintf(name, sizeof name, "%s-%lld-wall", how, (long long)n);
  bench_sample(name, "ours", wall_us / (double)(n + 1));
}

static double
cpu_a_turn(csn_rt *rt, const csn_agent *a, int64_t n)
{
  csn_run_options o = {.no_stream = true};
  double cpu = bench_cpu_us();
  run(rt, a, &o, n + 1);
  return (bench_cpu_us() - cpu) / (double)(n + 1);
}

static void
guarded(csn_rt *rt, const char *how, int64_t n)
{
  bool tools_too = strcmp(how, "guarded-tools") == 0;
  int64_t asked = 0;
  csn_auto(csn_agent_freep) csn_agent *plain = adder_of("tools", n, ""),
                                      *a = adder_of("tools", n, "");
  guard(a, tools_too, &asked);
  warm_up(rt, &(csn_run_options){.no_stream = true});
  char name[64];
  snprintf(name, sizeof name, "%s-%lld", how, (long long)n);
  bench_sample(name, "plain", cpu_a_turn(rt, plain, n));
  bench_sample(name, "ours", cpu_a_turn(rt, a, n));
  if (asked != 2 + (tools_too ? 2 * n : 0)) {
    fprintf(stderr, "run_bench: guardrails were asked %lld times\n", (long long)asked);
    exit(1);
  }
}

/* ---- deltas ---- */

static void
count_delta(void *user, const char *id, const char *type, int64_t seq, csn_str data)
{
  (void)id, (void)seq, (void)data;
  if (strcmp(type, "text_delta") == 0)
    ++*(int64_t *)user;
}

static void
deltas(csn_rt *rt, int64_t n)
{
  int64_t seen = 0;
  csn_run_options o = {.listener = count_delta, .user = &seen};
  csn_auto(csn_agent_freep) csn_agent *a = adder_of("stream", n, "");
  warm_up(rt, &o);
  seen = 0;
  double cpu = bench_cpu_us();
  run(rt, a, &o, 1);
  cpu = bench_cpu_us() - cpu;
  if (seen != n) {
    fprintf(stderr, "run_bench: %lld of %lld deltas\n", (long long)seen, (long long)n);
    exit(1);
  }
  bench_sample("deltas", "ours", cpu / (double)n);
}

/* ---- a crowd ---- */

/* is_beside: as many as other software is given, told under names of their own. */
static void
crowd(csn_rt *rt, int64_t n, bool is_beside)
{
  csn_err err;
  csn_auto(csn_agent_freep) csn_agent *a = adder_of("tools", 10, "@50ms");
  csn_run **all = csn_realloc(NULL, (size_t)n, sizeof *all);
  warm_up(rt, NULL);
  bench_forget_peak();
  int64_t start_kib = bench_memory_kib("VmRSS:");
  double cpu = bench_cpu_us();
  int64_t began = csn_now_ns();
  for (int64_t i = 0; i < n; i++)
    bench_must(csn_run_start(rt, a, CSN_STR("Add."), NULL, &all[i], &err), &err);
  for (int64_t i = 0; i < n; i++) {
    csn_result res;
    bench_must(csn_run_wait(all[i], NULL, &res, &err), &err);
    expect(&res, 11);
  }
  double wall_ms = bench_ms_since(began);
  double kib = (double)(bench_memory_kib("VmHWM:") - start_kib) / (double)n;
  double cpu_ms = (bench_cpu_us() - cpu) / 1e3 / (double)n;
  bench_sample(is_beside ? "peer-kib" : "crowd-kib", "ours", kib);
  bench_sample(is_beside ? "peer-cpu" : "crowd-cpu", "ours", cpu_ms);
  if (is_beside)
    bench_sample("peer-rate", "ours", (double)n * 1e3 / wall_ms);
  else
    bench_sample("crowd-wall", "ours", wall_ms);
  for (int64_t i = 0; i < n; i++)
    csn_run_free(all[i]);
  free(all);
}

/* ---- a flood ---- */

struct flood {
  int64_t start_kib, peak_kib;
  size_t result_bytes;
};

/* The first call is small: what it leaves in memory is no growth. */
static void
watch_flood(void *user, const char *id, const char *type, int64_t seq, csn_str data)
{
  (void)id, (void)seq;
  struct flood *f = user;
  if (strcmp(type, "tool_returned") != 0)
    return;
  if (!f->start_kib) {
    bench_forget_peak();
    f->start_kib = bench_memory_kib("VmRSS:");
  } else {
    f->peak_kib = bench_memory_kib("VmHWM:");
    f->result_bytes = data.n;
  }
}

static void
flood(csn_rt *rt, const char *folder, int64_t bytes)
{
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(4096);
  csn_buf_addf(&b,
               "about: A command that prints a lot.\n"
               "rules:\n"
               "  - name: small\n"
               "    when: {first: true}\n"
               "    reply: [{exec_command: {cmd: 'echo small'}}]\n"
               "  - name: large\n"
               "    when: {after: small}\n"
               "    reply: [{exec_command: {cmd: 'yes | head -c %lld', yield_time_ms: 600000}}]\n"
               "  - name: done\n"
               "    reply: done\n",
               (long long)bytes);
  csn_auto(csn_closep) int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bench_must(csn_file_write(dir, "flood.yaml", csn_buf_str(&b), 0600, false, &err), &err);
  csn_buf_clear(&b);
  csn_buf_addf(&b, "script:%s/flood.yaml", folder);
  csn_auto(csn_agent_freep) csn_agent *a = csn_agent_new("flood");
  csn_agent_set_model(a, b.p);
  csn_agent_set_sandbox(a, "jail");
  struct flood f = {0};
  csn_run_options o = {.listener = watch_flood, .user = &f};
  int64_t began = csn_now_ns();
  run(rt, a, &o, 3);
  bench_sample("flood-mib", "ours", (double)(f.peak_kib - f.start_kib) / 1024);
  bench_sample("flood-result", "ours", (double)f.result_bytes);
  bench_sample("flood-wall", "ours", bench_ms_since(began));
}

int
main(int argc, char **argv)
{
  bool has_folder = argc > 2 && strcmp(argv[1], "-s") == 0;
  const char *base = has_folder ? argv[2] : "/dev/shm";
  argc -= has_folder ? 2 : 0;
  argv += has_folder ? 2 : 0;
  if (argc != 3) {
    fprintf(stderr, "usage: run_bench [-s FOLDER] "
                    "plain|streamed|guarded|guarded-tools N | deltas N | crowd N | flood BYTES\n");
    return 2;
  }
  const char *what = argv[1];
  int64_t n = bench_number(argv[2], 1, INT64_C(1) << 40);
  csn_err err;
  char *folder = bench_folder(base);
  csn_rt *rt;
  bench_must(csn_rt_new(&rt, &(csn_rt_options){.state_dir = folder}, &err), &err);
  if (strcmp(what, "deltas") == 0)
    deltas(rt, n);
  else if (strcmp(what, "crowd") == 0)
    crowd(rt, n < CROWD_MAX ? n : CROWD_MAX, false);
  else if (strcmp(what, "beside") == 0)
    crowd(rt, n < CROWD_MAX ? n : CROWD_MAX, true);
  else if (strcmp(what, "flood") == 0)
    flood(rt, folder, n);
  else if (csn_str_starts(csn_cstr(what), CSN_STR("guarded")))
    guarded(rt, what, n);
  else
    turns(rt, what, n);
  csn_rt_free(rt);
  bench_folder_drop(folder);
  return 0;
}
