/* SPDX-License-Identifier: Apache-2.0
 *
 * scan.h - the inner loop of reading and writing JSON strings.
 */
#ifndef CSN_CORE_SCAN_H
#define CSN_CORE_SCAN_H

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* The first byte that needs attention: `"`, `\`, a control character or one
 * that is not ASCII; `end` when there is none. */
static inline const char *
csn_scan_plain(const char *p, const char *end)
{
#if defined(__SSE2__)
  const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), blank = _mm_set1_epi8(' ');
  for (; end - p >= 16; p += 16) {
    __m128i v = _mm_loadu_si128((const __m128i *)p);
    /* Signed: bytes from 0x80 up are below the blank too. */
    __m128i stop = _mm_or_si128(_mm_cmplt_epi8(v, blank),
                                _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)));
    int mask = _mm_movemask_epi8(stop);
    if (mask)
      return p + __builtin_ctz((unsigned)mask);
  }
#else
  const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
  for (; end - p >= 8; p += 8) {
    uint64_t w;
    memcpy(&w, p, 8);
    uint64_t quote = w ^ (ones * '"'), slash = w ^ (ones * '\\');
    uint64_t stop =
        ((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((w - ones * 0x20) & ~w) | w;
    if (stop & high)
      break; /* in these eight; borrows make which one uncertain on big endian */
  }
#endif
  while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 && *p != '"' &&
         *p != '\\')
    p++;
  return p;
}

#endif
