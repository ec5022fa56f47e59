/* SPDX-License-Identifier: Apache-2.0
 * folder.h - a state folder for one test, and SQL behind the store's back.
 *
 * The same tests run on PostgreSQL when CAISSON_TEST_POSTGRES names a server:
 * each test then begins without our tables. */
#ifndef CSN_TESTS_STORE_FOLDER_H
#define CSN_TESTS_STORE_FOLDER_H

#include <fcntl.h>
#include <sqlite3.h>

#include "check.h"
#include "core/fd.h"
#include "store/journal.h"
#include "store/pq.h"

typedef struct folder {
  char path[64];
  int fd;
} folder;

static inline const char *
test_postgres(void)
{
  return getenv("CAISSON_TEST_POSTGRES");
}

/* The first number of the last statement; they are separated by ';'. */
static inline int64_t
sql_postgres(const char *text)
{
  const csn_module *m;
  csn_pq *c;
  csn_err err;
  csn_scope sc;
  csn_scope_init(&sc, NULL, 20000);
  OK(csn_module_open("caisson-postgres.so", "csn_pq_entry", CSN_PQ_ABI, &m, &err), &err);
  const csn_pq_module *pq = (const csn_pq_module *)m;
  OK(pq->open(&c, test_postgres(), &sc, &err), &err);
  OK(pq->run(c, &sc, NULL, "SET search_path = caisson", NULL, 0, &err), &err);
  uint64_t n = 0;
  for (const char *rest = text; *rest;) {
    size_t len = strcspn(rest, ";");
    csn_auto(csn_freep) char *one = csn_dupz(csn_strn(rest, len));
    int rows = pq->run(c, &sc, NULL, one, NULL, 0, &err);
    if (rows < 0)
      fail_msg("%s: %s", one, err.msg);
    csn_str cell = rows > 0 ? pq->cell(c, 0, 0) : CSN_STR("");
    for (size_t i = 0; i < cell.n && i < 8; i++)
      n = i ? n << 8 | (unsigned char)cell.p[i] : (unsigned char)cell.p[i];
    rest += len + (rest[len] == ';');
  }
  pq->close(c);
  csn_scope_fini(&sc);
  return (int64_t)n;
}

static inline folder
folder_new(void)
{
  folder f = {.path = "/tmp/caisson-store-XXXXXX"};
  assert_non_null(mkdtemp(f.path));
  f.fd = open(f.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_true(f.fd >= 0);
  if (test_postgres())
    sql_postgres("DROP SCHEMA IF EXISTS caisson CASCADE");
  return f;
}

static inline void
folder_free(folder *f)
{
  close(f->fd);
  csn_auto(csn_closep) int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_int_equal(csn_remove_tree(tmp, f->path + sizeof "/tmp", NULL), 0);
}

static inline csn_store *
store_in(const folder *f)
{
  csn_store *s = NULL;
  csn_err err;
  if (test_postgres())
    OK(csn_store_connect(&s, test_postgres(), &err), &err);
  else
    OK(csn_store_open(&s, f->fd, CSN_DURABLE_PROCESS, &err), &err);
  return s;
}

/* Runs SQL as somebody with another program would; the first number it gives. */
static inline int64_t
sql(const folder *f, const char *text)
{
  if (test_postgres())
    return sql_postgres(text);
  char path[96];
  snprintf(path, sizeof path, "%s/caisson.db", f->path);
  sqlite3 *db;
  assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
  sqlite3_busy_timeout(db, 5000);
  int64_t n = 0;
  for (const char *rest = text; rest && *rest;) {
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(db, rest, -1, &st, &rest) != SQLITE_OK)
      fail_msg("%s: %s", text, sqlite3_errmsg(db));
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
      n = sqlite3_column_int64(st, 0);
    else if (rc != SQLITE_DONE)
      fail_msg("%s: %s", text, sqlite3_errmsg(db));
    sqlite3_finalize(st);
  }
  sqlite3_close(db);
  return n;
}

static inline csn_record
record(const char *kind, csn_str data)
{
  return (csn_record){.ts_ms = 1700000000000, .kind = csn_cstr(kind), .data = data};
}

/* Appends one record {"n":<next seq>} of kind "note". */
static inline int
append_note(csn_journal *j, csn_err *err)
{
  char text[40];
  snprintf(text, sizeof text, "{\"n\":%lld}", (long long)csn_journal_next_seq(j));
  csn_record r = record("note", csn_cstr(text));
  return csn_journal_append(j, &r, 1, NULL, err);
}

static inline int
count_record(void *user, const csn_record *r, csn_err *err)
{
  (void)r, (void)err;
  ++*(int *)user;
  return 0;
}

/* Records in the journal; the chain's error when it does not verify. */
static inline int
count_records(csn_journal *j, csn_err *err)
{
  int n = 0;
  int rc = csn_journal_read(j, 0, count_record, &n, err);
  return rc < 0 ? rc : n;
}

#endif
