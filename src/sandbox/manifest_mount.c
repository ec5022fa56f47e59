/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest_mount.c - mount entries: read, checked, written; see
 * manifest_mount.h.
 *
 * What kinds, patterns and drivers there are and which go together is in the
 * tables below, defaults as the JSON that is written for them.  Strategies of
 * hosted back-ends are their own business: they are kept as they came. */
#include "sandbox/manifest_mount.h"

#include "core/fd.h"
#include "sandbox/manifest_read.h"
#include "sandbox/mount_flags.h"

enum shape { TEXT, SECRET, TRUTH, WHOLE, TEXTS, OPTIONS, OBJECT };

struct field {
  const char *key;
  enum shape shape;
  const char *otherwise; /* the default as JSON; NULL: required */
};

#define NULLABLE(key)                                                                              \
  {                                                                                                \
    key, TEXT, "null"                                                                              \
  }
/* Text, or where it is found. */
#define HIDDEN(key)                                                                                \
  {                                                                                                \
    key, SECRET, "null"                                                                            \
  }
#define REQUIRED(key)                                                                              \
  {                                                                                                \
    key, TEXT, NULL                                                                                \
  }

static const struct kind {
  const char *word;
  unsigned patterns; /* 1 << enum csn_mount_pattern */
  const char *drivers[3];
  struct field fields[CSN_MOUNT_FIELDS_MAX];
} kinds[CSN_MOUNT_KINDS] = {
    [CSN_MOUNT_S3] = {"s3_mount",
                      1 << CSN_MOUNT_RCLONE | 1 << CSN_MOUNT_MOUNTPOINT,
                      {"mountpoint", "rclone"},
                      {REQUIRED("bucket"),
                       HIDDEN("access_key_id"),
                       HIDDEN("secret_access_key"),
                       HIDDEN("session_token"),
                       NULLABLE("prefix"),
                       NULLABLE("region"),
                       NULLABLE("endpoint_url"),
                       {"s3_provider", TEXT, "\"AWS\""}}},
    [CSN_MOUNT_R2] = {"r2_mount",
                      1 << CSN_MOUNT_RCLONE,
                      {"rclone"},
                      {REQUIRED("bucket"), REQUIRED("account_id"), HIDDEN("access_key_id"),
                       HIDDEN("secret_access_key"), NULLABLE("custom_domain")}},
    [CSN_MOUNT_GCS] = {"gcs_mount",
                       1 << CSN_MOUNT_RCLONE | 1 << CSN_MOUNT_MOUNTPOINT,
                       {"mountpoint", "rclone"},
                       {REQUIRED("bucket"), HIDDEN("access_id"), HIDDEN("secret_access_key"),
                        NULLABLE("prefix"), NULLABLE("region"), NULLABLE("endpoint_url"),
                        NULLABLE("service_account_file"), HIDDEN("service_account_credentials"),
                        HIDDEN("access_token")}},
    [CSN_MOUNT_AZURE_BLOB] = {"azure_blob_mount",
                              1 << CSN_MOUNT_RCLONE | 1 << CSN_MOUNT_FUSE,
                              {"rclone"},
                              {REQUIRED("account"), REQUIRED("container"), NULLABLE("endpoint"),
                               NULLABLE("identity_client_id"), HIDDEN("account_key")}},
    [CSN_MOUNT_BOX] = {"box_mount",
                       1 << CSN_MOUNT_RCLONE,
                       {"rclone"},
                       {NULLABLE("path"),
                        NULLABLE("client_id"),
                        HIDDEN("client_secret"),
                        HIDDEN("access_token"),
                        HIDDEN("token"),
                        NULLABLE("box_config_file"),
                        HIDDEN("config_credentials"),
                        {"box_sub_type", TEXT, "\"user\""},
                        NULLABLE("root_folder_id"),
                        NULLABLE("impersonate"),
                        NULLABLE("owned_by")}},
    [CSN_MOUNT_S3_FILES] = {"s3_files_mount",
                            1 << CSN_MOUNT_S3FILES,
                            {NULL},
                            {REQUIRED("file_system_id"),
                             NULLABLE("subpath"),
                             NULLABLE("mount_target_ip"),
                             NULLABLE("access_point"),
                             NULLABLE("region"),
                             {"extra_options", OPTIONS, "{}"}}},
};

static const struct pattern {
  const char *word;
  struct field fields[CSN_MOUNT_FIELDS_MAX];
  struct field options[6]; /* of the field `options` */
} patterns[] = {
    [CSN_MOUNT_RCLONE] = {"rclone",
                          {{"mode", TEXT, "\"fuse\""},
                           NULLABLE("remote_name"),
                           {"extra_args", TEXTS, "[]"},
                           NULLABLE("nfs_addr"),
                           {"nfs_mount_options", TEXTS, "null"},
                           NULLABLE("config_file_path")},
                          {{0}}},
    [CSN_MOUNT_MOUNTPOINT] = {"mountpoint",
                              {{"options", OBJECT, NULL}},
                              {NULLABLE("prefix"), NULLABLE("region"), NULLABLE("endpoint_url")}},
    [CSN_MOUNT_FUSE] = {"fuse",
                        {{"allow_other", TRUTH, "true"},
                         {"log_type", TEXT, "\"syslog\""},
                         {"log_level", TEXT, "\"log_debug\""},
                         {"cache_type", TEXT, "\"block_cache\""},
                         NULLABLE("cache_path"),
                         {"cache_size_mb", WHOLE, "null"},
                         {"block_cache_block_size_mb", WHOLE, "16"},
                         {"block_cache_disk_timeout_sec", WHOLE, "3600"},
                         {"file_cache_timeout_sec", WHOLE, "120"},
                         {"file_cache_max_size_mb", WHOLE, "null"},
                         {"attr_cache_timeout_sec", WHOLE, "null"},
                         {"entry_cache_timeout_sec", WHOLE, "null"},
                         {"negative_entry_cache_timeout_sec", WHOLE, "null"}},
                        {{0}}},
    [CSN_MOUNT_S3FILES] = {"s3files",
                           {{"options", OBJECT, NULL}},
                           {NULLABLE("mount_target_ip"),
                            NULLABLE("access_point"),
                            NULLABLE("region"),
                            {"extra_options", OPTIONS, "{}"}}},
};

/* ---- asking ---- */

const char *
csn_mount_word(const csn_mount *m)
{
  return kinds[m->kind].word;
}

const csn_json *
csn_mount_value(const csn_mount *m, const char *key)
{
  const struct field *f = kinds[m->kind].fields;
  for (size_t i = 0; i < CSN_MOUNT_FIELDS_MAX && f[i].key; i++)
    if (strcmp(f[i].key, key) == 0)
      return m->fields[i];
  return NULL;
}

csn_str
csn_mount_text(const csn_mount *m, const char *key)
{
  const csn_json *v = csn_mount_value(m, key);
  if (v)
    return v->kind == CSN_JSON_STRING ? v->text : CSN_STR("");
  const struct field *f = kinds[m->kind].fields;
  for (size_t i = 0; i < CSN_MOUNT_FIELDS_MAX && f[i].key; i++)
    if (strcmp(f[i].key, key) == 0 && f[i].otherwise && f[i].otherwise[0] == '"')
      return csn_strn(f[i].otherwise + 1, strlen(f[i].otherwise) - 2);
  return CSN_STR("");
}

const char *
csn_mount_field(const csn_mount *m, size_t i)
{
  return kinds[m->kind].fields[i].key;
}

bool
csn_mount_field_is_secret(const csn_mount *m, size_t i)
{
  const struct field *f = &kinds[m->kind].fields[i];
  return f->key && f->shape == SECRET;
}

bool
csn_mount_find(csn_str word, enum csn_mount_kind *kind)
{
  for (size_t i = 0; i < CSN_MOUNT_KINDS; i++)
    if (csn_str_eq(word, csn_cstr(kinds[i].word))) {
      *kind = (enum csn_mount_kind)i;
      return true;
    }
  return false;
}

size_t
csn_mount_keys(enum csn_mount_kind kind, const char **keys)
{
  size_t n = 0;
  keys[n++] = "mount_path";
  keys[n++] = "read_only";
  keys[n++] = "mount_strategy";
  for (size_t i = 0; i < CSN_MOUNT_FIELDS_MAX && kinds[kind].fields[i].key; i++)
    keys[n++] = kinds[kind].fields[i].key;
  return n;
}

/* ---- reading ---- */

static bool
has_shape(const csn_json *v, enum shape shape)
{
  static const enum csn_json_kind wanted[] = {
      [TEXT] = CSN_JSON_STRING,  [SECRET] = CSN_JSON_STRING, [TRUTH] = CSN_JSON_BOOL,
      [WHOLE] = CSN_JSON_NUMBER, [TEXTS] = CSN_JSON_ARRAY,   [OPTIONS] = CSN_JSON_OBJECT,
      [OBJECT] = CSN_JSON_OBJECT};
  int64_t n;
  if (shape == SECRET && v->kind == CSN_JSON_OBJECT)
    return true;
  if (v->kind != wanted[shape])
    return false;
  if (shape == WHOLE)
    return csn_json_to_int(v, &n) && n >= 0;
  csn_json_each (m, shape == TEXTS || shape == OPTIONS ? v : NULL)
    if (m->kind != CSN_JSON_STRING && (shape == TEXTS || m->kind != CSN_JSON_NULL))
      return false;
  return true;
}

/* Where a value is found, or that a journal has not kept it. */
static int
check_place(csn_reader *r, const csn_json *v)
{
  csn_str env = {0}, file = {0};
  return csn_json_bool(v, "not_kept", false) ? 0 : csn_mr_secret(r, v, "a string", &env, &file);
}

/* A member that the table describes; *out stays NULL for the default. */
static int
read_field(csn_reader *r, const csn_json *obj, const struct field *f, const csn_json **out)
{
  static const char *const names[] = {
      [TEXT] = "a string",           [SECRET] = "a string, {from_env: NAME} or {from_file: PATH}",
      [TRUTH] = "true or false",     [WHOLE] = "a whole number",
      [TEXTS] = "a list of strings", [OPTIONS] = "an object of strings",
      [OBJECT] = "an object"};
  const csn_json *v = csn_json_get(obj, f->key);
  *out = NULL;
  if (!v || (v->kind == CSN_JSON_NULL && f->otherwise && strcmp(f->otherwise, "null") == 0)) {
    if (!v && !f->otherwise && f->shape != OBJECT)
      return csn_mr_fail(r, CSN_E_INVALID, "needs the key \"%s\"", f->key);
    return 0;
  }
  csn_mark k = csn_mr_enter(r, csn_cstr(f->key), v);
  int rc = f->shape == SECRET && v->kind == CSN_JSON_OBJECT ? check_place(r, v) : 0;
  if (rc < 0)
    return rc;
  if (!has_shape(v, f->shape) || (f->shape == TEXT && !f->otherwise && !v->text.n))
    return csn_mr_fail(r, CSN_E_INVALID, "expected %s", names[f->shape]);
  if (v->kind == CSN_JSON_STRING && memchr(v->text.p ? v->text.p : "", '\0', v->text.n))
    return csn_mr_fail(r, CSN_E_INVALID, "a NUL byte is not allowed here");
  rc = csn_mr_keep_json(r, v, out);
  if (rc == 0)
    csn_mr_leave(r, k);
  return rc;
}

static int
check_fields(csn_reader *r, const csn_json *obj, const struct field *f, size_t n)
{
  const csn_json *ignored;
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < n && f[i].key; i++)
    rc = read_field(r, obj, &f[i], &ignored);
  return rc;
}

static int
only_fields(csn_reader *r, const csn_json *obj, const struct field *f, size_t n)
{
  const char *keys[CSN_MOUNT_FIELDS_MAX + 1] = {"type"};
  size_t k = 1;
  for (size_t i = 0; i < n && f[i].key; i++)
    keys[k++] = f[i].key;
  return csn_mr_check_keys(r, obj, keys, k);
}

static int
one_of(csn_reader *r, const csn_json *obj, const char *key, const char *a, const char *b)
{
  const csn_json *v = csn_json_get(obj, key);
  if (csn_mr_is_null(v) || csn_str_eq(v->text, csn_cstr(a)) || csn_str_eq(v->text, csn_cstr(b)))
    return 0;
  csn_mr_enter(r, csn_cstr(key), v);
  return csn_mr_fail(r, CSN_E_INVALID, "expected %s or %s", a, b);
}

static int
bad_pair(csn_reader *r, const csn_mount *m, const char *what, csn_str word)
{
  return csn_mr_fail(r, CSN_E_INVALID, "a %s has no %s \"%.*s\" (mount_config_invalid)",
                     csn_mount_word(m), what, (int)(word.n < 60 ? word.n : 60), word.p);
}

static int
read_pattern(csn_reader *r, const csn_json *v, csn_mount *m)
{
  csn_str word = {0};
  int rc = csn_mr_kind(r, v, CSN_JSON_OBJECT);
  if (rc == 0)
    rc = csn_mr_need_str(r, v, "type", &word);
  for (size_t i = 1; i < CSN_COUNT(patterns); i++)
    if (csn_str_eq(word, csn_cstr(patterns[i].word)))
      m->pattern = (enum csn_mount_pattern)i;
  if (rc == 0 &&
      (m->pattern == CSN_MOUNT_NO_PATTERN || !(kinds[m->kind].patterns & 1u << m->pattern)))
    return bad_pair(r, m, "pattern", word);
  if (rc < 0)
    return rc;
  const struct pattern *p = &patterns[m->pattern];
  rc = only_fields(r, v, p->fields, CSN_COUNT(p->fields));
  if (rc == 0)
    rc = check_fields(r, v, p->fields, CSN_COUNT(p->fields));
  const csn_json *options = csn_json_get(v, "options");
  if (rc == 0 && p->options[0].key && options) {
    csn_mark k = csn_mr_enter(r, CSN_STR("options"), options);
    rc = only_fields(r, options, p->options, CSN_COUNT(p->options));
    if (rc == 0)
      rc = check_fields(r, options, p->options, CSN_COUNT(p->options));
    if (rc == 0)
      csn_mr_leave(r, k);
  }
  if (rc == 0 && m->pattern == CSN_MOUNT_RCLONE)
    rc = one_of(r, v, "mode", "fuse", "nfs");
  if (rc == 0 && m->pattern == CSN_MOUNT_FUSE)
    rc = one_of(r, v, "cache_type", "block_cache", "file_cache");
  csn_str cache = csn_json_str(v, "cache_path", CSN_STR(""));
  csn_auto(csn_buf_finip) csn_buf clean = CSN_BUF(4096);
  if (rc == 0 && m->pattern == CSN_MOUNT_FUSE && cache.n &&
      (cache.p[0] == '/' || !csn_path_add(&clean, cache)))
    return csn_mr_fail(r, CSN_E_INVALID, "cache_path: expected a path in the workspace");
  return rc < 0 ? rc : csn_mr_keep_json(r, v, &m->pattern_json);
}

static int
read_volume(csn_reader *r, const csn_json *v, const csn_mount *m)
{
  static const char *const keys[] = {"type", "driver", "driver_options"};
  static const struct field options = {"driver_options", OPTIONS, "{}"};
  const csn_json *ignored;
  csn_str driver = {0};
  int rc = CSN_MR_CHECK_KEYS(r, v, keys);
  if (rc == 0)
    rc = csn_mr_need_str(r, v, "driver", &driver);
  bool is_known = false;
  for (size_t i = 0; i < 3 && kinds[m->kind].drivers[i]; i++)
    is_known = is_known || csn_str_eq(driver, csn_cstr(kinds[m->kind].drivers[i]));
  if (rc == 0 && !is_known)
    return bad_pair(r, m, "volume driver", driver);
  return rc < 0 ? rc : read_field(r, v, &options, &ignored);
}

static int
read_strategy(csn_reader *r, const csn_json *obj, csn_mount *m)
{
  static const char *const in_container[] = {"type", "pattern"};
  static const char *const hosted[] = {
      "blaxel_cloud_bucket",  "blaxel_drive",        "cloudflare_bucket_mount",
      "daytona_cloud_bucket", "e2b_cloud_bucket",    "modal_cloud_bucket",
      "runloop_cloud_bucket", "vercel_cloud_bucket", NULL};
  const csn_json *v = csn_json_get(obj, "mount_strategy");
  if (!v)
    return csn_mr_fail(r, CSN_E_INVALID, "needs the key \"mount_strategy\"");
  csn_mark k = csn_mr_enter(r, CSN_STR("mount_strategy"), v);
  int rc = csn_mr_kind(r, v, CSN_JSON_OBJECT);
  if (rc == 0)
    rc = csn_mr_need_str(r, v, "type", &m->strategy);
  if (rc < 0)
    return rc;
  if (csn_str_eq(m->strategy, CSN_STR("in_container"))) {
    const csn_json *pattern = csn_json_get(v, "pattern");
    rc = CSN_MR_CHECK_KEYS(r, v, in_container);
    csn_mark at = csn_mr_enter(r, CSN_STR("pattern"), pattern);
    if (rc == 0)
      rc = read_pattern(r, pattern, m);
    if (rc == 0)
      csn_mr_leave(r, at);
  } else if (csn_str_eq(m->strategy, CSN_STR("docker_volume"))) {
    rc = read_volume(r, v, m);
  } else if (!csn_str_is_one_of(m->strategy, hosted)) {
    csn_mr_enter(r, CSN_STR("type"), NULL);
    rc = csn_mr_fail(r, CSN_E_UNSUPPORTED,
                     "\"%.60s\" is not known; there are in_container, docker_volume and those of "
                     "the hosted back-ends, such as e2b_cloud_bucket",
                     m->strategy.p);
  }
  if (rc == 0)
    rc = csn_mr_keep_json(r, v, &m->strategy_json);
  if (rc == 0)
    csn_mr_leave(r, k);
  return rc;
}

/* Where it is: mount_path, or the entry's own place. */
static int
find_place(csn_reader *r, csn_str entry, csn_mount *m)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(8192);
  csn_str root = r->m->root, path = m->has_mount_path ? m->mount_path : entry;
  bool is_absolute = path.n && path.p[0] == '/';
  csn_buf_addc(&b, '/');
  csn_buf_add(&b, is_absolute ? CSN_STR("") : csn_strn(root.p + 1, root.n - 1));
  csn_auto(csn_buf_finip) csn_buf rel = CSN_BUF(4096);
  if (!csn_path_add(&rel, path) || rel.over || rel.n == 0) {
    csn_mr_enter(r, CSN_STR("mount_path"), NULL);
    return csn_mr_fail(r, CSN_E_INVALID, "expected an absolute path, or one in the workspace");
  }
  if (!is_absolute)
    csn_buf_addc(&b, '/');
  csn_buf_add(&b, csn_buf_str(&rel));
  m->place = csn_mr_keep(r, csn_buf_str(&b));
  if (csn_str_eq(m->place, root))
    return csn_mr_fail(r, CSN_E_INVALID, "a mount cannot take the place of the whole workspace");
  if (csn_str_starts(m->place, root) && m->place.n > root.n && m->place.p[root.n] == '/')
    m->inside = csn_strn(m->place.p + root.n + 1, m->place.n - root.n - 1);
  return 0;
}

/* As text that is not empty, or as a place where it is found. */
static bool
is_given(const csn_mount *m, const char *key)
{
  const csn_json *v = csn_mount_value(m, key);
  return v && (v->kind == CSN_JSON_OBJECT || v->text.n);
}

static int
check_keys_of(csn_reader *r, const csn_mount *m)
{
  bool id = is_given(m, "access_key_id"), key = is_given(m, "secret_access_key");
  if ((m->kind == CSN_MOUNT_R2 || m->kind == CSN_MOUNT_S3) && id != key)
    return csn_mr_fail(r, CSN_E_INVALID,
                       "access_key_id and secret_access_key come together (mount_config_invalid)");
  return 0;
}

int
csn_mount_read(csn_reader *r, const csn_json *obj, csn_entry *e, enum csn_mount_kind kind)
{
  csn_mount *m = csn_mr_room(r, 0, sizeof *m);
  if (r->is_full)
    return 0;
  *m = (csn_mount){.kind = kind, .is_read_only = true};
  e->mount = m;
  int rc = csn_mr_get_str(r, obj, "mount_path", &m->mount_path, &m->has_mount_path);
  if (rc == 0)
    rc = csn_mr_get_bool(r, obj, "read_only", &m->is_read_only);
  if (rc == 0)
    rc = read_strategy(r, obj, m);
  const struct field *f = kinds[kind].fields;
  for (size_t i = 0; rc == 0 && i < CSN_MOUNT_FIELDS_MAX && f[i].key; i++)
    rc = read_field(r, obj, &f[i], &m->fields[i]);
  if (rc == 0)
    rc = check_keys_of(r, m);
  if (rc == 0)
    rc = find_place(r, e->path, m);
  if (rc == 0 && ++r->n_mounts > CSN_MOUNTS_MAX)
    rc = csn_mr_fail(r, CSN_E_LIMIT, "more than %d mounts", CSN_MOUNTS_MAX);
  return rc;
}

/* ---- writing: every key, in the tables' order ---- */

static void
put_value(csn_jw *w, const struct field *f, const csn_json *v)
{
  csn_jw_key(w, f->key);
  if (v)
    csn_jw_value(w, v);
  else
    csn_jw_raw(w, csn_cstr(f->otherwise ? f->otherwise : "null"));
}

static void
put_fields(csn_jw *w, const struct field *f, size_t n, const csn_json *obj)
{
  for (size_t i = 0; i < n && f[i].key; i++)
    put_value(w, &f[i], csn_json_get(obj, f[i].key));
}

static void
put_strategy(csn_jw *w, const csn_mount *m)
{
  if (m->pattern == CSN_MOUNT_NO_PATTERN && !csn_str_eq(m->strategy, CSN_STR("docker_volume"))) {
    csn_jw_value(w, m->strategy_json);
    return;
  }
  csn_jw_obj(w);
  csn_jw_key(w, "type");
  csn_jw_str(w, m->strategy);
  if (m->pattern == CSN_MOUNT_NO_PATTERN) {
    static const struct field volume[] = {REQUIRED("driver"), {"driver_options", OPTIONS, "{}"}};
    put_fields(w, volume, CSN_COUNT(volume), m->strategy_json);
    csn_jw_end(w);
    return;
  }
  const struct pattern *p = &patterns[m->pattern];
  csn_jw_key(w, "pattern");
  csn_jw_obj(w);
  csn_jw_key(w, "type");
  csn_jw_strz(w, p->word);
  if (p->options[0].key) {
    csn_jw_key(w, "options");
    csn_jw_obj(w);
    put_fields(w, p->options, CSN_COUNT(p->options), csn_json_get(m->pattern_json, "options"));
    csn_jw_end(w);
  } else {
    put_fields(w, p->fields, CSN_COUNT(p->fields), m->pattern_json);
  }
  csn_jw_end(w);
  csn_jw_end(w);
}

void
csn_mount_write(const csn_mount *m, csn_jw *w, bool with_secrets)
{
  static const csn_json yes = {
      .kind = CSN_JSON_BOOL, .truth = true, .key = CSN_STR_INIT("not_kept")};
  static const csn_json not_kept = {.kind = CSN_JSON_OBJECT, .n = 1, .child = &yes};
  csn_jw_key(w, "mount_path");
  if (m->has_mount_path)
    csn_jw_str(w, m->mount_path);
  else
    csn_jw_null(w);
  csn_jw_key(w, "read_only");
  csn_jw_bool(w, m->is_read_only);
  csn_jw_key(w, "mount_strategy");
  put_strategy(w, m);
  const struct field *f = kinds[m->kind].fields;
  for (size_t i = 0; i < CSN_MOUNT_FIELDS_MAX && f[i].key; i++)
    put_value(w, &f[i],
              !with_secrets && f[i].shape == SECRET && m->fields[i] &&
                      m->fields[i]->kind == CSN_JSON_STRING
                  ? &not_kept
                  : m->fields[i]);
}

/* ---- those of a manifest ---- */

const csn_mount *
csn_manifest_mount(const csn_manifest *m, size_t i, const char **where)
{
  if (i >= m->n_mounts)
    return NULL;
  if (where)
    *where = m->mounts[i]->where.p;
  return m->mounts[i]->mount;
}

/* Who carries out which strategy: a NULL word stands for any, a NULL check finds
 * nothing to say.  enters: it is mounted inside, where commands are. */
static const struct way {
  const char *backend, *level, *strategy;
  int (*check)(const csn_mount *m, const char *root, csn_err *err);
  bool enters;
} ways[] = {
    {"jail", NULL, NULL, csn_mount_flags_check_one, false},
    {"docker", NULL, "docker_volume", NULL, false},
    {"e2b", NULL, "in_container", NULL, true},
};

static int
nobody_mounts(const csn_mount *m, const char *where, const char *backend, const char *level,
              csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf can = CSN_BUF(100);
  for (size_t i = 0; i < CSN_COUNT(ways); i++)
    if (strcmp(ways[i].backend, backend) == 0 && ways[i].strategy && !level)
      csn_buf_addf(&can, " but by the strategy %s", ways[i].strategy);
  return csn_fail(err, CSN_E_UNSUPPORTED,
                  "%s: a %s at %s, and nothing here can mount one for the back-end %s%s%s%s; "
                  "take a jail, or take the entry out of the manifest and bring its files by a "
                  "local_dir, an archive or a url",
                  where, csn_mount_word(m), m->place.p, backend, level ? " at level " : "",
                  level ? level : "", can.n ? can.p : "");
}

/* What a jail has in /mnt is a folder of its own as soon as one mount is there. */
static int
check_grants(const csn_manifest *m, const csn_mount *mount, csn_err *err)
{
  for (size_t i = 0; i < m->n_grants && csn_str_starts(mount->place, CSN_STR("/mnt/")); i++)
    if (csn_str_starts(m->grants[i].path, CSN_STR("/mnt/")))
      return csn_fail(err, CSN_E_UNSUPPORTED,
                      "a mount at %s would hide the granted path %.*s; give the mount a place in "
                      "the workspace",
                      mount->place.p, (int)m->grants[i].path.n, m->grants[i].path.p);
  return 0;
}

int
csn_manifest_check_mounts(const csn_manifest *m, const char *backend, const char *level,
                          csn_err *err)
{
  const char *where = "";
  const csn_mount *mount;
  backend = backend ? backend : "jail";
  if (level && strcmp(level, "native") == 0)
    level = NULL;
  for (size_t i = 0; (mount = csn_manifest_mount(m, i, &where)); i++) {
    const struct way *found = NULL;
    for (size_t k = 0; k < CSN_COUNT(ways) && !found; k++)
      if (strcmp(ways[k].backend, backend) == 0 && !level == !ways[k].level &&
          (!ways[k].strategy || csn_str_eq(mount->strategy, csn_cstr(ways[k].strategy))))
        found = &ways[k];
    if (!found)
      return nobody_mounts(mount, where, backend, level, err);
    int rc = found->check ? found->check(mount, m->root.p, err) : 0;
    if (rc == 0 && found == &ways[0])
      rc = check_grants(m, mount, err);
    if (rc < 0)
      return csn_wrap(err, rc, "%s", where);
  }
  return 0;
}

bool
csn_mount_enters(const char *backend)
{
  if (!backend) /* a jail: served from outside */
    return false;
  for (size_t i = 0; i < CSN_COUNT(ways); i++)
    if (strcmp(ways[i].backend, backend) == 0 && ways[i].enters)
      return true;
  return false;
}
