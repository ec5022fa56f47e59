/* SPDX-License-Identifier: Apache-2.0
 *
 * db.h - what the files of the SQLite back-end share: connections, their
 * statements, and jobs for the one connection that writes.
 *
 * One connection writes (csn_store_commit() says who may use it and when);
 * reading takes another one from a small pool, so reading never waits for a
 * commit and works inside a reader's callback.
 */
#ifndef CSN_STORE_DB_H
#define CSN_STORE_DB_H

#include <semaphore.h>
#include <sqlite3.h>

#include "store/backend.h"

enum {
  STORE_FORMAT = 1,              /* PRAGMA user_version */
  STORE_APP_ID = 0x43736e31,     /* "Csn1", PRAGMA application_id */
  STORE_BUSY_MS = 10000,         /* how long another process may hold the lock */
  STORE_CHECKPOINT_PAGES = 4000, /* 8 MiB of write-ahead log */
  STORE_READERS_KEPT = 3,
};

/* Statements are prepared once per connection, at first use; db.c has the
 * text of each. */
enum csn_sql {
  SQL_BEGIN,
  SQL_COMMIT,
  SQL_ROLLBACK,
  SQL_READ_BEGIN,
  SQL_RUN_ADD,
  SQL_RUN_BY_HEAD,
  SQL_RUN_BY_NO,
  SQL_RUN_TAKE,
  SQL_RUN_RELEASE,
  SQL_RUN_ADVANCE,
  SQL_RUN_LIST,
  SQL_RUN_DROP,
  SQL_RECORD_ADD,
  SQL_RECORD_HASH,
  SQL_RECORD_READ,
  SQL_RECORD_LAST,
  SQL_RECORDS_DROP,
  SQL_REF_ADD,
  SQL_REFS_DROP,
  SQL_BLOB_FIND,
  SQL_BLOB_ADD,
  SQL_BLOB_TOUCH,
  SQL_BLOB_READ,
  SQL_BLOB_DROP,
  SQL_BLOB_GC,
  SQL_SHRINK,
  SQL_COUNT
};

typedef struct csn_db {
  sqlite3 *sq;
  sqlite3_stmt *st[SQL_COUNT];
  struct csn_db *next;
} csn_db;

/* Work for the writing connection, inside a transaction that may be shared.
 * fn returns negative to fail its own job; what it had written is undone. It
 * can run twice (a shared transaction that failed is repeated job by job), so
 * it keeps its results in the job only. */
typedef struct csn_job {
  int (*fn)(struct csn_job *job, csn_db *db, csn_err *err);
  csn_err *err; /* of the waiting caller */
  int rc;
  bool leads; /* woken to lead; else woken because it is done */
  sem_t wake;
  struct csn_job *next;
} csn_job;

/* The locks of the connection that writes, see shm.c. */
struct csn_marks {
  const sqlite3_io_methods *real;
  sqlite3_io_methods own;
  const volatile void *index; /* the log's, mapped */
  unsigned char seen[48];     /* its head after our last commit: which commit is the newest */
  bool begins;                /* a transaction begins that takes the lock of the writer at once */
  int unlocked;               /* the mark that it believes to have locked; 0: none */
  unsigned refused;           /* marks that it was not let move */
};

typedef struct csn_lite {
  csn_store base;
  int dir;
  int synchronous; /* 1 or 2 */
  sqlite3_vfs vfs;
  int (*open_file)(sqlite3_vfs *, const char *, sqlite3_file *, int, int *); /* SQLite's own */
  char vfs_name[40];
  char path[64];  /* of the database, through `dir` */
  csn_db *writer; /* used by the leader of the queue only */
  struct csn_marks marks;
  int wal_pages; /* in the log after the last commit; the leader's, as the next */
  int checkpoint_at;

  pthread_mutex_t lock; /* guards all below */
  bool has_leader, is_checkpointing;
  csn_job *first, **last;
  csn_db *idle;
  int n_idle;
} csn_lite;

static inline csn_lite *
csn_lite_of(csn_store *s)
{
  return (csn_lite *)s; /* base is the first member */
}

/* --- db.c: connections */
int csn_db_open(csn_lite *s, csn_db **out, bool writes, csn_err *err) CSN_MUST;
void csn_db_close(csn_db *db);
/* The statement, reset and ready to bind; NULL when it cannot be prepared
 * (csn_db_fail() has the reason). */
sqlite3_stmt *csn_db_stmt(csn_db *db, enum csn_sql which);
/* Runs a statement that returns no rows to its end and resets it. */
int csn_db_run(csn_db *db, sqlite3_stmt *st, csn_err *err) CSN_MUST;
/* SQLITE_ROW gives 1; SQLITE_DONE resets the statement and gives 0. */
int csn_db_row(csn_db *db, sqlite3_stmt *st, csn_err *err) CSN_MUST;
/* The connection's last failure in words that say what to do. */
int csn_db_fail(csn_db *db, csn_err *err);
/* One-time text without parameters. */
int csn_db_exec(csn_db *db, const char *sql, csn_err *err) CSN_MUST;
/* SQLite's busy handler: waits a little longer each time. */
int csn_db_busy(void *store, int times);
/* A connection for reading; give it back with its transaction ended. */
int csn_reader_take(csn_lite *s, csn_db **out, csn_err *err) CSN_MUST;
void csn_reader_give(csn_lite *s, csn_db *db);

/* --- log.c: the write-ahead log */
/* Before the store's vfs is registered. */
void csn_log_setup(csn_lite *s);
/* After a commit: an SQLite code.  Nothing is left to write then, unless this
 * SQLite ends commits in another way than those that we know. */
int csn_log_is_written(sqlite3 *sq);

/* --- shm.c: locks of the log's index */
void csn_marks_setup(struct csn_marks *m, sqlite3 *sq);
/* Around the beginning of a transaction that writes. */
void csn_marks_begin(struct csn_marks *m, bool begins);

/* --- commit.c: group commit */
int csn_store_commit(csn_lite *s, csn_job *job, csn_err *err) CSN_MUST;

/* --- sqlite_blob.c */
int csn_packed_store(csn_db *db, const csn_packed *p, int64_t now_ms, csn_err *err) CSN_MUST;
/* Appends the content to out; CSN_E_NOT_FOUND when there is none. */
int csn_blob_load(csn_db *db, const csn_digest *d, csn_buf *out, csn_err *err) CSN_MUST;
/* CSN_E_NOT_FOUND unless the blob exists. */
int csn_blob_ref(csn_db *db, int64_t run_no, const csn_digest *d, csn_err *err) CSN_MUST;
int csn_lite_blob_put(csn_store *s, const csn_packed *p, csn_err *err);
int csn_lite_blob_get(csn_store *s, const csn_digest *d, csn_buf *out, csn_err *err);
int csn_lite_blob_drop(csn_store *s, const csn_digest *d, csn_err *err);
int csn_lite_gc(csn_store *s, int64_t before_ms, csn_err *err);

/* --- sqlite_journal.c */
int csn_lite_run_add(csn_store *s, csn_run_head *out, csn_err *err);
int csn_lite_run_take(csn_store *s, csn_str id, csn_run_head *out, csn_err *err);
int csn_lite_run_release(csn_store *s, int64_t no, int64_t fence, csn_err *err);
int csn_lite_append(csn_store *s, const csn_append *a, csn_err *err);
int csn_lite_read(csn_store *s, csn_chain *c, csn_err *err);
int64_t csn_lite_last(const csn_journal *j, csn_str kind);

/* --- sqlite_runs.c */
/* By id or unique head of it. */
int csn_run_find(csn_db *db, csn_str id, csn_run_head *out, csn_err *err) CSN_MUST;
/* By number; CSN_E_NOT_FOUND when it was removed. */
int csn_run_get(csn_db *db, int64_t no, csn_run_head *out, csn_err *err) CSN_MUST;
int csn_lite_run_find(csn_store *s, csn_str id, csn_run_head *out, csn_err *err);
int csn_lite_run_list(csn_store *s, int (*fn)(void *user, const csn_run_row *r), void *user,
                      csn_err *err);
int csn_lite_run_remove(csn_store *s, csn_str id, csn_err *err);

/* A record's place: runs share one B-tree, each run a contiguous range. */
static inline int64_t
csn_record_pos(int64_t run_no, int64_t seq)
{
  return (run_no << 32) | seq;
}

#endif
