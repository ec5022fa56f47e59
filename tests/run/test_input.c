/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run begins with beside a text, and what is said to it later. */
#include "bench.h"
#include "play.h"
#include "run/input.h"

#define PNG "data:image/png;base64,iVBORw0KGgo="
#define IMAGE "{\"type\":\"input_image\",\"image_url\":\"" PNG "\"}"
#define FILE_PART                                                                                  \
  "{\"type\":\"input_file\",\"filename\":\"a.pdf\",\"file_data\":\"data:application/"              \
  "pdf;base64,JVBE\"}"
#define USER(text) "{\"role\":\"user\",\"content\":\"" text "\"}"
#define A_CALL                                                                                     \
  "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\",\"status\":"  \
  "null}"
#define RESULT "{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"x\"}"

TEST(items_and_parts_become_a_list_or_name_the_mistake)
{
  static const struct {
    const char *text, *parts, *items, *want;
  } rows[] = {
      {"hi", "", "", "[" USER("hi") "]"},
      {"", "", "", "[" USER("") "]"},
      {"hi", "[" IMAGE "," FILE_PART "]", "",
       "[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"hi\"}," IMAGE
       "," FILE_PART "]}]"},
      {"", "[" IMAGE "]", "", "[{\"role\":\"user\",\"content\":[" IMAGE "]}]"},
      {"", "", "[" USER("a") "]", "[" USER("a") "]"},
      {"b", "", "[" USER("a") ",{\"role\":\"assistant\",\"content\":\"x\",\"id\":null}]",
       "[" USER("a") ",{\"role\":\"assistant\",\"content\":\"x\"}," USER("b") "]"},
      {"", "", "[" USER("a") "," A_CALL "," RESULT "]",
       "[" USER("a") ",{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":"
                     "\"{}\"}," RESULT "]"},
      {"", "", "[{\"type\":\"hologram\",\"id\":\"h\"}]", "[{\"type\":\"hologram\",\"id\":\"h\"}]"},
      /* mistakes */
      {"", "", "{}", "items: expected a list"},
      {"", "", "[", "items: "},
      {"", "", "[1]", "items[0]: expected an object"},
      {"", "", "[{\"role\":\"root\",\"content\":\"\"}]", "items[0]: role 'root': expected user"},
      {"", "", "[" USER("a") ",{\"role\":\"user\"}]", "items[1]: content: expected a list"},
      {"", "", "[" A_CALL "]", "the call c has no result after it"},
      {"", "", "[" RESULT "," A_CALL "]", "items[0]: the result of c has no call before it"},
      {"", "", "[{\"type\":\"function_call\",\"name\":\"f\"}]", "expected a call_id"},
      {"", "", "[{\"type\":\"item_reference\",\"id\":\"x\"}]", "write the item itself"},
      {"", "", "[{\"role\":\"system\",\"content\":[" IMAGE "]}]", "content[0]: unknown content"},
      {"x", "{}", "", "parts: expected a list"},
      {"x", "[{\"type\":\"input_image\"}]", "", "parts[0]: input_image: expected image_url"},
      {"x", "[{\"type\":\"input_image\",\"image_url\":\"file:///etc/passwd\"}]", "",
       "parts[0]: input_image"},
      {"x", "[{\"type\":\"input_image\",\"image_url\":\"data:text/plain;base64,AA\"}]", "",
       "parts[0]: input_image"},
      {"x", "[{\"type\":\"input_file\",\"file_data\":\"raw\"}]", "", "parts[0]: input_file"},
      {"x", "[{\"type\":\"input_text\"}]", "", "parts[0]: expected a `text`"},
      {"x", "[{\"type\":\"video\"}]", "", "unknown content 'video'; expected input_text, "},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(CSN_INPUT_MAX);
    csn_err err = {0};
    struct csn_input in = {csn_cstr(rows[i].text), csn_cstr(rows[i].parts),
                           csn_cstr(rows[i].items)};
    int rc = csn_input_write(&in, &b, &err);
    const char *got = rc < 0 ? err.msg : b.p;
    bool is_good = rows[i].want[0] == '[';
    if (is_good ? rc < 0 || strcmp(got, rows[i].want) != 0
                : rc != CSN_E_INVALID && rc != CSN_E_PARSE && rc != CSN_E_UNSUPPORTED)
      fail_msg("row %zu: got %s, expected %s", i, got, rows[i].want);
    if (!is_good && !strstr(got, rows[i].want))
      fail_msg("row %zu: got %s, expected %s", i, got, rows[i].want);
  }
}

TEST(a_run_begins_with_items_and_a_picture)
{
  struct bench b;
  csn_err err;
  csn_run *r = NULL;
  bench_init(&b, "rules:\n- {name: end, when: {task: '^look$'}, reply: seen}\n");
  csn_run_options o = {.listener = bench_listen,
                       .user = &b,
                       .items = CSN_STR("[" USER("before") ",{\"role\":\"assistant\",\"content\":"
                                                           "\"yes\"}]"),
                       .parts = CSN_STR("[" IMAGE "]")};
  OK(csn_run_start(b.rt, b.agent, CSN_STR("look"), &o, &r, &err), &err);
  STR_EQ(bench_await(&b, r).output, "seen");
  assert_true(bench_saw(&b, "input {\"items\":[" USER("before")));
  assert_true(bench_saw(&b, IMAGE "]}]"));
  csn_run_free(r);
  o.parts = CSN_STR("[7]");
  assert_int_equal(csn_run_start(b.rt, b.agent, CSN_STR("look"), &o, &r, &err), CSN_E_INVALID);
  bench_fini(&b);
}

/* ---- later ---- */

TEST(what_is_added_waits_for_the_next_turn_wherever_the_run_is)
{
  struct play p;
  static const char agent[] = "{\"sandbox\":{},\"guardrails\":[{\"callback\":\"g\",\"on\":"
                              "\"output\"}]}";
  begin(&p, agent);
  play(&p, CSN_EV_INPUT, HELLO, "sandbox_open@2");
  play(&p, CSN_EV_INPUT, MORE, "");
  play(&p, CSN_EV_SANDBOX_READY, "{\"effect\":2}", "callback@5");
  STR_EQ(last_effect(&p), "{\"for\":\"added\",\"callbacks\":[],\"of\":3}");
  play(&p, CSN_EV_INPUT, MORE, "");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":5,\"items\":[{}]}", "callback@8");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":8,\"items\":[{}]}", "model_call@10");
  last_holds(&p, "\"items\":[1,9]");
  play(&p, CSN_EV_INPUT, MORE, "");
  play(&p, CSN_EV_MODEL_REPLIED, "{\"effect\":10,\"items\":[" CALL("a", "t") "]}", "tool_call@13");
  play(&p, CSN_EV_INPUT, MORE, "");
  reread(&p, agent);
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(13, "a"), "callback@16");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":16,\"items\":[{}]}", "callback@18");
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":18,\"items\":[{}]}", "model_call@20");
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(20, "done"), "callback@22");
  play(&p, CSN_EV_INPUT, MORE, ""); /* it would have been the last answer */
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":22}", "callback@25");
  reread(&p, agent);
  play(&p, CSN_EV_CALLBACK_RETURNED, "{\"effect\":25,\"trip\":true,\"items\":[{}]}",
       "finish@27 sandbox_close@28");
  assert_int_equal(p.st.items_to, 21); /* what tripped has not joined */
  assert_string_equal(p.st.reason, "guardrail");
  end(&p);
}

#define BOOK                                                                                       \
  "rules:\n"                                                                                       \
  "- {name: heard, when: {task: '^and (this|that)$'}, reply: 'it was ${task}'}\n"                  \
  "- {name: first, when: {first: true}, reply: [{count: {x: a}}]}\n"                               \
  "- {name: end, reply: it was not}\n"

static void
setup(struct bench *b)
{
  bench_init(b, BOOK);
  bench_tool(b, "count", bench_count);
  bench_set(b, "approvals", "[{\"tool\":\"count\",\"do\":\"ask\"}]");
}

static const csn_decision yes = {.allow = true};

TEST(a_run_that_waits_is_told_more_and_hears_it_after_the_decision)
{
  struct bench b;
  csn_err err;
  setup(&b);
  csn_run *r = bench_start(&b);
  assert_int_equal(bench_await(&b, r).state, CSN_RUN_WAITING);
  assert_int_equal(csn_run_add_input(r, CSN_STR(""), CSN_STR(""), &err), CSN_E_INVALID);
  assert_int_equal(csn_run_add_input(r, CSN_STR("x"), CSN_STR("[1]"), &err), CSN_E_INVALID);
  OK(csn_run_add_input(r, CSN_STR("and that"), CSN_STR("[" IMAGE "]"), &err), &err);
  assert_int_equal(bench_await(&b, r).state, CSN_RUN_WAITING);
  OK(csn_run_decide(r, CSN_STR(""), &yes, &err), &err);
  csn_result res = bench_await(&b, r);
  STR_EQ(res.output, "it was and that");
  assert_int_equal(csn_run_add_input(r, CSN_STR("late"), CSN_STR(""), &err), CSN_E_INVALID);
  assert_non_null(strstr(err.msg, "has ended (done) and takes no more"));
  csn_run_free(r);
  bench_fini(&b);
}

/* Said to a run at rest, by a process that only opens it, and by another one. */
TEST(what_a_run_at_rest_was_told_is_in_its_journal)
{
  struct bench b;
  csn_err err;
  char id[40];
  setup(&b);
  csn_run *r = bench_start(&b);
  snprintf(id, sizeof id, "%s", csn_run_id(r));
  assert_int_equal(bench_await(&b, r).state, CSN_RUN_WAITING);
  csn_run_free(r);
  csn_tool t = {.size = sizeof t,
                .name = "count",
                .description = "d",
                .schema = "{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"string\"}}}",
                .call = bench_count,
                .user = &b};
  csn_run_options o = {.tools = &t, .n_tools = 1};
  static const char *const said[] = {"and this", "and that"};
  for (size_t i = 0; i < CSN_COUNT(said); i++) {
    OK(csn_run_open(b.rt, csn_cstr(id), &o, &r, &err), &err);
    OK(csn_run_add_input(r, csn_cstr(said[i]), CSN_STR(""), &err), &err);
    csn_run_free(r);
    csn_rt_free(b.rt);
    bench_open(&b);
  }
  OK(csn_run_resume(b.rt, csn_cstr(id), &o, &r, &err), &err);
  OK(csn_run_decide(r, CSN_STR(""), &yes, &err), &err);
  csn_result res = bench_await(&b, r);
  STR_EQ(res.output, "it was and that"); /* both were heard, in their order */
  assert_int_equal(res.turns, 2);
  csn_run_free(r);
  OK(csn_run_open(b.rt, csn_cstr(id), &o, &r, &err), &err); /* and it replays */
  csn_run_free(r);
  bench_fini(&b);
}

static int
trip_on_that(void *user, csn_scope *sc, const csn_json *in, csn_buf *out, csn_err *err)
{
  struct bench *b = user;
  csn_buf_addf(&b->events, "asked %.*s\n", (int)in->raw.n, in->raw.p);
  if (csn_str_find(in->raw, CSN_STR("and that"), 0) != SIZE_MAX)
    csn_buf_addz(out, "{\"trip\":true,\"message\":\"not that\"}");
  return 0;
}

TEST(guardrails_on_input_look_at_what_is_added_alone)
{
  struct bench b;
  csn_err err;
  setup(&b);
  csn_callback cb = {.size = sizeof cb, .name = "g", .fn = trip_on_that, .user = &b};
  OK(csn_agent_add_callback(b.agent, &cb, &err), &err);
  bench_set(&b, "guardrails", "[{\"callback\":\"g\",\"on\":\"input\",\"blocking\":true}]");
  csn_run *r = bench_start(&b);
  assert_int_equal(bench_await(&b, r).state, CSN_RUN_WAITING);
  OK(csn_run_add_input(r, CSN_STR("and this"), CSN_STR(""), &err), &err);
  OK(csn_run_add_input(r, CSN_STR("and that"), CSN_STR(""), &err), &err);
  OK(csn_run_decide(r, CSN_STR(""), &yes, &err), &err);
  csn_result res = bench_await(&b, r);
  STR_EQ(res.reason, "guardrail");
  STR_EQ(res.message, "not that");
  assert_true(bench_saw(&b, "\"for\":\"input\""));
  assert_true(bench_saw(&b, "\"items\":[" USER("and this") "],\"added\":true"));
  csn_run_free(r);
  bench_fini(&b);
}

TEST(a_tool_that_is_not_given_again_is_told_to_the_model)
{
  struct bench b;
  csn_err err;
  char id[40];
  bench_init(&b, "rules:\n- {name: first, when: {first: true}, reply: [{count: {x: a}}]}\n"
                 "- {name: end, reply: \"${output}\"}\n");
  bench_tool(&b, "count", bench_count);
  bench_set(&b, "approvals", "[{\"tool\":\"*\",\"do\":\"ask\"}]");
  csn_run *r = bench_start(&b);
  snprintf(id, sizeof id, "%s", csn_run_id(r));
  assert_int_equal(bench_await(&b, r).state, CSN_RUN_WAITING);
  csn_run_free(r);
  OK(csn_run_resume(b.rt, csn_cstr(id), NULL, &r, &err), &err);
  OK(csn_run_decide(r, CSN_STR(""), &yes, &err), &err);
  csn_result res = bench_await(&b, r);
  assert_int_equal(res.state, CSN_RUN_DONE);
  assert_true(csn_str_find(res.output, CSN_STR("count"), 0) != SIZE_MAX);
  assert_int_equal(atomic_load(&b.calls), 0);
  csn_run_free(r);
  bench_fini(&b);
}

RUN_TESTS("run/input", RUN(items_and_parts_become_a_list_or_name_the_mistake),
          RUN(a_run_begins_with_items_and_a_picture),
          RUN(what_is_added_waits_for_the_next_turn_wherever_the_run_is),
          RUN(a_run_that_waits_is_told_more_and_hears_it_after_the_decision),
          RUN(what_a_run_at_rest_was_told_is_in_its_journal),
          RUN(guardrails_on_input_look_at_what_is_added_alone),
          RUN(a_tool_that_is_not_given_again_is_told_to_the_model))
