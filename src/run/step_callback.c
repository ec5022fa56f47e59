/* SPDX-License-Identifier: Apache-2.0
 * step_callback.c - what functions of the user answer: guardrails, the
 * instructions of a turn, whether a tool is there. */
#include "run/glob.h"
#include "run/step_impl.h"

void
csn_step_ask_callback(struct csn_step *s, enum csn_purpose purpose, csn_str name, csn_str about)
{
  csn_pending *p = csn_pending_add(s->st, CSN_DO_CALLBACK, -1);
  csn_buf list = CSN_BUF(6 * name.n + 8);
  csn_buf_addc(&list, '[');
  if (name.n)
    csn_json_quote(&list, name);
  csn_buf_addc(&list, ']');
  p->callbacks = list.p;
  p->purpose = purpose;
  p->of = -1;
  if (about.n)
    p->name = csn_dupz(about);
  p->seq = csn_emit_callback(s->out, s->ev, p, about);
}

static bool
is_on(const csn_json *guard, const char *on)
{
  return csn_str_eq(csn_json_str(guard, "on", CSN_STR("")), csn_cstr(on));
}

char *
csn_step_tool_guards(const csn_state *st, const char *on, const char *tool)
{
  csn_buf list = CSN_BUF(1 << 20);
  csn_jw w;
  size_t n = 0;
  csn_jw_init(&w, &list);
  csn_jw_arr(&w);
  csn_json_each (g, st->cfg.guardrails) {
    if (!is_on(g, on) || !csn_glob(csn_json_str(g, "tool", CSN_STR("*")), csn_cstr(tool)))
      continue;
    csn_jw_str(&w, csn_json_str(g, "callback", CSN_STR("")));
    n++;
  }
  csn_jw_end(&w);
  if (n)
    return list.p;
  csn_buf_fini(&list);
  return NULL;
}

bool
csn_state_is_gated(const csn_state *st)
{
  csn_json_each (g, st->cfg.guardrails)
    if (is_on(g, "output"))
      return true;
  return false;
}

bool
csn_step_is_disabled(const csn_state *st, const char *tool)
{
  csn_str lines = csn_cstr(st->disabled), line;
  while (csn_str_line(&lines, &line))
    if (csn_glob(line, csn_cstr(tool)))
      return true;
  return false;
}

static void
disable(csn_state *st, csn_str tool)
{
  csn_str had = csn_cstr(st->disabled);
  csn_buf b = CSN_BUF(had.n + tool.n + 2);
  csn_buf_add(&b, had);
  csn_buf_add(&b, tool);
  csn_buf_addc(&b, '\n');
  free(st->disabled);
  st->disabled = b.p;
}

/* ---- entering ---- */

static void
ask_guards(struct csn_step *s, enum csn_purpose purpose, bool blocking)
{
  csn_json_each (g, s->st->cfg.guardrails)
    if (is_on(g, csn_purpose_name(purpose)) &&
        (purpose != CSN_FOR_INPUT || csn_json_bool(g, "blocking", false) == blocking))
      csn_step_ask_callback(s, purpose, csn_json_str(g, "callback", CSN_STR("")), CSN_STR(""));
}

void
csn_step_prepare_callbacks(struct csn_step *s)
{
  csn_state *st = s->st;
  free(st->disabled);
  st->disabled = NULL;
  csn_json_each (t, st->cfg.tools) {
    const csn_json *enabled = csn_json_get(t, "enabled");
    csn_str tool = csn_json_str(t, "tool", CSN_STR(""));
    csn_str callback = csn_json_str(enabled, "callback", CSN_STR(""));
    if (csn_json_is(enabled, CSN_JSON_BOOL) && !enabled->truth)
      disable(st, tool);
    else if (callback.n)
      csn_step_ask_callback(s, CSN_FOR_ENABLED, callback, tool);
  }
  if (st->cfg.instructions.n)
    csn_step_ask_callback(s, CSN_FOR_INSTRUCTIONS, st->cfg.instructions, CSN_STR(""));
  if (st->turns == 0)
    ask_guards(s, CSN_FOR_INPUT, true);
}

void
csn_step_guard_input(struct csn_step *s)
{
  ask_guards(s, CSN_FOR_INPUT, false);
}

void
csn_step_enter_review(struct csn_step *s)
{
  csn_state *st = s->st;
  st->phase = CSN_PHASE_REVIEW;
  st->is_final = true;
  if (st->stop_output) {
    free(st->output);
    st->output = csn_steal(st->stop_output);
    csn_step_hold_answer(st, st->reply);
  }
  csn_step_review(s);
}

void
csn_step_review(struct csn_step *s)
{
  if (s->st->cfg.has_schema)
    csn_step_ask_callback(s, CSN_FOR_SCHEMA, CSN_STR(""), CSN_STR(""));
  else
    ask_guards(s, CSN_FOR_OUTPUT, false);
}

/* {"effect","valid":bool,"message"?,"items"?: what the model is told} */
static void
on_schema(struct csn_step *s)
{
  csn_state *st = s->st;
  csn_str message = csn_json_str(s->ev->data, "message", CSN_STR(""));
  if (st->outcome != CSN_RUN_RUNNING)
    return;
  if (csn_json_bool(s->ev->data, "valid", false)) {
    ask_guards(s, CSN_FOR_OUTPUT, false);
  } else if (!st->is_repaired && !st->failing.was_asked) {
    st->is_repaired = true;
    st->is_final = false; /* one turn more */
    csn_step_absorb(s);
    csn_step_set_aside(st, s->ev->seq);
  } else {
    csn_step_fail(s, "invalid_final_output", message);
    csn_step_ask_handler(s);
  }
}

/* ---- answers ---- */

/* {"effect","trip"?,"message"?,"reject"?,"text"?,"enabled"?,"items"?,"error"?} */
int
csn_step_on_callback(struct csn_step *s)
{
  csn_state *st = s->st;
  csn_pending *p = csn_pending_answered(s, CSN_DO_CALLBACK);
  if (!p)
    return CSN_E_INVALID;
  enum csn_purpose purpose = p->purpose;
  if (csn_json_get(s->ev->data, "error")) {
    csn_pending_drop(st, p);
    csn_step_give_up(s, CSN_RUN_FAILED, "callback", csn_step_error_text(s->ev));
    return 0;
  }
  if (purpose == CSN_FOR_TOOL_INPUT || purpose == CSN_FOR_TOOL_OUTPUT) {
    csn_step_tool_guarded(s, p);
    return 0;
  }
  if (purpose == CSN_FOR_INSTRUCTIONS)
    st->instructions = s->ev->seq;
  if (purpose == CSN_FOR_ENABLED && !csn_json_bool(s->ev->data, "enabled", true))
    disable(st, csn_cstr(p->name));
  csn_pending_drop(st, p);
  if (purpose == CSN_FOR_SCHEMA)
    on_schema(s);
  if (purpose == CSN_FOR_CONTEXT)
    csn_step_room_seen(s);
  if (purpose == CSN_FOR_ERROR)
    csn_step_error_handled(s);
  if (purpose == CSN_FOR_HANDOFF)
    csn_step_filtered(s);
  if (purpose == CSN_FOR_ADDED)
    csn_step_admitted(s);
  if (csn_json_bool(s->ev->data, "trip", false))
    csn_step_give_up(s, CSN_RUN_FAILED, "guardrail",
                     csn_json_str(s->ev->data, "message", CSN_STR("a guardrail tripped")));
  return 0;
}
