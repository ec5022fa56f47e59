/* SPDX-License-Identifier: Apache-2.0
 * AWS event streams: fed whole and at every split, and with each byte damaged. */
#include "wire/aws_events.h"

#include "check.h"

struct log {
  csn_buf text;
  int stop_after;
};

static int
note(void *user, const csn_aws_message *m)
{
  struct log *l = user;
  csn_buf_addf(&l->text, "<%.*s|%.*s|%.*s|%.*s>", (int)m->type.n, m->type.p ? m->type.p : "",
               (int)m->name.n, m->name.p ? m->name.p : "", (int)m->error.n,
               m->error.p ? m->error.p : "", (int)m->payload.n, m->payload.p);
  return l->stop_after && --l->stop_after == 0 ? CSN_E_MODEL : 0;
}

static void
add32(csn_buf *b, uint32_t n)
{
  for (int i = 24; i >= 0; i -= 8)
    csn_buf_addc(b, (char)(n >> i));
}

static void
add_header(csn_buf *b, const char *name, const char *value)
{
  csn_buf_addc(b, (char)strlen(name));
  csn_buf_addz(b, name);
  csn_buf_addc(b, 7);
  csn_buf_addc(b, (char)(strlen(value) >> 8));
  csn_buf_addc(b, (char)strlen(value));
  csn_buf_addz(b, value);
}

static void
add_message(csn_buf *to, csn_str headers, csn_str payload)
{
  csn_buf m = CSN_BUF(1 << 20);
  add32(&m, (uint32_t)(16 + headers.n + payload.n));
  add32(&m, (uint32_t)headers.n);
  add32(&m, csn_crc32(0, csn_buf_str(&m)));
  csn_buf_add(&m, headers);
  csn_buf_add(&m, payload);
  add32(&m, csn_crc32(0, csn_buf_str(&m)));
  csn_buf_add(to, csn_buf_str(&m));
  csn_buf_fini(&m);
}

/* Three messages, with headers of all types. */
static csn_buf
sample(void)
{
  csn_buf to = CSN_BUF(1 << 20), h = CSN_BUF(1 << 20);
  add_header(&h, ":event-type", "chunk");
  add_header(&h, ":message-type", "event");
  add_message(&to, csn_buf_str(&h), CSN_STR("{\"bytes\":\"e30=\"}"));
  csn_buf_clear(&h);
  csn_buf_add(
      &h, CSN_STR("\1a\0\1b\1\1c\2x\1d\3xx\1e\4xxxx\1f\5xxxxxxxx\1g\6\0\3bin\1h\10timetime\1i\11"
                  "0123456789abcdef"));
  add_header(&h, ":error-message", "");
  add_message(&to, csn_buf_str(&h), CSN_STR(""));
  csn_buf_clear(&h);
  add_header(&h, ":message-type", "exception");
  add_header(&h, ":exception-type", "throttlingException");
  add_message(&to, csn_buf_str(&h), CSN_STR("{\"message\":\"slow\"}"));
  csn_buf_fini(&h);
  return to;
}

static const char expected[] = "<event|chunk||{\"bytes\":\"e30=\"}><event|||>"
                               "<exception|throttlingException||{\"message\":\"slow\"}>";

TEST(the_same_messages_come_out_however_they_are_cut)
{
  csn_buf in = sample();
  for (size_t cut = 0; cut <= in.n; cut++) {
    struct log l = {.text = CSN_BUF(1 << 20)};
    csn_aws_events s;
    csn_err err;
    csn_aws_events_init(&s, 1 << 16, note, &l);
    OK(csn_aws_events_feed(&s, csn_strn(in.p, cut), &err), &err);
    OK(csn_aws_events_feed(&s, csn_strn(in.p + cut, in.n - cut), &err), &err);
    assert_true(csn_aws_events_is_whole(&s));
    assert_string_equal(l.text.p, expected);
    csn_aws_events_fini(&s);
    csn_buf_fini(&l.text);
  }
  struct log l = {.text = CSN_BUF(1 << 20)};
  csn_aws_events s;
  csn_aws_events_init(&s, 1 << 16, note, &l);
  for (size_t i = 0; i < in.n; i++)
    assert_int_equal(csn_aws_events_feed(&s, csn_strn(in.p + i, 1), NULL), 0);
  assert_string_equal(l.text.p, expected);
  csn_aws_events_fini(&s);
  csn_buf_fini(&l.text);
  csn_buf_fini(&in);
}

TEST(a_byte_that_was_changed_is_noticed)
{
  csn_buf in = sample();
  for (size_t at = 0; at < in.n; at++) {
    struct log l = {.text = CSN_BUF(1 << 20)};
    csn_aws_events s;
    csn_err err;
    csn_aws_events_init(&s, 1 << 16, note, &l);
    in.p[at] ^= 0x10;
    int rc = csn_aws_events_feed(&s, csn_buf_str(&in), &err);
    in.p[at] ^= 0x10;
    assert_int_equal(rc, CSN_E_PARSE);
    csn_aws_events_fini(&s);
    csn_buf_fini(&l.text);
  }
  csn_buf_fini(&in);
}

TEST(lengths_that_lie_and_headers_that_are_cut_are_refused)
{
  static const csn_str headers[] = {
      CSN_STR_INIT("\5ab"),      CSN_STR_INIT("\1a"),          CSN_STR_INIT("\1a\12x"),
      CSN_STR_INIT("\1a\7\0"),   CSN_STR_INIT("\1a\7\0\5abc"), CSN_STR_INIT("\1a\4xx"),
      CSN_STR_INIT("\377abcde"),
  };
  for (size_t i = 0; i < CSN_COUNT(headers); i++) {
    csn_buf in = CSN_BUF(1 << 20);
    struct log l = {.text = CSN_BUF(1 << 20)};
    csn_aws_events s;
    csn_err err;
    csn_aws_events_init(&s, 1 << 16, note, &l);
    add_message(&in, headers[i], CSN_STR("x"));
    assert_int_equal(csn_aws_events_feed(&s, csn_buf_str(&in), &err), CSN_E_PARSE);
    csn_aws_events_fini(&s);
    csn_buf_fini(&in);
    csn_buf_fini(&l.text);
  }
  struct {
    uint32_t total, headers;
    int rc;
  } lies[] = {{15, 0, CSN_E_PARSE},
              {20, 10, CSN_E_PARSE},
              {0xffffffff, 0, CSN_E_LIMIT},
              {0xffffffff, 0xfffffff0, CSN_E_PARSE},
              {(1 << 16) + 1, 0, CSN_E_LIMIT}};
  for (size_t i = 0; i < CSN_COUNT(lies); i++) {
    csn_buf in = CSN_BUF(1 << 20);
    csn_aws_events s;
    csn_err err;
    csn_aws_events_init(&s, 1 << 16, note, NULL);
    add32(&in, lies[i].total);
    add32(&in, lies[i].headers);
    add32(&in, csn_crc32(0, csn_buf_str(&in)));
    assert_int_equal(csn_aws_events_feed(&s, csn_buf_str(&in), &err), lies[i].rc);
    csn_aws_events_fini(&s);
    csn_buf_fini(&in);
  }
}

TEST(who_takes_the_messages_can_end_it)
{
  csn_buf in = sample();
  struct log l = {.text = CSN_BUF(1 << 20), .stop_after = 2};
  csn_aws_events s;
  csn_err err;
  csn_aws_events_init(&s, 1 << 16, note, &l);
  assert_int_equal(csn_aws_events_feed(&s, csn_buf_str(&in), &err), CSN_E_MODEL);
  assert_string_equal(l.text.p, "<event|chunk||{\"bytes\":\"e30=\"}><event|||>");
  csn_aws_events_fini(&s);
  csn_buf_fini(&l.text);
  csn_buf_fini(&in);
}

TEST(checksums_are_those_of_gzip)
{
  assert_int_equal(csn_crc32(0, CSN_STR("123456789")), 0xcbf43926);
  assert_int_equal(csn_crc32(csn_crc32(0, CSN_STR("1234")), CSN_STR("56789")), 0xcbf43926);
}

RUN_TESTS("wire/aws_events", RUN(the_same_messages_come_out_however_they_are_cut),
          RUN(a_byte_that_was_changed_is_noticed),
          RUN(lengths_that_lie_and_headers_that_are_cut_are_refused),
          RUN(who_takes_the_messages_can_end_it), RUN(checksums_are_those_of_gzip))
