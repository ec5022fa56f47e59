/* SPDX-License-Identifier: Apache-2.0
 * jsonw.c - the writer of caisson/json.h.  One bit per open level says whether
 * it is an object, one whether it has members already. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>

#include "caisson/json.h"

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
  if (w->depth == 0)
    return;
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

static bool
is_plain(unsigned char c)
{
  return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

void
csn_json_quote(csn_buf *out, csn_str s)
{
  csn_buf_addc(out, '"');
  size_t i = 0;
  while (i < s.n) {
    size_t from = i;
    while (i < s.n && is_plain((unsigned char)s.p[i]))
      i++;
    size_t high = i;
    while (high < s.n && (unsigned char)s.p[high] >= 0x80)
      high++;
    i += csn_utf8_valid(csn_strn(s.p + i, high - i));
    csn_buf_add(out, csn_strn(s.p + from, i - from));
    if (i > from)
      continue;
    unsigned char c = (unsigned char)s.p[i];
    static const char named[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    const char *hit = memchr(named, c, sizeof named - 1);
    if (hit) {
      char two[2] = {'\\', letter[hit - named]};
      csn_buf_add(out, csn_strn(two, 2));
    } else if (c < 0x20) {
      csn_buf_addf(out, "\\u%04x", c);
    } else {
      csn_buf_add(out, CSN_STR("\xef\xbf\xbd"));
    }
    i++;
  }
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

void
csn_jw_int(csn_jw *w, int64_t i)
{
  char text[24];
  int n = snprintf(text, sizeof text, "%lld", (long long)i);
  csn_jw_raw(w, csn_strn(text, (size_t)n));
}

void
csn_jw_double(csn_jw *w, double d)
{
  if (!isfinite(d)) {
    csn_jw_null(w);
    return;
  }
  char text[40];
  int n = 0;
  for (int precision = 15; precision <= 17; precision++) {
    n = snprintf(text, sizeof text, "%.*g", precision, d);
    if (strtod(text, NULL) == d)
      break;
  }
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
  if (w->bad || w->depth || w->after_key)
    return csn_fail(err, CSN_E_INVALID, "JSON was written out of order");
  return csn_buf_done(w->out, "JSON", err);
}
