/* SPDX-License-Identifier: Apache-2.0
 *
 * session_backend.h - the port behind sessions: what a place that keeps
 * conversations must know how to do.
 *
 * A session is a list of items under a name, the runs that were appended to it,
 * and two times.  Windows, undo, forks and search are made of these operations
 * in session.c, unless a back-end has a better way.
 */
#ifndef CSN_STORE_SESSION_BACKEND_H
#define CSN_STORE_SESSION_BACKEND_H

#include "store/session.h"

enum { SESSION_HITS_MAX = 100 };

typedef struct csn_session_stat {
  int64_t items, created_ms, updated_ms;
  char parent[CSN_SESSION_NAME_MAX + 1];
} csn_session_stat;

typedef struct csn_session_add {
  csn_str name, run; /* run empty: of no run */
  csn_str parent;    /* when the session is made now */
  bool is_new;       /* CSN_E_EXISTS when it was there */
  int64_t at;        /* CSN_E_CONFLICT unless there are so many items; -1: any number */
  bool replaces;     /* with `at`: the items from `keep` on go first */
  int64_t keep;
  const csn_str *items;
  size_t n;
} csn_session_add;

typedef int csn_session_item_fn(void *user, int64_t n, csn_str item);

/* Each call is whole or not at all, and may come from any thread. */
typedef struct csn_session_ops {
  const char *name; /* "sqlite", "postgres", "jsonl", "redis" */
  void (*close)(csn_sessions *s);
  /* 1, or 0 when there is none. */
  int (*find)(csn_sessions *s, csn_str name, csn_session_stat *out, csn_err *err);
  /* Items from .. to-1, oldest first; fewer when there are fewer. */
  int (*read)(csn_sessions *s, csn_str name, int64_t from, int64_t to, csn_session_item_fn *fn,
              void *user, csn_err *err);
  /* 1; or 0, when the run was appended before (that is looked at first). */
  int (*append)(csn_sessions *s, const csn_session_add *a, csn_err *err);
  /* Keeps the first `keep` of `items` items; CSN_E_CONFLICT when it has another
   * number of them. */
  int (*cut)(csn_sessions *s, csn_str name, int64_t items, int64_t keep, csn_err *err);
  /* 1, or 0 when there is none. */
  int (*remove)(csn_sessions *s, csn_str name, csn_err *err);
  /* Newest first. */
  int (*list)(csn_sessions *s, int (*fn)(void *user, const csn_session_row *r), void *user,
              csn_err *err);
  /* Optional: else every item is read. */
  int (*search)(csn_sessions *s, csn_str words, int (*fn)(void *user, const csn_session_hit *h),
                void *user, csn_err *err);
} csn_session_ops;

/* First member of every back-end's own struct. */
struct csn_sessions {
  const csn_session_ops *ops;
};

/* In the state database `store`, which is borrowed. */
csn_sessions *csn_sessions_sqlite(csn_store *store);
csn_sessions *csn_sessions_postgres(csn_store *store, bool owns_store);
/* A folder with a file for each session. */
int csn_sessions_jsonl(const char *folder, csn_sessions **out, csn_err *err) CSN_MUST;
int csn_sessions_redis(const char *url, csn_sessions **out, csn_err *err) CSN_MUST;
/* What an item is found by: its texts and what tools were called with. */
void csn_session_text(csn_str item, csn_buf *out);
/* "session 'a' has other items than before" */
int csn_session_conflict(csn_str name, csn_err *err);
int csn_session_exists(csn_str name, csn_err *err);

#endif
