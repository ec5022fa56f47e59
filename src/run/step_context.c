/* SPDX-License-Identifier: Apache-2.0
 * step_context.c - a conversation that is longer than the model takes.
 *
 * Tokens of a request are known to be few as long as what the provider counted
 * and the bytes that came after are few.  When they may be too many the driver
 * looks (a `callback` effect for `context`): it estimates, and says what could
 * go.  Old outputs of tools go first; if that is not enough, the model sums up
 * all but the last turns (a `model_call` for `compaction`).  The records stay as
 * they are; only what requests hold of them changes.
 *
 * A server that does this by itself is let do it, until it refuses a request. */
#include "run/items.h"
#include "run/step_impl.h"

enum {
  BYTES_PER_TOKEN = 2,  /* at least, of what the model has not counted */
  SUMMARY_PART = 8,     /* of the threshold a summary may take ... */
  SUMMARY_MOST = 16384, /* ... but no more tokens than that, nor less than this: */
  SUMMARY_LEAST = 1024,
  REFUSALS_MOST = 3, /* of one call: each makes the next smaller */
  TRIM_PERCENT = 60  /* of the threshold: leaving outputs out is enough */
};

static const csn_json *
entry(const csn_state *st)
{
  const char *chosen = csn_state_model(st);
  csn_str name = chosen ? csn_cstr(chosen) : st->cfg.model;
  csn_auto(csn_freep) char *key = csn_dupz(name);
  return csn_json_get(st->cfg.compact_at, key);
}

int64_t
csn_state_server_compacts_at(const csn_state *st)
{
  const csn_json *e = entry(st);
  return csn_json_bool(e, "server", false) ? csn_json_int(e, "tokens", 0) : 0;
}

int64_t
csn_state_compact_at(const csn_state *st)
{
  int64_t at = csn_json_int(entry(st), "tokens", 0), learned = st->context.learned;
  return learned && (!at || learned < at) ? learned : at;
}

/* ---- before a call ---- */

static void
sum_up(struct csn_step *s)
{
  csn_state *st = s->st;
  int64_t most = csn_state_compact_at(st) / SUMMARY_PART;
  if (!csn_step_reserve(s))
    return;
  most = most > SUMMARY_MOST ? SUMMARY_MOST : most < SUMMARY_LEAST ? SUMMARY_LEAST : most;
  if (!st->budget.max_output || st->budget.max_output > most)
    st->budget.max_output = most;
  st->phase = CSN_PHASE_COMPACT;
  st->attempts = 0;
  csn_pending_add(st, CSN_DO_MODEL_CALL, csn_emit_model_call(s->out, s->ev, st));
}

bool
csn_step_make_room(struct csn_step *s)
{
  csn_state *st = s->st;
  csn_context *c = &st->context;
  if (c->wanted >= 0) {
    sum_up(s);
    return true;
  }
  if (c->has_looked) {
    c->has_looked = false;
    return false;
  }
  int64_t at = csn_state_server_compacts_at(st) ? c->learned : csn_state_compact_at(st);
  int64_t least = st->budget.context_tokens + st->budget.fresh_bytes / BYTES_PER_TOKEN;
  if (!c->is_refused && (!at || least < at))
    return false;
  csn_step_ask_callback(s, CSN_FOR_CONTEXT, CSN_STR(""), CSN_STR(""));
  return true;
}

/* A request is a part of what it was, so no more tokens than that; and no more
 * than bytes. */
static void
shrink(csn_state *st, int64_t bytes)
{
  csn_budget *b = &st->budget;
  int64_t was = b->context_tokens + b->fresh_bytes;
  b->context_tokens = bytes > 0 && bytes < was ? bytes : was;
  b->fresh_bytes = 0;
  st->context.counted_to = -1;
}

/* {"effect","tokens","at"?: after a
 * refusal,"trim"?,"trimmed"?,"trimmed_bytes"?,"cut"?,"kept_bytes"?} */
void
csn_step_room_seen(struct csn_step *s)
{
  csn_state *st = s->st;
  csn_context *c = &st->context;
  const csn_json *v = s->ev->data;
  int64_t tokens = csn_json_int(v, "tokens", 0), trim = csn_json_int(v, "trim", -1);
  int64_t cut = csn_json_int(v, "cut", -1);
  bool must = c->is_refused;
  c->has_looked = true;
  c->is_refused = false;
  if (must)
    c->learned = csn_json_int(v, "at", 0);
  int64_t at = csn_state_compact_at(st);
  if (!must && tokens < at)
    return;
  bool is_new = trim > c->trim;
  if (is_new)
    c->trim = trim;
  if (is_new && csn_json_int(v, "trimmed", tokens) <= at / 100 * TRIM_PERCENT) {
    shrink(st, csn_json_int(v, "trimmed_bytes", 0));
  } else if (cut > c->cut) {
    c->wanted = cut;
    c->kept_bytes = csn_json_int(v, "kept_bytes", 0);
  } else if (must && !is_new) { /* the same request would be refused again */
    csn_auto(csn_freep) char *said = csn_steal(st->message);
    csn_step_give_up(s, CSN_RUN_FAILED, "model", csn_cstr(said));
  }
}

/* ---- summing up ---- */

static void
apply_cut(struct csn_step *s, int64_t summary, int64_t bytes)
{
  csn_context *c = &s->st->context;
  c->cut = c->wanted;
  c->summary = summary;
  c->wanted = -1;
  shrink(s->st, c->kept_bytes + bytes);
}

/* It was another request that the provider counted. */
static void
charge(struct csn_step *s, const csn_json *usage)
{
  csn_budget *b = &s->st->budget;
  int64_t context = b->context_tokens, fresh = b->fresh_bytes;
  csn_step_charge(s->st, usage);
  b->context_tokens = context;
  b->fresh_bytes = fresh;
}

/* {"effect","items":[],"usage","summary"} */
int
csn_step_on_summed_up(struct csn_step *s)
{
  csn_state *st = s->st;
  csn_pending *p = csn_pending_answered(s, CSN_DO_MODEL_CALL);
  if (!p)
    return CSN_E_INVALID;
  const csn_json *summary = csn_json_get(s->ev->data, "summary");
  csn_pending_drop(st, p);
  csn_usage_add(&st->usage, csn_json_get(s->ev->data, "usage"));
  charge(s, csn_json_get(s->ev->data, "usage"));
  apply_cut(s, s->ev->seq, summary ? (int64_t)summary->raw.n : 0);
  return 0;
}

/* Then the beginning is left out without a summary: better than no run. */
int
csn_step_on_not_summed_up(struct csn_step *s)
{
  csn_pending *p = csn_pending_answered(s, CSN_DO_MODEL_CALL);
  if (!p)
    return CSN_E_INVALID;
  const csn_json *usage = csn_json_get(s->ev->data, "usage"); /* of a refusal */
  csn_pending_drop(s->st, p);
  csn_usage_add(&s->st->usage, usage);
  charge(s, usage);
  if (s->st->outcome == CSN_RUN_RUNNING && csn_json_bool(s->ev->data, "again", false))
    csn_step_ask_again(s);
  else
    apply_cut(s, -1, 0);
  return 0;
}

/* ---- after a call ---- */

void
csn_step_context_replied(struct csn_step *s)
{
  csn_context *c = &s->st->context;
  if (c->refusals)
    csn_step_set_text(&s->st->message, CSN_STR(""));
  c->refusals = 0;
  if (csn_json_int(csn_json_get(s->ev->data, "usage"), "input_tokens", 0) > 0)
    c->counted_to = s->ev->seq;
  csn_json_each (item, csn_json_get(s->ev->data, "items"))
    if (csn_str_eq(csn_json_str(item, "type", CSN_STR("")), CSN_STR("compaction")))
      c->since = s->ev->seq;
}

bool
csn_step_was_too_long(struct csn_step *s)
{
  csn_state *st = s->st;
  csn_str code = csn_json_str(csn_json_get(s->ev->data, "error"), "code", CSN_STR(""));
  if (!csn_str_eq(code, CSN_STR("too_long")) || !st->cfg.compact_at ||
      st->context.refusals >= REFUSALS_MOST)
    return false;
  st->context.refusals++;
  st->context.is_refused = true;
  csn_step_set_text(&st->message, csn_step_error_text(s->ev)); /* if nothing can go */
  return true;
}

/* ---- as JSON ---- */

static const struct {
  const char *key;
  size_t at;
  int64_t none;
} numbers[] = {
    {"trim", offsetof(csn_context, trim), -1},
    {"cut", offsetof(csn_context, cut), -1},
    {"summary", offsetof(csn_context, summary), -1},
    {"since", offsetof(csn_context, since), -1},
    {"base", offsetof(csn_context, base), -1},
    {"base_to", offsetof(csn_context, base_to), -1},
    {"wanted", offsetof(csn_context, wanted), -1},
    {"kept_bytes", offsetof(csn_context, kept_bytes), 0},
    {"counted_to", offsetof(csn_context, counted_to), -1},
    {"learned", offsetof(csn_context, learned), 0},
    {"refusals", offsetof(csn_context, refusals), 0},
};

static int64_t *
number_at(csn_context *c, size_t i)
{
  return (int64_t *)(void *)((char *)c + numbers[i].at);
}

void
csn_step_context_to_json(const csn_state *st, csn_jw *w)
{
  csn_context c = st->context;
  if (!st->cfg.compact_at)
    return;
  csn_jw_key(w, "context");
  csn_jw_obj(w);
  csn_jw_key(w, "tokens");
  csn_jw_int(w, st->budget.context_tokens);
  csn_jw_key(w, "fresh_bytes");
  csn_jw_int(w, st->budget.fresh_bytes);
  for (size_t i = 0; i < CSN_COUNT(numbers); i++) {
    if (*number_at(&c, i) == numbers[i].none)
      continue;
    csn_jw_key(w, numbers[i].key);
    csn_jw_int(w, *number_at(&c, i));
  }
  if (c.is_refused) {
    csn_jw_key(w, "refused");
    csn_jw_bool(w, true);
  }
  if (c.has_looked) {
    csn_jw_key(w, "looked");
    csn_jw_bool(w, true);
  }
  csn_jw_end(w);
}

void
csn_step_context_from_json(csn_state *st, const csn_json *v)
{
  csn_context *c = &st->context;
  for (size_t i = 0; i < CSN_COUNT(numbers); i++)
    *number_at(c, i) = csn_json_int(v, numbers[i].key, numbers[i].none);
  c->is_refused = csn_json_bool(v, "refused", false);
  c->has_looked = csn_json_bool(v, "looked", false);
  if (!v)
    return;
  st->budget.context_tokens = csn_json_int(v, "tokens", 0);
  st->budget.fresh_bytes = csn_json_int(v, "fresh_bytes", 0);
}
