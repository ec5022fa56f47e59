/* SPDX-License-Identifier: Apache-2.0
 * Each message is fed whole, byte by byte and cut at every single point; the
 * events, or the refusal, must be the same. */
#include "wire/http1.h"

#include "check.h"

struct row {
  const char *name, *bytes, *events;
};

static const char *
show(csn_str s)
{
  return s.n ? s.p : "";
}

static void
log_head(csn_buf *log, const csn_http1 *h)
{
  const csn_http1_head *m = &h->head;
  if (h->kind == CSN_HTTP1_REQUEST)
    csn_buf_addf(log, "%.*s %.*s|%d%d|%.*s:%u", (int)m->method.n, show(m->method), (int)m->path.n,
                 show(m->path), (int)m->form, m->https, (int)m->host.n, show(m->host), m->port);
  else
    csn_buf_addf(log, "%d %.*s|", m->status, (int)m->reason.n, show(m->reason));
  csn_buf_addf(log, "|1.%d b%d %llu%s%s%s%.*s", m->minor, (int)m->body,
               (unsigned long long)m->length, m->keep_alive ? " keep" : "",
               m->expect_continue ? " expect" : "", m->upgrade.n ? " up=" : "", (int)m->upgrade.n,
               show(m->upgrade));
  for (size_t i = 0; i < m->n_fields; i++)
    csn_buf_addf(log, " %.*s=%.*s", (int)m->fields[i].name.n, show(m->fields[i].name),
                 (int)m->fields[i].value.n, show(m->fields[i].value));
  csn_buf_addc(log, '\n');
}

/* Pieces of a body that lie side by side are logged as one. */
static bool
take(csn_http1 *h, csn_str bytes, csn_buf *log, bool *in_body)
{
  csn_err err;
  csn_str data;
  for (;;) {
    int rc = csn_http1_next(h, &bytes, &data, &err);
    if (rc == CSN_HTTP1_MORE) {
      assert_int_equal(bytes.n, 0);
      return true;
    }
    if (*in_body && rc != CSN_HTTP1_DATA) {
      csn_buf_addz(log, "]");
      *in_body = false;
    }
    if (rc < 0) {
      csn_buf_addf(log, "%d %s", err.http_status, err.msg + 6);
      return false;
    }
    if (rc == CSN_HTTP1_HEAD) {
      log_head(log, h);
    } else if (rc == CSN_HTTP1_DATA) {
      csn_buf_addz(log, *in_body ? "" : "[");
      *in_body = true;
      assert_true(data.n > 0);
      csn_buf_add(log, data);
    } else if (rc == CSN_HTTP1_TUNNEL) {
      csn_buf_addz(log, "tunnel");
      return false;
    } else {
      for (size_t i = 0; i < h->n_trailers; i++)
        csn_buf_addf(log, "+%.*s=%.*s", (int)h->trailers[i].name.n, h->trailers[i].name.p,
                     (int)h->trailers[i].value.n, h->trailers[i].value.p);
      csn_buf_addz(log, ".");
    }
  }
}

static void
run_cut(enum csn_http1_kind kind, const char *method, csn_str in, size_t at, size_t at2,
        csn_buf *log)
{
  csn_http1 h;
  csn_err err;
  csn_http1_init(&h, kind, 1000);
  csn_http1_answers(&h, csn_cstr(method));
  bool in_body = false, on = true;
  csn_str parts[] = {{in.p, at}, {in.p + at, at2 - at}, {in.p + at2, in.n - at2}};
  for (size_t i = 0; i < 3 && on; i++) {
    char *own = csn_dupz(parts[i]); /* so that ASan sees a slice that is held */
    on = take(&h, csn_strn(own, parts[i].n), log, &in_body);
    free(own);
  }
  if (on) {
    int rc = csn_http1_eof(&h, &err);
    csn_buf_addz(log, in_body ? "]" : "");
    csn_buf_addz(log, rc < 0 ? " cut" : rc == CSN_HTTP1_END ? " end" : "");
  }
  csn_http1_fini(&h);
}

static void
check_rows(enum csn_http1_kind kind, const char *method, const struct row *rows, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    csn_str in = csn_cstr(rows[i].bytes);
    for (size_t at = 0; at <= in.n; at++) {
      csn_auto(csn_buf_finip) csn_buf log = CSN_BUF(8192);
      size_t next = at < in.n ? at + 1 : at;
      run_cut(kind, method, in, at, at % 2 ? next : in.n, &log);
      if (!csn_str_eq(csn_buf_str(&log), csn_cstr(rows[i].events)))
        fail_msg("%s, cut at %zu: got\n%s\nexpected\n%s", rows[i].name, at, log.p ? log.p : "",
                 rows[i].events);
    }
  }
}

TEST(requests_are_read_the_same_however_they_are_cut)
{
  static const struct row rows[] = {
      {"plain", "GET /a?b HTTP/1.1\r\nHost: h.example:81\r\nX:\t y \r\n\r\n",
       "GET /a?b|00|h.example:81|1.1 b0 0 keep Host=h.example:81 X=y\n."},
      {"two",
       "GET / HTTP/1.1\r\nHost: a\r\n\r\nPUT /x HTTP/1.1\r\nhost:b\r\nContent-Length: 3\r\n\r\nabc",
       "GET /|00|a:0|1.1 b0 0 keep Host=a\n.PUT /x|00|b:0|1.1 b1 3 keep host=b "
       "Content-Length=3\n[abc]."},
      {"old", "GET / HTTP/1.0\r\n\r\n", "GET /|00|:0|1.0 b0 0\n."},
      {"old that stays", "GET / HTTP/1.0\r\nConnection: a, Keep-Alive\r\n\r\n",
       "GET /|00|:0|1.0 b0 0 keep Connection=a, Keep-Alive\n."},
      {"absolute", "GET http://A.example:8080/p HTTP/1.1\r\nHost: a.example:8080\r\n\r\n",
       "GET /p|10|A.example:8080|1.1 b0 0 keep Host=a.example:8080\n."},
      {"absolute, no path", "GET https://a?q HTTP/1.1\r\nHost: a:443\r\n\r\n",
       "GET ?q|11|a:0|1.1 b0 0 keep Host=a:443\n."},
      {"v6", "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n",
       "GET /|00|2001:db8::1:80|1.1 b0 0 keep Host=[2001:db8::1]:80\n."},
      {"star", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS *|30|a:0|1.1 b0 0 keep Host=a\n."},
      {"connect", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\nTLS",
       "CONNECT |20|a:443|1.1 b0 0 keep Host=a:443\ntunnel"},
      {"chunked",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
       "3\r\nabc\r\n0A;x=\"y\"\r\n0123456789\r\n0\r\n\r\n",
       "POST /|00|a:0|1.1 b2 0 keep Host=a Transfer-Encoding=Chunked\n[abc0123456789]."},
      {"trailers",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n00\r\nA: "
       "b\r\nC:\r\n\r\n",
       "POST /|00|a:0|1.1 b2 0 keep Host=a Transfer-Encoding=chunked\n[x]+A=b+C=."},
      {"expect", "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\nx",
       "PUT /|00|a:0|1.1 b1 1 keep expect Host=a Expect=100-Continue Content-Length=1\n[x]."},
      {"upgrade",
       "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Upgrade\r\nUpgrade: websocket\r\n\r\n",
       "GET /|00|a:0|1.1 b0 0 keep up=websocket Host=a Connection=x, Upgrade Upgrade=websocket\n."},
      {"upgrade not asked", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n",
       "GET /|00|a:0|1.1 b0 0 keep Host=a Upgrade=h2c\n."},
      {"close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
       "GET /|00|a:0|1.1 b0 0 Host=a Connection=close\n."},
      {"cut in a head", "GET / HTTP/1.1\r\nHost: a\r\n", " cut"},
      {"cut in a body", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx",
       "PUT /|00|a:0|1.1 b1 2 keep Host=a Content-Length=2\n[x] cut"},
      {"nothing", "", ""},
  };
  check_rows(CSN_HTTP1_REQUEST, "", rows, CSN_COUNT(rows));
}

#define REQUEST(fields) "GET / HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define CHUNKS(body) REQUEST("Transfer-Encoding: chunked\r\n") body

TEST(what_two_readers_may_understand_differently_is_refused)
{
  static const struct {
    const char *bytes, *why;
  } rows[] = {
      {REQUEST("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
       "400 a length and a transfer coding together"},
      {REQUEST("Content-Length: 1\r\nContent-Length: 1\r\n"), "400 two lengths"},
      {REQUEST("Content-Length: 1, 1\r\n"), "400 the length is not a number"},
      {REQUEST("Content-Length: +1\r\n"), "400 the length is not a number"},
      {REQUEST("Content-Length: -1\r\n"), "400 the length is not a number"},
      {REQUEST("Content-Length: 0x1\r\n"), "400 the length is not a number"},
      {REQUEST("Content-Length:\r\n"), "400 the length is not a number"},
      {REQUEST("Content-Length: 9999999999999999999\r\n"), "400 the length is not a number"},
      {REQUEST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
       "400 two transfer codings"},
      {REQUEST("Transfer-Encoding: gzip, chunked\r\n"), "501 a transfer coding other than chunked"},
      {REQUEST("Transfer-Encoding: xchunked\r\n"), "501 a transfer coding other than chunked"},
      {REQUEST("Transfer-Encoding: identity\r\n"), "501 a transfer coding other than chunked"},
      {REQUEST("Transfer-Encoding:\vchunked\r\n"), "400 a field's value holds a control character"},
      {REQUEST("Transfer-Encoding : chunked\r\n"),
       "400 a field's name is not a word that a colon follows"},
      {REQUEST(" Transfer-Encoding: chunked\r\n"), "400 a folded line"},
      {REQUEST("X: a\r\n\tb\r\n"), "400 a folded line"},
      {REQUEST("X: a\n"), "400 a line that ends in a bare line feed"},
      {REQUEST("X: a\rContent-Length: 5\r\n"), "400 a field's value holds a control character"},
      {REQUEST("X: a\r\r\n"), "400 a field's value holds a control character"},
      {REQUEST("X\r\n"), "400 a field's name is not a word that a colon follows"},
      {REQUEST(": x\r\n"), "400 a field's name is not a word that a colon follows"},
      {REQUEST("\x80: x\r\n"), "400 a field's name is not a word that a colon follows"},
      {REQUEST("Host: b\r\n"), "400 two Host fields"},
      {REQUEST("Expect: 200-ok\r\n"), "417 an expectation other than 100-continue"},
      {"GET / HTTP/1.1\r\n\r\n", "400 no Host field"},
      {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400 the Host field is not a host"},
      {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400 the Host field is not a host"},
      {"GET / HTTP/1.1\r\nHost: a:0\r\n\r\n", "400 the Host field is not a host"},
      {"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", "400 the Host field is not a host"},
      {"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", "400 the Host field is not a host"},
      {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "400 the Host field is not a host"},
      {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "400 the Host field is not a host"},
      {"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", "400 the Host field is not the target's host"},
      {"GET http://a/ HTTP/1.1\r\nHost: a:81\r\n\r\n",
       "400 the Host field is not the target's host"},
      {"CONNECT a:443 HTTP/1.1\r\nHost: b:443\r\n\r\n",
       "400 the Host field is not the target's host"},
      {"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target of CONNECT is not HOST:PORT"},
      {"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n\r\n", "400 CONNECT with a body"},
      {"GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target's host is not valid"},
      {"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
       "400 the target is neither a path nor an http URL"},
      {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400 the target is neither a path nor an http URL"},
      {"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n",
       "400 the target holds a character that belongs percent-encoded"},
      {"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
       "400 the target holds a character that belongs percent-encoded"},
      {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400 the request line is not METHOD TARGET VERSION"},
      {"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "505 the version is neither 1.0 nor 1.1"},
      {"GET / HTTP/2.0\r\n\r\n", "505 the version is neither 1.0 nor 1.1"},
      {"GET / http/1.1\r\n\r\n", "400 the first line has no version"},
      {"GET /\r\n", "400 the request line is not METHOD TARGET VERSION"},
      {"\r\nGET / HTTP/1.1\r\n\r\n", "400 the method is not a word"},
      {" GET / HTTP/1.1\r\n\r\n", "400 the method is not a word"},
      {"G@T / HTTP/1.1\r\n\r\n", "400 the method is not a word"},
      {"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "400 a transfer coding in HTTP/1.0"},
      {"\x16\x03\x01\x02\n", "400 a line that ends in a bare line feed"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    struct row r = {rows[i].bytes, rows[i].bytes, rows[i].why};
    check_rows(CSN_HTTP1_REQUEST, "", &r, 1);
  }
  csn_str nul = CSN_STR("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n");
  csn_auto(csn_buf_finip) csn_buf log = CSN_BUF(8192);
  run_cut(CSN_HTTP1_REQUEST, "", nul, 7, 9, &log);
  STR_EQ(csn_buf_str(&log), "400 a field's value holds a control character");
}

TEST(chunks_that_are_not_exactly_chunks_are_refused)
{
  static const struct {
    const char *bytes, *why;
  } rows[] = {
      {CHUNKS("x\r\n"), "400 a chunk's size is not a hexadecimal number"},
      {CHUNKS("\r\n"), "400 a chunk's size is not a hexadecimal number"},
      {CHUNKS("-1\r\n"), "400 a chunk's size is not a hexadecimal number"},
      {CHUNKS("0x1\r\n"), "400 a chunk's size is not a hexadecimal number"},
      {CHUNKS(" 1\r\n"), "400 a chunk's size is not a hexadecimal number"},
      {CHUNKS("1 \r\n"), "400 a chunk's size is not a hexadecimal number"},
      {CHUNKS("1 ;x\r\n"), "400 a chunk's size is not a hexadecimal number"},
      {CHUNKS("1;\x01\r\n"), "400 a chunk's size is not a hexadecimal number"},
      {CHUNKS("1234567890123456\r\n"), "400 a chunk's size is too large"},
      {CHUNKS("1\nx\r\n"), "400 a chunk's size line ends in a bare line feed"},
      {CHUNKS("0\r\nA: b\n\r\n"), "400 a trailer ends in a bare line feed"},
      {CHUNKS("0\r\n x\r\n\r\n"), "400 a folded line"},
      {CHUNKS("0\r\nContent-Length: 3\r\n\r\n"), "400 a trailer that belongs into the head"},
      {CHUNKS("0\r\nhost: b\r\n\r\n"), "400 a trailer that belongs into the head"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    char want[300];
    snprintf(want, sizeof want, "GET /|00|a:0|1.1 b2 0 keep Host=a Transfer-Encoding=chunked\n%s",
             rows[i].why);
    struct row r = {rows[i].bytes, rows[i].bytes, want};
    check_rows(CSN_HTTP1_REQUEST, "", &r, 1);
  }
  struct row longer = {
      "data", CHUNKS("1\r\nxy\r\n"),
      "GET /|00|a:0|1.1 b2 0 keep Host=a Transfer-Encoding=chunked\n[x]400 a chunk is longer than "
      "its size"};
  check_rows(CSN_HTTP1_REQUEST, "", &longer, 1);
}

TEST(responses_are_read_the_same_however_they_are_cut)
{
  static const struct row rows[] = {
      {"plain", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
       "200 OK||1.1 b1 2 keep Content-Length=2\n[hi]."},
      {"no reason", "HTTP/1.1 204\r\n\r\n", "204 ||1.1 b0 0 keep\n."},
      {"until the end", "HTTP/1.1 200 A B\r\n\r\nhi\r\n", "200 A B||1.1 b3 0\n[hi\r\n] end"},
      {"interim",
       "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nA: b\r\n\r\nHTTP/1.1 304 "
       "N\r\nContent-Length: 7\r\n\r\n",
       "100 Continue||1.1 b0 0 keep\n.103 E||1.1 b0 0 keep A=b\n.304 N||1.1 b0 7 keep "
       "Content-Length=7\n."},
      {"switch", "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81",
       "101 S||1.1 b0 0 up=websocket Connection=upgrade Upgrade=websocket\ntunnel"},
      {"switch to nothing", "HTTP/1.1 101 S\r\n\r\n", "400 101 without Upgrade"},
      {"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
       "200 OK||1.1 b2 0 keep Transfer-Encoding=chunked\n[a]."},
      {"both", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
       "400 a length and a transfer coding together"},
      {"204 with a body", "HTTP/1.1 204 N\r\nContent-Length: 1\r\n\r\n",
       "400 a body where the status allows none"},
      {"100 with a body", "HTTP/1.1 100 N\r\nTransfer-Encoding: chunked\r\n\r\n",
       "400 a body where the status allows none"},
      {"status", "HTTP/1.1 20 OK\r\n\r\n", "400 the status is not a number of three digits"},
      {"status 000", "HTTP/1.1 000 OK\r\n\r\n", "400 the status is not a number of three digits"},
      {"not HTTP", "SSH-2.0-x\r\n", "400 the first line has no version"},
      {"reason", "HTTP/1.1 200 a\x01\r\n\r\n", "400 the reason holds a control character"},
  };
  check_rows(CSN_HTTP1_RESPONSE, "GET", rows, CSN_COUNT(rows));
  static const struct row head[] = {
      {"HEAD", "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
       "100 C||1.1 b0 0 keep\n.200 OK||1.1 b0 5 keep Content-Length=5\n."},
  };
  check_rows(CSN_HTTP1_RESPONSE, "HEAD", head, CSN_COUNT(head));
  static const struct row connect[] = {
      {"yes", "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
       "100 C||1.1 b0 0 keep\n.200 OK||1.1 b0 5 Content-Length=5\ntunnel"},
      {"no", "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno",
       "403 No||1.1 b1 2 keep Content-Length=2\n[no]."},
  };
  check_rows(CSN_HTTP1_RESPONSE, "CONNECT", connect, CSN_COUNT(connect));
}

/* What to repeat after a head, until the refusal. */
static int
flood(csn_str first, csn_str again, size_t times, csn_err *err)
{
  csn_http1 h;
  csn_str data;
  csn_http1_init(&h, CSN_HTTP1_REQUEST, 0);
  int rc = 0;
  for (size_t i = 0; i <= times && rc >= 0; i++) {
    csn_str bytes = i ? again : first;
    do
      rc = csn_http1_next(&h, &bytes, &data, err);
    while (rc > 0);
  }
  csn_http1_fini(&h);
  return rc;
}

TEST(sizes_and_counts_have_an_end)
{
  csn_err err;
  csn_str head = CSN_STR("GET / HTTP/1.1\r\nHost: a\r\n");
  csn_str line = CSN_STR("X: 0123456789\r\n");
  OK(flood(head, line, 126, &err), &err);
  assert_int_equal(flood(head, CSN_STR("X: 0123456789\r\nY: z\r\n"), 4000, &err), CSN_E_LIMIT);
  assert_int_equal(err.http_status, 431);
  assert_int_equal(flood(head, CSN_STR("x"), CSN_HTTP1_LINE_BYTES + 1, &err), CSN_E_LIMIT);
  assert_int_equal(flood(CSN_STR("G"), CSN_STR("E"), CSN_HTTP1_LINE_BYTES, &err), CSN_E_LIMIT);
  csn_str chunked = CSN_STR("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  OK(flood(chunked, CSN_STR("1\r\nx\r\n"), 100000, &err), &err);
  assert_int_equal(
      flood(chunked, CSN_STR("1;0123456789012345678901234567890123456789\r\nx\r\n"), 1000, &err),
      CSN_E_PARSE);
  assert_int_equal(flood(CSN_STR("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                                 "chunked\r\n\r\n0\r\n"),
                         line, 10000, &err),
                   CSN_E_LIMIT);
  assert_int_equal(flood(chunked, CSN_STR("0"), 300, &err), CSN_E_PARSE);

  csn_auto(csn_buf_finip) csn_buf many = CSN_BUF(1 << 16);
  csn_buf_add(&many, head);
  for (int i = 0; i < CSN_HTTP1_FIELDS; i++)
    csn_buf_addz(&many, "X:\r\n");
  csn_buf_addz(&many, "\r\n");
  assert_int_equal(flood(csn_buf_str(&many), head, 0, &err), CSN_E_LIMIT);
}

TEST(fields_of_one_connection_are_known)
{
  csn_http1 h;
  csn_err err;
  csn_str data, bytes = CSN_STR("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Mine\r\n"
                                "Connection: other\r\nX-mine: 1\r\nOther: 2\r\nKeep: 3\r\n\r\n");
  csn_http1_init(&h, CSN_HTTP1_REQUEST, 0);
  assert_int_equal(csn_http1_next(&h, &bytes, &data, &err), CSN_HTTP1_HEAD);
  assert_true(csn_http1_is_hop(&h.head, CSN_STR("x-MINE")));
  assert_true(csn_http1_is_hop(&h.head, CSN_STR("Other")));
  assert_true(csn_http1_is_hop(&h.head, CSN_STR("TE")));
  assert_true(csn_http1_is_hop(&h.head, CSN_STR("Proxy-Authorization")));
  assert_false(csn_http1_is_hop(&h.head, CSN_STR("Keep")));
  assert_false(csn_http1_is_hop(&h.head, CSN_STR("X-Min")));
  csn_http1_fini(&h);
}

TEST(what_is_written_cannot_become_two_fields)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  assert_true(csn_http1_add_field(&out, CSN_STR("A"), CSN_STR("b\tc")));
  assert_false(csn_http1_add_field(&out, CSN_STR("A"), CSN_STR("b\r\nC: d")));
  assert_false(csn_http1_add_field(&out, CSN_STR("A"), CSN_STR("b\0")));
  assert_false(csn_http1_add_field(&out, CSN_STR("A:"), CSN_STR("b")));
  assert_false(csn_http1_add_field(&out, CSN_STR(""), CSN_STR("b")));
  csn_http1_add_chunk(&out, CSN_STR("0123456789abcdef"));
  csn_http1_add_chunk(&out, CSN_STR(""));
  STR_EQ(csn_buf_str(&out), "A: b\tc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n");
}

RUN_TESTS("wire/http1", RUN(requests_are_read_the_same_however_they_are_cut),
          RUN(what_two_readers_may_understand_differently_is_refused),
          RUN(chunks_that_are_not_exactly_chunks_are_refused),
          RUN(responses_are_read_the_same_however_they_are_cut), RUN(sizes_and_counts_have_an_end),
          RUN(fields_of_one_connection_are_known), RUN(what_is_written_cannot_become_two_fields))
