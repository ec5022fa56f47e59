/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP client against the server thread of server.h. */
#include "wire/http.h"

#include <stdio.h>

#include "server.h"

static char big_head[80000], big_body[100100];

static const struct page pages[] = {
    {"/hello",
     "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-UPPER:  Blanks \r\nContent-Length: 5\r\n\r\n"
     "hello",
     KEEP},
    {"/once", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", CLOSE},
    {"/chunks",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n3\r\nabc\r\n2\r\nde\r\n"
     "0\r\nX-T: 1\r\n\r\n",
     KEEP},
    {"/hints",
     "HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
     KEEP},
    {"/teapot", "HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n", KEEP},
    {"/away", "HTTP/1.1 302 Found\r\nLocation: /hello\r\nContent-Length: 0\r\n\r\n", KEEP},
    {"/cut", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nonly this", CLOSE},
    {"/cut-head", "HTTP/1.1 200 O", CLOSE},
    {"/silence", "", CLOSE},
    {"/garbage", "SSH-2.0-OpenSSH_9.2\r\n", CLOSE},
    {"/big-head", big_head, CLOSE},
    {"/big-body", big_body, KEEP},
    {"/hang", "", HOLD},
    {"/half", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nonly this", HOLD},
};

/* One call and what came of it. */
struct result {
  pthread_mutex_t *lock;
  pthread_cond_t *cond;
  int refuse; /* what the body callback returns */
  bool is_done;
  bool is_full; /* every second piece is put off */
  int heads, status, code, put_off;
  csn_buf headers, body;
  char message[480];
};

struct fixture {
  struct server server;
  csn_loop *loop;
  csn_http *http;
  pthread_mutex_t lock;
  pthread_cond_t cond;
};

static void
on_head(void *user, int status, const csn_header *headers, size_t n)
{
  struct result *r = user;
  r->heads++;
  r->status = status;
  for (size_t i = 0; i < n; i++)
    csn_buf_addf(&r->headers, "%.*s=%.*s;", (int)headers[i].name.n, headers[i].name.p,
                 (int)headers[i].value.n, headers[i].value.p);
}

static int
on_body(void *user, csn_str bytes)
{
  struct result *r = user;
  pthread_mutex_lock(r->lock);
  r->is_full = r->put_off && !r->is_full;
  if (r->is_full) {
    r->put_off++;
    pthread_cond_broadcast(r->cond);
  } else {
    csn_buf_add(&r->body, bytes);
  }
  pthread_mutex_unlock(r->lock);
  return r->is_full ? CSN_HTTP_LATER : r->refuse;
}

static void
on_done(void *user, const csn_err *err)
{
  struct result *r = user;
  pthread_mutex_lock(r->lock);
  assert_false(r->is_done);
  r->is_done = true;
  r->code = err ? (int)err->code : 0;
  if (err)
    memcpy(r->message, err->msg, sizeof r->message);
  pthread_cond_broadcast(r->cond);
  pthread_mutex_unlock(r->lock);
}

static const csn_http_sink sink = {on_head, on_body, on_done};

static int
start_all(void **state)
{
  struct fixture *f = csn_alloc(sizeof *f);
  csn_err err;
  int n = snprintf(big_body, 100, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
  for (int i = 0; i < 100000; i++)
    big_body[n + i] = (char)('a' + i % 26);
  server_start(&f->server, pages, CSN_COUNT(pages));
  pthread_mutex_init(&f->lock, NULL);
  csn_cond_init(&f->cond);
  OK(csn_loop_new(&f->loop, &err), &err);
  f->http = csn_http_new(f->loop);
  *state = f;
  return 0;
}

static int
stop_all(void **state)
{
  struct fixture *f = *state;
  csn_http_free(f->http);
  csn_loop_free(f->loop);
  server_stop(&f->server);
  free(f);
  return 0;
}

static csn_http_req
request(struct fixture *f, csn_arena *a, const char *path)
{
  csn_http_req rq = {.method = "POST", .body = CSN_STR("{\"x\":1}"), .timeout_ms = 20000};
  rq.url = csn_arena_printf(a, "http://127.0.0.1:%d%s", f->server.port, path);
  rq.headers[rq.n_headers++] = (csn_header){CSN_STR("Content-Type"), CSN_STR("application/json")};
  rq.headers[rq.n_headers++] = (csn_header){CSN_STR("Authorization"), CSN_STR("Bearer k")};
  rq.headers[rq.n_headers++] = (csn_header){CSN_STR("X-Empty"), CSN_STR("")};
  return rq;
}

static void
result_init(struct fixture *f, struct result *r)
{
  *r = (struct result){
      .lock = &f->lock, .cond = &f->cond, .headers = CSN_BUF(1 << 20), .body = CSN_BUF(1 << 20)};
}

static void
result_await(struct result *r)
{
  csn_scope sc;
  csn_err err;
  csn_scope_init(&sc, NULL, 20000);
  pthread_mutex_lock(r->lock);
  while (!r->is_done)
    OK(csn_scope_wait(&sc, r->cond, r->lock, &err), &err);
  pthread_mutex_unlock(r->lock);
  csn_scope_fini(&sc);
}

static void
result_fini(struct result *r)
{
  csn_buf_fini(&r->headers);
  csn_buf_fini(&r->body);
}

static void
fetch_req(struct fixture *f, const csn_http_req *rq, struct result *r)
{
  csn_err err;
  csn_http_call *call;
  OK(csn_http_start(f->http, rq, &sink, r, &call, &err), &err);
  result_await(r);
}

static void
fetch(struct fixture *f, const char *path, struct result *r)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_http_req rq = request(f, a, path);
  result_init(f, r);
  fetch_req(f, &rq, r);
}

static void
a_request_and_its_reply_arrive_whole(void **state)
{
  struct fixture *f = *state;
  struct result r;
  fetch(f, "/hello?q=1", &r);
  assert_int_equal(r.code, 0);
  assert_int_equal(r.status, 200);
  assert_int_equal(r.heads, 1);
  STR_EQ(csn_buf_str(&r.body), "hello");
  STR_EQ(csn_buf_str(&r.headers), "content-type=text/plain;x-upper=Blanks;content-length=5;");
  csn_str all = csn_buf_str(&f->server.requests);
  assert_true(csn_str_starts(all, CSN_STR("POST /hello?q=1 HTTP/1.1\r\n")));
  assert_true(csn_str_ends(all, CSN_STR("\r\n\r\n{\"x\":1}")));
  assert_true(csn_str_find(all, CSN_STR("Authorization: Bearer k\r\n"), 0) != SIZE_MAX);
  assert_true(csn_str_find(all, CSN_STR("X-Empty:\r\n"), 0) != SIZE_MAX);
  assert_true(csn_str_find(all, CSN_STR("Expect"), 0) == SIZE_MAX);
  result_fini(&r);
}

static void
a_large_body_is_sent_without_waiting(void **state)
{
  struct fixture *f = *state;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  struct result r;
  csn_http_req rq = request(f, a, "/hello");
  char *p = csn_arena_alloc(a, 3 << 20);
  memset(p, 'x', 3 << 20);
  rq.body = csn_strn(p, 3 << 20);
  result_init(f, &r);
  fetch_req(f, &rq, &r);
  assert_int_equal(r.code, 0);
  csn_str all = csn_buf_str(&f->server.requests);
  assert_true(csn_str_find(all, CSN_STR("Content-Length: 3145728\r\n"), 0) != SIZE_MAX);
  assert_true(csn_str_find(all, CSN_STR("Expect"), 0) == SIZE_MAX);
  result_fini(&r);
}

static void
replies_of_every_kind_are_told_apart(void **state)
{
  static const struct {
    const char *path;
    int code, status, heads;
    const char *body;
  } rows[] = {
      {"/chunks", 0, 200, 1, "abcde"},
      {"/hints", 0, 200, 1, "ok"},
      {"/teapot", 0, 418, 1, ""},
      {"/away", 0, 302, 1, ""},
      {"/cut", CSN_E_UNAVAILABLE, 200, 1, "only this"},
      {"/cut-head", CSN_E_UNAVAILABLE, 0, 0, ""},
      {"/silence", CSN_E_UNAVAILABLE, 0, 0, ""},
      {"/garbage", CSN_E_UNAVAILABLE, 0, 0, ""},
      {"/big-head", CSN_E_LIMIT, 0, 0, ""},
      {"/hello", 0, 200, 1, "hello"},
  };
  snprintf(big_head, sizeof big_head, "HTTP/1.1 200 OK\r\n");
  for (size_t n = strlen(big_head); n < 70000; n += 1000)
    snprintf(big_head + n, sizeof big_head - n, "X: %0995d\r\n", 1);
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    struct result r;
    fetch(*state, rows[i].path, &r);
    if (r.code != rows[i].code)
      fail_msg("%s: code %d, %s", rows[i].path, r.code, r.message);
    assert_int_equal(r.status, rows[i].status);
    assert_int_equal(r.heads, rows[i].heads);
    STR_EQ(csn_buf_str(&r.body), rows[i].body);
    if (r.code < 0)
      assert_non_null(strstr(r.message, "POST http://127.0.0.1:"));
    result_fini(&r);
  }
}

static void
one_connection_serves_calls_one_after_the_other(void **state)
{
  struct fixture *f = *state;
  for (int i = 0; i < 50; i++) {
    struct result r;
    fetch(f, "/hello", &r);
    if (r.code < 0)
      fail_msg("call %d: %s", i, r.message);
    result_fini(&r);
  }
  assert_int_equal(f->server.connections, 1);
  for (int i = 0; i < 5; i++) { /* each is closed by the server and noticed */
    struct result r;
    fetch(f, "/once", &r);
    if (r.code < 0)
      fail_msg("call %d: %s", i, r.message);
    result_fini(&r);
  }
  assert_true(f->server.connections <= 6);
}

static void
many_calls_run_at_once(void **state)
{
  struct fixture *f = *state;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  enum { N = 200 };
  struct result *r = csn_arena_alloc(a, N * sizeof *r);
  for (int i = 0; i < N; i++) {
    csn_http_req rq = request(f, a, i % 3 ? "/hello" : "/once");
    csn_err err;
    csn_http_call *call;
    result_init(f, &r[i]);
    OK(csn_http_start(f->http, &rq, &sink, &r[i], &call, &err), &err);
  }
  for (int i = 0; i < N; i++) {
    result_await(&r[i]);
    if (r[i].code)
      fail_msg("call %d: %s", i, r[i].message);
    result_fini(&r[i]);
  }
}

static void
waiting_is_bounded(void **state)
{
  static const struct {
    const char *path;
    int64_t timeout_ms, idle_ms;
  } rows[] = {
      {"/hang", 100, 0}, {"/half", 100, 0}, {"/hang", 0, 100}, {"/half", 0, 100}, {"/hang", 0, 20},
  };
  struct fixture *f = *state;
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    struct result r;
    csn_http_req rq = request(f, a, rows[i].path);
    rq.timeout_ms = rows[i].timeout_ms;
    rq.idle_ms = rows[i].idle_ms;
    result_init(f, &r);
    int64_t from = csn_now_ns();
    fetch_req(f, &rq, &r);
    assert_int_equal(r.code, CSN_E_TIMEOUT);
    assert_true(csn_now_ns() - from < 5000000000);
    result_fini(&r);
  }
}

static void
a_call_is_cancelled_from_any_thread(void **state)
{
  struct fixture *f = *state;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  for (int i = 0; i < 20; i++) {
    struct result r;
    csn_err err;
    csn_http_call *call;
    csn_http_req rq = request(f, a, i % 2 ? "/hang" : "/half");
    result_init(f, &r);
    OK(csn_http_start(f->http, &rq, &sink, &r, &call, &err), &err);
    csn_http_cancel(f->http, call);
    csn_http_cancel(f->http, call);
    result_await(&r);
    assert_int_equal(r.code, CSN_E_CANCELLED);
    result_fini(&r);
  }
}

static void
a_sink_can_refuse_the_body(void **state)
{
  struct fixture *f = *state;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  struct result r;
  csn_http_req rq = request(f, a, "/hello");
  result_init(f, &r);
  r.refuse = CSN_E_MODEL;
  fetch_req(f, &rq, &r);
  assert_int_equal(r.code, CSN_E_MODEL);
  result_fini(&r);
}

static void
what_cannot_be_sent_is_refused_at_once(void **state)
{
  struct fixture *f = *state;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_http_req good = request(f, a, "/hello");
  for (int i = 0; i < 8; i++) {
    csn_http_req rq = good;
    csn_err err = {0};
    csn_http_call *call;
    struct result r;
    static const char *const urls[] = {"ftp://x/", "file:///etc/passwd", "http://a b/",
                                       "http://a/\r\nX: y"};
    if (i < 4)
      rq.url = csn_cstr(urls[i]);
    else if (i == 4)
      rq.headers[1].value = CSN_STR("secret\r\nX-Evil: 1");
    else if (i == 5)
      rq.headers[1].name = CSN_STR("A:b");
    else if (i == 6)
      rq.method = "GET /x HTTP/1.1\r\n";
    else
      rq.headers[1].name = CSN_STR("");
    result_init(f, &r);
    assert_int_equal(csn_http_start(f->http, &rq, &sink, &r, &call, &err), CSN_E_INVALID);
    assert_null(strstr(err.msg, "secret"));
  }
}

static void
an_address_where_nobody_listens_is_unavailable(void **state)
{
  struct fixture *f = *state;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  struct result r;
  csn_http_req rq = request(f, a, "/hello");
  rq.url = CSN_STR("http://127.0.0.1:1/v1?key=secret");
  result_init(f, &r);
  fetch_req(f, &rq, &r);
  assert_int_equal(r.code, CSN_E_UNAVAILABLE);
  assert_null(strstr(r.message, "secret"));
  result_fini(&r);
}

static void
closing_the_client_ends_what_runs(void **state)
{
  struct fixture *f = *state;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  struct result r[8];
  for (int i = 0; i < 8; i++) {
    csn_http_req rq = request(f, a, "/hang");
    csn_err err;
    csn_http_call *call;
    result_init(f, &r[i]);
    OK(csn_http_start(f->http, &rq, &sink, &r[i], &call, &err), &err);
  }
  csn_http_free(f->http);
  for (int i = 0; i < 8; i++) {
    assert_true(r[i].is_done);
    assert_int_equal(r[i].code, CSN_E_CANCELLED);
    result_fini(&r[i]);
  }
  f->http = csn_http_new(f->loop);
}

static void
a_client_that_only_warmed_up_closes(void **state)
{
  struct fixture *f = *state;
  csn_http_warm(f->http);
}

static void
a_body_that_was_put_off_is_given_again(void **state)
{
  struct fixture *f = *state;
  struct result r;
  csn_err err;
  csn_http_call *call;
  csn_scope sc;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_http_req rq = request(f, a, "/big-body");
  rq.idle_ms = 2000; /* which counts only while something is wanted */
  result_init(f, &r);
  csn_scope_init(&sc, NULL, 20000);
  r.put_off = 1;
  pthread_mutex_lock(&f->lock);
  OK(csn_http_start(f->http, &rq, &sink, &r, &call, &err), &err);
  for (int seen = 1; !r.is_done;) {
    OK(csn_scope_wait(&sc, &f->cond, &f->lock, &err), &err);
    if (r.put_off > seen && !r.is_done)
      csn_http_resume(f->http, call);
    seen = r.put_off;
  }
  pthread_mutex_unlock(&f->lock);
  assert_int_equal(r.code, 0);
  assert_true(r.put_off > 5);
  assert_int_equal(r.body.n, 100000);
  STR_EQ(csn_buf_str(&r.body), big_body + strlen(big_body) - 100000);
  result_fini(&r);
  fetch(f, "/hello", &r); /* over the same connection */
  STR_EQ(csn_buf_str(&r.body), "hello");
  result_fini(&r);
  csn_scope_fini(&sc);
}

#define WITH(fn) cmocka_unit_test_setup_teardown(fn, start_all, stop_all)
RUN_TESTS("wire/http", WITH(a_request_and_its_reply_arrive_whole),
          WITH(a_large_body_is_sent_without_waiting), WITH(replies_of_every_kind_are_told_apart),
          WITH(one_connection_serves_calls_one_after_the_other), WITH(many_calls_run_at_once),
          WITH(waiting_is_bounded), WITH(a_call_is_cancelled_from_any_thread),
          WITH(a_sink_can_refuse_the_body), WITH(a_body_that_was_put_off_is_given_again),
          WITH(what_cannot_be_sent_is_refused_at_once),
          WITH(an_address_where_nobody_listens_is_unavailable),
          WITH(closing_the_client_ends_what_runs), WITH(a_client_that_only_warmed_up_closes))
