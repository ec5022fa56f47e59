/* SPDX-License-Identifier: Apache-2.0
 *
 * Conversations that are longer than the model takes: when the machine makes
 * room, what could go, and what requests then hold. */
#include "caisson/agent.h"
#include "play.h"
#include "run/agent_impl.h"
#include "run/context.h"
#include "run/project.h"

#define AGENT "{\"model\":\"m\",\"compact_at\":{\"m\":{\"tokens\":2000}}}"
#define COUNTED(effect, in, items)                                                                 \
  "{\"effect\":" #effect ",\"items\":[" items "],\"usage\":{\"input_tokens\":" #in                 \
  ",\"output_tokens\":10,\"total_tokens\":" #in "}}"

/* ---- the machine ---- */

TEST(nothing_is_looked_at_while_there_is_room)
{
  struct play p;
  begin(&p, AGENT);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, COUNTED(2, 1000, CALL("a", "t")), "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "model_call@6");
  end(&p);
}

TEST(what_fits_after_a_look_goes_out_as_it_is)
{
  struct play p;
  begin(&p, AGENT);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, COUNTED(2, 1990, CALL("a", "t")), "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "callback@6");
  STR_EQ(last_effect(&p), "{\"for\":\"context\",\"callbacks\":[]}");
  reread(&p, AGENT);
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":6,\"tokens\":1999,\"trim\":3,\"trimmed\":9}",
       "model_call@8");
  assert_true(csn_str_find(last_effect(&p), CSN_STR("trim"), 0) == SIZE_MAX);
  end(&p);
}

TEST(old_outputs_go_first_and_that_may_be_enough)
{
  struct play p;
  begin(&p, AGENT);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, COUNTED(2, 2500, CALL("a", "t")), "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "callback@6");
  play(&p, CSN_EV_CALLBACK_RETURNED,
       "{\"effect\":6,\"tokens\":2600,\"trim\":5,\"trimmed\":1100,\"trimmed_bytes\":1500,"
       "\"cut\":5,\"kept_bytes\":100}",
       "model_call@8");
  last_holds(&p, "\"trim\":5");
  assert_int_equal(p.st.budget.context_tokens, 1500);
  reread(&p, AGENT);
  play(&p, CSN_EV_MODEL_REPLIED, COUNTED(8, 1100, CALL("b", "t")), "tool_call@10");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(10, "b"), "model_call@12");
  last_holds(&p, "\"trim\":5");
  end(&p);
}

TEST(what_outputs_do_not_give_a_summary_does)
{
  struct play p;
  begin(&p, AGENT);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, COUNTED(2, 2500, CALL("a", "t")), "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "callback@6");
  play(&p, CSN_EV_CALLBACK_RETURNED,
       "{\"effect\":6,\"tokens\":2600,\"trim\":5,\"trimmed\":1900,\"cut\":5,\"kept_bytes\":100}",
       "model_call@8");
  assert_int_equal(p.st.phase, CSN_PHASE_COMPACT);
  assert_int_equal(p.st.turns, 1);
  last_holds(&p, "{\"turn\":2,\"for\":\"compaction\",");
  last_holds(&p, "\"to\":5,\"trim\":5,\"max_output\":1024");
  reread(&p, AGENT);
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":8,\"items\":[],\"usage\":{\"input_tokens\":1900,\"output_tokens\":100,"
       "\"total_tokens\":2000},\"summary\":\"all is well\"}",
       "model_call@10");
  last_holds(&p, "\"trim\":5,\"cut\":5,\"summary\":9");
  assert_int_equal(p.st.turns, 2);
  assert_int_equal(p.st.usage.total_tokens, 4500);
  assert_int_equal(p.st.budget.context_tokens, 113); /* bytes: 100, and the summary with quotes */
  assert_int_equal(p.st.items_to, 5);                /* a summary is no item of the conversation */
  reread(&p, AGENT);
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(10, "done"), "finish@12");
  end(&p);
}

TEST(a_model_that_gives_no_summary_does_not_end_the_run)
{
  struct play p;
  begin(&p, AGENT);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, COUNTED(2, 2500, CALL("a", "t")), "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "callback@6");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":6,\"tokens\":2600,\"cut\":5,\"kept_bytes\":1}",
       "model_call@8");
  play(&p, CSN_EV_MODEL_FAILED, "{\"effect\":8,\"error\":{\"message\":\"empty\"}}",
       "model_call@10");
  last_holds(&p, "\"cut\":5");
  assert_true(csn_str_find(last_effect(&p), CSN_STR("summary"), 0) == SIZE_MAX);
  end(&p);
}

TEST(a_request_that_was_refused_is_made_smaller_and_the_size_is_remembered)
{
  struct play p;
  static const char agent[] = "{\"model\":\"m\",\"compact_at\":{\"m\":{\"tokens\":240000}},"
                              "\"guardrails\":[{\"callback\":\"g\",\"on\":\"input\"}]}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2 callback@3");
  play(&p, CSN_EV_MODEL_FAILED,
       "{\"effect\":2,\"error\":{\"code\":\"too_long\",\"message\":\"8192\"}}", "");
  reread(&p, agent);
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":3}", "callback@6"); /* it is not asked again */
  play(
      &p, CSN_EV_CALLBACK_RETURNED,
      "{\"effect\":6,\"tokens\":10000,\"at\":7000,\"trim\":1,\"trimmed\":4000,\"trimmed_bytes\":1}",
      "model_call@8");
  assert_int_equal(csn_state_compact_at(&p.st), 7000);
  reread(&p, agent);
  play(&p, CSN_EV_MODEL_REPLIED, COUNTED(8, 7100, CALL("a", "t")), "tool_call@10");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(10, "a"), "callback@12");
  end(&p);

  begin(&p, agent); /* again and again: the provider has the last word */
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2 callback@3");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":3}", "");
#define REFUSED(effect)                                                                            \
  "{\"effect\":" #effect ",\"error\":{\"code\":\"too_long\",\"message\":\"no\"}}"
  play(&p, CSN_EV_MODEL_FAILED, REFUSED(2), "callback@6");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":6,\"tokens\":10000,\"trim\":1}", "model_call@8");
  play(&p, CSN_EV_MODEL_FAILED, REFUSED(8), "callback@10");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":10,\"tokens\":10000,\"trim\":2}",
       "model_call@12");
  play(&p, CSN_EV_MODEL_FAILED, REFUSED(12), "callback@14");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":14,\"tokens\":10000,\"trim\":3}",
       "model_call@16");
  play(&p, CSN_EV_MODEL_FAILED, REFUSED(16), "finish@18");
  assert_string_equal(p.st.reason, "model");
  end(&p);

  begin(&p, agent); /* there is nothing that could go */
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2 callback@3");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":3}", "");
  play(&p, CSN_EV_MODEL_FAILED, REFUSED(2), "callback@6");
  reread(&p, agent);
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":6,\"tokens\":10000}", "finish@8");
  assert_string_equal(p.st.message, "no");
  end(&p);
}

TEST(a_server_that_compacts_is_left_to_it)
{
  struct play p;
  static const char agent[] =
      "{\"model\":\"m\",\"compact_at\":{\"m\":{\"tokens\":2000,\"server\":true}}}";
  begin(&p, agent);
  assert_int_equal(csn_state_server_compacts_at(&p.st), 2000);
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       COUNTED(2, 2500, "{\"type\":\"compaction\",\"encrypted_content\":\"x\"}," CALL("a", "t")),
       "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "model_call@6");
  last_holds(&p, "\"since\":3");
  reread(&p, agent);
  play(&p, CSN_EV_MODEL_FAILED, REFUSED(6), "callback@8");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":8,\"tokens\":4000,\"cut\":5}", "model_call@10");
  last_holds(&p, "\"for\":\"compaction\"");
  end(&p);
}

TEST(a_summary_that_the_budget_does_not_allow_ends_the_run)
{
  struct play p;
  begin(&p,
        "{\"model\":\"m\",\"compact_at\":{\"m\":{\"tokens\":2000}},\"limits\":{\"tokens\":4000}}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED, COUNTED(2, 2500, CALL("a", "t")), "tool_call@4");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(4, "a"), "callback@6");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":6,\"tokens\":2600,\"cut\":5,\"kept_bytes\":1}",
       "finish@8");
  assert_string_equal(p.st.reason, "budget_exhausted");
  end(&p);
}

/* ---- views ---- */

#define USER(text) "{\"role\":\"user\",\"content\":\"" text "\"}"
#define RESULT(id, text)                                                                           \
  "{\"type\":\"function_call_output\",\"call_id\":\"" id "\",\"output\":\"" text "\"}"

struct talk {
  csn_buf text[64];
  struct csn_item_ref v[64];
  size_t n;
};

static void
say(struct talk *t, int64_t seq, const char *json)
{
  t->text[t->n] = CSN_BUF(1 << 20);
  csn_buf_addz(&t->text[t->n], json);
  t->v[t->n] = (struct csn_item_ref){.seq = seq, .raw = csn_buf_str(&t->text[t->n])};
  t->n++;
}

static void
say_output(struct talk *t, int64_t seq, const char *id, int words)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(1 << 20);
  csn_buf_addf(&b, "{\"type\":\"function_call_output\",\"call_id\":\"%s\",\"output\":\"begin", id);
  for (int i = 0; i < words; i++)
    csn_buf_addz(&b, " word");
  csn_buf_addz(&b, " end\"}");
  say(t, seq, b.p);
}

/* A task, and n turns with a call each, whose output has so many words. */
static void
talk_of(struct talk *t, int turns, int words)
{
  *t = (struct talk){.n = 0};
  say(t, 1, USER("the task"));
  for (int i = 0; i < turns; i++) {
    char call[200], id[20];
    snprintf(id, sizeof id, "c%d", i);
    snprintf(call, sizeof call,
             "{\"type\":\"function_call\",\"call_id\":\"%s\",\"name\":\"t\",\"arguments\":\"{}\"}",
             id);
    say(t, 3 + 4 * i, call);
    say_output(t, 5 + 4 * i, id, words);
  }
}

static void
talk_fini(struct talk *t)
{
  for (size_t i = 0; i < t->n; i++)
    csn_buf_fini(&t->text[i]);
}

static bool
holds(csn_str s, const char *text)
{
  return csn_str_find(s, csn_cstr(text), 0) != SIZE_MAX;
}

static const struct csn_view_spec whole = {
    .trim = -1, .cut = -1, .since = -1, .base_to = -1, .head_tokens = 1000};

TEST(a_view_leaves_out_outputs_and_keeps_their_calls)
{
  struct talk t;
  struct csn_view v = {0};
  talk_of(&t, 3, 200);
  csn_view_set(&v, &whole, t.v, t.n);
  assert_null(v.arena);
  struct csn_view_spec spec = whole;
  spec.trim = 9; /* of the first two turns */
  csn_view_set(&v, &spec, t.v, t.n);
  assert_int_equal(v.n, t.n);
  assert_true(holds(v.v[2].raw, "left out") && holds(v.v[2].raw, "\"call_id\":\"c0\""));
  assert_true(holds(v.v[4].raw, "left out"));
  STR_EQ(v.v[6].raw, t.text[6].p);
  const struct csn_item_ref *was = v.v;
  csn_view_set(&v, &spec, t.v, t.n); /* what is so already is not made anew */
  assert_ptr_equal(v.v, was);
  csn_view_fini(&v);
  talk_fini(&t);
}

TEST(a_summary_stands_between_the_users_words_and_the_last_turns)
{
  struct talk t;
  struct csn_view v = {0};
  talk_of(&t, 4, 20);
  say(&t, 30, USER("and also this"));
  struct csn_view_spec spec = whole;
  spec.cut = 10;
  spec.summary = CSN_STR("\"two \\\"calls\\\" were made\"");
  csn_view_set(&v, &spec, t.v, t.n);
  assert_int_equal(v.n, 1 + 1 + 4 + 1);
  STR_EQ(v.v[0].raw, t.text[0].p);
  assert_true(holds(v.v[1].raw, "two \\\"calls\\\" were made"));
  STR_EQ(v.v[2].raw, t.text[5].p);
  STR_EQ(v.v[6].raw, t.text[9].p);
  spec.summary = CSN_STR("");
  csn_view_set(&v, &spec, t.v, t.n);
  assert_true(holds(v.v[1].raw, "no summary"));
  csn_view_fini(&v);
  talk_fini(&t);
}

TEST(of_many_words_of_the_user_the_task_and_the_newest_stay)
{
  struct talk t = {.n = 0};
  struct csn_view v = {0};
  csn_auto(csn_buf_finip) csn_buf task = CSN_BUF(1 << 20);
  csn_buf_addz(&task, "{\"role\":\"user\",\"content\":\"first");
  for (int i = 0; i < 3000; i++)
    csn_buf_addz(&task, " more");
  csn_buf_addz(&task, " last\"}");
  say(&t, 1, task.p);
  struct csn_view_spec spec = whole;
  spec.cut = 50;
  csn_view_set(&v, &spec, t.v, t.n);
  assert_int_equal(v.n, 2);
  assert_true(holds(v.v[0].raw, "first more") && holds(v.v[0].raw, "more last"));
  assert_true(holds(v.v[0].raw, "bytes are left out") && v.v[0].raw.n < 2500);
  talk_fini(&t);

  t.n = 0;
  say(&t, 1, USER("the task"));
  for (int i = 0; i < 30; i++) {
    char text[400];
    snprintf(text, sizeof text, USER("%d %0300d"), i, i);
    say(&t, 2 + i, text);
  }
  spec.head_tokens = 500;
  csn_view_set(&v, &spec, t.v, t.n);
  STR_EQ(v.v[0].raw, t.text[0].p);
  STR_EQ(v.v[v.n - 2].raw, t.text[30].p);
  assert_in_range(v.n, 4, 8);
  csn_view_fini(&v);
  talk_fini(&t);
}

TEST(the_providers_own_summary_stands_for_all_before_it)
{
  struct talk t;
  struct csn_view v = {0};
  talk_of(&t, 2, 5);
  say(&t, 20, "{\"type\":\"compaction\",\"encrypted_content\":\"x\"}");
  say(&t, 20, CALL("z", "t"));
  say(&t, 22, RESULT("z", "ok"));
  struct csn_view_spec spec = whole;
  spec.since = 20;
  csn_view_set(&v, &spec, t.v, t.n);
  assert_int_equal(v.n, 3);
  assert_true(holds(v.v[0].raw, "compaction"));
  csn_view_fini(&v);
  talk_fini(&t);
}

TEST(what_a_filter_gave_stands_for_all_that_came_before)
{
  struct talk t;
  struct csn_view v = {0};
  talk_of(&t, 3, 20);
  struct csn_view_spec spec = whole;
  spec.base_to = 9;
  spec.base = CSN_STR("[" USER("only this") "]");
  csn_view_set(&v, &spec, t.v, t.n);
  assert_int_equal(v.n, 1 + 2);
  STR_EQ(v.v[0].raw, USER("only this"));
  STR_EQ(v.v[1].raw, t.text[5].p);
  assert_int_equal(v.from, t.n);
  spec.cut = 13; /* and later that is summed up, too */
  csn_view_set(&v, &spec, t.v, t.n);
  assert_int_equal(v.n, 2);
  STR_EQ(v.v[0].raw, USER("only this"));
  csn_view_fini(&v);
  talk_fini(&t);
}

/* ---- what could go ---- */

static struct csn_context_look
look(struct talk *t, int64_t at)
{
  struct csn_context_look seen = {0};
  struct csn_context_question q = {
      .at = at, .counted_to = -1, .around = 100, .around_bytes = 400, .spec = whole};
  csn_context_look(t->v, t->n, &q, &seen);
  return seen;
}

TEST(old_outputs_may_go_and_the_newest_stay)
{
  struct talk t;
  talk_of(&t, 10, 300); /* about 300 tokens each */
  struct csn_context_look seen = look(&t, 2400);
  assert_in_range(seen.tokens, 3000, 4500);
  assert_int_equal(seen.trim, 5 + 4 * 8); /* the last output is within a quarter */
  assert_true(seen.trimmed < 1600);
  assert_int_equal(seen.cut, 3 + 4 * 9 - 1); /* and one turn is, with what is around */
  assert_true(seen.kept_bytes > 1500 && seen.kept_bytes < 3500);
  talk_fini(&t);
}

TEST(what_the_provider_counted_goes_before_what_we_think)
{
  struct talk t;
  struct csn_context_look seen = {0};
  talk_of(&t, 10, 300);
  struct csn_context_question q = {
      .at = 2400, .counted = 9000, .counted_to = 3 + 4 * 9, .spec = whole};
  csn_context_look(t.v, t.n, &q, &seen);
  assert_in_range(seen.tokens, 9250, 9450); /* the last output came after */
  talk_fini(&t);
}

TEST(after_a_refusal_a_part_of_what_was_refused_is_the_threshold)
{
  struct talk t;
  struct csn_context_look seen = {0};
  talk_of(&t, 10, 300);
  struct csn_context_question q = {
      .at = 240000, .is_refused = true, .counted_to = -1, .spec = whole};
  csn_context_look(t.v, t.n, &q, &seen);
  assert_int_equal(seen.at, seen.tokens / 100 * 70);
  assert_true(seen.trim > 0 && seen.trimmed < seen.at && seen.cut > 0);
  talk_fini(&t);
}

TEST(an_output_that_fills_the_window_alone_can_go)
{
  struct talk t;
  talk_of(&t, 1, 5000);
  struct csn_context_look seen = look(&t, 2400);
  assert_int_equal(seen.trim, 5);
  assert_int_equal(seen.cut, 5);
  talk_fini(&t);
  t.n = 0;
  say(&t, 1, USER("only a task"));
  seen = look(&t, 1100);
  assert_int_equal(seen.trim, -1);
  assert_int_equal(seen.cut, -1);
  talk_fini(&t);
}

TEST(what_is_summed_up_fits_and_begins_with_the_task_and_a_turn)
{
  struct talk t;
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_str out[64];
  talk_of(&t, 10, 2000);
  size_t n = csn_context_fit(t.v, t.n, 100, 100000, CSN_TOKENS_OPENAI, a, out);
  assert_int_equal(n, t.n);
  STR_EQ(out[2], t.text[2].p);
  n = csn_context_fit(t.v, t.n, 100, 12000, CSN_TOKENS_OPENAI, a, out);
  assert_int_equal(n, t.n); /* the old outputs are shorter, that is enough */
  assert_true(holds(out[2], "begin word") && holds(out[2], "word end") && out[2].n < 1500);
  STR_EQ(out[t.n - 1], t.text[t.n - 1].p);
  n = csn_context_fit(t.v, t.n, 100, 1500, CSN_TOKENS_OPENAI, a, out);
  assert_true(n > 0 && n < t.n);
  STR_EQ(out[0], t.text[0].p);
  assert_true(holds(out[1], "function_call\""));
  n = csn_context_fit(t.v, t.n, 6, 100000, CSN_TOKENS_OPENAI, a, out);
  assert_int_equal(n, 3);
  talk_fini(&t);
}

/* ---- the agent file ---- */

static int
load(csn_agent **a, const char *json, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  const csn_json *v;
  OK(csn_json_parse(arena, csn_cstr(json), &v, err), err);
  return csn_agent_from_json(a, v, "f", "/", err);
}

TEST(the_threshold_follows_the_model_and_the_policy)
{
  static const struct {
    const char *model, *capabilities, *settings, *want;
  } rows[] = {
      {"chat/gpt-4o", "[]", "{}", "{\"chat/gpt-4o\":{\"tokens\":115200}}"},
      {"chat/gpt-4o-2024-08-06", "[\"compaction\"]", "{\"max_tokens\":40000}",
       "{\"chat/gpt-4o-2024-08-06\":{\"tokens\":88000}}"},
      {"chat/never-heard-of", "[]", "{}", "{\"chat/never-heard-of\":{\"tokens\":240000}}"},
      {"script:x.yaml", "[]", "{}", "{}"},
      {"chat/gpt-4o", "[{\"type\":\"compaction\",\"policy\":\"none\"}]", "{}", "{}"},
      {"chat/gpt-4o", "[{\"type\":\"compaction\",\"policy\":null}]", "{}",
       "{\"chat/gpt-4o\":{\"tokens\":115200}}"},
      {"chat/x", "[{\"type\":\"compaction\",\"policy\":{\"type\":\"static\",\"threshold\":5000}}]",
       "{}", "{\"chat/x\":{\"tokens\":5000}}"},
      {"chat/x",
       "[{\"type\":\"compaction\",\"policy\":{\"type\":\"dynamic\",\"threshold\":0.5,\"model_"
       "info\":{"
       "\"context_window\":32768}}}]",
       "{}", "{\"chat/x\":{\"tokens\":16384}}"},
  };
  setenv("OPENAI_BASE_URL", "http://127.0.0.1:9", 1);
  struct csn_project *p;
  csn_err err;
  OK(csn_project_load(&p, &err), &err);
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    char json[600];
    csn_auto(csn_agent_freep) csn_agent *a = NULL;
    csn_auto(csn_buf_finip) csn_buf got = CSN_BUF(1000);
    csn_jw w;
    snprintf(json, sizeof json,
             "{\"name\":\"n\",\"model\":\"%s\",\"capabilities\":%s,\"settings\":%s}", rows[i].model,
             rows[i].capabilities, rows[i].settings);
    OK(load(&a, json, &err), &err);
    csn_jw_init(&w, &got);
    OK(csn_agent_write_compact_at(a, p, &w, &err), &err);
    STR_EQ(csn_buf_str(&got), rows[i].want);
  }
  csn_project_free(p);
}

TEST(mistakes_in_the_policy_are_told)
{
  static const struct {
    const char *entry, *text;
  } rows[] = {
      {"{\"type\":\"compaction\",\"police\":1}", "unknown key capabilities.police"},
      {"{\"type\":\"compaction\",\"policy\":\"often\"}", "compaction.policy: expected none"},
      {"{\"type\":\"compaction\",\"policy\":{\"type\":\"static\"}}", "at least 1024 tokens"},
      {"{\"type\":\"compaction\",\"policy\":{\"type\":\"dynamic\",\"threshold\":2}}",
       "a part like 0.9"},
      {"{\"type\":\"compaction\",\"policy\":{\"type\":\"dynamic\",\"model_info\":{}}}",
       "context_window: expected"},
      {"{\"type\":\"flight\"}", "there are filesystem, shell, skills, memory and compaction"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    char json[300];
    csn_agent *a = NULL;
    csn_err err;
    snprintf(json, sizeof json, "{\"name\":\"n\",\"capabilities\":[%s]}", rows[i].entry);
    assert_int_equal(load(&a, json, &err), CSN_E_INVALID);
    if (!strstr(err.msg, rows[i].text))
      fail_msg("%s does not hold %s", err.msg, rows[i].text);
  }
}

RUN_TESTS("run/context", RUN(nothing_is_looked_at_while_there_is_room),
          RUN(what_fits_after_a_look_goes_out_as_it_is),
          RUN(old_outputs_go_first_and_that_may_be_enough),
          RUN(what_outputs_do_not_give_a_summary_does),
          RUN(a_model_that_gives_no_summary_does_not_end_the_run),
          RUN(a_request_that_was_refused_is_made_smaller_and_the_size_is_remembered),
          RUN(a_server_that_compacts_is_left_to_it),
          RUN(a_summary_that_the_budget_does_not_allow_ends_the_run),
          RUN(a_view_leaves_out_outputs_and_keeps_their_calls),
          RUN(a_summary_stands_between_the_users_words_and_the_last_turns),
          RUN(of_many_words_of_the_user_the_task_and_the_newest_stay),
          RUN(the_providers_own_summary_stands_for_all_before_it),
          RUN(what_a_filter_gave_stands_for_all_that_came_before),
          RUN(old_outputs_may_go_and_the_newest_stay),
          RUN(what_the_provider_counted_goes_before_what_we_think),
          RUN(after_a_refusal_a_part_of_what_was_refused_is_the_threshold),
          RUN(an_output_that_fills_the_window_alone_can_go),
          RUN(what_is_summed_up_fits_and_begins_with_the_task_and_a_turn),
          RUN(the_threshold_follows_the_model_and_the_policy), RUN(mistakes_in_the_policy_are_told))
