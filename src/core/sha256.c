/* SPDX-License-Identifier: Apache-2.0
 *
 * sha256.c - the compression function of SHA-256 (FIPS 180-4), twice: in C,
 * and with the x86 SHA extensions.  Those keep the state as two registers,
 * {a,b,e,f} and {c,d,g,h}, and do two rounds an instruction; the message
 * schedule rolls through four registers of four words. */
#include "core/sha256.h"

#include <string.h>

static const uint32_t k[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline uint32_t
ror(uint32_t x, int n)
{
  return x >> n | x << (32 - n);
}

static void
one_block(uint32_t h[8], const unsigned char *p)
{
  uint32_t w[64];
  for (int i = 0; i < 16; i++) {
    memcpy(&w[i], p + 4 * i, 4);
    w[i] = __builtin_bswap32(w[i]);
  }
  for (int i = 16; i < 64; i++) {
    uint32_t x = w[i - 15], y = w[i - 2];
    w[i] = w[i - 16] + (ror(x, 7) ^ ror(x, 18) ^ x >> 3) + w[i - 7] +
           (ror(y, 17) ^ ror(y, 19) ^ y >> 10);
  }
  uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], z = h[7];
  for (int i = 0; i < 64; i++) {
    uint32_t t1 = z + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & f) ^ (~e & g)) + k[i] + w[i];
    uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    z = g, g = f, f = e, e = d + t1;
    d = c, c = b, b = a, a = t1 + t2;
  }
  const uint32_t add[8] = {a, b, c, d, e, f, g, z};
  for (int i = 0; i < 8; i++)
    h[i] += add[i];
}

void
csn_sha256_blocks_plain(uint32_t h[8], const unsigned char *p, size_t count)
{
  for (; count; count--, p += 64)
    one_block(h, p);
}

#if defined(__x86_64__)

#include <immintrin.h>
#if __has_include(<sys/platform/x86.h>)
#include <sys/platform/x86.h>
#else
#include <cpuid.h>
#endif

bool
csn_sha256_has_native(void)
{
#if __has_include(<sys/platform/x86.h>)
  return CPU_FEATURE_ACTIVE(SHA) && CPU_FEATURE_ACTIVE(SSE4_1);
#else
  unsigned a, b, c, d, b7 = 0;
  if (!__get_cpuid_count(7, 0, &a, &b7, &c, &d) || !__get_cpuid(1, &a, &b, &c, &d))
    return false;
  return (b7 & bit_SHA) && (c & bit_SSE4_1);
#endif
}

/* Four rounds with the schedule words m[i & 3], and the words of four rounds
 * ahead where they are still needed. */
#define ROUNDS(i)                                                                                  \
  do {                                                                                             \
    __m128i wk = _mm_add_epi32(m[(i)&3], _mm_load_si128((const __m128i *)(k + 4 * (i))));          \
    cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);                                                  \
    if ((i) >= 3 && (i) < 15) {                                                                    \
      __m128i mid = _mm_alignr_epi8(m[(i)&3], m[((i) + 3) & 3], 4);                                \
      __m128i next = _mm_sha256msg1_epu32(m[((i) + 1) & 3], m[((i) + 2) & 3]);                     \
      m[((i) + 1) & 3] = _mm_sha256msg2_epu32(_mm_add_epi32(next, mid), m[(i)&3]);                 \
    }                                                                                              \
    abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(wk, 0x0e));                         \
  } while (0)

__attribute__((target("sha,sse4.1,ssse3"))) void
csn_sha256_blocks_native(uint32_t h[8], const unsigned char *p, size_t count)
{
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
  __m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)h), 0xb1);
  __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(h + 4)), 0x1b);
  __m128i abef = _mm_alignr_epi8(abcd, efgh, 8), cdgh = _mm_blend_epi16(efgh, abcd, 0xf0);
  for (; count; count--, p += 64) {
    __m128i abef_was = abef, cdgh_was = cdgh, m[4];
    for (int i = 0; i < 4; i++)
      m[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 16 * i)), swap);
    ROUNDS(0);
    ROUNDS(1);
    ROUNDS(2);
    ROUNDS(3);
    ROUNDS(4);
    ROUNDS(5);
    ROUNDS(6);
    ROUNDS(7);
    ROUNDS(8);
    ROUNDS(9);
    ROUNDS(10);
    ROUNDS(11);
    ROUNDS(12);
    ROUNDS(13);
    ROUNDS(14);
    ROUNDS(15);
    abef = _mm_add_epi32(abef, abef_was);
    cdgh = _mm_add_epi32(cdgh, cdgh_was);
  }
  __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
  _mm_storeu_si128((__m128i *)h, _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128((__m128i *)(h + 4), _mm_alignr_epi8(dchg, feba, 8));
}

#else

bool
csn_sha256_has_native(void)
{
  return false;
}

void
csn_sha256_blocks_native(uint32_t h[8], const unsigned char *p, size_t count)
{
  csn_sha256_blocks_plain(h, p, count);
}

#endif
