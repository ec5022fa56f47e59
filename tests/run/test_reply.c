/* SPDX-License-Identifier: Apache-2.0
 *
 * What a model's reply may not hold. */
#include "play.h"

#define NUL_CALL(id, name, args)                                                                   \
  "{\"type\":\"function_call\",\"call_id\":\"" id "\",\"name\":\"" name "\",\"arguments\":\"" args \
  "\"}"

TEST(a_nul_in_a_call_does_not_make_it_look_like_another)
{
  struct play p;
  begin(&p, "{}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[" NUL_CALL("a", "exec\\u0000x", "{}\\u0000rm") "]}",
       "tool_call@4");
  assert_true(csn_str_find(last_effect(&p), CSN_STR("exec\xef\xbf\xbdx"), 0) != SIZE_MAX);
  assert_true(csn_str_find(last_effect(&p), CSN_STR("{}\xef\xbf\xbdrm"), 0) != SIZE_MAX);
  end(&p);
}

TEST(a_call_id_with_a_nul_fails_the_run)
{
  struct play p;
  begin(&p, "{}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  play(&p, CSN_EV_MODEL_REPLIED,
       "{\"effect\":2,\"items\":[" CALL("b", "x") "," NUL_CALL("a\\u0000b", "x", "{}") "]}",
       "finish@4");
  assert_string_equal(p.st.reason, "model");
  assert_int_equal(p.st.tool_calls, 0);
  end(&p);
}

TEST(a_reply_with_thousands_of_calls_fails_the_run)
{
  struct play p;
  csn_auto(csn_buf_finip) csn_buf reply = CSN_BUF(1 << 20);
  begin(&p, "{}");
  play(&p, CSN_EV_INPUT, HELLO, "model_call@2");
  csn_buf_addz(&reply, "{\"effect\":2,\"items\":[" CALL("c", "x"));
  for (int i = 0; i < 5000; i++)
    csn_buf_addz(&reply, "," CALL("c", "x"));
  csn_buf_addz(&reply, "]}");
  play(&p, CSN_EV_MODEL_REPLIED, reply.p, "finish@4");
  assert_string_equal(p.st.reason, "model");
  assert_non_null(strstr(p.st.message, "5001 tool calls"));
  end(&p);
}

RUN_TESTS("run/reply", RUN(a_nul_in_a_call_does_not_make_it_look_like_another),
          RUN(a_call_id_with_a_nul_fails_the_run),
          RUN(a_reply_with_thousands_of_calls_fails_the_run))
