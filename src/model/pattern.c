/* SPDX-License-Identifier: Apache-2.0
 * pattern.c - translates a playbook's pattern for regcomp(3); see pattern.h. */
#include "model/pattern.h"

enum { COUNTS_MAX = 1000 };

struct reader {
  csn_pattern *p;
  csn_arena *arena;
  csn_str src;
  size_t at;
  int64_t counts; /* product of all {n,m} */
  csn_buf out;
  csn_err *err;
};

static int
wrong(struct reader *r, const char *what)
{
  return csn_fail(r->err, CSN_E_INVALID, "pattern '%.*s', column %zu: %s",
                  (int)(r->src.n < 200 ? r->src.n : 200), r->src.p, r->at + 1, what);
}

static bool
looking_at(const struct reader *r, const char *z)
{
  size_t n = strlen(z);
  return r->src.n - r->at >= n && memcmp(r->src.p + r->at, z, n) == 0;
}

static bool
is_name(csn_str s)
{
  for (size_t i = 0; i < s.n; i++) {
    bool letter = (s.p[i] >= 'a' && s.p[i] <= 'z') || s.p[i] == '_';
    if (!letter && (i == 0 || s.p[i] < '0' || s.p[i] > '9'))
      return false;
  }
  return s.n > 0 && s.n <= 32;
}

static int
open_group(struct reader *r)
{
  csn_pattern *p = r->p;
  csn_buf_addc(&r->out, '(');
  if (++p->n_groups > CSN_PATTERN_GROUPS)
    return wrong(r, "more than 16 groups");
  r->at++;
  if (!looking_at(r, "?"))
    return 0;
  size_t from = r->at + 2, to = csn_str_find(r->src, CSN_STR(">"), from);
  if (!looking_at(r, "?<") || to == SIZE_MAX || !is_name(csn_strn(r->src.p + from, to - from)))
    return wrong(r, "expected (...) or (?<name>...), with a name of a-z, 0-9 and _");
  csn_str name = csn_arena_dup(r->arena, csn_strn(r->src.p + from, to - from));
  for (size_t i = 1; i < p->n_groups; i++)
    if (csn_str_eq(p->names[i], name))
      return wrong(r, "this name is taken by an earlier group");
  p->names[p->n_groups] = name;
  r->at = to + 1;
  return 0;
}

/* A backslash pair, outside or (for \n and \t alone) inside brackets. */
static int
escape(struct reader *r, bool in_bracket)
{
  char c = r->at + 1 < r->src.n ? r->src.p[r->at + 1] : '\0';
  if (c == 'n' || c == 't') {
    csn_buf_addc(&r->out, c == 'n' ? '\n' : '\t');
    r->at += 2;
    return 0;
  }
  if (in_bracket) {
    csn_buf_addc(&r->out, r->src.p[r->at++]);
    return 0;
  }
  if (c >= '1' && c <= '9')
    return wrong(r, "back-references are not supported");
  if (c == 'd' || c == 'D')
    return wrong(r, "write [0-9] or [^0-9]");
  if (!c)
    return wrong(r, "a lone backslash at the end");
  csn_buf_add(&r->out, csn_strn(r->src.p + r->at, 2));
  r->at += 2;
  return 0;
}

static int
bracket(struct reader *r)
{
  size_t start = r->at;
  csn_buf_addc(&r->out, r->src.p[r->at++]);
  if (looking_at(r, "^"))
    csn_buf_addc(&r->out, r->src.p[r->at++]);
  if (looking_at(r, "]"))
    csn_buf_addc(&r->out, r->src.p[r->at++]);
  while (r->at < r->src.n) {
    char c = r->src.p[r->at];
    if (c == '[' && r->at + 1 < r->src.n && strchr(":.=", r->src.p[r->at + 1])) {
      char close[3] = {r->src.p[r->at + 1], ']', '\0'};
      size_t to = csn_str_find(r->src, csn_cstr(close), r->at + 2);
      if (to == SIZE_MAX)
        break;
      csn_buf_add(&r->out, csn_strn(r->src.p + r->at, to + 2 - r->at));
      r->at = to + 2;
      continue;
    }
    if (c == '\\') {
      (void)!escape(r, true);
      continue;
    }
    csn_buf_addc(&r->out, c);
    r->at++;
    if (c == ']')
      return 0;
  }
  r->at = start;
  return wrong(r, "'[' without its ']'");
}

static int
count(struct reader *r)
{
  size_t to = csn_str_find(r->src, CSN_STR("}"), r->at);
  if (to == SIZE_MAX)
    return wrong(r, "'{' without its '}'; write \\{ for the character");
  csn_str in = csn_strn(r->src.p + r->at + 1, to - r->at - 1);
  size_t comma = csn_str_find(in, CSN_STR(","), 0);
  csn_str low = comma == SIZE_MAX ? in : csn_strn(in.p, comma);
  csn_str high = comma == SIZE_MAX ? in : csn_strn(in.p + comma + 1, in.n - comma - 1);
  int64_t n = 0, m = 0;
  if (!csn_str_int(low, &n) || (high.n && !csn_str_int(high, &m)))
    return wrong(r, "expected a count such as {2}, {2,} or {2,5}; write \\{ for the character");
  int64_t most = m > n ? m : n;
  if (n < 0 || m < 0 || most > COUNTS_MAX || (r->counts *= most > 1 ? most : 1) > COUNTS_MAX)
    return wrong(r, "the counts multiply to more than 1,000");
  csn_buf_add(&r->out, csn_strn(r->src.p + r->at, to + 1 - r->at));
  r->at = to + 1;
  return 0;
}

static int
translate(struct reader *r)
{
  int rc = 0;
  while (rc == 0 && r->at < r->src.n) {
    switch (r->src.p[r->at]) {
    case '(':
      rc = open_group(r);
      break;
    case '[':
      rc = bracket(r);
      break;
    case '{':
      rc = count(r);
      break;
    case '\\':
      rc = escape(r, false);
      break;
    case '\0':
      rc = wrong(r, "a NUL character");
      break;
    default:
      csn_buf_addc(&r->out, r->src.p[r->at++]);
    }
  }
  return rc;
}

int
csn_pattern_init(csn_pattern *p, csn_arena *a, csn_str source, csn_err *err)
{
  *p = (csn_pattern){0};
  if (source.n == 0 || source.n > CSN_PATTERN_MAX_BYTES)
    return csn_fail(err, CSN_E_INVALID, "a pattern has 1 to %d bytes", CSN_PATTERN_MAX_BYTES);
  struct reader r = {.p = p,
                     .arena = a,
                     .src = source,
                     .counts = 1,
                     .out = CSN_BUF(2 * CSN_PATTERN_MAX_BYTES),
                     .err = err};
  int rc = translate(&r);
  if (rc == 0) {
    int why = regcomp(&p->re, r.out.p, REG_EXTENDED | REG_NEWLINE);
    p->is_ready = why == 0;
    char text[120];
    if (why != 0) {
      regerror(why, &p->re, text, sizeof text);
      rc = wrong(&r, text);
    }
  }
  csn_buf_fini(&r.out);
  return rc;
}

void
csn_pattern_fini(csn_pattern *p)
{
  if (p->is_ready)
    regfree(&p->re);
  p->is_ready = false;
}

csn_str
csn_pattern_view(csn_arena *a, csn_str text)
{
  if (text.n > CSN_PATTERN_TEXT_BYTES)
    text = csn_strn(text.p + text.n - CSN_PATTERN_TEXT_BYTES, CSN_PATTERN_TEXT_BYTES);
  size_t run = 0, longest = 0;
  for (size_t i = 0; i < text.n; i++) {
    run = text.p[i] == '\n' ? 0 : run + 1;
    longest = run > longest ? run : longest;
  }
  if (longest <= CSN_PATTERN_LINE_BYTES)
    return csn_arena_dup(a, text); /* ends in NUL: some regexec look for one */
  char *to = csn_arena_alloc(a, text.n + 1), *o = to;
  for (size_t i = 0; to && i < text.n; i++) {
    run = i == 0 || text.p[i - 1] == '\n' ? 0 : run + 1;
    if (run < CSN_PATTERN_LINE_BYTES || text.p[i] == '\n')
      *o++ = text.p[i];
  }
  return csn_strn(to, (size_t)(o - to));
}

bool
csn_pattern_match(const csn_pattern *p, csn_str text, csn_hit *hit)
{
  regmatch_t m[CSN_PATTERN_GROUPS + 1];
  m[0] = (regmatch_t){.rm_so = 0, .rm_eo = (regoff_t)text.n};
  if (regexec(&p->re, text.n ? text.p : "", p->n_groups + 1, m, REG_STARTEND) != 0)
    return false;
  *hit = (csn_hit){0};
  for (size_t i = 0; i <= p->n_groups; i++)
    if (m[i].rm_so >= 0)
      hit->g[i] = csn_strn(text.p + m[i].rm_so, (size_t)(m[i].rm_eo - m[i].rm_so));
  return true;
}
