/* SPDX-License-Identifier: Apache-2.0
 * step_added.c - further input of a run that goes on.
 *
 * An `input` event with {"added":[items]} may come at any time: it is kept
 * back until the next turn begins, since its items must not stand between a
 * call and its result.  Then they are admitted, one event after the other: a
 * `callback` effect names the guardrails on input of the agent at work, and its
 * answer brings the items into the conversation.  A run that a limit ended takes
 * some before it is opened again.  An answer that would have
 * been the last one is not, when something was added meanwhile. */
#include "run/step_impl.h"

int
csn_step_on_added(struct csn_step *s)
{
  csn_state *st = s->st;
  bool goes_on =
      st->phase == CSN_PHASE_ENDED ? csn_state_may_be_raised(st) : st->outcome == CSN_RUN_RUNNING;
  if (!csn_json_is(csn_json_get(s->ev->data, "added"), CSN_JSON_ARRAY) || !goes_on)
    return csn_fail(s->err, CSN_E_INVALID, "record %lld: nothing can be added to the run here",
                    (long long)s->ev->seq);
  st->added = csn_realloc(st->added, st->n_added + 1, sizeof *st->added);
  st->added[st->n_added++] = s->ev->seq;
  return 0;
}

static char *
guards_on_input(const csn_state *st)
{
  csn_buf list = CSN_BUF(1 << 20);
  csn_jw w;
  csn_jw_init(&w, &list);
  csn_jw_arr(&w);
  csn_json_each (g, st->cfg.guardrails)
    if (csn_str_eq(csn_json_str(g, "on", CSN_STR("")), CSN_STR("input")))
      csn_jw_str(&w, csn_json_str(g, "callback", CSN_STR("")));
  csn_jw_end(&w);
  return list.p;
}

void
csn_step_admit(struct csn_step *s)
{
  csn_state *st = s->st;
  if (!st->n_added || st->outcome != CSN_RUN_RUNNING)
    return;
  csn_pending *p = csn_pending_add(st, CSN_DO_CALLBACK, -1);
  p->purpose = CSN_FOR_ADDED;
  p->callbacks = guards_on_input(st);
  p->of = st->added[0];
  memmove(st->added, st->added + 1, --st->n_added * sizeof *st->added);
  p->seq = csn_emit_callback(s->out, s->ev, p, CSN_STR(""));
}

void
csn_step_admitted(struct csn_step *s)
{
  if (csn_json_bool(s->ev->data, "trip", false))
    return; /* what tripped does not join */
  csn_step_absorb(s);
  csn_step_admit(s);
}

void
csn_step_answered(struct csn_step *s)
{
  csn_state *st = s->st;
  st->has_passed = true;
  if (!st->n_added || st->failing.was_asked) {
    csn_step_decide(st, CSN_RUN_DONE, "final", CSN_STR(""));
    return;
  }
  st->is_final = st->is_repaired = false;
  st->answer = -1; /* nothing of it is withheld any more */
  csn_step_enter_prepare(s);
}

void
csn_step_added_to_json(const csn_state *st, csn_jw *w)
{
  if (!st->n_added)
    return;
  csn_jw_key(w, "added");
  csn_jw_arr(w);
  for (size_t i = 0; i < st->n_added; i++)
    csn_jw_int(w, st->added[i]);
  csn_jw_end(w);
}

void
csn_step_added_from_json(csn_state *st, const csn_json *v)
{
  const csn_json *list = csn_json_get(v, "added");
  st->added = csn_realloc(NULL, list ? list->n : 0, sizeof *st->added);
  csn_json_each (seq, list)
    if (csn_json_to_int(seq, &st->added[st->n_added]))
      st->n_added++;
}
