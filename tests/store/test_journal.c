/* SPDX-License-Identifier: Apache-2.0
 * test_journal.c - append, read, verify, own and list runs. */
#include <errno.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "folder.h"

struct seen {
  int n;
  char text[4096]; /* "seq kind data|" of each */
  csn_digest prev, hash;
};

static int
keep(void *user, const csn_record *r, csn_err *err)
{
  (void)err;
  struct seen *s = user;
  size_t at = strlen(s->text);
  snprintf(s->text + at, sizeof s->text - at, "%lld %.*s %.*s|", (long long)r->seq, (int)r->kind.n,
           r->kind.p, (int)r->data.n, r->data.p);
  s->prev = r->prev;
  s->hash = r->hash;
  s->n++;
  return 0;
}

TEST(what_was_appended_is_read_in_order)
{
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_journal *j;
  csn_err err;
  OK(csn_journal_new(s, &j, &err), &err);
  assert_int_equal(csn_journal_next_seq(j), 0);
  csn_record one = record("run", CSN_STR("{\"format\":1}"));
  OK(csn_journal_append(j, &one, 1, NULL, &err), &err);
  csn_record two[] = {record("input", CSN_STR("\"hi\"")), record("note", CSN_STR("2"))};
  OK(csn_journal_append(j, two, 2, NULL, &err), &err);
  assert_int_equal(two[1].seq, 2);
  assert_int_equal(csn_journal_next_seq(j), 3);
  assert_int_equal(csn_journal_last(j, "input"), 1);
  assert_int_equal(csn_journal_last(j, "nothing"), -1);

  struct seen all = {0};
  OK(csn_journal_read(j, 0, keep, &all, &err), &err);
  assert_string_equal(all.text, "0 run {\"format\":1}|1 input \"hi\"|2 note 2|");
  assert_memory_equal(all.hash.b, two[1].hash.b, 32);
  assert_memory_equal(all.prev.b, two[0].hash.b, 32);
  struct seen tail = {0};
  OK(csn_journal_read(j, 2, keep, &tail, &err), &err);
  assert_string_equal(tail.text, "2 note 2|");
  struct seen none = {0};
  OK(csn_journal_read(j, 3, keep, &none, &err), &err);
  assert_int_equal(none.n, 0);

  char id[32];
  snprintf(id, sizeof id, "%s", csn_journal_id(j));
  csn_journal_close(j);
  csn_store_close(s);

  s = store_in(&f);
  OK(csn_journal_open(s, csn_cstr(id), true, &j, &err), &err);
  assert_int_equal(csn_journal_next_seq(j), 3);
  OK(append_note(j, &err), &err);
  assert_int_equal(count_records(j, &err), 4);
  csn_journal_close(j);
  csn_store_close(s);
  folder_free(&f);
}

/* docs/journal.md's recipe, word by word, on the rows as stored. */
TEST(the_chain_can_be_verified_by_hand)
{
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_journal *j;
  csn_err err;
  OK(csn_journal_new(s, &j, &err), &err);
  csn_record r[] = {record("a", CSN_STR("{}")), record("b", CSN_STR("[1]"))};
  OK(csn_journal_append(j, r, 2, NULL, &err), &err);

  csn_sha256 h;
  csn_sha256_init(&h);
  csn_sha256_add(&h,
                 csn_strn("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32));
  csn_sha256_add(&h, CSN_STR("0 1700000000000 a\n{}"));
  csn_digest first = csn_sha256_end(&h);
  assert_memory_equal(first.b, r[0].hash.b, 32);
  csn_sha256_init(&h);
  csn_sha256_add(&h, csn_strn((const char *)first.b, 32));
  csn_sha256_add(&h, CSN_STR("1 1700000000000 b\n[1]"));
  csn_digest second = csn_sha256_end(&h);
  assert_memory_equal(second.b, r[1].hash.b, 32);
  csn_journal_close(j);
  csn_store_close(s);
  folder_free(&f);
}

RUN_TESTS("store/journal", RUN(what_was_appended_is_read_in_order),
          RUN(the_chain_can_be_verified_by_hand))
