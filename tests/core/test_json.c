/* SPDX-License-Identifier: Apache-2.0 */
#include "caisson/json.h"
#include "check.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>

#define Z(text) text, sizeof(text) - 1

TEST(a_value_is_written_back_byte_for_byte)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1000);
  const csn_json *v;
  csn_err err;
  csn_str text = CSN_STR("{\"a\":[1,-2.5e10,18446744073709551616],\"b\":{\"c\":\"x\\u0000\\n\"}}");
  OK(csn_json_parse(a, text, &v, &err), &err);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_value(&w, v);
  OK(csn_jw_done(&w, &err), &err);
  STR_EQ(csn_buf_str(&b), "{\"a\":[1,-2.5e10,18446744073709551616],\"b\":{\"c\":\"x\\u0000\\n\"}}");
  assert_int_equal(csn_json_str(csn_json_get(v, "b"), "c", CSN_STR("")).n, 3);
}

TEST(what_rfc_8259_allows_is_parsed)
{
  static const struct {
    const char *text;
    size_t n;
    enum csn_json_kind kind;
  } t[] = {
      {Z("null"), CSN_JSON_NULL},          {Z(" \t\r\n true \n"), CSN_JSON_BOOL},
      {Z("false"), CSN_JSON_BOOL},         {Z("0"), CSN_JSON_NUMBER},
      {Z("-0"), CSN_JSON_NUMBER},          {Z("-0.0e-0"), CSN_JSON_NUMBER},
      {Z("1E+400"), CSN_JSON_NUMBER},      {Z("123456789012345678901234567890"), CSN_JSON_NUMBER},
      {Z("\"\""), CSN_JSON_STRING},        {Z("\"\x7f\""), CSN_JSON_STRING},
      {Z("\"\\u0000\""), CSN_JSON_STRING}, {Z("\"\xf4\x8f\xbf\xbf\""), CSN_JSON_STRING},
      {Z("[]"), CSN_JSON_ARRAY},           {Z("[ ]"), CSN_JSON_ARRAY},
      {Z("{ }"), CSN_JSON_OBJECT},         {Z("{\"\":{}}"), CSN_JSON_OBJECT},
      {Z("[[],[[]],{}]"), CSN_JSON_ARRAY}, {Z("{\"a\" : 1 , \"a\" : 2 }"), CSN_JSON_OBJECT},
  };
  for (size_t i = 0; i < CSN_COUNT(t); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    const csn_json *v = NULL;
    csn_err err;
    OK(csn_json_parse(a, csn_strn(t[i].text, t[i].n), &v, &err), &err);
    assert_int_equal(v->kind, t[i].kind);
  }
}

TEST(what_is_malformed_is_refused_with_line_and_column)
{
  static const struct {
    const char *text;
    size_t n;
    const char *message;
  } t[] = {
      {Z(""), "JSON line 1 column 1: the text ends too early"},
      {Z("  \n "), "JSON line 2 column 2: the text ends too early"},
      {Z("nul"), "JSON line 1 column 1: expected a value"},
      {Z("True"), "JSON line 1 column 1: expected a value"},
      {Z("NaN"), "JSON line 1 column 1: expected a value"},
      {Z("-Infinity"), "JSON line 1 column 2: expected a value"},
      {Z("nullx"), "JSON line 1 column 5: text after the value"},
      {Z("1 2"), "JSON line 1 column 3: text after the value"},
      {Z("{}\n\n]"), "JSON line 3 column 1: text after the value"},
      {Z("01"), "JSON line 1 column 2: text after the value"},
      {Z("+1"), "JSON line 1 column 1: expected a value"},
      {Z("-"), "JSON line 1 column 2: the text ends too early"},
      {Z(".5"), "JSON line 1 column 1: expected a value"},
      {Z("1."), "JSON line 1 column 3: the text ends too early"},
      {Z("[1.]"), "JSON line 1 column 4: a number needs digits after its point"},
      {Z("[1e]"), "JSON line 1 column 4: a number needs digits in its exponent"},
      {Z("[1e+]"), "JSON line 1 column 5: a number needs digits in its exponent"},
      {Z("0x10"), "JSON line 1 column 2: text after the value"},
      {Z("["), "JSON line 1 column 2: the text ends too early"},
      {Z("[1"), "JSON line 1 column 3: the text ends too early"},
      {Z("[1,]"), "JSON line 1 column 4: expected a value"},
      {Z("[,1]"), "JSON line 1 column 2: expected a value"},
      {Z("[1 2]"), "JSON line 1 column 4: expected ',' or ']'"},
      {Z("[1}"), "JSON line 1 column 3: expected ',' or ']'"},
      {Z("{\"a\":1,}"), "JSON line 1 column 8: expected a name in double quotes"},
      {Z("{a:1}"), "JSON line 1 column 2: expected a name in double quotes"},
      {Z("{1:1}"), "JSON line 1 column 2: expected a name in double quotes"},
      {Z("{\"a\" 1}"), "JSON line 1 column 6: expected ':' after a name"},
      {Z("{\"a\":}"), "JSON line 1 column 6: expected a value"},
      {Z("{\"a\":1]"), "JSON line 1 column 7: expected ',' or '}'"},
      {Z("{\"a\":1\n\"b\":2}"), "JSON line 2 column 1: expected ',' or '}'"},
      {Z("'a'"), "JSON line 1 column 1: expected a value"},
      {Z("\"a"), "JSON line 1 column 3: the text ends too early"},
      {Z("\"a\\"), "JSON line 1 column 4: the text ends too early"},
      {Z("\"a\\\""), "JSON line 1 column 5: the text ends too early"},
      {Z("\"\\x41\""), "JSON line 1 column 3: unknown escape in a string"},
      {Z("\"\\\x01\""), "JSON line 1 column 3: unknown escape in a string"},
      {Z("\"\\u12g4\""), "JSON line 1 column 3: \\u needs four hexadecimal digits"},
      {Z("\"\\u12\""), "JSON line 1 column 3: \\u needs four hexadecimal digits"},
      {Z("\"a\nb\""), "JSON line 1 column 3: a control character must be escaped"},
      {Z("\"0123456789abcdefghi\x1f\""), "JSON line 1 column 21: a control character must"},
      {Z("\"0123\x1f"
         "56789abcdefghijklmnop\""),
       "JSON line 1 column 6: a control character must"},
      {Z("\"a\0b\""), "JSON line 1 column 3: a control character must be escaped"},
      {Z("\"a\xff\""), "JSON line 1 column 3: invalid UTF-8"},
      {Z("\"\xc0\x80\""), "JSON line 1 column 2: invalid UTF-8"},
      {Z("\"\xed\xa0\x80\""), "JSON line 1 column 2: invalid UTF-8"},
      {Z("\"\xf4\x90\x80\x80\""), "JSON line 1 column 2: invalid UTF-8"},
      {Z("\"\xe2\x82\""), "JSON line 1 column 2: invalid UTF-8"},
      {Z("{\"\x80\":1}"), "JSON line 1 column 3: invalid UTF-8"},
      {Z("\xef\xbb\xbf{}"), "JSON line 1 column 1: expected a value"},
      {Z("// c\n1"), "JSON line 1 column 1: expected a value"},
      {Z("1\0"), "JSON line 1 column 2: text after the value"},
      {Z("\xc2\xa0"
         "1"),
       "JSON line 1 column 1: expected a value"},
  };
  for (size_t i = 0; i < CSN_COUNT(t); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    char *exact = csn_alloc(t[i].n + 1); /* so that ASan sees a step too far */
    memcpy(exact, t[i].text, t[i].n);
    const csn_json *v = NULL;
    csn_err err = {0};
    int rc = csn_json_parse(a, csn_strn(exact, t[i].n), &v, &err);
    if (rc != CSN_E_PARSE || !csn_str_starts(csn_cstr(err.msg), csn_cstr(t[i].message)))
      fail_msg("'%s': got %d '%s', expected '%s'", t[i].text, rc, err.msg, t[i].message);
    assert_null(v);
    free(exact);
  }
}

TEST(depth_is_limited)
{
  char text[2 * CSN_JSON_DEPTH + 4];
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  csn_err err;
  memset(text, '[', CSN_JSON_DEPTH + 1);
  memset(text + CSN_JSON_DEPTH + 1, ']', CSN_JSON_DEPTH + 1);
  assert_int_equal(csn_json_parse(a, csn_strn(text, sizeof text - 2), &v, &err), CSN_E_LIMIT);
  OK(csn_json_parse(a, csn_strn(text + 1, 2 * CSN_JSON_DEPTH), &v, &err), &err);
}

TEST(an_arena_that_is_too_small_is_a_limit)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(500);
  const csn_json *v = NULL;
  csn_err err;
  assert_int_equal(csn_json_parse(a, CSN_STR("[1,2,3,4,5,6,7,8,9]"), &v, &err), CSN_E_LIMIT);
  csn_arena_clear(a);
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(2000);
  csn_buf_addz(&b, "\"\\n");
  for (int i = 0; i < 100; i++)
    csn_buf_addz(&b, "0123456789");
  csn_buf_addc(&b, '"');
  assert_int_equal(csn_json_parse(a, csn_buf_str(&b), &v, &err), CSN_E_LIMIT);
  assert_null(v);
}

TEST(escapes_are_decoded_and_lone_surrogates_replaced)
{
  static const struct {
    const char *text, *want;
    size_t n;
  } t[] = {
      {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", Z("\"\\/\b\f\n\r\t")},
      {"\"a\\u00e9\\u20ac\\ud83d\\ude00z\"", Z("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z")},
      {"\"\\uD83D\\uDE00\"", Z("\xf0\x9f\x98\x80")},
      {"\"\\ud83d\"", Z("\xef\xbf\xbd")},
      {"\"\\ude00\\ud83d\"", Z("\xef\xbf\xbd\xef\xbf\xbd")},
      {"\"\\ud83dx\\ude00\"", Z("\xef\xbf\xbdx\xef\xbf\xbd")},
      {"\"\\ud83d\\ud83d\\ude00\"", Z("\xef\xbf\xbd\xf0\x9f\x98\x80")},
      {"\"\\ud83d\\n\"", Z("\xef\xbf\xbd\n")},
      {"\"a\\u0000b\"", Z("a\0b")},
      {"\"0123456789abcdef\\n0123456789abcdef\xc3\xa9\"",
       Z("0123456789abcdef\n0123456789abcdef\xc3\xa9")},
  };
  for (size_t i = 0; i < CSN_COUNT(t); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    const csn_json *v;
    csn_err err;
    OK(csn_json_parse(a, csn_cstr(t[i].text), &v, &err), &err);
    assert_int_equal(v->text.n, t[i].n);
    assert_memory_equal(v->text.p, t[i].want, t[i].n);
    STR_EQ(v->raw, t[i].text);
  }
}

TEST(members_are_found_and_the_last_of_a_name_counts)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v, *m;
  csn_err err = {0};
  csn_str s;
  int64_t i;
  csn_str text = CSN_STR("{\"a\":1,\"s\":\"x\",\"a\":9007199254740993,\"t\":true,\"d\":1.5,\"big\":"
                         "9223372036854775808,\"l\":[1,\"2\"],\"\\u0061b\":2}");
  OK(csn_json_parse(a, text, &v, &err), &err);
  assert_int_equal(v->n, 8);
  assert_true(csn_json_int(v, "a", 0) == 9007199254740993);
  assert_int_equal(csn_json_int(v, "ab", 0), 2);
  assert_int_equal(csn_json_int(v, "s", 7), 7);
  assert_int_equal(csn_json_int(v, "d", 7), 7);
  assert_int_equal(csn_json_int(v, "big", 7), 7);
  assert_int_equal(csn_json_int(NULL, "a", 7), 7);
  assert_int_equal(csn_json_int(csn_json_get(v, "l"), "a", 7), 7);
  assert_true(csn_json_bool(v, "t", false) && csn_json_bool(v, "none", true));
  assert_true(csn_json_double(v, "d", 0) == 1.5 && isnan(csn_json_to_double(NULL)));
  STR_EQ(csn_json_str(v, "s", CSN_STR("")), "x");
  STR_EQ(csn_json_str(v, "a", CSN_STR("other")), "other");
  STR_EQ(csn_json_at(csn_json_get(v, "l"), 1)->text, "2");
  assert_null(csn_json_at(csn_json_get(v, "l"), 2));
  OK(csn_json_need(v, "l", CSN_JSON_ARRAY, &m, &err), &err);
  OK(csn_json_need_str(v, "s", &s, &err), &err);
  OK(csn_json_need_int(v, "a", &i, &err), &err);
  assert_int_equal(csn_json_need_int(v, "d", &i, &err), CSN_E_INVALID);
  assert_string_equal(err.msg, "d: expected a whole number");
  assert_int_equal(csn_json_need_str(v, "l", &s, &err), CSN_E_INVALID);
  assert_string_equal(err.msg, "l: expected a string, got a list");
  assert_int_equal(csn_json_need_str(v, "none", &s, &err), CSN_E_INVALID);
  assert_string_equal(err.msg, "none: missing, expected a string");
}

TEST(doubles_do_not_depend_on_the_length_of_their_spelling)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(2000);
  const csn_json *v;
  csn_err err;
  csn_buf_addz(&b, "0.");
  for (int i = 0; i < 800; i++)
    csn_buf_addc(&b, '3');
  OK(csn_json_parse(a, csn_buf_str(&b), &v, &err), &err);
  assert_true(csn_json_to_double(v) == 1.0 / 3);
}

TEST(doubles_do_not_depend_on_the_locale)
{
  if (!setlocale(LC_NUMERIC, "de_DE.UTF-8") && !setlocale(LC_NUMERIC, "fr_FR.UTF-8"))
    SKIP("no locale with a decimal comma is installed");
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  csn_err err;
  OK(csn_json_parse(a, CSN_STR("1.5"), &v, &err), &err);
  assert_true(csn_json_to_double(v) == 1.5);
  setlocale(LC_NUMERIC, "C");
}

RUN_TESTS("core/json", RUN(a_value_is_written_back_byte_for_byte),
          RUN(what_rfc_8259_allows_is_parsed),
          RUN(what_is_malformed_is_refused_with_line_and_column), RUN(depth_is_limited),
          RUN(an_arena_that_is_too_small_is_a_limit),
          RUN(escapes_are_decoded_and_lone_surrogates_replaced),
          RUN(members_are_found_and_the_last_of_a_name_counts),
          RUN(doubles_do_not_depend_on_the_length_of_their_spelling),
          RUN(doubles_do_not_depend_on_the_locale))
