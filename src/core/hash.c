/* SPDX-License-Identifier: Apache-2.0
 *
 * hash.c - SHA-256, base64 and random names; see core/hash.h.
 *
 * SHA-256 has two block functions (core/sha256.c): plain C, and the SHA
 * instructions of x86 where the CPU has them.  The choice is asked of libc
 * at each call, which is a load; nothing is cached here. */
#include "core/hash.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>

#include "core/sha256.h"

void
csn_sha256_init(csn_sha256 *s)
{
  static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  memcpy(s->h, start, sizeof start);
  s->n = 0;
}

static void
blocks(csn_sha256 *s, const unsigned char *p, size_t count)
{
  if (csn_sha256_has_native())
    csn_sha256_blocks_native(s->h, p, count);
  else
    csn_sha256_blocks_plain(s->h, p, count);
}

void
csn_sha256_add(csn_sha256 *s, csn_str bytes)
{
  if (!bytes.n)
    return;
  const unsigned char *p = (const unsigned char *)bytes.p;
  size_t n = bytes.n, held = s->n & 63;
  s->n += n;
  if (held) {
    size_t take = n < 64 - held ? n : 64 - held;
    memcpy(s->block + held, p, take);
    if (held + take < 64)
      return;
    blocks(s, s->block, 1);
    p += take;
    n -= take;
  }
  if (n >= 64)
    blocks(s, p, n / 64);
  memcpy(s->block, p + n / 64 * 64, n & 63);
}

csn_digest
csn_sha256_end(csn_sha256 *s)
{
  unsigned char last[128] = {0};
  size_t held = s->n & 63, size = held < 56 ? 64 : 128;
  memcpy(last, s->block, held);
  last[held] = 0x80;
  uint64_t bits = __builtin_bswap64(s->n * 8);
  memcpy(last + size - 8, &bits, 8);
  blocks(s, last, size / 64);
  csn_digest d;
  for (size_t i = 0; i < 8; i++) {
    uint32_t big = __builtin_bswap32(s->h[i]);
    memcpy(d.b + 4 * i, &big, 4);
  }
  return d;
}

csn_digest
csn_sha256_of(csn_str bytes)
{
  csn_sha256 s;
  csn_sha256_init(&s);
  csn_sha256_add(&s, bytes);
  return csn_sha256_end(&s);
}

csn_digest
csn_hmac_sha256(csn_str key, csn_str bytes)
{
  char pad[64] = {0}, inner[64], outer[64];
  csn_digest short_key, d;
  if (key.n > sizeof pad) {
    short_key = csn_sha256_of(key);
    key = csn_strn((const char *)short_key.b, sizeof short_key.b);
  }
  memcpy(pad, key.n ? key.p : "", key.n);
  for (size_t i = 0; i < sizeof pad; i++) {
    inner[i] = (char)(pad[i] ^ 0x36);
    outer[i] = (char)(pad[i] ^ 0x5c);
  }
  csn_sha256 s;
  csn_sha256_init(&s);
  csn_sha256_add(&s, csn_strn(inner, sizeof inner));
  csn_sha256_add(&s, bytes);
  d = csn_sha256_end(&s);
  csn_sha256_init(&s);
  csn_sha256_add(&s, csn_strn(outer, sizeof outer));
  csn_sha256_add(&s, csn_strn((const char *)d.b, sizeof d.b));
  return csn_sha256_end(&s);
}

bool
csn_digest_same(const csn_digest *a, const csn_digest *b)
{
  unsigned char all = 0;
  for (size_t i = 0; i < sizeof a->b; i++)
    all |= a->b[i] ^ b->b[i];
  return all == 0;
}

void
csn_digest_hex(const csn_digest *d, char out[65])
{
  static const char digit[] = "0123456789abcdef";
  for (size_t i = 0; i < sizeof d->b; i++) {
    out[2 * i] = digit[d->b[i] >> 4];
    out[2 * i + 1] = digit[d->b[i] & 15];
  }
  out[64] = '\0';
}

static int
hex_value(char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
csn_digest_from_hex(csn_str hex, csn_digest *out)
{
  if (hex.n != 2 * sizeof out->b)
    return false;
  csn_digest d;
  for (size_t i = 0; i < sizeof d.b; i++) {
    int high = hex_value(hex.p[2 * i]), low = hex_value(hex.p[2 * i + 1]);
    if (high < 0 || low < 0)
      return false;
    d.b[i] = (unsigned char)(high << 4 | low);
  }
  *out = d;
  return true;
}

void
csn_base64_add(csn_buf *out, csn_str bytes)
{
  static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  size_t size = bytes.n / 3 * 4 + (bytes.n % 3 ? 4 : 0);
  char *o = bytes.n <= SIZE_MAX / 4 * 3 - 3 ? csn_buf_room(out, size) : NULL;
  if (!o) {
    out->over = true;
    return;
  }
  const unsigned char *p = (const unsigned char *)bytes.p;
  for (size_t n = bytes.n; n; p += 3, o += 4) {
    uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);
    o[0] = digit[v >> 18];
    o[1] = digit[v >> 12 & 63];
    o[2] = n > 1 ? digit[v >> 6 & 63] : '=';
    o[3] = n > 2 ? digit[v & 63] : '=';
    n -= n < 3 ? n : 3;
  }
  out->n += size;
  out->p[out->n] = '\0';
}

static int
base64_value(char c)
{
  if (c >= 'A' && c <= 'Z')
    return c - 'A';
  if (c >= 'a' && c <= 'z')
    return c - 'a' + 26;
  if (c >= '0' && c <= '9')
    return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool
csn_base64_decode(csn_buf *out, csn_str text)
{
  if (text.n % 4)
    return false;
  size_t pad = 0;
  while (pad < 2 && pad < text.n && text.p[text.n - 1 - pad] == '=')
    pad++;
  size_t size = text.n / 4 * 3 - pad, digits = text.n - pad;
  char *o = csn_buf_room(out, size);
  if (!o)
    return false;
  uint32_t v = 0;
  for (size_t i = 0; i < digits; i++) {
    int d = base64_value(text.p[i]);
    if (d < 0) {
      out->p[out->n] = '\0';
      return false;
    }
    v = v << 6 | (uint32_t)d;
    if (i % 4)
      *o++ = (char)(v >> (6 - 2 * (i % 4)) & 255);
  }
  /* Bits that no byte takes must be zero, or two texts mean the same bytes. */
  bool exact = pad == 0 || (v & (pad == 2 ? 15u : 3u)) == 0;
  out->n += exact ? size : 0;
  out->p[out->n] = '\0';
  return exact;
}

void
csn_random_bytes(void *out, size_t n)
{
  unsigned char *p = out;
  while (n) {
    ssize_t got = getrandom(p, n, 0);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0) {
      fputs("caisson: getrandom(2) failed, and nothing is safe without it\n", stderr);
      abort();
    }
    p += got;
    n -= (size_t)got;
  }
}

void
csn_random_name(char *out, size_t n)
{
  static const char digit[] = "0123456789abcdefghijklmnopqrstuvwxyz";
  unsigned char pool[64];
  size_t left = 0;
  for (size_t i = 0; i < n;) {
    if (!left)
      csn_random_bytes(pool, left = sizeof pool);
    unsigned char b = pool[--left];
    if (b < 252) /* 7 * 36: each character equally often */
      out[i++] = digit[b % 36];
  }
  out[n] = '\0';
}
