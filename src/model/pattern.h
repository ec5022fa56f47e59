/* SPDX-License-Identifier: Apache-2.0
 *
 * pattern.h - regular expressions of a playbook: POSIX extended, line-wise
 * ("^" and "$" stand at line ends, "." stops there), with three additions:
 * `(?<name>...)` names a group, `\n` and `\t` are the characters they say.
 *
 * What a hostile text could make slow is refused or cut: no back-references,
 * counts whose product over the pattern stays within 1,000, and text is seen
 * through csn_pattern_view(), as searching takes the square of a line's length.
 */
#ifndef CSN_MODEL_PATTERN_H
#define CSN_MODEL_PATTERN_H

#include <regex.h>

#include "caisson/mem.h"

enum {
  CSN_PATTERN_GROUPS = 16,
  CSN_PATTERN_MAX_BYTES = 2000,
  CSN_PATTERN_LINE_BYTES = 2 << 10,
  CSN_PATTERN_TEXT_BYTES = 64 << 10
};

typedef struct csn_pattern {
  regex_t re;
  bool is_ready;
  size_t n_groups;
  csn_str names[CSN_PATTERN_GROUPS + 1]; /* by group number; empty: it has none */
} csn_pattern;

/* What the groups matched, 0 being the whole; borrowed from the text. */
typedef struct csn_hit {
  csn_str g[CSN_PATTERN_GROUPS + 1];
} csn_hit;

/* Names live in the arena.  CSN_E_INVALID says what is wrong with the source. */
int csn_pattern_init(csn_pattern *p, csn_arena *a, csn_str source, csn_err *err) CSN_MUST;
void csn_pattern_fini(csn_pattern *p);
/* What patterns see of a text: the end of it, CSN_PATTERN_TEXT_BYTES long, of
 * each line the first CSN_PATTERN_LINE_BYTES.  In the arena, a NUL behind it;
 * empty past the arena's limit. */
csn_str csn_pattern_view(csn_arena *a, csn_str text);
bool csn_pattern_match(const csn_pattern *p, csn_str text, csn_hit *hit);

#endif
