/* SPDX-License-Identifier: Apache-2.0
 * test_redact.c - the forms in which a secret's value is found. */
#include "tests/check.h"

#include "caisson/json.h"
#include "core/hash.h"
#include "run/redact.h"

static const csn_str value = CSN_STR_INIT("s3cr\"t/va+lue~\xc3\xbc");

/* What becomes of a JSON string that holds the text. */
static bool
is_found(csn_redact *r, csn_str text)
{
  csn_auto(csn_buf_finip) csn_buf json = CSN_BUF(100000);
  csn_json_quote(&json, text);
  bool found = csn_redact_json(r, &json);
  return found && csn_str_find(csn_buf_str(&json), CSN_STR("[secret:TOKEN]"), 0) != SIZE_MAX;
}

TEST(a_value_is_found_as_it_is_and_in_its_encodings)
{
  csn_redact *r = csn_redact_new();
  csn_redact_add(r, CSN_STR("TOKEN"), value);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000);
  csn_buf_addf(&text, "before %.*s after", (int)value.n, value.p);
  assert_true(is_found(r, csn_buf_str(&text)));
  for (size_t before = 0; before < 4; before++)
    for (size_t after = 0; after < 3; after++) {
      csn_auto(csn_buf_finip) csn_buf plain = CSN_BUF(1000);
      csn_buf_add(&plain, csn_strn("user:", before));
      csn_buf_add(&plain, value);
      csn_buf_add(&plain, csn_strn("xyz", after));
      csn_buf_clear(&text);
      csn_base64_add(&text, csn_buf_str(&plain));
      assert_true(is_found(r, csn_buf_str(&text)));
      for (size_t i = 0; i < text.n; i++)
        text.p[i] = text.p[i] == '+' ? '-' : text.p[i] == '/' ? '_' : text.p[i];
      assert_true(is_found(r, csn_buf_str(&text)));
    }
  assert_true(is_found(r, CSN_STR("q=s3cr%22t%2Fva%2Blue~%C3%BC&x")));
  assert_true(is_found(r, CSN_STR("q=s3cr%22t%2fva%2blue~%c3%bc&x")));
  assert_false(is_found(r, CSN_STR("s3cr\"t/va")));
  csn_redact_free(r);
}

TEST(every_occurrence_is_replaced_and_nothing_else)
{
  csn_redact *r = csn_redact_new();
  csn_redact_add(r, CSN_STR("TOKEN"), CSN_STR("12345678"));
  csn_redact_add(r, CSN_STR("OTHER"), CSN_STR("abcdefgh"));
  csn_redact_add(r, CSN_STR("SHORT"), CSN_STR("1234567"));
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000);
  csn_buf_addz(&text, "{\"a\":\"1234567 12345678\",\"b\":\"12345678abcdefgh1\"}");
  assert_true(csn_redact_json(r, &text));
  STR_EQ(csn_buf_str(&text),
         "{\"a\":\"1234567 [secret:TOKEN]\",\"b\":\"[secret:TOKEN][secret:OTHER]1\"}");
  assert_false(csn_redact_json(r, &text));
  assert_false(csn_redact_json(NULL, &text));
  csn_redact_free(r);
}

/* The text fed in pieces that end at `cut` and, when it is not 0, every `step` bytes after it. */
static void
filter_cut(csn_redact *r, csn_str text, size_t cut, size_t step, csn_buf *out)
{
  csn_output_filter f = csn_redact_filter(r);
  void *s = f.begin(f.user);
  csn_buf_clear(out);
  f.feed(s, csn_strn(text.p, cut), false, out);
  for (size_t n; step && cut < text.n; cut += n) {
    n = step < text.n - cut ? step : text.n - cut;
    f.feed(s, csn_strn(text.p + cut, n), false, out);
  }
  f.feed(s, csn_strn(text.p + cut, text.n - cut), false, out);
  f.feed(s, CSN_STR(""), true, out);
  f.end(s);
}

TEST(a_value_is_found_in_a_stream_wherever_it_is_cut)
{
  csn_redact *r = csn_redact_new();
  csn_redact_add(r, CSN_STR("TOKEN"), value);
  csn_redact_add(r, CSN_STR("A"), CSN_STR("12345678"));
  csn_redact_add(r, CSN_STR("B"), CSN_STR("1234567890ab"));
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000), plain = CSN_BUF(100), out = CSN_BUF(1000);
  csn_buf_addf(&text, "s3cr s3cr\"%.*s|%.*s%.*s s3cr%%22t%%2Fva%%2Blue~%%C3%%BC ", (int)value.n,
               value.p, (int)value.n, value.p, (int)value.n, value.p);
  csn_buf_addz(&plain, "user:");
  csn_buf_add(&plain, value);
  csn_base64_add(&text, csn_buf_str(&plain));
  csn_buf_addz(&text, " 1212345678 1234567890 1234567890ab 1234567890a 1234567 s3cr\"t/v");
  static const char want[] =
      "s3cr s3cr\"[secret:TOKEN]|[secret:TOKEN][secret:TOKEN] [secret:TOKEN] dXNlcjp[secret:TOKEN] "
      "12[secret:A] [secret:A]90 [secret:B] [secret:A]90a 1234567 s3cr\"t/v";
  for (size_t step = 0; step < 4; step++)
    for (size_t cut = 0; cut <= text.n; cut++) {
      filter_cut(r, csn_buf_str(&text), cut, step, &out);
      STR_EQ(csn_buf_str(&out), want);
    }
  csn_redact_free(r);
}

TEST(no_more_of_a_stream_is_held_back_than_may_begin_a_value)
{
  csn_redact *r = csn_redact_new();
  csn_redact_add(r, CSN_STR("TOKEN"), CSN_STR("abcabcabd"));
  csn_output_filter f = csn_redact_filter(r);
  void *s = f.begin(f.user);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  static const struct {
    const char *piece, *out;
  } rows[] = {{"prompt> ", "prompt> "},      {"abc", ""}, {"abcab", ""}, {"c", "abc"},
              {"abd\n", "[secret:TOKEN]\n"}, {"ab", ""}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_buf_clear(&out);
    f.feed(s, csn_cstr(rows[i].piece), false, &out);
    STR_EQ(csn_strn(out.p ? out.p : "", out.n), rows[i].out);
  }
  csn_buf_clear(&out);
  f.feed(s, CSN_STR(""), true, &out);
  STR_EQ(csn_buf_str(&out), "ab");
  f.end(s);
  csn_redact_free(r);
}

RUN_TESTS("run/redact", RUN(a_value_is_found_as_it_is_and_in_its_encodings),
          RUN(every_occurrence_is_replaced_and_nothing_else),
          RUN(a_value_is_found_in_a_stream_wherever_it_is_cut),
          RUN(no_more_of_a_stream_is_held_back_than_may_begin_a_value))
