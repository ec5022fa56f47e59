/* SPDX-License-Identifier: Apache-2.0
 * Two ends in memory: the authority's server and a client that trusts it. */
#include "wire/tls.h"

#include "check.h"

struct pair {
  csn_tls_ca *ca;
  csn_tls_client *client;
  csn_tls *near, *far;
};

static void
pair_open(struct pair *p, const char *asked, const char *answered)
{
  csn_err err;
  *p = (struct pair){0};
  OK(csn_tls_ca_new(&p->ca, 2, &err), &err);
  OK(csn_tls_client_new(&p->client, csn_tls_ca_pem(p->ca), &err), &err);
  OK(csn_tls_connect(&p->near, p->client, csn_cstr(asked), &err), &err);
  OK(csn_tls_accept(&p->far, p->ca, csn_cstr(answered), &err), &err);
}

static void
pair_close(struct pair *p)
{
  csn_tls_free(p->near);
  csn_tls_free(p->far);
  csn_tls_client_free(p->client);
  csn_tls_ca_free(p->ca);
}

/* What one end has for the wire goes to the other, `step` bytes at a time. */
static bool
carry(csn_tls *from, csn_tls *to, size_t step, csn_buf *plain, int *rc, csn_err *err)
{
  bool any = false;
  for (csn_str s; (s = csn_tls_pending(from)).n > 0; any = true) {
    size_t n = s.n < step ? s.n : step;
    csn_tls_feed(to, csn_strn(s.p, n));
    csn_tls_sent(from, n);
    char got[70000];
    while (*rc >= 0 && (*rc = csn_tls_read(to, got, sizeof got, err)) > 0)
      csn_buf_add(plain, csn_strn(got, (size_t)*rc));
  }
  return any;
}

/* Until nothing moves; the first failure. */
static int
talk(struct pair *p, size_t step, csn_buf *at_near, csn_buf *at_far, csn_err *err)
{
  char none[16];
  int near_rc = csn_tls_read(p->near, none, sizeof none, err), far_rc = 0;
  for (bool on = true; on;) {
    on = carry(p->near, p->far, step, at_far, &far_rc, near_rc < 0 ? NULL : err);
    on = carry(p->far, p->near, step, at_near, &near_rc, far_rc < 0 ? NULL : err) || on;
  }
  return near_rc < 0 ? near_rc : far_rc;
}

static int
handshake(const char *asked, const char *answered, size_t step, csn_err *err)
{
  struct pair p;
  csn_auto(csn_buf_finip) csn_buf a = CSN_BUF(1 << 20), b = CSN_BUF(1 << 20);
  pair_open(&p, asked, answered);
  int rc = talk(&p, step, &a, &b, err);
  if (rc >= 0) {
    assert_true(csn_tls_is_ready(p.near) && csn_tls_is_ready(p.far));
    OK(csn_tls_write(p.near, CSN_STR("question"), err), err);
    OK(csn_tls_write(p.far, CSN_STR("answer"), err), err);
    csn_tls_close(p.far);
    OK(talk(&p, step, &a, &b, err), err);
    STR_EQ(csn_buf_str(&a), "answer");
    STR_EQ(csn_buf_str(&b), "question");
    assert_true(csn_tls_ended(p.near));
    assert_false(csn_tls_ended(p.far));
  }
  pair_close(&p);
  return rc;
}

TEST(a_client_and_the_authority_talk_however_the_bytes_are_cut)
{
  csn_err err;
  static const size_t steps[] = {1, 7, 100000};
  for (size_t i = 0; i < CSN_COUNT(steps); i++) {
    OK(handshake("api.example.com", "api.example.com", steps[i], &err), &err);
    OK(handshake("192.0.2.7", "192.0.2.7", steps[i], &err), &err);
    OK(handshake("2001:db8::7", "2001:db8::7", steps[i], &err), &err);
  }
}

TEST(a_certificate_for_another_name_is_refused)
{
  csn_err err;
  static const struct {
    const char *asked, *answered;
  } rows[] = {
      {"api.example.com", "example.com"},
      {"example.com", "api.example.com"},
      {"api.example.com", "API.example.com.evil.test"},
      {"192.0.2.7", "192.0.2.8"},
      {"api.example.com", "192.0.2.7"},
      {"192.0.2.7", "api.example.com"},
      {"a.example.com", "*.com"},
      {"x.test", "a,DNS:x.test"}, /* not read as configuration */
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    assert_int_equal(handshake(rows[i].asked, rows[i].answered, 100000, &err), CSN_E_DENIED);
    assert_non_null(strstr(err.msg, "mismatch"));
  }
}

TEST(an_authority_that_is_not_trusted_is_refused)
{
  struct pair p, other;
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf a = CSN_BUF(1000), b = CSN_BUF(1000);
  pair_open(&p, "a.test", "a.test");
  pair_open(&other, "a.test", "a.test");
  csn_tls *mine = p.near;
  p.near = other.near;
  assert_int_equal(talk(&p, 100000, &a, &b, &err), CSN_E_DENIED);
  assert_int_equal(csn_tls_write(p.near, CSN_STR("x"), &err), CSN_E_PARSE);
  p.near = mine;
  pair_close(&p);
  pair_close(&other);
}

TEST(large_data_arrives_whole_and_queues_are_given_back)
{
  struct pair p;
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf a = CSN_BUF(8 << 20), b = CSN_BUF(8 << 20),
                                  sent = CSN_BUF(8 << 20);
  pair_open(&p, "a.test", "a.test");
  assert_int_equal(csn_tls_write(p.near, CSN_STR("too early"), &err), 0);
  OK(talk(&p, 100000, &a, &b, &err), &err);
  for (int i = 0; i < 500000; i++)
    csn_buf_addf(&sent, "%d,", i);
  assert_int_equal(csn_tls_write(p.near, csn_buf_str(&sent), &err), (int)sent.n);
  OK(talk(&p, 5000, &a, &b, &err), &err);
  assert_true(csn_str_eq(csn_buf_str(&b), csn_buf_str(&sent)));
  pair_close(&p);
}

TEST(leaves_are_made_for_more_names_than_are_kept)
{
  csn_err err;
  csn_tls_ca *ca;
  OK(csn_tls_ca_new(&ca, 2, &err), &err);
  for (int i = 0; i < 200; i++) {
    char host[300];
    csn_tls *t = NULL;
    snprintf(host, sizeof host, "host%d.example.com", i % 150);
    OK(csn_tls_accept(&t, ca, csn_cstr(host), &err), &err);
    csn_tls_free(t);
  }
  csn_tls *t = NULL;
  char longest[256];
  memset(longest, 'a', 255);
  assert_int_equal(csn_tls_accept(&t, ca, csn_strn(longest, 255), &err), CSN_E_INVALID);
  assert_int_equal(csn_tls_accept(&t, ca, CSN_STR(""), &err), CSN_E_INVALID);
  assert_int_equal(csn_tls_accept(&t, ca, CSN_STR("a\0b"), &err), CSN_E_INVALID);
  OK(csn_tls_accept(&t, ca, csn_strn(longest, 254), &err), &err);
  csn_tls_free(t);
  csn_tls_ca_free(ca);
}

TEST(the_right_root_is_found_among_many)
{
  struct pair p;
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf pem = CSN_BUF(1 << 20);
  pair_open(&p, "a.test", "a.test");
  for (int i = 0; i < 40; i++) {
    csn_tls_ca *other;
    OK(csn_tls_ca_new(&other, 2, &err), &err);
    csn_buf_add(&pem, csn_tls_ca_pem(i % 20 == 7 ? p.ca : other)); /* twice the right one */
    csn_tls_ca_free(other);
  }
  csn_tls_free(p.near);
  p.near = NULL;
  csn_tls_client_free(p.client);
  OK(csn_tls_client_new(&p.client, csn_buf_str(&pem), &err), &err);
  for (int i = 0; i < 3; i++) {
    csn_auto(csn_buf_finip) csn_buf a = CSN_BUF(1000), b = CSN_BUF(1000);
    csn_tls_free(p.near);
    csn_tls_free(p.far);
    OK(csn_tls_connect(&p.near, p.client, CSN_STR("a.test"), &err), &err);
    OK(csn_tls_accept(&p.far, p.ca, CSN_STR("a.test"), &err), &err);
    OK(talk(&p, 100000, &a, &b, &err), &err);
    assert_true(csn_tls_is_ready(p.near));
  }
  pair_close(&p);
}

TEST(roots_that_are_none_are_refused)
{
  csn_err err;
  csn_tls_client *c;
  assert_int_equal(csn_tls_client_new(&c, CSN_STR("no certificate"), &err), CSN_E_INVALID);
  assert_int_equal(csn_tls_client_new(&c,
                                      CSN_STR("-----BEGIN CERTIFICATE-----\nAAAA\n"
                                              "-----END CERTIFICATE-----\n"),
                                      &err),
                   CSN_E_INVALID);
  assert_null(c);
}

TEST(what_is_no_handshake_fails_and_says_so_to_the_peer)
{
  struct pair p;
  csn_err err;
  char none[16];
  pair_open(&p, "a.test", "a.test");
  csn_tls_feed(p.far, CSN_STR("GET / HTTP/1.1\r\n\r\n"));
  assert_int_equal(csn_tls_read(p.far, none, sizeof none, &err), CSN_E_PARSE);
  assert_int_equal(csn_tls_read(p.far, none, sizeof none, &err), CSN_E_PARSE);
  pair_close(&p);
}

RUN_TESTS("wire/tls", RUN(a_client_and_the_authority_talk_however_the_bytes_are_cut),
          RUN(a_certificate_for_another_name_is_refused),
          RUN(an_authority_that_is_not_trusted_is_refused),
          RUN(large_data_arrives_whole_and_queues_are_given_back),
          RUN(leaves_are_made_for_more_names_than_are_kept),
          RUN(the_right_root_is_found_among_many), RUN(roots_that_are_none_are_refused),
          RUN(what_is_no_handshake_fails_and_says_so_to_the_peer))
