/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "model/backends.h"
#include "talk.h"

static char path[] = "/tmp/caisson-script-XXXXXX";

/* Writes the playbook anew and answers with it. */
static int
ask(struct talk *t, const char *book)
{
  int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
  bool ok = fd >= 0 && write(fd, book, strlen(book)) == (ssize_t)strlen(book);
  close(fd);
  assert_true(ok);
  t->reply = (csn_model_reply){0};
  return csn_model_script.answer(t->a, csn_cstr(path), &t->rq, &t->reply, &t->err);
}

TEST(a_playbook_in_yaml_answers)
{
  static const char book[] = "about: a test\n"
                             "rules:\n"
                             "  - name: list\n"
                             "    when: {first: true}\n"
                             "    say: I look.\n"
                             "    reply:\n"
                             "      - exec_command: {cmd: ls, yield_time_ms: 5000}\n"
                             "  - name: patch\n"
                             "    when:\n"
                             "      exit: 0\n"
                             "      matches: '^(?<file>[a-z]+\\.c)$'\n"
                             "    reply:\n"
                             "      - apply_patch: |\n"
                             "          *** Begin Patch\n"
                             "          *** Delete File: ${file}\n"
                             "          *** End Patch\n";
  struct talk t = {0};
  talk_begin(&t, CSN_STR("go"));
  OK(ask(&t, book), &t.err);
  STR_EQ(talk_got(&t, 0, "text"), "I look.");
  STR_EQ(talk_got(&t, 1, "arguments"), "{\"cmd\":\"ls\",\"yield_time_ms\":5000}");
  talk_take_reply(&t);
  talk_frame(&t, 1, "1", "exited with code 0", "a.h\nb.c\n");
  OK(ask(&t, book), &t.err);
  STR_EQ(talk_got(&t, 0, "input"), "*** Begin Patch\n*** Delete File: b.c\n*** End Patch\n");
  talk_end(&t);
}

TEST(mistakes_are_named_with_file_and_line)
{
  static const struct {
    const char *book, *says;
  } table[] = {
      {"rules:\n  - name: a\n    wenn: {}\n    reply: x\n", ":3: unknown key 'wenn'"},
      {"rules:\n  - name: a\n    reply: x\n  - name: b\n    when:\n      matches: '('\n    reply: "
       "x\n",
       ":6: matches: pattern '('"},
      {"rules:\n  - name: a\n    reply:\n      - f:\n          x: 1\n          y: '${who}'\n",
       ":6: ${who} stands for nothing"},
      {"rules:\n  - name: a\n    reply: x\n  - name: b\n    when: {after: c}\n    reply: x\n",
       ":5: after: there is no rule 'c'"},
      {"rules: 3\n", ":1: rules: expected a list"},
      {"rules:\n  - name: a\n  reply\n", ":4"},
      {"- a\n", "expected a playbook"},
  };
  struct talk t = {0};
  talk_begin(&t, CSN_STR("go"));
  for (size_t i = 0; i < CSN_COUNT(table); i++) {
    assert_true(ask(&t, table[i].book) < 0);
    if (!strstr(t.err.msg, table[i].says) || !strstr(t.err.msg, path))
      fail_msg("got '%s', expected '%s'", t.err.msg, table[i].says);
  }
  talk_end(&t);
}

TEST(a_file_that_cannot_be_read_is_named)
{
  struct talk t = {0};
  talk_begin(&t, CSN_STR("go"));
  const csn_model_ops *ops = csn_model_find(CSN_STR("script"));
  assert_ptr_equal(ops, &csn_model_script);
  assert_int_equal(ops->answer(t.a, CSN_STR("/no/such.yaml"), &t.rq, &t.reply, &t.err),
                   CSN_E_NOT_FOUND);
  assert_non_null(strstr(t.err.msg, "/no/such.yaml"));
  assert_int_equal(ops->answer(t.a, CSN_STR("/tmp"), &t.rq, &t.reply, &t.err), CSN_E_INVALID);
  assert_int_equal(ops->answer(t.a, CSN_STR(""), &t.rq, &t.reply, &t.err), CSN_E_INVALID);
  talk_end(&t);
}

static int
make_file(void **state)
{
  int fd = mkstemp(path);
  return fd < 0 ? -1 : close(fd);
}

static int
remove_file(void **state)
{
  return unlink(path);
}

int
main(void)
{
  const struct CMUnitTest all[] = {RUN(a_playbook_in_yaml_answers),
                                   RUN(mistakes_are_named_with_file_and_line),
                                   RUN(a_file_that_cannot_be_read_is_named)};
  cmocka_set_message_output(CM_OUTPUT_TAP);
  return cmocka_run_group_tests_name("model/script", all, make_file, remove_file);
}
