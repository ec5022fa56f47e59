/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest.c - the manifest's JSON (or YAML-made) tree into entries.
 *
 * Everything is checked before anything is made: kinds (manifest_kinds.c),
 * names, paths, and that no two entries claim the same place
 * (manifest_place.c).
 */
#include "sandbox/manifest_read.h"
#include "sandbox/snapshots.h"

/* "-rwxr-x---", as ls(1) shows it: a mark of further attributes may follow; s and
 * t say that there is an x below them, S and T that there is none. */
static int
read_listing(csn_reader *r, csn_str s, csn_entry *e)
{
  uint8_t *const to[] = {&e->owner, &e->group_bits, &e->other};
  bool is_good = s.n == 10 || (s.n == 11 && strchr("@+.", s.p[10]));
  is_good = is_good && s.p[0] == (csn_entry_is_dir(e) ? 'd' : '-');
  for (size_t i = 0; is_good && i < 3; i++) {
    const char *p = s.p + 1 + 3 * i;
    bool runs = strchr("xst", p[2]), rests = strchr("-ST", p[2]);
    is_good = (p[0] == 'r' || p[0] == '-') && (p[1] == 'w' || p[1] == '-') && (runs || rests);
    *to[i] = (uint8_t)((p[0] == 'r') * 4 + (p[1] == 'w') * 2 + runs);
  }
  if (!is_good)
    return csn_mr_fail(r, CSN_E_INVALID,
                       "expected {owner, group, other} or a text such as %crwxr-x---",
                       csn_entry_is_dir(e) ? 'd' : '-');
  e->has_mode = csn_entry_mode(e) != 0755;
  return 0;
}

static int
read_permissions(csn_reader *r, const csn_json *obj, csn_entry *e)
{
  static const char *const keys[] = {"owner", "group", "other", "directory"};
  e->owner = 7, e->group_bits = 5, e->other = 5;
  const csn_json *v = csn_json_get(obj, "permissions");
  if (csn_mr_is_null(v))
    return 0;
  csn_mark k = csn_mr_enter(r, CSN_STR("permissions"), v);
  if (v->kind == CSN_JSON_STRING) {
    int said = read_listing(r, v->text, e);
    if (said == 0)
      csn_mr_leave(r, k);
    return said;
  }
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
  if (e->kind == CSN_ENTRY_MOUNT) /* the one who serves it decides */
    bits[0] = 7, bits[1] = bits[2] = 5;
  e->owner = bits[0], e->group_bits = bits[1], e->other = bits[2];
  e->has_mode = csn_entry_mode(e) != 0755;
  csn_mr_leave(r, k);
  return 0;
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
check_keys(csn_reader *r, const csn_json *v, const csn_entry *e, enum csn_mount_kind mount)
{
  static const char *const common[] = {"type",  "description", "ephemeral",
                                       "group", "is_dir",      "permissions"};
  const char *known[CSN_COUNT(common) + CSN_ENTRY_KEYS_MAX];
  memcpy(known, common, sizeof common);
  size_t n = CSN_COUNT(common) + csn_entry_kind_keys(e, mount, known + CSN_COUNT(common));
  return csn_mr_check_keys(r, v, known, n);
}

static int
read_common(csn_reader *r, const csn_json *v, csn_entry *e)
{
  bool is_dir = csn_entry_is_dir(e);
  e->is_ephemeral = e->kind == CSN_ENTRY_MOUNT;
  int rc = 0;
  if (rc == 0)
    rc = csn_mr_get_str(r, v, "description", &e->description, &e->has_description);
  if (rc == 0)
    rc = csn_mr_get_bool(r, v, "ephemeral", &e->is_ephemeral);
  if (rc == 0)
    rc = csn_mr_get_bool(r, v, "is_dir", &is_dir);
  if (rc == 0 && is_dir != csn_entry_is_dir(e))
    return csn_mr_fail(r, CSN_E_INVALID, "is_dir: a %s is %s folder", csn_entry_word(e),
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
  enum csn_mount_kind mount = CSN_MOUNT_KINDS;
  if (!csn_entry_kind_find(type, e, &mount)) {
    csn_mr_enter(r, CSN_STR("type"), csn_json_get(v, "type"));
    return csn_mr_fail(r, CSN_E_UNSUPPORTED,
                       "\"%.60s\" is not supported; supported are dir, file, local_file, "
                       "local_dir, git_repo, archive, url and the mounts s3_mount, r2_mount, "
                       "gcs_mount, azure_blob_mount, box_mount, s3_files_mount",
                       type.p);
  }
  e->line = r->line;
  e->where = csn_mr_keep(r, csn_buf_str(&r->path));
  rc = check_keys(r, v, e, mount);
  if (rc == 0)
    rc = csn_entry_kind_read(r, v, e, mount);
  if (rc == 0 && !r->is_full)
    rc = read_common(r, v, e);
  const csn_json *children = e->kind == CSN_ENTRY_DIR ? csn_json_get(v, "children") : NULL;
  if (rc < 0 || csn_mr_is_null(children))
    return rc;
  csn_mark k = csn_mr_enter(r, CSN_STR("children"), children);
  rc = read_entries(r, children, e->path, &e->child);
  if (rc == 0)
    csn_mr_leave(r, k);
  return rc;
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
  return rc == 0 ? csn_mr_places(r) : rc;
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
