/* SPDX-License-Identifier: Apache-2.0
 * Secrets into requests, and out of responses cut anywhere. */
#include "egress/secret.h"

#include "core/hash.h"

#include "check.h"

static csn_arena *arena;

static const char text[] =
    "{\"policy\":\"allow\",\"listeners\":[{\"kind\":\"proxy\",\"port\":1}],\"secrets\":["
    "{\"name\":\"TOKEN\",\"value\":\"s3cr3t/"
    "va+lue\",\"placeholder\":\"csn-secret-aaaa\",\"hosts\":[\"a.test\"]},"
    "{\"name\":\"KEY\",\"value\":\"s3cr3t/va+lue-and-more\",\"header\":\"X-Key: k {} "
    "z\",\"hosts\":[\"b.test\"]},"
    "{\"name\":\"SHORT\",\"value\":\"short\",\"placeholder\":\"csn-secret-bbbb\",\"hosts\":[\"*.a."
    "test\",\"a.test\"]},"
    "{\"name\":\"QUOTED\",\"value\":\"pa\\\"ss\\\\word "
    "%\",\"placeholder\":\"csn-secret-cccc\",\"hosts\":[\"a.test\"]}]}";

static csn_config
config(void)
{
  csn_config c;
  csn_err err;
  OK(csn_config_parse(&c, arena, csn_cstr(text), &err), &err);
  return c;
}

static csn_dest
dest(const char *host)
{
  csn_dest d;
  assert_true(csn_dest_set(&d, csn_cstr(host), 443));
  return d;
}

TEST(placeholders_become_values_for_their_hosts_only)
{
  csn_config c = config();
  static const struct {
    const char *host, *field, *in, *out;
    csn_secret_set used;
  } rows[] = {
      {"a.test", "Authorization", "Bearer csn-secret-aaaa", "Bearer s3cr3t/va+lue", 1},
      {"a.test", "X-Any", "a csn-secret-aaaa,csn-secret-bbbb;csn-secret-aaaa",
       "a s3cr3t/va+lue,short;s3cr3t/va+lue", 5},
      {"x.a.test", "X-Any", "csn-secret-aaaa csn-secret-bbbb", "csn-secret-aaaa short", 4},
      {"b.test", "Authorization", "Bearer csn-secret-aaaa", "Bearer csn-secret-aaaa", 0},
      {"a.test.evil.test", "Authorization", "csn-secret-aaaa", "csn-secret-aaaa", 0},
      {"a.test", "X", "csn-secret-aaa", "csn-secret-aaa", 0},
      {"a.test", "X", "csn-csn-secret-aaaa", "csn-s3cr3t/va+lue", 1},
      {"a.test", "X", "", "", 0},
      /* x:csn-secret-aaaa becomes x:s3cr3t/va+lue */
      {"a.test", "authorization", "Basic eDpjc24tc2VjcmV0LWFhYWE=", "Basic eDpzM2NyM3QvdmErbHVl",
       1},
      {"a.test", "Authorization", "BASIC  eDpjc24tc2VjcmV0LWFhYWE=", "BASIC eDpzM2NyM3QvdmErbHVl",
       1},
      {"b.test", "Authorization",
       "Basic eDpjc24tc2VjcmV0LWFhYWE=", "Basic eDpjc24tc2VjcmV0LWFhYWE=", 0},
      {"a.test", "Authorization", "Basic not base64 csn-secret-bbbb", "Basic not base64 short", 4},
      {"a.test", "X-Other", "Basic eDpjc24tc2VjcmV0LWFhYWE=", "Basic eDpjc24tc2VjcmV0LWFhYWE=", 0},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
    csn_dest d = dest(rows[i].host);
    csn_secret_set used =
        csn_secret_fill(&c, &d, csn_cstr(rows[i].field), csn_cstr(rows[i].in), &out);
    STR_EQ(csn_buf_str(&out), rows[i].out);
    assert_int_equal(used, rows[i].used);
  }
}

TEST(a_header_of_a_secret_is_set_for_its_hosts_only)
{
  csn_config c = config();
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  csn_dest a = dest("a.test"), b = dest("b.test");
  assert_true(csn_secret_sets(&c, &b, CSN_STR("x-KEY")));
  assert_false(csn_secret_sets(&c, &a, CSN_STR("x-key")));
  assert_false(csn_secret_sets(&c, &b, CSN_STR("x-ke")));
  assert_int_equal(csn_secret_add_fields(&c, &a, &out), 0);
  assert_int_equal(out.n, 0);
  assert_int_equal(csn_secret_add_fields(&c, &b, &out), 2);
  STR_EQ(csn_buf_str(&out), "X-Key: k s3cr3t/va+lue-and-more z\r\n");
}

/* The stream in three pieces; what is passed on before the last one, too. */
static void
scrub_cut(const csn_scrubber *s, csn_str in, size_t at, size_t at2, csn_buf *out)
{
  csn_scrub_tail t = {0};
  csn_scrub(s, &t, csn_strn(in.p, at), false, out);
  csn_scrub(s, &t, csn_strn(in.p + at, at2 - at), false, out);
  csn_scrub(s, &t, csn_strn(in.p + at2, in.n - at2), true, out);
  csn_scrub_tail_fini(&t);
}

TEST(secrets_are_overwritten_in_every_form_however_the_response_is_cut)
{
  csn_config c = config();
  csn_auto(csn_scrubber_freep) csn_scrubber *s = csn_scrubber_new(&c);
  static const struct {
    const char *in, *out;
  } rows[] = {
      {"a s3cr3t/va+lue b", "a [secret:TOKEN b"},
      {"s3cr3t/va+lues3cr3t/va+lue", "[secret:TOKEN[secret:TOKEN"},
      {"s3cr3t/va+lue-and-more!", "[secret:KEY]**********!"},
      {"s3cr3t/va+lue-and-mor", "[secret:TOKEN-and-mor"},
      {"s3cr3s3cr3t/va+lue", "s3cr3[secret:TOKEN"},
      {"s3cr3t/va+lu short", "s3cr3t/va+lu short"},
      {"s3cr3t%2Fva%2Blue s3cr3t%2fva%2blue", "[secret:TOKEN]*** [secret:TOKEN]***"},
      {"7333637233742f76612b6c7565", "[secret:TOKEN]************"},
      {"{\"k\":\"pa\\\"ss\\\\word %\"}", "{\"k\":\"[secret:QUOTED\"}"},
      {"pa\"ss\\word %", "[secret:QUOT"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_str in = csn_cstr(rows[i].in);
    for (size_t at = 0; at <= in.n; at++) {
      for (size_t at2 = at; at2 <= in.n; at2++) {
        csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
        scrub_cut(s, in, at, at2, &out);
        /* The mask is as long as the find: only where it is cut differs. */
        if (!csn_str_eq(csn_buf_str(&out), csn_cstr(rows[i].out)))
          fail_msg("%s cut at %zu and %zu: %.*s", rows[i].in, at, at2, (int)out.n, out.p);
      }
    }
  }
}

TEST(base64_is_found_wherever_it_begins)
{
  csn_config c = config();
  csn_auto(csn_scrubber_freep) csn_scrubber *s = csn_scrubber_new(&c);
  for (size_t before = 0; before < 9; before++)
    for (size_t after = 0; after < 5; after++) {
      csn_auto(csn_buf_finip) csn_buf plain = CSN_BUF(100), code = CSN_BUF(200), out = CSN_BUF(200);
      for (size_t i = 0; i < before; i++)
        csn_buf_addc(&plain, (char)('A' + i * 7));
      csn_buf_addz(&plain, "s3cr3t/va+lue");
      for (size_t i = 0; i < after; i++)
        csn_buf_addc(&plain, (char)(250 - i));
      csn_base64_add(&code, csn_buf_str(&plain));
      scrub_cut(s, csn_buf_str(&code), code.n / 3, code.n / 2, &out);
      assert_int_equal(out.n, code.n);
      if (csn_str_find(csn_buf_str(&out), CSN_STR("[secret:TOKEN]"), 0) == SIZE_MAX)
        fail_msg("%zu before, %zu after: %.*s", before, after, (int)out.n, out.p);
    }
}

TEST(only_what_may_be_a_beginning_waits)
{
  csn_config c = config();
  csn_auto(csn_scrubber_freep) csn_scrubber *s = csn_scrubber_new(&c);
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  csn_scrub_tail t = {0};
  csn_scrub(s, &t, CSN_STR("data: x\n\n"), false, &out);
  STR_EQ(csn_buf_str(&out), "data: x\n\n");
  csn_scrub(s, &t, CSN_STR("data: s3cr"), false, &out);
  STR_EQ(csn_buf_str(&out), "data: x\n\ndata: ");
  csn_scrub(s, &t, CSN_STR("o!"), false, &out);
  STR_EQ(csn_buf_str(&out), "data: x\n\ndata: s3cro!");
  csn_scrub(s, &t, CSN_STR("s3cr"), true, &out);
  STR_EQ(csn_buf_str(&out), "data: x\n\ndata: s3cro!s3cr");
  csn_scrub_tail_fini(&t);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      RUN(placeholders_become_values_for_their_hosts_only),
      RUN(a_header_of_a_secret_is_set_for_its_hosts_only),
      RUN(secrets_are_overwritten_in_every_form_however_the_response_is_cut),
      RUN(base64_is_found_wherever_it_begins), RUN(only_what_may_be_a_beginning_waits)};
  arena = csn_arena_new(1 << 20);
  tap_stdout();
  cmocka_set_message_output(CM_OUTPUT_TAP);
  int failed = cmocka_run_group_tests_name("egress/secret", tests, NULL, NULL);
  csn_arena_free(arena);
  return failed;
}
