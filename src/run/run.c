/* SPDX-License-Identifier: Apache-2.0
 * run.c - a run's life in this process: birth, rest, wait, stop, end.  zero.c
 * begins it, deliver.c brings it its events. */
#include "caisson/session.h"
#include "run/box_save.h"
#include "run/box_snapshot.h"
#include "run/driver.h"
#include "run/result.h"
#include "store/session.h"

enum { ITEMS_MAX_BYTES = 1 << 30 };

const csn_agent *
csn_run_agent(const csn_run *r)
{
  const csn_agent *a = csn_agent_member(r->agent, r->state.cfg.agent);
  return a ? a : r->agent;
}

/* ---- rest ---- */

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

/* ---- birth and end ---- */

int
csn_run_make(csn_rt *rt, const csn_run_options *o, csn_run **out, csn_err *err)
{
  (void)err;
  csn_run *r = csn_alloc(sizeof *r);
  r->rt = rt;
  if (o)
    r->opts = *o;
  r->opts.items = r->opts.parts = (csn_str){0}; /* they are the input's, and borrowed */
  r->opts.sandbox_state = (csn_str){0};         /* csn_box_lent_take() */
  r->untrusted_from = INT64_MAX;
  r->keep = csn_arena_new(ITEMS_MAX_BYTES);
  r->scratch = csn_arena_new(ITEMS_MAX_BYTES);
  csn_scope_init(&r->scope, NULL, -1);
  pthread_mutex_init(&r->lock, NULL);
  pthread_mutex_init(&r->telling, NULL);
  csn_cond_init(&r->changed);
  csn_box_init(&r->box, r);
  *out = r;
  return 0;
}

static int
check_backends(const csn_rt *rt, const csn_agent *a, const csn_run_options *o, csn_err *err)
{
  const csn_agent *box;
  int rc = 0;
  for (size_t i = 0; rc == 0 && (box = csn_agent_box(a, i)); i++)
    rc = csn_agent_check_backend(box, rt->backends, o && o->harness_tools, err);
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
    rc = check_backends(rt, agent, o, err);
  if (rc == 0)
    rc = csn_box_snapshot_check(rt, agent, o, err);
  csn_auto(csn_buf_finip) csn_buf items = CSN_BUF(CSN_INPUT_MAX);
  struct csn_input in = {.text = input};
  if (o) {
    in.parts = o->parts;
    in.items = o->items;
  }
  if (rc == 0)
    rc = csn_input_write(&in, &items, err);
  if (rc < 0)
    return rc;
  csn_auto(csn_run_freep) csn_run *r = NULL;
  rc = csn_run_make(rt, o, &r, err);
  if (rc < 0)
    return rc;
  csn_run_set_agent(r, agent);
  rc = csn_boxes_from_find(r, err);
  if (rc == 0 && o && o->sandbox_state.n)
    rc = csn_box_lent_take(&r->box, o->sandbox_state, err);
  if (rc == 0)
    rc = csn_boxes_network_need(r, err);
  if (rc < 0)
    return rc;
  csn_model_warm(r);
  rc = csn_journal_new(rt->store, &r->journal, err);
  if (rc == 0)
    csn_boxes_name(r);
  if (rc == 0)
    rc = csn_run_begin(r, csn_buf_str(&items), err);
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
  csn_boxes_free(r);
  csn_view_fini(&r->view);
  if (r->journal)
    csn_journal_close(r->journal);
  csn_state_fini(&r->state);
  csn_results_fini(&r->results);
  csn_effects_fini(&r->effects);
  csn_buf_fini(&r->request);
  csn_buf_fini(&r->state_text);
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
  csn_err why;
  int rc = o && o->session ? csn_conversation_tidy(rt, sc, agent, o->session, NULL, NULL, &why) : 0;
  if (rc < 0) /* it is as long as it was */
    csn_logf(rt->log, CSN_LOG_WARN, "%s", why.msg);
  rc = csn_run_start(rt, agent, input, o, &r, err);
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
