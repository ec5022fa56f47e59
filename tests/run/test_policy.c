/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules about calls: patterns, what of a command they see, and that to allow
 * is harder than to ask. */
#include "check.h"
#include "run/glob.h"
#include "run/policy.h"
#include "run/shell_text.h"

static const struct {
  const char *pattern, *text;
  bool fits;
} globs[] = {
    {"", "", true},          {"", "a", false},
    {"*", "", true},         {"*", "any\nthing", true},
    {"a*b", "ab", true},     {"a*b", "axxb", true},
    {"a*b", "axxbc", false}, {"a?c", "abc", true},
    {"a?c", "ac", false},    {"*.md", "x.md", true},
    {"\\*", "*", true},      {"\\*", "x", false},
    {"a*a*a", "aa", false},  {"a*a*a", "aaa", true},
    {"\\?x", "?x", true},    {"x\\", "x\\", true},
};

TEST(patterns_fit_whole_texts)
{
  for (size_t i = 0; i < CSN_COUNT(globs); i++)
    if (csn_glob(csn_cstr(globs[i].pattern), csn_cstr(globs[i].text)) != globs[i].fits)
      fail_msg("'%s' and '%s'", globs[i].pattern, globs[i].text);
}

TEST(a_pattern_of_many_stars_is_no_trap)
{
  csn_auto(csn_buf_finip) csn_buf p = CSN_BUF(1 << 20), t = CSN_BUF(1 << 20);
  for (int i = 0; i < 500; i++)
    csn_buf_addz(&p, "*a");
  csn_buf_addz(&p, "b");
  for (int i = 0; i < 20000; i++)
    csn_buf_addc(&t, 'a');
  assert_false(csn_glob(csn_buf_str(&p), csn_buf_str(&t)));
}

/* The pattern is "git push*" to ask, "git *" to allow. */
static const struct {
  const char *command;
  bool asks, allows;
} commands[] = {
    {"git push", true, true},
    {"git push origin main", true, true},
    {"git status", false, true},
    {"ls", false, false},
    {"", false, false},
    {"git status; git push", true, true},
    {"git status && rm -rf /", false, false},
    {"git status\nrm -rf /", false, false},
    {"git log | sh", false, false},
    {"git status & rm x", false, false},
    {"cd x && git push", true, false},
    {"  git   push  ", true, true},
    {"git \\\n push", true, true},
    {"sudo git push", true, false},
    {"GIT_SSH=x git push", true, false},
    {"PATH=/tmp git status", false, false},
    {"env -i A=b git push", true, false},
    {"/usr/bin/git push", true, false},
    {"bash -c 'git push'", true, false},
    {"bash -c \"git push\"", true, false},
    {"echo $(git push)", true, false},
    {"git log $(rm x)", false, false},
    {"git log \"$(rm x)\"", false, false},
    {"git log `rm x`", false, false},
    {"git log '$(rm x)'", false, true},
    {"git log <(rm x)", false, false},
    {"git log > ~/.bashrc", false, false},
    {"git log >x", false, false},
    {"git log 2>&1", false, true},
    {"git log 2>/dev/null | git apply", false, true},
    {"git log >/dev/nullx", false, false},
    {"git log 'a;b'", false, true},
    {"git log \"a;b\"", false, true},
    {"git log 'a", false, false},
    {"git log a\\;b", false, true},
    {"g\"i\"t push", true, false},
    {"gi\\t push", true, false},
    {"(git push)", true, false},
    {"{ git push; }", true, false},
    {"if true; then git push; fi", true, false},
    {"git commit -m 'x' &&\ngit push", true, true},
    {"echo git push", false, false},
    {"git $'\\x70ush'", false, false},
};

TEST(commands_are_read_generously_to_ask_and_strictly_to_allow)
{
  for (size_t i = 0; i < CSN_COUNT(commands); i++) {
    csn_str c = csn_cstr(commands[i].command);
    if (csn_shell_text_any(c, CSN_STR("git push*")) != commands[i].asks)
      fail_msg("to ask: %s", commands[i].command);
    if (csn_shell_text_all(c, CSN_STR("git *")) != commands[i].allows &&
        !(csn_str_eq(csn_str_trim(c), CSN_STR("git   push"))))
      fail_msg("to allow: %s", commands[i].command);
  }
}

#define PATCH(path) "*** Begin Patch\n*** Update File: " path "\n@@\n-a\n+b\n*** End Patch\n"

static const struct {
  const char *rules, *agent, *tool, *input;
  bool is_custom;
  enum csn_verdict want;
  int rule; /* from 0; -1: none */
} rows[] = {
    {"[]", "a", "t", "{}", false, CSN_ALLOW, -1},
    {"[{\"do\":\"ask\"}]", "a", "t", "{}", false, CSN_ASK, 0},
    {"[{\"tool\":\"x\",\"do\":\"deny\"},{\"tool\":\"t*\",\"do\":\"ask\"}]", "a", "tool", "{}",
     false, CSN_ASK, 1},
    {"[{\"tool\":\"t\",\"do\":\"allow\"},{\"do\":\"deny\"}]", "a", "t", "{}", false, CSN_ALLOW, 0},
    {"[{\"agent\":\"b\",\"do\":\"deny\"}]", "a", "t", "{}", false, CSN_ALLOW, -1},
    {"[{\"agent\":\"b*\",\"do\":\"deny\"}]", "bob", "t", "{}", false, CSN_DENY, 0},
    {"[{\"do\":\"deny\",\"expires_ms\":1001}]", "a", "t", "{}", false, CSN_DENY, 0},
    {"[{\"do\":\"deny\",\"expires_ms\":1000}]", "a", "t", "{}", false, CSN_ALLOW, -1},
    {"[{\"match\":\"*secret*\",\"do\":\"deny\"}]", "a", "t",
     "{\"a\":{\"b\":[\"x\",\"my secret\"]}}", false, CSN_DENY, 0},
    {"[{\"match\":\"ok*\",\"do\":\"allow\"},{\"do\":\"ask\"}]", "a", "t",
     "{\"a\":\"ok1\",\"b\":\"ok2\"}", false, CSN_ALLOW, 0},
    {"[{\"match\":\"ok*\",\"do\":\"allow\"},{\"do\":\"ask\"}]", "a", "t",
     "{\"a\":\"ok1\",\"b\":\"no\"}", false, CSN_ASK, 1},
    {"[{\"match\":\"ok*\",\"do\":\"allow\"},{\"do\":\"ask\"}]", "a", "t", "{}", false, CSN_ASK, 1},
    {"[{\"match\":{\"to\":\"*@x.com\"},\"do\":\"ask\"}]", "a", "mail",
     "{\"to\":\"me@x.com\",\"n\":1}", false, CSN_ASK, 0},
    {"[{\"match\":{\"to\":\"*@x.com\"},\"do\":\"ask\"}]", "a", "mail", "{\"cc\":\"me@x.com\"}",
     false, CSN_ALLOW, -1},
    {"[{\"match\":{\"n\":\"1\",\"f\":\"true\"},\"do\":\"ask\"}]", "a", "t", "{\"f\":true,\"n\":1}",
     false, CSN_ASK, 0},
    {"[{\"tool\":\"exec_command\",\"match\":\"git push*\",\"do\":\"ask\"}]", "a", "exec_command",
     "{\"cmd\":\"cd x;git push\"}", false, CSN_ASK, 0},
    {"[{\"tool\":\"exec_command\",\"match\":\"git push*\",\"do\":\"ask\"}]", "a", "exec_command",
     "{\"cmd\":\"\\u0067it push\"}", false, CSN_ASK, 0},
    {"[{\"tool\":\"exec_command\",\"match\":{\"cmd\":\"git push*\"},\"do\":\"ask\"}]", "a",
     "exec_command", "{\"cmd\":\"cd x;git push\"}", false, CSN_ASK, 0},
    {"[{\"tool\":\"exec_command\",\"match\":\"git push*\",\"do\":\"ask\"}]", "a", "write_stdin",
     "{\"session_id\":1,\"chars\":\"git push\\n\"}", false, CSN_ASK, 0},
    {"[{\"tool\":\"exec_command\",\"match\":\"git *\",\"do\":\"allow\"},{\"do\":\"ask\"}]", "a",
     "write_stdin", "{\"chars\":\"git log\\n\"}", false, CSN_ASK, 1},
    {"[{\"tool\":\"exec_command\",\"match\":\"git *\",\"do\":\"allow\"},{\"do\":\"ask\"}]", "a",
     "exec_command", "{\"cmd\":\"git log\"}", false, CSN_ALLOW, 0},
    {"[{\"tool\":\"exec_command\",\"match\":\"git *\",\"do\":\"allow\"},{\"do\":\"ask\"}]", "a",
     "exec_command", "{\"cmd\":\"git log\",\"shell\":\"/tmp/evil\"}", false, CSN_ASK, 1},
    {"[{\"tool\":\"exec_command\",\"match\":\"git *\",\"do\":\"allow\"},{\"do\":\"ask\"}]", "a",
     "exec_command", "not json", false, CSN_ASK, 1},
    {"[{\"tool\":\"apply_patch\",\"match\":\".github/*\",\"do\":\"deny\"}]", "a", "apply_patch",
     PATCH("src/x/../.././.github/ci.yml"), true, CSN_DENY, 0},
    {"[{\"tool\":\"apply_patch\",\"match\":\".github/*\",\"do\":\"deny\"}]", "a", "apply_patch",
     PATCH("src/a.c"), true, CSN_ALLOW, -1},
    {"[{\"tool\":\"apply_patch\",\"match\":\"src/*\",\"do\":\"allow\"},{\"do\":\"ask\"}]", "a",
     "apply_patch", PATCH("src/a.c"), true, CSN_ALLOW, 0},
    {"[{\"tool\":\"apply_patch\",\"match\":\"src/*\",\"do\":\"allow\"},{\"do\":\"ask\"}]", "a",
     "apply_patch", PATCH("src/../b.c"), true, CSN_ASK, 1},
    {"[{\"tool\":\"apply_patch\",\"match\":\"*\",\"do\":\"allow\"},{\"do\":\"ask\"}]", "a",
     "apply_patch", PATCH("/etc/passwd"), true, CSN_ASK, 1},
};

TEST(the_first_rule_that_fits_decides)
{
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    const csn_json *rules, *rule;
    csn_err err;
    OK(csn_json_parse(a, csn_cstr(rows[i].rules), &rules, &err), &err);
    csn_policy_call c = {.agent = csn_cstr(rows[i].agent),
                         .tool = csn_cstr(rows[i].tool),
                         .input = csn_cstr(rows[i].input),
                         .is_custom = rows[i].is_custom};
    csn_policy_call_read(&c, NULL, a);
    enum csn_verdict got = csn_policy_look(rules, &c, 1000, &rule);
    const csn_json *want = rows[i].rule < 0 ? NULL : csn_json_at(rules, (size_t)rows[i].rule);
    if (got != rows[i].want || rule != want)
      fail_msg("row %zu: %s with %s: got %d", i, rows[i].rules, rows[i].input, got);
  }
}

static csn_digest
scope_of(csn_arena *a, const char *input)
{
  csn_policy_call c = {.input = csn_cstr(input)};
  csn_policy_call_read(&c, NULL, a);
  return csn_policy_scope(&c);
}

TEST(a_scope_is_one_of_values_and_not_of_their_spelling)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_digest x = scope_of(a, "{\"a\":[1,\"b\"]}"), y = scope_of(a, "{ \"a\" : [1, \"\\u0062\"] }");
  assert_true(csn_digest_same(&x, &y));
  static const char *const others[] = {"{\"a\":[1,\"c\"]}", "{\"a\":[1],\"b\":\"b\"}",
                                       "{\"a\":[\"1\",\"b\"]}", "{\"a\":[1,\"b\",null]}", "{}"};
  for (size_t i = 0; i < CSN_COUNT(others); i++) {
    y = scope_of(a, others[i]);
    assert_false(csn_digest_same(&x, &y));
  }
}

TEST(a_rule_with_a_label_is_there_for_those_who_have_it)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  const csn_json *rules, *rule;
  csn_err err;
  OK(csn_json_parse(a,
                    CSN_STR("[{\"network\":\"write\",\"label\":\"untrusted\",\"do\":\"deny\"},"
                            "{\"tool\":\"push\",\"label\":\"untrusted\",\"do\":\"ask\"}]"),
                    &rules, &err),
     &err);
  csn_policy_call c = {.tool = CSN_STR("push"), .agent = CSN_STR("a"), .input = CSN_STR("{}")};
  csn_policy_call_read(&c, NULL, a);
  assert_int_equal(csn_policy_look(rules, &c, 0, &rule), CSN_ALLOW);
  c.is_untrusted = true;
  assert_int_equal(csn_policy_look(rules, &c, 0, &rule), CSN_ASK);
  c.tool = CSN_STR("other"); /* a rule on the network is not about calls */
  assert_int_equal(csn_policy_look(rules, &c, 0, &rule), CSN_ALLOW);
}

TEST(rules_on_the_network_leave_the_least_that_one_of_them_leaves)
{
  static const struct {
    const char *rules;
    enum csn_network_restriction trusted, untrusted;
  } leaves[] = {
      {"[]", CSN_NETWORK_AS_LISTED, CSN_NETWORK_AS_LISTED},
      {"[{\"tool\":\"x\",\"do\":\"deny\"}]", CSN_NETWORK_AS_LISTED, CSN_NETWORK_AS_LISTED},
      {"[{\"network\":\"write\",\"label\":\"untrusted\"}]", CSN_NETWORK_AS_LISTED,
       CSN_NETWORK_NO_WRITES},
      {"[{\"network\":\"write\"}]", CSN_NETWORK_NO_WRITES, CSN_NETWORK_NO_WRITES},
      {"[{\"network\":\"any\",\"label\":\"untrusted\"},{\"network\":\"write\"}]",
       CSN_NETWORK_NO_WRITES, CSN_NETWORK_NOTHING},
  };
  for (size_t i = 0; i < CSN_COUNT(leaves); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    const csn_json *rules;
    csn_err err;
    OK(csn_json_parse(a, csn_cstr(leaves[i].rules), &rules, &err), &err);
    assert_int_equal(csn_policy_network(rules, false), leaves[i].trusted);
    assert_int_equal(csn_policy_network(rules, true), leaves[i].untrusted);
  }
}

RUN_TESTS("run/policy", RUN(patterns_fit_whole_texts), RUN(a_pattern_of_many_stars_is_no_trap),
          RUN(commands_are_read_generously_to_ask_and_strictly_to_allow),
          RUN(the_first_rule_that_fits_decides),
          RUN(a_scope_is_one_of_values_and_not_of_their_spelling),
          RUN(a_rule_with_a_label_is_there_for_those_who_have_it),
          RUN(rules_on_the_network_leave_the_least_that_one_of_them_leaves))
