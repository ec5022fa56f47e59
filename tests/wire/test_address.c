/* SPDX-License-Identifier: Apache-2.0
 * test_address.c - spellings, and which addresses a sandbox may reach. */
#include "tests/check.h"

#include <netinet/in.h>

#include "wire/address.h"

struct row {
  const char *text, *refusal;
};

static void
judge(const struct row *rows, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    csn_address a;
    if (!csn_address_parse(csn_cstr(rows[i].text), &a))
      fail_msg("%s: not read", rows[i].text);
    const char *got = csn_address_refusal(&a), *want = rows[i].refusal;
    if ((got == NULL) != (want == NULL) || (got && strcmp(got, want) != 0))
      fail_msg("%s: got %s, expected %s", rows[i].text, got ? got : "public",
               want ? want : "public");
  }
}

/* The first and last of each range with their neighbours outside. */
TEST(an_ipv4_address_is_public_or_said_to_be_something_else)
{
  static const struct row rows[] = {
      {"1.0.0.0", NULL},
      {"8.8.8.8", NULL},
      {"140.82.121.4", NULL},
      {"0.0.0.0", "unspecified"},
      {"0.255.255.255", "unspecified"},
      {"9.255.255.255", NULL},
      {"10.0.0.0", "private"},
      {"10.255.255.255", "private"},
      {"11.0.0.0", NULL},
      {"100.63.255.255", NULL},
      {"100.64.0.0", "carrier-grade NAT"},
      {"100.127.255.255", "carrier-grade NAT"},
      {"100.128.0.0", NULL},
      {"100.100.100.200", "metadata"},
      {"126.255.255.255", NULL},
      {"127.0.0.1", "loopback"},
      {"127.255.255.255", "loopback"},
      {"128.0.0.0", NULL},
      {"168.63.129.16", "metadata"},
      {"169.253.255.255", NULL},
      {"169.254.0.0", "link-local"},
      {"169.254.169.254", "metadata"},
      {"169.254.255.255", "link-local"},
      {"169.255.0.0", NULL},
      {"172.15.255.255", NULL},
      {"172.16.0.0", "private"},
      {"172.31.255.255", "private"},
      {"172.32.0.0", NULL},
      {"192.0.0.1", "reserved"},
      {"192.0.0.192", "metadata"},
      {"192.0.1.0", NULL},
      {"192.0.2.1", "documentation"},
      {"192.88.99.1", "6to4 relay"},
      {"192.167.255.255", NULL},
      {"192.168.0.0", "private"},
      {"192.168.255.255", "private"},
      {"192.169.0.0", NULL},
      {"198.17.255.255", NULL},
      {"198.18.0.0", "benchmarking"},
      {"198.19.255.255", "benchmarking"},
      {"198.20.0.0", NULL},
      {"198.51.100.7", "documentation"},
      {"203.0.113.7", "documentation"},
      {"223.255.255.255", NULL},
      {"224.0.0.1", "multicast"},
      {"239.255.255.255", "multicast"},
      {"240.0.0.1", "reserved"},
      {"255.255.255.254", "reserved"},
      {"255.255.255.255", "broadcast"},
  };
  judge(rows, CSN_COUNT(rows));
}

TEST(an_ipv6_address_is_judged_by_where_it_leads)
{
  static const struct row rows[] = {
      {"2606:4700:4700::1111", NULL},
      {"2a00:1450:4001::1", NULL},
      {"3ffe::1", NULL},
      {"::", "unspecified"},
      {"::1", "loopback"},
      {"::2", "v4-compatible"},
      {"::8.8.8.8", "v4-compatible"},
      {"::127.0.0.1", "v4-compatible"},
      {"::ffff:8.8.8.8", NULL},
      {"::ffff:127.0.0.1", "loopback"},
      {"::ffff:10.1.2.3", "private"},
      {"::ffff:169.254.169.254", "metadata"},
      {"::ffff:0:8.8.8.8", "reserved"},
      {"64:ff9b::8.8.8.8", NULL},
      {"64:ff9b::192.168.1.1", "private"},
      {"64:ff9b::169.254.169.254", "metadata"},
      {"64:ff9b:0:0:0:1::", "reserved"},
      {"64:ff9b:1::8.8.8.8", "local NAT64"},
      {"100::1", "discard"},
      {"200::1", "reserved"},
      {"2001::1", "Teredo"},
      {"2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"},
      {"2001:2::1", "reserved"},
      {"2001:1ff::1", "reserved"},
      {"2001:200::1", NULL},
      {"2001:db8::1", "documentation"},
      {"2001:db9::1", NULL},
      {"2002:0808:0808::1", NULL},
      {"2002:7f00:0001::1", "loopback"},
      {"2002:c0a8:0101::1", "private"},
      {"2a00:1:2:3:0:5efe:10.0.0.1", "private"},
      {"2a00:1:2:3:200:5efe:127.0.0.1", "loopback"},
      {"2a00:1:2:3:200:5efe:8.8.8.8", NULL},
      {"3fff::1", "documentation"},
      {"3fff:1000::1", NULL},
      {"4000::1", "reserved"},
      {"5f00::1", "reserved"},
      {"fc00::1", "private"},
      {"fd00:ec2::254", "private"},
      {"fe80::1", "link-local"},
      {"febf::1", "link-local"},
      {"fec0::1", "site-local"},
      {"ff02::1", "multicast"},
  };
  judge(rows, CSN_COUNT(rows));
}

TEST(only_the_full_spellings_are_addresses)
{
  static const char *const wrong[] = {
      "",           "1",          "127.1",      "0x7f.0.0.1",    "127.0.0.1 ",
      " 127.0.0.1", "127.0.0.01", "2130706433", "1.2.3.256",     "1.2.3.4.5",
      "1.2.3",      "fe80::1%lo", "[::1]",      "1::2::3",       "::ffff:1.2.3",
      "12345::",    "1.2.3.4:1",  "::1/128",    "a.example.com", "017700000001"};
  csn_address a;
  for (size_t i = 0; i < CSN_COUNT(wrong); i++)
    if (csn_address_parse(csn_cstr(wrong[i]), &a))
      fail_msg("\"%s\" was read as an address", wrong[i]);
  assert_false(csn_address_parse(csn_strn("1.2.3.4\0x", 9), &a));
}

TEST(text_of_an_address_reads_back)
{
  static const char *const texts[] = {
      "1.2.3.4",        "255.255.255.255",          "::", "::1", "2001:db8::1:0:0:1",
      "::ffff:1.2.3.4", "fe80::ffff:ffff:ffff:ffff"};
  for (size_t i = 0; i < CSN_COUNT(texts); i++) {
    csn_address a, b;
    char text[CSN_ADDRESS_TEXT];
    struct sockaddr_storage ss;
    uint16_t port = 0;
    assert_true(csn_address_parse(csn_cstr(texts[i]), &a));
    csn_address_text(&a, text);
    assert_string_equal(text, texts[i]);
    socklen_t n = csn_address_to_sockaddr(&a, 4711, &ss);
    assert_int_equal(n, a.v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    assert_true(csn_address_from_sockaddr(&ss, &b, &port));
    assert_int_equal(port, 4711);
    if (strncmp(texts[i], "::ffff:", 7) == 0)
      assert_false(b.v6); /* what a socket for both families calls an IPv4 peer */
    else
      assert_true(csn_address_eq(&a, &b));
  }
  struct sockaddr_storage unix_name = {.ss_family = AF_UNIX};
  csn_address a;
  uint16_t port;
  assert_false(csn_address_from_sockaddr(&unix_name, &a, &port));
}

TEST(an_endpoint_is_an_address_and_a_port)
{
  static const struct {
    const char *text;
    int port;
  } rows[] = {
      {"1.2.3.4:80", 80}, {"[::1]:65535", 65535}, {"1.2.3.4", 0},
      {"1.2.3.4:", 0},    {"1.2.3.4:0", 0},       {"1.2.3.4:080", 0},
      {"1.2.3.4:+8", 0},  {"1.2.3.4:65536", 0},   {"1.2.3.4:80000", 0},
      {"::1:80", 0},      {"[1.2.3.4]:80", 0},    {"[]:80", 0},
      {":80", 0},         {"[::1]", 0},           {"", 0},
      {"host:80", 0},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_address a;
    uint16_t port = 0;
    bool good = csn_endpoint_parse(csn_cstr(rows[i].text), &a, &port);
    if (good != (rows[i].port > 0) || port != rows[i].port)
      fail_msg("\"%s\": port %u", rows[i].text, port);
    char text[CSN_ENDPOINT_TEXT];
    if (good) {
      csn_endpoint_text(&a, port, text);
      assert_string_equal(text, rows[i].text);
    }
  }
}

RUN_TESTS("wire/address", RUN(an_ipv4_address_is_public_or_said_to_be_something_else),
          RUN(an_ipv6_address_is_judged_by_where_it_leads),
          RUN(only_the_full_spellings_are_addresses), RUN(text_of_an_address_reads_back),
          RUN(an_endpoint_is_an_address_and_a_port))
