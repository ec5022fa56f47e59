/* SPDX-License-Identifier: Apache-2.0
 * xml_text.c - see xml_text.h. */
#include "wire/xml_text.h"

#include <stdio.h>

#include "caisson/mem.h"

enum { NAME_MAX_BYTES = 64 };

/* Where the start tag of that name ends, from `from` on; SIZE_MAX. */
static size_t
find_start(csn_str s, csn_str name, size_t from, size_t *at)
{
  for (;;) {
    *at = csn_str_find(s, name, from);
    if (*at == SIZE_MAX)
      return SIZE_MAX;
    size_t end = *at + name.n;
    if (end < s.n && (s.p[end] == '>' || s.p[end] == ' ' || s.p[end] == '/' || s.p[end] == '\n'))
      return csn_str_find(s, CSN_STR(">"), end);
    from = end;
  }
}

bool
csn_xml_next(csn_str *rest, const char *name, csn_str *inside)
{
  char start[NAME_MAX_BYTES + 4], end[NAME_MAX_BYTES + 4];
  int n = snprintf(start, sizeof start, "<%s", name), m = snprintf(end, sizeof end, "</%s>", name);
  size_t at;
  if (n < 0 || m < 0 || (size_t)m >= sizeof end)
    return false;
  size_t from = find_start(*rest, csn_cstr(start), 0, &at);
  if (from == SIZE_MAX)
    return false;
  size_t to = from + 1;
  if (rest->p[from - 1] == '/') {
    *inside = csn_strn(rest->p + from, 0);
  } else {
    to = csn_str_find(*rest, csn_cstr(end), from + 1);
    if (to == SIZE_MAX)
      return false;
    *inside = csn_strn(rest->p + from + 1, to - from - 1);
    to += (size_t)m;
  }
  *rest = csn_strn(rest->p + to, rest->n - to);
  return true;
}

/* "&amp;" and its like at the beginning; how many bytes, 0 when it is none. */
static size_t
take_entity(csn_str s, csn_buf *out)
{
  static const struct {
    const char *name;
    char c;
  } known[] = {{"&lt;", '<'},    {"&gt;", '>'},  {"&amp;", '&'}, {"&quot;", '"'},
               {"&apos;", '\''}, {"&#34;", '"'}, {"&#39;", '\''}};
  for (size_t i = 0; i < CSN_COUNT(known); i++)
    if (csn_str_starts(s, csn_cstr(known[i].name))) {
      csn_buf_addc(out, known[i].c);
      return strlen(known[i].name);
    }
  return 0;
}

bool
csn_xml_text(csn_str xml, const char *name, csn_buf *out)
{
  csn_str inside;
  if (!csn_xml_next(&xml, name, &inside))
    return false;
  for (size_t i = 0; i < inside.n;) {
    csn_str left = csn_strn(inside.p + i, inside.n - i);
    size_t n = left.p[0] == '&' ? take_entity(left, out) : 0;
    if (left.p[0] == '<' || (left.p[0] == '&' && n == 0))
      return false;
    if (n == 0) {
      csn_buf_addc(out, left.p[0]);
      n = 1;
    }
    i += n;
  }
  return !out->over;
}

void
csn_xml_add(csn_buf *out, csn_str text)
{
  for (size_t i = 0; i < text.n; i++)
    switch (text.p[i]) {
    case '<':
      csn_buf_addz(out, "&lt;");
      break;
    case '>':
      csn_buf_addz(out, "&gt;");
      break;
    case '&':
      csn_buf_addz(out, "&amp;");
      break;
    case '"':
      csn_buf_addz(out, "&quot;");
      break;
    default:
      csn_buf_addc(out, text.p[i]);
    }
}
