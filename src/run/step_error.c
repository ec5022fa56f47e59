/* SPDX-License-Identifier: Apache-2.0
 * step_error.c - handlers for runs that would end without an answer: too many
 * turns, a refusal, an answer that does not fit its schema.
 *
 * A handler is asked in the review, as a `callback` effect for `error`; what it
 * gives is looked at as any answer is.  It is asked once. */
#include "run/step_impl.h"

static const struct {
  const char *kind;
  enum csn_run_state outcome;
  const char *reason;
} kinds[] = {
    {"max_turns", CSN_RUN_LIMIT, "turns"},
    {"model_refusal", CSN_RUN_FAILED, "refusal"},
    {"invalid_final_output", CSN_RUN_FAILED, "output_schema"},
};

static size_t
index_of(csn_str kind)
{
  size_t i = 0;
  while (i < CSN_COUNT(kinds) && !csn_str_eq(kind, csn_cstr(kinds[i].kind)))
    i++;
  return i;
}

static void
decide(struct csn_step *s, const char *kind, csn_str message)
{
  size_t i = index_of(csn_cstr(kind));
  csn_step_give_up(s, kinds[i].outcome, kinds[i].reason, message);
}

void
csn_step_fail(struct csn_step *s, const char *kind, csn_str message)
{
  csn_failing *f = &s->st->failing;
  if (!csn_json_get(s->st->cfg.errors, kind) || f->was_asked) {
    decide(s, kind, message);
    return;
  }
  f->kind = kinds[index_of(csn_cstr(kind))].kind;
  csn_step_set_text(&f->message, message);
}

bool
csn_step_ask_handler(struct csn_step *s)
{
  csn_state *st = s->st;
  csn_failing *f = &st->failing;
  if (!f->kind || f->was_asked)
    return false;
  st->phase = CSN_PHASE_REVIEW;
  st->is_final = true;
  f->was_asked = true;
  const csn_json *handler = csn_json_get(st->cfg.errors, f->kind);
  csn_step_ask_callback(s, CSN_FOR_ERROR, csn_json_str(handler, "callback", CSN_STR("")),
                        csn_cstr(f->kind));
  return true;
}

/* {"effect","output"?,"items"?} */
void
csn_step_error_handled(struct csn_step *s)
{
  csn_state *st = s->st;
  const csn_json *output = csn_json_get(s->ev->data, "output");
  const char *kind = st->failing.kind;
  st->failing.kind = NULL;
  if (st->outcome != CSN_RUN_RUNNING)
    return;
  if (!csn_json_is(output, CSN_JSON_STRING)) {
    decide(s, kind, csn_cstr(st->failing.message));
    return;
  }
  csn_step_set_text(&st->output, output->text);
  csn_step_set_aside(st, s->ev->seq - 1);
  csn_step_hold_answer(st, s->ev->seq);
  csn_step_absorb(s);
  csn_step_review(s);
}

void
csn_step_failing_to_json(const csn_state *st, csn_jw *w)
{
  const csn_failing *f = &st->failing;
  if (!f->kind && !f->was_asked)
    return;
  csn_jw_key(w, "failing");
  csn_jw_obj(w);
  csn_jw_key(w, "kind");
  csn_jw_strz(w, f->kind);
  csn_jw_key(w, "message");
  csn_jw_strz(w, f->message);
  csn_jw_key(w, "asked");
  csn_jw_bool(w, f->was_asked);
  csn_jw_end(w);
}

void
csn_step_failing_from_json(csn_state *st, const csn_json *v)
{
  size_t i = index_of(csn_json_str(v, "kind", CSN_STR("")));
  st->failing.kind = i < CSN_COUNT(kinds) ? kinds[i].kind : NULL;
  st->failing.was_asked = csn_json_bool(v, "asked", false);
  const csn_json *message = csn_json_get(v, "message");
  st->failing.message = csn_json_is(message, CSN_JSON_STRING) ? csn_dupz(message->text) : NULL;
}
