/* SPDX-License-Identifier: Apache-2.0
 * test_pack.c - content in packs: what goes in comes out, damage is found,
 * and what nobody needs goes. */
#include <dirent.h>
#include <sys/stat.h>

#include "folder.h"
#include "store/pack.h"

static csn_packs *
open_in(const folder *f)
{
  csn_packs *p = NULL;
  csn_err err;
  OK(csn_packs_open(&p, f->fd, NULL, &err), &err);
  return p;
}

static csn_digest
put(csn_packs *p, const char *text)
{
  csn_digest d;
  csn_err err;
  OK(csn_packs_add(p, csn_cstr(text), &d, &err), &err);
  return d;
}

static void
commit(csn_packs *p)
{
  csn_err err;
  OK(csn_packs_commit(p, &err), &err);
}

static void
holds(csn_packs *p, const csn_digest *d, const char *want)
{
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(1 << 20);
  OK(csn_packs_get(p, NULL, d, &got, &err), &err);
  STR_EQ(csn_buf_str(&got), want);
}

/* The name of the n-th pack, by name; false past the last. */
static bool
pack_name(const folder *f, size_t n, char name[64])
{
  char all[16][64];
  size_t found = 0;
  DIR *d = fdopendir(openat(f->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (struct dirent *e; (e = readdir(d)) && found < 16;)
    if (e->d_name[0] != '.' && strlen(e->d_name) < 64)
      snprintf(all[found++], 64, "%.63s", e->d_name);
  closedir(d);
  if (n < found)
    memcpy(name, all[n], 64);
  return n < found;
}

TEST(what_was_committed_is_there_when_it_is_opened_again)
{
  folder f = folder_new();
  csn_packs *p = open_in(&f);
  csn_digest a = put(p, "one"), b = put(p, ""), c = put(p, "one");
  assert_memory_equal(&a, &c, sizeof a);
  assert_true(csn_packs_has(p, &a));
  commit(p);
  holds(p, &a, "one");
  csn_packs_free(p);
  p = open_in(&f);
  holds(p, &a, "one");
  holds(p, &b, "");
  csn_digest more = put(p, "not committed");
  csn_packs_free(p);
  p = open_in(&f);
  assert_false(csn_packs_has(p, &more));
  assert_int_equal(csn_packs_size(p, &a), 3);
  char name[64];
  assert_true(pack_name(&f, 0, name));
  assert_false(pack_name(&f, 1, name));
  csn_packs_free(p);
  folder_free(&f);
}

TEST(files_of_any_size_go_in_and_come_out)
{
  static const size_t sizes[] = {0, 1, 511, 131071, 131072, 131073, 1000000};
  folder f = folder_new();
  csn_packs *p = open_in(&f);
  for (size_t i = 0; i < CSN_COUNT(sizes); i++) {
    csn_err err;
    csn_digest d;
    int64_t size;
    csn_auto(csn_freep) char *bytes = csn_alloc(sizes[i] + 1);
    for (size_t k = 0; k < sizes[i]; k++)
      bytes[k] = (char)('a' + (k * 7 + k / 1000) % 26);
    csn_auto(csn_closep) int fd = openat(f.fd, ".file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    OK(csn_fd_write_all(fd, csn_strn(bytes, sizes[i]), &err), &err);
    OK(csn_packs_add_file(p, NULL, fd, &d, &size, &err), &err);
    assert_int_equal(size, sizes[i]);
    commit(p);
    holds(p, &d, bytes);
  }
  csn_packs_free(p);
  folder_free(&f);
}

static void
count(void *user, const char *pack, const csn_digest *d)
{
  ++*(int *)user;
}

/* Whatever is cut off or changed in the newer pack is found, and the older one
 * is whole. */
TEST(a_torn_pack_is_found_and_the_others_are_whole)
{
  folder f = folder_new();
  csn_packs *p = open_in(&f);
  char text[400], name[64], other[64];
  csn_digest old[20], now[20];
  for (int i = 0; i < 20; i++) {
    snprintf(text, sizeof text, "old %d of twenty", i);
    old[i] = put(p, text);
  }
  commit(p);
  assert_true(pack_name(&f, 0, other));
  for (int i = 0; i < 20; i++) {
    memset(text, 'a' + i, 300);
    snprintf(text + 300, 90, "%d", i * 7919);
    now[i] = put(p, text);
  }
  commit(p);
  csn_packs_free(p);
  assert_true(pack_name(&f, 0, name));
  if (strcmp(name, other) == 0)
    assert_true(pack_name(&f, 1, name));
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf whole = CSN_BUF(1 << 20);
  OK(csn_file_read(f.fd, name, &whole, &err), &err);
  for (size_t at = 0; at < whole.n; at += at + 64 < whole.n ? 64 : 1) {
    for (int flip = 0; flip < 2; flip++) {
      int bad = 0;
      csn_auto(csn_closep) int fd = openat(f.fd, name, O_RDWR | O_CLOEXEC);
      assert_int_equal(ftruncate(fd, flip ? (off_t)whole.n : (off_t)at), 0);
      char c = (char)(whole.p[at] ^ 0x41);
      if (flip) {
        assert_int_equal(pwrite(fd, whole.p, whole.n, 0), whole.n);
        assert_int_equal(pwrite(fd, &c, 1, (off_t)at), 1);
      }
      p = open_in(&f);
      for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof text, "old %d of twenty", i);
        holds(p, &old[i], text);
      }
      int rc = csn_packs_verify(p, NULL, count, &bad, &err);
      OK(rc, &err);
      for (int i = 0; i < 20; i++)
        bad += !csn_packs_has(p, &now[i]);
      bool in_header = flip && !csn_packs_damaged(p, 0) && bad == 0;
      /* A record's own header counts only where the table is lost. */
      if (!in_header)
        assert_true(csn_packs_damaged(p, 0) || bad);
      else
        for (int i = 0; i < 20; i++) {
          memset(text, 'a' + i, 300);
          snprintf(text + 300, 90, "%d", i * 7919);
          holds(p, &now[i], text);
        }
      csn_packs_free(p);
    }
  }
  folder_free(&f);
}

TEST(content_that_is_not_what_its_digest_says_is_not_given)
{
  folder f = folder_new();
  csn_packs *p = open_in(&f);
  csn_digest a = put(p, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
  commit(p);
  csn_packs_free(p);
  char name[64], byte = 'x';
  assert_true(pack_name(&f, 0, name));
  csn_auto(csn_closep) int fd = openat(f.fd, name, O_RDWR | O_CLOEXEC);
  assert_int_equal(pwrite(fd, &byte, 1, 56 + 8), 1);
  p = open_in(&f);
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(1 << 20);
  csn_buf_addz(&got, "before");
  assert_int_equal(csn_packs_get(p, NULL, &a, &got, &err), CSN_E_PARSE);
  STR_EQ(csn_buf_str(&got), "before");
  csn_packs_free(p);
  folder_free(&f);
}

static bool
keeps(void *user, const csn_digest *d)
{
  return memcmp(user, d, sizeof *d) == 0;
}

TEST(a_sweep_keeps_what_is_needed_and_nothing_else)
{
  folder f = folder_new();
  csn_packs *p = open_in(&f);
  csn_err err;
  char big[2000];
  memset(big, 'x', sizeof big);
  for (size_t i = 0; i < sizeof big - 1; i++)
    big[i] = (char)(' ' + (i * i * 31 + i / 7) % 90);
  big[sizeof big - 1] = '\0';
  csn_digest kept = put(p, "kept");
  csn_digest gone = put(p, big);
  commit(p);
  csn_digest other = put(p, "other");
  commit(p);
  int64_t freed;
  OK(csn_packs_sweep(p, NULL, keeps, &kept, &freed, &err), &err);
  assert_true(freed > 100);
  csn_packs_free(p);
  p = open_in(&f);
  holds(p, &kept, "kept");
  assert_false(csn_packs_has(p, &gone));
  assert_false(csn_packs_has(p, &other));
  csn_packs_free(p);
  folder_free(&f);
}

RUN_TESTS("store/pack", RUN(what_was_committed_is_there_when_it_is_opened_again),
          RUN(files_of_any_size_go_in_and_come_out),
          RUN(a_torn_pack_is_found_and_the_others_are_whole),
          RUN(content_that_is_not_what_its_digest_says_is_not_given),
          RUN(a_sweep_keeps_what_is_needed_and_nothing_else))
