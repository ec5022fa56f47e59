/* SPDX-License-Identifier: Apache-2.0
 * policy.c - see policy.h.
 *
 * The text of a call is its command (exec_command), what it types
 * (write_stdin), the paths it touches (apply_patch), the input of another
 * free-text tool, and each text among the arguments of any other function. */
#include "run/policy.h"

#include "run/glob.h"
#include "run/shell_text.h"

/* Asks for one that fits, or for all; texts that are not there fit nothing. */
struct search {
  csn_str pattern;
  bool wants_all;
  size_t n;
  bool found, failed;
};

static void
offer(struct search *s, bool fits)
{
  s->n++;
  s->found = s->found || fits;
  s->failed = s->failed || !fits;
}

static bool
answer(const struct search *s)
{
  return s->wants_all ? s->n > 0 && !s->failed : s->found;
}

/* As it will be understood when the call is made (call.c): who leaves the name out
 * means the first. */
static csn_str
box_of(const csn_policy_call *c, const csn_json *root)
{
  static const char *const tools[] = {"exec_command", "write_stdin", "apply_patch", "view_image",
                                      NULL};
  const csn_json *several = csn_json_get(root, "sandboxes"), *v = csn_json_get(c->args, "sandbox");
  if (!several || !several->child || !csn_str_is_one_of(c->tool, tools))
    return CSN_STR("");
  if (v && v->kind != CSN_JSON_STRING && v->kind != CSN_JSON_NULL)
    return v->raw;
  return v && v->text.n ? v->text : several->child->key;
}

void
csn_policy_call_read(csn_policy_call *c, const csn_json *root, csn_arena *a)
{
  csn_str text = csn_str_trim(c->input);
  c->args = NULL;
  if (c->is_custom)
    return;
  if (csn_json_parse(a, text.n ? text : CSN_STR("{}"), &c->args, NULL) < 0 ||
      c->args->kind != CSN_JSON_OBJECT)
    c->args = NULL;
  c->box = box_of(c, root);
}

static void
offer_texts(struct search *s, const csn_json *v)
{
  if (v->kind == CSN_JSON_STRING)
    offer(s, csn_glob(s->pattern, v->text));
  csn_json_each (m, v)
    offer_texts(s, m);
}

/* "./a/../b" as "b"; false when it leads out or is absolute. */
static bool
plain_path(csn_str path, csn_buf *out)
{
  bool ok = path.n && path.p[0] != '/';
  for (size_t i = 0; i < path.n;) {
    size_t end = csn_str_find(path, CSN_STR("/"), i);
    end = end == SIZE_MAX ? path.n : end;
    csn_str part = csn_strn(path.p + i, end - i);
    i = end + 1;
    if (!part.n || csn_str_eq(part, CSN_STR(".")))
      continue;
    if (csn_str_eq(part, CSN_STR(".."))) {
      ok = ok && out->n > 0;
      while (out->n && out->p[out->n - 1] != '/')
        out->n--;
      out->n -= out->n > 0;
      continue;
    }
    csn_buf_addf(out, "%s%.*s", out->n ? "/" : "", (int)part.n, part.p);
  }
  return ok;
}

static void
offer_path(struct search *s, csn_str path)
{
  csn_auto(csn_buf_finip) csn_buf plain = CSN_BUF(2 * path.n + 2);
  path = csn_str_trim(path);
  bool ok = plain_path(path, &plain);
  bool fits = csn_glob(s->pattern, csn_buf_str(&plain));
  offer(s, s->wants_all ? ok && fits : fits || csn_glob(s->pattern, path));
}

static void
offer_patch(struct search *s, csn_str patch)
{
  static const char *const heads[] = {
      "*** Add File: ", "*** Update File: ", "*** Delete File: ", "*** Move to: "};
  csn_str line;
  while (csn_str_line(&patch, &line)) {
    line = csn_str_trim(line);
    for (size_t i = 0; i < CSN_COUNT(heads); i++) {
      size_t n = strlen(heads[i]);
      if (csn_str_starts(line, csn_cstr(heads[i])))
        offer_path(s, csn_strn(line.p + n, line.n - n));
    }
  }
}

/* A shell that is named can make anything of a command's text. */
static bool
is_plain_shell(const csn_json *args)
{
  static const char *const known[] = {"", "sh", "bash", "/bin/sh", "/bin/bash"};
  csn_str shell = csn_json_str(args, "shell", CSN_STR(""));
  for (size_t i = 0; i < CSN_COUNT(known); i++)
    if (csn_str_eq(shell, csn_cstr(known[i])))
      return true;
  return false;
}

static void
offer_command(struct search *s, const csn_json *args, const char *key)
{
  csn_str text = csn_json_str(args, key, CSN_STR(""));
  if (s->wants_all)
    offer(s, is_plain_shell(args) && csn_shell_text_all(text, s->pattern));
  else
    offer(s, csn_shell_text_any(text, s->pattern));
}

bool
csn_policy_fits(const csn_policy_call *c, csn_str pattern, bool to_allow)
{
  struct search s = {.pattern = pattern, .wants_all = to_allow};
  csn_str free_text = c->is_custom ? c->input : csn_json_str(c->args, "input", CSN_STR(""));
  if (csn_str_eq(c->tool, CSN_STR("apply_patch")))
    offer_patch(&s, free_text);
  else if (c->is_custom || !c->args) /* what cannot be parsed is looked at as it is */
    offer(&s, csn_glob(pattern, c->input));
  else if (csn_str_eq(c->tool, CSN_STR("exec_command")))
    offer_command(&s, c->args, "cmd");
  else if (csn_str_eq(c->tool, CSN_STR("write_stdin")))
    offer_command(&s, c->args, "chars");
  else
    csn_json_each (m, c->args)
      if (!c->box.n || !csn_str_eq(m->key, CSN_STR("sandbox"))) /* where, not what */
        offer_texts(&s, m);
  return answer(&s);
}

/* Kinds and lengths first, so that no two values look alike. */
static void
hash_value(csn_sha256 *h, const csn_json *v)
{
  uint64_t head[3] = {v->kind * 2u + v->truth, v->key.n, v->child ? v->n : v->text.n};
  csn_sha256_add(h, csn_strn((const char *)head, sizeof head));
  csn_sha256_add(h, v->key);
  if (v->kind == CSN_JSON_STRING || v->kind == CSN_JSON_NUMBER)
    csn_sha256_add(h, v->text);
  csn_json_each (m, v)
    hash_value(h, m);
}

csn_digest
csn_policy_scope(const csn_policy_call *c)
{
  if (!c->args)
    return csn_sha256_of(c->input);
  csn_sha256 h;
  csn_sha256_init(&h);
  hash_value(&h, c->args);
  return csn_sha256_end(&h);
}

static bool
arguments_fit(const csn_policy_call *c, const csn_json *match, bool to_allow)
{
  csn_json_each (want, match) {
    csn_auto(csn_freep) char *key = csn_dupz(want->key);
    const csn_json *arg = csn_json_get(c->args, key);
    struct search s = {.pattern = want->text, .wants_all = to_allow};
    if (c->box.n && csn_str_eq(want->key, CSN_STR("sandbox"))) {
      if (!csn_glob(want->text, c->box))
        return false;
      continue;
    }
    if (!arg)
      return false;
    bool is_command =
        csn_str_eq(want->key, CSN_STR("cmd")) && csn_str_eq(c->tool, CSN_STR("exec_command"));
    if (is_command && csn_policy_fits(c, want->text, to_allow))
      continue;
    if (is_command)
      return false;
    if (arg->kind == CSN_JSON_STRING || arg->kind == CSN_JSON_NUMBER)
      offer(&s, csn_glob(want->text, arg->text));
    else if (arg->kind == CSN_JSON_BOOL)
      offer(&s, csn_glob(want->text, arg->truth ? CSN_STR("true") : CSN_STR("false")));
    else
      offer_texts(&s, arg);
    if (!answer(&s))
      return false;
  }
  return true;
}

static enum csn_verdict
verdict_of(const csn_json *rule)
{
  csn_str word = csn_json_str(rule, "do", CSN_STR("ask"));
  if (csn_str_eq(word, CSN_STR("allow")))
    return CSN_ALLOW;
  return csn_str_eq(word, CSN_STR("deny")) ? CSN_DENY : CSN_ASK;
}

static bool
rule_fits(const csn_json *rule, const csn_policy_call *c, int64_t now_ms)
{
  const csn_json *match = csn_json_get(rule, "match");
  bool to_allow = verdict_of(rule) == CSN_ALLOW;
  csn_str tool = csn_json_str(rule, "tool", CSN_STR("*"));
  int64_t expires_ms = csn_json_int(rule, "expires_ms", 0);
  if (expires_ms && now_ms >= expires_ms)
    return false;
  if (csn_json_get(rule, "network") || (csn_json_get(rule, "label") && !c->is_untrusted))
    return false;
  if (!csn_glob(csn_json_str(rule, "agent", CSN_STR("*")), c->agent))
    return false;
  if (!csn_glob(tool, c->tool)) {
    /* What is forbidden as a command is forbidden to be typed into a shell. */
    bool is_typed =
        csn_str_eq(c->tool, CSN_STR("write_stdin")) && csn_str_eq(tool, CSN_STR("exec_command"));
    if (!is_typed || to_allow || !csn_json_is(match, CSN_JSON_STRING))
      return false;
  }
  if (!match)
    return true;
  if (match->kind == CSN_JSON_STRING)
    return csn_policy_fits(c, match->text, to_allow);
  return arguments_fit(c, match, to_allow);
}

enum csn_verdict
csn_policy_look(const csn_json *rules, const csn_policy_call *c, int64_t now_ms,
                const csn_json **rule)
{
  *rule = NULL;
  csn_json_each (r, rules)
    if (rule_fits(r, c, now_ms)) {
      *rule = r;
      return verdict_of(r);
    }
  return CSN_ALLOW;
}

enum csn_network_restriction
csn_policy_network(const csn_json *rules, bool is_untrusted)
{
  enum csn_network_restriction most = CSN_NETWORK_AS_LISTED;
  csn_json_each (r, rules) {
    csn_str word = csn_json_str(r, "network", CSN_STR(""));
    if (!word.n || (csn_json_get(r, "label") && !is_untrusted))
      continue;
    if (csn_str_eq(word, CSN_STR("any")))
      most = CSN_NETWORK_NOTHING;
    else if (most == CSN_NETWORK_AS_LISTED)
      most = CSN_NETWORK_NO_WRITES;
  }
  return most;
}
