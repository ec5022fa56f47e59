/* SPDX-License-Identifier: Apache-2.0
 * test_prefix.c - the bodies of one conversation begin alike, byte for byte:
 * what a provider keeps of a request is only worth something then. */
#include "caisson/model.h"
#include "check.h"

enum { BODY_MAX = 1 << 20, TURNS = 40 };

struct talk {
  csn_arena *a;
  csn_str items[1 + 2 * TURNS];
  size_t n;
};

static void
talk_init(struct talk *t)
{
  *t = (struct talk){.a = csn_arena_new(0)};
  t->items[t->n++] = CSN_STR("{\"role\":\"user\",\"content\":\"Add.\"}");
  for (int i = 0; i < TURNS; i++) {
    bool is_custom = i % 5 == 4;
    t->items[t->n++] =
        is_custom ? csn_arena_printf(t->a,
                                     "{\"type\":\"custom_tool_call\",\"call_id\":\"c%d\",\"name\":"
                                     "\"patch\",\"input\":\"a\\n%d\"}",
                                     i, i)
                  : csn_arena_printf(t->a,
                                     "{\"type\":\"function_call\",\"call_id\":\"c%d\",\"name\":"
                                     "\"add\",\"arguments\":\"{\\\"a\\\":%d}\"}",
                                     i, i);
    t->items[t->n++] =
        csn_arena_printf(t->a, "{\"type\":\"%s\",\"call_id\":\"c%d\",\"output\":\"it is %d\"}",
                         is_custom ? "custom_tool_call_output" : "function_call_output", i, i);
  }
}

static const csn_tool_decl tools[] = {
    {.name = CSN_STR_INIT("add"), .description = CSN_STR_INIT("d"), .schema = CSN_STR_INIT("{}")},
    {.name = CSN_STR_INIT("patch"), .description = CSN_STR_INIT("d")},
};

static csn_model_request
request(const struct talk *t, size_t n_items)
{
  return (csn_model_request){.model = CSN_STR("m"),
                             .instructions = CSN_STR("You add numbers."),
                             .items = t->items,
                             .n_items = n_items,
                             .tools = tools,
                             .n_tools = CSN_COUNT(tools)};
}

static void
encode(const char *codec, const csn_endpoint *ep, const csn_model_request *rq, csn_buf *body)
{
  csn_err err;
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(4096);
  OK(csn_model_find(csn_cstr(codec))->encode(ep, rq, body, &path, &err), &err);
}

TEST(each_body_begins_with_the_one_before)
{
  static const char *const codecs[] = {"responses", "chat", "anthropic", "gemini"};
  struct talk t;
  talk_init(&t);
  for (size_t c = 0; c < 2 * CSN_COUNT(codecs); c++) {
    const char *codec = codecs[c / 2];
    const csn_endpoint ep = {.custom_tools = c % 2 == 0};
    csn_buf last = CSN_BUF(BODY_MAX);
    for (size_t n = 1; n <= t.n; n += 2) {
      csn_model_request rq = request(&t, n);
      csn_buf body = CSN_BUF(BODY_MAX);
      encode(codec, &ep, &rq, &body);
      csn_str shared = csn_strn(last.p, last.n > 2 ? last.n - 2 : 0); /* without "]}" */
      if (!csn_str_starts(csn_buf_str(&body), shared))
        fail_msg("%s with %zu items: %s\ndoes not begin with %.*s", codec, n, body.p, (int)shared.n,
                 shared.p);
      csn_buf_fini(&last);
      last = body;
    }
    csn_buf_fini(&last);
  }
  csn_arena_free(t.a);
}

/* Encodes into what the last body left, and compares with a body from scratch. */
static void
same_as_new(const csn_endpoint *ep, csn_model_request rq, csn_buf *body, csn_kept_body *kept)
{
  csn_auto(csn_buf_finip) csn_buf whole = CSN_BUF(BODY_MAX);
  encode("responses", ep, &rq, &whole);
  rq.kept = kept;
  encode("responses", ep, &rq, body);
  if (!csn_str_eq(csn_buf_str(body), csn_buf_str(&whole)))
    fail_msg("with %zu items: %s\nexpected %s", rq.n_items, body->p, whole.p);
}

TEST(a_body_that_was_added_to_is_the_one_that_is_written_anew)
{
  struct talk t;
  talk_init(&t);
  for (int custom = 0; custom < 2; custom++) {
    const csn_endpoint ep = {.custom_tools = custom}, other = {.custom_tools = !custom};
    csn_buf body = CSN_BUF(BODY_MAX);
    csn_kept_body kept = {0};
    for (size_t n = 1; n <= t.n; n += 1 + n % 3) {
      same_as_new(&ep, request(&t, n), &body, &kept);
      assert_int_equal(kept.n_items, n);
      same_as_new(&ep, request(&t, n), &body, &kept); /* an attempt more */
      if (n == 7)                                     /* another endpoint */
        same_as_new(&other, request(&t, n + 2), &body, &kept);
      csn_model_request rq = request(&t, n);
      if (n == 9) { /* another head: shorter, longer, as long */
        static const char *const texts[] = {"", "You add numbers, all of them.",
                                            "YOU add numbers."};
        for (size_t i = 0; i < CSN_COUNT(texts); i++) {
          rq.instructions = csn_cstr(texts[i]);
          same_as_new(&ep, rq, &body, &kept);
        }
      }
      if (n == 12) /* fewer items than before */
        same_as_new(&ep, request(&t, 3), &body, &kept);
    }
    csn_buf_fini(&body);
  }
  csn_arena_free(t.a);
}

/* Members after the items; a cap that shrinks from turn to turn. */
TEST(a_cap_of_the_reply_does_not_change_the_beginning)
{
  struct talk t;
  talk_init(&t);
  const csn_endpoint ep = {.custom_tools = true};
  csn_buf body = CSN_BUF(BODY_MAX);
  csn_kept_body kept = {0};
  csn_err err;
  for (size_t n = 1; n <= t.n; n += 2) {
    csn_model_request rq = request(&t, n);
    rq.cap_is_last = true;
    csn_str text = csn_arena_printf(t.a, "{\"max_tokens\":%zu,\"extra_body\":{\"zeta\":%zu%s}}",
                                    100000 - n, n, n == 11 ? ",\"input\":\"all of it\"" : "");
    OK(csn_json_parse(t.a, text, &rq.settings, &err), &err);
    size_t end = kept.items_end;
    csn_str shared = csn_arena_dup(t.a, csn_strn(body.p, end));
    same_as_new(&ep, rq, &body, &kept);
    if (n != 11)
      assert_true(csn_str_starts(csn_buf_str(&body), shared));
    assert_int_equal(kept.n_items, n == 11 ? 0 : n);
  }
  csn_buf_fini(&body);
  csn_arena_free(t.a);
}

TEST(a_body_past_its_cap_is_an_error_and_the_next_is_written_anew)
{
  struct talk t;
  talk_init(&t);
  const csn_endpoint ep = {.custom_tools = true};
  csn_buf body = CSN_BUF(1200), path = CSN_BUF(100);
  csn_kept_body kept = {0};
  csn_err err;
  size_t n = 1;
  int rc = 0;
  for (; rc == 0 && n <= t.n; n += 2) {
    csn_model_request rq = request(&t, n);
    rq.kept = &kept;
    csn_buf_clear(&path);
    rc = csn_model_find(CSN_STR("responses"))->encode(&ep, &rq, &body, &path, &err);
  }
  assert_int_equal(rc, CSN_E_LIMIT);
  assert_true(n > 3 && n < t.n);
  same_as_new(&ep, request(&t, 3), &body, &kept);
  csn_buf_fini(&body);
  csn_buf_fini(&path);
  csn_arena_free(t.a);
}

RUN_TESTS("model/prefix", RUN(each_body_begins_with_the_one_before),
          RUN(a_body_that_was_added_to_is_the_one_that_is_written_anew),
          RUN(a_cap_of_the_reply_does_not_change_the_beginning),
          RUN(a_body_past_its_cap_is_an_error_and_the_next_is_written_anew))
