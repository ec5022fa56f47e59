/* SPDX-License-Identifier: Apache-2.0
 *
 * web_head.c - heads of requests and responses: judged, and written anew.
 *
 * Nothing of a head is passed on as it came.  The request line and Host are
 * made from the host that was judged, framing is ours, and fields that belong
 * to one connection end here.
 */
#include <stdio.h>

#include "egress/web.h"

/* ---- who is asked ---- */

void
csn_web_refuse(csn_conn *c, int status, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(c->reason, sizeof c->reason, fmt, ap);
  va_end(ap);
  bool body = !c->web->is_head;
  c->web->status = status;
  csn_conn_report(c, false, c->reason);
  csn_conn_answer(c, status, c->reason, body);
}

/* The destination that the head names, or that of the connection. */
static int
find_dest(csn_conn *c, csn_dest *d)
{
  const csn_web *w = c->web;
  const csn_http1_head *m = &w->request.head;
  bool tls = c->client.tls != NULL;
  uint16_t usual = w->origin.port ? w->origin.port : tls ? 443 : 80;
  if (m->host.n == 0) { /* HTTP/1.0 */
    *d = w->origin;
    if (d->host[0])
      return 0;
    csn_web_refuse(c, 400, "the request does not say which host it is for");
    return -1;
  }
  if (!csn_dest_set(d, m->host, m->port ? m->port : usual)) {
    csn_web_refuse(c, 400, "the request's host is no host name");
    return -1;
  }
  return 0;
}

static int
judge_form(csn_conn *c)
{
  const csn_http1_head *m = &c->web->request.head;
  bool proxy = c->web->kind == CSN_WEB_PROXY;
  if (proxy && m->form != CSN_HTTP1_ABSOLUTE) {
    csn_web_refuse(c, 400,
                   "this is the sandbox's HTTP proxy: requests here name a whole URL, or "
                   "use CONNECT");
    return -1;
  }
  if (m->form == CSN_HTTP1_ABSOLUTE && m->https != (c->client.tls != NULL)) {
    csn_web_refuse(c, 400, "https goes through CONNECT, so that it is encrypted all the way");
    return -1;
  }
  if (m->form == CSN_HTTP1_AUTHORITY || csn_str_eq(m->method, CSN_STR("TRACE")) ||
      csn_str_eq(m->method, CSN_STR("TRACK"))) {
    csn_web_refuse(c, 405, "%s is not passed on", c->web->method);
    return -1;
  }
  return 0;
}

int
csn_web_judge(csn_conn *c)
{
  csn_web *w = c->web;
  csn_dest d;
  if (find_dest(c, &d) < 0)
    return -1;
  bool agrees = strcmp(d.host, w->origin.host) == 0 && d.port == w->origin.port;
  c->dest = d;
  if (w->kind == CSN_WEB_BOUND && !agrees) {
    csn_web_refuse(c, 421, "the request is for %s:%u, on a connection to %s:%u", d.host, d.port,
                   w->origin.host, w->origin.port);
    return -1;
  }
  if (w->kind == CSN_WEB_OPEN && d.port != w->origin.port) {
    csn_web_refuse(c, 421, "the request is for port %u, on a connection to port %u", d.port,
                   w->origin.port);
    return -1;
  }
  if (!csn_conn_judge(c, 403) || judge_form(c) < 0)
    return -1;
  if (!csn_policy_method(&c->verdict, csn_cstr(w->method))) {
    csn_web_refuse(c, 403, "%s is on this sandbox's list, but not with the method %s", d.host,
                   w->method);
    return -1;
  }
  const char *why = csn_restriction_of(c->egress, csn_cstr(w->method),
                                       w->request.head.upgrade.n > 0 ||
                                           w->request.head.body != CSN_HTTP1_NO_BODY);
  if (why) {
    c->verdict.allowed = false;
    csn_web_refuse(c, 403, "%s", why);
    return -1;
  }
  return 0;
}

/* ---- the request ---- */

static void
add_host(csn_buf *out, const csn_dest *d, bool tls)
{
  bool v6 = d->is_address && d->address.v6;
  csn_buf_addf(out, v6 ? "Host: [%s]" : "Host: %s", d->host);
  if (d->port != (tls ? 443 : 80))
    csn_buf_addf(out, ":%u", d->port);
  csn_buf_addz(out, "\r\n");
}

/* Would it make the response one that cannot be searched? */
static bool
compresses(csn_str name)
{
  return csn_http1_same(name, CSN_STR("accept-encoding")) ||
         csn_http1_same(name, CSN_STR("sec-websocket-extensions"));
}

static int
add_fields(csn_conn *c)
{
  csn_web *w = c->web;
  const csn_config *config = &c->egress->config;
  const csn_http1_head *m = &w->request.head;
  csn_auto(csn_buf_finip) csn_buf value = CSN_BUF(2 * CSN_HTTP1_HEAD_BYTES);
  for (size_t i = 0; i < m->n_fields; i++) {
    csn_str name = m->fields[i].name;
    if (csn_http1_is_hop(m, name) || csn_http1_same(name, CSN_STR("host")) ||
        (w->scrub && compresses(name)) || csn_secret_sets(config, &c->dest, name))
      continue;
    csn_buf_clear(&value);
    w->secrets |= csn_secret_fill(config, &c->dest, name, m->fields[i].value, &value);
    if (!csn_http1_add_field(&w->head, name, csn_buf_str(&value))) {
      csn_web_refuse(c, 400, "a field of the request cannot be passed on");
      return -1;
    }
  }
  w->secrets |= csn_secret_add_fields(config, &c->dest, &w->head);
  if (w->scrub)
    csn_buf_addz(&w->head, "Accept-Encoding: identity\r\n");
  return 0;
}

int
csn_web_write_request(csn_conn *c)
{
  csn_web *w = c->web;
  const csn_http1_head *m = &w->request.head;
  bool tls = c->client.tls != NULL;
  csn_buf_clear(&w->head);
  w->secrets = 0;
  w->scrub = csn_secret_matters(&c->egress->config, &c->dest);
  csn_buf_add(&w->head, m->method);
  csn_buf_addz(&w->head, m->path.n && m->path.p[0] != '?' ? " " : " /");
  csn_buf_add(&w->head, m->path);
  csn_buf_addz(&w->head, " HTTP/1.1\r\n");
  add_host(&w->head, &c->dest, tls);
  if (add_fields(c) < 0)
    return -1;
  w->upgrades = csn_http1_same(m->upgrade, CSN_STR("websocket"));
  if (w->upgrades)
    csn_buf_addz(&w->head, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
  w->chunk_up = m->body == CSN_HTTP1_CHUNKED;
  if (w->chunk_up)
    csn_buf_addz(&w->head, "Transfer-Encoding: chunked\r\n");
  else if (csn_http1_find(m, "content-length"))
    csn_buf_addf(&w->head, "Content-Length: %llu\r\n", (unsigned long long)m->length);
  csn_buf_addz(&w->head, "\r\n");
  if (csn_buf_done(&w->head, "the request's head", NULL) < 0) {
    csn_web_refuse(c, 431, "the request's head is too large");
    return -1;
  }
  return 0;
}

/* ---- the response ---- */

static void
add_scrubbed(csn_conn *c, csn_str text, csn_buf *out)
{
  csn_scrub_tail none = {0};
  if (c->web->scrub)
    csn_scrub(c->egress->scrubber, &none, text, true, out);
  else
    csn_buf_add(out, text);
  csn_scrub_tail_fini(&none);
}

static int
check_coding(const csn_web *w, csn_err *err)
{
  const csn_http1_head *m = &w->response.head;
  const csn_http1_field *coding = csn_http1_find(m, "content-encoding");
  if (!w->scrub || !coding || csn_http1_same(coding->value, CSN_STR("identity")) ||
      m->body == CSN_HTTP1_NO_BODY)
    return 0;
  return csn_fail(err, CSN_E_UNSUPPORTED,
                  "the server compressed its response although asked not to, so it cannot be "
                  "searched for secrets");
}

static void
add_framing(csn_web *w, csn_buf *out)
{
  const csn_http1_head *m = &w->response.head, *asked = &w->request.head;
  bool sized = csn_http1_find(m, "content-length") != NULL;
  if (m->status / 100 == 1)
    return;
  w->chunk_down = false;
  if (m->body == CSN_HTTP1_CHUNKED || m->body == CSN_HTTP1_UNTIL_CLOSE) {
    w->chunk_down = asked->minor == 1;
    w->keep_near = w->keep_near && w->chunk_down;
    if (w->chunk_down)
      csn_buf_addz(out, "Transfer-Encoding: chunked\r\n");
  } else if (sized && m->status != 204) {
    csn_buf_addf(out, "Content-Length: %llu\r\n", (unsigned long long)m->length);
  } else if (m->status != 204 && m->status != 304 && !w->is_head) {
    csn_buf_addz(out, "Content-Length: 0\r\n");
  }
  if (!w->keep_near)
    csn_buf_addz(out, "Connection: close\r\n");
  else if (asked->minor == 0)
    csn_buf_addz(out, "Connection: keep-alive\r\n");
}

int
csn_web_write_response(csn_conn *c, csn_err *err)
{
  csn_web *w = c->web;
  const csn_http1_head *m = &w->response.head;
  csn_auto(csn_buf_finip) csn_buf value = CSN_BUF(2 * CSN_HTTP1_HEAD_BYTES);
  int rc = check_coding(w, err);
  if (rc < 0)
    return rc;
  csn_buf_clear(&w->work);
  csn_buf_addf(&w->work, "HTTP/1.1 %d ", m->status);
  add_scrubbed(c, m->reason, &w->work);
  csn_buf_addz(&w->work, "\r\n");
  for (size_t i = 0; i < m->n_fields; i++) {
    if (csn_http1_is_hop(m, m->fields[i].name))
      continue;
    csn_buf_clear(&value);
    add_scrubbed(c, m->fields[i].value, &value);
    if (!csn_http1_add_field(&w->work, m->fields[i].name, csn_buf_str(&value)))
      return csn_fail(err, CSN_E_PARSE, "a field of the response cannot be passed on");
  }
  if (m->status == 101)
    csn_buf_addz(&w->work, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
  add_framing(w, &w->work);
  csn_buf_addz(&w->work, "\r\n");
  return csn_buf_done(&w->work, "the response's head", err);
}
