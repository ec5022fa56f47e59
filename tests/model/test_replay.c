/* SPDX-License-Identifier: Apache-2.0 */
#include "model/backends.h"
#include "talk.h"

static const char journal[] =
    "{\"seq\":0,\"kind\":\"run\",\"data\":{\"agent\":{}},\"hash\":\"x\"}\n"
    "{\"seq\":1,\"kind\":\"input\",\"data\":{\"items\":[{\"role\":\"user\",\"content\":\"go\"}]}}\n"
    "{\"seq\":2,\"kind\":\"model_call\",\"data\":{\"turn\":1,\"items\":[1,1]}}\n"
    "{\"seq\":3,\"kind\":\"model_replied\",\"data\":{\"effect\":2,\"items\":["
    "{\"type\":\"reasoning\",\"summary\":[]},"
    "{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"exec_command\",\"arguments\":\"{}\"}"
    "],"
    "\"usage\":{\"input_tokens\":10,\"output_tokens\":3,\"total_tokens\":13},"
    "\"response_id\":\"r1\"}}\n"
    "{\"seq\":4,\"kind\":\"note\",\"data\":{\"note\":\"x\"}}\n"
    "{\"seq\":5,\"kind\":\"tool_returned\",\"data\":{\"effect\":4,\"items\":["
    "{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"Chunk ID: 123456\\n"
    "Wall time: 1.0000 seconds\\nProcess exited with code 0\\nOutput:\\nhello\\n\"}]}}\n"
    "{\"seq\":6,\"kind\":\"model_replied\",\"data\":{\"effect\":5,\"items\":["
    "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\","
    "\"text\":\"bye\"}]}]}}\n";

static char path[] = "/tmp/caisson-replay-XXXXXX";

static int
write_journal(void **state)
{
  int fd = mkstemp(path);
  bool ok = fd >= 0 && write(fd, journal, sizeof journal - 1) == (ssize_t)sizeof journal - 1;
  close(fd);
  return ok ? 0 : -1;
}

static int
remove_journal(void **state)
{
  return unlink(path);
}

static int
ask(struct talk *t)
{
  t->reply = (csn_model_reply){0};
  return csn_model_replay.answer(t->a, csn_cstr(path), &t->rq, &t->reply, &t->err);
}

static void
first_turn(struct talk *t)
{
  talk_begin(t, CSN_STR("go"));
  OK(ask(t), &t->err);
  talk_take_reply(t);
}

TEST(the_recorded_replies_come_again_in_order)
{
  struct talk t = {0};
  first_turn(&t);
  assert_int_equal(t.reply.n_items, 2);
  STR_EQ(t.reply.items[0], "{\"type\":\"reasoning\",\"summary\":[]}");
  assert_int_equal(t.reply.usage.input_tokens, 10);
  assert_int_equal(t.reply.usage.total_tokens, 13);
  STR_EQ(t.reply.response_id, "r1");
  talk_frame(&t, 1, "9", "exited with code 0", "hello\n"); /* other chunk id and time */
  OK(ask(&t), &t.err);
  STR_EQ(talk_got(&t, 0, "text"), "bye");
  talk_take_reply(&t);
  talk_begin(&t, CSN_STR("more"));
  assert_int_equal(ask(&t), CSN_E_REPLAY);
  assert_non_null(strstr(t.err.msg, "turn 3: the recording ends after 2 turns"));
  talk_end(&t);
}

TEST(another_output_exit_code_or_item_count_is_an_error_that_names_the_turn)
{
  static const struct {
    const char *end, *output, *says;
  } table[] = {
      {"exited with code 0", "hell\n", "turn 2: item 4 of the conversation differs"},
      {"exited with code 1", "hello\n", "turn 2: item 4"},
      {"running with session ID 5", "hello\n", "turn 2: item 4"},
  };
  for (size_t i = 0; i < CSN_COUNT(table); i++) {
    struct talk t = {0};
    first_turn(&t);
    talk_frame(&t, 1, "1", table[i].end, table[i].output);
    assert_int_equal(ask(&t), CSN_E_REPLAY);
    assert_non_null(strstr(t.err.msg, table[i].says));
    talk_end(&t);
  }
  struct talk t = {0};
  first_turn(&t);
  assert_int_equal(ask(&t), CSN_E_REPLAY); /* the output is missing */
  assert_non_null(strstr(t.err.msg, "turn 2: the conversation has 3 items, 4"));
  talk_end(&t);
  talk_begin(&t, CSN_STR("come"));
  assert_int_equal(ask(&t), CSN_E_REPLAY);
  assert_non_null(strstr(t.err.msg, "'come' now, 'go' then"));
  talk_end(&t);
}

TEST(a_file_that_is_missing_or_no_journal_is_named)
{
  struct talk t = {0};
  talk_begin(&t, CSN_STR("go"));
  int rc = csn_model_replay.answer(t.a, CSN_STR("/nonexistent/x"), &t.rq, &t.reply, &t.err);
  assert_int_equal(rc, CSN_E_NOT_FOUND);
  rc = csn_model_replay.answer(t.a, CSN_STR("/tmp"), &t.rq, &t.reply, &t.err);
  assert_int_equal(rc, CSN_E_INVALID);
  rc = csn_model_replay.answer(t.a, CSN_STR("/etc/hostname"), &t.rq, &t.reply, &t.err);
  assert_int_equal(rc, CSN_E_PARSE);
  assert_non_null(strstr(t.err.msg, "line 1"));
  talk_end(&t);
}

int
main(void)
{
  const struct CMUnitTest all[] = {
      RUN(the_recorded_replies_come_again_in_order),
      RUN(another_output_exit_code_or_item_count_is_an_error_that_names_the_turn),
      RUN(a_file_that_is_missing_or_no_journal_is_named)};
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return cmocka_run_group_tests_name("model/replay", all, write_journal, remove_journal);
}
