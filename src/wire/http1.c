/* SPDX-License-Identifier: Apache-2.0
 *
 * http1.c - the HTTP/1.1 codec; see wire/http1.h.
 *
 * Lines of a head are collected until the empty one, then parsed at once; each
 * line's end is looked at as it comes, so that garbage does not wait for the
 * cap.  Bodies are never held.
 */
#include "wire/http1_impl.h"

enum state {
  BETWEEN, /* messages: text holds the head of the last one */
  IN_HEAD,
  HEAD_DONE, /* what follows is decided, END or TUNNEL not told yet */
  IN_LENGTH,
  IN_CLOSE,
  IN_SIZE, /* a chunk's size line */
  IN_CHUNK,
  IN_CRLF, /* after a chunk's data */
  IN_TRAILERS,
  IN_TUNNEL,
  BROKEN,
};

enum {
  SIZE_LINE_MAX = 256,
  EXCESS_MAX = 16 << 10, /* chunk framing beyond what its data justifies */
  METHOD_MAX = 32,
};

/* ---- failure ---- */

static int
refuse(csn_err *err, enum csn_code code, int status, const char *what)
{
  int rc = csn_fail(err, code, "HTTP: %s", what);
  if (err)
    err->http_status = status;
  return rc;
}

static int
bad(csn_err *err, const char *what)
{
  return refuse(err, CSN_E_PARSE, 400, what);
}

/* ---- the start line ---- */

/* Of a request's target: what the path and the authority are. */
static int
parse_target(csn_http1_head *m, csn_err *err)
{
  csn_str t = m->target;
  bool is_connect = csn_str_eq(m->method, CSN_STR("CONNECT"));
  for (size_t i = 0; i < t.n; i++)
    if ((unsigned char)t.p[i] <= 0x20 || (unsigned char)t.p[i] >= 0x7f || t.p[i] == '#')
      return bad(err, "the target holds a character that belongs percent-encoded");
  if (is_connect) {
    m->form = CSN_HTTP1_AUTHORITY;
    if (!csn_http1_authority(t, &m->host, &m->port) || m->port == 0)
      return bad(err, "the target of CONNECT is not HOST:PORT");
    return 0;
  }
  if (t.n && t.p[0] == '/') {
    m->form = CSN_HTTP1_ORIGIN;
    m->path = t;
    return 0;
  }
  if (csn_str_eq(t, CSN_STR("*")) && csn_str_eq(m->method, CSN_STR("OPTIONS"))) {
    m->form = CSN_HTTP1_STAR;
    m->path = t;
    return 0;
  }
  m->form = CSN_HTTP1_ABSOLUTE;
  m->https = t.n >= 8 && csn_http1_same(csn_strn(t.p, 8), CSN_STR("https://"));
  size_t scheme = m->https ? 8 : 7;
  if (!m->https && !(t.n >= 7 && csn_http1_same(csn_strn(t.p, 7), CSN_STR("http://"))))
    return bad(err, "the target is neither a path nor an http URL");
  csn_str rest = csn_strn(t.p + scheme, t.n - scheme);
  size_t n = 0;
  while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
    n++;
  if (!csn_http1_authority(csn_strn(rest.p, n), &m->host, &m->port))
    return bad(err, "the target's host is not valid");
  m->path = csn_strn(rest.p + n, rest.n - n); /* may lack its first '/' */
  return 0;
}

static int
parse_version(csn_str v, csn_http1_head *m, csn_err *err)
{
  if (csn_str_eq(v, CSN_STR("HTTP/1.1")))
    m->minor = 1;
  else if (csn_str_eq(v, CSN_STR("HTTP/1.0")))
    m->minor = 0;
  else if (csn_str_starts(v, CSN_STR("HTTP/")))
    return refuse(err, CSN_E_UNSUPPORTED, 505, "the version is neither 1.0 nor 1.1");
  else
    return bad(err, "the first line has no version");
  return 0;
}

static int
parse_request_line(csn_str line, csn_http1_head *m, csn_err *err)
{
  bool found;
  m->method = cut(&line, ' ', &found);
  if (!csn_http1_is_token(m->method) || m->method.n > METHOD_MAX)
    return bad(err, "the method is not a word");
  if (found)
    m->target = cut(&line, ' ', &found);
  if (!found || m->target.n == 0)
    return bad(err, "the request line is not METHOD TARGET VERSION");
  int rc = parse_version(line, m, err);
  return rc < 0 ? rc : parse_target(m, err);
}

static int
parse_status_line(csn_str line, csn_http1_head *m, csn_err *err)
{
  bool found;
  int rc = parse_version(cut(&line, ' ', &found), m, err);
  if (rc < 0)
    return rc;
  csn_str code = cut(&line, ' ', &found);
  int64_t status = 0;
  if (code.n != 3 || code.p[0] < '1' || code.p[0] > '9' || !csn_str_int(code, &status))
    return bad(err, "the status is not a number of three digits");
  m->status = (int)status;
  m->reason = line;
  return csn_http1_is_value(line) ? 0 : bad(err, "the reason holds a control character");
}

/* ---- what the fields say about the message ---- */

struct framing {
  const csn_http1_field *length, *coding, *host;
  bool close, keep, upgrade;
};

static int
collect(const csn_http1_head *m, struct framing *f, csn_err *err)
{
  for (size_t i = 0; i < m->n_fields; i++) {
    const csn_http1_field *at = &m->fields[i];
    if (csn_http1_same(at->name, CSN_STR("content-length"))) {
      if (f->length)
        return bad(err, "two lengths");
      f->length = at;
    } else if (csn_http1_same(at->name, CSN_STR("transfer-encoding"))) {
      if (f->coding)
        return bad(err, "two transfer codings");
      f->coding = at;
    } else if (csn_http1_same(at->name, CSN_STR("host"))) {
      if (f->host)
        return bad(err, "two Host fields");
      f->host = at;
    } else if (csn_http1_same(at->name, CSN_STR("connection"))) {
      f->close = f->close || csn_http1_lists(at->value, "close");
      f->keep = f->keep || csn_http1_lists(at->value, "keep-alive");
      f->upgrade = f->upgrade || csn_http1_lists(at->value, "upgrade");
    }
  }
  return 0;
}

static int
decide_body(const struct framing *f, csn_http1_head *m, bool is_response, csn_err *err)
{
  if (f->coding && f->length)
    return bad(err, "a length and a transfer coding together");
  if (f->coding) {
    if (m->minor == 0)
      return bad(err, "a transfer coding in HTTP/1.0");
    if (!csn_http1_same(f->coding->value, CSN_STR("chunked")))
      return refuse(err, CSN_E_UNSUPPORTED, 501, "a transfer coding other than chunked");
    m->body = CSN_HTTP1_CHUNKED;
    return 0;
  }
  if (!f->length) {
    m->body = is_response ? CSN_HTTP1_UNTIL_CLOSE : CSN_HTTP1_NO_BODY;
    return 0;
  }
  csn_str v = f->length->value;
  int64_t length = -1;
  if (v.n == 0 || v.n > 18 || v.p[0] < '0' || v.p[0] > '9' || !csn_str_int(v, &length))
    return bad(err, "the length is not a number");
  m->length = (uint64_t)length;
  m->body = length ? CSN_HTTP1_LENGTH : CSN_HTTP1_NO_BODY;
  return 0;
}

/* Who is asked: the target's authority, which Host must repeat, or Host. */
static int
decide_host(const struct framing *f, csn_http1_head *m, csn_err *err)
{
  csn_str host = {NULL, 0};
  uint16_t port = 0;
  bool in_target = m->form == CSN_HTTP1_ABSOLUTE || m->form == CSN_HTTP1_AUTHORITY;
  if (!f->host)
    return m->minor == 1 ? bad(err, "no Host field") : 0;
  if (!csn_http1_authority(f->host->value, &host, &port))
    return bad(err, "the Host field is not a host");
  if (!in_target) {
    m->host = host;
    m->port = port;
    return 0;
  }
  uint16_t usual = m->form == CSN_HTTP1_AUTHORITY ? m->port : m->https ? 443 : 80;
  /* Clients differ in whether CONNECT's Host carries the port. */
  if (!csn_http1_same(host, m->host) || (port ? port : usual) != (m->port ? m->port : usual))
    return bad(err, "the Host field is not the target's host");
  return 0;
}

static int
decide_request(csn_http1 *h, const struct framing *f, csn_err *err)
{
  csn_http1_head *m = &h->head;
  int rc = decide_host(f, m, err);
  if (rc < 0)
    return rc;
  const csn_http1_field *expect = csn_http1_find(m, "expect");
  if (expect && m->minor == 1) {
    if (!csn_http1_same(expect->value, CSN_STR("100-continue")))
      return refuse(err, CSN_E_UNSUPPORTED, 417, "an expectation other than 100-continue");
    m->expect_continue = m->body != CSN_HTTP1_NO_BODY;
  }
  if (m->form == CSN_HTTP1_AUTHORITY) {
    if (m->body != CSN_HTTP1_NO_BODY)
      return bad(err, "CONNECT with a body");
    h->tunnel = true;
  }
  return 0;
}

static int
decide_response(csn_http1 *h, const struct framing *f, csn_err *err)
{
  csn_http1_head *m = &h->head;
  bool tunnel = m->status == 101 || (h->connect && m->status / 100 == 2);
  bool bare = m->status / 100 == 1 || m->status == 204;
  if (bare && (f->coding || m->length))
    return bad(err, "a body where the status allows none");
  if (bare || tunnel || h->no_body || m->status == 304)
    m->body = CSN_HTTP1_NO_BODY;
  if (m->status == 101 && m->upgrade.n == 0)
    return bad(err, "101 without Upgrade");
  h->tunnel = tunnel;
  if (m->body == CSN_HTTP1_UNTIL_CLOSE || tunnel)
    m->keep_alive = false;
  return 0;
}

static int
decide(csn_http1 *h, csn_err *err)
{
  csn_http1_head *m = &h->head;
  struct framing f = {0};
  bool is_response = h->kind == CSN_HTTP1_RESPONSE;
  int rc = collect(m, &f, err);
  if (rc >= 0)
    rc = decide_body(&f, m, is_response, err);
  if (rc < 0)
    return rc;
  m->keep_alive = !f.close && (m->minor == 1 || f.keep);
  const csn_http1_field *upgrade = f.upgrade ? csn_http1_find(m, "upgrade") : NULL;
  if (upgrade)
    m->upgrade = upgrade->value;
  return is_response ? decide_response(h, &f, err) : decide_request(h, &f, err);
}

/* ---- heads ---- */

/* A line without its CRLF into name and value. */
static int
parse_field(csn_str line, csn_http1_field *out, csn_err *err)
{
  bool found;
  if (line.n && (line.p[0] == ' ' || line.p[0] == '\t'))
    return bad(err, "a folded line");
  csn_str name = cut(&line, ':', &found);
  if (!found || !csn_http1_is_token(name))
    return bad(err, "a field's name is not a word that a colon follows");
  if (!csn_http1_is_value(line))
    return bad(err, "a field's value holds a control character");
  *out = (csn_http1_field){name, trim_blanks(line)};
  return 0;
}

/* Lines of text that are known to end in CRLF, up to the empty one. */
static int
parse_fields(csn_str text, csn_http1_field *out, size_t max, size_t *n, csn_err *err)
{
  *n = 0;
  for (csn_str line; csn_str_line(&text, &line) && line.n > 0;) {
    if (*n == max)
      return refuse(err, CSN_E_LIMIT, 431, "too many fields");
    int rc = parse_field(line, &out[*n], err);
    if (rc < 0)
      return rc;
    ++*n;
  }
  return 0;
}

static int
parse_start(csn_http1 *h, csn_str line, csn_err *err)
{
  h->head.n_fields = 0;
  return h->kind == CSN_HTTP1_REQUEST ? parse_request_line(line, &h->head, err)
                                      : parse_status_line(line, &h->head, err);
}

static void
clear_head(csn_http1_head *m)
{
  memset(m, 0, offsetof(csn_http1_head, fields));
  m->n_fields = 0;
  m->body = CSN_HTTP1_NO_BODY;
  m->length = 0;
  m->keep_alive = m->expect_continue = false;
  m->upgrade = (csn_str){NULL, 0};
}

static int
state_after(const csn_http1_head *m)
{
  switch (m->body) {
  case CSN_HTTP1_LENGTH:
    return IN_LENGTH;
  case CSN_HTTP1_CHUNKED:
    return IN_SIZE;
  case CSN_HTTP1_UNTIL_CLOSE:
    return IN_CLOSE;
  case CSN_HTTP1_NO_BODY:
  default:
    return HEAD_DONE;
  }
}

static int
head_complete(csn_http1 *h, csn_err *err)
{
  csn_str text = csn_buf_str(&h->text), line;
  csn_http1_head *m = &h->head;
  clear_head(m);
  if (!csn_str_line(&text, &line))
    return bad(err, "an empty head");
  int rc = parse_start(h, line, err);
  if (rc >= 0)
    rc = parse_fields(text, m->fields, CSN_HTTP1_FIELDS, &m->n_fields, err);
  if (rc >= 0)
    rc = decide(h, err);
  if (rc < 0)
    return rc;
  h->left = m->length;
  h->excess = 0;
  h->n_trailers = 0;
  h->state = state_after(m);
  return CSN_HTTP1_HEAD;
}

/* Adds to h->text through the next line end.  1: a line is complete, at
 * h->start, 0: more is needed. */
static int
take_line(csn_http1 *h, csn_str *bytes, csn_err *err)
{
  const char *lf = bytes->n ? memchr(bytes->p, '\n', bytes->n) : NULL;
  size_t n = lf ? (size_t)(lf - bytes->p) + 1 : bytes->n;
  if (h->text.n + n > h->max_head || h->text.n + n - h->start > CSN_HTTP1_LINE_BYTES)
    return refuse(err, CSN_E_LIMIT, 431, "the head is too large");
  csn_buf_add(&h->text, csn_strn(bytes->p, n));
  *bytes = csn_strn(bytes->p + n, bytes->n - n);
  if (!lf)
    return 0;
  if (h->text.n - h->start < 2 || h->text.p[h->text.n - 2] != '\r')
    return bad(err, "a line that ends in a bare line feed");
  return 1;
}

static int
next_in_head(csn_http1 *h, csn_str *bytes, csn_err *err)
{
  while (bytes->n > 0) {
    int rc = take_line(h, bytes, err);
    if (rc <= 0)
      return rc; /* CSN_HTTP1_MORE is 0 */
    csn_str line = csn_strn(h->text.p + h->start, h->text.n - h->start - 2);
    if (line.n == 0 && h->start > 0)
      return head_complete(h, err);
    if (h->start == 0) {
      /* Now, so that what is no HTTP at all is told at once. */
      rc = parse_start(h, line, err);
      if (rc < 0)
        return rc;
    }
    h->start = h->text.n;
  }
  return CSN_HTTP1_MORE;
}

/* ---- bodies ---- */

static int
next_data(csn_http1 *h, csn_str *bytes, csn_str *data, int then)
{
  size_t n = h->left < bytes->n ? (size_t)h->left : bytes->n;
  if (n == 0)
    return CSN_HTTP1_MORE;
  *data = csn_strn(bytes->p, n);
  *bytes = csn_strn(bytes->p + n, bytes->n - n);
  h->left -= n;
  if (h->left == 0)
    h->state = then;
  return CSN_HTTP1_DATA;
}

static int
hex_digit(char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "1a" or "1a;name=value", without its CRLF. */
static int
parse_size(csn_http1 *h, csn_str line, csn_err *err)
{
  size_t digits = 0;
  h->left = 0;
  for (; digits < line.n && hex_digit(line.p[digits]) >= 0; digits++) {
    if (digits == 15)
      return bad(err, "a chunk's size is too large");
    h->left = h->left << 4 | (unsigned)hex_digit(line.p[digits]);
  }
  csn_str rest = trim_blanks(csn_strn(line.p + digits, line.n - digits));
  if (digits == 0 || (rest.n > 0 && (line.p[digits] != ';' || !csn_http1_is_value(rest))) ||
      (rest.n == 0 && digits < line.n))
    return bad(err, "a chunk's size is not a hexadecimal number");
  /* Ones of a byte each with long extensions would make a little data cost a
   * lot of work. */
  h->excess += line.n + 2;
  uint64_t paid = 16 + 2 * h->left;
  h->excess = paid < h->excess ? h->excess - (size_t)paid : 0;
  if (h->excess > EXCESS_MAX)
    return bad(err, "more chunk framing than data");
  h->state = h->left ? IN_CHUNK : IN_TRAILERS;
  if (h->left == 0) {
    csn_buf_clear(&h->line);
    h->start = 0;
  }
  return 0;
}

static int
next_size(csn_http1 *h, csn_str *bytes, csn_err *err)
{
  const char *lf = bytes->n ? memchr(bytes->p, '\n', bytes->n) : NULL;
  size_t n = lf ? (size_t)(lf - bytes->p) + 1 : bytes->n;
  if (h->line.n + n > SIZE_LINE_MAX)
    return bad(err, "a chunk's size line is too long");
  csn_buf_add(&h->line, csn_strn(bytes->p, n));
  *bytes = csn_strn(bytes->p + n, bytes->n - n);
  if (!lf)
    return CSN_HTTP1_MORE;
  if (h->line.n < 2 || h->line.p[h->line.n - 2] != '\r')
    return bad(err, "a chunk's size line ends in a bare line feed");
  int rc = parse_size(h, csn_strn(h->line.p, h->line.n - 2), err);
  csn_buf_clear(&h->line);
  return rc;
}

static int
next_crlf(csn_http1 *h, csn_str *bytes, csn_err *err)
{
  for (; bytes->n > 0 && h->state == IN_CRLF; *bytes = csn_strn(bytes->p + 1, bytes->n - 1)) {
    if (bytes->p[0] != (h->line.n == 0 ? '\r' : '\n'))
      return bad(err, "a chunk is longer than its size");
    csn_buf_addc(&h->line, bytes->p[0]);
    if (h->line.n == 2) {
      csn_buf_clear(&h->line);
      h->state = IN_SIZE;
    }
  }
  return 0;
}

/* Trailers are collected behind nothing else in h->line. */
static int
next_trailers(csn_http1 *h, csn_str *bytes, csn_err *err)
{
  while (bytes->n > 0) {
    const char *lf = memchr(bytes->p, '\n', bytes->n);
    size_t n = lf ? (size_t)(lf - bytes->p) + 1 : bytes->n;
    if (h->line.n + n > h->max_head)
      return refuse(err, CSN_E_LIMIT, 431, "the trailers are too large");
    csn_buf_add(&h->line, csn_strn(bytes->p, n));
    *bytes = csn_strn(bytes->p + n, bytes->n - n);
    if (!lf)
      return CSN_HTTP1_MORE;
    size_t length = h->line.n - h->start;
    if (length < 2 || h->line.p[h->line.n - 2] != '\r')
      return bad(err, "a trailer ends in a bare line feed");
    h->start = h->line.n;
    if (length > 2)
      continue;
    int rc = parse_fields(csn_buf_str(&h->line), h->trailers, CSN_COUNT(h->trailers),
                          &h->n_trailers, err);
    for (size_t i = 0; rc >= 0 && i < h->n_trailers; i++)
      if (csn_http1_same(h->trailers[i].name, CSN_STR("content-length")) ||
          csn_http1_same(h->trailers[i].name, CSN_STR("transfer-encoding")) ||
          csn_http1_same(h->trailers[i].name, CSN_STR("host")))
        rc = bad(err, "a trailer that belongs into the head");
    if (rc >= 0)
      h->state = HEAD_DONE;
    return rc;
  }
  return CSN_HTTP1_MORE;
}

/* ---- the codec ---- */

void
csn_http1_init(csn_http1 *h, enum csn_http1_kind kind, size_t max_head)
{
  memset(h, 0, sizeof *h);
  h->kind = kind;
  h->max_head = max_head ? max_head : CSN_HTTP1_HEAD_BYTES;
  h->text = CSN_BUF(h->max_head);
  h->line = CSN_BUF(h->max_head > SIZE_LINE_MAX ? h->max_head : SIZE_LINE_MAX);
}

void
csn_http1_fini(csn_http1 *h)
{
  csn_buf_fini(&h->text);
  csn_buf_fini(&h->line);
}

void
csn_http1_answers(csn_http1 *h, csn_str method)
{
  h->no_body = csn_str_eq(method, CSN_STR("HEAD"));
  h->connect = csn_str_eq(method, CSN_STR("CONNECT"));
}

static int
end_message(csn_http1 *h)
{
  if (h->tunnel) {
    h->state = IN_TUNNEL;
    return CSN_HTTP1_TUNNEL;
  }
  h->state = BETWEEN;
  if (h->kind == CSN_HTTP1_RESPONSE && h->head.status / 100 != 1)
    h->no_body = h->connect = false;
  return CSN_HTTP1_END;
}

static int
step(csn_http1 *h, csn_str *bytes, csn_str *data, csn_err *err)
{
  switch ((enum state)h->state) {
  case BETWEEN:
    if (bytes->n == 0)
      return CSN_HTTP1_MORE;
    csn_buf_clear(&h->text);
    h->start = 0;
    h->state = IN_HEAD;
    return CSN_HTTP1_MORE;
  case IN_HEAD:
    return next_in_head(h, bytes, err);
  case HEAD_DONE:
    return end_message(h);
  case IN_LENGTH:
    return next_data(h, bytes, data, HEAD_DONE);
  case IN_CLOSE:
    h->left = UINT64_MAX;
    return next_data(h, bytes, data, IN_CLOSE);
  case IN_CHUNK:
    return next_data(h, bytes, data, IN_CRLF);
  case IN_SIZE:
    return next_size(h, bytes, err);
  case IN_CRLF:
    return next_crlf(h, bytes, err);
  case IN_TRAILERS:
    return next_trailers(h, bytes, err);
  case IN_TUNNEL:
    return CSN_HTTP1_TUNNEL;
  case BROKEN:
  default:
    return bad(err, "the connection is broken");
  }
}

int
csn_http1_next(csn_http1 *h, csn_str *bytes, csn_str *data, csn_err *err)
{
  *data = (csn_str){NULL, 0};
  for (;;) {
    int before = h->state, rc = step(h, bytes, data, err);
    if (rc < 0)
      h->state = BROKEN;
    if (rc != CSN_HTTP1_MORE)
      return rc;
    if (bytes->n == 0 && h->state == before)
      return CSN_HTTP1_MORE;
  }
}

int
csn_http1_eof(csn_http1 *h, csn_err *err)
{
  if (h->state == IN_CLOSE) {
    h->state = BETWEEN;
    return CSN_HTTP1_END;
  }
  if (!csn_http1_inside(h))
    return CSN_HTTP1_MORE;
  h->state = BROKEN;
  return bad(err, "the connection ended inside a message");
}

bool
csn_http1_inside(const csn_http1 *h)
{
  return h->state != BETWEEN && h->state != IN_TUNNEL && h->state != BROKEN;
}
