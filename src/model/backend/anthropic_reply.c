/* SPDX-License-Identifier: Apache-2.0
 *
 * anthropic_reply.c - the Messages API: replies, plain and streamed.
 *
 * A plain reply is a list of blocks; a stream announces each block, sends its
 * text, arguments or signature in deltas, and ends with message_stop.  Event
 * kinds and block types that are not known are passed over, as the API's
 * versioning rules ask.
 */
#include "model/answer.h"
#include "model/backend/anthropic.h"

struct csn_decoder {
  csn_reply reply; /* first */
  csn_answer answer;
  csn_buf stop_reason;
};

static csn_decoder *
decoder_of(csn_reply *r)
{
  return (csn_decoder *)r;
}

/* Input is told in three parts: read from the cache, written to it, neither.
 * Later events repeat what they know, so a member replaces what was there. */
static void
read_usage(csn_usage *u, const csn_json *v)
{
  int64_t cached = csn_json_int(v, "cache_read_input_tokens", u->cached_tokens);
  u->cache_write_tokens = csn_json_int(v, "cache_creation_input_tokens", u->cache_write_tokens);
  u->cache_write_1h_tokens = csn_json_int(csn_json_get(v, "cache_creation"),
                                          "ephemeral_1h_input_tokens", u->cache_write_1h_tokens);
  if (csn_json_get(v, "input_tokens"))
    u->input_tokens = csn_json_int(v, "input_tokens", 0) + cached + u->cache_write_tokens;
  u->cached_tokens = cached;
  u->output_tokens = csn_json_int(v, "output_tokens", u->output_tokens);
  u->total_tokens = u->input_tokens + u->output_tokens;
}

static void
say(csn_decoder *d, csn_piece *p, csn_str text)
{
  static const enum csn_delta_kind kinds[] = {[CSN_PIECE_THOUGHT] = CSN_DELTA_REASONING,
                                              [CSN_PIECE_TEXT] = CSN_DELTA_TEXT,
                                              [CSN_PIECE_REFUSAL] = CSN_DELTA_REFUSAL,
                                              [CSN_PIECE_CALL] = CSN_DELTA_ARGUMENTS};
  csn_buf_add(&p->text, text);
  csn_reply_delta(&d->reply, kinds[p->kind], text);
}

/* A block, whole or as the stream announces it. */
static int
read_block(csn_decoder *d, const csn_json *v, int64_t index, csn_err *err)
{
  csn_str type = csn_json_str(v, "type", CSN_STR(""));
  enum csn_piece_kind kind = CSN_PIECE_TEXT;
  bool is_hidden = csn_str_eq(type, CSN_STR("redacted_thinking"));
  if (csn_str_eq(type, CSN_STR("thinking")) || is_hidden)
    kind = CSN_PIECE_THOUGHT;
  else if (csn_str_eq(type, CSN_STR("tool_use")))
    kind = CSN_PIECE_CALL;
  else if (!csn_str_eq(type, CSN_STR("text")))
    return 0;
  csn_piece *p = csn_answer_add(&d->answer, kind, index, err);
  if (!p)
    return CSN_E_LIMIT;
  p->is_hidden = is_hidden;
  if (kind == CSN_PIECE_CALL) {
    const csn_json *input = csn_json_get(v, "input");
    csn_buf_add(&p->id, csn_json_str(v, "id", CSN_STR("")));
    csn_buf_add(&p->name, csn_json_str(v, "name", CSN_STR("")));
    /* A stream announces {} and sends the text of the input after it. */
    if (input && (d->reply.form == CSN_FORM_JSON || input->n))
      say(d, p, input->raw);
  } else {
    say(d, p, csn_json_str(v, kind == CSN_PIECE_TEXT ? "text" : "thinking", CSN_STR("")));
    csn_buf_add(&p->seal, csn_json_str(v, is_hidden ? "data" : "signature", CSN_STR("")));
  }
  return 0;
}

static void
read_delta(csn_decoder *d, const csn_json *v)
{
  csn_piece *p = csn_answer_find(&d->answer, csn_json_int(v, "index", -1));
  const csn_json *delta = csn_json_get(v, "delta");
  csn_str type = csn_json_str(delta, "type", CSN_STR(""));
  if (!p)
    return;
  if (csn_str_eq(type, CSN_STR("text_delta")) && p->kind == CSN_PIECE_TEXT)
    say(d, p, csn_json_str(delta, "text", CSN_STR("")));
  else if (csn_str_eq(type, CSN_STR("input_json_delta")) && p->kind == CSN_PIECE_CALL)
    say(d, p, csn_json_str(delta, "partial_json", CSN_STR("")));
  else if (csn_str_eq(type, CSN_STR("thinking_delta")) && p->kind == CSN_PIECE_THOUGHT)
    say(d, p, csn_json_str(delta, "thinking", CSN_STR("")));
  else if (csn_str_eq(type, CSN_STR("signature_delta")) && p->kind == CSN_PIECE_THOUGHT)
    csn_buf_add(&p->seal, csn_json_str(delta, "signature", CSN_STR("")));
}

static void
read_stop(csn_decoder *d, const csn_json *v)
{
  csn_str reason = csn_json_str(v, "stop_reason", CSN_STR(""));
  if (reason.n && !d->stop_reason.n)
    csn_buf_add(&d->stop_reason, reason);
}

/* The whole reply, or the head of a streamed one. */
static int
read_message(csn_decoder *d, const csn_json *v, csn_err *err)
{
  d->reply.out.response_id = csn_arena_dup(d->reply.arena, csn_json_str(v, "id", CSN_STR("")));
  read_usage(&d->reply.out.usage, csn_json_get(v, "usage"));
  read_stop(d, v);
  int64_t index = 0;
  csn_json_each (block, csn_json_get(v, "content")) {
    int rc = read_block(d, block, index++, err);
    if (rc < 0)
      return rc;
  }
  return 0;
}

static int
on_event(csn_reply *r, csn_str event, const csn_json *v, csn_err *err)
{
  csn_decoder *d = decoder_of(r);
  csn_str type = csn_json_str(v, "type", event);
  if (csn_str_eq(type, CSN_STR("error")) || csn_json_is(csn_json_get(v, "error"), CSN_JSON_OBJECT))
    return csn_reply_fail(r, csn_json_get(v, "error"), "no reason given", err);
  if (r->form == CSN_FORM_JSON) {
    if (!csn_json_is(csn_json_get(v, "content"), CSN_JSON_ARRAY))
      return csn_fail(err, CSN_E_UNAVAILABLE, "the model's reply has no content");
    r->is_done = true;
    return read_message(d, v, err);
  }
  if (csn_str_eq(type, CSN_STR("message_start")))
    return read_message(d, csn_json_get(v, "message"), err);
  if (csn_str_eq(type, CSN_STR("content_block_start")))
    return read_block(d, csn_json_get(v, "content_block"), csn_json_int(v, "index", -1), err);
  if (csn_str_eq(type, CSN_STR("content_block_delta"))) {
    read_delta(d, v);
  } else if (csn_str_eq(type, CSN_STR("message_delta"))) {
    read_stop(d, csn_json_get(v, "delta"));
    read_usage(&r->out.usage, csn_json_get(v, "usage"));
  } else if (csn_str_eq(type, CSN_STR("message_stop"))) {
    r->is_done = true;
  }
  return 0;
}

csn_decoder *
csn_anthropic_decoder(csn_arena *arena, const csn_reply_head *head, const csn_model_request *rq,
                      csn_delta_fn *fn, void *user)
{
  csn_decoder *d = csn_alloc(sizeof *d);
  csn_reply_init(&d->reply, arena, head, rq, fn, user, on_event);
  d->answer.api = CSN_ANTHROPIC;
  d->stop_reason = CSN_BUF(1000);
  return d;
}

int
csn_anthropic_feed(csn_decoder *d, csn_str bytes, csn_err *err)
{
  return csn_reply_feed(&d->reply, bytes, err);
}

static int
check_stop(csn_decoder *d, csn_err *err)
{
  csn_str reason = csn_buf_str(&d->stop_reason);
  if (csn_str_eq(reason, CSN_STR("max_tokens")))
    return csn_answer_limit(&d->answer, d->reply.scratch, err);
  if (csn_str_eq(reason, CSN_STR("model_context_window_exceeded")))
    return csn_fail(err, CSN_E_MODEL,
                    "the model failed (context_length_exceeded): the conversation does not fit");
  if (csn_str_eq(reason, CSN_STR("refusal")) && !csn_answer_says_something(&d->answer)) {
    csn_piece *p = csn_answer_add(&d->answer, CSN_PIECE_REFUSAL, -1, err);
    if (!p)
      return CSN_E_LIMIT;
    csn_buf_addz(&p->text, "The model refused to answer.");
  }
  return 0;
}

/* What a refused reply said before it was stopped is not an answer. */
static void
mark_refusal(csn_decoder *d)
{
  if (csn_str_eq(csn_buf_str(&d->stop_reason), CSN_STR("refusal")))
    for (size_t i = 0; i < d->answer.n; i++)
      if (d->answer.v[i].kind == CSN_PIECE_TEXT)
        d->answer.v[i].kind = CSN_PIECE_REFUSAL;
}

int
csn_anthropic_finish(csn_decoder *d, csn_model_reply *out, csn_err *err)
{
  csn_reply *r = &d->reply;
  int rc = csn_reply_end(r, err);
  out->usage = r->out.usage;
  if (rc == 0 && !r->is_done)
    rc = csn_reply_cut(r, err);
  if (rc == 0)
    rc = check_stop(d, err);
  mark_refusal(d);
  return rc < 0 ? rc : csn_answer_finish(&d->answer, r, out, err);
}

void
csn_anthropic_close(csn_decoder *d)
{
  csn_answer_fini(&d->answer);
  csn_buf_fini(&d->stop_reason);
  csn_reply_fini(&d->reply);
  free(d);
}
