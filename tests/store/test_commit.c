/* SPDX-License-Identifier: Apache-2.0
 * test_commit.c - many threads share commits, and one that fails fails alone. */
#include <pthread.h>

#include "folder.h"

enum { THREADS = 8, APPENDS = 200 };

struct worker {
  pthread_t thread;
  csn_store *store;
  csn_journal *j;
  int rc;
  csn_err err;
};

static void *
append_many(void *arg)
{
  struct worker *w = arg;
  for (int i = 0; i < APPENDS && w->rc >= 0; i++) {
    w->rc = append_note(w->j, &w->err);
    if (w->rc >= 0 && i % 50 == 0)
      w->rc = count_records(w->j, &w->err);
    if (w->rc >= 0 && i % 20 == 0) {
      csn_digest d;
      w->rc = csn_blob_put(w->store, csn_cstr(csn_journal_id(w->j)), &d, &w->err);
    }
  }
  return NULL;
}

static void *
append_one(void *arg)
{
  struct worker *w = arg;
  w->rc = append_note(w->j, &w->err);
  return NULL;
}

static void
start_all(struct worker *w, csn_store *s, void *(*fn)(void *))
{
  for (int i = 0; i < THREADS; i++) {
    if (!w[i].j)
      OK(csn_journal_new(s, &w[i].j, &w[i].err), &w[i].err);
    w[i].store = s;
    w[i].rc = 0;
  }
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&w[i].thread, NULL, fn, &w[i]), 0);
}

static void
close_all(struct worker *w)
{
  for (int i = 0; i < THREADS; i++)
    csn_journal_close(w[i].j);
}

TEST(eight_threads_append_to_their_runs)
{
  folder f = folder_new();
  csn_store *s = store_in(&f);
  struct worker w[THREADS] = {0};
  start_all(w, s, append_many);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(w[i].thread, NULL);
    OK(w[i].rc, &w[i].err);
    assert_int_equal(count_records(w[i].j, &w[i].err), APPENDS);
  }
  close_all(w);
  csn_store_close(s);
  folder_free(&f);
}

/* Commits in the log: frames that name the size of the database. */
static int
commits(const folder *f)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(16 << 20);
  csn_err err;
  OK(csn_file_read(f->fd, "caisson.db-wal", &b, &err), &err);
  int n = 0;
  size_t page = (size_t)(uint8_t)b.p[10] << 8 | (size_t)(uint8_t)b.p[11]; /* less than 64 KiB */
  for (size_t at = 32; at + 24 + page <= b.n; at += 24 + page)
    n += memcmp(b.p + at + 4, "\0\0\0\0", 4) != 0 && memcmp(b.p + at + 8, b.p + 16, 8) == 0;
  return n;
}

static void
hold_lock(const folder *f, sqlite3 **db)
{
  char path[96];
  snprintf(path, sizeof path, "%s/caisson.db", f->path);
  assert_int_equal(sqlite3_open(path, db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(*db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
}

TEST(appends_that_wait_together_commit_together)
{
  folder f = folder_new();
  csn_store *s = store_in(&f);
  struct worker w[THREADS] = {0};
  csn_err err;
  for (int i = 0; i < THREADS; i++)
    OK(csn_journal_new(s, &w[i].j, &err), &err);
  /* Somebody else took the third run. */
  char set[120];
  snprintf(set, sizeof set, "UPDATE runs SET fence = fence + 1, owner = 'x' WHERE id = '%s'",
           csn_journal_id(w[2].j));
  sql(&f, set);
  int before = commits(&f);
  sqlite3 *db;
  hold_lock(&f, &db);
  start_all(w, s, append_one);
  /* The first leads and waits for the lock; the others queue.  How far they
   * are cannot be asked, so they get time; a slow machine only makes the
   * number of commits greater, which the bound allows for. */
  int64_t until = csn_now_ns() + 300000000;
  while (csn_now_ns() < until)
    sched_yield();
  sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
  sqlite3_close(db);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(w[i].thread, NULL);
    if (i == 2)
      assert_int_equal(w[i].rc, CSN_E_CONFLICT);
    else
      OK(w[i].rc, &w[i].err);
    assert_int_equal(count_records(w[i].j, &err), i != 2);
  }
  int made = commits(&f) - before;
  assert_true(made >= 1 && made <= THREADS / 2);
  close_all(w);
  csn_store_close(s);
  folder_free(&f);
}

TEST(an_append_that_fails_after_writing_does_not_take_others_along)
{
  folder f = folder_new();
  csn_store *s = store_in(&f);
  struct worker w[THREADS] = {0};
  csn_err err;
  for (int i = 0; i < THREADS; i++)
    OK(csn_journal_new(s, &w[i].j, &err), &err);
  /* A row in the way of the third run's first record. */
  char set[160];
  snprintf(set, sizeof set,
           "INSERT INTO record SELECT no << 32, 1, 'x', zeroblob(32), '1' FROM runs "
           "WHERE id = '%s'",
           csn_journal_id(w[2].j));
  sql(&f, set);
  sqlite3 *db;
  hold_lock(&f, &db);
  start_all(w, s, append_one);
  int64_t until = csn_now_ns() + 100000000;
  while (csn_now_ns() < until)
    sched_yield();
  sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
  sqlite3_close(db);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(w[i].thread, NULL);
    if (i == 2) {
      assert_true(w[i].rc < 0);
      assert_int_equal(csn_journal_next_seq(w[i].j), 0);
    } else {
      OK(w[i].rc, &w[i].err);
      assert_int_equal(count_records(w[i].j, &err), 1);
    }
  }
  assert_int_equal(sql(&f, "SELECT count(*) FROM runs WHERE next = 0"), 1);
  close_all(w);
  csn_store_close(s);
  folder_free(&f);
}

TEST(the_log_does_not_grow_without_end)
{
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_journal *j;
  csn_err err;
  OK(csn_journal_new(s, &j, &err), &err);
  char text[3000];
  memset(text, '1', sizeof text);
  for (int i = 0; i < 6000; i++) { /* 70 MB of log when nobody empties it */
    csn_record r = record("note", csn_strn(text, sizeof text));
    OK(csn_journal_append(j, &r, 1, NULL, &err), &err);
  }
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(64 << 20);
  OK(csn_file_read(f.fd, "caisson.db-wal", &b, &err), &err);
  assert_true(b.n < 12 << 20);
  assert_int_equal(count_records(j, &err), 6000);
  csn_journal_close(j);
  csn_store_close(s);
  folder_free(&f);
}

RUN_TESTS("store/commit", RUN(eight_threads_append_to_their_runs),
          RUN(appends_that_wait_together_commit_together),
          RUN(an_append_that_fails_after_writing_does_not_take_others_along),
          RUN(the_log_does_not_grow_without_end))
