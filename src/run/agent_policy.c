/* SPDX-License-Identifier: Apache-2.0
 * agent_policy.c - the section `approvals` of agent.yaml: a list of rules.
 * The resolved form has the date of `expires` as Unix time, `expires_ms`. */
#include "run/agent_read.h"
#include "run/glob.h"

static int
read_word(const struct csn_agent_reader *r, const csn_json *rule, csn_jw *w)
{
  static const char *const words[] = {"allow", "deny", "ask"};
  const csn_json *m = csn_json_get(rule, "do");
  for (size_t i = 0; m && i < CSN_COUNT(words); i++)
    if (m->kind == CSN_JSON_STRING && csn_str_eq(m->text, csn_cstr(words[i]))) {
      csn_jw_key(w, "do");
      csn_jw_strz(w, words[i]);
      return 0;
    }
  return csn_agent_complain(r, m ? m : rule, "approvals: each rule needs `do: allow`, deny or ask");
}

static int
read_texts(const struct csn_agent_reader *r, const csn_json *rule, csn_jw *w)
{
  static const char *const keys[] = {"tool", "agent", "reason"};
  for (size_t i = 0; i < CSN_COUNT(keys); i++) {
    csn_str s = CSN_STR("");
    int rc = csn_agent_text(r, rule, keys[i], &s);
    if (rc < 0)
      return rc;
    if (!s.n)
      continue;
    csn_jw_key(w, keys[i]);
    csn_jw_str(w, s);
  }
  return 0;
}

static int
read_match(const struct csn_agent_reader *r, const csn_json *rule, csn_jw *w)
{
  const csn_json *m = csn_json_get(rule, "match");
  if (!m)
    return 0;
  bool ok = m->kind == CSN_JSON_STRING || (m->kind == CSN_JSON_OBJECT && m->n > 0);
  csn_json_each (arg, m->kind == CSN_JSON_OBJECT ? m : NULL)
    ok = ok && arg->kind == CSN_JSON_STRING;
  if (!ok)
    return csn_agent_complain(r, m, "approvals.match: expected a pattern, or patterns by argument");
  csn_jw_key(w, "match");
  csn_jw_value(w, m);
  return 0;
}

static bool
digits(csn_str s, size_t at, size_t n, int64_t *out)
{
  return at + n <= s.n && s.p[at] != '-' && s.p[at] != '+' &&
         csn_str_int(csn_strn(s.p + at, n), out);
}

/* Days from 1970-01-01 of a date of the Gregorian calendar. */
static int64_t
days_of(int64_t y, int64_t m, int64_t d)
{
  y -= m <= 2;
  int64_t era = y / 400, of_era = y - era * 400;
  int64_t of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* "2026-12-31" (its beginning) or "2026-12-31T18:00:00Z". */
static bool
read_time(csn_str s, int64_t *ms)
{
  int64_t y, mo, d, h = 0, mi = 0, sec = 0;
  bool ok = s.n >= 10 && digits(s, 0, 4, &y) && s.p[4] == '-' && digits(s, 5, 2, &mo) &&
            s.p[7] == '-' && digits(s, 8, 2, &d) && y >= 1970 && mo >= 1 && mo <= 12 && d >= 1 &&
            d <= 31;
  if (ok && s.n != 10)
    ok = s.n == 20 && s.p[10] == 'T' && digits(s, 11, 2, &h) && s.p[13] == ':' &&
         digits(s, 14, 2, &mi) && s.p[16] == ':' && digits(s, 17, 2, &sec) && s.p[19] == 'Z' &&
         h < 24 && mi < 60 && sec < 61;
  if (ok)
    *ms = ((days_of(y, mo, d) * 24 + h) * 60 + mi) * 60000 + sec * 1000;
  return ok;
}

static int
read_expires(const struct csn_agent_reader *r, const csn_json *rule, csn_jw *w)
{
  const csn_json *m = csn_json_get(rule, "expires");
  int64_t ms = 0;
  int rc = csn_agent_whole(r, rule, "expires_ms", 1, &ms);
  if (rc < 0)
    return rc;
  if (m && (m->kind != CSN_JSON_STRING || !read_time(m->text, &ms)))
    return csn_agent_complain(
        r, m, "approvals.expires: expected a date like 2026-12-31 or 2026-12-31T18:00:00Z");
  if (ms) {
    csn_jw_key(w, "expires_ms");
    csn_jw_int(w, ms);
  }
  return 0;
}

static int
read_label(const struct csn_agent_reader *r, const csn_json *rule, csn_jw *w)
{
  csn_str label = CSN_STR("");
  int rc = csn_agent_text(r, rule, "label", &label);
  if (rc < 0 || !label.n)
    return rc;
  if (!csn_str_eq(label, CSN_STR("untrusted")))
    return csn_agent_complain(r, rule, "approvals.label: expected untrusted");
  csn_jw_key(w, "label");
  csn_jw_str(w, label);
  return 0;
}

/* A rule on what the sandbox may send: nobody can be asked in between. */
static int
read_network(const struct csn_agent_reader *r, const csn_json *rule, csn_jw *w)
{
  static const char *const calls[] = {"tool", "match", "agent", "expires"};
  csn_str word = CSN_STR("");
  int rc = csn_agent_text(r, rule, "network", &word);
  if (rc < 0 || !word.n)
    return rc;
  if (!csn_str_eq(word, CSN_STR("write")) && !csn_str_eq(word, CSN_STR("any")))
    return csn_agent_complain(r, rule, "approvals.network: expected write or any");
  for (size_t i = 0; i < CSN_COUNT(calls); i++)
    if (csn_json_get(rule, calls[i]))
      return csn_agent_complain(r, rule, "approvals.network: a rule on the network has no %s",
                                calls[i]);
  if (!csn_str_eq(csn_json_str(rule, "do", CSN_STR("")), CSN_STR("deny")))
    return csn_agent_complain(r, rule, "approvals.network: expected `do: deny`");
  csn_jw_key(w, "network");
  csn_jw_str(w, word);
  return 0;
}

static int
read_rule(const struct csn_agent_reader *r, const csn_json *rule, csn_jw *w)
{
  static const char *const keys[] = {"tool",    "match",       "agent", "do",      "reason",
                                     "expires", ".expires_ms", "label", "network", NULL};
  int rc = csn_agent_want(r, rule, "approvals", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = csn_agent_only(r, rule, "approvals.", keys);
  csn_jw_obj(w);
  if (rc == 0)
    rc = read_label(r, rule, w);
  if (rc == 0)
    rc = read_network(r, rule, w);
  if (rc == 0)
    rc = read_texts(r, rule, w);
  if (rc == 0)
    rc = read_match(r, rule, w);
  if (rc == 0)
    rc = read_word(r, rule, w);
  if (rc == 0)
    rc = read_expires(r, rule, w);
  csn_jw_end(w);
  return rc;
}

int
csn_agent_read_approvals(const struct csn_agent_reader *r, const csn_json *m)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(4 << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_arr(&w);
  int rc = csn_agent_want(r, m, "approvals", CSN_JSON_ARRAY);
  csn_json_each (rule, m) {
    if (rc < 0)
      return rc;
    rc = read_rule(r, rule, &w);
  }
  csn_jw_end(&w);
  return rc < 0 ? rc : csn_agent_keep(r, &w, &r->a->approvals);
}

void
csn_agent_write_approvals(const csn_agent *a, csn_jw *w)
{
  if (!a->approvals || !a->approvals->n)
    return;
  csn_jw_key(w, "approvals");
  csn_jw_value(w, a->approvals);
}

/* Whether the pattern fits a tool, a hand-off or an agent that is called as a
 * tool; the list gets their names. */
static bool
fits_a_tool(const csn_agent *a, csn_str pattern, csn_buf *list)
{
  bool known = false;
  for (size_t i = 0; i < a->n_tools; i++) {
    csn_buf_addf(list, "%s%s", list->n ? ", " : "", a->tools[i].tool.name);
    known = known || csn_glob(pattern, csn_cstr(a->tools[i].tool.name));
  }
  const csn_json *const uses[] = {a->handoffs, a->agent_tools};
  for (size_t i = 0; i < CSN_COUNT(uses); i++)
    csn_json_each (use, uses[i]) {
      csn_str name = csn_json_str(use, "tool", CSN_STR(""));
      csn_buf_addf(list, "%s%.*s", list->n ? ", " : "", (int)name.n, name.p);
      known = known || csn_glob(pattern, name);
    }
  for (size_t i = 0; i < a->n_hosted; i++) /* LABEL.TOOL, whose names the server gives */
    known = known || (a->hosted[i].label.n && csn_str_starts(pattern, a->hosted[i].label));
  for (size_t i = 0; i < a->n_agents; i++)
    known = fits_a_tool(a->agents[i], pattern, list) || known;
  return known;
}

static bool
has_network(const csn_agent *a)
{
  const csn_agent *box;
  for (size_t i = 0; (box = csn_agent_box(a, i)); i++)
    if (box->sandbox.network)
      return true;
  return false;
}

/* A rule with a misspelt tool would forbid nothing. */
int
csn_agent_check_approvals(const csn_agent *a, csn_err *err)
{
  csn_json_each (rule, a->approvals) {
    csn_str tool = csn_json_str(rule, "tool", CSN_STR("*"));
    csn_auto(csn_buf_finip) csn_buf list = CSN_BUF(400);
    bool known = csn_str_find(tool, CSN_STR("*"), 0) != SIZE_MAX ||
                 csn_str_find(tool, CSN_STR("?"), 0) != SIZE_MAX || fits_a_tool(a, tool, &list);
    if (csn_json_get(rule, "network") && !has_network(a) && !a->run_parent)
      return csn_fail(err, CSN_E_INVALID,
                      "approvals: agent %s has a rule on the network, and its sandbox has none",
                      a->name);
    if (!known)
      return csn_fail(err, CSN_E_INVALID,
                      "approvals: agent %s has no tool %.*s; its tools are: %s (write a pattern "
                      "with * for tools that come later)",
                      a->name, (int)(tool.n & 0xff), tool.p, list.n ? list.p : "none");
  }
  return 0;
}
