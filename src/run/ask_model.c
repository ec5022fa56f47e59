/* SPDX-License-Identifier: Apache-2.0
 * ask_model.c - performing a model call.
 *
 * In a pool thread the request is written and started; bytes are decoded as
 * they arrive in the I/O thread; the end of the reply wakes the job in the
 * pool, which delivers the event or, after a failure that may pass, waits on a
 * timer and tries again.  Each failed attempt is a note in the journal. */
#include <time.h>

#include "model/items.h"
#include "model/retry.h"
#include "run/ask_failure.h"
#include "run/context_run.h"
#include "run/glob.h"
#include "run/items.h"
#include "run/refusal.h"

enum {
  BODY_MAX_BYTES = 256 << 20,
  REPLY_MAX_BYTES = 256 << 20,
  IDLE_MS = 600000,
  INSTRUCTIONS_MAX_BYTES = 16 << 20,
  PATH_MAX_BYTES = 4096,
  SUMMARY_MAX_BYTES = 1 << 20
};

struct ask {
  csn_job base;
  csn_arena *arena; /* of one attempt's reply */
  csn_arena *own;   /* of the call's settings; or NULL */
  struct csn_route route;
  csn_model_request rq;
  csn_str *items;
  csn_tool_decl *tools;
  csn_buf body;
  csn_kept_body kept;   /* what body holds */
  csn_http_call *http;  /* while on the wire; guarded by the run's lock */
  csn_timer *timer;     /* between attempts; guarded by the run's lock */
  atomic_bool is_woken; /* by the timer or by cancel, whoever comes first */
  csn_decoder *decoder;
  csn_str instructions;   /* JSON string that a callback gave; empty: the agent's text */
  char *without;          /* patterns of tools that are not offered */
  csn_buf composed;       /* instructions that a callback gave, with what is added */
  const csn_agent *agent; /* at work */
  char *filter;           /* what a hand-off leaves of earlier items; or NULL */
  int64_t filter_to;
  char *model;    /* in the place of the agent's; or NULL */
  bool has_other; /* another takes its place when it fails or refuses */
  csn_gate *gate; /* of the provider; NULL: no server */
  csn_gate_call pass;
  csn_buf frame;  /* the request as a WebSocket's message */
  bool by_socket; /* this attempt */
  csn_str url;
  int64_t max_output; /* cap of the reply; 0: as the settings say */
  const csn_json *settings;
  bool is_gated;     /* text is held back until guardrails have passed it */
  int64_t server_at; /* the server sums up from so many tokens on; 0: it does not */
  bool sums_up;      /* no turn: what stands up to `cut` is summed up in so many tokens */
  int64_t cut, room;
  bool is_cancelled, has_streamed;
  int attempt;
  int feed_rc;
  csn_err err;      /* of the attempt; code 0: it went well */
  csn_usage failed; /* what the provider told of an attempt that failed */
};

static csn_job *try_once(csn_job *j);
static csn_job *after_wire(csn_job *j);

static struct ask *
ask_of(csn_job *j)
{
  return (struct ask *)j;
}

static void
ask_free(csn_job *j)
{
  struct ask *a = ask_of(j);
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
  struct ask *a = ask_of(j);
  a->is_cancelled = true;
  if (a->http)
    csn_http_cancel(j->run->rt->http, a->http);
  if (a->timer && !atomic_exchange(&a->is_woken, true))
    csn_job_wake(j);
  if (a->gate && csn_gate_drop(a->gate, &a->pass, csn_now_ns()))
    csn_job_wake(j);
}

static const char *
model_of(const struct ask *a)
{
  const char *own = csn_agent_model(a->agent);
  return a->model ? a->model : *own ? own : csn_agent_model(a->base.run->agent);
}

static bool
is_cancelled(struct ask *a)
{
  csn_run *r = a->base.run;
  pthread_mutex_lock(&r->lock);
  bool yes = a->is_cancelled || r->is_stopped;
  pthread_mutex_unlock(&r->lock);
  return yes;
}

/* ---- streaming ---- */

/* Reasoning is not given out at all: nobody looks at it. */
static void
hold_back(csn_run *r, enum csn_delta_kind kind, csn_str text)
{
  pthread_mutex_lock(&r->lock);
  r->gated.cap = REPLY_MAX_BYTES;
  if (kind == CSN_DELTA_TEXT)
    csn_buf_add(&r->gated, text);
  pthread_mutex_unlock(&r->lock);
}

static void
on_delta(void *user, enum csn_delta_kind kind, csn_str text)
{
  struct ask *a = user;
  csn_run *r = a->base.run;
  a->has_streamed = !a->sums_up;
  if (!r->opts.listener || kind == CSN_DELTA_ARGUMENTS || a->sums_up)
    return;
  if (a->is_gated) {
    hold_back(r, kind, text);
    return;
  }
  static const char *const types[] = {"text_delta", "reasoning_delta", "refusal_delta"};
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(REPLY_MAX_BYTES);
  csn_buf_addz(&b, "{\"text\":");
  csn_json_quote(&b, text);
  csn_buf_addc(&b, '}');
  csn_run_notify(r, types[kind], csn_buf_str(&b));
}

static void
on_head(void *user, int status, const csn_header *headers, size_t n)
{
  struct ask *a = user;
  if (a->decoder) /* of a kept connection that turned out to be closed */
    a->route.ops->close(csn_steal(a->decoder));
  a->decoder = csn_route_decoder(&a->route, a->arena, status, headers, n, &a->rq, on_delta, a);
}

static int
on_body(void *user, csn_str bytes)
{
  struct ask *a = user;
  a->feed_rc = a->route.ops->feed(a->decoder, bytes, &a->err);
  bool is_enough = a->feed_rc == 0 && a->by_socket && a->route.ops->is_done(a->decoder);
  return is_enough ? CSN_HTTP_ENOUGH : a->feed_rc;
}

static void
on_done(void *user, const csn_err *err)
{
  struct ask *a = user;
  csn_run *r = a->base.run;
  if (err && a->feed_rc >= 0)
    a->err = *err;
  pthread_mutex_lock(&r->lock);
  a->http = NULL;
  pthread_mutex_unlock(&r->lock);
  a->base.fn = after_wire;
  csn_job_go_on(&a->base);
}

/* ---- the request ---- */

static bool
is_offered(const struct ask *a, csn_str name)
{
  csn_str lines = csn_cstr(a->without), line;
  while (csn_str_line(&lines, &line))
    if (csn_glob(line, name))
      return false;
  return true;
}

static size_t
collect_tools(struct ask *a)
{
  const csn_agent *ag = a->agent;
  size_t n = 0;
  a->tools = csn_realloc(a->tools,
                         ag->n_tools + ag->n_hosted + (ag->handoffs ? ag->handoffs->n : 0) +
                             (ag->agent_tools ? ag->agent_tools->n : 0),
                         sizeof *a->tools);
  for (size_t i = 0; i < ag->n_tools; i++) {
    const char *name = ag->tools[i].tool.name;
    bool is_hosted = false; /* who acts on the computer is no function to the model */
    for (size_t k = 0; k < ag->n_hosted; k++)
      is_hosted = is_hosted || strcmp(ag->hosted[k].type, name) == 0;
    if (is_hosted || !is_offered(a, csn_cstr(name)))
      continue;
    a->tools[n] = ag->tools[i].decl;
    a->tools[n++].is_deferred = csn_agent_defers(ag, csn_cstr(name));
  }
  for (size_t i = 0; i < ag->n_hosted; i++)
    if (is_offered(a, csn_cstr(ag->hosted[i].type)))
      a->tools[n++] = csn_agent_hosted_decl(ag, i, a->arena);
  csn_json_each (t, ag->agent_tools)
    if (is_offered(a, csn_json_str(t, "tool", CSN_STR(""))))
      a->tools[n++] = csn_agent_child_decl(ag, t);
  csn_json_each (h, ag->handoffs)
    if (is_offered(a, csn_json_str(h, "tool", CSN_STR(""))))
      a->tools[n++] = csn_agent_handoff_decl(ag, h, a->arena);
  return n;
}

/* What a callback gave, with what the capabilities and the manifest add. */
static int
compose(struct ask *a, csn_err *err)
{
  const csn_json *text;
  if (!a->instructions.n)
    return 0;
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  int rc = csn_json_parse(arena, a->instructions, &text, err);
  a->composed = CSN_BUF(INSTRUCTIONS_MAX_BYTES);
  return rc < 0 ? rc : csn_agent_compose(a->agent, text->text, &a->composed, err);
}

static bool
is_message(const csn_json *item)
{
  return csn_json_get(item, "role") ||
         csn_str_eq(csn_json_str(item, "type", CSN_STR("")), CSN_STR("message"));
}

static bool
is_of_user(const csn_json *item)
{
  return csn_str_eq(csn_json_str(item, "role", CSN_STR("")), CSN_STR("user"));
}

/* What another provider said, as this one can read it: without its thoughts and
 * without its names for things.  Empty: nothing is left. */
static csn_str
translate(struct ask *a, const struct csn_item_ref *item, csn_str model)
{
  const csn_json *v;
  if (!item->model.n || csn_str_eq(item->model, model) || /* as a rule */
      csn_str_eq(csn_model_prefix(item->model), csn_model_prefix(model)) ||
      csn_json_parse(a->arena, item->raw, &v, NULL) < 0)
    return item->raw;
  return csn_item_foreign(a->arena, v);
}

/* Lock held: the items that requests still hold; a hand-off may have left out
 * some that came before it. */
static size_t
select_items(struct ask *a, const csn_run *r, struct csn_item_ref *out)
{
  size_t n = 0, first = SIZE_MAX;
  bool only_last = a->filter && strcmp(a->filter, "last") == 0;
  csn_str model = csn_cstr(model_of(a));
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  for (size_t i = 0; i < csn_context_count(r); i++) {
    const csn_json *item = NULL;
    const struct csn_item_ref *ref = csn_context_item(r, i);
    bool is_old = a->filter && ref->seq <= a->filter_to;
    if (is_old && csn_json_parse(arena, ref->raw, &item, NULL) < 0)
      item = NULL;
    if (is_old && only_last && !is_of_user(item))
      continue;
    if (is_old && !is_message(item))
      continue;
    if (is_old && only_last && first != SIZE_MAX)
      n = first; /* the one before was not the last */
    if (is_old)
      first = n;
    out[n] = *ref;
    out[n].raw = translate(a, ref, model);
    n += out[n].raw.n > 0;
  }
  return n;
}

/* Lock held.  Items that are left out or translated otherwise than in the last
 * request are not those that its body holds. */
static void
note_form(struct ask *a, csn_run *r)
{
  csn_str prefix = csn_model_prefix(csn_cstr(model_of(a)));
  uint64_t form = r->view.version + 1;
  for (size_t i = 0; i < prefix.n; i++)
    form = form * 31 + (unsigned char)prefix.p[i];
  if (form != r->request_form)
    a->kept = (csn_kept_body){0};
  r->request_form = form;
}

/* Fills a->items. */
static size_t
collect_items(struct ask *a)
{
  csn_run *r = a->base.run;
  pthread_mutex_lock(&r->lock);
  csn_context_need(r);
  note_form(a, r);
  size_t n = csn_context_count(r);
  csn_auto(csn_freep) struct csn_item_ref *refs = csn_realloc(NULL, n + 1, sizeof *refs);
  n = select_items(a, r, refs);
  enum csn_token_family family = csn_context_family(r);
  pthread_mutex_unlock(&r->lock);
  free(a->items);
  a->items = csn_realloc(NULL, n + 1, sizeof *a->items);
  if (a->sums_up) {
    n = csn_context_fit(refs, n, a->cut, a->room, family, a->arena, a->items);
    a->items[n] = csn_context_prompt(a->arena);
    return n + 1;
  }
  for (size_t i = 0; i < n; i++)
    a->items[i] = refs[i].raw;
  return n;
}

static void
collect_request(struct ask *a)
{
  csn_run *r = a->base.run;
  size_t n = collect_items(a), n_tools = collect_tools(a);
  const csn_agent *ag = a->agent;
  a->rq = (csn_model_request){
      .model = a->route.model,
      .instructions = a->instructions.n ? csn_buf_str(&a->composed) : ag->full_instructions,
      .items = a->items,
      .n_items = n,
      .tools = a->tools,
      .n_tools = n_tools,
      .settings = a->settings,
      .stream = !r->opts.no_stream,
      .output_schema = ag->output_schema && !a->sums_up ? ag->output_schema->raw : CSN_STR(""),
      .cap_is_last = a->max_output != 0,
      /* Without a filter the items of a form are only ever added to. */
      .kept = a->route.ops->appends && !a->filter && !a->sums_up ? &a->kept : NULL,
  };
}

/* What the attempt has given out does not count. */
static void
drop_shown(struct ask *a)
{
  csn_run *r = a->base.run;
  if (!a->is_gated && a->has_streamed)
    csn_run_notify(r, "attempt_restarted", CSN_STR("{}"));
  a->has_streamed = false;
  if (!a->is_gated)
    return;
  pthread_mutex_lock(&r->lock);
  csn_buf_clear(&r->gated);
  pthread_mutex_unlock(&r->lock);
}

/* again: the machine is to reserve anew and ask once more. */
static csn_job *
deliver_billed(struct ask *a, const csn_err *err, bool again)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(16384);
  csn_ask_failure f = {.effect = a->base.seq, .err = err, .usage = &a->failed};
  f.again = again ? a->attempt : 0;
  csn_ask_write_failure(&b, &f);
  return csn_run_deliver(a->base.run, CSN_EV_MODEL_FAILED, csn_buf_str(&b), true);
}

static bool
is_billed(const struct ask *a)
{
  return a->failed.total_tokens > 0 || a->failed.input_tokens > 0;
}

static csn_job *
give_up(struct ask *a)
{
  csn_err err = a->err;
  csn_wrap(&err, err.code, "model %s", model_of(a));
  if (a->has_other)
    drop_shown(a);
  if (is_billed(a))
    return deliver_billed(a, &err, false);
  return csn_run_deliver_error(a->base.run, CSN_EV_MODEL_FAILED, a->base.seq, &err, true);
}

/* Another model is asked. */
static csn_job *
deliver_refusal(struct ask *a, const csn_model_reply *reply, csn_str why)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(16384);
  csn_refusal_write(&b, a->base.seq, model_of(a), why, &reply->usage);
  drop_shown(a);
  return csn_run_deliver(a->base.run, CSN_EV_MODEL_FAILED, csn_buf_str(&b), true);
}

/* The text of a reply's messages, which stands for what is left out. */
static int
write_summary(const struct ask *a, const csn_model_reply *reply, csn_jw *w, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(SUMMARY_MAX_BYTES);
  csn_auto(csn_arena_freep) csn_arena *arena = NULL;
  const csn_json *item;
  if (!a->sums_up)
    return 0;
  arena = csn_arena_new(0);
  for (size_t i = 0; i < reply->n_items; i++)
    if (csn_json_parse(arena, reply->items[i], &item, NULL) == 0 && is_message(item))
      csn_message_text(item, &text);
  if (!text.n)
    return csn_fail(err, CSN_E_MODEL, "the model wrote no summary of the conversation");
  csn_jw_key(w, "summary");
  csn_jw_str(w, csn_buf_str(&text));
  return 0;
}

static csn_job *
deliver_reply(struct ask *a, const csn_model_reply *reply)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(REPLY_MAX_BYTES), why = CSN_BUF(REPLY_MAX_BYTES);
  if (a->has_other && csn_refusal_of(reply, a->arena, &why))
    return deliver_refusal(a, reply, csn_buf_str(&why));
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "effect");
  csn_jw_int(&w, a->base.seq);
  csn_jw_key(&w, "items");
  csn_jw_arr(&w);
  for (size_t i = 0; i < reply->n_items && !a->sums_up; i++)
    csn_jw_raw(&w, reply->items[i]);
  csn_jw_end(&w);
  csn_jw_key(&w, "usage");
  csn_usage_to_json(&reply->usage, &w);
  csn_jw_key(&w, "model");
  csn_jw_strz(&w, model_of(a));
  if (reply->response_id.n) {
    csn_jw_key(&w, "response_id");
    csn_jw_str(&w, reply->response_id);
  }
  csn_err err;
  int rc = write_summary(a, reply, &w, &err);
  csn_jw_end(&w);
  if (rc == 0)
    rc = csn_jw_done(&w, &err);
  if (rc < 0)
    return csn_run_deliver_error(a->base.run, CSN_EV_MODEL_FAILED, a->base.seq, &err, true);
  csn_fault_pass(&a->base.run->rt->fault, "model.replied");
  return csn_run_deliver(a->base.run, CSN_EV_MODEL_REPLIED, csn_buf_str(&b), true);
}

/* ---- attempts ---- */

/* In the I/O thread, without any lock: freeing a timer waits for this. */
static void
on_pause_over(void *user)
{
  struct ask *a = user;
  if (!atomic_exchange(&a->is_woken, true))
    csn_job_wake(&a->base);
}

static int
note_attempt(struct ask *a, int64_t delay_ms)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(4096);
  csn_ask_failure f = {.effect = a->base.seq, .err = &a->err, .again = a->attempt};
  f.usage = is_billed(a) ? &a->failed : NULL;
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
  struct ask *a = ask_of(j);
  pthread_mutex_lock(&j->run->lock);
  csn_timer *pause = csn_steal(a->timer);
  pthread_mutex_unlock(&j->run->lock);
  csn_timer_free(pause);
  return deliver_billed(a, &a->err, true);
}

static csn_job *
try_again(struct ask *a)
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
    return give_up(a);
  if (note_attempt(a, next.delay_ms) < 0)
    return give_up(a); /* the run was stopped, or its journal takes no more */
  csn_logf(r->rt->log, CSN_LOG_WARN, "run %s: %s; attempt %d in %lld ms", csn_run_id(r), a->err.msg,
           a->attempt + 1, (long long)next.delay_ms);
  drop_shown(a);
  csn_err err;
  csn_loop *loop;
  if (csn_rt_need_loop(r->rt, &loop, &err) < 0) {
    a->err = err;
    return give_up(a);
  }
  csn_job *(*next_fn)(csn_job * j) = is_billed(a) ? ask_anew : try_once;
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
leave_gate(struct ask *a, int64_t tokens)
{
  int64_t now = csn_now_ns(), pause_ms = a->err.retry_after_ms;
  if (a->err.code == CSN_E_UNAVAILABLE && pause_ms > 0)
    csn_gate_hold(a->gate, now + pause_ms * 1000000, now);
  csn_gate_leave(a->gate, &a->pass, tokens, now);
}

static csn_job *
after_wire(csn_job *j)
{
  struct ask *a = ask_of(j);
  csn_model_reply reply = {0};
  if (!a->err.code && !a->decoder)
    csn_fail(&a->err, CSN_E_UNAVAILABLE, "the server closed the connection without a reply");
  bool is_good = !a->err.code && a->route.ops->finish(a->decoder, &reply, &a->err) == 0;
  if (!is_good && a->decoder && !reply.usage.total_tokens && !reply.usage.input_tokens)
    (void)!a->route.ops->finish(a->decoder, &reply, NULL); /* what it told before it broke off */
  a->failed = is_good ? (csn_usage){0} : reply.usage;
  leave_gate(a, reply.usage.total_tokens);
  if (is_good)
    return deliver_reply(a, &reply);
  if (a->by_socket && a->err.code == CSN_E_UNSUPPORTED && !is_cancelled(a)) {
    csn_logf(j->run->rt->log, CSN_LOG_INFO, "%s; it is asked over HTTP", a->err.msg);
    csn_gate_forgo_sockets(a->gate);
    a->attempt--; /* it has not been asked yet */
    return try_once(j);
  }
  if (is_cancelled(a)) {
    csn_fail(&a->err, CSN_E_CANCELLED, "cancelled");
    return give_up(a);
  }
  csn_route_hide_key(&a->route, &a->err);
  return try_again(a);
}

static csn_job *
answer_here(struct ask *a)
{
  csn_model_reply reply = {0};
  csn_err err;
  if (a->route.ops->answer(a->arena, a->route.model, &a->rq, &reply, &err) < 0) {
    a->err = err;
    return give_up(a);
  }
  return deliver_reply(a, &reply);
}

static csn_job *
send_request(csn_job *j)
{
  struct ask *a = ask_of(j);
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
  return give_up(a);
}

/* It is this call's turn, or it will never be. */
static void
on_turn(void *user)
{
  struct ask *a = user;
  csn_job_wake(&a->base);
}

/* About so much: four bytes are a token, and the reply as long as it may be. */
static int64_t
tokens_of(const struct ask *a)
{
  return (int64_t)a->body.n / 4 + csn_json_int(a->settings, "max_tokens", 0);
}

static int
write_request(struct ask *a, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(PATH_MAX_BYTES), url = CSN_BUF(PATH_MAX_BYTES);
  a->body.cap = BODY_MAX_BYTES;
  if (!a->rq.kept) {
    csn_buf_clear(&a->body);
    a->kept = (csn_kept_body){0};
  }
  int rc = a->route.ops->encode(&a->route.endpoint, &a->rq, &a->body, &path, err);
  if (rc == 0)
    rc = csn_buf_done(&path, "the address of the model", err);
  if (rc == 0)
    rc = csn_route_url(&a->route, csn_buf_str(&path), &url, err);
  a->url = csn_arena_dup(a->arena, csn_buf_str(&url));
  return rc;
}

/* The body as what a WebSocket takes: an object with its kind before the rest. */
static void
write_message(struct ask *a)
{
  csn_str body = csn_buf_str(&a->body);
  a->frame.cap = BODY_MAX_BYTES + 100;
  csn_buf_clear(&a->frame);
  csn_buf_addz(&a->frame, "{\"type\":\"response.create\",");
  csn_buf_add(&a->frame, csn_strn(body.p + 1, body.n - 1));
}

/* Writes the request and sends it when the provider has room for it. */
static csn_job *
start_wire(struct ask *a)
{
  csn_run *r = a->base.run;
  csn_gate *gate = NULL;
  int rc = write_request(a, &a->err);
  if (rc == 0)
    rc = csn_rt_need_gate(r->rt, &a->route, &gate, &a->err);
  if (rc < 0)
    return give_up(a);
  a->by_socket = a->route.by_socket && a->rq.stream && csn_gate_has_sockets(gate);
  if (a->by_socket)
    write_message(a);
  a->pass = (csn_gate_call){
      .group = csn_box_owner(r), .tokens = tokens_of(a), .wake = on_turn, .user = a};
  a->base.fn = send_request;
  pthread_mutex_lock(&r->lock);
  a->gate = gate;
  rc = a->is_cancelled || r->is_stopped ? csn_fail(&a->err, CSN_E_CANCELLED, "cancelled")
                                        : csn_gate_enter(gate, &a->pass, csn_now_ns(), &a->err);
  pthread_mutex_unlock(&r->lock);
  if (rc < 0)
    return give_up(a);
  return rc == 0 ? CSN_JOB_PARKED : send_request(&a->base);
}

static csn_job *
try_once(csn_job *j)
{
  struct ask *a = ask_of(j);
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
  collect_request(a);
  if (a->route.ops->answer)
    return answer_here(a);
  return start_wire(a);
}

/* The agent's settings, with the cap of this reply. */
static int
settle(struct ask *a, csn_err *err)
{
  a->settings = a->agent->settings;
  if (!a->max_output && !a->sums_up && !a->server_at)
    return 0;
  a->own = csn_arena_new(0);
  return csn_context_settings(a->agent->settings, a->max_output, a->sums_up, a->server_at, a->own,
                              &a->settings, err);
}

static csn_job *
first_try(csn_job *j)
{
  struct ask *a = ask_of(j);
  csn_err err;
  if (j->run->billed && j->run->billed->of == j->seq) { /* we died before it was counted */
    a->failed = j->run->billed->usage;
    csn_fail(&a->err, CSN_E_UNAVAILABLE, "it failed before the harness died");
    a->attempt++;
    return deliver_billed(a, &a->err, true);
  }
  if (compose(a, &err) < 0 || settle(a, &err) < 0 ||
      csn_route_find(j->run->rt->project, csn_cstr(model_of(a)), &a->route, &err) < 0) {
    a->err = err;
    return give_up(a);
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
  struct ask *a = csn_alloc(sizeof *a);
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
