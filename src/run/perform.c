/* SPDX-License-Identifier: Apache-2.0
 * perform.c - from an effect to the job that performs it. */
#include <time.h>

#include "run/box_save.h"
#include "run/context_run.h"

struct plain_job {
  csn_job base;
  csn_scope scope;
};

static void
plain_free(csn_job *j)
{
  csn_scope_fini(&((struct plain_job *)j)->scope);
  free(j);
}

static void
open_cancel(csn_job *j)
{
  csn_scope_mark(&((struct plain_job *)j)->scope);
}

static csn_job *
plain_new(csn_run *r, csn_job *(*fn)(csn_job *j))
{
  struct plain_job *p = csn_alloc(sizeof *p);
  p->base.fn = fn;
  p->base.free = plain_free;
  csn_scope_init(&p->scope, &r->scope, -1);
  return &p->base;
}

/* {"effect":seq, KEY:raw} */
static csn_job *
deliver_with(csn_job *j, enum csn_event_kind kind, const char *key, csn_str raw)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(64u << 20);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "effect");
  csn_jw_int(&w, j->seq);
  if (raw.n) {
    csn_jw_key(&w, key);
    csn_jw_raw(&w, raw);
  }
  csn_jw_end(&w);
  return csn_run_deliver(j->run, kind, csn_buf_str(&b), true);
}

static csn_job *
open_sandbox(csn_job *j)
{
  csn_err err;
  csn_pool_wait_begin(j->run->rt->pool);
  csn_auto(csn_buf_finip) csn_buf context = CSN_BUF(8 << 20), b = CSN_BUF(16 << 20);
  const char *untrusted = NULL;
  csn_scope *sc = &((struct plain_job *)j)->scope;
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "effect");
  csn_jw_int(&w, j->seq);
  int rc = csn_boxes_make(j->run, sc, &w, &err);
  if (rc == 0)
    rc = csn_box_context(&j->run->box, sc, &context, &untrusted, &err);
  csn_pool_wait_end(j->run->rt->pool);
  if (rc < 0)
    return csn_run_deliver_error(j->run, CSN_EV_SANDBOX_LOST, j->seq, &err, true);
  if (context.n) {
    csn_jw_key(&w, "context");
    csn_jw_raw(&w, csn_buf_str(&context));
  }
  if (untrusted) {
    csn_jw_key(&w, "untrusted");
    csn_jw_strz(&w, untrusted);
  }
  csn_jw_end(&w);
  return csn_run_deliver(j->run, CSN_EV_SANDBOX_READY, csn_buf_str(&b), true);
}

static csn_job *
open_job_new(csn_run *r)
{
  csn_job *j = plain_new(r, open_sandbox);
  j->cancel = open_cancel;
  return j;
}

static csn_job *
collect_outputs(csn_job *j)
{
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf report = CSN_BUF(64u << 20);
  csn_pool_wait_begin(j->run->rt->pool);
  int rc = csn_boxes_collect(j->run, &report, &err);
  csn_pool_wait_end(j->run->rt->pool);
  if (rc < 0)
    return csn_run_deliver_error(j->run, CSN_EV_CHECKPOINTED, j->seq, &err, true);
  return deliver_with(j, CSN_EV_CHECKPOINTED, "outputs", csn_buf_str(&report));
}

/* {"effect":seq, "snapshot"...} */
static csn_job *
save_workspace(csn_job *j)
{
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(4096);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "effect");
  csn_jw_int(&w, j->seq);
  csn_pool_wait_begin(j->run->rt->pool);
  int rc = csn_boxes_checkpoint(j->run, j->seq, &w, &err);
  csn_pool_wait_end(j->run->rt->pool);
  csn_jw_end(&w);
  csn_fault_pass(&j->run->rt->fault, "checkpoint.made");
  return rc < 0 ? NULL : csn_run_deliver(j->run, CSN_EV_CHECKPOINTED, csn_buf_str(&b), true);
}

static csn_job *
close_sandbox(csn_job *j)
{
  csn_run *r = j->run;
  pthread_mutex_lock(&r->lock);
  bool may_go_on = csn_state_may_be_raised(&r->state); /* in its workspace: raise.c */
  r->opts.keep_workspace = r->opts.keep_workspace || may_go_on;
  pthread_mutex_unlock(&r->lock);
  csn_pool_wait_begin(j->run->rt->pool);
  csn_boxes_close(j->run, true);
  csn_pool_wait_end(j->run->rt->pool);
  return NULL;
}

static csn_job *
fire_timer(csn_job *j)
{
  return deliver_with(j, CSN_EV_TIMER_FIRED, NULL, CSN_STR(""));
}

/* In the loop's thread: a job delivers, for committing may wait for the disk. */
static void
on_timer(void *user)
{
  csn_run *r = user;
  pthread_mutex_lock(&r->lock);
  if (!r->is_stopped && r->state.timer_seq >= 0)
    csn_job_start(r, plain_new(r, fire_timer), r->state.timer_seq);
  pthread_mutex_unlock(&r->lock);
}

static void
set_timer(csn_run *r, int64_t at_ms)
{
  csn_err err;
  csn_loop *loop;
  if (csn_rt_need_loop(r->rt, &loop, &err) < 0) {
    csn_run_fail(r, &err);
    return;
  }
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  int64_t left_ms = at_ms - ((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
  int64_t at = csn_now_ns() + (left_ms > 0 ? left_ms : 0) * 1000000;
  r->wall = csn_loop_timer(loop, at, on_timer, r);
}

void
csn_rearm_timer(csn_run *r)
{
  set_timer(r, r->state.timer_at_ms);
}

static csn_job *
wake_cancelled(csn_job *j)
{
  csn_scope_wake(&j->run->scope);
  return NULL;
}

void
csn_wake_cancelled(csn_run *r)
{
  csn_job_start(r, plain_new(r, wake_cancelled), -1);
}

static void
cancel_seq(csn_run *r, int64_t seq)
{
  bool any = false;
  for (csn_job *j = r->jobs; j; j = j->next)
    if (j->seq == seq && j->cancel) {
      j->cancel(j);
      any = true;
    }
  if (any)
    csn_wake_cancelled(r);
}

static void
cancel_job(csn_run *r, csn_str data)
{
  const csn_json *v;
  if (csn_json_parse(r->scratch, data, &v, NULL) == 0)
    cancel_seq(r, csn_json_int(v, "effect", -1));
}

/* The making of a sandbox, callbacks: the state says so. */
void
csn_cancel_unwanted(csn_run *r)
{
  for (size_t i = 0; i < r->state.n_pending; i++) {
    const csn_pending *p = &r->state.pending[i];
    if (p->is_cancelled && (p->kind == CSN_DO_SANDBOX_OPEN || p->kind == CSN_DO_CALLBACK))
      cancel_seq(r, p->seq);
  }
}

static csn_job *
checkpoint_job(csn_run *r, const csn_pending *p)
{
  return plain_new(r, p->purpose == CSN_FOR_WORKSPACE ? save_workspace : collect_outputs);
}

static csn_job *
callback_job(csn_run *r, const csn_pending *p)
{
  return p->purpose == CSN_FOR_CONTEXT ? csn_context_job_new(r) : csn_callback_job_new(r, p);
}

void
csn_perform(csn_run *r, const csn_effect *f)
{
  switch (f->kind) {
  case CSN_DO_MODEL_CALL:
    csn_job_start(r, csn_model_job_new(r), f->seq);
    break;
  case CSN_DO_TOOL_CALL:
    csn_job_start(r, csn_call_job_new(r, csn_state_find(&r->state, f->seq), false), f->seq);
    break;
  case CSN_DO_MODEL_CANCEL:
  case CSN_DO_TOOL_CANCEL:
    cancel_job(r, f->data);
    break;
  case CSN_DO_SANDBOX_OPEN:
    csn_job_start(r, open_job_new(r), f->seq);
    break;
  case CSN_DO_SANDBOX_CHECKPOINT:
    csn_job_start(r, checkpoint_job(r, csn_state_find(&r->state, f->seq)), f->seq);
    break;
  case CSN_DO_SANDBOX_CLOSE:
    csn_job_start(r, plain_new(r, close_sandbox), f->seq);
    break;
  case CSN_DO_TIMER_SET:
    set_timer(r, r->state.timer_at_ms);
    break;
  case CSN_DO_ASK:          /* a human answers */
  case CSN_DO_TIMER_CANCEL: /* the timer ends with the run */
  case CSN_DO_FINISH:       /* the waiting thread sees the state */
    break;
  case CSN_DO_CALLBACK:
    csn_job_start(r, callback_job(r, csn_state_find(&r->state, f->seq)), f->seq);
    break;
  case CSN_DO_CHILD_START:
    csn_job_start(r, csn_child_job_new(r, csn_state_find(&r->state, f->seq)), f->seq);
    break;
  case CSN_DO_CHILD_CANCEL:
    cancel_job(r, f->data);
    break;
  case CSN_DO_SESSION_READ:
    csn_job_start(r, csn_session_read_job_new(r), f->seq);
    break;
  case CSN_DO_SESSION_APPEND:
    csn_job_start(r, csn_session_append_job_new(r), f->seq);
    break;
  case CSN_DO_MCP_LIST:
  case CSN_DO_COUNT: {
    csn_err err;
    csn_fail(&err, CSN_E_UNSUPPORTED, "record %lld: this program cannot perform %s",
             (long long)f->seq, csn_effect_name(f->kind));
    csn_run_fail(r, &err);
  }
  }
}

void
csn_perform_again(csn_run *r, const csn_pending *p)
{
  if (p->kind == CSN_DO_TOOL_CALL) {
    csn_job_start(r, csn_call_job_new(r, p, true), p->seq);
  } else {
    csn_effect f = {.kind = p->kind, .seq = p->seq};
    csn_perform(r, &f);
    if (p->is_cancelled) /* it still gets its result, but nobody pays for it again */
      cancel_seq(r, p->seq);
  }
}
