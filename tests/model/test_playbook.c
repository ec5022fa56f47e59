/* SPDX-License-Identifier: Apache-2.0 */
#include "model/playbook.h"
#include "talk.h"

/* Answers with a playbook written as JSON with single quotes. */
static int
ask(struct talk *t, const char *book)
{
  char *text = csn_dupz(csn_cstr(book));
  for (char *c = text; *c; c++)
    if (*c == '\'')
      *c = '"';
  csn_auto(csn_playbook_freep) csn_playbook *p = NULL;
  const csn_json *v;
  csn_transcript tr;
  t->reply = (csn_model_reply){0};
  csn_str kept = csn_arena_dup(t->a, csn_cstr(text));
  free(text);
  OK(csn_json_parse(t->a, kept, &v, &t->err), &t->err);
  int rc = csn_playbook_new(&p, v, "book", &t->err);
  if (rc == 0)
    rc = csn_transcript_read(t->a, &t->rq, &tr, &t->err);
  return rc < 0 ? rc : csn_playbook_answer(p, t->a, &t->rq, &tr, &t->reply, &t->err);
}

static const char fixer[] =
    "{'about':'x','rules':["
    "{'name':'start','when':{'first':true},'say':'I "
    "look.','reply':[{'exec_command':{'cmd':'make'}}]},"
    "{'name':'poll','when':{'exit':'running'},'reply':[{'write_stdin':{'session_id':'${int:session}"
    "'}}]},"
    "{'name':'fix','when':{'tool':'exec_command','exit':'nonzero','times':2,"
    " 'matches':'^(?<file>[a-z]+[.]c):([0-9]+): no (.*)$'},"
    " 'reply':[{'apply_patch':'*** ${file} ${2} ${3} $${x} ${exit}\\n'},{'exec_command':{'cmd':'ls "
    "${sh:3}','n':[1,'${1}']}}]},"
    "{'name':'again','when':{'after':'fix','tool':'apply_patch','contains':['Updated','c']},'reply'"
    ":[{'exec_command':{'cmd':'make'}}]},"
    "{'name':'done','when':{'exit':0,'not_contains':'FAIL'},'reply':'Done in turn ${turn}: "
    "${output}'}]}";

TEST(a_conversation_goes_from_rule_to_rule)
{
  struct talk t = {0};
  talk_begin(&t, CSN_STR("fix it"));
  OK(ask(&t, fixer), &t.err);
  assert_int_equal(t.reply.n_items, 2);
  STR_EQ(talk_got(&t, 0, "text"), "I look.");
  STR_EQ(talk_got(&t, 1, "type"), "function_call");
  STR_EQ(talk_got(&t, 1, "call_id"), "call_1_start");
  STR_EQ(talk_got(&t, 1, "arguments"), "{\"cmd\":\"make\"}");
  talk_take_reply(&t);
  talk_frame(&t, 1, "2", "exited with code 2", "x.c: fine\nabc.c:12: no it's\nlast\n");
  OK(ask(&t, fixer), &t.err);
  assert_int_equal(t.reply.n_items, 2);
  STR_EQ(talk_got(&t, 0, "type"), "custom_tool_call");
  STR_EQ(talk_got(&t, 0, "input"), "*** abc.c 12 it's ${x} 2\n");
  STR_EQ(talk_got(&t, 0, "call_id"), "call_2_fix");
  STR_EQ(talk_got(&t, 1, "call_id"), "call_3_fix");
  STR_EQ(talk_got(&t, 1, "arguments"), "{\"cmd\":\"ls 'it'\\\\''s'\",\"n\":[1,\"abc.c\"]}");
  talk_take_reply(&t);
  talk_output(&t, 0, CSN_STR("Updated abc.c"));
  talk_frame(&t, 1, "3", "exited with code 0", "abc.c");
  OK(ask(&t, fixer), &t.err);
  STR_EQ(talk_got(&t, 0, "call_id"), "call_4_again");
  talk_take_reply(&t);
  talk_frame(&t, 0, "4", "exited with code 0", "5 passed\n");
  OK(ask(&t, fixer), &t.err);
  STR_EQ(talk_got(&t, 0, "text"), "Done in turn 4: 5 passed");
  talk_end(&t);
}

TEST(a_command_that_still_runs_is_polled_and_each_tool_has_its_own_output)
{
  struct talk t = {0};
  talk_begin(&t, CSN_STR("fix it"));
  OK(ask(&t, fixer), &t.err);
  talk_take_reply(&t);
  talk_frame(&t, 1, "1", "running with session ID 4711", "");
  OK(ask(&t, fixer), &t.err);
  STR_EQ(talk_got(&t, 0, "name"), "write_stdin");
  STR_EQ(talk_got(&t, 0, "arguments"), "{\"session_id\":4711}");
  talk_take_reply(&t);
  talk_frame(&t, 0, "2", "exited with code 2", "abc.c:12: no way\n");
  OK(ask(&t, fixer), &t.err);
  STR_EQ(talk_got(&t, 0, "refusal"),
         "The playbook book has no rule for what it sees in turn 3: write_stdin ended with exit "
         "code 2 and said:\nabc.c:12: no way");
  talk_end(&t);
}

TEST(a_rule_that_fired_often_enough_gives_way_and_no_rule_is_a_refusal)
{
  struct talk t = {0};
  talk_begin(&t, CSN_STR("fix it"));
  for (int turn = 1; turn <= 4; turn++) {
    OK(ask(&t, fixer), &t.err);
    const char *want[] = {"call_1_start", "call_2_fix", "call_4_fix", "(missing)"};
    STR_EQ(talk_got(&t, t.reply.n_items - 1, "type"), turn < 4 ? "function_call" : "message");
    STR_EQ(talk_got(&t, turn == 1, "call_id"), want[turn - 1]);
    if (turn == 4)
      break;
    talk_take_reply(&t);
    talk_frame(&t, turn == 1 ? 1 : 0, "1", "exited with code 1", "a.c:1: no way\n");
    if (turn > 1)
      talk_frame(&t, 1, "1", "exited with code 1", "a.c:1: no way\n");
  }
  STR_EQ(talk_got(&t, 0, "refusal"),
         "The playbook book has no rule for what it sees in turn 4: exec_command ended with exit "
         "code 1 and said:\na.c:1: no way");
  talk_end(&t);
}

TEST(a_new_message_of_the_user_begins_again)
{
  static const char book[] =
      "{'rules':[{'name':'hi','when':{'first':true,'task':'^my name is (?<who>[A-Z][a-z]+)'},"
      "'reply':'Hello ${who}'},{'name':'no','when':{'turn':{'from':2,'to':2}},'fail':true,"
      "'reply':'I cannot ${task}'}]}";
  struct talk t = {0};
  talk_begin(&t, CSN_STR("my name is Ada."));
  OK(ask(&t, book), &t.err);
  STR_EQ(talk_got(&t, 0, "text"), "Hello Ada");
  STR_EQ(talk_got(&t, 0, "id"), "msg_1_hi");
  talk_take_reply(&t);
  talk_begin(&t, CSN_STR("fly"));
  OK(ask(&t, book), &t.err);
  STR_EQ(talk_got(&t, 0, "refusal"), "I cannot fly");
  talk_take_reply(&t);
  talk_begin(&t, CSN_STR("my name is Eve"));
  OK(ask(&t, book), &t.err);
  STR_EQ(talk_got(&t, 0, "text"), "Hello Eve");
  talk_end(&t);
}

TEST(patterns_span_lines_and_see_the_end_of_long_text)
{
  static const char book[] = "{'rules':[{'name':'a','when':{'first':true},'reply':[{'f':{}}]},"
                             "{'name':'slow','when':{'matches':'[(].*>$'},'reply':'no'},"
                             "{'name':'b','when':{'matches':['^int\\\\n([a-z_]+)[^\\\\n]*\\\\n[{]"
                             "\\\\n(?<body>\\\\t.*)$','x{2,3}y']},"
                             "'reply':'${1}|${body}'}]}";
  struct talk t = {0};
  talk_begin(&t, CSN_STR("go"));
  OK(ask(&t, book), &t.err);
  talk_take_reply(&t);
  char *big = csn_alloc(400001);
  memset(big, '(', 400000); /* a line on which the pattern of `slow` would take seconds */
  const char tail[] = "\nint\nmain_it(void)\n{\n\treturn 0;\n}\nxxy";
  memcpy(big + 400000 - strlen(tail), tail, strlen(tail));
  talk_output(&t, 0, csn_cstr(big));
  free(big);
  OK(ask(&t, book), &t.err);
  STR_EQ(talk_got(&t, 0, "text"), "main_it|\treturn 0;");
  talk_end(&t);
}

TEST(each_condition_holds_when_it_should_and_not_otherwise)
{
  static const struct {
    const char *when;
    bool holds;
  } table[] = {
      {"{'after':'a'}", true},
      {"{'after':'b'}", false},
      {"{'tool':'f'}", true},
      {"{'tool':'g'}", false},
      {"{'exit':3}", true},
      {"{'exit':2}", false},
      {"{'exit':0}", false},
      {"{'exit':'nonzero'}", true},
      {"{'exit':'running'}", false},
      {"{'contains':'two'}", true},
      {"{'contains':['one','two']}", true},
      {"{'contains':['one','six']}", false},
      {"{'contains':'Chunk'}", false},
      {"{'not_contains':'six'}", true},
      {"{'not_contains':'two'}", false},
      {"{'not_contains':['six','two']}", false},
      {"{'matches':['^one$','^two$']}", true},
      {"{'matches':['^one$','^six$']}", false},
      {"{'turn':2}", true},
      {"{'turn':1}", false},
      {"{'turn':{'from':2}}", true},
      {"{'turn':{'from':3}}", false},
      {"{'turn':{'to':1}}", false},
      {"{'task':'g.'}", true},
      {"{'task':'x'}", false},
      {"{'first':true}", false},
  };
  for (size_t i = 0; i < CSN_COUNT(table); i++) {
    struct talk t = {0};
    char book[400];
    snprintf(book, sizeof book,
             "{'rules':[{'name':'a','when':{'first':true},'reply':[{'f':{}}]},"
             "{'name':'b','when':%s,'reply':'yes'}]}",
             table[i].when);
    talk_begin(&t, CSN_STR("go"));
    OK(ask(&t, book), &t.err);
    talk_take_reply(&t);
    talk_frame(&t, 0, "1", "exited with code 3", "one\ntwo\n");
    OK(ask(&t, book), &t.err);
    if (csn_str_eq(talk_got(&t, 0, "text"), CSN_STR("yes")) != table[i].holds)
      fail_msg("%s: expected that it %s", table[i].when, table[i].holds ? "holds" : "does not");
    talk_end(&t);
  }
}

TEST(mistakes_are_named)
{
  static const struct {
    const char *rule, *says;
  } table[] = {
      {"{'name':'a','reply':'x','wen':{}}", "unknown key 'wen'; known here: name, when, say"},
      {"{'name':'a','when':{'exits':0},'reply':'x'}", "unknown key 'exits'"},
      {"{'name':'a','when':{'turn':{'form':1}},'reply':'x'}", "unknown key 'form'"},
      {"{'reply':'x'}", "name: expected 1 to 32"},
      {"{'name':'A b','reply':'x'}", "name: expected 1 to 32"},
      {"{'name':'a'}", "reply: missing"},
      {"{'name':'a','reply':{}}", "reply: expected a text or a list of calls"},
      {"{'name':'a','reply':[]}", "reply: no call"},
      {"{'name':'a','reply':['ls']}", "expected one tool and its arguments"},
      {"{'name':'a','reply':[{'f':{},'g':{}}]}", "expected one tool and its arguments"},
      {"{'name':'a','reply':[{'f':3}]}", "f: expected its arguments"},
      {"{'name':'a','reply':'${1}'}", "${1} stands for nothing"},
      {"{'name':'a','when':{'matches':'a(b)'},'reply':'${2}'}", "${2} stands for nothing"},
      {"{'name':'a','when':{'matches':'a'},'reply':[{'f':{'x':['${who}']}}]}", "${who} stands for"},
      {"{'name':'a','reply':'${open'}", "${} stands for nothing"},
      {"{'name':'a','reply':[{'f':{'x':'a ${int:exit}'}}]}", "must be the whole"},
      {"{'name':'a','reply':'${int:exit}'}", "must be the whole"},
      {"{'name':'a','when':{'matches':'(a'},'reply':'x'}", "pattern '(a'"},
      {"{'name':'a','when':{'matches':'[a'},'reply':'x'}", "'[' without its ']'"},
      {"{'name':'a','when':{'matches':'(a)\\\\1'},'reply':'x'}", "back-references"},
      {"{'name':'a','when':{'matches':'\\\\d'},'reply':'x'}", "write [0-9]"},
      {"{'name':'a','when':{'matches':'(?:a)'},'reply':'x'}", "(?<name>...)"},
      {"{'name':'a','when':{'matches':'(?<a>a)(?<a>a)'},'reply':'x'}", "taken by an earlier"},
      {"{'name':'a','when':{'matches':'(?<exit>a)'},'reply':'x'}", "a meaning of its own"},
      {"{'name':'a','when':{'matches':'(a{50}){50}'},'reply':'x'}", "more than 1,000"},
      {"{'name':'a','when':{'matches':''},'reply':'x'}", "1 to 2000 bytes"},
      {"{'name':'a','when':{'matches':7},'reply':'x'}", "matches: expected a pattern"},
      {"{'name':'a','when':{'contains':[7]},'reply':'x'}", "contains: expected text"},
      {"{'name':'a','when':{'exit':'bad'},'reply':'x'}", "exit: expected a number"},
      {"{'name':'a','when':{'times':0},'reply':'x'}", "times: expected a whole number"},
      {"{'name':'a','when':{'first':true,'exit':0},'reply':'x'}", "there is no output yet"},
      {"{'name':'a','when':{'first':false},'reply':'x'}", "only 'true'"},
      {"{'name':'a','when':{'after':'b'},'reply':'x'}", "there is no rule 'b'"},
      {"{'name':'a','say':'b','reply':'x'}", "a text already"},
      {"{'name':'a','fail':true,'reply':[{'f':{}}]}", "fail: goes with a text"},
      {"{'name':'a','reply':'x'},{'name':'a','reply':'x'}", "has it already"},
  };
  for (size_t i = 0; i < CSN_COUNT(table); i++) {
    struct talk t = {0};
    talk_begin(&t, CSN_STR("go"));
    char book[400];
    snprintf(book, sizeof book, "{'rules':[%s]}", table[i].rule);
    assert_int_equal(ask(&t, book), CSN_E_INVALID);
    if (!strstr(t.err.msg, table[i].says) || strncmp(t.err.msg, "book:", 5) != 0)
      fail_msg("%s: got '%s', expected '%s'", table[i].rule, t.err.msg, table[i].says);
    talk_end(&t);
  }
}

TEST(a_tool_gets_what_it_takes_and_numbers_are_numbers)
{
  struct talk t = {0};
  csn_tool_decl tools[] = {{.name = CSN_STR("f"), .schema = CSN_STR("{}")},
                           {.name = CSN_STR("g"), .format = CSN_STR("{}")}};
  talk_begin(&t, CSN_STR("go"));
  t.rq.tools = tools;
  t.rq.n_tools = 2;
  assert_int_equal(ask(&t, "{'rules':[{'name':'a','reply':[{'f':'text'}]}]}"), CSN_E_INVALID);
  assert_non_null(strstr(t.err.msg, "f takes arguments, not a text"));
  assert_int_equal(ask(&t, "{'rules':[{'name':'a','reply':[{'g':{}}]}]}"), CSN_E_INVALID);
  assert_non_null(strstr(t.err.msg, "g takes one text"));
  OK(ask(&t, "{'rules':[{'name':'a','reply':[{'g':'t'},{'f':{'n':1.50,'t':true}}]}]}"), &t.err);
  STR_EQ(talk_got(&t, 1, "arguments"), "{\"n\":1.50,\"t\":true}");
  assert_int_equal(ask(&t, "{'rules':[{'name':'a','reply':[{'f':{'n':'${int:session}'}}]}]}"),
                   CSN_E_INVALID);
  assert_non_null(strstr(t.err.msg, "which is no number"));
  talk_end(&t);
}

RUN_TESTS("model/playbook", RUN(a_conversation_goes_from_rule_to_rule),
          RUN(a_command_that_still_runs_is_polled_and_each_tool_has_its_own_output),
          RUN(a_rule_that_fired_often_enough_gives_way_and_no_rule_is_a_refusal),
          RUN(a_new_message_of_the_user_begins_again),
          RUN(patterns_span_lines_and_see_the_end_of_long_text),
          RUN(each_condition_holds_when_it_should_and_not_otherwise), RUN(mistakes_are_named),
          RUN(a_tool_gets_what_it_takes_and_numbers_are_numbers))
