/* SPDX-License-Identifier: Apache-2.0
 * test_outputs.c - declared results: what is taken, what is refused and why. */
#include "sandbox/outputs.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "check.h"
#include "core/fd.h"
#include "place.h"

static void
collect(const place *work, const place *target, const char *json, const csn_output_limits *limits,
        csn_buf *out)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *v;
  csn_output *want;
  size_t n;
  csn_outputs o;
  csn_err err;
  OK(csn_json_parse(a, csn_cstr(json), &v, &err), &err);
  OK(csn_outputs_from_json(a, v, &want, &n, &err), &err);
  OK(csn_outputs_collect(&o, NULL, work->fd, target->fd, want, n, limits, &err), &err);
  csn_jw w;
  csn_jw_init(&w, out);
  csn_outputs_to_json(&o, &w);
  OK(csn_jw_done(&w, &err), &err);
  csn_outputs_fini(&o);
}

TEST(files_and_folders_are_copied_and_hashed)
{
  place work, target;
  open_place(&work), open_place(&target);
  put(&work, "report.md", "hello\n", 0644);
  put(&work, "dist/app", "x", 0755);
  put(&target, "out/r.md", "older", 0644);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(65536), got = CSN_BUF(100);
  collect(&work, &target,
          "[{\"path\":\"report.md\",\"to\":\"out/r.md\"},{\"path\":\"./dist//\"},\"report.md\"]",
          NULL, &out);
  STR_EQ(
      csn_buf_str(&out),
      "[{\"path\":\"report.md\",\"to\":\"out/r.md\",\"size\":6,\"sha256\":"
      "\"5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\",\"status\":\"ok\"},"
      "{\"path\":\"dist/app\",\"to\":\"dist/app\",\"size\":1,\"sha256\":"
      "\"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\",\"status\":\"ok\"},"
      "{\"path\":\"report.md\",\"to\":\"report.md\",\"size\":6,\"sha256\":"
      "\"5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\",\"status\":\"ok\"}]");
  csn_err err;
  OK(csn_file_read(target.fd, "out/r.md", &got, &err), &err);
  STR_EQ(csn_buf_str(&got), "hello\n");
  struct stat st;
  assert_int_equal(fstatat(target.fd, "dist/app", &st, 0), 0);
  assert_true(st.st_mode & 0100);
  close_place(&work), close_place(&target);
}

TEST(what_cannot_be_taken_is_reported_and_the_rest_comes)
{
  place work, target;
  open_place(&work), open_place(&target);
  put(&work, "d/ok", "1", 0644);
  put(&work, "d/.git/config", "1", 0644);
  assert_int_equal(mkfifoat(work.fd, "fifo", 0644), 0);
  assert_int_equal(symlinkat("/etc/passwd", work.fd, "link"), 0);
  assert_int_equal(symlinkat("/etc", work.fd, "out"), 0);
  assert_int_equal(mkdirat(work.fd, "empty", 0755), 0);
  static const struct {
    const char *path, *status, *reason;
  } rows[] = {
      {"none", "missing", "no such file"},
      {"no/such/file", "missing", "no such file"},
      {"empty", "missing", "the folder is empty"},
      {"fifo", "refused", "not a regular file"},
      {"link", "refused", "a symbolic link"},
      {"out/passwd", "refused", "its folder leads out of the workspace"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    char json[100], want[300];
    snprintf(json, sizeof json, "[\"%s\"]", rows[i].path);
    snprintf(
        want, sizeof want,
        "[{\"path\":\"%s\",\"to\":\"%s\",\"size\":0,\"sha256\":null,\"status\":\"%s\",\"reason\":"
        "\"%s\"}]",
        rows[i].path, rows[i].path, rows[i].status, rows[i].reason);
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(65536);
    collect(&work, &target, json, NULL, &out);
    STR_EQ(csn_buf_str(&out), want);
  }
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(65536);
  collect(&work, &target, "[\"d\"]", NULL, &out);
  assert_non_null(strstr(out.p, "\"path\":\"d/.git\""));
  assert_non_null(strstr(out.p, "\"status\":\"refused\""));
  struct stat st;
  assert_int_equal(fstatat(target.fd, "d/ok", &st, 0), 0);
  assert_true(fstatat(target.fd, "d/.git", &st, 0) < 0);
  close_place(&work), close_place(&target);
}

TEST(sizes_and_counts_are_capped)
{
  place work, target;
  open_place(&work), open_place(&target);
  put(&work, "a", "12345", 0644);
  put(&work, "b", "123456", 0644);
  put(&work, "c", "1", 0644);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(65536);
  collect(&work, &target, "[\"a\",\"b\",\"c\"]", &(csn_output_limits){.max_bytes = 10}, &out);
  assert_non_null(strstr(out.p, "\"size\":6,\"sha256\":null,\"status\":\"too_large\""));
  assert_non_null(strstr(out.p, "{\"path\":\"c\",\"to\":\"c\",\"size\":1"));
  csn_buf_clear(&out);
  collect(&work, &target, "[\"a\",\"c\",\"b\"]", &(csn_output_limits){.max_files = 2}, &out);
  assert_non_null(strstr(out.p,
                         "{\"path\":\"b\",\"to\":\"b\",\"size\":6,\"sha256\":null,\"status\":\"too_"
                         "large\",\"reason\":\"the limit of files is reached\"}"));
  close_place(&work), close_place(&target);
}

TEST(mistakes_in_the_list_are_named)
{
  static const struct {
    const char *json, *msg;
  } rows[] = {
      {"{}", "outputs: expected a list of {path, to}"},
      {"[{}]", "outputs.0: path: missing"},
      {"[{\"path\":\"a\",\"too\":\"b\"}]", "outputs.0.too: unknown key; known here are: path to"},
      {"[{\"path\":\"a\",\"to\":1}]", "outputs.0.to: expected a string"},
      {"[\"a\",\"../b\"]", "outputs.1: expected relative paths without \"..\""},
      {"[\"/b\"]", "outputs.0: expected relative paths"},
      {"[{\"path\":\"a\",\"to\":\"b/../../c\"}]", "outputs.0: expected relative paths"},
      {"[\".\"]", "outputs.0: expected relative paths"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    const csn_json *v;
    csn_output *want;
    size_t n;
    csn_err err = {0};
    OK(csn_json_parse(a, csn_cstr(rows[i].json), &v, &err), &err);
    int rc = csn_outputs_from_json(a, v, &want, &n, &err);
    if (rc >= 0 || !strstr(err.msg, rows[i].msg))
      fail_msg("%s: got '%s', expected '%s'", rows[i].json, rc < 0 ? err.msg : "success",
               rows[i].msg);
  }
}

RUN_TESTS("sandbox/outputs", RUN(files_and_folders_are_copied_and_hashed),
          RUN(what_cannot_be_taken_is_reported_and_the_rest_comes),
          RUN(sizes_and_counts_are_capped), RUN(mistakes_in_the_list_are_named))
