/* SPDX-License-Identifier: Apache-2.0
 *
 * test_mount_rclone.c - what rclone is told of each kind of mount.  The texts
 * are those that other software of the same manifest writes. */
#include "caisson/manifest.h"
#include "check.h"
#include "sandbox/mount_rclone.h"

#define HEAD "{\"entries\":{\"e\":{\"type\":\""
#define IN(pattern)                                                                                \
  "\",\"mount_strategy\":{\"type\":\"in_container\",\"pattern\":{\"type\":\"" pattern "\"}}"
#define ENTRY(type, fields) HEAD type IN("rclone") fields "}}}"
#define S3(fields) ENTRY("s3_mount", ",\"bucket\":\"data\"" fields)
#define R2(fields) ENTRY("r2_mount", ",\"bucket\":\"data\",\"account_id\":\"acc\"" fields)
#define GCS(fields) ENTRY("gcs_mount", ",\"bucket\":\"data\"" fields)
#define AZURE(fields)                                                                              \
  ENTRY("azure_blob_mount", ",\"account\":\"acc\",\"container\":\"box-1\"" fields)
#define BOX(fields) ENTRY("box_mount", fields)

static const csn_mount *
read_mount(csn_arena *a, const char *json)
{
  const csn_json *v;
  csn_manifest *m;
  csn_err err;
  OK(csn_json_parse(a, csn_cstr(json), &v, &err), &err);
  OK(csn_manifest_from_json(a, v, &m, &err), &err);
  return csn_manifest_mount(m, 0, NULL);
}

TEST(each_kind_has_its_lines_in_their_order)
{
  static const struct row {
    const char *json, *remote, *path, *lines;
  } rows[] = {
      {S3(""), "sandbox_s3_1f", "data", "type = s3\nprovider = AWS\nenv_auth = false\n"},
      {S3(",\"prefix\":\"/a/b\",\"region\":\"eu-1\",\"endpoint_url\":\"http://h:1\","
          "\"access_key_id\":\"I\",\"secret_access_key\":\"K\",\"session_token\":\"T\","
          "\"s3_provider\":\"Minio\""),
       "sandbox_s3_1f", "data/a/b",
       "type = s3\nprovider = Minio\nendpoint = http://h:1\nregion = eu-1\nenv_auth = false\n"
       "access_key_id = I\nsecret_access_key = K\nsession_token = T\n"},
      {S3(",\"session_token\":\"T\""), "sandbox_s3_1f", "data",
       "type = s3\nprovider = AWS\nenv_auth = false\n"},
      {R2(""), "sandbox_r2_1f", "data",
       "type = s3\nprovider = Cloudflare\nendpoint = https://acc.r2.cloudflarestorage.com\n"
       "acl = private\nenv_auth = false\n"},
      {R2(",\"custom_domain\":\"https://d\",\"access_key_id\":\"I\",\"secret_access_key\":\"K\""),
       "sandbox_r2_1f", "data",
       "type = s3\nprovider = Cloudflare\nendpoint = https://d\nacl = private\n"
       "env_auth = false\naccess_key_id = I\nsecret_access_key = K\n"},
      {GCS(",\"access_id\":\"I\",\"secret_access_key\":\"K\",\"prefix\":\"p\""),
       "sandbox_gcs_s3_1f", "data/p",
       "type = s3\nprovider = GCS\nenv_auth = false\naccess_key_id = I\nsecret_access_key = K\n"
       "endpoint = https://storage.googleapis.com\n"},
      {GCS(",\"access_id\":\"I\",\"secret_access_key\":\"K\",\"endpoint_url\":\"http://h\","
           "\"region\":\"r\""),
       "sandbox_gcs_s3_1f", "data",
       "type = s3\nprovider = GCS\nenv_auth = false\naccess_key_id = I\nsecret_access_key = K\n"
       "endpoint = http://h\nregion = r\n"},
      {GCS(""), "sandbox_gcs_1f", "data",
       "type = google cloud storage\nanonymous = true\nenv_auth = false\n"},
      {GCS(",\"service_account_file\":\"/k.json\",\"service_account_credentials\":\"{}\","
           "\"access_token\":\"T\""),
       "sandbox_gcs_1f", "data",
       "type = google cloud storage\nservice_account_file = /k.json\n"
       "service_account_credentials = {}\naccess_token = T\nenv_auth = false\n"},
      {AZURE(",\"account_key\":\"K\",\"endpoint\":\"http://h\",\"identity_client_id\":\"m\""),
       "sandbox_azureblob_1f", "box-1",
       "type = azureblob\naccount = acc\nendpoint = http://h\nkey = K\n"},
      {AZURE(",\"identity_client_id\":\"m\""), "sandbox_azureblob_1f", "box-1",
       "type = azureblob\naccount = acc\nuse_msi = true\nmsi_client_id = m\n"},
      {AZURE(""), "sandbox_azureblob_1f", "box-1",
       "type = azureblob\naccount = acc\nuse_msi = false\n"},
      {BOX(",\"token\":\"{\\\"t\\\":1}\""), "sandbox_box_1f", "",
       "type = box\ntoken = {\"t\":1}\n"},
      {BOX(",\"path\":\"/a/b\",\"client_id\":\"c\",\"client_secret\":\"s\",\"access_token\":\"t\","
           "\"box_config_file\":\"/f\",\"config_credentials\":\"{}\",\"box_sub_type\":"
           "\"enterprise\",\"root_folder_id\":\"7\",\"impersonate\":\"9\",\"owned_by\":\"o\""),
       "sandbox_box_1f", "a/b",
       "type = box\nclient_id = c\nclient_secret = s\naccess_token = t\nbox_config_file = /f\n"
       "config_credentials = {}\nbox_sub_type = enterprise\nroot_folder_id = 7\n"
       "impersonate = 9\nowned_by = o\n"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(4096), path = CSN_BUF(256), name = CSN_BUF(256);
    csn_auto(csn_buf_finip) csn_buf wanted = CSN_BUF(4096);
    const csn_mount *m = read_mount(a, rows[i].json);
    csn_err err;
    OK(csn_mount_rclone_remote(m, CSN_STR("1f"), &name, &err), &err);
    assert_string_equal(name.p, rows[i].remote);
    OK(csn_mount_rclone_config(m, csn_buf_str(&name), &text, &err), &err);
    csn_buf_addf(&wanted, "[%s]\n%s", rows[i].remote, rows[i].lines);
    assert_string_equal(text.p, wanted.p);
    OK(csn_mount_rclone_path(m, &path, &err), &err);
    assert_string_equal(path.n ? path.p : "", rows[i].path);
  }
}

TEST(a_value_that_would_be_another_line_or_half_of_a_pair_is_refused)
{
  static const struct row {
    const char *json, *says;
  } rows[] = {
      {S3(",\"access_key_id\":\"I\",\"secret_access_key\":\"SECRET\\nx = y\""),
       "secret_access_key of a s3_mount holds a line break"},
      {S3(",\"region\":\"a\\rb\""), "region of a s3_mount holds"},
      {S3(",\"region\":\"`SECRET\""), "begins with a quote"},
      {S3(",\"region\":\" SECRET\""), "blanks at an end"},
      {R2(",\"custom_domain\":\"a\\nb\""), "custom_domain of a r2_mount holds"},
      {GCS(",\"access_id\":\"SECRET\""),
       "access_id and secret_access_key of a gcs_mount come together; secret_access_key is"},
      {GCS(",\"secret_access_key\":\"SECRET\""), "access_id is missing"},
      {AZURE(",\"account_key\":\"a\\nSECRET\""), "account_key of a azure_blob_mount holds"},
      {BOX(",\"token\":\"{\\nSECRET}\""), "token of a box_mount holds"},
      {HEAD "s3_files_mount" IN("s3files") ",\"file_system_id\":\"f\"}}}",
       "rclone does not serve a s3_files_mount"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(4096);
    csn_err err = {0};
    int rc = csn_mount_rclone_config(read_mount(a, rows[i].json), CSN_STR("r"), &text, &err);
    assert_true(rc < 0);
    if (!strstr(err.msg, rows[i].says) || strstr(err.msg, "SECRET"))
      fail_msg("row %zu: %s", i, err.msg);
  }
}

TEST(a_remote_has_a_name_that_cannot_be_taken_for_anything_else)
{
#define NAMED(name)                                                                                \
  HEAD "s3_mount\",\"bucket\":\"b\",\"mount_strategy\":{\"type\":\"in_container\",\"pattern\":"    \
       "{\"type\":\"rclone\",\"remote_name\":\"" name "\"}}}}}"
  static const char *const good[] = {"a", "_", "A 1.b-c"};
  static const char *const json[] = {NAMED("a"),   NAMED("_"),  NAMED("A 1.b-c"), NAMED("-a"),
                                     NAMED("a:b"), NAMED("a "), NAMED("a/b"),     NAMED("a]\\n[b")};
  for (size_t i = 0; i < CSN_COUNT(json); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_auto(csn_buf_finip) csn_buf name = CSN_BUF(256);
    csn_err err = {0};
    int rc = csn_mount_rclone_remote(read_mount(a, json[i]), CSN_STR("1"), &name, &err);
    if (i < CSN_COUNT(good)) {
      OK(rc, &err);
      assert_string_equal(name.p, good[i]);
    } else {
      assert_int_equal(rc, CSN_E_INVALID);
    }
  }
}

TEST(a_path_has_no_line_breaks)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(256);
  csn_err err = {0};
  assert_int_equal(csn_mount_rclone_path(read_mount(a, S3(",\"prefix\":\"a\\nb\"")), &path, &err),
                   CSN_E_INVALID);
  assert_non_null(strstr(err.msg, "prefix of a s3_mount"));
}

RUN_TESTS("sandbox/mount_rclone", RUN(each_kind_has_its_lines_in_their_order),
          RUN(a_value_that_would_be_another_line_or_half_of_a_pair_is_refused),
          RUN(a_remote_has_a_name_that_cannot_be_taken_for_anything_else),
          RUN(a_path_has_no_line_breaks))
