/* SPDX-License-Identifier: Apache-2.0
 * WebSocket frames: fed whole and at every split; what no server may send. */
#include "wire/ws.h"

#include "check.h"

struct log {
  csn_buf text;
  int stop_after;
};

static int
note(void *user, enum csn_ws_op op, csn_str data)
{
  struct log *l = user;
  csn_buf_addf(&l->text, "<%d|%.*s>", (int)op, (int)(data.n < 50 ? data.n : 50),
               data.p ? data.p : "");
  if (data.n >= 50)
    csn_buf_addf(&l->text, "(%zu)", data.n);
  return l->stop_after && --l->stop_after == 0 ? CSN_E_MODEL : 0;
}

static int
feed(csn_str in, size_t cut, csn_buf *out, csn_err *err)
{
  struct log l = {.text = *out};
  csn_ws w;
  csn_ws_init(&w, 1 << 20, note, &l);
  int rc = csn_ws_feed(&w, csn_strn(in.p, cut), err);
  if (rc == 0)
    rc = csn_ws_feed(&w, csn_strn(in.p + cut, in.n - cut), err);
  csn_ws_fini(&w);
  *out = l.text;
  return rc;
}

#define S(lit) CSN_STR_INIT(lit)

TEST(the_same_messages_come_out_however_they_are_cut)
{
  static const struct {
    csn_str in;
    const char *out;
  } rows[] = {
      {S("\x81\x05Hello"), "<1|Hello>"},
      {S("\x81\x00"), "<1|>"},
      {S("\x01\x03Hel\x80\x02lo"), "<1|Hello>"},
      {S("\x01\x03Hel\x89\x01p\x00\x01l\x8a\x00\x80\x01o\x81\x01x"), "<9|p><10|><1|Hello><1|x>"},
      {S("\x01\x00\x80\x00"), "<1|>"},
      {S("\x82\x02\xff\x01"), "<2|\xff\x01>"},
      {S("\x01\x01\xe2\x80\x02\x9c\x93"), "<1|\xe2\x9c\x93>"},
      {S("\x88\x02\x03\xe8"), "<8|\x03\xe8>"},
      {S("\x88\x00\x81\x01x"), "<8|>"}, /* nothing comes after a close */
      {S("\x81"), ""},
      {S("\x81\x02x"), ""},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++)
    for (size_t cut = 0; cut <= rows[i].in.n; cut++) {
      csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 20);
      csn_err err;
      OK(feed(rows[i].in, cut, &out, &err), &err);
      if (strcmp(out.p ? out.p : "", rows[i].out) != 0)
        fail_msg("row %zu cut at %zu: %s", i, cut, out.p);
    }
}

TEST(long_messages_have_long_lengths)
{
  static const size_t sizes[] = {125, 126, 127, 65535, 65536, 70000};
  for (size_t i = 0; i < CSN_COUNT(sizes); i++) {
    csn_auto(csn_buf_finip) csn_buf in = CSN_BUF(1 << 20), out = CSN_BUF(1 << 20);
    size_t n = sizes[i];
    csn_err err;
    csn_buf_addc(&in, '\x81');
    csn_buf_addc(&in, (char)(n < 126 ? n : n < 65536 ? 126 : 127));
    for (int k = n < 126 ? -1 : n < 65536 ? 1 : 7; k >= 0; k--)
      csn_buf_addc(&in, (char)((uint64_t)n >> (8 * k)));
    for (size_t k = 0; k < n; k++)
      csn_buf_addc(&in, 'x');
    for (size_t cut = 0; cut < 20; cut++) {
      csn_buf_clear(&out);
      OK(feed(csn_buf_str(&in), cut, &out, &err), &err);
      char tail[30];
      snprintf(tail, sizeof tail, ">(%zu)", n);
      assert_true(csn_str_ends(csn_buf_str(&out), csn_cstr(tail)));
    }
  }
}

TEST(what_no_server_may_send_is_refused)
{
  static const struct {
    csn_str in;
    int rc;
  } rows[] = {
      {S("\xc1\x01x"), CSN_E_PARSE},                    /* an extension's bit */
      {S("\x81\x85\x01\x02\x03\x04x"), CSN_E_PARSE},    /* masked */
      {S("\x83\x00"), CSN_E_PARSE},                     /* unknown */
      {S("\x8b\x00"), CSN_E_PARSE},                     /* unknown control */
      {S("\x80\x01x"), CSN_E_PARSE},                    /* goes on with nothing */
      {S("\x01\x01x\x81\x01y"), CSN_E_PARSE},           /* begins inside */
      {S("\x09\x01x"), CSN_E_PARSE},                    /* a ping in fragments */
      {S("\x89\x7e\x00\x7e"), CSN_E_PARSE},             /* a long ping */
      {S("\x88\x01x"), CSN_E_PARSE},                    /* half a code */
      {S("\x81\x02\xff\xff"), CSN_E_PARSE},             /* no UTF-8 */
      {S("\x81\x7e\x00\x05Hello"), CSN_E_PARSE},        /* a length that is longer than need be */
      {S("\x81\x7f\0\0\0\0\0\0\xff\xff"), CSN_E_PARSE}, /* the same */
      {S("\x81\x7f\x80\0\0\0\0\0\0\0"), CSN_E_PARSE},   /* its highest bit */
      {S("\x81\x7f\0\0\0\0\0\x10\0\x01"), CSN_E_LIMIT}, /* one more than a megabyte */
      {S("\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), CSN_E_LIMIT},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++)
    for (size_t cut = 0; cut <= rows[i].in.n; cut++) {
      csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 20);
      csn_err err;
      if (feed(rows[i].in, cut, &out, &err) != rows[i].rc)
        fail_msg("row %zu cut at %zu", i, cut);
    }
}

TEST(fragments_together_are_no_larger_than_the_cap)
{
  csn_auto(csn_buf_finip) csn_buf in = CSN_BUF(4 << 20), out = CSN_BUF(1 << 20);
  csn_err err;
  for (int i = 0; i < 33; i++) {
    csn_buf_add(&in, i ? CSN_STR("\x00\x7e\x80\x00") : CSN_STR("\x01\x7e\x80\x00"));
    for (int k = 0; k < 32768; k++)
      csn_buf_addc(&in, 'x');
  }
  assert_int_equal(feed(csn_buf_str(&in), 0, &out, &err), CSN_E_LIMIT);
}

TEST(frames_are_written_as_the_standard_shows)
{
  static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1 << 20), big = CSN_BUF(1 << 20);
  csn_ws_write(&out, CSN_WS_TEXT, CSN_STR("Hello"), mask);
  assert_int_equal(out.n, 11);
  assert_memory_equal(out.p, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
  for (int i = 0; i < 70000; i++)
    csn_buf_addc(&big, 'x');
  csn_buf_clear(&out);
  csn_ws_write(&out, CSN_WS_TEXT, csn_strn(big.p, 300), mask);
  assert_memory_equal(out.p, "\x81\xfe\x01\x2c\x37\xfa\x21\x3d\x4f", 9);
  csn_buf_clear(&out);
  csn_ws_write(&out, CSN_WS_TEXT, csn_buf_str(&big), mask);
  assert_memory_equal(out.p, "\x81\xff\0\0\0\0\0\x01\x11\x70\x37\xfa\x21\x3d\x4f", 15);
  assert_int_equal(out.n, 70014);
}

TEST(the_handshake_is_that_of_the_standard)
{
  char key[CSN_WS_KEY], accept[CSN_WS_ACCEPT];
  csn_ws_key((const unsigned char *)"the sample nonce", key);
  assert_string_equal(key, "dGhlIHNhbXBsZSBub25jZQ==");
  csn_ws_accept(key, accept);
  assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(who_takes_the_messages_can_end_it)
{
  struct log l = {.text = CSN_BUF(1000), .stop_after = 1};
  csn_ws w;
  csn_err err;
  csn_ws_init(&w, 1000, note, &l);
  assert_int_equal(csn_ws_feed(&w, CSN_STR("\x81\x01x\x81\x01y"), &err), CSN_E_MODEL);
  assert_string_equal(l.text.p, "<1|x>");
  csn_ws_fini(&w);
  csn_buf_fini(&l.text);
}

RUN_TESTS("wire/ws", RUN(the_same_messages_come_out_however_they_are_cut),
          RUN(long_messages_have_long_lengths), RUN(what_no_server_may_send_is_refused),
          RUN(fragments_together_are_no_larger_than_the_cap),
          RUN(frames_are_written_as_the_standard_shows), RUN(the_handshake_is_that_of_the_standard),
          RUN(who_takes_the_messages_can_end_it))
