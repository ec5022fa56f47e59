/* SPDX-License-Identifier: Apache-2.0
 * test_store.c - the state folder: modes, formats, moved, full, read-only. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "folder.h"

static int
mode_of(const folder *f, const char *name)
{
  struct stat st;
  assert_int_equal(fstatat(f->fd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
  return st.st_mode & 07777;
}

TEST(the_folder_and_its_files_are_for_the_owner_only)
{
  static const mode_t masks[] = {0, 022, 0777};
  for (size_t i = 0; i < CSN_COUNT(masks); i++) {
    folder f = folder_new();
    assert_int_equal(fchmod(f.fd, 0755), 0);
    mode_t old = umask(masks[i]);
    csn_store *s = store_in(&f);
    csn_journal *j;
    csn_err err;
    OK(csn_journal_new(s, &j, &err), &err);
    umask(old);
    assert_int_equal(mode_of(&f, "."), 0700);
    assert_int_equal(mode_of(&f, "caisson.db"), 0600);
    assert_int_equal(mode_of(&f, "caisson.db-wal"), 0600);
    assert_int_equal(mode_of(&f, "caisson.db-shm"), 0600);
    csn_journal_close(j);
    csn_store_close(s);
    folder_free(&f);
  }
}

TEST(a_database_that_others_could_read_is_closed_to_them)
{
  folder f = folder_new();
  csn_store_close(store_in(&f));
  assert_int_equal(fchmodat(f.fd, "caisson.db", 0644, 0), 0);
  csn_store_close(store_in(&f));
  assert_int_equal(mode_of(&f, "caisson.db"), 0600);
  folder_free(&f);
}

TEST(what_is_not_ours_is_refused_and_left_alone)
{
  static const struct {
    const char *sql, *message;
    int rc;
  } rows[] = {
      {"PRAGMA user_version = 99", "format 99", CSN_E_UNSUPPORTED},
      {"PRAGMA application_id = 7", "not made by caisson", CSN_E_INVALID},
      {"PRAGMA application_id = 0", "not made by caisson", CSN_E_INVALID},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    folder f = folder_new();
    csn_store_close(store_in(&f));
    sql(&f, rows[i].sql);
    csn_auto(csn_buf_finip) csn_buf before = CSN_BUF(1 << 20), after = CSN_BUF(1 << 20);
    csn_err err;
    OK(csn_file_read(f.fd, "caisson.db", &before, &err), &err);
    csn_store *s;
    assert_int_equal(csn_store_open(&s, f.fd, CSN_DURABLE_PROCESS, &err), rows[i].rc);
    if (!strstr(err.msg, rows[i].message))
      fail_msg("%s: %s", rows[i].sql, err.msg);
    OK(csn_file_read(f.fd, "caisson.db", &after, &err), &err);
    assert_true(csn_str_eq(csn_buf_str(&before), csn_buf_str(&after)));
    folder_free(&f);
  }
}

TEST(a_file_that_is_no_database_is_refused)
{
  folder f = folder_new();
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf junk = CSN_BUF(8192);
  for (int i = 0; i < 1000; i++)
    csn_buf_addz(&junk, "junk ");
  OK(csn_file_write(f.fd, "caisson.db", csn_buf_str(&junk), 0600, false, &err), &err);
  csn_store *s;
  assert_int_equal(csn_store_open(&s, f.fd, CSN_DURABLE_PROCESS, &err), CSN_E_IO);
  assert_non_null(strstr(err.msg, "damaged"));
  OK(csn_remove_tree(f.fd, "caisson.db", &err), &err);
  assert_int_equal(symlinkat("/tmp/elsewhere.db", f.fd, "caisson.db"), 0);
  assert_int_equal(csn_store_open(&s, f.fd, CSN_DURABLE_PROCESS, &err), CSN_E_DENIED);
  assert_int_equal(access("/tmp/elsewhere.db", F_OK), -1);
  folder_free(&f);
}

/* SQLite left alone would use the old path for ever: closing would remove the
 * log of whoever has his database there by then. */
TEST(a_folder_may_be_renamed_while_it_is_open)
{
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_journal *j;
  csn_err err;
  OK(csn_journal_new(s, &j, &err), &err);
  OK(append_note(j, &err), &err);
  folder moved = f;
  moved.path[strlen(moved.path) - 1] = '+';
  assert_int_equal(rename(f.path, moved.path), 0);
  OK(append_note(j, &err), &err);
  assert_int_equal(count_records(j, &err), 2); /* by a connection made after the move */

  assert_int_equal(mkdir(f.path, 0700), 0);
  folder other = f;
  other.fd = open(other.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_store *s2 = store_in(&other);
  csn_journal *j2;
  OK(csn_journal_new(s2, &j2, &err), &err);
  csn_journal_close(j);
  csn_store_close(s);
  assert_int_equal(faccessat(other.fd, "caisson.db-wal", F_OK, 0), 0);
  assert_int_equal(faccessat(moved.fd, "caisson.db-wal", F_OK, 0), -1);
  csn_journal_close(j2);
  csn_store_close(s2);
  folder_free(&other);
  assert_int_equal(sql(&moved, "SELECT count(*) FROM record"), 2);
  folder_free(&moved);
}

static int
append_4k(csn_journal *j, csn_err *err)
{
  char text[4096];
  memset(text, '1', sizeof text);
  csn_record r[] = {record("a", csn_strn(text, sizeof text)), record("b", CSN_STR("2"))};
  return csn_journal_append(j, r, 2, NULL, err);
}

/* Fills it up; then nothing is half-written, and it goes on when there is room. */
static void
fill(const folder *f, void (*make_room)(void *), void *arg)
{
  csn_store *s = store_in(f);
  csn_journal *j;
  csn_err err;
  OK(csn_journal_new(s, &j, &err), &err);
  int n = 0, rc = 0;
  while (n < 2000 && (rc = append_4k(j, &err)) >= 0)
    n++;
  assert_int_equal(rc, CSN_E_IO);
  if (!strstr(err.msg, "no room left"))
    fail_msg("%s", err.msg);
  assert_int_equal(append_4k(j, &err), CSN_E_IO);
  assert_int_equal(csn_journal_next_seq(j), 2 * n);
  assert_int_equal(count_records(j, &err), 2 * n);
  make_room(arg);
  OK(append_4k(j, &err), &err);
  assert_int_equal(count_records(j, &err), 2 * n + 2);
  csn_journal_close(j);
  csn_store_close(s);
}

static void
lift_limit(void *arg)
{
  struct rlimit *old = arg;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, old), 0);
}

TEST(past_the_file_size_limit_nothing_is_half_written)
{
  folder f = folder_new();
  struct rlimit old, small;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  small = (struct rlimit){.rlim_cur = 300000, .rlim_max = old.rlim_max};
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  fill(&f, lift_limit, &old);
  signal(SIGXFSZ, SIG_DFL);
  folder_free(&f);
}

TEST(a_lease_that_a_full_disk_kept_is_given_back_later)
{
  folder f = folder_new();
  struct rlimit old;
  csn_store *s = store_in(&f);
  csn_journal *j;
  csn_err err;
  OK(csn_journal_new(s, &j, &err), &err);
  OK(append_note(j, &err), &err);
  char id[40];
  snprintf(id, sizeof id, "%s", csn_journal_id(j));
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &(struct rlimit){.rlim_cur = 1, .rlim_max = old.rlim_max});
  csn_journal_close(j);
  lift_limit(&old);
  signal(SIGXFSZ, SIG_DFL);
  assert_int_equal(sql(&f, "SELECT owner != '' FROM runs"), 1);
  OK(csn_journal_open(s, csn_cstr(id), true, &j, &err), &err);
  OK(append_note(j, &err), &err);
  csn_journal_close(j);
  assert_int_equal(sql(&f, "SELECT owner != '' FROM runs"), 0);
  csn_store_close(s);
  folder_free(&f);
}

/* A small file system of our own; false when this machine does not allow it. */
static bool
mount_small(folder *f)
{
  if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
      mount("tmpfs", f->path, "tmpfs", 0, "size=1m") < 0)
    return false;
  close(f->fd);
  f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return f->fd >= 0;
}

static void
unmount(folder *f)
{
  assert_int_equal(umount2(f->path, MNT_DETACH), 0);
  folder_free(f);
}

static void
grow(void *arg)
{
  assert_int_equal(mount("tmpfs", arg, "tmpfs", MS_REMOUNT, "size=9m"), 0);
}

TEST(on_a_full_disk_nothing_is_half_written)
{
  folder f = folder_new();
  if (!mount_small(&f)) {
    folder_free(&f);
    SKIP("mounting a tmpfs is not allowed here");
  }
  fill(&f, grow, f.path);
  unmount(&f);
}

TEST(a_read_only_folder_gives_a_clear_error)
{
  for (int has_database = 0; has_database < 2; has_database++) {
    folder f = folder_new();
    if (!mount_small(&f)) {
      folder_free(&f);
      SKIP("mounting a tmpfs is not allowed here");
    }
    if (has_database)
      csn_store_close(store_in(&f));
    else
      assert_int_equal(fchmod(f.fd, 0700), 0);
    assert_int_equal(mount(NULL, f.path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
    csn_store *s;
    csn_err err;
    assert_int_equal(csn_store_open(&s, f.fd, CSN_DURABLE_PROCESS, &err), CSN_E_IO);
    assert_non_null(strstr(err.msg, "writable folder with --state"));
    unmount(&f);
  }
}

TEST(power_durability_syncs_each_commit)
{
  folder f = folder_new();
  csn_store *s;
  csn_journal *j;
  csn_err err;
  OK(csn_store_open(&s, f.fd, CSN_DURABLE_POWER, &err), &err);
  OK(csn_journal_new(s, &j, &err), &err);
  OK(append_note(j, &err), &err);
  assert_int_equal(count_records(j, &err), 1);
  csn_journal_close(j);
  csn_store_close(s);
  folder_free(&f);
}

RUN_TESTS("store/store", RUN(the_folder_and_its_files_are_for_the_owner_only),
          RUN(a_database_that_others_could_read_is_closed_to_them),
          RUN(what_is_not_ours_is_refused_and_left_alone),
          RUN(a_file_that_is_no_database_is_refused), RUN(a_folder_may_be_renamed_while_it_is_open),
          RUN(past_the_file_size_limit_nothing_is_half_written),
          RUN(a_lease_that_a_full_disk_kept_is_given_back_later),
          RUN(on_a_full_disk_nothing_is_half_written), RUN(a_read_only_folder_gives_a_clear_error),
          RUN(power_durability_syncs_each_commit))
