/* SPDX-License-Identifier: Apache-2.0
 *
 * mount_rclone.c - rclone's configuration of a mount; see mount_rclone.h.
 *
 * env_auth is off everywhere: what the harness has in its own environment, or
 * its machine from its maker, is no credential of a sandbox. */
#include "sandbox/mount_rclone.h"

/* A section that is being written. */
typedef struct section {
  const csn_mount *m;
  csn_buf *out;
  csn_err *err;
  int rc; /* of the first line that could not be written */
} section;

static bool
has(const csn_mount *m, const char *key)
{
  return csn_mount_text(m, key).n > 0;
}

static bool
is_gcs_pair(const csn_mount *m)
{
  return has(m, "access_id") && has(m, "secret_access_key");
}

const char *
csn_mount_rclone_kind(const csn_mount *m)
{
  static const char *const words[CSN_MOUNT_KINDS] = {[CSN_MOUNT_S3] = "s3",
                                                     [CSN_MOUNT_R2] = "r2",
                                                     [CSN_MOUNT_GCS] = "gcs",
                                                     [CSN_MOUNT_AZURE_BLOB] = "azureblob",
                                                     [CSN_MOUNT_BOX] = "box"};
  return m->kind == CSN_MOUNT_GCS && is_gcs_pair(m) ? "gcs_s3" : words[m->kind];
}

/* What a line of the file holds unchanged: rclone takes blanks at both ends
 * off, and a quote at the beginning for the begin of a quotation. */
static const char *
bad_value(csn_str v)
{
  for (size_t i = 0; i < v.n; i++)
    if ((unsigned char)v.p[i] < ' ' || v.p[i] == 0x7f)
      return "holds a line break or another control character";
  if (v.n && (v.p[0] == '`' || csn_str_starts(v, CSN_STR("\"\"\""))))
    return "begins with a quote";
  if (csn_str_trim(v).n != v.n)
    return "has blanks at an end";
  return NULL;
}

static void
put(section *s, const char *key, const char *field, csn_str value)
{
  const char *bad = bad_value(value);
  if (s->rc == 0 && bad)
    s->rc = csn_fail(s->err, CSN_E_INVALID,
                     "%s of a %s %s, which rclone cannot be told (mount_config_invalid)", field,
                     csn_mount_word(s->m), bad);
  if (s->rc < 0)
    return;
  csn_buf_addf(s->out, "%s = ", key);
  csn_buf_add(s->out, value);
  csn_buf_addc(s->out, '\n');
}

static void
fixed(section *s, const char *key, const char *value)
{
  put(s, key, key, csn_cstr(value));
}

/* The field when it is given; false: it is not. */
static bool
given(section *s, const char *key, const char *field)
{
  csn_str v = csn_mount_text(s->m, field);
  if (v.n)
    put(s, key, field, v);
  return v.n > 0;
}

/* Two fields that are of use together only; false: neither is given. */
static bool
pair(section *s, const char *id, const char *key)
{
  bool is_given = has(s->m, id);
  if (s->rc == 0 && is_given != has(s->m, key))
    s->rc = csn_fail(s->err, CSN_E_INVALID,
                     "%s and %s of a %s come together; %s is missing "
                     "(mount_config_invalid)",
                     id, key, csn_mount_word(s->m), is_given ? key : id);
  if (!is_given)
    return false;
  given(s, "access_key_id", id);
  given(s, "secret_access_key", key);
  return true;
}

static void
put_s3(section *s)
{
  fixed(s, "type", "s3");
  given(s, "provider", "s3_provider");
  given(s, "endpoint", "endpoint_url");
  given(s, "region", "region");
  fixed(s, "env_auth", "false");
  if (pair(s, "access_key_id", "secret_access_key"))
    given(s, "session_token", "session_token");
}

static void
put_r2(section *s)
{
  fixed(s, "type", "s3");
  fixed(s, "provider", "Cloudflare");
  if (!given(s, "endpoint", "custom_domain")) {
    csn_str id = csn_mount_text(s->m, "account_id");
    csn_auto(csn_buf_finip) csn_buf host = CSN_BUF(4096);
    csn_buf_addf(&host, "https://%.*s.r2.cloudflarestorage.com", (int)(id.n & 0xfff), id.p);
    put(s, "endpoint", "account_id", csn_buf_str(&host));
  }
  fixed(s, "acl", "private");
  fixed(s, "env_auth", "false");
  pair(s, "access_key_id", "secret_access_key");
}

static void
put_gcs_s3(section *s)
{
  fixed(s, "type", "s3");
  fixed(s, "provider", "GCS");
  fixed(s, "env_auth", "false");
  pair(s, "access_id", "secret_access_key");
  if (!given(s, "endpoint", "endpoint_url"))
    fixed(s, "endpoint", "https://storage.googleapis.com");
  given(s, "region", "region");
}

static void
put_gcs(section *s)
{
  if (is_gcs_pair(s->m)) {
    put_gcs_s3(s);
    return;
  }
  fixed(s, "type", "google cloud storage");
  pair(s, "access_id", "secret_access_key"); /* a half of it */
  bool file = given(s, "service_account_file", "service_account_file");
  bool json = given(s, "service_account_credentials", "service_account_credentials");
  bool token = given(s, "access_token", "access_token");
  if (!file && !json && !token)
    fixed(s, "anonymous", "true");
  fixed(s, "env_auth", "false");
}

static void
put_azure(section *s)
{
  fixed(s, "type", "azureblob");
  given(s, "account", "account");
  given(s, "endpoint", "endpoint");
  if (given(s, "key", "account_key"))
    return;
  bool has_identity = has(s->m, "identity_client_id");
  fixed(s, "use_msi", has_identity ? "true" : "false");
  if (has_identity)
    given(s, "msi_client_id", "identity_client_id");
}

static void
put_box(section *s)
{
  static const char *const before[] = {"client_id", "client_secret",   "access_token",
                                       "token",     "box_config_file", "config_credentials"};
  static const char *const after[] = {"root_folder_id", "impersonate", "owned_by"};
  fixed(s, "type", "box");
  for (size_t i = 0; i < CSN_COUNT(before); i++)
    given(s, before[i], before[i]);
  if (!csn_str_eq(csn_mount_text(s->m, "box_sub_type"), CSN_STR("user")))
    given(s, "box_sub_type", "box_sub_type");
  for (size_t i = 0; i < CSN_COUNT(after); i++)
    given(s, after[i], after[i]);
}

static int
not_served(const csn_mount *m, csn_err *err)
{
  return csn_fail(err, CSN_E_UNSUPPORTED, "rclone does not serve a %s", csn_mount_word(m));
}

int
csn_mount_rclone_config(const csn_mount *m, csn_str remote, csn_buf *out, csn_err *err)
{
  static void (*const writers[CSN_MOUNT_KINDS])(section *) = {[CSN_MOUNT_S3] = put_s3,
                                                              [CSN_MOUNT_R2] = put_r2,
                                                              [CSN_MOUNT_GCS] = put_gcs,
                                                              [CSN_MOUNT_AZURE_BLOB] = put_azure,
                                                              [CSN_MOUNT_BOX] = put_box};
  if (!writers[m->kind])
    return not_served(m, err);
  section s = {m, out, err, 0};
  csn_buf_addf(out, "[%.*s]\n", (int)remote.n, remote.p);
  writers[m->kind](&s);
  return s.rc < 0 ? s.rc : csn_buf_done(out, "the configuration of a mount", err);
}

/* Letters, digits, '_', '-', '.' and blanks, not at its ends. */
static bool
is_remote_name(csn_str v)
{
  for (size_t i = 0; i < v.n; i++) {
    char c = v.p[i];
    bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    bool is_inner = c == ' ' || c == '.' || c == '-';
    if (!is_word && c != '_' && (!is_inner || i == 0 || (c == ' ' && i + 1 == v.n)))
      return false;
  }
  return v.n > 0 && v.n <= CSN_MOUNT_REMOTE_MAX;
}

int
csn_mount_rclone_remote(const csn_mount *m, csn_str id, csn_buf *out, csn_err *err)
{
  const char *kind = csn_mount_rclone_kind(m);
  if (!kind)
    return not_served(m, err);
  csn_str said = m->pattern == CSN_MOUNT_RCLONE
                     ? csn_json_str(m->pattern_json, "remote_name", CSN_STR(""))
                     : CSN_STR("");
  if (said.n && !is_remote_name(said))
    return csn_fail(err, CSN_E_INVALID,
                    "remote_name of a %s: expected at most %d letters, digits, '_', '-', '.' and "
                    "blanks (mount_config_invalid)",
                    csn_mount_word(m), CSN_MOUNT_REMOTE_MAX);
  if (said.n)
    csn_buf_add(out, said);
  else
    csn_buf_addf(out, "sandbox_%s_%.*s", kind, (int)(id.n & 0xff), id.p);
  return csn_buf_done(out, "the name of a remote", err);
}

int
csn_mount_rclone_path(const csn_mount *m, csn_buf *out, csn_err *err)
{
  static const char *const fields[CSN_MOUNT_KINDS][2] = {
      [CSN_MOUNT_S3] = {"bucket", "prefix"},
      [CSN_MOUNT_R2] = {"bucket", NULL},
      [CSN_MOUNT_GCS] = {"bucket", "prefix"},
      [CSN_MOUNT_AZURE_BLOB] = {"container", NULL},
      [CSN_MOUNT_BOX] = {NULL, "path"}};
  const char *root = fields[m->kind][0], *below = fields[m->kind][1];
  if (!root && !below)
    return not_served(m, err);
  csn_str first = root ? csn_mount_text(m, root) : CSN_STR("");
  csn_str rest = below ? csn_mount_text(m, below) : CSN_STR("");
  while (rest.n && rest.p[0] == '/')
    rest = csn_strn(rest.p + 1, rest.n - 1);
  if (bad_value(first) || bad_value(rest))
    return csn_fail(err, CSN_E_INVALID, "%s of a %s %s (mount_config_invalid)",
                    bad_value(first) ? root : below, csn_mount_word(m),
                    bad_value(first) ? bad_value(first) : bad_value(rest));
  csn_buf_add(out, first);
  if (first.n && rest.n)
    csn_buf_addc(out, '/');
  csn_buf_add(out, rest);
  return csn_buf_done(out, "the path of a mount", err);
}
