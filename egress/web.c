/* SPDX-License-Identifier: Apache-2.0
 *
 * web.c - requests one after the other, each judged anew.
 *
 * A request's head is read whole, judged and rewritten; then its body and the
 * response pass as they come.  The connection outside is kept for the next
 * request to the same host; one that died while it rested is made again, once,
 * for a request without a body.
 */
#include <stdio.h>
#include <sys/socket.h>

#include "egress/web.h"

enum { WORK_MAX = 1 << 20, ROUNDS = 4 };

/* ---- the whole ---- */

void
csn_web_free(csn_web *w)
{
  if (!w)
    return;
  csn_http1_fini(&w->request);
  csn_http1_fini(&w->response);
  if (w->head.p) /* secrets stood there */
    explicit_bzero(w->head.p, w->head.room);
  csn_buf_fini(&w->head);
  csn_buf_fini(&w->work);
  csn_scrub_tail_fini(&w->tail);
  free(w);
}

bool
csn_web_writes(const csn_web *w)
{
  bool is_out = w->phase == CSN_WEB_ACTIVE || w->phase == CSN_WEB_DIALLING;
  return w->phase == CSN_WEB_RAW || (is_out && !csn_policy_reads(csn_cstr(w->method)));
}

void
csn_web_begin(csn_conn *c, enum csn_web_kind kind)
{
  csn_web_free(c->web);
  csn_web *w = c->web = csn_alloc(sizeof *w);
  w->kind = kind;
  if (kind != CSN_WEB_PROXY)
    w->origin = c->dest;
  w->up_before = c->client.up - c->client.in.n;
  csn_http1_init(&w->request, CSN_HTTP1_REQUEST, 0);
  csn_http1_init(&w->response, CSN_HTTP1_RESPONSE, 0);
  w->head = CSN_BUF(4 * CSN_HTTP1_HEAD_BYTES);
  w->work = CSN_BUF(WORK_MAX);
  c->step = csn_web_step;
  csn_web_step(c);
}

void
csn_web_describe(const csn_conn *c, csn_note *n)
{
  const csn_web *w = c->web;
  if (!w || w->method[0] == '\0')
    return;
  n->method = csn_cstr(w->method);
  n->status = w->status;
  n->secrets = w->secrets;
  n->up = c->client.up - w->up_before;
  n->down = w->down_total + c->server.up - w->down_before;
  n->ms = (c->egress->reactor.now_ns - w->begun_ns) / 1000000;
}

static void
close_far(csn_conn *c)
{
  csn_web *w = c->web;
  w->down_total += c->server.up - w->down_before;
  w->down_before = 0;
  csn_peer_close(&c->server);
  c->server.up = 0;
  c->address[0] = '\0';
  w->far.host[0] = '\0';
}

/* ---- the connection outside ---- */

static void dialled(csn_conn *c, int status);

/* Is it there, for this host, and silent as it should be? */
static bool
can_reuse(const csn_conn *c)
{
  const csn_web *w = c->web;
  char byte;
  if (!csn_peer_is_open(&c->server) || strcmp(w->far.host, c->dest.host) != 0 ||
      w->far.port != c->dest.port || c->server.ended || csn_peer_has_input(&c->server))
    return false;
  return c->server.tls != NULL || recv(c->server.ready.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0;
}

/* A server may answer without reading all, and close: what it said is still
 * to be read, so a failure to write is no end. */
static void
write_far(csn_conn *c, csn_str bytes)
{
  csn_web *w = c->web;
  if (!w->far_deaf && csn_peer_write(&c->server, bytes, NULL) < 0)
    w->far_deaf = true;
}

/* The request's head goes out. */
static void
send_head(csn_conn *c)
{
  csn_web *w = c->web;
  w->phase = CSN_WEB_ACTIVE;
  w->begun = false;
  w->keep_near = w->request.head.keep_alive;
  csn_http1_fini(&w->response);
  csn_http1_init(&w->response, CSN_HTTP1_RESPONSE, 0);
  csn_http1_answers(&w->response, csn_cstr(w->method));
  w->far_deaf = false;
  c->step = csn_web_step;
  write_far(c, csn_buf_str(&w->head));
  if (!w->stepping)
    csn_web_step(c);
}

static void
dialled(csn_conn *c, int status)
{
  csn_web *w = c->web;
  csn_err err = {0};
  bool tls = c->client.tls != NULL;
  if (status) {
    char reason[CSN_REASON_TEXT];
    memcpy(reason, c->reason, sizeof reason);
    w->status = status;
    csn_conn_report(c, status != 403, reason);
    csn_conn_answer(c, status, reason, !w->is_head);
    return;
  }
  w->far = c->dest;
  w->reused = false;
  w->down_before = 0;
  const csn_address *a = &c->lookup.addresses[c->next_address - 1];
  if (w->secrets && !tls && !csn_policy_is_private(&c->egress->config, a, c->dest.port)) {
    w->secrets = 0;
    csn_web_refuse(c, 403, "a secret is sent by https only, and this request to %s is not",
                   c->dest.host);
    return;
  }
  if (tls &&
      csn_tls_connect(&c->server.tls, c->egress->client, csn_dest_host(&c->dest), &err) < 0) {
    csn_web_refuse(c, 502, "%s: %s", c->dest.host, err.msg);
    return;
  }
  send_head(c);
}

static void
dial(csn_conn *c)
{
  if (csn_peer_is_open(&c->server))
    close_far(c);
  c->web->phase = CSN_WEB_DIALLING;
  csn_conn_dial(c, dialled);
}

/* Before a response: once again on a new connection when the old one may have
 * been closed while it rested, else the client is told. */
static void
far_failed(csn_conn *c, const char *why)
{
  csn_web *w = c->web;
  if (w->begun) {
    csn_conn_end(c, why);
  } else if (w->reused && w->bodyless) {
    w->reused = false;
    dial(c);
  } else {
    char reason[CSN_REASON_TEXT];
    snprintf(reason, sizeof reason, "%s: %s", c->dest.host, why);
    w->status = 502;
    csn_conn_report(c, true, reason);
    csn_conn_answer(c, 502, reason, !w->is_head);
  }
}

/* ---- requests ---- */

static void
begin_request(csn_conn *c)
{
  csn_web *w = c->web;
  const csn_http1_head *m = &w->request.head;
  csn_conn_head_done(c);
  c->told = false;
  w->begun_ns = c->egress->reactor.now_ns;
  w->status = 0;
  w->secrets = 0;
  w->is_head = csn_str_eq(m->method, CSN_STR("HEAD"));
  w->bodyless = w->request_done;
  memcpy(w->method, m->method.p, m->method.n);
  w->method[m->method.n] = '\0';
  if (csn_web_judge(c) < 0 || csn_web_write_request(c) < 0)
    return;
  w->reused = can_reuse(c);
  if (w->reused)
    send_head(c);
  else
    dial(c);
}

/* CONNECT leaves this file: what follows it is not for us. */
static int
begin_connect(csn_conn *c, csn_str rest)
{
  const csn_http1_head *m = &c->web->request.head;
  csn_dest d;
  bool ok = csn_dest_set(&d, m->host, m->port);
  csn_peer_unread(&c->client, rest);
  c->client.up = rest.n; /* what is counted begins behind the head */
  csn_peer_close(&c->server);
  csn_conn_head_done(c);
  c->told = false;
  csn_web_free(c->web);
  c->web = NULL;
  if (ok) {
    c->dest = d;
    csn_connect_begin(c);
  } else {
    csn_conn_refuse(c, 400, "the target of CONNECT is no host name");
  }
  return -1;
}

/* The head is there. */
static int
on_head(csn_conn *c, csn_str rest)
{
  csn_web *w = c->web;
  csn_str data;
  csn_err err;
  if (w->kind == CSN_WEB_PROXY && w->request.head.form == CSN_HTTP1_AUTHORITY)
    return begin_connect(c, rest);
  w->request_done = w->request.head.body == CSN_HTTP1_NO_BODY &&
                    w->request.head.form != CSN_HTTP1_AUTHORITY &&
                    csn_http1_next(&w->request, &rest, &data, &err) == CSN_HTTP1_END;
  csn_peer_unread(&c->client, rest);
  begin_request(c);
  return -1;
}

static int
on_request_bytes(csn_conn *c, csn_str bytes)
{
  csn_web *w = c->web;
  csn_err err = {0};
  csn_auto(csn_buf_finip) csn_buf chunk = CSN_BUF(CSN_SCRATCH_BYTES + 64);
  for (;;) {
    csn_str data;
    int rc = csn_http1_next(&w->request, &bytes, &data, &err);
    if (rc < 0) {
      if (w->phase == CSN_WEB_IDLE)
        w->is_head = false;
      csn_web_refuse(c, err.http_status ? err.http_status : 400, "%s", err.msg);
      return -1;
    }
    if (rc == CSN_HTTP1_MORE)
      return 0;
    if (rc == CSN_HTTP1_HEAD)
      return on_head(c, bytes);
    if (w->chunk_up) {
      csn_buf_clear(&chunk);
      csn_http1_add_chunk(&chunk, data); /* no data: the last one */
      data = csn_buf_str(&chunk);
    }
    if (data.n > 0)
      write_far(c, data);
    if (rc == CSN_HTTP1_END) {
      w->request_done = true;
      csn_peer_unread(&c->client, bytes);
      return 0;
    }
  }
}

/* 1: something moved, 0, -1: c may have ended, or changed its phase. */
static int
pump_near(csn_conn *c)
{
  csn_web *w = c->web;
  int n = csn_conn_read(c, &c->client);
  if (n < 0)
    return -1;
  if (n == 0 && c->client.ended) {
    bool resting = w->phase == CSN_WEB_IDLE && !csn_http1_inside(&w->request);
    if (resting && (w->method[0] || w->kind == CSN_WEB_PROXY))
      c->told = true; /* each request was, or there was none */
    csn_conn_end(c, resting ? NULL : "the sandbox ended its request in the middle");
    return -1;
  }
  if (n == 0)
    return 0;
  if (on_request_bytes(c, csn_strn(c->egress->scratch, (size_t)n)) < 0)
    return -1;
  if (w->phase == CSN_WEB_IDLE && c->head_by_ns == 0 && csn_http1_inside(&w->request))
    csn_conn_expect_head(c, c->egress->config.header_ms);
  return 1;
}

/* ---- responses ---- */

/* A piece of the body, or, with `last`, its end. */
static int
pass_body(csn_conn *c, csn_str data, bool last)
{
  csn_web *w = c->web;
  if (w->scrub) {
    csn_buf_clear(&w->work);
    csn_scrub(c->egress->scrubber, &w->tail, data, last, &w->work);
    data = csn_buf_str(&w->work);
  }
  if (!w->chunk_down)
    return csn_conn_write(c, &c->client, data);
  csn_auto(csn_buf_finip) csn_buf chunk = CSN_BUF(2 * WORK_MAX);
  if (data.n > 0)
    csn_http1_add_chunk(&chunk, data);
  if (last)
    csn_http1_add_chunk(&chunk, CSN_STR(""));
  return csn_conn_write(c, &c->client, csn_buf_str(&chunk));
}

static int
end_exchange(csn_conn *c, csn_str rest)
{
  csn_web *w = c->web;
  /* Bytes behind a response answer nothing: that server is not asked again. */
  bool keep_far = w->response.head.keep_alive && rest.n == 0 && w->request_done;
  csn_conn_report(c, true, NULL);
  w->phase = CSN_WEB_IDLE;
  w->down_total = 0;
  w->down_before = c->server.up;
  if (!keep_far)
    close_far(c);
  w->down_total = 0;
  w->up_before = c->client.up - c->client.in.n;
  if (w->keep_near && w->request_done)
    return 1;
  csn_conn_linger(c);
  return -1;
}

static int
on_response_head(csn_conn *c, csn_err *err)
{
  csn_web *w = c->web;
  const csn_http1_head *m = &w->response.head;
  if (m->status == 101 && !w->upgrades)
    return csn_fail(err, CSN_E_PARSE, "the server switched to a protocol that was not asked for");
  if (m->status / 100 != 1 && !w->request_done)
    w->keep_near = false; /* what is left of the request may or may not come */
  int rc = csn_web_write_response(c, err);
  if (rc < 0)
    return rc;
  if (m->status / 100 == 1 && m->status != 101 && w->request.head.minor == 0)
    return 0; /* such clients do not know interim responses */
  w->begun = m->status / 100 != 1 || m->status == 101;
  if (w->begun)
    w->status = m->status;
  csn_buf_clear(&w->tail.held);
  return csn_conn_write(c, &c->client, csn_buf_str(&w->work)) < 0 ? 1 : 0;
}

/* 0 go on, 1 the exchange is over, -1 as above. */
static int
on_response_bytes(csn_conn *c, csn_str bytes)
{
  csn_web *w = c->web;
  csn_err err = {0};
  for (;;) {
    csn_str data;
    int rc = csn_http1_next(&w->response, &bytes, &data, &err);
    if (rc == CSN_HTTP1_HEAD) {
      rc = on_response_head(c, &err);
      if (rc > 0)
        return -1;
      if (rc == 0)
        continue;
    }
    if (rc < 0) {
      w->reused = false; /* it answered: asking again would not help */
      far_failed(c, err.msg);
      return -1;
    }
    if (rc == CSN_HTTP1_MORE)
      return 0;
    if (rc == CSN_HTTP1_TUNNEL) {
      w->phase = CSN_WEB_RAW;
      csn_peer_unread(&c->server, bytes);
      return 0;
    }
    if (rc == CSN_HTTP1_END && !w->begun)
      continue; /* of an interim response */
    if (pass_body(c, data, rc == CSN_HTTP1_END) < 0)
      return -1;
    if (rc == CSN_HTTP1_END)
      return end_exchange(c, bytes);
  }
}

static int
pump_far(csn_conn *c)
{
  csn_web *w = c->web;
  csn_err err = {0};
  int n = csn_conn_take(c, &c->server, &err);
  if (n > 0) {
    c->client.corked = true;
    int rc = on_response_bytes(c, csn_strn(c->egress->scratch, (size_t)n));
    if (csn_peer_uncork(&c->client, &err) < 0)
      csn_conn_end(c, NULL);
    return rc < 0 || !c->link ? -1 : 1;
  }
  if (n == 0 && !c->server.ended)
    return 0;
  if (n == 0 && csn_http1_eof(&w->response, &err) == CSN_HTTP1_END && w->begun)
    return pass_body(c, CSN_STR(""), true) < 0 ? -1 : end_exchange(c, CSN_STR("x"));
  far_failed(c, n < 0 ? err.msg : "the server ended the connection before its response was whole");
  return -1;
}

/* ---- after 101 ---- */

static int
pump_raw(csn_conn *c, csn_peer *from, csn_peer *to)
{
  csn_web *w = c->web;
  if (csn_peer_is_full(to))
    return 0;
  int n = csn_conn_read(c, from);
  if (n < 0)
    return -1;
  csn_str bytes = csn_strn(c->egress->scratch, (size_t)n);
  bool last = n == 0 && from->ended;
  if (w->scrub && from == &c->server && (n > 0 || (last && !to->shut))) {
    csn_buf_clear(&w->work);
    csn_scrub(c->egress->scrubber, &w->tail, bytes, last, &w->work);
    bytes = csn_buf_str(&w->work);
  }
  if (bytes.n > 0 && csn_conn_write(c, to, bytes) < 0)
    return -1;
  csn_err err = {0};
  if (last && !to->shut && csn_peer_shut(to, &err) < 0) {
    csn_conn_end(c, err.msg);
    return -1;
  }
  return n > 0;
}

static int
step_raw(csn_conn *c)
{
  int up = pump_raw(c, &c->client, &c->server);
  int down = up < 0 ? -1 : pump_raw(c, &c->server, &c->client);
  if (down < 0)
    return -1;
  if (c->client.ended && c->server.ended && csn_peer_waiting(&c->client) == 0 &&
      csn_peer_waiting(&c->server) == 0) {
    csn_conn_end(c, NULL);
    return -1;
  }
  return 0;
}

/* ---- the step ---- */

static bool
wants_near(const csn_conn *c)
{
  const csn_web *w = c->web;
  if (w->phase == CSN_WEB_RAW)
    return !csn_peer_is_full(&c->server);
  if (w->phase == CSN_WEB_IDLE)
    return !csn_peer_is_full(&c->client);
  return w->phase == CSN_WEB_ACTIVE && !w->request_done && !csn_peer_is_full(&c->server);
}

static bool
wants_far(const csn_conn *c)
{
  const csn_web *w = c->web;
  return (w->phase == CSN_WEB_ACTIVE || w->phase == CSN_WEB_RAW) && !csn_peer_is_full(&c->client);
}

/* Is c still ours?  Its memory is there until the end of the turn. */
static bool
goes_on(const csn_conn *c, const csn_web *w)
{
  return c->link && c->web == w && c->step == csn_web_step;
}

/* Until nothing moves, or, so that others have their turn, for some rounds;
 * what was decrypted already is not left to the next event, which may not
 * come. */
static bool
step_some(csn_conn *c, csn_web *w)
{
  for (int round = 0, moved = 1; moved; round++) {
    moved = 0;
    if (w->phase == CSN_WEB_RAW)
      return step_raw(c) >= 0;
    if (wants_near(c)) {
      int rc = pump_near(c);
      if (rc < 0 && !goes_on(c, w))
        return false;
      moved = rc != 0;
    }
    if (wants_far(c)) {
      int rc = pump_far(c);
      if (rc < 0 && !goes_on(c, w))
        return false;
      moved = moved || rc != 0;
    }
    if (round >= ROUNDS && !(wants_near(c) && csn_peer_has_input(&c->client)) &&
        !(wants_far(c) && csn_peer_has_input(&c->server)))
      break;
  }
  return true;
}

void
csn_web_step(csn_conn *c)
{
  csn_err err = {0};
  csn_web *w = c->web;
  if (csn_peer_is_open(&c->server) && csn_peer_flush(&c->server, &err) < 0) {
    w->far_deaf = true;
    if (w->phase != CSN_WEB_ACTIVE) {
      csn_conn_end(c, err.msg);
      return;
    }
  }
  /* Requests that wait in line are answered by this loop, not by calls inside
   * each other. */
  w->stepping = true;
  bool on = step_some(c, w);
  if (c->link && c->web == w)
    w->stepping = false;
  if (!on)
    return;
  csn_peer_want(&c->client, wants_near(c));
  if (csn_peer_is_open(&c->server))
    csn_peer_want(&c->server, wants_far(c));
}
