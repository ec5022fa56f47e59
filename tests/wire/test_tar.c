/* SPDX-License-Identifier: Apache-2.0
 * Each archive is read whole, byte by byte and cut at every single point; the
 * entries must be the same.  What the system's tar writes is read in all its
 * formats. */
#include "wire/tar.h"

#include <errno.h>
#include <fcntl.h>

#include "check.h"
#include "core/fd.h"
#include "core/proc.h"
#include "tarball.h"

struct log {
  csn_buf text;
  bool no_content;
  size_t times; /* not written when 0 */
};

static int
note_entry(void *user, const csn_tar_entry *e, csn_err *err)
{
  struct log *l = user;
  csn_buf_addf(&l->text, "%c %s", "fdlhbp"[e->kind], e -> name);
  if (*e->link)
    csn_buf_addf(&l->text, " -> %s", e->link);
  csn_buf_addf(&l->text, " %o %lld/%lld %lld", e->mode, (long long)e->uid, (long long)e->gid,
               (long long)e->size);
  if (l->times)
    csn_buf_addf(&l->text, " @%lld.%09d", (long long)e->mtime_s, (int)e->mtime_ns);
  csn_buf_addc(&l->text, '\n');
  return l->no_content ? 0 : 1;
}

static int
note_data(void *user, csn_str bytes, csn_err *err)
{
  csn_buf_add(&((struct log *)user)->text, bytes);
  return 0;
}

static int
note_end(void *user, csn_err *err)
{
  csn_buf_addz(&((struct log *)user)->text, ".\n");
  return 0;
}

/* Feeds pieces of `step` bytes after a first one of `first`. */
static int
read_cut(csn_str tar, size_t first, size_t step, struct log *l, csn_err *err)
{
  csn_tar_sink sink = {note_entry, note_data, note_end, l};
  csn_auto(csn_tar_freep) csn_tar *t = csn_tar_new(&sink);
  int rc = csn_tar_feed(t, csn_strn(tar.p, first), err);
  for (size_t at = first; rc >= 0 && at < tar.n; at += step)
    rc = csn_tar_feed(t, csn_strn(tar.p + at, tar.n - at < step ? tar.n - at : step), err);
  return rc < 0 ? rc : csn_tar_done(t, err);
}

static void
reads_as(const csn_buf *tar, const char *want)
{
  csn_err err;
  csn_str bytes = csn_buf_str(tar);
  for (size_t cut = 0; cut <= bytes.n; cut++) {
    struct log l = {.text = CSN_BUF(100000)};
    OK(read_cut(bytes, cut, bytes.n, &l, &err), &err);
    STR_EQ(csn_buf_str(&l.text), want);
    csn_buf_fini(&l.text);
  }
  struct log l = {.text = CSN_BUF(100000)};
  OK(read_cut(bytes, 0, 1, &l, &err), &err);
  STR_EQ(csn_buf_str(&l.text), want);
  csn_buf_fini(&l.text);
}

static void
is_refused(const csn_buf *tar, int code, const char *why)
{
  csn_err err = {0};
  csn_str bytes = csn_buf_str(tar);
  for (size_t step = 1; step <= bytes.n; step = step == 1 ? 511 : bytes.n + 1) {
    struct log l = {.text = CSN_BUF(100000)};
    int rc = read_cut(bytes, 0, step, &l, &err);
    csn_buf_fini(&l.text);
    if (rc != code || !strstr(err.msg, why))
      fail_msg("code %d \"%s\", expected %d \"%s\"", rc, rc < 0 ? err.msg : "", code, why);
  }
}

TEST(entries_are_the_same_however_the_bytes_are_cut)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1 << 20);
  tar_add(&b, (struct tar_item){.type = '5', .name = "d/", .uid = 7});
  tar_add(&b, (struct tar_item){.type = '0', .name = "d/a", .content = "hello\n", .mode = 04711});
  tar_add(&b, (struct tar_item){.type = '0', .name = "d/empty"});
  tar_add(&b, (struct tar_item){.type = '2', .name = "l", .link = "../d/a"});
  tar_add(&b, (struct tar_item){.type = '1', .name = "h", .link = "d/a"});
  tar_add(&b, (struct tar_item){.type = '3', .name = "null"});
  tar_add(&b, (struct tar_item){.type = '6', .name = "pipe"});
  tar_end(&b);
  reads_as(&b, "d d/ 755 7/7 0\n"
               "f d/a 4711 0/0 6\nhello\n.\n"
               "f d/empty 755 0/0 0\n.\n"
               "l l -> ../d/a 755 0/0 0\n"
               "h h -> d/a 755 0/0 0\n"
               "b null 755 0/0 0\n"
               "p pipe 755 0/0 0\n");
}

TEST(extended_headers_change_the_next_entry_only)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1 << 20);
  char name[301];
  memset(name, 'n', 300);
  name[300] = '\0';
  tar_pax(&b, 'g', "comment", CSN_STR("0123456789"));
  tar_pax(&b, 'x', "path", csn_cstr("p/q"));
  tar_add(&b, (struct tar_item){.type = '0', .name = "short", .content = "1"});
  tar_add(&b, (struct tar_item){.type = 'L', .name = "././@LongLink", .content = name});
  tar_pax(&b, 'x', "uid", CSN_STR("3000000"));
  tar_add(&b, (struct tar_item){.type = '0', .name = "cut"});
  tar_add(&b, (struct tar_item){.type = 'K', .name = "././@LongLink", .content = "t/u"});
  tar_add(&b, (struct tar_item){.type = '2', .name = "link", .link = "cut"});
  tar_add(&b, (struct tar_item){.type = '0', .name = "plain"});
  tar_end(&b);
  csn_auto(csn_buf_finip) csn_buf want = CSN_BUF(10000);
  csn_buf_addf(&want,
               "f p/q 755 0/0 1\n1.\nf %s 755 3000000/0 0\n.\n"
               "l link -> t/u 755 0/0 0\nf plain 755 0/0 0\n.\n",
               name);
  reads_as(&b, want.p);
}

TEST(numbers_come_in_octal_and_base_256)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1 << 20);
  size_t at = tar_add(&b, (struct tar_item){.type = '0', .name = "a"});
  memcpy(b.p + at + 108, "\x80\0\0\0\x01\0\0\0", 8); /* 2^24 */
  memcpy(b.p + at + 116, "    7 \0\0", 8);           /* blanks around */
  memcpy(b.p + at + 136, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", 12); /* -2 */
  tar_sign(&b, at);
  tar_end(&b);
  struct log l = {.text = CSN_BUF(1000), .times = 1};
  csn_err err;
  OK(read_cut(csn_buf_str(&b), 0, 100, &l, &err), &err);
  STR_EQ(csn_buf_str(&l.text), "f a 755 16777216/7 0 @-2.000000000\n.\n");
  csn_buf_fini(&l.text);
}

TEST(content_that_nobody_wants_can_be_skipped)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1 << 20);
  char big[3001];
  memset(big, 'x', 3000);
  big[3000] = '\0';
  tar_add(&b, (struct tar_item){.type = '0', .name = "a", .content = big});
  tar_add(&b, (struct tar_item){.type = '0', .name = "b", .content = "y"});
  tar_end(&b);
  struct log l = {.text = CSN_BUF(1000), .no_content = true};
  csn_tar_sink sink = {note_entry, note_data, note_end, &l};
  csn_auto(csn_tar_freep) csn_tar *t = csn_tar_new(&sink);
  csn_err err;
  size_t fed = 0;
  for (size_t at = 0; at < b.n;) {
    uint64_t n = csn_tar_skippable(t);
    if (n) {
      csn_tar_skip(t, n);
      at += n;
      continue;
    }
    OK(csn_tar_feed(t, csn_strn(b.p + at, 1), &err), &err);
    assert_int_equal(csn_tar_offset(t), ++at);
    fed++;
  }
  OK(csn_tar_done(t, &err), &err);
  assert_true(csn_tar_ended(t));
  STR_EQ(csn_buf_str(&l.text), "f a 755 0/0 3000\nf b 755 0/0 1\n");
  assert_int_equal(fed, 2 * 512 + 1024);
  csn_buf_fini(&l.text);
}

TEST(what_is_ambiguous_or_broken_is_refused)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(8 << 20);
  csn_buf_add(&b, CSN_STR("PK\3\4 is no tar"));
  is_refused(&b, CSN_E_PARSE, "too early");
  while (b.n < 512)
    csn_buf_addc(&b, 'z');
  is_refused(&b, CSN_E_PARSE, "first block is no header");

  csn_buf_clear(&b); /* cut in the content, then at an entry's end */
  tar_add(&b, (struct tar_item){.type = '0', .name = "a", .content = "12345"});
  is_refused(&b, CSN_E_PARSE, "too early");
  b.n -= 400;
  is_refused(&b, CSN_E_PARSE, "too early");

  csn_buf_clear(&b);
  size_t at = tar_add(&b, (struct tar_item){.type = '0', .name = "a"});
  b.p[at + 3] = 'x'; /* the sum is now wrong */
  is_refused(&b, CSN_E_PARSE, "first block");

  csn_buf_clear(&b);
  at = tar_add(&b, (struct tar_item){.type = '0', .name = "a"});
  memcpy(b.p + at + 124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12); /* -1 */
  tar_sign(&b, at);
  is_refused(&b, CSN_E_PARSE, "absurd size");

  csn_buf_clear(&b);
  at = tar_add(&b, (struct tar_item){.type = '0', .name = "a"});
  memcpy(b.p + at + 124, "12345678z", 9);
  tar_sign(&b, at);
  is_refused(&b, CSN_E_PARSE, "no number");

  csn_buf_clear(&b);
  tar_add(&b, (struct tar_item){.type = '1', .name = "h", .link = "a", .content = "hidden"});
  is_refused(&b, CSN_E_PARSE, "link with content");
  csn_buf_clear(&b);
  tar_add(&b, (struct tar_item){.type = '2', .name = "h"});
  is_refused(&b, CSN_E_PARSE, "without a target");
  csn_buf_clear(&b);
  tar_add(&b, (struct tar_item){.type = '0', .name = ""});
  is_refused(&b, CSN_E_PARSE, "without a name");
  csn_buf_clear(&b);
  tar_add(&b, (struct tar_item){.type = 'S', .name = "s"});
  is_refused(&b, CSN_E_UNSUPPORTED, "sparse");
  csn_buf_clear(&b);
  tar_add(&b, (struct tar_item){.type = 'Q', .name = "q"});
  is_refused(&b, CSN_E_UNSUPPORTED, "unknown type 0x51");
}

TEST(extended_headers_that_lie_are_refused)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(8 << 20), big = CSN_BUF(8 << 20);
  static const struct {
    const char *record, *why;
  } rows[] = {
      {"99 path=x\n", "malformed"}, {"4 =\n", "malformed"},        {"path=x\n", "malformed"},
      {"9 path=x", "malformed"},    {"11 size=-1\n", "no number"}, {"10 mtime=x\n", "malformed"},
      {"11 mtime=x\n", "time"},     {"7 path=\n", "malformed"},    {"8 path=\n", "empty name"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_buf_clear(&b);
    tar_add(&b, (struct tar_item){.type = 'x', .name = "x", .content = rows[i].record});
    tar_add(&b, (struct tar_item){.type = '0', .name = "a"});
    is_refused(&b, CSN_E_PARSE, rows[i].why);
  }
  csn_buf_clear(&b);
  tar_pax(&b, 'x', "path", CSN_STR("a\0b"));
  is_refused(&b, CSN_E_PARSE, "NUL");
  csn_buf_clear(&b);
  tar_pax(&b, 'g', "path", CSN_STR("a"));
  is_refused(&b, CSN_E_PARSE, "global");
  csn_buf_clear(&b);
  tar_pax(&b, 'x', "GNU.sparse.major", CSN_STR("1"));
  is_refused(&b, CSN_E_UNSUPPORTED, "sparse");
  csn_buf_clear(&b);
  tar_pax(&b, 'x', "path", CSN_STR("a"));
  tar_pax(&b, 'x', "path", CSN_STR("b"));
  is_refused(&b, CSN_E_PARSE, "two names");
  csn_buf_clear(&b);
  tar_pax(&b, 'x', "path", CSN_STR("a"));
  tar_end(&b);
  is_refused(&b, CSN_E_PARSE, "no entry behind");
  while (big.n < CSN_TAR_NAME_MAX + 1)
    csn_buf_addc(&big, 'n');
  csn_buf_clear(&b);
  tar_pax(&b, 'x', "path", csn_buf_str(&big));
  is_refused(&b, CSN_E_LIMIT, "4096 bytes");
  while (big.n <= CSN_TAR_HEADER_MAX)
    csn_buf_addc(&big, 'n');
  csn_buf_clear(&b);
  tar_pax(&b, 'x', "comment", csn_buf_str(&big));
  is_refused(&b, CSN_E_LIMIT, "extended header");
}

TEST(an_empty_file_is_an_empty_archive)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1 << 20);
  csn_err err;
  struct log l = {.text = CSN_BUF(100)};
  OK(read_cut(csn_strn("", 0), 0, 1, &l, &err), &err);
  tar_end(&b);
  reads_as(&b, "");
  b.n = 512; /* half of the end mark is what some programs write */
  reads_as(&b, "");
}

/* One tree, packed by the system's tar in each of its formats. */
TEST(every_format_of_gnu_tar_is_read)
{
  static const char *const formats[] = {"--format=v7",    "--format=oldgnu", "--format=gnu",
                                        "--format=ustar", "--format=posix",  NULL};
  static const char *const env[] = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", NULL};
  char folder[] = "/tmp/csn-tar-XXXXXX", deep[200], tarball[64];
  csn_err err;
  assert_non_null(mkdtemp(folder));
  csn_auto(csn_closep) int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  memset(deep, 'd', 80);
  deep[80] = '/';
  memset(deep + 81, 'e', 60);
  snprintf(deep + 141, sizeof deep - 141, "/file");
  snprintf(tarball, sizeof tarball, "%s.tar", folder);
  for (size_t i = 0; formats[i]; i++) {
    bool is_long = i != 0;
    OK(csn_file_write(dir, "a", CSN_STR("hello"), 0640, false, &err), &err);
    deep[141] = '\0';
    if (is_long)
      OK(csn_mkdirs(dir, deep, 0755, &err), &err);
    deep[141] = '/';
    if (is_long)
      OK(csn_file_write(dir, deep, CSN_STR("deep"), 0644, false, &err), &err);
    const char *argv[] = {"tar",         "-C",         folder,      "-cf",
                          tarball,       formats[i],   "--owner=5", "--group=6",
                          "--sort=name", "--mtime=@1", ".",         NULL};
    csn_scope sc;
    csn_scope_init(&sc, NULL, 30000);
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(4000), tar = CSN_BUF(1 << 20);
    int rc = csn_command_run(&(csn_command){argv, env, -1}, &sc, &out, &err);
    csn_scope_fini(&sc);
    if (rc == CSN_E_NOT_FOUND)
      SKIP("this machine has no tar");
    assert_int_equal(rc, 0);
    csn_auto(csn_closep) int fd = open(tarball, O_RDONLY | O_CLOEXEC);
    OK(csn_fd_read_all(fd, &tar, &err), &err);
    struct log l = {.text = CSN_BUF(100000), .times = 1};
    OK(read_cut(csn_buf_str(&tar), 77, 333, &l, &err), &err);
    assert_non_null(strstr(l.text.p, "f ./a 640 5/6 5 @1.000000000\nhello.\n"));
    csn_auto(csn_buf_finip) csn_buf want = CSN_BUF(1000);
    csn_buf_addf(&want, "f ./%s 644 5/6 4 @1.000000000\ndeep.\n", deep);
    if (is_long && !strstr(l.text.p, want.p))
      fail_msg("%s: %s", formats[i], l.text.p);
    csn_buf_fini(&l.text);
  }
  unlink(tarball);
  csn_auto(csn_closep) int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  OK(csn_remove_tree(tmp, folder + 5, &err), &err);
}

RUN_TESTS("wire/tar", RUN(entries_are_the_same_however_the_bytes_are_cut),
          RUN(extended_headers_change_the_next_entry_only), RUN(numbers_come_in_octal_and_base_256),
          RUN(content_that_nobody_wants_can_be_skipped),
          RUN(what_is_ambiguous_or_broken_is_refused), RUN(extended_headers_that_lie_are_refused),
          RUN(an_empty_file_is_an_empty_archive), RUN(every_format_of_gnu_tar_is_read))
