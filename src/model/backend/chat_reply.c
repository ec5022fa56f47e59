/* SPDX-License-Identifier: Apache-2.0
 *
 * chat_reply.c - Chat Completions: replies, plain and streamed.
 *
 * Both forms fill one answer (model/answer.h), which finish() turns into items:
 * reasoning, message, calls.  Many servers speak this protocol loosely, so what can be understood
 * is: content as a list of parts, arguments as an object, calls without index or id or with one
 * index for all, a missing "[DONE]" after a finish_reason and the reverse.
 */
#include "model/answer.h"
#include "model/backend/chat.h"

/* The pieces that are there from the start, so that thoughts, text and calls
 * stand in this order whenever they came. */
enum { THOUGHT, TEXT, REFUSAL, CALLS };

struct csn_decoder {
  csn_reply reply; /* first */
  csn_answer answer;
  csn_buf finish_reason;
  bool has_spoken; /* a message, or the start of one, was there */
};

static csn_decoder *
decoder_of(csn_reply *r)
{
  return (csn_decoder *)r;
}

/* A content: text, or a list of parts with texts. */
static void
add_content(csn_decoder *d, int piece, enum csn_delta_kind kind, const csn_json *v)
{
  if (csn_json_is(v, CSN_JSON_STRING)) {
    csn_buf_add(&d->answer.v[piece].text, v->text);
    csn_reply_delta(&d->reply, kind, v->text);
  } else if (csn_json_is(v, CSN_JSON_ARRAY)) {
    csn_json_each (part, v)
      add_content(d, piece, kind,
                  csn_json_is(part, CSN_JSON_STRING) ? part : csn_json_get(part, "text"));
  }
}

/* The call that a fragment of a stream belongs to, or NULL for a new one. */
static csn_piece *
call_of(csn_decoder *d, const csn_json *v, csn_str id, csn_str name)
{
  int64_t index = csn_json_int(v, "index", -1);
  csn_answer *a = &d->answer;
  csn_piece *last = a->n_calls ? &a->v[a->n - 1] : NULL, *hit = NULL;
  if (index >= 0) {
    hit = csn_answer_find(a, index);
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

static int
add_call(csn_decoder *d, const csn_json *v, csn_err *err)
{
  const csn_json *fn = csn_json_get(v, "function");
  const csn_json *arguments = csn_json_get(fn, "arguments");
  csn_str id = csn_json_str(v, "id", CSN_STR("")), name = csn_json_str(fn, "name", CSN_STR(""));
  csn_piece *c = d->reply.form == CSN_FORM_EVENTS ? call_of(d, v, id, name) : NULL;
  if (!c)
    c = csn_answer_add(&d->answer, CSN_PIECE_CALL, csn_json_int(v, "index", -1), err);
  if (!c)
    return CSN_E_LIMIT;
  if (!c->id.n)
    csn_buf_add(&c->id, id);
  /* Some servers repeat the name in each fragment, some spread it. */
  if (!csn_str_eq(csn_buf_str(&c->name), name) && !c->text.n)
    csn_buf_add(&c->name, name);
  if (!arguments || arguments->kind == CSN_JSON_NULL)
    return 0;
  bool is_text = arguments->kind == CSN_JSON_STRING;
  csn_str text = is_text ? arguments->text : arguments->raw;
  csn_buf_add(&c->text, text);
  csn_reply_delta(&d->reply, CSN_DELTA_ARGUMENTS, text);
  return 0;
}

static void
read_usage(csn_usage *u, const csn_json *v)
{
  u->input_tokens = csn_json_int(v, "prompt_tokens", 0);
  const csn_json *details = csn_json_get(v, "prompt_tokens_details");
  u->cached_tokens =
      csn_json_int(details, "cached_tokens", csn_json_int(v, "prompt_cache_hit_tokens", 0));
  u->cache_write_tokens = csn_json_int(details, "cache_write_tokens", 0);
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
  add_content(d, THOUGHT, CSN_DELTA_REASONING, thought);
  add_content(d, TEXT, CSN_DELTA_TEXT, csn_json_get(m, "content"));
  add_content(d, REFUSAL, CSN_DELTA_REFUSAL, csn_json_get(m, "refusal"));
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
  m = m ? m : csn_json_get(choice, "delta");
  d->has_spoken = d->has_spoken || (m && m->n > 0);
  int rc = read_message(d, m, err);
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
  static const enum csn_piece_kind kinds[CALLS] = {
      [THOUGHT] = CSN_PIECE_THOUGHT, [TEXT] = CSN_PIECE_TEXT, [REFUSAL] = CSN_PIECE_REFUSAL};
  for (size_t i = 0; i < CALLS; i++)
    (void)csn_answer_add(&d->answer, kinds[i], -1, NULL);
  d->finish_reason = CSN_BUF(1000);
  return d;
}

int
csn_chat_feed(csn_decoder *d, csn_str bytes, csn_err *err)
{
  return csn_reply_feed(&d->reply, bytes, err);
}

/* What a finish_reason says about an answer that looks whole. */
static int
check_reason(csn_decoder *d, csn_err *err)
{
  csn_str reason = csn_buf_str(&d->finish_reason);
  bool is_empty = !csn_answer_says_something(&d->answer);
  if (csn_str_eq(reason, CSN_STR("content_filter")) && is_empty)
    csn_buf_addz(&d->answer.v[REFUSAL].text, "The provider's content filter withheld the answer.");
  if (csn_str_eq(reason, CSN_STR("error")))
    return csn_fail(err, CSN_E_UNAVAILABLE, "the model's provider failed without a reason");
  if (!csn_str_eq(reason, CSN_STR("length")))
    return 0;
  return csn_answer_limit(&d->answer, d->reply.scratch, err);
}

int
csn_chat_finish(csn_decoder *d, csn_model_reply *out, csn_err *err)
{
  csn_reply *r = &d->reply;
  int rc = csn_reply_end(r, err);
  out->usage = r->out.usage;
  if (rc == 0 && r->form != CSN_FORM_JSON && !d->finish_reason.n && !r->saw_done_mark)
    rc = csn_reply_cut(r, err);
  /* A gateway whose server failed in the middle sends a whole stream of nothing:
   * not even a role, and no usage. */
  if (rc == 0 && !d->has_spoken && r->out.usage.total_tokens == 0)
    rc = csn_fail(err, CSN_E_UNAVAILABLE,
                  "the model's reply holds no message and counts no tokens; the server failed "
                  "without saying so");
  if (rc == 0)
    rc = check_reason(d, err);
  return rc < 0 ? rc : csn_answer_finish(&d->answer, r, out, err);
}

void
csn_chat_close(csn_decoder *d)
{
  csn_answer_fini(&d->answer);
  csn_buf_fini(&d->finish_reason);
  csn_reply_fini(&d->reply);
  free(d);
}
