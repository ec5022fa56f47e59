/* SPDX-License-Identifier: Apache-2.0
 * skill.c - see skill.h. */
#include "run/skill.h"

#include "run/clean_text.h"

struct lines {
  csn_str rest;
  int n; /* of the line that was taken last, from 1 */
};

static bool
next_line(struct lines *l, csn_str *line)
{
  l->n++;
  return csn_str_line(&l->rest, line);
}

static size_t
indent_of(csn_str line)
{
  size_t n = 0;
  while (n < line.n && (line.p[n] == ' ' || line.p[n] == '\t'))
    n++;
  return n;
}

static bool
is_rule(csn_str line)
{
  return csn_str_starts(line, CSN_STR("---")) && csn_str_trim(line).n == 3;
}

int
csn_skill_name_check(csn_str name, csn_err *err)
{
  bool is_good = name.n > 0 && name.n <= CSN_SKILL_NAME_MAX;
  for (size_t i = 0; i < name.n && is_good; i++) {
    char c = name.p[i];
    bool is_dash = c == '-' && i > 0 && i + 1 < name.n && name.p[i - 1] != '-';
    is_good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || is_dash;
  }
  if (is_good)
    return 0;
  return csn_fail(err, CSN_E_INVALID,
                  "'%.*s' is no name of a skill: expected 1 to %d of a-z, 0-9 and single dashes "
                  "in between",
                  (int)(name.n > 80 ? 80 : name.n), name.p ? name.p : "", CSN_SKILL_NAME_MAX);
}

/* "|", ">-", "|2 # why": how a block begins. */
static bool
begins_block(csn_str value, bool *is_folded)
{
  if (!value.n || (value.p[0] != '|' && value.p[0] != '>'))
    return false;
  *is_folded = value.p[0] == '>';
  for (size_t i = 1; i < value.n && value.p[i] != '#'; i++)
    if (!strchr("+-0123456789 \t", value.p[i]))
      return false;
  return true;
}

static csn_str
without_quotes(csn_str s)
{
  if (s.n >= 2 && (s.p[0] == '"' || s.p[0] == '\'') && s.p[s.n - 1] == s.p[0])
    return csn_strn(s.p + 1, s.n - 2);
  return s;
}

/* A value with the lines that belong to it; one line comes of it anyway, so a
 * folded and a literal block are the same here. */
static void
read_value(struct lines *l, csn_str first, csn_buf *out)
{
  bool is_folded = false, is_block = begins_block(first, &is_folded);
  bool has_quotes = first.n && (first.p[0] == '"' || first.p[0] == '\'');
  if (!is_block)
    csn_buf_add(out, without_quotes(first));
  for (;;) {
    struct lines ahead = *l;
    csn_str line;
    if (!next_line(&ahead, &line) || (csn_str_trim(line).n && !indent_of(line)))
      return;
    *l = ahead;
    csn_str text = csn_str_trim(line);
    bool is_comment = !is_block && text.n && text.p[0] == '#';
    if (!text.n || is_comment || (has_quotes && !is_block))
      continue;
    csn_buf_addc(out, '\n');
    csn_buf_add(out, text);
  }
}

/* Characters of valid UTF-8. */
static size_t
length_in_characters(csn_str s)
{
  size_t n = 0;
  for (size_t i = 0; i < s.n; i++)
    n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
  return n;
}

static int
keep(csn_arena *a, csn_buf *raw, csn_str *out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf line = CSN_BUF((size_t)4 * CSN_SKILL_HEAD_MAX);
  csn_text_clean_line(csn_buf_str(raw), &line);
  *out = csn_arena_dup(a, csn_buf_str(&line));
  return csn_buf_done(&line, "a value of the front matter", err);
}

/* One "KEY: VALUE"; others are passed over with what belongs to them. */
static int
read_entry(csn_skill *s, csn_arena *a, struct lines *l, csn_str line, csn_err *err)
{
  static const char *const keys[] = {"name", "description"};
  size_t colon = csn_str_find(line, CSN_STR(":"), 0);
  if (colon == SIZE_MAX ||
      (colon + 1 < line.n && line.p[colon + 1] != ' ' && line.p[colon + 1] != '\t'))
    return csn_fail(err, CSN_E_PARSE, "line %d: expected KEY: VALUE", l->n);
  csn_str key = csn_str_trim(csn_strn(line.p, colon));
  csn_str value = csn_str_trim(csn_strn(line.p + colon + 1, line.n - colon - 1));
  csn_auto(csn_buf_finip) csn_buf raw = CSN_BUF(CSN_SKILL_HEAD_MAX);
  int at = l->n;
  read_value(l, value, &raw);
  for (size_t i = 0; i < CSN_COUNT(keys); i++) {
    csn_str *to = i == 0 ? &s->name : &s->description;
    if (!csn_str_eq(key, csn_cstr(keys[i])))
      continue;
    if (to->n)
      return csn_fail(err, CSN_E_PARSE, "line %d: %s is given twice", at, keys[i]);
    return keep(a, &raw, to, err);
  }
  return 0;
}

int
csn_skill_parse(csn_skill *out, csn_arena *a, csn_str text, csn_str dir, csn_err *err)
{
  csn_str head = csn_strn(text.p, text.n > CSN_SKILL_HEAD_MAX ? CSN_SKILL_HEAD_MAX : text.n), line;
  *out = (csn_skill){{NULL, 0}, {NULL, 0}, {NULL, 0}};
  if (csn_str_starts(head, CSN_STR("\xef\xbb\xbf")))
    head = csn_strn(head.p + 3, head.n - 3);
  struct lines l = {head, 0};
  if (!next_line(&l, &line) || !is_rule(line))
    return csn_fail(err, CSN_E_PARSE, "line 1: expected ---, the begin of the front matter");
  bool is_closed = false;
  while (!is_closed && next_line(&l, &line)) {
    csn_str trimmed = csn_str_trim(line);
    is_closed = is_rule(line);
    if (is_closed || !trimmed.n || strchr("#-", trimmed.p[0]) || indent_of(line))
      continue;
    int rc = read_entry(out, a, &l, line, err);
    if (rc < 0)
      return rc;
  }
  if (!is_closed)
    return text.n > CSN_SKILL_HEAD_MAX
               ? csn_fail(err, CSN_E_LIMIT, "the front matter has more than %d bytes",
                          CSN_SKILL_HEAD_MAX)
               : csn_fail(err, CSN_E_PARSE, "line %d: expected ---, the end of the front matter",
                          l.n);
  if (!out->name.n)
    out->name = csn_arena_dup(a, dir);
  int rc = csn_skill_name_check(out->name, err);
  if (rc < 0)
    return rc;
  if (!out->description.n)
    return csn_fail(err, CSN_E_INVALID,
                    "description: missing; say in a line what the skill is for and when to use it");
  if (length_in_characters(out->description) > CSN_SKILL_DESCRIPTION_MAX)
    return csn_fail(err, CSN_E_LIMIT, "description: more than %d characters",
                    CSN_SKILL_DESCRIPTION_MAX);
  size_t used = (size_t)(l.rest.p - text.p);
  out->body = l.rest.p ? csn_strn(text.p + used, text.n - used) : CSN_STR("");
  return 0;
}
