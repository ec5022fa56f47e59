/* SPDX-License-Identifier: Apache-2.0
 *
 * output.c - the collector of output.h.
 *
 * Kept are the first `most` bytes of the decoded text, which is all of it
 * when nothing must be cut, and a ring of its last bytes: half of the budget,
 * which is the most that a tail can be.  Both grow on demand.  Valid runs are
 * passed on in place; replacements are gathered in `mended` so that a flood
 * of broken bytes costs no call for each. */
#include "sandbox/output.h"

#include <stdio.h>

enum { BYTES_PER_TOKEN = 4, SHORT_RUN = 64, MARKER_MAX = 64 };
#define MOST_TOKENS ((int64_t)1 << 24) /* 64 MiB */
#define REPLACEMENT CSN_STR("\xef\xbf\xbd")

struct csn_output {
  size_t most, ring_size;
  csn_buf head;
  char *ring; /* NULL until the head is full */
  uint64_t total, breaks;
  unsigned char last[3]; /* the last bytes of the decoded text, newest last */
  unsigned char held[4]; /* an incomplete sequence of the input */
  size_t held_n;
  char mended[4096];
  size_t mended_n;
  csn_output_filter filter; /* begin NULL: none */
  void *filtering;
  csn_buf filtered;
};

csn_output *
csn_output_new(int64_t most_tokens)
{
  if (most_tokens < 0)
    most_tokens = 0;
  if (most_tokens > MOST_TOKENS)
    most_tokens = MOST_TOKENS;
  csn_output *o = csn_alloc(sizeof *o);
  o->most = (size_t)most_tokens * BYTES_PER_TOKEN;
  o->ring_size = o->most / 2 + BYTES_PER_TOKEN;
  o->head = CSN_BUF(o->most);
  return o;
}

void
csn_output_free(csn_output *o)
{
  if (!o)
    return;
  if (o->filtering)
    o->filter.end(o->filtering);
  csn_buf_fini(&o->filtered);
  csn_buf_fini(&o->head);
  free(o->ring);
  free(o);
}

void
csn_output_set_filter(csn_output *o, const csn_output_filter *f)
{
  o->filter = *f;
  o->filtering = f->begin(f->user);
  o->filtered = CSN_BUF(SIZE_MAX / 4);
}

/* ---- counting lines ---- */

static bool
is_ascii_break(unsigned char c)
{
  return (c >= '\n' && c <= '\r') || (c >= 0x1c && c <= 0x1e);
}

/* Whether a line ends with this byte, given the two before it: the ASCII ones,
 * U+0085, U+2028 and U+2029.  "\r\n" counts at its "\r". */
static bool
is_break(unsigned char c, unsigned char before, unsigned char before2)
{
  if (c < 0x80)
    return is_ascii_break(c) && !(c == '\n' && before == '\r');
  if (c == 0x85)
    return before == 0xc2;
  return (c == 0xa8 || c == 0xa9) && before == 0x80 && before2 == 0xe2;
}

typedef unsigned char block __attribute__((vector_size(16)));
typedef signed char mask __attribute__((vector_size(16)));

/* Breaks among 16 bytes; p[-1] and p[-2] are readable. */
static unsigned
block_breaks(const unsigned char *p)
{
  block v, before;
  memcpy(&v, p, sizeof v);
  memcpy(&before, p - 1, sizeof before);
  uint64_t high[2];
  memcpy(high, p, sizeof high);
  unsigned n = 0;
  if ((high[0] | high[1]) & 0x8080808080808080u) {
    for (int i = 0; i < 16; i++)
      n += is_break(p[i], p[i - 1], p[i - 2]);
    return n;
  }
  /* Unsigned wrap-around makes each range one comparison. */
  mask hits = ((v - '\n') <= (unsigned char)('\r' - '\n')) | ((v - 0x1c) <= (unsigned char)2);
  mask pairs = (v == '\n') & (before == '\r');
  hits &= ~pairs;
  uint64_t bits[2];
  memcpy(bits, &hits, sizeof bits);
  return (unsigned)(__builtin_popcountll(bits[0]) + __builtin_popcountll(bits[1])) / 8;
}

static void
count_breaks(csn_output *o, csn_str text)
{
  const unsigned char *p = (const unsigned char *)text.p;
  unsigned char b1 = o->last[2], b2 = o->last[1];
  size_t i = 0;
  for (; i < text.n && i < 2; i++) {
    o->breaks += is_break(p[i], b1, b2);
    b2 = b1;
    b1 = p[i];
  }
  for (; i + 16 <= text.n; i += 16)
    o->breaks += block_breaks(p + i);
  for (; i < text.n; i++)
    o->breaks += is_break(p[i], p[i - 1], p[i - 2]);
  for (size_t k = text.n < 3 ? 0 : text.n - 3; k < text.n; k++) {
    o->last[0] = o->last[1];
    o->last[1] = o->last[2];
    o->last[2] = p[k];
  }
}

static bool
ends_with_break(const csn_output *o)
{
  return is_break(o->last[2], 0, 0) || is_break(o->last[2], o->last[1], o->last[0]);
}

/* ---- keeping both ends ---- */

/* Makes the ring from the end of what the head has: the tail may begin there. */
static void
need_ring(csn_output *o)
{
  if (o->ring)
    return;
  o->ring = csn_alloc(o->ring_size);
  size_t n = o->head.n < o->ring_size ? o->head.n : o->ring_size;
  for (size_t i = o->head.n - n; i < o->head.n; i++)
    o->ring[i % o->ring_size] = o->head.p[i];
}

/* Takes whole code points of the decoded text. */
static void
keep(csn_output *o, csn_str text)
{
  if (text.n == 0)
    return;
  count_breaks(o, text);
  uint64_t at = o->total;
  o->total += text.n;
  size_t room = o->most - o->head.n;
  csn_buf_add(&o->head, csn_strn(text.p, text.n < room ? text.n : room));
  if (o->total <= o->most)
    return;
  need_ring(o);
  if (text.n > o->ring_size) {
    at += text.n - o->ring_size;
    text = csn_strn(text.p + text.n - o->ring_size, o->ring_size);
  }
  size_t to = (size_t)(at % o->ring_size); /* NOLINT(clang-analyzer-core.DivideZero): need_ring */
  size_t first = o->ring_size - to < text.n ? o->ring_size - to : text.n;
  memcpy(o->ring + to, text.p, first);
  memcpy(o->ring, text.p + first, text.n - first);
}

/* ---- decoding ---- */

static void
flush_mended(csn_output *o)
{
  keep(o, csn_strn(o->mended, o->mended_n));
  o->mended_n = 0;
}

static void
pass(csn_output *o, csn_str valid)
{
  if (valid.n <= SHORT_RUN) {
    if (o->mended_n + valid.n > sizeof o->mended)
      flush_mended(o);
    memcpy(o->mended + o->mended_n, valid.p, valid.n);
    o->mended_n += valid.n;
  } else {
    flush_mended(o);
    keep(o, valid);
  }
}

/* Bytes that form the beginning of a sequence (RFC 3629): how many of them
 * belong together, and how many the whole sequence has. */
static size_t
broken_part(const unsigned char *p, size_t n, size_t *whole)
{
  unsigned char low = 0x80, high = 0xbf;
  *whole = p[0] >= 0xc2 && p[0] <= 0xf4 ? (p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4) : 1;
  if (p[0] == 0xe0)
    low = 0xa0;
  else if (p[0] == 0xed)
    high = 0x9f;
  else if (p[0] == 0xf0)
    low = 0x90;
  else if (p[0] == 0xf4)
    high = 0x8f;
  size_t i = 1;
  for (; i < *whole && i < n; i++) {
    if (p[i] < low || p[i] > high)
      break;
    low = 0x80;
    high = 0xbf;
  }
  return i;
}

/* Decodes; gives the number of bytes at the end that are an incomplete
 * sequence. */
static size_t
decode(csn_output *o, csn_str bytes)
{
  size_t left = 0;
  while (bytes.n) {
    size_t n = csn_utf8_valid(bytes);
    pass(o, csn_strn(bytes.p, n));
    bytes = csn_strn(bytes.p + n, bytes.n - n);
    if (!bytes.n)
      break;
    size_t whole, part = broken_part((const unsigned char *)bytes.p, bytes.n, &whole);
    if (part == bytes.n && part < whole) {
      left = part;
      break;
    }
    pass(o, REPLACEMENT);
    bytes = csn_strn(bytes.p + part, bytes.n - part);
  }
  flush_mended(o);
  return left;
}

static void
take(csn_output *o, csn_str bytes)
{
  /* Finish a held sequence byte by byte: it is at most three bytes away. */
  while (o->held_n && bytes.n) {
    o->held[o->held_n++] = (unsigned char)bytes.p[0];
    bytes = csn_strn(bytes.p + 1, bytes.n - 1);
    csn_str held = csn_strn((const char *)o->held, o->held_n);
    size_t left = decode(o, held);
    memmove(o->held, o->held + o->held_n - left, left);
    o->held_n = left;
  }
  if (!bytes.n)
    return;
  size_t left = decode(o, bytes);
  memcpy(o->held, bytes.p + bytes.n - left, left);
  o->held_n = left;
}

static void
filter(csn_output *o, csn_str bytes, bool is_last)
{
  csn_buf_clear(&o->filtered);
  o->filter.feed(o->filtering, bytes, is_last, &o->filtered);
  take(o, csn_buf_str(&o->filtered));
}

void
csn_output_feed(csn_output *o, csn_str bytes)
{
  if (o->filtering)
    filter(o, bytes, false);
  else
    take(o, bytes);
}

void
csn_output_end(csn_output *o)
{
  if (o->filtering)
    filter(o, CSN_STR(""), true);
}

/* ---- the text ---- */

static void
add_tail(const csn_output *o, size_t budget, csn_buf *out, size_t *kept)
{
  uint64_t at = o->total - budget;
  /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): there is more than the head, so a ring */
  while (at < o->total && ((unsigned char)o->ring[at % o->ring_size] & 0xc0) == 0x80)
    at++; /* begin with a whole code point */
  *kept += (size_t)(o->total - at);
  for (; at < o->total; at++)
    csn_buf_addc(out, o->ring[at % o->ring_size]);
}

/* The longest beginning of at most `budget` bytes that ends between code
 * points. */
static csn_str
cut_head(csn_str s, size_t budget)
{
  size_t n = budget < s.n ? budget : s.n;
  while (n && n < s.n && ((unsigned char)s.p[n] & 0xc0) == 0x80)
    n--;
  return csn_strn(s.p, n);
}

static csn_str
print_marker(char to[MARKER_MAX], uint64_t bytes)
{
  uint64_t tokens = bytes / BYTES_PER_TOKEN + (bytes % BYTES_PER_TOKEN != 0);
  int n = snprintf(to, MARKER_MAX, "\xe2\x80\xa6%llu tokens truncated\xe2\x80\xa6",
                   (unsigned long long)tokens);
  return csn_strn(to, (size_t)n);
}

static void
cut(csn_output *o, size_t budget, csn_buf *out)
{
  char prefix[MARKER_MAX], marker[MARKER_MAX];
  csn_str mark = print_marker(marker, o->total);
  size_t prefix_n =
      (size_t)snprintf(prefix, sizeof prefix, "Total output lines: %llu\n\n",
                       (unsigned long long)(o->breaks + (o->total > 0 && !ends_with_break(o))));
  if (prefix_n + mark.n > budget)
    prefix_n = 0;
  if (mark.n > budget) {
    csn_buf_add(out, cut_head(mark, budget));
    return;
  }
  size_t room = budget - prefix_n - mark.n;
  csn_str head = cut_head(csn_buf_str(&o->head), room / 2);
  csn_auto(csn_buf_finip) csn_buf tail = CSN_BUF(room + 1);
  size_t kept = head.n;
  add_tail(o, room - room / 2, &tail, &kept);
  csn_buf_add(out, csn_strn(prefix, prefix_n));
  csn_buf_add(out, head);
  csn_buf_add(out, print_marker(marker, o->total - kept));
  csn_buf_add(out, csn_buf_str(&tail));
}

int64_t
csn_output_take(csn_output *o, int64_t max_tokens, bool closed, csn_buf *out)
{
  if (closed && o->held_n) {
    o->held_n = 0;
    keep(o, REPLACEMENT);
  }
  size_t budget = o->most;
  if (max_tokens >= 0 && max_tokens < (int64_t)(o->most / BYTES_PER_TOKEN))
    budget = (size_t)max_tokens * BYTES_PER_TOKEN;
  int64_t tokens = -1;
  if (o->total <= budget) {
    csn_buf_add(out, csn_buf_str(&o->head));
  } else {
    tokens = (int64_t)((o->total + BYTES_PER_TOKEN - 1) / BYTES_PER_TOKEN);
    need_ring(o);
    cut(o, budget, out);
  }
  csn_buf_clear(&o->head);
  o->total = o->breaks = 0;
  memset(o->last, 0, sizeof o->last);
  free(o->ring);
  o->ring = NULL;
  return tokens;
}

int64_t
csn_output_truncate(csn_str bytes, int64_t max_tokens, csn_buf *out)
{
  csn_auto(csn_output_freep) csn_output *o = csn_output_new(max_tokens);
  csn_output_feed(o, bytes);
  return csn_output_take(o, max_tokens, true, out);
}
