/* SPDX-License-Identifier: Apache-2.0
 *
 * backend.h - the port behind the journal: what a place that keeps runs must
 * know how to do.
 *
 * Above the table, and the same for every back-end: ids, hashing, compressing,
 * checking what is given, verifying what is read.  A back-end keeps rows, and
 * sees to it that an append is in one transaction with the check of the fence.
 * Back-ends: sqlite.c, the default.
 */
#ifndef CSN_STORE_BACKEND_H
#define CSN_STORE_BACKEND_H

#include <pthread.h>

#include "store/journal.h"

enum {
  STORE_OWNER_MAX = 128,       /* bytes of an owner's name, with its NUL */
  STORE_LEASE_MS = 60000,      /* for judges that cannot see our processes */
  STORE_TOUCH_MS = 600 * 1000, /* putting a blob again renews its hour, not more often */
  STORE_SUMMARY_MAX = 480,     /* bytes of a text in the list of runs */
};

/* A run's row. */
typedef struct csn_run_head {
  int64_t no, fence, next_seq, lease_until_ms;
  char id[32], owner[STORE_OWNER_MAX]; /* owner "": nobody */
  csn_digest head;
} csn_run_head;

struct csn_journal {
  csn_store *store;
  int64_t no, fence, next_seq;
  csn_digest head;
  bool owns;
  char id[32];
};

/* Content on its way into the store: compressed when that helps. */
typedef struct csn_packed {
  csn_digest digest;
  csn_str raw; /* borrowed */
  char *z;     /* owned; NULL: stored as it is */
  size_t z_size;
} csn_packed;

/* A record as it will stand in its row. */
typedef struct csn_stored {
  csn_str data;
  bool is_moved;
  char reference[96]; /* "@" 64 digits " " size */
  csn_packed packed;  /* when is_moved */
} csn_stored;

/* One append: the records with their hashes, and as they will be stored. */
typedef struct csn_append {
  const csn_journal *j; /* as it was before */
  const csn_record *records;
  const csn_stored *stored;
  size_t n;
  const csn_run_row *summary; /* may be NULL */
} csn_append;

/* Records on their way out; see csn_chain_take(). */
typedef struct csn_chain {
  csn_journal *j;
  int64_t from;
  int (*fn)(void *user, const csn_record *r, csn_err *err);
  void *user;
  /* Filled in by the back-end before the first row: the run's row as of this
   * reading, the hash before `from`, and where the content of blobs comes from. */
  csn_run_head run;
  csn_digest prev;
  int (*load)(void *source, const csn_digest *d, csn_buf *out, csn_err *err);
  void *source;

  int64_t next;
  csn_record record;
  csn_buf moved; /* content of a record that is a blob */
} csn_chain;

/* Every slot is required.  Each call is a transaction of its own and may come
 * from any thread. */
typedef struct csn_store_ops {
  const char *name; /* "sqlite", "postgres" */
  void (*close)(csn_store *s);
  /* A new run with the lease taken. */
  int (*run_add)(csn_store *s, csn_run_head *out, csn_err *err);
  /* By id or a unique head of it, without and with taking the lease.  While
   * somebody else has it: CSN_E_CONFLICT, and *out names the owner. */
  int (*run_find)(csn_store *s, csn_str id, csn_run_head *out, csn_err *err);
  int (*run_take)(csn_store *s, csn_str id, csn_run_head *out, csn_err *err);
  /* Gives the lease back unless the fence has moved on. */
  int (*run_release)(csn_store *s, int64_t no, int64_t fence, csn_err *err);
  int (*run_list)(csn_store *s, int (*fn)(void *user, const csn_run_row *r), void *user,
                  csn_err *err);
  int (*run_remove)(csn_store *s, csn_str id, csn_err *err);
  int (*append)(csn_store *s, const csn_append *a, csn_err *err);
  int (*read)(csn_store *s, csn_chain *c, csn_err *err);
  int64_t (*last)(const csn_journal *j, csn_str kind);
  int (*blob_put)(csn_store *s, const csn_packed *p, csn_err *err);
  int (*blob_get)(csn_store *s, const csn_digest *d, csn_buf *out, csn_err *err);
  int (*blob_drop)(csn_store *s, const csn_digest *d, csn_err *err);
  /* Drops unnamed blobs put before then; how many. */
  int (*gc)(csn_store *s, int64_t before_ms, csn_err *err);
  /* Sessions beside the runs. */
  struct csn_sessions *(*sessions)(csn_store *s);
} csn_store_ops;

/* First member of every back-end's own struct. */
struct csn_store {
  const csn_store_ops *ops;
  char self[STORE_OWNER_MAX];
  pthread_mutex_t owed_lock; /* guards what is below */
  struct csn_owed {
    int64_t no, fence;
  } * owed; /* runs whose lease could not be given back: the disk was full */
  size_t n_owed;
};

/* --- store.c */
void csn_store_init(csn_store *s, const csn_store_ops *ops);
void csn_store_fini(csn_store *s);

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
/* 13 characters that sort by time. */
void csn_run_id_new(int64_t now_ms, char out[32]);
/* A text of the list of runs, cut to STORE_SUMMARY_MAX; empty: keep what is there. */
csn_str csn_summary_text(csn_str s);
/* Says why the run's row, now `h`, did not take an append. */
int csn_fail_fence(const csn_journal *j, const csn_run_head *h, csn_err *err);

/* --- blob.c */
void csn_packed_init(csn_packed *p, csn_str raw);
void csn_packed_fini(csn_packed *p);
/* Appends the content to out from what is stored, and checks it. */
int csn_blob_unpack(const csn_digest *d, int64_t size, bool is_packed, csn_str stored, csn_buf *out,
                    csn_err *err) CSN_MUST;
/* "no such content" */
int csn_fail_blob(const csn_digest *d, csn_err *err);

/* --- chain.c */
/* False unless these are the bytes of one. */
static inline bool
csn_digest_read(csn_str bytes, csn_digest *out)
{
  if (bytes.n != sizeof out->b)
    return false;
  memcpy(out->b, bytes.p, sizeof out->b);
  return true;
}
/* [A-Za-z0-9_.:-], 1 to 64 bytes */
bool csn_kind_check(csn_str kind);
/* The next row, verified against the one before, to the reader. */
int csn_chain_take(csn_chain *c, int64_t seq, int64_t ts_ms, csn_str kind, csn_str hash,
                   csn_str stored, csn_err *err) CSN_MUST;
/* "journal of run R: record N <what>" */
int csn_chain_fail(const csn_chain *c, int64_t seq, const char *what, csn_err *err);

/* --- runs.c */
enum { STORE_ID_MAX = 31, STORE_AMBIGUOUS_SHOWN = 8 };
/* Rows whose id begins with `id`, in order, at most STORE_AMBIGUOUS_SHOWN + 1. */
typedef struct csn_run_search {
  char from[STORE_ID_MAX + 2], to[STORE_ID_MAX + 3]; /* the ids' range, `to` excluded */
  csn_run_head *out;
  csn_buf ids;
  int n;
  bool is_whole; /* the whole id: no further row is needed */
} csn_run_search;
int csn_run_search_init(csn_run_search *s, csn_str id, csn_run_head *out, csn_err *err) CSN_MUST;
void csn_run_search_take(csn_run_search *s, const csn_run_head *h);
/* 0 when there is one run. */
int csn_run_search_end(csn_run_search *s, csn_err *err) CSN_MUST;
/* CSN_E_CONFLICT naming the owner while it lives. */
int csn_run_check_free(const csn_run_head *h, int64_t now_ms, csn_err *err) CSN_MUST;

#endif
