/* SPDX-License-Identifier: Apache-2.0
 *
 * tool.h - what a model can call: a name, a description, a JSON Schema and a
 * function.  There is one kind of tool; shell, patch and a program's own
 * functions are all this.
 *
 * A tool's failure is not an error: the function writes what the model should
 * read and returns 0.  A negative return means the harness itself failed
 * (the sandbox died, the scope ended); the model then gets the message.
 */
#ifndef CAISSON_TOOL_H
#define CAISSON_TOOL_H

#include "json.h"
#include "sandbox.h"
#include "scope.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What becomes of a call that was running when the harness died. */
enum csn_replay {
  CSN_REPLAY_ONCE, /* never again: the model is told that the outcome is unknown */
  CSN_REPLAY_SAFE, /* performed again: it only reads, or repeating it changes nothing */
  CSN_REPLAY_ASK,  /* a human decides */
};

typedef struct csn_call csn_call; /* one call while it is performed */

/* Returned by a function that answers later, with csn_call_done(). */
enum { CSN_CALL_LATER = 1 };
/* Returned by `recover`: the call had no effect yet, perform it. */
enum { CSN_CALL_PERFORM = 2 };

typedef struct csn_tool {
  size_t size; /* sizeof(csn_tool) */
  const char *name, *description;
  const char
      *schema; /* JSON Schema of the arguments; NULL: a custom tool, its input is free text */
  const char *format; /* of a custom tool: its "format" as JSON, or NULL */
  bool is_loose;      /* send the schema as it is; otherwise it is made strict */
  enum csn_replay replay;
  /* Runs in a thread of ours; several calls may run at once. */
  int (*call)(csn_call *c, void *user, csn_err *err);
  /* After a crash, instead of the rule above: finds out what became of the
   * call, writes its output and returns 0, or CSN_CALL_PERFORM.  May be NULL. */
  int (*recover)(csn_call *c, void *user, csn_err *err);
  void *user;
} csn_tool;

/* All of these belong to the call's thread. */
CSN_API csn_str csn_call_id(const csn_call *c);
CSN_API csn_str csn_call_input(const csn_call *c); /* the arguments' text as the model wrote it */
CSN_API const csn_json *csn_call_args(const csn_call *c); /* an object; NULL for a custom tool */
CSN_API csn_scope *csn_call_scope(csn_call *c); /* ends when the run wants no answer any more */
CSN_API csn_buf *csn_call_out(csn_call *c);     /* the text the model gets */
CSN_API void csn_call_set_content(csn_call *c,
                                  csn_str json); /* a list of content parts instead of text */
/* The run's sandbox, the first of several; opened again after a resume.  Borrowed. */
CSN_API int csn_call_sandbox(csn_call *c, csn_sandbox **out, csn_err *err) CSN_MUST;
/* The same of the one with that name in the agent file's `sandboxes`. */
CSN_API int csn_call_sandbox_named(csn_call *c, const char *name, csn_sandbox **out,
                                   csn_err *err) CSN_MUST;
/* A record in the journal, committed when this returns: what the call is
 * about to do, for `recover`. */
CSN_API int csn_call_note(csn_call *c, csn_str json, csn_err *err) CSN_MUST;
/* In `recover`: the last note of this call, or NULL. */
CSN_API const csn_json *csn_call_last_note(const csn_call *c);
/* After CSN_CALL_LATER: any thread, once. rc and err as a return would be. */
CSN_API void csn_call_done(csn_call *c, int rc, const csn_err *err);

/* A schema in the strict form: closed objects, every property required.
 * CSN_E_INVALID says why one cannot be made strict. */
CSN_API int csn_schema_strict(csn_arena *a, const csn_json *schema, csn_buf *out,
                              csn_err *err) CSN_MUST;

#ifdef __cplusplus
}
#endif
#endif
