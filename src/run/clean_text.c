/* SPDX-License-Identifier: Apache-2.0
 * clean_text.c - see clean_text.h. */
#include "run/clean_text.h"

#include <stdint.h>

/* Of a valid sequence. */
static uint32_t
code_point(const unsigned char *p, size_t n)
{
  static const unsigned char first[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
  uint32_t c = p[0] & first[n];
  for (size_t i = 1; i < n; i++)
    c = c << 6 | (p[i] & 0x3f);
  return c;
}

static bool
is_hidden(uint32_t c)
{
  static const struct {
    uint32_t from, to;
  } ranges[] = {
      {0x00, 0x08},     {0x0b, 0x1f},     {0x7f, 0x9f},       {0xad, 0xad},     {0x61c, 0x61c},
      {0x180e, 0x180e}, {0x200b, 0x200c}, {0x200e, 0x200f},   {0x202a, 0x202e}, {0x2060, 0x206f},
      {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe0fff},
  };
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
    if (c >= ranges[i].from && c <= ranges[i].to)
      return true;
  return false;
}

static size_t
length_of(unsigned char c)
{
  return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

void
csn_text_clean(csn_str text, csn_buf *out)
{
  while (text.n && !out->over) {
    size_t valid = csn_utf8_valid(text);
    size_t from = 0, at = 0;
    while (at < valid) {
      const unsigned char *p = (const unsigned char *)text.p + at;
      size_t n = length_of(*p);
      if ((*p < 0x20 || *p >= 0x7f) && is_hidden(code_point(p, n))) {
        csn_buf_add(out, csn_strn(text.p + from, at - from));
        from = at + n;
      }
      at += n;
    }
    csn_buf_add(out, csn_strn(text.p + from, valid - from));
    text = csn_strn(text.p + valid, text.n - valid);
    if (text.n) {
      csn_buf_addz(out, "\xef\xbf\xbd");
      text = csn_strn(text.p + 1, text.n - 1);
    }
  }
}

void
csn_text_clean_line(csn_str text, csn_buf *out)
{
  csn_buf clean = CSN_BUF(out->cap);
  csn_text_clean(text, &clean);
  csn_str s = csn_str_trim(csn_buf_str(&clean));
  bool is_gap = false;
  for (size_t i = 0; i < s.n; i++) {
    bool is_blank = s.p[i] == ' ' || s.p[i] == '\t' || s.p[i] == '\n';
    if (is_gap && !is_blank)
      csn_buf_addc(out, ' ');
    if (!is_blank)
      csn_buf_addc(out, s.p[i]);
    is_gap = is_blank;
  }
  out->over = out->over || clean.over;
  csn_buf_fini(&clean);
}

csn_str
csn_text_head(csn_str text, size_t max_bytes)
{
  if (text.n <= max_bytes)
    return text;
  size_t n = max_bytes;
  while (n && ((unsigned char)text.p[n] & 0xc0) == 0x80)
    n--;
  return csn_strn(text.p, n);
}
