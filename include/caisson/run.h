/* SPDX-License-Identifier: Apache-2.0
 *
 * run.h - running agents.
 *
 * A csn_rt holds what runs share: one I/O thread, a pool of workers, the
 * state database, the HTTP client.  A run is its journal: it survives the
 * death of this process and goes on with csn_run_resume(), on any machine
 * that sees the state folder.
 */
#ifndef CAISSON_RUN_H
#define CAISSON_RUN_H

#include "agent.h"
#include "model.h"
#include "sandbox.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct csn_rt csn_rt;
typedef struct csn_run csn_run;

typedef struct csn_rt_options {
  const char *state_dir; /* NULL: the nearest .caisson upward, else made here */
  const char *state_url; /* postgres://...: runs, blobs and sessions are there, workspaces and the
                            key in the folder; NULL: without a state_dir as `state` of caisson.yaml
                            says, else all in the folder */
  const char *session_store; /* where sessions are: state, postgres://..., redis://... or
                                jsonl:FOLDER; NULL: as caisson.yaml says, else beside the runs */
  const char *session_keys;  /* a file with the keys that they are encrypted with; NULL: as
                                caisson.yaml says, else they are not */
  bool survives_power_cut;   /* every commit waits for the disk */
  struct csn_log *log;       /* what the runtime says about itself; borrowed; NULL: nothing */
  int max_threads;           /* of the pool; 0: 256 */
  /* Sandboxes of the program itself (backend.h), NULL-terminated; the tables are
   * copied.  CSN_E_INVALID for one without a name of its own, open, close or spawn. */
  const csn_sandbox_ops *const *backends;
} csn_rt_options;

CSN_API int csn_rt_new(csn_rt **out, const csn_rt_options *o, csn_err *err) CSN_MUST;
/* All runs must have ended or been freed. */
CSN_API void csn_rt_free(csn_rt *rt);

/* What a listener sees: every journal record as it is committed (seq >= 0),
 * and notifications that are not kept (seq -1): text_delta, reasoning_delta,
 * attempt_restarted, progress.  docs/events.md lists them all.  Called from
 * several threads, for one run and the agents it calls one at a time (`run` says
 * whose it is); it must not block, and a call on the run itself from within it
 * would wait for ever. */
typedef void csn_listener(void *user, const char *run, const char *type, int64_t seq, csn_str data);

typedef struct csn_run_options {
  csn_listener *listener;
  void *user;
  bool no_stream;      /* ask the model for whole replies */
  const char *out_dir; /* where declared outputs go; NULL: as the agent file says */
  const char *session; /* a conversation that this run goes on with: what was said in it comes
                          before the input, what the run adds is appended; NULL: none */
  int64_t session_items, session_tokens; /* of it, at most; about; 0: all */
  csn_str items; /* start only: items before the input, as a JSON list: messages of the user, the
                    assistant, system and developer, calls and their results.  The input may be
                    empty then */
  csn_str parts; /* start only: content beside the input's text, as a JSON list: input_image
                    {image_url: a data: URL or an address, detail?}, input_file {file_data or
                    file_url, filename?}, input_text {text}.  CSN_E_INVALID names what is wrong */
  const char *after;     /* go on in the workspace of this run, which must have ended: it moves, and
                            the manifest is not laid out again; NULL: a new workspace */
  const char *from;      /* a snapshot that the workspace begins with, in the place of the agent's;
                            of the manifest only what is ephemeral is laid out; NULL: as it says.
                            Of several sandboxes it is the first one's, as the next */
  csn_str sandbox_state; /* start only: work in a sandbox elsewhere that is there, as an object with
                            what csn_sandbox_state() told of it (remote.h), of the agent's back-end.
                            It stays what it is when the run is over; of the manifest only what is
                            ephemeral is laid out.  One that is gone: the run begins with its
                            snapshot, and fails without one */
  bool keep_workspace;   /* also when nothing in it came from a folder of this host */
  const char *snapshot;  /* save the workspace under this name (SNAPSHOT.NAME for each further
                            sandbox) when the run is over, however it
                            ended (docs/snapshots.md); CSN_E_EXISTS when it is taken.  Outlives
                            the run; a resumed one has its own */
  const csn_tool *tools; /* resume only: the program's own tools, re-bound by name */
  size_t n_tools;
  const csn_callback *callbacks; /* resume only: likewise */
  size_t n_callbacks;
  bool harness_tools; /* tools of an agent file may run outside of the sandbox, and so may the
                         program of its back-end exec:PROGRAM */
  /* resume only: goes on in a sandbox of this back-end, or "NAME=BACKEND" for one of several;
   * NULL: as before */
  const char *backend;
} csn_run_options;

enum csn_run_state {
  CSN_RUN_RUNNING,
  CSN_RUN_WAITING, /* for a human */
  CSN_RUN_DONE,
  CSN_RUN_FAILED,
  CSN_RUN_LIMIT, /* a limit of the agent was reached */
  CSN_RUN_CANCELLED,
  CSN_RUN_INTERRUPTED, /* stopped here; can be resumed */
};

/* How a run ended; owned by the run. */
typedef struct csn_result {
  const char *run; /* its id */
  enum csn_run_state state;
  csn_str reason;  /* "final", "turns", "wall", "budget_exhausted", "loop_detected", "model", ... */
  csn_str output;  /* the final answer, or what there was of it */
  csn_str message; /* when it failed: what, where, and the next step */
  int64_t turns, tool_calls;
  csn_usage usage;
  double cost_usd;   /* -1: the model's price is not known */
  csn_str agents;    /* of several: an object by name of {turns, tool_calls, usage, cost_usd?} */
  csn_str untrusted; /* why its context is not to be trusted ("web", "files", ...); empty: it is */
} csn_result;

/* Starts a run and returns at once.  The agent must outlive it. */
CSN_API int csn_run_start(csn_rt *rt, const csn_agent *agent, csn_str input,
                          const csn_run_options *o, csn_run **out, csn_err *err) CSN_MUST;
/* Goes on with a run of the state folder, by id or a unique head of it. */
CSN_API int csn_run_resume(csn_rt *rt, csn_str id, const csn_run_options *o, csn_run **out,
                           csn_err *err) CSN_MUST;
/* Waits until it has ended or waits for a human.  When the scope ends first
 * the run is cancelled and its end awaited. */
CSN_API int csn_run_wait(csn_run *r, csn_scope *sc, csn_result *out, csn_err *err) CSN_MUST;
/* After csn_run_wait(), of an agent with the capability memory: what the run taught
 * becomes a part of its memory (docs/memory.md), by runs of their own that this
 * waits for.  Nothing happens for other agents, and for runs that have not ended.
 * It may fail without any harm to the run; what was not done is done by a later
 * call for that memory. */
CSN_API int csn_run_remember(csn_run *r, csn_scope *sc, csn_err *err) CSN_MUST;
/* Any thread.  Now: what is pending is cancelled.  After the turn: the tools
 * of this turn still finish. */
CSN_API void csn_run_cancel(csn_run *r, bool after_turn);
/* Any thread.  A further message of the user, with `parts` as above or none: it
 * joins when the next turn begins, after the guardrails on input have passed
 * it, also when the model would have ended the run with an answer meanwhile.
 * It is committed when this returns, and survives a crash.  Also of a run that
 * csn_run_open() gave, and of one that a limit ended once csn_run_raise() has
 * raised it.  CSN_E_INVALID: the run has ended. */
CSN_API int csn_run_add_input(csn_run *r, csn_str text, csn_str parts, csn_err *err) CSN_MUST;
/* Any thread.  Stops without ending the run: csn_run_resume() goes on. */
CSN_API void csn_run_interrupt(csn_run *r);
CSN_API const char *csn_run_id(const csn_run *r);

/* ---- deciding what a run waits for ---- */

/* Reads a run back and performs nothing: for its questions, and to decide on
 * another machine or in another process than the one that goes on.  Owns the
 * run (CSN_E_CONFLICT while a live process does). */
CSN_API int csn_run_open(csn_rt *rt, csn_str id, const csn_run_options *o, csn_run **out,
                         csn_err *err) CSN_MUST;
/* Goes on with what csn_run_open() gave; csn_run_resume() is both.
 * CSN_E_DENIED: it has tools that may not run here, see harness_tools. */
CSN_API int csn_run_go_on(csn_run *r, csn_err *err) CSN_MUST;

/* Raises limits of a run that csn_run_open() gave, before csn_run_go_on(): of one
 * that waits or was stopped, or that `turns`, `wall`, `tokens`, `cost_usd` or
 * `tool_calls` ended (state limit), which then goes on in its workspace.  limits:
 * {"turns": 80, "wall": "2h", ...}, each more than the run has.  by: who does it;
 * NULL: this process's user id.  Signed and committed like a decision when this
 * returns.  CSN_E_INVALID says what cannot be; CSN_E_NOT_FOUND: its workspace is
 * gone. */
CSN_API int csn_run_raise(csn_run *r, csn_str limits, const char *by, csn_err *err) CSN_MUST;

/* A tool call that waits for a human; borrowed during the call. */
typedef struct csn_ask {
  csn_str call, tool; /* the name of the question, the tool's name */
  csn_str input;      /* arguments (JSON) or free text */
  bool is_custom;     /* free text */
  bool interrupted;   /* asked because the harness died while it ran */
  bool is_decided;    /* by csn_run_decide() on a run at rest */
  csn_str run, id;    /* the run that asks: this one or an agent's that was called; the call's id */
} csn_ask;
/* Calls fn for each question of the run and of those that it called; a negative
 * result ends it and is returned.  `call` is unique among them: the call's id
 * or, where another question has it too, "RUN/ID" with the run that asks
 * ("RUN/#N" when both are of one run). */
CSN_API int csn_run_asks(csn_run *r, int (*fn)(void *user, const csn_ask *a), void *user);

typedef struct csn_decision {
  bool allow;
  const char *by;   /* the approver's name; NULL: this process's user id */
  csn_str reason;   /* kept; told to the model when denied */
  csn_str edited;   /* allow with this input instead; the model is told; empty: as asked */
  bool always;      /* holds for later calls of this run with the same arguments */
  csn_str like;     /* holds for later calls that match this pattern; empty: none */
  int64_t until_ms; /* end of what holds for later calls, Unix time; 0: with the run */
} csn_decision;
/* Any thread.  `call`: as csn_run_asks() names it, "RUN/ID", or empty when only
 * one waits; what is decided is not looked at.  The decision is signed with the
 * key of the state folder and committed when this returns; a live run goes on at
 * once, one at rest with csn_run_go_on().  CSN_E_NOT_FOUND: no such question;
 * CSN_E_EXISTS: decided already; CSN_E_INVALID: more than one may be meant. */
CSN_API int csn_run_decide(csn_run *r, csn_str call, const csn_decision *d, csn_err *err) CSN_MUST;
/* Ends what still runs here (as interrupt does) and frees. */
CSN_API void csn_run_free(csn_run *r);

/* start, wait and free in one call; *out's texts are then owned by `keep`. */
CSN_API int csn_run_once(csn_rt *rt, csn_scope *sc, const csn_agent *agent, csn_str input,
                         const csn_run_options *o, csn_arena *keep, csn_result *out,
                         csn_err *err) CSN_MUST;

CSN_API const char *csn_run_state_name(enum csn_run_state s);

CSN_FREER(rt)
CSN_FREER(run)

#ifdef __cplusplus
}
#endif
#endif
