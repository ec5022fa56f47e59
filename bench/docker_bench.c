/* SPDX-License-Identifier: Apache-2.0
 *
 * docker_bench.c - a container's life (made, a command, its files, removed), and a
 * command in one that runs, beside the bare calls of the engine for the same.
 *
 * usage: with_server.py docker docker_bench [rounds]
 */
#include <sys/mman.h>

#include "bench.h"
#include "caisson/remote.h"
#include "sandbox/engine.h"

enum { MOST_ROUNDS = 1000 };

struct world {
  csn_engine engine;
  csn_arena *arena;
  const csn_json *options;
};

/* ---- bare calls ---- */

/* The id that the engine gives. */
static const char *
post(struct world *w, const char *path, const char *body)
{
  csn_err err;
  const csn_json *v = NULL;
  bench_must(csn_engine_ask(&w->engine, NULL, "POST", path, csn_cstr(body), w->arena, &v, &err),
             &err);
  return csn_arena_dup(w->arena, csn_json_str(v, "Id", (csn_str){0})).p;
}

static void
bare_command(struct world *w, const char *id)
{
  csn_err err;
  csn_link *link = NULL;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(CSN_LINK_PIECE);
  const char *exec = post(
      w, csn_arena_printf(w->arena, "/containers/%s/exec", id).p,
      "{\"AttachStdout\":true,\"AttachStderr\":true,\"User\":\"1000:1000\",\"Cmd\":[\"true\"]}");
  bench_must(csn_engine_hijack(&w->engine, NULL,
                               csn_arena_printf(w->arena, "/exec/%s/start", exec).p,
                               CSN_STR("{\"Detach\":false,\"Tty\":false}"), &link, &err),
             &err);
  while (csn_link_read(link, NULL, &out, 1000, &err) > 0)
    csn_buf_clear(&out);
  csn_link_close(link);
  bench_must(csn_engine_ask(&w->engine, NULL, "GET",
                            csn_arena_printf(w->arena, "/exec/%s/json", exec).p, (csn_str){0},
                            w->arena, NULL, &err),
             &err);
}

static const char *
bare_open(struct world *w)
{
  const char *id = post(w, "/containers/create",
                        "{\"Image\":\"box\",\"User\":\"1000:1000\",\"WorkingDir\":\"/workspace\","
                        "\"Entrypoint\":[\"tail\",\"-f\",\"/dev/null\"],\"HostConfig\":{"
                        "\"NetworkMode\":\"none\",\"Init\":true,\"Memory\":2147483648,"
                        "\"PidsLimit\":1024,\"Mounts\":[{\"Type\":\"volume\","
                        "\"Target\":\"/workspace\"}]}}");
  post(w, csn_arena_printf(w->arena, "/containers/%s/start", id).p, "");
  return id;
}

static void
bare_close(struct world *w, const char *id)
{
  csn_err err;
  bench_must(csn_engine_ask(&w->engine, NULL, "DELETE",
                            csn_arena_printf(w->arena, "/containers/%s?force=true&v=true", id).p,
                            (csn_str){0}, NULL, NULL, &err),
             &err);
}

static void
bare_life(struct world *w)
{
  csn_err err;
  csn_auto(csn_closep) int tar = memfd_create("tar", MFD_CLOEXEC);
  const char *id = bare_open(w);
  bare_command(w, id);
  bench_must(csn_engine_download(
                 &w->engine, NULL,
                 csn_arena_printf(w->arena, "/containers/%s/archive?path=/workspace/.", id).p, tar,
                 1 << 20, &err),
             &err);
  bare_close(w, id);
}

/* ---- ours ---- */

static csn_sandbox *
our_open(struct world *w)
{
  csn_sandbox *sb;
  csn_err err;
  const csn_sandbox_spec spec = {
      .backend = "docker", .workspace_fd = -1, .lock_fd = -1, .options = w->options};
  bench_must(csn_sandbox_open(&sb, NULL, &spec, &err), &err);
  return sb;
}

static void
our_command(csn_sandbox *sb)
{
  const char *const argv[] = {"true", NULL};
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  csn_exit end;
  csn_err err;
  bench_must(
      csn_sandbox_exec(sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &out, NULL, &end, &err),
      &err);
}

static void
our_life(struct world *w)
{
  csn_err err;
  csn_auto(csn_closep) int tar = memfd_create("tar", MFD_CLOEXEC);
  csn_sandbox *sb = our_open(w);
  our_command(sb);
  bench_must(csn_sandbox_get(sb, NULL, NULL, tar, &err), &err);
  csn_sandbox_close(sb);
}

int
main(int argc, char **argv)
{
  int64_t rounds = argc > 1 ? bench_number(argv[1], 1, MOST_ROUNDS) : 10;
  const char *host = getenv("CAISSON_TEST_DOCKER");
  struct world w = {.arena = csn_arena_new(0)};
  csn_err err;
  if (!host) {
    printf("skipped: there is no container engine\n");
    return 0;
  }
  bench_must(csn_engine_init(&w.engine, csn_cstr(host), &err), &err);
  csn_str options = csn_arena_printf(w.arena, "{\"image\":\"box\",\"host\":\"%s\"}", host);
  bench_must(csn_json_parse(w.arena, options, &w.options, &err), &err);
  bare_life(&w);
  for (int64_t i = 0; i < rounds; i++) {
    int64_t began = csn_now_ns();
    our_life(&w);
    bench_sample("docker-life", "ours", bench_ms_since(began));
    began = csn_now_ns();
    bare_life(&w);
    bench_sample("docker-life", "engine", bench_ms_since(began));
  }
  csn_sandbox *sb = our_open(&w);
  const char *id = bare_open(&w);
  for (int64_t i = 0; i < rounds; i++) {
    int64_t began = csn_now_ns();
    our_command(sb);
    bench_sample("docker-command", "ours", bench_ms_since(began));
    began = csn_now_ns();
    bare_command(&w, id);
    bench_sample("docker-command", "engine", bench_ms_since(began));
  }
  bare_close(&w, id);
  csn_sandbox_close(sb);
  csn_engine_fini(&w.engine);
  csn_arena_free(w.arena);
  return 0;
}
