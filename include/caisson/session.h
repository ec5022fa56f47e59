/* SPDX-License-Identifier: Apache-2.0
 *
 * session.h - conversations that are kept, outside of a run: what several runs
 * said to each other, under a name.
 *
 * A run reads and appends to one by itself (csn_run_options.session).  These
 * functions look at them, and change them where they are kept: beside the runs,
 * or where else the runtime was told (csn_rt_options.session_store).  All may be
 * called from any thread; each change is whole or not at all.  Errors that all
 * have: CSN_E_INVALID for a name that is none, CSN_E_DENIED for an item that
 * cannot be decrypted, CSN_E_IO for a store that cannot be reached.
 */
#ifndef CAISSON_SESSION_H
#define CAISSON_SESSION_H

#include "run.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct csn_conversation csn_conversation;

/* name: 1 to 128 of A-Z a-z 0-9 _ . : @ / -.  It need not exist: the first item
 * makes it.  rt must outlive it. */
CSN_API int csn_conversation_open(csn_rt *rt, const char *name, csn_conversation **out,
                                  csn_err *err) CSN_MUST;
CSN_API void csn_conversation_close(csn_conversation *c);

typedef struct csn_conversation_item {
  int64_t n;         /* its place, from 0 */
  csn_str json;      /* as the Responses API has it */
  csn_str untrusted; /* why it is not to be trusted (tool, files, web, agent); empty: it is */
} csn_conversation_item;
/* Calls fn for each item, oldest first; a negative result ends it and is
 * returned.  At most the newest max_items, and about max_tokens (of four bytes);
 * 0: all.  The cut is at a message of the user, so that no result stands without
 * its call.  Items are borrowed during the call. */
CSN_API int csn_conversation_items(csn_conversation *c, int64_t max_items, int64_t max_tokens,
                                   int (*fn)(void *user, const csn_conversation_item *item),
                                   void *user, csn_err *err) CSN_MUST;
/* Appends a JSON list of items, checked as csn_run_options.items are.
 * untrusted: why they are not to be trusted (tool, files, web or agent); NULL: they are. */
CSN_API int csn_conversation_add(csn_conversation *c, csn_str items, const char *untrusted,
                                 csn_err *err) CSN_MUST;
/* Takes the newest items back, down to and with the last message of the user.
 * Returns how many; 0: there was none. */
CSN_API int csn_conversation_pop(csn_conversation *c, csn_err *err) CSN_MUST;
/* Removes it.  Returns 1, or 0 when there was none. */
CSN_API int csn_conversation_clear(csn_conversation *c, csn_err *err) CSN_MUST;
/* A new one that begins with the first `items` items of this one; -1: with all.
 * CSN_E_EXISTS: the name is taken; CSN_E_NOT_FOUND: there is nothing here. */
CSN_API int csn_conversation_branch(csn_conversation *c, const char *name, int64_t items,
                                    csn_err *err) CSN_MUST;

typedef struct csn_compaction {
  int64_t at; /* done when so many items could go: those before the last message of the user that
                 are no messages of the user; 0: 10 */
  int64_t at_tokens;      /* and when all of it is about so many tokens; 0: however few */
  const char *keep_as;    /* before that a branch with all of it gets this name; NULL: none */
  csn_listener *listener; /* of the run that sums up; NULL: nobody listens */
  void *user;
} csn_compaction;
/* Sums the conversation up where it is kept: what stands before the last message
 * of the user is replaced by the user's messages, as far as there is room for
 * them, and a summary, which the agent's model writes in a run of its own.
 * o may be NULL.  Returns how many items it has fewer; 0: too few could go.
 * CSN_E_CONFLICT: it was changed meanwhile otherwise than by appending;
 * CSN_E_MODEL: the run ended without a summary.  Nothing is changed then. */
CSN_API int csn_conversation_compact(csn_conversation *c, csn_scope *sc, const csn_agent *agent,
                                     const csn_compaction *o, csn_err *err) CSN_MUST;

/* The same for a run that is about to begin in the session of that name: as the
 * agent says (`session` of its compaction; else 0 and nothing happens).  Commands and
 * csn_run_once() call it, csn_run_start() does not, since it waits for nothing. */
CSN_API int csn_conversation_tidy(csn_rt *rt, csn_scope *sc, const csn_agent *agent,
                                  const char *name, csn_listener *listener, void *user,
                                  csn_err *err) CSN_MUST;

typedef struct csn_conversation_row {
  csn_str name, parent; /* parent: it was branched off; empty: none */
  int64_t created_ms, updated_ms, items;
} csn_conversation_row;
/* All, the one that was changed last first. */
CSN_API int csn_conversation_list(csn_rt *rt,
                                  int (*fn)(void *user, const csn_conversation_row *row),
                                  void *user, csn_err *err) CSN_MUST;

typedef struct csn_conversation_hit {
  csn_str name, text; /* text: around what was found */
  int64_t n;          /* the item's place */
} csn_conversation_hit;
/* Items of all conversations that hold all the words, at most 100. */
CSN_API int csn_conversation_search(csn_rt *rt, csn_str words,
                                    int (*fn)(void *user, const csn_conversation_hit *hit),
                                    void *user, csn_err *err) CSN_MUST;

static inline void
csn_conversation_closep(csn_conversation **c)
{
  csn_conversation_close(*c);
}

#ifdef __cplusplus
}
#endif
#endif
