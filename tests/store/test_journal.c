/* SPDX-License-Identifier: Apache-2.0
 * test_journal.c - append, read, verify, find, list and remove runs. */
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

TEST(data_over_64_kib_is_moved_and_comes_back)
{
  static const size_t sizes[] = {CSN_RECORD_INLINE - 1, CSN_RECORD_INLINE, CSN_RECORD_INLINE + 1,
                                 1 << 20};
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_journal *j;
  csn_err err;
  OK(csn_journal_new(s, &j, &err), &err);
  for (size_t i = 0; i < CSN_COUNT(sizes); i++) {
    csn_auto(csn_freep) char *text = csn_alloc(sizes[i]);
    memset(text, 'a' + (int)i, sizes[i]);
    text[0] = text[sizes[i] - 1] = '"';
    csn_record r = record("state", csn_strn(text, sizes[i]));
    OK(csn_journal_append(j, &r, 1, NULL, &err), &err);
  }
  assert_int_equal(sql(&f, "SELECT count(*) FROM records WHERE data LIKE '@%'"), 2);
  assert_int_equal(sql(&f, "SELECT count(*) FROM refs"), 2);
  assert_int_equal(count_records(j, &err), 4);
  csn_journal_close(j);
  csn_store_close(s);
  folder_free(&f);
}

static int
is_same(void *user, const csn_record *r, csn_err *err)
{
  return csn_str_eq(*(csn_str *)user, r->data) && !r->is_erased
             ? 0
             : csn_fail(err, CSN_E_INVALID, "other data");
}

static int
is_erased(void *user, const csn_record *r, csn_err *err)
{
  (void)user;
  return r->is_erased && csn_str_eq(r->data, CSN_STR("null"))
             ? 0
             : csn_fail(err, CSN_E_INVALID, "not erased");
}

TEST(moved_data_can_be_erased_and_the_chain_still_verifies)
{
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_journal *j;
  csn_err err;
  OK(csn_journal_new(s, &j, &err), &err);
  size_t n = 200000;
  csn_auto(csn_freep) char *text = csn_alloc(n);
  memset(text, '7', n);
  csn_str data = csn_strn(text, n);
  csn_record r = record("tool_returned", data);
  OK(csn_journal_append(j, &r, 1, NULL, &err), &err);
  OK(csn_journal_read(j, 0, is_same, &data, &err), &err);

  csn_digest d = csn_sha256_of(data);
  OK(csn_blob_drop(s, &d, &err), &err);
  assert_int_equal(csn_blob_drop(s, &d, &err), CSN_E_NOT_FOUND);
  OK(csn_journal_read(j, 0, is_erased, NULL, &err), &err);
  csn_journal_close(j);
  csn_store_close(s);
  folder_free(&f);
}

TEST(an_altered_row_is_found_and_its_seq_named)
{
  static const struct {
    const char *lite, *pg, *names;
  } rows[] = {
      {"UPDATE record SET ts = ts + 1 WHERE pos & 4294967295 = 2",
       "UPDATE record SET ts = ts + 1 WHERE seq = 2", "record 2"},
      {"UPDATE record SET kind = 'other' WHERE pos & 4294967295 = 2",
       "UPDATE record SET kind = 'other' WHERE seq = 2", "record 2"},
      {"UPDATE record SET kind = 'a b' WHERE pos & 4294967295 = 2",
       "UPDATE record SET kind = 'a b' WHERE seq = 2", "record 2"},
      {"UPDATE record SET data = '{\"n\":9}' WHERE pos & 4294967295 = 2",
       "UPDATE record SET data = '{\"n\":9}' WHERE seq = 2", "record 2"},
      {"UPDATE record SET data = '@' WHERE pos & 4294967295 = 2",
       "UPDATE record SET data = '@' WHERE seq = 2", "record 2"},
      {"UPDATE record SET hash = zeroblob(32) WHERE pos & 4294967295 = 2",
       "UPDATE record SET hash = decode(repeat('00', 32), 'hex') WHERE seq = 2", "record 2"},
      {"UPDATE record SET hash = zeroblob(31) WHERE pos & 4294967295 = 2",
       "UPDATE record SET hash = decode(repeat('00', 31), 'hex') WHERE seq = 2", "record 2"},
      {"DELETE FROM record WHERE pos & 4294967295 = 2", "DELETE FROM record WHERE seq = 2",
       "record 2"},
      {"DELETE FROM record WHERE pos & 4294967295 = 0", "DELETE FROM record WHERE seq = 0",
       "record 0"},
      {"UPDATE record SET pos = pos + 10 WHERE pos & 4294967295 = 3",
       "UPDATE record SET seq = seq + 10 WHERE seq = 3", "record 3"}, /* seq */
      {"UPDATE record SET pos = pos + (1 << 32) WHERE pos & 4294967295 = 3",
       "UPDATE record SET run = run + 1 WHERE seq = 3", "record 3"}, /* run */
      {"DELETE FROM record WHERE pos & 4294967295 = 4", "DELETE FROM record WHERE seq = 4",
       "record 4"}, /* the last */
      {"INSERT INTO record SELECT pos + 1, ts, kind, hash, data FROM record WHERE pos & 4294967295 "
       "= 4",
       "INSERT INTO record SELECT run, seq + 1, ts, kind, hash, data FROM record WHERE seq = 4",
       "record 5"},
      {"UPDATE runs SET next = 4", "UPDATE runs SET next = 4", "record 4"},
      {"UPDATE runs SET head = zeroblob(32)",
       "UPDATE runs SET head = decode(repeat('00', 32), 'hex')", "record 4"},
      {"UPDATE blobs SET bytes = zeroblob(50), zstd = 0",
       "UPDATE blobs SET bytes = decode(repeat('00', 50), 'hex'), zstd = 0", "record 1"},
      {"UPDATE blobs SET size = 3", "UPDATE blobs SET size = 3", "record 1"},
      {"UPDATE blobs SET size = size + 1", "UPDATE blobs SET size = size + 1", "record 1"},
      {"UPDATE blobs SET size = -1", "UPDATE blobs SET size = -1", "record 1"},
      {"UPDATE blobs SET zstd = 0", "UPDATE blobs SET zstd = 0", "record 1"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    folder f = folder_new();
    csn_store *s = store_in(&f);
    csn_journal *j;
    csn_err err;
    OK(csn_journal_new(s, &j, &err), &err);
    OK(append_note(j, &err), &err);
    size_t n = 100000;
    csn_auto(csn_freep) char *text = csn_alloc(n);
    memset(text, '1', n);
    csn_record big = record("state", csn_strn(text, n));
    OK(csn_journal_append(j, &big, 1, NULL, &err), &err);
    for (int k = 0; k < 3; k++)
      OK(append_note(j, &err), &err);
    assert_int_equal(count_records(j, &err), 5);
    const char *change = test_postgres() ? rows[i].pg : rows[i].lite;
    sql(&f, change);
    int rc = count_records(j, &err);
    if (rc != CSN_E_REPLAY || !strstr(err.msg, rows[i].names))
      fail_msg("%s: %d %s", change, rc, rc < 0 ? err.msg : "");
    csn_journal_close(j);
    csn_store_close(s);
    folder_free(&f);
  }
}

TEST(a_record_that_is_no_record_is_refused)
{
  const struct {
    const char *kind;
    csn_str data;
    int rc;
  } rows[] = {
      {"", CSN_STR("1"), CSN_E_INVALID},           {"a b", CSN_STR("1"), CSN_E_INVALID},
      {"a\n", CSN_STR("1"), CSN_E_INVALID},        {"a", CSN_STR(""), CSN_E_INVALID},
      {"a", CSN_STR("@x"), CSN_E_INVALID},         {"a.b:c-d_E9", CSN_STR("1"), 0},
      {"a", {"1", CSN_BLOB_MAX + 1}, CSN_E_LIMIT},
  };
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_journal *j;
  csn_err err;
  OK(csn_journal_new(s, &j, &err), &err);
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_record r[] = {record("fine", CSN_STR("0")), record(rows[i].kind, rows[i].data)};
    assert_int_equal(csn_journal_append(j, r, 2, NULL, &err), rows[i].rc);
  }
  assert_int_equal(count_records(j, &err), 2);
  csn_digest never = csn_sha256_of(CSN_STR("never put"));
  csn_record r = record("fine", CSN_STR("0"));
  r.blobs = &never;
  r.n_blobs = 1;
  assert_int_equal(csn_journal_append(j, &r, 1, NULL, &err), CSN_E_NOT_FOUND);
  assert_int_equal(count_records(j, &err), 2);
  csn_journal *reader;
  OK(csn_journal_open(s, csn_cstr(csn_journal_id(j)), false, &reader, &err), &err);
  assert_int_equal(append_note(reader, &err), CSN_E_INVALID);
  csn_journal_close(reader);
  csn_journal_close(j);
  csn_store_close(s);
  folder_free(&f);
}

TEST(many_records_go_in_one_append)
{
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_journal *j;
  csn_err err;
  OK(csn_journal_new(s, &j, &err), &err);
  static csn_record r[500];
  for (size_t i = 0; i < CSN_COUNT(r); i++)
    r[i] = record("note", CSN_STR("{}"));
  OK(csn_journal_append(j, r, CSN_COUNT(r), NULL, &err), &err);
  OK(csn_journal_append(j, NULL, 0, NULL, &err), &err);
  assert_int_equal(count_records(j, &err), CSN_COUNT(r));
  csn_journal_close(j);
  csn_store_close(s);
  folder_free(&f);
}

static int
append_inside(void *user, const csn_record *r, csn_err *err)
{
  (void)r;
  return append_note(user, err);
}

TEST(a_reader_may_append_and_sees_the_state_it_began_with)
{
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_journal *j;
  csn_err err;
  OK(csn_journal_new(s, &j, &err), &err);
  for (int i = 0; i < 3; i++)
    OK(append_note(j, &err), &err);
  OK(csn_journal_read(j, 0, append_inside, j, &err), &err);
  assert_int_equal(count_records(j, &err), 6);
  csn_journal_close(j);
  csn_store_close(s);
  folder_free(&f);
}

TEST(a_run_is_found_by_a_unique_head_of_its_id)
{
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_err err;
  for (int i = 0; i < 14; i++) {
    csn_journal *j;
    OK(csn_journal_new(s, &j, &err), &err);
    assert_true(strlen(csn_journal_id(j)) <= 20);
    csn_journal_close(j);
  }
  sql(&f,
      "UPDATE runs SET id = 'abc' WHERE no = 1; UPDATE runs SET id = 'abcd1' WHERE no = 2;"
      "UPDATE runs SET id = 'abcd2' WHERE no = 3; UPDATE runs SET id = 'zz' || no WHERE no > 3");
  static const struct {
    const char *text, *id, *message;
    int rc;
  } rows[] = {
      {"abc", "abc", NULL, 0}, /* whole, although others begin so */
      {"abcd1", "abcd1", NULL, 0},
      {"ABCD2", "abcd2", NULL, 0},
      {"zz1", NULL, "several runs begin with 'zz1': zz10 zz11 zz12 zz13 zz14;", CSN_E_INVALID},
      {"zz5", "zz5", NULL, 0},
      {"abcd", NULL, "abcd1 abcd2", CSN_E_INVALID},
      {"zz", NULL, " ...;", CSN_E_INVALID},
      {"q", NULL, "no run 'q'", CSN_E_NOT_FOUND},
      {"", NULL, "no run id", CSN_E_INVALID},
      {"a%", NULL, "no run id", CSN_E_INVALID},
      {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL, "no run id", CSN_E_INVALID},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_journal *j = NULL;
    int rc = csn_journal_open(s, csn_cstr(rows[i].text), false, &j, &err);
    if (rc != rows[i].rc || (rc < 0 && !strstr(err.msg, rows[i].message)) ||
        (rc >= 0 && strcmp(csn_journal_id(j), rows[i].id) != 0))
      fail_msg("'%s': %d %s", rows[i].text, rc, rc < 0 ? err.msg : csn_journal_id(j));
    csn_journal_close(j);
  }
  csn_store_close(s);
  folder_free(&f);
}

TEST(ids_sort_by_time)
{
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_err err;
  char before[32] = "";
  for (int i = 0; i < 5; i++) {
    csn_journal *j;
    OK(csn_journal_new(s, &j, &err), &err);
    assert_true(strncmp(before, csn_journal_id(j), 9) <= 0);
    snprintf(before, sizeof before, "%s", csn_journal_id(j));
    csn_journal_close(j);
  }
  csn_store_close(s);
  folder_free(&f);
}

static int
list(void *user, const csn_run_row *r)
{
  struct seen *s = user;
  size_t at = strlen(s->text);
  snprintf(s->text + at, sizeof s->text - at, "%.*s %.*s %.*s %.*s %lld %lld %d|", (int)r->state.n,
           r->state.p, (int)r->agent.n, r->agent.p, (int)r->model.n, r->model.p, (int)r->task.n,
           r->task.p, (long long)r->turns, (long long)r->tokens, r->is_owned);
  return ++s->n == 2 ? -1 : 0;
}

TEST(runs_are_listed_newest_first_with_their_summary)
{
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_journal *first, *second;
  csn_err err;
  OK(csn_journal_new(s, &first, &err), &err);
  OK(csn_journal_new(s, &second, &err), &err);
  csn_record r = record("note", CSN_STR("1"));
  csn_run_row row = {.agent = CSN_STR("fixer"), .model = CSN_STR("m1"), .task = CSN_STR("t")};
  OK(csn_journal_append(second, &r, 1, &row, &err), &err);
  row = (csn_run_row){.state = CSN_STR("done"), .model = CSN_STR("m2"), .turns = 3, .tokens = 99};
  OK(csn_journal_append(second, &r, 1, &row, &err), &err);
  OK(csn_journal_append(second, &r, 1, NULL, &err), &err);
  csn_journal_close(second);
  struct seen seen = {0};
  assert_int_equal(csn_store_runs(s, list, &seen, &err), -1); /* list() ends it */
  assert_string_equal(seen.text, "done fixer m2 t 3 99 0|running    0 0 1|");
  csn_journal_close(first);
  csn_store_close(s);
  folder_free(&f);
}

TEST(a_run_is_removed_only_when_nobody_owns_it)
{
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_journal *j, *other;
  csn_err err;
  OK(csn_journal_new(s, &j, &err), &err);
  OK(append_note(j, &err), &err);
  OK(csn_journal_new(s, &other, &err), &err);
  OK(append_note(other, &err), &err);
  char id[32];
  snprintf(id, sizeof id, "%s", csn_journal_id(j));
  assert_int_equal(csn_store_remove_run(s, csn_cstr(id), &err), CSN_E_CONFLICT);
  csn_journal *reader;
  OK(csn_journal_open(s, csn_cstr(id), false, &reader, &err), &err);
  csn_journal_close(j);
  OK(csn_store_remove_run(s, csn_cstr(id), &err), &err);
  assert_int_equal(csn_store_remove_run(s, csn_cstr(id), &err), CSN_E_NOT_FOUND);
  assert_int_equal(count_records(reader, &err), CSN_E_NOT_FOUND);
  assert_int_equal(count_records(other, &err), 1);
  assert_int_equal(sql(&f, "SELECT count(*) FROM record"), 1);
  csn_journal_close(reader);
  csn_journal_close(other);
  csn_store_close(s);
  folder_free(&f);
}

RUN_TESTS("store/journal", RUN(what_was_appended_is_read_in_order),
          RUN(the_chain_can_be_verified_by_hand), RUN(data_over_64_kib_is_moved_and_comes_back),
          RUN(moved_data_can_be_erased_and_the_chain_still_verifies),
          RUN(an_altered_row_is_found_and_its_seq_named),
          RUN(a_record_that_is_no_record_is_refused), RUN(many_records_go_in_one_append),
          RUN(a_reader_may_append_and_sees_the_state_it_began_with),
          RUN(a_run_is_found_by_a_unique_head_of_its_id), RUN(ids_sort_by_time),
          RUN(runs_are_listed_newest_first_with_their_summary),
          RUN(a_run_is_removed_only_when_nobody_owns_it))
