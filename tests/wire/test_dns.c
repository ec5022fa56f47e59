/* SPDX-License-Identifier: Apache-2.0
 * test_dns.c - queries that are right, wrong and cut; answers byte for byte. */
#include "tests/check.h"

#include "wire/dns.h"

#define BYTES(lit) csn_strn("" lit, sizeof(lit) - 1)

/* id 0x1234, recursion desired, one question. */
#define HEAD(more) "\x12\x34\x01\x00\0\1\0\0\0\0\0" more
#define GITHUB "\3api\6GitHub\3com\0"
#define OPT "\0\0\x29\x04\xd0\0\0\0\0\0\0"

static csn_dns_query
parse(csn_str packet)
{
  csn_dns_query q;
  csn_err err;
  OK(csn_dns_parse(&q, packet, &err), &err);
  return q;
}

TEST(a_question_is_read)
{
  csn_dns_query q = parse(BYTES(HEAD("\0") GITHUB "\0\1\0\1"));
  assert_int_equal(q.code, CSN_DNS_OK);
  assert_int_equal(q.id, 0x1234);
  assert_int_equal(q.type, CSN_DNS_A);
  assert_int_equal(q.class, 1);
  assert_true(q.recursion);
  assert_false(q.edns);
  assert_int_equal(q.udp_bytes, 512);
  assert_string_equal(q.name, "api.github.com");
  assert_memory_equal(q.question, GITHUB "\0\1\0\1", q.question_n);
  assert_int_equal(q.question_n, 20);
}

TEST(edns_says_how_much_may_be_answered)
{
  static const struct {
    unsigned char size[2];
    int want;
  } rows[] = {{{0, 0}, 512}, {{4, 0}, 1024}, {{0x10, 0}, 1232}, {{0xff, 0xff}, 1232}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    char packet[] = HEAD("\1") GITHUB "\0\x1c\0\1" OPT;
    memcpy(packet + sizeof packet - 1 - 8, rows[i].size, 2);
    csn_dns_query q = parse(csn_strn(packet, sizeof packet - 1));
    assert_int_equal(q.code, CSN_DNS_OK);
    assert_true(q.edns);
    assert_int_equal(q.type, CSN_DNS_AAAA);
    assert_int_equal(q.udp_bytes, rows[i].want);
  }
}

TEST(what_breaks_a_rule_gets_the_code_that_says_so)
{
  static const struct {
    const char *name;
    csn_str packet;
    int code;
  } rows[] = {
      {"no question", CSN_STR_INIT("\0\1\1\0\0\0\0\0\0\0\0\0"), CSN_DNS_FORMAT},
      {"two questions", CSN_STR_INIT("\0\1\1\0\0\2\0\0\0\0\0\0\1a\0\0\1\0\1\1a\0\0\1\0\1"),
       CSN_DNS_FORMAT},
      {"an answer beside it",
       CSN_STR_INIT("\0\1\1\0\0\1\0\1\0\0\0\0\1a\0\0\1\0\1\0\0\1\0\1\0\0\0\0\0\0"), CSN_DNS_FORMAT},
      {"a pointer", CSN_STR_INIT(HEAD("\0") "\xc0\x0c\0\1\0\1"), CSN_DNS_FORMAT},
      {"a pointer behind a label", CSN_STR_INIT(HEAD("\0") "\1a\xc0\x0c\0\1\0\1"), CSN_DNS_FORMAT},
      {"a label of a kind to come",
       CSN_STR_INIT(HEAD("\0") "\x41"
                               "a\0\0\1\0\1"),
       CSN_DNS_FORMAT},
      {"a label that is cut", CSN_STR_INIT(HEAD("\0") "\5abc"), CSN_DNS_FORMAT},
      {"bytes at the end", CSN_STR_INIT(HEAD("\0") "\1a\0\0\1\0\1x"), CSN_DNS_FORMAT},
      {"an additional record that is not there", CSN_STR_INIT(HEAD("\1") "\1a\0\0\1\0\1"),
       CSN_DNS_FORMAT},
      {"two OPT", CSN_STR_INIT(HEAD("\2") "\1a\0\0\1\0\1" OPT OPT), CSN_DNS_FORMAT},
      {"an OPT with a name", CSN_STR_INIT(HEAD("\1") "\1a\0\0\1\0\1\1b\0\0\x29\4\0\0\0\0\0\0\0"),
       CSN_DNS_FORMAT},
      {"nine additional records", CSN_STR_INIT(HEAD("\x9") "\1a\0\0\1\0\1"), CSN_DNS_FORMAT},
      {"a signature beside it",
       CSN_STR_INIT(HEAD("\1") "\1a\0\0\1\0\1\xc0\x0c\0\xfa\0\xff\0\0\0\0\0\2xy"), CSN_DNS_OK},
      {"EDNS 1", CSN_STR_INIT(HEAD("\1") "\1a\0\0\1\0\1\0\0\x29\4\0\0\1\0\0\0\0"),
       CSN_DNS_BAD_VERSION},
      {"chaos", CSN_STR_INIT(HEAD("\0") "\7version\4bind\0\0\x10\0\3"), CSN_DNS_REFUSED},
      {"an update", CSN_STR_INIT("\0\1\x28\0\0\1\0\0\0\0\0\0\1a\0\0\6\0\1"), CSN_DNS_NOT_KNOWN},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_dns_query q = parse(rows[i].packet);
    if (q.code != rows[i].code)
      fail_msg("%s: code %d, expected %d", rows[i].name, q.code, rows[i].code);
  }
}

TEST(what_has_no_header_or_is_an_answer_is_dropped)
{
  csn_dns_query q;
  csn_err err;
  assert_int_equal(csn_dns_parse(&q, BYTES(""), &err), CSN_E_PARSE);
  assert_int_equal(csn_dns_parse(&q, BYTES("\0\1\1\0\0\1\0\0\0\0\0"), &err), CSN_E_PARSE);
  assert_int_equal(csn_dns_parse(&q, BYTES("\0\1\x81\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1"), &err),
                   CSN_E_PARSE);
}

TEST(every_shorter_packet_is_refused)
{
  const csn_str whole = BYTES(HEAD("\1") GITHUB "\0\1\0\1" OPT);
  for (size_t n = 0; n < whole.n; n++) {
    csn_auto(csn_freep) char *exact = csn_dupz(csn_strn(whole.p, n));
    csn_dns_query q;
    csn_err err;
    int rc = csn_dns_parse(&q, csn_strn(exact, n), &err);
    if (rc == 0)
      assert_int_equal(q.code, CSN_DNS_FORMAT);
    else
      assert_true(n < 12);
  }
}

TEST(names_of_any_length_are_read_or_refused)
{
  /* Labels of `size` bytes until `wire` bytes are used, and the root's. */
  for (size_t size = 1; size <= 63; size += 31)
    for (size_t wire = 2; wire < 300; wire++) {
      csn_auto(csn_buf_finip) csn_buf packet = CSN_BUF(1000);
      csn_buf_add(&packet, BYTES(HEAD("\0")));
      size_t left = wire - 1;
      while (left > 1) {
        size_t n = left - 1 < size ? left - 1 : size;
        csn_buf_addc(&packet, (char)n);
        for (size_t i = 0; i < n; i++)
          csn_buf_addc(&packet, 'x');
        left -= n + 1;
      }
      size_t real = packet.n - 12 + 1;
      csn_buf_add(&packet, BYTES("\0\0\1\0\1"));
      csn_dns_query q = parse(csn_buf_str(&packet));
      assert_int_equal(q.code, real <= 255 ? CSN_DNS_OK : CSN_DNS_FORMAT);
      if (q.code == CSN_DNS_OK)
        assert_int_equal(strlen(q.name), real < 2 ? 0 : real - 2);
      else
        assert_string_equal(q.name, "");
    }
}

TEST(a_byte_that_no_host_has_matches_nothing)
{
  csn_dns_query q = parse(BYTES(HEAD("\0") "\5a.b\0\xff\1*\0\0\1\0\1"));
  assert_int_equal(q.code, CSN_DNS_OK);
  assert_string_equal(q.name, "a?b??.?");
  q = parse(BYTES(HEAD("\0") "\0\0\1\0\1"));
  assert_int_equal(q.code, CSN_DNS_OK);
  assert_string_equal(q.name, "");
}

static csn_str
answer(csn_buf *out, csn_dns_query *q, int code, const csn_address *a, size_t n, size_t max)
{
  csn_err err;
  csn_buf_clear(out);
  OK(csn_dns_answer(out, q, (enum csn_dns_code)code, 60, a, n, max, &err), &err);
  assert_true(out->n <= max);
  return csn_buf_str(out);
}

TEST(answers_have_these_bytes)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(CSN_DNS_TCP_MAX);
  csn_address a[3] = {csn_address_v4(198, 18, 0, 1),
                      {.v6 = 1, .b = {0x20, 1, [15] = 9}},
                      csn_address_v4(198, 18, 0, 2)};
  csn_dns_query q = parse(BYTES(HEAD("\0") GITHUB "\0\1\0\1"));
  csn_str got = answer(&out, &q, CSN_DNS_OK, a, 3, 512);
  csn_str want = BYTES("\x12\x34\x81\x80\0\1\0\2\0\0\0\0" GITHUB "\0\1\0\1"
                       "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc6\x12\0\1"
                       "\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc6\x12\0\2");
  assert_int_equal(got.n, want.n);
  assert_memory_equal(got.p, want.p, want.n);

  q = parse(BYTES(HEAD("\1") "\1a\0\0\x1c\0\1" OPT));
  got = answer(&out, &q, CSN_DNS_OK, a, 3, 512);
  want = BYTES("\x12\x34\x81\x80\0\1\0\1\0\0\0\1\1a\0\0\x1c\0\1"
               "\xc0\x0c\0\x1c\0\1\0\0\0\x3c\0\x10\x20\1\0\0\0\0\0\0\0\0\0\0\0\0\0\x9"
               "\0\0\x29\4\xd0\0\0\0\0\0\0");
  assert_int_equal(got.n, want.n);
  assert_memory_equal(got.p, want.p, want.n);

  got = answer(&out, &q, CSN_DNS_NO_NAME, a, 3, 512);
  want = BYTES("\x12\x34\x81\x83\0\1\0\0\0\0\0\1\1a\0\0\x1c\0\1\0\0\x29\4\xd0\0\0\0\0\0\0");
  assert_int_equal(got.n, want.n);
  assert_memory_equal(got.p, want.p, want.n);

  got = answer(&out, &q, CSN_DNS_BAD_VERSION, NULL, 0, 512);
  want = BYTES("\x12\x34\x81\x80\0\1\0\0\0\0\0\1\1a\0\0\x1c\0\1\0\0\x29\4\xd0\1\0\0\0\0\0");
  assert_int_equal(got.n, want.n);
  assert_memory_equal(got.p, want.p, want.n);
}

TEST(an_unreadable_question_is_answered_with_the_header_alone)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(512);
  csn_dns_query q = parse(BYTES(HEAD("\0") "\xc0\x0c\0\1\0\1"));
  csn_str got = answer(&out, &q, q.code, NULL, 0, 512);
  csn_str want = BYTES("\x12\x34\x81\x81\0\0\0\0\0\0\0\0");
  assert_int_equal(got.n, want.n);
  assert_memory_equal(got.p, want.p, want.n);
}

TEST(what_does_not_fit_is_marked_as_cut)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(CSN_DNS_TCP_MAX);
  csn_address many[64];
  for (size_t i = 0; i < 64; i++)
    many[i] = csn_address_v4(198, 18, 0, (uint8_t)i);
  csn_dns_query q = parse(BYTES(HEAD("\0") GITHUB "\0\1\0\1"));
  csn_str got = answer(&out, &q, CSN_DNS_OK, many, 64, q.udp_bytes);
  assert_int_equal(got.p[2] & 2, 2);
  assert_int_equal(got.p[7], 0);
  assert_int_equal(got.n, 12 + q.question_n);
  got = answer(&out, &q, CSN_DNS_OK, many, 64, CSN_DNS_TCP_MAX);
  assert_int_equal(got.p[2] & 2, 0);
  assert_int_equal(got.p[7], 64);
}

TEST(messages_on_a_stream_are_cut_at_their_lengths)
{
  const csn_str stream = BYTES("\0\3abc\0\0\0\1x");
  for (size_t n = 0; n <= stream.n; n++) {
    csn_str in = csn_strn(stream.p, n), packet;
    csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(100);
    while (csn_dns_frame(&in, &packet)) {
      csn_buf_add(&got, packet);
      csn_buf_addc(&got, '|');
    }
    csn_str all = csn_buf_str(&got);
    STR_EQ(all, n < 5 ? "" : n < 7 ? "abc|" : n < 10 ? "abc||" : "abc||x|");
  }
}

RUN_TESTS("wire/dns", RUN(a_question_is_read), RUN(edns_says_how_much_may_be_answered),
          RUN(what_breaks_a_rule_gets_the_code_that_says_so),
          RUN(what_has_no_header_or_is_an_answer_is_dropped), RUN(every_shorter_packet_is_refused),
          RUN(names_of_any_length_are_read_or_refused),
          RUN(a_byte_that_no_host_has_matches_nothing), RUN(answers_have_these_bytes),
          RUN(an_unreadable_question_is_answered_with_the_header_alone),
          RUN(what_does_not_fit_is_marked_as_cut),
          RUN(messages_on_a_stream_are_cut_at_their_lengths))
