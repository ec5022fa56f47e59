/* SPDX-License-Identifier: Apache-2.0
 * test_stack.c - a workspace of layers: what little was changed in it is copied
 * into a layer, and what a copy would lose is not. */
#include "sandbox/stack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "check.h"
#include "core/fd.h"
#include "sandbox/layer_unpack.h"

struct bench {
  char path[40];
  int fd, store, dir, upper;
  csn_stack *s;
};

static int
folder(int dir, const char *name)
{
  (void)mkdirat(dir, name, 0755);
  int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_true(fd >= 0);
  return fd;
}

static void
begin(struct bench *b)
{
  csn_err err;
  *b = (struct bench){.path = "/dev/shm/csn-stack-XXXXXX"};
  assert_non_null(mkdtemp(b->path));
  b->fd = open(b->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  b->store = folder(b->fd, "store");
  b->dir = folder(b->fd, "workspace");
  const csn_layers l = {.store_fd = b->store};
  OK(csn_stack_open(&b->s, NULL, b->dir, &l, &err), &err);
  b->upper = folder(b->dir, "upper");
}

static void
end(struct bench *b)
{
  csn_auto(csn_closep) int shm = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_stack_free(b->s);
  close(b->upper);
  close(b->dir);
  close(b->store);
  close(b->fd);
  assert_int_equal(csn_remove_tree(shm, b->path + 9, NULL), 0);
}

static void
put(int dir, const char *name, const char *text)
{
  csn_err err;
  csn_auto(csn_closep) int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
  OK(csn_fd_write_all(fd, csn_cstr(text), &err), &err);
}

static void
has(int dir, const char *name, const char *text)
{
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(4096);
  OK(csn_file_read(dir, name, &got, &err), &err);
  STR_EQ(csn_buf_str(&got), text);
}

static csn_stack_changes
look(const struct bench *b)
{
  csn_stack_changes c;
  csn_stack_look(b->s, &c);
  return c;
}

TEST(few_changes_are_copied_as_they_are)
{
  struct bench b;
  begin(&b);
  csn_err err;
  char name[CSN_LAYER_NAME];
  struct stat st, was;
  csn_auto(csn_closep) int d = folder(b.upper, "d");
  put(d, "f", "one");
  assert_int_equal(fchmodat(d, "f", 0751, 0), 0);
  assert_int_equal(symlinkat("d/f", b.upper, "link"), 0);
  OK(csn_layer_hide(b.upper, "gone", &err), &err);
  OK(csn_layer_make_opaque(d, &err), &err);
  assert_int_equal(fstatat(d, "f", &was, 0), 0);
  csn_stack_changes c = look(&b);
  assert_true(c.is_few);
  assert_int_equal(c.n, 4);
  int rc = csn_stack_copy_changes(b.s, NULL, name, &err);
  OK(rc, &err);
  assert_int_equal(rc, 0);
  put(d, "f", "two"); /* the sandbox goes on */
  csn_auto(csn_closep) int copy = folder(b.store, name);
  has(copy, "d/f", "one");
  assert_int_equal(fstatat(copy, "d/f", &st, 0), 0);
  assert_int_equal(st.st_mode, was.st_mode);
  assert_int_equal(st.st_mtim.tv_nsec, was.st_mtim.tv_nsec);
  assert_int_equal(fstatat(copy, "link", &st, AT_SYMLINK_NOFOLLOW), 0);
  assert_true(S_ISLNK(st.st_mode));
  assert_int_equal(fstatat(copy, "gone", &st, AT_SYMLINK_NOFOLLOW), 0);
  assert_true(csn_layer_hides(copy, "gone", &st));
  csn_auto(csn_closep) int copied = folder(copy, "d");
  assert_true(csn_layer_is_opaque(copied));
  end(&b);
}

TEST(each_change_gives_another_mark_and_no_change_the_same)
{
  struct bench b;
  begin(&b);
  uint64_t marks[8];
  size_t n = 0;
  marks[n++] = look(&b).mark;
  assert_int_equal(marks[0], 0);
  put(b.upper, "f", "one");
  marks[n++] = look(&b).mark;
  put(b.upper, "f", "two");
  marks[n++] = look(&b).mark;
  assert_int_equal(fchmodat(b.upper, "f", 0600, 0), 0);
  marks[n++] = look(&b).mark;
  assert_int_equal(renameat(b.upper, "f", b.upper, "g"), 0);
  marks[n++] = look(&b).mark;
  put(b.upper, "h", "");
  marks[n++] = look(&b).mark;
  assert_int_equal(look(&b).mark, marks[n - 1]);
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < i; k++)
      assert_true(marks[i] != marks[k]);
  end(&b);
}

TEST(what_a_copy_would_lose_or_take_long_is_not_copied)
{
  for (int what = 0; what < 4; what++) {
    struct bench b;
    begin(&b);
    put(b.upper, "f", "one");
    assert_true(look(&b).is_few);
    if (what == 0)
      assert_int_equal(linkat(b.upper, "f", b.upper, "g", 0), 0);
    if (what == 1)
      assert_int_equal(mkfifoat(b.upper, "p", 0600), 0);
    for (int i = 0; what == 2 && i < 40; i++) {
      char name[16];
      snprintf(name, sizeof name, "n%d", i);
      put(b.upper, name, "");
    }
    if (what == 3) {
      csn_auto(csn_closep) int fd = openat(b.upper, "f", O_WRONLY | O_CLOEXEC);
      assert_int_equal(ftruncate(fd, 8 << 20), 0);
    }
    assert_false(look(&b).is_few);
    end(&b);
  }
}

RUN_TESTS("sandbox/stack", RUN(few_changes_are_copied_as_they_are),
          RUN(each_change_gives_another_mark_and_no_change_the_same),
          RUN(what_a_copy_would_lose_or_take_long_is_not_copied))
