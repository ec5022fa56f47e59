/* SPDX-License-Identifier: Apache-2.0
 *
 * test_mount_inside.c - the commands that mount inside of a sandbox: the scripts
 * run for real, the tools are ones that write down what they are told, how their
 * configuration is kept, and fail when they shall. */
#include "sandbox/mount_inside.h"

#include <dirent.h>
#include <sys/stat.h>

#include "caisson/manifest.h"
#include "place.h"
#include "sandbox/mount_plan.h"

#define IN(type, pattern)                                                                          \
  "\"mount_strategy\":{\"type\":\"in_container\",\"pattern\":{\"type\":\"" type "\"" pattern "}}"
#define ENTRY(type, fields) "{\"entries\":{\"d a\":{\"type\":\"" type "\"," fields "}}}"
#define KEYS ",\"access_key_id\":\"id\",\"secret_access_key\":\"it's secret\""
#define S3 ",\"bucket\":\"b\""

/* Writes $OUT/NAME; a configuration as its folder's mode, its own and what it
 * holds; says and fails as $FAILS wants. */
static const char tool[] =
    "#!/bin/sh\n"
    "{ for a do case $a in\n"
    "  /tmp/.caisson-*/conf*) echo \"conf $(stat -c %a \"${a%/*}\" \"$a\" | tr '\\n' ' ')\"; "
    "cat \"$a\" ;;\n"
    "  /tmp/.caisson-*/log) echo LOG ;;\n"
    "  *) printf '%s\\n' \"$a\" ;;\n"
    "esac; done; env | grep ^AWS_ | sort; } >>\"$OUT/${0##*/}\"\n"
    "[ \"$1\" != serve ] || [ \"$3\" != --help ] || : >\"$OUT/rclone\"\n"
    "[ -z \"$FAILS\" ] || { echo \"$FAILS\"; exit 1; }\n";

struct world {
  place tools, out;
  csn_sandbox *sb;
};

static void
open_world(struct world *w, const char *fails)
{
  static const char *const names[] = {"rclone",    "fusermount3", "mount", "mount.nfs", "mount-s3",
                                      "blobfuse2", "umount",      "sudo",  "fusermount"};
  char path[200], out[200], says[400];
  csn_err err;
  open_place(&w->tools);
  open_place(&w->out);
  for (size_t i = 0; i < CSN_COUNT(names); i++) {
    OK(csn_file_write(w->tools.fd, names[i], csn_cstr(tool), 0700, false, &err), &err);
  }
  snprintf(path, sizeof path, "PATH=%s:/usr/bin:/bin", w->tools.path);
  snprintf(out, sizeof out, "OUT=%s", w->out.path);
  snprintf(says, sizeof says, "FAILS=%s", fails);
  const char *const environment[] = {path, out, says, NULL};
  csn_sandbox_spec spec = {
      .backend = "local", .workspace_fd = -1, .lock_fd = -1, .environment = environment};
  OK(csn_sandbox_open(&w->sb, NULL, &spec, &err), &err);
}

static void
close_world(struct world *w)
{
  csn_sandbox_close(w->sb);
  close_place(&w->tools);
  close_place(&w->out);
}

/* The mount of that manifest, with its place in the sandbox's workspace. */
static csn_mount *
mount_of(csn_arena *a, const char *json, const char *root)
{
  const csn_json *v;
  csn_manifest *m;
  csn_err err;
  OK(csn_json_parse(a, csn_cstr(json), &v, &err), &err);
  OK(csn_manifest_from_json(a, v, &m, &err), &err);
  csn_mount *mount = csn_arena_alloc(a, sizeof *mount);
  *mount = *csn_manifest_mount(m, 0, NULL);
  if (root)
    mount->place = csn_arena_printf(a, "%s/d a", root);
  return mount;
}

static size_t
leftovers(void)
{
  DIR *d = opendir("/tmp");
  size_t n = 0;
  for (struct dirent *e; (e = readdir(d));)
    n += strncmp(e->d_name, ".caisson-", 9) == 0;
  closedir(d);
  return n;
}

/* What a tool wrote, with the place as P. */
static const char *
told(csn_arena *a, const struct world *w, const char *name, csn_str at)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 16), out = CSN_BUF(1 << 16);
  csn_err err;
  if (csn_file_read(w->out.fd, name, &text, &err) < 0)
    return "";
  csn_str rest = csn_buf_str(&text), line;
  while (csn_str_line(&rest, &line)) {
    csn_buf_add(&out, csn_str_eq(line, at) ? CSN_STR("P") : line);
    csn_buf_addc(&out, '\n');
  }
  return csn_arena_dup(a, csn_buf_str(&out)).p;
}

#define S3_LINES "type = s3\nprovider = AWS\nenv_auth = false\n"

static const struct row {
  const char *json, *name, *told;
} rows[] = {
    {ENTRY("s3_mount", IN("rclone", ",\"remote_name\":\"r\"") S3 ",\"prefix\":\"p\"" KEYS),
     "rclone",
     "mount\nr:b/p\nP\n--config\nconf 700 600 \n[r]\n" S3_LINES
     "access_key_id = id\nsecret_access_key = it's secret\n--daemon\n--log-file\nLOG\n"
     "--read-only\n"},
    {ENTRY("s3_mount", IN("rclone", ",\"remote_name\":\"r\",\"extra_args\":[\"--uid\",\"7 8\"]") S3
           ",\"read_only\":false"),
     "rclone",
     "mount\nr:b\nP\n--config\nconf 700 600 \n[r]\n" S3_LINES
     "--daemon\n--log-file\nLOG\n--uid\n7 8\n"},
    {ENTRY("s3_mount", IN("rclone", ",\"remote_name\":\"r\",\"mode\":\"nfs\"") S3), "mount",
     "-v\n-t\nnfs\n-o\nvers=4.1,tcp,port=2049,soft,timeo=50,retrans=1\n127.0.0.1:/\nP\n"},
    {ENTRY("s3_mount",
           IN("rclone", ",\"remote_name\":\"r\",\"mode\":\"nfs\",\"nfs_addr\":\"0.0.0.0:77\","
                        "\"nfs_mount_options\":[\"vers=3\",\"port=77\"]") S3),
     "mount", "-v\n-t\nnfs\n-o\nvers=3,port=77\n127.0.0.1:/\nP\n"},
    {ENTRY("s3_mount", IN("mountpoint", "") S3 ",\"read_only\":false"), "mount-s3",
     "--no-sign-request\n--allow-overwrite\n--allow-delete\nb\nP\n"},
    {ENTRY("s3_mount", IN("mountpoint", ",\"options\":{\"region\":\"x\",\"prefix\":\"q/\"}") S3 KEYS
           ",\"session_token\":\"t\",\"region\":\"r\",\"endpoint_url\":\"http://h\""),
     "mount-s3",
     "--read-only\n--region\nr\n--endpoint-url\nhttp://h\n--prefix\nq/\nb\nP\n"
     "AWS_ACCESS_KEY_ID=id\nAWS_SECRET_ACCESS_KEY=it's secret\nAWS_SESSION_TOKEN=t\n"},
    {ENTRY("gcs_mount", IN("mountpoint", "") S3 ",\"access_id\":\"i\",\"secret_access_key\":\"k\""),
     "mount-s3",
     "--read-only\n--endpoint-url\nhttps://storage.googleapis.com\n--upload-checksums\noff\nb\nP\n"
     "AWS_ACCESS_KEY_ID=i\nAWS_SECRET_ACCESS_KEY=k\n"},
    {ENTRY("azure_blob_mount", IN("fuse", "") ",\"account\":\"a\",\"container\":\"c\","
                                              "\"account_key\":\"k\\\"ey\""),
     "blobfuse2",
     "mount\n--read-only\n--config-file\nconf 700 600 \nallow-other: true\nlogging:\n"
     "  type: \"syslog\"\n  level: \"log_debug\"\n"
     "components: [libfuse, block_cache, attr_cache, azstorage]\nblock_cache:\n"
     "  block-size-mb: 16\n  path: \"CACHE\"\n  disk-size-mb: 50000\n  disk-timeout-sec: 3600\n"
     "attr_cache:\n  timeout-sec: 7200\nazstorage:\n  type: block\n  account-name: \"a\"\n"
     "  container: \"c\"\n  endpoint: \"https://a.blob.core.windows.net\"\n  auth-type: key\n"
     "  account-key: \"k\\\"ey\"\nP\n"},
    {ENTRY("azure_blob_mount",
           IN("fuse", ",\"allow_other\":false,\"log_type\":\"base\",\"log_level\":"
                      "\"log_err\","
                      "\"cache_type\":\"file_cache\",\"cache_path\":\"c/"
                      "d\",\"cache_size_mb\":9,"
                      "\"file_cache_timeout_sec\":5,\"attr_cache_timeout_sec\":6,"
                      "\"entry_cache_timeout_sec\":7,\"negative_entry_cache_timeout_"
                      "sec\":8") ",\"account\":\"a\",\"container\":\"c\",\"endpoint\":"
                                 "\"http://h\","
                                 "\"identity_client_id\":\"m\",\"read_only\":false"),
     "blobfuse2",
     "mount\n--config-file\nconf 700 600 \nlogging:\n  type: \"base\"\n  level: \"log_err\"\n"
     "components: [libfuse, file_cache, attr_cache, azstorage]\nlibfuse:\n"
     "  entry-expiration-sec: 7\n  negative-entry-expiration-sec: 8\nfile_cache:\n"
     "  path: \"CACHE\"\n  timeout-sec: 5\n  max-size-mb: 9\nattr_cache:\n  timeout-sec: 6\n"
     "azstorage:\n  type: block\n  account-name: \"a\"\n  container: \"c\"\n"
     "  endpoint: \"http://h\"\n  mode: \"msi\"\n  identity-client-id: \"m\"\nP\n"},
};

TEST(each_tool_is_told_what_it_needs_and_nothing_stays)
{
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    struct world w;
    csn_err err;
    open_world(&w, "");
    csn_mount *m = mount_of(a, rows[i].json, w.sb->root);
    size_t before = leftovers();
    OK(csn_mount_inside_open(w.sb, NULL, m, &err), &err);
    char *text = (char *)(uintptr_t)told(a, &w, rows[i].name, m->place);
    char *cache = strstr(text, "path: \"/");
    if (cache) { /* which has a name of its own */
      char *end = strchr(cache + 7, '"');
      memmove(cache + 7 + 5, end, strlen(end) + 1);
      memcpy(cache + 7, "CACHE", 5);
    }
    assert_string_equal(text, rows[i].told);
    struct stat st;
    assert_int_equal(fstatat(w.sb->workspace_fd, "d a", &st, 0), 0);
    OK(csn_mount_inside_close(w.sb, NULL, m, &err), &err);
    assert_int_equal(leftovers(), before);
    close_world(&w);
  }
}

TEST(s3_files_is_an_option_of_mount)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  struct world w;
  csn_err err;
  open_world(&w, "");
  OK(csn_file_write(w.tools.fd, "mount.s3files", csn_cstr(tool), 0700, false, &err), &err);
  csn_mount *m = mount_of(
      a,
      ENTRY(
          "s3_files_mount",
          IN("s3files",
             ",\"options\":{\"region\":\"x\",\"access_point\":\"ap\","
             "\"extra_options\":{\"a\":\"1\",\"b\":null}}") ",\"file_system_id\":\"fs-1\","
                                                            "\"subpath\":\"/"
                                                            "s\",\"mount_target_ip\":\"10.0.0.1\","
                                                            "\"extra_options\":{\"a\":\"2\"}"),
      w.sb->root);
  OK(csn_mount_inside_open(w.sb, NULL, m, &err), &err);
  assert_string_equal(told(a, &w, geteuid() == 0 ? "mount" : "sudo", m->place),
                      geteuid() == 0
                          ? "-t\ns3files\n-o\nb,a=2,ro,mounttargetip=10.0.0.1,accesspoint=ap,"
                            "region=x\nfs-1:/s\nP\n"
                          : "-n\nmount\n-t\ns3files\n-o\nb,a=2,ro,mounttargetip=10.0.0.1,"
                            "accesspoint=ap,region=x\nfs-1:/s\nP\n");
  close_world(&w);
}

TEST(no_secret_is_an_argument)
{
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_mount_plan plan;
    csn_err err;
    OK(csn_mount_plan_make(mount_of(a, rows[i].json, NULL), CSN_STR("/workspace"), CSN_STR(""), a,
                           &plan, &err),
       &err);
    for (const char *const *v = plan.argv; *v; v++)
      assert_null(strstr(*v, "secret"));
    /* As /proc/self/mountinfo writes it. */
    assert_string_equal(plan.argv[5], "/workspace/d\\040a");
  }
}

TEST(a_tool_that_is_missing_is_named_with_the_way_to_it)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  struct world w;
  csn_err err;
  if (access("/usr/bin/mount-s3", X_OK) == 0 || access("/usr/local/bin/mount-s3", X_OK) == 0)
    SKIP("this machine has mount-s3");
  open_world(&w, "");
  assert_int_equal(unlinkat(w.tools.fd, "mount-s3", 0), 0);
  csn_mount *m = mount_of(a, rows[4].json, w.sb->root);
  assert_int_equal(csn_mount_inside_open(w.sb, NULL, m, &err), CSN_E_UNSUPPORTED);
  assert_non_null(strstr(err.msg, "/d a: there is no mount-s3 in the sandbox (mount_missing_tool): "
                                  "put the package mount-s3 that AWS publishes"));
  close_world(&w);
}

TEST(what_a_tool_says_of_its_failure_is_told_without_secrets)
{
  char longer[400] = "it's secret";
  memset(longer + 11, 'x', 294); /* what is told begins within the secret */
  const char *const said[] = {"no access with it's secret: 403", longer};
  for (size_t i = 0; i < CSN_COUNT(said); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    struct world w;
    csn_err err;
    open_world(&w, said[i]);
    csn_mount *m = mount_of(a, rows[0].json, w.sb->root);
    size_t before = leftovers();
    assert_int_equal(csn_mount_inside_open(w.sb, NULL, m, &err), CSN_E_SANDBOX);
    assert_null(strstr(err.msg, "ecret"));
    if (i == 0)
      assert_non_null(strstr(err.msg, "/d a: mount_failed: no access with REDACTED: 403"));
    assert_int_equal(leftovers(), before);
    close_world(&w);
  }
}

TEST(a_configuration_of_the_sandbox_is_taken_and_completed)
{
  static const char json[] = ENTRY("s3_mount", IN("rclone", ",\"remote_name\":\"r\","
                                                            "\"config_file_path\":\"r.conf\"") S3);
  static const struct {
    const char *file, *conf; /* conf NULL: an error */
  } cases[] = {
      {"[o]\na = 1\n[r]\nb = 2\n[p]\nc = 3", "[o]\na = 1\n[r]\nb = 2\n" S3_LINES "[p]\nc = 3\n"},
      {" [r] \r\nb = 2", " [r] \nb = 2\n" S3_LINES},
      {"[q]\n", NULL},
      {"", NULL},
      {NULL, NULL},
  };
  for (size_t i = 0; i < CSN_COUNT(cases); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    struct world w;
    csn_err err;
    open_world(&w, "");
    if (cases[i].file)
      OK(csn_file_write(w.sb->workspace_fd, "r.conf", csn_cstr(cases[i].file), 0600, false, &err),
         &err);
    csn_mount *m = mount_of(a, json, w.sb->root);
    int rc = csn_mount_inside_open(w.sb, NULL, m, &err);
    if (cases[i].conf) {
      OK(rc, &err);
      const char *text = strstr(told(a, &w, "rclone", m->place), "conf 700 600 \n");
      assert_non_null(text);
      assert_memory_equal(text + 14, cases[i].conf, strlen(cases[i].conf));
      STR_EQ(csn_strn(text + 14 + strlen(cases[i].conf), 8), "--daemon");
    } else {
      assert_int_equal(rc, cases[i].file ? CSN_E_INVALID : CSN_E_NOT_FOUND);
      assert_non_null(strstr(err.msg, "config_file_path: "));
    }
    close_world(&w);
  }
}

TEST(storage_and_its_cache_are_no_part_of_the_workspace)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_sandbox_closep) csn_sandbox *sb = NULL;
  csn_err err;
  const csn_mount *const mounts[] = {
      mount_of(
          a,
          ENTRY("azure_blob_mount",
                IN("fuse", ",\"cache_path\":\"./c//d\"") ",\"account\":\"a\",\"container\":\"c\""),
          NULL),
      mount_of(a, ENTRY("s3_mount", IN("rclone", "") S3 ",\"mount_path\":\"/mnt/x\""), NULL), NULL};
  csn_sandbox_spec spec = {.backend = "local", .workspace_fd = -1, .lock_fd = -1, .mounts = mounts};
  OK(csn_sandbox_open(&sb, NULL, &spec, &err), &err);
  assert_string_equal(sb->skips[0], "d a");
  assert_string_equal(sb->skips[1], "c/d");
  assert_null(sb->skips[2]);
}

TEST(what_cannot_be_an_argument_is_refused)
{
  static const char *const cases[][2] = {
      {ENTRY("s3_mount", IN("mountpoint", "") S3 ",\"endpoint_url\":\"http://u:p@h\""),
       "endpoint_url: mount-s3 takes it as an argument"},
      {ENTRY("s3_mount", IN("mountpoint", "") ",\"bucket\":\"-b\""), "bucket: a name cannot begin"},
      {ENTRY("azure_blob_mount",
             IN("fuse", ",\"cache_path\":\"d a/x\"") ",\"account\":\"a\",\"container\":\"c\""),
       "cache_path: it cannot be in the mount itself"},
      {ENTRY("s3_files_mount", IN("s3files", "") ",\"file_system_id\":\"fs-1\",\"extra_options\":{"
                                                 "\"a\":\"1,suid\"}"),
       "extra_options: no option can have a comma"},
  };
  for (size_t i = 0; i < CSN_COUNT(cases); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_mount_plan plan;
    csn_err err;
    assert_int_equal(csn_mount_plan_make(mount_of(a, cases[i][0], NULL), CSN_STR("/workspace"),
                                         CSN_STR(""), a, &plan, &err),
                     CSN_E_INVALID);
    if (!strstr(err.msg, cases[i][1]))
      fail_msg("%zu: %s", i, err.msg);
  }
}

RUN_TESTS("sandbox/mount_inside", RUN(each_tool_is_told_what_it_needs_and_nothing_stays),
          RUN(s3_files_is_an_option_of_mount), RUN(no_secret_is_an_argument),
          RUN(a_tool_that_is_missing_is_named_with_the_way_to_it),
          RUN(what_a_tool_says_of_its_failure_is_told_without_secrets),
          RUN(a_configuration_of_the_sandbox_is_taken_and_completed),
          RUN(storage_and_its_cache_are_no_part_of_the_workspace),
          RUN(what_cannot_be_an_argument_is_refused))
