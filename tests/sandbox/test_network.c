/* SPDX-License-Identifier: Apache-2.0
 * test_network.c - which policies are policies, and what becomes of one. */
#include "tests/check.h"

#include "sandbox/network.h"

static const char *const api[] = {"api.example.com", NULL};

static csn_network_secret
secret(const char *value, const char *header, const char *const *hosts)
{
  return (csn_network_secret){.name = "TOKEN", .value = value, .header = header, .hosts = hosts};
}

TEST(hosts_are_names_patterns_or_public_addresses)
{
  static const struct {
    const char *host, *wrong; /* NULL: right */
  } rows[] = {
      {"example.com", NULL},
      {"Example.COM", NULL},
      {"a-b_c.example.com", NULL},
      {"localhost", NULL},
      {"*.example.com", NULL},
      {"8.8.8.8", NULL},
      {"2606:4700:4700::1111", NULL},
      {"xn--bcher-kva.example", NULL},
      {"*", "open: true"},
      {"", "neither"},
      {"*.", "neither"},
      {"a.*.com", "neither"},
      {"**.com", "neither"},
      {"example.com.", "neither"},
      {".example.com", "neither"},
      {"a..b", "neither"},
      {"exa mple.com", "neither"},
      {"https://example.com", "neither"},
      {"example.com:443", "neither"},
      {"example.com/x", "neither"},
      {"1.2.3", "neither"},
      {"1.2.3.256", "neither"},
      {"127.1", "neither"},
      {"b\xc3\xbc"
       "cher.example",
       "neither"},
      {"127.0.0.1", "loopback"},
      {"169.254.169.254", "metadata"},
      {"::1", "loopback"},
      {"fd00::1", "private"},
      {"::ffff:10.0.0.1", "private"},
      {"10.0.0.7", NULL}, /* it is in allow_private */
  };
  static const char *const exceptions[] = {"10.0.0.7:8080", NULL};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_network_host h = {.host = rows[i].host};
    csn_err err = {0};
    int rc = csn_network_check(
        &(csn_network){.hosts = &h, .n_hosts = 1, .allow_private = exceptions}, &err);
    if (rc != (rows[i].wrong ? CSN_E_INVALID : 0) ||
        (rows[i].wrong && !strstr(err.msg, rows[i].wrong)))
      fail_msg("\"%s\": %d %s", rows[i].host, rc, err.msg);
  }
}

TEST(names_are_as_long_as_names_may_be)
{
  char name[300];
  for (size_t n = 1; n < 290; n++) {
    for (size_t i = 0; i < n; i++)
      name[i] = i % 60 == 59 ? '.' : 'x';
    name[n] = '\0';
    csn_network_host h = {.host = name};
    int rc = csn_network_check(&(csn_network){.hosts = &h, .n_hosts = 1}, NULL);
    assert_int_equal(rc, n <= 253 && name[n - 1] != '.' ? 0 : CSN_E_INVALID);
  }
}

TEST(secrets_belong_to_hosts_that_are_allowed)
{
  static const char *const deep[] = {"a.wild.example", NULL}, *const other[] = {"evil.test", NULL},
                           *const none[] = {NULL}, *const same[] = {"*.wild.example", NULL},
                           *const above[] = {"wild.example", NULL},
                           *const upper[] = {"API.Example.com", NULL};
  const struct {
    csn_network_secret s;
    const char *wrong;
  } rows[] = {
      {secret("12345678", NULL, api), NULL},
      {secret("12345678", NULL, deep), NULL},
      {secret("12345678", NULL, same), NULL},
      {secret("12345678", NULL, upper), NULL},
      {secret("12345678", "Authorization: Bearer {}", api), NULL},
      {secret("12345678", "X-Key:{}", api), NULL},
      {secret("12345678", NULL, above), "does not allow its host wild.example"},
      {secret("12345678", NULL, other), "does not allow its host evil.test"},
      {secret("12345678", NULL, none), "hosts is missing"},
      {secret("12345678", NULL, NULL), "hosts is missing"},
      {secret("1234567", NULL, api), "7 bytes"},
      {secret(NULL, NULL, api), "0 bytes"},
      {secret("1234567\n8", NULL, api), "bytes that no header field"},
      {secret("12345678\x7f", NULL, api), "bytes that no header field"},
      {secret("12345678", "Authorization", api), "one {}"},
      {secret("12345678", "Authorization: Bearer", api), "one {}"},
      {secret("12345678", "A: {} {}", api), "one {}"},
      {secret("12345678", "A{}: x", api), "one {}"},
      {secret("12345678", ": {}", api), "one {}"},
      {secret("12345678", "A: {}\r\nB: c", api), "one {}"},
      {secret("12345678", "A b: {}", api), "one {}"},
      {{.name = "1X", .value = "12345678", .hosts = api}, "no name for a variable"},
      {{.name = "A-B", .value = "12345678", .hosts = api}, "no name for a variable"},
      {{.name = "", .value = "12345678", .hosts = api}, "no name for a variable"},
  };
  const csn_network_host hosts[] = {{.host = "api.example.com"}, {.host = "*.wild.example"}};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_err err = {0};
    int rc = csn_network_check(
        &(csn_network){.hosts = hosts, .n_hosts = 2, .secrets = &rows[i].s, .n_secrets = 1}, &err);
    if (rc != (rows[i].wrong ? CSN_E_INVALID : 0) ||
        (rows[i].wrong && !strstr(err.msg, rows[i].wrong)))
      fail_msg("row %zu: %d %s", i, rc, err.msg);
  }
  const csn_network_secret twice[] = {secret("12345678", NULL, api), secret("12345678", NULL, api)};
  assert_int_equal(
      csn_network_check(
          &(csn_network){.hosts = hosts, .n_hosts = 2, .secrets = twice, .n_secrets = 2}, NULL),
      CSN_E_INVALID);
}

TEST(exceptions_are_exact)
{
  static const struct {
    const char *private_, *resolve;
    bool right;
  } rows[] = {
      {"127.0.0.1:8080", NULL, true},   {"[::1]:8080", NULL, true},
      {"127.0.0.1", NULL, false},       {"127.0.0.0/8:80", NULL, false},
      {"localhost:80", NULL, false},    {NULL, "pypi.test=127.0.0.1", true},
      {NULL, "pypi.test=::1", true},    {NULL, "pypi.test", false},
      {NULL, "pypi.test=other", false}, {NULL, "*.test=127.0.0.1", false},
      {NULL, "=127.0.0.1", false},
  };
  csn_network_host h = {.host = "example.com"};
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    const char *a[] = {rows[i].private_, NULL}, *b[] = {rows[i].resolve, NULL};
    int rc = csn_network_check(
        &(csn_network){.hosts = &h, .n_hosts = 1, .allow_private = a, .resolve = b}, NULL);
    if (rc != (rows[i].right ? 0 : CSN_E_INVALID))
      fail_msg("row %zu: %d", i, rc);
  }
}

TEST(an_empty_policy_is_a_mistake_and_open_is_none)
{
  assert_int_equal(csn_network_check(&(csn_network){0}, NULL), CSN_E_INVALID);
  assert_int_equal(csn_network_check(&(csn_network){.open = true}, NULL), 0);
}

TEST(ports_are_those_of_all_hosts_once)
{
  const uint16_t some[] = {22, 443, 3128, 53, 22}, zero[] = {0};
  uint16_t many[65], ports[CSN_JAIL_PORTS_MAX];
  csn_network_host hosts[] = {{.host = "a.test", .ports = some, .n_ports = 5}, {.host = "b.test"}};
  csn_network n = {.hosts = hosts, .n_hosts = 1};
  assert_int_equal(csn_network_ports(&n, ports, NULL), 2);
  assert_int_equal(ports[0], 22);
  assert_int_equal(ports[1], 443);
  n.n_hosts = 2;
  assert_int_equal(csn_network_ports(&n, ports, NULL), 3);
  assert_int_equal(ports[2], 80);
  for (size_t i = 0; i < 65; i++)
    many[i] = (uint16_t)(1000 + i);
  hosts[0] = (csn_network_host){.host = "a.test", .ports = many, .n_ports = 64};
  n.n_hosts = 1;
  assert_int_equal(csn_network_check(&n, NULL), 0);
  hosts[0].n_ports = 65;
  assert_int_equal(csn_network_check(&n, NULL), CSN_E_LIMIT);
  hosts[0] = (csn_network_host){.host = "a.test", .ports = zero, .n_ports = 1};
  assert_int_equal(csn_network_check(&n, NULL), CSN_E_INVALID);
}

TEST(the_egress_process_is_told_all_of_it)
{
  static const char *const get[] = {"GET", NULL}, *const private_[] = {"127.0.0.1:8443", NULL},
                           *const resolve[] = {"Pypi.test=127.0.0.1", NULL};
  const uint16_t port = 8443;
  const csn_network_host hosts[] = {{.host = "Api.example.com", .methods = get},
                                    {.host = "pypi.test", .ports = &port, .n_ports = 1}};
  const csn_network_secret s = secret("hunter2-hunter2", "Authorization: Bearer {}", api);
  csn_network n = {.hosts = hosts,
                   .n_hosts = 2,
                   .secrets = &s,
                   .n_secrets = 1,
                   .allow_private = private_,
                   .resolve = resolve,
                   .extra_roots = "PEM"};
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(10000);
  const char *placeholders[] = {"csn-secret-x", NULL};
  uint16_t ports[CSN_JAIL_PORTS_MAX];
  csn_err err;
  int k = csn_network_ports(&n, ports, &err);
  OK(csn_network_config(&out, &n, placeholders, ports, (size_t)k, &err), &err);
  STR_EQ(csn_buf_str(&out),
         "{\"policy\":\"allow\",\"hosts\":[{\"host\":\"api.example.com\",\"methods\":[\"GET\"]},"
         "{\"host\":\"pypi.test\",\"ports\":[8443]}],\"secrets\":[{\"name\":\"TOKEN\","
         "\"value\":\"hunter2-hunter2\",\"placeholder\":\"csn-secret-x\","
         "\"hosts\":[\"api.example.com\"],\"header\":\"Authorization: Bearer {}\"}],"
         "\"allow_private\":[\"127.0.0.1:8443\"],\"resolve\":{\"pypi.test\":\"127.0.0.1\"},"
         "\"extra_roots\":\"PEM\",\"listeners\":[{\"kind\":\"proxy\",\"port\":3128},"
         "{\"kind\":\"dns_udp\",\"port\":53},{\"kind\":\"dns_tcp\",\"port\":53},"
         "{\"kind\":\"tcp\",\"port\":8443},{\"kind\":\"tcp\",\"port\":443},"
         "{\"kind\":\"tcp\",\"port\":80}]}");
}

RUN_TESTS("sandbox/network", RUN(hosts_are_names_patterns_or_public_addresses),
          RUN(names_are_as_long_as_names_may_be), RUN(secrets_belong_to_hosts_that_are_allowed),
          RUN(exceptions_are_exact), RUN(an_empty_policy_is_a_mistake_and_open_is_none),
          RUN(ports_are_those_of_all_hosts_once), RUN(the_egress_process_is_told_all_of_it))
