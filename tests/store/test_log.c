/* SPDX-License-Identifier: Apache-2.0
 * test_log.c - how the write-ahead log is written: once a commit, and whole. */
#include <stdio.h>
#include <sys/syscall.h>

#include "folder.h"

/* System calls that write, of this thread; -1 where the kernel does not tell. */
static int64_t
writes_so_far(void)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(4096);
  csn_auto(csn_closep) int fd = open("/proc/thread-self/io", O_RDONLY | O_CLOEXEC);
  int64_t n = -1;
  if (fd < 0 || csn_fd_read_all(fd, &b, NULL) < 0)
    return -1;
  csn_str rest = csn_buf_str(&b), line;
  while (csn_str_line(&rest, &line))
    if (csn_str_starts(line, CSN_STR("syscw: ")))
      (void)!csn_str_int(csn_strn(line.p + 7, line.n - 7), &n);
  return n;
}

TEST(a_commit_is_one_write)
{
  if (writes_so_far() < 0)
    SKIP("no /proc/thread-self/io");
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_journal *j;
  csn_err err;
  OK(csn_journal_new(s, &j, &err), &err);
  OK(append_note(j, &err), &err);
  enum { N = 100 };
  int64_t before = writes_so_far();
  for (int i = 0; i < N; i++) {
    csn_record two[] = {record("input", CSN_STR("\"a text of some length\"")),
                        record("note", CSN_STR("2"))};
    OK(csn_journal_append(j, two, 2, NULL, &err), &err);
  }
  assert_int_equal(writes_so_far() - before, N);
  assert_int_equal(count_records(j, &err), 1 + 2 * N);
  csn_journal_close(j);
  csn_store_close(s);
  folder_free(&f);
}

static csn_str
noise(csn_buf *b, size_t n)
{
  csn_buf_clear(b);
  csn_buf_addc(b, '"');
  for (size_t i = 0; i < n / 2; i++) {
    unsigned char byte;
    csn_random_bytes(&byte, 1);
    csn_buf_addf(b, "%02x", byte);
  }
  csn_buf_addc(b, '"');
  return csn_buf_str(b);
}

static void
copy_file(const folder *from, const folder *to, const char *name)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(256 << 20);
  csn_err err;
  OK(csn_file_read(from->fd, name, &b, &err), &err);
  OK(csn_file_write(to->fd, name, csn_buf_str(&b), 0600, false, &err), &err);
}

/* What the program would find after its death at this moment: the database and
 * its log, whose checksums SQLite then verifies frame by frame. */
static void
expect_after_death(const folder *f, const char *id, int records)
{
  folder g = folder_new();
  copy_file(f, &g, "caisson.db");
  copy_file(f, &g, "caisson.db-wal");
  csn_store *s = store_in(&g);
  csn_journal *j;
  csn_err err;
  OK(csn_journal_open(s, csn_cstr(id), false, &j, &err), &err);
  assert_int_equal(count_records(j, &err), records);
  csn_journal_close(j);
  csn_store_close(s);
  folder_free(&g);
}

/* Sizes that fit the page, the gathered room, and neither; the largest do not
 * fit SQLite's cache, which then writes pages before the commit and some twice. */
TEST(commits_of_any_size_are_whole_when_they_return)
{
  static const size_t sizes[] = {1, 3000, 5000, 60000, 64 << 10, 65 << 10, 200000, 3 << 20};
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_journal *j;
  csn_err err;
  OK(csn_journal_new(s, &j, &err), &err);
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(64 << 20);
  int n = 0;
  for (size_t i = 0; i < CSN_COUNT(sizes); i++) {
    csn_record r[40];
    size_t many = sizes[i] < 100000 ? CSN_COUNT(r) : 2;
    csn_str data = noise(&b, sizes[i]);
    for (size_t k = 0; k < many; k++)
      r[k] = record("note", data);
    OK(csn_journal_append(j, r, many, NULL, &err), &err);
    n += (int)many;
    assert_int_equal(count_records(j, &err), n); /* by another connection */
    expect_after_death(&f, csn_journal_id(j), n);
  }
  csn_journal_close(j);
  csn_store_close(s);
  folder_free(&f);
}

/* Two stores append in turns, so that each finds the log longer than it left it,
 * and after a checkpoint begun anew by the other. */
TEST(the_log_is_shared)
{
  folder f = folder_new();
  csn_store *s[2];
  csn_journal *j[2];
  csn_err err;
  for (int i = 0; i < 2; i++) {
    s[i] = store_in(&f);
    OK(csn_journal_new(s[i], &j[i], &err), &err);
  }
  for (int i = 0; i < 200; i++) {
    for (int k = 0; k < 2; k++)
      OK(append_note(j[k], &err), &err);
    if (i % 50 == 49)
      sql(&f, "PRAGMA wal_checkpoint(TRUNCATE)");
  }
  for (int i = 0; i < 2; i++) {
    assert_int_equal(count_records(j[i], &err), 200);
    expect_after_death(&f, csn_journal_id(j[i]), 200);
    csn_journal_close(j[i]);
  }
  csn_store_close(s[0]);
  csn_store_close(s[1]);
  folder_free(&f);
}

RUN_TESTS("store/log", RUN(a_commit_is_one_write),
          RUN(commits_of_any_size_are_whole_when_they_return), RUN(the_log_is_shared))
