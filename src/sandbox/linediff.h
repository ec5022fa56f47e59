/* SPDX-License-Identifier: Apache-2.0
 *
 * linediff.h - the differences of two texts by lines, and a three-way merge.
 *
 * Lines are interned to numbers, then compared by Myers' algorithm in its
 * linear-space form.  The work is bounded: where two parts have little in common
 * the result is right, if not the shortest.
 */
#ifndef CSN_SANDBOX_LINEDIFF_H
#define CSN_SANDBOX_LINEDIFF_H

#include "caisson/mem.h"

/* Lines a_from..a_to of the one became b_from..b_to of the other. */
typedef struct csn_change_range {
  size_t a, a_end, b, b_end;
} csn_change_range;

typedef struct csn_linediff {
  csn_str *a_lines, *b_lines; /* with their line ends */
  size_t n_a, n_b;
  csn_change_range *ranges; /* in order, with unchanged lines between them */
  size_t n;
} csn_linediff;

/* Texts are borrowed until fini.  CSN_E_LIMIT past 4,000,000 lines. */
int csn_linediff_init(csn_linediff *d, csn_str a, csn_str b, csn_err *err) CSN_MUST;
void csn_linediff_fini(csn_linediff *d);

/* The hunks of a unified diff, with three lines of context; no file header. */
void csn_linediff_print(const csn_linediff *d, csn_buf *out);

/* `ours` with what turned `base` into `theirs`.  False when both changed the
 * same or neighbouring lines in different ways; *line is where, in ours, from 1. */
int csn_merge3(csn_str base, csn_str ours, csn_str theirs, csn_buf *out, size_t *line,
               csn_err *err) CSN_MUST;

#endif
