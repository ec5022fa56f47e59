/* SPDX-License-Identifier: Apache-2.0
 * step.c - the machine of a run.
 *
 * Read the table `moves` first: which event is handled how in which phase.
 * A handler updates the state and emits effects.  After it, while nothing that
 * the phase waits for is pending (the join), `advance` leaves the phase. */
#include "run/step.h"

#include <stdio.h>

#include "run/emit.h"
#include "run/items.h"

/* A reply with more calls than this is a fault of the model's, not work. */
enum { CALLS_MAX = 1024 };

struct step {
  csn_state *st;
  const csn_event *ev;
  csn_effects *out;
  csn_err *err;
};

static csn_pending *
add_pending(csn_state *st, enum csn_effect_kind kind, int64_t seq)
{
  if (st->n_pending == st->pending_room) {
    st->pending_room = st->pending_room ? st->pending_room * 2 : 4;
    st->pending = csn_realloc(st->pending, st->pending_room, sizeof *st->pending);
  }
  csn_pending *p = &st->pending[st->n_pending++];
  *p = (csn_pending){.kind = kind, .seq = seq};
  return p;
}

static void
drop_pending(csn_state *st, csn_pending *p)
{
  free(p->call_id);
  free(p->name);
  free(p->arguments);
  size_t i = (size_t)(p - st->pending);
  memmove(p, p + 1, (st->n_pending - i - 1) * sizeof *p);
  st->n_pending--;
}

static csn_pending *
pending_of(struct step *s, enum csn_effect_kind kind)
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

static void
set_text(char **slot, csn_str s)
{
  free(*slot);
  *slot = csn_dupz(s);
}

/* The event's items join the conversation. */
static void
absorb_items(struct step *s)
{
  csn_state *st = s->st;
  const csn_json *items = csn_json_get(s->ev->data, "items");
  if (!items || !items->n)
    return;
  if (st->items_from < 0)
    st->items_from = s->ev->seq;
  st->items_to = s->ev->seq;
  csn_json_each (item, items) {
    csn_sha256 h;
    csn_sha256_init(&h);
    csn_sha256_add(&h, csn_strn((const char *)st->prefix.b, sizeof st->prefix.b));
    csn_sha256_add(&h, item->raw);
    st->prefix = csn_sha256_end(&h);
  }
}

/* Decides the outcome, once: the first decision stands. */
static void
decide(csn_state *st, enum csn_run_state outcome, const char *reason, csn_str message)
{
  if (st->outcome != CSN_RUN_RUNNING)
    return;
  st->outcome = outcome;
  set_text(&st->reason, csn_cstr(reason));
  set_text(&st->message, message);
}

/* Asks the driver to end what is pending; each still gets its result event. */
static void
cancel_pending(struct step *s)
{
  csn_state *st = s->st;
  for (size_t i = 0; i < st->n_pending;) {
    csn_pending *p = &st->pending[i];
    bool waits_for_nobody = p->seq < 0 || p->kind == CSN_DO_ASK;
    if (waits_for_nobody) {
      drop_pending(st, p);
      continue;
    }
    if (!p->is_cancelled && p->kind == CSN_DO_MODEL_CALL)
      csn_emit_cancel(s->out, s->ev, CSN_DO_MODEL_CANCEL, p->seq);
    else if (!p->is_cancelled && p->kind == CSN_DO_TOOL_CALL)
      csn_emit_cancel(s->out, s->ev, CSN_DO_TOOL_CANCEL, p->seq);
    p->is_cancelled = true;
    i++;
  }
}

static void
give_up(struct step *s, enum csn_run_state outcome, const char *reason, csn_str message)
{
  decide(s->st, outcome, reason, message);
  cancel_pending(s);
}

static csn_str
error_text(const csn_event *ev)
{
  return csn_json_str(csn_json_get(ev->data, "error"), "message", CSN_STR("no reason given"));
}

/* ---- entering a phase ---- */

static void
enter_model(struct step *s)
{
  csn_state *st = s->st;
  if (st->stops_after_turn) {
    decide(st, CSN_RUN_CANCELLED, "cancelled", CSN_STR("cancelled after the turn"));
    return;
  }
  if (st->cfg.max_turns && st->turns >= st->cfg.max_turns) {
    char text[120];
    int n = snprintf(text, sizeof text, "the limit of %lld turns was reached; raise limits.turns",
                     (long long)st->cfg.max_turns);
    decide(st, CSN_RUN_LIMIT, "turns", csn_strn(text, (size_t)n));
    return;
  }
  st->phase = CSN_PHASE_MODEL;
  bool is_first = st->turns++ == 0;
  add_pending(st, CSN_DO_MODEL_CALL, csn_emit_model_call(s->out, s->ev, st));
  if (is_first)
    csn_json_each (name, st->cfg.guardrails)
      add_pending(st, CSN_DO_CALLBACK, csn_emit_callback(s->out, s->ev, name->text));
}

static void
enter_tools(struct step *s)
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

static void
enter_closing(struct step *s)
{
  s->st->phase = CSN_PHASE_CLOSING;
  if (s->st->cfg.has_outputs && s->st->sandbox_open)
    add_pending(s->st, CSN_DO_SANDBOX_CHECKPOINT, csn_emit_checkpoint(s->out, s->ev));
}

static void
enter_ended(struct step *s)
{
  csn_state *st = s->st;
  st->phase = CSN_PHASE_ENDED;
  if (st->timer_seq >= 0)
    csn_emit_cancel(s->out, s->ev, CSN_DO_TIMER_CANCEL, st->timer_seq);
  st->timer_seq = -1;
  csn_emit_finish(s->out, s->ev, st);
  if (st->sandbox_open)
    csn_emit_sandbox_close(s->out, s->ev);
  st->sandbox_open = false;
}

/* ---- handlers ---- */

static int
on_input(struct step *s)
{
  csn_state *st = s->st;
  absorb_items(s);
  if (st->cfg.wall_ms) {
    st->timer_at_ms = s->ev->ts_ms + st->cfg.wall_ms;
    st->timer_seq = csn_emit_timer(s->out, s->ev, st->timer_at_ms);
  }
  st->phase = CSN_PHASE_SETUP;
  if (st->cfg.has_sandbox)
    add_pending(st, CSN_DO_SANDBOX_OPEN, csn_emit_sandbox_open(s->out, s->ev));
  return 0;
}

static int
on_sandbox_ready(struct step *s)
{
  csn_pending *p = pending_of(s, CSN_DO_SANDBOX_OPEN);
  if (!p)
    return CSN_E_INVALID;
  s->st->sandbox_open = true;
  drop_pending(s->st, p);
  return 0;
}

/* With `effect`: it could not be made.  Without: it died under the run. */
static int
on_sandbox_lost(struct step *s)
{
  if (csn_json_get(s->ev->data, "effect")) {
    csn_pending *p = pending_of(s, CSN_DO_SANDBOX_OPEN);
    if (!p)
      return CSN_E_INVALID;
    drop_pending(s->st, p);
  }
  give_up(s, CSN_RUN_FAILED, "sandbox", error_text(s->ev));
  return 0;
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

static void
queue_call(csn_state *st, const csn_json *item, bool is_custom)
{
  csn_pending *p = add_pending(st, CSN_DO_TOOL_CALL, -1);
  const char *input = is_custom ? "input" : "arguments";
  p->is_custom = is_custom;
  p->call_id = csn_dupz(csn_json_str(item, "call_id", CSN_STR("")));
  p->name = dup_without_nul(csn_json_str(item, "name", CSN_STR("")));
  p->arguments = dup_without_nul(csn_json_str(item, input, CSN_STR("")));
  st->tool_calls++;
}

/* Whether the calls of a reply can be answered; decides the outcome if not. */
static bool
check_calls(struct step *s, const struct csn_reply_shape *shape, const csn_json *items)
{
  char text[120];
  if (shape->n_calls > CALLS_MAX) {
    int n = snprintf(text, sizeof text, "the model's reply holds %zu tool calls, more than %d",
                     shape->n_calls, CALLS_MAX);
    give_up(s, CSN_RUN_FAILED, "model", csn_strn(text, (size_t)n));
    return false;
  }
  csn_json_each (item, items) {
    csn_str id = csn_json_str(item, "call_id", CSN_STR(""));
    if (id.n && memchr(id.p, '\0', id.n)) {
      give_up(s, CSN_RUN_FAILED, "model", CSN_STR("the model's reply holds a call id with a NUL"));
      return false;
    }
  }
  return true;
}

static void
take_final(struct step *s, const struct csn_reply_shape *shape)
{
  csn_state *st = s->st;
  if (shape->refusal.n)
    decide(st, CSN_RUN_FAILED, "refusal", shape->refusal);
  else
    decide(st, CSN_RUN_DONE, "final", CSN_STR(""));
}

static int
on_model_replied(struct step *s)
{
  csn_state *st = s->st;
  csn_pending *p = pending_of(s, CSN_DO_MODEL_CALL);
  if (!p)
    return CSN_E_INVALID;
  drop_pending(st, p);
  absorb_items(s);
  csn_usage_add(&st->usage, csn_json_get(s->ev->data, "usage"));
  if (st->outcome != CSN_RUN_RUNNING)
    return 0;
  const csn_json *items = csn_json_get(s->ev->data, "items");
  struct csn_reply_shape shape = csn_reply_shape_of(items);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(64u << 20);
  csn_message_text(shape.last_message, &text);
  if (shape.last_message)
    set_text(&st->output, csn_buf_str(&text));
  if (!check_calls(s, &shape, items))
    return 0;
  csn_json_each (item, items) {
    csn_str type = csn_json_str(item, "type", CSN_STR(""));
    if (csn_str_eq(type, CSN_STR("function_call")))
      queue_call(st, item, false);
    else if (csn_str_eq(type, CSN_STR("custom_tool_call")))
      queue_call(st, item, true);
  }
  if (!shape.n_calls && !(shape.n_hosted && !shape.last_message))
    take_final(s, &shape);
  return 0;
}

static int
on_model_failed(struct step *s)
{
  csn_pending *p = pending_of(s, CSN_DO_MODEL_CALL);
  if (!p)
    return CSN_E_INVALID;
  drop_pending(s->st, p);
  give_up(s, CSN_RUN_FAILED, "model", error_text(s->ev));
  return 0;
}

/* A guardrail answered: {"effect","trip":bool,"message"}. */
static int
on_callback(struct step *s)
{
  csn_pending *p = pending_of(s, CSN_DO_CALLBACK);
  if (!p)
    return CSN_E_INVALID;
  drop_pending(s->st, p);
  if (csn_json_bool(s->ev->data, "trip", false))
    give_up(s, CSN_RUN_FAILED, "guardrail",
            csn_json_str(s->ev->data, "message", CSN_STR("a guardrail tripped")));
  return 0;
}

static int
on_tool_returned(struct step *s)
{
  csn_pending *p = pending_of(s, CSN_DO_TOOL_CALL);
  if (!p)
    return CSN_E_INVALID;
  drop_pending(s->st, p);
  absorb_items(s);
  return 0;
}

/* {"effect","allow":bool,"items":[output when denied]} */
static int
on_decided(struct step *s)
{
  csn_pending *p = pending_of(s, CSN_DO_ASK);
  if (!p)
    return CSN_E_INVALID;
  if (csn_json_bool(s->ev->data, "allow", false)) {
    p->kind = CSN_DO_TOOL_CALL;
    p->seq = csn_emit_tool_call(s->out, s->ev, p);
    return 0;
  }
  drop_pending(s->st, p);
  absorb_items(s);
  return 0;
}

static int
on_checkpointed(struct step *s)
{
  csn_pending *p = pending_of(s, CSN_DO_SANDBOX_CHECKPOINT);
  if (!p)
    return CSN_E_INVALID;
  drop_pending(s->st, p);
  return 0;
}

static int
on_timer(struct step *s)
{
  int64_t seq = csn_json_int(s->ev->data, "effect", -1);
  if (seq < 0 || seq != s->st->timer_seq)
    return csn_fail(s->err, CSN_E_INVALID, "record %lld: no such timer", (long long)s->ev->seq);
  s->st->timer_seq = -1;
  give_up(s, CSN_RUN_LIMIT, "wall", CSN_STR("the time limit was reached; raise limits.wall"));
  return 0;
}

static int
on_cancel(struct step *s)
{
  csn_str mode = csn_json_str(s->ev->data, "mode", CSN_STR("now"));
  if (csn_str_eq(mode, CSN_STR("after_turn")))
    s->st->stops_after_turn = true;
  else
    give_up(s, CSN_RUN_CANCELLED, "cancelled", CSN_STR("cancelled"));
  return 0;
}

/* {"ask":[seq..]}: tool calls whose tools want a human after a crash. */
static int
on_resumed(struct step *s)
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

static int
on_nothing(struct step *s)
{
  (void)s;
  return 0;
}

/* ---- the table ---- */

typedef int handler(struct step *s);

#define ALWAYS                                                                                     \
  [CSN_EV_CANCEL_REQUESTED] = on_cancel, [CSN_EV_RESUMED] = on_resumed,                            \
  [CSN_EV_INTERRUPTED] = on_nothing, [CSN_EV_TIMER_FIRED] = on_timer,                              \
  [CSN_EV_SANDBOX_LOST] = on_sandbox_lost

static handler *const moves[CSN_PHASE_COUNT][CSN_EV_COUNT] = {
    [CSN_PHASE_NEW] = {[CSN_EV_INPUT] = on_input},
    [CSN_PHASE_SETUP] = {ALWAYS, [CSN_EV_SANDBOX_READY] = on_sandbox_ready},
    [CSN_PHASE_MODEL] =
        {ALWAYS, [CSN_EV_MODEL_REPLIED] = on_model_replied, [CSN_EV_MODEL_FAILED] = on_model_failed,
         [CSN_EV_CALLBACK_RETURNED] = on_callback},
    [CSN_PHASE_TOOLS] =
        {ALWAYS, [CSN_EV_TOOL_RETURNED] = on_tool_returned, [CSN_EV_DECIDED] = on_decided},
    [CSN_PHASE_CLOSING] = {[CSN_EV_CHECKPOINTED] = on_checkpointed,
                           [CSN_EV_CANCEL_REQUESTED] = on_nothing,
                           [CSN_EV_RESUMED] = on_nothing,
                           [CSN_EV_INTERRUPTED] = on_nothing,
                           [CSN_EV_TIMER_FIRED] = on_timer},
};

/* The join: nothing emitted may be pending.  (Calls that wait for the phase
 * after have no seq yet.) */
static bool
join_holds(const csn_state *st)
{
  for (size_t i = 0; i < st->n_pending; i++)
    if (st->pending[i].seq >= 0)
      return false;
  return true;
}

static void
advance(struct step *s)
{
  csn_state *st = s->st;
  while (st->phase != CSN_PHASE_NEW && st->phase != CSN_PHASE_ENDED && join_holds(st)) {
    if (st->phase == CSN_PHASE_CLOSING)
      enter_ended(s);
    else if (st->outcome != CSN_RUN_RUNNING)
      enter_closing(s);
    else if (st->phase == CSN_PHASE_MODEL && st->n_pending)
      enter_tools(s);
    else
      enter_model(s); /* or decides the outcome */
  }
}

bool
csn_step_accepts(enum csn_phase p, enum csn_event_kind k)
{
  return moves[p][k] != NULL;
}

int
csn_step(csn_state *st, const csn_event *ev, csn_effects *out, csn_err *err)
{
  struct step s = {st, ev, out, err};
  csn_effects_clear(out);
  handler *h = moves[st->phase][ev->kind];
  if (!h)
    return csn_fail(err, CSN_E_INVALID, "record %lld: %s does not belong in phase %s",
                    (long long)ev->seq, csn_event_name(ev->kind), csn_phase_name(st->phase));
  int64_t turns = st->turns;
  int rc = h(&s);
  if (rc < 0)
    return rc;
  advance(&s);
  st->turn_ended = turns && (st->turns > turns || st->phase == CSN_PHASE_ENDED);
  return csn_effects_done(out, err);
}
