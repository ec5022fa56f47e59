/* SPDX-License-Identifier: Apache-2.0
 * playbook.c - which rule holds, and its answer as items. */
#include <stdio.h>

#include "model/playbook_impl.h"

enum { SHOWN_BYTES = 400 };

/* The rule's part of an id "call_<n>_<rule>" or "msg_<n>_<rule>". */
static csn_str
rule_of(csn_str id)
{
  size_t first = csn_str_find(id, CSN_STR("_"), 0);
  size_t second = first == SIZE_MAX ? SIZE_MAX : csn_str_find(id, CSN_STR("_"), first + 1);
  return second == SIZE_MAX ? CSN_STR("") : csn_strn(id.p + second + 1, id.n - second - 1);
}

static bool
is_in(csn_str text, const csn_json *needle)
{
  return csn_str_find(text, needle->text, 0) != SIZE_MAX;
}

/* How many texts of a text or a list occur. */
static size_t
count_in(csn_str text, const csn_json *list)
{
  size_t n = 0;
  if (csn_json_is(list, CSN_JSON_STRING))
    return is_in(text, list);
  csn_json_each (one, list)
    n += is_in(text, one);
  return n;
}

static bool
has_all(csn_str text, const csn_json *list)
{
  return count_in(text, list) == (csn_json_is(list, CSN_JSON_ARRAY) ? list->n : list != NULL);
}

static bool
output_holds(struct csn_found *f, const csn_seen *s)
{
  const struct csn_rule *r = f->rule;
  if (r->tool.n && !csn_str_eq(r->tool, s->tool))
    return false;
  if (r->exit == CSN_EXIT_CODE && (!s->has_exit || s->exit != r->exit_code))
    return false;
  if (r->exit == CSN_EXIT_NONZERO && (!s->has_exit || s->exit == 0))
    return false;
  if (r->exit == CSN_EXIT_RUNNING && s->session < 0)
    return false;
  if (!has_all(s->text, r->contains) || count_in(s->text, r->not_contains) != 0)
    return false;
  for (size_t i = 0; i < r->n_patterns; i++)
    if (!csn_pattern_match(&r->pattern[i], f->views[s - f->t->seen], &f->hit[i]))
      return false;
  f->seen = s;
  return true;
}

static bool
rule_holds(const struct csn_rule *r, const csn_transcript *t, const csn_str *views,
           struct csn_found *f)
{
  *f = (struct csn_found){
      .rule = r, .t = t, .views = views, .seen = t->n_seen ? &t->seen[t->n_seen - 1] : NULL};
  int64_t turn = (int64_t)t->n_turns + 1, fired = 0;
  if ((r->wants_first && !t->is_waiting) || turn < r->turn_from || turn > r->turn_to)
    return false;
  if (r->after.n && (!t->n_turns || !csn_str_eq(rule_of(t->turns[t->n_turns - 1]), r->after)))
    return false;
  for (size_t i = 0; i < t->n_turns && r->times != INT64_MAX; i++)
    fired += csn_str_eq(rule_of(t->turns[i]), r->name);
  if (fired >= r->times)
    return false;
  if (r->has_task &&
      !csn_pattern_match(&r->pattern[r->n_patterns], views[t->n_seen], &f->hit[r->n_patterns]))
    return false;
  bool found = !r->wants_output;
  for (size_t i = t->n_seen; i-- > 0 && !found;)
    found = output_holds(f, &t->seen[i]);
  return found;
}

/* ---- the answer ---- */

static void
member(csn_jw *w, const char *key, csn_str text)
{
  csn_jw_key(w, key);
  csn_jw_str(w, text);
}

struct writer {
  csn_arena *arena;
  const struct csn_found *f;
  const char *file;
  csn_model_reply *out;
  csn_err *err;
};

static int
keep(struct writer *w, csn_buf *b)
{
  int rc = csn_buf_done(b, "an answer of the playbook", w->err);
  if (rc < 0)
    return rc;
  csn_str s = csn_arena_dup(w->arena, csn_buf_str(b));
  if (!s.n)
    return csn_fail(w->err, CSN_E_LIMIT, "the playbook's answer is too large");
  w->out->items[w->out->n_items++] = s;
  return 0;
}

static int
write_message(struct writer *w, csn_str text, bool is_refusal)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(8 * CSN_ANSWER_MAX_BYTES);
  const struct csn_found *f = w->f;
  csn_jw j;
  csn_jw_init(&j, &b);
  csn_jw_obj(&j);
  member(&j, "type", CSN_STR("message"));
  csn_str rule = f->rule ? f->rule->name : CSN_STR("");
  char id[80];
  snprintf(id, sizeof id, "msg_%zu_%.*s", f->t->n_turns + 1, (int)rule.n, rule.n ? rule.p : "");
  member(&j, "id", csn_cstr(id));
  member(&j, "role", CSN_STR("assistant"));
  member(&j, "status", CSN_STR("completed"));
  csn_jw_key(&j, "content");
  csn_jw_arr(&j);
  csn_jw_obj(&j);
  member(&j, "type", is_refusal ? CSN_STR("refusal") : CSN_STR("output_text"));
  member(&j, is_refusal ? "refusal" : "text", text);
  if (!is_refusal) {
    csn_jw_key(&j, "annotations");
    csn_jw_arr(&j);
    csn_jw_end(&j);
  }
  csn_jw_end(&j);
  csn_jw_end(&j);
  csn_jw_end(&j);
  int rc = csn_jw_done(&j, w->err);
  return rc < 0 ? rc : keep(w, &b);
}

static int
write_filled(struct writer *w, csn_str text, bool is_refusal)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(CSN_ANSWER_MAX_BYTES);
  csn_answer_fill(&b, text, w->f);
  int rc = csn_buf_done(&b, "an answer of the playbook", w->err);
  return rc < 0 ? rc : write_message(w, csn_str_trim(csn_buf_str(&b)), is_refusal);
}

/* The tool takes free text when it is declared so or, undeclared, when the
 * playbook gives it text; giving it the other kind is a mistake in one of them. */
static int
check_kind(struct writer *w, const csn_model_request *rq, const csn_json *args)
{
  bool is_text = args->kind == CSN_JSON_STRING;
  for (size_t i = 0; i < rq->n_tools; i++)
    if (csn_str_eq(rq->tools[i].name, args->key) && is_text == (rq->tools[i].schema.n > 0))
      return csn_fail(w->err, CSN_E_INVALID, "%s:%u: %.*s takes %s in this run", w->file,
                      args->line, (int)args->key.n, args->key.p,
                      is_text ? "arguments, not a text" : "one text, not arguments");
  return 0;
}

static int
write_call(struct writer *w, const csn_json *args, size_t number)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(8 * CSN_ANSWER_MAX_BYTES);
  csn_auto(csn_buf_finip) csn_buf inner = CSN_BUF(2 * CSN_ANSWER_MAX_BYTES);
  bool is_text = args->kind == CSN_JSON_STRING;
  int rc = 0;
  if (is_text) {
    csn_answer_fill(&inner, args->text, w->f);
  } else {
    csn_jw a;
    csn_jw_init(&a, &inner);
    rc = csn_answer_value(&a, args, w->f, w->err);
    rc = rc < 0 ? rc : csn_jw_done(&a, w->err);
  }
  if (rc == 0)
    rc = csn_buf_done(&inner, "an answer of the playbook", w->err);
  if (rc < 0)
    return csn_wrap(w->err, rc, "%s:%u", w->file, args->line);
  char id[80];
  snprintf(id, sizeof id, "call_%zu_%.*s", number, (int)w->f->rule->name.n, w->f->rule->name.p);
  csn_jw j;
  csn_jw_init(&j, &b);
  csn_jw_obj(&j);
  member(&j, "type", is_text ? CSN_STR("custom_tool_call") : CSN_STR("function_call"));
  member(&j, "call_id", csn_cstr(id));
  member(&j, "name", args->key);
  member(&j, is_text ? "input" : "arguments", csn_buf_str(&inner));
  member(&j, "status", CSN_STR("completed"));
  csn_jw_end(&j);
  rc = csn_jw_done(&j, w->err);
  return rc < 0 ? rc : keep(w, &b);
}

static int
say_no_rule(struct writer *w)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(CSN_ANSWER_MAX_BYTES);
  const csn_transcript *t = w->f->t;
  const csn_seen *s = t->n_seen ? &t->seen[t->n_seen - 1] : NULL;
  csn_buf_addf(&b, "The playbook %s has no rule for what it sees in turn %zu: ", w->file,
               t->n_turns + 1);
  if (!s) {
    csn_buf_addz(&b, "the start of a task.");
    return write_message(w, csn_buf_str(&b), true);
  }
  csn_buf_addf(&b, "%.*s", (int)(s->tool.n < 64 ? s->tool.n : 64), s->tool.n ? s->tool.p : "");
  if (s->has_exit)
    csn_buf_addf(&b, " ended with exit code %lld", (long long)s->exit);
  if (s->session >= 0)
    csn_buf_addf(&b, " still runs as session %lld", (long long)s->session);
  csn_str text = csn_str_trim(s->text);
  bool is_cut = text.n > SHOWN_BYTES;
  if (is_cut)
    text = csn_strn(text.p + text.n - SHOWN_BYTES, SHOWN_BYTES);
  csn_buf_addz(&b, text.n == 0 ? " and said nothing."
                   : is_cut    ? " and said at its end:\n"
                               : " and said:\n");
  csn_buf_add(&b, text);
  return write_message(w, csn_buf_str(&b), true);
}

int
csn_playbook_answer(const csn_playbook *p, csn_arena *a, const csn_model_request *rq,
                    const csn_transcript *t, csn_model_reply *out, csn_err *err)
{
  struct csn_found f;
  bool found = false;
  csn_str *views = csn_arena_alloc(a, (t->n_seen + 1) * sizeof *views);
  if (!views)
    return csn_fail(err, CSN_E_LIMIT, "the playbook's answer is too large");
  for (size_t i = 0; i < t->n_seen; i++)
    views[i] = csn_pattern_view(a, t->seen[i].text);
  views[t->n_seen] = csn_pattern_view(a, t->task);
  for (size_t i = 0; i < p->n_rules && !found; i++)
    found = has_all(rq->instructions, p->rules[i].instructions) &&
            rule_holds(&p->rules[i], t, views, &f);
  if (!found)
    f = (struct csn_found){.t = t};
  *out = (csn_model_reply){0};
  size_t most = found && f.rule->reply->kind == CSN_JSON_ARRAY ? f.rule->reply->n + 1 : 1;
  out->items = csn_arena_alloc(a, most * sizeof *out->items);
  if (!out->items)
    return csn_fail(err, CSN_E_LIMIT, "the playbook's answer is too large");
  struct writer w = {.arena = a, .f = &f, .file = p->file, .out = out, .err = err};
  if (!found)
    return say_no_rule(&w);
  if (f.rule->reply->kind == CSN_JSON_STRING)
    return write_filled(&w, f.rule->reply->text, f.rule->fails);
  int rc = f.rule->say.n ? write_filled(&w, f.rule->say, false) : 0;
  size_t number = t->n_calls;
  csn_json_each (call, f.rule->reply) {
    if (rc == 0)
      rc = check_kind(&w, rq, call->child);
    if (rc == 0)
      rc = write_call(&w, call->child, ++number);
  }
  return rc;
}
