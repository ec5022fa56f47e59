/* SPDX-License-Identifier: Apache-2.0
 *
 * test_freeze.c - workspaces of layers: what an overlay makes of the harness's
 * and the commands' files, freezing and forks, deep stacks, and the same where
 * there is no overlay. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "caisson/freeze.h"
#include "core/fd.h"
#include "identity.h"
#include "sandbox/jail_stack.h"
#include "sandbox/stack.h"

static char top[40];
static int top_fd = -1, store_fd = -1;
static const char *kind = "overlay"; /* what every workspace here must be */

static int
set_up(void **state)
{
  strcpy(top, "/tmp/csn-freeze-XXXXXX");
  if (!mkdtemp(top))
    return -1;
  top_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (mkdirat(top_fd, "layers", 0700) < 0)
    return -1;
  store_fd = openat(top_fd, "layers", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return store_fd < 0 ? -1 : 0;
}

static int
tear_down(void **state)
{
  csn_auto(csn_closep) int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  close(store_fd);
  close(top_fd);
  return csn_remove_tree(tmp, top + 5, NULL) < 0;
}

/* Opens workspace `name`, made when missing, on layers. */
static csn_sandbox *
open_on(const char *name, const char *const *names)
{
  csn_err err;
  csn_sandbox *sb = NULL;
  if (mkdirat(top_fd, name, 0755) < 0)
    assert_int_equal(errno, EEXIST);
  csn_auto(csn_closep) int dir = openat(top_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_layers l = {.store_fd = store_fd, .names = names};
  csn_sandbox_spec spec = {.backend = "jail", .workspace_fd = dir, .lock_fd = -1, .layers = &l};
  int rc = csn_sandbox_open(&sb, NULL, &spec, &err);
  if (rc == CSN_E_UNSUPPORTED && !machine_has_namespaces())
    SKIP("%.190s", err.msg);
  OK(rc, &err);
  assert_string_equal(csn_jail_workspace(sb), kind);
  return sb;
}

static void
sh(csn_sandbox *sb, const char *script, const char *want)
{
  csn_err err;
  csn_exit end;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 16);
  const char *argv[] = {"sh", "-c", script, NULL};
  OK(csn_sandbox_exec(sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &out, NULL, &end, &err),
     &err);
  if (!csn_str_eq(csn_buf_str(&out), csn_cstr(want)))
    fail_msg("%s printed '%s', expected '%s'", script, out.p ? out.p : "", want);
}

/* As the harness's tools do it. */
static void
harness_writes(csn_sandbox *sb, const char *path, const char *text)
{
  csn_err err;
  OK(csn_file_write(sb->workspace_fd, path, csn_cstr(text), 0644, false, &err), &err);
  if (sb->uid >= 0)
    assert_int_equal(fchownat(sb->workspace_fd, path, (uid_t)sb->uid, (gid_t)sb->gid, 0), 0);
}

static void
harness_reads(csn_sandbox *sb, const char *path, const char *want)
{
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 16);
  OK(csn_file_read(sb->workspace_fd, path, &text, &err), &err);
  STR_EQ(csn_buf_str(&text), want);
}

/* Freezes and closes; drop() the names. */
static char **
freeze(csn_sandbox *sb)
{
  csn_err err;
  const char *const *names;
  OK(csn_sandbox_freeze(sb, NULL, &names, &err), &err);
  size_t n = 0;
  while (names[n])
    n++;
  char **copy = csn_alloc((n + 1) * sizeof *copy);
  for (size_t i = 0; i < n; i++)
    copy[i] = csn_dupz(csn_cstr(names[i]));
  csn_sandbox_close(sb);
  return copy;
}

static size_t
drop(char **names)
{
  size_t n = 0;
  for (; names[n]; n++)
    free(names[n]);
  free(names);
  return n;
}

TEST(files_of_the_harness_and_of_commands_are_in_one_workspace)
{
  csn_sandbox *sb = open_on("one", NULL);
  harness_writes(sb, "ours", "harness");
  sh(sb, "cat ours; echo +command >>ours; echo made >theirs; mkdir d; echo 1 >d/f", "harness");
  harness_reads(sb, "ours", "harness+command\n");
  harness_reads(sb, "theirs", "made\n");
  harness_writes(sb, "d/g", "2");
  harness_writes(sb, "theirs", "changed");
  sh(sb, "cat d/g theirs; rm -r d ours; ls", "2changedtheirs\n");
  csn_sandbox_close(sb);
}

TEST(what_was_frozen_is_below_two_workspaces_that_do_not_see_each_other)
{
  csn_sandbox *sb = open_on("parent", NULL);
  sh(sb, "mkdir -p d/e; echo 1 >d/e/f; echo keep >k; echo gone >g; ln -s k l; chmod 755 k", "");
  char **names = freeze(sb);
  csn_sandbox *a = open_on("child", (const char *const *)names), *b = open_on("parent", NULL);
  sh(a, "cat d/e/f k g; readlink l; stat -c '%a %U' k", "1\nkeep\ngone\nk\n755 user\n");
  sh(a, "echo child >>k; rm g; rm -r d; mkdir d; ls d; ls", "d\nk\nl\n");
  sh(b, "cat k g d/e/f; echo parent >>k", "keep\ngone\n1\n");
  harness_writes(a, "d/new", "x");
  char **more = freeze(a);
  csn_sandbox *c = open_on("grandchild", (const char *const *)more);
  sh(c, "cat k; ls; ls d", "keep\nchild\nd\nk\nl\nnew\n");
  sh(b, "cat k; ls", "keep\nparent\nd\ng\nk\nl\n");
  csn_sandbox_close(b);
  csn_sandbox_close(c);
  assert_int_equal(drop(names), 1);
  assert_int_equal(drop(more), kind[0] == 'c' ? 1 : 2);
}

TEST(a_workspace_goes_on_where_it_was_left)
{
  csn_sandbox *sb = open_on("again", NULL);
  sh(sb, "echo 1 >f; echo 2 >g", "");
  drop(freeze(sb));
  sb = open_on("again", NULL);
  sh(sb, "echo more >>f; rm g", "");
  csn_sandbox_close(sb); /* not frozen */
  sb = open_on("again", NULL);
  sh(sb, "cat f; ls", "1\nmore\nf\n");
  csn_sandbox_close(sb);
}

TEST(a_process_that_writes_refuses_the_freeze_and_loses_nothing)
{
  csn_err err;
  const char *const *names;
  csn_sandbox *sb = open_on("writer", NULL);
  sh(sb,
     "setsid sh -c 'echo $$ >pid; while [ ! -e stop ]; do echo x >>log; done; mv log done' "
     ">/dev/null 2>&1 & until [ -s log ]; do :; done",
     "");
  for (int i = 0; i < 20; i++)
    assert_int_equal(csn_sandbox_freeze(sb, NULL, &names, &err), CSN_E_CONFLICT);
  assert_non_null(strstr(err.msg, "processes still run"));
  sh(sb, "touch stop; until [ -e done ]; do :; done; echo after", "after\n");
  int rc = CSN_E_CONFLICT; /* it is ending */
  for (int64_t end = csn_now_ns() + 10000000000; rc == CSN_E_CONFLICT && csn_now_ns() < end;)
    rc = csn_sandbox_freeze(sb, NULL, &names, &err);
  OK(rc, &err);
  csn_exec x = {.argv = (const char *const[]){"true", NULL}, .claim_fd = -1};
  csn_proc *p;
  assert_int_equal(csn_sandbox_spawn(sb, NULL, &x, &p, &err), CSN_E_SANDBOX);
  assert_non_null(strstr(err.msg, "frozen"));
  csn_auto(csn_closep) int layer = openat(store_fd, names[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct stat before, after;
  assert_int_equal(fstatat(layer, "done", &before, 0), 0);
  assert_true(before.st_size > 0);
  csn_sandbox_close(sb);
  assert_int_equal(fstatat(layer, "done", &after, 0), 0);
  assert_int_equal(before.st_size, after.st_size);
}

TEST(it_is_told_whether_a_freeze_would_take_anything_away)
{
  static const struct {
    const char *command;
    bool has_more;
  } rows[] = {{"echo 1 >f; mkdir -p d", false},
              {"echo 1 >/tmp/f", true},
              {"rm /tmp/f", false},
              {"mkdir ~/.cache", true},
              {"rmdir ~/.cache; echo 1 >/dev/shm/f", true},
              {"rm /dev/shm/f; touch /tmp/a; rm /tmp/a", false}};
  csn_err err;
  bool has_more;
  csn_sandbox *sb = open_on("resting", NULL);
  OK(csn_sandbox_rests(sb, NULL, &has_more, &err), &err);
  assert_false(has_more);
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    sh(sb, rows[i].command, "");
    OK(csn_sandbox_rests(sb, NULL, &has_more, &err), &err);
    assert_int_equal(has_more, rows[i].has_more);
  }
  sh(sb, "setsid sleep 60 >/dev/null 2>&1 &", "");
  assert_int_equal(csn_sandbox_rests(sb, NULL, &has_more, &err), CSN_E_CONFLICT);
  csn_sandbox_close(sb);
}

TEST(an_unchanged_workspace_gets_no_new_layer)
{
  csn_sandbox *sb = open_on("same", NULL);
  assert_int_equal(drop(freeze(sb)), 1); /* an empty one, so that there is something to name */
  sb = open_on("same", NULL);
  sh(sb, "ls", "");
  assert_int_equal(drop(freeze(sb)), 1);
}

TEST(deep_stacks_are_merged)
{
  char script[200];
  char **names = NULL;
  size_t most = 0;
  for (int i = 0; i < 40; i++) {
    csn_sandbox *sb = open_on("deep", NULL);
    snprintf(
        script, sizeof script,
        "echo %d >f%d; echo %d >last; rm -f f%d; [ %d = 20 ] && rm -r d; mkdir -p d; echo >d/%d", i,
        i, i, i - 2, i, i);
    sh(sb, script, "");
    names = freeze(sb);
    size_t n = drop(names);
    most = n > most ? n : most;
  }
  assert_true(most <= CSN_STACK_DEPTH + 1);
  csn_sandbox *sb = open_on("deep", NULL);
  sh(sb, "echo $(ls) $(cat last) $(ls d | wc -l)", "d f38 f39 last 39 20\n");
  csn_sandbox_close(sb);
}

TEST(files_on_the_disk_belong_to_the_folders_owner)
{
  csn_sandbox *sb = open_on("owner", NULL);
  harness_writes(sb, "ours", "1");
  sh(sb, "echo >theirs; mkdir d; mkdir d/e", "");
  char **names = freeze(sb);
  static const char *const files[] = {".", "ours", "theirs", "d", "d/e"};
  csn_auto(csn_closep) int layer = openat(store_fd, names[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (size_t i = 0; i < CSN_COUNT(files); i++) {
    struct stat st;
    assert_int_equal(fstatat(layer, files[i], &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_uid, geteuid());
  }
  drop(names);
}

TEST(commands_cannot_forge_the_marks_of_layers)
{
  csn_sandbox *sb = open_on("forge", NULL);
  sh(sb, "mkdir low; echo secret >low/f; echo >x", "");
  drop(freeze(sb));
  sb = open_on("forge", NULL);
  sh(sb,
     "mknod w c 0 0 2>/dev/null; setfattr -n user.overlay.opaque -v y low 2>/dev/null; "
     "setfattr -n user.overlay.redirect -v /etc low 2>/dev/null; mkdir -p low; ls; cat low/f",
     "low\nx\nsecret\n");
  drop(freeze(sb));
  sb = open_on("forge", NULL);
  sh(sb, "ls; cat low/f", "low\nx\nsecret\n");
  csn_sandbox_close(sb);
}

TEST(a_freeze_that_was_cut_off_is_finished)
{
  csn_sandbox *sb = open_on("cut", NULL);
  sh(sb, "echo 1 >f", "");
  char **names = freeze(sb);
  /* As if the harness had died before the rename. */
  assert_int_equal(unlinkat(top_fd, "cut/upper", AT_REMOVEDIR), 0);
  assert_int_equal(renameat(store_fd, names[0], top_fd, "cut/upper"), 0);
  drop(names);
  sb = open_on("cut", NULL);
  sh(sb, "cat f", "1\n");
  csn_sandbox_close(sb);
}

TEST(what_is_no_workspace_of_layers_is_refused)
{
  csn_err err;
  csn_sandbox *sb = NULL;
  const char *const *names;
  static const char *const bad[][2] = {{"../../../etc"}, {"aaaaaaaaaaaaaaaaaaaaaaaa"}, {"."}};
  csn_auto(csn_closep) int dir = -1;
  for (size_t i = 0; i < CSN_COUNT(bad); i++) {
    csn_layers l = {.store_fd = store_fd, .names = bad[i]};
    mkdirat(top_fd, "bad", 0755);
    csn_closep(&dir);
    dir = openat(top_fd, "bad", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    csn_sandbox_spec spec = {.workspace_fd = dir, .lock_fd = -1, .layers = &l};
    assert_true(csn_sandbox_open(&sb, NULL, &spec, &err) < 0);
    assert_null(sb);
    csn_err ignored;
    OK(csn_remove_tree(top_fd, "bad", &ignored), &ignored);
  }
  csn_sandbox_spec plain = {.backend = "jail", .workspace_fd = -1, .lock_fd = -1};
  OK(csn_sandbox_open(&sb, NULL, &plain, &err), &err);
  assert_int_equal(csn_sandbox_freeze(sb, NULL, &names, &err), CSN_E_UNSUPPORTED);
  csn_sandbox_close(sb);
}

/* Makes a system call fail from now on, here and in all that we start. */
static bool
take_away(uint32_t call, uint32_t error)
{
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {.len = CSN_COUNT(code), .filter = code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

/* CSN_FREEZE_WITHOUT: "fsopen", a kernel that mounts by mount(2) only;
 * "marks", a file system that has no user attributes, so no overlay. */
static int
tests(void)
{
  static const struct CMUnitTest all[] = {
      RUN(files_of_the_harness_and_of_commands_are_in_one_workspace),
      RUN(what_was_frozen_is_below_two_workspaces_that_do_not_see_each_other),
      RUN(a_workspace_goes_on_where_it_was_left),
      RUN(a_process_that_writes_refuses_the_freeze_and_loses_nothing),
      RUN(it_is_told_whether_a_freeze_would_take_anything_away),
      RUN(an_unchanged_workspace_gets_no_new_layer),
      RUN(deep_stacks_are_merged),
      RUN(files_on_the_disk_belong_to_the_folders_owner),
      RUN(commands_cannot_forge_the_marks_of_layers),
      RUN(a_freeze_that_was_cut_off_is_finished),
      RUN(what_is_no_workspace_of_layers_is_refused),
  };
  enum { NR_fsopen = 430 };
  const char *without = getenv("CSN_FREEZE_WITHOUT");
  bool is_ready = true;
  if (without && strcmp(without, "fsopen") == 0)
    is_ready = take_away(NR_fsopen, ENOSYS);
  else if (without && strcmp(without, "marks") == 0)
    is_ready = take_away(SYS_fsetxattr, EOPNOTSUPP);
  if (without && strcmp(without, "marks") == 0)
    kind = "copy";
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return is_ready ? cmocka_run_group_tests_name("jail/freeze", all, set_up, tear_down) : 1;
}

int
main(int argc, char **argv)
{
  return run_as(argc, argv, tests);
}
