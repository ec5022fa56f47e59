/* SPDX-License-Identifier: Apache-2.0
 *
 * context.h - what of a conversation a request holds, once the conversation is
 * longer than the model takes.
 *
 *   context.c       the view: items as requests have them; shortening them
 *   context_look.c  the job that finds out what has room, and what could go
 *
 * The items of a run stay as they are.  A view is made anew when the state says
 * that more was left out, and grows with the run in between.
 */
#ifndef CSN_RUN_CONTEXT_H
#define CSN_RUN_CONTEXT_H

#include "caisson/json.h"
#include "model/tokens.h"

struct csn_item_ref {
  int64_t seq;
  csn_str raw;
  csn_str model; /* that gave it; empty: none */
};

/* What is left out, as csn_context of step.h has it. */
struct csn_view_spec {
  int64_t trim, cut, since; /* seqs of records; -1: none */
  int64_t base_to;          /* likewise: for what stands up to this one ... */
  csn_str base;             /* ... these stand, a JSON list */
  csn_str summary;          /* a JSON string; empty: what is left out is not summed up */
  int64_t head_tokens;      /* of the user's messages before the cut, which stay */
  enum csn_token_family family;
};

/* Items that are not as the run has them, and then all from `from` on. */
struct csn_view {
  csn_arena *arena; /* NULL: nothing is left out */
  struct csn_view_spec spec;
  struct csn_item_ref *v;
  size_t n, from;
  uint32_t version; /* how often it was made or given up */
};

void csn_view_fini(struct csn_view *v);
/* Makes it what the spec says of these items; nothing when it is so already. */
void csn_view_set(struct csn_view *v, const struct csn_view_spec *spec,
                  const struct csn_item_ref *items, size_t n);

/* The items of records up to `to` so that a model can sum them up within
 * `tokens`: long outputs are cut in the middle, then the model's oldest turns go.
 * out: room for n; returns how many. */
size_t csn_context_fit(const struct csn_item_ref *items, size_t n, int64_t to, int64_t tokens,
                       enum csn_token_family family, csn_arena *a, csn_str *out);
/* What the model is asked for, as an item. */
csn_str csn_context_prompt(csn_arena *a);

/* How the settings of one call differ from the agent's. */
struct csn_call_settings {
  int64_t max_output; /* cap of its reply; 0: none */
  bool sums_up;       /* without what is said of tools and of the answer's form */
  bool free_choice;   /* without a choice of tools */
  int64_t server_at;  /* the server's own compaction, from so many tokens on; 0: none */
};
/* The agent's settings as that call has them. */
int csn_context_settings(const csn_json *own, const struct csn_call_settings *of, csn_arena *a,
                         const csn_json **out, csn_err *err) CSN_MUST;

/* What could go so that a request gets below `at` tokens. */
struct csn_context_look {
  int64_t tokens;                       /* as it is */
  int64_t at;                           /* as asked for, or what to learn from the refusal */
  int64_t trim, trimmed, trimmed_bytes; /* trim: -1 when there are no outputs to leave out */
  int64_t cut, kept_bytes;              /* cut: -1 when there is nothing to sum up */
};
struct csn_context_question {
  int64_t at;
  bool is_refused;              /* the request was: `at` is too much */
  int64_t counted, counted_to;  /* tokens up to that record as the provider counted; -1: none */
  int64_t around, around_bytes; /* what a request holds beside the items */
  struct csn_view_spec spec;
};
void csn_context_look(const struct csn_item_ref *items, size_t n,
                      const struct csn_context_question *q, struct csn_context_look *out);

#endif
