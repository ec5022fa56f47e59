/* SPDX-License-Identifier: Apache-2.0
 * schema_strict.c - a JSON Schema in the strict form that providers enforce.
 *
 * Objects are closed, every property is required, oneOf becomes anyOf, an
 * allOf of one is merged into its parent, `default: null` goes, and a $ref
 * with notes beside it is inlined.  What has no strict form is refused. */
#include "caisson/tool.h"

enum { DEPTH_MAX = 100, NODES_MAX = 100000 };

struct strict {
  const csn_json *root;
  csn_jw *w;
  csn_arena *arena;
  int depth, nodes;
  csn_err *err;
};

static int write_schema(struct strict *s, const csn_json *v);

static bool
key_is(const csn_json *m, const char *key)
{
  return csn_str_eq(m->key, csn_cstr(key));
}

static bool
has_type(const csn_json *v, const char *type)
{
  const csn_json *t = csn_json_get(v, "type");
  if (csn_json_is(t, CSN_JSON_STRING))
    return csn_str_eq(t->text, csn_cstr(type));
  csn_json_each (one, t) {
    if (csn_str_eq(one->text, csn_cstr(type)))
      return true;
  }
  return false;
}

static int
resolve(struct strict *s, csn_str ref, const csn_json **out)
{
  if (!csn_str_starts(ref, CSN_STR("#/")))
    return csn_fail(s->err, CSN_E_INVALID, "$ref %.*s: only references that start with #/ work",
                    (int)ref.n, ref.p);
  const csn_json *at = s->root;
  size_t i = 2;
  while (at && i <= ref.n) {
    size_t from = i;
    while (i < ref.n && ref.p[i] != '/')
      i++;
    csn_str part = csn_strn(ref.p + from, i - from);
    const csn_json *hit = NULL;
    csn_json_each (m, at)
      if (csn_str_eq(m->key, part))
        hit = m;
    at = hit;
    i++;
  }
  if (!at)
    return csn_fail(s->err, CSN_E_INVALID, "$ref %.*s leads nowhere", (int)ref.n, ref.p);
  *out = at;
  return 0;
}

/* An object whose members are those of `over`, then those of `base` it lacks. */
static const csn_json *
merged(struct strict *s, const csn_json *over, const char *without, const csn_json *base)
{
  csn_json *all = csn_arena_alloc(s->arena, sizeof *all);
  if (!all)
    return NULL;
  all->kind = CSN_JSON_OBJECT;
  const csn_json **tail = &all->child;
  const csn_json *from[2] = {over, base};
  for (int i = 0; i < 2; i++)
    csn_json_each (m, from[i]) {
      if (i == 0 && key_is(m, without))
        continue;
      bool shadowed = false;
      if (i == 1)
        csn_json_each (o, over)
          shadowed = shadowed || (csn_str_eq(o->key, m->key) && !key_is(o, without));
      csn_json *copy = shadowed ? NULL : csn_arena_alloc(s->arena, sizeof *copy);
      if (!copy)
        continue;
      *copy = *m;
      copy->next = NULL;
      *tail = copy;
      tail = &copy->next;
      all->n++;
    }
  return all;
}

static int
write_each(struct strict *s, const csn_json *list)
{
  bool is_obj = list->kind == CSN_JSON_OBJECT;
  if (is_obj)
    csn_jw_obj(s->w);
  else
    csn_jw_arr(s->w);
  csn_json_each (m, list) {
    if (is_obj)
      csn_jw_keyn(s->w, m->key);
    int rc = write_schema(s, m);
    if (rc < 0)
      return rc;
  }
  csn_jw_end(s->w);
  return 0;
}

/* anyOf, with the members of oneOf after its own. */
static int
write_any_of(struct strict *s, const csn_json *v)
{
  csn_jw_key(s->w, "anyOf");
  csn_jw_arr(s->w);
  const csn_json *lists[2] = {csn_json_get(v, "anyOf"), csn_json_get(v, "oneOf")};
  for (int i = 0; i < 2; i++)
    csn_json_each (m, lists[i]) {
      int rc = write_schema(s, m);
      if (rc < 0)
        return rc;
    }
  csn_jw_end(s->w);
  return 0;
}

static int
write_member(struct strict *s, const csn_json *v, const csn_json *m)
{
  if (key_is(m, "oneOf"))
    return csn_json_get(v, "anyOf") ? 0 : write_any_of(s, v);
  if (key_is(m, "anyOf"))
    return write_any_of(s, v);
  if (key_is(m, "default") && m->kind == CSN_JSON_NULL)
    return 0;
  if (key_is(m, "required") || key_is(m, "additionalProperties"))
    return 0; /* written after the properties */
  csn_jw_keyn(s->w, m->key);
  bool has_schemas = key_is(m, "properties") || key_is(m, "$defs") || key_is(m, "definitions") ||
                     key_is(m, "allOf");
  if (has_schemas && (m->kind == CSN_JSON_OBJECT || m->kind == CSN_JSON_ARRAY))
    return write_each(s, m);
  if (key_is(m, "items") && m->kind == CSN_JSON_OBJECT)
    return write_schema(s, m);
  csn_jw_value(s->w, m);
  return 0;
}

static int
write_object_rules(struct strict *s, const csn_json *v)
{
  const csn_json *open = csn_json_get(v, "additionalProperties");
  if (open && !(open->kind == CSN_JSON_BOOL && !open->truth))
    return csn_fail(s->err, CSN_E_INVALID,
                    "additionalProperties: a strict object cannot be open; mark the tool loose");
  csn_jw_key(s->w, "additionalProperties");
  csn_jw_bool(s->w, false);
  const csn_json *properties = csn_json_get(v, "properties");
  csn_jw_key(s->w, "required");
  csn_jw_arr(s->w);
  csn_json_each (p, properties)
    csn_jw_str(s->w, p->key);
  csn_jw_end(s->w);
  return 0;
}

static int
write_members(struct strict *s, const csn_json *v)
{
  const csn_json *properties = csn_json_get(v, "properties");
  bool is_object = has_type(v, "object") || (properties && !csn_json_get(v, "type"));
  csn_jw_obj(s->w);
  csn_json_each (m, v) {
    int rc = write_member(s, v, m);
    if (rc < 0)
      return rc;
  }
  if (is_object && !csn_json_get(v, "type")) {
    csn_jw_key(s->w, "type");
    csn_jw_strz(s->w, "object");
  }
  if (is_object && !properties) {
    csn_jw_key(s->w, "properties");
    csn_jw_obj(s->w);
    csn_jw_end(s->w);
  }
  int rc = is_object ? write_object_rules(s, v) : 0;
  csn_jw_end(s->w);
  return rc;
}

static bool
only_notes_beside(const csn_json *v)
{
  csn_json_each (m, v) {
    if (!key_is(m, "$ref") && !key_is(m, "description") && !key_is(m, "title") &&
        !key_is(m, "default") && !key_is(m, "examples"))
      return false;
  }
  return true;
}

static int
write_schema(struct strict *s, const csn_json *v)
{
  if (v->kind != CSN_JSON_OBJECT) {
    csn_jw_value(s->w, v);
    return 0;
  }
  if (++s->depth > DEPTH_MAX || ++s->nodes > NODES_MAX)
    return csn_fail(s->err, CSN_E_INVALID, "the schema is nested too deeply or refers to itself");
  const csn_json *ref = csn_json_get(v, "$ref"), *all = csn_json_get(v, "allOf");
  int rc = 0;
  if (csn_json_is(ref, CSN_JSON_STRING) && v->n > 1) {
    const csn_json *target = NULL;
    if (!only_notes_beside(v))
      return csn_fail(s->err, CSN_E_INVALID, "$ref %.*s: only notes may stand beside it",
                      (int)ref->text.n, ref->text.p);
    rc = resolve(s, ref->text, &target);
    if (rc == 0)
      rc = write_schema(s, merged(s, v, "$ref", target));
  } else if (csn_json_is(all, CSN_JSON_ARRAY) && all->n == 1) {
    const csn_json *only = all->child, *target = csn_json_get(only, "$ref");
    if (csn_json_is(target, CSN_JSON_STRING) && only->n == 1)
      rc = resolve(s, target->text, &only);
    if (rc == 0)
      rc = write_schema(s, merged(s, v, "allOf", only));
  } else {
    rc = write_members(s, v);
  }
  s->depth--;
  return rc;
}

int
csn_schema_strict(csn_arena *a, const csn_json *schema, csn_buf *out, csn_err *err)
{
  if (!csn_json_is(schema, CSN_JSON_OBJECT))
    return csn_fail(err, CSN_E_INVALID, "a schema must be an object");
  if (schema->n == 0) {
    csn_buf_addz(out, "{\"additionalProperties\":false,\"type\":\"object\",\"properties\":{},"
                      "\"required\":[]}");
    return csn_buf_done(out, "the schema", err);
  }
  if (csn_json_get(schema, "anyOf") || csn_json_get(schema, "oneOf"))
    return csn_fail(err, CSN_E_INVALID, "the root of a tool's schema must be one object");
  csn_jw w;
  csn_jw_init(&w, out);
  struct strict s = {.root = schema, .w = &w, .arena = a, .err = err};
  int rc = write_schema(&s, schema);
  return rc < 0 ? rc : csn_jw_done(&w, err);
}
