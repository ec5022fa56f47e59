/* SPDX-License-Identifier: Apache-2.0
 * test_vault.c - encryption of snapshots: what goes in comes out, whatever
 * pieces it comes in, and what was altered, cut or put elsewhere does not. */
#include "store/vaults.h"

static int
take(void *user, csn_str bytes, csn_err *err)
{
  csn_buf_add(user, bytes);
  return csn_buf_done(user, "bytes", err);
}

static void
seal(const csn_vault *v, const char *with, csn_str plain, size_t piece, csn_buf *out)
{
  csn_err err;
  csn_vault_stream s = {0};
  OK(csn_vault_seal_begin(&s, v, csn_cstr(with), NULL, take, out, &err), &err);
  for (size_t at = 0; at < plain.n; at += piece) {
    size_t n = plain.n - at < piece ? plain.n - at : piece;
    OK(csn_vault_add(&s, csn_strn(plain.p + at, n), take, out, &err), &err);
  }
  OK(csn_vault_end(&s, take, out, &err), &err);
  csn_vault_stream_fini(&s);
}

static int
unseal(const csn_vault *v, const char *with, csn_str sealed, size_t piece, csn_buf *out)
{
  csn_vault_stream s = {0};
  int rc = 0;
  csn_buf_clear(out);
  csn_vault_open_begin(&s, v, 0, csn_cstr(with));
  for (size_t at = 0; rc == 0 && at < sealed.n; at += piece) {
    size_t n = sealed.n - at < piece ? sealed.n - at : piece;
    rc = csn_vault_add(&s, csn_strn(sealed.p + at, n), take, out, NULL);
  }
  if (rc == 0)
    rc = csn_vault_end(&s, take, out, NULL);
  csn_vault_stream_fini(&s);
  return rc;
}

static csn_str
text_of(char *p, size_t n)
{
  for (size_t i = 0; i < n; i++)
    p[i] = (char)(i * 31 + i / 251);
  return csn_strn(p, n);
}

TEST(what_is_sealed_comes_out_in_whatever_pieces)
{
  static const size_t sizes[] = {0, 1, 15, 16, 17, 65535, 65536, 65537, 131072, 200000};
  static const size_t pieces[] = {1, 7, 4096, 65536, 65552, 300000};
  csn_auto(csn_vault_freep) csn_vault *v = vault_of(KEY_A);
  csn_auto(csn_freep) char *p = csn_alloc(200001);
  for (size_t i = 0; i < CSN_COUNT(sizes); i++)
    for (size_t k = 0; k < CSN_COUNT(pieces); k++) {
      csn_auto(csn_buf_finip) csn_buf sealed = CSN_BUF(1 << 20), plain = CSN_BUF(1 << 20);
      csn_str text = text_of(p, sizes[i]);
      seal(v, "x", text, pieces[k], &sealed);
      assert_int_equal(sealed.n, csn_vault_sealed_bytes((int64_t)sizes[i]));
      assert_int_equal(csn_vault_plain_bytes((int64_t)sealed.n), sizes[i]);
      assert_int_equal(unseal(v, "x", csn_buf_str(&sealed), pieces[k], &plain), 0);
      assert_true(csn_str_eq(csn_buf_str(&plain), text));
    }
  assert_int_equal(csn_vault_plain_bytes(CSN_VAULT_SALT), -1);
  assert_int_equal(csn_vault_plain_bytes(CSN_VAULT_SALT + 65536 + 17), -1);
}

TEST(what_was_altered_does_not_come_out)
{
  csn_auto(csn_vault_freep) csn_vault *v = vault_of(KEY_A);
  csn_auto(csn_vault_freep) csn_vault *other = vault_of(KEY_B);
  csn_auto(csn_freep) char *p = csn_alloc(200000);
  csn_auto(csn_buf_finip) csn_buf sealed = CSN_BUF(1 << 20), plain = CSN_BUF(1 << 20);
  seal(v, "x", text_of(p, 150000), 150000, &sealed);
  csn_str all = csn_buf_str(&sealed);
  assert_int_equal(unseal(other, "x", all, all.n, &plain), CSN_E_DENIED);
  assert_int_equal(unseal(v, "y", all, all.n, &plain), CSN_E_DENIED); /* it stands elsewhere */
  for (size_t at = 0; at < all.n; at += at < 40 ? 1 : 4001) {
    sealed.p[at] ^= 1;
    assert_int_equal(unseal(v, "x", all, all.n, &plain), CSN_E_DENIED);
    sealed.p[at] ^= 1;
  }
  for (size_t n = 0; n < all.n; n += n < 40 ? 1 : 4001) /* cut */
    assert_int_equal(unseal(v, "x", csn_strn(all.p, n), all.n, &plain), CSN_E_DENIED);
  /* After a segment, and with two of them swapped. */
  enum { SEGMENT = CSN_VAULT_SEGMENT + CSN_SEAL_TAG };
  assert_int_equal(unseal(v, "x", csn_strn(all.p, 16 + SEGMENT), all.n, &plain), CSN_E_DENIED);
  csn_auto(csn_freep) char *kept = csn_alloc(SEGMENT);
  memcpy(kept, sealed.p + 16, SEGMENT);
  memcpy(sealed.p + 16, sealed.p + 16 + SEGMENT, SEGMENT);
  memcpy(sealed.p + 16 + SEGMENT, kept, SEGMENT);
  assert_int_equal(unseal(v, "x", all, all.n, &plain), CSN_E_DENIED);
}

TEST(small_objects_name_their_key_and_older_keys_still_open_theirs)
{
  csn_err err;
  size_t key = 9;
  csn_auto(csn_vault_freep) csn_vault *a = vault_of(KEY_A);
  csn_auto(csn_vault_freep) csn_vault *both = vault_of(KEY_A KEY_B);
  csn_auto(csn_vault_freep) csn_vault *b = vault_of(KEY_B);
  csn_auto(csn_buf_finip) csn_buf old = CSN_BUF(4096), now = CSN_BUF(4096), plain = CSN_BUF(4096);
  OK(csn_vault_seal(a, CSN_STR("n"), CSN_STR("text"), &old, &err), &err);
  OK(csn_vault_seal(both, CSN_STR("n"), CSN_STR("text"), &now, &err), &err);
  OK(csn_vault_open(both, CSN_STR("n"), csn_buf_str(&old), &plain, &key, &err), &err);
  assert_int_equal(key, 1);
  STR_EQ(csn_buf_str(&plain), "text");
  csn_buf_clear(&plain);
  OK(csn_vault_open(b, CSN_STR("n"), csn_buf_str(&now), &plain, &key, &err), &err);
  assert_int_equal(csn_vault_open(b, CSN_STR("n"), csn_buf_str(&old), &plain, &key, &err),
                   CSN_E_DENIED);
  assert_int_equal(csn_vault_open(b, CSN_STR("n"), CSN_STR("text"), &plain, &key, &err),
                   CSN_E_DENIED);
  csn_digest x = csn_vault_blind(a, 0, "name", CSN_STR("n")),
             y = csn_vault_blind(a, 0, "pack", CSN_STR("n")),
             z = csn_vault_blind(b, 0, "name", CSN_STR("n")),
             same = csn_vault_blind(both, 1, "name", CSN_STR("n"));
  assert_memory_not_equal(&x, &y, sizeof x);
  assert_memory_not_equal(&x, &z, sizeof x);
  assert_memory_equal(&x, &same, sizeof x);
}

RUN_TESTS("store/vault", RUN(what_is_sealed_comes_out_in_whatever_pieces),
          RUN(what_was_altered_does_not_come_out),
          RUN(small_objects_name_their_key_and_older_keys_still_open_theirs))
