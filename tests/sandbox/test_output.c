/* SPDX-License-Identifier: Apache-2.0
 *
 * test_output.c - the collector against the rules written down a second time
 * over a whole buffer, on vectors, random texts and every way to cut them. */
#include <sys/resource.h>

#include "caisson/scope.h"
#include "check.h"
#include "sandbox/output.h"

/* ---- the rules once more, without any cleverness ---- */

static size_t
point_len(unsigned char c)
{
  return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

static bool
continues(csn_str s, size_t i, unsigned char low, unsigned char high)
{
  return i < s.n && (unsigned char)s.p[i] >= low && (unsigned char)s.p[i] <= high;
}

static void
plain_decode(csn_str s, csn_buf *out)
{
  for (size_t i = 0; i < s.n;) {
    unsigned char c = (unsigned char)s.p[i];
    size_t want = c < 0x80 ? 1 : c >= 0xc2 && c <= 0xf4 ? point_len(c) : 0, got = 1;
    if (want > 1 && continues(s, i + 1,
                              c == 0xe0   ? 0xa0
                              : c == 0xf0 ? 0x90
                                          : 0x80,
                              c == 0xed   ? 0x9f
                              : c == 0xf4 ? 0x8f
                                          : 0xbf))
      for (got = 2; got < want && continues(s, i + got, 0x80, 0xbf);)
        got++;
    if (got == want)
      csn_buf_add(out, csn_strn(s.p + i, got));
    else
      csn_buf_addz(out, "\xef\xbf\xbd");
    i += got;
  }
}

static size_t
plain_lines(csn_str s)
{
  size_t n = 0, i = 0;
  bool open = false;
  while (i < s.n) {
    static const char *const ends[] = {"\r\n", "\n",           "\r",          "\v",
                                       "\f",   "\xc2\x85",     "\x1c",        "\x1d",
                                       "\x1e", "\xe2\x80\xa8", "\xe2\x80\xa9"};
    size_t skip = 0;
    for (size_t k = 0; k < CSN_COUNT(ends) && !skip; k++)
      if (csn_str_starts(csn_strn(s.p + i, s.n - i), csn_cstr(ends[k])))
        skip = strlen(ends[k]);
    n += skip > 0;
    open = skip == 0;
    i += skip ? skip : 1;
  }
  return n + open;
}

static int64_t
plain_truncate(csn_str bytes, int64_t tokens, csn_buf *out)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(64 << 20), prefix = CSN_BUF(100),
                                  marker = CSN_BUF(100);
  plain_decode(bytes, &text);
  size_t budget = (size_t)tokens * 4;
  if (text.n <= budget) {
    csn_buf_add(out, csn_buf_str(&text));
    return -1;
  }
  csn_buf_addf(&prefix, "Total output lines: %zu\n\n", plain_lines(csn_buf_str(&text)));
  csn_buf_addf(&marker, "…%zu tokens truncated…", (text.n + 3) / 4);
  if (prefix.n + marker.n > budget)
    csn_buf_clear(&prefix);
  if (marker.n > budget) {
    size_t n = 0;
    while (n < marker.n && n + point_len((unsigned char)marker.p[n]) <= budget)
      n += point_len((unsigned char)marker.p[n]);
    csn_buf_add(out, csn_strn(marker.p, n));
    return (int64_t)(text.n + 3) / 4;
  }
  size_t room = budget - prefix.n - marker.n, left = room / 2, right = room - left;
  size_t head = 0, tail = text.n;
  for (size_t i = 0; i < text.n; i += point_len((unsigned char)text.p[i])) {
    size_t end = i + point_len((unsigned char)text.p[i]);
    if (end <= left)
      head = end;
    else if (i >= text.n - right && i < tail)
      tail = i;
  }
  csn_buf_add(out, csn_buf_str(&prefix));
  csn_buf_add(out, csn_strn(text.p, head));
  csn_buf_addf(out, "…%zu tokens truncated…", (tail - head + 3) / 4);
  csn_buf_add(out, csn_strn(text.p + tail, text.n - tail));
  return (int64_t)(text.n + 3) / 4;
}

/* ---- tests ---- */

TEST(the_known_samples_come_out)
{
  csn_auto(csn_buf_finip) csn_buf xs = CSN_BUF(1000), seq = CSN_BUF(100000), out = CSN_BUF(10000);
  assert_int_equal(csn_output_truncate(CSN_STR("abcdefghi"), 1, &out), 3);
  STR_EQ(csn_buf_str(&out), "…3");
  csn_buf_clear(&out);
  for (int i = 0; i < 200; i++)
    csn_buf_addc(&xs, 'x');
  assert_int_equal(csn_output_truncate(csn_buf_str(&xs), 10, &out), 50);
  STR_EQ(csn_buf_str(&out), "xxxxxxx…47 tokens truncated…xxxxxxxx");
  csn_buf_clear(&out);
  for (int i = 1; i <= 2000; i++)
    csn_buf_addf(&seq, "%d\n", i);
  assert_int_equal(csn_output_truncate(csn_buf_str(&seq), 40, &out), 2224);
  assert_true(csn_str_starts(csn_buf_str(&out), CSN_STR("Total output lines: 2000\n\n1\n2\n3\n")));
  assert_true(csn_str_find(csn_buf_str(&out), CSN_STR("…2197 tokens truncated…"), 0) != SIZE_MAX);
  assert_true(csn_str_ends(csn_buf_str(&out), CSN_STR("\n1999\n2000\n")));
  assert_int_equal(out.n, 160);
  csn_buf_clear(&out);
  assert_int_equal(csn_output_truncate(CSN_STR("abcd"), 1, &out), -1);
  STR_EQ(csn_buf_str(&out), "abcd");
}

TEST(broken_bytes_become_one_mark_for_each_maximal_part)
{
  static const struct {
    const char *in, *out;
  } rows[] = {
      {"a\xff\xfez", "a��z"},
      {"\xe2\x82", "�"},
      {"\xe2\x82z", "�z"},
      {"\xf0\x80\x80\x80", "����"},
      {"\xed\xa0\x80", "���"},
      {"\xf4\x90\x80\x80", "����"},
      {"\xf0\x9f\x98\x80\xf0\x9f\x98", "😀�"},
      {"\xc3\xc3\xa9", "�é"},
      {"\x80\xbf", "��"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(100);
    csn_output_truncate(csn_cstr(rows[i].in), 100, &out);
    STR_EQ(csn_buf_str(&out), rows[i].out);
  }
}

/* xorshift: the same texts in every run */
static uint32_t
next(uint32_t *seed)
{
  *seed ^= *seed << 13;
  *seed ^= *seed >> 17;
  return *seed ^= *seed << 5;
}

static void
random_text(uint32_t *seed, size_t pieces, csn_buf *out)
{
  static const char *const words[] = {"a",
                                      "word ",
                                      "\n",
                                      "\r\n",
                                      "\r",
                                      "\v",
                                      "\x1c",
                                      "\x1e",
                                      "é",
                                      "€",
                                      "😀",
                                      "\xff",
                                      "\xe2",
                                      "\xe2\x80",
                                      "\xf0\x9f",
                                      "\xc2\x85",
                                      "\xe2\x80\xa8",
                                      "\xe2\x80\xa9",
                                      "\x80",
                                      "\xed\xa0\x80",
                                      "long run of plain letters "
                                      "that is more than sixty-four bytes\n"};
  while (pieces--)
    csn_buf_addz(out, words[next(seed) % CSN_COUNT(words)]);
}

TEST(feeding_gives_what_the_whole_text_gives_at_every_cut)
{
  uint32_t seed = 4711;
  for (int round = 0; round < 120; round++) {
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(100000), want = CSN_BUF(100000);
    random_text(&seed, next(&seed) % 60, &text);
    int64_t tokens = (int64_t)(next(&seed) % 40);
    int64_t count = plain_truncate(csn_buf_str(&text), tokens, &want);
    csn_auto(csn_output_freep) csn_output *o = csn_output_new(tokens + (round % 3) * 10);
    for (size_t at = 0; at <= text.n; at++) {
      csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(100000);
      csn_output_feed(o, csn_strn(text.p, at));
      csn_output_feed(o, csn_strn(text.p + at, text.n - at));
      assert_int_equal(csn_output_take(o, tokens, true, &got), count);
      STR_EQ(csn_buf_str(&got), want.p ? want.p : "");
    }
  }
}

TEST(long_random_texts_in_random_pieces_come_out_the_same)
{
  uint32_t seed = 99;
  for (int round = 0; round < 60; round++) {
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20), want = CSN_BUF(1 << 20),
                                    got = CSN_BUF(1 << 20);
    random_text(&seed, 1000 + next(&seed) % 4000, &text);
    int64_t tokens = (int64_t)(next(&seed) % 3000);
    int64_t count = plain_truncate(csn_buf_str(&text), tokens, &want);
    csn_auto(csn_output_freep) csn_output *o = csn_output_new(tokens);
    for (size_t at = 0; at < text.n;) {
      size_t n = next(&seed) % 700;
      n = n < text.n - at ? n : text.n - at;
      csn_output_feed(o, csn_strn(text.p + at, n));
      at += n;
    }
    assert_int_equal(csn_output_take(o, tokens, true, &got), count);
    STR_EQ(csn_buf_str(&got), want.p);
  }
}

TEST(an_incomplete_character_waits_for_the_next_text)
{
  csn_auto(csn_output_freep) csn_output *o = csn_output_new(10);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(100);
  csn_output_feed(o, CSN_STR("x\xf0\x9f"));
  assert_int_equal(csn_output_take(o, 10, false, &out), -1);
  STR_EQ(csn_buf_str(&out), "x");
  csn_buf_clear(&out);
  csn_output_feed(o, CSN_STR("\x98\x80y"));
  csn_output_take(o, 10, false, &out);
  STR_EQ(csn_buf_str(&out), "😀y");
  csn_buf_clear(&out);
  csn_output_feed(o, CSN_STR("\xe2\x80"));
  csn_output_take(o, 10, true, &out);
  STR_EQ(csn_buf_str(&out), "�");
}

TEST(a_gigabyte_passes_fast_and_in_constant_memory)
{
  csn_auto(csn_output_freep) csn_output *o = csn_output_new(10000);
  csn_auto(csn_buf_finip) csn_buf piece = CSN_BUF(65536), out = CSN_BUF(100000);
  while (piece.n + 20 < piece.cap)
    csn_buf_addz(&piece, "0123456789 abcdefg\n");
  struct rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  int64_t began = csn_now_ns();
  for (size_t fed = 0; fed < 1000000000; fed += piece.n)
    csn_output_feed(o, csn_buf_str(&piece));
  double seconds = (double)(csn_now_ns() - began) / 1e9;
  assert_true(csn_output_take(o, 10000, true, &out) > 249000000);
  getrusage(RUSAGE_SELF, &after);
  print_message("# 1 GB in %.2f s\n", seconds);
  assert_true(after.ru_maxrss - before.ru_maxrss < 1024);
  assert_true(out.n <= 40000);
}

RUN_TESTS("sandbox/output", RUN(the_known_samples_come_out),
          RUN(broken_bytes_become_one_mark_for_each_maximal_part),
          RUN(feeding_gives_what_the_whole_text_gives_at_every_cut),
          RUN(long_random_texts_in_random_pieces_come_out_the_same),
          RUN(an_incomplete_character_waits_for_the_next_text),
          RUN(a_gigabyte_passes_fast_and_in_constant_memory))
