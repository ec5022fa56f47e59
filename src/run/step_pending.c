/* SPDX-License-Identifier: Apache-2.0
 * step_pending.c - what a run waits for, and how it comes to an outcome. */
#include "run/step_impl.h"

csn_pending *
csn_pending_add(csn_state *st, enum csn_effect_kind kind, int64_t seq)
{
  if (st->n_pending == st->pending_room) {
    st->pending_room = st->pending_room ? st->pending_room * 2 : 4;
    st->pending = csn_realloc(st->pending, st->pending_room, sizeof *st->pending);
  }
  csn_pending *p = &st->pending[st->n_pending++];
  *p = (csn_pending){.kind = kind, .seq = seq};
  return p;
}

void
csn_pending_free(csn_pending *p)
{
  free(p->call_id);
  free(p->name);
  free(p->arguments);
  free(p->answer);
  free(p->callbacks);
}

void
csn_pending_forget(csn_state *st, csn_pending *p)
{
  size_t i = (size_t)(p - st->pending);
  memmove(p, p + 1, (st->n_pending - i - 1) * sizeof *p);
  st->n_pending--;
}

void
csn_pending_drop(csn_state *st, csn_pending *p)
{
  csn_pending_free(p);
  csn_pending_forget(st, p);
}

csn_pending *
csn_pending_answered(struct csn_step *s, enum csn_effect_kind kind)
{
  int64_t seq = csn_json_int(s->ev->data, "effect", -1);
  for (size_t i = 0; i < s->st->n_pending; i++)
    if (s->st->pending[i].seq == seq && s->st->pending[i].kind == kind)
      return &s->st->pending[i];
  csn_fail(s->err, CSN_E_INVALID, "record %lld: %s answers %lld, which is no pending %s",
           (long long)s->ev->seq, csn_event_name(s->ev->kind), (long long)seq,
           csn_effect_name(kind));
  return NULL;
}

void
csn_step_set_text(char **slot, csn_str s)
{
  free(*slot);
  *slot = csn_dupz(s);
}

/* The event's items join the conversation. */
void
csn_step_absorb(struct csn_step *s)
{
  csn_state *st = s->st;
  const csn_json *items = csn_json_get(s->ev->data, "items");
  if (!items || !items->n)
    return;
  if (st->items_from < 0)
    st->items_from = s->ev->seq;
  st->items_to = s->ev->seq;
  csn_step_count_items(st, items);
  csn_json_each (item, items) {
    csn_sha256 h;
    csn_sha256_init(&h);
    csn_sha256_add(&h, csn_strn((const char *)st->prefix.b, sizeof st->prefix.b));
    csn_sha256_add(&h, item->raw);
    st->prefix = csn_sha256_end(&h);
  }
}

/* The first reason stands; a run is never trusted again. */
void
csn_step_label(csn_state *st, csn_str why)
{
  if (why.n && !st->untrusted)
    st->untrusted = csn_dupz(why);
}

/* Decides the outcome, once: the first decision stands. */
void
csn_step_decide(csn_state *st, enum csn_run_state outcome, const char *reason, csn_str message)
{
  if (st->outcome != CSN_RUN_RUNNING)
    return;
  st->outcome = outcome;
  csn_step_set_text(&st->reason, csn_cstr(reason));
  csn_step_set_text(&st->message, message);
}

/* Asks the driver to end what is pending; each still gets its result event. */
static void
cancel_pending(struct csn_step *s)
{
  csn_state *st = s->st;
  for (size_t i = 0; i < st->n_pending;) {
    csn_pending *p = &st->pending[i];
    bool waits_for_nobody = p->seq < 0 || p->kind == CSN_DO_ASK;
    if (waits_for_nobody) {
      csn_pending_drop(st, p);
      continue;
    }
    if (!p->is_cancelled && p->kind == CSN_DO_MODEL_CALL)
      csn_emit_cancel(s->out, s->ev, CSN_DO_MODEL_CANCEL, p->seq);
    else if (!p->is_cancelled && p->kind == CSN_DO_CHILD_START)
      csn_emit_cancel(s->out, s->ev, CSN_DO_CHILD_CANCEL, p->seq);
    else if (!p->is_cancelled && p->kind == CSN_DO_TOOL_CALL)
      csn_emit_cancel(s->out, s->ev, CSN_DO_TOOL_CANCEL, p->seq);
    p->is_cancelled = true;
    i++;
  }
}

void
csn_step_give_up(struct csn_step *s, enum csn_run_state outcome, const char *reason,
                 csn_str message)
{
  csn_step_decide(s->st, outcome, reason, message);
  cancel_pending(s);
}

csn_str
csn_step_error_text(const csn_event *ev)
{
  return csn_json_str(csn_json_get(ev->data, "error"), "message", CSN_STR("no reason given"));
}
