/* SPDX-License-Identifier: Apache-2.0
 * ask_model.c - performing a model call.
 *
 * In a pool thread the request is written and started; bytes are decoded as
 * they arrive in the I/O thread; the end of the reply wakes the job in the
 * pool, which delivers the event or, after a failure that may pass, waits on a
 * timer and tries again.  Each failed attempt is a note in the journal. */
#include <time.h>

#include "model/retry.h"
#include "run/ask.h"
#include "run/context_run.h"

enum { REPLY_MAX_BYTES = 256 << 20, IDLE_MS = 600000 };

static csn_job *try_once(csn_job *j);
static csn_job *after_wire(csn_job *j);

static struct csn_ask_job *
ask_of(csn_job *j)
{
  return (struct csn_ask_job *)j;
}

static void
ask_free(csn_job *j)
{
  struct csn_ask_job *a = ask_of(j);
  if (a->gate)
    csn_gate_leave(a->gate, &a->pass, 0, csn_now_ns());
  if (a->decoder)
    a->route.ops->close(a->decoder);
  csn_timer_free(a->timer);
  csn_buf_fini(&j->run->request);
  j->run->request = a->body;
  j->run->request_kept = a->kept;
  free(a->items);
  free(a->tools);
  free(a->without);
  free(a->model);
  free(a->filter);
  csn_buf_fini(&a->frame);
  csn_buf_fini(&a->composed);
  csn_route_fini(&a->route);
  csn_arena_free(a->arena);
  csn_arena_free(a->own);
  free(a);
}

/* Under the run's lock. */
static void
ask_cancel(csn_job *j)
{
  struct csn_ask_job *a = ask_of(j);
  a->is_cancelled = true;
  if (a->http)
    csn_http_cancel(j->run->rt->http, a->http);
  if (a->timer && !atomic_exchange(&a->is_woken, true))
    csn_job_wake(j);
  if (a->gate && csn_gate_drop(a->gate, &a->pass, csn_now_ns()))
    csn_job_wake(j);
}

const char *
csn_ask_model(const struct csn_ask_job *a)
{
  const char *own = csn_agent_model(a->agent);
  return a->model ? a->model : *own ? own : csn_agent_model(a->base.run->agent);
}

static bool
is_cancelled(struct csn_ask_job *a)
{
  csn_run *r = a->base.run;
  pthread_mutex_lock(&r->lock);
  bool yes = a->is_cancelled || r->is_stopped;
  pthread_mutex_unlock(&r->lock);
  return yes;
}

/* ---- the wire ---- */

static void
on_head(void *user, int status, const csn_header *headers, size_t n)
{
  struct csn_ask_job *a = user;
  if (a->decoder) /* of a kept connection that turned out to be closed */
    a->route.ops->close(csn_steal(a->decoder));
  a->decoder =
      csn_route_decoder(&a->route, a->arena, status, headers, n, &a->rq, csn_ask_on_delta, a);
}

static int
on_body(void *user, csn_str bytes)
{
  struct csn_ask_job *a = user;
  a->feed_rc = a->route.ops->feed(a->decoder, bytes, &a->err);
  bool is_enough = a->feed_rc == 0 && a->by_socket && a->route.ops->is_done(a->decoder);
  return is_enough ? CSN_HTTP_ENOUGH : a->feed_rc;
}

static void
on_done(void *user, const csn_err *err)
{
  struct csn_ask_job *a = user;
  csn_run *r = a->base.run;
  if (err && a->feed_rc >= 0)
    a->err = *err;
  pthread_mutex_lock(&r->lock);
  a->http = NULL;
  pthread_mutex_unlock(&r->lock);
  a->base.fn = after_wire;
  csn_job_go_on(&a->base);
}

/* ---- attempts ---- */

/* In the I/O thread, without any lock: freeing a timer waits for this. */
static void
on_pause_over(void *user)
{
  struct csn_ask_job *a = user;
  if (!atomic_exchange(&a->is_woken, true))
    csn_job_wake(&a->base);
}

static int
note_attempt(struct csn_ask_job *a, int64_t delay_ms)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(4096);
  csn_ask_failure f = {.effect = a->base.seq, .err = &a->err, .again = a->attempt};
  f.usage = csn_ask_is_billed(a) ? &a->failed : NULL;
  csn_ask_write_note(&b, &f, delay_ms);
  csn_err err;
  int rc = csn_run_note(a->base.run, csn_buf_str(&b), &err);
  if (rc < 0)
    a->err = err;
  return rc;
}

static csn_job *
ask_anew(csn_job *j)
{
  struct csn_ask_job *a = ask_of(j);
  pthread_mutex_lock(&j->run->lock);
  csn_timer *pause = csn_steal(a->timer);
  pthread_mutex_unlock(&j->run->lock);
  csn_timer_free(pause);
  return csn_ask_deliver_billed(a, &a->err, true);
}

static csn_job *
try_again(struct csn_ask_job *a)
{
  csn_run *r = a->base.run;
  uint32_t random;
  csn_random_bytes(&random, sizeof random);
  csn_retry_policy policy = csn_retry_default;
  csn_err bad; /* agent files with a bad policy were refused when they were read */
  if (csn_retry_from_json(&policy, csn_json_get(r->agent->settings, "retry"), &bad) < 0)
    policy = csn_retry_default;
  csn_retry next =
      csn_retry_decide(&policy, a->attempt, &a->err, false, (double)random / 4294967296.0);
  if (!next.again)
    return csn_ask_give_up(a);
  if (note_attempt(a, next.delay_ms) < 0)
    return csn_ask_give_up(a); /* the run was stopped, or its journal takes no more */
  csn_logf(r->rt->log, CSN_LOG_WARN, "run %s: %s; attempt %d in %lld ms", csn_run_id(r), a->err.msg,
           a->attempt + 1, (long long)next.delay_ms);
  csn_ask_drop_shown(a);
  csn_err err;
  csn_loop *loop;
  if (csn_rt_need_loop(r->rt, &loop, &err) < 0) {
    a->err = err;
    return csn_ask_give_up(a);
  }
  csn_job *(*next_fn)(csn_job * j) = csn_ask_is_billed(a) ? ask_anew : try_once;
  a->base.fn = next_fn;
  pthread_mutex_lock(&r->lock);
  bool stop = a->is_cancelled || r->is_stopped;
  atomic_store(&a->is_woken, false);
  if (!stop)
    a->timer = csn_loop_timer(loop, csn_now_ns() + next.delay_ms * 1000000, on_pause_over, a);
  pthread_mutex_unlock(&r->lock);
  return stop ? next_fn(&a->base) : CSN_JOB_PARKED;
}

/* A provider that asks for a pause gets it before the next goes in. */
static void
leave_gate(struct csn_ask_job *a, int64_t tokens)
{
  int64_t now = csn_now_ns(), pause_ms = a->err.retry_after_ms;
  if (a->err.code == CSN_E_UNAVAILABLE && pause_ms > 0)
    csn_gate_hold(a->gate, now + pause_ms * 1000000, now);
  csn_gate_leave(a->gate, &a->pass, tokens, now);
}

static csn_job *
after_wire(csn_job *j)
{
  struct csn_ask_job *a = ask_of(j);
  csn_model_reply reply = {0};
  if (!a->err.code && !a->decoder)
    csn_fail(&a->err, CSN_E_UNAVAILABLE, "the server closed the connection without a reply");
  bool is_good = !a->err.code && a->route.ops->finish(a->decoder, &reply, &a->err) == 0;
  if (!is_good && a->decoder && !reply.usage.total_tokens && !reply.usage.input_tokens)
    (void)!a->route.ops->finish(a->decoder, &reply, NULL); /* what it told before it broke off */
  a->failed = is_good ? (csn_usage){0} : reply.usage;
  leave_gate(a, reply.usage.total_tokens);
  if (is_good)
    return csn_ask_deliver(a, &reply);
  if (a->by_socket && a->err.code == CSN_E_UNSUPPORTED && !is_cancelled(a)) {
    csn_logf(j->run->rt->log, CSN_LOG_INFO, "%s; it is asked over HTTP", a->err.msg);
    csn_gate_forgo_sockets(a->gate);
    a->attempt--; /* it has not been asked yet */
    return try_once(j);
  }
  if (is_cancelled(a)) {
    csn_fail(&a->err, CSN_E_CANCELLED, "cancelled");
    return csn_ask_give_up(a);
  }
  csn_route_hide_key(&a->route, &a->err);
  return try_again(a);
}

static csn_job *
answer_here(struct csn_ask_job *a)
{
  csn_model_reply reply = {0};
  csn_err err;
  if (a->route.ops->answer(a->arena, a->route.model, &a->rq, &reply, &err) < 0) {
    a->err = err;
    return csn_ask_give_up(a);
  }
  return csn_ask_deliver(a, &reply);
}

static csn_job *
send_request(csn_job *j)
{
  struct csn_ask_job *a = ask_of(j);
  csn_run *r = j->run;
  csn_http *http = NULL;
  csn_err err;
  csn_http_req req = {.method = "POST",
                      .url = a->url,
                      .body = csn_buf_str(a->by_socket ? &a->frame : &a->body),
                      .is_ws = a->by_socket,
                      .timeout_ms = a->route.timeout_ms,
                      .idle_ms = IDLE_MS,
                      .is_last = true};
  static const csn_http_sink sink = {.head = on_head, .body = on_body, .done = on_done};
  int rc = a->pass.is_refused ? csn_gate_refusal(a->gate, csn_now_ns(), &err)
                              : csn_rt_need_http(r->rt, &http, &err);
  csn_route_headers(&a->route, a->arena, &a->rq, &req);
  if (rc == 0)
    rc = csn_route_sign(&a->route, a->arena, (int64_t)time(NULL), &req, &err);
  pthread_mutex_lock(&r->lock);
  if (a->is_cancelled || r->is_stopped)
    rc = csn_fail(&err, CSN_E_CANCELLED, "cancelled");
  else if (rc == 0)
    rc = csn_http_start(http, &req, &sink, a, &a->http, &err);
  pthread_mutex_unlock(&r->lock);
  if (rc == 0)
    return CSN_JOB_PARKED;
  a->err = err;
  return csn_ask_give_up(a);
}

/* It is this call's turn, or it will never be. */
static void
on_turn(void *user)
{
  struct csn_ask_job *a = user;
  csn_job_wake(&a->base);
}

/* About so much: four bytes are a token, and the reply as long as it may be. */
static int64_t
tokens_of(const struct csn_ask_job *a)
{
  return (int64_t)a->body.n / 4 + csn_json_int(a->settings, "max_tokens", 0);
}

/* Writes the request and sends it when the provider has room for it. */
static csn_job *
start_wire(struct csn_ask_job *a)
{
  csn_run *r = a->base.run;
  csn_gate *gate = NULL;
  int rc = csn_ask_write(a, &a->err);
  if (rc == 0)
    rc = csn_rt_need_gate(r->rt, &a->route, &gate, &a->err);
  if (rc < 0)
    return csn_ask_give_up(a);
  a->by_socket = a->route.by_socket && a->rq.stream && csn_gate_has_sockets(gate);
  if (a->by_socket)
    csn_ask_frame(a);
  a->pass = (csn_gate_call){
      .group = csn_box_owner(r), .tokens = tokens_of(a), .wake = on_turn, .user = a};
  a->base.fn = send_request;
  pthread_mutex_lock(&r->lock);
  a->gate = gate;
  rc = a->is_cancelled || r->is_stopped ? csn_fail(&a->err, CSN_E_CANCELLED, "cancelled")
                                        : csn_gate_enter(gate, &a->pass, csn_now_ns(), &a->err);
  pthread_mutex_unlock(&r->lock);
  if (rc < 0)
    return csn_ask_give_up(a);
  return rc == 0 ? CSN_JOB_PARKED : send_request(&a->base);
}

static csn_job *
try_once(csn_job *j)
{
  struct csn_ask_job *a = ask_of(j);
  pthread_mutex_lock(&j->run->lock);
  csn_timer *pause = csn_steal(a->timer);
  pthread_mutex_unlock(&j->run->lock);
  csn_timer_free(pause);
  if (a->decoder)
    a->route.ops->close(csn_steal(a->decoder));
  csn_arena_clear(a->arena);
  a->err = (csn_err){0};
  a->feed_rc = 0;
  a->has_streamed = false;
  a->attempt++;
  csn_ask_collect(a);
  if (a->route.ops->answer)
    return answer_here(a);
  return start_wire(a);
}

static csn_job *
first_try(csn_job *j)
{
  struct csn_ask_job *a = ask_of(j);
  csn_err err;
  if (j->run->billed && j->run->billed->of == j->seq) { /* we died before it was counted */
    a->failed = j->run->billed->usage;
    csn_fail(&a->err, CSN_E_UNAVAILABLE, "it failed before the harness died");
    a->attempt++;
    return csn_ask_deliver_billed(a, &a->err, true);
  }
  if (csn_ask_compose(a, &err) < 0 || csn_ask_settle(a, &err) < 0 ||
      csn_route_find(j->run->rt->project, csn_cstr(csn_ask_model(a)), &a->route, &err) < 0) {
    a->err = err;
    return csn_ask_give_up(a);
  }
  return try_once(j);
}

void
csn_model_warm(csn_run *r)
{
  struct csn_route route = {0};
  csn_http *http;
  if (csn_route_find(r->rt->project, csn_cstr(csn_agent_model(r->agent)), &route, NULL) == 0 &&
      route.ops->encode && csn_rt_need_http(r->rt, &http, NULL) == 0)
    csn_http_warm(http);
  csn_route_fini(&route);
}

csn_job *
csn_model_job_new(csn_run *r)
{
  struct csn_ask_job *a = csn_alloc(sizeof *a);
  a->body = r->request;
  a->kept = r->request_kept;
  r->request = (csn_buf){0};
  a->base.fn = first_try;
  a->base.free = ask_free;
  a->base.cancel = ask_cancel;
  a->arena = csn_arena_new(REPLY_MAX_BYTES);
  a->instructions = r->state.instructions >= 0 ? r->instructions : CSN_STR("");
  a->without = r->state.disabled ? csn_dupz(csn_cstr(r->state.disabled)) : NULL;
  a->sums_up = r->state.phase == CSN_PHASE_COMPACT;
  a->free_choice = csn_state_has_free_choice(&r->state);
  a->is_gated = csn_state_is_gated(&r->state) && !a->sums_up;
  a->server_at = csn_state_server_compacts_at(&r->state);
  a->cut = r->state.context.wanted;
  a->room = csn_state_compact_at(&r->state) - r->state.budget.max_output;
  a->agent = csn_run_agent(r);
  a->filter = r->state.filter ? csn_dupz(csn_cstr(r->state.filter)) : NULL;
  a->filter_to = r->state.filter_to;
  a->model = csn_state_model(&r->state) ? csn_dupz(csn_cstr(csn_state_model(&r->state))) : NULL;
  a->has_other = csn_state_has_other_model(&r->state);
  a->max_output = r->state.budget.max_output;
  a->attempt = (int)r->state.attempts;
  return &a->base;
}
