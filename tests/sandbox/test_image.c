/* SPDX-License-Identifier: Apache-2.0
 * test_image.c - pictures for a model: kinds by their bytes, and refusals. */
#include "sandbox/image.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "check.h"
#include "core/fd.h"

TEST(kinds_are_told_by_the_first_bytes)
{
  static const struct {
    csn_str bytes;
    const char *path, *type;
  } rows[] = {
      {CSN_STR_INIT("\x89PNG\r\n\x1a\nrest"), "x.txt", "image/png"},
      {CSN_STR_INIT("\xff\xd8\xff\xe0"), "x", "image/jpeg"},
      {CSN_STR_INIT("GIF87a"), "x", "image/gif"},
      {CSN_STR_INIT("GIF89a.."), "x", "image/gif"},
      {CSN_STR_INIT("GIF88a"), "x", NULL},
      {CSN_STR_INIT("RIFF\1\2\3\4WEBPVP8 "), "x", "image/webp"},
      {CSN_STR_INIT("RIFF\1\2\3\4WAVE"), "x", NULL},
      {CSN_STR_INIT("RIFFWEBP"), "x", NULL},
      {CSN_STR_INIT("BM...."), "x", "image/bmp"},
      {CSN_STR_INIT("II*\0"), "x", "image/tiff"},
      {CSN_STR_INIT("MM\0*"), "x", "image/tiff"},
      {CSN_STR_INIT("  \n<SVG width='1'>"), "x", "image/svg+xml"},
      {CSN_STR_INIT("<?xml version='1.0'?>\n<!-- x -->\n<svg>"), "x", "image/svg+xml"},
      {CSN_STR_INIT("\xef\xbb\xbf<svg>"), "x", "image/svg+xml"},
      {CSN_STR_INIT("<?xml version='1.0'?><html>"), "x", NULL},
      {CSN_STR_INIT("anything"), "a/b.SVG", "image/svg+xml"},
      {CSN_STR_INIT("\x1f\x8b"), "b.svgz", "image/svg+xml"},
      {CSN_STR_INIT("\x89PNG"), "x.png", NULL},
      {CSN_STR_INIT(""), "x.png", NULL},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    const char *got = csn_image_type(rows[i].bytes, csn_cstr(rows[i].path));
    if ((got == NULL) != (rows[i].type == NULL) || (got && strcmp(got, rows[i].type) != 0))
      fail_msg("row %zu: got %s, expected %s", i, got ? got : "none",
               rows[i].type ? rows[i].type : "none");
  }
}

TEST(a_picture_is_a_data_url_and_anything_else_a_sentence)
{
  char path[] = "/tmp/csn-image-XXXXXX";
  assert_non_null(mkdtemp(path));
  csn_auto(csn_closep) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  csn_err err;
  OK(csn_mkdirs(dir, "d", 0755, &err), &err);
  OK(csn_file_write(dir, "d/a.gif", CSN_STR("GIF89a"), 0644, false, &err), &err);
  OK(csn_file_write(dir, "text", CSN_STR("hello"), 0644, false, &err), &err);
  csn_auto(csn_closep) int big = openat(dir, "big.png", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  assert_int_equal(ftruncate(big, (off_t)CSN_IMAGE_MAX + 1), 0);
  assert_int_equal(mkfifoat(dir, "fifo", 0644), 0);
  assert_int_equal(symlinkat("/etc/hosts", dir, "link"), 0);
  static const struct {
    const char *path;
    int rc;
    const char *text;
  } rows[] = {
      {"d/a.gif", 1, "data:image/gif;base64,R0lGODlh"},
      {"/workspace/d/a.gif", 1, "data:image/gif;base64,R0lGODlh"},
      {"/workspace", 0,
       "image `/workspace` was not read: give the path of a file in the workspace"},
      {"/etc/passwd", 0,
       "image `/etc/passwd` was not read: the path leads out of the workspace, or access is "
       "denied"},
      {"../x", 0,
       "image `../x` was not read: the path leads out of the workspace, or access is denied"},
      {"link", 0,
       "image `link` was not read: the path leads out of the workspace, or access is denied"},
      {"none.png", 0, "image `none.png` was not found; list the folder to see its name"},
      {"d", 0, "image `d` is not a regular file"},
      {"fifo", 0, "image `fifo` is not a regular file"},
      {"big.png", 0, "image `big.png` is larger than 10MB; make a smaller copy and view that"},
      {"text", 0,
       "image `text` is not a picture of a known kind (PNG, JPEG, GIF, WebP, BMP, TIFF, SVG)"},
      {"", 0, "image `` was not read: give the path of a file in the workspace"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF((size_t)15 << 20);
    int rc = csn_image_view(dir, "/workspace", csn_cstr(rows[i].path), NULL, &out, &err);
    assert_int_equal(rc, rows[i].rc);
    STR_EQ(csn_buf_str(&out), rows[i].text);
  }
  csn_auto(csn_closep) int up = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  OK(csn_remove_tree(up, path + 5, &err), &err);
}

RUN_TESTS("sandbox/image", RUN(kinds_are_told_by_the_first_bytes),
          RUN(a_picture_is_a_data_url_and_anything_else_a_sentence))
