/* SPDX-License-Identifier: Apache-2.0
 *
 * test_manifest_kinds.c - kinds of entries that bring more than a file: mounts,
 * archives, addresses; ephemeral ones; values of the environment that are found. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "caisson/manifest.h"
#include "check.h"
#include "place.h"
#include "sandbox/manifest_mount.h"

#define COMMON(ephemeral, dir)                                                                     \
  "\"description\":null,\"ephemeral\":" ephemeral ",\"group\":null,\"is_dir\":" dir                \
  ",\"permissions\":{\"owner\":7,\"group\":5,\"other\":5,\"directory\":" dir "}"
#define MOUNT(type) "{\"type\":\"" type "\"," COMMON("true", "true")
#define IN(pattern)                                                                                \
  ",\"mount_path\":null,\"read_only\":true,\"mount_strategy\":{\"type\":\"in_container\","         \
  "\"pattern\":" pattern "}"
#define RCLONE                                                                                     \
  "{\"type\":\"rclone\",\"mode\":\"fuse\",\"remote_name\":null,\"extra_args\":[],\"nfs_addr\":"    \
  "null,\"nfs_mount_options\":null,\"config_file_path\":null}"
#define S3                                                                                         \
  ",\"bucket\":\"b\",\"access_key_id\":null,\"secret_access_key\":null,\"session_token\":null,"    \
  "\"prefix\":null,\"region\":null,\"endpoint_url\":null,\"s3_provider\":\"AWS\"}"
#define SUM "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static int
read_manifest(csn_arena *a, const char *json, csn_manifest **out, csn_err *err)
{
  const csn_json *v;
  OK(csn_json_parse(a, csn_cstr(json), &v, err), err);
  return csn_manifest_from_json(a, v, out, err);
}

/* A manifest with one entry `e`. */
static int
read_entry(csn_arena *a, const char *entry, csn_manifest **out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf json = CSN_BUF(1 << 16);
  csn_buf_addf(&json, "{\"entries\":{\"e\":%s}}", entry);
  return read_manifest(a, csn_arena_dup(a, csn_buf_str(&json)).p, out, err);
}

static csn_str
written(csn_arena *a, const csn_manifest *m, const char *key)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 20), one = CSN_BUF(1 << 20);
  const csn_json *v;
  csn_err err;
  csn_jw w;
  csn_jw_init(&w, &out);
  csn_manifest_to_json(m, &w);
  OK(csn_jw_done(&w, &err), &err);
  OK(csn_json_parse(a, csn_arena_dup(a, csn_buf_str(&out)), &v, &err), &err);
  csn_jw_init(&w, &one);
  csn_jw_value(&w, csn_json_get(csn_json_get(v, "entries"), key));
  return csn_arena_dup(a, csn_buf_str(&one));
}

TEST(entries_of_every_kind_go_out_as_they_came_in)
{
  static const char *const rows[] = {
      MOUNT("s3_mount") IN(RCLONE) S3,
      MOUNT("s3_mount")
          IN("{\"type\":\"mountpoint\",\"options\":{\"prefix\":null,\"region\":\"eu\","
             "\"endpoint_url\":null}}") S3,
      MOUNT(
          "s3_mount") ",\"mount_path\":\"/mnt/x\",\"read_only\":false,\"mount_strategy\":{\"type\":"
                      "\"docker_volume\",\"driver\":\"rclone\",\"driver_options\":{\"a\":\"b\"}"
                      "}" S3,
      MOUNT("s3_mount") ",\"mount_path\":null,\"read_only\":true,\"mount_strategy\":{\"type\":"
                        "\"e2b_cloud_bucket\",\"more\":[1,{\"x\":null}]}" S3,
      MOUNT("r2_mount") IN(RCLONE) ",\"bucket\":\"b\",\"account_id\":\"a\",\"access_key_id\":\"k\","
                                   "\"secret_access_key\":\"s\",\"custom_domain\":null}",
      MOUNT("gcs_mount")
          IN(RCLONE) ",\"bucket\":\"b\",\"access_id\":null,\"secret_access_key\":null,"
                     "\"prefix\":\"p\",\"region\":null,\"endpoint_url\":null,"
                     "\"service_account_file\":null,\"service_account_credentials\":"
                     "null,\"access_token\":null}",
      MOUNT("azure_blob_mount") IN("{\"type\":\"fuse\",\"allow_other\":true,\"log_type\":"
                                   "\"syslog\",\"log_level\":"
                                   "\"log_debug\",\"cache_type\":\"block_cache\",\"cache_path\":"
                                   "\"c/d\",\"cache_size_mb\":null,"
                                   "\"block_cache_block_size_mb\":16,\"block_cache_disk_timeout_"
                                   "sec\":3600,"
                                   "\"file_cache_timeout_sec\":120,\"file_cache_max_size_mb\":null,"
                                   "\"attr_cache_timeout_sec\":"
                                   "null,\"entry_cache_timeout_sec\":null,\"negative_entry_cache_"
                                   "timeout_sec\":7}") ",\"account\":\"a\",\"container\":\"c\","
                                                       "\"endpoint\":null,\"identity_client_id\":"
                                                       "null,"
                                                       "\"account_key\":null}",
      MOUNT("box_mount")
          IN(RCLONE) ",\"path\":null,\"client_id\":null,\"client_secret\":null,"
                     "\"access_token\":\"t\",\"token\":null,\"box_config_file\":null,"
                     "\"config_credentials\":null,\"box_sub_type\":\"user\","
                     "\"root_folder_id\":null,\"impersonate\":null,\"owned_by\":null}",
      MOUNT("s3_files_mount") IN(
          "{\"type\":\"s3files\",\"options\":{\"mount_target_ip\":null,\"access_point\":null,"
          "\"region\":null,\"extra_options\":{}}}") ",\"file_system_id\":\"fs-1\",\"subpath\":null,"
                                                    "\"mount_target_ip\":null,\"access_point\":"
                                                    "null,"
                                                    "\"region\":null,\"extra_options\":{\"x\":null}"
                                                    "}",
      "{\"type\":\"file\"," COMMON("false", "false") ",\"content_base64\":\"AP8=\"}",
      "{\"type\":\"local_dir\"," COMMON("false",
                                        "true") ",\"src\":\"y\",\"exclude\":[\"*.o\",\"a/b\"]}",
      "{\"type\":\"git_repo\"," COMMON(
          "false",
          "true") ",\"host\":\"git.example.com\",\"repo\":\"o/r\",\"ref\":\"v1\",\"subpath\":"
                  "null,\"submodules\":true,\"secret\":\"TOKEN\"}",
      "{\"type\":\"git_repo\"," COMMON("false",
                                       "true") ",\"host\":\"github.com\",\"repo\":\"o/r\","
                                               "\"ref\":\"v1\",\"subpath\":\"a\",\"secret\":{"
                                               "\"from_env\":\"T\"}}",
      "{\"type\":\"archive\"," COMMON("false",
                                      "true") ",\"src\":\"a.tgz\",\"sha256\":\"" SUM
                                              "\",\"strip_components\":1,\"archive_limits\":"
                                              "{\"max_input_bytes\":5,\"max_extracted_bytes\":"
                                              "6,\"max_members\":7}}",
      "{\"type\":\"url\"," COMMON("false",
                                  "false") ",\"url\":\"https://example.com/a\",\"sha256\":null,"
                                           "\"extract\":false,\"strip_components\":0,"
                                           "\"archive_limits\":null,\"allow_private\":[]}",
      "{\"type\":\"url\"," COMMON("false",
                                  "true") ",\"url\":\"http://127.0.0.1:80/a\",\"sha256\":\"" SUM
                                          "\",\"extract\":true,\"strip_components\":2,"
                                          "\"archive_limits\":null,\"allow_private\":["
                                          "\"127.0.0.1:80\"]}",
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_manifest *m;
    csn_err err;
    OK(read_entry(a, rows[i], &m, &err), &err);
    STR_EQ(written(a, m, "e"), rows[i]);
  }
}

TEST(a_mount_can_be_asked_for_what_it_is)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_manifest *m;
  csn_err err;
  const char *where;
  OK(read_manifest(
         a,
         "{\"entries\":{\"a\":{\"type\":\"s3_mount\",\"bucket\":\"b\",\"mount_strategy\":{"
         "\"type\":\"in_container\",\"pattern\":{\"type\":\"rclone\"}}},\"d/e\":{\"type\":"
         "\"box_mount\",\"access_token\":\"t\",\"mount_path\":\"x/y/z\",\"read_only\":false,"
         "\"mount_strategy\":{\"type\":\"in_container\",\"pattern\":{\"type\":\"rclone\","
         "\"mode\":\"nfs\"}}}}}",
         &m, &err),
     &err);
  const csn_mount *deep = csn_manifest_mount(m, 0, &where), *flat = csn_manifest_mount(m, 1, NULL);
  assert_string_equal(where, "entries.d/e");
  assert_null(csn_manifest_mount(m, 2, NULL));
  STR_EQ(deep->place, "/workspace/x/y/z");
  STR_EQ(deep->inside, "x/y/z");
  assert_false(deep->is_read_only);
  STR_EQ(csn_mount_text(deep, "box_sub_type"), "user");
  STR_EQ(csn_mount_text(deep, "access_token"), "t");
  STR_EQ(flat->place, "/workspace/a");
  assert_int_equal(flat->pattern, CSN_MOUNT_RCLONE);
  STR_EQ(csn_mount_text(flat, "bucket"), "b");
  STR_EQ(csn_mount_text(flat, "s3_provider"), "AWS");
  STR_EQ(csn_mount_text(flat, "nothing"), "");
  assert_int_equal(csn_manifest_check_mounts(m, "local", NULL, &err), CSN_E_UNSUPPORTED);
  assert_non_null(strstr(err.msg, "entries.d/e: a box_mount at /workspace/x/y/z"));
  csn_auto(csn_buf_finip) csn_buf tree = CSN_BUF(4096);
  csn_manifest_describe(m, &tree);
  STR_EQ(csn_buf_str(&tree), "/workspace\n"
                             "├── a/      # /workspace/a\n"
                             "└── d/      # /workspace/d\n"
                             "    └── e/  # /workspace/x/y/z\n");
  const char *const *omit = csn_manifest_ephemeral(m, a);
  assert_string_equal(omit[0], "a");
  assert_string_equal(omit[1], "x/y/z");
  assert_null(omit[2]);
}

TEST(mistakes_in_these_kinds_are_named)
{
#define S3_WITH(strategy) "{\"type\":\"s3_mount\",\"bucket\":\"b\",\"mount_strategy\":" strategy "}"
  static const struct {
    const char *entry, *msg;
  } rows[] = {
      {"{\"type\":\"s3_mount\",\"bucket\":\"b\"}", "entries.e: needs the key \"mount_strategy\""},
      {"{\"type\":\"s3_mount\",\"mount_strategy\":{\"type\":\"e2b_cloud_bucket\"}}",
       "entries.e: needs the key \"bucket\""},
      {S3_WITH("{\"type\":\"in_container\"}"), "mount_strategy.pattern: expected an object"},
      {S3_WITH("{\"type\":\"in_container\",\"pattern\":{\"type\":\"fuse\"}}"),
       "a s3_mount has no pattern \"fuse\" (mount_config_invalid)"},
      {S3_WITH("{\"type\":\"docker_volume\",\"driver\":\"nfs\"}"),
       "a s3_mount has no volume driver \"nfs\""},
      {S3_WITH("{\"type\":\"magic\"}"), "mount_strategy.type: \"magic\" is not known"},
      {S3_WITH("{\"type\":\"in_container\",\"pattern\":{\"type\":\"rclone\",\"mode\":\"ftp\"}}"),
       "pattern.mode: expected fuse or nfs"},
      {S3_WITH(
           "{\"type\":\"in_container\",\"pattern\":{\"type\":\"rclone\",\"extra_args\":\"x\"}}"),
       "pattern.extra_args: expected a list of strings"},
      {S3_WITH("{\"type\":\"in_container\",\"pattern\":{\"type\":\"rclone\",\"nope\":1}}"),
       "pattern.nope: unknown key"},
      {"{\"type\":\"r2_mount\",\"bucket\":\"b\",\"account_id\":\"a\",\"access_key_id\":\"k\","
       "\"mount_strategy\":{\"type\":\"e2b_cloud_bucket\"}}",
       "access_key_id and secret_access_key come together"},
      {"{\"type\":\"s3_mount\",\"bucket\":\"b\",\"mount_path\":\"../"
       "x\",\"mount_strategy\":{\"type\":"
       "\"e2b_cloud_bucket\"}}",
       "entries.e.mount_path: expected an absolute path, or one in the workspace"},
      {"{\"type\":\"s3_mount\",\"bucket\":\"b\",\"mount_path\":\"/workspace\",\"mount_strategy\":{"
       "\"type\":\"e2b_cloud_bucket\"}}",
       "cannot take the place of the whole workspace"},
      {"{\"type\":\"url\",\"url\":\"http://example.com/a\"}", "entries.e.url: expected https://"},
      {"{\"type\":\"url\",\"url\":\"http://127.0.0.1:81/\",\"allow_private\":[\"127.0.0.1:80\"]}",
       "entries.e.url: expected https://"},
      {"{\"type\":\"url\",\"url\":\"http://10.0.0.1:80/\",\"allow_private\":[\"10.0.0.1:80\"]}",
       "entries.e.url: expected https://"},
      {"{\"type\":\"url\",\"url\":\"https://u:p@example.com/\"}", "a name and a password"},
      {"{\"type\":\"url\",\"url\":\"https://example.com/a b\"}", "holds a blank"},
      {"{\"type\":\"url\",\"url\":\"https://e.com\",\"allow_private\":[\"localhost:1\"]}",
       "allow_private: expected ADDRESS:PORT"},
      {"{\"type\":\"url\",\"url\":\"https://e.com\",\"sha256\":\"12\"}",
       "sha256: expected the 64 hexadecimal digits"},
      {"{\"type\":\"url\",\"url\":\"https://e.com\",\"strip_components\":1}", "only with `extract"},
      {"{\"type\":\"archive\",\"src\":\"a\",\"archive_limits\":{\"max_members\":0}}",
       "archive_limits.max_members: expected a whole number from 1"},
      {"{\"type\":\"archive\"}", "entries.e: needs the key \"src\""},
      {"{\"type\":\"git_repo\",\"repo\":\"o/r\",\"ref\":\"m\",\"secret\":{}}",
       "secret: expected the name of a secret"},
      {"{\"type\":\"s3_mount\",\"bucket\":\"b\",\"session_token\":{\"from_env\":\"A\","
       "\"from_file\":\"b\"},\"mount_strategy\":{\"type\":\"e2b_cloud_bucket\"}}",
       "session_token: expected a string, or one of from_env and from_file"},
      {"{\"type\":\"git_repo\",\"repo\":\"file:///r\",\"ref\":\"m\",\"secret\":\"X\"}",
       "secret: a repository of this machine takes none"},
      {"{\"type\":\"local_dir\",\"src\":\"a\",\"exclude\":\"*.o\"}", "exclude: expected a list"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_manifest *m;
    csn_err err = {0};
    int rc = read_entry(a, rows[i].entry, &m, &err);
    if (rc >= 0 || !strstr(err.msg, rows[i].msg))
      fail_msg("%s: got '%s', expected '%s'", rows[i].entry, rc < 0 ? err.msg : "success",
               rows[i].msg);
  }
}

TEST(nothing_lies_inside_a_mount)
{
#define AT(path)                                                                                   \
  "{\"type\":\"s3_mount\",\"bucket\":\"b\"" path                                                   \
  ",\"mount_strategy\":{\"type\":\"e2b_cloud_bucket\"}}"
#define F "{\"type\":\"file\",\"content\":\"\"}"
  static const struct {
    const char *entries, *msg; /* NULL: fine */
  } rows[] = {
      {"\"m\":" AT("") ",\"m/f\":" F, "entries.m/f: lies inside entries.m, which is a mount"},
      {"\"m\":" AT("") ",\"n\":" AT(",\"mount_path\":\"m\""),
       "entries.n: the same place as entries.m"},
      {"\"m\":" AT(",\"mount_path\":\"d\"") ",\"d/f\":" F,
       "entries.d/f: lies inside entries.m, which is a mount"},
      {"\"m\":" AT(",\"mount_path\":\"/workspace/f/x\"") ",\"f\":" F,
       "entries.m: lies inside entries.f, which is a file"},
      {"\"m\":" AT(",\"mount_path\":\"/mnt/d\"") ",\"d/f\":" F, NULL},
      {"\"m\":" AT(",\"mount_path\":\"d/e\"") ",\"d/f\":" F, NULL},
      {"\"README\":" F ",\"readme\":" F, NULL}, /* case counts */
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_auto(csn_buf_finip) csn_buf json = CSN_BUF(1 << 16);
    csn_manifest *m;
    csn_err err = {0};
    csn_buf_addf(&json, "{\"entries\":{%s}}", rows[i].entries);
    int rc = read_manifest(a, json.p, &m, &err);
    if (!rows[i].msg) {
      OK(rc, &err);
      continue;
    }
    assert_int_equal(rc, CSN_E_CONFLICT);
    if (!strstr(err.msg, rows[i].msg))
      fail_msg("got '%s', expected '%s'", err.msg, rows[i].msg);
  }
}

/* ---- on disk ---- */

static int
apply(csn_arena *a, const char *json, const place *work, const place *source, bool only_ephemeral,
      csn_err *err)
{
  csn_manifest *m;
  OK(read_manifest(a, json, &m, err), err);
  csn_materialize to = {
      .workspace_fd = work->fd, .base_fd = -1, .source_fd = source->fd, .uid = -1, .gid = -1};
  return only_ephemeral ? csn_manifest_apply_ephemeral(m, NULL, &to, err)
                        : csn_manifest_apply(m, NULL, &to, err);
}

static bool
is_there(const place *pl, const char *path)
{
  return faccessat(pl->fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void
has_text(const place *pl, const char *path, const char *text)
{
  csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(1 << 20);
  csn_err err;
  OK(csn_file_read(pl->fd, path, &got, &err), &err);
  STR_EQ(csn_buf_str(&got), text);
}

TEST(only_ephemeral_entries_are_made_again)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  place work, source;
  csn_err err;
  open_place(&work);
  open_place(&source);
  put(&source, "tools/t", "tool", 0755);
  put(&work, "kept", "mine", 0644);
  put(&work, "d/e", "old", 0644);
  put(&work, "tools/stale", "old", 0644);
  OK(apply(a,
           "{\"entries\":{\"kept\":{\"type\":\"file\",\"content\":\"theirs\"},\"d\":{\"type\":"
           "\"dir\","
           "\"children\":{\"e\":{\"type\":\"file\",\"content\":\"new\",\"ephemeral\":true},\"f\":{"
           "\"type\":\"file\",\"content\":\"f\"}}},\"x\":{\"type\":\"dir\",\"ephemeral\":true,"
           "\"children\":{\"y\":{\"type\":\"file\",\"content\":\"y\"}}},\"tools\":{\"type\":"
           "\"local_dir\",\"src\":\"tools\",\"ephemeral\":true}}}",
           &work, &source, true, &err),
     &err);
  has_text(&work, "kept", "mine");
  has_text(&work, "d/e", "new");
  has_text(&work, "x/y", "y");
  has_text(&work, "tools/t", "tool");
  assert_false(is_there(&work, "tools/stale"));
  assert_false(is_there(&work, "d/f"));
  /* Where a snapshot has a link instead of a folder, nothing is written. */
  assert_int_equal(symlinkat(source.path, work.fd, "l"), 0);
  int rc =
      apply(a, "{\"entries\":{\"l/n\":{\"type\":\"file\",\"content\":\"\",\"ephemeral\":true}}}",
            &work, &source, true, &err);
  assert_true(rc < 0);
  assert_false(is_there(&source, "n"));
  close_place(&work);
  close_place(&source);
}

TEST(what_a_folder_excludes_is_not_copied)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  place work, source;
  csn_err err;
  open_place(&work);
  open_place(&source);
  static const char *const files[] = {"s/a.c",         "s/a.o",       "s/sub/b.o",    "s/build/x",
                                      "s/sub/build/y", "s/doc/gen/z", "s/other/gen/z"};
  for (size_t i = 0; i < CSN_COUNT(files); i++)
    put(&source, files[i], "x", 0644);
  OK(apply(a,
           "{\"entries\":{\"s\":{\"type\":\"local_dir\",\"src\":\"s\",\"exclude\":[\"*.o\","
           "\"/build/\",\"doc/gen\"]}}}",
           &work, &source, false, &err),
     &err);
  assert_true(is_there(&work, "s/a.c"));
  assert_false(is_there(&work, "s/a.o"));
  assert_false(is_there(&work, "s/sub/b.o"));
  assert_false(is_there(&work, "s/build"));
  assert_true(is_there(&work, "s/doc"));
  assert_false(is_there(&work, "s/doc/gen"));
  assert_true(is_there(&work, "s/other/gen/z"));
  close_place(&work);
  close_place(&source);
}

static int
give_group(void *user, const char *name, gid_t *gid, csn_err *err)
{
  (void)user;
  *gid = getegid();
  return strcmp(name, "staff") == 0 ? 0 : csn_fail(err, CSN_E_NOT_FOUND, "no such group");
}

TEST(modes_and_groups_are_those_that_were_declared)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  place work;
  struct stat st;
  csn_manifest *m;
  csn_err err;
  open_place(&work);
  OK(read_manifest(
         a,
         "{\"entries\":{\"f\":{\"type\":\"file\",\"content\":\"\",\"permissions\":\"-rw-r-----\","
         "\"group\":{\"name\":\"staff\"}},\"d\":{\"type\":\"dir\",\"permissions\":"
         "\"dr-xr-s--T.\",\"group\":{\"name\":\"staff\",\"users\":[]}}}}",
         &m, &err),
     &err);
  csn_materialize to = {
      .workspace_fd = work.fd, .base_fd = -1, .source_fd = -1, .uid = -1, .gid = -1};
  assert_int_equal(csn_manifest_apply(m, NULL, &to, &err), CSN_E_UNSUPPORTED);
  assert_non_null(strstr(err.msg, "entries.f: group staff"));
  assert_int_equal(unlinkat(work.fd, "f", 0), 0);
  to.group = give_group;
  OK(csn_manifest_apply(m, NULL, &to, &err), &err);
  assert_int_equal(fstatat(work.fd, "f", &st, 0), 0);
  assert_int_equal(st.st_mode & 07777, 0640);
  assert_int_equal(st.st_gid, getegid());
  assert_int_equal(fstatat(work.fd, "d", &st, 0), 0);
  assert_int_equal(st.st_mode & 07777, 0550);
  close_place(&work);
}

/* ---- environment ---- */

static int
find_value(void *user, csn_scope *sc, const csn_json *in, csn_buf *out, csn_err *err)
{
  (void)sc;
  csn_str key = csn_json_str(csn_json_get(in, "value"), "key", CSN_STR(""));
  if (!csn_str_eq(csn_json_str(in, "for", CSN_STR("")), CSN_STR("environment")))
    return csn_fail(err, CSN_E_INVALID, "asked for something else");
  csn_buf_addf(out, "{\"value\":\"%s%.*s\"}", (const char *)user, (int)key.n, key.p);
  return 0;
}

static const csn_callback *
find_callback(void *user, csn_str type)
{
  return csn_str_eq(type, CSN_STR("vault")) ? user : NULL;
}

TEST(values_of_the_environment_are_found_when_they_are_needed)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_callback vault = {sizeof vault, "vault", find_value, "found "};
  place source;
  csn_manifest *m;
  csn_err err;
  const char *const *env;
  open_place(&source);
  put(&source, "v", "from a file\n", 0600);
  setenv("CSN_TEST_VALUE", "from here", 1);
  static const char json[] =
      "{\"environment\":{\"value\":{\"A\":\"1\",\"B\":{\"type\":\"env\",\"name\":\"CSN_TEST_"
      "VALUE\"},"
      "\"C\":{\"description\":\"d\",\"ephemeral\":false,\"value\":{\"type\":\"file\",\"path\":"
      "\"v\"}},"
      "\"D\":{\"type\":\"vault\",\"key\":\"k\"},\"E\":{\"type\":\"env\",\"name\":\"CSN_NOT_SET\","
      "\"default\":\"other\"}}}}";
  OK(read_manifest(a, json, &m, &err), &err);
  csn_env_source from = {source.fd, find_callback, &vault};
  OK(csn_manifest_check_environment(m, &from, &err), &err);
  OK(csn_manifest_resolve(m, NULL, &from, a, &env, &err), &err);
  static const char *const want[] = {"A=1", "B=from here", "C=from a file", "D=found k", "E=other"};
  for (size_t i = 0; i < CSN_COUNT(want); i++)
    assert_string_equal(env[i], want[i]);
  assert_null(env[5]);
  assert_string_equal(csn_manifest_environment(m)[0], "A=1");
  assert_null(csn_manifest_environment(m)[1]);

  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 16);
  csn_jw w;
  csn_jw_init(&w, &out);
  csn_manifest_to_json(m, &w);
  OK(csn_jw_done(&w, &err), &err);
  assert_non_null(strstr(out.p, "\"D\":{\"type\":\"vault\",\"key\":\"k\"}"));
  assert_null(strstr(out.p, "from here"));

  from.find = NULL;
  assert_int_equal(csn_manifest_check_environment(m, &from, &err), CSN_E_UNSUPPORTED);
  assert_non_null(strstr(err.msg, "environment.D: nothing finds values of the type \"vault\""));
  OK(read_manifest(
         a, "{\"environment\":{\"value\":{\"A\":{\"type\":\"env\",\"name\":\"CSN_NOT_SET\"}}}}", &m,
         &err),
     &err);
  assert_int_equal(csn_manifest_resolve(m, NULL, &from, a, &env, &err), CSN_E_INVALID);
  assert_non_null(strstr(err.msg, "environment.A: the variable CSN_NOT_SET is not set here"));
  close_place(&source);
}

TEST(credentials_of_a_mount_are_found_and_kept_out_of_journals)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf whole = CSN_BUF(1 << 16), kept = CSN_BUF(1 << 16);
  csn_mount **list;
  place source;
  csn_manifest *m;
  csn_err err;
  csn_jw w;
  open_place(&source);
  put(&source, "token", "T-FILE\n", 0600);
  setenv("CSN_TEST_VALUE", "K-ENV", 1);
  OK(read_entry(a,
                "{\"type\":\"s3_mount\",\"bucket\":\"b\",\"access_key_id\":\"I-TEXT\","
                "\"secret_access_key\":{\"from_env\":\"CSN_TEST_VALUE\"},\"session_token\":{"
                "\"from_file\":\"token\"},\"mount_strategy\":{\"type\":\"e2b_cloud_bucket\"}}",
                &m, &err),
     &err);
  csn_jw_init(&w, &whole);
  csn_manifest_to_json(m, &w);
  OK(csn_jw_done(&w, &err), &err);
  csn_jw_init(&w, &kept);
  csn_manifest_to_journal(m, &w);
  OK(csn_jw_done(&w, &err), &err);
  assert_non_null(
      strstr(whole.p, "\"access_key_id\":\"I-TEXT\",\"secret_access_key\":{\"from_env\""));
  assert_null(strstr(kept.p, "I-TEXT"));
  assert_non_null(
      strstr(kept.p, "\"access_key_id\":{\"not_kept\":true},\"secret_access_key\":{\"from_"));

  OK(csn_manifest_mounts(m, source.fd, a, &list, &err), &err);
  assert_string_equal(csn_mount_text(list[0], "access_key_id").p, "I-TEXT");
  assert_string_equal(csn_mount_text(list[0], "secret_access_key").p, "K-ENV");
  assert_string_equal(csn_mount_text(list[0], "session_token").p, "T-FILE");
  assert_null(list[1]);
  csn_mounts_wipe(list);
  assert_string_equal(csn_mount_text(list[0], "session_token").p, "");
  assert_true(csn_str_eq(csn_mount_text(csn_manifest_mount(m, 0, NULL), "access_key_id"),
                         CSN_STR("I-TEXT")));

  OK(read_manifest(a, kept.p, &m, &err), &err);
  assert_int_equal(csn_manifest_mounts(m, source.fd, a, &list, &err), CSN_E_INVALID);
  assert_non_null(strstr(err.msg, "entries.e: access_key_id: it stood in the agent file"));
  unsetenv("CSN_TEST_VALUE");
  OK(read_entry(a,
                "{\"type\":\"azure_blob_mount\",\"account\":\"a\",\"container\":\"c\","
                "\"account_key\":{\"from_env\":\"CSN_TEST_VALUE\"},\"mount_strategy\":{\"type\":"
                "\"e2b_cloud_bucket\"}}",
                &m, &err),
     &err);
  assert_int_equal(csn_manifest_mounts(m, source.fd, a, &list, &err), CSN_E_INVALID);
  assert_non_null(strstr(err.msg, "account_key: the variable CSN_TEST_VALUE is not set"));
  close_place(&source);
}

RUN_TESTS("sandbox/manifest_kinds", RUN(entries_of_every_kind_go_out_as_they_came_in),
          RUN(a_mount_can_be_asked_for_what_it_is), RUN(mistakes_in_these_kinds_are_named),
          RUN(nothing_lies_inside_a_mount), RUN(only_ephemeral_entries_are_made_again),
          RUN(what_a_folder_excludes_is_not_copied),
          RUN(modes_and_groups_are_those_that_were_declared),
          RUN(values_of_the_environment_are_found_when_they_are_needed),
          RUN(credentials_of_a_mount_are_found_and_kept_out_of_journals))
