/* SPDX-License-Identifier: Apache-2.0
 * hash.c - SHA-256, base64 and random names; see hash.h. */
#include "core/hash.h"

#include <stdio.h>
#include <sys/random.h>

static const uint32_t k256[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t
ror(uint32_t x, int n)
{
  return x >> n | x << (32 - n);
}

static void
compress(uint32_t h[8], const unsigned char *p)
{
  uint32_t w[64], s[8];
  for (int i = 0; i < 16; i++, p += 4)
    w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
  for (int i = 16; i < 64; i++) {
    uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + w[i - 7] + (ror(a, 7) ^ ror(a, 18) ^ a >> 3) +
           (ror(b, 17) ^ ror(b, 19) ^ b >> 10);
  }
  memcpy(s, h, sizeof s);
  for (int i = 0; i < 64; i++) {
    uint32_t t1 = s[7] + (ror(s[4], 6) ^ ror(s[4], 11) ^ ror(s[4], 25)) +
                  ((s[4] & s[5]) ^ (~s[4] & s[6])) + k256[i] + w[i];
    uint32_t t2 = (ror(s[0], 2) ^ ror(s[0], 13) ^ ror(s[0], 22)) +
                  ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, 7 * sizeof *s);
    s[4] += t1;
    s[0] = t1 + t2;
  }
  for (int i = 0; i < 8; i++)
    h[i] += s[i];
}

void
csn_sha256_init(csn_sha256 *s)
{
  *s = (csn_sha256){.h = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c,
                          0x1f83d9ab, 0x5be0cd19}};
}

void
csn_sha256_add(csn_sha256 *s, csn_str bytes)
{
  size_t have = s->n & 63;
  const unsigned char *p = (const unsigned char *)bytes.p;
  size_t n = bytes.n;
  s->n += n;
  if (have && n >= 64 - have) {
    memcpy(s->block + have, p, 64 - have);
    compress(s->h, s->block);
    p += 64 - have;
    n -= 64 - have;
    have = 0;
  }
  for (; n >= 64 && !have; p += 64, n -= 64)
    compress(s->h, p);
  if (n)
    memcpy(s->block + have, p, n);
}

csn_digest
csn_sha256_end(csn_sha256 *s)
{
  static const char pad[64] = {(char)0x80};
  uint64_t bits = s->n * 8;
  size_t have = s->n & 63;
  csn_sha256_add(s, csn_strn(pad, have < 56 ? 56 - have : 120 - have));
  char len[8];
  for (int i = 0; i < 8; i++)
    len[i] = (char)(bits >> (56 - 8 * i));
  csn_sha256_add(s, csn_strn(len, 8));
  csn_digest d;
  for (int i = 0; i < 32; i++)
    d.b[i] = (unsigned char)(s->h[i / 4] >> (24 - 8 * (i % 4)));
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

void
csn_digest_hex(const csn_digest *d, char out[65])
{
  static const char hex[] = "0123456789abcdef";
  for (int i = 0; i < 32; i++) {
    out[2 * i] = hex[d->b[i] >> 4];
    out[2 * i + 1] = hex[d->b[i] & 15];
  }
  out[64] = '\0';
}

static int
nibble(char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
csn_digest_from_hex(csn_str hex, csn_digest *out)
{
  if (hex.n != 64)
    return false;
  for (int i = 0; i < 32; i++) {
    int high = nibble(hex.p[2 * i]), low = nibble(hex.p[2 * i + 1]);
    if (high < 0 || low < 0)
      return false;
    out->b[i] = (unsigned char)(high << 4 | low);
  }
  return true;
}

static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
csn_base64_add(csn_buf *out, csn_str bytes)
{
  char *o = csn_buf_room(out, (bytes.n + 2) / 3 * 4);
  if (!o)
    return;
  char *from = o;
  const unsigned char *p = (const unsigned char *)bytes.p;
  for (size_t i = 0; i < bytes.n; i += 3) {
    size_t left = bytes.n - i;
    uint32_t v =
        (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);
    *o++ = b64[v >> 18];
    *o++ = b64[v >> 12 & 63];
    *o++ = left > 1 ? b64[v >> 6 & 63] : '=';
    *o++ = left > 2 ? b64[v & 63] : '=';
  }
  out->n += (size_t)(o - from);
  out->p[out->n] = '\0';
}

bool
csn_base64_decode(csn_buf *out, csn_str text)
{
  if (text.n % 4)
    return false;
  for (size_t i = 0; i < text.n; i += 4) {
    uint32_t v = 0;
    int pad = 0;
    for (size_t k = 0; k < 4; k++) {
      char c = text.p[i + k];
      const char *hit = c ? memchr(b64, c, 64) : NULL;
      bool is_pad = c == '=' && i + 4 == text.n && k >= 2;
      if ((!hit && !is_pad) || (hit && pad))
        return false;
      pad += is_pad;
      v = v << 6 | (hit ? (uint32_t)(hit - b64) : 0);
    }
    char three[3] = {(char)(v >> 16), (char)(v >> 8), (char)v};
    csn_buf_add(out, csn_strn(three, (size_t)(3 - pad)));
  }
  return true;
}

void
csn_random_bytes(void *out, size_t n)
{
  char *p = out;
  while (n) {
    ssize_t got = getrandom(p, n, 0);
    if (got < 0)
      continue; /* EINTR: the only failure of a small request */
    p += got;
    n -= (size_t)got;
  }
}

void
csn_random_name(char *out, size_t n)
{
  static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyz";
  for (size_t i = 0; i < n;) {
    unsigned char b;
    csn_random_bytes(&b, 1);
    if (b < 252) /* 7 * 36: no letter is likelier than another */
      out[i++] = letters[b % 36];
  }
  out[n] = '\0';
}
