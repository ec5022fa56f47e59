/* SPDX-License-Identifier: Apache-2.0
 *
 * test_manifest_unpack.c - archives of a manifest: every form, what stands on
 * disk, and what hostile ones try. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "caisson/manifest.h"
#include "check.h"
#include "core/hash.h"
#include "place.h"
#include "tarball.h"

/* The same tree in each: top/{a.txt,empty/,sub/{run,link -> ../a.txt}}. */
static const struct {
  const char *form, *base64;
} packed[] = {
    {"gzip", "H4sIAAAAAAAAA+3W0QqCMBiG4R13FYvOdXObXo+CoGQqOqHuvmnUwaDM6Fei7zmYgoKTl+ls04aMmHASY6aj"
             "4x+9c8mEFCoSjBvqiY2G3qYd56xrGvvqvrnrP8q6/mlgz5TvNlaNtX7aXxvt9ZdKaMYF4Zwe/rx/kVdVwzG+"
             "M27disK4/vNTay+Ef4Hl33+pTYzv/xrG/v2Qke4BPujvoP8a7v2rsj5SPWPqnyQL+isZR4xHQUC+N0H/W/9u"
             "qMmeMbv+ZeSv/1hh/7eKwz7Myjrsi93WMwEAAAAAAAAAAAAAAIBvuALWGh0wACgAAA=="},
    {"bzip2",
     "QlpoOTFBWSZTWbBXP+cAAdR7hu+UAEBoAf+AB8Ryb95gAADAAAAIMAD5bAypqaMEyMABAxp6gJoGplPURiBg"
     "IGNBkTBNAilT9UDKY01NBiMjQ/VGjJ5T1MOo059sxEbDayNuZBsqVR2njn3acdYb7ANhjjPEhuGoawdIwgEy"
     "A0lfvIPQZGUA18PWrHCbBn2rkK1F8N9gQSF4IiJGCTMiwVOsBgBpmSEsujhhEcOmtGvcFIA6sAjQQoQBEoKY"
     "GBvcXIQYvrQH08rvPL+iDIgxVcSINAdA0EL6DrG4ewrGHKP8QNo324Q8z6yNmCfFrYgH+LuSKcKEhYK5/zg="},
    {"xz", "/Td6WFoAAATm1rRGAgAhARYAAAB0L+Wj4Cf/AM5dADobymMkBJSzSsi80f5CS2NK+JZtMaYFlj60nT1XvU7c"
           "Ke2Bfa4sJRoMCgowTodtpHm9eqNy0jFqKOODq8v3oGUduJnSpygzyFWdaPKPAYRxXOO/+0TjIL6Fo6pTTkq6"
           "4JPs2cnUKyf+fvb0WK1VePlsXfPppcyeQyowtu/VhniOpdDFgd+ZCiofaeXyqp1VLwKMyKsSh/iC7EHLZLY0"
           "t8ZAP9U9GcS5YZLYdGTtpCNhtMEF5jdnnuNEKiiOXl8SyIA+fXcfHge4y3cavE0AAAAAQkQwQzltPMQAAeoB"
           "gFAAAAJdD8ixxGf7AgAAAAAEWVo="},
    {"zstd", "KLUv/WQAJ3UGAFLHFxmApzrAlGdziHLI1zAwlzRNrAy1ODkXGkAGgAMuGxQbEJhUOFl8hBTNktgoRWCDxcxF"
             "hAkd3kO7gqFtLeO45rlhdH5OMjQh1rXu1l6qPqJhRJov5vzk//8RUv+f61oHKCDwApmRMOsGnJl6QABwQmQD"
             "qmJHcABMUBMVvAr8E6cDE6uJrFEdBhwhA8AApnHmKj0gE6xODcACpxRApE7BSKgF7MoGmAPv2iwROFeabAMg"
             "SOD/ZpqhYlQcwgEodwBWM1M/wQA8jrkMT1cLxacsLA=="},
    {"zip", "UEsDBBQAAAAAAAAAIQAAAAAAAAAAAAAAAAAEAAAAdG9wL1BLAwQUAAAACAAAACEAwUhCWQwAAAAsAQAACQAA"
            "AHRvcC9hLnR4dMtIzcnJV8gYJYkgAVBLAwQUAAAAAAAAACEAAAAAAAAAAAAAAAAACgAAAHRvcC9lbXB0eS9Q"
            "SwMEFAAAAAAAAAAhAB2d+wQKAAAACgAAAAsAAAB0b3Avc3ViL3J1biMhL2Jpbi9zaApQSwMEFAAAAAAAAAAh"
            "AIhab+cIAAAACAAAAAwAAAB0b3Avc3ViL2xpbmsuLi9hLnR4dFBLAQIUAxQAAAAAAAAAIQAAAAAAAAAAAAAA"
            "AAAEAAAAAAAAAAAAAADtQQAAAAB0b3AvUEsBAhQDFAAAAAgAAAAhAMFIQlkMAAAALAEAAAkAAAAAAAAAAAAA"
            "AKSBIgAAAHRvcC9hLnR4dFBLAQIUAxQAAAAAAAAAIQAAAAAAAAAAAAAAAAAKAAAAAAAAAAAAAADtQVUAAAB0"
            "b3AvZW1wdHkvUEsBAhQDFAAAAAAAAAAhAB2d+wQKAAAACgAAAAsAAAAAAAAAAAAAAO2BfQAAAHRvcC9zdWIv"
            "cnVuUEsBAhQDFAAAAAAAAAAhAIhab+cIAAAACAAAAAwAAAAAAAAAAAAAAP+hsAAAAHRvcC9zdWIvbGlua1BL"
            "BQYAAAAABQAFABQBAADiAAAAAAA="},
};

static int
unpack(const place *source, const place *work, const char *more, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf json = CSN_BUF(1 << 16);
  const csn_json *v;
  csn_manifest *m;
  csn_buf_addf(&json, "{\"entries\":{\"e\":{\"type\":\"archive\",\"src\":\"a\"%s}}}", more);
  OK(csn_json_parse(a, csn_buf_str(&json), &v, err), err);
  OK(csn_manifest_from_json(a, v, &m, err), err);
  csn_materialize to = {
      .workspace_fd = work->fd, .base_fd = -1, .source_fd = source->fd, .uid = -1, .gid = -1};
  return csn_manifest_apply(m, NULL, &to, err);
}

/* Packed bytes `a`, into a workspace of their own. */
static int
unpack_bytes(csn_str bytes, const char *more, place *work, csn_err *err)
{
  place source;
  open_place(&source);
  open_place(work);
  OK(csn_file_write(source.fd, "a", bytes, 0644, false, err), err);
  int rc = unpack(&source, work, more, err);
  close_place(&source);
  return rc;
}

static void
decode(const char *base64, csn_buf *out)
{
  assert_true(csn_base64_decode(out, csn_cstr(base64)));
}

static void
has(const place *work, const char *path, mode_t mode, const char *head)
{
  struct stat st;
  char text[20] = "";
  if (fstatat(work->fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
    fail_msg("%s is missing", path);
  assert_int_equal(st.st_mode & (S_IFMT | 0777), mode);
  if (!head)
    return;
  csn_auto(csn_closep) int fd = openat(work->fd, path, O_RDONLY | O_CLOEXEC);
  assert_true(read(fd, text, strlen(head)) == (ssize_t)strlen(head));
  assert_string_equal(text, head);
}

TEST(every_form_gives_the_same_files)
{
  for (size_t i = 0; i < CSN_COUNT(packed); i++) {
    csn_auto(csn_buf_finip) csn_buf bytes = CSN_BUF(1 << 16);
    char link[20] = "";
    place work;
    csn_err err;
    decode(packed[i].base64, &bytes);
    int rc = unpack_bytes(csn_buf_str(&bytes), ",\"strip_components\":1", &work, &err);
    if (rc < 0)
      fail_msg("%s: %s", packed[i].form, err.msg);
    has(&work, "e/a.txt", S_IFREG | 0644, "hello hello ");
    has(&work, "e/empty", S_IFDIR | 0755, NULL);
    has(&work, "e/sub/run", S_IFREG | 0755, "#!/bin/sh");
    assert_int_equal(readlinkat(work.fd, "e/sub/link", link, sizeof link), 8);
    assert_string_equal(link, "../a.txt");
    close_place(&work);
  }
}

TEST(an_archive_that_was_cut_or_changed_is_no_archive)
{
  for (size_t i = 0; i < CSN_COUNT(packed); i++) {
    csn_auto(csn_buf_finip) csn_buf bytes = CSN_BUF(1 << 16);
    decode(packed[i].base64, &bytes);
    bool is_zip = strcmp(packed[i].form, "zip") == 0;
    for (size_t cut = is_zip ? 4 : 20; cut < bytes.n - 30; cut += is_zip ? 1 : 7) {
      place work;
      csn_err err = {0};
      int rc = unpack_bytes(csn_strn(bytes.p, cut), "", &work, &err);
      if (rc >= 0)
        fail_msg("%s cut at %zu was taken", packed[i].form, cut);
      close_place(&work);
    }
  }
  /* Each byte of the zip archive's list and heads decides something, or is told
   * twice, or means nothing: it never makes other files. */
  csn_auto(csn_buf_finip) csn_buf zip = CSN_BUF(1 << 16);
  decode(packed[4].base64, &zip);
  for (size_t at = 0; at < zip.n; at++) {
    place work;
    csn_err err = {0};
    zip.p[at] ^= 0x20;
    int rc = unpack_bytes(csn_buf_str(&zip), "", &work, &err);
    csn_auto(csn_buf_finip) csn_buf run = CSN_BUF(1000);
    if (rc == 0 && csn_file_read(work.fd, "e/top/sub/run", &run, NULL) == 0)
      STR_EQ(csn_buf_str(&run), "#!/bin/sh\n");
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1000);
    if (rc == 0 && csn_file_read(work.fd, "e/top/a.txt", &text, NULL) == 0)
      for (size_t i = 0; i < 300; i++)
        assert_int_equal(text.n == 300 ? text.p[i] : '?', "hello "[i % 6]);
    zip.p[at] ^= 0x20;
    close_place(&work);
  }
}

TEST(a_member_that_wants_out_is_refused)
{
  static const struct {
    struct tar_item items[4];
    const char *msg; /* NULL: fine */
  } rows[] = {
      {{{'0', "../x", NULL, "x"}}, "the archive's member ../x"},
      {{{'0', "a/../../x", NULL, "x"}}, "(parent_traversal)"},
      {{{'0', "/etc/x", NULL, "x"}}, "(absolute)"},
      {{{'0', "C:x", NULL, "x"}}, "(windows_path)"},
      {{{'0', "a\\b", NULL, "x"}}, "(windows_path)"},
      {{{'2', "l", "/etc", NULL}}, "leads out of the folder"},
      {{{'2', "d/l", "../../x", NULL}}, "leads out of the folder"},
      {{{'2', "up", "..", NULL}, {'0', "up/x", NULL, "x"}}, "leads out"},
      {{{'2', "l", "d", NULL}, {'0', "l/x", NULL, "x"}}, "is there twice"},
      {{{'5', "p/", NULL, NULL}, {'2', "p/l", "..", NULL}, {'2', "q", "p/l/../x", NULL}},
       "is a link that leads out"},
      {{{'0', "f", NULL, "x"}, {'0', "f", NULL, "y"}}, "is there twice"},
      {{{'0', "f", NULL, "x"}, {'0', "f/x", NULL, "y"}}, "f/x"},
      {{{'0', "f", NULL, "x"}, {'1', "h", "f", NULL}}, "hard links are not unpacked"},
      {{{'6', "p", NULL, NULL}}, "devices and pipes are not unpacked"},
      {{{'5', "d/", NULL, NULL}, {'5', "d", NULL, NULL}, {'0', "./d//f", NULL, "x"}}, NULL},
      {{{'2', "in", "d/f", NULL}, {'0', "d/f", NULL, "x"}}, NULL},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_buf_finip) csn_buf bytes = CSN_BUF(1 << 16);
    place work;
    csn_err err = {0};
    for (size_t k = 0; k < 4 && rows[i].items[k].type; k++)
      tar_add(&bytes, rows[i].items[k]);
    tar_end(&bytes);
    int rc = unpack_bytes(csn_buf_str(&bytes), "", &work, &err);
    if (rows[i].msg ? rc >= 0 || !strstr(err.msg, rows[i].msg) : rc < 0)
      fail_msg("row %zu: got '%s', expected '%s'", i, rc < 0 ? err.msg : "success",
               rows[i].msg ? rows[i].msg : "success");
    assert_int_equal(faccessat(work.fd, "x", F_OK, AT_SYMLINK_NOFOLLOW), -1);
    close_place(&work);
  }
}

TEST(limits_are_those_of_what_comes_out)
{
  csn_auto(csn_buf_finip) csn_buf bytes = CSN_BUF(1 << 16);
  static const struct {
    const char *more, *msg;
  } rows[] = {
      {",\"archive_limits\":{\"max_members\":3}", "more than 3 members"},
      {",\"archive_limits\":{\"max_extracted_bytes\":299}", "more than 299 bytes come out"},
      {",\"archive_limits\":{\"max_input_bytes\":100}", "more than the 100 of max_input_bytes"},
      {",\"sha256\":\"0000000000000000000000000000000000000000000000000000000000000000\"",
       "src has the sha256"},
  };
  for (size_t form = 0; form < CSN_COUNT(packed); form++)
    for (size_t i = 0; i < CSN_COUNT(rows); i++) {
      place work;
      csn_err err = {0};
      csn_buf_clear(&bytes);
      decode(packed[form].base64, &bytes);
      assert_true(unpack_bytes(csn_buf_str(&bytes), rows[i].more, &work, &err) < 0);
      if (!strstr(err.msg, rows[i].msg) || !strstr(err.msg, "entries.e"))
        fail_msg("got '%s', expected '%s'", err.msg, rows[i].msg);
      close_place(&work);
    }
  char more[120] = ",\"sha256\":\"";
  place work;
  csn_err err;
  csn_digest d = csn_sha256_of(csn_buf_str(&bytes));
  csn_digest_hex(&d, more + strlen(more));
  snprintf(more + strlen(more), 2, "\"");
  OK(unpack_bytes(csn_buf_str(&bytes), more, &work, &err), &err);
  close_place(&work);
}

RUN_TESTS("sandbox/manifest_unpack", RUN(every_form_gives_the_same_files),
          RUN(an_archive_that_was_cut_or_changed_is_no_archive),
          RUN(a_member_that_wants_out_is_refused), RUN(limits_are_those_of_what_comes_out))
