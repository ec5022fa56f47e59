/* SPDX-License-Identifier: Apache-2.0
 *
 * driver.h - the one driver: it takes a run's effects, performs them, and
 * brings back events.  Shared by the files of the driver only:
 *
 *   rt.c          what runs share
 *   run.c         a run's life: start, wait, stop
 *   zero.c        record 0 and the input
 *   deliver.c     events in: step, commit, tell, perform
 *   job.c         pieces of work, and the threads that do them
 *   perform.c     one effect -> one job
 *   ask_model.c   the model_call job: attempts, retries (ask.h)
 *   context_run.c what requests hold of a long conversation
 *   child.c       the child_start job: agents that are called as tools
 *   callback.c    the callback job
 *   session.c     the jobs that read a session and append to it
 *   added.c       further input
 *   call.c        the tool_call job, and the C API inside a tool
 *   box.c         the run's sandbox: its folder, making, closing (box.h)
 *   box_after.c   a workspace taken over from an earlier run
 *   box_ports.c   the ports it exposes
 *   box_remote.c  what is different when the workspace is elsewhere
 *   box_network.c its network policy, its connections as notes
 *   resume.c      from a journal back to a run
 *   decide.c      questions to a human, and their answers (decide.h)
 *   raise.c       limits that are raised before a run goes on
 *
 * Threads: a run's lock guards everything of it.  deliver() steps, commits and
 * starts the effects under it.  Jobs run without it in pool threads, or in the
 * loop's thread while the loop has nothing to do; one job that deliver()
 * started may be handed back to the delivering thread.  So a run that is alone
 * changes threads neither for its tools nor for its requests.
 */
#ifndef CSN_RUN_DRIVER_H
#define CSN_RUN_DRIVER_H

#include "base/log.h"
#include "base/loop.h"
#include "base/pool.h"
#include "caisson/manifest.h"
#include "core/cancel.h"
#include "run/agent_impl.h"
#include "run/box.h"
#include "run/context.h"
#include "run/decision.h"
#include "run/fault.h"
#include "run/input.h"
#include "run/instructions.h"
#include "run/ports.h"
#include "run/result_cache.h"
#include "run/statedir.h"
#include "run/step.h"
#include "sandbox/shell.h"
#include "wire/http.h"

struct csn_rt {
  pthread_mutex_t lock; /* guards the lazily made loop, http and key */
  csn_loop *loop;
  csn_http *http;
  csn_pool *pool;
  csn_store *store;
  struct csn_state_sessions sessions;
  csn_log *log;
  const csn_sandbox_ops *const *backends; /* of the program, as we know them; NULL: none */
  int state_fd;
  char *state_path;
  struct csn_project *project;
  csn_gate **gates; /* of providers; guarded by lock */
  size_t n_gates;
  struct csn_fault fault;
  bool has_key;
  unsigned char key[CSN_KEY_BYTES];
};

/* Made at first use. */
int csn_rt_need_loop(csn_rt *rt, csn_loop **out, csn_err *err) CSN_MUST;
int csn_rt_need_http(csn_rt *rt, csn_http **out, csn_err *err) CSN_MUST;
/* The gate of the route's provider. */
int csn_rt_need_gate(csn_rt *rt, const struct csn_route *route, csn_gate **out,
                     csn_err *err) CSN_MUST;
/* The key that decisions are signed with. */
int csn_rt_need_key(csn_rt *rt, const unsigned char **out, csn_err *err) CSN_MUST;

/* A piece of work of a run.  `fn` runs without the run's lock and returns the
 * next job for this thread, NULL, or CSN_JOB_PARKED when it waits for the wire
 * and csn_job_wake() will submit it again. */
typedef struct csn_job csn_job;
struct csn_job {
  csn_job *(*fn)(csn_job *j);
  /* Under the run's lock: asks it to end early; may be NULL.  Scopes are only
   * marked (core/cancel.h), csn_wake_cancelled() does the rest. */
  void (*cancel)(csn_job *j);
  void (*free)(csn_job *j);
  csn_run *run;
  int64_t seq;           /* of the effect it performs; -1: none */
  bool rests;            /* parked until somebody outside acts */
  bool is_child;         /* of child.c */
  csn_job *next, **link; /* among the run's jobs */
};
#define CSN_JOB_PARKED ((csn_job *)-1)

struct csn_box_network;
struct csn_redact;

/* What a tool noted before it acted, found again on resume. */
struct csn_noted {
  struct csn_noted *next;
  int64_t effect;
  const csn_json *data;
};

/* A decision whose signature held, see decision.h. */
struct csn_decided {
  struct csn_decided *next;
  int64_t effect, note; /* seqs of the question and of the note */
  csn_str event;        /* data of the `decided` that follows from it */
};

/* What guardrails look at first: a tool_returned's item, a further input's list. */
struct csn_held {
  struct csn_held *next;
  int64_t seq; /* of that record */
  csn_str item;
};

struct csn_run {
  csn_rt *rt;
  const csn_agent *agent;
  csn_agent *own_agent; /* of a resumed run */
  csn_run_options opts;
  csn_journal *journal;
  csn_arena *keep;    /* record 0, items, notes: lives as long as the run */
  csn_arena *scratch; /* one step */
  csn_scope scope;    /* root of every call's scope */

  pthread_mutex_t lock;
  pthread_mutex_t telling; /* after `lock`: a run and its children speak one at a time */
  pthread_cond_t changed;
  csn_state state;
  csn_effects effects;
  struct csn_item_ref *items;
  size_t n_items, items_room;
  struct csn_noted *notes;
  struct csn_billed *billed; /* ask_failure.h; or NULL */
  struct csn_decided *decided;
  const struct csn_decided *raise; /* of limits, which no event has told yet; or NULL */
  struct csn_held *held;
  csn_results results;    /* that stand for later, same calls */
  csn_str session;        /* data of the input when it names one; else empty */
  int64_t history;        /* items that the session had before this run */
  int64_t untrusted_from; /* items of records from here on are; INT64_MAX: none */
  csn_str instructions;   /* what a callback gave last */
  csn_digest memory;      /* of the blob that it was told, if has_memory */
  bool has_memory;
  struct csn_told told; /* found when it began; from then on as it is */
  csn_str summary;      /* what a model summed up last, a JSON string */
  csn_str base;         /* what a filter of a hand-off gave last, a JSON list */
  struct csn_view view; /* what requests hold of the items */
  bool holds_text;      /* it was streamed, and no guardrail has passed it yet */
  csn_str zero;         /* record 0 until it is committed */
  csn_buf request;      /* the last request's body, for the next; empty while one is used */
  csn_kept_body request_kept;
  uint64_t request_form; /* which items, and as whose: another form shares none of that body */
  csn_buf state_text;    /* of the last `state` record */
  csn_job *jobs;         /* all that are not finished */
  csn_job *handed;       /* during deliver: the job for this thread */
  bool may_hand;
  csn_timer *wall;
  bool is_stopped;    /* no more events are taken */
  bool is_at_rest;    /* read back from its journal and not going on: performs nothing */
  csn_err fatal;      /* code != 0: the journal or the machine failed */
  struct csn_box box; /* the first one */
  struct csn_box *others;
  size_t n_others;
  struct csn_redact *redact; /* of its secrets' values; may be NULL */
  /* Of an agent that was called as a tool, see child.c: */
  csn_run *box_run;               /* whose workspace it uses: its parent's; NULL: its own */
  unsigned n_news[CSN_BOXES_MAX]; /* how many losses of each box its model has heard of */
  csn_job *watcher;               /* the parent's job, woken whenever this run comes to rest */
  bool is_watched, is_untrusted_from_birth; /* the next time it does; see label.h */
  csn_run *children;                        /* read back and not going on yet */
  csn_run *next_child;
  int64_t child_of; /* seq of the parent's child_start */
};

/* ---- run.c, zero.c, deliver.c ---- */

int csn_run_make(csn_rt *rt, const csn_run_options *o, csn_run **out, csn_err *err) CSN_MUST;
/* Right after: whose run it is. */
void csn_run_set_agent(csn_run *r, const csn_agent *agent);
/* Takes one event: step, commit, start the effects.  data: a JSON object.
 * Returns a job for the calling thread when `hand` is true (it must be run:
 * csn_job_run), else NULL.  Dropped when the run is stopped. */
csn_job *csn_run_deliver(csn_run *r, enum csn_event_kind kind, csn_str data, bool hand);
/* The same with the lock held, without waking who waits. */
csn_job *csn_run_deliver_held(csn_run *r, enum csn_event_kind kind, csn_str data, bool hand);
/* Lock held: is_over may have come true. */
void csn_run_wake(csn_run *r);
/* Lock held: nothing happens until a human decides. */
bool csn_run_rests(const csn_run *r);
/* Record 0 and the input, a list of items, of a run that has its journal. */
int csn_run_begin(csn_run *r, csn_str items, csn_err *err) CSN_MUST;
/* csn_run_open() for a child of `parent`; NULL: of nobody. */
int csn_run_open_child(csn_rt *rt, csn_str id, const csn_run_options *o, csn_run *parent,
                       csn_run **out, csn_err *err) CSN_MUST;
void csn_run_fail_locked(csn_run *r, const csn_err *e); /* takes the lock */
/* An event {"effect":seq, "error":{...}} from an error. */
csn_job *csn_run_deliver_error(csn_run *r, enum csn_event_kind kind, int64_t seq, const csn_err *e,
                               bool hand);
/* Keeps what later effects need of an event's data, which lives in keep: its
 * items, or that they are held, or instructions. */
void csn_run_keep(csn_run *r, int64_t seq, const csn_json *data);
/* Appends one `note` record. Takes the lock. */
int csn_run_note(csn_run *r, csn_str data, csn_err *err) CSN_MUST;
/* Lock held: the same; summary may be NULL. */
int csn_run_note_held(csn_run *r, csn_str data, const csn_run_row *summary, csn_err *err) CSN_MUST;
/* Lock held: the agent at work. */
const csn_agent *csn_run_agent(const csn_run *r);
/* A notification that is not journaled. */
void csn_run_notify(csn_run *r, const char *type, csn_str data);
/* The run cannot go on here: journal or machine failed. Lock held. */
void csn_run_fail(csn_run *r, const csn_err *e);

/* Lock held: registers a job and submits it (or hands it to this thread). */
void csn_job_start(csn_run *r, csn_job *j, int64_t seq);
/* Runs a job and what it returns until NULL; ends each. */
void csn_job_run(csn_job *j);
/* Any thread, once after each CSN_JOB_PARKED: goes on with j->fn in the pool. */
void csn_job_wake(csn_job *j);
/* The same in the loop's thread, which does it itself when it has nothing else. */
void csn_job_go_on(csn_job *j);

/* ---- perform.c ---- */

/* Lock held. */
void csn_perform(csn_run *r, const csn_effect *f);
/* Lock held: what was pending when a process died, by its rule. */
void csn_perform_again(csn_run *r, const csn_pending *p);
/* Lock held: ends what nobody wants any more and no effect cancels. */
void csn_cancel_unwanted(csn_run *r);
/* Lock held: a job of its own wakes what waits under scopes that were marked,
 * since a tool that is woken may hold locks under which it asks for ours. */
void csn_wake_cancelled(csn_run *r);
/* Lock held: the wall limit of a resumed run counts on. */
void csn_rearm_timer(csn_run *r);

/* ---- child.c ---- */
csn_job *csn_child_job_new(csn_run *r, const csn_pending *p);
int csn_child_open(csn_run *r, int64_t effect, csn_run **out, csn_err *err) CSN_MUST;
/* Of a run that was read back: its children, too. */
int csn_child_open_all(csn_run *r, csn_err *err) CSN_MUST;
csn_run *csn_child_take(csn_run *r, int64_t effect); /* one of those, out of them */
/* Lock held: the children one after the other; NULL begins. */
csn_run *csn_child_next(const csn_run *r, const csn_run *after);
void csn_child_stirs(csn_run *r, const csn_run *child); /* lock held: neither rests any more */

/* ---- callback.c ---- */
csn_job *csn_callback_job_new(csn_run *r, const csn_pending *p);

/* ---- ask_model.c ---- */
csn_job *csn_model_job_new(csn_run *r);
/* Loads what the first request needs, in the I/O thread, while the run begins. */
void csn_model_warm(csn_run *r);

/* ---- session.c ---- */
csn_job *csn_session_read_job_new(csn_run *r);
csn_job *csn_session_append_job_new(csn_run *r);

/* ---- call.c ---- */
csn_job *csn_call_job_new(csn_run *r, const csn_pending *p, bool recover);
csn_run *csn_call_run(csn_call *c);
/* The sandbox that it is about: the one that its arguments name, else the first;
 * and another one from now on. */
struct csn_box *csn_call_in(const csn_call *c);
int csn_call_choose(csn_call *c, csn_str name, csn_err *err) CSN_MUST;
int csn_call_box(csn_call *c, csn_sandbox **sb, csn_shell **shell, csn_err *err) CSN_MUST;
/* The claim of an exec: a file that proves, after a crash, that it began. */
int csn_call_claim(csn_call *c, csn_err *err) CSN_MUST;
bool csn_call_was_claimed(csn_call *c);
csn_str csn_call_name(const csn_call *c);
/* What of the workspace the agent that made it may use; NULL: all. */
const csn_file_scope *csn_call_files(const csn_call *c);
const csn_agent *csn_call_agent(const csn_call *c);
struct csn_stage;
/* Files of a workspace that is elsewhere, in a folder of the box that bears the
 * call's name; and after a crash: 1 when what was sealed is sent now, else 0. */
int csn_call_stage(csn_call *c, csn_sandbox *sb, const char *const *paths, int64_t most,
                   struct csn_stage **out, csn_err *err) CSN_MUST;
int csn_call_stage_recover(csn_call *c, csn_sandbox *sb, csn_err *err) CSN_MUST;
enum { CSN_CLAIM_NAME = 80 };
/* Where the claim of the call with that seq is, beneath the box's folder. */
void csn_claim_name(const csn_run *r, int64_t seq, char name[CSN_CLAIM_NAME]);

#endif
