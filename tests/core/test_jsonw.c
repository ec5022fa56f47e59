/* SPDX-License-Identifier: Apache-2.0 */
#include "caisson/json.h"
#include "check.h"

#include <math.h>

TEST(quoting_escapes_what_must_be_and_mends_what_is_not_utf8)
{
  static const struct {
    const char *text;
    size_t n;
    const char *want;
  } t[] = {
#define Z(text) text, sizeof(text) - 1
      {Z(""), "\"\""},
      {Z("a\"\xc3\xa9\"\x01\xff\n"), "\"a\\\"\xc3\xa9\\\"\\u0001\xef\xbf\xbd\\n\""},
      {Z("\\\b\f\r\t\x1f\x7f/"), "\"\\\\\\b\\f\\r\\t\\u001f\x7f/\""},
      {Z("a\0b"), "\"a\\u0000b\""},
      {Z("0123456789abcdef\n0123456789abcdef"), "\"0123456789abcdef\\n0123456789abcdef\""},
      {Z("\xc3"), "\"\xef\xbf\xbd\""},
      {Z("\xc3\xa9\xc3x"), "\"\xc3\xa9\xef\xbf\xbdx\""},
      {Z("\xe2\x82\xac\xed\xa0\x80"), "\"\xe2\x82\xac\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
  };
  for (size_t i = 0; i < CSN_COUNT(t); i++) {
    csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(200);
    csn_json_quote(&b, csn_strn(t[i].text, t[i].n));
    STR_EQ(csn_buf_str(&b), t[i].want);
    csn_buf_fini(&b);
  }
}

TEST(numbers_are_written_so_that_they_read_back)
{
  static const double d[] = {0, -0.0, 0.1, 1.0 / 3, 1e300, 5e-324, 123456789.125, 1e22, -2.5};
  static const int64_t n[] = {0, -1, 7, INT64_MAX, INT64_MIN, 1000000};
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_err err;
  for (size_t i = 0; i < CSN_COUNT(d); i++) {
    csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(100);
    const csn_json *v;
    csn_jw w;
    csn_jw_init(&w, &b);
    csn_jw_double(&w, d[i]);
    OK(csn_jw_done(&w, &err), &err);
    OK(csn_json_parse(a, csn_arena_dup(a, csn_buf_str(&b)), &v, &err), &err);
    double back = csn_json_to_double(v);
    assert_true(memcmp(&back, &d[i], sizeof back) == 0);
    csn_buf_fini(&b);
  }
  for (size_t i = 0; i < CSN_COUNT(n); i++) {
    csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(100);
    int64_t back;
    csn_jw w;
    csn_jw_init(&w, &b);
    csn_jw_int(&w, n[i]);
    assert_true(csn_str_int(csn_buf_str(&b), &back) && back == n[i]);
    csn_buf_fini(&b);
  }
}

TEST(all_kinds_are_written_with_their_commas)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(200);
  csn_jw w;
  csn_err err;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "a");
  csn_jw_arr(&w);
  csn_jw_int(&w, 1);
  csn_jw_strz(&w, "x");
  csn_jw_strz(&w, NULL);
  csn_jw_bool(&w, true);
  csn_jw_double(&w, INFINITY);
  csn_jw_obj(&w);
  csn_jw_end(&w);
  csn_jw_end(&w);
  csn_jw_key(&w, "b");
  csn_jw_raw(&w, CSN_STR("{\"r\":1}"));
  csn_jw_key(&w, "c");
  csn_jw_value(&w, NULL);
  csn_jw_end(&w);
  OK(csn_jw_done(&w, &err), &err);
  STR_EQ(csn_buf_str(&b), "{\"a\":[1,\"x\",null,true,null,{}],\"b\":{\"r\":1},\"c\":null}");
}

TEST(many_values_are_spliced_as_one_by_one)
{
  static const csn_str v[] = {CSN_STR_INIT("{\"a\":1}"), CSN_STR_INIT("2"), CSN_STR_INIT("[]")};
  static const char *const want[] = {"[0]", "[0,{\"a\":1}]", "[0,{\"a\":1},2]",
                                     "[0,{\"a\":1},2,[]]"};
  for (size_t n = 0; n <= CSN_COUNT(v); n++)
    for (size_t cap = 0; cap <= 20; cap++) {
      csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(cap);
      csn_jw w;
      csn_jw_init(&w, &b);
      csn_jw_arr(&w);
      csn_jw_int(&w, 0);
      csn_jw_raws(&w, v, n);
      csn_jw_end(&w);
      int rc = csn_jw_done(&w, NULL);
      size_t whole = strlen(want[n]);
      /* It may ask for one byte more than it needs. */
      if (cap > whole || rc == 0) {
        assert_int_equal(rc, 0);
        STR_EQ(csn_buf_str(&b), want[n]);
      } else if (cap < whole) {
        assert_int_equal(rc, CSN_E_LIMIT);
      }
    }
}

static void
nothing(csn_jw *w)
{
}
static void
two_roots(csn_jw *w)
{
  csn_jw_int(w, 1);
  csn_jw_int(w, 2);
}
static void
value_for_key(csn_jw *w)
{
  csn_jw_obj(w);
  csn_jw_int(w, 1);
  csn_jw_end(w);
}
static void
key_in_list(csn_jw *w)
{
  csn_jw_arr(w);
  csn_jw_key(w, "a");
  csn_jw_end(w);
}
static void
key_without_value(csn_jw *w)
{
  csn_jw_obj(w);
  csn_jw_key(w, "a");
  csn_jw_end(w);
}
static void
open_at_the_end(csn_jw *w)
{
  csn_jw_arr(w);
}
static void
end_of_nothing(csn_jw *w)
{
  csn_jw_int(w, 1);
  csn_jw_end(w);
}
static void
empty_raw(csn_jw *w)
{
  csn_jw_raw(w, CSN_STR(""));
}
static void
empty_raws(csn_jw *w)
{
  static const csn_str v[] = {CSN_STR_INIT("1"), CSN_STR_INIT("")};
  csn_jw_arr(w);
  csn_jw_raws(w, v, 2);
  csn_jw_end(w);
}
static void
too_deep(csn_jw *w)
{
  for (int i = 0; i <= CSN_JSON_DEPTH; i++)
    csn_jw_arr(w);
  for (int i = 0; i < CSN_JSON_DEPTH; i++)
    csn_jw_end(w);
}

TEST(what_is_out_of_order_is_remembered)
{
  static void (*const bad[])(csn_jw * w) = {
      nothing,           two_roots,       value_for_key,  key_in_list, empty_raw,
      key_without_value, open_at_the_end, end_of_nothing, empty_raws,  too_deep};
  for (size_t i = 0; i < CSN_COUNT(bad); i++) {
    csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1000);
    csn_jw w;
    csn_jw_init(&w, &b);
    bad[i](&w);
    assert_int_equal(csn_jw_done(&w, NULL), CSN_E_INVALID);
    csn_buf_fini(&b);
  }
}

TEST(a_full_buffer_is_a_limit)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(10);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_strz(&w, "0123456789");
  assert_int_equal(csn_jw_done(&w, NULL), CSN_E_LIMIT);
}

RUN_TESTS("core/jsonw", RUN(quoting_escapes_what_must_be_and_mends_what_is_not_utf8),
          RUN(numbers_are_written_so_that_they_read_back),
          RUN(all_kinds_are_written_with_their_commas), RUN(what_is_out_of_order_is_remembered),
          RUN(many_values_are_spliced_as_one_by_one), RUN(a_full_buffer_is_a_limit))
