/* SPDX-License-Identifier: Apache-2.0
 * emit.c - the JSON of each effect.  All texts of a step stand in one buffer;
 * `data` holds offsets into it until csn_effects_done(). */
#include "run/emit.h"

#include "run/items.h"
#include "run/step_impl.h"

enum { EFFECTS_MAX_BYTES = 256 << 20 };

void
csn_effects_clear(csn_effects *e)
{
  e->n = 0;
  e->text.cap = EFFECTS_MAX_BYTES;
  csn_buf_clear(&e->text);
}

void
csn_effects_fini(csn_effects *e)
{
  free(e->v);
  csn_buf_fini(&e->text);
  *e = (csn_effects){0};
}

int
csn_effects_done(csn_effects *e, csn_err *err)
{
  int rc = csn_buf_done(&e->text, "the effects of one step", err);
  if (rc < 0)
    return rc;
  size_t at = 0;
  for (size_t i = 0; i < e->n; i++) {
    e->v[i].data.p = e->text.p + at;
    at += e->v[i].data.n;
  }
  return 0;
}

static csn_effect *
begin(csn_effects *e, const csn_event *ev, enum csn_effect_kind kind, csn_jw *w)
{
  if (e->n == e->room) {
    e->room = e->room ? e->room * 2 : 4;
    e->v = csn_realloc(e->v, e->room, sizeof *e->v);
  }
  csn_effect *f = &e->v[e->n++];
  *f = (csn_effect){.kind = kind, .seq = ev->seq + (int64_t)e->n};
  f->data.n = e->text.n; /* where it begins, until end() makes it a length */
  csn_jw_init(w, &e->text);
  csn_jw_obj(w);
  return f;
}

static int64_t
end(csn_effects *e, csn_effect *f, csn_jw *w)
{
  csn_jw_end(w);
  f->data.n = e->text.n - f->data.n;
  return f->seq;
}

static void
member(csn_jw *w, const char *key, const char *text)
{
  csn_jw_key(w, key);
  csn_jw_strz(w, text);
}

static void
number(csn_jw *w, const char *key, int64_t n)
{
  csn_jw_key(w, key);
  csn_jw_int(w, n);
}

/* The patterns of tools that are not offered. */
static void
without(csn_jw *w, csn_str lines)
{
  csn_str line;
  csn_jw_key(w, "without");
  csn_jw_arr(w);
  while (csn_str_line(&lines, &line))
    csn_jw_str(w, line);
  csn_jw_end(w);
}

static void
seq_if_any(csn_jw *w, const char *key, int64_t seq)
{
  if (seq >= 0)
    number(w, key, seq);
}

int64_t
csn_emit_model_call(csn_effects *e, const csn_event *ev, const csn_state *st)
{
  csn_jw w;
  csn_effect *f = begin(e, ev, CSN_DO_MODEL_CALL, &w);
  char hex[65];
  bool sums_up = st->phase == CSN_PHASE_COMPACT;
  csn_digest_hex(&st->prefix, hex);
  number(&w, "turn", st->turns + sums_up);
  if (sums_up)
    member(&w, "for", "compaction");
  csn_jw_key(&w, "items");
  csn_jw_arr(&w);
  csn_jw_int(&w, st->items_from);
  csn_jw_int(&w, st->items_to);
  csn_jw_end(&w);
  member(&w, "prefix", hex);
  seq_if_any(&w, "to", sums_up ? st->context.wanted : -1);
  seq_if_any(&w, "trim", st->context.trim);
  seq_if_any(&w, "cut", st->context.cut);
  seq_if_any(&w, "summary", st->context.summary);
  seq_if_any(&w, "since", st->context.since);
  seq_if_any(&w, "base", st->context.base);
  if (st->instructions >= 0)
    number(&w, "instructions", st->instructions);
  if (st->disabled && *st->disabled)
    without(&w, csn_cstr(st->disabled));
  if (csn_json_get(st->cfg.root, "agents")) {
    csn_jw_key(&w, "agent");
    csn_jw_str(&w, st->cfg.agent);
  }
  if (st->filter) {
    member(&w, "filter", st->filter);
    number(&w, "filter_to", st->filter_to);
  }
  const char *model = csn_state_model(st);
  if (model)
    member(&w, "model", model);
  if (st->route.model)
    member(&w, "why", st->route.why);
  if (st->budget.max_output)
    number(&w, "max_output", st->budget.max_output);
  if (st->attempts)
    number(&w, "attempts", st->attempts);
  if (csn_state_has_free_choice(st) && !sums_up) {
    csn_jw_key(&w, "free_choice");
    csn_jw_bool(&w, true);
  }
  if (csn_state_is_gated(st) && !sums_up) {
    csn_jw_key(&w, "gate");
    csn_jw_bool(&w, true);
  }
  return end(e, f, &w);
}

static int64_t
call(csn_effects *e, const csn_event *ev, enum csn_effect_kind kind, const csn_pending *p,
     const char *why, const csn_json *rule)
{
  csn_jw w;
  csn_effect *f = begin(e, ev, kind, &w);
  member(&w, "call_id", p->call_id);
  member(&w, "name", p->name);
  member(&w, p->is_custom ? "input" : "arguments", p->arguments);
  if (p->how)
    member(&w, "how", csn_call_how_name(p->how));
  if (p->is_edited) {
    csn_jw_key(&w, "edited");
    csn_jw_bool(&w, true);
  }
  if (p->answer)
    member(&w, "answer", p->answer);
  if (why)
    member(&w, "why", why);
  csn_str reason = csn_json_str(rule, "reason", CSN_STR(""));
  if (reason.n) {
    csn_jw_key(&w, "reason");
    csn_jw_str(&w, reason);
  }
  return end(e, f, &w);
}

int64_t
csn_emit_tool_call(csn_effects *e, const csn_event *ev, const csn_pending *p)
{
  return call(e, ev, CSN_DO_TOOL_CALL, p, NULL, NULL);
}

int64_t
csn_emit_ask(csn_effects *e, const csn_event *ev, const csn_pending *p, const char *why,
             const csn_json *rule)
{
  return call(e, ev, CSN_DO_ASK, p, why, rule);
}

int64_t
csn_emit_callback(csn_effects *e, const csn_event *ev, const csn_pending *p, csn_str about)
{
  csn_jw w;
  csn_effect *f = begin(e, ev, CSN_DO_CALLBACK, &w);
  member(&w, "for", csn_purpose_name(p->purpose));
  csn_jw_key(&w, "callbacks");
  csn_jw_raw(&w, csn_cstr(p->callbacks));
  if (about.n) {
    csn_jw_key(&w, p->purpose == CSN_FOR_ERROR     ? "error"
                   : p->purpose == CSN_FOR_HANDOFF ? "input"
                                                   : "tool");
    csn_jw_str(&w, about);
  }
  if (p->call_id)
    member(&w, "call_id", p->call_id);
  if (p->of >= 0)
    number(&w, "of", p->of);
  return end(e, f, &w);
}

int64_t
csn_emit_child(csn_effects *e, const csn_event *ev, const csn_pending *p, csn_str agent)
{
  csn_jw w;
  csn_effect *f = begin(e, ev, CSN_DO_CHILD_START, &w);
  member(&w, "call_id", p->call_id);
  member(&w, "name", p->name);
  member(&w, "arguments", p->arguments);
  csn_jw_key(&w, "agent");
  csn_jw_str(&w, agent);
  if (p->tokens)
    number(&w, "tokens", p->tokens);
  if (p->cost_pusd)
    number(&w, "cost_pusd", p->cost_pusd);
  return end(e, f, &w);
}

int64_t
csn_emit_cancel(csn_effects *e, const csn_event *ev, enum csn_effect_kind kind, int64_t target)
{
  csn_jw w;
  csn_effect *f = begin(e, ev, kind, &w);
  number(&w, "effect", target);
  return end(e, f, &w);
}

int64_t
csn_emit_timer(csn_effects *e, const csn_event *ev, int64_t at_ms)
{
  csn_jw w;
  csn_effect *f = begin(e, ev, CSN_DO_TIMER_SET, &w);
  member(&w, "for", "wall");
  number(&w, "at_ms", at_ms);
  return end(e, f, &w);
}

static int64_t
bare(csn_effects *e, const csn_event *ev, enum csn_effect_kind kind)
{
  csn_jw w;
  csn_effect *f = begin(e, ev, kind, &w);
  return end(e, f, &w);
}

int64_t
csn_emit_sandbox_open(csn_effects *e, const csn_event *ev)
{
  return bare(e, ev, CSN_DO_SANDBOX_OPEN);
}

int64_t
csn_emit_session_read(csn_effects *e, const csn_event *ev, const csn_json *limits)
{
  csn_jw w;
  csn_effect *f = begin(e, ev, CSN_DO_SESSION_READ, &w);
  csn_json_each (m, limits) {
    csn_jw_keyn(&w, m->key);
    csn_jw_value(&w, m);
  }
  return end(e, f, &w);
}

int64_t
csn_emit_session_append(csn_effects *e, const csn_event *ev, const csn_state *st)
{
  csn_jw w;
  csn_effect *f = begin(e, ev, CSN_DO_SESSION_APPEND, &w);
  member(&w, "name", st->session);
  return end(e, f, &w);
}

int64_t
csn_emit_checkpoint(csn_effects *e, const csn_event *ev)
{
  return bare(e, ev, CSN_DO_SANDBOX_CHECKPOINT);
}

int64_t
csn_emit_save(csn_effects *e, const csn_event *ev)
{
  csn_jw w;
  csn_effect *f = begin(e, ev, CSN_DO_SANDBOX_CHECKPOINT, &w);
  member(&w, "of", "workspace");
  return end(e, f, &w);
}

int64_t
csn_emit_sandbox_close(csn_effects *e, const csn_event *ev)
{
  return bare(e, ev, CSN_DO_SANDBOX_CLOSE);
}

/* Which limit it was, and the numbers. */
static void
limit(csn_jw *w, const csn_state *st)
{
  bool is_cost = strcmp(st->limit_what, "cost_usd") == 0;
  csn_jw_key(w, "limit");
  csn_jw_obj(w);
  member(w, "what", st->limit_what);
  csn_jw_key(w, "max");
  csn_jw_double(w, (double)st->limit_max / (is_cost ? 1e12 : 1));
  csn_jw_key(w, "used");
  csn_jw_double(w, (double)st->limit_used / (is_cost ? 1e12 : 1));
  csn_jw_end(w);
}

int64_t
csn_emit_finish(csn_effects *e, const csn_event *ev, const csn_state *st)
{
  csn_jw w;
  csn_effect *f = begin(e, ev, CSN_DO_FINISH, &w);
  member(&w, "state", csn_run_state_name(st->outcome));
  member(&w, "reason", st->reason);
  member(&w, "output", st->output ? st->output : "");
  if (st->message && *st->message)
    member(&w, "message", st->message);
  number(&w, "turns", st->turns);
  number(&w, "tool_calls", st->tool_calls);
  csn_jw_key(&w, "usage");
  csn_usage_to_json(&st->usage, &w);
  if (st->cfg.prices) {
    csn_jw_key(&w, "cost_usd");
    csn_jw_double(&w, (double)st->budget.cost_pusd / 1e12);
  }
  if (st->limit_what)
    limit(&w, st);
  csn_step_uses_to_json(st, &w, true);
  if (st->untrusted)
    member(&w, "untrusted", st->untrusted);
  return end(e, f, &w);
}
