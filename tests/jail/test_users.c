/* SPDX-License-Identifier: Apache-2.0
 *
 * test_users.c - who commands are: users and groups that were asked for, those
 * of an image, and what an ordinary user's jail says of it. */
#include "../sandbox/made_image.h"
#include "core/fd.h"
#include "identity.h"
#include "sandbox/jail.h"

static char folder[40];
static int folder_fd = -1;

static int
set_up(void **state)
{
  strcpy(folder, "/tmp/csn-users-XXXXXX");
  if (!mkdtemp(folder) || chmod(folder, 0755) < 0)
    return -1;
  folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return mkdirat(folder_fd, "work", 0755);
}

static int
tear_down(void **state)
{
  csn_auto(csn_closep) int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  close(folder_fd);
  return csn_jail_remove(tmp, folder + 5, NULL);
}

static int
try_open(csn_sandbox **sb, csn_sandbox_spec spec, csn_err *err)
{
  csn_auto(csn_closep) int work = openat(folder_fd, "work", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  spec.workspace_fd = work;
  spec.lock_fd = -1;
  return csn_sandbox_open(sb, NULL, &spec, err);
}

static csn_sandbox *
open_with(csn_sandbox_spec spec)
{
  csn_sandbox *sb = NULL;
  csn_err err;
  int rc = try_open(&sb, spec, &err);
  if (rc == CSN_E_UNSUPPORTED && !machine_has_namespaces())
    SKIP("%.190s", err.msg);
  OK(rc, &err);
  return sb;
}

static void
prints(csn_sandbox *sb, const char *user, const char *script, const char *want)
{
  csn_err err;
  csn_exit end;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 16);
  const char *argv[] = {"/bin/sh", "-c", script, NULL};
  csn_exec x = {.argv = argv, .claim_fd = -1, .user = user};
  OK(csn_sandbox_exec(sb, NULL, &x, &out, NULL, &end, &err), &err);
  if (!csn_str_eq(csn_str_trim(csn_buf_str(&out)), csn_cstr(want)))
    fail_msg("%s: %s printed '%s', expected '%s'", user ? user : "-", script, out.p ? out.p : "",
             want);
}

static const char *const people[] = {"alice", "bob", NULL};
static const char *const members[] = {"alice", "user", NULL};
static const csn_sandbox_group devs = {"devs", members};
static const csn_sandbox_spec both = {.users = people, .groups = &devs, .n_groups = 1};

static bool
has_range(void)
{
  return geteuid() == 0 || has_lent_ids();
}

TEST(users_and_groups_of_ones_own_are_real)
{
  if (!has_range())
    SKIP("an ordinary user's jail has one user");
  csn_auto(csn_sandbox_closep) csn_sandbox *sb = open_with(both);
  prints(sb, NULL, "id", "uid=1000(user) gid=1000(user) groups=1000(user),1003(devs)");
  prints(sb, "alice", "id", "uid=1001(alice) gid=1001(alice) groups=1001(alice),1003(devs)");
  prints(sb, "bob", "id", "uid=1002(bob) gid=1002(bob) groups=1002(bob)");
  prints(sb, "1002:1003", "id -u; id -g", "1002\n1003");
  prints(sb, "alice", "echo $USER $LOGNAME $HOME", "alice alice /tmp");
  prints(sb, NULL, "echo $USER $HOME", "user /home/user");
  prints(sb, NULL, "echo x > f; chmod 600 f; mkdir d; chgrp devs d; chmod 775 d", "");
  prints(sb, "alice", "cat f 2>&1 | grep -c denied; echo y > d/hers && stat -c %U:%G d/hers",
         "1\nalice:alice");
  prints(sb, "bob", "(echo z > d/his) 2>/dev/null || echo no", "no");
  prints(sb, "alice", "kill -0 1 2>/dev/null || echo no", "no");
  prints(sb, "bob", "echo seen >/dev/stdout; echo too >>/proc/self/fd/1", "seen\ntoo");
}

TEST(files_of_other_users_stay_theirs_in_the_next_jail)
{
  struct stat st;
  if (!has_range())
    SKIP("an ordinary user's jail has one user");
  csn_sandbox *sb = open_with(both), *other = open_with(both);
  prints(sb, NULL, "mkdir d; chgrp devs d; chmod 775 d", "");
  prints(sb, "alice", "echo y > d/hers", "");
  prints(other, NULL, "stat -c %U d/hers", "alice");
  csn_sandbox_close(sb);
  csn_sandbox_close(other);
  assert_int_equal(fstatat(folder_fd, "work/d/hers", &st, 0), 0);
  assert_int_equal(st.st_uid, geteuid() == 0 ? 1000001001 : 700001000);
  assert_int_equal(fstatat(folder_fd, "work/d", &st, 0), 0);
  assert_int_equal(st.st_uid, geteuid());
  csn_auto(csn_sandbox_closep) csn_sandbox *next = open_with(both);
  prints(next, "alice", "stat -c %U d/hers; echo more >> d/hers; cat d/hers", "alice\ny\nmore");
}

TEST(an_image_says_who_commands_are)
{
  static struct image_layer layer;
  char word[100];
  bool root = has_range();
  if (tree_is_closed())
    SKIP("this user cannot enter the folder of this checkout");
  setenv("CAISSON_IMAGES", strcat(strcpy(word, folder), "/store"), 1);
  csn_auto(csn_buf_finip) csn_buf tool = CSN_BUF(16 << 20);
  csn_auto(csn_closep) int fd = open(getenv("CSN_IMAGE_TOOL"), O_RDONLY | O_CLOEXEC);
  assert_int_equal(csn_fd_read_all(fd, &tool, NULL), 0);
  layer_begin(&layer);
  struct tar_item program = {'0', "bin/sh", .content = tool.p};
  tar_add_n(&layer.tar, &program, tool.n);
  tar_add(&layer.tar, (struct tar_item){'0', "etc/passwd", .content = "app:x:33:50:::\n"});
  tar_add(&layer.tar, (struct tar_item){'0', "etc/group", .content = "staff:x:50:\n"});
  layer_end(&layer);
  mkdirat(folder_fd, "layout", 0755);
  csn_auto(csn_closep) int dir = openat(folder_fd, "layout", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  write_layout(dir, &layer, 1, "\"User\":\"app\"", "v1");
  snprintf(word, sizeof word, "oci:%s/layout", folder);
  csn_auto(csn_sandbox_closep) csn_sandbox *sb = open_with((csn_sandbox_spec){.rootfs = word});
  csn_err err;
  csn_exit end;
  static const struct {
    const char *what, *arg, *root, *ordinary;
  } rows[] = {{"id", "", "33:50", "1000:1000"},
              {"write", "made", "", ""},
              {"stat", "made", "644 33:50", "644 1000:1000"},
              {"write", "/home/user/x", "", ""},
              {"env", "USER", "app", "user"},
              {"cat", "/etc/passwd", "app:x:33:50::/home/user:\n",
               "app:x:33:50::/tmp:\nuser:x:1000:1000::/home/user:/bin/sh\n"}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 16);
    const char *argv[] = {"/bin/sh", rows[i].what, rows[i].arg, NULL};
    OK(csn_sandbox_exec(sb, NULL, &(csn_exec){.argv = argv, .claim_fd = -1}, &out, NULL, &end,
                        &err),
       &err);
    if (i < 5 || root)
      STR_EQ(csn_buf_str(&out), root ? rows[i].root : rows[i].ordinary);
  }
  csn_buf_fini(&layer.tar);
}

TEST(the_one_user_may_have_another_name)
{
  csn_auto(csn_sandbox_closep) csn_sandbox *sb = open_with((csn_sandbox_spec){.user = "alice"});
  prints(sb, NULL, "id", "uid=1000(alice) gid=1000(alice) groups=1000(alice)");
  prints(sb, "alice", "id -un; echo $USER $HOME", "alice\nalice /home/user");
  prints(sb, NULL, "touch x; stat -c %U x", "alice");
}

TEST(nobody_is_root)
{
  csn_sandbox *sb = NULL;
  csn_err err = {0};
  csn_exit end;
  assert_int_equal(try_open(&sb, (csn_sandbox_spec){.user = "root"}, &err), CSN_E_INVALID);
  csn_auto(csn_sandbox_closep) csn_sandbox *own = open_with((csn_sandbox_spec){0});
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(100);
  const char *argv[] = {"true", NULL}, *who[] = {"root", "0", "1000:0", "nosuch"};
  for (size_t i = 0; i < CSN_COUNT(who); i++) {
    csn_exec x = {.argv = argv, .claim_fd = -1, .user = who[i]};
    int rc = csn_sandbox_exec(own, NULL, &x, &out, NULL, &end, &err);
    assert_int_equal(rc, i < 3 ? CSN_E_INVALID : CSN_E_NOT_FOUND);
  }
}

TEST(what_needs_more_users_than_there_are_is_said)
{
  csn_sandbox *sb = NULL;
  csn_err err = {0};
  csn_sandbox_spec spec = both;
  spec.backend = "local";
  assert_int_equal(try_open(&sb, spec, &err), CSN_E_UNSUPPORTED);
  if (has_range())
    return;
  assert_int_equal(try_open(&sb, both, &err), CSN_E_UNSUPPORTED);
  if (machine_has_namespaces())
    assert_non_null(strstr(err.msg, "when root makes them"));
}

TEST(an_ordinary_user_with_lent_ids_owns_what_its_commands_make)
{
  struct stat st;
  csn_jail_about about;
  csn_err err;
  if (!has_lent_ids())
    SKIP("no user ids are lent to this user");
  OK(csn_jail_ask_about(&about, &err), &err);
  assert_true(about.ranged);
  static const struct {
    const char *user, *id;
  } rows[] = {
      {NULL, "1000:1000"}, {"33:50", "33:50"}, {"5000", "5000:5000"}, {"65535", "65535:65535"}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_sandbox_closep) csn_sandbox *sb =
        open_with((csn_sandbox_spec){.user = rows[i].user});
    prints(sb, NULL, "echo $(id -u):$(id -g)", rows[i].id);
    char both_ids[60];
    snprintf(both_ids, sizeof both_ids, "%s\n%s", rows[i].id, rows[i].id);
    prints(sb, NULL, "rm -f made; touch made; stat -c %u:%g made; stat -c %u:%g .", both_ids);
    assert_int_equal(fstatat(folder_fd, "work/made", &st, 0), 0);
    assert_int_equal(st.st_uid, geteuid());
    assert_int_equal(st.st_gid, getegid());
  }
}

/* The user cannot enter the folder and not remove what is in it. */
TEST(what_other_users_left_can_be_removed)
{
  csn_err err;
  if (!has_range())
    SKIP("an ordinary user's jail has one user");
  csn_sandbox *sb = open_with(both);
  prints(sb, NULL, "mkdir -m 777 d", "");
  prints(sb, "alice", "mkdir -p d/a/b && echo x >d/a/b/c && chmod 700 d/a/b && mkdir -m 0 d/closed",
         "");
  prints(sb, "bob", "mkdir -m 755 d/bobs && echo y >d/bobs/y", "");
  csn_sandbox_close(sb);
  if (geteuid() != 0)
    assert_int_not_equal(csn_remove_tree(folder_fd, "work", &err), 0);
  OK(csn_jail_remove(folder_fd, "work", &err), &err);
  assert_int_not_equal(faccessat(folder_fd, "work", F_OK, 0), 0);
}

#define HERE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static int
tests(void)
{
  const struct CMUnitTest all[] = {
      HERE(users_and_groups_of_ones_own_are_real),
      HERE(files_of_other_users_stay_theirs_in_the_next_jail),
      HERE(an_image_says_who_commands_are),
      HERE(an_ordinary_user_with_lent_ids_owns_what_its_commands_make),
      HERE(what_other_users_left_can_be_removed),
      HERE(the_one_user_may_have_another_name),
      HERE(nobody_is_root),
      HERE(what_needs_more_users_than_there_are_is_said),
  };
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return cmocka_run_group_tests_name("jail/users", all, NULL, NULL);
}

int
main(int argc, char **argv)
{
  return run_as(argc, argv, tests);
}
