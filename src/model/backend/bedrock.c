/* SPDX-License-Identifier: Apache-2.0
 *
 * bedrock.c - Amazon Bedrock: InvokeModel with the body of the Messages API.
 *
 * The body is that of anthropic.c without the model, which is a part of the
 * path.  A stream is framed (wire/aws_events.h): each chunk holds an event of
 * the Messages API in base64 and is given to that decoder as one; exceptions
 * become its error events.
 */
#include "core/hash.h"
#include "model/backend/anthropic.h"
#include "model/backends.h"
#include "wire/aws_events.h"

enum { MESSAGE_MAX = 16 << 20, PATH_MAX_BYTES = 4096 };

static int
encode(const csn_endpoint *ep, const csn_model_request *rq, csn_buf *body, csn_buf *path,
       csn_err *err)
{
  csn_buf_addz(path, "/model/");
  for (size_t i = 0; i < rq->model.n; i++) {
    unsigned char c = (unsigned char)rq->model.p[i];
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 c == '-' || c == '_' || c == '.' || c == '~';
    if (plain)
      csn_buf_addc(path, (char)c);
    else
      csn_buf_addf(path, "%%%02X", c);
  }
  csn_buf_addz(path, rq->stream ? "/invoke-with-response-stream" : "/invoke");
  (void)ep;
  return csn_anthropic_body(rq, "bedrock-2023-05-31", body, err);
}

struct csn_decoder {
  csn_decoder *inner; /* of the Messages API */
  bool is_framed;
  csn_aws_events frames;
  csn_arena *scratch;
  csn_err *err; /* of the feed that runs */
  int fault;
  csn_err fault_err;
};

/* One event as the Messages API streams it. */
static int
pass_on(csn_decoder *d, csn_str event)
{
  int rc = csn_anthropic_feed(d->inner, CSN_STR("data: "), d->err);
  csn_str line;
  while (rc == 0 && csn_str_line(&event, &line))
    rc = csn_anthropic_feed(d->inner, line, d->err);
  return rc < 0 ? rc : csn_anthropic_feed(d->inner, CSN_STR("\n\n"), d->err);
}

/* "throttlingException" and what it says. */
static int
pass_on_error(csn_decoder *d, csn_str name, csn_str text)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(MESSAGE_MAX);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "type");
  csn_jw_strz(&w, "error");
  csn_jw_key(&w, "error");
  csn_jw_obj(&w);
  csn_jw_key(&w, "type");
  csn_jw_str(&w, name.n ? name : CSN_STR("error"));
  csn_jw_key(&w, "message");
  csn_jw_str(&w, text);
  csn_jw_end(&w);
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, d->err);
  return rc < 0 ? rc : pass_on(d, csn_buf_str(&b));
}

static int
on_message(void *user, const csn_aws_message *m)
{
  csn_decoder *d = user;
  const csn_json *v = NULL;
  csn_arena_clear(d->scratch);
  int rc = m->payload.n ? csn_json_parse(d->scratch, m->payload, &v, d->err) : 0;
  if (rc == CSN_E_PARSE)
    rc = csn_fail(d->err, CSN_E_UNAVAILABLE, "the model's stream holds a message that is no JSON");
  if (rc < 0)
    return rc;
  if (!csn_str_eq(m->type, CSN_STR("event")))
    return pass_on_error(d, m->name, csn_json_str(v, "message", m->error));
  if (!csn_str_eq(m->name, CSN_STR("chunk")))
    return 0;
  csn_auto(csn_buf_finip) csn_buf event = CSN_BUF(MESSAGE_MAX);
  if (!csn_base64_decode(&event, csn_json_str(v, "bytes", CSN_STR(""))) || event.over)
    return csn_fail(d->err, CSN_E_UNAVAILABLE,
                    "the model's stream holds a chunk that is no base64");
  return pass_on(d, csn_buf_str(&event));
}

static csn_decoder *
decoder(csn_arena *arena, const csn_reply_head *head, const csn_model_request *rq, csn_delta_fn *fn,
        void *user)
{
  csn_decoder *d = csn_alloc(sizeof *d);
  csn_reply_head inner = *head;
  d->is_framed = head->status >= 200 && head->status < 300 &&
                 csn_str_find(head->content_type, CSN_STR("vnd.amazon.eventstream"), 0) != SIZE_MAX;
  if (d->is_framed)
    inner.content_type = CSN_STR("text/event-stream");
  d->inner = csn_anthropic_decoder(arena, &inner, rq, fn, user);
  d->scratch = csn_arena_new(0);
  csn_aws_events_init(&d->frames, MESSAGE_MAX, on_message, d);
  return d;
}

static int
feed(csn_decoder *d, csn_str bytes, csn_err *err)
{
  if (!d->is_framed)
    return csn_anthropic_feed(d->inner, bytes, err);
  if (d->fault == 0) {
    d->err = &d->fault_err;
    d->fault = csn_aws_events_feed(&d->frames, bytes, d->err);
    if (d->fault == CSN_E_PARSE) /* a proxy's page, or bytes that were lost */
      d->fault_err.code = (enum csn_code)(d->fault = CSN_E_UNAVAILABLE);
  }
  if (d->fault < 0 && err)
    *err = d->fault_err;
  return d->fault;
}

static int
finish(csn_decoder *d, csn_model_reply *out, csn_err *err)
{
  if (d->fault < 0)
    return feed(d, CSN_STR(""), err);
  return csn_anthropic_finish(d->inner, out, err);
}

static void
close_decoder(csn_decoder *d)
{
  csn_anthropic_close(d->inner);
  csn_aws_events_fini(&d->frames);
  csn_arena_free(d->scratch);
  free(d);
}

static const char *const rare_settings[] = {"prompt_cache_retention", NULL};

const csn_model_ops csn_model_bedrock = {
    .size = sizeof(csn_model_ops),
    .name = "bedrock",
    .settings = rare_settings,
    .caches_by_mark = true,
    .encode = encode,
    .decoder = decoder,
    .feed = feed,
    .finish = finish,
    .close = close_decoder,
};
