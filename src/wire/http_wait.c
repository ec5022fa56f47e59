/* SPDX-License-Identifier: Apache-2.0
 * http_wait.c - see http_wait.h. */
#include "wire/http_wait.h"

#include <stdio.h>
#include <time.h>

enum { HEAD_MAX = 96 << 10 };

/* ---- addresses ---- */

csn_str
csn_url_origin(csn_str url)
{
  size_t at = csn_str_find(url, CSN_STR("://"), 0);
  at = at == SIZE_MAX ? 0 : at + 3;
  while (at < url.n && !strchr("/?#", url.p[at]))
    at++;
  return csn_strn(url.p, at);
}

static bool
has_scheme(csn_str s)
{
  size_t i = 0;
  while (i < s.n && !strchr(":/?#", s.p[i]))
    i++;
  return i < s.n && s.p[i] == ':';
}

int
csn_url_next(csn_str url, csn_str location, csn_buf *out, csn_err *err)
{
  csn_str origin = csn_url_origin(url);
  bool is_http =
      csn_str_starts(location, CSN_STR("http://")) || csn_str_starts(location, CSN_STR("https://"));
  if (has_scheme(location) && !is_http)
    return csn_fail(err, CSN_E_UNSUPPORTED, "a redirect that leads to no http server");
  if (csn_str_starts(location, CSN_STR("//"))) {
    csn_buf_add(out, csn_strn(url.p, csn_str_find(url, CSN_STR("//"), 0)));
  } else if (csn_str_starts(location, CSN_STR("/"))) {
    csn_buf_add(out, origin);
  } else if (!is_http) {
    size_t end = url.n;
    for (size_t i = origin.n; i < end; i++)
      if (url.p[i] == '?' || url.p[i] == '#')
        end = i;
    while (end > origin.n && url.p[end - 1] != '/')
      end--;
    csn_buf_add(out, csn_strn(url.p, end));
    if (end == origin.n)
      csn_buf_addc(out, '/');
  }
  size_t fragment = csn_str_find(location, CSN_STR("#"), 0);
  csn_buf_add(out, fragment == SIZE_MAX ? location : csn_strn(location.p, fragment));
  return csn_buf_done(out, "the address of a redirect", err);
}

/* ---- one request ---- */

struct wait {
  csn_http_reply *reply;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  csn_http_call *call; /* while it runs */
  bool is_done;
  csn_err err; /* code 0: it went well */
};

void
csn_http_reply_init(csn_http_reply *r, int (*body)(void *user, csn_str bytes), void *user)
{
  *r = (csn_http_reply){.type = CSN_BUF(CSN_URL_MAX),
                        .location = CSN_BUF(CSN_URL_MAX),
                        .head = CSN_BUF(HEAD_MAX),
                        .body = body,
                        .user = user};
}

void
csn_http_reply_fini(csn_http_reply *r)
{
  csn_buf_fini(&r->type);
  csn_buf_fini(&r->location);
  csn_buf_fini(&r->head);
}

csn_str
csn_http_reply_header(const csn_http_reply *r, const char *name)
{
  size_t n = strlen(name);
  csn_str rest = csn_buf_str(&r->head), line;
  while (csn_str_line(&rest, &line))
    if (csn_str_starts(line, csn_cstr(name)) && line.n > n && line.p[n] == ':')
      return csn_str_trim(csn_strn(line.p + n + 1, line.n - n - 1));
  return csn_strn(NULL, 0);
}

bool
csn_http_reply_leads_on(const csn_http_reply *r)
{
  bool is_redirect = r->status == 301 || r->status == 302 || r->status == 303 || r->status == 307 ||
                     r->status == 308;
  return is_redirect && r->location.n;
}

static void
on_head(void *user, int status, const csn_header *headers, size_t n)
{
  csn_http_reply *r = ((struct wait *)user)->reply;
  r->status = status;
  for (size_t i = 0; i < n; i++) {
    csn_buf_add(&r->head, headers[i].name);
    csn_buf_addz(&r->head, ": ");
    csn_buf_add(&r->head, headers[i].value);
    csn_buf_addc(&r->head, '\n');
    if (csn_str_eq(headers[i].name, CSN_STR("content-type")))
      csn_buf_add(&r->type, headers[i].value);
    else if (csn_str_eq(headers[i].name, CSN_STR("location")))
      csn_buf_add(&r->location, headers[i].value);
  }
}

static int
on_body(void *user, csn_str bytes)
{
  const csn_http_reply *r = ((struct wait *)user)->reply;
  return r->body(r->user, bytes);
}

static void
on_done(void *user, const csn_err *err)
{
  struct wait *x = user;
  pthread_mutex_lock(&x->lock);
  if (err)
    x->err = *err;
  x->call = NULL;
  x->is_done = true;
  pthread_cond_signal(&x->changed);
  pthread_mutex_unlock(&x->lock);
}

int
csn_http_wait(csn_http *h, const csn_http_req *req, csn_scope *sc, csn_http_reply *r, csn_err *err)
{
  static const csn_http_sink sink = {.head = on_head, .body = on_body, .done = on_done};
  struct wait x = {.reply = r, .lock = PTHREAD_MUTEX_INITIALIZER};
  csn_cond_init(&x.changed);
  r->status = 0;
  csn_buf_clear(&r->type);
  csn_buf_clear(&r->location);
  csn_buf_clear(&r->head);
  pthread_mutex_lock(&x.lock);
  int rc = csn_http_start(h, req, &sink, &x, &x.call, err), over = 0;
  while (rc == 0 && !x.is_done) {
    if (over == 0)
      over = csn_scope_wait(sc, &x.changed, &x.lock, err);
    else /* its end is awaited: it uses our memory */
      pthread_cond_wait(&x.changed, &x.lock);
    if (over < 0 && x.call)
      csn_http_cancel(h, x.call);
  }
  pthread_mutex_unlock(&x.lock);
  pthread_cond_destroy(&x.changed);
  pthread_mutex_destroy(&x.lock);
  if (rc < 0 || over < 0)
    return rc < 0 ? rc : over;
  if (x.err.code == 0 && r->status == 0) /* libcurl takes that for an end */
    csn_fail(&x.err, CSN_E_UNAVAILABLE, "the connection ended before the head of the reply did");
  if (x.err.code && err)
    *err = x.err;
  return x.err.code;
}

int64_t
csn_http_time_ms(csn_str text)
{
  struct tm tm = {0};
  char z[40];
  snprintf(z, sizeof z, "%.*s", (int)(text.n < 39 ? text.n : 39), text.p ? text.p : "");
  const char *end = strptime(z, "%Y-%m-%dT%H:%M:%S", &tm);
  if (!end)
    end = strptime(z, "%a, %d %b %Y %H:%M:%S GMT", &tm);
  return end ? (int64_t)timegm(&tm) * 1000 : 0;
}
