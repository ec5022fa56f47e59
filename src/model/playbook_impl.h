/* SPDX-License-Identifier: Apache-2.0
 * playbook_impl.h - a playbook in memory: playbook_read.c fills it,
 * playbook.c decides, playbook_text.c fills in answers. */
#ifndef CSN_MODEL_PLAYBOOK_IMPL_H
#define CSN_MODEL_PLAYBOOK_IMPL_H

#include "model/pattern.h"
#include "model/playbook.h"

enum { CSN_RULES_MAX = 500, CSN_RULE_PATTERNS = 8, CSN_ANSWER_MAX_BYTES = 1 << 20 };

struct csn_rule {
  csn_str name;
  uint32_t line;
  /* when */
  bool wants_first, wants_output; /* wants_output: some condition is about one */
  csn_str after, tool;            /* empty: any */
  enum { CSN_EXIT_ANY, CSN_EXIT_CODE, CSN_EXIT_NONZERO, CSN_EXIT_RUNNING } exit;
  int64_t exit_code;
  const csn_json *contains, *not_contains; /* text or a list of texts; NULL: none */
  const csn_json *instructions;            /* likewise, in what the model is told first */
  int64_t turn_from, turn_to, times;
  csn_pattern pattern[CSN_RULE_PATTERNS + 1]; /* of the output; behind them that of the task */
  size_t n_patterns;
  bool has_task;
  /* then */
  bool fails;
  csn_str say;
  const csn_json *reply; /* text, or a list of {tool: arguments} */
};

struct csn_playbook {
  csn_arena *arena;
  const char *file;
  struct csn_rule *rules;
  size_t n_rules;
};

/* What a rule found when it held. */
struct csn_found {
  const struct csn_rule *rule;
  const csn_transcript *t;
  const csn_seen *seen; /* NULL: the task begins */
  const csn_str *views; /* of t->seen, for patterns; behind them that of the task */
  csn_hit hit[CSN_RULE_PATTERNS + 1];
};

/* Whether every ${...} of the text can be filled in by this rule; is_value:
 * the text is one argument of a call, so ${int:...} may be all of it. */
int csn_answer_check(const struct csn_rule *r, csn_str text, bool is_value, csn_err *err) CSN_MUST;
/* Adds the text with its ${...} filled in. */
void csn_answer_fill(csn_buf *out, csn_str text, const struct csn_found *f);
/* Writes a value whose texts are filled in; a lone ${int:...} becomes a number.
 * CSN_E_INVALID when what it stands for is none. */
int csn_answer_value(csn_jw *w, const csn_json *v, const struct csn_found *f,
                     csn_err *err) CSN_MUST;
/* Words that stand for something in each rule, so no group may have them. */
bool csn_answer_is_reserved(csn_str name);

#endif
