/* SPDX-License-Identifier: Apache-2.0
 * test_blob.c - content by its SHA-256: kept, packed, bounded, collected. */
#include "folder.h"

static csn_digest
put(csn_store *s, csn_str bytes)
{
  csn_digest d;
  csn_err err;
  OK(csn_blob_put(s, bytes, &d, &err), &err);
  return d;
}

TEST(a_blob_comes_back_whatever_its_size)
{
  static const size_t sizes[] = {0, 1, 512, 513, 4096, 100000, 3000000};
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_err err;
  for (size_t i = 0; i < CSN_COUNT(sizes); i++)
    for (int is_random = 0; is_random < 2; is_random++) {
      csn_auto(csn_freep) char *bytes = csn_alloc(sizes[i]);
      if (is_random)
        for (size_t at = 0; at < sizes[i]; at += 256)
          csn_random_bytes(bytes + at, sizes[i] - at < 256 ? sizes[i] - at : 256);
      csn_digest d = put(s, csn_strn(bytes, sizes[i]));
      put(s, csn_strn(bytes, sizes[i]));
      csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(sizes[i] + 3);
      csn_buf_addz(&out, "abc");
      OK(csn_blob_get(s, &d, &out, &err), &err);
      assert_int_equal(out.n, sizes[i] + 3);
      assert_true(sizes[i] == 0 || memcmp(out.p + 3, bytes, sizes[i]) == 0);
      if (!sizes[i])
        continue;
      csn_auto(csn_buf_finip) csn_buf small = CSN_BUF(sizes[i] - 1);
      assert_int_equal(csn_blob_get(s, &d, &small, &err), CSN_E_LIMIT);
      assert_int_equal(small.n, 0);
    }
  assert_int_equal(sql(&f, "SELECT count(*) FROM blobs WHERE zstd = 1"), 4);
  assert_int_equal(
      sql(&f, "SELECT count(*) FROM blobs WHERE zstd = 1 AND length(bytes) > size / 2"), 0);
  csn_digest never = csn_sha256_of(CSN_STR("never put"));
  csn_buf out = CSN_BUF(10);
  assert_int_equal(csn_blob_get(s, &never, &out, &err), CSN_E_NOT_FOUND);
  csn_digest d;
  assert_int_equal(csn_blob_put(s, csn_strn("x", CSN_BLOB_MAX + 1), &d, &err), CSN_E_LIMIT);
  csn_store_close(s);
  folder_free(&f);
}

TEST(an_altered_blob_is_never_handed_out)
{
  const char *const changes[] = {
      test_postgres() ? "UPDATE blobs SET bytes = decode(repeat('00', length(bytes)), 'hex')"
                      : "UPDATE blobs SET bytes = zeroblob(length(bytes))",
      "UPDATE blobs SET bytes = substr(bytes, 1, length(bytes) - 1)",
      test_postgres() ? "UPDATE blobs SET bytes = bytes || decode('00', 'hex')"
                      : "UPDATE blobs SET bytes = CAST(bytes || X'00' AS BLOB)",
      "UPDATE blobs SET zstd = 1 - zstd",
      "UPDATE blobs SET size = size - 1",
      "UPDATE blobs SET size = size + 1",
      "UPDATE blobs SET size = 9000000000000000000",
      "UPDATE blobs SET size = -5",
  };
  csn_auto(csn_freep) char *bytes = csn_alloc(5000);
  memset(bytes, 'z', 5000);
  const csn_str contents[] = {CSN_STR("short and plain"), {bytes, 5000}};
  for (size_t i = 0; i < CSN_COUNT(changes); i++)
    for (size_t k = 0; k < CSN_COUNT(contents); k++) {
      folder f = folder_new();
      csn_store *s = store_in(&f);
      csn_digest d = put(s, contents[k]);
      sql(&f, changes[i]);
      csn_err err;
      csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 20);
      int rc = csn_blob_get(s, &d, &out, &err);
      if (rc != CSN_E_REPLAY || out.n)
        fail_msg("%s, content %zu: %d", changes[i], k, rc);
      csn_store_close(s);
      folder_free(&f);
    }
}

TEST(gc_takes_what_nobody_names_and_is_old)
{
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_journal *j;
  csn_err err;
  OK(csn_journal_new(s, &j, &err), &err);
  csn_digest named = put(s, CSN_STR("named")), lost = put(s, CSN_STR("lost"));
  csn_record r = record("note", CSN_STR("{\"blob\":\"...\"}"));
  r.blobs = &named;
  r.n_blobs = 1;
  OK(csn_journal_append(j, &r, 1, NULL, &err), &err);
  csn_auto(csn_freep) char *text = csn_alloc(100000);
  memset(text, '3', 100000);
  csn_record big = record("state", csn_strn(text, 100000));
  OK(csn_journal_append(j, &big, 1, NULL, &err), &err);

  assert_int_equal(csn_store_gc(s, &err), 0); /* all are young */
  sql(&f, "UPDATE blobs SET put = put - 4300000");
  put(s, CSN_STR("lost")); /* put again: young again */
  assert_int_equal(csn_store_gc(s, &err), 0);
  sql(&f, "UPDATE blobs SET put = put - 4300000");
  assert_int_equal(csn_store_gc(s, &err), 1);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(100);
  assert_int_equal(csn_blob_get(s, &lost, &out, &err), CSN_E_NOT_FOUND);
  OK(csn_blob_get(s, &named, &out, &err), &err);
  STR_EQ(csn_buf_str(&out), "named");
  assert_int_equal(count_records(j, &err), 2);

  char id[32];
  snprintf(id, sizeof id, "%s", csn_journal_id(j));
  csn_journal_close(j);
  OK(csn_store_remove_run(s, csn_cstr(id), &err), &err);
  assert_int_equal(csn_store_gc(s, &err), 2);
  assert_int_equal(sql(&f, "SELECT count(*) FROM blobs"), 0);
  if (!test_postgres())
    assert_int_equal(sql(&f, "PRAGMA freelist_count"), 0);
  csn_store_close(s);
  folder_free(&f);
}

TEST(an_erased_blob_leaves_no_trace_in_the_files)
{
  if (test_postgres())
    SKIP("PostgreSQL's files are its own matter");
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_err err;
  csn_digest d = put(s, CSN_STR("the word is swordfish"));
  OK(csn_blob_drop(s, &d, &err), &err);
  static const char *const files[] = {"caisson.db", "caisson.db-wal"};
  for (size_t i = 0; i < CSN_COUNT(files); i++) {
    csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1 << 20);
    OK(csn_file_read(f.fd, files[i], &b, &err), &err);
    assert_true(csn_str_find(csn_buf_str(&b), CSN_STR("swordfish"), 0) == SIZE_MAX);
  }
  csn_store_close(s);
  folder_free(&f);
}

RUN_TESTS("store/blob", RUN(a_blob_comes_back_whatever_its_size),
          RUN(an_altered_blob_is_never_handed_out), RUN(gc_takes_what_nobody_names_and_is_old),
          RUN(an_erased_blob_leaves_no_trace_in_the_files))
