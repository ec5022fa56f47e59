/* SPDX-License-Identifier: Apache-2.0
 * retry.c - the retry policy and the headers it listens to. */
#include "model/retry.h"

#include <math.h>
#include <time.h>

const csn_retry_policy csn_retry_default = {
    .max_retries = 3,
    .first_ms = 500,
    .max_ms = 8000,
    .factor = 2,
    .jitter = true,
    .max_hint_ms = 60000,
};

enum { MOST_RETRIES = 100, LONGEST_WAIT_S = 3600 };

static int
read_seconds(const csn_json *v, const char *key, int64_t *ms, csn_err *err)
{
  const csn_json *m = csn_json_get(v, key);
  if (!m)
    return 0;
  double s = csn_json_to_double(m);
  if (!(s >= 0 && s <= LONGEST_WAIT_S))
    return csn_fail(err, CSN_E_INVALID, "retry.backoff.%s: expected seconds from 0 to %d", key,
                    LONGEST_WAIT_S);
  *ms = (int64_t)(s * 1000 + 0.5);
  return 0;
}

static int
read_backoff(csn_retry_policy *p, const csn_json *v, csn_err *err)
{
  if (v->kind != CSN_JSON_OBJECT)
    return csn_fail(err, CSN_E_INVALID, "retry.backoff: expected an object");
  csn_json_each (m, v)
    if (!csn_str_eq(m->key, CSN_STR("initial_delay")) &&
        !csn_str_eq(m->key, CSN_STR("max_delay")) && !csn_str_eq(m->key, CSN_STR("multiplier")) &&
        !csn_str_eq(m->key, CSN_STR("jitter")))
      return csn_fail(err, CSN_E_INVALID,
                      "retry.backoff.%.*s: unknown; expected initial_delay, max_delay, multiplier "
                      "or jitter",
                      (int)m->key.n, m->key.p);
  int rc = read_seconds(v, "initial_delay", &p->first_ms, err);
  if (rc == 0)
    rc = read_seconds(v, "max_delay", &p->max_ms, err);
  if (rc < 0)
    return rc;
  const csn_json *jitter = csn_json_get(v, "jitter");
  if (jitter && jitter->kind != CSN_JSON_BOOL)
    return csn_fail(err, CSN_E_INVALID, "retry.backoff.jitter: expected true or false");
  p->jitter = jitter ? jitter->truth : p->jitter;
  p->factor = csn_json_get(v, "multiplier") ? csn_json_double(v, "multiplier", NAN) : p->factor;
  if (!(p->factor >= 1 && p->factor <= 100))
    return csn_fail(err, CSN_E_INVALID,
                    "retry.backoff.multiplier: expected a number from 1 to 100");
  return 0;
}

int
csn_retry_from_json(csn_retry_policy *p, const csn_json *v, csn_err *err)
{
  *p = csn_retry_default;
  if (!v || v->kind == CSN_JSON_NULL)
    return 0;
  if (v->kind != CSN_JSON_OBJECT)
    return csn_fail(err, CSN_E_INVALID, "retry: expected an object");
  csn_json_each (m, v) {
    int64_t n;
    int rc = 0;
    if (csn_str_eq(m->key, CSN_STR("backoff")))
      rc = read_backoff(p, m, err);
    else if (!csn_str_eq(m->key, CSN_STR("max_retries")))
      rc = csn_fail(err, CSN_E_INVALID, "retry.%.*s: unknown; expected max_retries or backoff",
                    (int)m->key.n, m->key.p);
    else if (!csn_json_to_int(m, &n) || n < 0 || n > MOST_RETRIES)
      rc = csn_fail(err, CSN_E_INVALID, "retry.max_retries: expected a whole number from 0 to %d",
                    MOST_RETRIES);
    else
      p->max_retries = (int)n;
    if (rc < 0)
      return rc;
  }
  return 0;
}

csn_retry
csn_retry_decide(const csn_retry_policy *p, int attempt, const csn_err *err, bool acted,
                 double random01)
{
  csn_retry no = {false, 0};
  if (acted || attempt > p->max_retries)
    return no;
  if (err->code != CSN_E_UNAVAILABLE && err->code != CSN_E_TIMEOUT)
    return no;
  if (err->retry_after_ms > p->max_hint_ms)
    return no;
  if (err->retry_after_ms >= 0)
    return (csn_retry){true, err->retry_after_ms};
  double ms = (double)p->first_ms;
  for (int i = 1; i < attempt && ms < (double)p->max_ms; i++)
    ms *= p->factor;
  if (p->jitter)
    ms *= 0.875 + 0.25 * random01;
  return (csn_retry){true, ms < (double)p->max_ms ? (int64_t)ms : p->max_ms};
}

/* A decimal number with an optional fraction; -1 when it is none. */
static int64_t
milli_of(csn_str s, int64_t unit_ms)
{
  s = csn_str_trim(s);
  size_t point = csn_str_find(s, CSN_STR("."), 0);
  csn_str whole = csn_strn(s.p, point == SIZE_MAX ? s.n : point);
  int64_t v, ms = 0;
  if (!csn_str_int(whole, &v) || v < 0 || __builtin_mul_overflow(v, unit_ms, &ms))
    return -1;
  int64_t place = unit_ms;
  for (size_t i = whole.n + 1; i < s.n; i++) {
    if (s.p[i] < '0' || s.p[i] > '9')
      return -1;
    place /= 10;
    ms += place * (s.p[i] - '0');
  }
  return ms;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" (the one form that servers send) as Unix seconds. */
static bool
date_of(csn_str s, int64_t *out)
{
  static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  s = csn_str_trim(s);
  int64_t day, year, hour, minute, second;
  if (s.n != 29 || !csn_str_int(csn_strn(s.p + 5, 2), &day) ||
      !csn_str_int(csn_strn(s.p + 12, 4), &year) || !csn_str_int(csn_strn(s.p + 17, 2), &hour) ||
      !csn_str_int(csn_strn(s.p + 20, 2), &minute) || !csn_str_int(csn_strn(s.p + 23, 2), &second))
    return false;
  size_t month = csn_str_find(csn_cstr(months), csn_strn(s.p + 8, 3), 0);
  if (month == SIZE_MAX || month % 3 || year < 1970)
    return false;
  struct tm tm = {.tm_year = (int)year - 1900,
                  .tm_mon = (int)month / 3,
                  .tm_mday = (int)day,
                  .tm_hour = (int)hour,
                  .tm_min = (int)minute,
                  .tm_sec = (int)second};
  *out = timegm(&tm);
  return true;
}

int64_t
csn_retry_after_ms(const csn_reply_head *head)
{
  int64_t ms = milli_of(head->retry_after_ms, 1);
  if (ms >= 0)
    return ms;
  ms = milli_of(head->retry_after, 1000);
  int64_t then, now;
  if (ms < 0 && date_of(head->retry_after, &then) && date_of(head->date, &now))
    ms = then > now ? (then - now) * 1000 : 0;
  return ms;
}
