/* SPDX-License-Identifier: Apache-2.0
 * json.c - the parser: one pass, recursive to a fixed depth, nodes in an
 * arena, strings borrowed from the text unless they hold escapes. */
#include "caisson/json.h"

#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "core/arena.h"
#include "core/scan.h"

struct parser {
  csn_arena *arena;
  const char *p, *end, *start;
  int depth;
  csn_err *err;
};

static int parse_value(struct parser *ps, csn_json *v);

static int
fail_at(const struct parser *ps, const char *at, enum csn_code code, const char *what)
{
  size_t line = 1, column = 1;
  for (const char *q = ps->start; q < at; q++) {
    column++;
    if (*q == '\n')
      line++, column = 1;
  }
  return csn_fail(ps->err, code, "JSON line %zu column %zu: %s", line, column, what);
}

static int
malformed(const struct parser *ps, const char *what)
{
  return fail_at(ps, ps->p, CSN_E_PARSE, ps->p >= ps->end ? "the text ends too early" : what);
}

static void *
take(struct parser *ps, size_t n, int *rc)
{
  void *p = csn_arena_take(ps->arena, n);
  if (!p)
    *rc = fail_at(ps, ps->p, CSN_E_LIMIT, "the value is larger than this program accepts");
  return p;
}

static inline void
skip_blanks(struct parser *ps)
{
  while (ps->p < ps->end && (*ps->p == ' ' || *ps->p == '\n' || *ps->p == '\r' || *ps->p == '\t'))
    ps->p++;
}

static int
hex4(const char *p, const char *end)
{
  if (end - p < 4)
    return -1;
  int v = 0;
  for (int i = 0; i < 4; i++) {
    char c = p[i];
    int d = c >= '0' && c <= '9'                 ? c - '0'
            : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                 : -1;
    if (d < 0)
      return -1;
    v = v << 4 | d;
  }
  return v;
}

static char *
put_utf8(char *o, uint32_t c)
{
  if (c < 0x80) {
    *o++ = (char)c;
  } else if (c < 0x800) {
    *o++ = (char)(0xc0 | c >> 6);
    *o++ = (char)(0x80 | (c & 63));
  } else if (c < 0x10000) {
    *o++ = (char)(0xe0 | c >> 12);
    *o++ = (char)(0x80 | (c >> 6 & 63));
    *o++ = (char)(0x80 | (c & 63));
  } else {
    *o++ = (char)(0xf0 | c >> 18);
    *o++ = (char)(0x80 | (c >> 12 & 63));
    *o++ = (char)(0x80 | (c >> 6 & 63));
    *o++ = (char)(0x80 | (c & 63));
  }
  return o;
}

/* At the `u` of an escape; moves past it and past the second half of a pair. */
static int
unicode_escape(struct parser *ps, char **out)
{
  int c = hex4(ps->p + 1, ps->end);
  if (c < 0)
    return malformed(ps, "\\u needs four hexadecimal digits");
  ps->p += 5;
  uint32_t code = (uint32_t)c;
  if (code >= 0xd800 && code < 0xdc00 && ps->end - ps->p >= 6 && ps->p[0] == '\\' &&
      ps->p[1] == 'u') {
    int low = hex4(ps->p + 2, ps->end);
    if (low >= 0xdc00 && low < 0xe000) {
      code = 0x10000 + ((code - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
      ps->p += 6;
    }
  }
  if (code >= 0xd800 && code < 0xe000)
    code = 0xfffd;
  *out = put_utf8(*out, code);
  return 0;
}

static int
escape(struct parser *ps, char **out)
{
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  if (++ps->p >= ps->end)
    return malformed(ps, "");
  if (*ps->p == 'u')
    return unicode_escape(ps, out);
  const char *hit = memchr(from, *ps->p, sizeof from - 1);
  if (!hit)
    return malformed(ps, "unknown escape in a string");
  *(*out)++ = to[hit - from];
  ps->p++;
  return 0;
}

/* Finds the closing quote and says whether anything must be decoded. */
static int
scan_string(struct parser *ps, const char **close, bool *has_escape)
{
  const char *body = ps->p, *p = body;
  bool high = false;
  *has_escape = false;
  for (;;) {
    p = csn_scan_plain(p, ps->end);
    if (p >= ps->end) {
      ps->p = p;
      return malformed(ps, "");
    }
    if (*p == '"')
      break;
    if (*p == '\\') {
      *has_escape = true;
      p += ps->end - p > 1 ? 2 : 1;
    } else if ((unsigned char)*p < 0x20) {
      ps->p = p;
      return malformed(ps, "a control character must be escaped in a string");
    } else {
      high = true;
      p++;
    }
  }
  if (high) {
    size_t n = (size_t)(p - body), good = csn_utf8_valid(csn_strn(body, n));
    if (good < n) {
      ps->p = body + good;
      return malformed(ps, "invalid UTF-8");
    }
  }
  *close = p;
  return 0;
}

static int
parse_string(struct parser *ps, csn_str *out)
{
  ps->p++;
  const char *body = ps->p, *close = body;
  bool has_escape;
  int rc = scan_string(ps, &close, &has_escape);
  if (rc < 0)
    return rc;
  if (!has_escape) {
    *out = csn_strn(body, (size_t)(close - body));
    ps->p = close + 1;
    return 0;
  }
  char *to = take(ps, (size_t)(close - body) + 1, &rc), *o = to;
  if (!to)
    return rc;
  while (ps->p < close) {
    const char *slash = memchr(ps->p, '\\', (size_t)(close - ps->p));
    size_t n = (size_t)((slash ? slash : close) - ps->p);
    memcpy(o, ps->p, n);
    o += n;
    ps->p += n;
    if (!slash)
      break;
    rc = escape(ps, &o);
    if (rc < 0)
      return rc;
  }
  *out = csn_strn(to, (size_t)(o - to));
  ps->p = close + 1;
  return 0;
}

static bool
digits(struct parser *ps)
{
  const char *from = ps->p;
  while (ps->p < ps->end && *ps->p >= '0' && *ps->p <= '9')
    ps->p++;
  return ps->p > from;
}

static int
parse_number(struct parser *ps, csn_json *v)
{
  const char *from = ps->p;
  if (*ps->p == '-')
    ps->p++;
  if (ps->p < ps->end && *ps->p == '0')
    ps->p++;
  else if (!digits(ps))
    return malformed(ps, "expected a value");
  if (ps->p < ps->end && *ps->p == '.') {
    ps->p++;
    if (!digits(ps))
      return malformed(ps, "a number needs digits after its point");
  }
  if (ps->p < ps->end && (*ps->p | 32) == 'e') {
    ps->p++;
    if (ps->p < ps->end && (*ps->p == '+' || *ps->p == '-'))
      ps->p++;
    if (!digits(ps))
      return malformed(ps, "a number needs digits in its exponent");
  }
  v->kind = CSN_JSON_NUMBER;
  v->text = csn_strn(from, (size_t)(ps->p - from));
  return 0;
}

static int
parse_word(struct parser *ps, csn_json *v)
{
  csn_str rest = csn_strn(ps->p, (size_t)(ps->end - ps->p));
  if (csn_str_starts(rest, CSN_STR("true")))
    v->kind = CSN_JSON_BOOL, v->truth = true, ps->p += 4;
  else if (csn_str_starts(rest, CSN_STR("false")))
    v->kind = CSN_JSON_BOOL, ps->p += 5;
  else if (csn_str_starts(rest, CSN_STR("null")))
    v->kind = CSN_JSON_NULL, ps->p += 4;
  else
    return malformed(ps, "expected a value");
  return 0;
}

static int
parse_name(struct parser *ps, csn_json *m)
{
  if (ps->p >= ps->end || *ps->p != '"')
    return malformed(ps, "expected a name in double quotes");
  int rc = parse_string(ps, &m->key);
  if (rc < 0)
    return rc;
  skip_blanks(ps);
  if (ps->p >= ps->end || *ps->p != ':')
    return malformed(ps, "expected ':' after a name");
  ps->p++;
  skip_blanks(ps);
  return 0;
}

static int
parse_members(struct parser *ps, csn_json *v)
{
  bool is_obj = *ps->p == '{';
  char close = is_obj ? '}' : ']';
  v->kind = is_obj ? CSN_JSON_OBJECT : CSN_JSON_ARRAY;
  if (++ps->depth > CSN_JSON_DEPTH)
    return fail_at(ps, ps->p, CSN_E_LIMIT, "nested too deeply");
  ps->p++;
  skip_blanks(ps);
  csn_json *last = NULL;
  while (ps->p >= ps->end || *ps->p != close || last) {
    int rc = 0;
    csn_json *m = take(ps, sizeof *m, &rc);
    if (rc < 0)
      return rc;
    *m = (csn_json){0};
    if (is_obj)
      rc = parse_name(ps, m);
    if (rc == 0)
      rc = parse_value(ps, m);
    if (rc < 0)
      return rc;
    if (last)
      last->next = m;
    else
      v->child = m;
    last = m;
    v->n++;
    skip_blanks(ps);
    if (ps->p < ps->end && *ps->p == close)
      break;
    if (ps->p >= ps->end || *ps->p != ',')
      return malformed(ps, is_obj ? "expected ',' or '}'" : "expected ',' or ']'");
    ps->p++;
    skip_blanks(ps);
  }
  ps->p++;
  ps->depth--;
  return 0;
}

static int
parse_value(struct parser *ps, csn_json *v)
{
  if (ps->p >= ps->end)
    return malformed(ps, "");
  const char *from = ps->p;
  int rc;
  switch (*ps->p) {
  case '{':
  case '[':
    rc = parse_members(ps, v);
    break;
  case '"':
    v->kind = CSN_JSON_STRING;
    rc = parse_string(ps, &v->text);
    break;
  case 't':
  case 'f':
  case 'n':
    rc = parse_word(ps, v);
    break;
  default:
    rc = parse_number(ps, v);
  }
  v->raw = csn_strn(from, (size_t)(ps->p - from));
  return rc;
}

int
csn_json_parse(csn_arena *a, csn_str text, const csn_json **out, csn_err *err)
{
  const char *p = text.p ? text.p : "";
  struct parser ps = {.arena = a, .p = p, .start = p, .end = p + text.n, .err = err};
  int rc = 0;
  csn_json *v = take(&ps, sizeof *v, &rc);
  if (rc < 0)
    return rc;
  *v = (csn_json){0};
  skip_blanks(&ps);
  rc = parse_value(&ps, v);
  if (rc < 0)
    return rc;
  skip_blanks(&ps);
  if (ps.p < ps.end)
    return malformed(&ps, "text after the value");
  *out = v;
  return 0;
}

const csn_json *
csn_json_get(const csn_json *v, const char *key)
{
  if (!csn_json_is(v, CSN_JSON_OBJECT))
    return NULL;
  csn_str k = csn_cstr(key);
  const csn_json *hit = NULL;
  csn_json_each (m, v)
    if (csn_str_eq(m->key, k))
      hit = m;
  return hit;
}

const csn_json *
csn_json_at(const csn_json *v, size_t i)
{
  csn_json_each (m, v)
    if (i-- == 0)
      return m;
  return NULL;
}

csn_str
csn_json_str(const csn_json *v, const char *key, csn_str otherwise)
{
  const csn_json *m = csn_json_get(v, key);
  return csn_json_is(m, CSN_JSON_STRING) ? m->text : otherwise;
}

bool
csn_json_to_int(const csn_json *v, int64_t *out)
{
  return csn_json_is(v, CSN_JSON_NUMBER) && csn_str_int(v->text, out);
}

/* In the C locale, whatever the program around us has set. */
double
csn_json_to_double(const csn_json *v)
{
  if (!csn_json_is(v, CSN_JSON_NUMBER))
    return NAN;
  char small[64];
  csn_auto(csn_freep) char *big = v->text.n < sizeof small ? NULL : csn_dupz(v->text);
  if (!big) {
    memcpy(small, v->text.p, v->text.n);
    small[v->text.n] = '\0';
  }
  locale_t c = newlocale(LC_ALL_MASK, "C", NULL);
  double d = strtod_l(big ? big : small, NULL, c);
  freelocale(c);
  return d;
}

int64_t
csn_json_int(const csn_json *v, const char *key, int64_t otherwise)
{
  int64_t i;
  return csn_json_to_int(csn_json_get(v, key), &i) ? i : otherwise;
}

double
csn_json_double(const csn_json *v, const char *key, double otherwise)
{
  const csn_json *m = csn_json_get(v, key);
  return csn_json_is(m, CSN_JSON_NUMBER) ? csn_json_to_double(m) : otherwise;
}

bool
csn_json_bool(const csn_json *v, const char *key, bool otherwise)
{
  const csn_json *m = csn_json_get(v, key);
  return csn_json_is(m, CSN_JSON_BOOL) ? m->truth : otherwise;
}

const char *
csn_json_kind_name(enum csn_json_kind kind)
{
  static const char *const names[] = {"null",     "true or false", "a number",
                                      "a string", "a list",        "an object"};
  return names[kind];
}

int
csn_json_need(const csn_json *v, const char *key, enum csn_json_kind kind, const csn_json **out,
              csn_err *err)
{
  const csn_json *m = csn_json_get(v, key);
  if (!m)
    return csn_fail(err, CSN_E_INVALID, "%s: missing, expected %s", key, csn_json_kind_name(kind));
  if (m->kind != kind)
    return csn_fail(err, CSN_E_INVALID, "%s: expected %s, got %s", key, csn_json_kind_name(kind),
                    csn_json_kind_name((enum csn_json_kind)m->kind));
  *out = m;
  return 0;
}

int
csn_json_need_str(const csn_json *v, const char *key, csn_str *out, csn_err *err)
{
  const csn_json *m = NULL;
  int rc = csn_json_need(v, key, CSN_JSON_STRING, &m, err);
  if (rc == 0)
    *out = m->text;
  return rc;
}

int
csn_json_need_int(const csn_json *v, const char *key, int64_t *out, csn_err *err)
{
  const csn_json *m = NULL;
  int rc = csn_json_need(v, key, CSN_JSON_NUMBER, &m, err);
  if (rc == 0 && !csn_json_to_int(m, out))
    rc = csn_fail(err, CSN_E_INVALID, "%s: expected a whole number", key);
  return rc;
}
