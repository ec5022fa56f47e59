/* SPDX-License-Identifier: Apache-2.0
 * jsonw.c - the writer of caisson/json.h.  One bit per open level says whether
 * it is an object, one whether it has members already. */
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "caisson/json.h"
#include "core/scan.h"

void
csn_jw_init(csn_jw *w, csn_buf *out)
{
  *w = (csn_jw){.out = out};
}

static bool
bit(const uint64_t *set, unsigned i)
{
  return set[i >> 6] >> (i & 63) & 1;
}

static void
set_bit(uint64_t *set, unsigned i, bool on)
{
  uint64_t mask = (uint64_t)1 << (i & 63);
  set[i >> 6] = on ? set[i >> 6] | mask : set[i >> 6] & ~mask;
}

/* Before a value: the comma, and the check that a value may stand here. */
static void
before_value(csn_jw *w)
{
  if (w->depth == 0) {
    if (w->has_root)
      w->bad = true;
    w->has_root = true;
    return;
  }
  unsigned level = w->depth - 1u;
  if (bit(w->is_obj, level)) {
    if (!w->after_key)
      w->bad = true;
    w->after_key = false;
    return;
  }
  if (bit(w->has_any, level))
    csn_buf_addc(w->out, ',');
  set_bit(w->has_any, level, true);
}

static void
open_level(csn_jw *w, bool is_obj)
{
  before_value(w);
  if (w->depth >= CSN_JSON_DEPTH) {
    w->bad = true;
    return;
  }
  set_bit(w->is_obj, w->depth, is_obj);
  set_bit(w->has_any, w->depth, false);
  w->depth++;
  csn_buf_addc(w->out, is_obj ? '{' : '[');
}

void
csn_jw_obj(csn_jw *w)
{
  open_level(w, true);
}

void
csn_jw_arr(csn_jw *w)
{
  open_level(w, false);
}

void
csn_jw_end(csn_jw *w)
{
  if (w->depth == 0 || w->after_key) {
    w->bad = true;
    return;
  }
  w->depth--;
  csn_buf_addc(w->out, bit(w->is_obj, w->depth) ? '}' : ']');
}

void
csn_jw_keyn(csn_jw *w, csn_str key)
{
  if (w->depth == 0 || !bit(w->is_obj, w->depth - 1u) || w->after_key) {
    w->bad = true;
    return;
  }
  if (bit(w->has_any, w->depth - 1u))
    csn_buf_addc(w->out, ',');
  set_bit(w->has_any, w->depth - 1u, true);
  csn_json_quote(w->out, key);
  csn_buf_addc(w->out, ':');
  w->after_key = true;
}

void
csn_jw_key(csn_jw *w, const char *key)
{
  csn_jw_keyn(w, csn_cstr(key));
}

static void
add_escape(csn_buf *out, unsigned char c)
{
  static const char named[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt", hex[] = "0123456789abcdef";
  const char *hit = memchr(named, c, sizeof named - 1);
  char six[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
  if (hit)
    six[1] = letter[hit - named];
  csn_buf_add(out, csn_strn(six, hit ? 2 : sizeof six));
}

/* Text in runs: what needs no escape goes in one piece, non-ASCII included
 * as far as it is valid. */
void
csn_json_quote(csn_buf *out, csn_str s)
{
  csn_buf_addc(out, '"');
  const char *p = s.p, *end = s.p + s.n, *run = p;
  while (p < end) {
    p = csn_scan_plain(p, end);
    if (p == end)
      break;
    unsigned char c = (unsigned char)*p;
    const char *high = p;
    while (high < end && (unsigned char)*high >= 0x80)
      high++;
    size_t good = csn_utf8_valid(csn_strn(p, (size_t)(high - p)));
    p += good;
    if (good && p == high)
      continue;
    csn_buf_add(out, csn_strn(run, (size_t)(p - run)));
    if (c >= 0x80)
      csn_buf_add(out, CSN_STR("\xef\xbf\xbd"));
    else
      add_escape(out, c);
    run = ++p;
  }
  if (run < end)
    csn_buf_add(out, csn_strn(run, (size_t)(end - run)));
  csn_buf_addc(out, '"');
}

void
csn_jw_str(csn_jw *w, csn_str s)
{
  before_value(w);
  csn_json_quote(w->out, s);
}

void
csn_jw_strz(csn_jw *w, const char *z)
{
  if (z)
    csn_jw_str(w, csn_cstr(z));
  else
    csn_jw_null(w);
}

void
csn_jw_raw(csn_jw *w, csn_str json)
{
  before_value(w);
  if (json.n == 0)
    w->bad = true;
  csn_buf_add(w->out, json);
}

/* A conversation is spliced anew at every turn, so it is copied in one go. */
void
csn_jw_raws(csn_jw *w, const csn_str *json, size_t n)
{
  size_t all = 0;
  for (size_t i = 0; i < n; i++)
    all = __builtin_add_overflow(all, json[i].n + 1, &all) ? SIZE_MAX : all;
  char *to = n > 1 && all < SIZE_MAX ? csn_buf_room(w->out, all) : NULL;
  if (!to) { /* few, or past the cap: one by one says so */
    for (size_t i = 0; i < n; i++)
      csn_jw_raw(w, json[i]);
    return;
  }
  csn_jw_raw(w, json[0]);
  for (size_t i = 1; i < n; i++) {
    csn_buf *b = w->out;
    w->bad = w->bad || json[i].n == 0;
    b->p[b->n++] = ',';
    memcpy(b->p + b->n, json[i].p, json[i].n);
    b->n += json[i].n;
  }
  w->out->p[w->out->n] = '\0';
}

void
csn_jw_int(csn_jw *w, int64_t i)
{
  char text[24], *p = text + sizeof text;
  uint64_t u = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
  do
    *--p = (char)('0' + u % 10);
  while (u /= 10);
  if (i < 0)
    *--p = '-';
  csn_jw_raw(w, csn_strn(p, (size_t)(text + sizeof text - p)));
}

/* In the C locale, or some would write a comma. */
void
csn_jw_double(csn_jw *w, double d)
{
  if (!isfinite(d)) {
    csn_jw_null(w);
    return;
  }
  char text[40];
  int n = 0;
  locale_t c = newlocale(LC_ALL_MASK, "C", NULL), old = uselocale(c);
  for (int precision = 15; precision <= 17; precision++) {
    n = snprintf(text, sizeof text, "%.*g", precision, d);
    if (strtod(text, NULL) == d)
      break;
  }
  uselocale(old);
  freelocale(c);
  csn_jw_raw(w, csn_strn(text, (size_t)n));
}

void
csn_jw_bool(csn_jw *w, bool b)
{
  csn_jw_raw(w, b ? CSN_STR("true") : CSN_STR("false"));
}

void
csn_jw_null(csn_jw *w)
{
  csn_jw_raw(w, CSN_STR("null"));
}

void
csn_jw_value(csn_jw *w, const csn_json *v)
{
  if (!v) {
    csn_jw_null(w);
  } else if (v->raw.n) {
    csn_jw_raw(w, v->raw);
  } else if (v->kind == CSN_JSON_OBJECT || v->kind == CSN_JSON_ARRAY) {
    open_level(w, v->kind == CSN_JSON_OBJECT);
    csn_json_each (m, v) {
      if (v->kind == CSN_JSON_OBJECT)
        csn_jw_keyn(w, m->key);
      csn_jw_value(w, m);
    }
    csn_jw_end(w);
  } else if (v->kind == CSN_JSON_STRING) {
    csn_jw_str(w, v->text);
  } else if (v->kind == CSN_JSON_NUMBER) {
    csn_jw_raw(w, v->text);
  } else if (v->kind == CSN_JSON_BOOL) {
    csn_jw_bool(w, v->truth);
  } else {
    csn_jw_null(w);
  }
}

int
csn_jw_done(csn_jw *w, csn_err *err)
{
  if (w->bad || w->depth || w->after_key || !w->has_root)
    return csn_fail(err, CSN_E_INVALID, "JSON was written out of order");
  return csn_buf_done(w->out, "JSON", err);
}
