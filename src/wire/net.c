/* SPDX-License-Identifier: Apache-2.0
 *
 * net.c - HTTP calls over libcurl, as the module caisson-net.so.
 *
 * start() copies and checks the request in the caller's thread and posts it;
 * the rest happens in the loop's thread.  A slot holds an easy handle that is
 * reused with its connection, its buffers and most of its options; slots and
 * calls are joined only while a call runs.  Copies of header values, which
 * hold keys, are wiped when their call ends.
 */
#include "wire/net_impl.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>

enum {
  HEAD_MAX = 65536, /* bytes of all heads of one call, informational ones included */
  HEADERS_MAX = 100,
  READ_BYTES = 2048,     /* each call in flight holds so much; 16 KiB gain nothing measurable */
  SPARE_MAX = 64,        /* slots kept; each holds about 30 KiB */
  CONNECTIONS_MAX = 256, /* resting ones kept */
  IDLE_STEP_MS = 10,     /* idle times are checked no more often */
};

static void
unref(csn_http_call *c)
{
  if (atomic_fetch_sub(&c->refs, 1) != 1)
    return;
  explicit_bzero(c->lines, c->lines_size);
  free(c->method);
  free(c->url);
  free(c->lines);
  free(c);
}

/* The end of a head: its lines become a header list for the sink. */
static int
give_head(struct slot *s)
{
  csn_header list[HEADERS_MAX];
  size_t n = 0;
  csn_str rest = csn_buf_str(&s->head), line;
  while (csn_str_line(&rest, &line)) {
    const char *colon = memchr(line.p, ':', line.n);
    if (!colon || colon == line.p)
      continue;
    if (n == HEADERS_MAX)
      return CSN_E_LIMIT;
    char *name = s->head.p + (line.p - s->head.p);
    size_t name_n = (size_t)(colon - line.p);
    for (size_t i = 0; i < name_n; i++)
      name[i] = (char)tolower((unsigned char)name[i]);
    list[n++] =
        (csn_header){csn_strn(name, name_n),
                     csn_str_trim(csn_strn(colon + 1, (size_t)(line.p + line.n - colon - 1)))};
  }
  s->call->sink.head(s->call->user, s->status, list, n);
  return 0;
}

static size_t
on_header(char *p, size_t size, size_t count, void *user)
{
  struct slot *s = user;
  size_t n = size * count;
  csn_str line = csn_strn(p, n);
  s->call->heard_ms = uv_now(s->call->net->uv);
  s->head_bytes += n;
  if (s->head_bytes > HEAD_MAX) {
    s->stop = CSN_E_LIMIT;
    return 0;
  }
  if (csn_str_starts(line, CSN_STR("HTTP/"))) {
    long status = 0;
    curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
    s->status = (int)status;
    csn_buf_clear(&s->head);
  } else if (csn_str_trim(line).n) {
    csn_buf_add(&s->head, line);
  } else if (s->status >= 200) {
    s->stop = give_head(s);
    s->status = 0; /* what follows is a trailer */
  }
  return s->stop < 0 ? 0 : n;
}

static size_t
on_body(char *p, size_t size, size_t count, void *user)
{
  struct slot *s = user;
  size_t n = size * count;
  s->call->heard_ms = uv_now(s->call->net->uv);
  int rc = s->call->sink.body(s->call->user, csn_strn(p, n));
  if (rc < 0)
    s->stop = rc;
  s->call->is_put_off = rc == CSN_HTTP_LATER;
  return rc < 0 ? 0 : rc == CSN_HTTP_LATER ? CURL_WRITEFUNC_PAUSE : n;
}

/* ---- where a guarded call may go ---- */

static bool
is_listed(const csn_http_call *c, const csn_address *a, uint16_t port)
{
  csn_address listed;
  uint16_t listed_port;
  for (const char *const *e = c->allowed; e && *e; e++)
    if (csn_endpoint_parse(csn_cstr(*e), &listed, &listed_port) && listed_port == port &&
        csn_address_eq(&listed, a))
      return true;
  return false;
}

/* libcurl asks for a socket for an address it has found: what is connected to is
 * judged, so that no name can lead elsewhere in the meantime. */
static curl_socket_t
open_socket(void *user, curlsocktype purpose, struct curl_sockaddr *to)
{
  struct slot *s = user;
  struct sockaddr_storage where = {0};
  csn_address a;
  uint16_t port = 0;
  memcpy(&where, &to->addr, to->addrlen < sizeof where ? to->addrlen : sizeof where);
  bool is_known = csn_address_from_sockaddr(&where, &a, &port);
  const char *why = is_known ? csn_address_refusal(&a) : "of no known kind";
  (void)purpose;
  if (why && !(is_known && is_listed(s->call, &a, port))) {
    char text[CSN_ENDPOINT_TEXT] = "?";
    if (is_known)
      csn_endpoint_text(&a, port, text);
    snprintf(s->refused, sizeof s->refused, "%s (%s)", text, why);
    return CURL_SOCKET_BAD;
  }
  return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

static void
set_guard(struct slot *s, bool is_on)
{
  s->refused[0] = '\0';
  curl_easy_setopt(s->easy, CURLOPT_OPENSOCKETFUNCTION, is_on ? open_socket : NULL);
  curl_easy_setopt(s->easy, CURLOPT_OPENSOCKETDATA, s);
  curl_easy_setopt(s->easy, CURLOPT_FRESH_CONNECT, is_on ? 1L : 0L);
  curl_easy_setopt(s->easy, CURLOPT_FORBID_REUSE, is_on ? 1L : 0L);
  curl_easy_setopt(s->easy, CURLOPT_PROXY, is_on ? "" : NULL);
}

static void
set_fixed_options(csn_net *n, struct slot *s)
{
  CURL *e = s->easy;
  curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(e, CURLOPT_BUFFERSIZE, (long)READ_BYTES);
  curl_easy_setopt(e, CURLOPT_SHARE, n->share);
  curl_easy_setopt(e, CURLOPT_PRIVATE, s);
  curl_easy_setopt(e, CURLOPT_ERRORBUFFER, s->error);
  curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(e, CURLOPT_HEADERDATA, s);
  curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(e, CURLOPT_WRITEDATA, s);
  csn_net_poll_setup(n, e);
}

struct slot *
csn_net_slot_new(csn_net *n)
{
  struct slot *s = csn_alloc(sizeof *s);
  s->head = CSN_BUF(HEAD_MAX);
  s->easy = curl_easy_init();
  if (!s->easy)
    abort(); /* out of memory */
  set_fixed_options(n, s);
  return s;
}

static struct slot *
slot_take(csn_net *n)
{
  struct slot *s = n->spare;
  if (!s)
    return csn_net_slot_new(n);
  n->spare = s->next;
  n->n_spare--;
  return s;
}

void
csn_net_slot_free(struct slot *s)
{
  curl_easy_cleanup(s->easy);
  csn_buf_fini(&s->head);
  free(s);
}

static void
slot_give_back(csn_net *n, struct slot *s)
{
  for (struct curl_slist *h = s->headers; h; h = h->next)
    explicit_bzero(h->data, strlen(h->data));
  curl_slist_free_all(s->headers);
  curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, NULL);
  s->headers = NULL;
  s->call = NULL;
  if (n->n_spare == SPARE_MAX || n->is_closing) {
    csn_net_slot_free(s);
    return;
  }
  s->next = n->spare;
  n->spare = s;
  n->n_spare++;
}

/* The call is over; `done` is called last, when nothing refers to it. */
void
csn_net_end(csn_http_call *c, const csn_err *err)
{
  csn_net *n = c->net;
  struct slot *s = c->slot;
  c->is_done = true;
  csn_net_ws_leave(c);
  if (c->link) {
    *c->link = c->next;
    if (c->next)
      c->next->link = c->link;
    n->host.loop_hold(n->host.loop, -1);
  }
  if (s) {
    curl_multi_remove_handle(n->multi, s->easy);
    c->slot = NULL;
    slot_give_back(n, s);
  }
  c->sink.done(c->user, err);
  unref(c);
}

void
csn_net_fail(csn_http_call *c, enum csn_code code, const char *why)
{
  csn_err err;
  csn_str url = csn_cstr(c->url);
  size_t host = csn_str_find(url, CSN_STR("://"), 0) + 3;
  size_t n = strcspn(c->url + host, "/?#");
  const char *at = memrchr(c->url + host, '@', n); /* before it stand a user and a password */
  const char *name = at ? at + 1 : c->url + host;
  n -= (size_t)(name - (c->url + host));
  csn_fail(&err, code, "%s %.*s%.*s: %s", c->method, (int)host, c->url, (int)(n < 200 ? n : 200),
           name, why);
  csn_net_end(c, &err);
}

static void
fail_denied(csn_http_call *c, const char *where)
{
  char text[200];
  snprintf(text, sizeof text, "it leads to %s, which is not public and not in allow_private",
           where);
  csn_net_fail(c, CSN_E_DENIED, text);
}

enum csn_code
csn_net_code_of(CURLcode rc)
{
  /* Everything else that libcurl reports is the network's or the peer's fault. */
  static const struct {
    CURLcode curl;
    enum csn_code code;
  } rows[] = {
      {CURLE_OPERATION_TIMEDOUT, CSN_E_TIMEOUT},
      {CURLE_URL_MALFORMAT, CSN_E_INVALID},
      {CURLE_SSL_ISSUER_ERROR, CSN_E_DENIED},
      {CURLE_SSL_INVALIDCERTSTATUS, CSN_E_DENIED},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++)
    if (rows[i].curl == rc)
      return rows[i].code;
  return CSN_E_UNAVAILABLE;
}

static void
on_finished(csn_http_call *c, CURLcode rc)
{
  struct slot *s = c->slot;
  if (rc == CURLE_OK)
    csn_net_end(c, NULL);
  else if (s->refused[0])
    fail_denied(c, s->refused);
  else if (s->stop == CSN_E_LIMIT)
    csn_net_fail(c, CSN_E_LIMIT, "the reply is larger than this program accepts");
  else if (s->stop < 0)
    csn_net_fail(c, (enum csn_code)s->stop, "the reply was refused");
  else
    csn_net_fail(c, csn_net_code_of(rc), s->error[0] ? s->error : curl_easy_strerror(rc));
}

void
csn_net_check(csn_net *n)
{
  int left;
  for (CURLMsg *m; (m = curl_multi_info_read(n->multi, &left));) {
    struct slot *s;
    if (m->msg == CURLMSG_DONE && curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &s) == 0)
      (s->ws ? csn_net_ws_connected(s, m->data.result) : on_finished(s->call, m->data.result));
  }
}

bool
csn_net_has_heard(CURL *easy)
{
  struct slot *s = NULL;
  return curl_easy_getinfo(easy, CURLINFO_PRIVATE, &s) == CURLE_OK && s && s->head_bytes > 0;
}

/* Ends the calls that waited too long and sleeps until the next may have. */
static void
on_idle_timer(uv_timer_t *t)
{
  csn_net *n = t->data;
  uint64_t now = uv_now(n->uv), next = UINT64_MAX;
  for (csn_http_call *c = n->calls, *then; c; c = then) {
    then = c->next;
    if (c->idle_ms <= 0 || c->is_put_off)
      continue;
    uint64_t due = c->heard_ms + (uint64_t)c->idle_ms;
    due = c->due_ms && c->due_ms < due ? c->due_ms : due;
    if (due <= now)
      csn_net_fail(c, CSN_E_TIMEOUT, "the peer sent nothing for too long");
    else if (due < next)
      next = due;
  }
  if (next != UINT64_MAX)
    uv_timer_start(t, on_idle_timer, next - now > IDLE_STEP_MS ? next - now : IDLE_STEP_MS, 0);
}

static void
watch_idle(csn_net *n, const csn_http_call *c)
{
  if (c->idle_ms <= 0)
    return;
  uv_handle_t *h = (uv_handle_t *)&n->idle_timer;
  uint64_t wait = (uint64_t)c->idle_ms;
  if (c->due_ms && c->due_ms - c->heard_ms < wait)
    wait = c->due_ms - c->heard_ms;
  if (!uv_is_active(h) || uv_timer_get_due_in(&n->idle_timer) > wait)
    uv_timer_start(&n->idle_timer, on_idle_timer, wait, 0);
}

static void
set_call_options(csn_http_call *c, struct slot *s)
{
  CURL *e = s->easy;
  curl_easy_setopt(e, CURLOPT_URL, c->url);
  bool is_post = strcmp(c->method, "POST") == 0, is_get = strcmp(c->method, "GET") == 0;
  if (is_post || c->body.n) {
    curl_easy_setopt(e, CURLOPT_POST, 1L);
    curl_easy_setopt(e, CURLOPT_POSTFIELDS, c->body.n ? c->body.p : "");
    curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body.n);
  } else {
    curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
  }
  bool is_head = strcmp(c->method, "HEAD") == 0;
  curl_easy_setopt(e, CURLOPT_NOBODY, is_head ? 1L : 0L);
  curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, is_post || is_get || is_head ? NULL : c->method);
  const char *line = c->lines;
  for (size_t i = 0; i < c->n_lines; i++, line += strlen(line) + 1)
    s->headers = curl_slist_append(s->headers, line);
  curl_easy_setopt(e, CURLOPT_HTTPHEADER, s->headers);
  set_guard(s, c->is_guarded);
  curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, c->timeout_ms > 0 ? (long)c->timeout_ms : 0L);
  /* Many calls at once to one https host wait for the first to tell whether
   * they can share its connection. */
  curl_easy_setopt(e, CURLOPT_PIPEWAIT, strncmp(c->url, "https:", 6) == 0 ? 1L : 0L);
}

static void
start_in_loop(void *user)
{
  csn_http_call *c = user;
  csn_net *n = c->net;
  if (n->is_closing) {
    csn_net_fail(c, CSN_E_CANCELLED, "the client is closing");
    return;
  }
  c->heard_ms = uv_now(n->uv);
  c->next = n->calls;
  c->link = &n->calls;
  if (c->next)
    c->next->link = &c->next;
  n->calls = c;
  n->host.loop_hold(n->host.loop, 1);
  if (c->is_ws && c->timeout_ms > 0)
    c->due_ms = c->heard_ms + (uint64_t)c->timeout_ms;
  watch_idle(n, c);
  if (c->is_ws) {
    csn_net_ws_start(c);
    return;
  }
  struct slot *s = slot_take(n);
  s->call = c;
  s->head_bytes = 0;
  s->status = s->stop = 0;
  s->error[0] = '\0';
  set_call_options(c, s);
  c->slot = s;
  if (curl_multi_add_handle(n->multi, s->easy) != CURLM_OK)
    csn_net_fail(c, CSN_E_UNAVAILABLE, "libcurl refuses the call");
  csn_net_kick(n);
}

static void
cancel_in_loop(void *user)
{
  csn_http_call *c = user;
  if (!c->is_done)
    csn_net_fail(c, CSN_E_CANCELLED, "cancelled");
  unref(c);
}

static void
resume_in_loop(void *user)
{
  csn_http_call *c = user;
  csn_net *n = c->net;
  if (!c->is_done && c->is_put_off && c->slot) {
    c->is_put_off = false;
    c->heard_ms = uv_now(n->uv);
    watch_idle(n, c);
    curl_easy_pause(c->slot->easy, CURLPAUSE_CONT); /* which may give bytes at once */
    csn_net_kick(n);
  }
  unref(c);
}

static bool
is_token(csn_str s)
{
  for (size_t i = 0; i < s.n; i++)
    if (!isalnum((unsigned char)s.p[i]) && !strchr("!#$%&'*+-.^_`|~", s.p[i]))
      return false;
  return s.n > 0;
}

static bool
has_control(csn_str s, bool blank_too)
{
  for (size_t i = 0; i < s.n; i++) {
    unsigned char c = (unsigned char)s.p[i];
    if ((c < 0x20 && c != '\t') || c == 0x7f || (blank_too && (c == ' ' || c == '\t')))
      return true;
  }
  return false;
}

static int
check_request(const csn_http_req *req, csn_err *err)
{
  bool is_http =
      csn_str_starts(req->url, CSN_STR("http://")) || csn_str_starts(req->url, CSN_STR("https://"));
  if (!is_http || has_control(req->url, true))
    return csn_fail(err, CSN_E_INVALID,
                    "an address must start with http:// or https:// and hold no blanks");
  if (!is_token(csn_cstr(req->method)))
    return csn_fail(err, CSN_E_INVALID, "'%s' is no HTTP method", req->method);
  if (req->n_headers > CSN_COUNT(req->headers))
    return csn_fail(err, CSN_E_INVALID, "a request has at most %zu headers",
                    CSN_COUNT(req->headers));
  for (size_t i = 0; i < req->n_headers; i++) {
    const csn_header *h = &req->headers[i];
    if (!is_token(h->name))
      return csn_fail(err, CSN_E_INVALID, "header %zu has no valid name", i);
    if (has_control(h->value, false)) /* the value may be a key: not shown */
      return csn_fail(err, CSN_E_INVALID, "the value of header %.*s holds a control character",
                      (int)h->name.n, h->name.p);
  }
  return 0;
}

static csn_http_call *
copy_request(const csn_http_req *req)
{
  csn_http_call *c = csn_alloc(sizeof *c);
  static const char no_expect[] = "Expect:";
  size_t size = sizeof no_expect;
  for (size_t i = 0; i < req->n_headers; i++)
    size += req->headers[i].name.n + req->headers[i].value.n + 3;
  c->method = csn_dupz(csn_cstr(req->method));
  c->url = csn_dupz(req->url);
  c->lines = csn_alloc(size);
  c->lines_size = size;
  char *o = c->lines;
  for (size_t i = 0; i < req->n_headers; i++) {
    const csn_header *h = &req->headers[i];
    memcpy(o, h->name.p, h->name.n);
    o += h->name.n;
    csn_str value = csn_str_trim(h->value);
    *o++ = value.n ? ':' : ';'; /* libcurl's way to say "with an empty value" */
    if (value.n) {
      *o++ = ' ';
      memcpy(o, value.p, value.n);
      o += value.n;
    }
    *o++ = '\0';
  }
  memcpy(o, no_expect, sizeof no_expect); /* never wait for "100 Continue" */
  c->n_lines = req->n_headers + 1;
  c->body = req->body;
  c->timeout_ms = req->timeout_ms;
  c->idle_ms = req->idle_ms;
  c->is_guarded = req->is_guarded;
  c->is_ws = req->is_ws;
  c->allowed = req->allowed;
  return c;
}

static int
start(csn_net *n, const csn_http_req *req, const csn_http_sink *sink, void *user,
      csn_http_call **out, csn_err *err)
{
  int rc = check_request(req, err);
  if (rc < 0)
    return rc;
  csn_http_call *c = copy_request(req);
  c->net = n;
  c->sink = *sink;
  c->user = user;
  atomic_init(&c->refs, 1);
  if (out)
    *out = c;
  (req->is_last ? n->host.loop_post_last : n->host.loop_post)(n->host.loop, start_in_loop, c);
  return 0;
}

static void
cancel(csn_net *n, csn_http_call *c)
{
  atomic_fetch_add(&c->refs, 1);
  n->host.loop_post(n->host.loop, cancel_in_loop, c);
}

static void
resume(csn_net *n, csn_http_call *c)
{
  atomic_fetch_add(&c->refs, 1);
  n->host.loop_post(n->host.loop, resume_in_loop, c);
}

static void
open_in_loop(void *user)
{
  csn_net *n = user;
  sigset_t pipe_only; /* TLS libraries may write without MSG_NOSIGNAL */
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe_only, NULL);
  curl_global_init(CURL_GLOBAL_DEFAULT);
  n->multi = curl_multi_init();
  n->share = curl_share_init();
  if (!n->multi || !n->share)
    abort(); /* out of memory */
  curl_share_setopt(n->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
  curl_multi_setopt(n->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX);
  csn_net_poll_open(n);
}

static csn_net *
open_net(const csn_net_host *host)
{
  csn_net *n = csn_alloc(sizeof *n);
  n->host = *host;
  if (host->loop_is_current(host->loop))
    open_in_loop(n); /* a post would come after a close that waits already */
  else
    host->loop_post(host->loop, open_in_loop, n);
  return n;
}

static void
close_net(csn_net *n, csn_loop_fn *gone, void *user)
{
  n->is_closing = true;
  while (n->calls)
    csn_net_fail(n->calls, CSN_E_CANCELLED, "the client is closing");
  for (struct slot *s = n->spare, *next; s; s = next) {
    next = s->next;
    csn_net_slot_free(s);
  }
  csn_net_ws_close(n);
  curl_multi_cleanup(n->multi);
  curl_share_cleanup(n->share);
  curl_global_cleanup();
  n->gone = gone;
  n->gone_user = user;
  csn_net_poll_close(n);
}

const csn_net_module csn_net_entry = {
    .base = {.abi = CSN_NET_ABI, .version = CSN_VERSION},
    .open = open_net,
    .close = close_net,
    .start = start,
    .cancel = cancel,
    .resume = resume,
};
