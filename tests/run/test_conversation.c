/* SPDX-License-Identifier: Apache-2.0
 *
 * Kept conversations from C: looked at, changed and summed up where they are
 * kept, and what of them is not to be trusted. */
#include "bench.h"
#include "caisson/session.h"

#define USER(text) "{\"role\":\"user\",\"content\":\"" text "\"}"
#define SAID(text)                                                                                 \
  "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":"  \
  "\"" text "\"}]}"
#define CALL(id)                                                                                   \
  "{\"type\":\"function_call\",\"call_id\":\"" id "\",\"name\":\"t\",\"arguments\":\"{}\"}"
#define OUTPUT(id, text)                                                                           \
  "{\"type\":\"function_call_output\",\"call_id\":\"" id "\",\"output\":\"" text "\"}"
#define TURN(id, text) CALL(id) "," OUTPUT(id, text)

struct seen {
  csn_buf text; /* "N json !why\n" of each */
  int64_t n;
};

static int
see(void *user, const csn_conversation_item *it)
{
  struct seen *s = user;
  s->n++;
  csn_buf_addf(&s->text, "%lld %.*s%s%.*s\n", (long long)it->n, (int)it->json.n, it->json.p,
               it->untrusted.n ? " !" : "", (int)it->untrusted.n, it->untrusted.p);
  return 0;
}

static void
reads(csn_conversation *c, int64_t items, const char *want)
{
  csn_err err;
  struct seen s = {.text = CSN_BUF(1 << 20)};
  OK(csn_conversation_items(c, items, 0, see, &s, &err), &err);
  STR_EQ(csn_strn(s.text.n ? s.text.p : "", s.text.n), want);
  csn_buf_fini(&s.text);
}

static bool
holds(csn_conversation *c, const char *text)
{
  csn_err err;
  struct seen s = {.text = CSN_BUF(1 << 20)};
  OK(csn_conversation_items(c, 0, 0, see, &s, &err), &err);
  bool yes = csn_str_find(csn_buf_str(&s.text), csn_cstr(text), 0) != SIZE_MAX;
  csn_buf_fini(&s.text);
  return yes;
}

static bool
ends(csn_conversation *c, const char *text)
{
  csn_err err;
  struct seen s = {.text = CSN_BUF(1 << 20)};
  OK(csn_conversation_items(c, 0, 0, see, &s, &err), &err);
  bool yes = csn_str_ends(csn_buf_str(&s.text), csn_cstr(text));
  csn_buf_fini(&s.text);
  return yes;
}

static csn_conversation *
open_one(struct bench *b, const char *name)
{
  csn_err err;
  csn_conversation *c = NULL;
  OK(csn_conversation_open(b->rt, name, &c, &err), &err);
  return c;
}

static int
count_row(void *user, const csn_conversation_row *r)
{
  csn_buf_addf(user, "%.*s:%lld:%.*s ", (int)r->name.n, r->name.p, (long long)r->items,
               (int)r->parent.n, r->parent.p);
  return 0;
}

static int
count_hit(void *user, const csn_conversation_hit *h)
{
  csn_buf_addf(user, "%.*s:%lld ", (int)h->name.n, h->name.p, (long long)h->n);
  return 0;
}

TEST(a_conversation_is_read_added_to_popped_branched_searched_and_cleared)
{
  struct bench b;
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf rows = CSN_BUF(1000), hits = CSN_BUF(1000);
  bench_init(&b, "rules: []\n");
  csn_conversation *c = NULL;
  assert_int_equal(csn_conversation_open(b.rt, "no name", &c, &err), CSN_E_INVALID);
  c = open_one(&b, "a");
  reads(c, 0, "");
  assert_int_equal(csn_conversation_pop(c, &err), 0);
  assert_int_equal(csn_conversation_clear(c, &err), 0);
  assert_int_equal(csn_conversation_branch(c, "b", -1, &err), CSN_E_NOT_FOUND);
  assert_int_equal(csn_conversation_add(c, CSN_STR("[" CALL("x") "]"), NULL, &err), CSN_E_INVALID);
  assert_int_equal(csn_conversation_add(c, CSN_STR("[" USER("x") "]"), "because", &err),
                   CSN_E_INVALID);
  OK(csn_conversation_add(c, CSN_STR("[" USER("one") "," SAID("apples") "]"), NULL, &err), &err);
  OK(csn_conversation_add(c, CSN_STR("[" USER("two") "]"), "web", &err), &err);
  reads(c, 0, "0 " USER("one") "\n1 " SAID("apples") "\n2 " USER("two") " !web\n");
  reads(c, 1, "2 " USER("two") " !web\n");
  assert_int_equal(csn_conversation_branch(c, "b", 2, &err), 0);
  assert_int_equal(csn_conversation_branch(c, "b", 2, &err), CSN_E_EXISTS);
  assert_int_equal(csn_conversation_pop(c, &err), 1);
  reads(c, 0, "0 " USER("one") "\n1 " SAID("apples") "\n");
  OK(csn_conversation_search(b.rt, CSN_STR("apples"), count_hit, &hits, &err), &err);
  assert_true(csn_str_find(csn_buf_str(&hits), CSN_STR("a:1 "), 0) != SIZE_MAX);
  assert_true(csn_str_find(csn_buf_str(&hits), CSN_STR("b:1 "), 0) != SIZE_MAX);
  assert_int_equal(csn_conversation_clear(c, &err), 1);
  OK(csn_conversation_list(b.rt, count_row, &rows, &err), &err);
  STR_EQ(csn_buf_str(&rows), "b:2:a ");
  csn_conversation_close(c);
  bench_fini(&b);
}

/* ---- labels ---- */

static csn_run_options
in_session(struct bench *b)
{
  return (csn_run_options){.listener = bench_listen, .user = b, .session = "s"};
}

static csn_result
say(struct bench *b, const char *text, csn_run **r)
{
  csn_err err;
  csn_run_options o = in_session(b);
  csn_buf_clear(&b->events);
  OK(csn_run_start(b->rt, b->agent, csn_cstr(text), &o, r, &err), &err);
  return bench_await(b, *r);
}

TEST(what_came_from_an_untrusted_tool_is_not_trusted_by_the_next_run_either)
{
  struct bench b;
  csn_run *r;
  bench_init(&b,
             "rules:\n- {name: call, when: {task: fetch, first: true}, reply: [{count: {x: a}}]}\n"
             "- {name: end, reply: done}\n");
  bench_tool(&b, "count", bench_count);
  bench_set(&b, "untrusted", "{\"tools\":[\"count\"]}");
  STR_EQ(say(&b, "hello", &r).untrusted, "");
  csn_run_free(r);
  csn_conversation *c = open_one(&b, "s");
  assert_false(holds(c, "!tool"));
  STR_EQ(say(&b, "fetch", &r).untrusted, "tool");
  csn_run_free(r);
  assert_true(holds(c, "2 " USER("fetch") "\n")); /* said before anything was seen */
  assert_true(holds(c, "\"output\":\"call 1\"} !tool\n"));
  assert_true(ends(c, " !tool\n"));
  csn_result res = say(&b, "and now", &r);
  STR_EQ(res.untrusted, "tool"); /* from its first model call on */
  assert_true(bench_saw(&b, "\"history\":6,\"untrusted\":\"tool\""));
  assert_false(bench_saw(&b, "caisson_untrusted")); /* the model sees none of it */
  csn_run_free(r);
  assert_true(holds(c, USER("and now") " !tool\n"));
  assert_true(ends(c, " !tool\n"));
  csn_conversation_close(c);
  bench_fini(&b);
}

/* ---- summing up ---- */

#define LONG                                                                                       \
  USER("first")                                                                                    \
  "," TURN("1", "a") "," TURN("2", "b") "," TURN("3", "c") "," TURN("4", "d") "," TURN(            \
      "5", "e") "," SAID("answer")

TEST(a_conversation_is_summed_up_where_it_is_kept)
{
  struct bench b;
  csn_err err;
  bench_init(&b,
             "rules: [{name: sum, when: {task: its beginning has to go}, reply: 'it was long'}]\n");
  csn_conversation *c = open_one(&b, "s");
  csn_compaction o = {.keep_as = "whole", .listener = bench_listen, .user = &b};
  OK(csn_conversation_add(c, CSN_STR("[" USER("x") "," SAID("y") "," USER("z") "]"), NULL, &err),
     &err);
  assert_int_equal(csn_conversation_compact(c, &b.sc, b.agent, &o, &err), 0); /* too little */
  assert_int_equal(csn_conversation_clear(c, &err), 1);

  OK(csn_conversation_add(c, CSN_STR("[" LONG "]"), "web", &err), &err);
  OK(csn_conversation_add(c, CSN_STR("[" USER("last") "," SAID("yes") "]"), NULL, &err), &err);
  assert_int_equal(csn_conversation_compact(c, &b.sc, b.agent, &o, &err), 10);
  struct seen s = {.text = CSN_BUF(1 << 20)};
  OK(csn_conversation_items(c, 0, 0, see, &s, &err), &err);
  assert_int_equal(s.n, 4); /* the task, the summary, the last turn */
  assert_true(holds(c, "0 " USER("first") " !web\n"));
  assert_true(holds(c, "it was long\"} !web\n"));
  assert_true(holds(c, "2 " USER("last") "\n3 " SAID("yes") "\n"));
  csn_buf_fini(&s.text);
  csn_conversation *whole = open_one(&b, "whole");
  assert_true(holds(whole, "13 " SAID("yes")));
  csn_conversation_close(whole);
  assert_int_equal(csn_conversation_compact(c, &b.sc, b.agent, NULL, &err), 0);
  csn_conversation_close(c);
  bench_fini(&b);
}

/* What another process does while the model writes. */
struct meanwhile {
  struct bench *b;
  const char *what;
};

static void
change(void *user, const char *run, const char *type, int64_t seq, csn_str data)
{
  struct meanwhile *m = user;
  csn_err err;
  if (strcmp(type, "finish") != 0)
    return;
  csn_conversation *c = open_one(m->b, "s");
  if (strcmp(m->what, "append") == 0)
    OK(csn_conversation_add(c, CSN_STR("[" USER("late") "]"), NULL, &err), &err);
  for (int i = 0; i < 2 && strcmp(m->what, "pop") == 0; i++)
    assert_true(csn_conversation_pop(c, &err) > 0);
  csn_conversation_close(c);
}

TEST(what_is_appended_meanwhile_stays_and_what_is_taken_back_ends_it)
{
  struct bench b;
  csn_err err;
  bench_init(&b, "rules: [{name: sum, when: {task: its beginning has to go}, reply: short}]\n");
  csn_conversation *c = open_one(&b, "s");
  struct meanwhile m = {&b, "append"};
  csn_compaction o = {.listener = change, .user = &m};
  OK(csn_conversation_add(c, CSN_STR("[" LONG "," USER("last") "]"), NULL, &err), &err);
  assert_int_equal(csn_conversation_compact(c, &b.sc, b.agent, &o, &err), 10);
  assert_true(holds(c, "2 " USER("last") "\n3 " USER("late") "\n"));

  assert_int_equal(csn_conversation_clear(c, &err), 1);
  OK(csn_conversation_add(c, CSN_STR("[" LONG "," USER("last") "]"), NULL, &err), &err);
  m.what = "pop";
  o.at = 3;
  csn_conversation *d = open_one(&b, "s");
  OK(csn_conversation_add(d, CSN_STR("[" USER("more") "]"), NULL, &err), &err);
  assert_int_equal(csn_conversation_compact(c, &b.sc, b.agent, &o, &err), CSN_E_CONFLICT);
  assert_true(holds(c, OUTPUT("5", "e")));
  csn_conversation_close(d);
  csn_conversation_close(c);
  bench_fini(&b);
}

/* What happens to a session of about 3,000 tokens before a run in it. */
static void
tidy_as(const char *session, bool by_run, int want, const char *held)
{
  struct bench b;
  csn_err err;
  csn_result res;
  csn_auto(csn_arena_freep) csn_arena *keep = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  bench_init(&b, "rules: [{name: sum, when: {task: its beginning has to go}, reply: short}, "
                 "{name: any, reply: done}]\n");
  csn_conversation *c = open_one(&b, "s");
  csn_buf_addf(
      &text,
      "name: a\nmodel: script:book.yaml\ncapabilities:\n  - {type: compaction, session: %s}\n",
      session);
  bench_write(&b, "agent.yaml", text.p);
  csn_buf_clear(&text);
  csn_buf_addf(&text, "%s/agent.yaml", b.folder);
  csn_agent_free(csn_steal(b.agent));
  OK(csn_agent_load(&b.agent, text.p, &err), &err);
  csn_buf_clear(&text);
  csn_buf_addz(&text, "[" LONG ",{\"role\":\"assistant\",\"content\":\"");
  for (int i = 0; i < 3000; i++)
    csn_buf_addz(&text, "word ");
  csn_buf_addz(&text, "\"}," USER("last") "," SAID("yes") "]");
  OK(csn_conversation_add(c, csn_buf_str(&text), NULL, &err), &err);
  if (by_run)
    OK(csn_run_once(b.rt, &b.sc, b.agent, CSN_STR("go"), &(csn_run_options){.session = "s"}, keep,
                    &res, &err),
       &err);
  else
    assert_int_equal(csn_conversation_tidy(b.rt, &b.sc, b.agent, "s", NULL, NULL, &err), want);
  assert_true(holds(c, held));
  csn_conversation_close(c);
  bench_fini(&b);
}

TEST(a_session_is_summed_up_before_a_run_where_the_agent_says_so)
{
  static const char whole[] = "13 " USER("last"), less[] = "2 " USER("last");
  tidy_as("false", false, 0, whole);
  tidy_as("true", false, 0, whole); /* a playbook takes anything */
  tidy_as("100000", false, 0, whole);
  tidy_as("100000", true, 0, whole);
  tidy_as("1024", false, 11, less);
  tidy_as("1024", true, 0, less);
}

TEST(without_a_summary_nothing_is_changed)
{
  struct bench b;
  csn_err err;
  bench_init(&b, "rules: [{name: none, when: {task: zebra}, reply: x}]\n");
  csn_conversation *c = open_one(&b, "s");
  OK(csn_conversation_add(c, CSN_STR("[" LONG "," USER("last") "]"), NULL, &err), &err);
  assert_int_equal(csn_conversation_compact(c, &b.sc, b.agent, NULL, &err), CSN_E_MODEL);
  assert_non_null(strstr(err.msg, "ended without a summary (failed)"));
  assert_true(holds(c, "12 " USER("last")));
  csn_conversation_close(c);
  bench_fini(&b);
}

RUN_TESTS("run/conversation",
          RUN(a_conversation_is_read_added_to_popped_branched_searched_and_cleared),
          RUN(what_came_from_an_untrusted_tool_is_not_trusted_by_the_next_run_either),
          RUN(a_conversation_is_summed_up_where_it_is_kept),
          RUN(what_is_appended_meanwhile_stays_and_what_is_taken_back_ends_it),
          RUN(a_session_is_summed_up_before_a_run_where_the_agent_says_so),
          RUN(without_a_summary_nothing_is_changed))
