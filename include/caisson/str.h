/* SPDX-License-Identifier: Apache-2.0
 *
 * str.h - bytes: a borrowed slice that goes in, a capped buffer that comes out.
 *
 * A csn_str is valid as long as what it points into.  A csn_buf grows up to
 * the cap it was made with and remembers the first time it would have passed
 * it: further bytes are dropped and csn_buf_done() reports CSN_E_LIMIT.  So
 * code that builds text checks once, at the end.
 */
#ifndef CAISSON_STR_H
#define CAISSON_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Borrowed bytes; not NUL-terminated; passed by value. */
typedef struct csn_str {
  const char *p;
  size_t n;
} csn_str;

/* From a literal; CSN_STR_INIT for static tables. */
#define CSN_STR_INIT(lit)                                                                          \
  {                                                                                                \
    "" lit, sizeof(lit) - 1                                                                        \
  }
#ifdef __cplusplus
#define CSN_STR(lit) (csn_str{"" lit, sizeof(lit) - 1})
#else
#define CSN_STR(lit) ((csn_str)CSN_STR_INIT(lit))
#endif

/* From NUL-terminated text; NULL gives the empty slice. */
static inline csn_str
csn_cstr(const char *z)
{
  csn_str s = {z, z ? strlen(z) : 0};
  return s;
}

static inline csn_str
csn_strn(const char *p, size_t n)
{
  csn_str s = {p, n};
  return s;
}

static inline bool
csn_str_eq(csn_str a, csn_str b)
{
  return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool
csn_str_starts(csn_str s, csn_str head)
{
  return s.n >= head.n && (head.n == 0 || memcmp(s.p, head.p, head.n) == 0);
}

static inline bool
csn_str_ends(csn_str s, csn_str tail)
{
  return s.n >= tail.n && (tail.n == 0 || memcmp(s.p + s.n - tail.n, tail.p, tail.n) == 0);
}

/* Offset of the first `needle` at or after `from`, or SIZE_MAX. */
CSN_API size_t csn_str_find(csn_str s, csn_str needle, size_t from);
/* Without blanks, tabs and line ends at both sides. */
CSN_API csn_str csn_str_trim(csn_str s);
/* Whether it is one of the words of a list that ends with NULL. */
CSN_API bool csn_str_is_one_of(csn_str s, const char *const *words);
/* The whole slice as a decimal number; false when it is not one or overflows. */
CSN_API bool csn_str_int(csn_str s, int64_t *out);
/* Cuts the next line off *s, without its "\n" or "\r\n"; false at the end. */
CSN_API bool csn_str_line(csn_str *s, csn_str *line);
/* Length of the longest prefix of s that is valid UTF-8 (s.n: all of it). */
CSN_API size_t csn_utf8_valid(csn_str s);

/* Growing bytes with a hard cap; NUL-terminated once it holds any. */
typedef struct csn_buf {
  char *p;
  size_t n, room, cap;
  bool over; /* bytes were dropped because of the cap */
} csn_buf;

#ifdef __cplusplus
#define CSN_BUF(max) (csn_buf{NULL, 0, 0, (max), false})
#else
#define CSN_BUF(max) ((csn_buf){NULL, 0, 0, (max), false})
#endif

CSN_API void csn_buf_add(csn_buf *b, csn_str s);
CSN_API void csn_buf_addz(csn_buf *b, const char *z);
CSN_API void csn_buf_addc(csn_buf *b, char c);
CSN_API void csn_buf_addf(csn_buf *b, const char *fmt, ...) CSN_PRINTF(2, 3);
CSN_API void csn_buf_addv(csn_buf *b, const char *fmt, va_list ap);
/* Room for n more bytes, written by the caller at b->p + b->n; NULL past the
 * cap.  The caller adds to b->n what it wrote. */
CSN_API char *csn_buf_room(csn_buf *b, size_t n);
/* Drops the first n bytes. */
CSN_API void csn_buf_drop(csn_buf *b, size_t n);
/* CSN_E_LIMIT naming `what` when bytes were dropped, else 0. */
CSN_API int csn_buf_done(const csn_buf *b, const char *what, csn_err *err) CSN_MUST;
/* Empties it and keeps the memory. */
static inline void
csn_buf_clear(csn_buf *b)
{
  b->n = 0;
  b->over = false;
  if (b->p)
    b->p[0] = '\0';
}
/* Frees; the buffer can be used again with its old cap. */
CSN_API void csn_buf_fini(csn_buf *b);

static inline csn_str
csn_buf_str(const csn_buf *b)
{
  return csn_strn(b->p, b->n);
}

#ifdef __cplusplus
}
#endif
#endif
