/* SPDX-License-Identifier: Apache-2.0
 * deliver.c - events into a run: step, commit, tell the listener, start the
 * effects.  Notes and notifications, which change nothing, go the same way. */
#include <time.h>

#include "run/box_save.h"
#include "run/label.h"
#include "run/memory.h"

enum { STATE_MAX_BYTES = 64 << 20, TASK_MAX_BYTES = 1 << 20, MAX_RECORDS_ON_STACK = 8 };

static int64_t
now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static const char *
summary_state(const csn_run *r)
{
  if (r->state.phase == CSN_PHASE_ENDED)
    return csn_run_state_name(r->state.outcome);
  return csn_state_waits(&r->state) ? "waiting" : "running";
}

/* What stays the same is said once, with record 0; an empty text keeps it. */
static void
fill_summary(const csn_run *r, const csn_event *ev, csn_run_row *row)
{
  const char *state = summary_state(r);
  bool is_stopped = ev->kind == CSN_EV_INTERRUPTED || r->is_at_rest;
  if (is_stopped && strcmp(state, "running") == 0)
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
  csn_auto(csn_buf_finip) csn_buf task = CSN_BUF(TASK_MAX_BYTES);
  csn_input_task(csn_json_get(ev->data, r->session.n ? "input" : "items"), &task);
  row->task = csn_arena_dup(r->scratch, csn_buf_str(&task));
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

/* A tree of its own: `data` may live for one step only, its text does not. */
static void
keep_told(csn_run *r, const csn_json *data)
{
  const csn_json *workspace = csn_json_get(data, "context");
  if (workspace && csn_json_parse(r->keep, workspace->raw, &r->told.workspace, NULL) < 0)
    r->told.workspace = NULL;
  if (csn_json_get(data, "memory"))
    r->told.memory = csn_memory_recall(r->rt->store, csn_json_get(data, "memory"), r->keep);
}

const struct csn_told *
csn_run_told(const csn_run *r)
{
  while (r->box_run)
    r = r->box_run;
  return &r->told;
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
  keep_told(r, data);
  r->history = csn_json_int(data, "history", r->history);
  csn_boxes_saw(r, data);
  if (!csn_json_bool(data, "held", false)) {
    keep_items(r, seq, data);
    csn_results_keep(&r->results, seq, data);
  } else if (items && items->child && (h = csn_arena_alloc(r->keep, sizeof *h))) {
    *h = (struct csn_held){.next = r->held, .seq = seq, .item = items->child->raw};
    r->held = h;
  }
  const csn_json *added = csn_json_get(data, "added");
  if (added && (h = csn_arena_alloc(r->keep, sizeof *h))) {
    *h = (struct csn_held){.next = r->held, .seq = seq, .item = added->raw};
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
commit(csn_run *r, const csn_event *ev, csn_str data, csn_err *err)
{
  int64_t ts = ev->ts_ms;
  csn_record few[MAX_RECORDS_ON_STACK];
  size_t n = 0, max = r->effects.n + 3;
  csn_auto(csn_freep) csn_record *many =
      max > MAX_RECORDS_ON_STACK ? csn_alloc(max * sizeof *many) : NULL;
  csn_record *recs = many ? many : few;
  csn_buf *state = &r->state_text;

  if (r->zero.n)
    recs[n++] = (csn_record){.ts_ms = ts, .kind = CSN_STR("run"), .data = r->zero};
  recs[n++] = (csn_record){.ts_ms = ts, .kind = csn_cstr(csn_event_name(ev->kind)), .data = data};
  if (ev->kind == CSN_EV_INPUT && r->has_memory) {
    recs[n - 1].blobs = &r->memory;
    recs[n - 1].n_blobs = 1;
  }
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
  fill_summary(r, ev, &row);
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
         kind == CSN_EV_SESSION_LOADED || kind == CSN_EV_RESUMED || kind == CSN_EV_SANDBOX_LOST ||
         kind == CSN_EV_SANDBOX_READY;
}

/* What guardrails have passed is given out, if text was streamed at all: the
 * answer, and nothing that was written beside calls or did not fit a schema. */
static void
open_gate(csn_run *r)
{
  const csn_state *st = &r->state;
  bool is_looked_at = st->outcome == CSN_RUN_RUNNING &&
                      (st->phase == CSN_PHASE_MODEL || st->phase == CSN_PHASE_REVIEW);
  if (!r->holds_text || (is_looked_at && !st->has_passed))
    return;
  r->holds_text = false;
  if (!st->has_passed || !st->output || !r->opts.listener)
    return;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(SIZE_MAX / 4);
  csn_buf_addz(&b, "{\"text\":");
  csn_json_quote(&b, csn_cstr(st->output));
  csn_buf_addc(&b, '}');
  speak(r, "text_delta", -1, csn_buf_str(&b));
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
  csn_label_note(r, ev.seq);
  rc = commit(r, &ev, data, err);
  if (rc < 0)
    return csn_wrap(err, rc, "journal of run %s", csn_journal_id(r->journal));
  for (size_t i = 0; i < r->effects.n && !r->is_stopped; i++)
    csn_perform(r, &r->effects.v[i]);
  csn_cancel_unwanted(r);
  open_gate(r);
  return 0;
}

csn_job *
csn_run_deliver_held(csn_run *r, enum csn_event_kind kind, csn_str data, bool hand)
{
  csn_job *job = NULL;
  /* A cancel or a timer may be on its way when the run ends: it lost the race. */
  bool opens = kind == CSN_EV_RESUMED || kind == CSN_EV_INPUT;
  bool is_late = r->state.phase == CSN_PHASE_ENDED && !opens;
  if (!r->is_stopped && !is_late) {
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
