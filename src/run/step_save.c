/* SPDX-License-Identifier: Apache-2.0
 * step_save.c - checkpoints of the workspace, and what becomes of a run that
 * lost its sandbox.
 *
 * A checkpoint is made beside the model call that follows the calls of a turn:
 * nothing else is done in the sandbox meanwhile, and the model is slower. */
#include "run/step_impl.h"

void
csn_step_touch(struct csn_step *s)
{
  if (s->st->cfg.checkpoint_ms >= 0)
    s->st->saving.is_due = true;
}

void
csn_step_save(struct csn_step *s)
{
  csn_state *st = s->st;
  struct csn_saving *v = &st->saving;
  if (!v->is_due || st->cfg.checkpoint_ms < 0 || s->ev->ts_ms - v->at_ms < st->cfg.checkpoint_ms)
    return;
  v->is_due = false;
  v->at_ms = s->ev->ts_ms;
  csn_pending *p = csn_pending_add(st, CSN_DO_SANDBOX_CHECKPOINT, -1);
  p->purpose = CSN_FOR_WORKSPACE;
  p->seq = csn_emit_save(s->out, s->ev);
}

/* {"effect","outputs"} at the end, {"effect","snapshot"?,"again"?} of a checkpoint. */
int
csn_step_on_checkpointed(struct csn_step *s)
{
  csn_pending *p = csn_pending_answered(s, CSN_DO_SANDBOX_CHECKPOINT);
  if (!p)
    return CSN_E_INVALID;
  csn_pending_drop(s->st, p);
  if (csn_json_bool(s->ev->data, "again", false)) /* it could not be made now */
    csn_step_touch(s);
  return 0;
}

/* The model is asked anew, with the items that have just joined. */
static void
ask_with_news(struct csn_step *s)
{
  csn_state *st = s->st;
  for (size_t i = 0; st->phase == CSN_PHASE_MODEL && i < st->n_pending; i++) {
    csn_pending *p = &st->pending[i];
    if (p->kind == CSN_DO_MODEL_CALL && !p->is_cancelled)
      p->seq = csn_emit_model_call(s->out, s->ev, st);
  }
}

/* With `effect`: it could not be made.  With `restored`: the run goes on in a new
 * one; with items, which come only when nothing is under way, the model hears of
 * it.  Else the run is over. */
int
csn_step_on_sandbox_lost(struct csn_step *s)
{
  const csn_json *v = s->ev->data;
  if (csn_json_get(v, "effect")) {
    csn_pending *p = csn_pending_answered(s, CSN_DO_SANDBOX_OPEN);
    if (!p)
      return CSN_E_INVALID;
    csn_pending_drop(s->st, p);
  } else if (csn_json_get(v, "restored")) {
    csn_step_absorb(s);
    if (csn_json_get(v, "items"))
      ask_with_news(s);
    return 0;
  }
  csn_step_give_up(s, CSN_RUN_FAILED, "sandbox", csn_step_error_text(s->ev));
  return 0;
}

void
csn_step_saving_to_json(const csn_state *st, csn_jw *w)
{
  if (st->cfg.checkpoint_ms < 0)
    return;
  csn_jw_key(w, "saving");
  csn_jw_obj(w);
  csn_jw_key(w, "due");
  csn_jw_bool(w, st->saving.is_due);
  csn_jw_key(w, "at_ms");
  csn_jw_int(w, st->saving.at_ms);
  csn_jw_end(w);
}

void
csn_step_saving_from_json(csn_state *st, const csn_json *v)
{
  st->saving.is_due = csn_json_bool(v, "due", false);
  st->saving.at_ms = csn_json_int(v, "at_ms", 0);
}
