/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"
#include "core/hash.h"
#include "core/sha256.h"

/* The examples of FIPS 180-4, and the edges of the padding. */
TEST(sha256_gives_the_published_digests)
{
  static const struct {
    const char *text, *hex;
    size_t times;
  } t[] = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 1},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", 1},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1", 1},
      {"a", "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", 1000000},
      {"a", "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318", 55},
      {"a", "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a", 56},
      {"a", "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb", 64},
  };
  for (size_t i = 0; i < CSN_COUNT(t); i++) {
    csn_sha256 s;
    csn_sha256_init(&s);
    for (size_t k = 0; k < t[i].times; k++)
      csn_sha256_add(&s, csn_cstr(t[i].text));
    csn_digest d = csn_sha256_end(&s), back;
    char hex[65];
    csn_digest_hex(&d, hex);
    assert_string_equal(hex, t[i].hex);
    assert_true(csn_digest_from_hex(csn_cstr(hex), &back));
    assert_memory_equal(&d, &back, sizeof d);
  }
}

/* RFC 4231, cases 2 and 6. */
TEST(hmac_gives_the_published_digests)
{
  char hex[65], key[131];
  csn_digest d = csn_hmac_sha256(CSN_STR("Jefe"), CSN_STR("what do ya want for nothing?"));
  csn_digest_hex(&d, hex);
  assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  memset(key, 0xaa, sizeof key);
  csn_digest e = csn_hmac_sha256(csn_strn(key, sizeof key),
                                 CSN_STR("Test Using Larger Than Block-Size Key - Hash Key First"));
  csn_digest_hex(&e, hex);
  assert_string_equal(hex, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  assert_true(csn_digest_same(&d, &d));
  assert_false(csn_digest_same(&d, &e));
}

TEST(sha256_is_the_same_with_and_without_the_cpus_instructions)
{
  if (!csn_sha256_has_native())
    SKIP("this CPU has no SHA instructions");
  unsigned char data[64 * 9 + 1];
  for (int round = 0; round < 500; round++) {
    uint32_t a[8], b[8];
    csn_random_bytes(data, sizeof data);
    csn_random_bytes(a, sizeof a);
    memcpy(b, a, sizeof a);
    size_t count = data[0] % 9u;
    csn_sha256_blocks_plain(a, data + 1, count); /* + 1: not aligned */
    csn_sha256_blocks_native(b, data + 1, count);
    assert_memory_equal(a, b, sizeof a);
  }
}

TEST(sha256_is_the_same_however_the_bytes_are_cut)
{
  char text[300];
  csn_random_bytes(text, sizeof text);
  for (size_t n = 0; n <= sizeof text; n += 1 + n / 40) {
    csn_digest whole = csn_sha256_of(csn_strn(text, n));
    for (size_t cut = 0; cut <= n; cut++) {
      csn_sha256 s;
      csn_sha256_init(&s);
      csn_sha256_add(&s, csn_strn(text, cut));
      csn_sha256_add(&s, csn_strn(text + cut, n - cut));
      csn_digest d = csn_sha256_end(&s);
      assert_memory_equal(&d, &whole, sizeof d);
    }
  }
}

TEST(a_digest_is_read_from_64_lower_case_digits_only)
{
  csn_digest d;
  char hex[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  assert_true(csn_digest_from_hex(csn_cstr(hex), &d));
  assert_false(csn_digest_from_hex(csn_strn(hex, 63), &d));
  hex[0] = 'E';
  assert_false(csn_digest_from_hex(csn_cstr(hex), &d));
  hex[0] = 'g';
  assert_false(csn_digest_from_hex(csn_cstr(hex), &d));
}

TEST(base64_gives_the_examples_of_rfc_4648_both_ways)
{
  static const struct {
    const char *text, *coded;
  } t[] = {{"", ""},
           {"f", "Zg=="},
           {"fo", "Zm8="},
           {"foo", "Zm9v"},
           {"foob", "Zm9vYg=="},
           {"fooba", "Zm9vYmE="},
           {"foobar", "Zm9vYmFy"},
           {"\xfb\xff\xbf", "+/+/"}};
  for (size_t i = 0; i < CSN_COUNT(t); i++) {
    csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(100), back = CSN_BUF(100);
    csn_base64_add(&b, csn_cstr(t[i].text));
    STR_EQ(csn_buf_str(&b), t[i].coded);
    assert_true(csn_base64_decode(&back, csn_buf_str(&b)));
    STR_EQ(csn_buf_str(&back), t[i].text);
    csn_buf_fini(&back);
  }
}

TEST(base64_refuses_what_is_not_exactly_it)
{
  static const char *const bad[] = {"Z",        "Zg",    "Zg=",  "Zg===",     "Z===",  "====",
                                    "=",        "Zh==",  "Zm9=", "Zm9v\n",    "Zm 9v", "Zm-_",
                                    "Zg==Zg==", "Zm9vZ", "Z=g=", "\xc3\xa9Zg"};
  for (size_t i = 0; i < CSN_COUNT(bad); i++) {
    csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(100);
    csn_buf_addz(&b, "kept");
    if (csn_base64_decode(&b, csn_cstr(bad[i])))
      fail_msg("accepted '%s'", bad[i]);
    STR_EQ(csn_buf_str(&b), "kept");
    csn_buf_fini(&b);
  }
}

TEST(base64_past_the_buffers_cap_adds_nothing)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(7), d = CSN_BUF(2);
  csn_base64_add(&b, CSN_STR("fooba"));
  assert_true(b.over);
  assert_int_equal(b.n, 0);
  assert_false(csn_base64_decode(&d, CSN_STR("Zm9v")));
}

TEST(random_names_differ_and_use_36_characters)
{
  char a[41], b[41];
  csn_random_name(a, 40);
  csn_random_name(b, 40);
  assert_string_not_equal(a, b);
  assert_int_equal(strspn(a, "0123456789abcdefghijklmnopqrstuvwxyz"), 40);
}

RUN_TESTS("core/hash", RUN(sha256_gives_the_published_digests),
          RUN(hmac_gives_the_published_digests),
          RUN(sha256_is_the_same_with_and_without_the_cpus_instructions),
          RUN(sha256_is_the_same_however_the_bytes_are_cut),
          RUN(a_digest_is_read_from_64_lower_case_digits_only),
          RUN(base64_gives_the_examples_of_rfc_4648_both_ways),
          RUN(base64_refuses_what_is_not_exactly_it), RUN(base64_past_the_buffers_cap_adds_nothing),
          RUN(random_names_differ_and_use_36_characters))
