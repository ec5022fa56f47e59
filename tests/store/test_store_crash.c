/* SPDX-License-Identifier: Apache-2.0
 * test_store_crash.c - several processes on one state folder, and their end
 * at any time: what was acknowledged is there, and the chain verifies. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "folder.h"

typedef void child_fn(const folder *f, int pipe_fd);

/* A process that runs fn and ends; the pipe it writes to is given back. */
static pid_t
start(child_fn *fn, const folder *f, int *from_child)
{
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
    close(ends[0]);
    fn(f, ends[1]);
    _exit(0);
  }
  close(ends[1]);
  *from_child = ends[0];
  return pid;
}

static void
die(const csn_err *err)
{
  fprintf(stderr, "# child: %s\n", err->msg);
  _exit(1);
}

static void
tell(int fd, const void *p, size_t n)
{
  if (write(fd, p, n) != (ssize_t)n)
    _exit(1);
}

/* Takes the newest run, or makes one, and says each seq once it is in. */
static int
newest(void *user, const csn_run_row *r)
{
  snprintf(user, 32, "%s", r->id);
  return -1;
}

static void
append_for_ever(const folder *f, int fd)
{
  csn_store *s;
  csn_err err;
  csn_journal *j;
  char id[32] = "";
  if (csn_store_open(&s, f->fd, CSN_DURABLE_PROCESS, &err) < 0)
    die(&err);
  (void)!csn_store_runs(s, newest, id, &err);
  int rc = *id ? csn_journal_open(s, csn_cstr(id), true, &j, &err) : csn_journal_new(s, &j, &err);
  if (rc < 0)
    die(&err);
  csn_auto(csn_freep) char *text = csn_alloc(70000);
  memset(text, '5', 70000);
  for (int i = 0; i < 1000; i++) {
    csn_record r[3] = {record("a", CSN_STR("1")), record("b", CSN_STR("[2]")),
                       record("c", csn_strn(text, i % 50 == 7 ? 70000 : 300))};
    if (csn_journal_append(j, r, 3, NULL, &err) < 0)
      die(&err);
    tell(fd, &r[2].seq, sizeof r[2].seq);
  }
  for (;;)
    pause();
}

/* The last number that comes before the pipe ends; -1 for none. */
static int64_t
last_told(int fd)
{
  int64_t v, last = -1;
  while (read(fd, &v, sizeof v) == sizeof v)
    last = v;
  close(fd);
  return last;
}

TEST(after_kill_9_every_acknowledged_append_is_there)
{
  folder f = folder_new();
  for (int round = 0; round < 20; round++) {
    int fd;
    pid_t pid = start(append_for_ever, &f, &fd);
    int64_t v = 0;
    for (int i = 0; i <= round * 20; i++)
      assert_int_equal(read(fd, &v, sizeof v), sizeof v);
    kill(pid, SIGKILL);
    int64_t last = last_told(fd); /* not reaped yet: its run must be free all the same */
    if (last < v)
      last = v;
    csn_store *s = store_in(&f);
    csn_err err;
    char id[32] = "";
    (void)!csn_store_runs(s, newest, id, &err);
    csn_journal *j;
    OK(csn_journal_open(s, csn_cstr(id), true, &j, &err), &err);
    int n = count_records(j, &err);
    OK(n, &err);
    assert_true(n >= last + 1);
    assert_int_equal(n % 3, 0);
    assert_int_equal(sql(&f, "SELECT count(*) FROM runs"), 1);
    csn_journal_close(j);
    csn_store_close(s);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
  }
  assert_true(sql(&f, "PRAGMA integrity_check") == 0); /* the word "ok" */
  folder_free(&f);
}

static void
own_and_wait(const folder *f, int fd)
{
  csn_store *s;
  csn_err err;
  csn_journal *j;
  if (csn_store_open(&s, f->fd, CSN_DURABLE_PROCESS, &err) < 0 ||
      csn_journal_new(s, &j, &err) < 0 || append_note(j, &err) < 0)
    die(&err);
  char id[32] = "";
  snprintf(id, sizeof id, "%s", csn_journal_id(j));
  tell(fd, id, sizeof id);
  for (;;)
    pause();
}

TEST(a_run_of_a_live_process_is_not_taken_and_of_a_dead_one_at_once)
{
  folder f = folder_new();
  int fd;
  pid_t pid = start(own_and_wait, &f, &fd);
  char id[32], owner[40];
  assert_int_equal(read(fd, id, sizeof id), sizeof id);
  csn_store *s = store_in(&f);
  csn_journal *j, *reader;
  csn_err err;
  sql(&f, "UPDATE runs SET lease_until = 0"); /* a slow tool: the lease ran out, the owner lives */
  assert_int_equal(csn_journal_open(s, csn_cstr(id), true, &j, &err), CSN_E_CONFLICT);
  snprintf(owner, sizeof owner, ":%d:", (int)pid);
  assert_non_null(strstr(err.msg, owner));
  assert_int_equal(csn_store_remove_run(s, csn_cstr(id), &err), CSN_E_CONFLICT);
  OK(csn_journal_open(s, csn_cstr(id), false, &reader, &err), &err);
  assert_int_equal(count_records(reader, &err), 1);
  csn_journal_close(reader);

  kill(pid, SIGKILL);
  siginfo_t si;
  assert_int_equal(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT), 0); /* stays a zombie */
  sql(&f, "UPDATE runs SET lease_until = 9000000000000");
  OK(csn_journal_open(s, csn_cstr(id), true, &j, &err), &err);
  OK(append_note(j, &err), &err);
  csn_journal_close(j);
  assert_int_equal(waitpid(pid, NULL, 0), pid);
  close(fd);
  csn_store_close(s);
  folder_free(&f);
}

TEST(an_owner_that_cannot_be_seen_is_believed_until_its_lease_ends)
{
  static const struct {
    const char *set;
    int rc;
  } rows[] = {
      {"owner = 'another-boot:1:1:1', lease_until = 9000000000000", CSN_E_CONFLICT},
      {"owner = 'another-boot:1:1:1', lease_until = 5", 0},
      {"owner = 'nonsense', lease_until = 9000000000000", CSN_E_CONFLICT},
      {"owner = 'nonsense', lease_until = 5", 0},
      /* our process id, used again by a process that started later */
      {"owner = owner || '0', lease_until = 9000000000000", 0},
  };
  folder f = folder_new();
  csn_store *s = store_in(&f);
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_journal *j, *taker = NULL;
    csn_err err;
    OK(csn_journal_new(s, &j, &err), &err);
    OK(append_note(j, &err), &err);
    assert_int_equal(csn_journal_open(s, csn_cstr(csn_journal_id(j)), true, &taker, &err),
                     CSN_E_CONFLICT); /* we hold it ourselves */
    char set[200];
    snprintf(set, sizeof set, "UPDATE runs SET %s WHERE id = '%s'", rows[i].set, csn_journal_id(j));
    sql(&f, set);
    int rc = csn_journal_open(s, csn_cstr(csn_journal_id(j)), true, &taker, &err);
    if (rc != rows[i].rc)
      fail_msg("%s: %d", rows[i].set, rc);
    if (rc >= 0) { /* the fence moved on: who owned it can no longer write */
      OK(append_note(taker, &err), &err);
      assert_int_equal(append_note(j, &err), CSN_E_CONFLICT);
      assert_non_null(strstr(err.msg, "taken over"));
      csn_journal_close(j); /* must not give the new owner's lease back */
      OK(append_note(taker, &err), &err);
      assert_int_equal(count_records(taker, &err), 3);
      snprintf(set, sizeof set, "SELECT owner != '' FROM runs WHERE id = '%s'",
               csn_journal_id(taker));
      assert_int_equal(sql(&f, set), 1);
      csn_journal_close(taker);
    } else {
      csn_journal_close(j);
    }
  }
  csn_store_close(s);
  folder_free(&f);
}

static void
append_1000(const folder *f, int fd)
{
  csn_store *s;
  csn_err err;
  csn_journal *j;
  if (csn_store_open(&s, f->fd, CSN_DURABLE_PROCESS, &err) < 0 || csn_journal_new(s, &j, &err) < 0)
    die(&err);
  for (int i = 0; i < 1000; i++)
    if (append_note(j, &err) < 0)
      die(&err);
  int64_t n = count_records(j, &err);
  if (n < 0)
    die(&err);
  csn_journal_close(j);
  csn_store_close(s);
  tell(fd, &n, sizeof n);
}

TEST(four_processes_create_and_fill_one_database_at_once)
{
  folder f = folder_new();
  int fd[4];
  pid_t pid[4];
  for (int i = 0; i < 4; i++)
    pid[i] = start(append_1000, &f, &fd[i]);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(last_told(fd[i]), 1000);
    int status;
    assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
    assert_int_equal(status, 0);
  }
  assert_int_equal(sql(&f, "SELECT count(*) FROM record"), 4000);
  folder_free(&f);
}

/* Appends records that fill the log, and reads its own journal now and then. */
static void
append_large(const folder *f, int fd)
{
  enum { APPENDS = 300, BYTES = 30000 };
  csn_store *s;
  csn_err err;
  csn_journal *j;
  if (csn_store_open(&s, f->fd, CSN_DURABLE_PROCESS, &err) < 0 || csn_journal_new(s, &j, &err) < 0)
    die(&err);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(2 * BYTES);
  for (int64_t i = 0; i < APPENDS; i++) {
    csn_buf_clear(&text);
    csn_buf_addc(&text, '"');
    for (int k = 0; k < BYTES * (int)(i % 7) / 7 + 1; k++)
      csn_buf_addc(&text, (char)('a' + (i + k) % 26));
    csn_buf_addc(&text, '"');
    csn_record r = record("note", csn_buf_str(&text));
    if (csn_journal_append(j, &r, 1, NULL, &err) < 0)
      die(&err);
    if (i % 25 == 24 && count_records(j, &err) != i + 1)
      die(&err);
  }
  int64_t n = count_records(j, &err);
  csn_journal_close(j);
  csn_store_close(s);
  tell(fd, &n, sizeof n);
}

/* Begins the log anew again and again, as fast as it can. */
static void
restart_log(const folder *f, int fd)
{
  int64_t busy = 0;
  for (int i = 0; i < 1500; i++)
    busy += sql(f, i % 2 ? "PRAGMA wal_checkpoint(RESTART)" : "PRAGMA wal_checkpoint(TRUNCATE)");
  int64_t n = 1500 - busy;
  tell(fd, &n, sizeof n);
}

TEST(writers_and_who_begins_the_log_anew_are_not_in_each_others_way)
{
  folder f = folder_new();
  csn_store_close(store_in(&f));
  int fd[4];
  pid_t pid[4];
  for (int i = 0; i < 4; i++)
    pid[i] = start(i < 3 ? append_large : restart_log, &f, &fd[i]);
  for (int i = 0; i < 4; i++) {
    int64_t n = last_told(fd[i]);
    if (i < 3)
      assert_int_equal(n, 300);
    else
      assert_true(n > 100);
    int status;
    assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
    assert_int_equal(status, 0);
  }
  assert_int_equal(sql(&f, "SELECT count(*) FROM record"), 900);
  assert_int_equal(sql(&f, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
  folder_free(&f);
}

RUN_TESTS("store/store_crash", RUN(after_kill_9_every_acknowledged_append_is_there),
          RUN(a_run_of_a_live_process_is_not_taken_and_of_a_dead_one_at_once),
          RUN(an_owner_that_cannot_be_seen_is_believed_until_its_lease_ends),
          RUN(four_processes_create_and_fill_one_database_at_once),
          RUN(writers_and_who_begins_the_log_anew_are_not_in_each_others_way))
