/* SPDX-License-Identifier: Apache-2.0
 *
 * test_mount_authority.c - what credentials of a mount would enter a sandbox,
 * who allows it, and that none is in a message. */
#include "sandbox/mount_authority.h"

#include <stdio.h>

#include "check.h"

#define IN(pattern) "\"mount_strategy\":{\"type\":\"in_container\",\"pattern\":" pattern "}"
#define RCLONE IN("{\"type\":\"rclone\"}")
#define VOLUME "\"mount_strategy\":{\"type\":\"docker_volume\",\"driver\":\"rclone\"}"
#define ENTRY(type, fields) "{\"type\":\"" type "\"," fields "}"
#define S3(strategy, more) ENTRY("s3_mount", strategy ",\"bucket\":\"b\"" more)
#define KEYS ",\"access_key_id\":\"id\",\"secret_access_key\":\"secret-value\""
#define GCS(more) ENTRY("gcs_mount", RCLONE ",\"bucket\":\"b\"" more)
#define AZURE(strategy, more)                                                                      \
  ENTRY("azure_blob_mount", strategy ",\"account\":\"a\",\"container\":\"c\"" more)
#define BOX(more) ENTRY("box_mount", RCLONE more)
#define FILES(more)                                                                                \
  ENTRY("s3_files_mount", IN("{\"type\":\"s3files\"}") ",\"file_system_id\":\"fs-1\"" more)

/* A manifest of the entry at data/e, and of others. */
static csn_manifest *
manifest(csn_arena *a, const char *entry, const char *more)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 16);
  const csn_json *v;
  csn_manifest *m;
  csn_err err;
  csn_buf_addf(&text, "{\"entries\":{\"data/e\":%s%s}}", entry, more);
  csn_str json = csn_arena_dup(a, csn_buf_str(&text));
  OK(csn_json_parse(a, json, &v, &err), &err);
  OK(csn_manifest_from_json(a, v, &m, &err), &err);
  return m;
}

TEST(each_field_has_its_reach)
{
  static const struct {
    const char *entry, *what;
    enum csn_mount_scope scope;
  } rows[] = {
      {S3(RCLONE, ""), "", CSN_MOUNT_NOTHING},
      {S3(RCLONE, ",\"endpoint_url\":\"http://h:1\",\"prefix\":\"p\",\"region\":\"r\""), "",
       CSN_MOUNT_NOTHING},
      {S3(RCLONE, KEYS), "access_key_id", CSN_MOUNT_KEYS},
      {S3(RCLONE, ",\"endpoint_url\":\"http://u:p@h\""), "endpoint_url", CSN_MOUNT_KEYS},
      {S3(RCLONE, ",\"endpoint_url\":\"http://h?sig=1\""), "endpoint_url", CSN_MOUNT_KEYS},
      {S3(IN("{\"type\":\"mountpoint\",\"options\":{\"endpoint_url\":\"http://u@h\"}}"), ""),
       "mount_strategy.pattern.options.endpoint_url", CSN_MOUNT_KEYS},
      {S3(IN("{\"type\":\"rclone\",\"config_file_path\":\"/etc/r\"}"), KEYS),
       "mount_strategy.pattern.config_file_path", CSN_MOUNT_BROAD},
      {S3(IN("{\"type\":\"rclone\",\"extra_args\":[\"--allow-other\",\"--buffer_size=1M\",\"--"
             "uid\","
             "\"7\",\"--gid=8\"]}"),
          ""),
       "", CSN_MOUNT_NOTHING},
      {S3(IN("{\"type\":\"rclone\",\"extra_args\":[\"--uid\",\"7\",\"--fast-list\"]}"), ""),
       "mount_strategy.pattern.extra_args", CSN_MOUNT_KEYS},
      {GCS(""), "", CSN_MOUNT_NOTHING},
      {GCS(",\"access_token\":\"t\""), "access_token", CSN_MOUNT_KEYS},
      {GCS(",\"service_account_credentials\":\"{}\""), "service_account_credentials",
       CSN_MOUNT_KEYS},
      {GCS(",\"service_account_file\":\"/k\""), "service_account_file", CSN_MOUNT_BROAD},
      {ENTRY("r2_mount", RCLONE ",\"bucket\":\"b\",\"account_id\":\"a\",\"custom_domain\":\"u@h\""),
       "custom_domain", CSN_MOUNT_KEYS},
      {AZURE(RCLONE, ",\"account_key\":\"k\""), "account_key", CSN_MOUNT_KEYS},
      {AZURE(RCLONE, ",\"identity_client_id\":\"k\""), "identity_client_id", CSN_MOUNT_BROAD},
      {AZURE(IN("{\"type\":\"fuse\"}"), ""), "mount_strategy.pattern", CSN_MOUNT_BROAD},
      {BOX(",\"token\":\"t\",\"client_id\":\"c\""), "token", CSN_MOUNT_KEYS},
      {BOX(",\"box_config_file\":\"/f\""), "box_config_file", CSN_MOUNT_BROAD},
      {FILES(""), "mount_strategy.pattern", CSN_MOUNT_BROAD},
      {FILES(",\"extra_options\":{\"a\":null}"), "extra_options", CSN_MOUNT_BROAD},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    const char *what = "";
    const csn_mount *m = csn_manifest_mount(manifest(a, rows[i].entry, ""), 0, NULL);
    assert_int_equal(csn_mount_authority(m, &what), rows[i].scope);
    assert_string_equal(what, rows[i].what);
  }
}

TEST(keys_are_whole_and_come_from_nowhere_else)
{
  static const struct {
    const char *entry, *more, *says; /* NULL: fine */
  } rows[] = {
      {S3(RCLONE, KEYS), "", NULL},
      {S3(RCLONE, ",\"session_token\":\"t\""), "", "session_token and access_key_id"},
      {S3(RCLONE, ",\"access_key_id\":\" \",\"secret_access_key\":\"x\""), "",
       "access_key_id is blank"},
      {GCS(",\"access_id\":\"i\""), "", "access_id and secret_access_key"},
      {GCS(",\"secret_access_key\":\"i\""), "", "access_id and secret_access_key"},
      {BOX(""), "", "it needs access_token"},
      {S3("\"mount_strategy\":{\"type\":\"docker_volume\",\"driver\":\"rclone\",\"driver_options\":"
          "{"
          "\"s3-access-key-id\":\"i\",\"s3-secret-access-key\":\"k\"}}",
          ""),
       "", "driver_options.s3-secret-access-key would be kept in journals"},
      {S3(IN("{\"type\":\"rclone\",\"extra_args\":[\"--uid\",\"key\",\"--s3-session-token=t\"]}"),
          ""),
       "", "can read the argument --s3-session-token;"},
      {BOX(",\"config_credentials\":\"c\""), "", NULL},
      {GCS(",\"service_account_file\":\"/etc/key\""), "", NULL},
      {GCS(",\"service_account_file\":\"k/key\""),
       ",\"k\":{\"type\":\"dir\",\"children\":{\"key\":{\"type\":\"file\",\"content\":\"\"}}}",
       "service_account_file is made by entries.k.children.key"},
      {GCS(",\"service_account_file\":\"/workspace/k/key\""),
       ",\"k\":{\"type\":\"local_dir\",\"src\":\"x\"}",
       "service_account_file is made by entries.k"},
      {GCS(",\"service_account_file\":\"k/key\""), ",\"k\":{\"type\":\"dir\"}", NULL},
      {S3(IN("{\"type\":\"rclone\",\"config_file_path\":\"./r.conf\"}"), ""),
       ",\"r.conf\":{\"type\":\"file\",\"content\":\"\"}",
       "config_file_path is made by entries.r.conf"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_manifest *of = manifest(a, rows[i].entry, rows[i].more);
    csn_err err = {0};
    int rc = csn_mount_authority_check(of, csn_manifest_mount(of, 0, NULL), &err);
    assert_int_equal(rc, rows[i].says ? CSN_E_INVALID : 0);
    if (rows[i].says && !strstr(err.msg, rows[i].says))
      fail_msg("%zu: %s", i, err.msg);
  }
}

static const csn_json *
object(csn_arena *a, const char *json)
{
  const csn_json *v;
  csn_err err;
  OK(csn_json_parse(a, csn_cstr(json), &v, &err), &err);
  return v;
}

TEST(credentials_enter_only_where_the_operator_says_so)
{
  static const struct {
    const char *entry, *allowed, *says; /* NULL: fine */
  } rows[] = {
      {S3(RCLONE, ""), "{}", NULL},
      {S3(RCLONE, KEYS), "{}",
       "access_key_id would enter the sandbox, where every command can read it; if that is meant, "
       "write sandbox.mount_credentials: {\"/workspace/data/e\": mount}"},
      {S3(RCLONE, KEYS), "{\"data/e\":\"mount\"}", NULL},
      {S3(RCLONE, KEYS), "{\"/workspace/data/e\":\"mount\"}", NULL},
      {S3(RCLONE, KEYS), "{\"data/e\":\"broad\"}", "says broad, and by its access_key_id"},
      {S3(RCLONE, KEYS), "{\"data\":\"mount\"}", "has no mount at /workspace/data"},
      {S3(RCLONE, ""), "{\"data/e\":\"mount\"}", "brings no credentials into the sandbox"},
      {S3(VOLUME, KEYS), "{}", NULL},
      {S3(VOLUME, KEYS), "{\"data/e\":\"mount\"}", "brings no credentials into the sandbox"},
      {FILES(""), "{\"data/e\":\"mount\"}", "says mount, and by its mount_strategy.pattern"},
      {FILES(""), "{\"data/e\":\"broad\"}", NULL},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_manifest *of = manifest(a, rows[i].entry, "");
    csn_err err = {0};
    int rc = csn_mount_allowed_check(of, object(a, rows[i].allowed), true, &err);
    if ((rc < 0) != (rows[i].says != NULL) || (rc < 0 && !strstr(err.msg, rows[i].says)))
      fail_msg("%zu: %s", i, rc < 0 ? err.msg : "it was allowed");
  }
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_err err;
  OK(csn_mount_allowed_check(manifest(a, S3(RCLONE, KEYS), ""), NULL, false, &err), &err);
  OK(csn_mount_allowed_check(NULL, NULL, true, &err), &err);
}

TEST(what_the_operator_says_is_an_exact_path)
{
  static const struct {
    const char *json;
    bool is_fine;
  } rows[] = {{"{}", true},
              {"{\"a\":\"mount\",\"/b/c\":\"broad\"}", true},
              {"{\"a\":\"all\"}", false},
              {"{\"a\":true}", false},
              {"{\"a*\":\"mount\"}", false},
              {"{\"a?\":\"mount\"}", false},
              {"{\"[a]\":\"mount\"}", false},
              {"{\"a\\\\b\":\"mount\"}", false},
              {"{\"a/../b\":\"mount\"}", false},
              {"{\"/\":\"mount\"}", false},
              {"{\".\":\"mount\"}", false},
              {"{\"\":\"mount\"}", false}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_err err;
    int rc = csn_mount_allowed_read(object(a, rows[i].json), &err);
    if ((rc == 0) != rows[i].is_fine)
      fail_msg("%s: %d", rows[i].json, rc);
  }
}

TEST(no_secret_is_in_a_message_not_even_its_beginning)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_mount *m = csn_manifest_mount(
      manifest(a, S3(RCLONE, KEYS ",\"session_token\":\"token-value\""), ""), 0, NULL);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000);
  csn_buf_addz(&text, "secret-value, xsecret-valuex token-value id secret-valu");
  csn_mount_redact(m, &text);
  STR_EQ(csn_buf_str(&text), "REDACTED, xREDACTEDx REDACTED id secret-valu");
  csn_err err = {0};
  size_t most = sizeof err.msg - 1;
  memset(err.msg, 'x', most);
  memcpy(err.msg + most - 8, "secret-v", 8);
  memcpy(err.msg + 3, "token-value", 11);
  assert_int_equal(csn_mount_redact_err(m, CSN_E_SANDBOX, &err), CSN_E_SANDBOX);
  assert_null(strstr(err.msg, "secret"));
  assert_null(strstr(err.msg, "token"));
  assert_memory_equal(err.msg, "xxxREDACTEDxxx", 14);
}

RUN_TESTS("sandbox/mount_authority", RUN(each_field_has_its_reach),
          RUN(keys_are_whole_and_come_from_nowhere_else),
          RUN(credentials_enter_only_where_the_operator_says_so),
          RUN(what_the_operator_says_is_an_exact_path),
          RUN(no_secret_is_in_a_message_not_even_its_beginning))
