/* SPDX-License-Identifier: Apache-2.0
 * test_limits.c - the words and units of limits, and what the port holds for
 * every back-end; tests/jail/test_limits.c has what the kernel holds. */
#include "sandbox/limits.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "caisson/sandbox.h"
#include "check.h"
#include "sandbox/disk_watch.h"
#include "sandbox/shell.h"

TEST(texts_are_read)
{
  static const struct {
    enum csn_limit which;
    const char *text;
    int64_t value; /* 0: refused */
  } cases[] = {
      {CSN_LIMIT_MEMORY, "1GiB", 1 << 30},
      {CSN_LIMIT_MEMORY, "1.5 GiB", 3 << 29},
      {CSN_LIMIT_MEMORY, "512m", 512 << 20},
      {CSN_LIMIT_MEMORY, "512M", 512 << 20},
      {CSN_LIMIT_MEMORY, "500MB", 500000000},
      {CSN_LIMIT_MEMORY, "1073741824", 1 << 30},
      {CSN_LIMIT_MEMORY, "none", CSN_UNLIMITED},
      {CSN_LIMIT_MEMORY, "1MiB", 0},
      {CSN_LIMIT_MEMORY, "-1", 0},
      {CSN_LIMIT_MEMORY, "GiB", 0},
      {CSN_LIMIT_MEMORY, "1 gigabyte", 0},
      {CSN_LIMIT_MEMORY, "99999999999999999999GiB", 0},
      {CSN_LIMIT_MEMORY, "8388608TiB", 0},
      {CSN_LIMIT_MEMORY, "", 0},
      {CSN_LIMIT_PIDS, "256", 256},
      {CSN_LIMIT_PIDS, "2.5", 0},
      {CSN_LIMIT_PIDS, "0", 0},
      {CSN_LIMIT_PIDS, "5k", 0},
      {CSN_LIMIT_CPU, "1.5", 1500},
      {CSN_LIMIT_CPU, "2", 2000},
      {CSN_LIMIT_CPU, "0.001", 0},
      {CSN_LIMIT_WALL, "90s", 90000},
      {CSN_LIMIT_WALL, "90", 90000},
      {CSN_LIMIT_WALL, "10m", 600000},
      {CSN_LIMIT_WALL, "1.5h", 5400000},
      {CSN_LIMIT_WALL, "250ms", 250},
      {CSN_LIMIT_WALL, "1d", 0},
  };
  for (size_t i = 0; i < CSN_COUNT(cases); i++) {
    int64_t value = 0;
    csn_err err = {0};
    int rc = csn_limit_parse(cases[i].which, csn_cstr(cases[i].text), &value, &err);
    if (value != cases[i].value || (rc < 0) != (cases[i].value == 0))
      fail_msg("'%s' is %lld (%d: %s), expected %lld", cases[i].text, (long long)value, rc, err.msg,
               (long long)cases[i].value);
    if (rc < 0)
      assert_non_null(strstr(err.msg, csn_limit_name(cases[i].which)));
  }
}

TEST(what_is_written_reads_back_the_same)
{
  static const int64_t values[] = {1, 16, 999, 1500, 4096, 1 << 20, 123456789, 1LL << 40, -1};
  for (enum csn_limit which = 0; which < CSN_LIMITS; which++)
    for (size_t i = 0; i < CSN_COUNT(values); i++) {
      int64_t back = 0;
      csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(64);
      csn_limit_write(which, values[i], &text);
      if (csn_limit_parse(which, csn_buf_str(&text), &back, NULL) == 0)
        assert_int_equal(back, values[i]);
    }
}

static void
tells(enum csn_limit which, int64_t value, const char *want)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(64);
  csn_limit_tell(which, value, &text);
  STR_EQ(csn_buf_str(&text), want);
}

TEST(people_read_round_numbers)
{
  tells(CSN_LIMIT_MEMORY, 1 << 30, "1 GiB");
  tells(CSN_LIMIT_MEMORY, 3 << 29, "1.5 GiB");
  tells(CSN_LIMIT_MEMORY, 1000, "1000 bytes");
  tells(CSN_LIMIT_WALL, 600000, "10 min");
  tells(CSN_LIMIT_WALL, 1500, "1.5 s");
  tells(CSN_LIMIT_WALL, 1, "1 ms");
  tells(CSN_LIMIT_CPU, 1500, "1.5");
  tells(CSN_LIMIT_PIDS, 256, "256");
  tells(CSN_LIMIT_SWAP, 0, "0 bytes");
  tells(CSN_LIMIT_DISK, CSN_UNLIMITED, "none");
}

/* ---- the port ---- */

struct box {
  csn_sandbox *sb;
  csn_buf out;
  csn_err err;
};

static void
box_open(struct box *b, const csn_sandbox_limits *l)
{
  *b = (struct box){.out = CSN_BUF(1 << 22)};
  csn_sandbox_spec spec = {.backend = "local", .workspace_fd = -1, .lock_fd = -1, .limits = l};
  OK(csn_sandbox_open(&b->sb, NULL, &spec, &b->err), &b->err);
}

static void
box_close(struct box *b)
{
  csn_sandbox_close(b->sb);
  csn_buf_fini(&b->out);
}

static csn_exit
sh(struct box *b, const char *script)
{
  csn_exit end = {-1, -1, 0};
  const char *argv[] = {"sh", "-c", script, NULL};
  OK(csn_sandbox_exec(b->sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &b->out, NULL, &end,
                      &b->err),
     &b->err);
  return end;
}

static void
explains(const struct box *b, const csn_exit *end, const char *want)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000);
  csn_exit_explain(b->sb, end, &text);
  STR_EQ(csn_buf_str(&text), want);
}

TEST(a_command_that_takes_too_long_is_killed_and_told_so)
{
  struct box b;
  csn_sandbox_limits l = {.command_wall_ms = 100};
  box_open(&b, &l);
  csn_exit end = sh(&b, "echo begun; sleep 60");
  assert_int_equal(end.signal, SIGKILL);
  explains(&b, &end, "killed: the limit of 100 ms for one command was reached");
  STR_EQ(csn_buf_str(&b.out), "begun\n");
  end = sh(&b, "exit 3"); /* the next has its own time */
  assert_int_equal(end.code, 3);
  assert_int_equal(end.reached, 0);
  box_close(&b);
}

TEST(a_callers_own_deadline_stays_a_time_out)
{
  struct box b;
  csn_sandbox_limits l = {.command_wall_ms = 60000};
  box_open(&b, &l);
  csn_scope sc;
  csn_exit end;
  const char *argv[] = {"sleep", "60", NULL};
  csn_scope_init(&sc, NULL, 50);
  assert_int_equal(csn_sandbox_exec(b.sb, &sc, &(csn_exec){.argv = argv, .claim_fd = -1}, &b.out,
                                    NULL, &end, &b.err),
                   CSN_E_TIMEOUT);
  csn_scope_fini(&sc);
  box_close(&b);
}

TEST(a_flood_is_cut_at_the_limit_and_ends)
{
  struct box b;
  csn_sandbox_limits l = {.output_bytes = 100000};
  box_open(&b, &l);
  csn_exit end = sh(&b, "yes");
  assert_int_equal(b.out.n, 100000);
  assert_int_equal(end.signal, SIGKILL);
  explains(&b, &end, "killed: the limit of 97.6 KiB of output for one command was reached");
  csn_buf_clear(&b.out);
  end = sh(&b, "head -c 100000 /dev/zero");
  assert_int_equal(b.out.n, 100000);
  assert_int_equal(end.reached, 0);
  box_close(&b);
}

TEST(a_sandbox_whose_time_is_over_takes_no_command)
{
  struct box b;
  csn_sandbox_limits l = {.wall_ms = 150};
  box_open(&b, &l);
  csn_exit end = sh(&b, "sleep 60");
  explains(&b, &end, "killed: the sandbox's time of 150 ms is over");
  csn_proc *p;
  const char *argv[] = {"true", NULL};
  assert_int_equal(
      csn_sandbox_spawn(b.sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &p, &b.err),
      CSN_E_LIMIT);
  assert_non_null(strstr(b.err.msg, "time of 150 ms is over"));
  box_close(&b);
}

TEST(a_kill_without_a_limit_is_not_explained)
{
  struct box b;
  csn_sandbox_limits l = {.command_wall_ms = 60000, .output_bytes = 1 << 20};
  box_open(&b, &l);
  csn_exit end = sh(&b, "kill -9 $$");
  assert_int_equal(end.signal, SIGKILL);
  explains(&b, &end, "");
  box_close(&b);
}

TEST(the_model_reads_which_limit_it_was)
{
  struct box b;
  csn_sandbox_limits l = {.command_wall_ms = 100};
  box_open(&b, &l);
  csn_shell *shell = csn_shell_new(b.sb, 0);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *args;
  OK(csn_json_parse(a, CSN_STR("{\"cmd\":\"printf begun; sleep 60\"}"), &args, &b.err), &b.err);
  OK(csn_shell_exec(shell, NULL, args, -1, &b.out, &b.err), &b.err);
  assert_non_null(strstr(b.out.p, "exited with code -9\n"));
  assert_non_null(
      strstr(b.out.p, "begun\n[killed: the limit of 100 ms for one command was reached]\n"));
  csn_shell_free(shell);
  box_close(&b);
}

TEST(strict_refuses_and_names_what_is_not_enforced)
{
  static const struct {
    csn_sandbox_limits limits;
    const char *named; /* NULL: it opens */
  } cases[] = {
      {{.strict = true}, NULL},
      {{.memory_bytes = 1 << 30}, NULL},
      {{.memory_bytes = CSN_UNLIMITED, .strict = true}, NULL},
      {{.command_wall_ms = 1000, .output_bytes = 1000, .strict = true}, NULL},
      {{.memory_bytes = 1 << 30, .strict = true}, "memory is absent; it takes"},
      {{.pids = 10, .cpu_milli = 500, .strict = true}, "pids is absent, cpu is absent"},
      {{.wall_ms = 1000, .strict = true}, "wall is soft"},
  };
  for (size_t i = 0; i < CSN_COUNT(cases); i++) {
    csn_sandbox *sb = NULL;
    csn_err err = {0};
    csn_sandbox_spec spec = {
        .backend = "local", .workspace_fd = -1, .lock_fd = -1, .limits = &cases[i].limits};
    int rc = csn_sandbox_open(&sb, NULL, &spec, &err);
    if (cases[i].named && (rc != CSN_E_UNSUPPORTED || !strstr(err.msg, cases[i].named)))
      fail_msg("case %zu: %d %s, expected %s", i, rc, err.msg, cases[i].named);
    if (!cases[i].named)
      OK(rc, &err);
    csn_sandbox_close(sb);
  }
}

TEST(a_limit_that_cannot_be_is_refused)
{
  csn_sandbox *sb;
  csn_err err = {0};
  csn_sandbox_limits l = {.memory_bytes = 1};
  csn_sandbox_spec spec = {.backend = "local", .workspace_fd = -1, .lock_fd = -1, .limits = &l};
  assert_int_equal(csn_sandbox_open(&sb, NULL, &spec, &err), CSN_E_INVALID);
  assert_non_null(strstr(err.msg, "limit memory: expected from 16 MiB"));
}

/* ---- the watch over a folder ---- */

struct calls {
  pthread_mutex_t lock;
  pthread_cond_t more;
  int n;
};

static void
count_call(void *user)
{
  struct calls *c = user;
  pthread_mutex_lock(&c->lock);
  c->n++;
  pthread_cond_broadcast(&c->more);
  pthread_mutex_unlock(&c->lock);
}

static void
await_calls(struct calls *c, int n)
{
  csn_scope sc;
  csn_err err;
  csn_scope_init(&sc, NULL, 20000);
  pthread_mutex_lock(&c->lock);
  while (c->n < n)
    OK(csn_scope_wait(&sc, &c->more, &c->lock, &err), &err);
  pthread_mutex_unlock(&c->lock);
  csn_scope_fini(&sc);
}

static void
fill(int folder, const char *name, size_t bytes)
{
  static char zeros[65536];
  int fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  for (; bytes; bytes -= bytes < sizeof zeros ? bytes : sizeof zeros)
    assert_true(write(fd, zeros, bytes < sizeof zeros ? bytes : sizeof zeros) > 0);
  close(fd);
}

TEST(a_folder_that_grows_over_its_size_is_noticed_each_time)
{
  char path[] = "/tmp/caisson-watch-XXXXXX";
  assert_non_null(mkdtemp(path));
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct calls calls = {.lock = PTHREAD_MUTEX_INITIALIZER};
  csn_disk_watch *w;
  csn_err err;
  csn_cond_init(&calls.more);
  mkdirat(fd, "deep", 0700);
  fill(fd, "deep/old", 3 << 20); /* there before: nobody is blamed for it */
  OK(csn_disk_watch_new(&w, fd, 2 << 20, 4, count_call, &calls, &err), &err);
  fill(fd, "deep/new", 1 << 20);
  await_calls(&calls, 1);
  fill(fd, "deep/newer", 1 << 20);
  await_calls(&calls, 2);
  unlinkat(fd, "deep/old", 0);
  unlinkat(fd, "deep/new", 0);
  fill(fd, "a", 0);
  fill(fd, "b", 0);
  fill(fd, "c", 0);
  await_calls(&calls, 3);
  csn_sandbox_usage u = {0};
  csn_disk_watch_count(w, &u);
  assert_true(u.reached[CSN_LIMIT_DISK] == 2 && u.reached[CSN_LIMIT_INODES] == 1);
  csn_disk_watch_free(w);
  static const char *const names[] = {"a", "b", "c", "deep/newer"};
  for (size_t i = 0; i < CSN_COUNT(names); i++)
    unlinkat(fd, names[i], 0);
  unlinkat(fd, "deep", AT_REMOVEDIR);
  close(fd);
  rmdir(path);
}

RUN_TESTS("sandbox/limits", RUN(texts_are_read), RUN(what_is_written_reads_back_the_same),
          RUN(people_read_round_numbers), RUN(a_command_that_takes_too_long_is_killed_and_told_so),
          RUN(a_callers_own_deadline_stays_a_time_out), RUN(a_flood_is_cut_at_the_limit_and_ends),
          RUN(a_sandbox_whose_time_is_over_takes_no_command),
          RUN(a_kill_without_a_limit_is_not_explained), RUN(the_model_reads_which_limit_it_was),
          RUN(strict_refuses_and_names_what_is_not_enforced),
          RUN(a_limit_that_cannot_be_is_refused),
          RUN(a_folder_that_grows_over_its_size_is_noticed_each_time))
