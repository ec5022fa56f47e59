/* SPDX-License-Identifier: Apache-2.0
 * test_netlog.c - how much is kept of many connections. */
#include "tests/check.h"

#include "run/netlog.h"

struct heard {
  csn_buf text; /* a line each */
  size_t n;
};

static void
hear(void *user, csn_str json)
{
  struct heard *h = user;
  csn_buf_add(&h->text, json);
  csn_buf_addc(&h->text, '\n');
  h->n++;
}

#define REFUSED "{\"at\":\"connection\",\"host\":\"evil.test\",\"verdict\":\"refused\"}"
#define ALLOWED                                                                                    \
  "{\"at\":\"connection\",\"host\":\"a.test\",\"verdict\":\"allowed\",\"up\":2,\"down\":3,\"ms\":" \
  "1}"

TEST(refusals_that_are_alike_are_told_ever_more_rarely)
{
  struct heard h = {.text = CSN_BUF(1 << 20)};
  csn_auto(csn_netlog_freep) csn_netlog *l = csn_netlog_new(hear, &h);
  for (int i = 0; i < 1000; i++)
    csn_netlog_add(l, CSN_STR(REFUSED));
  assert_int_equal(h.n, 10); /* 1, 2, 4 ... 512 */
  csn_netlog_flush(l);
  csn_netlog_flush(l);
  assert_int_equal(h.n, 11);
  const char *first = "{\"at\":\"connection\",\"host\":\"evil.test\",\"verdict\":\"refused\"}\n";
  assert_memory_equal(h.text.p, first, strlen(first));
  csn_str all = csn_buf_str(&h.text);
  assert_true(csn_str_ends(all, CSN_STR("\"verdict\":\"refused\",\"count\":488}\n")));
  csn_buf_fini(&h.text);
}

TEST(connections_are_told_one_by_one_until_they_are_many)
{
  struct heard h = {.text = CSN_BUF(1 << 20)};
  csn_auto(csn_netlog_freep) csn_netlog *l = csn_netlog_new(hear, &h);
  for (int i = 0; i < 200; i++)
    csn_netlog_add(l, CSN_STR(ALLOWED));
  csn_netlog_flush(l);
  assert_int_equal(h.n, 64 + 1 + 1); /* and at 128, and the rest */
  csn_str all = csn_buf_str(&h.text);
  assert_true(csn_str_ends(all, CSN_STR("\"up\":144,\"down\":216,\"ms\":72,\"count\":72}\n")));
  csn_buf_fini(&h.text);
}

TEST(counts_of_the_process_count)
{
  struct heard h = {.text = CSN_BUF(1 << 20)};
  csn_auto(csn_netlog_freep) csn_netlog *l = csn_netlog_new(hear, &h);
  csn_netlog_add(l, CSN_STR(REFUSED));
  csn_netlog_add(l, CSN_STR("{\"at\":\"connection\",\"host\":\"evil.test\",\"verdict\":\"refused\","
                            "\"count\":41}"));
  assert_int_equal(h.n, 2);
  assert_true(csn_str_ends(csn_buf_str(&h.text), CSN_STR("\"count\":41}\n")));
  csn_buf_fini(&h.text);
}

TEST(a_thousand_different_hosts_take_no_more_room_than_the_table)
{
  struct heard h = {.text = CSN_BUF(1 << 20)};
  csn_auto(csn_netlog_freep) csn_netlog *l = csn_netlog_new(hear, &h);
  for (int i = 0; i < 100000; i++) {
    char text[200];
    int n = snprintf(text, sizeof text, "{\"host\":\"%d.test\",\"verdict\":\"refused\"}", i);
    csn_netlog_add(l, csn_strn(text, (size_t)n));
  }
  csn_netlog_flush(l);
  assert_true(h.n < 300);
  csn_buf_fini(&h.text);
}

TEST(what_is_no_event_is_dropped)
{
  struct heard h = {.text = CSN_BUF(1 << 20)};
  csn_auto(csn_netlog_freep) csn_netlog *l = csn_netlog_new(hear, &h);
  csn_netlog_add(l, CSN_STR(""));
  csn_netlog_add(l, CSN_STR("{"));
  csn_netlog_add(l, CSN_STR("[1]"));
  csn_netlog_flush(l);
  assert_int_equal(h.n, 0);
  csn_buf_fini(&h.text);
}

RUN_TESTS("run/netlog", RUN(refusals_that_are_alike_are_told_ever_more_rarely),
          RUN(connections_are_told_one_by_one_until_they_are_many),
          RUN(counts_of_the_process_count),
          RUN(a_thousand_different_hosts_take_no_more_room_than_the_table),
          RUN(what_is_no_event_is_dropped))
