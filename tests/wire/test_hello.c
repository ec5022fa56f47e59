/* SPDX-License-Identifier: Apache-2.0
 * test_hello.c - the first message of a TLS client: built here from parts, cut
 * everywhere, split over records, and broken in each way that matters. */
#include "tests/check.h"

#include "wire/hello.h"

#define BYTES(lit) csn_strn("" lit, sizeof(lit) - 1)

static const csn_str name_ext = CSN_STR_INIT("\0\0\0\x13\0\x11\0\0\x0e"
                                             "Api.Github.com");
static const csn_str alpn_ext = CSN_STR_INIT("\0\x10\0\x0e\0\x0c\2h2\x08http/1.1");
static const csn_str ech_ext = CSN_STR_INIT("\xfe\x0d\0\4\0\1\2\3");
static const csn_str other_ext = CSN_STR_INIT("\0\x0b\0\2\1\0");

/* A hello's message with these extensions (NULL .p: without the field). */
static void
message(csn_buf *out, csn_str extensions)
{
  csn_auto(csn_buf_finip) csn_buf body = CSN_BUF(1 << 20);
  csn_buf_add(&body, BYTES("\3\3"));
  for (int i = 0; i < 32; i++)
    csn_buf_addc(&body, (char)i);
  csn_buf_add(&body, BYTES("\4sess\0\4\x13\1\x13\2\1\0"));
  if (extensions.p) {
    csn_buf_addc(&body, (char)(extensions.n >> 8));
    csn_buf_addc(&body, (char)extensions.n);
    csn_buf_add(&body, extensions);
  }
  csn_buf_addc(out, 1);
  csn_buf_addc(out, (char)(body.n >> 16));
  csn_buf_addc(out, (char)(body.n >> 8));
  csn_buf_addc(out, (char)body.n);
  csn_buf_add(out, csn_buf_str(&body));
}

/* As records of at most `most` bytes. */
static void
records(csn_buf *out, csn_str bytes, size_t most)
{
  while (bytes.n) {
    size_t n = bytes.n < most ? bytes.n : most;
    csn_buf_add(out, BYTES("\x16\3\1"));
    csn_buf_addc(out, (char)(n >> 8));
    csn_buf_addc(out, (char)n);
    csn_buf_add(out, csn_strn(bytes.p, n));
    bytes = csn_strn(bytes.p + n, bytes.n - n);
  }
}

static int
read_all(csn_hello *h, csn_str extensions)
{
  csn_auto(csn_buf_finip) csn_buf m = CSN_BUF(1 << 20), wire = CSN_BUF(1 << 20);
  csn_err err;
  message(&m, extensions);
  records(&wire, csn_buf_str(&m), 16384);
  csn_hello_init(h);
  return csn_hello_feed(h, csn_buf_str(&wire), &err);
}

static csn_str
join(csn_buf *out, const csn_str *parts, size_t n)
{
  csn_buf_clear(out);
  for (size_t i = 0; i < n; i++)
    csn_buf_add(out, parts[i]);
  return csn_buf_str(out);
}

TEST(the_same_is_read_however_bytes_and_records_are_cut)
{
  csn_auto(csn_buf_finip) csn_buf ext = CSN_BUF(1000), m = CSN_BUF(2000);
  const csn_str parts[] = {other_ext, name_ext, alpn_ext, ech_ext};
  message(&m, join(&ext, parts, 4));
  for (size_t most = 1; most <= m.n; most++) {
    csn_auto(csn_buf_finip) csn_buf wire = CSN_BUF(1 << 16);
    records(&wire, csn_buf_str(&m), most);
    for (size_t cut = 0; cut <= wire.n; cut++) {
      csn_hello h;
      csn_err err = {0};
      csn_hello_init(&h);
      int rc = csn_hello_feed(&h, csn_strn(wire.p, cut), &err);
      OK(rc, &err);
      assert_int_equal(rc, cut == wire.n);
      if (rc == 0)
        rc = csn_hello_feed(&h, csn_strn(wire.p + cut, wire.n - cut), &err);
      OK(rc, &err);
      assert_int_equal(rc, 1);
      assert_string_equal(h.name, "api.github.com");
      assert_true(h.ech);
      assert_true(csn_hello_offers(&h, CSN_STR("h2")));
      assert_true(csn_hello_offers(&h, CSN_STR("http/1.1")));
      assert_false(csn_hello_offers(&h, CSN_STR("http/1")));
      csn_hello_fini(&h);
    }
  }
}

TEST(what_is_not_said_is_empty)
{
  csn_hello h;
  assert_int_equal(read_all(&h, other_ext), 1);
  assert_string_equal(h.name, "");
  assert_false(h.ech);
  assert_false(csn_hello_offers(&h, CSN_STR("h2")));
  csn_hello_fini(&h);
  assert_int_equal(read_all(&h, csn_strn(NULL, 0)), 1); /* no extensions at all */
  csn_hello_fini(&h);
}

TEST(a_broken_extension_is_refused)
{
  static const struct {
    const char *name;
    csn_str ext;
  } rows[] = {
      {"an empty list of names", CSN_STR_INIT("\0\0\0\2\0\0")},
      {"a list that is too short", CSN_STR_INIT("\0\0\0\5\0\4\0\0\1a")},
      {"two names", CSN_STR_INIT("\0\0\0\x0a\0\x08\0\0\1a\0\0\1b")},
      {"a name of another type", CSN_STR_INIT("\0\0\0\6\0\4\1\0\1a")},
      {"an empty name", CSN_STR_INIT("\0\0\0\5\0\3\0\0\0")},
      {"a name with a NUL", CSN_STR_INIT("\0\0\0\x08\0\6\0\0\3a\0b")},
      {"a name with a blank", CSN_STR_INIT("\0\0\0\x08\0\6\0\0\3a b")},
      {"a name with a last dot", CSN_STR_INIT("\0\0\0\7\0\5\0\0\2a.")},
      {"a name with a first dot", CSN_STR_INIT("\0\0\0\7\0\5\0\0\2.a")},
      {"a name with two dots", CSN_STR_INIT("\0\0\0\x09\0\7\0\0\4a..b")},
      {"a name that is an IPv6 address", CSN_STR_INIT("\0\0\0\x08\0\6\0\0\3::1")},
      {"bytes behind the name", CSN_STR_INIT("\0\0\0\7\0\4\0\0\1ax")},
      {"names twice", CSN_STR_INIT("\0\0\0\6\0\4\0\0\1a\0\0\0\6\0\4\0\0\1a")},
      {"no protocols", CSN_STR_INIT("\0\x10\0\2\0\0")},
      {"an empty protocol", CSN_STR_INIT("\0\x10\0\3\0\1\0")},
      {"a protocol that is cut", CSN_STR_INIT("\0\x10\0\4\0\2\5h")},
      {"protocols twice", CSN_STR_INIT("\0\x10\0\5\0\3\2h2\0\x10\0\5\0\3\2h2")},
      {"an encrypted hello twice", CSN_STR_INIT("\xfe\x0d\0\0\xfe\x0d\0\0")},
      {"an extension that is cut", CSN_STR_INIT("\0\x2b\0\3\2\3")},
      {"half an extension's head", CSN_STR_INIT("\0\x2b\0")},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_hello h;
    int rc = read_all(&h, rows[i].ext);
    csn_hello_fini(&h);
    if (rc != CSN_E_PARSE)
      fail_msg("%s: %d", rows[i].name, rc);
  }
}

static int
feed(csn_str wire)
{
  csn_hello h;
  csn_hello_init(&h);
  int rc = csn_hello_feed(&h, wire, NULL);
  csn_hello_fini(&h);
  return rc;
}

TEST(what_is_not_a_hello_is_refused_as_early_as_it_shows)
{
  assert_int_equal(feed(BYTES("G")), CSN_E_PARSE);
  assert_int_equal(feed(BYTES("SSH-2.0-x")), CSN_E_PARSE);
  assert_int_equal(feed(BYTES("\x80\x2e\1\3\1")), CSN_E_PARSE); /* SSL 2 */
  assert_int_equal(feed(BYTES("\x16\2")), CSN_E_PARSE);
  assert_int_equal(feed(BYTES("\x15\3\1\0\2\2\x28")), CSN_E_PARSE);     /* an alert */
  assert_int_equal(feed(BYTES("\x16\3\1\0\0")), CSN_E_PARSE);           /* an empty record */
  assert_int_equal(feed(BYTES("\x16\3\1\x40\1")), CSN_E_PARSE);         /* too long a record */
  assert_int_equal(feed(BYTES("\x16\3\1\0\4\2")), CSN_E_PARSE);         /* another message */
  assert_int_equal(feed(BYTES("\x16\3\1\1\0\1\0\x80\1")), CSN_E_LIMIT); /* 32,769 bytes */
  assert_int_equal(feed(BYTES("\x16\3\1\1\0\1\0\0\1")), CSN_E_PARSE); /* shorter than its record */
  assert_int_equal(feed(BYTES("\x16\3\1\0\5\1\0\0\1\3")), CSN_E_PARSE); /* nothing in it */
}

TEST(a_message_with_any_byte_missing_is_refused)
{
  csn_auto(csn_buf_finip) csn_buf ext = CSN_BUF(1000), m = CSN_BUF(2000);
  const csn_str parts[] = {name_ext, alpn_ext};
  message(&m, join(&ext, parts, 2));
  for (size_t n = 4; n < m.n; n++) {
    csn_auto(csn_freep) char *exact = csn_alloc(n);
    memcpy(exact, m.p, n);
    exact[2] = (char)((n - 4) >> 8);
    exact[3] = (char)(n - 4);
    csn_auto(csn_buf_finip) csn_buf wire = CSN_BUF(1 << 16);
    records(&wire, csn_strn(exact, n), 16384);
    bool before_extensions = n == m.n - ext.n - 2;
    assert_int_equal(feed(csn_buf_str(&wire)), before_extensions ? 1 : CSN_E_PARSE);
  }
}

TEST(the_largest_message_is_read_and_no_larger_one)
{
  csn_auto(csn_buf_finip) csn_buf ext = CSN_BUF(1 << 16), m = CSN_BUF(1 << 17),
                                  wire = CSN_BUF(1 << 17);
  for (int extra = 0; extra < 2; extra++) {
    csn_buf_clear(&ext);
    csn_buf_clear(&m);
    csn_buf_clear(&wire);
    size_t padding = CSN_HELLO_MAX - 49 - name_ext.n - 4 + (size_t)extra;
    csn_buf_add(&ext, name_ext);
    csn_buf_add(&ext, BYTES("\0\x15"));
    csn_buf_addc(&ext, (char)(padding >> 8));
    csn_buf_addc(&ext, (char)padding);
    for (size_t i = 0; i < padding; i++)
      csn_buf_addc(&ext, 0);
    message(&m, csn_buf_str(&ext));
    records(&wire, csn_buf_str(&m), 16384);
    assert_int_equal(m.n, 4 + CSN_HELLO_MAX + (size_t)extra);
    assert_int_equal(feed(csn_buf_str(&wire)), extra ? CSN_E_LIMIT : 1);
  }
}

RUN_TESTS("wire/hello", RUN(the_same_is_read_however_bytes_and_records_are_cut),
          RUN(what_is_not_said_is_empty), RUN(a_broken_extension_is_refused),
          RUN(what_is_not_a_hello_is_refused_as_early_as_it_shows),
          RUN(a_message_with_any_byte_missing_is_refused),
          RUN(the_largest_message_is_read_and_no_larger_one))
