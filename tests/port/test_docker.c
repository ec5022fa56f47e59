/* SPDX-License-Identifier: Apache-2.0
 * test_docker.c - what only containers promise, with a real daemon
 * (tests/with_server.py): what they are made of, how they are found again, and
 * that nothing is left of a harness that was killed. */
#include <sys/prctl.h>
#include <sys/wait.h>

#include "core/fd.h"
#include "machine.h"
#include "sandbox/engine.h"
#include "sandbox/stage.h"

#define OWNER "0123456789abcdef"

/* Options of its own beside the daemon's place. */
static const csn_json *
options_for(csn_arena *a, const char *image)
{
  csn_err err;
  const csn_json *v;
  csn_str text = csn_arena_printf(a, "{\"image\":\"%s\",\"host\":\"%s\"}", image,
                                  getenv("CAISSON_TEST_DOCKER"));
  OK(csn_json_parse(a, text, &v, &err), &err);
  return v;
}

static void
open_spec(struct machine *m, csn_sandbox_spec spec)
{
  *m = (struct machine){0};
  csn_scope_init(&m->sc, NULL, 60000);
  spec.backend = "docker";
  spec.workspace_fd = spec.lock_fd = -1;
  if (!spec.options)
    spec.options = docker_options();
  OK(csn_sandbox_open(&m->sb, &m->sc, &spec, &m->err), &m->err);
}

static void
shut(struct machine *m)
{
  csn_sandbox_close(m->sb);
  csn_scope_fini(&m->sc);
}

static void
says(struct machine *m, const char *command, const char *want)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(100000);
  machine_run(m, SH(command), &out);
  STR_EQ(csn_buf_str(&out), want);
}

/* Containers and volumes that are there. */
static int
count_left(void)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *containers, *volumes;
  csn_engine e;
  csn_err err;
  OK(csn_engine_init(&e, csn_cstr(getenv("CAISSON_TEST_DOCKER")), &err), &err);
  OK(csn_engine_ask(&e, NULL, "GET", "/containers/json?all=1", (csn_str){0}, a, &containers, &err),
     &err);
  OK(csn_engine_ask(&e, NULL, "GET", "/volumes", (csn_str){0}, a, &volumes, &err), &err);
  const csn_json *list = csn_json_get(volumes, "Volumes");
  int n = (int)containers->n + (csn_json_is(list, CSN_JSON_ARRAY) ? (int)list->n : 0);
  csn_engine_fini(&e);
  return n;
}

static bool
wants_none(void *user, const char *label)
{
  return false;
}

static bool
wants_kept(void *user, const char *label)
{
  return label && strcmp(label, OWNER "/kept") == 0;
}

static int
sweep(const char *owner, bool (*is_wanted)(void *, const char *))
{
  csn_err err;
  csn_sandbox_sweep how = {.owner = owner, .young_ms = -1, .is_wanted = is_wanted};
  int n = csn_sandbox_sweep_all("docker", NULL, docker_options(), &how, &err);
  OK(n, &err);
  return n;
}

TEST(a_container_can_do_little)
{
  struct machine m;
  csn_sandbox_limits limits = {.memory_bytes = 64 << 20, .pids = 30, .cpu_milli = 500};
  open_spec(&m, (csn_sandbox_spec){.limits = &limits});
  says(&m, "id -u; id -g; pwd; echo $HOME; stat -c %u:%a /workspace",
       "1000\n1000\n/workspace\n/home/user\n1000:755\n");
  says(&m, "grep -E '^(CapBnd|CapEff|CapPrm|NoNewPrivs)' /proc/self/status | tr -d '\\t'",
       "CapPrm:0000000000000000\nCapEff:0000000000000000\nCapBnd:0000000000000000\nNoNewPrivs:1\n");
  /* Of open files the hard limit: the runtime of the engine may raise the soft one to it. */
  says(&m, "ls /sys/class/net; ulimit -c; ulimit -H -n", "lo\n0\n4096\n");
  says(&m,
       "for d in / /bin /etc /usr; do touch $d/x 2>/dev/null && echo wrote $d; done; "
       "for d in /tmp /home/user /workspace /var/tmp; do echo x >$d/x || echo no $d; done",
       "");
  says(&m, "cat /proc/1/comm; kill -9 1; sleep 0.05; echo here", "docker-init\nhere\n");
  assert_int_equal(m.sb->held.state[CSN_LIMIT_MEMORY], CSN_LIMIT_ENFORCED);
  assert_int_equal(m.sb->held.value[CSN_LIMIT_PIDS], 30);
  assert_int_equal(m.sb->held.state[CSN_LIMIT_DISK], CSN_LIMIT_ABSENT);
  shut(&m);
}

TEST(what_reaches_its_memory_is_killed_and_told)
{
  struct machine m;
  csn_sandbox_limits limits = {.memory_bytes = 32 << 20};
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(10000), why = CSN_BUF(1000);
  open_spec(&m, (csn_sandbox_spec){.limits = &limits});
  csn_exit end = machine_run(&m, SH("exec awk 'BEGIN { s = \"x\"; while (1) s = s s }'"), &out);
  assert_int_equal(end.signal, SIGKILL);
  csn_exit_explain(m.sb, &end, &why);
  STR_EQ(csn_buf_str(&why), "killed: the sandbox's memory limit of 32 MiB was reached");
  says(&m, "echo on", "on\n");
  shut(&m);
}

TEST(commands_are_never_root)
{
  static const struct {
    const char *image, *user, *want;
  } rows[] = {{"box", NULL, "1000:1000 1000\n"},      {"box-worker", NULL, "1234:1234 1234\n"},
              {"box-root", NULL, "1000:1000 1000\n"}, {"box", "77", "77:77 77\n"},
              {"box", "77:5", "77:5 77\n"},           {"box", "worker", "1234:1234 1234\n"}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    struct machine m;
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    open_spec(&m,
              (csn_sandbox_spec){.options = options_for(a, rows[i].image), .user = rows[i].user});
    says(&m, "echo >x; echo $(id -u):$(id -g) $(stat -c %u x)", rows[i].want);
    shut(&m);
  }
  static const char *const bad[] = {"root", "0", "0:0", "00", "root:root", "a b", ""};
  for (size_t i = 0; i < CSN_COUNT(bad); i++) {
    csn_sandbox *sb;
    csn_err err;
    csn_sandbox_spec spec = machine_spec("docker");
    spec.user = bad[i];
    assert_int_equal(csn_sandbox_open(&sb, NULL, &spec, &err), CSN_E_INVALID);
  }
  assert_int_equal(count_left(), 0);
}

TEST(what_it_cannot_do_is_refused_by_name_before_anything_is_made)
{
  const char *const devices[] = {"fuse", NULL};
  const csn_sandbox_spec rows[] = {{.devices = devices}, {.rootfs = "host"}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_sandbox *sb;
    csn_err err;
    csn_sandbox_spec spec = rows[i];
    spec.backend = "docker";
    spec.workspace_fd = spec.lock_fd = -1;
    spec.options = docker_options();
    assert_int_equal(csn_sandbox_open(&sb, NULL, &spec, &err), CSN_E_UNSUPPORTED);
  }
  assert_int_equal(count_left(), 0);
}

TEST(a_folder_goes_in_and_comes_back)
{
  struct machine m;
  csn_err err;
  char path[] = "/tmp/caisson-test-XXXXXX";
  assert_non_null(mkdtemp(path));
  csn_auto(csn_closep) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  OK(csn_mkdirs(dir, "in/a/b", 0755, &err), &err);
  OK(csn_file_write(dir, "in/a/b/file", CSN_STR("text"), 0750, false, &err), &err);
  OK(csn_mkdirs(dir, "out", 0755, &err), &err);
  csn_auto(csn_closep) int in = openat(dir, "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_auto(csn_closep) int out = openat(dir, "out", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  open_spec(&m, (csn_sandbox_spec){.root = "/srv/deep/work"});
  OK(csn_stage_push(&m.sc, m.sb, in, &err), &err);
  says(&m,
       "pwd; stat -c %u:%a a/b/file; cat a/b/file; echo more >>a/b/file; mkfifo p; ln -s / l; "
       "ln a/b/file hard",
       "/srv/deep/work\n1000:750\ntext");
  OK(csn_stage_pull(&m.sc, m.sb, out, &err), &err);
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1000);
  OK(csn_file_read(out, "hard", &b, &err), &err);
  STR_EQ(csn_buf_str(&b), "textmore\n");
  assert_int_equal(faccessat(out, "p", F_OK, AT_SYMLINK_NOFOLLOW), -1);
  const char *const some[] = {"a/b/file", "missing", NULL};
  csn_stage *s;
  OK(csn_stage_open(&s, &m.sc, m.sb, dir, "stage", some, 1 << 20, &err), &err);
  OK(csn_file_write(csn_stage_fd(s), "a/b/file", CSN_STR("new"), 0644, false, &err), &err);
  OK(csn_file_write(csn_stage_fd(s), "added", CSN_STR("x"), 0644, false, &err), &err);
  OK(csn_stage_send(s, &m.sc, &err), &err);
  csn_stage_free(s);
  says(&m, "cat a/b/file added; stat -c %u added", "newx1000\n");
  shut(&m);
  csn_auto(csn_closep) int tmp = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
  assert_int_equal(csn_remove_tree(tmp, path + 5, NULL), 0);
}

TEST(one_that_was_kept_is_found_again_with_its_files_and_no_process)
{
  struct machine m;
  csn_err err;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000);
  csn_jw w;
  csn_sandbox_spec spec = {.keep = true, .label = OWNER "/kept"};
  open_spec(&m, spec);
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_sandbox_state(m.sb, &w);
  csn_jw_end(&w);
  says(&m, "echo left >file; (setsid sleep 77 >/dev/null 2>&1 &); echo", "\n");
  shut(&m);
  assert_int_equal(count_processes_with("sleep 77"), 0);
  assert_int_equal(sweep(OWNER, wants_kept), 0);
  assert_int_equal(sweep("ffffffffffffffff", wants_none), 0); /* somebody else's */
  OK(csn_json_parse(a, csn_buf_str(&text), &spec.state, &err), &err);
  open_spec(&m, spec);
  says(&m, "cat file; id -u; ps | grep -c slee[p]", "left\n1000\n0\n");
  /* Another run's word for it does not open it. */
  csn_sandbox *sb;
  csn_sandbox_spec other = machine_spec("docker");
  other.state = spec.state;
  other.label = OWNER "/other";
  assert_int_equal(csn_sandbox_open(&sb, NULL, &other, &err), CSN_E_CONFLICT);
  says(&m, "cat file", "left\n");
  OK(csn_sandbox_destroy(m.sb, &m.sc, &m.err), &m.err);
  shut(&m);
  assert_int_equal(count_left(), 0);
  other.label = spec.label;
  assert_int_equal(csn_sandbox_open(&sb, NULL, &other, &err), CSN_E_NOT_FOUND);
}

TEST(a_pause_stops_its_processes_until_it_ends)
{
  struct machine m;
  open_spec(&m, (csn_sandbox_spec){0});
  csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(1000);
  csn_proc *p = machine_spawn(&m, SH("echo up; while :; do sleep 0.01; done"));
  proc_expect(&m, p, &got, "up\n");
  OK(csn_sandbox_pause(m.sb, &m.sc, &m.err), &m.err);
  csn_exec x = SH("true");
  csn_proc *q;
  assert_true(csn_sandbox_spawn(m.sb, &m.sc, &x, &q, &m.err) < 0);
  OK(csn_sandbox_resume(m.sb, &m.sc, &m.err), &m.err);
  says(&m, "echo on", "on\n");
  csn_proc_close(p);
  shut(&m);
}

TEST(a_container_that_ends_under_us_is_told_as_dead)
{
  struct machine m;
  open_spec(&m, (csn_sandbox_spec){0});
  csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(1000);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_proc *p = machine_spawn(&m, SH("echo up; exec sleep 100"));
  proc_expect(&m, p, &got, "up\n");
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000);
  csn_jw w;
  const csn_json *v;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_sandbox_state(m.sb, &w);
  csn_jw_end(&w);
  OK(csn_json_parse(a, csn_buf_str(&text), &v, &m.err), &m.err);
  csn_str id = csn_json_str(v, "container", (csn_str){0});
  csn_engine e;
  OK(csn_engine_init(&e, csn_cstr(getenv("CAISSON_TEST_DOCKER")), &m.err), &m.err);
  OK(csn_engine_ask(&e, NULL, "POST",
                    csn_arena_printf(a, "/containers/%.*s/kill", (int)id.n, id.p).p, (csn_str){0},
                    NULL, NULL, &m.err),
     &m.err);
  csn_engine_fini(&e);
  csn_exit end;
  proc_drain(&m, p, &got);
  int rc = csn_proc_wait(p, &m.sc, &end, &m.err);
  assert_true(rc == CSN_E_SANDBOX || (rc == 0 && end.signal == SIGKILL));
  csn_proc_close(p);
  csn_exec x = SH("true");
  assert_int_equal(csn_sandbox_spawn(m.sb, &m.sc, &x, &p, &m.err), CSN_E_SANDBOX);
  shut(&m);
  assert_int_equal(count_left(), 0);
}

/* A harness that opens, works and closes until it is killed. */
static pid_t
start_harness(bool keeps)
{
  pid_t pid = fork();
  if (pid != 0)
    return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) {
    csn_sandbox *sb;
    csn_sandbox_spec spec = machine_spec("docker");
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
    csn_exit end;
    csn_exec x = SH("sleep 0.02; echo x >f");
    spec.keep = keeps;
    spec.label = keeps ? OWNER "/killed" : NULL;
    if (csn_sandbox_open(&sb, NULL, &spec, NULL) < 0)
      continue;
    (void)!csn_sandbox_exec(sb, NULL, &x, &out, NULL, &end, NULL);
    (void)!csn_sandbox_destroy(sb, NULL, NULL);
    csn_sandbox_close(sb);
  }
}

static void
expect_nothing_after_sweep(void)
{
  int64_t deadline = csn_now_ns() + 20000000000;
  while (count_left() > 0 && csn_now_ns() < deadline) {
    sweep(OWNER, wants_none);
    pause_ms(50);
  }
  assert_int_equal(count_left(), 0);
}

TEST(nothing_is_left_of_harnesses_that_were_killed_at_any_time)
{
  for (int i = 0; i < 8; i++) {
    pid_t pid = start_harness(i & 1);
    pause_ms(30 + i * 67);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
  }
  expect_nothing_after_sweep();
}

RUN_TESTS("port/docker_own", RUN(a_container_can_do_little),
          RUN(what_reaches_its_memory_is_killed_and_told), RUN(commands_are_never_root),
          RUN(what_it_cannot_do_is_refused_by_name_before_anything_is_made),
          RUN(a_folder_goes_in_and_comes_back),
          RUN(one_that_was_kept_is_found_again_with_its_files_and_no_process),
          RUN(a_pause_stops_its_processes_until_it_ends),
          RUN(a_container_that_ends_under_us_is_told_as_dead),
          RUN(nothing_is_left_of_harnesses_that_were_killed_at_any_time))
