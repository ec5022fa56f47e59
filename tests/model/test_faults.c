/* SPDX-License-Identifier: Apache-2.0
 *
 * What each provider says when it cannot answer, for each API: what it counts
 * as, whether the request is made again, after which pause.  Servers that send
 * this are in e2e/models, cuts at every byte in test_golden.c. */
#include "check.h"
#include "model/backends.h"
#include "model/reply.h"
#include "model/retry.h"

enum { APIS = 4 };
static const csn_model_ops *const apis[APIS] = {&csn_model_responses, &csn_model_chat,
                                                &csn_model_anthropic, &csn_model_gemini};

/* Of one reply, whole: what it counts as. */
static csn_err
fail_with(const csn_model_ops *ops, int status, const char *type, csn_str retry_after,
          const char *body)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_model_request rq = {.model = CSN_STR("m")};
  csn_model_reply reply = {0};
  csn_err err = {0};
  csn_reply_head h = {.status = status, .content_type = csn_cstr(type), .retry_after = retry_after};
  csn_decoder *d = ops->decoder(a, &h, &rq, NULL, NULL);
  int rc = ops->feed(d, csn_cstr(body), &err);
  if (rc == 0)
    rc = ops->finish(d, &reply, &err);
  ops->close(d);
  if (rc >= 0)
    fail_msg("%s took %d %s for a reply", ops->name, status, body);
  assert_int_equal(rc, err.code);
  assert_true(err.msg[0]);
  return err;
}

static void
check(const csn_model_ops *ops, const csn_err *err, enum csn_code code, const char *what)
{
  if (err->code != code)
    fail_msg("%s, %s: %s (%s), expected %s", ops->name, what, csn_code_name(err->code), err->msg,
             csn_code_name(code));
  csn_retry next = csn_retry_decide(&csn_retry_default, 1, err, false, 0);
  bool again = code == CSN_E_UNAVAILABLE;
  if (next.again != again)
    fail_msg("%s, %s: %s", ops->name, what, again ? "not tried again" : "tried again");
}

/* ---- statuses ---- */

static const struct {
  int status;
  const char *body[APIS]; /* NULL: as that of the first */
  bool passes;
} statuses[] = {
    {401,
     {"{\"error\":{\"message\":\"Incorrect API key\",\"code\":\"invalid_api_key\"}}", NULL,
      "{\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":\"m\"}}",
      "{\"error\":{\"code\":401,\"message\":\"m\",\"status\":\"UNAUTHENTICATED\"}}"},
     false},
    {403,
     {"{\"error\":{\"message\":\"m\",\"code\":\"unsupported_country_region_territory\"}}", NULL,
      "{\"type\":\"error\",\"error\":{\"type\":\"permission_error\",\"message\":\"m\"}}",
      "{\"error\":{\"code\":403,\"message\":\"m\",\"status\":\"PERMISSION_DENIED\"}}"},
     false},
    {404,
     {"{\"error\":{\"message\":\"m\",\"code\":\"model_not_found\"}}", NULL,
      "{\"type\":\"error\",\"error\":{\"type\":\"not_found_error\",\"message\":\"m\"}}",
      "{\"error\":{\"code\":404,\"message\":\"m\",\"status\":\"NOT_FOUND\"}}"},
     false},
    {408,
     {"{\"error\":{\"message\":\"m\",\"code\":null}}", NULL,
      "{\"type\":\"error\",\"error\":{\"type\":\"timeout_error\",\"message\":\"m\"}}",
      "{\"error\":{\"code\":408,\"message\":\"m\",\"status\":\"DEADLINE_EXCEEDED\"}}"},
     true},
    {409,
     {"{\"error\":{\"message\":\"m\",\"code\":\"conflict\"}}", NULL,
      "{\"type\":\"error\",\"error\":{\"type\":\"conflict_error\",\"message\":\"m\"}}",
      "{\"error\":{\"code\":409,\"message\":\"m\",\"status\":\"ABORTED\"}}"},
     true},
    {413,
     {"{\"error\":{\"message\":\"m\",\"code\":\"payload_too_large\"}}", NULL,
      "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"m\"}}",
      "{\"error\":{\"code\":413,\"message\":\"m\",\"status\":\"INVALID_ARGUMENT\"}}"},
     false},
    {429,
     {"{\"error\":{\"message\":\"m\",\"code\":\"rate_limit_exceeded\"}}", NULL,
      "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"m\"}}",
      "{\"error\":{\"code\":429,\"message\":\"m\",\"status\":\"RESOURCE_EXHAUSTED\"}}"},
     true},
    {500,
     {"{\"error\":{\"message\":\"m\",\"type\":\"server_error\"}}", NULL,
      "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"m\"}}",
      "{\"error\":{\"code\":500,\"message\":\"m\",\"status\":\"INTERNAL\"}}"},
     true},
    {502,
     {"<html><h1>502 Bad Gateway</h1></html>", NULL, "<html>502</html>", "<html>502</html>"},
     true},
    {503,
     {"{\"error\":{\"message\":\"m\",\"code\":\"server_is_overloaded\"}}", NULL,
      "no healthy upstream",
      "{\"error\":{\"code\":503,\"message\":\"m\",\"status\":\"UNAVAILABLE\"}}"},
     true},
    {529,
     {"{\"error\":{\"message\":\"m\",\"code\":\"overloaded\"}}", NULL,
      "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}",
      "{\"error\":{\"code\":529,\"message\":\"m\"}}"},
     true},
};

TEST(each_status_passes_or_stays_for_each_api)
{
  for (size_t i = 0; i < CSN_COUNT(statuses); i++)
    for (size_t k = 0; k < APIS; k++) {
      const char *body = statuses[i].body[k] ? statuses[i].body[k] : statuses[i].body[0];
      const char *const bodies[] = {body, "", "{", "[]"}; /* as documented, and as gateways do */
      for (size_t b = 0; b < CSN_COUNT(bodies); b++) {
        char what[20];
        csn_err err =
            fail_with(apis[k], statuses[i].status, "application/json", CSN_STR(""), bodies[b]);
        snprintf(what, sizeof what, "%d body %zu", statuses[i].status, b);
        check(apis[k], &err, statuses[i].passes ? CSN_E_UNAVAILABLE : CSN_E_MODEL, what);
        assert_int_equal(err.http_status, statuses[i].status);
      }
    }
}

TEST(the_pause_that_is_asked_for_is_made)
{
  for (size_t k = 0; k < APIS; k++)
    for (int status = 429; status <= 529; status += 100) {
      csn_err err = fail_with(apis[k], status, "application/json", CSN_STR("7"), "{}");
      assert_int_equal(err.retry_after_ms, 7000);
      csn_retry next = csn_retry_decide(&csn_retry_default, 1, &err, false, 0);
      assert_true(next.again && next.delay_ms == 7000);
      err = fail_with(apis[k], status, "application/json", CSN_STR("9000"), "{}");
      assert_false(csn_retry_decide(&csn_retry_default, 1, &err, false, 0).again);
    }
}

/* ---- in streams, and requests that are too long ---- */

#define SAID_RESPONSES "data: {\"type\":\"response.output_text.delta\",\"delta\":\"half\"}\n\n"
#define SAID_CHAT "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"half\"}}]}\n\n"
#define SAID_ANTHROPIC                                                                             \
  "data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[]}}\n\n"               \
  "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\","      \
  "\"text\":\"\"}}\n\n"                                                                            \
  "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\","        \
  "\"text\":\"half\"}}\n\n"
#define SAID_GEMINI                                                                                \
  "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"half\"}]},"      \
  "\"index\":0}]}\n\n"

static const struct {
  size_t api;
  int status;
  const char *body;
  enum csn_code code;
} others[] = {
    {0, 200,
     SAID_RESPONSES
     "data: {\"type\":\"error\",\"code\":\"server_is_overloaded\",\"message\":\"m\"}\n\n",
     CSN_E_UNAVAILABLE},
    {0, 200,
     SAID_RESPONSES "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\","
                    "\"error\":{\"code\":\"server_error\",\"message\":\"m\"}}}\n\n",
     CSN_E_UNAVAILABLE},
    {0, 200,
     SAID_RESPONSES "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\","
                    "\"error\":{\"code\":\"context_length_exceeded\",\"message\":\"m\"}}}\n\n",
     CSN_E_TOO_LONG},
    {0, 200, SAID_RESPONSES, CSN_E_UNAVAILABLE}, /* and then nothing */
    {1, 200, SAID_CHAT "data: {\"error\":{\"message\":\"m\",\"code\":\"overloaded\"}}\n\n",
     CSN_E_UNAVAILABLE},
    {1, 200, SAID_CHAT "data: {\"error\":{\"message\":\"m\",\"code\":502}}\n\n", CSN_E_UNAVAILABLE},
    {1, 200,
     SAID_CHAT "data: {\"error\":{\"message\":\"m\",\"code\":\"context_length_exceeded\"}}\n\n",
     CSN_E_TOO_LONG},
    {1, 200, SAID_CHAT, CSN_E_UNAVAILABLE},
    {2, 200,
     SAID_ANTHROPIC "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
                    "\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
     CSN_E_UNAVAILABLE},
    {2, 200,
     SAID_ANTHROPIC "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\","
                    "\"message\":\"m\"}}\n\n",
     CSN_E_UNAVAILABLE},
    {2, 200,
     SAID_ANTHROPIC "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
                    "\"invalid_request_error\",\"message\":\"prompt is too long: 9 > 8\"}}\n\n",
     CSN_E_TOO_LONG},
    {2, 200, SAID_ANTHROPIC, CSN_E_UNAVAILABLE},
    {3, 200,
     SAID_GEMINI
     "data: {\"error\":{\"code\":503,\"message\":\"m\",\"status\":\"UNAVAILABLE\"}}\n\n",
     CSN_E_UNAVAILABLE},
    {3, 200,
     SAID_GEMINI
     "data: {\"error\":{\"code\":400,\"message\":\"m\",\"status\":\"INVALID_ARGUMENT\"}}\n\n",
     CSN_E_MODEL},
    {3, 200, SAID_GEMINI, CSN_E_UNAVAILABLE},
    {0, 400,
     "{\"error\":{\"message\":\"Your input exceeds the context window of this model.\","
     "\"type\":\"invalid_request_error\",\"code\":\"context_length_exceeded\"}}",
     CSN_E_TOO_LONG},
    {1, 400,
     "{\"error\":{\"message\":\"This model's maximum context length is 8192 tokens.\","
     "\"code\":\"context_length_exceeded\"}}",
     CSN_E_TOO_LONG},
    {2, 400,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\","
     "\"message\":\"prompt is too long: 208310 tokens > 200000 maximum\"}}",
     CSN_E_TOO_LONG},
    {2, 413,
     "{\"type\":\"error\",\"error\":{\"type\":\"request_too_large\","
     "\"message\":\"Request exceeds the maximum size\"}}",
     CSN_E_TOO_LONG},
    {3, 400,
     "{\"error\":{\"code\":400,\"message\":\"The input token count (1200000) exceeds the maximum "
     "number of tokens allowed (1048576).\",\"status\":\"INVALID_ARGUMENT\"}}",
     CSN_E_TOO_LONG},
};

TEST(errors_inside_streams_and_requests_that_are_too_long_are_told_apart)
{
  for (size_t i = 0; i < CSN_COUNT(others); i++) {
    const csn_model_ops *ops = apis[others[i].api];
    const char *type = others[i].status == 200 ? "text/event-stream" : "application/json";
    csn_err err = fail_with(ops, others[i].status, type, CSN_STR(""), others[i].body);
    check(ops, &err, others[i].code, others[i].body);
  }
}

RUN_TESTS("model/faults", RUN(each_status_passes_or_stays_for_each_api),
          RUN(the_pause_that_is_asked_for_is_made),
          RUN(errors_inside_streams_and_requests_that_are_too_long_are_told_apart))
