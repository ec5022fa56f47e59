/* SPDX-License-Identifier: Apache-2.0
 * SKILL.md: what is read, what is refused, and how little a hostile one costs. */
#include "check.h"
#include "run/clean_text.h"
#include "run/skill.h"

static int
parse(csn_skill *s, csn_arena *a, const char *text, csn_err *err)
{
  return csn_skill_parse(s, a, csn_cstr(text), CSN_STR("folder"), err);
}

TEST(values_are_read_as_people_write_them)
{
  static const struct {
    const char *head, *name, *description;
  } rows[] = {
      {"name: pdf-forms\ndescription: Fills in forms.\n", "pdf-forms", "Fills in forms."},
      {"description: Use when: a colon: is in it\n", "folder", "Use when: a colon: is in it"},
      {"name: 'a1'\ndescription: \"in quotes\"\n", "a1", "in quotes"},
      {"name: a\ndescription: >-\n  over two\n  lines\nlicense: MIT\n", "a", "over two lines"},
      {"name: a\ndescription: |2 # why\n    one\n\n    two\n", "a", "one two"},
      {"name: a\ndescription: goes\n  on # here\n  # not this\n  and here\n", "a",
       "goes on # here and here"},
      {"# a comment\n\nname: a\nmetadata:\n  description: of something else\n  name: other\n"
       "description: mine\n",
       "a", "mine"},
      {"name: a\nallowed-tools:\n- Read\n- Bash\ndescription: d\n", "a", "d"},
      {"name: a\r\ndescription: with carriage returns\r\n", "a", "with carriage returns"},
      {"name: a\ndescription: hid\xe2\x80\x8b"
       "den \xf3\xa0\x80\xa0 marks \xff\n",
       "a", "hidden marks \xef\xbf\xbd"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(10000);
    csn_skill s;
    csn_err err;
    csn_buf_addf(&text, "---\n%s---\nBody\n", rows[i].head);
    OK(parse(&s, a, text.p, &err), &err);
    STR_EQ(s.name, rows[i].name);
    STR_EQ(s.description, rows[i].description);
    STR_EQ(s.body, "Body\n");
  }
}

TEST(every_mistake_says_where_it_is)
{
  static const struct {
    const char *text, *complaint;
  } rows[] = {
      {"", "line 1: expected ---"},
      {"name: a\n", "line 1: expected ---"},
      {"---\nname: a\ndescription: d\n", "the end of the front matter"},
      {"---\nname a\n---\n", "line 2: expected KEY: VALUE"},
      {"---\nname: a\nname: b\n---\n", "line 3: name is given twice"},
      {"---\nname: a\n---\n", "description: missing"},
      {"---\nname: A\ndescription: d\n---\n", "'A' is no name of a skill"},
      {"---\nname: a--b\ndescription: d\n---\n", "no name of a skill"},
      {"---\nname: ../x\ndescription: d\n---\n", "no name of a skill"},
      {"---\nname: -a\ndescription: d\n---\n", "no name of a skill"},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
    csn_skill s;
    csn_err err = {0};
    assert_true(parse(&s, a, rows[i].text, &err) < 0);
    if (!strstr(err.msg, rows[i].complaint))
      fail_msg("%zu: %s", i, err.msg);
  }
}

static void
fill(csn_buf *b, char c, size_t n)
{
  while (n--)
    csn_buf_addc(b, c);
}

TEST(what_is_too_long_is_refused)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_skill s;
  csn_err err;
  csn_buf_addz(&text, "---\nname: a\ndescription: ");
  fill(&text, 'x', CSN_SKILL_DESCRIPTION_MAX);
  csn_buf_addz(&text, "\n---\n");
  OK(parse(&s, a, text.p, &err), &err);
  csn_buf_clear(&text);
  csn_buf_addz(&text, "---\nname: a\ndescription: ");
  fill(&text, 'x', CSN_SKILL_DESCRIPTION_MAX + 1);
  csn_buf_addz(&text, "\n---\n");
  assert_int_equal(parse(&s, a, text.p, &err), CSN_E_LIMIT);
  csn_buf_clear(&text);
  csn_buf_addz(&text, "---\nname: ");
  fill(&text, 'n', CSN_SKILL_NAME_MAX + 1);
  csn_buf_addz(&text, "\ndescription: d\n---\n");
  assert_int_equal(parse(&s, a, text.p, &err), CSN_E_INVALID);
  csn_buf_clear(&text);
  csn_buf_addz(&text, "---\nname: a\ndescription: d\n#");
  fill(&text, 'x', CSN_SKILL_HEAD_MAX);
  csn_buf_addz(&text, "\n---\n");
  assert_int_equal(parse(&s, a, text.p, &err), CSN_E_LIMIT);
}

TEST(text_of_others_is_cleaned_of_what_only_a_model_sees)
{
  static const struct {
    const char *text, *clean;
  } rows[] = {
      {"a\tb\r\nc\n", "a\tb\nc\n"},
      {"a\x1b[31mb\x07\x7f", "a[31mb"},
      {"\xe2\x80\xaegnp.exe", "gnp.exe"},
      {"x\xf3\xa0\x81\xa1\xf3\xa0\x81\xa2y", "xy"},
      {"gr\xc3\xbc\xc3\x9f \xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb",
       "gr\xc3\xbc\xc3\x9f \xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb"},
      {"\xc3(", "\xef\xbf\xbd("},
  };
  for (size_t i = 0; i < CSN_COUNT(rows); i++) {
    csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(1000);
    csn_text_clean(csn_cstr(rows[i].text), &out);
    STR_EQ(csn_buf_str(&out), rows[i].clean);
  }
  STR_EQ(csn_text_head(CSN_STR("\xc3\xbc\xc3\xbc"), 3), "\xc3\xbc");
}

RUN_TESTS("run/skill", RUN(values_are_read_as_people_write_them),
          RUN(every_mistake_says_where_it_is), RUN(what_is_too_long_is_refused),
          RUN(text_of_others_is_cleaned_of_what_only_a_model_sees))
