/* SPDX-License-Identifier: Apache-2.0
 * playbook_read.c - a playbook out of its file's tree, checked to the last
 * key; every complaint begins with "file:line:". */
#include <stdio.h>

#include "model/playbook_impl.h"

struct reader {
  csn_playbook *p;
  struct csn_rule *rule; /* the one being read */
  csn_err *err;
};

static int complain(const struct reader *r, const csn_json *at, const char *fmt, ...)
    CSN_PRINTF(3, 4);

static int
complain(const struct reader *r, const csn_json *at, const char *fmt, ...)
{
  char text[300];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  return csn_fail(r->err, CSN_E_INVALID, "%s:%u: %s", r->p->file, at->line, text);
}

static int
only(const struct reader *r, const csn_json *v, const char *const *keys)
{
  csn_json_each (m, v) {
    size_t i = 0;
    while (keys[i] && !csn_str_eq(m->key, csn_cstr(keys[i])))
      i++;
    if (keys[i])
      continue;
    csn_auto(csn_buf_finip) csn_buf list = CSN_BUF(200);
    for (i = 0; keys[i]; i++)
      csn_buf_addf(&list, "%s%s", i ? ", " : "", keys[i]);
    return complain(r, m, "unknown key '%.*s'; known here: %s",
                    (int)(m->key.n < 60 ? m->key.n : 60), m->key.p, list.p);
  }
  return 0;
}

/* An optional member of a kind; *out is NULL when it is missing. */
static int
member(const struct reader *r, const csn_json *v, const char *key, enum csn_json_kind kind,
       const csn_json **out)
{
  *out = csn_json_get(v, key);
  if (!*out || (*out)->kind == kind)
    return 0;
  return complain(r, *out, "%s: expected %s%s", key, csn_json_kind_name(kind),
                  kind == CSN_JSON_STRING ? " (put it in quotes)" : "");
}

static int
read_text(const struct reader *r, const csn_json *v, const char *key, csn_str *out)
{
  const csn_json *m;
  int rc = member(r, v, key, CSN_JSON_STRING, &m);
  if (rc == 0 && m && !m->text.n)
    return complain(r, m, "%s: is empty", key);
  if (rc == 0 && m)
    *out = m->text;
  return rc;
}

static int
read_count(const struct reader *r, const csn_json *v, const char *key, int64_t *out)
{
  const csn_json *m;
  int rc = member(r, v, key, CSN_JSON_NUMBER, &m);
  if (rc == 0 && m && (!csn_json_to_int(m, out) || *out < 1))
    return complain(r, m, "%s: expected a whole number from 1 on", key);
  return rc;
}

static int
add_pattern(struct reader *r, const csn_json *at, const char *key)
{
  struct csn_rule *rule = r->rule;
  if (at->kind != CSN_JSON_STRING)
    return complain(r, at, "%s: expected a pattern (put it in quotes)", key);
  if (rule->n_patterns == CSN_RULE_PATTERNS)
    return complain(r, at, "%s: more than %d patterns", key, CSN_RULE_PATTERNS);
  csn_err err;
  csn_pattern *p = &rule->pattern[rule->n_patterns++];
  if (csn_pattern_init(p, r->p->arena, at->text, &err) < 0)
    return complain(r, at, "%s: %s", key, err.msg);
  for (size_t i = 1; i <= p->n_groups; i++)
    if (csn_answer_is_reserved(p->names[i]))
      return complain(r, at, "%s: '%s' has a meaning of its own; call the group otherwise", key,
                      p->names[i].p);
  return 0;
}

static int
read_matches(struct reader *r, const csn_json *when)
{
  const csn_json *m = csn_json_get(when, "matches"), *task = csn_json_get(when, "task");
  int rc = 0;
  if (csn_json_is(m, CSN_JSON_ARRAY)) {
    csn_json_each (one, m)
      rc = rc < 0 ? rc : add_pattern(r, one, "matches");
  } else if (m) {
    rc = add_pattern(r, m, "matches");
  }
  if (rc < 0 || !task)
    return rc;
  /* It stands behind those of the output, which it is not one of. */
  size_t n = r->rule->n_patterns;
  if (n == CSN_RULE_PATTERNS)
    return complain(r, task, "task: more than %d patterns", CSN_RULE_PATTERNS);
  rc = add_pattern(r, task, "task");
  r->rule->has_task = r->rule->n_patterns > n;
  r->rule->n_patterns = n;
  return rc;
}

static int
read_texts(const struct reader *r, const csn_json *when, const char *key, const csn_json **out)
{
  const csn_json *m = csn_json_get(when, key);
  *out = m;
  bool good = !m || (m->kind == CSN_JSON_STRING && m->text.n) || csn_json_is(m, CSN_JSON_ARRAY);
  if (csn_json_is(m, CSN_JSON_ARRAY))
    csn_json_each (one, m)
      good = good && one->kind == CSN_JSON_STRING && one->text.n;
  return good ? 0 : complain(r, m, "%s: expected text or a list of texts (put it in quotes)", key);
}

static int
read_exit(const struct reader *r, const csn_json *when)
{
  const csn_json *m = csn_json_get(when, "exit");
  struct csn_rule *rule = r->rule;
  if (!m)
    return 0;
  if (csn_json_to_int(m, &rule->exit_code))
    rule->exit = CSN_EXIT_CODE;
  else if (csn_str_eq(m->text, CSN_STR("nonzero")))
    rule->exit = CSN_EXIT_NONZERO;
  else if (csn_str_eq(m->text, CSN_STR("running")))
    rule->exit = CSN_EXIT_RUNNING;
  else
    return complain(r, m, "exit: expected a number, nonzero or running");
  return 0;
}

static int
read_turn(const struct reader *r, const csn_json *when)
{
  static const char *const keys[] = {"from", "to", NULL};
  const csn_json *m = csn_json_get(when, "turn");
  struct csn_rule *rule = r->rule;
  if (csn_json_is(m, CSN_JSON_OBJECT)) {
    int rc = only(r, m, keys);
    if (rc == 0)
      rc = read_count(r, m, "from", &rule->turn_from);
    return rc < 0 ? rc : read_count(r, m, "to", &rule->turn_to);
  }
  int rc = read_count(r, when, "turn", &rule->turn_from);
  if (rc == 0 && m)
    rule->turn_to = rule->turn_from;
  return rc;
}

static int
read_when(struct reader *r, const csn_json *v)
{
  static const char *const keys[] = {"first", "after",   "task",         "tool",
                                     "exit",  "matches", "contains",     "not_contains",
                                     "turn",  "times",   "instructions", NULL};
  struct csn_rule *rule = r->rule;
  const csn_json *when, *first = NULL;
  int rc = member(r, v, "when", CSN_JSON_OBJECT, &when);
  if (rc < 0 || !when)
    return rc;
  rc = only(r, when, keys);
  if (rc == 0)
    rc = member(r, when, "first", CSN_JSON_BOOL, &first);
  if (rc == 0 && first && !first->truth)
    rc = complain(r, first, "first: only 'true' says something");
  rule->wants_first = first != NULL;
  if (rc == 0)
    rc = read_text(r, when, "after", &rule->after);
  if (rc == 0)
    rc = read_text(r, when, "tool", &rule->tool);
  if (rc == 0)
    rc = read_exit(r, when);
  if (rc == 0)
    rc = read_matches(r, when);
  if (rc == 0)
    rc = read_texts(r, when, "contains", &rule->contains);
  if (rc == 0)
    rc = read_texts(r, when, "not_contains", &rule->not_contains);
  if (rc == 0)
    rc = read_texts(r, when, "instructions", &rule->instructions);
  if (rc == 0)
    rc = read_turn(r, when);
  if (rc == 0)
    rc = read_count(r, when, "times", &rule->times);
  rule->wants_output = rule->tool.n || rule->exit != CSN_EXIT_ANY || rule->n_patterns ||
                       rule->contains || rule->not_contains;
  if (rc == 0 && rule->wants_first && rule->wants_output)
    rc = complain(r, when, "first: there is no output yet for the other conditions to be about");
  return rc;
}

static int
check_value(const struct reader *r, const csn_json *v, uint32_t line)
{
  csn_err err;
  csn_json at = {.line = v->line ? v->line : line};
  if (v->kind == CSN_JSON_STRING && csn_answer_check(r->rule, v->text, true, &err) < 0)
    return complain(r, &at, "%s", err.msg);
  int rc = 0;
  if (v->kind == CSN_JSON_OBJECT || v->kind == CSN_JSON_ARRAY)
    csn_json_each (m, v)
      rc = rc < 0 ? rc : check_value(r, m, at.line);
  return rc;
}

static int
check_calls(const struct reader *r, const csn_json *reply)
{
  if (!reply->n)
    return complain(r, reply, "reply: no call in the list");
  csn_json_each (call, reply) {
    if (call->kind != CSN_JSON_OBJECT || call->n != 1 || !call->child->key.n)
      return complain(r, call,
                      "reply: expected one tool and its arguments, such as "
                      "'exec_command: {cmd: ls}'");
    const csn_json *args = call->child;
    if (args->kind != CSN_JSON_OBJECT && args->kind != CSN_JSON_STRING)
      return complain(r, args, "%.*s: expected its arguments, or the text of a free-text tool",
                      (int)args->key.n, args->key.p);
    int rc = check_value(r, args, call->line);
    if (rc < 0)
      return rc;
  }
  return 0;
}

static int
read_then(const struct reader *r, const csn_json *v)
{
  struct csn_rule *rule = r->rule;
  const csn_json *fail;
  csn_err err;
  int rc = member(r, v, "fail", CSN_JSON_BOOL, &fail);
  if (rc == 0)
    rc = read_text(r, v, "say", &rule->say);
  if (rc < 0)
    return rc;
  rule->fails = fail && fail->truth;
  rule->reply = csn_json_get(v, "reply");
  if (!rule->reply)
    return complain(r, v, "reply: missing; write a text or a list of calls");
  if (csn_answer_check(rule, rule->say, false, &err) < 0)
    return complain(r, csn_json_get(v, "say"), "say: %s", err.msg);
  if (rule->reply->kind == CSN_JSON_STRING) {
    if (rule->say.n)
      return complain(r, v, "say: goes before calls; this reply is a text already");
    if (csn_answer_check(rule, rule->reply->text, false, &err) < 0)
      return complain(r, rule->reply, "reply: %s", err.msg);
    return 0;
  }
  if (rule->reply->kind != CSN_JSON_ARRAY)
    return complain(r, rule->reply, "reply: expected a text or a list of calls");
  if (rule->fails)
    return complain(r, fail, "fail: goes with a text, which ends the run; this reply has calls");
  return check_calls(r, rule->reply);
}

static bool
is_rule_name(csn_str s)
{
  for (size_t i = 0; i < s.n; i++)
    if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '-'))
      return false;
  return s.n > 0 && s.n <= 32; /* it is part of call ids, which have 64 characters */
}

static int
read_rule(struct reader *r, const csn_json *v)
{
  static const char *const keys[] = {"name", "when", "say", "reply", "fail", NULL};
  struct csn_rule *rule = r->rule;
  if (v->kind != CSN_JSON_OBJECT)
    return complain(r, v, "rules: expected a rule with 'name', 'when' and 'reply'");
  *rule =
      (struct csn_rule){.line = v->line, .turn_from = 1, .turn_to = INT64_MAX, .times = INT64_MAX};
  r->p->n_rules++; /* from here on its patterns are freed */
  int rc = only(r, v, keys);
  if (rc == 0)
    rc = read_text(r, v, "name", &rule->name);
  if (rc == 0 && !is_rule_name(rule->name))
    rc = complain(r, v, "name: expected 1 to 32 of a-z, 0-9 and '-'");
  for (const struct csn_rule *o = r->p->rules; rc == 0 && o < rule; o++)
    if (csn_str_eq(o->name, rule->name))
      rc = complain(r, v, "name: the rule of line %u has it already", o->line);
  if (rc == 0)
    rc = read_when(r, v);
  return rc < 0 ? rc : read_then(r, v);
}

/* "after" names a rule that exists. */
static int
check_after(const struct reader *r, const csn_json *rules)
{
  const csn_playbook *p = r->p;
  const csn_json *v = rules->child;
  for (size_t i = 0; i < p->n_rules; i++, v = v->next) {
    bool known = !p->rules[i].after.n;
    for (size_t k = 0; k < p->n_rules && !known; k++)
      known = csn_str_eq(p->rules[k].name, p->rules[i].after);
    if (!known)
      return complain(r, csn_json_get(csn_json_get(v, "when"), "after"),
                      "after: there is no rule '%.*s'", (int)p->rules[i].after.n,
                      p->rules[i].after.p);
  }
  return 0;
}

static int
read_playbook(struct reader *r, const csn_json *v)
{
  static const char *const keys[] = {"about", "rules", NULL};
  const csn_json *rules = NULL, *about;
  if (!csn_json_is(v, CSN_JSON_OBJECT))
    return csn_fail(r->err, CSN_E_INVALID, "%s: expected a playbook: 'rules:' with a list",
                    r->p->file);
  int rc = only(r, v, keys);
  if (rc == 0)
    rc = member(r, v, "about", CSN_JSON_STRING, &about);
  if (rc == 0)
    rc = member(r, v, "rules", CSN_JSON_ARRAY, &rules);
  if (rc < 0)
    return rc;
  if (!rules || !rules->n || rules->n > CSN_RULES_MAX)
    return complain(r, rules ? rules : v, "rules: expected 1 to %d rules", CSN_RULES_MAX);
  r->p->rules = csn_arena_alloc(r->p->arena, rules->n * sizeof *r->p->rules);
  csn_json_each (one, rules) {
    r->rule = &r->p->rules[r->p->n_rules];
    rc = read_rule(r, one);
    if (rc < 0)
      return rc;
  }
  return check_after(r, rules);
}

int
csn_playbook_new(csn_playbook **out, const csn_json *v, const char *file, csn_err *err)
{
  csn_auto(csn_playbook_freep) csn_playbook *p = csn_alloc(sizeof *p);
  p->arena = csn_arena_new(0);
  p->file = file;
  struct reader r = {.p = p, .err = err};
  int rc = read_playbook(&r, v);
  if (rc == 0)
    *out = csn_steal(p);
  return rc;
}

void
csn_playbook_free(csn_playbook *p)
{
  if (!p)
    return;
  for (size_t i = 0; i < p->n_rules; i++)
    for (size_t k = 0; k <= CSN_RULE_PATTERNS; k++)
      csn_pattern_fini(&p->rules[i].pattern[k]);
  csn_arena_free(p->arena);
  free(p);
}
