/* SPDX-License-Identifier: Apache-2.0
 * callback.c - performing a callback effect: its functions are called one
 * after the other until one objects; what they answered is the event. */
#include "run/context_run.h"
#include "run/items.h"
#include "run/schema_check.h"

enum { ANSWER_MAX_BYTES = 16 << 20, QUESTION_MAX_BYTES = 1 << 30 };

struct callback_job {
  csn_job base;
  csn_arena *arena;
  csn_scope scope;
  const csn_agent *agent;
  enum csn_purpose purpose;
  const csn_json *names;
  csn_str question; /* the object that each function gets */
  csn_str item;     /* TOOL_OUTPUT: the output item as it came; ADDED: the list of items */
  csn_str call_id;
  bool is_custom;
  const csn_json *handler; /* ERROR: of the agent's section */
};

static struct callback_job *
job_of(csn_job *j)
{
  return (struct callback_job *)j;
}

static void
job_free(csn_job *j)
{
  struct callback_job *c = job_of(j);
  csn_scope_fini(&c->scope);
  csn_arena_free(c->arena);
  free(c);
}

static void
job_cancel(csn_job *j)
{
  csn_scope_mark(&job_of(j)->scope);
}

/* ---- the question ---- */

static void
member(csn_jw *w, const char *key, csn_str s)
{
  csn_jw_key(w, key);
  csn_jw_str(w, s);
}

/* The first item of the held tool_returned of that seq. */
static csn_str
held_item(const csn_run *r, int64_t seq)
{
  for (const struct csn_held *h = r->held; h; h = h->next)
    if (h->seq == seq)
      return h->item;
  return CSN_STR("null");
}

/* Lock held: what the next agent would see. */
static void
write_seen(struct callback_job *c, csn_jw *w)
{
  csn_run *r = c->base.run;
  csn_context_need(r);
  csn_jw_key(w, "items");
  csn_jw_arr(w);
  for (size_t i = 0; i < csn_context_count(r); i++)
    csn_jw_raw(w, csn_context_item(r, i)->raw);
  csn_jw_end(w);
}

/* Lock held. */
static void
write_question(struct callback_job *c, const csn_run *r, const csn_pending *p)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(QUESTION_MAX_BYTES);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  bool is_added = p->purpose == CSN_FOR_ADDED; /* to its guardrails it is input like any other */
  member(&w, "for", csn_cstr(csn_purpose_name(is_added ? CSN_FOR_INPUT : p->purpose)));
  member(&w, "run", csn_cstr(csn_journal_id(r->journal)));
  member(&w, "agent", r->state.cfg.agent);
  csn_jw_key(&w, "turn");
  csn_jw_int(&w, r->state.turns);
  if (p->purpose == CSN_FOR_INPUT) {
    csn_jw_key(&w, "items");
    csn_jw_arr(&w);
    for (size_t i = 0; i < r->n_items; i++)
      csn_jw_raw(&w, r->items[i].raw);
    csn_jw_end(&w);
  }
  if (is_added) {
    c->item = held_item(r, p->of);
    csn_jw_key(&w, "items");
    csn_jw_raw(&w, c->item);
    csn_jw_key(&w, "added");
    csn_jw_bool(&w, true);
  }
  if (p->purpose == CSN_FOR_HANDOFF)
    write_seen(c, &w);
  bool is_error = p->purpose == CSN_FOR_ERROR;
  if (p->purpose == CSN_FOR_OUTPUT || p->purpose == CSN_FOR_SCHEMA || is_error)
    member(&w, "output", csn_cstr(r->state.output));
  if (is_error) {
    c->handler = csn_json_get(c->agent->errors, p->name);
    member(&w, "error", csn_cstr(p->name));
    member(&w, "message", csn_cstr(r->state.failing.message));
  } else if (p->name && p->purpose == CSN_FOR_HANDOFF) {
    csn_jw_key(&w, "input"); /* it was parsed when it was checked */
    csn_jw_raw(&w, csn_cstr(p->name));
  } else if (p->name) {
    member(&w, "tool", csn_cstr(p->name));
  }
  if (p->call_id) {
    member(&w, "call_id", csn_cstr(p->call_id));
    member(&w, p->is_custom ? "input" : "arguments", csn_cstr(p->arguments));
  }
  if (p->purpose == CSN_FOR_TOOL_OUTPUT) {
    c->item = held_item(r, p->of);
    csn_jw_key(&w, "item");
    csn_jw_raw(&w, c->item);
  }
  csn_jw_end(&w);
  c->question = csn_arena_dup(c->arena, csn_buf_str(&b));
}

/* ---- the answer ---- */

/* Copies a member that is there and of the right kind. */
static int
take(csn_jw *w, const csn_json *answer, const char *key, enum csn_json_kind kind, csn_err *err)
{
  const csn_json *m = csn_json_get(answer, key);
  if (!m)
    return 0;
  if (m->kind != kind)
    return csn_fail(err, CSN_E_INVALID, "%s: expected %s, got %s", key, csn_json_kind_name(kind),
                    csn_json_kind_name((enum csn_json_kind)m->kind));
  csn_jw_key(w, key);
  csn_jw_value(w, m);
  return 0;
}

/* What the run answers instead: {} is nothing, then it ends as it would have. */
static int
take_output(const struct callback_job *c, csn_jw *w, const csn_json *answer, csn_err *err)
{
  const csn_json *output = csn_json_get(answer, "output");
  bool history = csn_json_bool(c->handler, "history", true);
  int rc = take(w, answer, "output", CSN_JSON_STRING, err);
  if (rc < 0 || !output || !csn_json_bool(answer, "history", history))
    return rc;
  csn_jw_key(w, "items");
  csn_jw_arr(w);
  csn_item_assistant(w, output->text);
  csn_jw_end(w);
  return 0;
}

/* {"items":[...]}: what the next agent sees instead; nothing: all of it. */
static int
take_view(csn_jw *w, const csn_json *answer, csn_err *err)
{
  const csn_json *items = csn_json_get(answer, "items");
  if (!items)
    return 0;
  bool ok = items->kind == CSN_JSON_ARRAY && items->n > 0;
  csn_json_each (item, ok ? items : NULL)
    ok = ok && item->kind == CSN_JSON_OBJECT;
  if (!ok)
    return csn_fail(err, CSN_E_INVALID, "items: expected a list of items");
  csn_jw_key(w, "view");
  csn_jw_value(w, items);
  return 0;
}

static int
take_answer(struct callback_job *c, csn_jw *w, const csn_json *answer, csn_err *err)
{
  int rc = 0;
  switch (c->purpose) {
  case CSN_FOR_INSTRUCTIONS:
    if (!csn_json_get(answer, "text"))
      return csn_fail(err, CSN_E_INVALID, "text: missing");
    return take(w, answer, "text", CSN_JSON_STRING, err);
  case CSN_FOR_ENABLED:
    return take(w, answer, "enabled", CSN_JSON_BOOL, err);
  case CSN_FOR_HANDOFF:
    return take_view(w, answer, err);
  case CSN_FOR_ERROR:
    return take_output(c, w, answer, err);
  case CSN_FOR_TOOL_INPUT:
  case CSN_FOR_TOOL_OUTPUT:
    rc = take(w, answer, "reject", CSN_JSON_STRING, err);
    break;
  case CSN_FOR_INPUT:
  case CSN_FOR_ADDED:
  case CSN_FOR_OUTPUT:
  case CSN_FOR_SCHEMA:
  case CSN_FOR_NONE:
  case CSN_FOR_BUDGET:
  case CSN_FOR_CONTEXT:
  case CSN_FOR_WORKSPACE:
  case CSN_FOR_COUNT:
    break;
  }
  if (rc == 0)
    rc = take(w, answer, "trip", CSN_JSON_BOOL, err);
  return rc < 0 ? rc : take(w, answer, "message", CSN_JSON_STRING, err);
}

static bool
objects(const csn_json *answer)
{
  return csn_json_bool(answer, "trip", false) || csn_json_str(answer, "reject", CSN_STR("")).n;
}

/* Of the last function that was called. */
static int
ask_all(struct callback_job *c, const csn_json **answer, csn_err *err)
{
  const csn_json *question;
  int rc = csn_json_parse(c->arena, c->question, &question, err);
  if (csn_json_get(c->handler, "output"))
    *answer = c->handler; /* which has the answer itself */
  csn_json_each (name, c->names) {
    if (rc < 0)
      return rc;
    const csn_callback *cb = csn_agent_callback(c->agent, name->text);
    if (!cb)
      return csn_fail(err, CSN_E_NOT_FOUND,
                      "callback %.*s is not bound; give it to the agent, or to csn_run_resume()",
                      (int)name->text.n, name->text.p);
    csn_buf out = CSN_BUF(ANSWER_MAX_BYTES);
    rc = cb->fn(cb->user, &c->scope, question, &out, err);
    if (rc < 0 && !err->msg[0])
      csn_fail(err, (enum csn_code)rc, "it gave no reason");
    if (rc >= 0)
      rc = csn_buf_done(&out, "the answer", err);
    csn_str text = csn_arena_dup(c->arena, out.n ? csn_buf_str(&out) : CSN_STR("{}"));
    csn_buf_fini(&out);
    if (rc >= 0)
      rc = csn_json_parse(c->arena, text, answer, err);
    if (rc >= 0 && (*answer)->kind != CSN_JSON_OBJECT)
      rc = csn_fail(err, CSN_E_INVALID, "expected an object");
    if (rc < 0)
      return csn_wrap(err, rc, "callback %s", cb->name);
    if (objects(*answer))
      return 0;
  }
  return rc;
}

/* What joins the conversation: the result, or what stands in its place. */
static void
write_item(struct callback_job *c, csn_jw *w, const csn_json *answer)
{
  csn_str reject = csn_json_str(answer, "reject", CSN_STR(""));
  csn_jw_key(w, "items");
  csn_jw_arr(w);
  if (reject.n || csn_json_bool(answer, "trip", false))
    csn_item_output(w, c->is_custom, c->call_id,
                    reject.n ? reject : CSN_STR("Withheld by a guardrail."), CSN_STR(""));
  else
    csn_jw_raw(w, c->item);
  csn_jw_end(w);
}

/* Whether the answer fits the agent's schema, and what the model is told. */
static csn_job *
check_schema(csn_job *j)
{
  struct callback_job *c = job_of(j);
  csn_err err = {0};
  const csn_json *question, *answer = NULL;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1 << 20), text = CSN_BUF(4096);
  int rc = csn_json_parse(c->arena, c->question, &question, &err);
  if (rc == 0)
    rc = csn_json_parse(c->arena, csn_str_trim(csn_json_str(question, "output", CSN_STR(""))),
                        &answer, &err);
  if (rc < 0)
    csn_wrap(&err, rc, "the answer is no JSON");
  else
    rc = csn_schema_check(c->agent->output_schema, answer, "answer", &err);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "effect");
  csn_jw_int(&w, j->seq);
  csn_jw_key(&w, "valid");
  csn_jw_bool(&w, rc == 0);
  if (rc < 0) {
    member(&w, "message", csn_cstr(err.msg));
    csn_buf_addf(&text,
                 "Your answer does not fit the schema it must have: %s. Answer again with nothing "
                 "but a JSON value that fits.",
                 err.msg);
    csn_jw_key(&w, "items");
    csn_jw_arr(&w);
    csn_item_user(&w, csn_buf_str(&text));
    csn_jw_end(&w);
  }
  csn_jw_end(&w);
  return csn_run_deliver(j->run, CSN_EV_CALLBACK_RETURNED, csn_buf_str(&b), true);
}

static csn_job *
perform(csn_job *j)
{
  struct callback_job *c = job_of(j);
  csn_run *r = j->run;
  csn_err err = {0};
  const csn_json *answer = NULL;
  csn_pool_wait_begin(r->rt->pool);
  int rc = ask_all(c, &answer, &err);
  csn_pool_wait_end(r->rt->pool);
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(256u << 20);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "effect");
  csn_jw_int(&w, j->seq);
  if (rc == 0)
    rc = csn_wrap(&err, take_answer(c, &w, answer, &err), "callback");
  if (rc == 0 && c->purpose == CSN_FOR_TOOL_OUTPUT)
    write_item(c, &w, answer);
  if (rc == 0 && c->purpose == CSN_FOR_ADDED && !csn_json_bool(answer, "trip", false)) {
    csn_jw_key(&w, "items");
    csn_jw_raw(&w, c->item);
  }
  csn_jw_end(&w);
  if (rc == 0)
    rc = csn_jw_done(&w, &err);
  if (rc < 0)
    return csn_run_deliver_error(r, CSN_EV_CALLBACK_RETURNED, j->seq, &err, true);
  return csn_run_deliver(r, CSN_EV_CALLBACK_RETURNED, csn_buf_str(&b), true);
}

csn_job *
csn_callback_job_new(csn_run *r, const csn_pending *p)
{
  struct callback_job *c = csn_alloc(sizeof *c);
  c->base.fn = p->purpose == CSN_FOR_SCHEMA ? check_schema : perform;
  c->base.free = job_free;
  c->base.cancel = job_cancel;
  c->arena = csn_arena_new(0);
  c->purpose = p->purpose;
  c->agent = csn_run_agent(r);
  c->is_custom = p->is_custom;
  c->call_id = csn_arena_dup(c->arena, csn_cstr(p->call_id));
  if (csn_json_parse(c->arena, csn_arena_dup(c->arena, csn_cstr(p->callbacks)), &c->names, NULL) <
      0)
    c->names = NULL;
  c->base.run = r;
  write_question(c, r, p);
  csn_scope_init(&c->scope, &r->scope, -1);
  if (p->is_cancelled)
    csn_scope_mark(&c->scope);
  return &c->base;
}
