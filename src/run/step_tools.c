/* SPDX-License-Identifier: Apache-2.0
 * step_tools.c - tool calls of a turn, and questions to a human about them. */
#include "run/policy.h"
#include "run/step_impl.h"

/* A pending call as the rules see it; parsed in the arena. */
static csn_policy_call
call_of(const csn_state *st, const csn_pending *p, csn_arena *a)
{
  csn_policy_call c = {.agent = st->cfg.agent,
                       .tool = csn_cstr(p->name),
                       .input = csn_cstr(p->arguments),
                       .is_custom = p->is_custom,
                       .is_untrusted = st->untrusted != NULL};
  csn_policy_call_read(&c, st->cfg.root, a);
  return c;
}

/* "The call was denied by WHOM: WHY", the output of a call that is not made. */
static void
deny(csn_pending *p, const char *whom, csn_str why)
{
  csn_buf text = CSN_BUF(why.n + 100);
  csn_buf_addf(&text, "The call was not made: it was denied by %s%s%.*s", whom, why.n ? ": " : ".",
               (int)why.n, why.n ? why.p : "");
  free(p->answer);
  p->answer = text.p;
}

/* ---- decisions that hold for later calls ---- */

static const csn_sticky *
find_sticky(const csn_state *st, const csn_policy_call *c, int64_t now_ms)
{
  csn_digest scope = csn_policy_scope(c);
  for (size_t i = st->n_sticky; i-- > 0;) { /* the newest first */
    const csn_sticky *k = &st->sticky[i];
    bool is_over = k->until_ms && now_ms >= k->until_ms;
    if (is_over || !csn_str_eq(c->tool, csn_cstr(k->tool)) ||
        !csn_str_eq(c->agent, csn_cstr(k->agent)))
      continue;
    if (k->like && !csn_str_eq(c->box, csn_cstr(k->box)))
      continue;
    if (k->like ? csn_policy_fits(c, csn_cstr(k->like), k->allow)
                : memcmp(scope.b, k->scope.b, sizeof scope.b) == 0)
      return k;
  }
  return NULL;
}

void
csn_state_remember(csn_state *st, const csn_json *decided)
{
  const csn_json *always = csn_json_get(decided, "always");
  if (!csn_json_is(always, CSN_JSON_OBJECT))
    return;
  csn_str like = csn_json_str(always, "like", CSN_STR(""));
  csn_str reason = csn_json_str(decided, "reason", CSN_STR(""));
  csn_sticky k = {.allow = csn_json_bool(decided, "allow", false),
                  .until_ms = csn_json_int(always, "until_ms", 0)};
  if (!like.n && !csn_digest_from_hex(csn_json_str(always, "scope", CSN_STR("")), &k.scope))
    return;
  k.tool = csn_dupz(csn_json_str(always, "tool", CSN_STR("")));
  k.agent = csn_dupz(csn_json_str(always, "agent", CSN_STR("")));
  csn_str box = csn_json_str(always, "sandbox", CSN_STR(""));
  k.like = like.n ? csn_dupz(like) : NULL;
  k.box = box.n ? csn_dupz(box) : NULL;
  k.reason = reason.n ? csn_dupz(reason) : NULL;
  st->sticky = csn_realloc(st->sticky, st->n_sticky + 1, sizeof *st->sticky);
  st->sticky[st->n_sticky++] = k;
}

/* ---- handlers ---- */

/* Performs the call or, when it has an answer, lets the driver give that. */
static void
perform(struct csn_step *s, csn_pending *p)
{
  p->kind = CSN_DO_TOOL_CALL;
  csn_auto(csn_freep) char *guards =
      p->answer || p->how ? NULL : csn_step_tool_guards(s->st, "tool_output", p->name);
  p->is_held = guards != NULL;
  p->seq = csn_emit_tool_call(s->out, s->ev, p);
}

static void
guard(struct csn_step *s, csn_pending *p, enum csn_purpose purpose, char *names, int64_t of)
{
  p->kind = CSN_DO_CALLBACK;
  p->purpose = purpose;
  p->of = of;
  free(p->callbacks);
  p->callbacks = names;
  p->seq = csn_emit_callback(s->out, s->ev, p, CSN_STR(""));
}

static void
start(struct csn_step *s, csn_pending *p)
{
  if (!csn_step_child(s->st, p) || p->answer || !csn_step_start_child(s, p))
    perform(s, p);
}

/* It may be made as far as rules and humans are concerned. */
static void
let_pass(struct csn_step *s, csn_pending *p)
{
  const csn_json *handoff = csn_step_handoff(s->st, p);
  if (handoff) {
    csn_step_take_handoff(s, p, handoff);
    perform(s, p);
    return;
  }
  char *guards = csn_step_tool_guards(s->st, "tool_input", p->name);
  if (guards)
    guard(s, p, CSN_FOR_TOOL_INPUT, guards, -1);
  else
    start(s, p);
}

/* What somebody must have allowed: a server asks, or the provider is afraid of
 * what an action may do. */
static bool
needs_word(const csn_pending *p, const csn_policy_call *c)
{
  const csn_json *checks = csn_json_get(c->args, "pending_safety_checks");
  return p->how == CSN_HOW_MCP || (p->how == CSN_HOW_COMPUTER && checks && checks->n);
}

/* A call begins: it is performed, answered by policy, or a human is asked. */
static void
begin_call(struct csn_step *s, csn_pending *p)
{
  csn_state *st = s->st;
  const csn_json *rule = NULL;
  enum csn_verdict verdict = CSN_ALLOW;
  if (csn_step_is_disabled(st, p->name)) {
    csn_step_set_text(&p->answer, CSN_STR("This tool is not available now."));
    verdict = CSN_DENY;
  } else if ((st->cfg.approvals && st->cfg.approvals->n) || p->how) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_policy_call c = call_of(st, p, a);
    verdict = csn_policy_look(st->cfg.approvals, &c, s->ev->ts_ms, &rule);
    if (verdict == CSN_ALLOW && !rule && needs_word(p, &c))
      verdict = CSN_ASK;
    if (verdict == CSN_DENY)
      deny(p, "a rule of this agent", csn_json_str(rule, "reason", CSN_STR("")));
    const csn_sticky *k = verdict == CSN_ASK ? find_sticky(st, &c, s->ev->ts_ms) : NULL;
    if (k && !k->allow)
      deny(p, "a human", csn_cstr(k->reason));
    if (k)
      verdict = k->allow ? CSN_ALLOW : CSN_DENY;
  }
  if (verdict == CSN_ALLOW) {
    let_pass(s, p);
  } else if (verdict == CSN_DENY) {
    perform(s, p);
  } else {
    p->kind = CSN_DO_ASK;
    p->seq = csn_emit_ask(s->out, s->ev, p, "approval", rule);
  }
}

/* Questions to a human take no room. */
static int64_t
count_running(const csn_state *st)
{
  int64_t n = 0;
  for (size_t i = 0; i < st->n_pending; i++)
    n += st->pending[i].seq >= 0 && st->pending[i].kind != CSN_DO_ASK;
  return n;
}

void
csn_step_start_calls(struct csn_step *s)
{
  csn_state *st = s->st;
  for (size_t i = 0; i < st->n_pending; i++) {
    if (st->pending[i].seq >= 0)
      continue;
    if (st->cfg.max_parallel && count_running(st) >= st->cfg.max_parallel)
      return;
    begin_call(s, &st->pending[i]);
  }
}

void
csn_step_enter_tools(struct csn_step *s)
{
  s->st->phase = CSN_PHASE_TOOLS;
  csn_step_start_calls(s);
}

/* A result that is the answer: of several in a turn that of the first call. */
static void
note_stop(struct csn_step *s, const csn_pending *p)
{
  csn_state *st = s->st;
  const csn_json *use = st->cfg.tool_use;
  bool stops = csn_json_is(use, CSN_JSON_STRING) && csn_str_eq(use->text, CSN_STR("stop_on_first"));
  csn_json_each (name, csn_json_get(use, "stop_at"))
    stops = stops || csn_str_eq(name->text, csn_cstr(p->name));
  if (!stops || p->answer || p->is_custom || (st->stop_output && p->order > st->stop_order))
    return;
  csn_json_each (item, csn_json_get(s->ev->data, "items"))
    csn_step_set_text(&st->stop_output, csn_json_str(item, "output", CSN_STR("")));
  st->stop_order = p->order;
}

/* Its result has joined. */
void
csn_step_settle(struct csn_step *s, csn_pending *p)
{
  note_stop(s, p);
  csn_pending done = *p;
  csn_pending_forget(s->st, p);
  bool is_bad = csn_str_starts(csn_cstr(done.answer), csn_cstr(csn_step_bad_input));
  if (!csn_step_handoff(s->st, &done) || is_bad)
    csn_step_watch_loops(s, &done);
  csn_pending_free(&done);
}

void
csn_step_tool_guarded(struct csn_step *s, csn_pending *p)
{
  const csn_json *data = s->ev->data;
  csn_str reject = csn_json_str(data, "reject", CSN_STR(""));
  bool trips = csn_json_bool(data, "trip", false);
  bool goes_on = !trips && s->st->outcome == CSN_RUN_RUNNING;
  if (p->purpose == CSN_FOR_TOOL_INPUT && goes_on) {
    if (reject.n)
      csn_step_set_text(&p->answer, reject);
    p->purpose = CSN_FOR_NONE;
    start(s, p);
    return;
  }
  csn_step_absorb(s);
  csn_step_settle(s, p);
  if (trips)
    csn_step_give_up(s, CSN_RUN_FAILED, "guardrail",
                     csn_json_str(data, "message", CSN_STR("a guardrail tripped")));
}

/* Guardrails look at a result, and their event brings the item; of a run that is
 * about to end nobody needs it. */
void
csn_step_take_held(struct csn_step *s, csn_pending *p)
{
  char *guards = s->st->outcome == CSN_RUN_RUNNING
                     ? csn_step_tool_guards(s->st, "tool_output", p->name)
                     : NULL;
  if (guards)
    guard(s, p, CSN_FOR_TOOL_OUTPUT, guards, s->ev->seq);
  else
    csn_pending_drop(s->st, p);
}

int
csn_step_on_tool_returned(struct csn_step *s)
{
  csn_pending *p = csn_pending_answered(s, CSN_DO_TOOL_CALL);
  if (!p)
    return CSN_E_INVALID;
  if (csn_json_bool(s->ev->data, "sandbox", false))
    csn_step_touch(s);
  bool is_held = csn_json_bool(s->ev->data, "held", false);
  if (is_held != p->is_held)
    return csn_fail(s->err, CSN_E_INVALID, "record %lld: a result that is %sheld",
                    (long long)s->ev->seq, is_held ? "" : "not ");
  if (is_held) {
    csn_step_take_held(s, p);
  } else {
    csn_step_absorb(s);
    csn_step_settle(s, p);
  }
  return 0;
}

/* {"effect","allow":bool,"arguments"?:edited,"always"?,"items":[output when denied]} */
int
csn_step_on_decided(struct csn_step *s)
{
  csn_pending *p = csn_pending_answered(s, CSN_DO_ASK);
  if (!p)
    return CSN_E_INVALID;
  if (p->purpose == CSN_FOR_BUDGET) {
    csn_step_soft_decided(s, p);
    return 0;
  }
  csn_state_remember(s->st, s->ev->data);
  if (csn_json_bool(s->ev->data, "allow", false)) {
    const csn_json *edited = csn_json_get(s->ev->data, p->is_custom ? "input" : "arguments");
    if (csn_json_is(edited, CSN_JSON_STRING)) {
      csn_step_set_text(&p->arguments, edited->text);
      p->is_edited = true;
    }
    let_pass(s, p);
    return 0;
  }
  csn_pending_drop(s->st, p);
  csn_step_absorb(s);
  return 0;
}

/* {"ask":[seq..],"limits"?}: tool calls whose tools want a human after a crash. */
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
      p->was_interrupted = true;
      p->seq = csn_emit_ask(s->out, s->ev, p, "interrupted", NULL);
    }
  }
  csn_step_raise(s);
  return 0;
}
