/* SPDX-License-Identifier: Apache-2.0
 * child.c - an agent that is called as a tool is a run of its own: with its own
 * journal, in the workspace of the run that called it, within what that one
 * reserved for it.
 *
 * The job of a child_start is parked while the child runs.  Whenever the child
 * comes to rest it wakes the job, which looks why: it has ended, and its answer
 * is delivered; or it waits for a human, and then the parent rests with it.
 * Locks: a parent's may be held when a child's is taken, never the other way
 * round. */
#include "run/driver.h"
#include "run/items.h"

struct child_job {
  csn_job base;
  csn_arena *arena;
  const csn_agent *agent; /* the member */
  csn_str call_id, input;
  bool is_custom, is_held;
  int64_t tokens, cost_pusd; /* reserved; 0: no limit */
  int64_t turns, tool_calls; /* likewise */
  bool is_untrusted;         /* the task was written by who is not to be trusted */
  csn_run *child;            /* guarded by the parent's lock until it has started */
  bool is_cancelled;
};

static struct child_job *
job_of(csn_job *j)
{
  return (struct child_job *)j;
}

static void
job_free(csn_job *j)
{
  struct child_job *c = job_of(j);
  csn_arena_free(c->arena);
  free(c);
}

/* Parent locked. */
static void
job_cancel(csn_job *j)
{
  struct child_job *c = job_of(j);
  c->is_cancelled = true;
  if (c->child && j->run->is_stopped)
    csn_run_interrupt(c->child);
  else if (c->child)
    csn_run_cancel(c->child, false);
}

/* ---- its agent ---- */

static void
member(csn_jw *w, const char *key, csn_str s)
{
  csn_jw_key(w, key);
  csn_jw_str(w, s);
}

static bool
is_replaced(csn_str key)
{
  static const char *const keys[] = {"model", "bound_tools", "handoffs", "agent_tools"};
  for (size_t i = 0; i < CSN_COUNT(keys); i++)
    if (csn_str_eq(key, csn_cstr(keys[i])))
      return true;
  return false;
}

static void
write_limits(const struct child_job *c, csn_jw *w)
{
  const struct csn_agent_limits *l = &c->base.run->agent->limits;
  csn_jw_key(w, "limits");
  csn_jw_obj(w);
  csn_jw_key(w, "turns");
  csn_jw_int(w, c->turns ? c->turns : l->turns);
  csn_jw_key(w, "repeats");
  csn_jw_int(w, l->repeats);
  if (c->tool_calls) {
    csn_jw_key(w, "tool_calls");
    csn_jw_int(w, c->tool_calls);
  }
  if (c->tokens) {
    csn_jw_key(w, "tokens");
    csn_jw_int(w, c->tokens);
  }
  if (c->cost_pusd) {
    csn_jw_key(w, "cost_usd");
    csn_jw_double(w, (double)c->cost_pusd / 1e12);
  }
  csn_jw_end(w);
}

/* The member as an agent by itself, with the rules of the whole. */
static int
agent_json(const struct child_job *c, csn_str own, csn_buf *out, csn_err *err)
{
  const csn_run *r = c->base.run;
  const csn_json *v;
  csn_jw w;
  int rc = csn_json_parse(c->arena, own, &v, err);
  if (rc < 0)
    return rc;
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  csn_json_each (m, v) {
    if (is_replaced(m->key))
      continue;
    csn_jw_keyn(&w, m->key);
    csn_jw_value(&w, m);
  }
  csn_agent_write_model(*c->agent->model ? c->agent : r->agent, &w);
  member(&w, "parent", csn_cstr(csn_journal_id(r->journal)));
  member(&w, "folder", csn_cstr(r->agent->folder));
  if (r->agent->manifest_json && (c->agent->has_shell || c->agent->has_files)) {
    csn_jw_key(&w, "manifest");
    csn_jw_value(&w, r->agent->manifest_json);
  }
  if (r->agent->box_name)
    csn_agent_write_boxes(r->agent, &w);
  write_limits(c, &w);
  csn_agent_write_approvals(r->agent, &w);
  csn_jw_end(&w);
  return csn_jw_done(&w, err);
}

static int
make_agent(const struct child_job *c, csn_agent **out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf own = CSN_BUF(64u << 20), json = CSN_BUF(64u << 20);
  csn_auto(csn_agent_freep) csn_agent *a = NULL;
  const csn_json *v;
  csn_jw w;
  csn_jw_init(&w, &own);
  csn_agent_to_json(c->agent, &w);
  int rc = csn_jw_done(&w, err);
  if (rc == 0)
    rc = agent_json(c, csn_buf_str(&own), &json, err);
  if (rc == 0)
    rc = csn_json_parse(c->arena, csn_arena_dup(c->arena, csn_buf_str(&json)), &v, err);
  if (rc == 0)
    rc = csn_agent_from_json_of(&a, v, "agent", c->base.run->agent->folder,
                                c->base.run->rt->backends, err);
  if (rc == 0)
    a->compaction = c->base.run->agent->compaction; /* which outlives it */
  if (rc == 0)
    a->untrusted = c->base.run->agent->untrusted;
  for (size_t i = 0; rc == 0 && i < c->agent->n_tools; i++)
    if (!c->agent->tools[i].is_builtin)
      rc = csn_agent_add_tool(a, &c->agent->tools[i].tool, err);
  for (const csn_agent *at = c->agent; rc == 0 && at; at = at->parent)
    for (size_t i = 0; rc == 0 && i < at->n_callbacks; i++)
      rc = csn_agent_add_callback(a, &at->callbacks[i], err);
  if (rc == 0)
    *out = csn_steal(a);
  return rc;
}

/* ---- its start ---- */

/* What a run needs to be a child of this one. */
static void
adopt(struct child_job *c, csn_run *child)
{
  child->box_run = c->base.run;
  struct csn_box *b;
  for (size_t i = 0; (b = csn_box_at(child, i)); i++)
    child->n_news[i] = b->n_lost; /* it has seen no other files */
  child->watcher = &c->base;
}

/* From now on it wakes the job when it comes to rest; it may rest already. */
static void
watch(csn_run *child)
{
  pthread_mutex_lock(&child->lock);
  child->is_watched = true;
  csn_run_wake(child);
  pthread_mutex_unlock(&child->lock);
}

/* The run that this call began before a crash; empty: none. */
static csn_str
noted_run(const csn_run *r, int64_t effect)
{
  for (const struct csn_noted *n = r->notes; n; n = n->next)
    if (n->effect == effect)
      return csn_json_str(n->data, "run", CSN_STR(""));
  return CSN_STR("");
}

int
csn_child_open(csn_run *r, int64_t effect, csn_run **out, csn_err *err)
{
  const csn_pending *p = csn_state_find(&r->state, effect);
  csn_str id = noted_run(r, effect);
  const csn_agent *a = p ? csn_agent_member(r->agent, csn_step_child_agent(&r->state, p)) : NULL;
  if (!id.n || !a)
    return csn_fail(err, CSN_E_NOT_FOUND, "the agent was not started");
  csn_auto(csn_freep) csn_tool *tools = csn_realloc(NULL, a->n_tools + 1, sizeof *tools);
  csn_run_options o = r->opts;
  o.after = o.from = NULL; /* it is in the workspace of the run that calls */
  o.session = NULL;        /* the conversation is its parent's */
  o.tools = tools;
  o.n_tools = 0;
  for (size_t i = 0; i < a->n_tools; i++)
    if (!a->tools[i].is_builtin)
      tools[o.n_tools++] = a->tools[i].tool;
  return csn_run_open_child(r->rt, id, &o, r, out, err);
}

/* The journal of the new run is named in ours before anything is in it. */
static int
note_run(struct child_job *c, csn_run *child, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(400);
  csn_buf_addf(&b, "{\"note\":\"child\",\"effect\":%lld,\"data\":{\"run\":\"%s\"}}",
               (long long)c->base.seq, csn_run_id(child));
  return csn_run_note(c->base.run, csn_buf_str(&b), err);
}

static int
start_new(struct child_job *c, csn_err *err)
{
  csn_run *r = c->base.run;
  csn_auto(csn_run_freep) csn_run *child = NULL;
  csn_run_options o = r->opts;
  o.after = o.from = NULL; /* it is in the workspace of the run that calls */
  o.session = NULL;        /* the conversation is its parent's */
  o.tools = NULL;
  o.n_tools = 0;
  int rc = csn_run_make(r->rt, &o, &child, err);
  if (rc == 0)
    rc = make_agent(c, &child->own_agent, err);
  if (rc < 0)
    return rc;
  csn_run_set_agent(child, child->own_agent);
  child->is_at_rest = true; /* until it has begun nothing is to be written */
  rc = csn_journal_new(r->rt->store, &child->journal, err);
  if (rc == 0)
    rc = note_run(c, child, err);
  if (rc < 0)
    return rc;
  pthread_mutex_lock(&r->lock);
  bool stops = c->is_cancelled || r->is_stopped;
  if (!stops) {
    adopt(c, child);
    child->is_at_rest = false;
    child->is_watched = true;
    c->child = csn_steal(child);
  }
  pthread_mutex_unlock(&r->lock);
  if (stops)
    return csn_fail(err, CSN_E_CANCELLED, "cancelled");
  c->child->is_untrusted_from_birth = c->is_untrusted;
  csn_auto(csn_buf_finip) csn_buf items = CSN_BUF(CSN_INPUT_MAX);
  rc = csn_input_write(&(struct csn_input){.text = c->input}, &items, err);
  return rc < 0 ? rc : csn_run_begin(c->child, csn_buf_str(&items), err);
}

/* *has_ended: it will not wake the job any more. */
static int
go_on_old(struct child_job *c, csn_run *child, bool *has_ended, csn_err *err)
{
  *has_ended = child->state.phase == CSN_PHASE_ENDED;
  adopt(c, child);
  pthread_mutex_lock(&c->base.run->lock);
  c->child = child;
  bool stops = c->is_cancelled || c->base.run->is_stopped;
  pthread_mutex_unlock(&c->base.run->lock);
  if (*has_ended)
    return 0;
  if (stops)
    return csn_fail(err, CSN_E_CANCELLED, "cancelled");
  int rc = csn_run_go_on(child, err);
  if (rc == 0)
    watch(child); /* not before what was decided meanwhile has been delivered */
  return rc;
}

/* ---- its end ---- */

static csn_job *
deliver(struct child_job *c, const csn_result *res, csn_str text)
{
  csn_run *r = c->base.run;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(256u << 20);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "effect");
  csn_jw_int(&w, c->base.seq);
  if (c->is_held) {
    csn_jw_key(&w, "held");
    csn_jw_bool(&w, true);
  }
  if (res) {
    member(&w, "run", csn_cstr(res->run));
    member(&w, "state", csn_cstr(csn_run_state_name(res->state)));
    member(&w, "reason", res->reason);
    csn_jw_key(&w, "tokens");
    csn_jw_int(&w, res->usage.total_tokens);
    csn_jw_key(&w, "cost_pusd");
    csn_jw_int(&w, c->child->state.budget.cost_pusd);
    csn_jw_key(&w, "turns");
    csn_jw_int(&w, res->turns);
    csn_jw_key(&w, "tool_calls");
    csn_jw_int(&w, res->tool_calls);
    csn_jw_key(&w, "usage");
    csn_usage_to_json(&res->usage, &w);
    if (c->child->state.untrusted)
      member(&w, "untrusted", CSN_STR("agent"));
  }
  csn_jw_key(&w, "items");
  csn_jw_arr(&w);
  csn_item_output(&w, c->is_custom, c->call_id, text, CSN_STR(""));
  csn_jw_end(&w);
  csn_jw_end(&w);
  return csn_run_deliver(r, CSN_EV_CHILD_DONE, csn_buf_str(&b), true);
}

static csn_job *
take_end(struct child_job *c)
{
  csn_result res;
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(64u << 20);
  if (csn_run_wait(c->child, NULL, &res, &err) < 0) { /* it is over: this does not wait */
    csn_run_fail_locked(c->base.run, &err);
    return NULL;
  }
  if (res.state != CSN_RUN_DONE)
    csn_buf_addf(&text, "The agent ended without an answer (%.*s): %.*s%s", (int)res.reason.n,
                 res.reason.p, (int)res.message.n, res.message.p,
                 res.output.n ? "\nIts last words were: " : "");
  csn_buf_add(&text, res.output);
  return deliver(c, &res, csn_buf_str(&text));
}

/* Lock of the parent held: it is listed as waiting, too. */
static void
rest_with_child(struct child_job *c)
{
  csn_run *r = c->base.run;
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(400);
  csn_buf_addf(&b, "{\"note\":\"child_waits\",\"effect\":%lld}", (long long)c->base.seq);
  csn_run_row row = {
      .state = CSN_STR("waiting"), .turns = r->state.turns, .tokens = r->state.usage.total_tokens};
  if (!r->is_stopped && csn_run_rests(r) && csn_run_note_held(r, csn_buf_str(&b), &row, &err) < 0)
    csn_run_fail(r, &err);
  csn_run_wake(r);
}

/* Both locks are needed to tell that the child waits, in the order in which
 * deciding takes them: otherwise it may be decided in between.  It is watched
 * again as the last thing, since from then on the next look, which may free the
 * job, waits for nothing but the parent's lock. */
static csn_job *
look_at_child(csn_job *j)
{
  struct child_job *c = job_of(j);
  csn_run *r = j->run;
  bool has_ended, is_told;
  pthread_mutex_lock(&r->lock);
  do {
    pthread_mutex_lock(&c->child->lock);
    has_ended = c->child->state.phase == CSN_PHASE_ENDED || c->child->is_stopped;
    bool waits = !has_ended && csn_run_rests(c->child);
    is_told = waits == j->rests;
    c->child->is_watched = is_told && !has_ended;
    pthread_mutex_unlock(&c->child->lock);
    if (is_told)
      break;
    j->rests = waits;
    if (waits)
      rest_with_child(c);
  } while (!has_ended);
  bool is_stopped = r->is_stopped;
  pthread_mutex_unlock(&r->lock);
  if (!has_ended)
    return CSN_JOB_PARKED;
  csn_job *next = is_stopped ? NULL : take_end(c);
  pthread_mutex_lock(&r->lock);
  csn_run *child = csn_steal(c->child);
  pthread_mutex_unlock(&r->lock);
  csn_run_free(child);
  return next;
}

static csn_job *
start_child(csn_job *j)
{
  struct child_job *c = job_of(j);
  csn_run *r = j->run;
  csn_err err = {0};
  j->fn = look_at_child;
  pthread_mutex_lock(&r->lock);
  csn_run *old = csn_child_take(r, j->seq);
  pthread_mutex_unlock(&r->lock);
  bool has_ended = false;
  int rc = old ? go_on_old(c, old, &has_ended, &err) : start_new(c, &err);
  if (rc == 0 && has_ended)
    return look_at_child(j);
  if (rc == 0)
    return CSN_JOB_PARKED;
  pthread_mutex_lock(&r->lock);
  csn_run *child = csn_steal(c->child);
  pthread_mutex_unlock(&r->lock);
  if (child)
    child->watcher = NULL; /* it has not begun, so nobody else sees it */
  csn_run_free(child);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000);
  csn_buf_addf(&text, "The agent could not be started: %s", err.msg);
  return deliver(c, NULL, csn_buf_str(&text));
}

csn_job *
csn_child_job_new(csn_run *r, const csn_pending *p)
{
  struct child_job *c = csn_alloc(sizeof *c);
  c->base.fn = start_child;
  c->base.is_child = true;
  c->base.free = job_free;
  c->base.cancel = job_cancel;
  c->arena = csn_arena_new(0);
  c->agent = csn_agent_member(r->agent, csn_step_child_agent(&r->state, p));
  c->call_id = csn_arena_dup(c->arena, csn_cstr(p->call_id));
  c->is_custom = p->is_custom;
  c->is_held = p->is_held;
  c->tokens = p->tokens;
  c->cost_pusd = p->cost_pusd;
  c->turns = p->turns;
  c->tool_calls = p->tool_calls;
  c->is_cancelled = p->is_cancelled;
  c->is_untrusted = r->state.untrusted != NULL;
  const csn_json *v = NULL;
  csn_str text = csn_cstr(p->arguments);
  if (csn_json_parse(c->arena, csn_arena_dup(c->arena, text), &v, NULL) == 0)
    text = csn_json_str(v, "input", text);
  c->input = csn_arena_dup(c->arena, text);
  return &c->base;
}

/* ---- children of a run that is read back ---- */

int
csn_child_open_all(csn_run *r, csn_err *err)
{
  for (size_t i = 0; i < r->state.n_pending; i++) {
    const csn_pending *p = &r->state.pending[i];
    csn_run *child = NULL;
    if (p->kind != CSN_DO_CHILD_START)
      continue;
    int rc = csn_child_open(r, p->seq, &child, err);
    if (rc == CSN_E_NOT_FOUND || rc == CSN_E_REPLAY) { /* it had not begun: it begins anew */
      if (rc == CSN_E_REPLAY && !strstr(err->msg, "no records"))
        return rc;
      continue;
    }
    if (rc < 0)
      return rc;
    child->child_of = p->seq;
    child->next_child = r->children;
    r->children = child;
  }
  return 0;
}

csn_run *
csn_child_take(csn_run *r, int64_t effect)
{
  for (csn_run **at = &r->children; *at; at = &(*at)->next_child)
    if ((*at)->child_of == effect) {
      csn_run *child = *at;
      *at = child->next_child;
      return child;
    }
  return NULL;
}

/* Lock held. */
csn_run *
csn_child_next(const csn_run *r, const csn_run *after)
{
  bool found = !after;
  for (csn_run *k = r->children; k; k = k->next_child) {
    if (found)
      return k;
    found = k == after;
  }
  for (csn_job *j = r->jobs; j; j = j->next) {
    csn_run *child = j->is_child ? job_of(j)->child : NULL;
    if (child && found)
      return child;
    found = found || (child && child == after);
  }
  return NULL;
}

void
csn_child_stirs(csn_run *r, const csn_run *child)
{
  for (csn_job *j = r->jobs; j; j = j->next)
    if (j->is_child && job_of(j)->child == child)
      j->rests = false;
}
