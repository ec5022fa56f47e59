/* SPDX-License-Identifier: Apache-2.0
 * shell_text.c - see shell_text.h. */
#include "run/shell_text.h"

#include "caisson/mem.h"
#include "run/glob.h"

static bool
is_one_of(char c, const char *set)
{
  return c && strchr(set, c) != NULL;
}

static bool
is_blank(char c)
{
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Blanks at the ends go, runs of them inside become one. */
static void
squeeze(csn_str s, csn_buf *out)
{
  csn_buf_clear(out);
  s = csn_str_trim(s);
  for (size_t i = 0; i < s.n; i++)
    if (!is_blank(s.p[i]))
      csn_buf_addc(out, s.p[i]);
    else if (!is_blank(s.p[i + 1]))
      csn_buf_addc(out, ' ');
}

static csn_str
first_word(csn_str s)
{
  size_t end = csn_str_find(s, CSN_STR(" "), 0);
  return end == SIZE_MAX ? s : csn_strn(s.p, end);
}

/* Words that may stand before the name of the program that runs. */
static bool
stands_before(csn_str w)
{
  static const char *const words[] = {
      "sudo",  "env", "command", "exec", "nohup", "time",   "then",  "do",      "else",  "if",
      "while", "!",   "{",       "eval", "nice",  "setsid", "xargs", "builtin", "until", "elif"};
  for (size_t i = 0; i < CSN_COUNT(words); i++)
    if (csn_str_eq(w, csn_cstr(words[i])))
      return true;
  return w.n && (w.p[0] == '-' || csn_str_find(w, CSN_STR("="), 0) != SIZE_MAX);
}

/* The part as it stands, without what stands before, and without the folder
 * of its program. */
static bool
part_matches(csn_str part, csn_str pattern)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(part.n + 1);
  squeeze(part, &b);
  csn_str s = csn_buf_str(&b);
  for (;;) {
    if (!s.n)
      return false;
    if (csn_glob(pattern, s))
      return true;
    csn_str w = first_word(s);
    size_t slash = w.n;
    while (slash > 0 && w.p[slash - 1] != '/')
      slash--;
    if (slash && csn_glob(pattern, csn_strn(s.p + slash, s.n - slash)))
      return true;
    if (!stands_before(w) || w.n == s.n)
      return false;
    s = csn_strn(s.p + w.n + 1, s.n - w.n - 1);
  }
}

static bool
any_part(csn_str text, const char *cuts, csn_str pattern)
{
  size_t from = 0;
  for (size_t i = 0; i <= text.n; i++)
    if (i == text.n || is_one_of(text.p[i], cuts)) {
      if (part_matches(csn_strn(text.p + from, i - from), pattern))
        return true;
      from = i + 1;
    }
  return false;
}

bool
csn_shell_text_any(csn_str command, csn_str pattern)
{
  csn_auto(csn_buf_finip) csn_buf joined = CSN_BUF(command.n + 1), plain = CSN_BUF(command.n + 1);
  for (size_t i = 0; i < command.n; i++) /* a line that goes on is one line */
    if (command.p[i] == '\\' && i + 1 < command.n && command.p[i + 1] == '\n')
      i++;
    else
      csn_buf_addc(&joined, command.p[i]);
  for (size_t i = 0; i < joined.n; i++)
    if (!is_one_of(joined.p[i], "'\"\\"))
      csn_buf_addc(&plain, joined.p[i]);
  return part_matches(command, pattern) || any_part(csn_buf_str(&joined), ";&|\n()`", pattern) ||
         any_part(csn_buf_str(&joined), ";&|\n()`'\"", pattern) ||
         any_part(csn_buf_str(&plain), ";&|\n()`", pattern);
}

/* ---- to allow ---- */

/* "2>&1", ">/dev/null" and their kind, whose effect is known: how long the one
 * at `i` is, which stands at a `>`; 0: it is another. */
static size_t
known_redirection(csn_str s, size_t i)
{
  static const char *const known[] = {">&1", ">&2", ">/dev/null", "> /dev/null"};
  csn_str rest = csn_strn(s.p + i, s.n - i);
  for (size_t k = 0; k < CSN_COUNT(known); k++) {
    csn_str w = csn_cstr(known[k]);
    bool ends = rest.n == w.n || (rest.n > w.n && is_one_of(rest.p[w.n], " \t;&|\n)"));
    if (csn_str_starts(rest, w) && ends)
      return w.n;
  }
  return 0;
}

static bool
all_of_part(csn_buf *part, csn_str pattern, size_t *n_parts)
{
  csn_str s = csn_str_trim(csn_buf_str(part));
  bool ok = !s.n || csn_glob(pattern, s);
  *n_parts += s.n > 0;
  csn_buf_clear(part);
  return ok;
}

bool
csn_shell_text_all(csn_str s, csn_str pattern)
{
  csn_auto(csn_buf_finip) csn_buf part = CSN_BUF(s.n + 1);
  char quote = '\0';
  size_t n_parts = 0;
  for (size_t i = 0; i < s.n; i++) {
    char c = s.p[i], next = i + 1 < s.n ? s.p[i + 1] : '\0';
    if (quote != '\'' && (c == '`' || (c == '$' && is_one_of(next, "({['\""))))
      return false;
    if (quote) {
      if (c == quote)
        quote = '\0';
      else if (quote == '"' && c == '\\' && next)
        csn_buf_addc(&part, s.p[i++]);
      csn_buf_addc(&part, s.p[i]);
      continue;
    }
    if (c == '>' && part.n && is_one_of(part.p[part.n - 1], "12 \t")) {
      size_t n = known_redirection(s, i);
      if (!n)
        return false;
      if (part.p[part.n - 1] == '1' || part.p[part.n - 1] == '2')
        part.p[--part.n] = '\0';
      i += n - 1;
      continue;
    }
    if (is_one_of(c, "<>(){}") || (c == '\\' && next == '\0'))
      return false;
    if (is_one_of(c, ";&|\n")) {
      if (!all_of_part(&part, pattern, &n_parts))
        return false;
      continue;
    }
    if (c == '\\')
      csn_buf_addc(&part, s.p[i++]);
    else if (c == '\'' || c == '"')
      quote = c;
    csn_buf_addc(&part, s.p[i]);
  }
  return !quote && all_of_part(&part, pattern, &n_parts) && n_parts > 0;
}
