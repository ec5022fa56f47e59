/* SPDX-License-Identifier: Apache-2.0
 *
 * box_bench.c - a sandbox from its beginning to a saved workspace, as a program
 * that embeds the library has it; bench/peers/sandbox_python.py does the same.
 *
 *   box_bench FOLDER jail|docker life ROUNDS
 *   box_bench FOLDER docker files N BYTES ROUNDS
 *
 * Samples, ms.  box-life-BACKEND: made, a command, the workspace saved as a
 * snapshot, ended.  Of N files elsewhere (snapshot_bench.c has those here):
 * snapshot-first-N-docker, until all are saved; restore-N-docker, until a command
 * has run in a sandbox that begins with them; snapshot-10-N-docker, of that one
 * once ten were changed.  For docker by tests/with_server.py.
 */
#include "bench.h"
#include "caisson/remote.h"
#include "sandbox/snapshots.h"
#include "sandbox/stage.h"

struct run {
  const char *backend;
  bool is_remote;
  const csn_json *options;
  csn_arena *arena;
  csn_snapshots *s;
  int dir, n_saved, n_folders;
};

static int
new_folder(struct run *r)
{
  csn_err err;
  char name[20];
  snprintf(name, sizeof name, "folder%d", r->n_folders++);
  bench_must(csn_mkdirs(r->dir, name, 0755, &err), &err);
  return openat(r->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static csn_sandbox *
open_box(struct run *r, int workspace)
{
  csn_err err;
  csn_sandbox *sb;
  const csn_sandbox_spec spec = {.backend = r->backend,
                                 .workspace_fd = r->is_remote ? -1 : workspace,
                                 .lock_fd = -1,
                                 .options = r->options};
  bench_must(csn_sandbox_open(&sb, NULL, &spec, &err), &err);
  return sb;
}

static void
command(csn_sandbox *sb, const char *text)
{
  const char *const argv[] = {"sh", "-c", text, NULL};
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  csn_exit end;
  csn_err err;
  bench_must(
      csn_sandbox_exec(sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &out, NULL, &end, &err),
      &err);
  if (end.code != 0) {
    fprintf(stderr, "bench: %s: exit %d: %s\n", text, end.code, out.p ? out.p : "");
    exit(1);
  }
}

/* What is in the sandbox, or in its folder when that is here. */
static csn_snapshot
save(struct run *r, csn_sandbox *sb, int workspace)
{
  csn_err err;
  char name[20];
  csn_snapshot out;
  snprintf(name, sizeof name, "saved%d", r->n_saved++);
  csn_snapshot_saving how = {.name = name};
  csn_auto(csn_closep) int pulled = r->is_remote ? new_folder(r) : -1;
  if (r->is_remote)
    bench_must(csn_stage_pull(NULL, sb, pulled, &err), &err);
  bench_must(csn_snapshot_save(r->s, NULL, &how, r->is_remote ? pulled : workspace, &out, &err),
             &err);
  return out;
}

static void
end_box(csn_sandbox *sb)
{
  csn_err err;
  bench_must(csn_sandbox_destroy(sb, NULL, &err), &err);
  csn_sandbox_close(sb);
}

static void
life(struct run *r, int64_t rounds)
{
  char what[60];
  snprintf(what, sizeof what, "box-life-%s", r->backend);
  for (int64_t i = 0; i <= rounds; i++) {
    int64_t began = csn_now_ns();
    csn_auto(csn_closep) int workspace = r->is_remote ? -1 : new_folder(r);
    csn_sandbox *sb = open_box(r, workspace);
    command(sb, "true");
    save(r, sb, workspace);
    end_box(sb);
    if (i) /* the first one starts what all share */
      bench_sample(what, "ours", bench_ms_since(began));
  }
}

/* ---- files ---- */

static void
files(struct run *r, int64_t n, int64_t bytes, int64_t rounds)
{
  csn_err err;
  char what[3][60];
  static const char *const names[] = {"snapshot-first", "restore", "snapshot-10"};
  for (int i = 0; i < 3; i++)
    snprintf(what[i], sizeof what[i], "%s-%lld-%s", names[i], (long long)n, r->backend);
  for (int64_t round = 0; round < rounds; round++) {
    csn_auto(csn_closep) int all = new_folder(r);
    csn_auto(csn_closep) int ten = new_folder(r);
    csn_auto(csn_closep) int restored = new_folder(r);
    for (int64_t i = 0; i < n; i++)
      bench_fill(all, i, bytes, (uint32_t)round); /* nothing that was saved before */
    for (int64_t i = 0; i < n; i += n / 10)
      bench_fill(ten, i, bytes, (uint32_t)round + 1000);
    csn_sandbox *sb = open_box(r, -1);
    bench_must(csn_stage_push(NULL, sb, all, &err), &err);
    int64_t began = csn_now_ns();
    csn_snapshot first = save(r, sb, -1);
    bench_sample(what[0], "ours", bench_ms_since(began));
    end_box(sb);
    began = csn_now_ns();
    sb = open_box(r, -1);
    bench_must(csn_snapshot_restore(r->s, NULL, &first, restored, &err), &err);
    bench_must(csn_stage_push(NULL, sb, restored, &err), &err);
    command(sb, "true");
    bench_sample(what[1], "ours", bench_ms_since(began));
    bench_must(csn_stage_push(NULL, sb, ten, &err), &err);
    began = csn_now_ns();
    save(r, sb, -1);
    bench_sample(what[2], "ours", bench_ms_since(began));
    end_box(sb);
  }
}

int
main(int argc, char **argv)
{
  csn_err err;
  if (argc < 5)
    return fprintf(stderr,
                   "usage: box_bench FOLDER jail|docker life ROUNDS | files N BYTES ROUNDS\n"),
           2;
  char *path = bench_folder(argv[1]);
  struct run r = {.backend = argv[2],
                  .is_remote = csn_sandbox_is_remote(argv[2]),
                  .arena = csn_arena_new(0),
                  .dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  const char *host = getenv("CAISSON_TEST_DOCKER");
  csn_str options =
      csn_arena_printf(r.arena, "{\"image\":\"box\",\"host\":\"%s\"}", host ? host : "");
  if (r.is_remote)
    bench_must(csn_json_parse(r.arena, options, &r.options, &err), &err);
  bench_must(csn_snapshots_open(&r.s, r.dir, NULL, &err), &err);
  if (argc == 5)
    life(&r, bench_number(argv[4], 1, 1000));
  else if (argc == 7 && r.is_remote)
    files(&r, bench_number(argv[4], 10, 1000000), bench_number(argv[5], 1, 1 << 20),
          bench_number(argv[6], 1, 1000));
  csn_snapshots_free(r.s);
  csn_arena_free(r.arena);
  close(r.dir);
  bench_folder_drop(path);
  return 0;
}
