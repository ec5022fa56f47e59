/* SPDX-License-Identifier: Apache-2.0
 *
 * chat_reply.c - Chat Completions: replies, plain and streamed.
 *
 * Both forms fill one `answer` (text, refusal, reasoning, calls), which
 * finish() turns into items: reasoning, message, calls.  Many servers speak
 * this protocol loosely, so what can be understood is: content as a list of
 * parts, arguments as an object, calls without index or id or with one index
 * for all, a missing "[DONE]" after a finish_reason and the reverse.  A call
 * without an id, or with one that occurred before, gets one made from the
 * length of the conversation and its place, the same in every replay.
 */
#include "model/backend/chat.h"
#include "model/items.h"
#include "model/reply.h"

enum { TEXT_MAX = 64 << 20, CALLS_MAX = 256 };

struct call {
  int64_t index; /* the server's; -1: none given */
  csn_buf id, name, arguments;
};

struct csn_decoder {
  csn_reply reply; /* first */
  csn_buf text, refusal, reasoning;
  struct call *calls;
  size_t n_calls;
  csn_buf finish_reason;
};

static csn_decoder *
decoder_of(csn_reply *r)
{
  return (csn_decoder *)r;
}

/* A content: text, or a list of parts with texts. */
static void
add_content(csn_decoder *d, csn_buf *to, enum csn_delta_kind kind, const csn_json *v)
{
  if (csn_json_is(v, CSN_JSON_STRING)) {
    csn_buf_add(to, v->text);
    csn_reply_delta(&d->reply, kind, v->text);
  } else if (csn_json_is(v, CSN_JSON_ARRAY)) {
    csn_json_each (part, v)
      add_content(d, to, kind,
                  csn_json_is(part, CSN_JSON_STRING) ? part : csn_json_get(part, "text"));
  }
}

/* The call that a fragment of a stream belongs to, or NULL for a new one. */
static struct call *
call_of(csn_decoder *d, const csn_json *v, csn_str id, csn_str name)
{
  int64_t index = csn_json_int(v, "index", -1);
  struct call *last = d->n_calls ? &d->calls[d->n_calls - 1] : NULL;
  struct call *hit = NULL;
  if (index >= 0) {
    for (size_t i = d->n_calls; i-- > 0 && !hit;)
      if (d->calls[i].index == index)
        hit = &d->calls[i];
  } else if (last && !name.n) {
    hit = last; /* more arguments, without saying of what */
  } else if (last && id.n && csn_str_eq(csn_buf_str(&last->id), id)) {
    hit = last;
  }
  /* One index for several calls: the id tells them apart. */
  if (hit && id.n && hit->id.n && !csn_str_eq(csn_buf_str(&hit->id), id))
    hit = NULL;
  return hit;
}

static struct call *
new_call(csn_decoder *d, const csn_json *v)
{
  if (!d->calls)
    d->calls = csn_alloc(CALLS_MAX * sizeof *d->calls);
  if (d->n_calls == CALLS_MAX)
    return NULL;
  struct call *c = &d->calls[d->n_calls++];
  *c = (struct call){.index = csn_json_int(v, "index", -1),
                     .id = CSN_BUF(TEXT_MAX),
                     .name = CSN_BUF(TEXT_MAX),
                     .arguments = CSN_BUF(TEXT_MAX)};
  return c;
}

static int
add_call(csn_decoder *d, const csn_json *v, csn_err *err)
{
  const csn_json *fn = csn_json_get(v, "function");
  const csn_json *arguments = csn_json_get(fn, "arguments");
  csn_str id = csn_json_str(v, "id", CSN_STR("")), name = csn_json_str(fn, "name", CSN_STR(""));
  struct call *c = d->reply.form == CSN_FORM_EVENTS ? call_of(d, v, id, name) : NULL;
  if (!c)
    c = new_call(d, v);
  if (!c)
    return csn_fail(err, CSN_E_LIMIT, "the model's reply has more than %d tool calls", CALLS_MAX);
  if (!c->id.n)
    csn_buf_add(&c->id, id);
  /* Some servers repeat the name in each fragment, some spread it. */
  if (!csn_str_eq(csn_buf_str(&c->name), name) && !c->arguments.n)
    csn_buf_add(&c->name, name);
  if (!arguments || arguments->kind == CSN_JSON_NULL)
    return 0;
  bool is_text = arguments->kind == CSN_JSON_STRING;
  csn_str text = is_text ? arguments->text : arguments->raw;
  csn_buf_add(&c->arguments, text);
  csn_reply_delta(&d->reply, CSN_DELTA_ARGUMENTS, text);
  return 0;
}

static void
read_usage(csn_usage *u, const csn_json *v)
{
  u->input_tokens = csn_json_int(v, "prompt_tokens", 0);
  u->cached_tokens = csn_json_int(csn_json_get(v, "prompt_tokens_details"), "cached_tokens",
                                  csn_json_int(v, "prompt_cache_hit_tokens", 0));
  u->output_tokens = csn_json_int(v, "completion_tokens", 0);
  u->reasoning_tokens =
      csn_json_int(csn_json_get(v, "completion_tokens_details"), "reasoning_tokens", 0);
  u->total_tokens = csn_json_int(v, "total_tokens", u->input_tokens + u->output_tokens);
}

/* "message" of a plain reply or "delta" of a chunk. */
static int
read_message(csn_decoder *d, const csn_json *m, csn_err *err)
{
  const csn_json *thought = csn_json_get(m, "reasoning_content");
  if (!thought || thought->kind == CSN_JSON_NULL)
    thought = csn_json_get(m, "reasoning");
  add_content(d, &d->reasoning, CSN_DELTA_REASONING, thought);
  add_content(d, &d->text, CSN_DELTA_TEXT, csn_json_get(m, "content"));
  add_content(d, &d->refusal, CSN_DELTA_REFUSAL, csn_json_get(m, "refusal"));
  csn_json_each (call, csn_json_get(m, "tool_calls")) {
    int rc = add_call(d, call, err);
    if (rc < 0)
      return rc;
  }
  return 0;
}

static int
on_event(csn_reply *r, csn_str event, const csn_json *v, csn_err *err)
{
  csn_decoder *d = decoder_of(r);
  const csn_json *error = csn_json_get(v, "error"), *choices = csn_json_get(v, "choices");
  const csn_json *choice = NULL, *usage = csn_json_get(v, "usage");
  csn_json_each (c, choices) /* of several answers the first counts */
    if (!choice && csn_json_int(c, "index", 0) == 0)
      choice = c;
  if (!error || error->kind == CSN_JSON_NULL)
    error = csn_json_get(choice, "error");
  if (error && error->kind != CSN_JSON_NULL)
    return csn_reply_fail(r, error, "no reason given", err);
  if (csn_str_eq(event, CSN_STR("error")))
    return csn_reply_fail(r, v, "no reason given", err);
  if (csn_json_is(usage, CSN_JSON_OBJECT))
    read_usage(&r->out.usage, usage);
  if (r->form == CSN_FORM_JSON && !choice)
    return csn_fail(err, CSN_E_UNAVAILABLE, "the model's reply has no choices");
  const csn_json *m = csn_json_get(choice, "message");
  int rc = read_message(d, m ? m : csn_json_get(choice, "delta"), err);
  csn_str reason = csn_json_str(choice, "finish_reason", CSN_STR(""));
  if (reason.n && !d->finish_reason.n)
    csn_buf_add(&d->finish_reason, reason);
  return rc;
}

csn_decoder *
csn_chat_decoder(csn_arena *arena, const csn_reply_head *head, const csn_model_request *rq,
                 csn_delta_fn *fn, void *user)
{
  csn_decoder *d = csn_alloc(sizeof *d);
  csn_reply_init(&d->reply, arena, head, rq, fn, user, on_event);
  d->text = d->refusal = d->reasoning = CSN_BUF(TEXT_MAX);
  d->finish_reason = CSN_BUF(1000);
  return d;
}

int
csn_chat_feed(csn_decoder *d, csn_str bytes, csn_err *err)
{
  return csn_reply_feed(&d->reply, bytes, err);
}

static int
add_reasoning(csn_decoder *d, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(2 * (size_t)TEXT_MAX);
  csn_buf_addz(&b, "{\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\",\"text\":");
  csn_json_quote(&b, csn_buf_str(&d->reasoning));
  csn_buf_addz(&b, "}]}");
  return csn_reply_add(&d->reply, csn_buf_str(&b), err);
}

static int
add_message(csn_decoder *d, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(2 * (size_t)TEXT_MAX);
  csn_buf_addz(&b, "{\"type\":\"message\",\"role\":\"assistant\",\"status\":\"completed\","
                   "\"content\":[");
  if (d->text.n || !d->refusal.n) {
    csn_buf_addz(&b, "{\"type\":\"output_text\",\"annotations\":[],\"text\":");
    csn_json_quote(&b, csn_buf_str(&d->text));
    csn_buf_addc(&b, '}');
  }
  if (d->refusal.n) {
    csn_buf_addz(&b, d->text.n ? "," : "");
    csn_buf_addz(&b, "{\"type\":\"refusal\",\"refusal\":");
    csn_json_quote(&b, csn_buf_str(&d->refusal));
    csn_buf_addc(&b, '}');
  }
  csn_buf_addz(&b, "]}");
  return csn_reply_add(&d->reply, csn_buf_str(&b), err);
}

static bool
was_used_before(const csn_decoder *d, size_t k)
{
  for (size_t i = 0; i < k; i++)
    if (csn_str_eq(csn_buf_str(&d->calls[i].id), csn_buf_str(&d->calls[k].id)))
      return true;
  return false;
}

static int
add_function_call(csn_decoder *d, size_t k, csn_err *err)
{
  struct call *c = &d->calls[k];
  csn_reply *r = &d->reply;
  if (!c->name.n)
    return csn_fail(err, CSN_E_UNAVAILABLE, "the model's reply has a tool call without a name");
  if (!c->id.n || was_used_before(d, k)) {
    csn_buf_clear(&c->id);
    csn_buf_addf(&c->id, "call_%zu_%zu", r->rq->n_items, k);
  }
  csn_str arguments = c->arguments.n ? csn_buf_str(&c->arguments) : CSN_STR("{}");
  csn_str name = csn_buf_str(&c->name), id = csn_buf_str(&c->id);
  if (csn_item_custom_tool(r->rq, name))
    return csn_reply_add(r, csn_item_custom_call(r->scratch, id, name, arguments), err);
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(2 * (size_t)TEXT_MAX);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "type");
  csn_jw_str(&w, CSN_STR("function_call"));
  csn_jw_key(&w, "call_id");
  csn_jw_str(&w, id);
  csn_jw_key(&w, "name");
  csn_jw_str(&w, name);
  csn_jw_key(&w, "arguments");
  csn_jw_str(&w, arguments);
  csn_jw_key(&w, "status");
  csn_jw_str(&w, CSN_STR("completed"));
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  return rc < 0 ? rc : csn_reply_add(r, csn_buf_str(&b), err);
}

/* What a finish_reason says about an answer that looks whole. */
static int
check_reason(csn_decoder *d, csn_err *err)
{
  csn_str reason = csn_buf_str(&d->finish_reason);
  bool is_empty = !d->text.n && !d->refusal.n && !d->n_calls;
  if (csn_str_eq(reason, CSN_STR("content_filter")) && is_empty)
    csn_buf_addz(&d->refusal, "The provider's content filter withheld the answer.");
  if (csn_str_eq(reason, CSN_STR("error")))
    return csn_fail(err, CSN_E_UNAVAILABLE, "the model's provider failed without a reason");
  if (!csn_str_eq(reason, CSN_STR("length")))
    return 0;
  if (is_empty)
    return csn_fail(err, CSN_E_MODEL,
                    "the model used all of its max_tokens without an answer; allow more");
  const csn_json *v;
  csn_arena_clear(d->reply.scratch);
  struct call *last = d->n_calls ? &d->calls[d->n_calls - 1] : NULL;
  if (last && last->arguments.n &&
      csn_json_parse(d->reply.scratch, csn_buf_str(&last->arguments), &v, NULL) < 0)
    return csn_fail(err, CSN_E_MODEL,
                    "the model reached its max_tokens inside a tool call; allow more");
  return 0;
}

static int
check_sizes(const csn_decoder *d, csn_err *err)
{
  const csn_buf *texts[] = {&d->text, &d->refusal, &d->reasoning, &d->finish_reason};
  int rc = 0;
  for (size_t i = 0; i < CSN_COUNT(texts) && rc == 0; i++)
    rc = csn_buf_done(texts[i], "the model's reply", err);
  for (size_t i = 0; i < d->n_calls && rc == 0; i++)
    rc = d->calls[i].id.over || d->calls[i].name.over || d->calls[i].arguments.over
             ? csn_fail(err, CSN_E_LIMIT, "a tool call of the model is too large")
             : 0;
  return rc;
}

int
csn_chat_finish(csn_decoder *d, csn_model_reply *out, csn_err *err)
{
  csn_reply *r = &d->reply;
  int rc = csn_reply_end(r, err);
  if (rc == 0 && r->form != CSN_FORM_JSON && !d->finish_reason.n && !r->saw_done_mark)
    rc = csn_reply_cut(r, err);
  if (rc == 0)
    rc = check_sizes(d, err);
  if (rc == 0)
    rc = check_reason(d, err);
  if (rc == 0 && d->reasoning.n)
    rc = add_reasoning(d, err);
  if (rc == 0 && (d->text.n || d->refusal.n || !d->n_calls))
    rc = add_message(d, err);
  for (size_t i = 0; i < d->n_calls && rc == 0; i++)
    rc = add_function_call(d, i, err);
  if (rc == 0)
    *out = r->out;
  return rc;
}

void
csn_chat_close(csn_decoder *d)
{
  for (size_t i = 0; i < d->n_calls; i++) {
    csn_buf_fini(&d->calls[i].id);
    csn_buf_fini(&d->calls[i].name);
    csn_buf_fini(&d->calls[i].arguments);
  }
  free(d->calls);
  csn_buf_fini(&d->text);
  csn_buf_fini(&d->refusal);
  csn_buf_fini(&d->reasoning);
  csn_buf_fini(&d->finish_reason);
  csn_reply_fini(&d->reply);
  free(d);
}
