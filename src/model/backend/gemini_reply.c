/* SPDX-License-Identifier: Apache-2.0
 *
 * gemini_reply.c - the Gemini API: replies, plain and streamed.
 *
 * A stream is a list of replies of the same form, each with more parts; text
 * goes on where the part before was text too.  Calls come whole.  The stream
 * has no last event: it is whole when a finishReason or a block was seen.
 */
#include "model/answer.h"
#include "model/backend/gemini.h"

struct csn_decoder {
  csn_reply reply; /* first */
  csn_answer answer;
  csn_buf finish_reason, block_reason;
};

static csn_decoder *
decoder_of(csn_reply *r)
{
  return (csn_decoder *)r;
}

static void
read_usage(csn_usage *u, const csn_json *v)
{
  if (!v)
    return;
  u->input_tokens = csn_json_int(v, "promptTokenCount", u->input_tokens);
  u->cached_tokens = csn_json_int(v, "cachedContentTokenCount", u->cached_tokens);
  u->reasoning_tokens = csn_json_int(v, "thoughtsTokenCount", u->reasoning_tokens);
  u->output_tokens = csn_json_int(v, "candidatesTokenCount", 0) + u->reasoning_tokens;
  u->total_tokens = csn_json_int(v, "totalTokenCount", u->input_tokens + u->output_tokens);
}

static int
read_part(csn_decoder *d, const csn_json *v, csn_err *err)
{
  csn_piece *p;
  const csn_json *call = csn_json_get(v, "functionCall"), *text = csn_json_get(v, "text");
  csn_str seal = csn_json_str(v, "thoughtSignature", CSN_STR(""));
  if (call) {
    const csn_json *args = csn_json_get(call, "args");
    csn_str id = csn_json_str(call, "id", CSN_STR(""));
    p = csn_answer_add(&d->answer, CSN_PIECE_CALL, -1, err);
    if (!p)
      return CSN_E_LIMIT;
    p->has_id = id.n > 0;
    csn_buf_add(&p->id, id);
    csn_buf_add(&p->name, csn_json_str(call, "name", CSN_STR("")));
    csn_buf_add(&p->text, args ? args->raw : CSN_STR("{}"));
    csn_reply_delta(&d->reply, CSN_DELTA_ARGUMENTS, csn_buf_str(&p->text));
  } else if (csn_json_is(text, CSN_JSON_STRING)) {
    bool is_thought = csn_json_bool(v, "thought", false);
    p = csn_answer_go_on(&d->answer, is_thought ? CSN_PIECE_THOUGHT : CSN_PIECE_TEXT, err);
    if (!p)
      return CSN_E_LIMIT;
    csn_buf_add(&p->text, text->text);
    csn_reply_delta(&d->reply, is_thought ? CSN_DELTA_REASONING : CSN_DELTA_TEXT, text->text);
  } else {
    return 0; /* code execution, inline data: nothing an agent acts on */
  }
  if (seal.n) {
    csn_buf_clear(&p->seal);
    csn_buf_add(&p->seal, seal);
  }
  return 0;
}

static void
keep_once(csn_buf *to, csn_str s)
{
  if (s.n && !to->n)
    csn_buf_add(to, s);
}

static int
on_event(csn_reply *r, csn_str event, const csn_json *v, csn_err *err)
{
  csn_decoder *d = decoder_of(r);
  (void)event;
  if (csn_json_is(v, CSN_JSON_ARRAY)) { /* a stream without alt=sse */
    csn_json_each (m, v) {
      int rc = on_event(r, event, m, err);
      if (rc < 0)
        return rc;
    }
    return 0;
  }
  if (csn_json_get(v, "error"))
    return csn_reply_fail(r, csn_json_get(v, "error"), "no reason given", err);
  csn_str id = csn_json_str(v, "responseId", CSN_STR(""));
  if (id.n && !r->out.response_id.n)
    r->out.response_id = csn_arena_dup(r->arena, id);
  read_usage(&r->out.usage, csn_json_get(v, "usageMetadata"));
  keep_once(&d->block_reason,
            csn_json_str(csn_json_get(v, "promptFeedback"), "blockReason", CSN_STR("")));
  const csn_json *first = csn_json_at(csn_json_get(v, "candidates"), 0);
  csn_json_each (part, csn_json_get(csn_json_get(first, "content"), "parts")) {
    int rc = read_part(d, part, err);
    if (rc < 0)
      return rc;
  }
  keep_once(&d->finish_reason, csn_json_str(first, "finishReason", CSN_STR("")));
  return 0;
}

csn_decoder *
csn_gemini_decoder(csn_arena *arena, const csn_reply_head *head, const csn_model_request *rq,
                   csn_delta_fn *fn, void *user)
{
  csn_decoder *d = csn_alloc(sizeof *d);
  csn_reply_init(&d->reply, arena, head, rq, fn, user, on_event);
  d->answer.api = CSN_GEMINI;
  d->finish_reason = d->block_reason = CSN_BUF(1000);
  return d;
}

int
csn_gemini_feed(csn_decoder *d, csn_str bytes, csn_err *err)
{
  return csn_reply_feed(&d->reply, bytes, err);
}

static int
refuse(csn_decoder *d, csn_str why, csn_err *err)
{
  csn_piece *p = csn_answer_add(&d->answer, CSN_PIECE_REFUSAL, -1, err);
  if (!p)
    return CSN_E_LIMIT;
  csn_buf_addf(&p->text, "The provider withheld the answer (%.*s).", (int)why.n, why.p);
  return 0;
}

static int
check_finish(csn_decoder *d, csn_err *err)
{
  static const char *const withheld[] = {
      "SAFETY", "RECITATION",   "BLOCKLIST", "PROHIBITED_CONTENT",
      "SPII",   "IMAGE_SAFETY", "LANGUAGE"};
  csn_str reason = csn_buf_str(&d->finish_reason);
  if (d->block_reason.n)
    return refuse(d, csn_buf_str(&d->block_reason), err);
  for (size_t i = 0; i < CSN_COUNT(withheld); i++)
    if (csn_str_eq(reason, csn_cstr(withheld[i])))
      return refuse(d, reason, err);
  if (csn_str_eq(reason, CSN_STR("MAX_TOKENS")))
    return csn_answer_limit(&d->answer, d->reply.scratch, err);
  /* The same request gives a well-formed call more often than not. */
  if (csn_str_eq(reason, CSN_STR("MALFORMED_FUNCTION_CALL")))
    return csn_fail(err, CSN_E_UNAVAILABLE, "the model wrote a malformed tool call");
  return 0;
}

int
csn_gemini_finish(csn_decoder *d, csn_model_reply *out, csn_err *err)
{
  csn_reply *r = &d->reply;
  int rc = csn_reply_end(r, err);
  out->usage = r->out.usage;
  if (rc == 0 && !d->finish_reason.n && !d->block_reason.n)
    rc = r->form == CSN_FORM_JSON
             ? csn_fail(err, CSN_E_UNAVAILABLE, "the model's reply has no finished candidate")
             : csn_reply_cut(r, err);
  if (rc == 0)
    rc = check_finish(d, err);
  return rc < 0 ? rc : csn_answer_finish(&d->answer, r, out, err);
}

void
csn_gemini_close(csn_decoder *d)
{
  csn_answer_fini(&d->answer);
  csn_buf_fini(&d->finish_reason);
  csn_buf_fini(&d->block_reason);
  csn_reply_fini(&d->reply);
  free(d);
}
