/* SPDX-License-Identifier: Apache-2.0
 * resume.c - from a journal back to a run.
 *
 * Every event is stepped again and what comes out is compared with what was
 * recorded; then `resumed` is appended and what was pending is treated by its
 * rule.  A journal of another step version starts from its last `state`. */
#include "run/ask_failure.h"
#include "run/box_network.h"
#include "run/box_remote.h"
#include "run/box_save.h"
#include "run/decide.h"
#include "run/items.h"
#include "run/label.h"

enum { RESUMED_MAX_BYTES = 16 << 20 };

struct reader {
  csn_run *r;
  int64_t from; /* events before this seq only give items */
  bool has_zero;
  size_t next_effect; /* of the last step, to be compared */
  csn_digest salt;
};

static int
differs(const csn_record *rec, const char *what, csn_err *err)
{
  return csn_fail(
      err, CSN_E_REPLAY, "record %lld (%.*s): %s (step version %d of this program, caisson %s)",
      (long long)rec->seq, (int)rec->kind.n, rec->kind.p, what, CSN_STEP_VERSION, CSN_VERSION);
}

/* To the members that had it, else to the first agent. */
static int
bind_tool(csn_agent *a, const csn_tool *tool, csn_err *err)
{
  int rc = 0;
  bool found = false;
  for (size_t i = 0; rc == 0 && i < a->n_agents; i++)
    csn_json_each (name, a->agents[i]->bound_tools)
      if (rc == 0 && csn_str_eq(name->text, csn_cstr(tool->name))) {
        rc = csn_agent_add_tool(a->agents[i], tool, err);
        found = true;
      }
  return rc < 0 || found ? rc : csn_agent_add_tool(a, tool, err);
}

static int
read_zero(struct reader *rd, const csn_record *rec, const csn_json *v, csn_err *err)
{
  csn_run *r = rd->r;
  const csn_json *agent;
  if (!csn_str_eq(rec->kind, CSN_STR("run")) || csn_json_int(v, "format", 0) != 1)
    return differs(rec, "not a run that this program can read", err);
  int rc = csn_json_need(v, "agent", CSN_JSON_OBJECT, &agent, err);
  if (rc < 0)
    return rc;
  rd->salt = csn_sha256_of(agent->raw);
  char hex[65];
  csn_digest_hex(&rd->salt, hex);
  if (!csn_str_eq(csn_json_str(v, "agent_sha256", CSN_STR("")), csn_cstr(hex)))
    return differs(rec, "the agent does not match its hash", err);
  r->opts.keep_workspace = r->opts.keep_workspace || csn_json_bool(v, "keep_workspace", false);
  if (csn_json_get(v, "after"))
    r->opts.after = csn_arena_dup(r->keep, csn_json_str(v, "after", CSN_STR(""))).p;
  csn_str snapshot = csn_json_str(v, "snapshot", csn_strn(NULL, 0));
  r->opts.snapshot = snapshot.n ? csn_arena_dup(r->keep, snapshot).p : NULL;
  rc = csn_agent_from_json_of(&r->own_agent, agent, "record 0", ".", r->rt->backends, err);
  if (rc < 0)
    return rc;
  for (size_t i = 0; i < r->opts.n_tools; i++) {
    rc = bind_tool(r->own_agent, &r->opts.tools[i], err);
    if (rc < 0)
      return rc;
  }
  for (size_t i = 0; i < r->opts.n_callbacks; i++) {
    rc = csn_agent_add_callback(r->own_agent, &r->opts.callbacks[i], err);
    if (rc < 0)
      return rc;
  }
  csn_run_set_agent(r, r->own_agent);
  csn_boxes_read_zero(r, v);
  csn_state_init(&r->state, agent, csn_json_get(v, "prices"), &rd->salt);
  csn_state_set_models(&r->state, csn_json_get(v, "models"));
  r->state.cfg.compact_at = csn_json_get(v, "compact_at");
  csn_state_set_checkpoint(&r->state, csn_json_int(v, "checkpoint_ms", -1));
  rd->has_zero = true;
  return 0;
}

static int
read_event(struct reader *rd, const csn_record *rec, int kind, const csn_json *v, csn_err *err)
{
  csn_run *r = rd->r;
  csn_run_keep(r, rec->seq, v);
  if (kind == CSN_EV_DECIDED && !csn_decided_stands(r, rec, v))
    return differs(rec, "nobody who holds this folder's key decided so; the journal was edited",
                   err);
  if (kind == CSN_EV_RESUMED && !csn_raise_stands(r, v))
    return differs(
        rec, "nobody who holds this folder's key raised limits so; the journal was edited", err);
  if (rec->seq < rd->from) {
    if (kind == CSN_EV_DECIDED)
      csn_state_remember(&r->state, v);
    return 0;
  }
  if (rd->next_effect < r->effects.n)
    return differs(rec, "an effect is missing before it", err);
  csn_event ev = {
      .kind = (enum csn_event_kind)kind, .seq = rec->seq, .ts_ms = rec->ts_ms, .data = v};
  rd->next_effect = 0;
  int rc = csn_step(&r->state, &ev, &r->effects, err);
  csn_label_note(r, rec->seq);
  return rc;
}

static int
read_effect(struct reader *rd, const csn_record *rec, int kind, csn_err *err)
{
  csn_run *r = rd->r;
  if (rec->seq < rd->from)
    return 0;
  if (rd->next_effect >= r->effects.n)
    return differs(rec, "this program would not ask for it", err);
  const csn_effect *f = &r->effects.v[rd->next_effect++];
  if ((int)f->kind != kind || !csn_str_eq(f->data, rec->data))
    return differs(rec, "this program would ask for something else", err);
  return 0;
}

static int
read_note(struct reader *rd, const csn_record *rec, const csn_json *v, csn_err *err)
{
  if (csn_str_eq(csn_json_str(v, "note", CSN_STR("")), CSN_STR("decision")))
    return csn_decided_keep(rd->r, rec, v, err);
  if (csn_str_eq(csn_json_str(v, "note", CSN_STR("")), CSN_STR("backend")))
    return csn_boxes_read_backend(rd->r, v, err);
  const csn_json *data = csn_json_get(v, "data"), *usage = csn_json_get(v, "usage");
  if (usage && csn_str_eq(csn_json_str(v, "note", CSN_STR("")), CSN_STR("attempt_failed"))) {
    struct csn_billed *b = csn_arena_alloc(rd->r->keep, sizeof *b);
    if (b) {
      b->of = csn_json_int(v, "effect", -1);
      csn_usage_add(&b->usage, usage);
    }
    rd->r->billed = b;
  }
  if (!data)
    return 0;
  struct csn_noted *n = csn_arena_alloc(rd->r->keep, sizeof *n);
  if (n) {
    *n = (struct csn_noted){rd->r->notes, csn_json_int(v, "effect", -1), data};
    rd->r->notes = n;
  }
  return 0;
}

static int
read_record(void *user, const csn_record *rec, csn_err *err)
{
  struct reader *rd = user;
  const csn_json *v;
  csn_str data = csn_arena_dup(rd->r->keep, rec->data);
  int rc = csn_json_parse(rd->r->keep, data, &v, err);
  if (rc < 0)
    return csn_wrap(err, rc, "record %lld", (long long)rec->seq);
  if (!rd->has_zero)
    return read_zero(rd, rec, v, err);
  int event = csn_event_find(rec->kind), effect = csn_effect_find(rec->kind);
  if (event >= 0)
    return read_event(rd, rec, event, v, err);
  if (effect >= 0)
    return read_effect(rd, rec, effect, err);
  if (csn_str_eq(rec->kind, CSN_STR("note")))
    return read_note(rd, rec, v, err);
  if (!csn_str_eq(rec->kind, CSN_STR("state")))
    return differs(rec, "unknown kind", err);
  if (rec->seq == rd->from) {
    rc = csn_state_from_json(&rd->r->state, v, err);
    csn_label_note(rd->r, 0); /* since when is not known */
    return rc;
  }
  if (rec->seq < rd->from)
    csn_state_fold(&rd->r->state, v);
  return 0;
}

struct version {
  int64_t step;
};

static int
read_version(void *user, const csn_record *rec, csn_err *err)
{
  struct version *out = user;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  int rc = csn_json_parse(a, rec->data, &v, err);
  if (rc == 0)
    out->step = csn_json_int(v, "step_version", 0);
  return rc < 0 ? rc : CSN_E_EXISTS; /* one record is enough */
}

/* Where replay starts: at the beginning when the versions agree. */
static int
find_start(csn_run *r, int64_t *from, csn_err *err)
{
  struct version v = {0};
  csn_err end;
  int rc = csn_journal_read(r->journal, 0, read_version, &v, &end);
  if (rc < 0 && rc != CSN_E_EXISTS) {
    if (err)
      *err = end;
    return rc;
  }
  *from = 0;
  if (v.step == CSN_STEP_VERSION)
    return 0;
  *from = csn_journal_last(r->journal, "state");
  if (*from < 0)
    return csn_fail(err, CSN_E_REPLAY,
                    "the run was recorded with step version %lld and has no state to start from; "
                    "this program has version %d",
                    (long long)v.step, CSN_STEP_VERSION);
  return 0;
}

/* Tool calls whose tools want a human after a crash, and limits that were raised,
 * as JSON. */
static void
write_asks(const csn_run *r, csn_buf *out)
{
  csn_jw w;
  csn_jw_init(&w, out);
  csn_jw_obj(&w);
  csn_jw_key(&w, "ask");
  csn_jw_arr(&w);
  for (size_t i = 0; i < r->state.n_pending; i++) {
    const csn_pending *p = &r->state.pending[i];
    if (p->kind != CSN_DO_TOOL_CALL || p->is_cancelled)
      continue;
    const csn_agent *a = csn_run_agent(r);
    for (size_t k = 0; k < a->n_tools; k++)
      if (a->tools[k].tool.replay == CSN_REPLAY_ASK && strcmp(a->tools[k].tool.name, p->name) == 0)
        csn_jw_int(&w, p->seq);
  }
  csn_jw_end(&w);
  csn_raise_write(r, &w);
  csn_jw_end(&w);
}

/* Lock held: what was pending before `from` came. */
static void
take_up(csn_run *r, int64_t from)
{
  for (size_t i = 0; i < r->state.n_pending && !r->is_stopped; i++)
    if (r->state.pending[i].seq >= 0 && r->state.pending[i].seq < from)
      csn_perform_again(r, &r->state.pending[i]);
  if (r->state.timer_seq >= 0 && r->state.timer_seq < from && !r->is_stopped)
    csn_rearm_timer(r);
}

int
csn_run_go_on(csn_run *r, csn_err *err)
{
  if (r->state.phase == CSN_PHASE_ENDED && !r->raise) {
    r->opts.keep_workspace = r->opts.keep_workspace || csn_state_may_be_raised(&r->state);
    csn_boxes_sweep(r);
    return 0;
  }
  int rc = csn_agent_check_harness(r->agent, r->opts.harness_tools, err);
  if (rc == 0)
    rc = csn_boxes_change_backend(r, err);
  if (rc == 0)
    rc = csn_boxes_check_backend(r, err);
  if (rc == 0)
    rc = csn_boxes_network_need(r, err);
  if (rc < 0)
    return rc;
  r->is_at_rest = false;
  /* What that asks for is performed at once, and what was pending below. */
  int64_t before = csn_journal_next_seq(r->journal);
  rc = csn_boxes_look(r, err);
  if (rc < 0)
    return rc;
  csn_model_warm(r);
  csn_auto(csn_buf_finip) csn_buf data = CSN_BUF(RESUMED_MAX_BYTES);
  pthread_mutex_lock(&r->lock); /* a loss that was told above may have set it to work */
  write_asks(r, &data);
  r->raise = NULL;
  pthread_mutex_unlock(&r->lock);
  csn_run_deliver(r, CSN_EV_RESUMED, csn_buf_str(&data), false);
  pthread_mutex_lock(&r->lock);
  take_up(r, before);
  pthread_mutex_unlock(&r->lock);
  csn_decided_deliver(r);
  return 0;
}

int
csn_run_open(csn_rt *rt, csn_str id, const csn_run_options *o, csn_run **out, csn_err *err)
{
  return csn_run_open_child(rt, id, o, NULL, out, err);
}

int
csn_run_open_child(csn_rt *rt, csn_str id, const csn_run_options *o, csn_run *parent, csn_run **out,
                   csn_err *err)
{
  csn_auto(csn_run_freep) csn_run *r = NULL;
  int rc = csn_run_make(rt, o, &r, err);
  r->is_at_rest = true;
  r->box_run = parent;
  if (rc == 0)
    rc = csn_journal_open(rt->store, id, true, &r->journal, err);
  struct reader rd = {.r = r};
  if (rc == 0)
    rc = find_start(r, &rd.from, err);
  if (rc == 0)
    rc = csn_journal_read(r->journal, 0, read_record, &rd, err);
  if (rc < 0)
    return rc;
  if (!rd.has_zero)
    return csn_fail(err, CSN_E_REPLAY, "run %s has no records", csn_run_id(r));
  if (rd.next_effect < r->effects.n)
    return csn_fail(err, CSN_E_REPLAY, "run %s ends in the middle of a step", csn_run_id(r));
  if (r->state.phase == CSN_PHASE_NEW)
    return csn_fail(err, CSN_E_REPLAY, "run %s died before its input was recorded; start it anew",
                    csn_run_id(r));
  if (!parent && r->agent->run_parent && r->state.phase != CSN_PHASE_ENDED)
    return csn_fail(err, CSN_E_INVALID, "run %s belongs to run %s; go on with that", csn_run_id(r),
                    r->agent->run_parent);
  rc = csn_child_open_all(r, err);
  if (rc < 0)
    return rc;
  *out = csn_steal(r);
  return 0;
}

int
csn_run_resume(csn_rt *rt, csn_str id, const csn_run_options *o, csn_run **out, csn_err *err)
{
  csn_auto(csn_run_freep) csn_run *r = NULL;
  int rc = csn_run_open(rt, id, o, &r, err);
  if (rc == 0)
    rc = csn_run_go_on(r, err);
  if (rc < 0)
    return rc;
  *out = csn_steal(r);
  return 0;
}
