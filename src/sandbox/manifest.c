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
#include "core/hash.h"
#include "sandbox/manifest_read.h"
#include "sandbox/snapshots.h"

const char *const csn_entry_words[] = {"dir", "file", "local_file", "local_dir", "git_repo"};

static int
read_permissions(csn_reader *r, const csn_json *obj, csn_entry *e)
{
  static const char *const keys[] = {"owner", "group", "other", "directory"};
  e->owner = 7, e->group_bits = 5, e->other = 5;
  const csn_json *v = csn_json_get(obj, "permissions");
  if (csn_mr_is_null(v))
    return 0;
  csn_mark k = csn_mr_enter(r, CSN_STR("permissions"), v);
  int rc = csn_mr_kind(r, v, CSN_JSON_OBJECT);
  if (rc == 0)
    rc = CSN_MR_CHECK_KEYS(r, v, keys);
  uint8_t bits[3] = {7, 0, 0};
  for (size_t i = 0; rc == 0 && i < 3; i++) {
    const csn_json *b = csn_json_get(v, keys[i]);
    int64_t n = bits[i];
    if (!csn_mr_is_null(b) && (!csn_json_to_int(b, &n) || n < 0 || n > 7))
      rc = csn_mr_fail(r, CSN_E_INVALID, "%s: expected 0 to 7 (read 4, write 2, execute 1)",
                       keys[i]);
    bits[i] = (uint8_t)n;
  }
  bool directory = csn_entry_is_dir(e);
  if (rc == 0)
    rc = csn_mr_get_bool(r, v, "directory", &directory);
  if (rc < 0)
    return rc;
  e->owner = bits[0], e->group_bits = bits[1], e->other = bits[2];
  e->has_mode = csn_entry_mode(e) != 0755;
  csn_mr_leave(r, k);
  return 0;
}

static const char base64_note[] = "content_base64";

static int
read_content(csn_reader *r, const csn_json *obj, csn_entry *e)
{
  bool has = false, has64 = false;
  csn_str coded = {0};
  int rc = csn_mr_get_str(r, obj, "content", &e->content, &has);
  if (rc == 0)
    rc = csn_mr_get_str(r, obj, base64_note, &coded, &has64);
  if (rc < 0)
    return rc;
  if (has == has64)
    return csn_mr_fail(r, CSN_E_INVALID, "needs either \"content\" (text) or \"%s\"", base64_note);
  if (!has64)
    return 0;
  csn_auto(csn_buf_finip) csn_buf raw = CSN_BUF(coded.n + 4);
  csn_mark k = csn_mr_enter(r, csn_cstr(base64_note), csn_json_get(obj, base64_note));
  if (!csn_base64_decode(&raw, coded))
    return csn_mr_fail(r, CSN_E_INVALID, "not base64 (standard alphabet, with padding)");
  e->content = csn_mr_keep(r, csn_buf_str(&raw));
  csn_mr_leave(r, k);
  return 0;
}

static int
check_git(csn_reader *r, const char *key, const char *why)
{
  if (!why)
    return 0;
  csn_mr_enter(r, csn_cstr(key), NULL);
  return csn_mr_fail(r, CSN_E_INVALID, "%s", why);
}

static int
read_git(csn_reader *r, const csn_json *obj, csn_entry *e)
{
  e->host = CSN_STR("github.com");
  int rc = csn_mr_get_str(r, obj, "host", &e->host, NULL);
  if (rc == 0)
    rc = csn_mr_need_str(r, obj, "repo", &e->repo);
  if (rc == 0)
    rc = csn_mr_need_str(r, obj, "ref", &e->ref);
  if (rc == 0)
    rc = csn_mr_get_str(r, obj, "subpath", &e->subpath, &e->has_subpath);
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
make_path(csn_reader *r, csn_str parent, csn_str key, csn_entry *e)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(4096);
  csn_buf_add(&b, parent);
  size_t depth = 0;
  if (key.n > 1 && key.p[1] == ':' && ((key.p[0] | 32) >= 'a' && (key.p[0] | 32) <= 'z'))
    return csn_mr_fail(r, CSN_E_INVALID, "an absolute path is not allowed as a name (absolute)");
  for (size_t i = 0; i <= key.n;) {
    size_t end = i;
    while (end < key.n && key.p[end] != '/' && key.p[end] != '\\')
      end++;
    csn_str part = csn_strn(key.p + i, end - i);
    if (i == 0 && part.n == 0 && key.n)
      return csn_mr_fail(r, CSN_E_INVALID, "an absolute path is not allowed as a name (absolute)");
    i = end + 1;
    if (part.n == 0 || csn_str_eq(part, CSN_STR(".")))
      continue;
    if (csn_str_eq(part, CSN_STR("..")))
      return csn_mr_fail(r, CSN_E_INVALID, "\"..\" is not allowed in a name (escape_root)");
    if (part.n > 255 || memchr(part.p, '\0', part.n))
      return csn_mr_fail(r, CSN_E_INVALID,
                         "a part of the name is longer than 255 bytes or holds NUL");
    if (b.n)
      csn_buf_addc(&b, '/');
    csn_buf_add(&b, part);
  }
  for (size_t i = 0; i < b.n; i++)
    depth += b.p[i] == '/';
  if (b.n == parent.n)
    return csn_mr_fail(r, CSN_E_INVALID, "the name is empty");
  if (b.over || depth >= CSN_MANIFEST_DEPTH)
    return csn_mr_fail(r, CSN_E_LIMIT, "the path is longer than 4096 bytes or %d folders",
                       CSN_MANIFEST_DEPTH);
  e->path = csn_mr_keep(r, csn_buf_str(&b));
  return 0;
}

static int read_entries(csn_reader *r, const csn_json *obj, csn_str parent, csn_entry **out);

static int
read_common(csn_reader *r, const csn_json *v, csn_entry *e)
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
  int rc = csn_mr_check_keys(r, v, known, n);
  if (rc == 0)
    rc = csn_mr_get_str(r, v, "description", &e->description, &e->has_description);
  if (rc == 0)
    rc = csn_mr_get_bool(r, v, "ephemeral", &e->is_ephemeral);
  if (rc == 0)
    rc = csn_mr_get_bool(r, v, "is_dir", &is_dir);
  if (rc == 0 && is_dir != csn_entry_is_dir(e))
    return csn_mr_fail(r, CSN_E_INVALID, "is_dir: a %s is %s folder", csn_entry_words[e->kind],
                       is_dir ? "no" : "a");
  const csn_json *group = csn_json_get(v, "group");
  if (rc == 0 && !csn_mr_is_null(group)) {
    csn_mark k = csn_mr_enter(r, CSN_STR("group"), group);
    rc = csn_mr_group(r, group, &e->group);
    e->has_group = true;
    csn_mr_leave(r, k);
  }
  return rc == 0 ? read_permissions(r, v, e) : rc;
}

static int
read_entry(csn_reader *r, const csn_json *v, csn_str parent, csn_entry *e)
{
  int rc = csn_mr_kind(r, v, CSN_JSON_OBJECT);
  csn_str type = {0};
  if (rc == 0)
    rc = make_path(r, parent, v->key, e);
  if (rc == 0)
    rc = csn_mr_need_str(r, v, "type", &type);
  if (rc < 0)
    return rc;
  size_t kind = 0;
  while (kind < CSN_COUNT(csn_entry_words) && !csn_str_eq(type, csn_cstr(csn_entry_words[kind])))
    kind++;
  if (kind == CSN_COUNT(csn_entry_words)) {
    csn_mr_enter(r, CSN_STR("type"), csn_json_get(v, "type"));
    return csn_mr_fail(
        r, CSN_E_UNSUPPORTED,
        "\"%.60s\" is not supported; supported are dir, file, local_file, local_dir, "
        "git_repo",
        type.p);
  }
  e->kind = (enum csn_entry_kind)kind;
  e->line = r->line;
  e->where = csn_mr_keep(r, csn_buf_str(&r->path));
  rc = read_common(r, v, e);
  if (rc < 0)
    return rc;
  switch (e->kind) {
  case CSN_ENTRY_FILE:
    return read_content(r, v, e);
  case CSN_ENTRY_LOCAL_FILE:
    e->has_src = true;
    return csn_mr_need_str(r, v, "src", &e->src);
  case CSN_ENTRY_LOCAL_DIR:
    return csn_mr_get_str(r, v, "src", &e->src, &e->has_src);
  case CSN_ENTRY_GIT_REPO:
    return read_git(r, v, e);
  case CSN_ENTRY_DIR:
  default: {
    const csn_json *children = csn_json_get(v, "children");
    if (csn_mr_is_null(children))
      return 0;
    csn_mark k = csn_mr_enter(r, CSN_STR("children"), children);
    rc = read_entries(r, children, e->path, &e->child);
    if (rc == 0)
      csn_mr_leave(r, k);
    return rc;
  }
  }
}

static int
read_entries(csn_reader *r, const csn_json *obj, csn_str parent, csn_entry **out)
{
  int rc = csn_mr_kind(r, obj, CSN_JSON_OBJECT);
  if (rc < 0)
    return rc;
  csn_entry **link = out;
  csn_json_each (v, obj) {
    csn_entry *e = csn_mr_room(r, 0, sizeof *e);
    if (r->is_full)
      break;
    csn_mark k = csn_mr_enter(r, v->key, v);
    e->key = csn_mr_keep(r, v->key);
    rc = read_entry(r, v, parent, e);
    if (rc < 0)
      return rc;
    csn_mr_leave(r, k);
    if (r->n_all == CSN_MANIFEST_FILES_MAX)
      return csn_mr_fail(r, CSN_E_LIMIT, "more than %d entries", CSN_MANIFEST_FILES_MAX);
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
check_overlaps(csn_reader *r)
{
  csn_manifest *m = r->m;
  csn_entry **own = m->sorted = csn_mr_room(r, r->n_all, sizeof *own);
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
      csn_mr_leave(r, (csn_mark){0, e->line});
      csn_buf_add(&r->path, e->where);
      return csn_mr_fail(r, CSN_E_CONFLICT, "%s %.150s%s",
                         is_same ? "the same place as" : "lies inside", other->where.p,
                         is_same ? "" : ", which is a file");
    }
    up[depth++] = e;
  }
  return 0;
}

static int
read_top(csn_reader *r, const csn_json *v)
{
  static const char *const keys[] = {
      "version", "root",   "entries",           "environment",
      "users",   "groups", "extra_path_grants", "remote_mount_command_allowlist"};
  csn_manifest *m = r->m;
  int rc = csn_mr_kind(r, v, CSN_JSON_OBJECT);
  if (rc == 0)
    rc = CSN_MR_CHECK_KEYS(r, v, keys);
  if (rc == 0 && csn_json_get(v, "version") && csn_json_int(v, "version", 0) != 1)
    return csn_mr_fail(r, CSN_E_UNSUPPORTED, "version: only version 1 is known");
  m->root = CSN_STR("/workspace");
  if (rc == 0)
    rc = csn_mr_get_str(r, v, "root", &m->root, NULL);
  if (rc == 0 && !csn_mr_is_clean_absolute(m->root))
    return csn_mr_fail(r, CSN_E_INVALID, "root: expected an absolute path such as /workspace");
  if (rc == 0)
    rc = csn_mr_environment(r, v);
  if (rc == 0)
    rc = csn_mr_groups(r, v, "users", &m->users, &m->n_users, false);
  if (rc == 0)
    rc = csn_mr_groups(r, v, "groups", &m->groups, &m->n_groups, true);
  if (rc == 0)
    rc = csn_mr_grants(r, v);
  if (rc == 0)
    rc = csn_mr_allowlist(r, v);
  const csn_json *entries = csn_json_get(v, "entries");
  if (rc == 0 && !csn_mr_is_null(entries)) {
    csn_mark k = csn_mr_enter(r, CSN_STR("entries"), entries);
    rc = read_entries(r, entries, (csn_str){0}, &m->entries);
    if (rc == 0)
      csn_mr_leave(r, k);
  }
  return rc == 0 ? check_overlaps(r) : rc;
}

const char *const *
csn_manifest_ephemeral(const csn_manifest *m, csn_arena *a)
{
  const char **list = csn_arena_alloc(a, (m->n_sorted + 1) * sizeof *list);
  size_t n = 0;
  for (size_t i = 0; i < m->n_sorted; i++)
    if (m->sorted[i]->is_ephemeral)
      list[n++] = m->sorted[i]->path.p;
  return list;
}

int
csn_manifest_from_json(csn_arena *a, const csn_json *v, csn_manifest **out, csn_err *err)
{
  csn_reader r = {.a = a, .err = err, .path = CSN_BUF(4096), .m = csn_arena_alloc(a, sizeof *r.m)};
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
