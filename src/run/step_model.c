/* SPDX-License-Identifier: Apache-2.0
 * step_model.c - model calls: when one is made, and what a reply leads to. */
#include <stdio.h>

#include "run/items.h"
#include "run/step_impl.h"

/* A reply with more calls than this is a fault of the model's, not work. */
enum { CALLS_MAX = 1024 };

void
csn_step_enter_prepare(struct csn_step *s)
{
  csn_state *st = s->st;
  if (st->stops_after_turn) {
    csn_step_decide(st, CSN_RUN_CANCELLED, "cancelled", CSN_STR("cancelled after the turn"));
    return;
  }
  if (st->cfg.max_turns && st->turns + st->budget.child_turns >= st->cfg.max_turns) {
    char text[120];
    int n = snprintf(text, sizeof text, "the limit of %lld turns was reached; raise limits.turns",
                     (long long)st->cfg.max_turns);
    csn_step_fail(s, "max_turns", csn_strn(text, (size_t)n));
    csn_step_ask_handler(s);
    return;
  }
  int64_t of_children = st->budget.child_calls;
  if (st->cfg.max_tool_calls && st->tool_calls + of_children > st->cfg.max_tool_calls) {
    st->tool_calls = st->cfg.max_tool_calls - of_children; /* the others were not made */
    csn_step_exhaust(s, "tool_calls", st->cfg.max_tool_calls, "");
    return;
  }
  st->phase = CSN_PHASE_PREPARE;
  csn_step_soften(s);
  csn_step_prepare_callbacks(s);
  csn_step_admit(s);
}

void
csn_step_enter_model(struct csn_step *s)
{
  csn_state *st = s->st;
  csn_step_choose_model(s);
  if (csn_step_make_room(s) || !csn_step_reserve(s))
    return;
  st->phase = CSN_PHASE_MODEL;
  st->reply = -1;
  bool is_first = st->turns++ == 0;
  st->attempts = 0;
  csn_pending_add(st, CSN_DO_MODEL_CALL, csn_emit_model_call(s->out, s->ev, st));
  csn_step_save(s);
  if (is_first) /* also when it is refused: they stay out beside the next */
    csn_step_guard_input(s);
}

/* A NUL would cut what we keep: two calls would look alike, a patch would be
 * applied in part.  It becomes U+FFFD, which no tool's name holds; a call's id
 * must come back as it was, so one with a NUL is refused (check_calls). */
static char *
dup_without_nul(csn_str s)
{
  if (!s.n || !memchr(s.p, '\0', s.n))
    return csn_dupz(s);
  csn_buf b = CSN_BUF(SIZE_MAX / 4);
  for (size_t i = 0; i < s.n; i++)
    if (s.p[i])
      csn_buf_addc(&b, s.p[i]);
    else
      csn_buf_addz(&b, "\xef\xbf\xbd");
  return b.p;
}

/* NULL: it is over the limit. */
static csn_pending *
queue(csn_state *st)
{
  int64_t of_children = st->budget.child_calls;
  if (st->cfg.max_tool_calls && st->tool_calls + of_children >= st->cfg.max_tool_calls) {
    /* the run ends when those before are done */
    st->tool_calls = st->cfg.max_tool_calls - of_children + 1;
    return NULL;
  }
  csn_pending *p = csn_pending_add(st, CSN_DO_TOOL_CALL, -1);
  p->order = ++st->turn_calls;
  st->tool_calls++;
  return p;
}

static void
queue_call(csn_state *st, const csn_json *item, bool is_custom)
{
  csn_pending *p = queue(st);
  if (!p)
    return;
  p->is_custom = is_custom;
  p->call_id = csn_dupz(csn_json_str(item, "call_id", CSN_STR("")));
  p->name = dup_without_nul(csn_json_str(item, "name", CSN_STR("")));
  p->arguments =
      dup_without_nul(csn_json_str(item, is_custom ? "input" : "arguments", CSN_STR("")));
}

/* {"actions":[...],"pending_safety_checks":[...]} for the tool `computer`. */
static void
queue_computer(csn_state *st, const csn_json *item)
{
  csn_pending *p = queue(st);
  if (!p)
    return;
  csn_buf text = CSN_BUF(2 * item->raw.n + 100);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_jw_key(&w, "actions");
  if (csn_json_is(csn_json_get(item, "actions"), CSN_JSON_ARRAY)) {
    csn_jw_value(&w, csn_json_get(item, "actions"));
  } else {
    csn_jw_arr(&w);
    if (csn_json_get(item, "action"))
      csn_jw_value(&w, csn_json_get(item, "action"));
    csn_jw_end(&w);
  }
  if (csn_json_get(item, "pending_safety_checks")) {
    csn_jw_key(&w, "pending_safety_checks");
    csn_jw_value(&w, csn_json_get(item, "pending_safety_checks"));
  }
  csn_jw_end(&w);
  p->how = CSN_HOW_COMPUTER;
  p->call_id = csn_dupz(csn_json_str(item, "call_id", CSN_STR("")));
  p->name = csn_dupz(CSN_STR("computer"));
  p->arguments = dup_without_nul(csn_buf_str(&text));
  csn_buf_fini(&text);
}

/* A server of the provider's asks whether its tool may be called: LABEL.TOOL. */
static void
queue_mcp(csn_state *st, const csn_json *item)
{
  csn_pending *p = queue(st);
  if (!p)
    return;
  csn_str label = csn_json_str(item, "server_label", CSN_STR(""));
  csn_str name = csn_json_str(item, "name", CSN_STR(""));
  csn_buf both = CSN_BUF(label.n + name.n + 2);
  csn_buf_add(&both, label);
  csn_buf_addc(&both, '.');
  csn_buf_add(&both, name);
  p->how = CSN_HOW_MCP;
  p->call_id = csn_dupz(csn_json_str(item, "id", CSN_STR("")));
  p->name = dup_without_nul(csn_buf_str(&both));
  p->arguments = dup_without_nul(csn_json_str(item, "arguments", CSN_STR("")));
  csn_buf_fini(&both);
}

/* Whether the calls of a reply can be answered; decides the outcome if not. */
static bool
check_calls(struct csn_step *s, const struct csn_reply_shape *shape, const csn_json *items)
{
  char text[120];
  if (shape->n_calls > CALLS_MAX) {
    int n = snprintf(text, sizeof text, "the model's reply holds %zu tool calls, more than %d",
                     shape->n_calls, CALLS_MAX);
    csn_step_give_up(s, CSN_RUN_FAILED, "model", csn_strn(text, (size_t)n));
    return false;
  }
  csn_json_each (item, items) {
    csn_str id = csn_json_str(item, "call_id", csn_json_str(item, "id", CSN_STR("")));
    if (id.n && memchr(id.p, '\0', id.n)) {
      csn_step_give_up(s, CSN_RUN_FAILED, "model",
                       CSN_STR("the model's reply holds a call id with a NUL"));
      return false;
    }
    if (csn_str_eq(csn_json_str(item, "type", CSN_STR("")), CSN_STR("tool_search_call")) &&
        csn_str_eq(csn_json_str(item, "execution", CSN_STR("")), CSN_STR("client"))) {
      csn_step_give_up(s, CSN_RUN_FAILED, "model",
                       CSN_STR("the model wants its tools to be searched here; only searches by "
                               "the provider are supported"));
      return false;
    }
  }
  return true;
}

static void
take_final(struct csn_step *s, const struct csn_reply_shape *shape)
{
  csn_state *st = s->st;
  csn_step_hold_answer(st, st->reply);
  if (shape->refusal.n)
    csn_step_fail(s, "model_refusal", shape->refusal);
  else
    st->is_final = true;
}

int
csn_step_on_model_replied(struct csn_step *s)
{
  csn_state *st = s->st;
  csn_pending *p = csn_pending_answered(s, CSN_DO_MODEL_CALL);
  if (!p)
    return CSN_E_INVALID;
  csn_pending_drop(st, p);
  st->reply = s->ev->seq;
  csn_step_absorb(s);
  csn_usage_add(&st->usage, csn_json_get(s->ev->data, "usage"));
  csn_step_charge(st, csn_json_get(s->ev->data, "usage"));
  csn_step_context_replied(s);
  if (st->outcome != CSN_RUN_RUNNING)
    return 0;
  const csn_json *items = csn_json_get(s->ev->data, "items");
  struct csn_reply_shape shape = csn_reply_shape_of(items);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(64u << 20);
  csn_message_text(shape.last_message, &text);
  if (shape.last_message)
    csn_step_set_text(&st->output, csn_buf_str(&text));
  if (shape.n_hosted) /* tools of the provider bring in what they find */
    csn_step_label(st, CSN_STR("web"));
  if (!check_calls(s, &shape, items))
    return 0;
  csn_step_note_tool_use(st, &shape);
  st->turn_calls = 0;
  csn_json_each (item, items) {
    csn_str type = csn_json_str(item, "type", CSN_STR(""));
    if (csn_str_eq(type, CSN_STR("function_call")))
      queue_call(st, item, false);
    else if (csn_str_eq(type, CSN_STR("custom_tool_call")))
      queue_call(st, item, true);
    else if (csn_str_eq(type, CSN_STR("computer_call")))
      queue_computer(st, item);
    else if (csn_str_eq(type, CSN_STR("mcp_approval_request")))
      queue_mcp(st, item);
  }
  if (csn_json_get(s->ev->data, "model")) /* runs of before did not count by agent */
    csn_step_use(st, st->cfg.agent, &(csn_agent_use){.turns = 1, .tool_calls = st->turn_calls});
  if (!shape.n_calls && !(shape.n_hosted && !shape.last_message))
    take_final(s, &shape);
  return 0;
}

/* It failed before it wrote too much: no cap can be the reason. */
static bool
is_of_server(const csn_event *ev)
{
  const csn_json *e = csn_json_get(ev->data, "error");
  csn_str code = csn_json_str(e, "code", CSN_STR(""));
  return csn_json_int(e, "http_status", 0) || csn_str_eq(code, CSN_STR("unavailable")) ||
         csn_str_eq(code, CSN_STR("timeout")) || csn_str_eq(code, CSN_STR("too_long")) ||
         csn_json_bool(ev->data, "refused", false);
}

/* An attempt failed and was billed: the next needs its own reservation. */
void
csn_step_ask_again(struct csn_step *s)
{
  csn_state *st = s->st;
  st->attempts = csn_json_int(s->ev->data, "attempt", st->attempts + 1);
  int64_t cap = st->budget.max_output;
  if (!csn_step_reserve(s))
    return;
  if (st->phase == CSN_PHASE_COMPACT && (!st->budget.max_output || cap < st->budget.max_output))
    st->budget.max_output = cap; /* of a summary */
  csn_pending_add(st, CSN_DO_MODEL_CALL, csn_emit_model_call(s->out, s->ev, st));
}

int
csn_step_on_model_failed(struct csn_step *s)
{
  csn_pending *p = csn_pending_answered(s, CSN_DO_MODEL_CALL);
  if (!p)
    return CSN_E_INVALID;
  csn_pending_drop(s->st, p);
  const csn_json *usage = csn_json_get(s->ev->data, "usage"); /* of a refusal */
  csn_usage_add(&s->st->usage, usage);
  csn_step_charge(s->st, usage);
  if (s->st->outcome == CSN_RUN_RUNNING && csn_json_bool(s->ev->data, "again", false)) {
    csn_step_ask_again(s);
    return 0;
  }
  if (s->st->outcome == CSN_RUN_RUNNING && ((!is_of_server(s->ev) && csn_step_was_capped(s)) ||
                                            csn_step_fall_back(s) || csn_step_was_too_long(s)))
    return 0;
  csn_step_give_up(s, CSN_RUN_FAILED, "model", csn_step_error_text(s->ev));
  return 0;
}
