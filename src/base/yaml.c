/* SPDX-License-Identifier: Apache-2.0
 *
 * yaml.c - libyaml's events read into a JSON tree; see base/yaml.h.
 *
 * libyaml knows YAML 1.1's grammar and no types.  Here plain scalars get the
 * types of YAML 1.2's core schema, and numbers the spelling that JSON has.
 * What makes two readers see two things is refused: aliases, tags, several
 * documents, a key twice, line breaks that only YAML 1.1 knows. */
#include "base/yaml.h"

#include <stdint.h>
#include <stdio.h>
#include <yaml.h>

struct reader {
  yaml_parser_t y;
  yaml_event_t ev; /* the one being looked at */
  csn_arena *arena;
  csn_str text;
  const char *file;
  int depth;
  csn_err *err;
};

static void
reader_fini(struct reader *r)
{
  yaml_event_delete(&r->ev);
  yaml_parser_delete(&r->y);
}

static int CSN_PRINTF(4, 5)
    fail_at(struct reader *r, enum csn_code code, yaml_mark_t m, const char *fmt, ...)
{
  char what[300];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  return csn_fail(r->err, code, "%s:%zu:%zu: %s", r->file, m.line + 1, m.column + 1, what);
}

/* The mark of a byte, in lines and characters as libyaml counts them. */
static yaml_mark_t
mark_of(csn_str text, size_t offset)
{
  yaml_mark_t m = {.index = offset};
  for (size_t i = 0; i < offset && i < text.n; i++) {
    if (text.p[i] == '\n') {
      m.line++;
      m.column = 0;
    } else if ((text.p[i] & 0xc0) != 0x80) {
      m.column++;
    }
  }
  return m;
}

static bool
is_indented_by_tab(csn_str text, size_t line)
{
  csn_str one = {0};
  for (size_t i = 0; i <= line; i++)
    if (!csn_str_line(&text, &one))
      return false;
  for (size_t i = 0; i < one.n && (one.p[i] == ' ' || one.p[i] == '\t'); i++)
    if (one.p[i] == '\t')
      return true;
  return false;
}

static int
malformed(struct reader *r)
{
  const yaml_parser_t *y = &r->y;
  if (y->error == YAML_MEMORY_ERROR)
    abort();
  if (y->error == YAML_READER_ERROR)
    return fail_at(r, CSN_E_PARSE, mark_of(r->text, y->problem_offset), "%s (U+%04X)", y->problem,
                   (unsigned)y->problem_value);
  if (is_indented_by_tab(r->text, y->problem_mark.line))
    return fail_at(r, CSN_E_PARSE, y->problem_mark, "found a tab, expected blanks to indent with");
  const char *context = y->context ? y->context : "";
  if (*context && y->context_mark.line != y->problem_mark.line)
    return fail_at(r, CSN_E_PARSE, y->problem_mark, "%s %s that starts at line %zu", y->problem,
                   context, y->context_mark.line + 1);
  return fail_at(r, CSN_E_PARSE, y->problem_mark, "%s%s%s", y->problem, *context ? " " : "",
                 context);
}

static int
next(struct reader *r)
{
  yaml_event_delete(&r->ev);
  return yaml_parser_parse(&r->y, &r->ev) ? 0 : malformed(r);
}

static csn_json *
take_node(struct reader *r, int *rc)
{
  csn_json *v = csn_arena_alloc(r->arena, sizeof *v);
  if (v)
    v->line = (uint32_t)r->ev.start_mark.line + 1;
  else
    *rc = fail_at(r, CSN_E_LIMIT, r->ev.start_mark, "the file is larger than this program accepts");
  return v;
}

static int
take_text(struct reader *r, csn_str s, csn_str *out)
{
  *out = csn_arena_dup(r->arena, s);
  if (out->n == s.n)
    return 0;
  return fail_at(r, CSN_E_LIMIT, r->ev.start_mark, "the file is larger than this program accepts");
}

static size_t
count_digits(csn_str s, size_t from)
{
  size_t i = from;
  while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
    i++;
  return i - from;
}

/* A number of the core schema in base 10, cut into its parts. */
struct number {
  bool minus;
  csn_str whole, fraction, exponent;
  bool has_point;
};

static bool
cut_number(csn_str s, struct number *out)
{
  struct number no = {.minus = s.n && s.p[0] == '-'};
  size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+');
  no.whole = csn_strn(s.p + i, count_digits(s, i));
  i += no.whole.n;
  if (i < s.n && s.p[i] == '.') {
    no.has_point = true;
    no.fraction = csn_strn(s.p + i + 1, count_digits(s, i + 1));
    i += 1 + no.fraction.n;
  }
  if (!no.whole.n && !no.fraction.n)
    return false;
  if (i < s.n && (s.p[i] | 32) == 'e') {
    size_t sign = i + 1 < s.n && (s.p[i + 1] == '-' || s.p[i + 1] == '+');
    size_t n = count_digits(s, i + 1 + sign);
    if (!n)
      return false;
    no.exponent = csn_strn(s.p + i, 1 + sign + n);
    i += no.exponent.n;
  }
  *out = no;
  return i == s.n;
}

static int
set_decimal(struct reader *r, csn_json *v, const struct number *no)
{
  csn_str whole = no->whole;
  while (whole.n > 1 && whole.p[0] == '0')
    whole.p++, whole.n--;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(CSN_YAML_MAX + 8);
  csn_buf_addz(&b, no->minus ? "-" : "");
  csn_buf_add(&b, whole.n ? whole : CSN_STR("0"));
  if (no->has_point) {
    csn_buf_addc(&b, '.');
    csn_buf_add(&b, no->fraction.n ? no->fraction : CSN_STR("0"));
  }
  csn_buf_add(&b, no->exponent);
  v->kind = CSN_JSON_NUMBER;
  return take_text(r, csn_buf_str(&b), &v->text);
}

/* 0x1F and 0o17; false when the scalar is neither. */
static bool
cut_radix(csn_str s, int *shift, csn_str *digits)
{
  if (!csn_str_starts(s, CSN_STR("0x")) && !csn_str_starts(s, CSN_STR("0o")))
    return false;
  *shift = s.p[1] == 'x' ? 4 : 3;
  *digits = csn_strn(s.p + 2, s.n - 2);
  const char *all = "0123456789abcdefABCDEF";
  size_t base = *shift == 4 ? 22 : 8;
  for (size_t i = 0; i < digits->n; i++)
    if (!memchr(all, digits->p[i], base))
      return false;
  return digits->n > 0;
}

static int
set_radix(struct reader *r, csn_json *v, int shift, csn_str digits)
{
  uint64_t u = 0;
  for (size_t i = 0; i < digits.n; i++) {
    char c = digits.p[i];
    if (u >> (64 - shift))
      return fail_at(r, CSN_E_PARSE, r->ev.start_mark,
                     "found a number over 64 bits, expected a smaller one or a decimal one");
    u = u << shift | (uint64_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
  }
  v->kind = CSN_JSON_NUMBER;
  v->text = csn_arena_printf(r->arena, "%llu", (unsigned long long)u);
  if (v->text.n)
    return 0;
  return fail_at(r, CSN_E_LIMIT, r->ev.start_mark, "the file is larger than this program accepts");
}

/* What a plain scalar means in the core schema. */
static int
set_plain(struct reader *r, csn_json *v, csn_str s)
{
  static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
  static const char *const trues[] = {"true", "True", "TRUE", NULL};
  static const char *const falses[] = {"false", "False", "FALSE", NULL};
  static const char *const no_json[] = {".inf",  ".Inf",  ".INF",  "+.inf", "+.Inf",
                                        "+.INF", "-.inf", "-.Inf", "-.INF", ".nan",
                                        ".NaN",  ".NAN",  NULL};
  struct number no;
  csn_str digits;
  int shift;
  if (csn_str_is_one_of(s, nulls)) {
    v->kind = CSN_JSON_NULL;
    return 0;
  }
  v->truth = csn_str_is_one_of(s, trues);
  if (v->truth || csn_str_is_one_of(s, falses)) {
    v->kind = CSN_JSON_BOOL;
    return 0;
  }
  if (csn_str_is_one_of(s, no_json))
    return fail_at(r, CSN_E_PARSE, r->ev.start_mark, "found %.*s, expected a finite number",
                   (int)s.n, s.p);
  if (cut_radix(s, &shift, &digits))
    return set_radix(r, v, shift, digits);
  if (cut_number(s, &no))
    return set_decimal(r, v, &no);
  v->kind = CSN_JSON_STRING;
  return take_text(r, s, &v->text);
}

static csn_str
scalar_text(const struct reader *r)
{
  return csn_strn((const char *)r->ev.data.scalar.value, r->ev.data.scalar.length);
}

static int
check_plain_node(struct reader *r, const yaml_char_t *anchor, const yaml_char_t *tag)
{
  if (anchor)
    return fail_at(r, CSN_E_PARSE, r->ev.start_mark,
                   "found the anchor &%.60s, expected a value; anchors and aliases are not used "
                   "here, write the value where it is needed",
                   (const char *)anchor);
  if (tag)
    return fail_at(r, CSN_E_PARSE, r->ev.start_mark,
                   "found the tag %.60s, expected a value without a tag; quote what is a string",
                   (const char *)tag);
  return 0;
}

static int read_node(struct reader *r, csn_json *v);

static int
read_key(struct reader *r, csn_str *key)
{
  if (r->ev.type != YAML_SCALAR_EVENT) {
    if (r->ev.type == YAML_ALIAS_EVENT)
      return read_node(r, NULL);
    return fail_at(r, CSN_E_PARSE, r->ev.start_mark,
                   "found a list or a mapping as a key, expected a word");
  }
  int rc = check_plain_node(r, r->ev.data.scalar.anchor, r->ev.data.scalar.tag);
  csn_str s = scalar_text(r);
  if (rc == 0 && !s.n && r->ev.data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
    rc = fail_at(r, CSN_E_PARSE, r->ev.start_mark, "found nothing before ':', expected a key");
  return rc < 0 ? rc : take_text(r, s, key);
}

static int
by_key_then_place(const void *a, const void *b)
{
  const csn_json *x = *(const csn_json *const *)a, *y = *(const csn_json *const *)b;
  size_t n = x->key.n < y->key.n ? x->key.n : y->key.n;
  int d = n ? memcmp(x->key.p, y->key.p, n) : 0;
  if (d || x->key.n != y->key.n)
    return d ? d : (x->key.n > y->key.n) - (x->key.n < y->key.n);
  return (x->line > y->line) - (x->line < y->line);
}

/* Sorts, because a hostile file may have a million keys in one mapping. */
static int
check_unique(struct reader *r, const csn_json *v)
{
  csn_auto(csn_freep) const csn_json **all = csn_realloc(NULL, v->n, sizeof(csn_json *));
  size_t n = 0;
  csn_json_each (m, v)
    all[n++] = m;
  qsort(all, n, sizeof *all, by_key_then_place);
  for (size_t i = 1; i < n; i++)
    if (csn_str_eq(all[i - 1]->key, all[i]->key))
      return csn_fail(r->err, CSN_E_PARSE,
                      "%s:%u: found the key '%.*s' again, expected it once; it stands at line %u "
                      "too",
                      r->file, all[i]->line, (int)(all[i]->key.n < 60 ? all[i]->key.n : 60),
                      all[i]->key.p, all[i - 1]->line);
  return 0;
}

/* From the start event of a list or mapping to its end event. */
static int
read_members(struct reader *r, csn_json *v)
{
  bool is_map = r->ev.type == YAML_MAPPING_START_EVENT;
  yaml_event_type_t end = is_map ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
  v->kind = is_map ? CSN_JSON_OBJECT : CSN_JSON_ARRAY;
  if (++r->depth > CSN_JSON_DEPTH)
    return fail_at(r, CSN_E_LIMIT, r->ev.start_mark, "found more than %d levels, expected fewer",
                   CSN_JSON_DEPTH);
  const csn_json **link = &v->child;
  for (;;) {
    int rc = next(r);
    if (rc < 0)
      return rc;
    if (r->ev.type == end)
      break;
    csn_json *m = take_node(r, &rc);
    if (rc == 0 && is_map) {
      rc = read_key(r, &m->key);
      if (rc == 0)
        rc = next(r);
    }
    if (rc == 0)
      rc = read_node(r, m);
    if (rc < 0)
      return rc;
    *link = m;
    link = &m->next;
    v->n++;
  }
  r->depth--;
  return is_map && v->n > 1 ? check_unique(r, v) : 0;
}

/* At the first event of a node; leaves its last one in place. */
static int
read_node(struct reader *r, csn_json *v)
{
  int rc;
  switch ((int)r->ev.type) {
  case YAML_SCALAR_EVENT:
    rc = check_plain_node(r, r->ev.data.scalar.anchor, r->ev.data.scalar.tag);
    if (rc < 0)
      return rc;
    if (r->ev.data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
      return set_plain(r, v, scalar_text(r));
    v->kind = CSN_JSON_STRING;
    return take_text(r, scalar_text(r), &v->text);
  case YAML_SEQUENCE_START_EVENT:
    rc = check_plain_node(r, r->ev.data.sequence_start.anchor, r->ev.data.sequence_start.tag);
    return rc < 0 ? rc : read_members(r, v);
  case YAML_MAPPING_START_EVENT:
    rc = check_plain_node(r, r->ev.data.mapping_start.anchor, r->ev.data.mapping_start.tag);
    return rc < 0 ? rc : read_members(r, v);
  case YAML_ALIAS_EVENT:
    return fail_at(r, CSN_E_PARSE, r->ev.start_mark,
                   "found the alias *%.60s, expected a value; write it out",
                   (const char *)r->ev.data.alias.anchor);
  default:
    return fail_at(r, CSN_E_PARSE, r->ev.start_mark, "found nothing, expected a value");
  }
}

static int
check_bytes(struct reader *r)
{
  size_t good = csn_utf8_valid(r->text);
  if (r->text.n > CSN_YAML_MAX)
    return csn_fail(r->err, CSN_E_LIMIT, "%s: found %zu bytes, expected at most %u", r->file,
                    r->text.n, CSN_YAML_MAX);
  if (good < r->text.n)
    return fail_at(r, CSN_E_PARSE, mark_of(r->text, good), "found bytes that are not UTF-8");
  static const char *const breaks[] = {"\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};
  static const char *const escapes[] = {"\\N", "\\L", "\\P"};
  for (size_t i = 0; i < CSN_COUNT(breaks); i++) {
    size_t at = csn_str_find(r->text, csn_cstr(breaks[i]), 0);
    if (at != SIZE_MAX)
      return fail_at(r, CSN_E_PARSE, mark_of(r->text, at),
                     "found a Unicode line break, which readers of YAML take differently; expected "
                     "a plain one, or %s inside double quotes",
                     escapes[i]);
  }
  return 0;
}

static int
check_document_start(struct reader *r)
{
  const yaml_version_directive_t *version = r->ev.data.document_start.version_directive;
  if (version && (version->major != 1 || version->minor != 2))
    return fail_at(r, CSN_E_PARSE, r->ev.start_mark, "found %%YAML %d.%d, expected 1.2 or nothing",
                   version->major, version->minor);
  if (r->ev.data.document_start.tag_directives.start !=
      r->ev.data.document_start.tag_directives.end)
    return fail_at(r, CSN_E_PARSE, r->ev.start_mark, "found %%TAG, expected no directives");
  return 0;
}

/* The one document, and nothing after it. */
static int
read_document(struct reader *r, csn_json *v)
{
  int rc = next(r); /* the stream's start */
  if (rc == 0)
    rc = next(r);
  if (rc < 0 || r->ev.type == YAML_STREAM_END_EVENT)
    return rc;
  rc = check_document_start(r);
  if (rc == 0)
    rc = next(r);
  if (rc == 0) {
    v->line = (uint32_t)r->ev.start_mark.line + 1;
    rc = read_node(r, v);
  }
  if (rc == 0)
    rc = next(r); /* the document's end */
  if (rc == 0)
    rc = next(r);
  if (rc == 0 && r->ev.type != YAML_STREAM_END_EVENT)
    rc = fail_at(r, CSN_E_PARSE, r->ev.start_mark,
                 "found a second document, expected the end of the file");
  return rc;
}

int
csn_yaml_parse(csn_arena *a, csn_str text, const char *file, const csn_json **out, csn_err *err)
{
  struct reader r = {.arena = a, .text = text, .file = file, .err = err};
  int rc = check_bytes(&r);
  if (rc < 0)
    return rc;
  if (!yaml_parser_initialize(&r.y))
    abort();
  yaml_parser_set_encoding(&r.y, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&r.y, (const unsigned char *)(text.n ? text.p : ""), text.n);
  csn_json *v = take_node(&r, &rc); /* an empty file is null, at line 1 */
  if (rc == 0)
    rc = read_document(&r, v);
  reader_fini(&r);
  if (rc == 0)
    *out = v;
  return rc;
}
