/* SPDX-License-Identifier: Apache-2.0
 * Configurations and what they allow. */
#include "egress/policy.h"

#include "check.h"

#define LISTEN "\"listeners\":[{\"kind\":\"proxy\",\"port\":3128}]"

static csn_arena *arena;

static csn_config
config(const char *text)
{
  csn_config c;
  csn_err err;
  OK(csn_config_parse(&c, arena, csn_cstr(text), &err), &err);
  return c;
}

static csn_dest
dest(const char *host, uint16_t port)
{
  csn_dest d;
  if (!csn_dest_set(&d, csn_cstr(host), port))
    fail_msg("%s is no host", host);
  return d;
}

TEST(names_and_addresses_have_one_spelling)
{
  static const struct {
    const char *in, *out; /* NULL: none */
    bool is_address;
  } rows[] = {
      {"Example.COM", "example.com", false},
      {"example.com.", "example.com", false},
      {"a-b_c.x", "a-b_c.x", false},
      {"1.2.3.4", "1.2.3.4", true},
      {"::FFFF:1.2.3.4", "::ffff:1.2.3.4", true},
      {"2001:DB8:0:0::1", "2001:db8::1", true},
      {"", NULL, false},
      {".", NULL, false},
      {"a..b", NULL, false},
      {".a", NULL, false},
      {"a b", NULL, false},
      {"a/b", NULL, false},
      {"a:80", NULL, false},
      {"a\nb", NULL, false},
      {"*", NULL, false},
      {"*.a", NULL, false},
      {"127.1", NULL, false},
      {"2130706433", NULL, false},
      {"0x7f000001", NULL, false},
      {"0177.0.0.1", NULL, false},
      {"1.2.3.4.5", NULL, false},
      {"a.0x7f", NULL, false},
      {"m\xc3\xbc.de", NULL, false},
      {"0123456789012345678901234567890123456789012345678901234567890123.x", NULL, false},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_dest d;
    bool ok = csn_dest_set(&d, csn_cstr(rows[i].in), 1);
    if (ok != (rows[i].out != NULL))
      fail_msg("%s: %d", rows[i].in, ok);
    if (!ok)
      continue;
    if (rows[i].in[0] == ':') /* v4-mapped may be told either way, as long as it is an address */
      assert_true(d.is_address);
    else
      assert_string_equal(d.host, rows[i].out);
    assert_int_equal(d.is_address, rows[i].is_address);
  }
}

TEST(hosts_patterns_and_ports_are_allowed_as_listed)
{
  csn_config c =
      config("{\"policy\":\"allow\"," LISTEN ",\"hosts\":["
             "{\"host\":\"api.github.com\"},{\"host\":\"*.Example.com\"},"
             "{\"host\":\"db.example.com\",\"ports\":[5432]},"
             "{\"host\":\"203.0.113.7\",\"ports\":[22]},"
             "{\"host\":\"2001:db8::7\",\"ports\":[443]},"
             "{\"host\":\"twice.test\",\"ports\":[1]},{\"host\":\"twice.test\",\"ports\":[2]}]}");
  static const struct {
    const char *host;
    uint16_t port;
    bool allowed;
  } rows[] = {
      {"api.github.com", 443, true},
      {"API.github.com.", 80, true},
      {"api.github.com", 22, false},
      {"github.com", 443, false},
      {"x.api.github.com", 443, false},
      {"xapi.github.com", 443, false},
      {"api.github.com.evil.test", 443, false},
      {"a.example.com", 443, true},
      {"a.b.example.com", 443, true},
      {"example.com", 443, false},
      {"aexample.com", 443, false},
      {"db.example.com", 5432, true},
      {"db.example.com", 443, false},
      {"203.0.113.7", 22, true},
      {"203.0.113.7", 443, false},
      {"203.0.113.8", 22, false},
      {"2001:db8:0::7", 443, true},
      {"2001:db8::8", 443, false},
      {"twice.test", 1, true},
      {"twice.test", 2, true},
      {"twice.test", 3, false},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_dest d = dest(rows[i].host, rows[i].port);
    if (csn_policy_judge(&c, &d).allowed != rows[i].allowed)
      fail_msg("%s:%u", rows[i].host, rows[i].port);
  }
  csn_dest d = dest("db.example.com", 1), none = dest("x.test", 1);
  assert_true(csn_policy_lists(&c, &d));
  assert_false(csn_policy_lists(&c, &none));
  assert_false(csn_config_terminates(&c));
}

TEST(methods_and_secrets_need_requests_to_be_seen)
{
  csn_config c =
      config("{\"policy\":\"open\"," LISTEN ",\"hosts\":["
             "{\"host\":\"*.a.test\",\"methods\":[\"GET\",\"HEAD\"]},{\"host\":\"free.a.test\"}],"
             "\"secrets\":[{\"name\":\"T\",\"value\":\"12345678\",\"placeholder\":\"csn-secret-1\","
             "\"hosts\":[\"*.b.test\",\"c.test\"]}]}");
  csn_dest d = dest("x.a.test", 8443);
  csn_verdict v = csn_policy_judge(&c, &d);
  assert_true(v.allowed && v.terminate);
  assert_true(csn_policy_method(&v, CSN_STR("GET")));
  assert_false(csn_policy_method(&v, CSN_STR("POST")));
  assert_false(csn_policy_method(&v, CSN_STR("get")));
  d = dest("free.a.test", 443);
  v = csn_policy_judge(&c, &d);
  assert_true(v.allowed && !v.terminate && csn_policy_method(&v, CSN_STR("POST")));
  d = dest("x.b.test", 443);
  assert_true(csn_policy_judge(&c, &d).terminate);
  d = dest("b.test", 443);
  assert_false(csn_policy_judge(&c, &d).terminate);
  d = dest("c.test", 443);
  assert_true(csn_policy_judge(&c, &d).terminate);
  assert_true(csn_config_terminates(&c));
}

TEST(an_exception_is_exactly_one_address_and_port)
{
  csn_config c = config("{\"policy\":\"allow\"," LISTEN
                        ",\"allow_private\":[\"127.0.0.1:8080\",\"[::1]:1\"]}");
  csn_address a = csn_address_v4(127, 0, 0, 1), b = csn_address_v4(127, 0, 0, 2);
  csn_address one = {.v6 = 1, .b = {[15] = 1}}, pub = csn_address_v4(93, 184, 216, 34);
  assert_null(csn_policy_address(&c, &a, 8080));
  assert_string_equal(csn_policy_address(&c, &a, 8081), "loopback");
  assert_non_null(csn_policy_address(&c, &b, 8080));
  assert_null(csn_policy_address(&c, &one, 1));
  assert_non_null(csn_policy_address(&c, &one, 8080));
  assert_null(csn_policy_address(&c, &pub, 1));
}

TEST(configurations_that_are_wrong_are_refused_by_name)
{
  static const struct {
    const char *text, *said;
  } rows[] = {
      {"{}", "policy"},
      {"{\"policy\":\"all\"}", "policy"},
      {"{\"policy\":\"allow\"}", "listeners"},
      {"{\"policy\":\"allow\",\"listeners\":[{\"kind\":\"x\",\"port\":1}]}", "listeners"},
      {"{\"policy\":\"allow\",\"listeners\":[{\"kind\":\"tcp\",\"port\":0}]}", "port"},
      {"{\"policy\":\"allow\",\"hosts\":{}," LISTEN "}", "hosts"},
      {"{\"policy\":\"allow\",\"hosts\":[{}]," LISTEN "}", "hosts[0]"},
      {"{\"policy\":\"allow\",\"hosts\":[{\"host\":\"*\"}]," LISTEN "}", "'*'"},
      {"{\"policy\":\"allow\",\"hosts\":[{\"host\":\"*.1.2.3.4\"}]," LISTEN "}", "hosts[0]"},
      {"{\"policy\":\"allow\",\"hosts\":[{\"host\":\"a.*.b\"}]," LISTEN "}", "hosts[0]"},
      {"{\"policy\":\"allow\",\"hosts\":[{\"host\":\"a\",\"ports\":[70000]}]," LISTEN "}", "port"},
      {"{\"policy\":\"allow\",\"hosts\":[{\"host\":\"a\",\"methods\":[\"G T\"]}]," LISTEN "}",
       "methods"},
      {"{\"policy\":\"allow\",\"allow_private\":[\"10.0.0.0/8\"]," LISTEN "}", "allow_private"},
      {"{\"policy\":\"allow\",\"allow_private\":[\"localhost:1\"]," LISTEN "}", "allow_private"},
      {"{\"policy\":\"allow\",\"resolve\":{\"a\":\"b\"}," LISTEN "}", "resolve"},
#define SECRET(x) "{\"policy\":\"allow\",\"secrets\":[{\"name\":\"T\"," x "}]," LISTEN "}"
      {SECRET("\"value\":\"v\""), "placeholder"},
      {SECRET("\"value\":\"v\",\"placeholder\":\"csn-secret-1\""), "hosts"},
      {SECRET("\"value\":\"v\\r\\nX: y\",\"placeholder\":\"csn-secret-1\""), "value"},
      {SECRET("\"value\":\"\",\"placeholder\":\"csn-secret-1\""), "value"},
      {SECRET("\"value\":\"v\",\"header\":\"Authorization {}\",\"hosts\":[\"a\"]"), "header"},
      {SECRET("\"value\":\"v\",\"header\":\"Authorization: x\",\"hosts\":[\"a\"]"), "header"},
      {SECRET("\"value\":\"v\",\"header\":\"{}: x\",\"hosts\":[\"a\"]"), "header"},
      {SECRET("\"value\":\"v\",\"header\":\"A: {}\\r\\nB: c\",\"hosts\":[\"a\"]"), "header"},
      {SECRET("\"value\":\"v\",\"header\":\"A: {}{}\",\"hosts\":[\"a\"]"), "header"},
      {SECRET("\"value\":\"v\",\"header\":\"A: {}\",\"hosts\":[]"), "hosts"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_config c;
    csn_err err;
    if (csn_config_parse(&c, arena, csn_cstr(rows[i].text), &err) >= 0)
      fail_msg("accepted: %s", rows[i].text);
    if (!strstr(err.msg, rows[i].said))
      fail_msg("%s: %s", rows[i].text, err.msg);
    assert_null(strstr(err.msg, "X: y"));
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {RUN(names_and_addresses_have_one_spelling),
                                     RUN(hosts_patterns_and_ports_are_allowed_as_listed),
                                     RUN(methods_and_secrets_need_requests_to_be_seen),
                                     RUN(an_exception_is_exactly_one_address_and_port),
                                     RUN(configurations_that_are_wrong_are_refused_by_name)};
  arena = csn_arena_new(1 << 20);
  tap_stdout();
  cmocka_set_message_output(CM_OUTPUT_TAP);
  int failed = cmocka_run_group_tests_name("egress/policy", tests, NULL, NULL);
  csn_arena_free(arena);
  return failed;
}
