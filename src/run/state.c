/* SPDX-License-Identifier: Apache-2.0
 * state.c - the state of a run: its birth, its JSON form and its end. */
#include "run/items.h"
#include "run/step_impl.h"

enum { STATE_FORMAT = 1 };

static const char *const phase_names[] = {"new",   "setup",  "prepare", "compact", "model",
                                          "tools", "review", "closing", "ended"};

const char *
csn_phase_name(enum csn_phase p)
{
  return phase_names[p];
}

#define X(id, word) #word,
static const char *const purpose_names[] = {CSN_PURPOSES(X)};
#undef X

const char *
csn_purpose_name(enum csn_purpose p)
{
  return purpose_names[p];
}

const char *
csn_run_state_name(enum csn_run_state s)
{
  static const char *const names[] = {"running", "waiting",   "done",       "failed",
                                      "limit",   "cancelled", "interrupted"};
  return names[s];
}

/* A child works in those of its parent. */
static bool
has_sandbox(const csn_json *agent)
{
  return csn_json_is(csn_json_get(agent, "sandbox"), CSN_JSON_OBJECT) ||
         (csn_json_get(agent, "sandboxes") && !csn_json_get(agent, "parent"));
}

static bool
has_outputs(const csn_json *agent)
{
  const csn_json *list = csn_json_get(agent, "outputs");
  bool any = list && list->n > 0;
  csn_json_each (box, csn_json_get(agent, "sandboxes"))
    any = any || csn_json_get(box, "outputs");
  return any;
}

void
csn_state_init(csn_state *st, const csn_json *agent, const csn_json *prices, const csn_digest *salt)
{
  const csn_json *limits = csn_json_get(agent, "limits"), *soft = csn_json_get(limits, "soft");
  *st = (csn_state){
      .items_from = -1, .items_to = -1, .timer_seq = -1, .instructions = -1, .prefix = *salt};
  st->reply = st->answer = st->withheld = -1;
  st->context = (csn_context){.trim = -1,
                              .cut = -1,
                              .summary = -1,
                              .since = -1,
                              .base = -1,
                              .base_to = -1,
                              .wanted = -1,
                              .counted_to = -1};
  st->cfg = (csn_step_config){
      .has_sandbox = has_sandbox(agent),
      .has_outputs = has_outputs(agent),
      .max_turns = csn_json_int(limits, "turns", 0),
      .wall_ms = csn_json_int(limits, "wall_ms", 0),
      .max_tokens = csn_json_int(limits, "tokens", 0),
      .max_cost_pusd = (int64_t)(csn_json_double(limits, "cost_usd", 0) * 1e12 + 0.5),
      .max_tool_calls = csn_json_int(limits, "tool_calls", 0),
      .max_repeats = csn_json_int(limits, "repeats", 0),
      .soft_percent = (int64_t)(csn_json_double(soft, "at", 0) * 100 + 0.5),
      .soft_model = csn_json_str(soft, "model", CSN_STR("")),
      .prices = prices,
      .root = agent,
      .max_parallel = csn_json_int(limits, "parallel", 0),
      .max_children = csn_json_int(limits, "children", 0),
      .max_handoffs = csn_json_int(limits, "handoffs", 0),
      .approvals = csn_json_get(agent, "approvals"),
      .checkpoint_ms = -1,
  };
  csn_step_set_agent(st, csn_json_str(agent, "name", CSN_STR("")));
}

void
csn_state_set_models(csn_state *st, const csn_json *models)
{
  st->cfg.lists = models;
  csn_step_set_agent(st, st->cfg.agent);
}

void
csn_state_set_checkpoint(csn_state *st, int64_t checkpoint_ms)
{
  st->cfg.checkpoint_ms = checkpoint_ms;
}

void
csn_state_fini(csn_state *st)
{
  csn_route_state_fini(&st->route);
  for (size_t i = 0; i < st->n_pending; i++)
    csn_pending_free(&st->pending[i]);
  free(st->pending);
  for (size_t i = 0; i < st->n_sticky; i++) {
    free(st->sticky[i].tool);
    free(st->sticky[i].agent);
    free(st->sticky[i].like);
    free(st->sticky[i].box);
    free(st->sticky[i].reason);
  }
  free(st->sticky);
  free(st->added);
  free(st->disabled);
  csn_buf_fini(&st->results);
  free(st->limit_what);
  free(st->untrusted);
  free(st->failing.message);
  for (size_t i = 0; i < st->n_uses; i++)
    free(st->uses[i].name);
  free(st->uses);
  csn_step_choice_fini(st);
  free(st->stop_output);
  free(st->next_agent);
  free(st->next_filter);
  free(st->next_input);
  free(st->filter);
  free(st->model);
  free(st->session);
  free(st->aside);
  free(st->reason);
  free(st->output);
  free(st->message);
  *st = (csn_state){0};
}

const csn_pending *
csn_state_find(const csn_state *st, int64_t seq)
{
  for (size_t i = 0; i < st->n_pending; i++)
    if (st->pending[i].seq == seq)
      return &st->pending[i];
  return NULL;
}

bool
csn_state_waits(const csn_state *st)
{
  for (size_t i = 0; i < st->n_pending; i++)
    if (st->pending[i].seq >= 0 && st->pending[i].kind != CSN_DO_ASK)
      return false;
  return st->n_pending > 0;
}

static void
number(csn_jw *w, const char *key, int64_t n)
{
  csn_jw_key(w, key);
  csn_jw_int(w, n);
}

static void
text(csn_jw *w, const char *key, const char *z)
{
  csn_jw_key(w, key);
  csn_jw_strz(w, z);
}

/* What does not hold is left out: a state is written at each turn. */
static void
flag(csn_jw *w, const char *key, bool holds)
{
  if (!holds)
    return;
  csn_jw_key(w, key);
  csn_jw_bool(w, true);
}

static void
pending_to_json(const csn_pending *p, csn_jw *w)
{
  csn_jw_obj(w);
  number(w, "seq", p->seq);
  text(w, "kind", csn_effect_name(p->kind));
  flag(w, "cancelled", p->is_cancelled);
  if (p->call_id) {
    flag(w, "custom", p->is_custom);
    text(w, "call_id", p->call_id);
    text(w, "name", p->name);
    text(w, "arguments", p->arguments);
    if (p->answer)
      text(w, "answer", p->answer);
    flag(w, "edited", p->is_edited);
    flag(w, "held", p->is_held);
    number(w, "order", p->order);
    if (p->how)
      text(w, "how", csn_call_how_name(p->how));
    if (p->tokens)
      number(w, "tokens", p->tokens);
    if (p->cost_pusd)
      number(w, "cost_pusd", p->cost_pusd);
    if (p->turns)
      number(w, "turns", p->turns);
    if (p->tool_calls)
      number(w, "tool_calls", p->tool_calls);
    flag(w, "interrupted", p->was_interrupted);
  }
  if (p->purpose && p->name && !p->call_id)
    text(w, "name", p->name);
  if (p->purpose) {
    text(w, "for", purpose_names[p->purpose]);
    text(w, "callbacks", p->callbacks);
    number(w, "of", p->of);
  }
  csn_jw_end(w);
}

static char *
text_or_null(const csn_json *v, const char *key)
{
  const csn_json *m = csn_json_get(v, key);
  return csn_json_is(m, CSN_JSON_STRING) ? csn_dupz(m->text) : NULL;
}

static void
budget_to_json(const csn_state *st, csn_jw *w)
{
  const csn_budget *b = &st->budget;
  if (st->results.n)
    text(w, "results", st->results.p);
  if (st->handoffs_back)
    number(w, "handoffs_back", st->handoffs_back);
  if (st->model)
    text(w, "model", st->model);
  if (st->limit_what) {
    text(w, "limit", st->limit_what);
    number(w, "limit_max", st->limit_max);
    number(w, "limit_used", st->limit_used);
  }
  if (!st->cfg.max_tokens && !st->cfg.max_cost_pusd && !b->cost_pusd && !b->children && !b->is_soft)
    return;
  number(w, "cost_pusd", b->cost_pusd);
  number(w, "context_tokens", b->context_tokens);
  number(w, "fresh_bytes", b->fresh_bytes);
  number(w, "max_output", b->max_output);
  number(w, "child_tokens", b->child_tokens);
  number(w, "child_turns", b->child_turns);
  number(w, "child_calls", b->child_calls);
  number(w, "children", b->children);
  flag(w, "soft", b->is_soft);
}

/* Only of a run with several agents. */
static void
team_to_json(const csn_state *st, csn_jw *w)
{
  if (!csn_json_get(st->cfg.root, "agents"))
    return;
  csn_jw_key(w, "agent");
  csn_jw_str(w, st->cfg.agent);
  if (st->next_agent) {
    text(w, "next_agent", st->next_agent);
    text(w, "next_filter", st->next_filter);
    if (st->next_input)
      text(w, "next_input", st->next_input);
  }
  if (st->filter) {
    text(w, "filter", st->filter);
    number(w, "filter_to", st->filter_to);
  }
}

static int
team_from_json(csn_state *st, const csn_json *v, csn_err *err)
{
  csn_str agent = csn_json_str(v, "agent", st->cfg.agent);
  if (!csn_step_set_agent(st, agent))
    return csn_fail(err, CSN_E_REPLAY, "state: there is no agent %.*s", (int)(agent.n & 0xff),
                    agent.p);
  st->next_agent = text_or_null(v, "next_agent");
  st->next_filter = text_or_null(v, "next_filter");
  st->next_input = text_or_null(v, "next_input");
  st->filter = text_or_null(v, "filter");
  st->filter_to = csn_json_int(v, "filter_to", -1);
  return 0;
}

static void
budget_from_json(csn_state *st, const csn_json *v)
{
  st->budget = (csn_budget){.cost_pusd = csn_json_int(v, "cost_pusd", 0),
                            .context_tokens = csn_json_int(v, "context_tokens", 0),
                            .fresh_bytes = csn_json_int(v, "fresh_bytes", 0),
                            .max_output = csn_json_int(v, "max_output", 0),
                            .children = csn_json_int(v, "children", 0),
                            .child_tokens = csn_json_int(v, "child_tokens", 0),
                            .child_turns = csn_json_int(v, "child_turns", 0),
                            .child_calls = csn_json_int(v, "child_calls", 0),
                            .is_soft = csn_json_bool(v, "soft", false)};
  csn_state_fold(st, v);
  csn_str results = csn_json_str(v, "results", CSN_STR(""));
  st->results = CSN_BUF(results.n);
  csn_buf_add(&st->results, results);
  st->turn_ended = true; /* else it had not been written */
  st->handoffs_back = csn_json_int(v, "handoffs_back", 0);
  st->model = text_or_null(v, "model");
  st->limit_what = text_or_null(v, "limit");
  st->limit_max = csn_json_int(v, "limit_max", 0);
  st->limit_used = csn_json_int(v, "limit_used", 0);
}

void
csn_state_to_json(const csn_state *st, csn_jw *w)
{
  char hex[65];
  csn_digest_hex(&st->prefix, hex);
  csn_jw_obj(w);
  number(w, "format", STATE_FORMAT);
  text(w, "phase", phase_names[st->phase]);
  number(w, "turns", st->turns);
  number(w, "tool_calls", st->tool_calls);
  csn_jw_key(w, "usage");
  csn_usage_to_json(&st->usage, w);
  number(w, "items_from", st->items_from);
  number(w, "items_to", st->items_to);
  text(w, "prefix", hex);
  number(w, "outcome", st->outcome);
  if (st->reason)
    text(w, "reason", st->reason);
  if (st->output)
    text(w, "output", st->output);
  if (st->message)
    text(w, "message", st->message);
  flag(w, "stops_after_turn", st->stops_after_turn);
  flag(w, "sandbox_open", st->sandbox_open);
  if (st->timer_at_ms) {
    number(w, "timer", st->timer_seq);
    number(w, "timer_at_ms", st->timer_at_ms);
  }
  if (st->instructions >= 0)
    number(w, "instructions", st->instructions);
  if (st->disabled && *st->disabled)
    text(w, "disabled", st->disabled);
  flag(w, "final", st->is_final);
  flag(w, "repaired", st->is_repaired);
  if (st->stop_output) {
    text(w, "stop_output", st->stop_output);
    number(w, "stop_order", st->stop_order);
  }
  budget_to_json(st, w);
  csn_route_to_json(st, w);
  csn_step_context_to_json(st, w);
  csn_step_uses_to_json(st, w, false);
  csn_step_saving_to_json(st, w);
  csn_step_failing_to_json(st, w);
  csn_step_choice_to_json(st, w);
  csn_step_raised_to_json(st, w);
  if (st->attempts)
    number(w, "attempts", st->attempts);
  if (st->untrusted)
    text(w, "untrusted", st->untrusted);
  if (st->session)
    text(w, "session", st->session);
  csn_step_withheld_to_json(st, w);
  csn_step_added_to_json(st, w);
  team_to_json(st, w);
  csn_jw_key(w, "pending");
  csn_jw_arr(w);
  for (size_t i = 0; i < st->n_pending; i++)
    pending_to_json(&st->pending[i], w);
  csn_jw_end(w);
  csn_jw_end(w);
}

static enum csn_purpose
purpose_of(csn_str word)
{
  for (int i = 0; i < CSN_FOR_COUNT; i++)
    if (csn_str_eq(word, csn_cstr(purpose_names[i])))
      return (enum csn_purpose)i;
  return CSN_FOR_NONE;
}

static int
pending_from_json(csn_pending *p, const csn_json *v, csn_err *err)
{
  int kind = csn_effect_find(csn_json_str(v, "kind", CSN_STR("")));
  if (kind < 0)
    return csn_fail(err, CSN_E_REPLAY, "state: a pending effect of an unknown kind");
  *p = (csn_pending){
      .seq = csn_json_int(v, "seq", -1),
      .kind = (enum csn_effect_kind)kind,
      .is_cancelled = csn_json_bool(v, "cancelled", false),
      .is_custom = csn_json_bool(v, "custom", false),
      .call_id = text_or_null(v, "call_id"),
      .name = text_or_null(v, "name"),
      .arguments = text_or_null(v, "arguments"),
      .answer = text_or_null(v, "answer"),
      .is_edited = csn_json_bool(v, "edited", false),
      .is_held = csn_json_bool(v, "held", false),
      .order = csn_json_int(v, "order", 0),
      .how = csn_call_how_of(csn_json_str(v, "how", CSN_STR(""))),
      .tokens = csn_json_int(v, "tokens", 0),
      .cost_pusd = csn_json_int(v, "cost_pusd", 0),
      .turns = csn_json_int(v, "turns", 0),
      .tool_calls = csn_json_int(v, "tool_calls", 0),
      .purpose = purpose_of(csn_json_str(v, "for", CSN_STR(""))),
      .callbacks = text_or_null(v, "callbacks"),
      .of = csn_json_int(v, "of", -1),
      .was_interrupted = csn_json_bool(v, "interrupted", false),
  };
  return 0;
}

static int
phase_from_json(csn_state *st, const csn_json *v, csn_err *err)
{
  csn_str phase = csn_json_str(v, "phase", CSN_STR(""));
  int64_t outcome = csn_json_int(v, "outcome", -1);
  for (int i = 0; i < CSN_PHASE_COUNT; i++)
    if (csn_str_eq(phase, csn_cstr(phase_names[i])) && outcome >= 0 &&
        outcome <= CSN_RUN_INTERRUPTED) {
      st->phase = (enum csn_phase)i;
      st->outcome = (enum csn_run_state)outcome;
      return 0;
    }
  return csn_fail(err, CSN_E_REPLAY, "state: unknown phase or outcome");
}

int
csn_state_from_json(csn_state *st, const csn_json *v, csn_err *err)
{
  if (csn_json_int(v, "format", 0) != STATE_FORMAT)
    return csn_fail(err, CSN_E_REPLAY, "state: format %lld, this program knows %d",
                    (long long)csn_json_int(v, "format", 0), STATE_FORMAT);
  int rc = phase_from_json(st, v, err);
  if (rc < 0)
    return rc;
  if (!csn_digest_from_hex(csn_json_str(v, "prefix", CSN_STR("")), &st->prefix))
    return csn_fail(err, CSN_E_REPLAY, "state: malformed prefix");
  st->turns = csn_json_int(v, "turns", 0);
  st->tool_calls = csn_json_int(v, "tool_calls", 0);
  st->usage = (csn_usage){0};
  csn_usage_add(&st->usage, csn_json_get(v, "usage"));
  st->items_from = csn_json_int(v, "items_from", -1);
  st->items_to = csn_json_int(v, "items_to", -1);
  st->session = text_or_null(v, "session");
  csn_step_withheld_from_json(st, v);
  csn_step_added_from_json(st, v);
  st->reason = text_or_null(v, "reason");
  st->output = text_or_null(v, "output");
  st->message = text_or_null(v, "message");
  st->stops_after_turn = csn_json_bool(v, "stops_after_turn", false);
  st->sandbox_open = csn_json_bool(v, "sandbox_open", false);
  st->timer_seq = csn_json_int(v, "timer", -1);
  st->timer_at_ms = csn_json_int(v, "timer_at_ms", 0);
  st->is_final = csn_json_bool(v, "final", false);
  st->is_repaired = csn_json_bool(v, "repaired", false);
  st->stop_output = text_or_null(v, "stop_output");
  st->stop_order = csn_json_int(v, "stop_order", 0);
  budget_from_json(st, v);
  csn_route_from_json(st, v);
  csn_step_context_from_json(st, csn_json_get(v, "context"));
  st->untrusted = text_or_null(v, "untrusted");
  csn_step_uses_from_json(st, v);
  csn_step_saving_from_json(st, csn_json_get(v, "saving"));
  csn_step_failing_from_json(st, csn_json_get(v, "failing"));
  csn_step_choice_from_json(st, v);
  csn_step_raised_from_json(st, v);
  st->attempts = csn_json_int(v, "attempts", 0);
  rc = team_from_json(st, v, err);
  if (rc < 0)
    return rc;
  st->instructions = csn_json_int(v, "instructions", -1);
  st->disabled = text_or_null(v, "disabled");
  const csn_json *list = csn_json_get(v, "pending");
  st->pending_room = list ? list->n : 0;
  st->pending = csn_realloc(NULL, st->pending_room, sizeof *st->pending);
  csn_json_each (p, list) {
    rc = pending_from_json(&st->pending[st->n_pending], p, err);
    if (rc < 0)
      return rc;
    st->n_pending++;
  }
  return 0;
}
