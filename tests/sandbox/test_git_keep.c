/* SPDX-License-Identifier: Apache-2.0
 * test_git_keep.c - repositories that are kept: which are let go of. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "check.h"
#include "core/fd.h"
#include "sandbox/git_keep.h"

enum { KIB = 1024, DAY = 86400 };
static const int64_t now = 2000000000;

#define DIGITS "00000000000000000000000000000000000000"
static const char *const names[] = {"aa" DIGITS ".git", "bb" DIGITS ".git", "cc" DIGITS ".git",
                                    "dd" DIGITS ".git"};

/* Four, of 64 KiB each, used 40, 3, 2 and 1 days ago; the folder's descriptor. */
static int
begin(char path[32])
{
  static const int days[] = {40, 3, 2, 1};
  char text[64 * KIB + 1];
  csn_err err;
  memset(text, 'x', sizeof text);
  snprintf(path, 32, "/tmp/csn-git-XXXXXX");
  assert_non_null(mkdtemp(path));
  int top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (size_t i = 0; i < CSN_COUNT(names); i++) {
    const struct timespec at[2] = {{.tv_sec = now - days[i] * DAY},
                                   {.tv_sec = now - days[i] * DAY}};
    assert_int_equal(mkdirat(top, names[i], 0700), 0);
    csn_auto(csn_closep) int dir = openat(top, names[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    OK(csn_file_write(dir, "pack", csn_strn(text, 64 * KIB), 0600, false, &err), &err);
    OK(csn_file_write(dir, "used", CSN_STR(""), 0600, false, &err), &err);
    assert_int_equal(utimensat(dir, "used", at, 0), 0);
  }
  return top;
}

static void
end(int top, const char *path)
{
  csn_auto(csn_closep) int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  close(top);
  assert_int_equal(csn_remove_tree(tmp, path + 5, NULL), 0);
}

/* Those that are there, by letter. */
static const char *
left(int top)
{
  static char out[8];
  size_t n = 0;
  for (size_t i = 0; i < CSN_COUNT(names); i++)
    if (faccessat(top, names[i], F_OK, 0) == 0)
      out[n++] = names[i][0];
  out[n] = '\0';
  return out;
}

TEST(those_not_used_for_long_go_and_then_the_oldest_until_there_is_room)
{
  static const struct {
    int64_t most, since;
    const char *left;
  } rows[] = {{INT64_MAX, 0, "abcd"},
              {INT64_MAX, now - 30 * DAY, "bcd"},
              {3 * 80 * KIB, 0, "bcd"},
              {2 * 80 * KIB, 0, "cd"},
              {0, 0, ""},
              {2 * 80 * KIB, now - 30 * DAY, "cd"}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    char path[32];
    csn_err err;
    csn_git_trimmed out;
    int top = begin(path);
    OK(csn_git_kept_trim(NULL, top, rows[i].most, rows[i].since, &out, &err), &err);
    assert_string_equal(left(top), rows[i].left);
    assert_int_equal(out.repositories, 4 - (int)strlen(rows[i].left));
    assert_true(out.bytes >= out.repositories * 64 * KIB);
    end(top, path);
  }
}

TEST(what_somebody_uses_stays_and_what_was_cut_off_goes)
{
  char path[32];
  csn_err err;
  csn_git_trimmed out;
  int top = begin(path);
  csn_auto(csn_closep) int used = openat(top, names[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_int_equal(flock(used, LOCK_EX), 0);
  assert_int_equal(mkdirat(top, ".gone-git-x", 0700), 0);
  assert_int_equal(mkdirat(top, "workspace", 0700), 0); /* it may be a folder of others */
  assert_int_equal(mkdirat(top, ".hidden", 0700), 0);
  OK(csn_git_kept_trim(NULL, top, 0, 0, &out, &err), &err);
  assert_string_equal(left(top), "b");
  assert_int_equal(faccessat(top, "workspace", F_OK, 0), 0);
  assert_int_equal(faccessat(top, ".hidden", F_OK, 0), 0);
  assert_true(faccessat(top, ".gone-git-x", F_OK, 0) < 0);
  end(top, path);
}

RUN_TESTS("sandbox/git_keep",
          RUN(those_not_used_for_long_go_and_then_the_oldest_until_there_is_room),
          RUN(what_somebody_uses_stays_and_what_was_cut_off_goes))
