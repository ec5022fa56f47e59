/* SPDX-License-Identifier: Apache-2.0
 * Which folder is the state folder. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "apps/cli/cli.h"
#include "check.h"
#include "core/fd.h"

static void
enter(const char *path)
{
  assert_int_equal(chdir(path), 0);
}

/* A fresh folder, which becomes the current one; to be removed with leave(). */
static char *
fresh(void)
{
  char *name = csn_dupz(CSN_STR("/tmp/caisson-state-XXXXXX"));
  assert_non_null(mkdtemp(name));
  enter(name);
  return name;
}

static void
leave(char *name)
{
  csn_err err;
  enter("/");
  OK(csn_remove_tree(AT_FDCWD, name + 1, &err), &err);
  free(name);
}

static int
look(const char *named, bool make, csn_buf *path, csn_err *err)
{
  cli c = {.state_dir = named};
  int fd = -1;
  csn_buf_clear(path);
  int rc = cli_state_open(&c, make, &fd, path, err);
  csn_closep(&fd);
  return rc;
}

TEST(the_nearest_folder_upward_wins_and_else_one_is_made_here)
{
  char *top = fresh();
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(4096), want = CSN_BUF(4096);
  assert_int_equal(look(NULL, false, &path, &err), CSN_E_NOT_FOUND);
  assert_int_equal(mkdir("a", 0700) | mkdir("a/b", 0700), 0);
  enter("a");
  OK(look(NULL, true, &path, &err), &err);
  STR_EQ(csn_buf_str(&path), ".caisson");
  struct stat st;
  assert_int_equal(stat(".caisson", &st), 0);
  assert_int_equal(st.st_mode & 07777, 0700);
  enter("b");
  OK(look(NULL, true, &path, &err), &err);
  csn_buf_addf(&want, "%s/a/.caisson", top);
  STR_EQ(csn_buf_str(&path), want.p);
  enter("/");
  leave(top);
}

TEST(a_named_folder_is_taken_as_it_is)
{
  char *top = fresh();
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(4096);
  assert_int_equal(mkdir(".caisson", 0700), 0);
  assert_int_equal(look("other", false, &path, &err), CSN_E_NOT_FOUND);
  OK(look("other", true, &path, &err), &err);
  STR_EQ(csn_buf_str(&path), "other");
  leave(top);
}

TEST(a_folder_of_somebody_else_is_not_trusted)
{
  if (geteuid() != 0)
    SKIP("only root can give a folder away");
  char *top = fresh();
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(4096);
  assert_int_equal(mkdir(".caisson", 0700) | chown(".caisson", 65534, 65534), 0);
  assert_int_equal(look(NULL, true, &path, &err), CSN_E_DENIED);
  assert_non_null(strstr(err.msg, "--state"));
  OK(look(".caisson", true, &path, &err), &err);
  leave(top);
}

RUN_TESTS("apps/cli/state", RUN(the_nearest_folder_upward_wins_and_else_one_is_made_here),
          RUN(a_named_folder_is_taken_as_it_is), RUN(a_folder_of_somebody_else_is_not_trusted))
