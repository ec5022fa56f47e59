/* SPDX-License-Identifier: Apache-2.0
 *
 * http1_impl.h - what http1.c and http1_field.c share: small steps over text.
 */
#ifndef CSN_WIRE_HTTP1_IMPL_H
#define CSN_WIRE_HTTP1_IMPL_H

#include "wire/http1.h"

static inline char
lower(char c)
{
  return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static inline csn_str
trim_blanks(csn_str s)
{
  while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
    s = csn_strn(s.p + 1, s.n - 1);
  while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
    s.n--;
  return s;
}

/* Cuts the text before `c` off *s; all of it when there is no such byte. */
static inline csn_str
cut(csn_str *s, char c, bool *found)
{
  const char *at = s->n ? memchr(s->p, c, s->n) : NULL;
  csn_str head = csn_strn(s->p, at ? (size_t)(at - s->p) : s->n);
  *found = at != NULL;
  *s = at ? csn_strn(at + 1, s->n - head.n - 1) : csn_strn(s->p + s->n, 0);
  return head;
}

#endif
