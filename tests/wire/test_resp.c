/* SPDX-License-Identifier: Apache-2.0
 * test_resp.c - replies of Redis at every cut, and what is no reply. */
#include "check.h"
#include "wire/resp.h"

static void
show(const csn_resp *r, csn_buf *out)
{
  switch (r->kind) {
  case CSN_RESP_NULL:
    csn_buf_addz(out, "null");
    break;
  case CSN_RESP_INT:
    csn_buf_addf(out, "%lld", (long long)r->i);
    break;
  case CSN_RESP_TEXT:
    csn_buf_addf(out, "'%.*s'", (int)r->s.n, r->s.p);
    break;
  case CSN_RESP_ERROR:
    csn_buf_addf(out, "!%.*s", (int)r->s.n, r->s.p);
    break;
  case CSN_RESP_LIST:
    csn_buf_addc(out, '[');
    for (int64_t i = 0; i < r->i; i++) {
      csn_buf_addz(out, i ? " " : "");
      show(&r->v[i], out);
    }
    csn_buf_addc(out, ']');
    break;
  }
}

TEST(a_reply_is_read_when_it_is_whole_and_not_before)
{
  static const struct {
    const char *bytes, *shows;
  } rows[] = {
      {"+OK\r\n", "'OK'"},
      {"-ERR no\r\n", "!ERR no"},
      {":-12\r\n", "-12"},
      {"$5\r\na\r\nbc\r\n", "'a\r\nbc'"},
      {"$0\r\n\r\n", "''"},
      {"$-1\r\n", "null"},
      {"*-1\r\n", "null"},
      {"*0\r\n", "[]"},
      {"*3\r\n:1\r\n$1\r\nx\r\n*1\r\n$-1\r\n", "[1 'x' [null]]"},
  };
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_resp r;
    csn_err err;
    size_t n = strlen(rows[i].bytes);
    for (size_t cut = 0; cut < n; cut++)
      assert_int_equal(csn_resp_parse(a, csn_strn(rows[i].bytes, cut), &r, &err), 0);
    csn_auto(csn_buf_finip) csn_buf more = CSN_BUF(200), out = CSN_BUF(200);
    csn_buf_addf(&more, "%s+next\r\n", rows[i].bytes);
    assert_int_equal(csn_resp_parse(a, csn_buf_str(&more), &r, &err), n);
    show(&r, &out);
    assert_string_equal(out.p, rows[i].shows);
  }
}

TEST(what_is_no_reply_or_too_much_is_refused)
{
  static const struct {
    const char *bytes;
    int rc;
  } rows[] = {
      {"HTTP/1.1 200\r\n", CSN_E_PARSE},
      {":x\r\n", CSN_E_PARSE},
      {":\r\n", CSN_E_PARSE},
      {"$3\r\nabcd\r\n", CSN_E_PARSE},
      {"$-2\r\n", CSN_E_LIMIT},
      {"$999999999999\r\n", CSN_E_LIMIT},
      {"*999999999999\r\n", CSN_E_LIMIT},
      {"*-5\r\n", CSN_E_LIMIT},
      {"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", CSN_E_PARSE},
      {"*1000000\r\n:1\r\n", 0}, /* no room for them is made before they come */
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(1 << 20);
    csn_resp r;
    csn_err err;
    int64_t rc = csn_resp_parse(a, csn_cstr(rows[i].bytes), &r, &err);
    if (rc != rows[i].rc)
      fail_msg("%s: %lld", rows[i].bytes, (long long)rc);
  }
}

TEST(commands_are_lists_of_texts_with_their_lengths)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(100);
  const csn_str words[] = {CSN_STR("SET"), CSN_STR("a\r\nb"), CSN_STR("")};
  csn_resp_add(&b, words, 3);
  assert_string_equal(b.p, "*3\r\n$3\r\nSET\r\n$4\r\na\r\nb\r\n$0\r\n\r\n");
}

RUN_TESTS("wire/resp", RUN(a_reply_is_read_when_it_is_whole_and_not_before),
          RUN(what_is_no_reply_or_too_much_is_refused),
          RUN(commands_are_lists_of_texts_with_their_lengths))
