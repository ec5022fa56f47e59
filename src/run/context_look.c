/* SPDX-License-Identifier: Apache-2.0
 * context_look.c - how full a request is, and what could go: see context.h. */
#include "model/transcript.h"
#include "run/context_run.h"

enum {
  OUTPUTS_PART = 4, /* of the threshold: the newest outputs stay whole */
  TAIL_PART = 4,    /* the last turns that are not summed up */
  LAST_PART = 2,    /* the last turn stays if it takes no more than this */
  STUB_TOKENS = 48,
  LEARNED_PERCENT = 70 /* of what a provider refused */
};

struct looking {
  const struct csn_item_ref *items;
  size_t n;
  const struct csn_context_question *q;
  int64_t *tokens;
  enum csn_item_side *side;
};

static void
measure(struct looking *l, struct csn_context_look *out)
{
  csn_auto(csn_arena_freep) csn_arena *tmp = csn_arena_new(0);
  bool is_counted = l->q->counted_to >= 0;
  out->tokens = is_counted ? l->q->counted : l->q->around;
  out->trimmed_bytes = l->q->around_bytes;
  for (size_t i = 0; i < l->n; i++) {
    const csn_json *item = NULL;
    csn_arena_clear(tmp);
    if (csn_json_parse(tmp, l->items[i].raw, &item, NULL) < 0)
      item = NULL;
    l->side[i] = item ? csn_item_side(item) : CSN_SIDE_OTHER;
    l->tokens[i] = csn_tokens_estimate(l->q->spec.family, l->items[i].raw);
    out->trimmed_bytes += (int64_t)l->items[i].raw.n;
    if (!is_counted || l->items[i].seq > l->q->counted_to)
      out->tokens += l->tokens[i];
  }
}

/* Outputs older than the newest that have room. */
static void
look_at_outputs(struct looking *l, struct csn_context_look *out)
{
  int64_t room = out->at / OUTPUTS_PART;
  out->trim = -1;
  out->trimmed = out->tokens;
  for (size_t i = l->n; i-- > 0;) {
    if (l->side[i] != CSN_SIDE_TOOL)
      continue;
    if (room > 0 && l->tokens[i] <= room) {
      room -= l->tokens[i];
      continue;
    }
    room = 0;
    if (l->tokens[i] <= 2 * STUB_TOKENS)
      continue;
    if (out->trim < 0)
      out->trim = l->items[i].seq;
    out->trimmed -= l->tokens[i] - STUB_TOKENS;
    out->trimmed_bytes -= (int64_t)l->items[i].raw.n - 400;
  }
}

static bool
begins_turn(const struct looking *l, size_t i)
{
  return l->side[i] == CSN_SIDE_MODEL && (i == 0 || l->items[i - 1].seq != l->items[i].seq);
}

/* The last turns that have room stay; all before them can be summed up. */
static void
look_for_cut(struct looking *l, struct csn_context_look *out)
{
  int64_t sum = 0;
  size_t from = l->n;
  for (size_t i = l->n; i-- > 0;) {
    sum += l->tokens[i];
    if (sum > out->at / (from == l->n ? LAST_PART : TAIL_PART))
      break;
    if (begins_turn(l, i))
      from = i;
  }
  out->cut = -1;
  if (from == 0 || l->n == 0)
    return;
  out->cut = from == l->n ? l->items[l->n - 1].seq : l->items[from].seq - 1;
  struct csn_view after = {0};
  struct csn_view_spec spec = l->q->spec;
  spec.base = CSN_STR("");
  spec.since = -1; /* the items are those of the view already */
  spec.trim = out->trim > spec.trim ? out->trim : spec.trim;
  spec.cut = out->cut;
  spec.summary = CSN_STR("");
  csn_view_set(&after, &spec, l->items, l->n);
  out->kept_bytes = l->q->around_bytes;
  for (size_t i = 0; i < after.n; i++)
    out->kept_bytes += (int64_t)after.v[i].raw.n;
  if (after.n >= l->n)
    out->cut = -1; /* it would be no shorter */
  csn_view_fini(&after);
}

void
csn_context_look(const struct csn_item_ref *items, size_t n, const struct csn_context_question *q,
                 struct csn_context_look *out)
{
  struct looking l = {.items = items, .n = n, .q = q};
  csn_auto(csn_freep) int64_t *tokens = csn_alloc((n + 1) * sizeof *tokens);
  csn_auto(csn_freep) enum csn_item_side *side = csn_alloc((n + 1) * sizeof *side);
  l.tokens = tokens;
  l.side = side;
  measure(&l, out);
  int64_t learned = out->tokens / 100 * LEARNED_PERCENT;
  out->at = q->is_refused && learned < q->at ? learned : q->at;
  look_at_outputs(&l, out);
  look_for_cut(&l, out);
}

/* ---- the job ---- */

struct look_job {
  csn_job base;
  struct csn_item_ref *items;
  size_t n;
  struct csn_context_question q;
};

static void
job_free(csn_job *j)
{
  free(((struct look_job *)j)->items);
  free(j);
}

static void
number(csn_jw *w, const char *key, int64_t n)
{
  csn_jw_key(w, key);
  csn_jw_int(w, n);
}

static csn_job *
perform(csn_job *j)
{
  struct look_job *l = (struct look_job *)j;
  struct csn_context_look seen = {0};
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1000);
  csn_jw w;
  csn_context_look(l->items, l->n, &l->q, &seen);
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  number(&w, "effect", j->seq);
  number(&w, "tokens", seen.tokens);
  if (l->q.is_refused)
    number(&w, "at", seen.at);
  if (seen.trim >= 0) {
    number(&w, "trim", seen.trim);
    number(&w, "trimmed", seen.trimmed);
    number(&w, "trimmed_bytes", seen.trimmed_bytes);
  }
  if (seen.cut >= 0) {
    number(&w, "cut", seen.cut);
    number(&w, "kept_bytes", seen.kept_bytes);
  }
  csn_jw_end(&w);
  return csn_run_deliver(j->run, CSN_EV_CALLBACK_RETURNED, csn_buf_str(&b), true);
}

/* What a request holds beside the conversation. */
static void
measure_around(const csn_agent *a, const struct csn_told *told, struct csn_context_question *q)
{
  csn_str around[] = {a->full_instructions, told->workspace ? told->workspace->raw : CSN_STR(""),
                      told->memory};
  for (size_t i = 0; i < CSN_COUNT(around); i++) {
    q->around += csn_tokens_estimate(q->spec.family, around[i]);
    q->around_bytes += (int64_t)around[i].n;
  }
  for (size_t i = 0; i < a->n_tools; i++) {
    const csn_tool_decl *d = &a->tools[i].decl;
    csn_str texts[] = {d->name, d->description, d->schema, d->format};
    for (size_t k = 0; k < CSN_COUNT(texts); k++) {
      q->around += csn_tokens_estimate(q->spec.family, texts[k]);
      q->around_bytes += (int64_t)texts[k].n;
    }
  }
}

csn_job *
csn_context_job_new(csn_run *r)
{
  struct look_job *l = csn_alloc(sizeof *l);
  const csn_state *st = &r->state;
  l->base.fn = perform;
  l->base.free = job_free;
  csn_context_need(r);
  l->n = csn_context_count(r);
  l->items = csn_realloc(NULL, l->n + 1, sizeof *l->items);
  for (size_t i = 0; i < l->n; i++)
    l->items[i] = *csn_context_item(r, i);
  l->q = (struct csn_context_question){.at = csn_state_compact_at(st),
                                       .is_refused = st->context.is_refused,
                                       .counted = st->budget.context_tokens,
                                       .counted_to = st->context.counted_to,
                                       .spec = csn_context_spec(r)};
  measure_around(csn_run_agent(r), csn_run_told(r), &l->q);
  return &l->base;
}
