/* SPDX-License-Identifier: Apache-2.0
 *
 * session.h - a started command whose output is collected, and the table of
 * those that outlived their first call.
 */
#ifndef CSN_SANDBOX_SESSION_H
#define CSN_SANDBOX_SESSION_H

#include "caisson/sandbox.h"
#include "sandbox/output.h"

typedef struct csn_session csn_session;

/* How a session stands, and its output since the last time. */
typedef struct csn_session_state {
  bool ended, gone; /* gone: another call has reported its end, or it was evicted */
  csn_exit exit;
  int64_t tokens; /* of the whole output if it was cut, or -1 */
} csn_session_state;

/* Takes the command over.  filter: for its output; may be NULL. */
csn_session *csn_session_new(csn_proc *p, int64_t most_tokens, const csn_output_filter *filter);
/* Ends the command if it runs; drops one reference. */
void csn_session_free(csn_session *s);
CSN_FREER(session)
csn_proc *csn_session_proc(csn_session *s);
/* Whose it is, before it is in a table; a mark that means something to the caller. */
void csn_session_own(csn_session *s, const void *owner);
const void *csn_session_owner(const csn_session *s);

/* Collects in the caller's thread until the command ends; 0, the scope's
 * error, or the sandbox's.  Only before the session is in a table. */
int csn_session_run(csn_session *s, csn_scope *sc, csn_err *err) CSN_MUST;
/* Waits until the command has ended or the scope does. */
int csn_session_wait(csn_session *s, csn_scope *sc, csn_err *err) CSN_MUST;
/* Negative when the sandbox failed under the command. */
int csn_session_take(csn_session *s, int64_t max_tokens, csn_buf *out, csn_session_state *state,
                     csn_err *err) CSN_MUST;

typedef struct csn_session_table csn_session_table;

csn_session_table *csn_session_table_new(void);
/* Ends all commands. */
void csn_session_table_free(csn_session_table *t);
/* Keeps the session under a new random id, and reads on in a thread.  The
 * caller's reference goes to the table.  A full table drops one: never one of
 * the 8 used last; the least recently used that has ended, else that runs. */
int csn_session_table_add(csn_session_table *t, csn_session *s, csn_err *err) CSN_MUST;
/* A reference that csn_session_free drops, or NULL. */
csn_session *csn_session_table_find(csn_session_table *t, int64_t id);
/* Takes it out of the table; the caller holds a reference of its own. */
void csn_session_table_drop(csn_session_table *t, csn_session *s);

enum { CSN_SESSIONS_MAX = 64, CSN_SESSIONS_KEPT = 8 };

#endif
