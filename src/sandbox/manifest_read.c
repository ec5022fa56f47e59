/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_read.c - members of a manifest's tree, checked, with messages that
 * name the place. */
#include "sandbox/manifest_read.h"

#include <stdio.h>

csn_mark
csn_mr_enter(csn_reader *r, csn_str key, const csn_json *v)
{
  csn_mark k = {r->path.n, r->line};
  if (r->path.n)
    csn_buf_addc(&r->path, '.');
  csn_buf_add(&r->path, key.n > 80 ? csn_strn(key.p, 80) : key);
  if (v && v->line)
    r->line = v->line;
  return k;
}

void
csn_mr_leave(csn_reader *r, csn_mark k)
{
  r->path.n = k.n;
  r->path.over = false;
  r->path.p[k.n] = '\0';
  r->line = k.line;
}

int
csn_mr_fail(csn_reader *r, enum csn_code code, const char *fmt, ...)
{
  char what[400];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(what, sizeof what, fmt, ap);
  va_end(ap);
  const char *at = r->path.n ? r->path.p : "manifest";
  if (r->line)
    return csn_fail(r->err, code, "%s (line %u): %s", at, r->line, what);
  return csn_fail(r->err, code, "%s: %s", at, what);
}

csn_str
csn_mr_keep(csn_reader *r, csn_str s)
{
  csn_str d = csn_arena_dup(r->a, s);
  r->is_full = r->is_full || d.n != s.n || !d.p;
  return d;
}

void *
csn_mr_room(csn_reader *r, size_t n, size_t size)
{
  void *p = csn_arena_alloc(r->a, (n + 1) * size);
  r->is_full = r->is_full || !p;
  return p;
}

int
csn_mr_keep_json(csn_reader *r, const csn_json *v, const csn_json **out)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_jw w;
  csn_err why;
  csn_jw_init(&w, &text);
  csn_jw_value(&w, v);
  if (csn_jw_done(&w, &why) < 0 ||
      csn_json_parse(r->a, csn_mr_keep(r, csn_buf_str(&text)), out, &why) < 0)
    return csn_mr_fail(r, CSN_E_LIMIT, "%.200s", why.msg);
  return 0;
}

int
csn_mr_kind(csn_reader *r, const csn_json *v, enum csn_json_kind kind)
{
  if (csn_json_is(v, kind))
    return 0;
  return csn_mr_fail(r, CSN_E_INVALID, "expected %s, found %s", csn_json_kind_name(kind),
                     v ? csn_json_kind_name((enum csn_json_kind)v->kind) : "nothing");
}

bool
csn_mr_is_null(const csn_json *v)
{
  return !v || v->kind == CSN_JSON_NULL;
}

/* One member's value: what is missing or null leaves *out alone. */
int
csn_mr_get_str(csn_reader *r, const csn_json *obj, const char *key, csn_str *out, bool *has)
{
  const csn_json *v = csn_json_get(obj, key);
  if (csn_mr_is_null(v))
    return 0;
  csn_mark k = csn_mr_enter(r, csn_cstr(key), v);
  int rc = v->kind == CSN_JSON_NUMBER || v->kind == CSN_JSON_BOOL
               ? csn_mr_fail(r, CSN_E_INVALID, "expected a string: put it in quotes")
               : csn_mr_kind(r, v, CSN_JSON_STRING);
  if (rc == 0 && memchr(v->text.p ? v->text.p : "", '\0', v->text.n) && strcmp(key, "content") != 0)
    rc = csn_mr_fail(r, CSN_E_INVALID, "a NUL byte is not allowed here");
  if (rc < 0)
    return rc;
  *out = csn_mr_keep(r, v->text);
  if (has)
    *has = true;
  csn_mr_leave(r, k);
  return 0;
}

int
csn_mr_get_bool(csn_reader *r, const csn_json *obj, const char *key, bool *out)
{
  const csn_json *v = csn_json_get(obj, key);
  if (csn_mr_is_null(v))
    return 0;
  csn_mark k = csn_mr_enter(r, csn_cstr(key), v);
  int rc = csn_mr_kind(r, v, CSN_JSON_BOOL);
  if (rc < 0)
    return rc;
  *out = v->truth;
  csn_mr_leave(r, k);
  return 0;
}

int
csn_mr_need_str(csn_reader *r, const csn_json *obj, const char *key, csn_str *out)
{
  bool has = false;
  int rc = csn_mr_get_str(r, obj, key, out, &has);
  if (rc == 0 && !has)
    return csn_mr_fail(r, CSN_E_INVALID, "needs the key \"%s\"", key);
  return rc;
}

/* Keys that are not in the list are mistakes, not extensions. */
int
csn_mr_check_keys(csn_reader *r, const csn_json *obj, const char *const *known, size_t n)
{
  csn_json_each (v, obj) {
    size_t i = 0;
    while (i < n && !csn_str_eq(v->key, csn_cstr(known[i])))
      i++;
    if (i < n)
      continue;
    csn_buf list = CSN_BUF(300);
    for (i = 0; i < n; i++)
      csn_buf_addf(&list, "%s%s", i ? " " : "", known[i]);
    csn_mr_enter(r, v->key, v);
    int rc = csn_mr_fail(r, CSN_E_INVALID, "unknown key; known here are: %s", list.p);
    csn_buf_fini(&list);
    return rc;
  }
  return 0;
}

int
csn_mr_strings(csn_reader *r, const csn_json *obj, const char *key, size_t most, csn_str **out,
               size_t *n)
{
  const csn_json *list = csn_json_get(obj, key);
  if (csn_mr_is_null(list))
    return 0;
  csn_mark k = csn_mr_enter(r, csn_cstr(key), list);
  int rc = csn_mr_kind(r, list, CSN_JSON_ARRAY);
  if (rc < 0)
    return rc;
  if (list->n > most)
    return csn_mr_fail(r, CSN_E_LIMIT, "more than %zu", most);
  *out = csn_mr_room(r, list->n, sizeof **out);
  csn_json_each (v, list) {
    if (r->is_full)
      break;
    rc = csn_mr_kind(r, v, CSN_JSON_STRING);
    if (rc < 0)
      return rc;
    if (v->text.n == 0 || memchr(v->text.p, '\0', v->text.n))
      return csn_mr_fail(r, CSN_E_INVALID, "a text is empty or holds NUL");
    (*out)[(*n)++] = csn_mr_keep(r, v->text);
  }
  csn_mr_leave(r, k);
  return 0;
}
