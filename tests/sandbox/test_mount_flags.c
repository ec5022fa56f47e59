/* SPDX-License-Identifier: Apache-2.0
 *
 * test_mount_flags.c - which mounts rclone serves for a jail and how it is told, and
 * what of its cache is not stored yet. */
#include <fcntl.h>
#include <sys/stat.h>

#include "caisson/manifest.h"
#include "check.h"
#include "place.h"
#include "sandbox/mount_flags.h"
#include "sandbox/mount_pending.h"

#define ENTRY(type, fields, pattern)                                                               \
  "{\"entries\":{\"e\":{\"type\":\"" type "\"" fields                                              \
  ",\"mount_strategy\":{\"type\":\"in_container\",\"pattern\":" pattern "}}}}"
#define RCLONE(more) "{\"type\":\"rclone\"" more "}"
#define S3(fields, pattern) ENTRY("s3_mount", ",\"bucket\":\"b\"" fields, pattern)

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

TEST(what_a_jail_cannot_have_is_named)
{
  static const struct row {
    const char *json, *says; /* NULL: it can */
  } rows[] = {
      {S3("", RCLONE("")), NULL},
      {S3(",\"mount_path\":\"/mnt/a/b\"", RCLONE("")), NULL},
      {S3(",\"mount_path\":\"/mnt\"", RCLONE("")), "mount_path /mnt"},
      {S3(",\"mount_path\":\"/etc/x\"", RCLONE("")), "mount_path /etc/x"},
      {S3(",\"mount_path\":\"/workspace2/x\"", RCLONE("")), "mount_path /workspace2/x"},
      {S3("", "{\"type\":\"mountpoint\",\"options\":{}}"), NULL},
      {S3("", RCLONE(",\"extra_args\":[\"--allow-other\",\"--buffer-size\",\"1M\",\"--uid=7\"]")),
       NULL},
      {S3("", RCLONE(",\"extra_args\":[\"--buffer_size\",\"1M\"]")), NULL},
      {S3("", RCLONE(",\"extra_args\":[\"--uid\",\"--config\"]")), "extra_args"},
      {S3("", RCLONE(",\"extra_args\":[\"--buffer-size=1 --rc\"]")), "extra_args"},
      {S3("", RCLONE(",\"extra_args\":[\"--rc\"]")), "extra_args: \"--rc\""},
      {S3("", RCLONE(",\"extra_args\":[\"other:\"]")), "extra_args: \"other:\""},
      {S3("", RCLONE(",\"config_file_path\":\"c\"")), "config_file_path names a file"},
      {ENTRY("gcs_mount", ",\"bucket\":\"b\",\"service_account_file\":\"k\"", RCLONE("")),
       "service_account_file: expected an absolute path"},
      {ENTRY("azure_blob_mount", ",\"account\":\"a\",\"container\":\"c\"", "{\"type\":\"fuse\"}"),
       NULL},
      {ENTRY("s3_files_mount", ",\"file_system_id\":\"f\"",
             "{\"type\":\"s3files\",\"options\":{}}"),
       "mount.s3files"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_err err = {0};
    int rc = csn_mount_flags_check_one(read_mount(a, rows[i].json), "/workspace", &err);
    if (rows[i].says ? rc == 0 || !strstr(err.msg, rows[i].says) : rc != 0)
      fail_msg("row %zu: %d %s", i, rc, err.msg);
  }
}

static bool
has(const char *const *argv, const char *word)
{
  while (*argv && strcmp(*argv, word) != 0)
    argv++;
  return *argv != NULL;
}

TEST(rclone_is_told_what_bounds_it_and_no_secret)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_mount *m = read_mount(
      a, S3(",\"access_key_id\":\"I\",\"secret_access_key\":\"SECRET\",\"read_only\":false",
            "{\"type\":\"mountpoint\",\"options\":{\"prefix\":\"p\",\"region\":\"r\"}}"));
  const char *argv[CSN_MOUNT_FLAGS_MAX];
  csn_mount full;
  csn_err err;
  OK(csn_mount_flags_fields(&full, m, a, &err), &err);
  assert_true(csn_str_eq(csn_mount_text(&full, "region"), CSN_STR("r")));
  OK(csn_mount_flags(&full, CSN_STR("x"), 1000, 1001, a, argv, &err), &err);
  assert_string_equal(argv[2], "x:b/p");
  static const char *const wanted[] = {"mount2",
                                       "--uid=1000",
                                       "--gid=1001",
                                       "--vfs-cache-mode=writes",
                                       "--s3-no-check-bucket",
                                       "--contimeout=10s"};
  for (size_t i = 0; i < CSN_COUNT(wanted); i++)
    assert_true(has(argv, wanted[i]));
  assert_false(has(argv, "--read-only"));
  for (size_t i = 0; argv[i]; i++)
    assert_null(strstr(argv[i], "SECRET"));
  m = read_mount(
      a, S3(",\"prefix\":\"q\"", "{\"type\":\"mountpoint\",\"options\":{\"prefix\":\"p\"}}"));
  OK(csn_mount_flags_fields(&full, m, a, &err), &err);
  OK(csn_mount_flags(&full, CSN_STR("x"), 1, 1, a, argv, &err), &err);
  assert_string_equal(argv[2], "x:b/q");
  assert_true(has(argv, "--read-only"));
  OK(csn_mount_flags_look(&full, CSN_STR("x"), a, argv, &err), &err);
  assert_string_equal(argv[1], "lsf");
}

TEST(mounts_do_not_lie_in_each_other)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_mount *const list[] = {read_mount(a, S3(",\"mount_path\":\"/mnt/a\"", RCLONE(""))),
                                   read_mount(a, S3(",\"mount_path\":\"/mnt/a/b\"", RCLONE(""))),
                                   NULL};
  const csn_mount *const apart[] = {
      list[0], read_mount(a, S3(",\"mount_path\":\"/mnt/ab\"", RCLONE(""))), NULL};
  csn_err err;
  assert_int_equal(csn_mount_flags_check(list, "/workspace", &err), CSN_E_INVALID);
  assert_non_null(strstr(err.msg, "s3_mount at /mnt/a/b: it lies in the mount at /mnt/a"));
  OK(csn_mount_flags_check(apart, "/workspace", &err), &err);
}

TEST(what_waits_in_a_cache_is_seen)
{
  place cache;
  char *name = NULL;
  open_place(&cache);
  assert_false(csn_mount_is_pending(cache.fd, NULL));
  assert_int_equal(mkdirat(cache.fd, "vfsMeta", 0700), 0);
  assert_int_equal(mkdirat(cache.fd, "vfsMeta/r", 0700), 0);
  put(&cache, "vfsMeta/r/clean", "{\"Size\":1,\"Dirty\":false}", 0600);
  assert_false(csn_mount_is_pending(cache.fd, &name));
  assert_int_equal(mkdirat(cache.fd, "vfsMeta/r/d", 0700), 0);
  put(&cache, "vfsMeta/r/d/f", "{\"Size\":1,\"Dirty\":true}", 0600);
  assert_true(csn_mount_is_pending(cache.fd, &name));
  assert_string_equal(name, "/r/d/f");
  free(name);
  put(&cache, "vfsMeta/r/d/f", "{\"Si", 0600); /* it is being written */
  assert_true(csn_mount_is_pending(cache.fd, NULL));
  close_place(&cache);
}

RUN_TESTS("sandbox/mount_flags", RUN(what_a_jail_cannot_have_is_named),
          RUN(rclone_is_told_what_bounds_it_and_no_secret), RUN(mounts_do_not_lie_in_each_other),
          RUN(what_waits_in_a_cache_is_seen))
