/* SPDX-License-Identifier: Apache-2.0
 *
 * test_scopes.c - commands of one jail that may use different parts of its
 * workspace (csn_exec.files), as root and as an ordinary user. */
#include <errno.h>

#include "core/fd.h"
#include "identity.h"

struct cell {
  csn_sandbox *sb;
  char folder[64];
  int fd;
};

static void
cell_open(struct cell *c, const char *root)
{
  csn_err err;
  snprintf(c->folder, sizeof c->folder, "/tmp/caisson-scopes-XXXXXX");
  assert_non_null(mkdtemp(c->folder));
  c->fd = open(c->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_sandbox_spec spec = {
      .backend = "jail", .workspace_fd = c->fd, .lock_fd = -1, .root = root, .has_scopes = true};
  int rc = csn_sandbox_open(&c->sb, NULL, &spec, &err);
  if (rc == CSN_E_UNSUPPORTED && (strstr(err.msg, "Landlock") || !machine_has_namespaces()))
    SKIP("%.190s", err.msg);
  OK(rc, &err);
}

static int
run(struct cell *c, const csn_file_scope *files, const char *cmd, csn_buf *out)
{
  const char *argv[] = {"sh", "-c", cmd, NULL};
  csn_exit end = {-1, -1};
  csn_err err;
  csn_buf_clear(out);
  OK(csn_sandbox_exec(c->sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1, .files = files}, out,
                      NULL, &end, &err),
     &err);
  return end.code;
}

static void
cell_close(struct cell *c)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(4096);
  run(c, NULL, "rm -rf /workspace/* /srv/w/* 2>/dev/null", &out);
  csn_sandbox_close(c->sb);
  close(c->fd);
  rmdir(c->folder);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
static const char *const none[] = {NULL};

TEST(a_command_sees_and_changes_what_its_scope_lists)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 16);
  struct cell c;
  cell_open(&c, NULL);
  assert_int_equal(
      run(&c, NULL,
          "mkdir -p a/x b && echo 1 >a/f && echo 2 >b/f && echo 3 >top && ln -s b l && "
          "ln -s ../b/f a/out",
          &out),
      0);
  const struct {
    csn_file_scope files;
    const char *cmd;
    bool works;
  } rows[] = {
      {{LIST("a"), none}, "cat a/f", true},
      {{LIST("./a/"), none}, "cat a/f", true},
      {{LIST("a"), none}, "cat b/f", false},
      {{LIST("a"), none}, "cat a/out", false},
      {{LIST("a"), none}, "ls /workspace", false},
      {{LIST("a"), none}, "echo x >a/f", false},
      {{LIST("a"), none}, "cd b && cat f", false},
      {{LIST("a/f"), none}, "cat a/f", true}, /* one file */
      {{LIST("a/f"), none}, "cat a/f a/x/../f; ls a", false},
      {{LIST("l"), none}, "cat l/f", false}, /* a link gives nothing */
      {{LIST("missing"), LIST("missing/x")}, "echo x >missing", false},
      {{none, LIST("a")}, "cat a/f && echo y >a/n && mv a/n a/m && rm a/m", true},
      {{none, LIST("a")}, "cat top", false},
      {{NULL, LIST("a")}, "cat top b/f && echo y >a/n", true},
      {{NULL, LIST("a")}, "echo y >b/n", false},
      {{NULL, LIST("a")}, "rm b/f", false},
      {{NULL, LIST("a")}, "truncate -s 0 b/f", false},
      {{NULL, LIST("a")}, "mv b/f a/f2", false},
      {{NULL, LIST("a")}, "ln b/f a/hard && echo z >>a/hard", false},
      {{NULL, LIST("a")}, "mkdir new", false},
      {{NULL, LIST("top")}, "echo 4 >top && cat top", true}, /* one file */
      {{NULL, LIST(".")}, "echo y >b/n && echo y >n", true},
      {{LIST("."), none}, "cat top b/f", true},
      {{none, none},
       "echo t >/tmp/t && cat /tmp/t && echo h >$HOME/h && test -c /dev/null && "
       "ls /usr/bin >/dev/null && head -c 1 /etc/passwd && cat /proc/self/stat",
       true},
      {{none, none}, "sh -c 'sh -c \"cat top\"'", false}, /* for all that it starts */
      {{none, none}, "cat /proc/1/root/workspace/top", false},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    int code = run(&c, &rows[i].files, rows[i].cmd, &out);
    if ((code == 0) != rows[i].works)
      fail_msg("row %zu, %s: exit %d: %.*s", i, rows[i].cmd, code, (int)out.n, out.p ? out.p : "");
  }
  assert_int_equal(run(&c, NULL, "cat b/f top", &out), 0);
  STR_EQ(csn_buf_str(&out), "2\n4\n");
  cell_close(&c);
}

TEST(a_command_does_not_get_at_others_through_their_processes)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 16);
  struct cell c;
  csn_err err;
  cell_open(&c, NULL);
  assert_int_equal(run(&c, NULL, "mkdir a b && echo 2 >b/f", &out), 0);
  const csn_file_scope b = {none, LIST("b")}, a = {none, LIST("a")};
  const char *argv[] = {"sh", "-c", "exec 7<b/f; cd b; echo ready; exec sleep 60", NULL};
  csn_auto(csn_proc_closep) csn_proc *p = NULL;
  OK(csn_sandbox_spawn(c.sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1, .files = &b}, &p,
                       &err),
     &err);
  enum csn_stream which;
  csn_buf_clear(&out);
  assert_true(csn_proc_read(p, NULL, &out, 100, &which, &err) > 0);
  assert_int_not_equal(run(&c, &a,
                           "for d in /proc/[0-9]*; do cat $d/cwd/f $d/fd/7 $d/root/workspace/b/f; "
                           "done 2>/dev/null | grep 2",
                           &out),
                       0);
  csn_proc_close(csn_steal(p));
  cell_close(&c);
}

TEST(the_workspace_may_lie_deeper)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 16);
  const csn_file_scope a = {none, LIST("a")};
  struct cell c;
  cell_open(&c, "/srv/w");
  assert_int_equal(run(&c, NULL, "mkdir a b && echo 1 >a/f && echo 2 >b/f", &out), 0);
  assert_int_equal(run(&c, &a, "cat a/f && echo x >a/g && ls /usr >/dev/null && pwd", &out), 0);
  assert_int_not_equal(run(&c, &a, "cat b/f", &out), 0);
  assert_int_not_equal(run(&c, &a, "echo x >/srv/w/n", &out), 0);
  cell_close(&c);
}

TEST(who_cannot_hold_a_command_says_so)
{
  const csn_file_scope a = {none, LIST("a")};
  const char *argv[] = {"true", NULL};
  csn_sandbox_spec spec = {.backend = "local", .workspace_fd = -1, .lock_fd = -1};
  csn_sandbox *sb;
  csn_proc *p;
  csn_err err;
  spec.has_scopes = true;
  assert_int_equal(csn_sandbox_open(&sb, NULL, &spec, &err), CSN_E_UNSUPPORTED);
  assert_non_null(strstr(err.msg, "sandbox local: it cannot hold commands"));
  spec.has_scopes = false;
  OK(csn_sandbox_open(&sb, NULL, &spec, &err), &err);
  csn_exec x = {.argv = argv, .claim_fd = -1, .files = &a};
  assert_int_equal(csn_sandbox_spawn(sb, NULL, &x, &p, &err), CSN_E_UNSUPPORTED);
  csn_sandbox_close(sb);
}

static int
tests(void)
{
  static const struct CMUnitTest all[] = {
      RUN(a_command_sees_and_changes_what_its_scope_lists),
      RUN(a_command_does_not_get_at_others_through_their_processes),
      RUN(the_workspace_may_lie_deeper),
      RUN(who_cannot_hold_a_command_says_so),
  };
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return cmocka_run_group_tests_name("scopes", all, NULL, NULL);
}

int
main(int argc, char **argv)
{
  return run_as(argc, argv, tests);
}
