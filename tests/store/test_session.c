/* SPDX-License-Identifier: Apache-2.0
 * test_session.c - conversation memory: appended once, read within limits,
 * forked, undone, searched, removed. */
#include "store/session.h"

#include "folder.h"

#define USER(text) CSN_STR("{\"role\":\"user\",\"content\":\"" text "\"}")
#define CALL(id) CSN_STR("{\"type\":\"function_call\",\"call_id\":\"" id "\",\"name\":\"t\"}")
#define OUTPUT(id)                                                                                 \
  CSN_STR("{\"type\":\"function_call_output\",\"call_id\":\"" id "\",\"output\":\"o\"}")
#define SAID(text)                                                                                 \
  CSN_STR("{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\","   \
          "\"text\":\"" text "\"}]}")

static const csn_str first[] = {USER("one"), CALL("a"), OUTPUT("a"), SAID("first answer")};
static const csn_str second[] = {USER("two"), SAID("second answer")};

static csn_store *
with_two_runs(const folder *f)
{
  csn_err err;
  csn_store *s = store_in(f);
  assert_int_equal(csn_session_append(s, CSN_STR("a"), CSN_STR("r1"), first, 4, &err), 1);
  assert_int_equal(csn_session_append(s, CSN_STR("a"), CSN_STR("r2"), second, 2, &err), 1);
  return s;
}

static int
take(void *user, int64_t n, csn_str item)
{
  csn_buf *b = user;
  const char *from = strstr(item.p, "\"content\":\"");
  if (b->n)
    csn_buf_addc(b, ' ');
  csn_buf_addf(b, "%lld%s", (long long)n, from ? "u" : "");
  return 0;
}

static void
reads(csn_store *s, const char *name, int64_t items, int64_t tokens, const char *want)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1000);
  csn_err err;
  OK(csn_session_read(s, csn_cstr(name), items, tokens, take, &b, &err), &err);
  assert_string_equal(b.p ? b.p : "", want);
}

TEST(what_a_run_appends_is_read_in_order_and_only_once)
{
  folder f = folder_new();
  csn_err err;
  csn_store *s = with_two_runs(&f);
  reads(s, "a", 0, 0, "0u 1 2 3 4u 5");
  assert_int_equal(csn_session_append(s, CSN_STR("a"), CSN_STR("r1"), first, 4, &err), 0);
  reads(s, "a", 0, 0, "0u 1 2 3 4u 5");
  reads(s, "nobody", 0, 0, "");
  csn_store_close(s);
  s = store_in(&f);
  reads(s, "a", 0, 0, "0u 1 2 3 4u 5");
  csn_store_close(s);
  folder_free(&f);
}

TEST(a_session_that_was_never_written_is_empty_and_leaves_no_tables)
{
  folder f = folder_new();
  csn_store *s = store_in(&f);
  csn_err err;
  reads(s, "a", 0, 0, "");
  assert_int_equal(csn_session_undo(s, CSN_STR("a"), &err), CSN_E_NOT_FOUND);
  assert_int_equal(csn_session_remove(s, CSN_STR("a"), &err), CSN_E_NOT_FOUND);
  assert_int_equal(sql(&f, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'session%'"), 0);
  csn_store_close(s);
  folder_free(&f);
}

TEST(limits_cut_at_a_message_of_the_user)
{
  static const struct {
    int64_t items, tokens;
    const char *want;
  } rows[] = {
      {6, 0, "0u 1 2 3 4u 5"},    {5, 0, "4u 5"},  {2, 0, "4u 5"}, {1, 0, ""},
      {0, 1000, "0u 1 2 3 4u 5"}, {0, 40, "4u 5"}, {0, 5, ""},
  };
  folder f = folder_new();
  csn_store *s = with_two_runs(&f);
  for (size_t i = 0; i < CSN_COUNT(rows); i++)
    reads(s, "a", rows[i].items, rows[i].tokens, rows[i].want);
  csn_store_close(s);
  folder_free(&f);
}

TEST(a_fork_goes_its_own_way)
{
  folder f = folder_new();
  csn_err err;
  csn_store *s = with_two_runs(&f);
  OK(csn_session_fork(s, CSN_STR("a"), CSN_STR("b"), 4, &err), &err);
  OK(csn_session_fork(s, CSN_STR("a"), CSN_STR("c"), -1, &err), &err);
  assert_int_equal(csn_session_fork(s, CSN_STR("a"), CSN_STR("c"), -1, &err), CSN_E_EXISTS);
  assert_int_equal(csn_session_fork(s, CSN_STR("a"), CSN_STR("d"), 7, &err), CSN_E_INVALID);
  assert_int_equal(csn_session_fork(s, CSN_STR("x"), CSN_STR("d"), 7, &err), CSN_E_NOT_FOUND);
  /* The same run may go on in the fork. */
  assert_int_equal(csn_session_append(s, CSN_STR("b"), CSN_STR("r1"), second, 2, &err), 1);
  reads(s, "b", 0, 0, "0u 1 2 3 4u 5");
  reads(s, "c", 0, 0, "0u 1 2 3 4u 5");
  assert_int_equal(csn_session_undo(s, CSN_STR("c"), &err), 2);
  reads(s, "c", 0, 0, "0u 1 2 3");
  reads(s, "a", 0, 0, "0u 1 2 3 4u 5");
  csn_store_close(s);
  folder_free(&f);
}

TEST(undo_takes_the_last_turn_back)
{
  folder f = folder_new();
  csn_err err;
  csn_store *s = with_two_runs(&f);
  assert_int_equal(csn_session_undo(s, CSN_STR("a"), &err), 2);
  reads(s, "a", 0, 0, "0u 1 2 3");
  assert_int_equal(csn_session_undo(s, CSN_STR("a"), &err), 4);
  assert_int_equal(csn_session_undo(s, CSN_STR("a"), &err), 0);
  assert_int_equal(csn_session_append(s, CSN_STR("a"), CSN_STR("r3"), second, 2, &err), 1);
  reads(s, "a", 0, 0, "0u 1");
  csn_store_close(s);
  folder_free(&f);
}

static int
take_hit(void *user, const csn_session_hit *h)
{
  csn_buf *b = user;
  csn_buf_addf(b, "%.*s:%lld ", (int)h->session.n, h->session.p, (long long)h->n);
  return 0;
}

static void
finds(csn_store *s, const char *words, const char *want)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1000);
  csn_err err;
  OK(csn_session_search(s, csn_cstr(words), take_hit, &b, &err), &err);
  assert_string_equal(b.p ? b.p : "", want);
}

TEST(search_finds_words_and_takes_none_for_an_operator)
{
  folder f = folder_new();
  csn_err err;
  csn_store *s = with_two_runs(&f);
  finds(s, "second", "a:5 ");
  finds(s, "ANSWER first", "a:3 ");
  finds(s, "nothing", "");
  finds(s, "second OR first", "");
  finds(s, "\"second", "a:5 ");
  finds(s, "two*", "a:4 ");
  finds(s, "text:two", "");
  OK(csn_session_remove(s, CSN_STR("a"), &err), &err);
  finds(s, "second", "");
  assert_int_equal(sql(&f, "SELECT (SELECT count(*) FROM session_items) + (SELECT count(*) FROM "
                           "session_runs) + (SELECT count(*) FROM sessions)"),
                   0);
  csn_store_close(s);
  folder_free(&f);
}

TEST(names_are_checked)
{
  static const struct {
    const char *name;
    int rc;
  } rows[] = {{"a", 0},
              {"team/x.y:z@1_-", 0},
              {"", CSN_E_INVALID},
              {"a b", CSN_E_INVALID},
              {"a\n", CSN_E_INVALID},
              {"\xc3\xbc", CSN_E_INVALID},
              {"'", CSN_E_INVALID}};
  csn_err err;
  for (size_t i = 0; i < CSN_COUNT(rows); i++)
    assert_int_equal(csn_session_check(csn_cstr(rows[i].name), &err), rows[i].rc);
}

RUN_TESTS("store/session", RUN(what_a_run_appends_is_read_in_order_and_only_once),
          RUN(a_session_that_was_never_written_is_empty_and_leaves_no_tables),
          RUN(limits_cut_at_a_message_of_the_user), RUN(a_fork_goes_its_own_way),
          RUN(undo_takes_the_last_turn_back),
          RUN(search_finds_words_and_takes_none_for_an_operator), RUN(names_are_checked))
