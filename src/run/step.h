/* SPDX-License-Identifier: Apache-2.0
 *
 * step.h - a run as a value: csn_step(state, event) -> state, effects.
 *
 * Pure: no I/O, no clock, no randomness, no threads, no user function.  All
 * that is nondeterministic comes in as an event, so that feeding the same
 * events gives the same effects, byte for byte.
 */
#ifndef CSN_RUN_STEP_H
#define CSN_RUN_STEP_H

#include "caisson/run.h"
#include "core/hash.h"
#include "run/event.h"
#include "run/items.h"
#include "run/prices.h"
#include "run/purpose.h"

/* Raised whenever the same events could give other effects than before. */
enum { CSN_STEP_VERSION = 1 };

enum csn_phase {
  CSN_PHASE_NEW,     /* no input yet */
  CSN_PHASE_SETUP,   /* the sandbox is being made */
  CSN_PHASE_PREPARE, /* callbacks must answer before the model is called */
  CSN_PHASE_COMPACT, /* a model sums up what the next request has no room for */
  CSN_PHASE_MODEL,   /* a model call is pending, maybe guardrails beside it */
  CSN_PHASE_TOOLS,   /* tool calls or questions about them are pending */
  CSN_PHASE_REVIEW,  /* guardrails look at the final answer */
  CSN_PHASE_CLOSING, /* outputs are collected */
  CSN_PHASE_ENDED,
  CSN_PHASE_COUNT
};

/* An effect whose result is not in yet. */
typedef struct csn_pending {
  int64_t seq;              /* of its record; -1: not emitted yet */
  enum csn_purpose purpose; /* of a callback */
  int64_t of;               /* TOOL_OUTPUT: seq of the tool_returned it looks at */
  char *callbacks;          /* of a callback: their names, a JSON list */
  enum csn_effect_kind kind;
  bool is_cancelled, is_custom;
  bool is_edited;                   /* a human changed the arguments */
  bool is_held;                     /* its result is looked at before it joins */
  bool was_interrupted;             /* asked because the harness died while it ran */
  char *call_id, *name, *arguments; /* of a tool call or a question about one */
  int64_t order;                    /* among the calls of its turn */
  enum csn_call_how how;            /* of a tool call or a question about one */
  int64_t tokens, cost_pusd;        /* reserved for a child; 0: no limit */
  int64_t turns, tool_calls;        /* likewise */
  char *answer;                     /* not performed: this is its output; or NULL */
} csn_pending;

/* A decision that holds for later calls, too. */
typedef struct csn_sticky {
  char *tool, *agent;
  char *like;       /* a pattern for the call's text; NULL: the same arguments */
  char *box;        /* of the pattern: the one of several sandboxes; or NULL */
  csn_digest scope; /* of the arguments */
  bool allow;
  char *reason;     /* told to the model when denied; or NULL */
  int64_t until_ms; /* Unix time; 0: to the end of the run */
} csn_sticky;

/* What of the agent decides the course of a run; read from record 0. */
typedef struct csn_step_config {
  bool has_sandbox, has_outputs;
  int64_t max_turns, wall_ms; /* 0: none, as the next */
  int64_t max_tokens, max_cost_pusd, max_tool_calls, max_repeats;
  int64_t soft_percent, reply_tokens; /* reply_tokens: `max_tokens` of the settings */
  csn_str soft_model, model;
  bool caches_for_hour;        /* what is written to the provider's cache stays so long */
  const csn_json *prices;      /* by model, of record 0 */
  const csn_json *compact_at;  /* by model, of record 0: {tokens, server?}; NULL: never */
  int64_t max_parallel;        /* tool calls at once; 0: any number */
  const csn_json *tool_use;    /* of the agent at work: which results end the run */
  int64_t max_children;        /* agents that are called as tools; 0: any number */
  const csn_json *agent_tools; /* of the agent at work: {agent, tool} */
  int64_t max_handoffs;        /* with nothing new in between; 0: any number */
  const csn_json *root;        /* the resolved agent of record 0, with `agents` */
  bool has_schema;             /* its answer must fit one */
  bool resets_choice;          /* of tools, once it has used one: step_choice.c */
  const csn_json *handoffs;    /* of the agent at work: {agent, tool, filter?} */
  const csn_json *guardrails;  /* {callback, on, blocking?, tool?} */
  const csn_json *tools;       /* {tool, enabled?}: `tool_settings` */
  csn_str instructions;        /* name of the callback that gives them; empty: a text */
  const csn_json *approvals;   /* rules, see policy.h */
  const csn_json *errors;      /* of the agent at work: by kind, {callback} or {output} */
  csn_str agent;               /* name of the agent at work */
  const csn_json *lists;       /* of models, by agent, of record 0; or NULL */
  const csn_json *models;      /* of the agent at work; NULL: it has one model */
  int64_t checkpoint_ms;       /* least time between two of them, of record 0; -1: none are made */
} csn_step_config;

enum { CSN_LOOPS_KEPT = 32 };
/* A call with its result, and how often it came since anything new. */
struct csn_loop_pair {
  unsigned char hash[8], times;
};

/* What is used up and what the next request may hold. */
typedef struct csn_budget {
  int64_t cost_pusd;                   /* picodollars */
  int64_t context_tokens, fresh_bytes; /* counted by the model, and what came after */
  int64_t max_output;                  /* cap of the reply that is out; 0: none */
  int64_t children;                    /* started so far */
  int64_t child_tokens;                /* used by children */
  int64_t child_turns, child_calls;
  bool is_soft; /* the soft threshold was passed */
} csn_budget;

enum { CSN_RESTS_KEPT = 16 };
/* Which of several models is asked: step_route.c. */
struct csn_route_state {
  char *model;     /* of the call that is out, or was last; NULL: no list */
  const char *why; /* a literal: first, when, failed, refused, rests, budget */
  int64_t tried;   /* entries that were asked in this turn, as bits */
  struct csn_rest {
    char *model;
    int64_t since_ms;
  } rests[CSN_RESTS_KEPT]; /* that failed lately */
  size_t n_rests;
};
/* What one of several agents of a run has used: step_use.c. */
typedef struct csn_agent_use {
  char *name;
  int64_t turns, tool_calls, cost_pusd;
  csn_usage usage;
} csn_agent_use;

/* What of the conversation requests still hold: step_context.c decides,
 * context.c obeys.  Seqs of records; -1: none. */
typedef struct csn_context {
  int64_t trim;       /* outputs up to this one are left out */
  int64_t cut;        /* what stands up to this one is summed up ... */
  int64_t summary;    /* ... by the model_replied of this seq, if by any */
  int64_t since;      /* the reply whose compaction item stands for all before it */
  int64_t base;       /* the callback_returned whose items stand for all ... */
  int64_t base_to;    /* ... up to this one */
  int64_t wanted;     /* the cut that a summary is being made for */
  int64_t kept_bytes; /* of a request after that cut, without the summary */
  int64_t counted_to; /* the last reply with which the provider counted a request */
  int64_t learned;    /* tokens that a provider refused, less a margin; 0: none */
  int64_t refusals;   /* of the call that is out, so far */
  bool is_refused;    /* the last call was; something must go */
  bool has_looked;    /* in this turn */
} csn_context;

/* Checkpoints of the workspace: step_save.c. */
struct csn_saving {
  bool is_due;   /* something was done in it since the last one */
  int64_t at_ms; /* when that was asked for, or the sandbox made */
};

/* Why a run is about to end without an answer, while somebody is asked for one:
 * step_error.c. */
typedef struct csn_failing {
  const char *kind; /* a literal: max_turns, model_refusal, invalid_final_output; NULL: it is not */
  char *message;
  bool was_asked;
} csn_failing;

typedef struct csn_state {
  csn_step_config cfg;
  enum csn_phase phase;
  csn_pending *pending;
  size_t n_pending, pending_room;
  int64_t turns, tool_calls;
  int64_t turn_calls; /* while a reply is taken */
  csn_usage usage;
  int64_t items_from, items_to; /* seqs of the records that hold the conversation; -1: none */
  csn_digest prefix;            /* running hash over the conversation's items */
  enum csn_run_state outcome;   /* RUNNING until it is decided */
  char *reason, *output, *message;
  bool stops_after_turn;
  char *stop_output;  /* a result that is the answer, of the first such call; or NULL */
  int64_t stop_order; /* its order */
  bool is_repaired;   /* the model was told once that its answer does not fit */
  bool is_final;      /* the last reply is the answer, unless a guardrail objects */
  bool turn_ended;    /* by the last step: worth a `state` record */
  bool sandbox_open;
  int64_t timer_seq;   /* of the wall limit's timer_set; -1: none */
  int64_t timer_at_ms; /* when it fires, Unix time */
  csn_budget budget;
  struct csn_saving saving;
  csn_failing failing;
  csn_agent_use *uses; /* of runs with several agents */
  size_t n_uses;
  char **tool_users; /* names of agents that have used a tool */
  size_t n_tool_users;
  int64_t attempts; /* of the call that is out, before it: they failed and were billed */
  char *untrusted;  /* why its context is not to be trusted (web, files, tool, ...); NULL: it is */
  csn_context context;
  struct csn_loop_pair loops[CSN_LOOPS_KEPT];
  size_t n_loops;
  csn_buf results;                /* hashes of those since the last `state`, 16 digits each */
  int64_t handoffs_back;          /* to agents that were there before, since anything new */
  char *limit_what;               /* which limit ended the run; or NULL */
  int64_t limit_max, limit_used;  /* in its unit; cost in picodollars */
  char *next_agent, *next_filter; /* who goes on after this turn; or NULL */
  char *next_input;               /* the arguments with which; NULL: it takes none */
  char *filter;      /* what a hand-off leaves of earlier items: messages, last; or NULL */
  int64_t filter_to; /* seq of the last record that it is about */
  char *model;       /* in the place of the agent's; or NULL */
  struct csn_route_state route;
  int64_t instructions; /* seq of the callback_returned that holds them; -1: none */
  char *session;        /* the conversation that this run is a part of; NULL: none */
  int64_t reply;        /* seq of this turn's model_replied; -1: none yet */
  int64_t answer;       /* that of the first answer that guardrails on output look at; -1: none */
  int64_t withheld;     /* items of that seq and after it stay out of the session; -1: none */
  struct csn_aside {    /* these, too: answers that turned out to be none */
    int64_t from, to;
  } * aside;
  size_t n_aside;
  bool is_raised;     /* limits of cfg are not those of record 0 */
  bool has_passed;    /* in the last step: guardrails passed the answer */
  char *disabled;     /* patterns of tools that are not there in this turn, each ends in \n */
  csn_sticky *sticky; /* not in the JSON form: built from the decisions, which are signed */
  size_t n_sticky;
  int64_t *added; /* seqs of inputs that wait for the next turn, oldest first */
  size_t n_added;
} csn_state;

/* Effects of one step, in order; init once, cleared by each step. */
typedef struct csn_effects {
  csn_effect *v;
  size_t n, room;
  csn_buf text;
} csn_effects;

/* agent: the resolved agent of record 0; must outlive the state.  salt: its
 * hash, with which the prefix starts.  prices: of record 0, as long; or NULL. */
void csn_state_init(csn_state *st, const csn_json *agent, const csn_json *prices,
                    const csn_digest *salt);
void csn_state_fini(csn_state *st);
/* Right after init: `models` of record 0, which must live as long; or NULL. */
void csn_state_set_models(csn_state *st, const csn_json *models);
/* Likewise: `checkpoint_ms` of record 0. */
void csn_state_set_checkpoint(csn_state *st, int64_t checkpoint_ms);
/* In the place of the agent's model, or NULL. */
const char *csn_state_model(const csn_state *st);
/* Another can take the place of the one that is asked. */
bool csn_state_has_other_model(const csn_state *st);

/* Errors: CSN_E_INVALID when the event does not belong here (a result for an
 * effect that is not pending, anything after the end). The state is then
 * unchanged. */
int csn_step(csn_state *st, const csn_event *ev, csn_effects *out, csn_err *err) CSN_MUST;

/* A guardrail looks at the final answer, so no text is given out before. */
bool csn_state_is_gated(const csn_state *st);
/* Tokens of a request from which on something is left out; 0: never. */
int64_t csn_state_compact_at(const csn_state *st);
/* The server does it, from that many tokens on; 0: it does not. */
int64_t csn_state_server_compacts_at(const csn_state *st);
/* A limit ended it, and it goes on when that is raised. */
bool csn_state_may_be_raised(const csn_state *st);
/* Items of that record stay out of the session: no guardrail has passed them. */
bool csn_state_withholds(const csn_state *st, int64_t seq);
/* A choice of tools that the settings force holds no longer. */
bool csn_state_has_free_choice(const csn_state *st);
/* Who of several agents used what: the member "agents" of an object. */
void csn_step_uses_to_json(const csn_state *st, csn_jw *w, bool is_finish);
/* Whom a pending child_start calls. */
csn_str csn_step_child_agent(const csn_state *st, const csn_pending *p);
/* The pending effect with that seq, or NULL. */
const csn_pending *csn_state_find(const csn_state *st, int64_t seq);
/* What a `decided` says about later calls; part of csn_step(), and called for
 * the decisions before a state that a run starts from. */
void csn_state_remember(csn_state *st, const csn_json *decided);
/* Nothing but questions to a human is pending. */
bool csn_state_waits(const csn_state *st);

/* Versioned JSON, so that a newer program can start from the last one it knows. */
void csn_state_to_json(const csn_state *st, csn_jw *w);
int csn_state_from_json(csn_state *st, const csn_json *v, csn_err *err) CSN_MUST;
/* A state's JSON says of the loop history what the turn added: each state
 * before the one that a run starts from is to be folded in first, in order. */
void csn_state_fold(csn_state *st, const csn_json *v);

const char *csn_phase_name(enum csn_phase p);

void csn_effects_fini(csn_effects *e);

/* For tests: whether the table has a handler for this pair. */
bool csn_step_accepts(enum csn_phase p, enum csn_event_kind k);

#endif
