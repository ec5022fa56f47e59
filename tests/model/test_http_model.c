/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP client, decoders and retry policy together, against servers that
 * behave, misbehave and break off: what a driver would see of each.
 */
#include "../wire/server.h"
#include "caisson/model.h"
#include "model/reply.h"
#include "model/retry.h"
#include "wire/http.h"

#define OK_JSON "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
#define OK_SSE "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
#define DELTA "event: response.output_text.delta\ndata: {\"delta\":\"Hi\"}\n\n"
#define ITEM "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[]}"
#define RESPONSE "{\"id\":\"r\",\"status\":\"completed\",\"output\":[" ITEM "]}"
#define CHAT "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n"

static const struct page pages[] = {
    {"/plain/responses", OK_JSON "Content-Length: 93\r\n\r\n" RESPONSE, KEEP, 0},
    {"/stream/responses",
     OK_SSE DELTA "event: response.completed\ndata: {\"response\":" RESPONSE "}\n\n", CLOSE, 0},
    {"/pieces/responses",
     OK_SSE DELTA "event: response.completed\ndata: {\"response\":" RESPONSE "}\n\n", CLOSE, 3},
    {"/open/responses",
     "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 999999\r\n\r\n" DELTA,
     CLOSE, 0},
    {"/cut/responses", OK_SSE DELTA "event: response.comple", CLOSE, 0},
    {"/garbage/responses", OK_SSE "data: {\"x\n\n", CLOSE, 0},
    {"/half/responses", OK_JSON "Content-Length: 9\r\n\r\n{\"output\"", CLOSE, 0},
    {"/page/responses",
     "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>", KEEP, 0},
    {"/failed/responses",
     OK_SSE DELTA "event: error\ndata: {\"code\":\"invalid_prompt\",\"message\":\"no\"}\n\n", CLOSE,
     0},
    {"/busy/responses",
     "HTTP/1.1 429 Slow\r\nRetry-After: 2\r\nContent-Length: "
     "25\r\n\r\n{\"error\":{\"message\":\"x\"}}\n",
     KEEP, 0},
    {"/firm/responses", "HTTP/1.1 503 No\r\nX-Should-Retry: false\r\nContent-Length: 2\r\n\r\nno",
     KEEP, 0},
    {"/key/responses", "HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno", KEEP, 0},
    {"/gone/responses", "", CLOSE, 0},
    {"/stream/chat/completions",
     OK_SSE CHAT "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
                 "data: [DONE]\n\n",
     CLOSE, 5},
    {"/cut/chat/completions", OK_SSE CHAT, CLOSE, 0},
};

struct call {
  pthread_mutex_t lock;
  pthread_cond_t cond;
  bool is_done;
  csn_arena *arena;
  const csn_model_ops *ops;
  csn_decoder *decoder;
  csn_model_request rq;
  csn_buf text;
  csn_err err;
  int rc;
};

static void
on_delta(void *user, enum csn_delta_kind kind, csn_str text)
{
  struct call *c = user;
  csn_buf_add(&c->text, text);
}

static void
on_head(void *user, int status, const csn_header *headers, size_t n)
{
  struct call *c = user;
  csn_reply_head head;
  csn_reply_head_read(&head, status, headers, n);
  c->decoder = c->ops->decoder(c->arena, &head, &c->rq, on_delta, c);
}

static int
on_body(void *user, csn_str bytes)
{
  struct call *c = user;
  return c->rc = c->ops->feed(c->decoder, bytes, &c->err);
}

static void
on_done(void *user, const csn_err *err)
{
  struct call *c = user;
  pthread_mutex_lock(&c->lock);
  if (err && c->rc == 0) { /* what the decoder said is nearer to the cause */
    c->err = *err;
    c->rc = (int)err->code;
  }
  c->is_done = true;
  pthread_cond_signal(&c->cond);
  pthread_mutex_unlock(&c->lock);
}

static const struct row {
  const char *base, *codec;
  int rc;
  size_t items;
  const char *text, *words; /* words: that the error holds */
  bool again;
  int64_t delay_ms; /* of the first retry, in the middle of its spread */
} rows[] = {
    {"/plain", "openai", 0, 1, "", "", false, 0},
    {"/stream", "openai", 0, 1, "Hi", "", false, 0},
    {"/pieces", "openai", 0, 1, "Hi", "", false, 0},
    {"/open", "openai", CSN_E_UNAVAILABLE, 0, "Hi", "POST http://127.0.0.1", true, 500},
    {"/cut", "openai", CSN_E_UNAVAILABLE, 0, "Hi", "before its last event", true, 500},
    {"/garbage", "openai", CSN_E_UNAVAILABLE, 0, "", "no JSON", true, 500},
    {"/half", "openai", CSN_E_UNAVAILABLE, 0, "", "no whole JSON (9 bytes)", true, 500},
    {"/page", "openai", CSN_E_UNAVAILABLE, 0, "", "base_url", true, 500},
    {"/failed", "openai", CSN_E_MODEL, 0, "Hi", "(invalid_prompt): no", false, 0},
    {"/busy", "openai", CSN_E_UNAVAILABLE, 0, "", "HTTP 429: x", true, 2000},
    {"/firm", "openai", CSN_E_MODEL, 0, "", "HTTP 503: no", false, 0},
    {"/key", "openai", CSN_E_MODEL, 0, "", "HTTP 401: no", false, 0},
    {"/gone", "openai", CSN_E_UNAVAILABLE, 0, "", "POST http://127.0.0.1", true, 500},
    {"/stream", "chat", 0, 1, "Hi", "", false, 0},
    {"/cut", "chat", CSN_E_UNAVAILABLE, 0, "Hi", "before its last event", true, 500},
};

static void
make_call(csn_http *http, int port, const struct row *row)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf body = CSN_BUF(1 << 20);
  csn_str user = CSN_STR("{\"type\":\"message\",\"role\":\"user\",\"content\":\"hi\"}");
  struct call c = {.arena = a, .text = CSN_BUF(1000)};
  csn_model_reply reply = {0};
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(4096);
  csn_http_call *call;
  csn_endpoint ep = {.custom_tools = true};
  pthread_mutex_init(&c.lock, NULL);
  csn_cond_init(&c.cond);
  c.ops = csn_model_find(csn_cstr(row->codec));
  c.rq = (csn_model_request){.model = CSN_STR("m"), .items = &user, .n_items = 1, .stream = true};
  OK(c.ops->encode(&ep, &c.rq, &body, &path, &c.err), &c.err);
  csn_http_req req = {.method = "POST", .body = csn_buf_str(&body), .timeout_ms = 20000};
  req.url = csn_arena_printf(a, "http://127.0.0.1:%d%s%s", port, row->base, path.p);
  static const csn_http_sink sink = {on_head, on_body, on_done};
  OK(csn_http_start(http, &req, &sink, &c, &call, &c.err), &c.err);
  pthread_mutex_lock(&c.lock);
  while (!c.is_done)
    pthread_cond_wait(&c.cond, &c.lock);
  pthread_mutex_unlock(&c.lock);
  if (c.rc == 0)
    c.rc = c.ops->finish(c.decoder, &reply, &c.err);
  if (c.decoder)
    c.ops->close(c.decoder);
  if (c.rc != row->rc || (c.rc < 0 && !strstr(c.err.msg, row->words)))
    fail_msg("%s %s: %d %s", row->base, row->codec, c.rc, c.rc < 0 ? c.err.msg : "");
  assert_int_equal(reply.n_items, row->items);
  STR_EQ(csn_buf_str(&c.text), row->text);
  if (c.rc < 0) {
    csn_retry r = csn_retry_decide(&csn_retry_default, 1, &c.err, false, 0.5);
    assert_int_equal(r.again, row->again);
    assert_int_equal(r.delay_ms, row->delay_ms);
  }
  csn_buf_fini(&c.text);
}

TEST(each_way_to_answer_is_understood_or_told)
{
  struct server s;
  csn_err err;
  csn_loop *loop;
  server_start(&s, pages, CSN_COUNT(pages));
  OK(csn_loop_new(&loop, &err), &err);
  csn_http *http = csn_http_new(loop);
  csn_http_warm(http);
  for (size_t i = 0; i < CSN_COUNT(rows); i++)
    make_call(http, s.port, &rows[i]);
  csn_http_free(http);
  csn_loop_free(loop);
  server_stop(&s);
}

RUN_TESTS("model/http_model", RUN(each_way_to_answer_is_understood_or_told))
