/* SPDX-License-Identifier: Apache-2.0
 * glob.c - see glob.h.  After a mismatch the last `*` takes one byte more;
 * earlier ones never have to be tried again. */
#include "run/glob.h"

bool
csn_glob(csn_str pattern, csn_str text)
{
  size_t p = 0, t = 0, star = SIZE_MAX, star_t = 0;
  while (t < text.n) {
    if (p < pattern.n && pattern.p[p] == '*') {
      star = ++p;
      star_t = t;
      continue;
    }
    bool is_quoted = p + 1 < pattern.n && pattern.p[p] == '\\';
    size_t at = p + is_quoted;
    bool is_any = p < pattern.n && pattern.p[p] == '?';
    if (p < pattern.n && (is_any || pattern.p[at] == text.p[t])) {
      p = at + 1;
      t++;
    } else if (star != SIZE_MAX) {
      p = star;
      t = ++star_t;
    } else {
      return false;
    }
  }
  while (p < pattern.n && pattern.p[p] == '*')
    p++;
  return p == pattern.n;
}
