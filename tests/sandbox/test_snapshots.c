/* SPDX-License-Identifier: Apache-2.0
 *
 * test_snapshots.c - saved workspaces: what comes back, what is refused, what
 * damage does, and what is dropped. */
#include <dirent.h>

#include "snap_place.h"
#include "tarball.h"

TEST(what_is_saved_comes_back)
{
  struct place p;
  begin(&p);
  csn_auto(csn_closep) int deep = folder_in(p.from, "d");
  write_file(deep, "f", "one");
  write_file(p.from, "a b%\n\x7f\xff", "odd name");
  assert_int_equal(symlinkat("d/f", p.from, "link"), 0);
  assert_int_equal(symlinkat("/etc/passwd", p.from, "out"), 0);
  assert_int_equal(mkfifoat(p.from, "pipe", 0600), 0);
  csn_auto(csn_closep) int keys = folder_in(p.from, ".caisson");
  write_file(keys, "key", "secret");
  assert_int_equal(fchmodat(p.from, "d/f", 04751, 0), 0);
  assert_int_equal(fchmodat(p.from, "d", 0500, 0), 0);
  const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {1000000000, 123456789}};
  assert_int_equal(utimensat(p.from, "d/f", times, 0), 0);
  csn_snapshot r = save(&p, "one");
  assert_int_equal(r.left_out, 1);
  assert_int_equal(r.links_out, 1);
  assert_int_equal(fchmodat(p.from, "d", 0700, 0), 0);
  reopen(&p);
  restore_into(&p, "one", "to");
  csn_auto(csn_closep) int to = folder_in(p.fd, "to");
  has_file(to, "d/f", "one");
  has_file(to, "a b%\n\x7f\xff", "odd name");
  struct stat st;
  assert_int_equal(fstatat(to, "d/f", &st, 0), 0);
  assert_int_equal(st.st_mode & 07777, 0751);
  assert_int_equal(st.st_mtim.tv_sec, 1000000000);
  assert_int_equal(st.st_mtim.tv_nsec, 123456789);
  assert_int_equal(fstatat(to, "d", &st, 0), 0);
  assert_int_equal(st.st_mode & 07777, 0500);
  char target[20] = "";
  assert_int_equal(readlinkat(to, "out", target, sizeof target), 11);
  assert_int_equal(faccessat(to, "pipe", F_OK, 0), -1);
  assert_int_equal(faccessat(to, ".caisson", F_OK, 0), -1);
  end(&p);
}

TEST(equal_folders_are_one_tree_and_cost_nothing_twice)
{
  struct place p;
  begin(&p);
  write_file(p.from, "f", "content");
  const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
  assert_int_equal(utimensat(p.from, "f", times, 0), 0);
  csn_snapshot a = save(&p, "a");
  int64_t bytes = csn_packs_bytes(p.s->packs);
  csn_snapshot b = save(&p, "b");
  assert_memory_equal(&a.tree, &b.tree, sizeof a.tree);
  assert_int_equal(csn_packs_bytes(p.s->packs), bytes);
  csn_err err;
  csn_snapshot r;
  csn_snapshot_saving again = {.name = "a"};
  assert_int_equal(csn_snapshot_save(p.s, NULL, &again, p.from, &r, &err), CSN_E_EXISTS);
  static const char *const bad[] = {"", ".", "..", "a/b", "-x", "a b", "\xff"};
  for (size_t i = 0; i < CSN_COUNT(bad); i++)
    assert_int_equal(csn_snapshot_find(p.s, bad[i], &r, &err), CSN_E_INVALID);
  end(&p);
}

TEST(omitted_paths_never_enter)
{
  struct place p;
  begin(&p);
  csn_err err;
  csn_snapshot r;
  csn_auto(csn_closep) int mount = folder_in(p.from, "mount");
  write_file(mount, "bucket", "huge");
  write_file(p.from, "mountain", "stays");
  const char *const omit[] = {"mount", NULL};
  csn_snapshot_saving how = {.name = "x", .omit = omit};
  OK(csn_snapshot_save(p.s, NULL, &how, p.from, &r, &err), &err);
  assert_int_equal(r.files, 1);
  restore_into(&p, "x", "to");
  csn_auto(csn_closep) int to = folder_in(p.fd, "to");
  has_file(to, "mountain", "stays");
  end(&p);
}

static int
import(struct place *p, const char *name, const csn_buf *tar, csn_snapshot *r, csn_err *err)
{
  csn_snapshot_saving how = {.name = name};
  csn_auto(csn_closep) int fd = openat(p->fd, "t.tar", O_RDWR | O_CREAT | O_TRUNC, 0600);
  OK(csn_fd_write_all(fd, csn_buf_str(tar), err), err);
  return csn_snapshot_import(p->s, NULL, &how, fd, r, err);
}

/* The folder that archives are unpacked to is empty again. */
static void
nothing_is_left(struct place *p)
{
  DIR *d = fdopendir(openat(p->s->work, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  size_t n = 0;
  while (readdir(d))
    n++;
  closedir(d);
  assert_int_equal(n, 2);
}

TEST(hostile_archives_are_refused_whole)
{
  static const struct {
    struct tar_item items[4];
    const char *why;
  } rows[] = {
      {{{'0', "/etc/x", .content = "1"}}, "absolute"},
      {{{'0', "a/../../x", .content = "1"}}, "\"..\""},
      {{{'2', "l", "/etc/passwd"}}, "leads out"},
      {{{'5', "d"}, {'2', "d/l", "../../x"}}, "leads out"},
      {{{'2', "l", "."}, {'0', "l/x", .content = "1"}}, "link"},
      {{{'1', "h", "/etc/passwd"}}, "leads out"},
      {{{'1', "h", "../x"}}, ".."},
      {{{'1', "h", "lacks"}}, "lacks"},
      {{{'3', "dev"}}, "device"},
      {{{'4', "dev"}}, "device"},
      {{{'6', "fifo"}}, "pipe"},
      {{{'0', ".wh.x", .content = ""}}, "gone"},
      {{{'S', "sparse", .content = "1"}}, "sparse"},
  };
  struct place p;
  begin(&p);
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_err err = {0};
    csn_snapshot r;
    csn_auto(csn_buf_finip) csn_buf tar = CSN_BUF(1 << 20);
    struct tar_item good = {'0', "good", .content = "1"};
    tar_add(&tar, good);
    for (const struct tar_item *t = rows[i].items; t->type; t++)
      tar_add(&tar, *t);
    tar_end(&tar);
    assert_true(import(&p, "bad", &tar, &r, &err) < 0);
    if (!strstr(err.msg, rows[i].why))
      fail_msg("row %zu: %s", i, err.msg);
    assert_int_equal(csn_snapshot_find(p.s, "bad", &r, NULL), CSN_E_NOT_FOUND);
    nothing_is_left(&p);
  }
  end(&p);
}

TEST(an_archive_comes_back_as_it_went_and_twice_the_same)
{
  struct place p;
  begin(&p);
  csn_err err;
  csn_snapshot r, a;
  char name[221], path[230];
  memset(name, 'n', 220);
  name[220] = '\0';
  csn_auto(csn_closep) int d = folder_in(p.from, name);
  write_file(d, "f", "deep");
  assert_int_equal(symlinkat(name, p.from, "l"), 0);
  write_file(p.from, "empty", "");
  csn_auto(csn_buf_finip) csn_buf tar = CSN_BUF(1 << 20), again = CSN_BUF(1 << 20);
  a = save(&p, "a");
  for (int i = 0; i < 2; i++) {
    csn_auto(csn_closep) int fd = openat(p.fd, "x.tar", O_RDWR | O_CREAT | O_TRUNC, 0600);
    OK(csn_snapshot_export(p.s, NULL, &a, fd, &err), &err);
    OK(csn_file_read(p.fd, "x.tar", i ? &again : &tar, &err), &err);
  }
  assert_int_equal(tar.n, again.n);
  assert_memory_equal(tar.p, again.p, tar.n);
  OK(import(&p, "b", &tar, &r, &err), &err);
  assert_int_equal(r.files, a.files);
  restore_into(&p, "b", "to");
  csn_auto(csn_closep) int to = folder_in(p.fd, "to");
  snprintf(path, sizeof path, "%s/f", name);
  has_file(to, path, "deep");
  /* In the form of others: "." first, "./" before names, a gap of slashes. */
  csn_auto(csn_buf_finip) csn_buf theirs = CSN_BUF(1 << 20);
  tar_add(&theirs, (struct tar_item){'5', "./"});
  tar_add(&theirs, (struct tar_item){'5', "./d/"});
  tar_add(&theirs, (struct tar_item){'0', "./d//f", .content = "x", .mode = 04755});
  tar_add(&theirs, (struct tar_item){'2', "./d/l", "f"});
  tar_end(&theirs);
  OK(import(&p, "c", &theirs, &r, &err), &err);
  restore_into(&p, "c", "to2");
  csn_auto(csn_closep) int to2 = folder_in(p.fd, "to2");
  struct stat st;
  has_file(to2, "d/l", "x");
  assert_int_equal(fstatat(to2, "d/f", &st, 0), 0);
  assert_int_equal(st.st_mode & 07777, 0755);
  end(&p);
}

static void
count(void *user, const char *line)
{
  ++*(int *)user;
}

/* The newest pack's file: the one with the greatest time. */
static void
newest_pack(struct place *p, char name[64], const char *but)
{
  DIR *d = fdopendir(openat(p->s->packs_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (struct dirent *e; (e = readdir(d));)
    if (e->d_name[0] != '.' && strcmp(e->d_name, but) != 0 && strlen(e->d_name) < 64)
      snprintf(name, 64, "%.63s", e->d_name);
  closedir(d);
}

TEST(a_store_that_was_cut_anywhere_tells_it_and_has_the_snapshot_before)
{
  struct place p;
  begin(&p);
  csn_err err;
  char first[64] = "", second[64] = "", text[4000], to[40];
  write_file(p.from, "f", "before");
  save(&p, "before");
  newest_pack(&p, first, "");
  fill(text, sizeof text);
  write_file(p.from, "f", text);
  write_file(p.from, "g", "more");
  save(&p, "after");
  newest_pack(&p, second, first);
  csn_auto(csn_buf_finip) csn_buf whole = CSN_BUF(1 << 20);
  OK(csn_file_read(p.s->packs_dir, second, &whole, &err), &err);
  int n = 0;
  for (size_t at = 0; at < whole.n; at += 512, n++) {
    csn_auto(csn_closep) int fd = openat(p.s->packs_dir, second, O_WRONLY | O_CLOEXEC);
    assert_int_equal(ftruncate(fd, (off_t)at), 0);
    reopen(&p);
    int told = 0, rc = csn_snapshots_verify(p.s, NULL, count, &told, &err);
    OK(rc, &err);
    assert_true(told > 0);
    assert_int_equal(rc, told);
    snprintf(to, sizeof to, "to%d", n);
    restore_into(&p, "before", to);
    csn_auto(csn_closep) int dir = folder_in(p.fd, to);
    has_file(dir, "f", "before");
    csn_snapshot r;
    csn_auto(csn_closep) int nowhere = folder_in(p.fd, "nowhere");
    OK(csn_snapshot_find(p.s, "after", &r, &err), &err);
    assert_true(csn_snapshot_restore(p.s, NULL, &r, nowhere, &err) < 0);
    OK(csn_remove_tree(p.fd, "nowhere", &err), &err);
    /* Nothing is dropped while it is not known what is needed. */
    csn_snapshots_swept swept;
    rc = csn_snapshots_gc(p.s, NULL, &all, &swept, &err);
    assert_true(rc == CSN_E_PARSE || rc == 0);
    assert_int_equal(pwrite(fd, whole.p, whole.n, 0), whole.n);
  }
  assert_true(n > 4);
  reopen(&p);
  int told = 0;
  OK(csn_snapshots_verify(p.s, NULL, count, &told, &err), &err);
  assert_int_equal(told, 0);
  restore_into(&p, "after", "whole");
  end(&p);
}

TEST(a_damaged_record_is_told_and_the_others_stay)
{
  struct place p;
  begin(&p);
  csn_err err;
  write_file(p.from, "f", "1");
  save(&p, "a");
  save(&p, "b");
  csn_auto(csn_buf_finip) csn_buf record = CSN_BUF(4096);
  OK(csn_file_read(p.s->names, "b", &record, &err), &err);
  for (size_t i = 0; i < 2 * record.n; i++) { /* cut, and one byte another */
    size_t at = i / 2;
    csn_auto(csn_closep) int fd = openat(p.s->names, "b", O_WRONLY | O_TRUNC | O_CLOEXEC);
    OK(csn_fd_write_all(fd, csn_strn(record.p, i % 2 ? record.n : at), &err), &err);
    char other = (char)(record.p[at] ^ 1);
    if (i % 2)
      assert_int_equal(pwrite(fd, &other, 1, (off_t)at), 1);
    int told = 0;
    OK(csn_snapshots_verify(p.s, NULL, count, &told, &err), &err);
    assert_int_equal(told, 1);
    csn_snapshot *list = NULL;
    size_t n = 0;
    OK(csn_snapshot_list(p.s, &list, &n, &err), &err);
    assert_int_equal(n, 1);
    assert_string_equal(list[0].name, "a");
    free(list);
  }
  end(&p);
}

TEST(what_no_snapshot_needs_is_dropped)
{
  struct place p;
  begin(&p);
  csn_err err;
  csn_snapshot a;
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  const char *const *layers, *const *again;
  char text[4000];
  fill(text, sizeof text);
  write_file(p.from, "f", text);
  a = save(&p, "a");
  OK(csn_snapshot_layers(p.s, NULL, &a, arena, &layers, &err), &err);
  OK(csn_snapshot_layers(p.s, NULL, &a, arena, &again, &err), &err);
  assert_string_equal(layers[0], again[0]); /* it is unpacked once */
  write_file(p.from, "f", "small");
  save(&p, "b");
  csn_snapshots_swept swept;
  OK(csn_snapshots_gc(p.s, NULL, &all, &swept, &err), &err);
  assert_int_equal(swept.layers, 0);
  OK(csn_snapshot_remove(p.s, "a", &err), &err);
  csn_snapshots *other = NULL;
  OK(csn_snapshots_open(&other, p.fd, NULL, &err), &err);
  assert_int_equal(csn_snapshots_gc(p.s, NULL, &all, &swept, &err), CSN_E_CONFLICT);
  csn_snapshots_free(other);
  OK(csn_snapshots_gc(p.s, NULL, &all, &swept, &err), &err);
  assert_int_equal(swept.layers, 1);
  assert_true(swept.bytes > 2000);
  reopen(&p);
  restore_into(&p, "b", "to");
  OK(csn_snapshots_gc(p.s, NULL, &none, &swept, &err), &err);
  assert_int_equal(swept.snapshots, 1);
  assert_int_equal(csn_packs_bytes(p.s->packs), 0);
  end(&p);
}

TEST(unpacked_files_that_were_changed_are_not_used)
{
  struct place p;
  begin(&p);
  csn_err err;
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  const char *const *layers, *const *again;
  write_file(p.from, "f", "1");
  csn_snapshot a = save(&p, "a");
  OK(csn_snapshot_layers(p.s, NULL, &a, arena, &layers, &err), &err);
  csn_auto(csn_closep) int layer = folder_in(p.s->layers, layers[0]);
  int told = 0;
  OK(csn_snapshots_verify(p.s, NULL, count, &told, &err), &err);
  assert_int_equal(told, 0);
  write_file(layer, "f", "2");
  OK(csn_snapshots_verify(p.s, NULL, count, &told, &err), &err);
  assert_int_equal(told, 1);
  OK(csn_snapshot_layers(p.s, NULL, &a, arena, &again, &err), &err);
  assert_string_not_equal(layers[0], again[0]);
  end(&p);
}

TEST(lists_of_files_are_read_strictly)
{
  static const char *const bad[] = {
      "",
      "caisson-tree 2\n",
      "caisson-tree 1\nf 644 1.000000000 1 00 a\n",
      "caisson-tree 1\nd 755 1.000000000 a",
      "caisson-tree 1\nd 755 1.000000000 /a\n",
      "caisson-tree 1\nd 755 1.000000000 a/../b\n",
      "caisson-tree 1\nd 755 1.000000000 a/b\n",
      "caisson-tree 1\nd 755 1.000000000 b\nd 755 1.000000000 a\n",
      "caisson-tree 1\nd 755 1.000000000 a\nd 755 1.000000000 a\n",
      "caisson-tree 1\nd 4755 1.000000000 a\n",
      "caisson-tree 1\nd 755 1.0 a\n",
      "caisson-tree 1\nd 755 1.000000000 %61\n",
      "caisson-tree 1\nd 755 1.000000000 a%0\n",
      "caisson-tree 1\nd 755 1.000000000 a b\n",
      "caisson-tree 1\nl 1.000000000 x a\nd 755 1.000000000 a/b\n",
      "caisson-tree 1\nx 755 1.000000000 a\n",
      "caisson-tree 1\n\n",
  };
  for (size_t i = 0; i < CSN_COUNT(bad); i++) {
    csn_err err;
    csn_snap_tree t;
    csn_snap_tree_init(&t);
    if (csn_snap_tree_parse(&t, csn_cstr(bad[i]), &err) != CSN_E_PARSE)
      fail_msg("taken: %s", bad[i]);
    csn_snap_tree_fini(&t);
  }
  static const char good[] = "caisson-tree 1\nd 755 -1.000000000 a\nl 1.000000002 ../x%20y a/b\n"
                             "d 700 1.000000000 a-b\n";
  csn_err err;
  csn_snap_tree t;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000);
  csn_snap_tree_init(&t);
  OK(csn_snap_tree_parse(&t, csn_cstr(good), &err), &err);
  OK(csn_snap_tree_write(&t, &text, &err), &err);
  STR_EQ(csn_buf_str(&text), good);
  csn_snap_tree_fini(&t);
}

RUN_TESTS("sandbox/snapshots", RUN(what_is_saved_comes_back),
          RUN(equal_folders_are_one_tree_and_cost_nothing_twice), RUN(omitted_paths_never_enter),
          RUN(hostile_archives_are_refused_whole),
          RUN(an_archive_comes_back_as_it_went_and_twice_the_same),
          RUN(a_store_that_was_cut_anywhere_tells_it_and_has_the_snapshot_before),
          RUN(a_damaged_record_is_told_and_the_others_stay), RUN(what_no_snapshot_needs_is_dropped),
          RUN(unpacked_files_that_were_changed_are_not_used), RUN(lists_of_files_are_read_strictly))
