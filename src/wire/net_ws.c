/* SPDX-License-Identifier: Apache-2.0
 *
 * net_ws.c - calls over WebSockets, inside the network module.
 *
 * libcurl connects (proxies, TLS, names) and then is only the pipe; the
 * handshake and the frames are ours.  A call is one text message, and what
 * comes back is given to its sink as an event stream, so that nothing above
 * sees a difference.  A connection serves one call at a time and rests between
 * two with the same address and headers.
 */
#include "wire/http1.h"
#include "wire/net_impl.h"
#include "wire/ws.h"

#include <strings.h>

#include "core/hash.h"

enum {
  MESSAGE_MAX = 64 << 20,
  OUT_MAX = 512 << 20,
  RESTING_MAX = 32,
  READ_BYTES = 16 << 10,
};

enum state { CONNECTING, UPGRADING, PASSING, BUSY, RESTING };

struct csn_net_ws {
  csn_net *net;
  csn_net_ws *next, **link;
  struct slot *slot; /* its easy handle made the connection */
  uv_poll_t *poll;   /* NULL until it is connected */
  enum state state;
  csn_http_call *call; /* NULL while it rests */
  char *where;         /* address and headers */
  char key[CSN_WS_KEY];
  csn_http1 head;
  csn_ws frames;
  csn_buf out;
  size_t sent;
  bool was_used, has_heard; /* heard: since its present call began */
  bool is_enough;
};

/* ---- its end ---- */

static void
on_poll_closed(uv_handle_t *h)
{
  csn_net *n = h->data;
  free(h);
  csn_net_poll_gone(n);
}

/* The connection ends; its call, if there is one, goes on without it. */
static void
drop(csn_net_ws *w)
{
  csn_net *n = w->net;
  *w->link = w->next;
  if (w->next)
    w->next->link = w->link;
  if (w->call)
    w->call->ws = NULL;
  if (w->poll) {
    w->poll->data = n;
    uv_close((uv_handle_t *)w->poll, on_poll_closed);
  }
  curl_multi_remove_handle(n->multi, w->slot->easy);
  csn_net_slot_free(w->slot);
  csn_http1_fini(&w->head);
  csn_ws_fini(&w->frames);
  explicit_bzero(w->where, strlen(w->where)); /* holds the key */
  free(w->where);
  if (w->out.p)
    explicit_bzero(w->out.p, w->out.n);
  csn_buf_fini(&w->out);
  free(w);
}

void
csn_net_ws_close(csn_net *n)
{
  while (n->ws)
    drop(n->ws);
}

static bool
can_rest(const csn_net_ws *w)
{
  size_t resting = 0;
  for (const csn_net_ws *o = w->net->ws; o; o = o->next)
    resting += o->state == RESTING;
  return w->state == BUSY && w->is_enough && w->sent == w->out.n && !w->frames.is_closed &&
         resting < RESTING_MAX && !w->net->is_closing;
}

/* The call is over; its connection rests when it is whole. */
void
csn_net_ws_leave(csn_http_call *c)
{
  csn_net_ws *w = c->ws;
  if (!w)
    return;
  if (!can_rest(w)) {
    drop(w);
    return;
  }
  w->state = RESTING;
  w->call = NULL;
  c->ws = NULL;
}

/* Nothing more comes over it.  A connection that rested may have been closed
 * just now: then the call is made over a new one, once. */
static void
lose(csn_net_ws *w, enum csn_code code, const char *why)
{
  csn_http_call *c = w->call;
  bool again = c && w->was_used && !w->has_heard && !c->is_second;
  if (c)
    c->ws = NULL;
  w->call = NULL;
  drop(w);
  if (again) {
    c->is_second = true;
    csn_net_ws_start(c);
  } else if (c) {
    csn_net_fail(c, code, why);
  }
}

/* ---- bytes out ---- */

static void on_poll(uv_poll_t *p, int status, int events);

/* False: it was lost. */
static bool
flush(csn_net_ws *w)
{
  while (w->sent < w->out.n) {
    size_t n = 0;
    CURLcode rc = curl_easy_send(w->slot->easy, w->out.p + w->sent, w->out.n - w->sent, &n);
    if (rc == CURLE_AGAIN)
      break;
    if (rc != CURLE_OK) {
      lose(w, CSN_E_UNAVAILABLE, "the WebSocket's connection broke");
      return false;
    }
    w->sent += n;
  }
  bool is_empty = w->sent == w->out.n;
  if (is_empty) {
    csn_buf_clear(&w->out);
    w->sent = 0;
  }
  uv_poll_start(w->poll, UV_READABLE | (is_empty ? 0 : UV_WRITABLE), on_poll);
  return true;
}

static void
write_frame(csn_net_ws *w, enum csn_ws_op op, csn_str data)
{
  unsigned char mask[4];
  csn_random_bytes(mask, sizeof mask);
  csn_ws_write(&w->out, op, data, mask);
}

static void
write_handshake(csn_net_ws *w)
{
  unsigned char random[16];
  csn_str url = csn_cstr(w->call->url);
  size_t host = csn_str_find(url, CSN_STR("://"), 0) + 3;
  size_t n = strcspn(url.p + host, "/?#");
  const char *path = url.p + host + n;
  csn_random_bytes(random, sizeof random);
  csn_ws_key(random, w->key);
  csn_buf_addf(&w->out,
               "GET %s%s HTTP/1.1\r\nHost: %.*s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n",
               *path == '/' ? "" : "/", path, (int)n, url.p + host, w->key);
  const char *line = w->call->lines;
  for (size_t i = 0; i < w->call->n_lines; i++, line += strlen(line) + 1)
    if (strncasecmp(line, "Expect", 6) != 0 && strncasecmp(line, "Accept", 6) != 0 &&
        strncasecmp(line, "Content-Type", 12) != 0)
      csn_buf_addf(&w->out, "%s\r\n", line);
  csn_buf_addz(&w->out, "\r\n");
}

/* ---- bytes in ---- */

static int
body(csn_net_ws *w, csn_str bytes)
{
  csn_http_call *c = w->call;
  int rc = c->sink.body(c->user, bytes);
  w->is_enough = w->is_enough || rc == CSN_HTTP_ENOUGH;
  return rc < 0 ? rc : 0;
}

/* One event of the stream. */
static int
on_text(csn_net_ws *w, csn_str text)
{
  csn_str line;
  w->has_heard = true;
  int rc = body(w, CSN_STR("data: "));
  while (rc == 0 && csn_str_line(&text, &line))
    rc = body(w, line);
  return rc < 0 ? rc : body(w, CSN_STR("\n\n"));
}

static int
on_message(void *user, enum csn_ws_op op, csn_str data)
{
  csn_net_ws *w = user;
  if (op == CSN_WS_PING)
    write_frame(w, CSN_WS_PONG, data);
  else if (op == CSN_WS_CLOSE)
    write_frame(w, CSN_WS_CLOSE, csn_strn(data.p, data.n >= 2 ? 2 : 0));
  else if (op == CSN_WS_TEXT && w->call && !w->is_enough)
    return on_text(w, data);
  return 0;
}

static void
send_call(csn_net_ws *w)
{
  static const csn_header type = {CSN_STR_INIT("content-type"), CSN_STR_INIT("text/event-stream")};
  csn_http_call *c = w->call;
  w->state = BUSY;
  w->is_enough = w->has_heard = false;
  c->sink.head(c->user, 200, &type, 1);
  write_frame(w, CSN_WS_TEXT, c->body);
}

/* The server's answer to the handshake: what is no WebSocket and no error that
 * may pass is one that speaks none. */
static int
take_head(csn_net_ws *w, csn_err *err)
{
  const csn_http1_head *h = &w->head.head;
  const csn_http1_field *accept = csn_http1_find(h, "sec-websocket-accept");
  char want[CSN_WS_ACCEPT];
  csn_header list[CSN_HTTP1_FIELDS];
  csn_ws_accept(w->key, want);
  if (h->status == 101)
    return accept && csn_str_eq(accept->value, csn_cstr(want))
               ? 0
               : csn_fail(err, CSN_E_UNSUPPORTED, "the server's WebSocket handshake is wrong");
  bool is_told = h->status == 401 || h->status == 403 || h->status == 408 || h->status == 409 ||
                 h->status == 429 || (h->status >= 500 && h->status != 501);
  if (!is_told)
    return csn_fail(err, CSN_E_UNSUPPORTED, "the server speaks no WebSocket (HTTP %d)", h->status);
  w->state = PASSING;
  for (size_t i = 0; i < h->n_fields; i++) {
    list[i] = (csn_header){h->fields[i].name, h->fields[i].value};
    char *name = (char *)(uintptr_t)list[i].name.p; /* of the codec's own copy */
    for (size_t k = 0; k < list[i].name.n; k++)
      name[k] = (char)(name[k] >= 'A' && name[k] <= 'Z' ? name[k] + 32 : name[k]);
  }
  w->call->sink.head(w->call->user, h->status, list, h->n_fields);
  return 0;
}

/* Until the tunnel is open.  1: it is, and *in its first bytes; 2: an ordinary
 * reply was passed on whole. */
static int
take_http(csn_net_ws *w, csn_str *in, csn_err *err)
{
  for (;;) {
    csn_str data;
    int rc = csn_http1_next(&w->head, in, &data, err);
    if (rc == CSN_HTTP1_HEAD)
      rc = take_head(w, err);
    else if (rc == CSN_HTTP1_DATA)
      rc = body(w, data);
    else if (rc == CSN_HTTP1_TUNNEL)
      return 1;
    else if (rc == CSN_HTTP1_END)
      return 2;
    else
      return rc < 0 ? rc : 0;
    if (rc < 0)
      return rc;
  }
}

/* False: it is gone, or no more is wanted. */
static bool
take(csn_net_ws *w, csn_str in)
{
  csn_err err;
  int rc = 0;
  if (w->call)
    w->call->heard_ms = uv_now(w->net->uv);
  if (w->state == UPGRADING || w->state == PASSING) {
    rc = take_http(w, &in, &err);
    if (rc == 2) {
      csn_net_end(w->call, NULL);
      return false;
    }
    if (rc == 1)
      send_call(w);
  }
  if (rc >= 0 && (w->state == BUSY || w->state == RESTING)) {
    rc = csn_ws_feed(&w->frames, in, &err);
  }
  if (rc < 0) {
    bool is_sinks = rc != CSN_E_PARSE && rc != CSN_E_LIMIT && rc != CSN_E_UNSUPPORTED;
    lose(w, rc == CSN_E_PARSE ? CSN_E_UNAVAILABLE : (enum csn_code)rc,
         is_sinks ? "the reply was refused" : err.msg);
    return false;
  }
  if (w->frames.is_closed && w->is_enough && w->call) {
    csn_net_end(w->call, NULL); /* all was said */
    return false;
  }
  if (w->frames.is_closed) {
    (void)flush(w); /* our half of the farewell */
    lose(w, CSN_E_UNAVAILABLE, "the server closed the WebSocket");
    return false;
  }
  if (!flush(w))
    return false;
  if (!w->is_enough || !w->call)
    return true;
  bool stays = can_rest(w);
  csn_net_end(w->call, NULL);
  return stays;
}

static void
on_poll(uv_poll_t *p, int status, int events)
{
  csn_net_ws *w = p->data;
  char bytes[READ_BYTES];
  (void)status;
  if ((events & UV_WRITABLE) && !flush(w))
    return;
  for (;;) { /* TLS may hold what poll() does not tell of */
    size_t n = 0;
    CURLcode rc = curl_easy_recv(w->slot->easy, bytes, sizeof bytes, &n);
    if (rc == CURLE_AGAIN)
      return;
    bool ends_reply = rc == CURLE_OK && n == 0 && w->state == PASSING &&
                      csn_http1_eof(&w->head, NULL) == CSN_HTTP1_END;
    if (ends_reply) {
      csn_net_end(w->call, NULL);
      return;
    }
    if (rc != CURLE_OK || n == 0) {
      lose(w, CSN_E_UNAVAILABLE, "the server closed the WebSocket's connection");
      return;
    }
    if (!take(w, csn_strn(bytes, n)))
      return;
  }
}

/* ---- its beginning ---- */

/* libcurl has connected, or has not. */
void
csn_net_ws_connected(struct slot *s, CURLcode rc)
{
  csn_net_ws *w = s->ws;
  curl_socket_t fd = -1;
  if (rc != CURLE_OK) {
    lose(w, csn_net_code_of(rc), s->error[0] ? s->error : curl_easy_strerror(rc));
    return;
  }
  curl_easy_getinfo(s->easy, CURLINFO_ACTIVESOCKET, &fd);
  w->poll = csn_alloc(sizeof *w->poll);
  if (fd < 0 || uv_poll_init_socket(w->net->uv, w->poll, fd) != 0) {
    free(csn_steal(w->poll));
    lose(w, CSN_E_UNAVAILABLE, "the connection cannot be watched");
    return;
  }
  w->net->n_handles++;
  w->poll->data = w;
  w->state = UPGRADING;
  write_handshake(w);
  (void)flush(w);
}

static char *
place_of(const csn_http_call *c)
{
  csn_buf b = CSN_BUF(1 << 20);
  csn_buf_addf(&b, "%s\n", c->url);
  const char *line = c->lines;
  for (size_t i = 0; i < c->n_lines; i++, line += strlen(line) + 1)
    csn_buf_addf(&b, "%s\n", line);
  return b.p;
}

void
csn_net_ws_start(csn_http_call *c)
{
  csn_net *n = c->net;
  char *where = place_of(c);
  for (csn_net_ws *w = n->ws; w; w = w->next)
    if (w->state == RESTING && !c->is_second && strcmp(w->where, where) == 0) {
      free(where);
      w->call = c;
      c->ws = w;
      w->was_used = true;
      send_call(w);
      (void)flush(w);
      return;
    }
  csn_net_ws *w = csn_alloc(sizeof *w);
  *w = (csn_net_ws){.net = n, .where = where, .call = c, .out = CSN_BUF(OUT_MAX)};
  csn_http1_init(&w->head, CSN_HTTP1_RESPONSE, 0);
  csn_http1_answers(&w->head, CSN_STR("GET"));
  csn_ws_init(&w->frames, MESSAGE_MAX, on_message, w);
  c->ws = w;
  w->slot = csn_net_slot_new(n);
  w->slot->ws = w;
  w->next = n->ws;
  w->link = &n->ws;
  if (w->next)
    w->next->link = &w->next;
  n->ws = w;
  CURL *e = w->slot->easy;
  curl_easy_setopt(e, CURLOPT_URL, c->url);
  curl_easy_setopt(e, CURLOPT_CONNECT_ONLY, 1L);
  curl_easy_setopt(e, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(e, CURLOPT_HTTPPROXYTUNNEL, 1L);
  curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, 0L);
  if (curl_multi_add_handle(n->multi, e) != CURLM_OK)
    lose(w, CSN_E_UNAVAILABLE, "libcurl refuses the call");
  csn_net_kick(n);
}
