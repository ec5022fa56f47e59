/* SPDX-License-Identifier: Apache-2.0 */
#include "caisson/json.h"
#include "check.h"

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

TEST(quoting_escapes_what_must_be_and_mends_what_is_not_utf8)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(100);
  csn_json_quote(&b, CSN_STR("a\"\xc3\xa9\"\x01\xff\n"));
  STR_EQ(csn_buf_str(&b), "\"a\\\"\xc3\xa9\\\"\\u0001\xef\xbf\xbd\\n\"");
}

RUN_TESTS("core/json", RUN(a_value_is_written_back_byte_for_byte),
          RUN(quoting_escapes_what_must_be_and_mends_what_is_not_utf8))
