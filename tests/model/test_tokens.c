/* SPDX-License-Identifier: Apache-2.0
 *
 * How many tokens a text is about: never far below what a tokenizer counts,
 * and nothing that is larger than its bytes. */
#include "check.h"
#include "model/tokens.h"

static int64_t
count(const char *text)
{
  return csn_tokens_estimate(CSN_TOKENS_OPENAI, csn_cstr(text));
}

TEST(words_numbers_and_signs_are_counted_like_a_tokenizer_does)
{
  /* counted: what o200k_base makes of the text, decoded */
  static const struct {
    const char *text;
    int64_t counted;
  } rows[] = {
      {"", 0},
      {"hello world", 2},
      {"The quick brown fox jumps over the lazy dog.", 10},
      {"static int csn_step_absorb(struct csn_step *s);", 15},
      {"1234567890", 4},
      {"if (a[i] == b[i + 1]) {\\n    return x;\\n  }", 19},
      {"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\xe3\x81\xae\xe6\x96\x87\xe7\xab\xa0", 4},
      {"\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82, \xd0\xbc\xd0\xb8\xd1\x80", 4},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    int64_t n = count(rows[i].text);
    if (n * 10 < rows[i].counted * 7 || n > rows[i].counted * 2)
      fail_msg("'%s': %lld, a tokenizer counts %lld", rows[i].text, (long long)n,
               (long long)rows[i].counted);
  }
}

TEST(an_image_counts_as_an_image_and_not_as_its_letters)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1 << 20);
  csn_buf_addz(&b, "{\"image_url\":\"data:image/png;base64,");
  for (int i = 0; i < 20000; i++)
    csn_buf_addz(&b, "iVBORw0KGgo");
  csn_buf_addz(&b, "\"}");
  int64_t n = csn_tokens_estimate(CSN_TOKENS_OPENAI, csn_buf_str(&b));
  assert_in_range(n, 1600, 1650);
}

TEST(a_text_that_is_cut_anywhere_is_counted_without_reading_on)
{
  static const char text[] = "a\\u00e9\\n\xe2\x82\xac\xf0\x9f\x98\x80 data:image/x \\";
  for (size_t n = 0; n < sizeof text; n++) {
    csn_auto(csn_freep) char *copy = csn_alloc(n + 1);
    memcpy(copy, text, n);
    assert_true(csn_tokens_estimate(CSN_TOKENS_OTHER, csn_strn(copy, n)) >= 0);
  }
}

TEST(families_are_told_by_the_models_name)
{
  static const struct {
    const char *model;
    enum csn_token_family family;
  } rows[] = {{"openai/gpt-5", CSN_TOKENS_OPENAI},
              {"chat/gpt-4o", CSN_TOKENS_OPENAI},
              {"anthropic/claude-sonnet-4-5", CSN_TOKENS_CLAUDE},
              {"gateway/claude-x", CSN_TOKENS_CLAUDE},
              {"gemini/gemini-2.5-flash", CSN_TOKENS_GEMINI},
              {"local/qwen3", CSN_TOKENS_OTHER}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++)
    assert_int_equal(csn_token_family(csn_cstr(rows[i].model)), rows[i].family);
}

RUN_TESTS("model/tokens", RUN(words_numbers_and_signs_are_counted_like_a_tokenizer_does),
          RUN(an_image_counts_as_an_image_and_not_as_its_letters),
          RUN(a_text_that_is_cut_anywhere_is_counted_without_reading_on),
          RUN(families_are_told_by_the_models_name))
