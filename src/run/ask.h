/* SPDX-License-Identifier: Apache-2.0
 *
 * ask.h - the model_call job and what its files share.
 *
 *   ask_model.c    the job: attempts, retries, the wire
 *   ask_request.c  what the request holds, and its bytes
 *   ask_reply.c    what is shown of a reply, and the event that it becomes
 *   ask_failure.c  the event and the note of a call that failed
 */
#ifndef CSN_RUN_ASK_H
#define CSN_RUN_ASK_H

#include "run/ask_failure.h"
#include "run/driver.h"

struct csn_ask_job {
  csn_job base;
  csn_arena *arena; /* of one attempt's reply */
  csn_arena *own;   /* of the call's settings; or NULL */
  struct csn_route route;
  csn_model_request rq;
  csn_str *items;
  csn_tool_decl *tools;
  csn_buf body;
  csn_kept_body kept;   /* what body holds */
  csn_http_call *http;  /* while on the wire; guarded by the run's lock */
  csn_timer *timer;     /* between attempts; guarded by the run's lock */
  atomic_bool is_woken; /* by the timer or by cancel, whoever comes first */
  csn_decoder *decoder;
  csn_str instructions;   /* JSON string that a callback gave; empty: the agent's text */
  char *without;          /* patterns of tools that are not offered */
  csn_buf composed;       /* instructions that a callback gave, with what is added */
  const csn_agent *agent; /* at work */
  char *filter;           /* what a hand-off leaves of earlier items; or NULL */
  int64_t filter_to;
  char *model;    /* in the place of the agent's; or NULL */
  bool has_other; /* another takes its place when it fails or refuses */
  csn_gate *gate; /* of the provider; NULL: no server */
  csn_gate_call pass;
  csn_buf frame;  /* the request as a WebSocket's message */
  bool by_socket; /* this attempt */
  csn_str url;
  int64_t max_output; /* cap of the reply; 0: as the settings say */
  const csn_json *settings;
  bool is_gated;     /* text is held back until guardrails have passed it */
  int64_t server_at; /* the server sums up from so many tokens on; 0: it does not */
  bool free_choice;  /* of tools, whatever the settings say */
  bool sums_up;      /* no turn: what stands up to `cut` is summed up in so many tokens */
  int64_t cut, room;
  bool is_cancelled, has_streamed;
  int attempt;
  int feed_rc;
  csn_err err;      /* of the attempt; code 0: it went well */
  csn_usage failed; /* what the provider told of an attempt that failed */
};

/* The name of the model that is asked. */
const char *csn_ask_model(const struct csn_ask_job *a);

/* ---- ask_request.c ---- */

/* Once for each call: what a callback gave with what is added to it, and the
 * agent's settings with the cap of this reply. */
int csn_ask_compose(struct csn_ask_job *a, csn_err *err) CSN_MUST;
int csn_ask_settle(struct csn_ask_job *a, csn_err *err) CSN_MUST;
/* Once for each attempt: fills a->rq. */
void csn_ask_collect(struct csn_ask_job *a);
/* a->rq as bytes in a->body, with a->url; then as a WebSocket's message. */
int csn_ask_write(struct csn_ask_job *a, csn_err *err) CSN_MUST;
void csn_ask_frame(struct csn_ask_job *a);

/* ---- ask_reply.c ---- */

/* A csn_delta_fn; user: the job. */
void csn_ask_on_delta(void *user, enum csn_delta_kind kind, csn_str text);
/* What the attempt has given out does not count. */
void csn_ask_drop_shown(struct csn_ask_job *a);
/* Each delivers the event that ends the job, and returns the next job. */
csn_job *csn_ask_deliver(struct csn_ask_job *a, const csn_model_reply *reply);
csn_job *csn_ask_give_up(struct csn_ask_job *a);
/* again: the machine is to reserve anew and ask once more. */
csn_job *csn_ask_deliver_billed(struct csn_ask_job *a, const csn_err *err, bool again);
bool csn_ask_is_billed(const struct csn_ask_job *a);

#endif
