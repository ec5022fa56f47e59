/* SPDX-License-Identifier: Apache-2.0
 *
 * jail_bench.c - what a jail costs inside a running harness, beside its floors
 * in the same run: posix_spawn of the same program, and bwrap when installed.
 * Prints microseconds (minimum, median, 99th of a hundred) and ratios.
 *
 * usage: jail_bench [rounds]
 */
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>

#include "bench.h"
#include "caisson/sandbox.h"

enum { MOST = 10000, CROWD = 100 };

struct series {
  const char *name, *sample;
  int n;
  double us[MOST];
};

static int
by_size(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double
median(const struct series *s)
{
  return s->n ? s->us[s->n / 2] : 0;
}

static void
show(struct series *s, const struct series *floor)
{
  if (!s->n) {
    printf("%-34s not measured here\n", s->name);
    return;
  }
  qsort(s->us, (size_t)s->n, sizeof *s->us, by_size);
  printf("%-34s min %8.0f  median %8.0f  p99 %8.0f us", s->name, s->us[0], median(s),
         s->us[s->n * 99 / 100]);
  if (floor && floor->n)
    printf("  %5.2fx of %s", median(s) / median(floor), floor->name);
  printf("\n");
  if (s->sample)
    bench_sample(s->sample, "ours", median(s) / 1000);
}

static void
add(struct series *s, int64_t began_ns)
{
  s->us[s->n++] = (double)(csn_now_ns() - began_ns) / 1000;
}

static _Noreturn void
fail(const csn_err *err)
{
  fprintf(stderr, "jail_bench: %s\n", err->msg);
  exit(1);
}

static csn_sandbox *
open_jail(void)
{
  csn_err err;
  csn_sandbox *sb;
  csn_sandbox_spec spec = {.backend = "jail", .workspace_fd = -1, .lock_fd = -1};
  if (csn_sandbox_open(&sb, NULL, &spec, &err) < 0)
    fail(&err);
  return sb;
}

static void
run(csn_sandbox *sb, const char *const *argv)
{
  csn_err err;
  csn_exit end;
  csn_buf out = CSN_BUF(1000);
  csn_exec x = {.argv = argv, .claim_fd = -1};
  if (csn_sandbox_exec(sb, NULL, &x, &out, NULL, &end, &err) < 0)
    fail(&err);
  csn_buf_fini(&out);
}

/* false when there is no such program. */
static bool
run_outside(const char *const *argv)
{
  extern char **environ;
  pid_t pid;
  int status;
  if (posix_spawnp(&pid, argv[0], NULL, NULL, (char **)(uintptr_t)argv, environ) != 0)
    return false;
  waitpid(pid, &status, 0);
  return status == 0;
}

static struct series floor_true = {.name = "posix_spawn true"},
                     floor_static = {.name = "posix_spawn static"},
                     floor_sh = {.name = "posix_spawn sh -c"},
                     bwrap = {.name = "bwrap --unshare-all true"},
                     cold = {.name = "create + first true", .sample = "jail-cold"},
                     create = {.name = "create"}, exec_true = {.name = "exec true"},
                     exec_static = {.name = "exec static", .sample = "jail-static"},
                     exec_sh = {.name = "exec sh -c", .sample = "jail-sh"},
                     destroy = {.name = "destroy", .sample = "jail-destroy"};

static void
one_round(csn_sandbox *warm, const char *const *still)
{
  static const char *const yes[] = {"/bin/true", NULL}, *const sh[] = {"sh", "-c", ":", NULL};
  static const char *const wrapped[] = {"bwrap", "--unshare-all", "--ro-bind", "/",
                                        "/",     "/bin/true",     NULL};
  int64_t t = csn_now_ns();
  if (run_outside(yes))
    add(&floor_true, t);
  t = csn_now_ns();
  if (still && run_outside(still))
    add(&floor_static, t);
  t = csn_now_ns();
  if (run_outside(sh))
    add(&floor_sh, t);
  t = csn_now_ns();
  if (run_outside(wrapped))
    add(&bwrap, t);
  t = csn_now_ns();
  csn_sandbox *sb = open_jail();
  add(&create, t);
  run(sb, yes);
  add(&cold, t);
  t = csn_now_ns();
  csn_sandbox_close(sb);
  add(&destroy, t);
  t = csn_now_ns();
  run(warm, yes);
  add(&exec_true, t);
  t = csn_now_ns();
  if (still) {
    run(warm, still);
    add(&exec_static, t);
  }
  t = csn_now_ns();
  run(warm, sh);
  add(&exec_sh, t);
}

static void *
one_of_crowd(void *unused)
{
  static const char *const yes[] = {"/bin/true", NULL};
  csn_sandbox *sb = open_jail();
  run(sb, yes);
  return sb;
}

static void
crowd(void)
{
  pthread_t threads[CROWD];
  int64_t t = csn_now_ns();
  for (int i = 0; i < CROWD; i++)
    pthread_create(&threads[i], NULL, one_of_crowd, NULL);
  void *sb[CROWD];
  for (int i = 0; i < CROWD; i++)
    pthread_join(threads[i], &sb[i]);
  double ms = bench_ms_since(t);
  printf("%d jails at once, first true done   %8.0f us\n", CROWD, ms * 1000);
  bench_sample("jail-crowd", "ours", ms);
  for (int i = 0; i < CROWD; i++)
    csn_sandbox_close(sb[i]);
}

int
main(int argc, char **argv)
{
  int64_t rounds = 200;
  if (argc > 1 && (!csn_str_int(csn_cstr(argv[1]), &rounds) || rounds < 1 || rounds > MOST)) {
    fprintf(stderr, "usage: jail_bench [rounds]\n");
    return 2;
  }
  static const char *const busybox[] = {"/bin/busybox", "true", NULL};
  const char *const *still = access(busybox[0], X_OK) == 0 ? busybox : NULL;
  csn_sandbox *warm = open_jail(); /* starts the spawner as well */
  for (int64_t i = 0; i < rounds; i++)
    one_round(warm, still);
  csn_sandbox_close(warm);
  show(&floor_static, NULL);
  show(&floor_true, NULL);
  show(&floor_sh, NULL);
  show(&bwrap, NULL);
  show(&cold, &bwrap);
  show(&create, &floor_true);
  show(&exec_static, &floor_static);
  show(&exec_true, &floor_true);
  show(&exec_sh, &floor_sh);
  show(&destroy, NULL);
  crowd();
  return 0;
}
