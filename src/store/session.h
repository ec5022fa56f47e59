/* SPDX-License-Identifier: Apache-2.0
 *
 * session.h - conversation memory: named lists of items that runs read when
 * they begin and append to when they end.  They live in the state database, or
 * where else csn_sessions_open() is told.
 *
 * A run's items are appended once, however often it is tried: the run's id is
 * the key.  Reading takes the newest items within limits and begins at a
 * message of the user, so that no output stands without its call.
 */
#ifndef CSN_STORE_SESSION_H
#define CSN_STORE_SESSION_H

#include "store/journal.h"

enum { CSN_SESSION_NAME_MAX = 128 };

typedef struct csn_sessions csn_sessions; /* an open store of sessions; any thread */

struct csn_keyring;

typedef struct csn_session_row {
  csn_str name, parent; /* parent: it was forked from; empty: none */
  int64_t created_ms, updated_ms, items;
} csn_session_row;

typedef struct csn_session_hit {
  csn_str session, text; /* text: around what was found */
  int64_t n;             /* the item's place, from 0 */
} csn_session_hit;

/* place: NULL or "state": in the state database `store`, which is borrowed;
 * postgres://..., redis://..., or jsonl:FOLDER. */
int csn_sessions_open(csn_sessions **out, csn_store *store, const char *place,
                      csn_err *err) CSN_MUST;
/* From now on the items of *s are encrypted; takes `keys` over, *s too when it
 * succeeds. */
int csn_sessions_seal(csn_sessions **s, struct csn_keyring *keys, csn_err *err) CSN_MUST;
void csn_sessions_close(csn_sessions *s);
static inline void
csn_sessions_closep(csn_sessions **s)
{
  csn_sessions_close(*s);
}

/* 1 to 128 of A-Z a-z 0-9 _ . : @ / - */
int csn_session_check(csn_str name, csn_err *err) CSN_MUST;
/* Calls fn for each item, oldest first.  max_items and max_tokens (of about
 * four bytes each): 0 is no limit.  A session that does not exist is empty. */
int csn_session_read(csn_sessions *s, csn_str name, int64_t max_items, int64_t max_tokens,
                     int (*fn)(void *user, int64_t n, csn_str item), void *user,
                     csn_err *err) CSN_MUST;
/* Appends what a run added, all or nothing; makes the session.  1: done now, 0:
 * this run had been here already. */
int csn_session_append(csn_sessions *s, csn_str name, csn_str run, const csn_str *items, size_t n,
                       csn_err *err) CSN_MUST;
/* Newest first. */
int csn_session_list(csn_sessions *s, int (*fn)(void *user, const csn_session_row *r), void *user,
                     csn_err *err) CSN_MUST;
/* A new session with the first `items` items of `from` (-1: all), at a turn's
 * end or not: CSN_E_EXISTS, CSN_E_NOT_FOUND. */
int csn_session_fork(csn_sessions *s, csn_str from, csn_str to, int64_t items,
                     csn_err *err) CSN_MUST;
/* Removes the newest items down to and with the last message of the user;
 * returns how many. */
int csn_session_undo(csn_sessions *s, csn_str name, csn_err *err) CSN_MUST;
int csn_session_remove(csn_sessions *s, csn_str name, csn_err *err) CSN_MUST;
/* How many items it has; 0 also when there is none of that name. */
int csn_session_count(csn_sessions *s, csn_str name, int64_t *out, csn_err *err) CSN_MUST;
/* Others in the place of all its `had` items, whole or not at all; runs that
 * were appended stay so.  CSN_E_CONFLICT: it has another number of them. */
int csn_session_replace(csn_sessions *s, csn_str name, int64_t had, const csn_str *items, size_t n,
                        csn_err *err) CSN_MUST;
/* Items whose messages, calls or outputs hold all the words, at most 100: best
 * first where the store has an index, else newest session first. */
int csn_session_search(csn_sessions *s, csn_str words,
                       int (*fn)(void *user, const csn_session_hit *h), void *user,
                       csn_err *err) CSN_MUST;

#endif
