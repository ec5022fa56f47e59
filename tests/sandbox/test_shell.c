/* SPDX-License-Identifier: Apache-2.0
 *
 * test_shell.c - exec_command and write_stdin on every back-end that can run
 * a shell, down to the bytes of their frames. */
#include <sys/resource.h>

#include "port/machine.h"
#include "sandbox/session.h"
#include "sandbox/shell.h"

struct bench {
  struct machine m;
  csn_shell *sh;
  csn_buf out;
};

static void
bench_open(struct bench *b, const char *backend, int64_t tokens)
{
  machine_open(&b->m, backend, NULL);
  b->sh = csn_shell_new(b->m.sb, tokens);
  b->out = CSN_BUF(1 << 20);
}

static void
bench_close(struct bench *b)
{
  csn_shell_free(b->sh);
  machine_close(&b->m);
  csn_buf_fini(&b->out);
}

typedef int tool_fn(csn_shell *, csn_scope *, const csn_json *, int, csn_buf *, csn_err *);

static int
call(struct bench *b, csn_scope *sc, tool_fn *tool, const char *args)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  OK(csn_json_parse(a, csn_cstr(args), &v, &b->m.err), &b->m.err);
  csn_buf_clear(&b->out);
  return tool(b->sh, sc, v, -1, &b->out, &b->m.err);
}

/* The frame of a call: checks what is the same in all and gives the rest. */
static csn_str
frame(struct bench *b, tool_fn *tool, const char *args)
{
  OK(call(b, &b->m.sc, tool, args), &b->m.err);
  csn_str s = csn_buf_str(&b->out), id, wall;
  assert_true(csn_str_line(&s, &id));
  assert_true(csn_str_line(&s, &wall));
  assert_int_equal(id.n, strlen("Chunk ID: 012abc"));
  assert_true(csn_str_starts(id, CSN_STR("Chunk ID: ")));
  assert_int_equal(strspn(id.p + 10, "0123456789abcdef"), 6);
  assert_true(csn_str_starts(wall, CSN_STR("Wall time: ")));
  assert_true(csn_str_ends(wall, CSN_STR(" seconds")));
  const char *dot = memchr(wall.p, '.', wall.n);
  assert_non_null(dot);
  assert_int_equal(strspn(dot + 1, "0123456789"), 4);
  return s;
}

/* The session of a frame that says one is running; its output stays in *s. */
static int
running(csn_str *s)
{
  csn_str line, head = CSN_STR("Process running with session ID ");
  int64_t id = 0;
  assert_true(csn_str_line(s, &line));
  assert_true(csn_str_starts(line, head));
  assert_true(csn_str_int(csn_strn(line.p + head.n, line.n - head.n), &id));
  assert_in_range(id, 1000, 99999);
  assert_true(csn_str_line(s, &line));
  STR_EQ(line, "Output:");
  return (int)id;
}

static csn_str
write_to(struct bench *b, int id, const char *chars, int yield_ms)
{
  char args[500];
  snprintf(args, sizeof args, "{\"session_id\":%d,\"chars\":\"%s\",\"yield_time_ms\":%d}", id,
           chars, yield_ms);
  return frame(b, csn_shell_write_stdin, args);
}

TEST(frames_are_exact)
{
  struct bench b;
  bench_open(&b, BACKEND, 0);
  static const struct {
    const char *args, *rest;
  } rows[] = {
      {"{\"cmd\":\"exit 3\"}", "Process exited with code 3\nOutput:\n"},
      {"{\"cmd\":\"kill -9 $$\"}", "Process exited with code -9\nOutput:\n"},
      {"{\"cmd\":\"echo hi; echo err >&2; echo out\",\"login\":false}",
       "Process exited with code 0\nOutput:\nhi\nerr\nout\n"},
      {"{\"cmd\":\"printf 'a\\\\377b'\"}", "Process exited with code 0\nOutput:\na\xef\xbf\xbd"
                                           "b"},
      {"{\"cmd\":\"printf abcdefghi\",\"max_output_tokens\":1}",
       "Process exited with code 0\nOriginal token count: 3\nOutput:\n…3"},
      {"{\"cmd\":\"echo $0\",\"shell\":\"/bin/sh\",\"login\":false,\"yield_time_ms\":\"500\"}",
       "Process exited with code 0\nOutput:\n/bin/sh\n"},
      {"{\"cmd\":\"echo x\",\"workdir\":null,\"shell\":null,\"max_output_tokens\":null}",
       "Process exited with code 0\nOutput:\nx\n"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++)
    STR_EQ(frame(&b, csn_shell_exec, rows[i].args), rows[i].rest);
  bench_close(&b);
}

TEST(long_output_is_cut_in_the_middle)
{
  struct bench b;
  bench_open(&b, BACKEND, 0);
  csn_str s = frame(&b, csn_shell_exec, "{\"cmd\":\"seq 1 2000\",\"max_output_tokens\":40}");
  csn_str head = CSN_STR("Process exited with code 0\nOriginal token count: 2224\nOutput:\n"
                         "Total output lines: 2000\n\n1\n2\n3\n");
  assert_true(csn_str_starts(s, head));
  assert_true(csn_str_find(s, CSN_STR("…2197 tokens truncated…"), 0) != SIZE_MAX);
  assert_true(csn_str_ends(s, CSN_STR("\n1999\n2000\n")));
  bench_close(&b);
}

TEST(the_ceiling_holds_whatever_the_model_asks_for)
{
  struct bench b;
  bench_open(&b, BACKEND, 50);
  csn_str s = frame(&b, csn_shell_exec, "{\"cmd\":\"seq 1 2000\",\"max_output_tokens\":100000}");
  size_t at = csn_str_find(s, CSN_STR("Output:\n"), 0);
  assert_in_range(s.n - at - 8, 195, 200);
  bench_close(&b);
}

TEST(the_workdir_is_the_commands_own_and_its_text_is_not_rewritten)
{
  struct bench b;
  bench_open(&b, BACKEND, 0);
  frame(&b, csn_shell_exec, "{\"cmd\":\"mkdir -p 'it s/here'\"}");
  char want[PATH_MAX + 200];
  snprintf(want, sizeof want, "Process exited with code 0\nOutput:\n%s/it s/here\n", b.m.sb->root);
  STR_EQ(frame(&b, csn_shell_exec, "{\"cmd\":\"pwd\",\"workdir\":\"it s/here\"}"), want);
  snprintf(want, sizeof want, "Process exited with code 0\nOutput:\n%s\n", b.m.sb->root);
  STR_EQ(frame(&b, csn_shell_exec, "{\"cmd\":\"sleep 0.1 & pwd\",\"workdir\":\"  \"}"), want);
  bench_close(&b);
}

TEST(what_the_model_did_wrong_is_told_to_the_model)
{
  struct bench b;
  bench_open(&b, BACKEND, 0);
  static const struct {
    tool_fn *tool;
    const char *args, *says;
  } rows[] = {
      {csn_shell_exec, "{}", "exec_command: invalid arguments: cmd: missing."},
      {csn_shell_exec, "[1]", "expected a JSON object"},
      {csn_shell_exec, "{\"cmd\":\"\"}", "cmd: must not be empty"},
      {csn_shell_exec, "{\"cmd\":7,\"tty\":\"maybe\",\"max_output_tokens\":0}",
       "cmd: expected a string; tty: expected true or false; max_output_tokens: expected an "
       "integer "
       "of at least 1"},
      {csn_shell_exec, "{\"cmd\":\"a\\u0000b\"}", "cmd: must not hold a NUL"},
      {csn_shell_exec, "{\"cmd\":\"pwd\",\"workdir\":\"nowhere\"}", "nowhere"},
      {csn_shell_exec, "{\"cmd\":\"pwd\",\"shell\":\"nosuchshell\"}", "no such program"},
      {csn_shell_write_stdin, "{}", "session_id: missing"},
      {csn_shell_write_stdin, "{\"session_id\":12345}",
       "Process exited with code 1\nOutput:\nwrite_stdin failed: PTY session not found: 12345"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    OK(call(&b, &b.m.sc, rows[i].tool, rows[i].args), &b.m.err);
    if (!strstr(b.out.p, rows[i].says))
      fail_msg("%s: %s", rows[i].args, b.out.p);
  }
  bench_close(&b);
}

TEST(a_call_returns_when_its_leader_ends)
{
  struct bench b;
  bench_open(&b, BACKEND, 0);
  int64_t began = csn_now_ns();
  STR_EQ(frame(&b, csn_shell_exec, "{\"cmd\":\"sleep $MARK & echo up\"}"),
         "Process exited with code 0\nOutput:\nup\n");
  assert_true(csn_now_ns() - began < 3000000000);
  bench_close(&b);
}

TEST(a_terminal_session_echoes_answers_and_ends)
{
  struct bench b;
  bench_open(&b, BACKEND, 0);
  csn_str s = frame(&b, csn_shell_exec,
                    "{\"cmd\":\"read x; echo got $x; read y; exit 5\",\"tty\":true,"
                    "\"login\":false,\"yield_time_ms\":0}");
  int id = running(&s);
  STR_EQ(s, "");
  s = write_to(&b, id, "hey\\n", 1500);
  assert_int_equal(running(&s), id);
  STR_EQ(s, "hey\r\ngot hey\r\n");
  STR_EQ(write_to(&b, id, "\\n", 1500), "Process exited with code 5\nOutput:\n\r\n");
  s = write_to(&b, id, "", 250);
  assert_true(csn_str_find(s, CSN_STR("PTY session not found"), 0) != SIZE_MAX);
  bench_close(&b);
}

TEST(an_interrupt_reaches_the_foreground_command)
{
  struct bench b;
  bench_open(&b, BACKEND, 0);
  csn_str s = frame(&b, csn_shell_exec,
                    "{\"cmd\":\"sleep $MARK\",\"tty\":true,\"login\":false,\"yield_time_ms\":0}");
  int id = running(&s);
  s = write_to(&b, id, "\\u0003", 5000);
  csn_str line;
  assert_true(csn_str_line(&s, &line));
  if (!csn_str_eq(line, CSN_STR("Process exited with code -2")) &&
      !csn_str_eq(line, CSN_STR("Process exited with code 130")))
    fail_msg("%.*s", (int)line.n, line.p);
  bench_close(&b);
}

/* What a command waits for with: until [ -e go ]; do sleep 0.02; done */
static void
let_go(struct bench *b)
{
  int fd = openat(b->m.sb->workspace_fd, "go", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  assert_true(fd >= 0);
  close(fd);
}

TEST(a_command_without_a_terminal_stays_as_a_session_too)
{
  struct bench b;
  bench_open(&b, BACKEND, 0);
  csn_str s = frame(&b, csn_shell_exec,
                    "{\"cmd\":\"echo one; until [ -e go ]; do sleep 0.02; done; echo two; exit 4\","
                    "\"yield_time_ms\":1200}");
  int id = running(&s);
  STR_EQ(s, "one\n");
  s = write_to(&b, id, "x", 250);
  assert_true(csn_str_starts(s, CSN_STR("Process exited with code 1\nOutput:\nstdin is not ")));
  let_go(&b);
  int64_t began = csn_now_ns();
  STR_EQ(write_to(&b, id, "", 0), "Process exited with code 4\nOutput:\ntwo\n");
  assert_true(csn_now_ns() - began < 4000000000); /* an empty poll waits 5 s at most */
  bench_close(&b);
}

TEST(a_character_that_is_cut_by_the_yield_waits_for_its_rest)
{
  struct bench b;
  bench_open(&b, BACKEND, 0);
  csn_str s = frame(&b, csn_shell_exec,
                    "{\"cmd\":\"printf 'x\\\\303'; until [ -e go ]; do sleep 0.02; done; printf "
                    "'\\\\251y'\",\"yield_time_ms\":1200}");
  int id = running(&s);
  STR_EQ(s, "x");
  let_go(&b);
  STR_EQ(write_to(&b, id, "", 250), "Process exited with code 0\nOutput:\néy");
  bench_close(&b);
}

TEST(an_unwatched_session_never_blocks_and_its_end_is_kept)
{
  struct bench b;
  bench_open(&b, BACKEND, 100);
  csn_str s =
      frame(&b, csn_shell_exec,
            "{\"cmd\":\"until [ -e go ]; do sleep 0.02; done; seq 1 300000; touch done; exit 7\","
            "\"yield_time_ms\":250}");
  int id = running(&s);
  let_go(&b);
  int64_t deadline = csn_now_ns() + 20000000000;
  while (faccessat(b.m.sb->workspace_fd, "done", F_OK, 0) < 0 && csn_now_ns() < deadline)
    pause_ms(10);
  assert_int_equal(faccessat(b.m.sb->workspace_fd, "done", F_OK, 0), 0);
  s = write_to(&b, id, "", 250);
  assert_true(csn_str_starts(s, CSN_STR("Process exited with code 7\nOriginal token count: 497")));
  assert_true(csn_str_ends(s, CSN_STR("\n300000\n")));
  bench_close(&b);
}

TEST(the_sixty_fifth_session_pushes_out_the_least_used)
{
  struct bench b;
  bench_open(&b, BACKEND, 0);
  csn_session_table *t = csn_session_table_new();
  int ids[CSN_SESSIONS_MAX + 3];
  for (int i = 0; i < CSN_SESSIONS_MAX; i++) {
    /* Number 3 ends at once, all others run on. */
    csn_exec x = i == 3 ? SH("exit 0") : SH("exec sleep $MARK");
    csn_session *s = csn_session_new(machine_spawn(&b.m, x), 10, NULL);
    ids[i] = csn_session_table_add(t, s, &b.m.err);
    OK(ids[i], &b.m.err);
  }
  csn_session *three = csn_session_table_find(t, ids[3]);
  OK(csn_session_wait(three, &b.m.sc, &b.m.err), &b.m.err);
  csn_session_free(three);
  csn_session_free(csn_session_table_find(t, ids[0])); /* used again: newer than 1 */
  /* 3 has ended but was used just now; once eight others are newer it goes first. */
  static const int gone[] = {1, 3, 2};
  for (int k = 0; k < 3; k++) {
    for (int i = 10; k == 1 && i < 10 + CSN_SESSIONS_KEPT; i++)
      csn_session_free(csn_session_table_find(t, ids[i]));
    csn_session *s = csn_session_new(machine_spawn(&b.m, SH("exec sleep $MARK")), 10, NULL);
    ids[CSN_SESSIONS_MAX + k] = csn_session_table_add(t, s, &b.m.err);
    OK(ids[CSN_SESSIONS_MAX + k], &b.m.err);
    csn_session *victim = csn_session_table_find(t, ids[gone[k]]);
    assert_null(victim);
  }
  csn_session *kept = csn_session_table_find(t, ids[0]);
  assert_non_null(kept);
  csn_session_free(kept);
  csn_session_table_free(t);
  bench_close(&b);
}

static void *
cancel_soon(void *user)
{
  pause_ms(100);
  csn_scope_cancel(user);
  return NULL;
}

TEST(cancelling_a_call_ends_it_and_its_command)
{
  struct bench b;
  bench_open(&b, BACKEND, 0);
  csn_scope sc;
  csn_scope_init(&sc, NULL, -1);
  pthread_t t;
  pthread_create(&t, NULL, cancel_soon, &sc);
  int64_t began = csn_now_ns();
  assert_int_equal(call(&b, &sc, csn_shell_exec, "{\"cmd\":\"sleep $MARK\"}"), CSN_E_CANCELLED);
  assert_true(csn_now_ns() - began < 2000000000);
  pthread_join(t, NULL);
  expect_marked(0);
  csn_scope_fini(&sc);
  bench_close(&b);
}

TEST(freeing_the_shell_ends_its_sessions)
{
  struct bench b;
  bench_open(&b, BACKEND, 0);
  for (int i = 0; i < 3; i++) {
    csn_str s = frame(&b, csn_shell_exec, "{\"cmd\":\"exec sleep $MARK\",\"yield_time_ms\":0}");
    running(&s);
  }
  csn_shell_free(b.sh);
  b.sh = NULL;
  expect_marked(0);
  bench_close(&b);
}

struct caller {
  struct bench *b;
  int number, bad;
};

static void *
call_often(void *user)
{
  struct caller *c = user;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  for (int i = 0; i < 10; i++) {
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(10000);
    char args[200], want[100];
    snprintf(args, sizeof args, "{\"cmd\":\"echo %d-%d\",\"login\":false}", c->number, i);
    snprintf(want, sizeof want, "code 0\nOutput:\n%d-%d\n", c->number, i);
    const csn_json *v = NULL;
    int rc = csn_json_parse(a, csn_arena_printf(a, "%s", args), &v, NULL);
    if (rc == 0)
      rc = csn_shell_exec(c->b->sh, &c->b->m.sc, v, -1, &out, NULL);
    c->bad += rc < 0 || !csn_str_ends(csn_buf_str(&out), csn_cstr(want));
  }
  return NULL;
}

TEST(eight_threads_call_one_shell)
{
  struct bench b;
  bench_open(&b, BACKEND, 0);
  struct caller callers[8];
  pthread_t threads[8];
  for (int i = 0; i < 8; i++) {
    callers[i] = (struct caller){&b, i, 0};
    pthread_create(&threads[i], NULL, call_often, &callers[i]);
  }
  for (int i = 0; i < 8; i++) {
    pthread_join(threads[i], NULL);
    assert_int_equal(callers[i].bad, 0);
  }
  bench_close(&b);
}

TEST(two_gigabytes_of_output_leave_memory_flat)
{
  struct bench b;
  bench_open(&b, BACKEND, 0);
  frame(&b, csn_shell_exec, "{\"cmd\":\"truncate -s 2G big; echo warm\"}");
  struct rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  int64_t began = csn_now_ns();
  csn_str s = frame(&b, csn_shell_exec, "{\"cmd\":\"cat big; exit 6\",\"yield_time_ms\":30000}");
  while (csn_str_starts(s, CSN_STR("Process running"))) { /* a slow machine */
    csn_str rest = s, line;
    int64_t id = 0;
    csn_str_line(&rest, &line);
    assert_true(csn_str_int(csn_strn(line.p + 32, line.n - 32), &id));
    s = write_to(&b, (int)id, "", 30000);
  }
  getrusage(RUSAGE_SELF, &after);
  assert_true(csn_str_starts(s, CSN_STR("Process exited with code 6\nOriginal token count: ")));
  assert_true(s.n < 40200);
  print_message("# 2 GiB in %.2f s, %ld KiB more\n", (double)(csn_now_ns() - began) / 1e9,
                after.ru_maxrss - before.ru_maxrss);
  assert_true(after.ru_maxrss - before.ru_maxrss <= 4096);
  bench_close(&b);
}

TEST(schemas_are_json_with_the_promised_fields)
{
  static const struct {
    const char *(*schema)(void);
    const char *title, *required, *names[8];
  } rows[] = {
      {csn_shell_exec_schema,
       "ExecCommandArgs",
       "cmd",
       {"cmd", "workdir", "shell", "login", "tty", "yield_time_ms", "max_output_tokens"}},
      {csn_shell_write_stdin_schema,
       "WriteStdinArgs",
       "session_id",
       {"session_id", "chars", "yield_time_ms", "max_output_tokens"}},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    const csn_json *v;
    csn_err err;
    OK(csn_json_parse(a, csn_cstr(rows[i].schema()), &v, &err), &err);
    STR_EQ(csn_json_str(v, "title", CSN_STR("")), rows[i].title);
    STR_EQ(csn_json_at(csn_json_get(v, "required"), 0)->text, rows[i].required);
    size_t n = 0;
    csn_json_each (property, csn_json_get(v, "properties")) {
      STR_EQ(property->key, rows[i].names[n++]);
      assert_true(csn_json_str(property, "description", CSN_STR("")).n > 0);
    }
    assert_true(n == 8 || !rows[i].names[n]);
  }
}

RUN_TESTS("sandbox/shell", ON_ALL(frames_are_exact), ON_ALL(long_output_is_cut_in_the_middle),
          ON_ALL(the_ceiling_holds_whatever_the_model_asks_for),
          ON_ALL(the_workdir_is_the_commands_own_and_its_text_is_not_rewritten),
          ON_ALL(what_the_model_did_wrong_is_told_to_the_model),
          ON_ALL(a_call_returns_when_its_leader_ends),
          ON_ALL(a_terminal_session_echoes_answers_and_ends),
          ON_ALL(an_interrupt_reaches_the_foreground_command),
          ON_ALL(a_command_without_a_terminal_stays_as_a_session_too),
          ON_ALL(a_character_that_is_cut_by_the_yield_waits_for_its_rest),
          ON_ALL(an_unwatched_session_never_blocks_and_its_end_is_kept),
          ON_ALL(the_sixty_fifth_session_pushes_out_the_least_used),
          ON_ALL(cancelling_a_call_ends_it_and_its_command),
          ON_ALL(freeing_the_shell_ends_its_sessions), ON_ALL(eight_threads_call_one_shell),
          ON_ALL(two_gigabytes_of_output_leave_memory_flat),
          RUN(schemas_are_json_with_the_promised_fields))
