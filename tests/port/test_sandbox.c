/* SPDX-License-Identifier: Apache-2.0
 *
 * test_sandbox.c - what every sandbox back-end must do, one body over all of
 * them.  A back-end that this machine cannot open is skipped with its reason. */
#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "machine.h"

TEST(a_command_runs_in_the_workspace_also_behind_a_background_job)
{
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(10000);
  assert_int_equal(machine_run(&m, SH("sleep 0.1 & pwd"), &out).code, 0);
  csn_str line, rest = csn_buf_str(&out);
  assert_true(csn_str_line(&rest, &line));
  STR_EQ(line, m.sb->root);
  machine_close(&m);
}

TEST(a_call_returns_when_its_leader_ends_though_a_child_holds_the_output)
{
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(10000);
  int64_t began = csn_now_ns();
  assert_int_equal(machine_run(&m, SH("sleep $MARK & echo here; exit 4"), &out).code, 4);
  assert_true(csn_now_ns() - began < 5000000000);
  STR_EQ(csn_buf_str(&out), "here\n");
  /* One that goes on writing does not hold the call either. */
  began = csn_now_ns();
  assert_int_equal(machine_run(&m, SH("(while :; do echo flood; done) & exit 5"), &out).code, 5);
  assert_true(csn_now_ns() - began < 5000000000);
  machine_close(&m);
}

TEST(a_command_sees_the_given_folder)
{
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(10000), want = CSN_BUF(10000);
  machine_run(&m, SH("mkdir -p 'a b/c'"), &out);
  csn_exec x = SH("pwd");
  x.cwd = "a b/c";
  machine_run(&m, x, &out);
  csn_buf_addf(&want, "%s/a b/c\n", m.sb->root);
  STR_EQ(csn_buf_str(&out), want.p);
  csn_buf_clear(&want);
  csn_buf_addf(&want, "%s/a b", m.sb->root);
  x.cwd = want.p;
  machine_run(&m, x, &out);
  csn_buf_addc(&want, '\n');
  STR_EQ(csn_buf_str(&out), want.p);
  csn_proc *p;
  x.cwd = "nowhere";
  assert_int_equal(csn_sandbox_spawn(m.sb, &m.sc, &x, &p, &m.err), CSN_E_NOT_FOUND);
  machine_close(&m);
}

TEST(nothing_of_the_harness_is_in_the_environment)
{
  struct machine m;
  setenv("CAISSON_TEST_KEY", "hunter2hunter2", 1);
  const char *const own[] = {"COLOUR=red", "SHAPE=round", NULL};
  const char *const call[] = {"SHAPE=square", "SIZE=7", NULL};
  machine_open(&m, BACKEND, own);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(100000);
  csn_exec x = SH("env; echo HOME=$HOME");
  x.environment = call;
  machine_run(&m, x, &out);
  assert_true(csn_str_find(csn_buf_str(&out), CSN_STR("hunter2"), 0) == SIZE_MAX);
  const char *want[] = {"COLOUR=red\n", "SHAPE=square\n", "SIZE=7\n", "PATH="};
  for (size_t i = 0; i < CSN_COUNT(want); i++)
    if (csn_str_find(csn_buf_str(&out), csn_cstr(want[i]), 0) == SIZE_MAX)
      fail_msg("%s is not in %s", want[i], out.p);
  assert_true(csn_str_find(csn_buf_str(&out), CSN_STR("SHAPE=round"), 0) == SIZE_MAX);
  unsetenv("CAISSON_TEST_KEY");
  machine_close(&m);
}

TEST(stdin_is_empty_and_no_other_descriptor_is_inherited)
{
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(10000);
  int leak = open("/dev/null", O_RDONLY); /* on purpose without CLOEXEC */
  assert_int_equal(machine_run(&m, SH("cat; readlink /proc/self/fd/0"), &out).code, 0);
  STR_EQ(csn_buf_str(&out), "/dev/null\n");
  csn_exec ls = {.argv = (const char *const[]){"ls", "/proc/self/fd", NULL}, .claim_fd = -1};
  machine_run(&m, ls, &out);
  STR_EQ(csn_buf_str(&out), "0\n1\n2\n3\n"); /* 3 is ls reading the folder */
  close(leak);
  machine_close(&m);
}

TEST(the_exit_code_and_the_signal_are_told)
{
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(10000);
  static const struct {
    const char *command;
    int code, signal;
  } rows[] = {{"true", 0, 0},         {"exit 3", 3, 0},
              {"exit 255", 255, 0},   {"kill -9 $$", 0, 9},
              {"kill -15 $$", 0, 15}, {"exec >&- 2>&-; sleep 0.05; exit 6", 6, 0}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_exit end = machine_run(&m, SH(rows[i].command), &out);
    if (end.signal != rows[i].signal || (!rows[i].signal && end.code != rows[i].code))
      fail_msg("%s: code %d signal %d", rows[i].command, end.code, end.signal);
  }
  machine_close(&m);
}

TEST(both_streams_arrive_in_order_or_apart)
{
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(10000), other = CSN_BUF(10000);
  csn_exec x = SH("echo one; echo two >&2; echo three");
  machine_run(&m, x, &out);
  STR_EQ(csn_buf_str(&out), "one\ntwo\nthree\n");
  csn_exit end;
  csn_buf_clear(&out);
  OK(csn_sandbox_exec(m.sb, &m.sc, &x, &out, &other, &end, &m.err), &m.err);
  STR_EQ(csn_buf_str(&out), "one\nthree\n");
  STR_EQ(csn_buf_str(&other), "two\n");
  machine_close(&m);
}

TEST(a_missing_program_is_an_error_and_leaves_no_claim)
{
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  csn_auto(csn_closep) int claim = memfd_create("claim", MFD_CLOEXEC);
  struct stat st;
  csn_proc *p;
  const char *missing[] = {"no-such-program", "./no-such-program", "/no/such/program"};
  for (size_t i = 0; i < CSN_COUNT(missing); i++) {
    csn_exec x = {.argv = (const char *const[]){missing[i], NULL}, .claim_fd = claim};
    assert_int_equal(csn_sandbox_spawn(m.sb, &m.sc, &x, &p, &m.err), CSN_E_NOT_FOUND);
    assert_non_null(strstr(m.err.msg, "no such program"));
    assert_int_equal(fstat(claim, &st), 0);
    assert_int_equal(st.st_size, 0);
  }
  csn_exec x = SH("true");
  x.claim_fd = claim;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(100);
  machine_run(&m, x, &out);
  assert_int_equal(fstat(claim, &st), 0);
  assert_int_equal(st.st_size, 1);
  /* A file that cannot be executed after all: its interpreter is missing. */
  machine_run(&m, SH("printf '#!/no/such/sh\\n' >script; chmod +x script"), &out);
  x = (csn_exec){.argv = (const char *const[]){"./script", NULL}, .claim_fd = claim};
  assert_true(csn_sandbox_spawn(m.sb, &m.sc, &x, &p, &m.err) < 0);
  assert_int_equal(fstat(claim, &st), 0);
  assert_int_equal(st.st_size, 1);
  machine_close(&m);
}

TEST(a_terminal_is_one_with_its_size_and_its_keys)
{
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(100000);
  csn_exec x = SH("test -t 0 && test -t 1 && test -t 2 && echo istty; stty size;"
                  "trap 'stty size; echo resized' WINCH; trap 'echo interrupted; exit 9' INT;"
                  "echo ready; while :; do sleep 0.05; done");
  x.tty = true;
  x.rows = 33;
  x.cols = 101;
  csn_proc *p = machine_spawn(&m, x);
  assert_true(p->tty);
  proc_expect(&m, p, &got, "ready\r\n");
  assert_true(csn_str_starts(csn_buf_str(&got), CSN_STR("istty\r\n33 101\r\n")));
  OK(csn_proc_resize(p, 40, 120, &m.err), &m.err);
  proc_expect(&m, p, &got, "40 120\r\nresized\r\n");
  assert_int_equal(csn_proc_write(p, &m.sc, CSN_STR("\003"), &m.err), 1);
  proc_expect(&m, p, &got, "interrupted\r\n");
  proc_drain(&m, p, &got);
  csn_exit end;
  OK(csn_proc_wait(p, &m.sc, &end, &m.err), &m.err);
  assert_int_equal(end.code, 9);
  assert_int_equal(end.signal, 0);
  csn_proc_close(p);
  machine_close(&m);
}

TEST(the_last_words_on_a_terminal_are_not_lost)
{
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  csn_exec x = SH("sleep $MARK & printf 'last words'");
  x.tty = true;
  for (int i = 0; i < (IS_REMOTE ? 5 : 30); i++) {
    csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(1000);
    csn_proc *p = machine_spawn(&m, x);
    proc_drain(&m, p, &got);
    STR_EQ(csn_buf_str(&got), "last words");
    csn_proc_close(p);
  }
  machine_close(&m);
}

TEST(what_is_written_reaches_the_command)
{
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(4 << 20);
  csn_exec x = {.argv = (const char *const[]){"cat", NULL}, .with_stdin = true, .claim_fd = -1};
  csn_proc *p = machine_spawn(&m, x);
  assert_int_equal(csn_proc_write(p, &m.sc, CSN_STR("hello\n"), &m.err), 6);
  proc_expect(&m, p, &got, "hello\n");
  csn_proc_close_stdin(p);
  proc_drain(&m, p, &got);
  csn_exit end;
  OK(csn_proc_wait(p, &m.sc, &end, &m.err), &m.err);
  assert_int_equal(end.code, 0);
  assert_true(csn_proc_write(p, &m.sc, CSN_STR("late"), &m.err) < 0);
  csn_proc_close(p);

  /* More than any pipe holds, to a command that reads late. */
  x = SH("sleep 0.1; wc -c");
  x.with_stdin = true;
  p = machine_spawn(&m, x);
  char *big = csn_alloc(1 << 20);
  assert_int_equal(csn_proc_write(p, &m.sc, csn_strn(big, 1 << 20), &m.err), 1 << 20);
  free(big);
  csn_proc_close_stdin(p);
  csn_buf_clear(&got);
  proc_drain(&m, p, &got);
  STR_EQ(csn_str_trim(csn_buf_str(&got)), "1048576");
  csn_proc_close(p);

  /* A command that closed its input: an error, and no SIGPIPE for us.  An engine
   * takes what is written and does not tell. */
  if (IS_REMOTE) {
    machine_close(&m);
    return;
  }
  x = SH("exec <&-; echo closed; sleep $MARK");
  x.with_stdin = true;
  p = machine_spawn(&m, x);
  csn_buf_clear(&got);
  proc_expect(&m, p, &got, "closed\n");
  int rc = 0;
  for (int i = 0; i < 100 && rc >= 0; i++)
    rc = csn_proc_write(p, &m.sc, CSN_STR("x"), &m.err);
  assert_true(rc < 0);
  csn_proc_close(p);
  machine_close(&m);
}

TEST(a_flood_of_output_costs_no_memory)
{
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  machine_run(&m, SH("echo warm"), &out);
  struct rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  csn_exit end = machine_run(&m, SH("head -c 200000000 /dev/zero; exit 8"), &out);
  getrusage(RUSAGE_SELF, &after);
  assert_int_equal(end.code, 8);
  assert_int_equal(out.n, 1000);
  assert_true(out.over);
#ifdef __SANITIZE_ADDRESS__
  enum { MOST_KIB = 512 << 10 }; /* 256 MiB of what was freed are kept for a while */
#else
  enum { MOST_KIB = 2048 };
#endif
  assert_true(after.ru_maxrss - before.ru_maxrss < MOST_KIB);
  machine_close(&m);
}

struct cancelling {
  csn_scope *scope;
  int after_ms;
};

static void *
cancel_soon(void *user)
{
  const struct cancelling *c = user;
  pause_ms(c->after_ms);
  csn_scope_cancel(c->scope);
  return NULL;
}

TEST(cancelling_ends_the_call_and_kills_the_command)
{
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  csn_scope sc;
  csn_scope_init(&sc, NULL, -1);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  csn_exit end;
  csn_exec x = SH("echo begun; sleep $MARK");
  pthread_t t;
  /* Once it has said its word, which takes an engine a moment. */
  struct cancelling soon = {&sc, IS_REMOTE ? 2000 : 100};
  pthread_create(&t, NULL, cancel_soon, &soon);
  int64_t began = csn_now_ns() + (soon.after_ms - 100) * INT64_C(1000000);
  assert_int_equal(csn_sandbox_exec(m.sb, &sc, &x, &out, NULL, &end, &m.err), CSN_E_CANCELLED);
  assert_true(csn_now_ns() - began < 6000000000);
  pthread_join(t, NULL);
  STR_EQ(csn_buf_str(&out), "begun\n");
  expect_marked(0);
  assert_int_equal(csn_sandbox_exec(m.sb, &sc, &x, &out, NULL, &end, &m.err), CSN_E_CANCELLED);
  csn_scope_fini(&sc);
  machine_close(&m);
}

TEST(a_deadline_ends_the_call)
{
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  csn_exit end;
  csn_exec x = SH("exec sleep $MARK");
  csn_scope sc;
  csn_scope_init(&sc, &m.sc, 50);
  assert_int_equal(csn_sandbox_exec(m.sb, &sc, &x, &out, NULL, &end, &m.err), CSN_E_TIMEOUT);
  csn_scope_fini(&sc);
  machine_close(&m);
}

struct job {
  struct machine *m;
  int number, times, bad;
};

static void *
run_some(void *user)
{
  struct job *j = user;
  for (int i = 0; i < j->times; i++) {
    char command[100], want[100];
    snprintf(command, sizeof command, "echo %d-%d; exit %d", j->number, i, i);
    snprintf(want, sizeof want, "%d-%d\n", j->number, i);
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
    csn_exit end = {-1, -1};
    csn_exec x = SH(command);
    int rc = csn_sandbox_exec(j->m->sb, &j->m->sc, &x, &out, NULL, &end, NULL);
    j->bad += rc < 0 || end.code != i || !csn_str_eq(csn_buf_str(&out), csn_cstr(want));
  }
  return NULL;
}

TEST(eight_threads_run_commands_at_once)
{
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  pthread_t threads[8];
  struct job jobs[8];
  for (int i = 0; i < 8; i++) {
    jobs[i] = (struct job){&m, i, IS_REMOTE ? 3 : 20, 0};
    pthread_create(&threads[i], NULL, run_some, &jobs[i]);
  }
  for (int i = 0; i < 8; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(jobs[i].bad, 0);
  }
  machine_close(&m);
}

TEST(background_processes_live_on_between_calls_and_end_with_the_sandbox)
{
  NEEDS_HOST_PROCESSES;
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  machine_run(&m, SH("(sleep $MARK &); echo"), &out);
  machine_run(&m, SH("sleep $MARK >/dev/null 2>&1 & echo"), &out);
  machine_run(&m, SH("setsid sh -c '(setsid sleep $MARK &) & wait' >/dev/null 2>&1 & echo"), &out);
  expect_marked(3);
  machine_run(&m, SH("echo between"), &out);
  assert_int_equal(count_marked(), 3);
  csn_sandbox_close(m.sb);
  m.sb = NULL;
  assert_int_equal(count_marked(), 0);
  machine_close(&m);
}

TEST(a_process_that_ignores_signals_and_forks_on_ends_with_the_sandbox)
{
  NEEDS_HOST_PROCESSES;
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  machine_run(
      &m,
      SH("trap '' TERM HUP INT; i=0; f() { sh -c 'sleep $MARK' & sleep 0.02; i=$((i + 1)); };"
         "(while [ \"$i\" -lt 500 ]; do f; done) >/dev/null 2>&1 & sleep 0.1"),
      &out);
  csn_sandbox_close(m.sb);
  m.sb = NULL;
  assert_int_equal(count_marked(), 0);
  machine_close(&m);
}

TEST(closing_a_command_kills_its_group)
{
  NEEDS_HOST_PROCESSES;
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(1000);
  csn_proc *p = machine_spawn(&m, SH("sleep $MARK & echo up; wait"));
  proc_expect(&m, p, &got, "up\n");
  csn_proc_close(p);
  expect_marked(0);
  machine_close(&m);
}

TEST(a_signal_reaches_the_command)
{
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(1000);
  csn_proc *p =
      machine_spawn(&m, SH("trap 'echo told; exit 3' USR1; echo up; while :; do sleep 0.02; done"));
  proc_expect(&m, p, &got, "up\n");
  OK(csn_proc_signal(p, SIGUSR1, &m.err), &m.err);
  proc_expect(&m, p, &got, "told\n");
  csn_exit end;
  OK(csn_proc_wait(p, &m.sc, &end, &m.err), &m.err);
  assert_int_equal(end.code, 3);
  assert_int_equal(csn_proc_signal(p, SIGUSR1, &m.err), CSN_E_NOT_FOUND);
  csn_proc_close(p);
  machine_close(&m);
}

TEST(no_descriptor_is_left_behind)
{
  int before = count_fds();
  for (int i = 0; i < 3; i++) {
    struct machine m;
    machine_open(&m, BACKEND, NULL);
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
    machine_run(&m, SH("echo; exit 1"), &out);
    csn_exec x = SH("sleep $MARK");
    x.tty = true;
    csn_proc_close(machine_spawn(&m, x));
    csn_proc *p;
    x = (csn_exec){.argv = (const char *const[]){"./nothing", NULL}, .claim_fd = -1};
    assert_true(csn_sandbox_spawn(m.sb, &m.sc, &x, &p, &m.err) < 0);
    machine_close(&m);
    if (i == 0)
      before = count_fds(); /* a back-end may keep what is shared by all its sandboxes */
  }
  assert_int_equal(count_fds(), before);
}

TEST(the_lock_is_held_until_the_last_process_has_ended)
{
  if (IS_REMOTE)
    SKIP("processes elsewhere hold no descriptor of this machine");
  int fd[2];
  assert_int_equal(pipe2(fd, O_CLOEXEC | O_NONBLOCK), 0);
  csn_sandbox_spec spec = machine_spec(BACKEND);
  spec.lock_fd = fd[1];
  csn_sandbox *sb;
  csn_err err;
  csn_buf out = CSN_BUF(100);
  int rc = csn_sandbox_open(&sb, NULL, &spec, &err);
  close(fd[1]);
  if (rc == CSN_E_UNSUPPORTED) {
    close(fd[0]);
    SKIP("%.190s", err.msg);
  }
  OK(rc, &err);
  csn_exit end;
  csn_exec x = SH("(setsid sleep 61 &)");
  OK(csn_sandbox_exec(sb, NULL, &x, &out, NULL, &end, &err), &err);
  char c;
  assert_int_equal(read(fd[0], &c, 1), -1); /* somebody still holds the other end */
  assert_int_equal(errno, EAGAIN);
  csn_sandbox_close(sb);
  assert_int_equal(read(fd[0], &c, 1), 0);
  close(fd[0]);
  csn_buf_fini(&out);
}

TEST(no_process_survives_a_harness_that_was_killed)
{
  if (strcmp(BACKEND, "e2b") == 0)
    SKIP("it lives on without us: its time-out ends it, or a sweep (e2e/e2b)");
  if (strstr(BACKEND, "ssh"))
    SKIP("ssh itself is seen here with what it was told to start");
  NEEDS_HOST_PROCESSES;
  struct machine m; /* skips here when the back-end cannot be opened */
  machine_open(&m, BACKEND, NULL);
  machine_close(&m);
  int ready[2];
  mark(); /* the same in both processes */
  assert_int_equal(pipe(ready), 0);
  pid_t harness = fork();
  if (harness == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* should the test fail before it kills us */
    machine_open(&m, BACKEND, NULL);
    csn_buf out = CSN_BUF(100);
    machine_run(&m, SH("(setsid sleep $MARK >/dev/null 2>&1 &); echo"), &out);
    machine_spawn(&m, SH("sleep $MARK"));
    (void)!write(ready[1], "r", 1);
    pause();
    _exit(0);
  }
  char c;
  assert_int_equal(read(ready[0], &c, 1), 1);
  expect_marked(2);
  kill(harness, SIGKILL);
  waitpid(harness, NULL, 0);
  expect_marked(0);
  close(ready[0]);
  close(ready[1]);
}

#ifndef CSN_TEST_REMOTE
TEST(a_command_that_kills_the_keeper_dies_with_it)
{
  struct machine m;
  machine_open(&m, "local", NULL);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  csn_exit end;
  csn_exec x = SH("kill -9 $PPID; exec sleep $MARK");
  assert_int_equal(csn_sandbox_exec(m.sb, &m.sc, &x, &out, NULL, &end, &m.err), CSN_E_SANDBOX);
  expect_marked(0);
  x = SH("true");
  assert_int_equal(csn_sandbox_exec(m.sb, &m.sc, &x, &out, NULL, &end, &m.err), CSN_E_SANDBOX);
  machine_close(&m);
}

#endif

TEST(mistakes_are_named_before_anything_starts)
{
  struct machine m;
  machine_open(&m, BACKEND, NULL);
  csn_proc *p;
  const char *const none[] = {NULL}, *const bad[] = {"novalue", NULL};
  csn_exec rows[] = {{.argv = NULL}, {.argv = none}, SH("x"), SH("x"), SH("x")};
  rows[2].environment = bad;
  rows[3].cwd = "";
  rows[4].tty = rows[4].split_output = true;
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    rows[i].claim_fd = -1;
    assert_int_equal(csn_sandbox_spawn(m.sb, &m.sc, &rows[i], &p, &m.err), CSN_E_INVALID);
    assert_non_null(strstr(m.err.msg, m.sb->ops->name));
  }
  machine_close(&m);
}

RUN_TESTS("port/sandbox", ON_ALL(a_command_runs_in_the_workspace_also_behind_a_background_job),
          ON_ALL(a_call_returns_when_its_leader_ends_though_a_child_holds_the_output),
          ON_ALL(a_command_sees_the_given_folder),
          ON_ALL(nothing_of_the_harness_is_in_the_environment),
          ON_ALL(stdin_is_empty_and_no_other_descriptor_is_inherited),
          ON_ALL(the_exit_code_and_the_signal_are_told),
          ON_ALL(both_streams_arrive_in_order_or_apart),
          ON_ALL(a_missing_program_is_an_error_and_leaves_no_claim),
          ON_ALL(a_terminal_is_one_with_its_size_and_its_keys),
          ON_ALL(the_last_words_on_a_terminal_are_not_lost),
          ON_ALL(what_is_written_reaches_the_command), ON_ALL(a_flood_of_output_costs_no_memory),
          ON_ALL(cancelling_ends_the_call_and_kills_the_command), ON_ALL(a_deadline_ends_the_call),
          ON_ALL(eight_threads_run_commands_at_once),
          ON_ALL(background_processes_live_on_between_calls_and_end_with_the_sandbox),
          ON_ALL(a_process_that_ignores_signals_and_forks_on_ends_with_the_sandbox),
          ON_ALL(closing_a_command_kills_its_group), ON_ALL(a_signal_reaches_the_command),
          ON_ALL(no_descriptor_is_left_behind),
          ON_ALL(the_lock_is_held_until_the_last_process_has_ended),
          ON_ALL(no_process_survives_a_harness_that_was_killed),
#ifndef CSN_TEST_REMOTE
          RUN(a_command_that_kills_the_keeper_dies_with_it),
#endif
          ON_ALL(mistakes_are_named_before_anything_starts))
