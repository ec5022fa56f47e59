/* SPDX-License-Identifier: Apache-2.0
 * Each stream is fed whole, byte by byte and cut at every single point; the
 * events must be the same. */
#include "wire/sse.h"

#include "check.h"

struct log {
  csn_buf text;
  int stop_after; /* events; 0: never */
};

static int
note_event(void *user, csn_str event, csn_str data)
{
  struct log *l = user;
  csn_buf_addf(&l->text, "<%.*s|%.*s>", (int)event.n, event.p ? event.p : "", (int)data.n, data.p);
  if (l->stop_after && --l->stop_after == 0)
    return CSN_E_MODEL;
  return 0;
}

struct row {
  const char *stream, *events;
};

static const struct row rows[] = {
    {"data: a\n\n", "<|a>"},
    {"data: a\r\n\r\n", "<|a>"},
    {"data: a\r\rdata: b\r\r", "<|a><|b>"},
    {"data: 1\r\ndata: 2\r\nevent: e\r\n\r\n", "<e|1\n2>"},
    {"\xef\xbb\xbf"
     "data: a\n\n\xef\xbb\xbf"
     "data: b\n\n",
     "<|a>"},
    {"event: x\ndata: 1\ndata: 2\ndata\ndata:\n\n", "<x|1\n2\n\n>"},
    {": a comment\nid: 7\nretry: 9\nother: z\nevent: y\n\ndata:no blank\n\n", "<|no blank>"},
    {"data:  two blanks\n\nevent: only\n\ndata: z\n\n", "<| two blanks><|z>"},
    {"event: a\nevent: b\ndata: x: y\r\n\n\n\r\r\ndata:\n\n", "<b|x: y><|>"},
    {"data: never ended\n", ""},
    {"data: never ended", ""},
    {"\n\r\n\rdata: [DONE]\n\r", "<|[DONE]>"},
    {"", ""},
};

static void
feed_cut(const struct row *r, size_t at, bool by_byte)
{
  struct log l = {.text = CSN_BUF(1000)};
  csn_sse s;
  csn_err err;
  csn_str bytes = csn_cstr(r->stream);
  csn_sse_init(&s, 100, note_event, &l);
  if (by_byte) {
    for (size_t i = 0; i < bytes.n; i++)
      OK(csn_sse_feed(&s, csn_strn(bytes.p + i, 1), &err), &err);
  } else {
    OK(csn_sse_feed(&s, csn_strn(bytes.p, at), &err), &err);
    OK(csn_sse_feed(&s, csn_strn(bytes.p + at, bytes.n - at), &err), &err);
  }
  STR_EQ(csn_buf_str(&l.text), r->events);
  csn_sse_fini(&s);
  csn_buf_fini(&l.text);
}

TEST(the_events_are_the_same_however_the_bytes_are_cut)
{
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    feed_cut(&rows[i], 0, true);
    for (size_t at = 0; at <= strlen(rows[i].stream); at++)
      feed_cut(&rows[i], at, false);
  }
}

TEST(what_passes_the_cap_is_refused_however_it_is_cut)
{
  static const char *const streams[] = {
      "data: 0123456789\n\n",                /* one line */
      "data: 01234\ndata: 56789\n\n",        /* one event of two lines */
      "event: 012345678901\ndata: x\n\n",    /* a name */
      ": 0123456789012345678901234567890\n", /* a comment */
      "data: 01234567890123456789012345678", /* a line that does not end */
  };
  for (size_t i = 0; i < CSN_COUNT(streams); i++) {
    csn_str bytes = csn_cstr(streams[i]);
    for (size_t at = 0; at <= bytes.n; at++) {
      struct log l = {.text = CSN_BUF(1000)};
      csn_sse s;
      csn_err err;
      csn_sse_init(&s, 9, note_event, &l);
      int rc = csn_sse_feed(&s, csn_strn(bytes.p, at), &err);
      if (rc == 0)
        rc = csn_sse_feed(&s, csn_strn(bytes.p + at, bytes.n - at), &err);
      assert_int_equal(rc, CSN_E_LIMIT);
      assert_int_equal(l.text.n, 0);
      csn_sse_fini(&s);
      csn_buf_fini(&l.text);
    }
  }
}

TEST(a_negative_answer_to_an_event_ends_the_feed)
{
  struct log l = {.text = CSN_BUF(1000), .stop_after = 2};
  csn_sse s;
  csn_sse_init(&s, 100, note_event, &l);
  assert_int_equal(csn_sse_feed(&s, CSN_STR("data: 1\n\ndata: 2\n\ndata: 3\n\n"), NULL),
                   CSN_E_MODEL);
  STR_EQ(csn_buf_str(&l.text), "<|1><|2>");
  csn_sse_fini(&s);
  csn_buf_fini(&l.text);
}

RUN_TESTS("wire/sse", RUN(the_events_are_the_same_however_the_bytes_are_cut),
          RUN(what_passes_the_cap_is_refused_however_it_is_cut),
          RUN(a_negative_answer_to_an_event_ends_the_feed))
