/* SPDX-License-Identifier: Apache-2.0
 * str.c - slices and capped buffers; see caisson/str.h. */
#include "caisson/str.h"

#include <stdint.h>
#include <stdio.h>

#include "caisson/mem.h"

size_t
csn_str_find(csn_str s, csn_str needle, size_t from)
{
  if (from > s.n)
    return SIZE_MAX;
  if (needle.n == 0)
    return from;
  if (needle.n > s.n - from) /* so that an empty slice needs no pointer */
    return SIZE_MAX;
  const char *hit = memmem(s.p + from, s.n - from, needle.p, needle.n);
  return hit ? (size_t)(hit - s.p) : SIZE_MAX;
}

static bool
is_space(char c)
{
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

csn_str
csn_str_trim(csn_str s)
{
  while (s.n && is_space(s.p[0]))
    s.p++, s.n--;
  while (s.n && is_space(s.p[s.n - 1]))
    s.n--;
  return s;
}

bool
csn_str_is_one_of(csn_str s, const char *const *words)
{
  for (; *words; words++)
    if (csn_str_eq(s, csn_cstr(*words)))
      return true;
  return false;
}

bool
csn_str_int(csn_str s, int64_t *out)
{
  bool minus = s.n && s.p[0] == '-';
  size_t i = minus;
  if (i == s.n)
    return false;
  int64_t v = 0; /* built below zero, where the range is one larger */
  for (; i < s.n; i++) {
    if (s.p[i] < '0' || s.p[i] > '9')
      return false;
    if (__builtin_mul_overflow(v, 10, &v) || __builtin_sub_overflow(v, s.p[i] - '0', &v))
      return false;
  }
  if (!minus && v == INT64_MIN)
    return false;
  *out = minus ? v : -v;
  return true;
}

bool
csn_str_line(csn_str *s, csn_str *line)
{
  if (s->n == 0)
    return false;
  const char *nl = memchr(s->p, '\n', s->n);
  size_t n = nl ? (size_t)(nl - s->p) : s->n;
  size_t skip = nl ? n + 1 : n;
  *line = csn_strn(s->p, n && s->p[n - 1] == '\r' ? n - 1 : n);
  s->p += skip;
  s->n -= skip;
  return true;
}

/* Length of the sequence at p, 0 when it is not valid UTF-8 (RFC 3629). */
static size_t
utf8_len(const unsigned char *p, size_t n)
{
  if (p[0] < 0x80)
    return 1;
  if (p[0] < 0xc2 || p[0] > 0xf4)
    return 0;
  size_t want = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
  if (n < want)
    return 0;
  unsigned char low = 0x80, high = 0xbf;
  if (p[0] == 0xe0)
    low = 0xa0;
  else if (p[0] == 0xed)
    high = 0x9f;
  else if (p[0] == 0xf0)
    low = 0x90;
  else if (p[0] == 0xf4)
    high = 0x8f;
  if (p[1] < low || p[1] > high)
    return 0;
  for (size_t i = 2; i < want; i++)
    if ((p[i] & 0xc0) != 0x80)
      return 0;
  return want;
}

size_t
csn_utf8_valid(csn_str s)
{
  const unsigned char *p = (const unsigned char *)s.p;
  size_t i = 0;
  while (i < s.n) {
    uint64_t eight;
    while (s.n - i >= 8 && (memcpy(&eight, p + i, 8), (eight & 0x8080808080808080u) == 0))
      i += 8;
    if (i == s.n)
      break;
    size_t k = utf8_len(p + i, s.n - i);
    if (!k)
      return i;
    i += k;
  }
  return i;
}

char *
csn_buf_room(csn_buf *b, size_t n)
{
  if (b->over || b->n > b->cap || n > b->cap - b->n) {
    b->over = true;
    return NULL;
  }
  size_t want = b->n + n + 1;
  if (want > b->room) {
    size_t room = b->room ? b->room : 256;
    while (room < want)
      room *= 2;
    if (room > b->cap + 1)
      room = b->cap + 1;
    b->p = csn_realloc(b->p, room, 1);
    b->room = room;
  }
  return b->p + b->n;
}

void
csn_buf_add(csn_buf *b, csn_str s)
{
  char *p = csn_buf_room(b, s.n);
  if (!p)
    return;
  if (s.n)
    memcpy(p, s.p, s.n);
  b->n += s.n;
  b->p[b->n] = '\0';
}

void
csn_buf_addz(csn_buf *b, const char *z)
{
  csn_buf_add(b, csn_cstr(z));
}

void
csn_buf_addc(csn_buf *b, char c)
{
  csn_buf_add(b, csn_strn(&c, 1));
}

void
csn_buf_addv(csn_buf *b, const char *fmt, va_list ap)
{
  va_list again;
  va_copy(again, ap);
  int n = vsnprintf(NULL, 0, fmt, ap);
  char *p = n < 0 ? NULL : csn_buf_room(b, (size_t)n);
  if (p) {
    vsnprintf(p, (size_t)n + 1, fmt, again);
    b->n += (size_t)n;
  }
  va_end(again);
}

void
csn_buf_addf(csn_buf *b, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  csn_buf_addv(b, fmt, ap);
  va_end(ap);
}

void
csn_buf_drop(csn_buf *b, size_t n)
{
  if (n >= b->n)
    n = b->n;
  if (!n)
    return;
  memmove(b->p, b->p + n, b->n - n + 1);
  b->n -= n;
}

int
csn_buf_done(const csn_buf *b, const char *what, csn_err *err)
{
  if (b->over)
    return csn_fail(err, CSN_E_LIMIT, "%s is larger than %zu bytes", what, b->cap);
  return 0;
}

void
csn_buf_fini(csn_buf *b)
{
  free(b->p);
  *b = CSN_BUF(b->cap);
}
