/* SPDX-License-Identifier: Apache-2.0
 * objects_http.c - what object stores over HTTP have in common; see
 * objects_backend.h. */
#include <ctype.h>
#include <stdio.h>
#include <time.h>

#include "store/objects_backend.h"
#include "wire/xml_text.h"

enum { IDLE_MS = 60000, SLOWEST_BYTES_MS = 32 /* of an upload, nothing is heard meanwhile */ };

static int
take_body(void *user, csn_str bytes)
{
  csn_objects_reply *r = user;
  csn_buf_add(&r->body, bytes);
  return r->body.over ? CSN_E_LIMIT : 0;
}

void
csn_objects_reply_init(csn_objects_reply *r, size_t body_max)
{
  csn_http_reply_init(&r->http, take_body, r);
  r->body = CSN_BUF(body_max);
}

void
csn_objects_reply_fini(csn_objects_reply *r)
{
  csn_http_reply_fini(&r->http);
  csn_buf_fini(&r->body);
}

csn_str
csn_objects_header(const csn_objects_reply *r, const char *name)
{
  return csn_http_reply_header(&r->http, name);
}

void
csn_objects_escape(csn_buf *out, csn_str text, bool slashes)
{
  for (size_t i = 0; i < text.n; i++) {
    unsigned char c = (unsigned char)text.p[i];
    if (isalnum(c) || (c && strchr("-_.~", c)) || (c == '/' && slashes))
      csn_buf_addc(out, (char)c);
    else
      csn_buf_addf(out, "%%%02X", c);
  }
}

/* The store's word for what is wrong: a word, so nothing that it quotes. */
static void
read_code(const csn_objects_reply *reply, char code[64])
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(4096);
  csn_str body = csn_buf_str(&reply->body);
  static const char key[] = "\"reason\"";
  code[0] = '\0';
  if (csn_xml_text(body, "Code", &b)) {
    snprintf(code, 64, "%.63s", b.p);
  } else {
    size_t at = csn_str_find(body, csn_cstr(key), 0);
    at = at == SIZE_MAX ? at : csn_str_find(body, CSN_STR("\""), at + sizeof key - 1);
    size_t end = at == SIZE_MAX ? at : csn_str_find(body, CSN_STR("\""), at + 1);
    if (end != SIZE_MAX && end - at - 1 < 64)
      snprintf(code, 64, "%.*s", (int)(end - at - 1), body.p + at + 1);
  }
  for (char *c = code; *c; c++)
    if (!isalnum((unsigned char)*c) && *c != '-' && *c != '_')
      *c = '_';
}

static int64_t
retry_after_ms(const csn_objects_reply *reply)
{
  int64_t seconds;
  csn_str text = csn_objects_header(reply, "retry-after");
  return csn_str_int(text, &seconds) && seconds >= 0 && seconds < 3600 ? seconds * 1000 : -1;
}

static int
fail_status(const csn_objects_reply *reply, csn_err *err)
{
  static const struct {
    int status;
    enum csn_code code;
  } rows[] = {{401, CSN_E_DENIED},      {403, CSN_E_DENIED}, {404, CSN_E_NOT_FOUND},
              {408, CSN_E_UNAVAILABLE}, {409, CSN_E_EXISTS}, {410, CSN_E_NOT_FOUND},
              {416, CSN_E_PARSE},       {412, CSN_E_EXISTS}, {429, CSN_E_UNAVAILABLE},
              {501, CSN_E_UNSUPPORTED}};
  /* What passes, told with another status. */
  static const char *const passing[] = {
      "RequestTimeout", "SlowDown",          "OperationAborted", "ServerBusy", "OperationTimedOut",
      "InternalError",  "rateLimitExceeded", "backendError",     NULL};
  char word[64];
  enum csn_code code = reply->http.status >= 500 ? CSN_E_UNAVAILABLE : CSN_E_INVALID;
  for (size_t i = 0; i < CSN_COUNT(rows); i++)
    if (rows[i].status == reply->http.status)
      code = rows[i].code;
  read_code(reply, word);
  if (csn_str_is_one_of(csn_cstr(word), passing))
    code = CSN_E_UNAVAILABLE;
  csn_fail(err, code, "the store answers %d%s%s", reply->http.status, word[0] ? " " : "", word);
  if (err) {
    err->http_status = reply->http.status;
    err->retry_after_ms = retry_after_ms(reply);
  }
  return code;
}

int
csn_objects_send(csn_objects *o, csn_scope *sc, csn_http_req *req, csn_objects_reply *reply,
                 csn_err *err)
{
  req->idle_ms = IDLE_MS + (int64_t)(req->body.n / SLOWEST_BYTES_MS);
  reply->http.user = reply; /* it has not moved since then */
  csn_buf_clear(&reply->body);
  int rc = csn_http_wait(o->http, req, sc, &reply->http, err);
  if (rc < 0)
    return rc;
  return reply->http.status >= 300 && reply->http.status != 308 ? fail_status(reply, err) : 0;
}

void
csn_objects_range(csn_http_req *req, char text[64], int64_t from, int64_t n)
{
  if (n < 0)
    return;
  snprintf(text, 64, "bytes=%lld-%lld", (long long)from, (long long)(from + n - 1));
  req->headers[req->n_headers++] = (csn_header){CSN_STR("Range"), csn_cstr(text)};
}

static int
check_range(const csn_objects_reply *reply, int64_t n, csn_err *err)
{
  if (n < 0 || (reply->http.status == 206 && (int64_t)reply->body.n == n))
    return 0;
  /* A reply that was cut on its way is an error of the connection. */
  return csn_fail(err, CSN_E_PARSE, "the store sent %zu bytes of the %lld that it was asked for",
                  reply->body.n, (long long)n);
}

int
csn_objects_do(csn_objects *o, csn_objects_sender *send, csn_scope *sc, const void *request,
               csn_err *err)
{
  csn_objects_reply reply;
  csn_objects_reply_init(&reply, CSN_OBJECTS_REPLY_MAX);
  int rc = send(o, sc, request, &reply, err);
  csn_objects_reply_fini(&reply);
  return rc;
}

int
csn_objects_get(csn_objects *o, csn_objects_sender *send, csn_scope *sc, const void *request,
                int64_t n, csn_buf *out, csn_err *err)
{
  csn_objects_reply reply;
  csn_objects_reply_init(&reply, (n < 0 ? out->cap : (size_t)n) + CSN_OBJECTS_REPLY_MAX);
  int rc = send(o, sc, request, &reply, err);
  if (rc == 0)
    rc = check_range(&reply, n, err);
  if (rc == 0) {
    csn_buf_add(out, csn_buf_str(&reply.body));
    rc = csn_buf_done(out, "an object", err);
  }
  csn_objects_reply_fini(&reply);
  return rc;
}

int64_t
csn_objects_now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t
csn_objects_time_ms(csn_str text)
{
  return csn_http_time_ms(text);
}
