/* SPDX-License-Identifier: Apache-2.0
 *
 * jail_bench.c - what a jail costs inside a running harness, beside its floors
 * in the same run: posix_spawn of the same program, and bwrap, runc and crun
 * where they run.  Prints microseconds (minimum, median, 99th of a hundred) and
 * ratios of the medians; what a jail holds of memory; what the pool costs.
 *
 * usage: jail_bench [rounds]
 */
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "bench.h"
#include "caisson/sandbox.h"
#include "sandbox/jail.h"
#include "sandbox/jail_limits.h"

enum { MOST = 10000, CROWD = 100, RUNTIMES = 20 };

struct series {
  const char *name;
  const char *sample; /* case of bench/goals; "CASE-SIDE" has it beside a floor */
  const char *side;   /* of a floor */
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

/* A sample of both under the case "CASE-SIDE". */
static void
show_beside(const struct series *s, const struct series *floor)
{
  char name[80];
  snprintf(name, sizeof name, "%s-%s", s->sample, floor->side);
  if (s->n && floor->n) {
    bench_sample(name, "ours", median(s) / 1000);
    bench_sample(name, floor->side, median(floor) / 1000);
  }
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

/* Of the kind that the pool has. */
static csn_sandbox *
open_jail(int workspace)
{
  csn_err err;
  csn_sandbox *sb;
  csn_sandbox_spec spec = {.backend = "jail", .workspace_fd = workspace, .lock_fd = -1};
  if (csn_sandbox_open(&sb, NULL, &spec, &err) < 0)
    fail(&err);
  return sb;
}

/* Has n warm jails of the kind made. */
static void
fill_pool(int workspace, uint32_t n)
{
  csn_err err;
  csn_jail_ask ask;
  csn_jail_got got;
  csn_jail_ask_init(&ask);
  memcpy(ask.open.root, "/workspace", sizeof "/workspace");
  ask.open.pool = n;
  ask.fds[CSN_JAIL_WORKSPACE] = workspace;
  csn_jail_limits_ask(NULL, &ask.open.limits);
  if (csn_jail_request(&ask, &got, &err) < 0)
    fail(&err);
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

/* false when there is no such program, or it fails; its output is dropped. */
static bool
run_outside(const char *const *argv)
{
  extern char **environ;
  pid_t pid;
  int status;
  posix_spawn_file_actions_t fa;
  posix_spawn_file_actions_init(&fa);
  posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", O_WRONLY, 0);
  int e = posix_spawnp(&pid, argv[0], &fa, NULL, (char **)(uintptr_t)argv, environ);
  posix_spawn_file_actions_destroy(&fa);
  if (e)
    return false;
  waitpid(pid, &status, 0);
  return status == 0;
}

static struct series floor_true = {.name = "posix_spawn true", .side = "spawn"},
                     floor_static = {.name = "posix_spawn static", .side = "spawn"},
                     floor_sh = {.name = "posix_spawn sh -c", .side = "spawn"},
                     bwrap = {.name = "bwrap --unshare-all true", .side = "bwrap"},
                     runc = {.name = "runc run true", .side = "runc"},
                     crun = {.name = "crun run true", .side = "crun"},
                     cold = {.name = "create + first true", .sample = "jail-cold"},
                     create = {.name = "create"},
                     pooled = {.name = "from the pool + first true", .sample = "jail-pooled"},
                     graft = {.name = "from the pool"},
                     refill = {.name = "one more warm jail", .sample = "jail-refill"},
                     exec_true = {.name = "exec true"},
                     exec_static = {.name = "exec static", .sample = "jail-static"},
                     exec_sh = {.name = "exec sh -c", .sample = "jail-sh"},
                     destroy = {.name = "destroy", .sample = "jail-destroy"};

/* ---- other runtimes ---- */

/* The least bundle that runs a program of the host in the namespaces that a
 * jail has; NULL when it cannot be made. */
static char *
make_bundle(const char *base)
{
  static const char config[] =
      "{\"ociVersion\":\"1.0.2\",\"process\":{\"user\":{\"uid\":0,\"gid\":0},\"args\":[\"/bin/"
      "true\"],\"env\":[\"PATH=/usr/bin:/bin\"],\"cwd\":\"/\",\"noNewPrivileges\":true},\"root\":{"
      "\"path\":\"rootfs\",\"readonly\":true},\"mounts\":[{\"destination\":\"/proc\",\"type\":"
      "\"proc\",\"source\":\"proc\"},{\"destination\":\"/usr\",\"type\":\"bind\",\"source\":\"/"
      "usr\","
      "\"options\":[\"rbind\",\"ro\"]}],\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":"
      "\"network\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"}]}}";
  static const char *const links[][2] = {
      {"usr/bin", "bin"}, {"usr/lib", "lib"}, {"usr/lib64", "lib64"}};
  char *folder = bench_folder(base);
  csn_auto(csn_closep) int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_auto(csn_closep) int file = openat(dir, "config.json", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  csn_err err;
  bench_must(csn_fd_write_all(file, csn_cstr(config), &err), &err);
  if (mkdirat(dir, "rootfs", 0755) < 0 || mkdirat(dir, "rootfs/usr", 0755) < 0 ||
      mkdirat(dir, "rootfs/proc", 0755) < 0)
    return folder;
  for (size_t i = 0; i < CSN_COUNT(links); i++) {
    char path[32];
    snprintf(path, sizeof path, "rootfs/%s", links[i][1]);
    (void)!symlinkat(links[i][0], dir, path);
  }
  return folder;
}

static void
one_of_runtime(struct series *s, const char *program, const char *bundle, int64_t round)
{
  char id[64];
  if (round && !s->n)
    return; /* it does not run here */
  snprintf(id, sizeof id, "caisson-bench-%d-%d", (int)getpid(), (int)round);
  const char *const argv[] = {program, "run", "--bundle", bundle, id, NULL};
  int64_t t = csn_now_ns();
  if (run_outside(argv))
    add(s, t);
}

/* Why a runtime is not among the lines: its own words. */
static void
show_runtime(struct series *s, const char *program, const char *bundle)
{
  if (s->n) {
    show(s, NULL);
    return;
  }
  char line[512];
  snprintf(line, sizeof line, "%s run --bundle '%s' caisson-bench-why 2>&1 | tail -n 1", program,
           bundle);
  const char *const argv[] = {"sh", "-c", line, NULL};
  csn_err err;
  csn_exit end;
  csn_sandbox *sb;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(400);
  csn_sandbox_spec spec = {.backend = "local", .workspace_fd = -1, .lock_fd = -1};
  if (csn_sandbox_open(&sb, NULL, &spec, &err) < 0)
    fail(&err);
  if (csn_sandbox_exec(sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &out, NULL, &end,
                       &err) < 0)
    fail(&err);
  csn_sandbox_close(sb);
  csn_str why = csn_str_trim(csn_buf_str(&out));
  printf("skipped: %s does not run here: %.*s\n", s->name, (int)(why.n & 0xfff), why.p);
}

/* ---- rounds ---- */

static void
one_round(csn_sandbox *warm, const char *const *still, int workspace)
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
  csn_sandbox *sb = open_jail(workspace);
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

/* Without `pool` in its request a jail is taken from the pool and not replaced,
 * so that a round measures itself. */
static void
pool_rounds(int64_t rounds, int workspace)
{
  static const char *const yes[] = {"/bin/true", NULL};
  for (int64_t i = 0; i < rounds; i++) {
    fill_pool(workspace, 0);
    int64_t t = csn_now_ns();
    fill_pool(workspace, 1);
    add(&refill, t);
    fill_pool(workspace, 1);
    nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL); /* it builds itself meanwhile */
    t = csn_now_ns();
    csn_sandbox *sb = open_jail(workspace);
    add(&graft, t);
    run(sb, yes);
    add(&pooled, t);
    csn_sandbox_close(sb);
  }
  fill_pool(workspace, 0);
}

static int crowd_workspace;

static void *
one_of_crowd(void *unused)
{
  static const char *const yes[] = {"/bin/true", NULL};
  csn_sandbox *sb = open_jail(crowd_workspace);
  run(sb, yes);
  return sb;
}

/* The private memory of a jail in which nothing runs, in KiB: the median of
 * our spawner's children; 0 when it cannot be told. */
static int64_t
idle_kib(void)
{
  csn_auto(csn_buf_finip) csn_buf list = CSN_BUF(65536);
  char script[400];
  csn_exit end;
  csn_err err;
  csn_sandbox *sb;
  int64_t kib = 0;
  snprintf(script, sizeof script,
           "for p in $(pgrep -P $(pgrep -P %d caisson-spawner)); do awk '/^Private/ { n += $2 } "
           "END { print n }' /proc/$p/smaps_rollup; done | sort -n | awk '{ v[NR] = $1 } END { "
           "print v[int((NR + 1) / 2)] }'",
           (int)getpid());
  const char *const argv[] = {"sh", "-c", script, NULL};
  csn_sandbox_spec spec = {.backend = "local", .workspace_fd = -1, .lock_fd = -1};
  if (csn_sandbox_open(&sb, NULL, &spec, &err) < 0)
    fail(&err);
  if (csn_sandbox_exec(sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &list, NULL, &end,
                       &err) < 0)
    fail(&err);
  csn_sandbox_close(sb);
  (void)csn_str_int(csn_str_trim(csn_buf_str(&list)), &kib);
  return kib;
}

static void
crowd(const char *what, const char *sample, int workspace)
{
  pthread_t threads[CROWD];
  crowd_workspace = workspace;
  int64_t t = csn_now_ns();
  for (int i = 0; i < CROWD; i++)
    pthread_create(&threads[i], NULL, one_of_crowd, NULL);
  void *sb[CROWD];
  for (int i = 0; i < CROWD; i++)
    pthread_join(threads[i], &sb[i]);
  double ms = bench_ms_since(t);
  printf("%d jails at once, %-16s %8.0f us\n", CROWD, what, ms * 1000);
  bench_sample(sample, "ours", ms);
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
  char *folder = bench_folder("/tmp"), *bundle = make_bundle("/tmp");
  int workspace = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_sandbox *warm = open_jail(-1); /* starts the spawner as well */
  for (int64_t i = 0; i < rounds; i++) {
    one_round(warm, still, workspace);
    if (i < RUNTIMES) {
      one_of_runtime(&runc, "runc", bundle, i);
      one_of_runtime(&crun, "crun", bundle, i);
    }
  }
  csn_sandbox_close(warm);
  show(&floor_static, NULL);
  show(&floor_true, NULL);
  show(&floor_sh, NULL);
  show(&bwrap, NULL);
  show_runtime(&runc, "runc", bundle);
  show_runtime(&crun, "crun", bundle);
  show(&cold, &bwrap);
  show(&create, &floor_true);
  show(&exec_static, &floor_static);
  show(&exec_true, &floor_true);
  show(&exec_sh, &floor_sh);
  show(&destroy, NULL);
  show_beside(&cold, &bwrap);
  show_beside(&cold, &runc);
  show_beside(&cold, &crun);
  show_beside(&exec_static, &floor_static);
  show_beside(&exec_sh, &floor_sh);
  pool_rounds(rounds < 100 ? rounds : 100, workspace);
  show(&pooled, &bwrap);
  show(&graft, &floor_true);
  show(&refill, NULL);
  show_beside(&pooled, &bwrap);
  crowd("cold", "jail-crowd", workspace);
  fill_pool(workspace, CROWD);
  nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
  int64_t kib = idle_kib();
  printf("private memory of an idle jail       %8lld KiB (median of %d)\n", (long long)kib, CROWD);
  bench_sample("jail-memory", "ours", (double)kib);
  crowd("pooled", "jail-crowd-pooled", workspace);
  fill_pool(workspace, 0);
  close(workspace);
  bench_folder_drop(folder);
  bench_folder_drop(bundle);
  return 0;
}
