/* SPDX-License-Identifier: Apache-2.0
 * run.c - a run's life in this process: start, events in, wait, stop. */
#include <time.h>

#include "run/box_network.h"
#include "run/box_snapshot.h"
#include "run/driver.h"
#include "run/items.h"
#include "run/result.h"
#include "store/session.h"

enum {
  RUN_FORMAT = 1,
  ITEMS_MAX_BYTES = 1 << 30,
  STATE_MAX_BYTES = 64 << 20,
  MAX_RECORDS_ON_STACK = 8
};

static int64_t
now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- jobs ---- */

static void
pool_entry(void *user)
{
  csn_job_run(user);
}

void
csn_job_start(csn_run *r, csn_job *j, int64_t seq)
{
  j->run = r;
  j->seq = seq;
  j->next = r->jobs;
  j->link = &r->jobs;
  if (j->next)
    j->next->link = &j->next;
  r->jobs = j;
  if (r->may_hand && !r->handed)
    r->handed = j;
  else
    csn_pool_add(r->rt->pool, pool_entry, j);
}

void
csn_job_wake(csn_job *j)
{
  csn_pool_add(j->run->rt->pool, pool_entry, j);
}

void
csn_job_go_on(csn_job *j)
{
  if (!csn_loop_lend(j->run->rt->loop, pool_entry, j))
    csn_job_wake(j);
}

static void
job_end(csn_job *j)
{
  csn_run *r = j->run;
  pthread_mutex_lock(&r->lock);
  *j->link = j->next;
  if (j->next)
    j->next->link = j->link;
  j->free(j);
  csn_run_wake(r);
  if (!r->jobs)
    pthread_cond_broadcast(&r->changed);
  pthread_mutex_unlock(&r->lock); /* the run may be gone from here on */
}

void
csn_job_run(csn_job *j)
{
  while (j) {
    csn_job *next = j->fn(j);
    if (next == CSN_JOB_PARKED)
      return;
    job_end(j);
    j = next;
  }
}

/* ---- events in ---- */

static const char *
summary_state(const csn_run *r)
{
  if (r->state.phase == CSN_PHASE_ENDED)
    return csn_run_state_name(r->state.outcome);
  return csn_state_waits(&r->state) ? "waiting" : "running";
}

/* What stays the same is said once, with record 0; an empty text keeps it. */
static void
fill_summary(const csn_run *r, enum csn_event_kind kind, csn_run_row *row)
{
  const char *state = summary_state(r);
  if (kind == CSN_EV_INTERRUPTED && strcmp(state, "running") == 0)
    state = "interrupted"; /* who waits for a human goes on waiting */
  *row = (csn_run_row){
      .state = csn_cstr(state),
      .turns = r->state.turns,
      .tokens = r->state.usage.total_tokens,
  };
  if (!r->zero.n)
    return;
  row->agent = csn_cstr(csn_agent_name(r->agent));
  row->model = csn_cstr(csn_agent_model(r->agent));
  const csn_json *item = NULL;
  csn_str input = r->session.n ? r->session : r->n_items ? r->items[0].raw : CSN_STR("");
  if (csn_json_parse(r->scratch, input, &item, NULL) == 0) {
    if (r->session.n)
      item = csn_json_at(csn_json_get(item, "input"), 0);
    row->task = csn_json_str(item, "content", CSN_STR(""));
  }
}

static void
keep_items(csn_run *r, int64_t seq, const csn_json *data)
{
  const csn_json *items = csn_json_get(data, "items");
  csn_str model = csn_json_str(data, "model", CSN_STR(""));
  csn_json_each (item, items) {
    if (r->n_items == r->items_room) {
      r->items_room = r->items_room ? r->items_room * 2 : 8;
      r->items = csn_realloc(r->items, r->items_room, sizeof *r->items);
    }
    r->items[r->n_items++] = (struct csn_item_ref){seq, item->raw, model};
  }
}

void
csn_run_keep(csn_run *r, int64_t seq, const csn_json *data)
{
  const csn_json *items = csn_json_get(data, "items"), *text = csn_json_get(data, "text");
  struct csn_held *h;
  if (text)
    r->instructions = text->raw;
  const csn_json *summary = csn_json_get(data, "summary");
  if (summary)
    r->summary = summary->raw;
  const csn_json *view = csn_json_get(data, "view");
  if (view)
    r->base = view->raw;
  if (csn_json_get(data, "session"))
    r->session = data->raw;
  r->history = csn_json_int(data, "history", r->history);
  if (!csn_json_bool(data, "held", false)) {
    keep_items(r, seq, data);
    csn_results_keep(&r->results, seq, data);
  } else if (items && items->child && (h = csn_arena_alloc(r->keep, sizeof *h))) {
    *h = (struct csn_held){.next = r->held, .seq = seq, .item = items->child->raw};
    r->held = h;
  }
}

/* Lock held.  A run and the agents it calls share a listener. */
static void
speak(csn_run *r, const char *type, int64_t seq, csn_str data)
{
  pthread_mutex_t *turn = &csn_box_owner(r)->telling;
  pthread_mutex_lock(turn);
  r->opts.listener(r->opts.user, csn_journal_id(r->journal), type, seq, data);
  pthread_mutex_unlock(turn);
}

static void
tell(csn_run *r, const csn_record *rec)
{
  if (!r->opts.listener)
    return;
  char kind[32];
  size_t n = rec->kind.n < sizeof kind - 1 ? rec->kind.n : sizeof kind - 1;
  memcpy(kind, rec->kind.p, n);
  kind[n] = '\0';
  speak(r, kind, rec->seq, rec->data);
}

static int
commit(csn_run *r, enum csn_event_kind kind, int64_t ts, csn_str data, csn_err *err)
{
  csn_record few[MAX_RECORDS_ON_STACK];
  size_t n = 0, max = r->effects.n + 3;
  csn_auto(csn_freep) csn_record *many =
      max > MAX_RECORDS_ON_STACK ? csn_alloc(max * sizeof *many) : NULL;
  csn_record *recs = many ? many : few;
  csn_buf *state = &r->state_text;

  if (r->zero.n)
    recs[n++] = (csn_record){.ts_ms = ts, .kind = CSN_STR("run"), .data = r->zero};
  recs[n++] = (csn_record){.ts_ms = ts, .kind = csn_cstr(csn_event_name(kind)), .data = data};
  for (size_t i = 0; i < r->effects.n; i++)
    recs[n++] = (csn_record){.ts_ms = ts,
                             .kind = csn_cstr(csn_effect_name(r->effects.v[i].kind)),
                             .data = r->effects.v[i].data};
  if (r->state.turn_ended) {
    csn_jw w;
    state->cap = STATE_MAX_BYTES;
    csn_buf_clear(state);
    csn_jw_init(&w, state);
    csn_state_to_json(&r->state, &w);
    int rc = csn_jw_done(&w, err);
    if (rc < 0)
      return rc;
    recs[n++] = (csn_record){.ts_ms = ts, .kind = CSN_STR("state"), .data = csn_buf_str(state)};
  }
  csn_run_row row;
  fill_summary(r, kind, &row);
  int rc = csn_journal_append(r->journal, recs, n, &row, err);
  if (rc < 0)
    return rc;
  r->zero = CSN_STR("");
  csn_fault_pass(&r->rt->fault, "committed");
  for (size_t i = 0; i < n; i++)
    tell(r, &recs[i]);
  return 0;
}

static bool
has_items(enum csn_event_kind kind)
{
  return kind == CSN_EV_INPUT || kind == CSN_EV_MODEL_REPLIED || kind == CSN_EV_TOOL_RETURNED ||
         kind == CSN_EV_CHILD_DONE || kind == CSN_EV_DECIDED || kind == CSN_EV_CALLBACK_RETURNED ||
         kind == CSN_EV_SESSION_LOADED;
}

/* Text that was held back is given out once no guardrail can object to it. */
static void
open_gate(csn_run *r)
{
  if (!r->gated.n || r->state.phase == CSN_PHASE_MODEL || r->state.phase == CSN_PHASE_REVIEW)
    return;
  bool is_over = r->state.outcome != CSN_RUN_RUNNING && r->state.outcome != CSN_RUN_DONE;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(SIZE_MAX / 4);
  csn_buf_addz(&b, "{\"text\":");
  csn_json_quote(&b, csn_buf_str(&r->gated));
  csn_buf_addc(&b, '}');
  if (!is_over && r->opts.listener)
    speak(r, "text_delta", -1, csn_buf_str(&b));
  csn_buf_fini(&r->gated);
}

/* A reply that is nested deeper than we read is the model's fault: the call
 * failed, the run is whole. */
static csn_str
refuse_reply(csn_run *r, const csn_err *why)
{
  int64_t seq = -1;
  for (size_t i = 0; i < r->state.n_pending; i++)
    if (r->state.pending[i].kind == CSN_DO_MODEL_CALL)
      seq = r->state.pending[i].seq;
  csn_buf text = CSN_BUF(4096);
  csn_buf_addf(&text, "{\"effect\":%lld,\"error\":{\"code\":\"%s\",\"message\":", (long long)seq,
               csn_code_name(CSN_E_MODEL));
  csn_err said = *why;
  csn_wrap(&said, said.code, "the model's reply cannot be used");
  csn_json_quote(&text, csn_cstr(said.msg));
  csn_buf_addz(&text, "}}");
  csn_str out = csn_arena_dup(r->keep, csn_buf_str(&text));
  csn_buf_fini(&text);
  return out;
}

static int
take_event(csn_run *r, enum csn_event_kind kind, csn_str data, csn_err *err)
{
  csn_arena_clear(r->scratch);
  if (has_items(kind))
    data = csn_arena_dup(r->keep, data);
  csn_event ev = {.kind = kind,
                  .seq = csn_journal_next_seq(r->journal) + (r->zero.n ? 1 : 0),
                  .ts_ms = now_ms()};
  int rc = csn_json_parse(r->scratch, data, &ev.data, err);
  if (rc < 0 && kind == CSN_EV_MODEL_REPLIED) {
    ev.kind = kind = CSN_EV_MODEL_FAILED;
    data = refuse_reply(r, err);
    rc = csn_json_parse(r->scratch, data, &ev.data, err);
  }
  if (rc < 0)
    return csn_wrap(err, rc, "event %s", csn_event_name(kind));
  rc = csn_step(&r->state, &ev, &r->effects, err);
  if (rc < 0)
    return rc;
  csn_run_keep(r, ev.seq, ev.data);
  rc = commit(r, kind, ev.ts_ms, data, err);
  if (rc < 0)
    return csn_wrap(err, rc, "journal of run %s", csn_journal_id(r->journal));
  for (size_t i = 0; i < r->effects.n && !r->is_stopped; i++)
    csn_perform(r, &r->effects.v[i]);
  csn_cancel_unwanted(r);
  open_gate(r);
  return 0;
}

bool
csn_run_rests(const csn_run *r)
{
  bool has_child = csn_child_next(r, NULL) != NULL;
  for (const csn_job *j = r->jobs; j; j = j->next)
    if (!j->rests)
      return false;
  for (size_t i = 0; has_child && i < r->state.n_pending; i++) {
    const csn_pending *p = &r->state.pending[i];
    if (p->seq >= 0 && p->kind != CSN_DO_ASK && p->kind != CSN_DO_CHILD_START)
      return false;
  }
  return has_child || csn_state_waits(&r->state);
}

/* Nothing more happens here until somebody outside acts. */
static bool
is_over(const csn_run *r)
{
  bool rests = r->is_stopped || r->is_at_rest || r->state.phase == CSN_PHASE_ENDED;
  return rests ? !r->jobs : csn_run_rests(r);
}

/* Lock held: no more events are taken, and what runs is asked to end. */
static void
stop(csn_run *r)
{
  r->is_stopped = true;
  csn_scope_mark(&r->scope);
  for (csn_job *j = r->jobs; j; j = j->next)
    if (j->cancel)
      j->cancel(j);
  if (r->jobs)
    csn_wake_cancelled(r);
  csn_run_wake(r);
  pthread_cond_broadcast(&r->changed);
}

void
csn_run_fail_locked(csn_run *r, const csn_err *e)
{
  pthread_mutex_lock(&r->lock);
  csn_run_fail(r, e);
  pthread_mutex_unlock(&r->lock);
}

void
csn_run_fail(csn_run *r, const csn_err *e)
{
  if (!r->fatal.code)
    r->fatal = *e;
  stop(r);
}

csn_job *
csn_run_deliver_held(csn_run *r, enum csn_event_kind kind, csn_str data, bool hand)
{
  csn_job *job = NULL;
  /* A cancel or a timer may be on its way when the run ends: it lost the race. */
  if (!r->is_stopped && r->state.phase != CSN_PHASE_ENDED) {
    csn_err err;
    r->may_hand = hand;
    if (take_event(r, kind, data, &err) < 0)
      csn_run_fail(r, &err);
    job = csn_steal(r->handed);
    r->may_hand = false;
    if (kind == CSN_EV_INTERRUPTED)
      r->is_stopped = true;
  }
  return job;
}

void
csn_run_wake(csn_run *r)
{
  if (!is_over(r)) /* who waits is not woken for each event */
    return;
  pthread_cond_broadcast(&r->changed);
  if (r->watcher && r->is_watched) {
    r->is_watched = false;
    csn_job_wake(r->watcher);
  }
}

csn_job *
csn_run_deliver(csn_run *r, enum csn_event_kind kind, csn_str data, bool hand)
{
  pthread_mutex_lock(&r->lock);
  csn_job *job = csn_run_deliver_held(r, kind, data, hand);
  csn_run_wake(r);
  pthread_mutex_unlock(&r->lock);
  return job;
}

csn_job *
csn_run_deliver_error(csn_run *r, enum csn_event_kind kind, int64_t seq, const csn_err *e,
                      bool hand)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(16384);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "effect");
  csn_jw_int(&w, seq);
  csn_jw_key(&w, "error");
  csn_jw_obj(&w);
  csn_jw_key(&w, "code");
  csn_jw_strz(&w, csn_code_name(e->code));
  csn_jw_key(&w, "message");
  csn_jw_strz(&w, e->msg);
  if (e->http_status) {
    csn_jw_key(&w, "http_status");
    csn_jw_int(&w, e->http_status);
  }
  csn_jw_end(&w);
  csn_jw_end(&w);
  return csn_run_deliver(r, kind, csn_buf_str(&b), hand);
}

int
csn_run_note_held(csn_run *r, csn_str data, const csn_run_row *summary, csn_err *err)
{
  csn_record rec = {.ts_ms = now_ms(), .kind = CSN_STR("note"), .data = data};
  int rc = r->is_stopped ? csn_fail(err, CSN_E_CANCELLED, "the run was stopped")
                         : csn_journal_append(r->journal, &rec, 1, summary, err);
  if (rc == 0) {
    csn_fault_pass(&r->rt->fault, "committed");
    tell(r, &rec);
  }
  return rc;
}

int
csn_run_note(csn_run *r, csn_str data, csn_err *err)
{
  pthread_mutex_lock(&r->lock);
  int rc = csn_run_note_held(r, data, NULL, err);
  pthread_mutex_unlock(&r->lock);
  return rc;
}

void
csn_run_notify(csn_run *r, const char *type, csn_str data)
{
  if (!r->opts.listener)
    return;
  pthread_mutex_lock(&r->lock);
  if (!r->is_stopped)
    speak(r, type, -1, data);
  pthread_mutex_unlock(&r->lock);
}

const csn_agent *
csn_run_agent(const csn_run *r)
{
  const csn_agent *a = csn_agent_member(r->agent, r->state.cfg.agent);
  return a ? a : r->agent;
}

/* ---- birth and end ---- */

int
csn_run_make(csn_rt *rt, const csn_run_options *o, csn_run **out, csn_err *err)
{
  (void)err;
  csn_run *r = csn_alloc(sizeof *r);
  r->rt = rt;
  if (o)
    r->opts = *o;
  r->keep = csn_arena_new(ITEMS_MAX_BYTES);
  r->scratch = csn_arena_new(ITEMS_MAX_BYTES);
  csn_scope_init(&r->scope, NULL, -1);
  pthread_mutex_init(&r->lock, NULL);
  pthread_mutex_init(&r->telling, NULL);
  csn_cond_init(&r->changed);
  csn_box_init(&r->box);
  *out = r;
  return 0;
}

/* What is written into record 0 and decides the course of the run. */
struct zero {
  csn_digest salt;
  const csn_json *agent, *prices, *models, *compact_at;
};

/* What the project says of the agent's models today; *json is {} or more. */
static int
find_known(csn_run *r,
           int (*write)(const csn_agent *a, const struct csn_project *p, csn_jw *w, csn_err *err),
           csn_str *json, const csn_json **v, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  int rc = write(r->agent, r->rt->project, &w, err);
  if (rc == 0)
    rc = csn_jw_done(&w, err);
  if (rc < 0)
    return rc;
  *json = csn_arena_dup(r->keep, csn_buf_str(&text));
  return json->n > 2 ? csn_json_parse(r->keep, *json, v, err) : 0;
}

static void
write_known(csn_jw *w, const char *key, csn_str object)
{
  if (object.n <= 2)
    return;
  csn_jw_key(w, key);
  csn_jw_raw(w, object);
}

/* Record 0: what the run is, once and for all.  It is committed with the input. */
static int
record_zero(csn_run *r, struct zero *z, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(64u << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_agent_to_json(r->agent, &w);
  int rc = csn_jw_done(&w, err);
  if (rc < 0)
    return rc;
  csn_str json = csn_arena_dup(r->keep, csn_buf_str(&text));
  z->salt = csn_sha256_of(json);
  rc = csn_json_parse(r->keep, json, &z->agent, err);
  if (rc < 0)
    return rc;
  char hex[65];
  csn_digest_hex(&z->salt, hex);
  csn_str prices = CSN_STR(""), models = CSN_STR(""), compact_at = CSN_STR("");
  rc = find_known(r, csn_agent_write_prices, &prices, &z->prices, err);
  if (rc == 0)
    rc = find_known(r, csn_agent_write_models, &models, &z->models, err);
  if (rc == 0)
    rc = find_known(r, csn_agent_write_compact_at, &compact_at, &z->compact_at, err);
  if (rc < 0)
    return rc;
  csn_buf_clear(&text);
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_jw_key(&w, "format");
  csn_jw_int(&w, RUN_FORMAT);
  csn_jw_key(&w, "step_version");
  csn_jw_int(&w, CSN_STEP_VERSION);
  csn_jw_key(&w, "version");
  csn_jw_strz(&w, CSN_VERSION);
  csn_jw_key(&w, "agent");
  csn_jw_raw(&w, json);
  csn_jw_key(&w, "agent_sha256");
  csn_jw_strz(&w, hex);
  write_known(&w, "prices", prices);
  write_known(&w, "models", models);
  write_known(&w, "compact_at", compact_at);
  if (r->opts.keep_workspace) {
    csn_jw_key(&w, "keep_workspace");
    csn_jw_bool(&w, true);
  }
  if (r->opts.after) {
    csn_jw_key(&w, "after");
    csn_jw_strz(&w, r->opts.after);
  }
  if (r->opts.snapshot) {
    csn_jw_key(&w, "snapshot");
    csn_jw_strz(&w, r->opts.snapshot);
  }
  csn_jw_end(&w);
  rc = csn_jw_done(&w, err);
  if (rc < 0)
    return rc;
  r->zero = csn_arena_dup(r->keep, csn_buf_str(&text));
  return 0;
}

/* What each request holds beside the conversation, as tokens at most. */
static int64_t
request_bytes(const csn_agent *a) /* NOLINT(misc-no-recursion): one level */
{
  enum { AROUND_TOKENS = 64 };
  size_t n = a->full_instructions.n + AROUND_TOKENS;
  for (size_t i = 0; i < a->n_agents; i++) /* whichever of them is at work */
    n += (size_t)request_bytes(a->agents[i]);
  for (size_t i = 0; i < a->n_tools; i++) {
    const csn_tool_decl *d = &a->tools[i].decl;
    n += d->name.n + d->description.n + d->schema.n + d->format.n + AROUND_TOKENS;
  }
  return (int64_t)n;
}

static void
write_session(const csn_run *r, csn_jw *w)
{
  csn_jw_key(w, "session");
  csn_jw_obj(w);
  csn_jw_key(w, "name");
  csn_jw_strz(w, r->opts.session);
  csn_jw_key(w, "max_items");
  csn_jw_int(w, r->opts.session_items);
  csn_jw_key(w, "max_tokens");
  csn_jw_int(w, r->opts.session_tokens);
  csn_jw_end(w);
}

int
csn_run_begin(csn_run *r, csn_str input, csn_err *err)
{
  struct zero z = {0};
  int rc = record_zero(r, &z, err);
  if (rc < 0)
    return rc;
  csn_state_init(&r->state, z.agent, z.prices, &z.salt);
  csn_state_set_models(&r->state, z.models);
  r->state.cfg.compact_at = z.compact_at;
  csn_auto(csn_buf_finip) csn_buf data = CSN_BUF(64u << 20);
  csn_jw w;
  csn_jw_init(&w, &data);
  csn_jw_obj(&w);
  if (r->opts.session)
    write_session(r, &w);
  csn_jw_key(&w, r->opts.session ? "input" : "items");
  csn_jw_arr(&w);
  csn_item_user(&w, input);
  csn_jw_end(&w);
  if (r->is_untrusted_from_birth) {
    csn_jw_key(&w, "untrusted");
    csn_jw_strz(&w, "agent");
  }
  if (r->agent->limits.tokens || r->agent->limits.cost_usd > 0 || z.models) {
    csn_jw_key(&w, "request_bytes");
    csn_jw_int(&w, request_bytes(r->agent));
  }
  csn_jw_end(&w);
  rc = csn_jw_done(&w, err);
  if (rc == 0)
    csn_run_deliver(r, CSN_EV_INPUT, csn_buf_str(&data), false);
  return rc;
}

int
csn_run_start(csn_rt *rt, const csn_agent *agent, csn_str input, const csn_run_options *o,
              csn_run **out, csn_err *err)
{
  int rc = csn_agent_check(agent, rt->project, err);
  if (rc == 0 && o && o->session)
    rc = csn_session_check(csn_cstr(o->session), err);
  if (rc == 0)
    rc = csn_agent_check_harness(agent, o && o->harness_tools, err);
  if (rc == 0)
    rc = csn_box_snapshot_check(rt, o, err);
  if (rc < 0)
    return rc;
  csn_auto(csn_run_freep) csn_run *r = NULL;
  rc = csn_run_make(rt, o, &r, err);
  if (rc < 0)
    return rc;
  r->agent = agent;
  rc = csn_box_network_need(r, err);
  if (rc < 0)
    return rc;
  csn_model_warm(r);
  rc = csn_journal_new(rt->store, &r->journal, err);
  if (rc == 0)
    rc = csn_run_begin(r, input, err);
  if (rc == 0)
    *out = csn_steal(r);
  return rc;
}

int
csn_run_wait(csn_run *r, csn_scope *sc, csn_result *out, csn_err *err)
{
  pthread_mutex_lock(&r->lock);
  while (!is_over(r)) {
    if (csn_scope_wait(sc, &r->changed, &r->lock, NULL) < 0) {
      sc = NULL; /* from here on its end is awaited */
      pthread_mutex_unlock(&r->lock);
      csn_run_cancel(r, false);
      pthread_mutex_lock(&r->lock);
    }
  }
  int rc = r->fatal.code;
  if (rc < 0 && err)
    *err = r->fatal;
  if (rc == 0)
    csn_result_fill(r, out);
  pthread_mutex_unlock(&r->lock);
  return rc;
}

void
csn_run_cancel(csn_run *r, bool after_turn)
{
  pthread_mutex_lock(&r->lock);
  bool is_late = r->state.phase == CSN_PHASE_ENDED;
  pthread_mutex_unlock(&r->lock);
  if (!is_late)
    csn_job_run(csn_run_deliver(
        r, CSN_EV_CANCEL_REQUESTED,
        after_turn ? CSN_STR("{\"mode\":\"after_turn\"}") : CSN_STR("{\"mode\":\"now\"}"), false));
}

void
csn_run_interrupt(csn_run *r)
{
  pthread_mutex_lock(&r->lock);
  bool is_late = r->state.phase == CSN_PHASE_ENDED || r->is_stopped;
  if (!is_late && csn_run_rests(r)) {
    stop(r); /* it rests in its journal already, and goes on being listed as waiting */
    is_late = true;
  }
  pthread_mutex_unlock(&r->lock);
  if (is_late)
    return;
  csn_run_deliver(r, CSN_EV_INTERRUPTED, CSN_STR("{}"), false);
  pthread_mutex_lock(&r->lock);
  if (r->state.phase != CSN_PHASE_ENDED)
    stop(r);
  pthread_mutex_unlock(&r->lock);
}

const char *
csn_run_id(const csn_run *r)
{
  return csn_journal_id(r->journal);
}

void
csn_run_free(csn_run *r)
{
  if (!r)
    return;
  if (r->journal && !r->is_at_rest) /* what only was read back is not written on */
    csn_run_interrupt(r);
  pthread_mutex_lock(&r->lock);
  while (r->jobs)
    pthread_cond_wait(&r->changed, &r->lock);
  pthread_mutex_unlock(&r->lock);
  while (r->children) {
    csn_run *child = r->children;
    r->children = child->next_child;
    csn_run_free(child);
  }
  csn_timer_free(r->wall);
  csn_box_close(r, false);
  csn_box_network_free(r);
  csn_view_fini(&r->view);
  if (r->journal)
    csn_journal_close(r->journal);
  csn_state_fini(&r->state);
  csn_results_fini(&r->results);
  csn_effects_fini(&r->effects);
  csn_buf_fini(&r->request);
  csn_buf_fini(&r->state_text);
  csn_buf_fini(&r->gated);
  free(r->items);
  csn_agent_free(r->own_agent);
  csn_arena_free(r->keep);
  csn_arena_free(r->scratch);
  csn_scope_fini(&r->scope);
  pthread_cond_destroy(&r->changed);
  pthread_mutex_destroy(&r->telling);
  pthread_mutex_destroy(&r->lock);
  free(r);
}

int
csn_run_once(csn_rt *rt, csn_scope *sc, const csn_agent *agent, csn_str input,
             const csn_run_options *o, csn_arena *keep, csn_result *out, csn_err *err)
{
  csn_auto(csn_run_freep) csn_run *r = NULL;
  int rc = csn_run_start(rt, agent, input, o, &r, err);
  if (rc == 0)
    rc = csn_run_wait(r, sc, out, err);
  if (rc < 0)
    return rc;
  out->run = csn_arena_dup(keep, csn_cstr(out->run)).p;
  out->reason = csn_arena_dup(keep, out->reason);
  out->output = csn_arena_dup(keep, out->output);
  out->message = csn_arena_dup(keep, out->message);
  out->untrusted = csn_arena_dup(keep, out->untrusted);
  out->agents = csn_arena_dup(keep, out->agents);
  return 0;
}
