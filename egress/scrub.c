/* SPDX-License-Identifier: Apache-2.0
 *
 * scrub.c - secrets out of responses; see secret.h.
 *
 * Each secret gives several patterns: itself, its base64 at each of the three
 * places where it can begin inside something longer, percent-encoded, inside a
 * JSON string, in hexadecimal.  As Wu and Manber do it, the two bytes at the end
 * of a window as long as the shortest pattern say how far the window can be
 * moved: most of a body is passed over in steps of nearly that length.
 */
#include "caisson/json.h"
#include "core/hash.h"
#include "egress/secret.h"

enum { SCRUBBED_MIN = 8, PATTERNS = 12, PATTERN_MAX = 64 << 10, WINDOW_MAX = 128 };

struct pattern {
  char *text, *mask;
  size_t n;
};

struct csn_scrubber {
  struct pattern *patterns;
  size_t n, longest, window;
  uint8_t skip[65536]; /* by the last two bytes of the window */
};

static size_t
pair_of(const char *p)
{
  return (size_t)(unsigned char)p[0] << 8 | (unsigned char)p[1];
}

static void
add_pattern(csn_scrubber *s, const csn_secret *secret, csn_str text)
{
  if (text.n < SCRUBBED_MIN)
    return;
  for (size_t i = 0; i < s->n; i++)
    if (csn_str_eq(csn_strn(s->patterns[i].text, s->patterns[i].n), text))
      return;
  csn_auto(csn_buf_finip) csn_buf mask = CSN_BUF(PATTERN_MAX);
  csn_buf_addf(&mask, "[secret:%.*s]", (int)secret->name.n, secret->name.p);
  while (mask.n < text.n)
    csn_buf_addc(&mask, '*');
  struct pattern *p = &s->patterns[s->n++];
  *p = (struct pattern){csn_dupz(text), csn_dupz(csn_strn(mask.p, text.n)), text.n};
  if (text.n > s->longest)
    s->longest = text.n;
  if (text.n < s->window)
    s->window = text.n;
}

/* Two bytes that are in no pattern move the window behind them; others so far
 * that they stand where they are last in the beginning of one. */
static void
make_skips(csn_scrubber *s)
{
  memset(s->skip, (int)s->window - 1, sizeof s->skip);
  for (size_t i = 0; i < s->n; i++)
    for (size_t at = 0; at + 2 <= s->window; at++) {
      uint8_t *skip = &s->skip[pair_of(s->patterns[i].text + at)];
      size_t left = s->window - 2 - at;
      if (left < *skip)
        *skip = (uint8_t)left;
    }
}

/* The digits that stay the same whatever surrounds the value, when it begins
 * `shift` bytes into a group of three. */
static void
add_base64(csn_scrubber *s, const csn_secret *secret, size_t shift)
{
  csn_auto(csn_buf_finip) csn_buf whole = CSN_BUF(PATTERN_MAX), code = CSN_BUF(PATTERN_MAX);
  csn_buf_add(&whole, csn_strn("\0\0", shift));
  csn_buf_add(&whole, secret->value);
  csn_base64_add(&code, csn_buf_str(&whole));
  size_t from = (shift * 8 + 5) / 6, until = whole.n * 8 / 6;
  csn_str digits = csn_strn(code.p + from, until - from);
  add_pattern(s, secret, digits);
  for (size_t i = 0; i < code.n; i++) /* the alphabet of URLs */
    code.p[i] = (char)(code.p[i] == '+' ? '-' : code.p[i] == '/' ? '_' : code.p[i]);
  add_pattern(s, secret, digits);
}

static void
add_percent(csn_scrubber *s, const csn_secret *secret)
{
  csn_auto(csn_buf_finip) csn_buf upper = CSN_BUF(PATTERN_MAX), lower = CSN_BUF(PATTERN_MAX);
  for (size_t i = 0; i < secret->value.n; i++) {
    unsigned char c = (unsigned char)secret->value.p[i];
    bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '-' ||
                 c == '.' || c == '_' || c == '~';
    csn_buf_addf(&upper, plain ? "%c" : "%%%02X", c);
    csn_buf_addf(&lower, plain ? "%c" : "%%%02x", c);
  }
  add_pattern(s, secret, csn_buf_str(&upper));
  add_pattern(s, secret, csn_buf_str(&lower));
}

static void
add_hex(csn_scrubber *s, const csn_secret *secret)
{
  csn_auto(csn_buf_finip) csn_buf hex = CSN_BUF(PATTERN_MAX);
  for (size_t i = 0; i < secret->value.n; i++)
    csn_buf_addf(&hex, "%02x", (unsigned char)secret->value.p[i]);
  add_pattern(s, secret, csn_buf_str(&hex));
}

static void
add_secret(csn_scrubber *s, const csn_secret *secret)
{
  csn_auto(csn_buf_finip) csn_buf json = CSN_BUF(PATTERN_MAX * 2);
  if (secret->value.n < SCRUBBED_MIN)
    return;
  add_pattern(s, secret, secret->value);
  csn_json_quote(&json, secret->value);
  if (json.n > 2)
    add_pattern(s, secret, csn_strn(json.p + 1, json.n - 2));
  for (size_t shift = 0; shift < 3; shift++)
    add_base64(s, secret, shift);
  add_percent(s, secret);
  add_hex(s, secret);
}

csn_scrubber *
csn_scrubber_new(const csn_config *c)
{
  csn_scrubber *s = csn_alloc(sizeof *s);
  s->patterns = csn_alloc(c->n_secrets * PATTERNS * sizeof *s->patterns + 1);
  s->window = WINDOW_MAX;
  for (size_t i = 0; i < c->n_secrets; i++)
    add_secret(s, &c->secrets[i]);
  make_skips(s);
  return s;
}

void
csn_scrubber_free(csn_scrubber *s)
{
  if (!s)
    return;
  for (size_t i = 0; i < s->n; i++) {
    explicit_bzero(s->patterns[i].text, s->patterns[i].n);
    free(s->patterns[i].text);
    free(s->patterns[i].mask);
  }
  free(s->patterns);
  free(s);
}

/* The longest pattern that is whole at p, or NULL. */
static const struct pattern *
find_at(const csn_scrubber *s, const char *p, size_t n)
{
  const struct pattern *best = NULL;
  for (size_t i = 0; i < s->n; i++)
    if (s->patterns[i].n <= n && memcmp(p, s->patterns[i].text, s->patterns[i].n) == 0 &&
        (!best || s->patterns[i].n > best->n))
      best = &s->patterns[i];
  return best;
}

/* Could p be the beginning of a pattern that goes on behind it? */
static bool
begins_one(const csn_scrubber *s, const char *p, size_t n)
{
  for (size_t i = 0; i < s->n; i++)
    if (s->patterns[i].n > n && memcmp(p, s->patterns[i].text, n) == 0)
      return true;
  return false;
}

void
csn_scrub(const csn_scrubber *s, csn_scrub_tail *t, csn_str bytes, bool last, csn_buf *out)
{
  if (s->n == 0) {
    csn_buf_add(out, bytes);
    return;
  }
  size_t start = out->n;
  csn_buf_add(out, csn_buf_str(&t->held));
  csn_buf_add(out, bytes);
  csn_buf_clear(&t->held);
  char *p = out->p;
  size_t at = start, n = out->n;
  while (at < n) {
    size_t skip = n - at >= s->window ? s->skip[pair_of(p + at + s->window - 2)] : 0;
    if (skip > 0) {
      at += skip;
      continue;
    }
    const struct pattern *found = find_at(s, p + at, n - at);
    /* A longer one may be under way where a shorter one is whole: the bytes
     * wait until that is known. */
    if (!last && n - at < s->longest && begins_one(s, p + at, n - at))
      break;
    if (found)
      memcpy(p + at, found->mask, found->n);
    at += found ? found->n : 1;
  }
  if (at < n) {
    t->held.cap = PATTERN_MAX;
    csn_buf_add(&t->held, csn_strn(p + at, n - at));
    out->n = at;
  }
}

void
csn_scrub_tail_fini(csn_scrub_tail *t)
{
  csn_buf_fini(&t->held);
}
