/* SPDX-License-Identifier: Apache-2.0
 * test_stage.c - files of a workspace that is elsewhere: got, put and removed by
 * commands inside, staged here, and archives that lie. */
#include "sandbox/stage.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "check.h"
#include "core/fd.h"
#include "sandbox/tarball.h"
#include "tarball.h"

struct world {
  csn_sandbox *sb;
  char path[40];
  int dir;
};

/* A jail whose workspace is in its own memory: no folder here has it. */
static void
world_open(struct world *w)
{
  csn_err err;
  csn_sandbox_spec spec = {.backend = "jail", .workspace_fd = -1, .lock_fd = -1};
  snprintf(w->path, sizeof w->path, "/tmp/caisson-test-XXXXXX");
  assert_non_null(mkdtemp(w->path));
  w->dir = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int rc = csn_sandbox_open(&w->sb, NULL, &spec, &err);
  if (rc == CSN_E_UNSUPPORTED)
    SKIP("%.190s", err.msg);
  OK(rc, &err);
  assert_int_equal(w->sb->workspace_fd, -1);
}

static void
world_close(struct world *w)
{
  csn_sandbox_close(w->sb);
  close(w->dir);
  int tmp = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
  assert_int_equal(csn_remove_tree(tmp, w->path + 5, NULL), 0);
  close(tmp);
}

/* What the command prints. */
static csn_buf
sh(struct world *w, const char *text)
{
  csn_err err;
  csn_exit end;
  csn_buf out = CSN_BUF(100000);
  csn_exec x = {.argv = (const char *const[]){"sh", "-c", text, NULL}, .claim_fd = -1};
  OK(csn_sandbox_exec(w->sb, NULL, &x, &out, NULL, &end, &err), &err);
  if (end.code)
    fail_msg("%s: %d: %s", text, end.code, out.p);
  return out;
}

#define SAYS(w, text, want)                                                                        \
  do {                                                                                             \
    csn_auto(csn_buf_finip) csn_buf out_ = sh(w, text);                                            \
    STR_EQ(csn_buf_str(&out_), want);                                                              \
  } while (0)

static void
write_at(int dir, const char *name, const char *text)
{
  csn_err err;
  OK(csn_file_write(dir, name, csn_cstr(text), 0644, false, &err), &err);
}

static void
reads(int dir, const char *name, const char *want)
{
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1 << 20);
  OK(csn_file_read(dir, name, &b, &err), &err);
  STR_EQ(csn_buf_str(&b), want);
}

TEST(a_folder_goes_in_whole_and_comes_back_the_same)
{
  struct world w;
  csn_err err;
  world_open(&w);
  OK(csn_mkdirs(w.dir, "in/deep/er", 0755, &err), &err);
  OK(csn_mkdirs(w.dir, "in/empty", 0700, &err), &err);
  OK(csn_mkdirs(w.dir, "out", 0755, &err), &err);
  write_at(w.dir, "in/-rf", "minus");
  write_at(w.dir, "in/deep/er/a b\n", "blank");
  write_at(w.dir, "in/nothing", "");
  assert_int_equal(fchmodat(w.dir, "in/nothing", 0751, 0), 0);
  assert_int_equal(symlinkat("/etc/passwd", w.dir, "in/deep/link"), 0);
  csn_auto(csn_closep) int in = openat(w.dir, "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_auto(csn_closep) int out = openat(w.dir, "out", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  OK(csn_stage_push(NULL, w.sb, in, &err), &err);
  SAYS(&w, "cat ./-rf deep/er/a*; stat -c %a nothing empty; readlink deep/link",
       "minusblank751\n700\n/etc/passwd\n");
  OK(csn_stage_pull(NULL, w.sb, out, &err), &err);
  reads(out, "-rf", "minus");
  reads(out, "deep/er/a b\n", "blank");
  struct stat st;
  assert_int_equal(fstatat(out, "nothing", &st, 0), 0);
  assert_int_equal(st.st_mode & 07777, 0751);
  assert_int_equal(fstatat(out, "deep/link", &st, AT_SYMLINK_NOFOLLOW), 0);
  assert_true(S_ISLNK(st.st_mode));
  world_close(&w);
}

TEST(storage_in_the_workspace_stays_where_it_is)
{
  static const char *const places[] = {"data",       "data/inner", "a*b",      "deep/er/x y",
                                       "deep/other", "q'd/$in",    "none/here"};
  static const char *const gone[] = {"data", "a*b", "deep/er/x y", "deep/other", "q'd/$in"};
  static const char *const here[] = {"data2",     "axb/f",     ".hidden",    "..odd",
                                     "deep/er/x", "deep/data", "q'd/-rf/\n", "q'd/link"};
  struct world w;
  csn_err err;
  world_open(&w);
  SAYS(&w,
       "mkdir -p data/inner 'a*b' axb 'deep/er/x y' deep/other deep/data \"q'd/\\$in\" q\\'d/-rf\n"
       "touch data/inner/f data2 'a*b/f' axb/f .hidden ..odd deep/er/x 'deep/er/x y/f' "
       "deep/other/f \"q'd/\\$in/f\" \"q'd/-rf/\n\"; ln -s /nowhere q\\'d/link",
       "");
  w.sb->skips = csn_realloc(NULL, CSN_COUNT(places) + 1, sizeof *w.sb->skips);
  for (size_t i = 0; i < CSN_COUNT(places); i++)
    w.sb->skips[i] = csn_dupz(csn_cstr(places[i]));
  w.sb->skips[CSN_COUNT(places)] = NULL;
  OK(csn_mkdirs(w.dir, "out", 0755, &err), &err);
  csn_auto(csn_closep) int out = openat(w.dir, "out", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  OK(csn_stage_pull(NULL, w.sb, out, &err), &err);
  struct stat st;
  for (size_t i = 0; i < CSN_COUNT(here); i++)
    if (fstatat(out, here[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
      fail_msg("%s is missing", here[i]);
  for (size_t i = 0; i < CSN_COUNT(gone); i++)
    if (fstatat(out, gone[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
      fail_msg("%s came, too", gone[i]);
  world_close(&w);
}

TEST(only_what_was_changed_on_a_stage_is_sent)
{
  struct world w;
  csn_err err;
  world_open(&w);
  SAYS(&w, "mkdir -m 711 d; echo one >d/one; echo two >two; echo three >three; echo x >-x", "");
  const char *const paths[] = {"d/one", "two", "three", "missing/file", "-x", NULL};
  csn_stage *s = NULL;
  OK(csn_stage_open(&s, NULL, w.sb, w.dir, "stages/1", paths, 1 << 20, &err), &err);
  reads(csn_stage_fd(s), "two", "two\n");
  reads(csn_stage_fd(s), "-x", "x\n");
  write_at(csn_stage_fd(s), "d/one", "ONE\n");
  assert_int_equal(unlinkat(csn_stage_fd(s), "two", 0), 0);
  OK(csn_mkdirs(csn_stage_fd(s), "new/er", 0755, &err), &err);
  write_at(csn_stage_fd(s), "new/er/file", "new\n");
  /* What another changed meanwhile stays. */
  SAYS(&w, "echo THREE >three", "");
  OK(csn_stage_send(s, NULL, &err), &err);
  csn_stage_free(s);
  SAYS(&w, "cat d/one three new/er/file; stat -c %a d; ls two 2>/dev/null || echo gone",
       "ONE\nTHREE\nnew\n711\ngone\n");
  assert_int_equal(faccessat(w.dir, "stages/1", F_OK, 0), -1);
  world_close(&w);
}

TEST(what_was_changed_is_newer_than_what_was_made_before_in_the_same_second)
{
  struct world w;
  csn_err err;
  world_open(&w);
  const char *const paths[] = {"source", NULL};
  for (int i = 0; i < 3; i++) { /* one of them is within a second */
    csn_stage *s = NULL;
    SAYS(&w, "echo old >source; echo old >built", "");
    OK(csn_stage_open(&s, NULL, w.sb, w.dir, "1", paths, 1 << 20, &err), &err);
    write_at(csn_stage_fd(s), "source", "new");
    OK(csn_stage_send(s, NULL, &err), &err);
    csn_stage_free(s);
    SAYS(&w, "find source -newer built", "source\n");
  }
  world_close(&w);
}

TEST(a_stage_that_was_sealed_is_sent_after_a_crash_and_another_is_dropped)
{
  struct world w;
  csn_err err;
  world_open(&w);
  SAYS(&w, "echo old >file", "");
  const char *const paths[] = {"file", NULL};
  for (int sealed = 0; sealed < 2; sealed++) {
    csn_stage *s = NULL; /* never freed by hand: the process "died" */
    OK(csn_stage_open(&s, NULL, w.sb, w.dir, "1", paths, 1 << 20, &err), &err);
    write_at(csn_stage_fd(s), "file", "new\n");
    if (sealed)
      OK(csn_stage_seal(s, &err), &err);
    assert_int_equal(csn_stage_recover(NULL, w.sb, w.dir, "1", &err), sealed);
    SAYS(&w, "cat file", sealed ? "new\n" : "old\n");
    assert_int_equal(csn_stage_recover(NULL, w.sb, w.dir, "1", &err), 0);
    csn_stage_free(s);
  }
  world_close(&w);
}

TEST(no_more_is_fetched_than_may_be)
{
  struct world w;
  csn_err err;
  world_open(&w);
  SAYS(&w,
       "head -c 300000 /dev/zero >fits; head -c 40000000 /dev/zero >big; mkdir many; cd many;"
       "i=0; while [ $i -lt 40 ]; do head -c 100000 ../fits >$i; i=$((i + 1)); done",
       "");
  static const char *const asked[] = {"fits", "big", "many"};
  for (size_t i = 0; i < CSN_COUNT(asked); i++) {
    const char *const paths[] = {asked[i], NULL};
    csn_stage *s = NULL;
    int rc = csn_stage_open(&s, NULL, w.sb, w.dir, "1", paths, 1 << 20, &err);
    assert_int_equal(rc, i == 0 ? 0 : CSN_E_LIMIT);
    csn_stage_free(s);
    assert_int_equal(faccessat(w.dir, "1", F_OK, 0), -1);
  }
  SAYS(&w, "echo on", "on\n");
  world_close(&w);
}

TEST(paths_that_lead_out_are_refused_before_anything_runs)
{
  struct world w;
  csn_err err;
  world_open(&w);
  static const char *const bad[] = {"/etc/passwd", "../x", "a/../../x", "", "."};
  for (size_t i = 0; i < CSN_COUNT(bad); i++) {
    const char *const paths[] = {bad[i], NULL};
    assert_int_equal(csn_sandbox_get(w.sb, NULL, paths, -1, &err), CSN_E_INVALID);
    assert_int_equal(csn_sandbox_remove(w.sb, NULL, paths, &err), CSN_E_INVALID);
  }
  world_close(&w);
}

TEST(removing_takes_folders_and_does_not_mind_what_is_missing)
{
  struct world w;
  csn_err err;
  world_open(&w);
  SAYS(&w, "mkdir -p d/e; echo >d/e/f; echo >-rf; echo >stays", "");
  const char *const paths[] = {"d", "-rf", "missing", NULL};
  OK(csn_sandbox_remove(w.sb, NULL, paths, &err), &err);
  SAYS(&w, "ls", "stays\n");
  world_close(&w);
}

TEST(an_archive_that_cannot_be_unpacked_says_what_tar_said)
{
  struct world w;
  csn_err err;
  world_open(&w);
  write_at(w.dir, "bad", "this is no archive at all");
  csn_auto(csn_closep) int fd = openat(w.dir, "bad", O_RDONLY | O_CLOEXEC);
  assert_int_equal(csn_sandbox_put(w.sb, NULL, fd, &err), CSN_E_SANDBOX);
  assert_non_null(strstr(err.msg, "tar"));
  world_close(&w);
}

/* What an archive of these entries leaves in an empty folder. */
static int
unpack(struct world *w, const struct tar_item *items, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf bytes = CSN_BUF(1 << 20);
  for (; items->type; items++)
    tar_add(&bytes, *items);
  tar_end(&bytes);
  assert_int_equal(csn_remove_tree(w->dir, "to", NULL), 0);
  OK(csn_mkdirs(w->dir, "to", 0755, err), err);
  csn_auto(csn_closep) int to = openat(w->dir, "to", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_auto(csn_closep) int fd = csn_tarball_file(w->dir, err);
  OK(csn_fd_write_all(fd, csn_buf_str(&bytes), err), err);
  assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
  return csn_tarball_read(NULL, fd, to, 1 << 20, err);
}

TEST(an_archive_from_a_sandbox_stays_in_its_folder)
{
  struct world w = {.dir = -1};
  csn_err err;
  snprintf(w.path, sizeof w.path, "/tmp/caisson-test-XXXXXX");
  assert_non_null(mkdtemp(w.path));
  w.dir = open(w.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  write_at(w.dir, "outside", "untouched");
  static const struct tar_item refused[][3] = {
      {{'0', "../outside", NULL, "x"}},
      {{'0', "/tmp/caisson-test-outside", NULL, "x"}},
      {{'2', "l", "..", NULL}, {'0', "l/outside", NULL, "x"}},
      {{'1', "h", "../outside", NULL}},
      {{'1', "h", "/etc/passwd", NULL}}};
  for (size_t i = 0; i < CSN_COUNT(refused); i++)
    assert_int_equal(unpack(&w, refused[i], &err), CSN_E_DENIED);
  reads(w.dir, "outside", "untouched");
  static const struct tar_item left_out[] = {
      {'3', "device", NULL, NULL}, {'6', "pipe", NULL, NULL},          {'0', ".wh.file", NULL, "x"},
      {'0', "file", NULL, "here"}, {'2', "link", "/etc/passwd", NULL}, {0}};
  OK(unpack(&w, left_out, &err), &err);
  csn_auto(csn_closep) int to = openat(w.dir, "to", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_names names = {0};
  OK(csn_names_read(&names, to, 100, &err), &err);
  assert_int_equal(names.n, 2);
  reads(to, "file", "here");
  csn_names_fini(&names);
  close(w.dir);
  int tmp = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
  assert_int_equal(csn_remove_tree(tmp, w.path + 5, NULL), 0);
  close(tmp);
}

RUN_TESTS("sandbox/stage", RUN(a_folder_goes_in_whole_and_comes_back_the_same),
          RUN(storage_in_the_workspace_stays_where_it_is),
          RUN(only_what_was_changed_on_a_stage_is_sent),
          RUN(what_was_changed_is_newer_than_what_was_made_before_in_the_same_second),
          RUN(a_stage_that_was_sealed_is_sent_after_a_crash_and_another_is_dropped),
          RUN(no_more_is_fetched_than_may_be),
          RUN(paths_that_lead_out_are_refused_before_anything_runs),
          RUN(removing_takes_folders_and_does_not_mind_what_is_missing),
          RUN(an_archive_from_a_sandbox_stays_in_its_folder),
          RUN(an_archive_that_cannot_be_unpacked_says_what_tar_said))
