/* SPDX-License-Identifier: Apache-2.0
 *
 * snapshot_bench.c - snapshots of a workspace of many files, beside tar.
 *
 *   snapshot_bench FOLDER NAME N BYTES
 *
 * Samples, ms: snapshot-first-N-NAME, all of it for the first time;
 * snapshot-10-N-NAME, from a sandbox in which ten files were changed;
 * snapshot-0-N-NAME, in which none was; restore-N-NAME, until a command has
 * run in a sandbox that begins with it; unpack-N-NAME, into a folder, beside
 * tar -x and tar --zstd -x of the same files.
 */
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "bench.h"
#include "caisson/freeze.h"
#include "sandbox/snapshots.h"

struct run {
  const char *name;
  int64_t n, bytes;
  char *path;
  int dir;
  csn_snapshots *s;
  csn_arena *arena;
};

static void
sample(const struct run *r, const char *what, const char *side, double ms)
{
  char text[100];
  snprintf(text, sizeof text, "%s-%lld-%s", what, (long long)r->n, r->name);
  bench_sample(text, side, ms);
}

static int
folder_of(const struct run *r, const char *name)
{
  csn_err err;
  bench_must(csn_mkdirs(r->dir, name, 0755, &err), &err);
  return openat(r->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static csn_sandbox *
open_from(const struct run *r, const char *folder, const char *const *names)
{
  static const char *const yes[] = {"/bin/true", NULL};
  csn_err err;
  csn_exit end;
  csn_sandbox *sb;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  csn_auto(csn_closep) int dir = folder_of(r, folder);
  csn_layers l = {.store_fd = r->s->layers, .names = names};
  csn_sandbox_spec spec = {.workspace_fd = dir, .lock_fd = -1, .layers = &l};
  csn_exec x = {.argv = yes, .claim_fd = -1};
  bench_must(csn_sandbox_open(&sb, NULL, &spec, &err), &err);
  bench_must(csn_sandbox_exec(sb, NULL, &x, &out, NULL, &end, &err), &err);
  return sb;
}

/* tar's time in a folder of r's, as a sample. */
static void
tar_ms(const struct run *r, const char *what, const char *side, const char *folder, const char *how,
       const char *words)
{
  extern char **environ;
  csn_auto(csn_buf_finip) csn_buf in = CSN_BUF(4096), file = CSN_BUF(4096);
  bool is_packed = strcmp(how, "--zstd") == 0;
  csn_buf_addf(&in, "%s/%s", r->path, folder);
  csn_buf_addf(&file, "%s/all.%s", r->path, is_packed ? "tar.zst" : "tar");
  char *argv[] = {"tar",  "-C", in.p, (char *)(uintptr_t)how, (char *)(uintptr_t)words,
                  file.p, NULL, NULL};
  if (strcmp(words, "-cf") == 0)
    argv[6] = ".";
  pid_t pid;
  int status = 1;
  int64_t began = csn_now_ns();
  if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) == 0)
    waitpid(pid, &status, 0);
  if (status == 0 && what)
    sample(r, what, side, bench_ms_since(began));
}

/* Into new folders, in turns with tar. */
static void
unpack(const struct run *r, const csn_snapshot *first)
{
  static const char *const sides[] = {"ours", "tar-x", "tar-zstd"};
  for (int i = 0; i < 9; i++) {
    csn_err err;
    char name[20];
    snprintf(name, sizeof name, "unpacked%d", i);
    csn_auto(csn_closep) int dir = folder_of(r, name);
    int64_t began = csn_now_ns();
    if (i % 3 == 0) {
      bench_must(csn_snapshot_restore(r->s, NULL, first, dir, &err), &err);
      sample(r, "unpack", sides[0], bench_ms_since(began));
    } else {
      tar_ms(r, "unpack", sides[i % 3], name, i % 3 == 1 ? "--no-same-owner" : "--zstd", "-xf");
    }
    bench_must(csn_remove_tree(r->dir, name, &err), &err);
  }
}

/* From the snapshot `base`, with so many files changed, to another one. */
static csn_snapshot
change(const struct run *r, const csn_snapshot *base, const char *name, int files)
{
  csn_err err;
  csn_snapshot out;
  char what[40];
  const char *const *names;
  int64_t began = csn_now_ns();
  bench_must(csn_snapshot_layers(r->s, NULL, base, r->arena, &names, &err), &err);
  csn_sandbox *sb = open_from(r, name, names);
  sample(r, "restore", "ours", bench_ms_since(began));
  for (int i = 0; i < files; i++)
    bench_fill(sb->workspace_fd, r->n / files * i, r->bytes, 7);
  csn_snapshot_saving how = {.name = name};
  began = csn_now_ns();
  bench_must(csn_sandbox_freeze(sb, NULL, &names, &err), &err);
  bench_must(csn_snapshot_save_layers(r->s, NULL, &how, base, names, &out, &err), &err);
  snprintf(what, sizeof what, "snapshot-%d", files);
  sample(r, what, "ours", bench_ms_since(began));
  csn_sandbox_close(sb);
  return out;
}

int
main(int argc, char **argv)
{
  if (argc != 5) {
    fprintf(stderr, "usage: snapshot_bench FOLDER NAME N BYTES\n");
    return 2;
  }
  struct run r = {.name = argv[2],
                  .n = bench_number(argv[3], 10, 1000000),
                  .bytes = bench_number(argv[4], 1, 1 << 20),
                  .path = bench_folder(argv[1]),
                  .arena = csn_arena_new(0)};
  csn_err err;
  csn_snapshot first;
  const char *const *names;
  r.dir = open(r.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bench_must(csn_snapshots_open(&r.s, r.dir, NULL, &err), &err);
  int from = folder_of(&r, "from");
  for (int64_t i = 0; i < r.n; i++)
    bench_fill(from, i, r.bytes, 1);
  csn_snapshot_saving how = {.name = "first"};
  int64_t began = csn_now_ns();
  bench_must(csn_snapshot_save(r.s, NULL, &how, from, &first, &err), &err);
  sample(&r, "snapshot-first", "ours", bench_ms_since(began));
  close(from);
  bench_must(csn_snapshot_layers(r.s, NULL, &first, r.arena, &names, &err), &err);
  char layer[80];
  snprintf(layer, sizeof layer, "snapshots/layers/%s", names[0]);
  tar_ms(&r, "snapshot-first", "tar-zstd", layer, "--zstd", "-cf");
  tar_ms(&r, NULL, NULL, layer, "--no-same-owner", "-cf");
  unpack(&r, &first);
  for (int i = 0; i < 5; i++) {
    char name[20];
    snprintf(name, sizeof name, "ten%d", i);
    csn_snapshot next = change(&r, &first, name, 10);
    snprintf(name, sizeof name, "none%d", i);
    change(&r, &next, name, 0);
  }
  csn_snapshots_free(r.s);
  csn_arena_free(r.arena);
  close(r.dir);
  bench_folder_drop(r.path);
  return 0;
}
