/* SPDX-License-Identifier: Apache-2.0
 *
 * db.h - what the files of this folder share: connections, their statements,
 * and jobs for the one connection that writes.
 *
 * One connection writes (csn_store_commit() says who may use it and when);
 * reading takes another one from a small pool, so reading never waits for a
 * commit and works inside a reader's callback.
 */
#ifndef CSN_STORE_DB_H
#define CSN_STORE_DB_H

#include <pthread.h>
#include <semaphore.h>
#include <sqlite3.h>

#include "store/journal.h"

enum {
  STORE_FORMAT = 1,              /* PRAGMA user_version */
  STORE_APP_ID = 0x43736e31,     /* "Csn1", PRAGMA application_id */
  STORE_OWNER_MAX = 128,         /* bytes of an owner's name, with its NUL */
  STORE_LEASE_MS = 60000,        /* for judges that cannot see our processes */
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

struct csn_store {
  int dir;
  int synchronous; /* 1 or 2 */
  sqlite3_vfs vfs;
  int (*open_file)(sqlite3_vfs *, const char *, sqlite3_file *, int, int *); /* SQLite's own */
  char vfs_name[40];
  char path[64]; /* of the database, through `dir` */
  char self[STORE_OWNER_MAX];
  csn_db *writer; /* used by the leader of the queue only */
  int wal_pages;  /* in the log after the last commit; the leader's, as the next */
  int checkpoint_at;

  pthread_mutex_t lock; /* guards all below */
  struct csn_owed {
    int64_t no, fence;
  } * owed; /* runs whose lease could not be given back: the disk was full */
  size_t n_owed;
  bool has_leader, is_checkpointing;
  csn_job *first, **last;
  csn_db *idle;
  int n_idle;
};

/* --- db.c: connections */
int csn_db_open(csn_store *s, csn_db **out, bool writes, csn_err *err) CSN_MUST;
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
int csn_reader_take(csn_store *s, csn_db **out, csn_err *err) CSN_MUST;
void csn_reader_give(csn_store *s, csn_db *db);

/* --- log.c: the write-ahead log */
/* Before the store's vfs is registered. */
void csn_log_setup(csn_store *s);
/* After a commit: an SQLite code.  Nothing is left to write then, unless this
 * SQLite ends commits in another way than those that we know. */
int csn_log_is_written(sqlite3 *sq);

/* --- commit.c: group commit */
int csn_store_commit(csn_store *s, csn_job *job, csn_err *err) CSN_MUST;

/* --- lease.c: who owns a run */
/* "<boot id>:<pid namespace>:<pid>:<start time in ticks>" of this process. */
void csn_owner_self(char out[STORE_OWNER_MAX]);
/* False as soon as it is known to have ended; for a process that this one
 * cannot see, when its lease has run out. */
bool csn_owner_is_live(const char *owner, int64_t lease_until_ms, int64_t now_ms);
int64_t csn_unix_ms(void);

/* --- journal.c */
/* Tries again to give back what could not be given back. */
void csn_store_settle(csn_store *s);

/* --- blob.c */
/* Content on its way into the database: compressed when that helps. */
typedef struct csn_packed {
  csn_digest digest;
  csn_str raw; /* borrowed */
  char *z;     /* owned; NULL: stored as it is */
  size_t z_size;
} csn_packed;
void csn_packed_init(csn_packed *p, csn_str raw);
void csn_packed_fini(csn_packed *p);
int csn_packed_store(csn_db *db, const csn_packed *p, int64_t now_ms, csn_err *err) CSN_MUST;
/* Appends the content to out; CSN_E_NOT_FOUND when there is none. */
int csn_blob_load(csn_db *db, const csn_digest *d, csn_buf *out, csn_err *err) CSN_MUST;
/* CSN_E_NOT_FOUND unless the blob exists. */
int csn_blob_ref(csn_db *db, int64_t run_no, const csn_digest *d, csn_err *err) CSN_MUST;

/* --- chain.c */
struct csn_journal {
  csn_store *store;
  int64_t no, fence, next_seq;
  csn_digest head;
  bool owns;
  char id[32];
};
/* [A-Za-z0-9_.:-], 1 to 64 bytes */
bool csn_kind_check(csn_str kind);

/* --- runs.c */
typedef struct csn_run_head {
  int64_t no, fence, next_seq, lease_until_ms;
  char id[32], owner[STORE_OWNER_MAX]; /* owner "": nobody */
  csn_digest head;
} csn_run_head;
/* By id or unique head of it. */
int csn_run_find(csn_db *db, csn_str id, csn_run_head *out, csn_err *err) CSN_MUST;
/* By number; CSN_E_NOT_FOUND when it was removed. */
int csn_run_get(csn_db *db, int64_t no, csn_run_head *out, csn_err *err) CSN_MUST;
/* CSN_E_CONFLICT naming the owner while it lives. */
int csn_run_check_free(const csn_run_head *h, int64_t now_ms, csn_err *err) CSN_MUST;

/* A record's place: runs share one B-tree, each run a contiguous range. */
static inline int64_t
csn_record_pos(int64_t run_no, int64_t seq)
{
  return (run_no << 32) | seq;
}

#endif
