/* SPDX-License-Identifier: Apache-2.0
 * schema_check.c - see schema_check.h.  Depth is bounded by CSN_JSON_DEPTH for
 * values and by REFS_MAX for references that lead in circles. */
#include "run/schema_check.h"

#include <stdio.h>

#include "caisson/mem.h"

enum { REFS_MAX = 64, PATH_MAX_BYTES = 200 };

struct check {
  const csn_json *root;
  csn_err *err;
  const char *what;
  csn_buf path; /* of the value that is looked at */
  int refs;
};

static int check_value(struct check *c, const csn_json *schema, const csn_json *v);

static int complain(struct check *c, const char *fmt, ...) CSN_PRINTF(2, 3);

static int
complain(struct check *c, const char *fmt, ...)
{
  char text[200];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  return csn_fail(c->err, CSN_E_INVALID, "%.*s: %s", (int)(c->path.n ? c->path.n : strlen(c->what)),
                  c->path.n ? c->path.p : c->what, text);
}

/* ---- equality ---- */

static bool
same(const csn_json *a,
     const csn_json *b) /* NOLINT(misc-no-recursion): bounded by CSN_JSON_DEPTH */
{
  if (a->kind != b->kind)
    return false;
  if (a->kind == CSN_JSON_STRING)
    return csn_str_eq(a->text, b->text);
  if (a->kind == CSN_JSON_NUMBER)
    return csn_str_eq(a->text, b->text) || csn_json_to_double(a) == csn_json_to_double(b);
  if (a->kind == CSN_JSON_BOOL)
    return a->truth == b->truth;
  if (a->n != b->n)
    return false;
  const csn_json *y = b->child;
  for (const csn_json *x = a->child; x; x = x->next) {
    csn_auto(csn_freep) char *key = a->kind == CSN_JSON_OBJECT ? csn_dupz(x->key) : NULL;
    const csn_json *other = key ? csn_json_get(b, key) : y;
    if (!other || !same(x, other))
      return false;
    y = y ? y->next : NULL;
  }
  return true;
}

/* ---- single keywords ---- */

static bool
is_whole(const csn_json *v)
{
  int64_t n;
  double d = csn_json_to_double(v);
  return csn_json_to_int(v, &n) || (d == (double)(int64_t)d && d > -9e15 && d < 9e15);
}

static bool
is_type(const csn_json *v, csn_str word)
{
  static const struct {
    const char *word;
    enum csn_json_kind kind;
  } types[] = {{"null", CSN_JSON_NULL},     {"boolean", CSN_JSON_BOOL},
               {"number", CSN_JSON_NUMBER}, {"string", CSN_JSON_STRING},
               {"array", CSN_JSON_ARRAY},   {"object", CSN_JSON_OBJECT}};
  if (csn_str_eq(word, CSN_STR("integer")))
    return v->kind == CSN_JSON_NUMBER && is_whole(v);
  for (size_t i = 0; i < CSN_COUNT(types); i++)
    if (csn_str_eq(word, csn_cstr(types[i].word)))
      return v->kind == types[i].kind;
  return true;
}

static int
check_type(struct check *c, const csn_json *type, const csn_json *v)
{
  const char *got = csn_json_kind_name((enum csn_json_kind)v->kind);
  if (csn_json_is(type, CSN_JSON_STRING) && !is_type(v, type->text))
    return complain(c, "expected %.*s, got %s", (int)(type->text.n & 63), type->text.p, got);
  bool fits = !csn_json_is(type, CSN_JSON_ARRAY);
  csn_json_each (t, fits ? NULL : type)
    fits = fits || is_type(v, t->text);
  return fits ? 0 : complain(c, "%s is none of the types that are allowed", got);
}

static int
check_values(struct check *c, const csn_json *schema, const csn_json *v)
{
  const csn_json *list = csn_json_get(schema, "enum"), *one = csn_json_get(schema, "const");
  bool fits = !csn_json_is(list, CSN_JSON_ARRAY);
  csn_json_each (e, fits ? NULL : list)
    fits = fits || same(e, v);
  if (!fits)
    return complain(c, "the value is none of those that are allowed");
  if (one && !same(one, v))
    return complain(c, "the value is not the one that is allowed");
  return 0;
}

/* -1: no such limit */
static int64_t
limit(const csn_json *schema, const char *key)
{
  return csn_json_int(schema, key, -1);
}

static int
check_size(struct check *c, const csn_json *schema, const char *least_key, const char *most_key,
           int64_t size, const char *what)
{
  int64_t least = limit(schema, least_key), most = limit(schema, most_key);
  if (least >= 0 && size < least)
    return complain(c, "expected at least %lld %s, got %lld", (long long)least, what,
                    (long long)size);
  if (most >= 0 && size > most)
    return complain(c, "expected at most %lld %s, got %lld", (long long)most, what,
                    (long long)size);
  return 0;
}

static int
check_number(struct check *c, const csn_json *schema, const csn_json *v)
{
  double d = csn_json_to_double(v);
  const csn_json *min = csn_json_get(schema, "minimum"), *max = csn_json_get(schema, "maximum");
  const csn_json *above = csn_json_get(schema, "exclusiveMinimum");
  const csn_json *below = csn_json_get(schema, "exclusiveMaximum");
  if (csn_json_is(min, CSN_JSON_NUMBER) && d < csn_json_to_double(min))
    return complain(c, "expected at least %.*s", (int)(min->text.n & 63), min->text.p);
  if (csn_json_is(max, CSN_JSON_NUMBER) && d > csn_json_to_double(max))
    return complain(c, "expected at most %.*s", (int)(max->text.n & 63), max->text.p);
  if (csn_json_is(above, CSN_JSON_NUMBER) && d <= csn_json_to_double(above))
    return complain(c, "expected more than %.*s", (int)(above->text.n & 63), above->text.p);
  if (csn_json_is(below, CSN_JSON_NUMBER) && d >= csn_json_to_double(below))
    return complain(c, "expected less than %.*s", (int)(below->text.n & 63), below->text.p);
  return 0;
}

static int64_t
count_characters(csn_str s)
{
  int64_t n = 0;
  for (size_t i = 0; i < s.n; i++)
    n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
  return n;
}

/* ---- members ---- */

/* Checks a part of the value under its own path. */
static int
check_part(struct check *c, const csn_json *schema, const csn_json *v, csn_str key, int64_t index)
{
  size_t had = c->path.n;
  if (index >= 0)
    csn_buf_addf(&c->path, "[%lld]", (long long)index);
  else
    csn_buf_addf(&c->path, ".%.*s", (int)(key.n & 63), key.p);
  int rc = check_value(c, schema, v);
  c->path.n = had;
  c->path.over = false;
  return rc;
}

static int
check_object(struct check *c, const csn_json *schema, const csn_json *v)
{
  const csn_json *properties = csn_json_get(schema, "properties");
  const csn_json *more = csn_json_get(schema, "additionalProperties");
  csn_json_each (name, csn_json_get(schema, "required")) {
    csn_auto(csn_freep) char *key = csn_dupz(name->text);
    if (!csn_json_get(v, key))
      return complain(c, "%.60s is missing", key);
  }
  csn_json_each (m, v) {
    csn_auto(csn_freep) char *key = csn_dupz(m->key);
    const csn_json *sub = csn_json_get(properties, key);
    if (!sub && more && more->kind == CSN_JSON_BOOL && !more->truth)
      return complain(c, "%.60s is not a member that is known", key);
    sub = sub ? sub : csn_json_is(more, CSN_JSON_OBJECT) ? more : NULL;
    int rc = sub ? check_part(c, sub, m, m->key, -1) : 0;
    if (rc < 0)
      return rc;
  }
  return 0;
}

static int
check_array(struct check *c, const csn_json *schema, const csn_json *v)
{
  const csn_json *items = csn_json_get(schema, "items");
  int64_t i = 0;
  int rc = check_size(c, schema, "minItems", "maxItems", v->n, "members");
  if (!csn_json_is(items, CSN_JSON_OBJECT))
    return rc;
  for (const csn_json *m = v->child; m && rc == 0; m = m->next)
    rc = check_part(c, items, m, CSN_STR(""), i++);
  return rc;
}

/* ---- combinations ---- */

static int
check_choice(struct check *c, const csn_json *schema, const csn_json *v)
{
  const csn_json *any = csn_json_get(schema, "anyOf"), *one = csn_json_get(schema, "oneOf");
  const csn_json *list = any ? any : one;
  csn_err *err = c->err, last = {0};
  int n = 0;
  c->err = &last;
  csn_json_each (s, list)
    n += check_value(c, s, v) == 0;
  c->err = err;
  if (list && n == 0 && list->n == 1 && err)
    *err = last;
  if (list && n == 0)
    return list->n == 1 ? CSN_E_INVALID : complain(c, "none of the forms that are allowed fits");
  if (!any && one && n > 1)
    return complain(c, "more than one of the forms fits");
  csn_json_each (s, csn_json_get(schema, "allOf")) {
    int rc = check_value(c, s, v);
    if (rc < 0)
      return rc;
  }
  return 0;
}

/* "#/$defs/name" and its kind; NULL: leads nowhere. */
static const csn_json *
resolve(const csn_json *root, csn_str ref)
{
  if (csn_str_eq(ref, CSN_STR("#")))
    return root;
  if (!csn_str_starts(ref, CSN_STR("#/")))
    return NULL;
  const csn_json *at = root;
  for (size_t i = 2; at && i <= ref.n;) {
    size_t end = csn_str_find(ref, CSN_STR("/"), i);
    end = end == SIZE_MAX ? ref.n : end;
    csn_auto(csn_freep) char *key = csn_dupz(csn_strn(ref.p + i, end - i));
    at = csn_json_get(at, key);
    i = end + 1;
  }
  return at;
}

static int
check_value(struct check *c, const csn_json *schema,
            const csn_json *v) /* NOLINT(misc-no-recursion) */
{
  if (csn_json_is(schema, CSN_JSON_BOOL) && !schema->truth)
    return complain(c, "nothing is allowed here");
  const csn_json *ref = csn_json_get(schema, "$ref");
  int rc = 0;
  if (csn_json_is(ref, CSN_JSON_STRING)) {
    const csn_json *to = resolve(c->root, ref->text);
    if (!to || c->refs >= REFS_MAX)
      return complain(c, "the schema's reference %.*s leads nowhere", (int)(ref->text.n & 63),
                      ref->text.p);
    c->refs++;
    rc = check_value(c, to, v);
    c->refs--;
  }
  if (rc == 0)
    rc = check_type(c, csn_json_get(schema, "type"), v);
  if (rc == 0)
    rc = check_values(c, schema, v);
  if (rc == 0)
    rc = check_choice(c, schema, v);
  if (rc < 0)
    return rc;
  if (v->kind == CSN_JSON_OBJECT)
    return check_object(c, schema, v);
  if (v->kind == CSN_JSON_ARRAY)
    return check_array(c, schema, v);
  if (v->kind == CSN_JSON_NUMBER)
    return check_number(c, schema, v);
  if (v->kind == CSN_JSON_STRING)
    return check_size(c, schema, "minLength", "maxLength", count_characters(v->text), "characters");
  return 0;
}

int
csn_schema_check(const csn_json *schema, const csn_json *value, const char *what, csn_err *err)
{
  struct check c = {.root = schema, .err = err, .what = what, .path = CSN_BUF(PATH_MAX_BYTES)};
  csn_buf_addz(&c.path, what);
  int rc = check_value(&c, schema, value);
  csn_buf_fini(&c.path);
  return rc;
}
