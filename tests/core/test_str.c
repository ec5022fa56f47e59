/* SPDX-License-Identifier: Apache-2.0 */
#include "caisson/str.h"
#include "check.h"

TEST(whole_numbers_are_read_exactly)
{
  static const struct {
    const char *text;
    bool ok;
    int64_t want;
  } t[] = {{"0", true, 0},
           {"-0", true, 0},
           {"007", true, 7},
           {"9223372036854775807", true, INT64_MAX},
           {"-9223372036854775808", true, INT64_MIN},
           {"9223372036854775808", false, 0},
           {"-9223372036854775809", false, 0},
           {"", false, 0},
           {"-", false, 0},
           {"+1", false, 0},
           {"1 ", false, 0},
           {"1.0", false, 0},
           {"99999999999999999999999", false, 0}};
  for (size_t i = 0; i < CSN_COUNT(t); i++) {
    int64_t got = 0;
    assert_int_equal(csn_str_int(csn_cstr(t[i].text), &got), t[i].ok);
    assert_true(got == t[i].want);
  }
}

TEST(lines_are_cut_with_either_end)
{
  csn_str s = CSN_STR("a\r\n\nb\rc\nlast"), line;
  const char *const want[] = {"a", "", "b\rc", "last"};
  for (size_t i = 0; i < CSN_COUNT(want); i++) {
    assert_true(csn_str_line(&s, &line));
    STR_EQ(line, want[i]);
  }
  assert_false(csn_str_line(&s, &line));
}

TEST(utf8_is_valid_as_rfc_3629_says)
{
  static const struct {
    const char *text;
    size_t good;
  } t[] = {{"abc", 3},
           {"0123456789\xc3\xa9", 12},
           {"\xc2\x80", 2},
           {"\xc1\xbf", 0},
           {"\xe0\x9f\xbf", 0},
           {"\xe0\xa0\x80", 3},
           {"\xed\x9f\xbf", 3},
           {"\xed\xa0\x80", 0},
           {"\xef\xbf\xbf", 3},
           {"\xf0\x8f\xbf\xbf", 0},
           {"\xf0\x90\x80\x80", 4},
           {"\xf4\x8f\xbf\xbf", 4},
           {"\xf4\x90\x80\x80", 0},
           {"\xf5\x80\x80\x80", 0},
           {"a\x80", 1},
           {"01234567\xe2\x82", 8},
           {"\xe2\x28\xa1", 0},
           {"\xff", 0}};
  for (size_t i = 0; i < CSN_COUNT(t); i++)
    assert_int_equal(csn_utf8_valid(csn_cstr(t[i].text)), t[i].good);
}

TEST(slices_are_searched_and_trimmed)
{
  assert_int_equal(csn_str_find(CSN_STR("abcabc"), CSN_STR("ca"), 0), 2);
  assert_int_equal(csn_str_find(CSN_STR("abcabc"), CSN_STR("abc"), 1), 3);
  assert_true(csn_str_find(CSN_STR("abc"), CSN_STR("x"), 0) == SIZE_MAX);
  assert_true(csn_str_find(CSN_STR("abc"), CSN_STR(""), 4) == SIZE_MAX);
  assert_int_equal(csn_str_find(CSN_STR("abc"), CSN_STR(""), 3), 3);
  STR_EQ(csn_str_trim(CSN_STR(" \t a b \r\n")), "a b");
  STR_EQ(csn_str_trim(CSN_STR(" \n")), "");
  assert_true(csn_str_starts(CSN_STR("abc"), CSN_STR("ab")));
  assert_false(csn_str_ends(CSN_STR("bc"), CSN_STR("abc")));
}

TEST(a_buffer_remembers_that_it_was_full)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(8);
  csn_buf_addz(&b, "1234");
  csn_buf_addf(&b, "%d", 5678);
  assert_int_equal(csn_buf_done(&b, "it", NULL), 0);
  STR_EQ(csn_buf_str(&b), "12345678");
  csn_buf_addc(&b, '9');
  csn_buf_addz(&b, ""); /* stays full */
  csn_err err;
  assert_int_equal(csn_buf_done(&b, "it", &err), CSN_E_LIMIT);
  assert_string_equal(err.msg, "it is larger than 8 bytes");
  STR_EQ(csn_buf_str(&b), "12345678");
  assert_null(csn_buf_room(&b, 1));
  csn_buf_drop(&b, 3);
  STR_EQ(csn_buf_str(&b), "45678");
  csn_buf_drop(&b, 100);
  assert_int_equal(b.n, 0);
  csn_buf_clear(&b);
  assert_null(csn_buf_room(&b, SIZE_MAX));
  csn_buf_clear(&b);
  csn_buf_addz(&b, "again");
  STR_EQ(csn_buf_str(&b), "again");
  assert_int_equal(b.p[b.n], 0);
}

TEST(a_word_is_looked_for_in_a_list)
{
  static const char *const words[] = {"on", "off", NULL};
  assert_true(csn_str_is_one_of(CSN_STR("off"), words));
  assert_false(csn_str_is_one_of(CSN_STR("of"), words));
  assert_false(csn_str_is_one_of(CSN_STR(""), words));
}

RUN_TESTS("core/str", RUN(whole_numbers_are_read_exactly), RUN(lines_are_cut_with_either_end),
          RUN(utf8_is_valid_as_rfc_3629_says), RUN(slices_are_searched_and_trimmed),
          RUN(a_buffer_remembers_that_it_was_full), RUN(a_word_is_looked_for_in_a_list))
