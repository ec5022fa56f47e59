/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest.c - the manifest's JSON (or YAML-made) tree into entries.
 *
 * Everything is checked before anything is made: kinds, names, paths, and
 * that no two entries claim the same place.  All entries are also put in one
 * array, sorted so that a folder stands right before what it contains; that
 * makes the check of overlaps, the tree for the model and the materialisation
 * one linear pass each.
 */
#include <stdio.h>

#include "core/hash.h"
#include "sandbox/manifest_int.h"

const char *const csn_entry_words[] = {"dir", "file", "local_file", "local_dir", "git_repo"};

static const char *const default_allowlist[] = {"ls",   "find", "stat", "cat",  "less",  "head",
                                                "tail", "du",   "grep", "rg",   "wc",    "sort",
                                                "cut",  "cp",   "tee",  "echo", "mkdir", "rm"};

typedef struct reader {
  csn_arena *a;
  csn_err *err;
  csn_buf path;  /* where we are: "entries.a.src" */
  uint32_t line; /* of the innermost value that has one */
  bool is_full;  /* the arena's limit was reached */
  csn_manifest *m;
  csn_entry **all; /* heap, in the order they were read */
  size_t n_all, room;
} reader;

/* Entering a member: `back` and `line` restore the place afterwards. */
typedef struct mark {
  size_t n;
  uint32_t line;
} mark;

static mark
enter(reader *r, csn_str key, const csn_json *v)
{
  mark k = {r->path.n, r->line};
  if (r->path.n)
    csn_buf_addc(&r->path, '.');
  csn_buf_add(&r->path, key.n > 80 ? csn_strn(key.p, 80) : key);
  if (v && v->line)
    r->line = v->line;
  return k;
}

static void
leave(reader *r, mark k)
{
  r->path.n = k.n;
  r->path.over = false;
  r->path.p[k.n] = '\0';
  r->line = k.line;
}

static int fail_here(reader *r, enum csn_code code, const char *fmt, ...) CSN_PRINTF(3, 4);
static int
fail_here(reader *r, enum csn_code code, const char *fmt, ...)
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

static csn_str
keep(reader *r, csn_str s)
{
  csn_str d = csn_arena_dup(r->a, s);
  r->is_full = r->is_full || d.n != s.n || !d.p;
  return d;
}

static void *
room_for(reader *r, size_t n, size_t size)
{
  void *p = csn_arena_alloc(r->a, (n + 1) * size);
  r->is_full = r->is_full || !p;
  return p;
}

static int
need_kind(reader *r, const csn_json *v, enum csn_json_kind kind)
{
  if (csn_json_is(v, kind))
    return 0;
  return fail_here(r, CSN_E_INVALID, "expected %s, found %s", csn_json_kind_name(kind),
                   v ? csn_json_kind_name((enum csn_json_kind)v->kind) : "nothing");
}

static bool
is_null(const csn_json *v)
{
  return !v || v->kind == CSN_JSON_NULL;
}

/* One member's value: what is missing or null leaves *out alone. */
static int
get_str(reader *r, const csn_json *obj, const char *key, csn_str *out, bool *has)
{
  const csn_json *v = csn_json_get(obj, key);
  if (is_null(v))
    return 0;
  mark k = enter(r, csn_cstr(key), v);
  int rc = v->kind == CSN_JSON_NUMBER || v->kind == CSN_JSON_BOOL
               ? fail_here(r, CSN_E_INVALID, "expected a string: put it in quotes")
               : need_kind(r, v, CSN_JSON_STRING);
  if (rc == 0 && memchr(v->text.p ? v->text.p : "", '\0', v->text.n) && strcmp(key, "content") != 0)
    rc = fail_here(r, CSN_E_INVALID, "a NUL byte is not allowed here");
  if (rc < 0)
    return rc;
  *out = keep(r, v->text);
  if (has)
    *has = true;
  leave(r, k);
  return 0;
}

static int
get_bool(reader *r, const csn_json *obj, const char *key, bool *out)
{
  const csn_json *v = csn_json_get(obj, key);
  if (is_null(v))
    return 0;
  mark k = enter(r, csn_cstr(key), v);
  int rc = need_kind(r, v, CSN_JSON_BOOL);
  if (rc < 0)
    return rc;
  *out = v->truth;
  leave(r, k);
  return 0;
}

static int
need_str(reader *r, const csn_json *obj, const char *key, csn_str *out)
{
  bool has = false;
  int rc = get_str(r, obj, key, out, &has);
  if (rc == 0 && !has)
    return fail_here(r, CSN_E_INVALID, "needs the key \"%s\"", key);
  return rc;
}

/* Keys that are not in the list are mistakes, not extensions. */
static int
check_keys(reader *r, const csn_json *obj, const char *const *known, size_t n)
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
    enter(r, v->key, v);
    int rc = fail_here(r, CSN_E_INVALID, "unknown key; known here are: %s", list.p);
    csn_buf_fini(&list);
    return rc;
  }
  return 0;
}
#define CHECK_KEYS(r, obj, list) check_keys(r, obj, list, CSN_COUNT(list))

static int
get_name(reader *r, const csn_json *v, csn_str *out)
{
  int rc = need_kind(r, v, CSN_JSON_OBJECT);
  if (rc == 0)
    rc = need_str(r, v, "name", out);
  if (rc < 0)
    return rc;
  if (out->n == 0 || out->n > 64 || out->p[0] == '-')
    return fail_here(r, CSN_E_INVALID, "name: expected 1 to 64 characters, no '-' first");
  for (size_t i = 0; i < out->n; i++)
    if (strchr(":/\n\t ,", out->p[i]))
      return fail_here(r, CSN_E_INVALID, "name: blanks and : / , are not allowed");
  return 0;
}

/* {"name"} or {"name","users":[{"name"}]}. */
static int
read_group(reader *r, const csn_json *v, csn_group *out)
{
  static const char *const keys[] = {"name", "users"};
  int rc = get_name(r, v, &out->name);
  if (rc == 0)
    rc = CHECK_KEYS(r, v, keys);
  const csn_json *users = csn_json_get(v, "users");
  if (rc < 0 || is_null(users))
    return rc;
  out->is_group = true;
  mark k = enter(r, CSN_STR("users"), users);
  rc = need_kind(r, users, CSN_JSON_ARRAY);
  if (rc < 0)
    return rc;
  out->users = room_for(r, users->n, sizeof *out->users);
  csn_json_each (u, users) {
    if (r->is_full)
      break;
    rc = get_name(r, u, &out->users[out->n_users++]);
    if (rc < 0)
      return rc;
  }
  leave(r, k);
  return 0;
}

static int
read_groups(reader *r, const csn_json *top, const char *key, csn_group **out, size_t *n,
            bool is_group)
{
  const csn_json *list = csn_json_get(top, key);
  if (is_null(list))
    return 0;
  mark k = enter(r, csn_cstr(key), list);
  int rc = need_kind(r, list, CSN_JSON_ARRAY);
  if (rc < 0)
    return rc;
  *out = room_for(r, list->n, sizeof **out);
  csn_json_each (v, list) {
    if (r->is_full)
      break;
    char nr[24];
    snprintf(nr, sizeof nr, "%zu", *n);
    mark at = enter(r, csn_cstr(nr), v);
    rc = read_group(r, v, &(*out)[*n]);
    if (rc < 0)
      return rc;
    if (!is_group && (*out)[*n].is_group)
      return fail_here(r, CSN_E_INVALID, "a user has only a name");
    (*out)[(*n)++].is_group = is_group;
    leave(r, at);
  }
  leave(r, k);
  return 0;
}

static int
read_permissions(reader *r, const csn_json *obj, csn_entry *e)
{
  static const char *const keys[] = {"owner", "group", "other", "directory"};
  e->owner = 7, e->group_bits = 5, e->other = 5;
  const csn_json *v = csn_json_get(obj, "permissions");
  if (is_null(v))
    return 0;
  mark k = enter(r, CSN_STR("permissions"), v);
  int rc = need_kind(r, v, CSN_JSON_OBJECT);
  if (rc == 0)
    rc = CHECK_KEYS(r, v, keys);
  uint8_t bits[3] = {7, 0, 0};
  for (size_t i = 0; rc == 0 && i < 3; i++) {
    const csn_json *b = csn_json_get(v, keys[i]);
    int64_t n = bits[i];
    if (!is_null(b) && (!csn_json_to_int(b, &n) || n < 0 || n > 7))
      rc = fail_here(r, CSN_E_INVALID, "%s: expected 0 to 7 (read 4, write 2, execute 1)", keys[i]);
    bits[i] = (uint8_t)n;
  }
  bool directory = csn_entry_is_dir(e);
  if (rc == 0)
    rc = get_bool(r, v, "directory", &directory);
  if (rc < 0)
    return rc;
  e->owner = bits[0], e->group_bits = bits[1], e->other = bits[2];
  e->has_mode = csn_entry_mode(e) != 0755;
  leave(r, k);
  return 0;
}

static const char base64_note[] = "content_base64";

static int
read_content(reader *r, const csn_json *obj, csn_entry *e)
{
  bool has = false, has64 = false;
  csn_str coded = {0};
  int rc = get_str(r, obj, "content", &e->content, &has);
  if (rc == 0)
    rc = get_str(r, obj, base64_note, &coded, &has64);
  if (rc < 0)
    return rc;
  if (has == has64)
    return fail_here(r, CSN_E_INVALID, "needs either \"content\" (text) or \"%s\"", base64_note);
  if (!has64)
    return 0;
  csn_auto(csn_buf_finip) csn_buf raw = CSN_BUF(coded.n + 4);
  mark k = enter(r, csn_cstr(base64_note), csn_json_get(obj, base64_note));
  if (!csn_base64_decode(&raw, coded))
    return fail_here(r, CSN_E_INVALID, "not base64 (standard alphabet, with padding)");
  e->content = keep(r, csn_buf_str(&raw));
  leave(r, k);
  return 0;
}

static int
check_git(reader *r, const char *key, const char *why)
{
  if (!why)
    return 0;
  enter(r, csn_cstr(key), NULL);
  return fail_here(r, CSN_E_INVALID, "%s", why);
}

static int
read_git(reader *r, const csn_json *obj, csn_entry *e)
{
  e->host = CSN_STR("github.com");
  int rc = get_str(r, obj, "host", &e->host, NULL);
  if (rc == 0)
    rc = need_str(r, obj, "repo", &e->repo);
  if (rc == 0)
    rc = need_str(r, obj, "ref", &e->ref);
  if (rc == 0)
    rc = get_str(r, obj, "subpath", &e->subpath, &e->has_subpath);
  if (rc == 0)
    rc = check_git(r, "host", csn_git_bad_host(e->host));
  if (rc == 0)
    rc = check_git(r, "repo", csn_git_bad_repo(e->repo));
  if (rc == 0)
    rc = check_git(r, "ref", csn_git_bad_ref(e->ref));
  if (rc == 0 && e->has_subpath)
    rc = check_git(r, "subpath", csn_git_bad_subpath(e->subpath));
  return rc;
}

/* `key` (which may hold slashes) below `parent`, into e->path. */
static int
make_path(reader *r, csn_str parent, csn_str key, csn_entry *e)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(4096);
  csn_buf_add(&b, parent);
  size_t depth = 0;
  if (key.n > 1 && key.p[1] == ':' && ((key.p[0] | 32) >= 'a' && (key.p[0] | 32) <= 'z'))
    return fail_here(r, CSN_E_INVALID, "an absolute path is not allowed as a name (absolute)");
  for (size_t i = 0; i <= key.n;) {
    size_t end = i;
    while (end < key.n && key.p[end] != '/' && key.p[end] != '\\')
      end++;
    csn_str part = csn_strn(key.p + i, end - i);
    if (i == 0 && part.n == 0 && key.n)
      return fail_here(r, CSN_E_INVALID, "an absolute path is not allowed as a name (absolute)");
    i = end + 1;
    if (part.n == 0 || csn_str_eq(part, CSN_STR(".")))
      continue;
    if (csn_str_eq(part, CSN_STR("..")))
      return fail_here(r, CSN_E_INVALID, "\"..\" is not allowed in a name (escape_root)");
    if (part.n > 255 || memchr(part.p, '\0', part.n))
      return fail_here(r, CSN_E_INVALID,
                       "a part of the name is longer than 255 bytes or holds NUL");
    if (b.n)
      csn_buf_addc(&b, '/');
    csn_buf_add(&b, part);
  }
  for (size_t i = 0; i < b.n; i++)
    depth += b.p[i] == '/';
  if (b.n == parent.n)
    return fail_here(r, CSN_E_INVALID, "the name is empty");
  if (b.over || depth >= CSN_MANIFEST_DEPTH)
    return fail_here(r, CSN_E_LIMIT, "the path is longer than 4096 bytes or %d folders",
                     CSN_MANIFEST_DEPTH);
  e->path = keep(r, csn_buf_str(&b));
  return 0;
}

static int read_entries(reader *r, const csn_json *obj, csn_str parent, csn_entry **out);

static int
read_common(reader *r, const csn_json *v, csn_entry *e)
{
  static const char *const common[] = {"type",  "description", "ephemeral",
                                       "group", "is_dir",      "permissions"};
  static const char *const more[][4] = {[CSN_ENTRY_DIR] = {"children"},
                                        [CSN_ENTRY_FILE] = {"content", base64_note},
                                        [CSN_ENTRY_LOCAL_FILE] = {"src"},
                                        [CSN_ENTRY_LOCAL_DIR] = {"src"},
                                        [CSN_ENTRY_GIT_REPO] = {"host", "repo", "ref", "subpath"}};
  const char *known[CSN_COUNT(common) + 4];
  size_t n = CSN_COUNT(common);
  memcpy(known, common, sizeof common);
  for (size_t i = 0; i < 4 && more[e->kind][i]; i++)
    known[n++] = more[e->kind][i];
  bool is_dir = csn_entry_is_dir(e);
  int rc = check_keys(r, v, known, n);
  if (rc == 0)
    rc = get_str(r, v, "description", &e->description, &e->has_description);
  if (rc == 0)
    rc = get_bool(r, v, "ephemeral", &e->is_ephemeral);
  if (rc == 0)
    rc = get_bool(r, v, "is_dir", &is_dir);
  if (rc == 0 && is_dir != csn_entry_is_dir(e))
    return fail_here(r, CSN_E_INVALID, "is_dir: a %s is %s folder", csn_entry_words[e->kind],
                     is_dir ? "no" : "a");
  const csn_json *group = csn_json_get(v, "group");
  if (rc == 0 && !is_null(group)) {
    mark k = enter(r, CSN_STR("group"), group);
    rc = read_group(r, group, &e->group);
    e->has_group = true;
    leave(r, k);
  }
  return rc == 0 ? read_permissions(r, v, e) : rc;
}

static int
read_entry(reader *r, const csn_json *v, csn_str parent, csn_entry *e)
{
  int rc = need_kind(r, v, CSN_JSON_OBJECT);
  csn_str type = {0};
  if (rc == 0)
    rc = make_path(r, parent, v->key, e);
  if (rc == 0)
    rc = need_str(r, v, "type", &type);
  if (rc < 0)
    return rc;
  size_t kind = 0;
  while (kind < CSN_COUNT(csn_entry_words) && !csn_str_eq(type, csn_cstr(csn_entry_words[kind])))
    kind++;
  if (kind == CSN_COUNT(csn_entry_words)) {
    enter(r, CSN_STR("type"), csn_json_get(v, "type"));
    return fail_here(r, CSN_E_UNSUPPORTED,
                     "\"%.60s\" is not supported; supported are dir, file, local_file, local_dir, "
                     "git_repo",
                     type.p);
  }
  e->kind = (enum csn_entry_kind)kind;
  e->line = r->line;
  e->where = keep(r, csn_buf_str(&r->path));
  rc = read_common(r, v, e);
  if (rc < 0)
    return rc;
  switch (e->kind) {
  case CSN_ENTRY_FILE:
    return read_content(r, v, e);
  case CSN_ENTRY_LOCAL_FILE:
    e->has_src = true;
    return need_str(r, v, "src", &e->src);
  case CSN_ENTRY_LOCAL_DIR:
    return get_str(r, v, "src", &e->src, &e->has_src);
  case CSN_ENTRY_GIT_REPO:
    return read_git(r, v, e);
  case CSN_ENTRY_DIR:
  default: {
    const csn_json *children = csn_json_get(v, "children");
    if (is_null(children))
      return 0;
    mark k = enter(r, CSN_STR("children"), children);
    rc = read_entries(r, children, e->path, &e->child);
    if (rc == 0)
      leave(r, k);
    return rc;
  }
  }
}

static int
read_entries(reader *r, const csn_json *obj, csn_str parent, csn_entry **out)
{
  int rc = need_kind(r, obj, CSN_JSON_OBJECT);
  if (rc < 0)
    return rc;
  csn_entry **link = out;
  csn_json_each (v, obj) {
    csn_entry *e = room_for(r, 0, sizeof *e);
    if (r->is_full)
      break;
    mark k = enter(r, v->key, v);
    e->key = keep(r, v->key);
    rc = read_entry(r, v, parent, e);
    if (rc < 0)
      return rc;
    leave(r, k);
    if (r->n_all == CSN_MANIFEST_FILES_MAX)
      return fail_here(r, CSN_E_LIMIT, "more than %d entries", CSN_MANIFEST_FILES_MAX);
    if (r->n_all == r->room) {
      r->room = r->room ? r->room * 2 : 64;
      r->all = csn_realloc(r->all, r->room, sizeof *r->all);
    }
    r->all[r->n_all++] = e;
    *link = e;
    link = &e->next;
  }
  return 0;
}

/* By components: a folder comes right before what it contains. */
static int
by_path(const void *a, const void *b)
{
  const csn_entry *x = *(csn_entry *const *)a, *y = *(csn_entry *const *)b;
  size_t n = x->path.n < y->path.n ? x->path.n : y->path.n, i = 0;
  while (i < n && x->path.p[i] == y->path.p[i])
    i++;
  if (i == n)
    return x->path.n < y->path.n ? -1 : x->path.n > y->path.n;
  unsigned c = (unsigned char)x->path.p[i], d = (unsigned char)y->path.p[i];
  return c == '/' ? -1 : d == '/' ? 1 : c < d ? -1 : 1;
}

static bool
contains(const csn_entry *up, const csn_entry *e)
{
  /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a longer path has bytes */
  return e->path.n > up->path.n && e->path.p[up->path.n] == '/' &&
         memcmp(e->path.p, up->path.p, up->path.n) == 0;
}

static int
check_overlaps(reader *r)
{
  csn_manifest *m = r->m;
  csn_entry **own = m->sorted = room_for(r, r->n_all, sizeof *own);
  if (r->is_full || !r->n_all)
    return 0;
  memcpy(own, r->all, r->n_all * sizeof *own);
  m->n_sorted = r->n_all;
  qsort(own, m->n_sorted, sizeof *own, by_path);
  const csn_entry *up[CSN_MANIFEST_DEPTH + 1]; /* entries that contain the current one */
  size_t depth = 0;
  for (size_t i = 0; i < m->n_sorted; i++) {
    const csn_entry *e = own[i], *other = i ? own[i - 1] : NULL;
    bool is_same = other && csn_str_eq(other->path, e->path);
    while (depth && !contains(up[depth - 1], e))
      depth--;
    if (!is_same && depth && !csn_entry_is_dir(up[depth - 1]))
      other = up[depth - 1];
    else if (!is_same)
      other = NULL;
    if (other) {
      leave(r, (mark){0, e->line});
      csn_buf_add(&r->path, e->where);
      return fail_here(r, CSN_E_CONFLICT, "%s %.150s%s",
                       is_same ? "the same place as" : "lies inside", other->where.p,
                       is_same ? "" : ", which is a file");
    }
    up[depth++] = e;
  }
  return 0;
}

static int
read_env_value(reader *r, const csn_json *v, csn_env *e, bool may_wrap)
{
  static const char *const plain[] = {"type", "value"};
  static const char *const wrapped[] = {"description", "ephemeral", "value"};
  if (v->kind != CSN_JSON_OBJECT) {
    if (v->kind != CSN_JSON_STRING)
      return fail_here(r, CSN_E_INVALID, "expected a string: put it in quotes");
    if (memchr(v->text.p ? v->text.p : "", '\0', v->text.n))
      return fail_here(r, CSN_E_INVALID, "a NUL byte is not allowed here");
    e->value = keep(r, v->text);
    return 0;
  }
  const csn_json *type = csn_json_get(v, "type"), *value = csn_json_get(v, "value");
  if (!type && may_wrap && value && value->kind != CSN_JSON_STRING) {
    e->is_wrapped = true;
    int rc = CHECK_KEYS(r, v, wrapped);
    if (rc == 0)
      rc = get_str(r, v, "description", &e->description, &e->has_description);
    if (rc == 0)
      rc = get_bool(r, v, "ephemeral", &e->is_ephemeral);
    if (rc < 0)
      return rc;
    mark k = enter(r, CSN_STR("value"), value);
    rc = need_kind(r, value, CSN_JSON_OBJECT);
    if (rc == 0)
      rc = read_env_value(r, value, e, false);
    if (rc == 0)
      leave(r, k);
    return rc;
  }
  e->shape = type ? CSN_ENV_TYPED : CSN_ENV_SHORT;
  if (type && !(type->kind == CSN_JSON_STRING && csn_str_eq(type->text, CSN_STR("str"))))
    return fail_here(r, CSN_E_UNSUPPORTED, "only values of the type \"str\" are supported");
  int rc = CHECK_KEYS(r, v, plain);
  return rc == 0 ? need_str(r, v, "value", &e->value) : rc;
}

static int
read_environment(reader *r, const csn_json *top)
{
  static const char *const keys[] = {"value"};
  csn_manifest *m = r->m;
  const csn_json *env = csn_json_get(top, "environment");
  size_t n = 0;
  if (!is_null(env)) {
    mark k = enter(r, CSN_STR("environment"), env);
    int rc = need_kind(r, env, CSN_JSON_OBJECT);
    if (rc == 0)
      rc = CHECK_KEYS(r, env, keys);
    if (rc < 0)
      return rc;
    const csn_json *value = csn_json_get(env, "value");
    mark k2 = enter(r, CSN_STR("value"), value);
    if (!is_null(value) && (rc = need_kind(r, value, CSN_JSON_OBJECT)) < 0)
      return rc;
    n = is_null(value) ? 0 : value->n;
    m->env = room_for(r, n, sizeof *m->env);
    csn_json_each (v, n ? value : NULL) {
      if (r->is_full)
        break;
      mark at = enter(r, v->key, v);
      csn_env *e = &m->env[m->n_env++];
      if (v->key.n == 0 || memchr(v->key.p, '=', v->key.n) || memchr(v->key.p, '\0', v->key.n))
        return fail_here(r, CSN_E_INVALID, "not a usable name of a variable");
      e->name = keep(r, v->key);
      rc = read_env_value(r, v, e, true);
      if (rc < 0)
        return rc;
      leave(r, at);
    }
    leave(r, k2);
    leave(r, k);
  }
  m->environment = room_for(r, n, sizeof *m->environment);
  for (size_t i = 0; !r->is_full && i < m->n_env; i++) {
    csn_str s = csn_arena_printf(r->a, "%s=%s", m->env[i].name.p, m->env[i].value.p);
    r->is_full = !s.p;
    m->environment[i] = s.p;
  }
  return 0;
}

static bool
is_clean_absolute(csn_str p)
{
  if (p.n < 2 || p.p[0] != '/' || p.p[1] == '/' || p.p[p.n - 1] == '/')
    return false;
  return csn_str_find(p, CSN_STR("//"), 0) == SIZE_MAX &&
         csn_str_find(p, CSN_STR("/../"), 0) == SIZE_MAX &&
         csn_str_find(p, CSN_STR("/./"), 0) == SIZE_MAX && !csn_str_ends(p, CSN_STR("/..")) &&
         !csn_str_ends(p, CSN_STR("/."));
}

static int
read_grants(reader *r, const csn_json *top)
{
  static const char *const keys[] = {"path", "read_only", "description", "host_path"};
  const csn_json *list = csn_json_get(top, "extra_path_grants");
  if (is_null(list))
    return 0;
  mark k = enter(r, CSN_STR("extra_path_grants"), list);
  int rc = need_kind(r, list, CSN_JSON_ARRAY);
  if (rc < 0)
    return rc;
  r->m->grants = room_for(r, list->n, sizeof *r->m->grants);
  csn_json_each (v, list) {
    if (r->is_full)
      break;
    char nr[24];
    snprintf(nr, sizeof nr, "%zu", r->m->n_grants);
    mark at = enter(r, csn_cstr(nr), v);
    csn_grant *g = &r->m->grants[r->m->n_grants++];
    rc = need_kind(r, v, CSN_JSON_OBJECT);
    if (rc == 0)
      rc = CHECK_KEYS(r, v, keys);
    if (rc == 0)
      rc = need_str(r, v, "path", &g->path);
    if (rc == 0)
      rc = get_bool(r, v, "read_only", &g->is_read_only);
    if (rc == 0)
      rc = get_str(r, v, "description", &g->description, &g->has_description);
    if (rc == 0)
      rc = get_str(r, v, "host_path", &g->host_path, &g->has_host_path);
    if (rc < 0)
      return rc;
    if (!is_clean_absolute(g->path) || (g->has_host_path && !is_clean_absolute(g->host_path)))
      return fail_here(r, CSN_E_INVALID,
                       "expected an absolute path without \".\", \"..\" and \"//\", and not \"/\"");
    leave(r, at);
  }
  leave(r, k);
  return 0;
}

static int
read_allowlist(reader *r, const csn_json *top)
{
  csn_manifest *m = r->m;
  const csn_json *list = csn_json_get(top, "remote_mount_command_allowlist");
  if (!list) {
    m->allowlist = room_for(r, CSN_COUNT(default_allowlist), sizeof *m->allowlist);
    for (size_t i = 0; !r->is_full && i < CSN_COUNT(default_allowlist); i++)
      m->allowlist[m->n_allowlist++] = csn_cstr(default_allowlist[i]);
    return 0;
  }
  mark k = enter(r, CSN_STR("remote_mount_command_allowlist"), list);
  int rc = need_kind(r, list, CSN_JSON_ARRAY);
  if (rc < 0)
    return rc;
  m->allowlist = room_for(r, list->n, sizeof *m->allowlist);
  csn_json_each (v, list) {
    if (r->is_full)
      break;
    rc = need_kind(r, v, CSN_JSON_STRING);
    if (rc < 0)
      return rc;
    m->allowlist[m->n_allowlist++] = keep(r, v->text);
  }
  leave(r, k);
  return 0;
}

static int
read_top(reader *r, const csn_json *v)
{
  static const char *const keys[] = {
      "version", "root",   "entries",           "environment",
      "users",   "groups", "extra_path_grants", "remote_mount_command_allowlist"};
  csn_manifest *m = r->m;
  int rc = need_kind(r, v, CSN_JSON_OBJECT);
  if (rc == 0)
    rc = CHECK_KEYS(r, v, keys);
  if (rc == 0 && csn_json_get(v, "version") && csn_json_int(v, "version", 0) != 1)
    return fail_here(r, CSN_E_UNSUPPORTED, "version: only version 1 is known");
  m->root = CSN_STR("/workspace");
  if (rc == 0)
    rc = get_str(r, v, "root", &m->root, NULL);
  if (rc == 0 && !is_clean_absolute(m->root))
    return fail_here(r, CSN_E_INVALID, "root: expected an absolute path such as /workspace");
  if (rc == 0)
    rc = read_environment(r, v);
  if (rc == 0)
    rc = read_groups(r, v, "users", &m->users, &m->n_users, false);
  if (rc == 0)
    rc = read_groups(r, v, "groups", &m->groups, &m->n_groups, true);
  if (rc == 0)
    rc = read_grants(r, v);
  if (rc == 0)
    rc = read_allowlist(r, v);
  const csn_json *entries = csn_json_get(v, "entries");
  if (rc == 0 && !is_null(entries)) {
    mark k = enter(r, CSN_STR("entries"), entries);
    rc = read_entries(r, entries, (csn_str){0}, &m->entries);
    if (rc == 0)
      leave(r, k);
  }
  return rc == 0 ? check_overlaps(r) : rc;
}

int
csn_manifest_from_json(csn_arena *a, const csn_json *v, csn_manifest **out, csn_err *err)
{
  reader r = {.a = a, .err = err, .path = CSN_BUF(4096), .m = csn_arena_alloc(a, sizeof *r.m)};
  if (!r.m)
    return csn_fail(err, CSN_E_LIMIT, "the manifest is too large");
  csn_buf_room(&r.path, 1)[0] = '\0';
  int rc = read_top(&r, v);
  free(r.all);
  csn_buf_fini(&r.path);
  if (rc == 0 && r.is_full)
    rc = csn_fail(err, CSN_E_LIMIT, "the manifest is too large");
  if (rc < 0)
    return rc;
  *out = r.m;
  return 0;
}
