/* SPDX-License-Identifier: Apache-2.0
 *
 * exec.h - inside the back-end "exec:PROGRAM": exec.c opens, closes and moves
 * files, exec_config.c reads what the operator says and what the program says of
 * itself, exec_proc.c runs commands; exec_talk.h is how all of them speak.
 */
#ifndef CSN_SANDBOX_BACKEND_EXEC_H
#define CSN_SANDBOX_BACKEND_EXEC_H

#include "caisson/remote.h"
#include "sandbox/backend/exec_talk.h"
#include "sandbox/backends.h"

enum { CSN_EXEC_PROTOCOL = 1 };

/* What a program need not be able to do. */
enum csn_exec_skill {
  CSN_EXEC_TERMINAL,
  CSN_EXEC_USER,
  CSN_EXEC_LIMITS,
  CSN_EXEC_KEEP,
  CSN_EXEC_PAUSE,
  CSN_EXEC_GET,
  CSN_EXEC_PUT,
  CSN_EXEC_REMOVE,
  CSN_EXEC_SWEEP,
};

struct csn_exec_box {
  csn_sandbox base;
  csn_arena *arena;
  const char *word, *program;     /* program: its absolute path */
  const char *const *environment; /* of all commands */
  csn_talk *talk;
  unsigned skills; /* 1 << enum csn_exec_skill */
  bool keep, is_open;
  csn_str name, state, describe; /* as it says; JSON of the last two */
};

static inline struct csn_exec_box *
csn_exec_of(csn_sandbox *sb)
{
  return (struct csn_exec_box *)sb; /* base is the first member */
}

extern const csn_sandbox_option csn_exec_options[];
/* Starts the program of the word "exec:PROGRAM" and asks what it can.  What is
 * made, also when it fails, is b's. */
int csn_exec_start(struct csn_exec_box *b, csn_scope *sc, const char *word, const csn_json *options,
                   csn_log *log, csn_err *err) CSN_MUST;
/* CSN_E_UNSUPPORTED, by name, unless it can. */
int csn_exec_need(const struct csn_exec_box *b, enum csn_exec_skill skill, csn_err *err) CSN_MUST;
bool csn_exec_can(const struct csn_exec_box *b, enum csn_exec_skill skill);
/* What of the specification no program can hold, or this one cannot. */
int csn_exec_check(const struct csn_exec_box *b, const csn_sandbox_spec *spec,
                   csn_err *err) CSN_MUST;
/* The member `options` for the program. */
void csn_exec_write_options(csn_jw *w, const csn_json *options);

int csn_exec_spawn(csn_sandbox *sb, csn_scope *sc, const csn_exec *x, csn_proc **out,
                   csn_err *err) CSN_MUST;

#endif
