/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "check.h"

#include <fcntl.h>
#include <stdio.h>

/* What one call writes, without the time. */
static csn_str
written(enum csn_level limit, enum csn_level level, const char *text, char *to, size_t size)
{
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  csn_log *l = csn_log_new(ends[1], limit);
  csn_logf(l, level, "%s", text);
  csn_log_free(l);
  ssize_t n = read(ends[0], to, size);
  close(ends[0]);
  close(ends[1]);
  const size_t time = sizeof "2026-01-02T03:04:05.678Z" - 1;
  return n > (ssize_t)time ? csn_strn(to + time, (size_t)n - time) : CSN_STR("");
}

TEST(a_line_has_time_level_and_text)
{
  char b[8000];
  STR_EQ(written(CSN_LOG_INFO, CSN_LOG_WARN, "hello", b, sizeof b), " warn hello\n");
  assert_int_equal(b[10], 'T');
  assert_int_equal(b[23], 'Z');
  STR_EQ(written(CSN_LOG_INFO, CSN_LOG_DEBUG, "hello", b, sizeof b), "");
  csn_logf(NULL, CSN_LOG_ERROR, "nothing");
}

TEST(what_a_terminal_could_obey_is_escaped)
{
  char b[8000];
  STR_EQ(written(CSN_LOG_INFO, CSN_LOG_INFO, "a\x1b[31m\n\x7f\xc2\x9b\xff\xc3\xa9", b, sizeof b),
         " info a\\x1b[31m\\x0a\\x7f\\xc2\\x9b\\xff\xc3\xa9\n");
}

TEST(a_line_ends_with_a_line_end_however_long_it_is)
{
  char text[3000], b[8000];
  memset(text, '\x01', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  csn_str s = written(CSN_LOG_INFO, CSN_LOG_INFO, text, b, sizeof b);
  assert_true(csn_str_ends(s, CSN_STR("\\x01\n")));
  assert_true(s.n < sizeof b - 100);
}

TEST(levels_have_names)
{
  enum csn_level l;
  assert_true(csn_level_parse(CSN_STR("debug"), &l) && l == CSN_LOG_DEBUG);
  assert_true(csn_level_parse(CSN_STR("error"), &l) && l == CSN_LOG_ERROR);
  assert_false(csn_level_parse(CSN_STR("loud"), &l));
}

RUN_TESTS("base/log", RUN(a_line_has_time_level_and_text),
          RUN(what_a_terminal_could_obey_is_escaped),
          RUN(a_line_ends_with_a_line_end_however_long_it_is), RUN(levels_have_names))
