/* SPDX-License-Identifier: Apache-2.0
 *
 * Text that guardrails on output look at before anybody sees it: what a server
 * streams and what a listener is shown of it, what the next run of the session
 * reads. */
#include "../wire/server.h"
#include "bench.h"

#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
#define EVENT(type, rest) "event: " type "\ndata: {\"type\":\"" type "\"," rest "}\n\n"
#define DELTA(text) EVENT("response.output_text.delta", "\"delta\":\"" text "\"")
#define TEXT(text)                                                                                 \
  "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\","           \
  "\"text\":\"" text "\"}]}"
#define CALL(id)                                                                                   \
  "{\"type\":\"function_call\",\"call_id\":\"" id "\",\"name\":\"count\",\"arguments\":\"{}\"}"
#define COMPLETED(items)                                                                           \
  EVENT("response.completed",                                                                      \
        "\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":[" items "]}")

/* What the model says first, and once it was told that this does not fit. */
static const struct page unfit[] = {
    {"/v1/responses", HEAD DELTA("{\\\"n\\\":") DELTA("2}") COMPLETED(TEXT("{\\\"n\\\":2}")), CLOSE,
     0, "does not fit the schema"},
    {"/v1/responses", HEAD DELTA("SECRET") DELTA(" one") COMPLETED(TEXT("SECRET one")), CLOSE, 0},
};
/* Beside a call, and as an earlier message of the answer. */
static const struct page beside[] = {
    {"/v1/responses", HEAD DELTA("SECRET") DELTA("fine") COMPLETED(TEXT("SECRET") "," TEXT("fine")),
     CLOSE, 0, "function_call_output"},
    {"/v1/responses", HEAD DELTA("SECRET") COMPLETED(TEXT("SECRET") "," CALL("a")), CLOSE, 0},
};

struct look {
  const char *answer;
  csn_buf saw;
};

static int
guard(void *user, csn_scope *sc, const csn_json *in, csn_buf *out, csn_err *err)
{
  struct look *l = user;
  (void)sc, (void)err;
  csn_buf_add(&l->saw, csn_json_str(in, "output", CSN_STR("")));
  csn_buf_addc(&l->saw, '\n');
  csn_buf_addz(out, l->answer);
  return 0;
}

/* All that a listener was shown, joined. */
static csn_str
shown(struct bench *b, csn_arena *a)
{
  csn_auto(csn_buf_finip) csn_buf all = CSN_BUF(1 << 16);
  csn_str rest = csn_buf_str(&b->events), line, head = CSN_STR("text_delta ");
  const csn_json *v;
  csn_err err;
  while (csn_str_line(&rest, &line)) {
    if (!csn_str_starts(line, head))
      continue;
    OK(csn_json_parse(a, csn_strn(line.p + head.n, line.n - head.n), &v, &err), &err);
    csn_buf_add(&all, csn_json_str(v, "text", CSN_STR("")));
  }
  return csn_arena_dup(a, csn_buf_str(&all));
}

#define SCHEMA "{\"properties\":{\"n\":{\"type\":\"integer\"}}}"

static void
run_over(const struct page *pages, const char *schema, bool is_guarded, const char *answer,
         const char *want_shown, const char *want_seen)
{
  struct bench b;
  struct server s;
  struct look l = {.answer = answer, .saw = CSN_BUF(1 << 16)};
  csn_err err;
  char url[60];
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_callback cb = {.size = sizeof cb, .name = "g", .fn = guard, .user = &l};
  server_start(&s, pages, 2);
  snprintf(url, sizeof url, "http://127.0.0.1:%d/v1", s.port);
  setenv("OPENAI_BASE_URL", url, 1);
  setenv("OPENAI_API_KEY", "sk-held", 1);
  bench_init(&b, "rules: []\n");
  csn_agent_set_model(b.agent, "openai/m");
  bench_tool(&b, "count", bench_count);
  if (schema)
    bench_set(&b, "output_schema", schema);
  if (is_guarded) {
    OK(csn_agent_add_callback(b.agent, &cb, &err), &err);
    bench_set(&b, "guardrails", "[{\"callback\":\"g\",\"on\":\"output\"}]");
  }
  csn_run *r = bench_start(&b);
  bool trips = strstr(answer, "trip") != NULL;
  csn_result res = bench_await(&b, r);
  if (res.state != (trips ? CSN_RUN_FAILED : CSN_RUN_DONE))
    fail_msg("%s: %.*s", csn_run_state_name(res.state), (int)res.message.n, res.message.p);
  if (trips)
    STR_EQ(res.output, "");
  STR_EQ(shown(&b, a), want_shown);
  STR_EQ(csn_strn(l.saw.n ? l.saw.p : "", l.saw.n), want_seen);
  csn_run_free(r);
  bench_fini(&b);
  server_stop(&s);
  csn_buf_fini(&l.saw);
}

TEST(an_answer_that_does_not_fit_its_schema_is_neither_shown_nor_looked_at)
{
  run_over(unfit, SCHEMA, true, "{}", "{\"n\":2}", "{\"n\":2}\n");
  run_over(unfit, SCHEMA, true, "{\"trip\":true}", "", "{\"n\":2}\n");
  run_over(unfit, SCHEMA, false, "{}", "SECRET one{\"n\":2}", ""); /* nobody wants to look */
}

TEST(what_is_written_beside_the_answer_is_not_shown_where_guardrails_look)
{
  run_over(beside, NULL, true, "{}", "fine", "fine\n");
  run_over(beside, NULL, true, "{\"trip\":true}", "", "fine\n");
  run_over(beside, NULL, false, "{}", "SECRETSECRETfine", "");
}

TEST(the_session_gets_the_answer_that_was_passed_and_not_the_one_that_did_not_fit)
{
  for (int is_guarded = 0; is_guarded < 2; is_guarded++) {
    struct bench b;
    struct look l = {.answer = "{}", .saw = CSN_BUF(1 << 16)};
    csn_err err;
    csn_callback cb = {.size = sizeof cb, .name = "g", .fn = guard, .user = &l};
    bench_init(&b, "rules:\n- {name: again, when: {task: 'does not fit'}, reply: '{\"n\":2}'}\n"
                   "- {name: first, reply: SECRET one}\n");
    bench_set(&b, "output_schema", SCHEMA);
    if (is_guarded) {
      OK(csn_agent_add_callback(b.agent, &cb, &err), &err);
      bench_set(&b, "guardrails", "[{\"callback\":\"g\",\"on\":\"output\"}]");
    }
    for (int i = 0; i < 2; i++) {
      csn_run *r = NULL;
      csn_run_options o = {.listener = bench_listen, .user = &b, .session = "s"};
      csn_buf_clear(&b.events);
      OK(csn_run_start(b.rt, b.agent, CSN_STR("go"), &o, &r, &err), &err);
      assert_int_equal(bench_await(&b, r).state, CSN_RUN_DONE);
      csn_run_free(r);
    }
    csn_str all = csn_buf_str(&b.events), kind = CSN_STR("session_loaded ");
    size_t at = csn_str_find(all, kind, 0);
    assert_true(at != SIZE_MAX);
    csn_str rest = csn_strn(all.p + at, all.n - at), line;
    assert_true(csn_str_line(&rest, &line));
    bool has_secret = csn_str_find(line, CSN_STR("SECRET"), 0) != SIZE_MAX;
    bool has_repair = csn_str_find(line, CSN_STR("does not fit"), 0) != SIZE_MAX;
    assert_int_equal(has_secret, !is_guarded);
    assert_int_equal(has_repair, !is_guarded);
    assert_true(csn_str_find(line, CSN_STR("\\\"n\\\":2"), 0) != SIZE_MAX);
    csn_buf_fini(&l.saw);
    bench_fini(&b);
  }
}

RUN_TESTS("run/held", RUN(an_answer_that_does_not_fit_its_schema_is_neither_shown_nor_looked_at),
          RUN(what_is_written_beside_the_answer_is_not_shown_where_guardrails_look),
          RUN(the_session_gets_the_answer_that_was_passed_and_not_the_one_that_did_not_fit))
