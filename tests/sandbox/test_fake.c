/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include "caisson/sandbox.h"

static csn_sandbox *
open_fake(const char *script)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  csn_err err;
  OK(csn_json_parse(a, csn_cstr(script), &v, &err), &err);
  csn_sandbox_spec spec = {.backend = "fake", .workspace_fd = -1, .lock_fd = -1, .options = v};
  csn_sandbox *sb = NULL;
  OK(csn_sandbox_open(&sb, NULL, &spec, &err), &err);
  return sb;
}

TEST(a_fake_answers_by_the_first_entry_that_matches)
{
  csn_auto(csn_sandbox_closep) csn_sandbox *sb = open_fake(
      "[{\"match\":\"make test\",\"output\":\"1 failed\\n\",\"stderr\":\"oops\\n\",\"exit\":2},"
      "{\"match\":\"make\",\"output\":\"built\\n\"},{\"match\":\"die\",\"signal\":9}]");
  static const struct {
    const char *command, *out;
    int code, signal;
  } rows[] = {{"make test", "1 failed\noops\n", 2, 0},
              {"make all", "built\n", 0, 0},
              {"die now", "", 137, 9},
              {"other", "", 127, 0}};
  csn_err err;
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
    csn_exit end;
    const char *argv[] = {"sh", "-c", rows[i].command, NULL};
    csn_exec x = {.argv = argv, .claim_fd = -1};
    OK(csn_sandbox_exec(sb, NULL, &x, &out, NULL, &end, &err), &err);
    STR_EQ(csn_strn(out.p ? out.p : "", out.n), rows[i].out);
    assert_int_equal(end.code, rows[i].code);
    assert_int_equal(end.signal, rows[i].signal);
  }
}

TEST(a_fake_that_holds_goes_on_until_it_is_signalled)
{
  csn_auto(csn_sandbox_closep) csn_sandbox *sb =
      open_fake("[{\"match\":\"repl\",\"output\":\"> \",\"hold\":true}]");
  csn_err err;
  const char *argv[] = {"repl", NULL};
  csn_exec x = {.argv = argv, .tty = true, .claim_fd = -1};
  csn_auto(csn_proc_closep) csn_proc *p = NULL;
  OK(csn_sandbox_spawn(sb, NULL, &x, &p, &err), &err);
  csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(1000);
  assert_int_equal(csn_proc_read(p, NULL, &got, 100, NULL, &err), 2);
  csn_scope sc;
  csn_scope_init(&sc, NULL, 10);
  assert_int_equal(csn_proc_read(p, &sc, &got, 100, NULL, &err), CSN_E_TIMEOUT);
  csn_scope_fini(&sc);
  assert_int_equal(csn_proc_write(p, NULL, CSN_STR("hey"), &err), 3);
  assert_int_equal(csn_proc_read(p, NULL, &got, 100, NULL, &err), 3);
  OK(csn_proc_signal(p, 15, &err), &err);
  csn_exit end;
  OK(csn_proc_wait(p, NULL, &end, &err), &err);
  assert_int_equal(end.signal, 15);
  assert_int_equal(csn_proc_read(p, NULL, &got, 100, NULL, &err), 0);
}

TEST(a_word_that_is_no_backend_is_refused_with_the_list)
{
  csn_sandbox *sb;
  csn_err err;
  csn_sandbox_spec spec = {.backend = "moon", .workspace_fd = -1, .lock_fd = -1};
  assert_int_equal(csn_sandbox_open(&sb, NULL, &spec, &err), CSN_E_INVALID);
  assert_non_null(strstr(err.msg, "local, "));
}

RUN_TESTS("sandbox/fake", RUN(a_fake_answers_by_the_first_entry_that_matches),
          RUN(a_fake_that_holds_goes_on_until_it_is_signalled),
          RUN(a_word_that_is_no_backend_is_refused_with_the_list))
