/* SPDX-License-Identifier: Apache-2.0 */
#include "model/retry.h"

#include "check.h"

TEST(only_what_may_pass_is_tried_again)
{
  static const struct {
    enum csn_code code;
    int attempt;
    int64_t hint_ms;
    bool acted;
    bool again;
    int64_t delay_ms;
  } rows[] = {
      {CSN_E_UNAVAILABLE, 1, -1, false, true, 500},
      {CSN_E_UNAVAILABLE, 2, -1, false, true, 1000},
      {CSN_E_UNAVAILABLE, 3, -1, false, true, 2000},
      {CSN_E_UNAVAILABLE, 4, -1, false, false, 0},
      {CSN_E_TIMEOUT, 1, -1, false, true, 500},
      {CSN_E_UNAVAILABLE, 1, 0, false, true, 0},
      {CSN_E_UNAVAILABLE, 1, 59000, false, true, 59000},
      {CSN_E_UNAVAILABLE, 1, 60001, false, false, 0},
      {CSN_E_UNAVAILABLE, 1, -1, true, false, 0},
      {CSN_E_MODEL, 1, 100, false, false, 0},
      {CSN_E_CANCELLED, 1, -1, false, false, 0},
      {CSN_E_LIMIT, 1, -1, false, false, 0},
      {CSN_E_INVALID, 1, -1, false, false, 0},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_err err = {.code = rows[i].code, .retry_after_ms = rows[i].hint_ms};
    csn_retry r = csn_retry_decide(&csn_retry_default, rows[i].attempt, &err, rows[i].acted, 0.5);
    assert_int_equal(r.again, rows[i].again);
    assert_int_equal(r.delay_ms, rows[i].delay_ms);
  }
}

TEST(waits_grow_to_the_longest_and_are_spread)
{
  csn_retry_policy p = csn_retry_default;
  csn_err err = {.code = CSN_E_UNAVAILABLE, .retry_after_ms = -1};
  p.max_retries = 100;
  assert_int_equal(csn_retry_decide(&p, 1, &err, false, 0).delay_ms, 437);
  assert_int_equal(csn_retry_decide(&p, 1, &err, false, 0.999999).delay_ms, 562);
  assert_int_equal(csn_retry_decide(&p, 5, &err, false, 0.99).delay_ms, 8000);
  assert_int_equal(csn_retry_decide(&p, 100, &err, false, 0.99).delay_ms, 8000);
  p.jitter = false;
  assert_int_equal(csn_retry_decide(&p, 4, &err, false, 0.99).delay_ms, 4000);
}

TEST(the_wait_that_a_provider_asks_for_is_read_from_three_headers)
{
  static const char now[] = "Sat, 21 Nov 2026 04:00:00 GMT";
  static const struct {
    const char *ms, *after, *date;
    int64_t want;
  } rows[] = {
      {"", "", "", -1},
      {"1500", "9", "", 1500},
      {"12.75", "", "", 12},
      {"", "2", "", 2000},
      {"", "1.25", "", 1250},
      {"", "-1", "", -1},
      {"", "soon", "", -1},
      {"", "99999999999999999999", "", -1},
      {"", "9223372036854775807", "", -1},
      {"", "Sat, 21 Nov 2026 04:00:30 GMT", now, 30000},
      {"", "Sat, 21 Nov 2026 03:00:00 GMT", now, 0},
      {"", "Sun, 29 Feb 2032 00:00:00 GMT", "Sat, 28 Feb 2032 00:00:00 GMT", 86400000},
      {"", "Sat, 21 Nov 2026 04:00:30 GMT", "", -1},
      {"", "Sat, 21 Xyz 2026 04:00:30 GMT", now, -1},
      {"-5", "", "", -1},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_reply_head h = {.status = 429,
                        .retry_after_ms = csn_cstr(rows[i].ms),
                        .retry_after = csn_cstr(rows[i].after),
                        .date = csn_cstr(rows[i].date)};
    assert_int_equal(csn_retry_after_ms(&h), rows[i].want);
  }
}

TEST(settings_change_the_policy_and_mistakes_are_named)
{
  static const struct {
    const char *json, *error; /* error NULL: accepted */
  } rows[] = {
      {"{\"max_retries\":0}", NULL},
      {"{\"max_retries\":9,\"backoff\":{\"initial_delay\":0.25,\"max_delay\":2,\"multiplier\":3,"
       "\"jitter\":false}}",
       NULL},
      {"{\"max_retries\":-1}", "retry.max_retries: expected a whole number from 0 to 100"},
      {"{\"max_retries\":1.5}", "retry.max_retries: expected a whole number from 0 to 100"},
      {"{\"tries\":1}", "retry.tries: unknown; expected max_retries or backoff"},
      {"{\"backoff\":{\"initial_delay\":\"1\"}}",
       "retry.backoff.initial_delay: expected seconds from 0 to 3600"},
      {"{\"backoff\":{\"multiplier\":0.5}}",
       "retry.backoff.multiplier: expected a number from 1 to 100"},
      {"[]", "retry: expected an object"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    const csn_json *v;
    csn_err err;
    csn_retry_policy p;
    OK(csn_json_parse(a, csn_cstr(rows[i].json), &v, &err), &err);
    int rc = csn_retry_from_json(&p, v, &err);
    if (rows[i].error)
      assert_string_equal(err.msg, rows[i].error);
    else
      OK(rc, &err);
    if (i == 1) {
      assert_int_equal(p.max_retries, 9);
      assert_int_equal(p.first_ms, 250);
      assert_int_equal(p.max_ms, 2000);
      assert_false(p.jitter);
      assert_true(p.factor > 2.99 && p.factor < 3.01);
    }
  }
}

RUN_TESTS("model/retry", RUN(only_what_may_pass_is_tried_again),
          RUN(waits_grow_to_the_longest_and_are_spread),
          RUN(the_wait_that_a_provider_asks_for_is_read_from_three_headers),
          RUN(settings_change_the_policy_and_mistakes_are_named))
