/* SPDX-License-Identifier: Apache-2.0
 * Answers are written by hand, record by record. */
#include "wire/dns_ask.h"

#include "check.h"

static int
parse(csn_dns_reply *r, const csn_buf *packet, const char *name, enum csn_dns_type type)
{
  /* An own copy, so that ASan sees a step too far. */
  csn_auto(csn_freep) char *own = csn_dupz(csn_buf_str(packet));
  csn_err err;
  return csn_dns_reply_parse(r, csn_strn(own, packet->n), 0x1234, csn_cstr(name), type, &err);
}

/* Head and question of an answer to A.b; its name is at offset 12. */
static void
begin(csn_buf *b, unsigned flags, unsigned answers, unsigned type)
{
  char head[] = {0x12, 0x34, (char)(flags >> 8), (char)flags, 0, 1, 0, (char)answers, 0, 0, 0, 0};
  csn_buf_clear(b);
  csn_buf_add(b, csn_strn(head, sizeof head));
  csn_buf_add(b, CSN_STR("\x01"
                         "A\x01"
                         "b\0"));
  csn_buf_addc(b, 0);
  csn_buf_addc(b, (char)type);
  csn_buf_add(b, CSN_STR("\0\x01"));
}

#define ADD(b, lit) csn_buf_add((b), CSN_STR(lit))

TEST(a_question_reads_back_as_itself)
{
  csn_err err;
  csn_dns_query q;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(600);
  OK(csn_dns_ask(&b, 7, CSN_STR("api.example.com"), CSN_DNS_AAAA, &err), &err);
  OK(csn_dns_parse(&q, csn_buf_str(&b), &err), &err);
  assert_int_equal(q.code, CSN_DNS_OK);
  assert_int_equal(q.id, 7);
  assert_int_equal(q.type, CSN_DNS_AAAA);
  assert_true(q.recursion && q.edns && q.udp_bytes == 1232);
  assert_string_equal(q.name, "api.example.com");
  const char *const bad[] = {
      "",   ".",   "a..b",
      ".a", "a..", "0123456789012345678901234567890123456789012345678901234567890123.x"};
  for (size_t i = 0; i < CSN_COUNT(bad); i++)
    assert_int_equal(csn_dns_ask(&b, 7, csn_cstr(bad[i]), CSN_DNS_A, &err), CSN_E_INVALID);
}

TEST(addresses_at_the_end_of_a_chain_of_aliases_are_found)
{
  csn_dns_reply r;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(600);
  begin(&b, 0x8180, 4, 1);
  ADD(&b, "\xc0\x0c\0\x05\0\x01\0\0\0\x64\0\x04\x01"
          "c\xc0\x0e"); /* a.b is c.b */
  ADD(&b, "\x01"
          "z\0\0\x01\0\x01\0\0\0\x01\0\x04\x0a\0\0\x01"); /* of somebody else */
  ADD(&b, "\x01"
          "C\x01"
          "B\0\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01"); /* c.b */
  ADD(&b, "\x01"
          "c\xc0\x0e\0\x01\0\x01\0\0\0\xff\0\x04\xc0\0\x02\x02");
  assert_int_equal(parse(&r, &b, "a.b", CSN_DNS_A), 0);
  assert_int_equal(r.n, 2);
  assert_int_equal(r.ttl_s, 60);
  char text[CSN_ADDRESS_TEXT];
  csn_address_text(&r.addresses[1], text);
  assert_string_equal(text, "192.0.2.2");
  for (size_t n = 0; n < b.n; n++) { /* cut short anywhere, nothing is read beyond */
    csn_buf part = b;
    part.n = n;
    assert_int_equal(parse(&r, &part, "a.b", CSN_DNS_A), CSN_E_PARSE);
  }
}

TEST(an_answer_to_another_question_is_none)
{
  csn_dns_reply r;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(600);
  begin(&b, 0x8180, 0, 1);
  assert_int_equal(parse(&r, &b, "a.b", CSN_DNS_A), 0);
  assert_int_equal(r.n + r.ttl_s, 0);
  assert_int_equal(parse(&r, &b, "a.c", CSN_DNS_A), CSN_E_PARSE);
  assert_int_equal(parse(&r, &b, "a.b", CSN_DNS_AAAA), CSN_E_PARSE);
  b.p[0] = 0x13;
  assert_int_equal(parse(&r, &b, "a.b", CSN_DNS_A), CSN_E_PARSE);
  begin(&b, 0x0100, 0, 1); /* a question */
  assert_int_equal(parse(&r, &b, "a.b", CSN_DNS_A), CSN_E_PARSE);
  begin(&b, 0x8183, 0, 1);
  assert_int_equal(parse(&r, &b, "a.b", CSN_DNS_A), 0);
  assert_int_equal(r.code, CSN_DNS_NO_NAME);
  begin(&b, 0x8380, 1, 1);
  assert_int_equal(parse(&r, &b, "a.b", CSN_DNS_A), 0);
  assert_true(r.cut);
}

TEST(names_that_point_at_themselves_end)
{
  csn_dns_reply r;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(600);
  begin(&b, 0x8180, 1, 1);
  ADD(&b, "\xc0\x15\0\x01\0\x01\0\0\0\x01\0\x04\x0a\0\0\x01"); /* at 21: itself */
  assert_int_equal(parse(&r, &b, "a.b", CSN_DNS_A), CSN_E_PARSE);
  begin(&b, 0x8180, 1, 1);
  ADD(&b, "\x01x\xc0\x15\0\x01\0\x01\0\0\0\x01\0\x04\x0a\0\0\x01"); /* x.x.x... */
  assert_int_equal(parse(&r, &b, "a.b", CSN_DNS_A), CSN_E_PARSE);
  begin(&b, 0x8180, 1, 1);
  ADD(&b, "\xc0\x0c\0\x01\0\x01\0\0\0\x01\0\x03\x0a\0\0"); /* an address of 3 bytes */
  assert_int_equal(parse(&r, &b, "a.b", CSN_DNS_A), CSN_E_PARSE);
}

TEST(more_addresses_than_are_kept_are_left_out)
{
  csn_dns_reply r;
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(60000);
  begin(&b, 0x8180, 60, 28);
  for (int i = 0; i < 60; i++)
    ADD(&b, "\xc0\x0c\0\x1c\0\x01\0\0\0\x01\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01");
  assert_int_equal(parse(&r, &b, "a.b", CSN_DNS_AAAA), 0);
  assert_int_equal(r.n, CSN_DNS_ADDRESSES);
  assert_true(r.addresses[0].v6);
}

RUN_TESTS("wire/dns_ask", RUN(a_question_reads_back_as_itself),
          RUN(addresses_at_the_end_of_a_chain_of_aliases_are_found),
          RUN(an_answer_to_another_question_is_none), RUN(names_that_point_at_themselves_end),
          RUN(more_addresses_than_are_kept_are_left_out))
