/* SPDX-License-Identifier: Apache-2.0
 *
 * freeze_bench.c - forks of a sandbox whose workspace has many files, beside a
 * copy of the same files by cp.
 *
 *   freeze_bench FOLDER NAME N BYTES ROUNDS
 *
 * Samples, ms: fork-N-NAME, what is in the workspace becomes a layer and the
 * sandbox is idle until then; fork-ready-N-NAME, until a command has run in a
 * sandbox on that layer.
 */
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "bench.h"
#include "caisson/freeze.h"

enum { PER_FOLDER = 100 };

struct place {
  char *path;
  int dir, store;
};

static csn_sandbox *
open_on(const struct place *p, const char *name, const char *const *names)
{
  csn_err err;
  csn_sandbox *sb;
  bench_must(csn_mkdirs(p->dir, name, 0755, &err), &err);
  csn_auto(csn_closep) int dir = openat(p->dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_layers l = {.store_fd = p->store, .names = names};
  csn_sandbox_spec spec = {.workspace_fd = dir, .lock_fd = -1, .layers = &l};
  bench_must(csn_sandbox_open(&sb, NULL, &spec, &err), &err);
  return sb;
}

static void
run(csn_sandbox *sb, const char *const *argv)
{
  csn_err err;
  csn_exit end;
  csn_buf out = CSN_BUF(1000);
  csn_exec x = {.argv = argv, .claim_fd = -1};
  bench_must(csn_sandbox_exec(sb, NULL, &x, &out, NULL, &end, &err), &err);
  csn_buf_fini(&out);
}

static void
fill(csn_sandbox *sb, int64_t n, int64_t bytes)
{
  csn_err err;
  csn_auto(csn_freep) char *content = csn_alloc((size_t)bytes);
  char path[64];
  for (int64_t i = 0; i < n; i++) {
    snprintf(path, sizeof path, "d%lld", (long long)(i / PER_FOLDER));
    if (i % PER_FOLDER == 0)
      bench_must(csn_mkdirs(sb->workspace_fd, path, 0755, &err), &err);
    snprintf(path, sizeof path, "d%lld/f%lld", (long long)(i / PER_FOLDER), (long long)i);
    csn_auto(csn_closep) int fd =
        openat(sb->workspace_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    bench_must(csn_fd_write_all(fd, csn_strn(content, (size_t)bytes), &err), &err);
  }
}

static void
sample(const char *what, int64_t n, const char *name, const char *side, double ms)
{
  char text[100];
  snprintf(text, sizeof text, "%s-%lld-%s", what, (long long)n, name);
  bench_sample(text, side, ms);
}

/* What it costs without layers. */
static double
copy_ms(const struct place *p, const char *layer)
{
  extern char **environ;
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf from = CSN_BUF(4096), to = CSN_BUF(4096);
  csn_buf_addf(&from, "%s/layers/%s", p->path, layer);
  csn_buf_addf(&to, "%s/copy", p->path);
  char *argv[] = {"cp", "-a", from.p, to.p, NULL};
  pid_t pid;
  int status = 1;
  int64_t began = csn_now_ns();
  if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) == 0)
    waitpid(pid, &status, 0);
  double ms = bench_ms_since(began);
  if (status != 0)
    exit(1);
  bench_must(csn_remove_tree(p->dir, "copy", &err), &err);
  return ms;
}

/* Each round begins with a workspace of its own, all of whose files are new. */
static void
one_round(const struct place *p, const char *name, int64_t n, int64_t bytes)
{
  static const char *const yes[] = {"/bin/true", NULL};
  csn_err err;
  const char *const *names;
  csn_sandbox *parent = open_on(p, "parent", NULL);
  fill(parent, n, bytes);
  run(parent, yes);
  int64_t began = csn_now_ns();
  bench_must(csn_sandbox_freeze(parent, NULL, &names, &err), &err);
  sample("fork", n, name, "ours", bench_ms_since(began));
  csn_sandbox *child = open_on(p, "child", names);
  run(child, yes);
  sample("fork-ready", n, name, "ours", bench_ms_since(began));
  double ms = copy_ms(p, names[0]);
  sample("fork", n, name, "cp", ms);
  sample("fork-ready", n, name, "cp", ms);
  csn_sandbox_close(child);
  csn_sandbox_close(parent);
  static const char *const left[] = {"parent", "child", "layers"};
  for (size_t i = 0; i < CSN_COUNT(left); i++)
    bench_must(csn_remove_tree(p->dir, left[i], &err), &err);
}

int
main(int argc, char **argv)
{
  if (argc != 6) {
    fprintf(stderr, "usage: freeze_bench FOLDER NAME N BYTES ROUNDS\n");
    return 2;
  }
  int64_t n = bench_number(argv[3], 1, 1000000), bytes = bench_number(argv[4], 1, 1 << 20);
  int64_t rounds = bench_number(argv[5], 1, 1000);
  struct place p = {.path = bench_folder(argv[1])};
  p.dir = open(p.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_err err;
  for (int64_t i = 0; i < rounds; i++) {
    bench_must(csn_mkdirs(p.dir, "layers", 0700, &err), &err);
    p.store = openat(p.dir, "layers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    one_round(&p, argv[2], n, bytes);
    close(p.store);
  }
  close(p.dir);
  bench_folder_drop(p.path);
  return 0;
}
