/* SPDX-License-Identifier: Apache-2.0
 * playbook_text.c - the ${...} in a playbook's answers.
 *
 * ${1} or ${name}: what a group matched; ${exit} ${session} ${tool} ${output}
 * ${task} ${turn}: the situation; ${sh:x}: as one quoted word for a shell;
 * ${int:x}: as a number; $${: a plain "${". */
#include <stdio.h>

#include "model/playbook_impl.h"

enum filter { PLAIN, SHELL, NUMBER };

struct ref {
  enum filter filter;
  csn_str name;
};

/* Cuts the text before the next reference, and the reference, off *rest;
 * false: the rest has none (`plain` is all of it).  A broken one is empty. */
static bool
next_ref(csn_str *rest, csn_buf *plain, struct ref *ref)
{
  for (size_t at = 0;;) {
    size_t dollar = csn_str_find(*rest, CSN_STR("${"), at);
    if (dollar == SIZE_MAX) {
      if (plain)
        csn_buf_add(plain, csn_strn(rest->p + at, rest->n - at));
      *rest = CSN_STR("");
      return false;
    }
    bool is_escaped = dollar > at && rest->p[dollar - 1] == '$';
    size_t shown = is_escaped ? dollar - 1 : dollar;
    if (plain)
      csn_buf_add(plain, csn_strn(rest->p + at, shown - at));
    at = dollar + 2;
    if (is_escaped) {
      if (plain)
        csn_buf_addz(plain, "${");
      continue;
    }
    size_t close = csn_str_find(*rest, CSN_STR("}"), at);
    size_t end = close == SIZE_MAX ? rest->n : close;
    *ref = (struct ref){.name = csn_strn(rest->p + at, close == SIZE_MAX ? 0 : end - at)};
    static const csn_str sh = CSN_STR_INIT("sh:"), number = CSN_STR_INIT("int:");
    csn_str head = csn_str_starts(ref->name, sh)       ? sh
                   : csn_str_starts(ref->name, number) ? number
                                                       : CSN_STR("");
    ref->filter = head.p == sh.p ? SHELL : head.p == number.p ? NUMBER : PLAIN;
    ref->name = csn_strn(ref->name.p + head.n, ref->name.n - head.n);
    size_t used = close == SIZE_MAX ? rest->n : end + 1;
    *rest = csn_strn(rest->p + used, rest->n - used);
    return true;
  }
}

static const char *const reserved[] = {"exit", "session", "tool", "output", "task", "turn"};

bool
csn_answer_is_reserved(csn_str name)
{
  for (size_t i = 0; i < CSN_COUNT(reserved); i++)
    if (csn_str_eq(name, csn_cstr(reserved[i])))
      return true;
  return false;
}

/* Which group of which pattern: the first pattern has the numbers, names may
 * be in any. */
static bool
find_group(const struct csn_rule *r, csn_str name, size_t *pattern, size_t *group)
{
  int64_t number;
  size_t n = r->n_patterns + r->has_task;
  if (csn_str_int(name, &number)) {
    *pattern = 0;
    *group = (size_t)number;
    return n > 0 && number >= 0 && (size_t)number <= r->pattern[0].n_groups;
  }
  for (size_t i = 0; i < n; i++)
    for (size_t g = 1; name.n && g <= r->pattern[i].n_groups; g++)
      if (csn_str_eq(r->pattern[i].names[g], name)) {
        *pattern = i;
        *group = g;
        return true;
      }
  return false;
}

int
csn_answer_check(const struct csn_rule *r, csn_str text, bool is_value, csn_err *err)
{
  csn_str rest = text;
  struct ref ref;
  size_t pattern, group;
  while (next_ref(&rest, NULL, &ref)) {
    if (!csn_answer_is_reserved(ref.name) && !find_group(r, ref.name, &pattern, &group))
      return csn_fail(err, CSN_E_INVALID,
                      "${%.*s} stands for nothing: no pattern of this rule has that group (write "
                      "$${ for a plain ${)",
                      (int)(ref.name.n < 60 ? ref.name.n : 60), ref.name.p);
    bool is_alone = csn_str_starts(text, CSN_STR("${int:")) && !rest.n &&
                    text.n == ref.name.n + strlen("${int:}");
    if (ref.filter == NUMBER && (!is_value || !is_alone))
      return csn_fail(err, CSN_E_INVALID, "${int:...} must be the whole of an argument");
  }
  return 0;
}

static csn_str
value_of(const struct csn_found *f, csn_str name, char number[24])
{
  static const csn_str none = CSN_STR_INIT("");
  size_t pattern, group;
  if (find_group(f->rule, name, &pattern, &group))
    return f->hit[pattern].g[group];
  if (csn_str_eq(name, CSN_STR("task")))
    return f->t->task;
  if (csn_str_eq(name, CSN_STR("turn"))) {
    snprintf(number, 24, "%zu", f->t->n_turns + 1);
    return csn_cstr(number);
  }
  if (!f->seen)
    return none;
  if (csn_str_eq(name, CSN_STR("tool")))
    return f->seen->tool;
  if (csn_str_eq(name, CSN_STR("output")))
    return f->seen->text;
  bool is_exit = csn_str_eq(name, CSN_STR("exit"));
  if (is_exit ? !f->seen->has_exit : f->seen->session < 0)
    return none;
  snprintf(number, 24, "%lld", (long long)(is_exit ? f->seen->exit : f->seen->session));
  return csn_cstr(number);
}

static void
quote_for_shell(csn_buf *out, csn_str s)
{
  csn_buf_addc(out, '\'');
  for (size_t i = 0; i < s.n; i++) {
    if (s.p[i] == '\'')
      csn_buf_addz(out, "'\\''");
    else if (s.p[i])
      csn_buf_addc(out, s.p[i]);
  }
  csn_buf_addc(out, '\'');
}

void
csn_answer_fill(csn_buf *out, csn_str text, const struct csn_found *f)
{
  struct ref ref;
  while (next_ref(&text, out, &ref)) {
    char number[24];
    csn_str v = value_of(f, ref.name, number);
    if (ref.filter == SHELL)
      quote_for_shell(out, v);
    else
      csn_buf_add(out, v);
  }
}

static int
write_text(csn_jw *w, csn_str text, const struct csn_found *f, csn_err *err)
{
  struct ref ref;
  csn_str rest = text;
  if (csn_str_starts(text, CSN_STR("${int:")) && next_ref(&rest, NULL, &ref)) {
    char number[24];
    csn_str v = value_of(f, ref.name, number);
    int64_t n;
    if (!csn_str_int(v, &n))
      return csn_fail(err, CSN_E_INVALID, "${int:%.*s} is '%.*s', which is no number",
                      (int)ref.name.n, ref.name.p, (int)(v.n < 60 ? v.n : 60), v.p ? v.p : "");
    csn_jw_int(w, n);
    return 0;
  }
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(CSN_ANSWER_MAX_BYTES);
  csn_answer_fill(&b, text, f);
  csn_jw_str(w, csn_buf_str(&b));
  return csn_buf_done(&b, "an answer of the playbook", err);
}

int
csn_answer_value(csn_jw *w, const csn_json *v, const struct csn_found *f, csn_err *err)
{
  int rc = 0;
  if (v->kind == CSN_JSON_STRING)
    return write_text(w, v->text, f, err);
  if (v->kind != CSN_JSON_OBJECT && v->kind != CSN_JSON_ARRAY) {
    csn_jw_value(w, v);
    return 0;
  }
  bool is_object = v->kind == CSN_JSON_OBJECT;
  if (is_object)
    csn_jw_obj(w);
  else
    csn_jw_arr(w);
  csn_json_each (m, v) {
    if (is_object)
      csn_jw_keyn(w, m->key);
    if (rc == 0)
      rc = csn_answer_value(w, m, f, err);
  }
  csn_jw_end(w);
  return rc;
}
