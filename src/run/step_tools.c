/* SPDX-License-Identifier: Apache-2.0
 * step_tools.c - tool calls of a turn, and questions to a human about them. */
#include "run/step_impl.h"

void
csn_step_enter_tools(struct csn_step *s)
{
  csn_state *st = s->st;
  st->phase = CSN_PHASE_TOOLS;
  for (size_t i = 0; i < st->n_pending; i++) {
    csn_pending *p = &st->pending[i];
    if (p->seq >= 0)
      continue;
    bool asks = false;
    csn_json_each (name, st->cfg.asks)
      asks = asks || csn_str_eq(name->text, csn_cstr(p->name));
    p->kind = asks ? CSN_DO_ASK : CSN_DO_TOOL_CALL;
    p->seq =
        asks ? csn_emit_ask(s->out, s->ev, p, "approval") : csn_emit_tool_call(s->out, s->ev, p);
  }
}

int
csn_step_on_tool_returned(struct csn_step *s)
{
  csn_pending *p = csn_pending_answered(s, CSN_DO_TOOL_CALL);
  if (!p)
    return CSN_E_INVALID;
  csn_pending_drop(s->st, p);
  csn_step_absorb(s);
  return 0;
}

/* {"effect","allow":bool,"items":[output when denied]} */
int
csn_step_on_decided(struct csn_step *s)
{
  csn_pending *p = csn_pending_answered(s, CSN_DO_ASK);
  if (!p)
    return CSN_E_INVALID;
  if (csn_json_bool(s->ev->data, "allow", false)) {
    p->kind = CSN_DO_TOOL_CALL;
    p->seq = csn_emit_tool_call(s->out, s->ev, p);
    return 0;
  }
  csn_pending_drop(s->st, p);
  csn_step_absorb(s);
  return 0;
}

/* {"ask":[seq..]}: tool calls whose tools want a human after a crash. */
int
csn_step_on_resumed(struct csn_step *s)
{
  csn_state *st = s->st;
  csn_json_each (v, csn_json_get(s->ev->data, "ask")) {
    int64_t seq = -1;
    if (!csn_json_to_int(v, &seq))
      continue;
    for (size_t i = 0; i < st->n_pending; i++) {
      csn_pending *p = &st->pending[i];
      if (p->seq != seq || p->kind != CSN_DO_TOOL_CALL)
        continue;
      p->kind = CSN_DO_ASK;
      p->seq = csn_emit_ask(s->out, s->ev, p, "interrupted");
    }
  }
  return 0;
}
