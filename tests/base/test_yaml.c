/* SPDX-License-Identifier: Apache-2.0 */
#include "base/yaml.h"
#include "check.h"

#include <stdio.h>

static void
becomes(const char *text, const char *json)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(10000);
  const csn_json *v = NULL;
  csn_err err = {0};
  if (csn_yaml_parse(a, csn_cstr(text), "f.yaml", &v, &err) < 0)
    fail_msg("'%s' was refused: %s", text, err.msg);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_value(&w, v);
  OK(csn_jw_done(&w, &err), &err);
  if (!csn_str_eq(csn_buf_str(&b), csn_cstr(json)))
    fail_msg("'%s' became %s, expected %s", text, b.p, json);
}

static void
refused(const char *text, size_t n, int code, const char *message)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v = NULL;
  csn_err err = {0};
  int rc = csn_yaml_parse(a, csn_strn(text, n), "f.yaml", &v, &err);
  if (rc != code || strncmp(err.msg, message, strlen(message)) != 0)
    fail_msg("'%s': got %d '%s', expected %d '%s'", text, rc, err.msg, code, message);
  assert_null(v);
}

TEST(plain_scalars_have_the_types_of_the_core_schema)
{
  static const struct {
    const char *yaml, *json;
  } t[] = {
      {"", "null"},
      {"# only a comment\n", "null"},
      {"~", "null"},
      {"null", "null"},
      {"Null", "null"},
      {"NULL", "null"},
      {"nULL", "\"nULL\""},
      {"true", "true"},
      {"True", "true"},
      {"TRUE", "true"},
      {"false", "false"},
      {"False", "false"},
      {"FALSE", "false"},
      {"tRUE", "\"tRUE\""},
      {"yes", "\"yes\""},
      {"no", "\"no\""},
      {"on", "\"on\""},
      {"off", "\"off\""},
      {"y", "\"y\""},
      {"0", "0"},
      {"-0", "-0"},
      {"12", "12"},
      {"+12", "12"},
      {"-12", "-12"},
      {"007", "7"},
      {"00", "0"},
      {"-010", "-10"},
      {"0o17", "15"},
      {"0x1F", "31"},
      {"0xffffffffffffffff", "18446744073709551615"},
      {"0b11", "\"0b11\""},
      {"0o8", "\"0o8\""},
      {"0x", "\"0x\""},
      {"-0x1", "\"-0x1\""},
      {"1_000", "\"1_000\""},
      {"1:30", "\"1:30\""},
      {"190:20:30", "\"190:20:30\""},
      {"18446744073709551616", "18446744073709551616"},
      {"1.5", "1.5"},
      {".5", "0.5"},
      {"-.5", "-0.5"},
      {"5.", "5.0"},
      {"1e3", "1e3"},
      {"1.e3", "1.0e3"},
      {"+1.5E-3", "1.5E-3"},
      {"012.5", "12.5"},
      {".", "\".\""},
      {"-", "[null]"},
      {"+", "\"+\""},
      {"e3", "\"e3\""},
      {"1e", "\"1e\""},
      {"1.2.3", "\"1.2.3\""},
      {"2026-01-02", "\"2026-01-02\""},
      {"\"12\"", "\"12\""},
      {"'true'", "\"true\""},
      {"''", "\"\""},
      {"a b", "\"a b\""},
      {"a\n  b", "\"a b\""},
      {"<<: 1", "{\"<<\":1}"},
      {"=", "\"=\""},
      {"30m", "\"30m\""},
      {"1GiB", "\"1GiB\""},
      {"inf", "\"inf\""},
  };
  for (size_t i = 0; i < CSN_COUNT(t); i++)
    becomes(t[i].yaml, t[i].json);
}

TEST(lists_mappings_and_blocks_become_json)
{
  becomes("a: 1\nb: [x, {y: 2}, ]\nc:\n  - d\n  -\n  - e: f\n    g: h\n",
          "{\"a\":1,\"b\":[\"x\",{\"y\":2}],\"c\":[\"d\",null,{\"e\":\"f\",\"g\":\"h\"}]}");
  becomes("s: |\n  one\n   two\n\n  three\nt: >-\n  one\n  two\n",
          "{\"s\":\"one\\n two\\n\\nthree\\n\",\"t\":\"one two\"}");
  becomes("--- {}\n...\n", "{}");
  becomes("%YAML 1.2\n---\na: 1\n", "{\"a\":1}");
  becomes("{\"a\": \"\\u00e9\\0\\x41\", 1: x, true: y}",
          "{\"a\":\"\xc3\xa9\\u0000A\",\"1\":\"x\",\"true\":\"y\"}");
  becomes("k: \"\xf0\x9f\x98\x80 \\U0001F600\"\n", "{\"k\":\"\xf0\x9f\x98\x80 \xf0\x9f\x98\x80\"}");
  becomes("\xef\xbb\xbf"
          "a: 1\n",
          "{\"a\":1}");
  becomes("{\"a\":[1,-2.5e10,null,true],\"b\":{}}", "{\"a\":[1,-2.5e10,null,true],\"b\":{}}");
  becomes("a: 1\r\nb: 2\r\n", "{\"a\":1,\"b\":2}");
}

TEST(nodes_know_their_line)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  csn_err err;
  OK(csn_yaml_parse(a, CSN_STR("# c\na: 1\n\nb:\n  - x\n  - y: 2\n"), "f", &v, &err), &err);
  assert_int_equal(v->line, 2);
  assert_int_equal(csn_json_get(v, "a")->line, 2);
  const csn_json *b = csn_json_get(v, "b");
  assert_int_equal(b->line, 4); /* a member's line is that of its name */
  assert_int_equal(csn_json_get(csn_json_at(b, 1), "y")->line, 6);
}

TEST(what_is_refused_says_where_and_what_was_expected)
{
#define Z(text) text, sizeof(text) - 1
  static const struct {
    const char *text;
    size_t n;
    int code;
    const char *message;
  } t[] = {
      {Z("a: &x 1\nb: 2\n"), CSN_E_PARSE, "f.yaml:1:4: found the anchor &x, expected"},
      {Z("a: 1\nb: *x\n"), CSN_E_PARSE, "f.yaml:2:4: found the alias *x, expected"},
      {Z("*x : 1\n"), CSN_E_PARSE, "f.yaml:1:1: found the alias *x, expected"},
      {Z("a: !!str 1\n"), CSN_E_PARSE, "f.yaml:1:4: found the tag tag:yaml.org,2002:str, expected"},
      {Z("a: !x {}\n"), CSN_E_PARSE, "f.yaml:1:4: found the tag !x, expected"},
      {Z("a: ! 1\n"), CSN_E_PARSE, "f.yaml:1:4: found the tag !, expected"},
      {Z("a: 1\n---\nb: 2\n"), CSN_E_PARSE, "f.yaml:2:1: found a second document, expected"},
      {Z("%TAG ! tag:x,2000:\n--- 1\n"), CSN_E_PARSE, "f.yaml:1:1: found %TAG, expected"},
      {Z("%YAML 1.1\n--- 1\n"), CSN_E_PARSE, "f.yaml:1:1: found %YAML 1.1, expected 1.2"},
      {Z("a: 1\nb: 2\n\"a\": 3\n"), CSN_E_PARSE,
       "f.yaml:3: found the key 'a' again, expected it once; it stands at line 1 too"},
      {Z("- {x: 1, y: 2, x: 3}\n"), CSN_E_PARSE, "f.yaml:1: found the key 'x' again, expected"},
      {Z("a: .inf\n"), CSN_E_PARSE, "f.yaml:1:4: found .inf, expected a finite number"},
      {Z("a: -.INF\n"), CSN_E_PARSE, "f.yaml:1:4: found -.INF, expected a finite number"},
      {Z("a: .nan\n"), CSN_E_PARSE, "f.yaml:1:4: found .nan, expected a finite number"},
      {Z("a: 0x10000000000000000\n"), CSN_E_PARSE, "f.yaml:1:4: found a number over 64 bits"},
      {Z("[a]: 1\n"), CSN_E_PARSE, "f.yaml:1:1: found a list or a mapping as a key"},
      {Z("?\n: 1\n"), CSN_E_PARSE, "f.yaml:1:2: found nothing before ':', expected a key"},
      {Z("a:\n\tb: 1\n"), CSN_E_PARSE, "f.yaml:2:1: found a tab, expected blanks"},
      {Z("a: [1, 2\n"), CSN_E_PARSE, "f.yaml:2:1: did not find expected ',' or ']'"},
      {Z("a: b: c\n"), CSN_E_PARSE, "f.yaml:1:5: mapping values are not allowed"},
      {Z("a: \"x\n"), CSN_E_PARSE, "f.yaml:2:1: found unexpected end of stream"},
      {Z("a: 1\nb: \xff\n"), CSN_E_PARSE, "f.yaml:2:4: found bytes that are not UTF-8"},
      {Z("a: 1\nb: \x01\n"), CSN_E_PARSE, "f.yaml:2:4: control characters are not allowed"},
      {Z("a: 1\nb: \0\n"), CSN_E_PARSE, "f.yaml:2:4: control characters are not allowed"},
      {Z("a: x\xe2\x80\xa8y\n"), CSN_E_PARSE, "f.yaml:1:5: found a Unicode line break"},
      {Z("a: x\xc2\x85y\n"), CSN_E_PARSE, "f.yaml:1:5: found a Unicode line break"},
      {Z("\xff\xfe"
         "a\0:\0"),
       CSN_E_PARSE, "f.yaml:1:1: found bytes that are not UTF-8"},
  };
  for (size_t i = 0; i < CSN_COUNT(t); i++)
    refused(t[i].text, t[i].n, t[i].code, t[i].message);
}

TEST(depth_and_size_are_limited)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(CSN_YAML_MAX + 100);
  for (int i = 0; i < CSN_JSON_DEPTH; i++)
    csn_buf_addc(&b, '[');
  for (int i = 0; i < CSN_JSON_DEPTH; i++)
    csn_buf_addc(&b, ']');
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v = NULL;
  csn_err err;
  OK(csn_yaml_parse(a, csn_buf_str(&b), "f", &v, &err), &err);
  csn_buf_clear(&b);
  for (int i = 0; i < 100000; i++)
    csn_buf_addz(&b, i % 2 ? "[" : "{? ");
  refused(b.p, b.n, CSN_E_PARSE, "f.yaml:1:"); /* a mapping as a key */
  csn_buf_clear(&b);
  for (int i = 0; i < 100000; i++)
    csn_buf_addc(&b, '[');
  refused(b.p, b.n, CSN_E_LIMIT, "f.yaml:1:129: found more than 128 levels");
  csn_buf_clear(&b);
  while (b.n <= CSN_YAML_MAX)
    csn_buf_addz(&b, "# a line\n");
  refused(b.p, b.n, CSN_E_LIMIT, "f.yaml: found ");
  csn_auto(csn_arena_freep) csn_arena *small = csn_arena_new(1000);
  v = NULL;
  assert_int_equal(
      csn_yaml_parse(small, CSN_STR("[1,2,3,4,5,6,7,8,9,a,b,c,d,e,f,g,h,i,j,k]"), "f", &v, &err),
      CSN_E_LIMIT);
}

TEST(many_keys_are_checked_in_reasonable_time)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(CSN_YAML_MAX);
  for (int i = 0; i < 100000; i++)
    csn_buf_addf(&b, "k%d: 1\n", i);
  csn_buf_addz(&b, "k500: 2\n");
  refused(b.p, b.n, CSN_E_PARSE,
          "f.yaml:100001: found the key 'k500' again, expected it once; it stands at line 501");
}

RUN_TESTS("base/yaml", RUN(plain_scalars_have_the_types_of_the_core_schema),
          RUN(lists_mappings_and_blocks_become_json), RUN(nodes_know_their_line),
          RUN(what_is_refused_says_where_and_what_was_expected), RUN(depth_and_size_are_limited),
          RUN(many_keys_are_checked_in_reasonable_time))
