/* SPDX-License-Identifier: Apache-2.0
 *
 * mount_volume.c - the options of volume drivers; see mount_volume.h.
 *
 * A table of options for each kind of storage and driver. */
#include "sandbox/mount_volume.h"

#include "core/hash.h"
#include "sandbox/mount_rclone.h"

enum { OPTIONS_MAX = 64, NAME_DIGITS = 12 };

struct option {
  const char *key;
  const char *field; /* whose value it is, when it has one; or */
  const char *value; /* what stands there without one; may have one %s for */
  const char *of;    /* this field's */
};

#define FIELD(key, field)                                                                          \
  {                                                                                                \
    key, field, NULL, NULL                                                                         \
  }
#define FIXED(key, value)                                                                          \
  {                                                                                                \
    key, NULL, value, NULL                                                                         \
  }

static const struct option s3[] = {FIXED("type", "s3"),
                                   FIELD("s3-provider", "s3_provider"),
                                   FIELD("s3-access-key-id", "access_key_id"),
                                   FIELD("s3-secret-access-key", "secret_access_key"),
                                   FIELD("s3-session-token", "session_token"),
                                   FIELD("s3-endpoint", "endpoint_url"),
                                   FIELD("s3-region", "region"),
                                   {0}};
static const struct option r2[] = {
    FIXED("type", "s3"),
    FIXED("s3-provider", "Cloudflare"),
    FIELD("s3-access-key-id", "access_key_id"),
    FIELD("s3-secret-access-key", "secret_access_key"),
    {"s3-endpoint", "custom_domain", "https://%s.r2.cloudflarestorage.com", "account_id"},
    {0}};
static const struct option gcs_keys[] = {
    FIXED("type", "s3"),
    FIXED("s3-provider", "GCS"),
    FIELD("s3-access-key-id", "access_id"),
    FIELD("s3-secret-access-key", "secret_access_key"),
    {"s3-endpoint", "endpoint_url", "https://storage.googleapis.com", NULL},
    FIELD("s3-region", "region"),
    {0}};
static const struct option gcs[] = {
    FIXED("type", "gcs"),
    FIELD("gcs-service-account-file", "service_account_file"),
    FIELD("gcs-service-account-credentials", "service_account_credentials"),
    FIELD("gcs-access-token", "access_token"),
    {0}};
static const struct option azure[] = {FIXED("type", "azureblob"),
                                      FIELD("azureblob-account", "account"),
                                      FIELD("azureblob-endpoint", "endpoint"),
                                      FIELD("azureblob-msi-client-id", "identity_client_id"),
                                      FIELD("azureblob-key", "account_key"),
                                      {0}};
static const struct option box[] = {FIXED("type", "box"),
                                    FIELD("box-client-id", "client_id"),
                                    FIELD("box-client-secret", "client_secret"),
                                    FIELD("box-access-token", "access_token"),
                                    FIELD("box-token", "token"),
                                    FIELD("box-box-config-file", "box_config_file"),
                                    FIELD("box-config-credentials", "config_credentials"),
                                    FIELD("box-box-sub-type", "box_sub_type"),
                                    FIELD("box-root-folder-id", "root_folder_id"),
                                    FIELD("box-impersonate", "impersonate"),
                                    FIELD("box-owned-by", "owned_by"),
                                    {0}};
static const struct option by_mountpoint[] = {FIELD("bucket", "bucket"),
                                              FIELD("access_key_id", "access_key_id"),
                                              FIELD("access_key_id", "access_id"),
                                              FIELD("secret_access_key", "secret_access_key"),
                                              FIELD("session_token", "session_token"),
                                              FIELD("endpoint_url", "endpoint_url"),
                                              FIELD("region", "region"),
                                              FIELD("prefix", "prefix"),
                                              {0}};

struct list {
  csn_arena *arena;
  csn_str keys[OPTIONS_MAX], values[OPTIONS_MAX];
  bool is_off[OPTIONS_MAX];
  size_t n;
};

bool
csn_mount_is_volume(const csn_mount *m)
{
  return csn_str_eq(m->strategy, CSN_STR("docker_volume"));
}

csn_str
csn_mount_volume_driver(const csn_mount *m)
{
  return csn_json_str(m->strategy_json, "driver", CSN_STR(""));
}

void
csn_mount_volume_name(const char *container, const csn_mount *m, csn_buf *out)
{
  char hex[65];
  csn_digest d = csn_sha256_of(m->place);
  csn_digest_hex(&d, hex);
  csn_buf_addf(out, "%s-%.*s", container, NAME_DIGITS, hex);
}

/* ---- options ---- */

/* Puts one, in the place of the same before; a NULL value takes it away. */
static int
put(struct list *l, csn_str key, const csn_str *value, csn_err *err)
{
  size_t i = 0;
  while (i < l->n && !csn_str_eq(l->keys[i], key))
    i++;
  if (i == OPTIONS_MAX)
    return csn_fail(err, CSN_E_LIMIT, "driver_options: more than %d", OPTIONS_MAX);
  l->n += i == l->n;
  l->keys[i] = key;
  l->values[i] = value ? *value : CSN_STR("");
  l->is_off[i] = !value;
  return 0;
}

static int
putz(struct list *l, const char *key, const char *value, csn_err *err)
{
  csn_str v = csn_cstr(value);
  return put(l, csn_cstr(key), &v, err);
}

static int
put_table(struct list *l, const csn_mount *m, const struct option *o, csn_err *err)
{
  int rc = 0;
  for (; rc == 0 && o->key; o++) {
    csn_str value = o->field ? csn_mount_text(m, o->field) : CSN_STR("");
    if (!value.n && o->value) {
      csn_str of = o->of ? csn_mount_text(m, o->of) : CSN_STR("");
      size_t at = csn_str_find(csn_cstr(o->value), CSN_STR("%s"), 0);
      value = at == SIZE_MAX ? csn_cstr(o->value)
                             : csn_arena_printf(l->arena, "%.*s%.*s%s", (int)at, o->value,
                                                (int)of.n, of.p, o->value + at + 2);
    }
    if (value.n)
      rc = put(l, csn_cstr(o->key), &value, err);
  }
  return rc;
}

static const struct option *
table_of(const csn_mount *m)
{
  switch (m->kind) {
  case CSN_MOUNT_S3:
    return s3;
  case CSN_MOUNT_R2:
    return r2;
  case CSN_MOUNT_GCS:
    return csn_mount_text(m, "access_id").n ? gcs_keys : gcs;
  case CSN_MOUNT_AZURE_BLOB:
    return azure;
  case CSN_MOUNT_BOX:
    return box;
  case CSN_MOUNT_S3_FILES:
  case CSN_MOUNT_KINDS:
    break;
  }
  return NULL;
}

/* What its driver is told beside whom to ask: the process is root's, and those who
 * look into the mount are not. */
static int
put_rclone(struct list *l, const csn_mount *m, int uid, int gid, csn_err *err)
{
  const struct option *table = table_of(m);
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(CSN_MOUNT_CONFIG_MAX);
  int rc = table
               ? csn_mount_rclone_path(m, &path, err)
               : csn_fail(err, CSN_E_UNSUPPORTED, "the driver rclone has no %s", csn_mount_word(m));
  if (rc == 0)
    rc = put_table(l, m, table, err);
  if (rc == 0 && path.n) {
    csn_str kept = csn_arena_dup(l->arena, csn_buf_str(&path));
    rc = put(l, CSN_STR("path"), &kept, err);
  }
  if (rc == 0 && table == azure && csn_mount_text(m, "identity_client_id").n)
    rc = putz(l, "azureblob-use-msi", "true", err);
  if (rc == 0 && table == gcs && !csn_mount_text(m, "service_account_file").n &&
      !csn_mount_text(m, "service_account_credentials").n && !csn_mount_text(m, "access_token").n)
    rc = putz(l, "gcs-anonymous", "true", err);
  if (rc == 0)
    rc = putz(l, "allow-other", "true", err);
  if (rc == 0)
    rc = putz(l, "uid", csn_arena_printf(l->arena, "%d", uid).p, err);
  return rc < 0 ? rc : putz(l, "gid", csn_arena_printf(l->arena, "%d", gid).p, err);
}

int
csn_mount_volume_options(const csn_mount *m, int uid, int gid, csn_jw *w, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  struct list l = {.arena = a};
  bool is_rclone = csn_str_eq(csn_mount_volume_driver(m), CSN_STR("rclone"));
  int rc = is_rclone ? put_rclone(&l, m, uid, gid, err) : put_table(&l, m, by_mountpoint, err);
  csn_json_each (v, csn_json_get(m->strategy_json, "driver_options"))
    if (rc == 0)
      rc = put(&l, v->key, v->kind == CSN_JSON_STRING ? &v->text : NULL, err);
  for (size_t i = 0; rc == 0 && i < l.n; i++)
    if (!l.is_off[i]) {
      csn_jw_keyn(w, l.keys[i]);
      csn_jw_str(w, l.values[i]);
    }
  return rc;
}
