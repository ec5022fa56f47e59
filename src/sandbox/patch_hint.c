/* SPDX-License-Identifier: Apache-2.0
 *
 * patch_hint.c - why a hunk does not fit, in words that help a model.
 *
 * A refusal names the file and the hunk, the line that is not there, and what
 * stands at the likeliest place instead: the alignment where most text of the
 * hunk agrees with the file or, when nothing agrees, the most similar line.
 */
#include "sandbox/patch_int.h"

#define SHOWN 90               /* bytes of a line in a message */
#define COMPARED 64            /* old lines that are aligned */
#define WORK ((size_t)8 << 20) /* line comparisons spent on one hint */

void
csn_patch_show(csn_buf *b, csn_str s, size_t max)
{
  bool is_cut = s.n > max;
  if (is_cut) {
    s.n = max;
    while (s.n && ((unsigned char)s.p[s.n] & 0xc0) == 0x80)
      s.n--;
  }
  for (size_t i = 0; i < s.n; i++) {
    unsigned char c = (unsigned char)s.p[i];
    csn_buf_addc(b, c == '\t' ? ' ' : c < 0x20 || c == 0x7f ? '?' : (char)c);
  }
  if (is_cut)
    csn_buf_addz(b, "...");
  if (!b->p)
    csn_buf_addz(b, "");
}

/* A clipped copy on the heap, for csn_auto(csn_freep). */
static char *
shown(csn_str s, size_t max)
{
  csn_buf b = CSN_BUF(1024);
  csn_patch_show(&b, s, max);
  return b.p ? b.p : csn_dupz(CSN_STR(""));
}

static csn_str
trimmed(csn_str text, const csn_file_line *l)
{
  return csn_patch_trim(csn_strn(text.p + l->at, l->n), 3);
}

/* 0 to 100: bytes at the start and the end that two lines share. */
static size_t
similarity(csn_str a, csn_str b)
{
  size_t most = a.n > b.n ? a.n : b.n, least = a.n > b.n ? b.n : a.n, head = 0, tail = 0;
  while (head < least && a.p[head] == b.p[head])
    head++;
  while (tail < least - head && a.p[a.n - 1 - tail] == b.p[b.n - 1 - tail])
    tail++;
  return most ? (head + tail) * 100 / most : 0;
}

static size_t
nearest(csn_str want, csn_str text, const csn_file_line *lines, size_t n, size_t *score)
{
  size_t best = 0;
  *score = 0;
  for (size_t i = 0; i < n && i < WORK / 4; i++) {
    size_t s = similarity(want, trimmed(text, &lines[i]));
    if (s > *score)
      *score = s, best = i;
  }
  return best;
}

static const char *
name_of(const csn_patch_op *op)
{
  return op->name.n ? op->name.p : "the file";
}

#define AGAIN "Nothing was changed; read the file again and copy its lines exactly."

int
csn_patch_no_anchor(const csn_patch_op *op, const csn_patch_hunk *h, size_t nr, csn_str text,
                    const csn_file_line *lines, size_t n, size_t from, csn_err *err)
{
  csn_auto(csn_freep) char *want = shown(h->anchor, SHOWN);
  csn_auto(csn_freep) char *file = shown(csn_cstr(name_of(op)), 120);
  csn_str a = csn_patch_trim(h->anchor, 3);
  if (a.n > 1 && a.p[0] == '-' && a.p[1] >= '0' && a.p[1] <= '9' && csn_str_ends(a, CSN_STR("@@")))
    return csn_fail(
        err, CSN_E_INVALID,
        "%s: hunk %zu (patch line %u): line numbers (\"@@ %s\") have no meaning here; "
        "write \"@@\" alone, or \"@@ \" and a whole line of the file. Nothing was changed.",
        file, nr, h->line, want);
  for (size_t i = 0; i < n && i < WORK; i++)
    if (csn_str_eq(trimmed(text, &lines[i]), a))
      return csn_fail(err, CSN_E_INVALID,
                      "%s: hunk %zu (patch line %u): the line \"%s\" after @@ stands at line %zu, "
                      "above line %zu where the search starts: put the hunks into the order of the "
                      "file. Nothing was changed.",
                      file, nr, h->line, want, i + 1, from + 1);
  size_t score, at = nearest(a, text, lines, n, &score);
  if (score < 40)
    return csn_fail(
        err, CSN_E_INVALID,
        "%s: hunk %zu (patch line %u): no line of the file is \"%s\", as after @@. " AGAIN, file,
        nr, h->line, want);
  csn_auto(csn_freep) char *near = shown(trimmed(text, &lines[at]), SHOWN);
  return csn_fail(err, CSN_E_INVALID,
                  "%s: hunk %zu (patch line %u): no line is \"%s\", as after @@; line %zu is "
                  "\"%s\". " AGAIN,
                  file, nr, h->line, want, at + 1, near);
}

/* Where most text of the old lines agrees: the score is in bytes. */
static size_t
align(const csn_str *old, size_t m, csn_str text, const csn_file_line *lines, size_t n, size_t from,
      size_t *score)
{
  size_t best = 0, k = m < COMPARED ? m : COMPARED;
  *score = 0;
  if (k && n > WORK / k)
    n = WORK / k;
  for (size_t i = 0; i < n; i++) {
    size_t s = 0;
    for (size_t j = 0; j < k && i + j < n; j++)
      if (old[j].n && csn_str_eq(old[j], trimmed(text, &lines[i + j])))
        s += old[j].n < 40 ? old[j].n : 40;
    if (s > *score || (s == *score && s && best < from && i >= from))
      *score = s, best = i;
  }
  return best;
}

/* The alignment at line `at` has its first difference at old line `j`. */
static int
differs(const csn_patch_op *op, const csn_patch_hunk *h, size_t nr, csn_str want, csn_str have,
        size_t at, size_t line, csn_err *err)
{
  csn_auto(csn_freep) char *file = shown(csn_cstr(name_of(op)), 100);
  csn_auto(csn_freep) char *w = shown(want, SHOWN - 10);
  csn_auto(csn_freep) char *g = shown(have, SHOWN - 10);
  return csn_fail(
      err, CSN_E_INVALID,
      "%s: hunk %zu (patch line %u): its old lines are not in the file; line not found: "
      "\"%s\". Nearest: at line %zu, where line %zu is \"%s\". " AGAIN,
      file, nr, h->line, w, at + 1, line + 1, g);
}

static int
no_match(const csn_patch_op *op, const csn_patch_hunk *h, size_t nr, const csn_str *old, size_t m,
         csn_str text, const csn_file_line *lines, size_t n, size_t from, csn_err *err)
{
  csn_auto(csn_freep) char *file = shown(csn_cstr(name_of(op)), 120);
  size_t score, at = align(old, m, text, lines, n, from, &score), j = 0;
  while (j < m && at + j < n && csn_str_eq(old[j], trimmed(text, &lines[at + j])))
    j++;
  if (j == m && h->at_end)
    return csn_fail(err, CSN_E_INVALID,
                    "%s: hunk %zu (patch line %u): its lines stand at line %zu, but not at the end "
                    "of the file: leave \"*** End of File\" out. Nothing was changed.",
                    file, nr, h->line, at + 1);
  if (j == m && m)
    return csn_fail(
        err, CSN_E_INVALID,
        "%s: hunk %zu (patch line %u): its lines stand at line %zu, above line %zu where "
        "the search starts (below the hunk before and the @@ line): put the hunks into "
        "the order of the file. Nothing was changed.",
        file, nr, h->line, at + 1, from + 1);
  if (score && at + j < n)
    return differs(op, h, nr, old[j], trimmed(text, &lines[at + j]), at, at + j, err);
  csn_str want = j < m ? old[j] : CSN_STR("");
  if (score) {
    csn_auto(csn_freep) char *w = shown(want, SHOWN);
    return csn_fail(err, CSN_E_INVALID,
                    "%s: hunk %zu (patch line %u): its first lines stand at line %zu, but the file "
                    "ends at line %zu; line not found: \"%s\". " AGAIN,
                    file, nr, h->line, at + 1, n, w);
  }
  for (j = 0; j + 1 < m && old[j].n == 0;)
    j++;
  want = old[j];
  at = nearest(want, text, lines, n, &score);
  if (score >= 40)
    return differs(op, h, nr, want, trimmed(text, &lines[at]), at, at, err);
  csn_auto(csn_freep) char *w = shown(want, SHOWN);
  return csn_fail(err, CSN_E_INVALID,
                  "%s: hunk %zu (patch line %u): line not found: \"%s\"; nothing in the file's %zu "
                  "lines is similar. " AGAIN,
                  file, nr, h->line, w, n);
}

int
csn_patch_no_match(const csn_patch *p, const csn_patch_op *op, const csn_patch_hunk *h, size_t nr,
                   csn_str text, const csn_file_line *lines, size_t n, size_t from, csn_err *err)
{
  csn_auto(csn_freep) csn_str *old = csn_realloc(NULL, h->n, sizeof *old);
  size_t m = 0;
  for (uint32_t i = 0; i < h->n; i++)
    if (p->lines[h->first + i].op != '+')
      old[m++] = csn_patch_trim(p->lines[h->first + i].text, 3);
  return no_match(op, h, nr, old, m, text, lines, n, from, err);
}
