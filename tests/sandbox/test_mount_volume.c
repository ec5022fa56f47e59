/* SPDX-License-Identifier: Apache-2.0
 * test_mount_volume.c - what volume drivers are told of each kind of mount. */
#include "caisson/manifest.h"
#include "check.h"
#include "sandbox/mount_volume.h"

#define WITH(driver, options)                                                                      \
  "\"mount_strategy\":{\"type\":\"docker_volume\",\"driver\":\"" driver "\"" options "}"
#define RCLONE WITH("rclone", "")
#define POINT WITH("mountpoint", "")
#define ENTRY(type, fields) "{\"entries\":{\"e\":{\"type\":\"" type "\"," fields "}}}"
#define BUCKET ",\"bucket\":\"b\""
#define KEYS ",\"access_key_id\":\"I\",\"secret_access_key\":\"K\""
#define OTHERS "\"allow-other\":\"true\",\"uid\":\"7\",\"gid\":\"8\""

TEST(each_driver_has_its_options)
{
  static const struct {
    const char *json, *options;
  } rows[] = {
      {ENTRY("s3_mount", RCLONE BUCKET),
       "{\"type\":\"s3\",\"s3-provider\":\"AWS\",\"path\":\"b\"," OTHERS "}"},
      {ENTRY("s3_mount",
             RCLONE BUCKET KEYS ",\"session_token\":\"T\",\"prefix\":\"/p/q\",\"region\":\"r\","
                                "\"endpoint_url\":\"http://h\",\"s3_provider\":\"Minio\""),
       "{\"type\":\"s3\",\"s3-provider\":\"Minio\",\"s3-access-key-id\":\"I\","
       "\"s3-secret-access-key\":\"K\",\"s3-session-token\":\"T\",\"s3-endpoint\":\"http://h\","
       "\"s3-region\":\"r\",\"path\":\"b/p/q\"," OTHERS "}"},
      {ENTRY("r2_mount", RCLONE BUCKET KEYS ",\"account_id\":\"acc\""),
       "{\"type\":\"s3\",\"s3-provider\":\"Cloudflare\",\"s3-access-key-id\":\"I\","
       "\"s3-secret-access-key\":\"K\",\"s3-endpoint\":\"https://acc.r2.cloudflarestorage.com\","
       "\"path\":\"b\"," OTHERS "}"},
      {ENTRY("r2_mount", RCLONE BUCKET ",\"account_id\":\"acc\",\"custom_domain\":\"https://d\""),
       "{\"type\":\"s3\",\"s3-provider\":\"Cloudflare\",\"s3-endpoint\":\"https://d\","
       "\"path\":\"b\"," OTHERS "}"},
      {ENTRY("gcs_mount", RCLONE BUCKET ",\"access_id\":\"I\",\"secret_access_key\":\"K\""),
       "{\"type\":\"s3\",\"s3-provider\":\"GCS\",\"s3-access-key-id\":\"I\","
       "\"s3-secret-access-key\":\"K\",\"s3-endpoint\":\"https://storage.googleapis.com\","
       "\"path\":\"b\"," OTHERS "}"},
      {ENTRY("gcs_mount", RCLONE BUCKET ",\"service_account_file\":\"/f\",\"access_token\":\"T\""),
       "{\"type\":\"gcs\",\"gcs-service-account-file\":\"/f\","
       "\"gcs-access-token\":\"T\",\"path\":\"b\"," OTHERS "}"},
      {ENTRY("gcs_mount", RCLONE BUCKET),
       "{\"type\":\"gcs\",\"path\":\"b\",\"gcs-anonymous\":\"true\"," OTHERS "}"},
      {ENTRY("azure_blob_mount",
             RCLONE ",\"account\":\"a\",\"container\":\"c\",\"account_key\":\"K\",\"endpoint\":"
                    "\"http://h\""),
       "{\"type\":\"azureblob\",\"azureblob-account\":\"a\",\"azureblob-endpoint\":\"http://h\","
       "\"azureblob-key\":\"K\",\"path\":\"c\"," OTHERS "}"},
      {ENTRY("azure_blob_mount",
             RCLONE ",\"account\":\"a\",\"container\":\"c\",\"identity_client_id\":\"m\""),
       "{\"type\":\"azureblob\",\"azureblob-account\":\"a\",\"azureblob-msi-client-id\":\"m\","
       "\"path\":\"c\",\"azureblob-use-msi\":\"true\"," OTHERS "}"},
      {ENTRY("box_mount",
             RCLONE ",\"path\":\"/p\",\"client_id\":\"i\",\"client_secret\":\"s\","
                    "\"access_token\":\"a\",\"token\":\"t\",\"box_config_file\":\"f\","
                    "\"config_credentials\":\"c\",\"box_sub_type\":\"enterprise\","
                    "\"root_folder_id\":\"r\",\"impersonate\":\"m\",\"owned_by\":\"o\""),
       "{\"type\":\"box\",\"box-client-id\":\"i\",\"box-client-secret\":\"s\","
       "\"box-access-token\":\"a\",\"box-token\":\"t\",\"box-box-config-file\":\"f\","
       "\"box-config-credentials\":\"c\",\"box-box-sub-type\":\"enterprise\","
       "\"box-root-folder-id\":\"r\",\"box-impersonate\":\"m\",\"box-owned-by\":\"o\","
       "\"path\":\"p\"," OTHERS "}"},
      {ENTRY("s3_mount",
             POINT BUCKET KEYS ",\"session_token\":\"T\",\"prefix\":\"p\",\"region\":\"r\","
                               "\"endpoint_url\":\"u\""),
       "{\"bucket\":\"b\",\"access_key_id\":\"I\",\"secret_access_key\":\"K\","
       "\"session_token\":\"T\",\"endpoint_url\":\"u\",\"region\":\"r\",\"prefix\":\"p\"}"},
      {ENTRY("gcs_mount", POINT BUCKET ",\"access_id\":\"I\",\"secret_access_key\":\"K\""),
       "{\"bucket\":\"b\",\"access_key_id\":\"I\",\"secret_access_key\":\"K\"}"},
      {ENTRY("s3_mount", WITH("rclone", ",\"driver_options\":{\"s3-provider\":\"Ceph\",\"uid\":"
                                        "null,\"vfs-cache-mode\":\"writes\"}") BUCKET),
       "{\"type\":\"s3\",\"s3-provider\":\"Ceph\",\"path\":\"b\",\"allow-other\":\"true\",\"gid\":"
       "\"8\",\"vfs-cache-mode\":\"writes\"}"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 16);
    const csn_json *v;
    csn_manifest *m;
    csn_err err;
    csn_jw w;
    OK(csn_json_parse(a, csn_cstr(rows[i].json), &v, &err), &err);
    OK(csn_manifest_from_json(a, v, &m, &err), &err);
    csn_jw_init(&w, &text);
    csn_jw_obj(&w);
    OK(csn_mount_volume_options(csn_manifest_mount(m, 0, NULL), 7, 8, &w, &err), &err);
    csn_jw_end(&w);
    OK(csn_jw_done(&w, &err), &err);
    assert_string_equal(text.p, rows[i].options);
  }
}

TEST(a_volume_has_a_name_of_its_place)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf name = CSN_BUF(200);
  const csn_json *v;
  csn_manifest *m;
  csn_err err;
  OK(csn_json_parse(a, CSN_STR(ENTRY("s3_mount", RCLONE BUCKET)), &v, &err), &err);
  OK(csn_manifest_from_json(a, v, &m, &err), &err);
  const csn_mount *mount = csn_manifest_mount(m, 0, NULL);
  assert_true(csn_mount_is_volume(mount));
  csn_mount_volume_name("box", mount, &name); /* of sha256("/workspace/e") */
  assert_string_equal(name.p, "box-a1c7aa8b7162");
}

RUN_TESTS("sandbox/mount_volume", RUN(each_driver_has_its_options),
          RUN(a_volume_has_a_name_of_its_place))
