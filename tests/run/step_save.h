/* SPDX-License-Identifier: Apache-2.0
 * step_save.h - a part of test_step.c: checkpoints, and a sandbox that was lost. */
#ifndef CSN_TESTS_RUN_STEP_SAVE_H
#define CSN_TESTS_RUN_STEP_SAVE_H

#include "play.h"

#define TOUCHED(effect, id)                                                                        \
  "{\"effect\":" #effect ",\"sandbox\":true,\"items\":[{\"type\":\"function_call_output\","        \
  "\"call_id\":\"" id "\",\"output\":\"ok\"}]}"
#define CALLS(effect, id)                                                                          \
  "{\"effect\":" #effect ",\"items\":[" CALL(id, "x") "],\"usage\":{\"total_tokens\":1}}"

/* To the model call that follows a turn in which the sandbox was used: 8 and,
 * with a checkpoint, 9. */
static void
begin_saving(struct play *p, int64_t every_ms, const char *want)
{
  begin(p, "{\"sandbox\":{}}");
  csn_state_set_checkpoint(&p->st, every_ms);
  play(p, CSN_EV_INPUT, HELLO, "sandbox_open@2");
  play(p, CSN_EV_SANDBOX_READY, "{\"effect\":2}", "model_call@4");
  play(p, CSN_EV_MODEL_REPLIED, CALLS(4, "a"), "tool_call@6");
  play(p, CSN_EV_TOOL_RETURNED, TOUCHED(6, "a"), want);
}

TEST(a_turn_that_used_the_sandbox_is_saved_beside_the_next_model_call)
{
  struct play p;
  begin_saving(&p, 0, "model_call@8 sandbox_checkpoint@9");
  last_holds(&p, "\"of\":\"workspace\"");
  play(&p, CSN_EV_MODEL_REPLIED, CALLS(8, "b"), ""); /* nothing is called meanwhile */
  play(&p, CSN_EV_CHECKPOINTED, "{\"effect\":9,\"snapshot\":\"s\"}", "tool_call@12");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(12, "b"), "model_call@14"); /* elsewhere */
  play(&p, CSN_EV_SANDBOX_LOST, "{\"restored\":{}}", "");
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(14, "x"), "finish@17 sandbox_close@18");
  end(&p);
}

TEST(a_checkpoint_that_could_not_be_made_is_tried_again)
{
  struct play p;
  begin_saving(&p, 0, "model_call@8 sandbox_checkpoint@9");
  play(&p, CSN_EV_CHECKPOINTED, "{\"effect\":9,\"again\":true}", "");
  play(&p, CSN_EV_MODEL_REPLIED, CALLS(8, "b"), "tool_call@12");
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(12, "b"), "model_call@14 sandbox_checkpoint@15");
  play(&p, CSN_EV_CANCEL_REQUESTED, "{}", "model_cancel@17");
  play(&p, CSN_EV_MODEL_FAILED, "{\"effect\":14,\"error\":{\"message\":\"c\"}}", "");
  play(&p, CSN_EV_CHECKPOINTED, "{\"effect\":15}", "finish@20 sandbox_close@21");
  end(&p);
}

TEST(so_much_time_lies_between_two_checkpoints_and_none_are_made_unasked)
{
  struct play p;
  begin_saving(&p, 60000, "model_call@8");
  play(&p, CSN_EV_MODEL_REPLIED, CALLS(8, "b"), "tool_call@10");
  p.ts += 60000;
  play(&p, CSN_EV_TOOL_RETURNED, OUTPUT(10, "b"), "model_call@12 sandbox_checkpoint@13");
  end(&p);
  begin_saving(&p, -1, "model_call@8");
  end(&p);
}

TEST(a_model_that_is_being_asked_hears_of_a_loss)
{
  struct play p;
  begin_saving(&p, -1, "model_call@8");
  play(&p, CSN_EV_SANDBOX_LOST,
       "{\"restored\":{},\"items\":[{\"role\":\"user\",\"content\":\"lost\"}]}", "model_call@10");
  last_holds(&p, "\"items\":[1,9]");
  assert_int_equal(p.st.turns, 2);
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(10, "x"), "finish@12 sandbox_close@13");
  end(&p);
  begin(&p, "{\"sandbox\":{},\"outputs\":[{\"path\":\"a\"}]}");
  play(&p, CSN_EV_INPUT, HELLO, "sandbox_open@2");
  play(&p, CSN_EV_SANDBOX_READY, "{\"effect\":2}", "model_call@4");
  play(&p, CSN_EV_MODEL_REPLIED, MESSAGE(4, "x"), "sandbox_checkpoint@6");
  play(&p, CSN_EV_SANDBOX_LOST, "{\"restored\":{}}", "");
  play(&p, CSN_EV_CHECKPOINTED, "{\"effect\":6}", "finish@9 sandbox_close@10");
  end(&p);
}

/* clang-format off */
#define STEP_SAVE_TESTS                                                                            \
  RUN(a_turn_that_used_the_sandbox_is_saved_beside_the_next_model_call),                           \
  RUN(a_checkpoint_that_could_not_be_made_is_tried_again),                                         \
  RUN(so_much_time_lies_between_two_checkpoints_and_none_are_made_unasked),                        \
  RUN(a_model_that_is_being_asked_hears_of_a_loss)
/* clang-format on */

#endif
