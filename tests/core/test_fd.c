/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"
#include "core/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "caisson/scope.h"

/* A folder `root` to play in, with a secret beside it; removed at the end. */
struct place {
  char path[64];
  int top, root;
};

static void
put(int dir, const char *path, const char *text)
{
  csn_err err;
  OK(csn_file_write(dir, path, csn_cstr(text), 0600, false, &err), &err);
}

static struct place
place_new(void)
{
  struct place p = {.path = "/tmp/csn-test-fd-XXXXXX"};
  assert_non_null(mkdtemp(p.path));
  p.top = open(p.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_int_equal(mkdirat(p.top, "root", 0700), 0);
  p.root = openat(p.top, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  put(p.top, "secret", "SECRET");
  put(p.root, "file", "hello");
  assert_int_equal(mkdirat(p.root, "sub", 0700), 0);
  put(p.root, "sub/inner", "inner");
  assert_int_equal(symlinkat("sub/inner", p.root, "link-in"), 0);
  assert_int_equal(symlinkat("../secret", p.root, "link-out"), 0);
  assert_int_equal(symlinkat("/etc/passwd", p.root, "link-abs"), 0);
  assert_int_equal(symlinkat("..", p.root, "dir-out"), 0);
  assert_int_equal(symlinkat("loop", p.root, "loop"), 0);
  return p;
}

static void
place_fini(struct place *p)
{
  csn_err err;
  OK(csn_remove_tree(p->top, "root", &err), &err);
  OK(csn_remove_tree(p->top, "secret", &err), &err);
  close(p->root);
  close(p->top);
  assert_int_equal(rmdir(p->path), 0);
}

/* The number that a descriptor opened now would have. */
static int
next_fd(void)
{
  int fd = dup(0);
  close(fd);
  return fd;
}

static const struct {
  const char *path;
  int want; /* code of csn_file_read, 0 for success */
} ways[] = {
    {"file", 0},
    {"./file", 0},
    {"sub/inner", 0},
    {"sub//inner", 0},
    {"../secret", CSN_E_DENIED},
    {"..", CSN_E_DENIED},
    {"sub/../../secret", CSN_E_DENIED},
    {"/etc/passwd", CSN_E_DENIED},
    {"/", CSN_E_DENIED},
    {"link-out", CSN_E_DENIED},
    {"link-abs", CSN_E_DENIED},
    {"dir-out/secret", CSN_E_DENIED},
    {"loop", CSN_E_DENIED},
    {"missing", CSN_E_NOT_FOUND},
    {"missing/x", CSN_E_NOT_FOUND},
    {"file/x", CSN_E_NOT_FOUND},
    {"", CSN_E_NOT_FOUND},
    {"sub", CSN_E_INVALID},
    {".", CSN_E_INVALID},
    {"/proc/self/root/etc/passwd", CSN_E_DENIED},
};

static int
wrong_ways(int root)
{
  int wrong = 0;
  for (size_t i = 0; i < CSN_COUNT(ways); i++) {
    csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(100);
    csn_err err = {0};
    int rc = csn_file_read(root, ways[i].path, &b, &err);
    if (rc != ways[i].want) {
      print_message("# '%s': got %d, expected %d: %s\n", ways[i].path, rc, ways[i].want, err.msg);
      wrong++;
    }
    csn_buf_fini(&b);
  }
  return wrong;
}

TEST(a_name_from_outside_reaches_only_what_is_beneath)
{
  struct place p = place_new();
  assert_int_equal(wrong_ways(p.root), 0);
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(100);
  OK(csn_file_read(p.root, "link-in", &b, NULL), &(csn_err){0});
  STR_EQ(csn_buf_str(&b), "inner");
  place_fini(&p);
}

/* Old container engines and gVisor answer openat2 with ENOSYS. */
TEST(the_same_holds_where_the_kernel_has_no_openat2)
{
  struct place p = place_new();
  pid_t child = fork();
  if (child == 0) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {CSN_COUNT(code), code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
      _exit(77);
    int wrong = wrong_ways(p.root);
    wrong += csn_mkdirs(p.root, "a/b/c", 0700, NULL) != 0;
    wrong += csn_file_write(p.root, "a/b/c/f", CSN_STR("x"), 0600, false, NULL) != 0;
    wrong += csn_remove_tree(p.root, "a", NULL) != 0;
    wrong += faccessat(p.root, "a", F_OK, 0) == 0;
    _exit(wrong ? 1 : 0);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  place_fini(&p);
  assert_true(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77)
    SKIP("no seccomp filter can be set here");
  assert_int_equal(WEXITSTATUS(status), 0);
}

struct swapper {
  int root;
  atomic_bool stop;
};

/* "swap" is a folder with our file, then a link to the outside, and so on. */
static void *
swap_names(void *user)
{
  struct swapper *s = user;
  while (!atomic_load(&s->stop)) {
    renameat(s->root, "swap", s->root, "swap-folder");
    renameat(s->root, "swap-link", s->root, "swap");
    renameat(s->root, "swap", s->root, "swap-link");
    renameat(s->root, "swap-folder", s->root, "swap");
  }
  return NULL;
}

TEST(swapping_a_folder_for_a_link_never_opens_a_way_out)
{
  struct place p = place_new();
  csn_err err;
  OK(csn_mkdirs(p.root, "swap", 0700, &err), &err);
  put(p.root, "swap/secret", "inside");
  assert_int_equal(symlinkat("..", p.root, "swap-link"), 0);
  struct swapper s = {.root = p.root};
  pthread_t id;
  assert_int_equal(pthread_create(&id, NULL, swap_names, &s), 0);
  int inside = 0, outside = 0;
  int64_t until = csn_now_ns() + 10000000000;
  for (int i = 0; (i < 20000 || inside == 0) && csn_now_ns() < until; i++) {
    csn_buf b = CSN_BUF(100);
    if (csn_file_read(p.root, "swap/secret", &b, NULL) == 0) {
      inside += csn_str_eq(csn_buf_str(&b), CSN_STR("inside"));
      outside += csn_str_eq(csn_buf_str(&b), CSN_STR("SECRET"));
    }
    csn_buf_fini(&b);
    if (i % 100 == 0)
      (void)!csn_file_write(p.root, "swap/made", CSN_STR("x"), 0600, false, NULL);
  }
  atomic_store(&s.stop, true);
  pthread_join(id, NULL);
  assert_true(inside > 0);
  assert_int_equal(outside, 0);
  assert_int_not_equal(faccessat(p.top, "made", F_OK, 0), 0);
  place_fini(&p);
}

TEST(what_is_not_a_regular_file_is_refused_without_blocking)
{
  struct place p = place_new();
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(100);
  assert_int_equal(mkfifoat(p.root, "fifo", 0600), 0);
  assert_int_equal(csn_file_read(p.root, "fifo", &b, NULL), CSN_E_INVALID);
  int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  snprintf(un.sun_path, sizeof un.sun_path, "%s/root/socket", p.path);
  assert_int_equal(bind(s, (struct sockaddr *)&un, sizeof un), 0);
  assert_int_equal(csn_file_read(p.root, "socket", &b, NULL), CSN_E_INVALID);
  close(s);
  csn_auto(csn_closep) int dev = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC);
  assert_int_equal(csn_file_read(dev, "zero", &b, NULL), CSN_E_INVALID);
  assert_int_equal(csn_file_read(dev, "tty", &b, NULL) < 0, 1);
  place_fini(&p);
}

TEST(a_file_is_read_up_to_the_cap_and_not_past_it)
{
  struct place p = place_new();
  csn_auto(csn_buf_finip) csn_buf five = CSN_BUF(5), four = CSN_BUF(4), proc = CSN_BUF(10);
  csn_err err;
  OK(csn_file_read(p.root, "file", &five, &err), &err);
  STR_EQ(csn_buf_str(&five), "hello");
  assert_int_equal(csn_file_read(p.root, "file", &four, &err), CSN_E_LIMIT);
  csn_auto(csn_closep) int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
  assert_int_equal(csn_file_read(self, "status", &proc, &err), CSN_E_LIMIT); /* says size 0 */
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(100);
  csn_buf_addz(&b, "before ");
  OK(csn_file_read(p.root, "file", &b, &err), &err);
  STR_EQ(csn_buf_str(&b), "before hello");
  place_fini(&p);
}

TEST(a_pipe_that_does_not_block_is_waited_for)
{
  int ends[2];
  assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
  pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    char block[4096] = {0};
    int rc = 0;
    for (int i = 0; i < 64 && rc == 0; i++) /* more than a pipe holds */
      rc = csn_fd_write_all(ends[1], csn_strn(block, sizeof block), NULL);
    _exit(rc ? 1 : 0);
  }
  close(ends[1]);
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(64 * 4096);
  csn_err err;
  OK(csn_fd_read_all(ends[0], &b, &err), &err);
  assert_int_equal(b.n, 64 * 4096);
  close(ends[0]);
  int status;
  waitpid(child, &status, 0);
  assert_int_equal(status, 0);
}

TEST(writing_replaces_the_file_in_one_step)
{
  struct place p = place_new();
  csn_err err;
  csn_auto(csn_closep) int old = openat(p.root, "file", O_RDONLY | O_CLOEXEC);
  OK(csn_file_write(p.root, "file", CSN_STR("new"), 0640, true, &err), &err);
  csn_auto(csn_buf_finip) csn_buf was = CSN_BUF(100), now = CSN_BUF(100);
  OK(csn_fd_read_all(old, &was, &err), &err);
  STR_EQ(csn_buf_str(&was), "hello"); /* who had it open keeps the old one */
  OK(csn_file_read(p.root, "file", &now, &err), &err);
  STR_EQ(csn_buf_str(&now), "new");
  struct stat st;
  assert_int_equal(fstatat(p.root, "file", &st, 0), 0);
  assert_int_equal(st.st_mode & 07777, 0640);
  OK(csn_file_write(p.root, "link-out", CSN_STR("mine"), 0600, false, &err), &err);
  csn_buf_clear(&now);
  OK(csn_file_read(p.top, "secret", &now, &err), &err); /* the link went, not its target */
  STR_EQ(csn_buf_str(&now), "SECRET");
  place_fini(&p);
}

TEST(writing_goes_nowhere_else)
{
  static const struct {
    const char *path;
    int want;
  } t[] = {{"../evil", CSN_E_DENIED},
           {"/tmp/csn-evil", CSN_E_DENIED},
           {"dir-out/evil", CSN_E_DENIED},
           {"sub/..", CSN_E_DENIED},
           {"", CSN_E_INVALID},
           {".", CSN_E_INVALID},
           {"missing/f", CSN_E_NOT_FOUND},
           {"file/f", CSN_E_NOT_FOUND},
           {"sub", CSN_E_IO}};
  struct place p = place_new();
  for (size_t i = 0; i < CSN_COUNT(t); i++) {
    csn_err err = {0};
    int rc = csn_file_write(p.root, t[i].path, CSN_STR("x"), 0600, false, &err);
    if (rc != t[i].want)
      fail_msg("%s: got %d (%s), expected %d", t[i].path, rc, err.msg, t[i].want);
  }
  csn_auto(csn_closep) int sub = openat(p.root, "sub", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_int_equal(unlinkat(sub, "inner", 0), 0);
  assert_int_equal(unlinkat(p.root, "sub", AT_REMOVEDIR), 0); /* no temporary file was left */
  place_fini(&p);
}

TEST(folders_are_made_where_they_are_missing_and_only_beneath)
{
  struct place p = place_new();
  csn_err err;
  OK(csn_mkdirs(p.root, "a/b//c/", 0750, &err), &err);
  OK(csn_mkdirs(p.root, "a/b/c/d", 0750, &err), &err);
  OK(csn_mkdirs(p.root, "a", 0750, &err), &err);
  OK(csn_mkdirs(p.root, ".", 0750, &err), &err);
  assert_int_equal(faccessat(p.root, "a/b/c/d", F_OK, 0), 0);
  assert_int_equal(csn_mkdirs(p.root, "../evil", 0700, &err), CSN_E_DENIED);
  assert_int_equal(csn_mkdirs(p.root, "/tmp/csn-evil", 0700, &err), CSN_E_DENIED);
  assert_int_equal(csn_mkdirs(p.root, "dir-out/evil", 0700, &err), CSN_E_DENIED);
  assert_int_equal(csn_mkdirs(p.root, "file/x", 0700, &err), CSN_E_NOT_FOUND);
  assert_int_not_equal(faccessat(p.top, "evil", F_OK, 0), 0);
  place_fini(&p);
}

TEST(removing_a_tree_touches_nothing_outside_it)
{
  struct place p = place_new();
  csn_err err;
  assert_int_equal(mkdirat(p.top, "kept", 0700), 0);
  put(p.top, "kept/file", "kept");
  OK(csn_mkdirs(p.root, "t/closed/in", 0700, &err), &err);
  assert_int_equal(symlinkat("../../kept", p.root, "t/link"), 0);
  assert_int_equal(symlinkat("../../kept/file", p.root, "t/filelink"), 0);
  put(p.root, "t/closed/in/f", "x");
  assert_int_equal(fchmodat(p.root, "t/closed/in", 0000, 0), 0);
  assert_int_equal(fchmodat(p.root, "t/closed", 0500, 0), 0);
  OK(csn_remove_tree(p.root, "t", &err), &err);
  assert_int_not_equal(faccessat(p.root, "t", F_OK, 0), 0);
  OK(csn_remove_tree(p.root, "t", &err), &err);
  OK(csn_remove_tree(p.root, "missing/t", &err), &err);
  OK(csn_remove_tree(p.root, "dir-out", &err), &err); /* the link itself */
  assert_int_equal(csn_remove_tree(p.root, "..", &err), CSN_E_DENIED);
  assert_int_equal(csn_remove_tree(p.root, "sub/..", &err), CSN_E_DENIED);
  assert_int_equal(csn_remove_tree(p.root, ".", &err), CSN_E_INVALID);
  assert_int_equal(csn_remove_tree(p.root, "/tmp", &err), CSN_E_DENIED);
  assert_int_equal(faccessat(p.top, "kept/file", F_OK, 0), 0);
  assert_int_equal(faccessat(p.root, "file", F_OK, 0), 0);
  OK(csn_remove_tree(p.top, "kept/", &err), &err);
  place_fini(&p);
}

TEST(a_tree_deeper_than_the_descriptors_allowed_is_removed)
{
  enum { DEEP = 5000 };
  struct place p = place_new();
  assert_int_equal(mkdirat(p.root, "deep", 0700), 0);
  int at = openat(p.root, "deep", O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < DEEP; i++) {
    assert_int_equal(mkdirat(at, "d", i % 7 ? 0700 : 0300), 0);
    int next = openat(at, "d", O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(next >= 0);
    close(at);
    at = next;
  }
  close(at);
  struct rlimit was, few;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
  few = was;
  few.rlim_cur = 64;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
  csn_err err = {0};
  int rc = csn_remove_tree(p.root, "deep", &err);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
  OK(rc, &err);
  assert_int_not_equal(faccessat(p.root, "deep", F_OK, 0), 0);
  place_fini(&p);
}

TEST(names_of_a_folder_come_in_order_and_no_more_than_asked_for)
{
  struct place p = place_new();
  csn_err err;
  static const char *const names[] = {"dir-out",  "file", "link-abs", "link-in",
                                      "link-out", "loop", "sub"};
  int lowest = next_fd();
  csn_auto(csn_names_fini) csn_names all = {0}, few = {0}, none = {0};
  OK(csn_names_read(&all, p.root, CSN_COUNT(names), &err), &err);
  assert_int_equal(all.n, CSN_COUNT(names));
  for (size_t i = 0; i < all.n; i++)
    assert_string_equal(all.p[i], names[i]);
  assert_int_equal(csn_names_read(&few, p.root, CSN_COUNT(names) - 1, &err), CSN_E_LIMIT);
  int file = openat(p.root, "file", O_RDONLY | O_CLOEXEC);
  assert_int_equal(csn_names_read(&none, file, 10, &err), CSN_E_NOT_FOUND);
  assert_int_equal(err.sys_errno, ENOTDIR);
  close(file);
  assert_int_equal(next_fd(), lowest); /* nothing stayed open */
  place_fini(&p);
}

TEST(parts_of_a_path_are_joined_without_dots)
{
  static const struct {
    const char *start, *path, *want; /* NULL: it leads out */
  } rows[] = {{"", "a/b", "a/b"},
              {"", "/a//b/./c/", "a/b/c"},
              {"", "a/../b", "b"},
              {"a/b", "../c", "a/c"},
              {"a", "..", ""},
              {"a", "../..", NULL},
              {"", "..", NULL},
              {"", "a/../../b", NULL},
              {"a", "", "a"},
              {"ab/c", "../../d", "d"},
              {"", "..a/b..", "..a/b.."}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(100);
    csn_buf_addz(&b, rows[i].start);
    bool stays = csn_path_add(&b, csn_cstr(rows[i].path));
    if (stays != (rows[i].want != NULL) ||
        (stays && !csn_str_eq(csn_buf_str(&b), csn_cstr(rows[i].want))))
      fail_msg("%s + %s: %s", rows[i].start, rows[i].path, stays ? b.p : "leads out");
  }
}

TEST(a_file_in_memory_begins_with_its_text)
{
  csn_err err;
  struct stat st;
  char got[8] = "";
  csn_auto(csn_closep) int fd = csn_fd_memory("test", CSN_STR("a text"), &err);
  OK(fd, &err);
  assert_int_equal(read(fd, got, sizeof got), 6);
  assert_string_equal(got, "a text");
  assert_int_equal(fstat(fd, &st), 0);
  assert_int_equal(st.st_nlink, 0); /* on no path */
  assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
}

RUN_TESTS("core/fd", RUN(a_file_in_memory_begins_with_its_text),
          RUN(a_name_from_outside_reaches_only_what_is_beneath),
          RUN(the_same_holds_where_the_kernel_has_no_openat2),
          RUN(swapping_a_folder_for_a_link_never_opens_a_way_out),
          RUN(what_is_not_a_regular_file_is_refused_without_blocking),
          RUN(a_file_is_read_up_to_the_cap_and_not_past_it),
          RUN(a_pipe_that_does_not_block_is_waited_for), RUN(writing_replaces_the_file_in_one_step),
          RUN(writing_goes_nowhere_else),
          RUN(folders_are_made_where_they_are_missing_and_only_beneath),
          RUN(removing_a_tree_touches_nothing_outside_it),
          RUN(a_tree_deeper_than_the_descriptors_allowed_is_removed),
          RUN(names_of_a_folder_come_in_order_and_no_more_than_asked_for),
          RUN(parts_of_a_path_are_joined_without_dots))
