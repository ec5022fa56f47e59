/* SPDX-License-Identifier: Apache-2.0
 *
 * patch_match.c - where do a hunk's lines stand in a file, and what comes out?
 *
 * A hunk's old lines are sought downwards from the end of the one before, in
 * four passes of falling strictness: byte for byte, without white space at the
 * ends of lines, without white space at both sides, and with typographic
 * dashes, quotes and spaces taken as their ASCII forms.  Lines are compared
 * through seeded 64-bit hashes with the Knuth-Morris-Pratt table, so a pass is
 * linear whatever the input; a budget bounds the passes of one patch.
 *
 * Lines that the patch only mentions keep the file's bytes and line ends; new
 * lines take the file's first line end, and the last line always gets one.
 */
#include "sandbox/patch_int.h"

enum { PASS_EXACT, PASS_END, PASS_TRIM, PASS_PLAIN, N_PASSES };

typedef struct file {
  csn_str text;
  csn_file_line *lines;
  size_t n;
  uint64_t *hash[N_PASSES]; /* per pass, made at first use */
  csn_str eol;              /* the first line end in it */
  uint64_t seed;
  int64_t *work;
} file;

/* An edit, in the order of the file: delete line `at`, or insert before it. */
typedef struct edit {
  uint32_t at;
  bool is_delete;
  bool is_tail; /* of a run of changes that starts at the end of the file */
  csn_str text;
} edit;

typedef struct edits {
  edit *p;
  size_t n, room;
} edits;

/* The code point at s.p[i] and its length; a byte that is not UTF-8 counts as
 * itself, above all code points. */
static uint32_t
rune(csn_str s, size_t i, size_t *len)
{
  const unsigned char *u = (const unsigned char *)s.p + i;
  size_t left = s.n - i;
  *len = 1;
  if (u[0] < 0x80)
    return u[0];
  if ((u[0] & 0xe0) == 0xc0 && left > 1 && (u[1] & 0xc0) == 0x80) {
    *len = 2;
    return (uint32_t)(u[0] & 0x1f) << 6 | (u[1] & 0x3f);
  }
  if ((u[0] & 0xf0) == 0xe0 && left > 2 && (u[1] & 0xc0) == 0x80 && (u[2] & 0xc0) == 0x80) {
    *len = 3;
    return (uint32_t)(u[0] & 0x0f) << 12 | (uint32_t)(u[1] & 0x3f) << 6 | (u[2] & 0x3f);
  }
  return 0x110000u + u[0];
}

static bool
is_space(uint32_t c)
{
  return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

/* Typographic characters as what a keyboard has. */
static uint32_t
plain(uint32_t c)
{
  if ((c >= 0x2010 && c <= 0x2015) || c == 0x2212)
    return '-';
  if (c >= 0x2018 && c <= 0x201b)
    return '\'';
  if (c >= 0x201c && c <= 0x201f)
    return '"';
  if (c == 0xa0 || (c >= 0x2002 && c <= 0x200a) || c == 0x202f || c == 0x205f || c == 0x3000)
    return ' ';
  return c;
}

csn_str
csn_patch_trim(csn_str s, int sides)
{
  size_t len;
  while (s.n) {
    size_t i = s.n - 1;
    while (i && s.n - i < 3 && ((unsigned char)s.p[i] & 0xc0) == 0x80)
      i--;
    if (!is_space(rune(s, i, &len)) || len != s.n - i)
      break;
    s.n = i;
  }
  while ((sides & 2) && s.n && is_space(rune(s, 0, &len)))
    s = csn_strn(s.p + len, s.n - len);
  return s;
}

static csn_str
view(csn_str line, int pass)
{
  return pass == PASS_EXACT ? line : csn_patch_trim(line, pass == PASS_END ? 1 : 3);
}

static inline uint64_t
mix(uint64_t h, uint64_t v)
{
  unsigned __int128 m = (unsigned __int128)(h ^ v) * 0x9e3779b97f4a7c15u;
  return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t
line_hash(csn_str line, int pass, uint64_t seed)
{
  csn_str s = view(line, pass);
  uint64_t h = seed | 1;
  if (pass == PASS_PLAIN) {
    for (size_t i = 0, len; i < s.n; i += len)
      h = mix(h, plain(rune(s, i, &len)));
    return mix(h, 0x5bd1e995);
  }
  size_t i = 0;
  for (uint64_t w; i + 8 <= s.n; i += 8) {
    memcpy(&w, s.p + i, 8);
    h = mix(h, w);
  }
  uint64_t tail = 0;
  if (i < s.n)
    memcpy(&tail, s.p + i, s.n - i);
  return mix(mix(h, tail), s.n);
}

static bool
line_eq(csn_str a, csn_str b, int pass)
{
  a = view(a, pass), b = view(b, pass);
  if (pass != PASS_PLAIN)
    return csn_str_eq(a, b);
  size_t i = 0, j = 0, li, lj;
  while (i < a.n && j < b.n) {
    if (plain(rune(a, i, &li)) != plain(rune(b, j, &lj)))
      return false;
    i += li, j += lj;
  }
  return i == a.n && j == b.n;
}

static csn_str
line_at(const file *f, size_t i)
{
  return csn_strn(f->text.p + f->lines[i].at, f->lines[i].n);
}

/* Splits at LF, CRLF and a lone CR. */
static int
split(file *f, csn_err *err)
{
  size_t room = 0, from = 0;
  f->eol = CSN_STR("\n");
  for (size_t i = 0; i <= f->text.n; i++) {
    char c = i < f->text.n ? f->text.p[i] : '\0';
    if (i < f->text.n ? c != '\n' && c != '\r' : from == i)
      continue;
    unsigned end = i == f->text.n                                               ? 0
                   : c == '\r' && i + 1 < f->text.n && f->text.p[i + 1] == '\n' ? 2
                                                                                : 1;
    if (f->n == 0 && end)
      f->eol = csn_strn(f->text.p + i, end);
    if (f->n == (size_t)CSN_PATCH_LINES_MAX * 2)
      return csn_fail(err, CSN_E_LIMIT, "the file has more than %d lines", CSN_PATCH_LINES_MAX * 2);
    if (f->n == room) {
      room = room ? room * 2 : 256;
      f->lines = csn_realloc(f->lines, room, sizeof *f->lines);
    }
    f->lines[f->n++] = (csn_file_line){(uint32_t)from, (uint32_t)(i - from), (uint8_t)end};
    i += end == 2;
    from = i + 1;
  }
  return 0;
}

static const uint64_t *
hashes(file *f, int pass)
{
  if (!f->hash[pass]) {
    f->hash[pass] = csn_realloc(NULL, f->n + 1, sizeof(uint64_t));
    for (size_t i = 0; i < f->n; i++)
      f->hash[pass][i] = line_hash(line_at(f, i), pass, f->seed);
    *f->work -= (int64_t)(f->n + f->text.n / 16);
  }
  return f->hash[pass];
}

static void
file_finip(file *f)
{
  free(f->lines);
  for (int i = 0; i < N_PASSES; i++)
    free(f->hash[i]);
}

/* One pass: the first line at or after `from` where the pattern stands. */
static size_t
seek_pass(file *f, const csn_str *pat, size_t m, size_t from, int pass)
{
  const uint64_t *th = hashes(f, pass);
  csn_auto(csn_freep) uint64_t *ph = csn_realloc(NULL, m, sizeof *ph);
  csn_auto(csn_freep) uint32_t *back = csn_realloc(NULL, m + 1, sizeof *back);
  for (size_t i = 0; i < m; i++)
    ph[i] = line_hash(pat[i], pass, f->seed);
  back[0] = 0, back[1] = 0;
  for (size_t i = 1, k = 0; i < m; i++) {
    while (k && ph[i] != ph[k])
      k = back[k];
    k += ph[i] == ph[k];
    back[i + 1] = (uint32_t)k;
  }
  size_t k = 0, i = from;
  for (; i < f->n; i++) {
    while (k && th[i] != ph[k])
      k = back[k];
    k += th[i] == ph[k];
    if (k < m)
      continue;
    size_t at = i + 1 - m, same = 0;
    while (same < m && line_eq(line_at(f, at + same), pat[same], pass))
      same++;
    if (same == m)
      break;
    k = back[k]; /* a collision of hashes */
  }
  *f->work -= (int64_t)(i - from + m);
  return i < f->n ? i + 1 - m : SIZE_MAX;
}

/* All passes; SIZE_MAX when it is nowhere.  at_end: only the last m lines. */
static size_t
seek(file *f, const csn_str *pat, size_t m, size_t from, bool at_end)
{
  if (m == 0)
    return from;
  if (m > f->n || from > f->n - m)
    return SIZE_MAX;
  if (at_end)
    from = f->n - m;
  for (int pass = 0; pass<N_PASSES && * f->work> 0; pass++) {
    size_t at = seek_pass(f, pat, m, from, pass);
    if (at != SIZE_MAX)
      return at;
  }
  return SIZE_MAX;
}

/* The hunk's last old line is empty and stands for the end of the file: the
 * hunk without it.  An empty last new line goes with it. */
static void
drop_last_empty(csn_patch_line *l, size_t n)
{
  size_t i = n;
  while (i-- && l[i].op != ' ' && l[i].op != '-')
    continue;
  l[i].op = l[i].op == ' ' ? '+' : 0;
  i = n;
  while (i && l[i - 1].op != ' ' && l[i - 1].op != '+')
    i--;
  if (i && l[i - 1].text.n == 0)
    l[i - 1].op = l[i - 1].op == ' ' ? '-' : 0;
}

static size_t
old_lines(const csn_patch_line *l, size_t n, csn_str *pat)
{
  size_t m = 0;
  for (size_t i = 0; i < n; i++)
    if (l[i].op == ' ' || l[i].op == '-')
      pat[m++] = l[i].text;
  return m;
}

static void
add_edit(edits *e, edit one)
{
  if (e->n == e->room) {
    e->room = e->room ? e->room * 2 : 64;
    e->p = csn_realloc(e->p, e->room, sizeof *e->p);
  }
  e->p[e->n++] = one;
}

/* Finds one hunk at or after *cursor and notes its edits. */
static int
match_hunk(file *f, const csn_patch *p, const csn_patch_op *op, const csn_patch_hunk *h, size_t nr,
           size_t *cursor, edits *e, csn_err *err)
{
  if (h->has_anchor) {
    size_t at = seek(f, &h->anchor, 1, *cursor, false);
    if (at == SIZE_MAX)
      return csn_patch_no_anchor(op, h, nr, f->text, f->lines, f->n, *cursor, err);
    *cursor = at + 1;
  }
  csn_auto(csn_freep) csn_patch_line *l = csn_realloc(NULL, h->n, sizeof *l);
  csn_auto(csn_freep) csn_str *pat = csn_realloc(NULL, h->n, sizeof *pat);
  memcpy(l, p->lines + h->first, h->n * sizeof *l);
  size_t m = old_lines(l, h->n, pat), at = f->n;
  if (m) {
    at = seek(f, pat, m, *cursor, h->at_end);
    if (at == SIZE_MAX && pat[m - 1].n == 0) {
      drop_last_empty(l, h->n);
      m = old_lines(l, h->n, pat);
      at = seek(f, pat, m, *cursor, h->at_end);
    }
    if (at == SIZE_MAX && *f->work <= 0)
      return csn_fail(err, CSN_E_LIMIT, "the patch takes too much searching; split it");
    if (at == SIZE_MAX)
      return csn_patch_no_match(p, op, h, nr, f->text, f->lines, f->n, *cursor, err);
    *cursor = at + m;
  }
  bool in_run = false, is_tail = false;
  for (size_t i = 0; i < h->n; i++) {
    if (l[i].op == '+' || l[i].op == '-') {
      is_tail = in_run ? is_tail : at == f->n;
      in_run = true;
      add_edit(e, (edit){(uint32_t)at, l[i].op == '-', is_tail, l[i].text});
    } else if (l[i].op == ' ') {
      in_run = false;
    }
    at += l[i].op == ' ' || l[i].op == '-';
  }
  return 0;
}

static void
add_new_line(csn_buf *out, csn_str text, csn_str eol)
{
  csn_buf_add(out, text);
  csn_buf_add(out, eol);
}

/* The file with its edits.  Those that start at the end of the file come last,
 * in the order of the patch: a hunk of nothing but new lines goes there, and
 * may stand before others. */
static void
render(const file *f, const edits *e, csn_buf *out)
{
  size_t k = 0;
  for (size_t i = 0; i <= f->n; i++) {
    bool is_gone = false;
    for (; k < e->n && (e->p[k].is_tail || e->p[k].at <= i); k++) {
      if (e->p[k].is_delete)
        is_gone = true;
      else if (!e->p[k].is_tail)
        add_new_line(out, e->p[k].text, f->eol);
    }
    if (is_gone || i == f->n)
      continue;
    const csn_file_line *l = &f->lines[i];
    csn_buf_add(out, csn_strn(f->text.p + l->at, l->n + l->end));
    if (!l->end)
      csn_buf_add(out, f->eol);
  }
  for (k = 0; k < e->n; k++)
    if (e->p[k].is_tail)
      add_new_line(out, e->p[k].text, f->eol);
}

int
csn_patch_match(const csn_patch *p, const csn_patch_op *op, csn_str old, csn_buf *out,
                int64_t *work, csn_err *err)
{
  csn_auto(file_finip) file f = {.text = old, .seed = p->seed, .work = work};
  edits e = {0};
  int rc = split(&f, err);
  size_t cursor = 0;
  for (uint32_t i = 0; rc == 0 && i < op->n; i++)
    rc = match_hunk(&f, p, op, &p->hunks[op->first + i], i + 1, &cursor, &e, err);
  if (rc == 0) {
    render(&f, &e, out);
    rc = csn_buf_done(out, "the patched file", err);
  }
  free(e.p);
  return rc;
}
