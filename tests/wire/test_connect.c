/* SPDX-License-Identifier: Apache-2.0
 * Each stream is fed whole, byte by byte and cut at every single point; the
 * messages must be the same. */
#include "wire/connect.h"

#include "check.h"

struct log {
  csn_buf text;
  int stop_after; /* messages; 0: never */
};

static int
note_message(void *user, csn_str message, bool is_last)
{
  struct log *l = user;
  csn_buf_addf(&l->text, "<%.*s>%s", (int)message.n, message.p ? message.p : "",
               is_last ? "." : "");
  return l->stop_after && --l->stop_after == 0 ? CSN_E_MODEL : 0;
}

#define M(flags, n, text) flags "\0\0\0" n text

static const struct row {
  csn_str stream;
  const char *messages;
  int rc;
} rows[] = {
    {CSN_STR_INIT(""), "", 0},
    {CSN_STR_INIT(M("\0", "\2", "{}")), "<{}>", 0},
    {CSN_STR_INIT(M("\0", "\3", "abc") M("\0", "\1", "d") M("\2", "\2", "{}")), "<abc><d><{}>.", 0},
    {CSN_STR_INIT(M("\0", "\0", "") M("\2", "\0", "")), "<><>.", 0},
    {CSN_STR_INIT(M("\0", "\5", "cut")), "", 0},
    {CSN_STR_INIT("\0\0\0"), "", 0},
    {CSN_STR_INIT(M("\2", "\2", "{}") "x"), "<{}>.", CSN_E_PARSE},
    {CSN_STR_INIT(M("\1", "\1", "z")), "", CSN_E_PARSE},
    {CSN_STR_INIT(M("\200", "\1", "z")), "", CSN_E_PARSE},
    {CSN_STR_INIT("\0\0\0\0\145"), "", CSN_E_LIMIT}, /* 101 bytes */
    {CSN_STR_INIT("\0\377\377\377\377x"), "", CSN_E_LIMIT},
};

static void
feed_cut(const struct row *r, size_t at, bool by_byte)
{
  struct log l = {.text = CSN_BUF(1000)};
  csn_connect c;
  csn_err err;
  csn_str s = r->stream;
  int rc = 0;
  csn_connect_init(&c, 100, note_message, &l);
  for (size_t i = 0; by_byte && rc == 0 && i < s.n; i++)
    rc = csn_connect_feed(&c, csn_strn(s.p + i, 1), &err);
  if (!by_byte)
    rc = csn_connect_feed(&c, csn_strn(s.p, at), &err);
  if (!by_byte && rc == 0)
    rc = csn_connect_feed(&c, csn_strn(s.p + at, s.n - at), &err);
  if (rc != r->rc)
    fail_msg("row %zd cut at %zu: %d instead of %d", r - rows, at, rc, r->rc);
  STR_EQ(csn_buf_str(&l.text), r->messages);
  csn_buf_fini(&l.text);
  csn_connect_fini(&c);
}

TEST(messages_are_the_same_however_the_bytes_are_cut)
{
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    feed_cut(&rows[i], 0, true);
    for (size_t at = 0; at <= rows[i].stream.n; at++)
      feed_cut(&rows[i], at, false);
  }
}

TEST(what_is_written_is_read_back)
{
  struct log l = {.text = CSN_BUF(1000)};
  csn_connect c;
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
  csn_connect_write(&out, CSN_STR("{\"a\":1}"));
  csn_connect_write(&out, CSN_STR(""));
  csn_connect_init(&c, 100, note_message, &l);
  OK(csn_connect_feed(&c, csn_buf_str(&out), &err), &err);
  STR_EQ(csn_buf_str(&l.text), "<{\"a\":1}><>");
  csn_connect_fini(&c);
  csn_buf_fini(&l.text);
}

TEST(who_gets_a_message_can_end_it)
{
  struct log l = {.text = CSN_BUF(1000), .stop_after = 2};
  csn_connect c;
  csn_connect_init(&c, 100, note_message, &l);
  csn_str s = CSN_STR(M("\0", "\1", "a") M("\0", "\1", "b") M("\0", "\1", "c"));
  assert_int_equal(csn_connect_feed(&c, s, NULL), CSN_E_MODEL);
  STR_EQ(csn_buf_str(&l.text), "<a><b>");
  csn_connect_fini(&c);
  csn_buf_fini(&l.text);
}

TEST(an_error_gets_our_code_and_its_own_words)
{
  static const struct {
    const char *json;
    int status;
    enum csn_code code;
    const char *text;
  } errors[] = {
      {"{\"code\":\"not_found\",\"message\":\"no pid 7\"}", 200, CSN_E_NOT_FOUND, "no pid 7"},
      {"{\"code\":\"already_exists\"}", 409, CSN_E_EXISTS, "already_exists"},
      {"{\"code\":\"resource_exhausted\",\"message\":\"x\"}", 429, CSN_E_UNAVAILABLE, "x"},
      {"{\"code\":\"of_their_own\",\"message\":\"x\"}", 503, CSN_E_UNAVAILABLE, "x"},
      {"{\"code\":401,\"message\":\"bad key\"}", 401, CSN_E_DENIED, "bad key"},
      {"{\"code\":500,\"message\":\"a\\u001b[2Jb\\nc\"}", 500, CSN_E_UNAVAILABLE, "a [2Jb c"},
      {"[]", 507, CSN_E_LIMIT, "no reason given"},
      {"{\"message\":{}}", 418, CSN_E_IO, "no reason given"},
  };
  for (size_t i = 0; i < CSN_COUNT(errors); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    const csn_json *v = NULL;
    csn_err err;
    OK(csn_json_parse(a, csn_cstr(errors[i].json), &v, &err), &err);
    assert_int_equal(csn_connect_fail(&err, errors[i].status, v), errors[i].code);
    assert_int_equal(err.code, errors[i].code);
    assert_int_equal(err.http_status, errors[i].status);
    assert_string_equal(err.msg, errors[i].text);
  }
  assert_int_equal(csn_connect_fail(NULL, 404, NULL), CSN_E_NOT_FOUND);
}

RUN_TESTS("wire/connect", RUN(messages_are_the_same_however_the_bytes_are_cut),
          RUN(what_is_written_is_read_back), RUN(who_gets_a_message_can_end_it),
          RUN(an_error_gets_our_code_and_its_own_words))
