/* SPDX-License-Identifier: Apache-2.0
 * agent_callbacks.c - the sections of agent.yaml that name functions of the
 * program: `guardrails` and `tool_settings`. */
#include "run/agent_read.h"
#include "run/glob.h"

int
csn_agent_add_callback(csn_agent *a, const csn_callback *cb, csn_err *err)
{
  if (!cb->name || !*cb->name || !cb->fn)
    return csn_fail(err, CSN_E_INVALID, "a callback needs a name and a function");
  if (csn_agent_callback(a, csn_cstr(cb->name)))
    return csn_fail(err, CSN_E_EXISTS, "agent %s has a callback %s already", a->name, cb->name);
  a->callbacks = csn_realloc(a->callbacks, a->n_callbacks + 1, sizeof *a->callbacks);
  a->callbacks[a->n_callbacks] = *cb;
  a->callbacks[a->n_callbacks++].name = csn_arena_dup(a->arena, csn_cstr(cb->name)).p;
  return 0;
}

static int
need(const csn_agent *a, csn_str name, const char *where, csn_err *err)
{
  if (!name.n || csn_agent_callback(a, name))
    return 0;
  return csn_fail(err, CSN_E_INVALID, "agent %s: %s names a callback %.*s that is not bound",
                  a->name, where, (int)(name.n & 0xff), name.p);
}

int
csn_agent_check_callbacks(const csn_agent *a, csn_err *err)
{
  for (size_t i = 0; i < a->n_agents; i++)
    if (csn_agent_check_callbacks(a->agents[i], err) < 0)
      return CSN_E_INVALID;
  int rc = need(a, csn_cstr(a->instructions_callback), "instructions", err);
  csn_json_each (g, a->guardrails)
    if (rc == 0)
      rc = need(a, csn_json_str(g, "callback", CSN_STR("")), "guardrails", err);
  csn_json_each (h, a->handoffs)
    if (rc == 0)
      rc = need(a, csn_json_str(csn_json_get(h, "filter"), "callback", CSN_STR("")), "handoffs",
                err);
  csn_json_each (h, a->errors)
    if (rc == 0)
      rc = need(a, csn_json_str(h, "callback", CSN_STR("")), "error_handlers", err);
  csn_json_each (t, a->tool_settings)
    if (rc == 0)
      rc = need(a, csn_json_str(csn_json_get(t, "enabled"), "callback", CSN_STR("")),
                "tool_settings", err);
  return rc;
}

static void
member(csn_jw *w, const char *key, csn_str s)
{
  csn_jw_key(w, key);
  csn_jw_str(w, s);
}

/* ---- guardrails ---- */

static int
read_on(const struct csn_agent_reader *r, const csn_json *g, bool *is_input, bool *is_tool,
        csn_jw *w)
{
  static const char *const words[] = {"input", "output", "tool_input", "tool_output"};
  csn_str on = csn_json_str(g, "on", CSN_STR(""));
  for (size_t i = 0; i < CSN_COUNT(words); i++)
    if (csn_str_eq(on, csn_cstr(words[i]))) {
      member(w, "on", on);
      *is_input = i == 0;
      *is_tool = i >= 2;
      return 0;
    }
  return csn_agent_complain(
      r, g, "guardrails: each needs `on: input`, output, tool_input or tool_output");
}

static int
read_guardrail(const struct csn_agent_reader *r, const csn_json *g, csn_jw *w)
{
  static const char *const keys[] = {"callback", "on", "blocking", "tool", NULL};
  bool is_input = false, is_tool = false;
  csn_str name = CSN_STR(""), tool = CSN_STR("");
  int rc = csn_agent_want(r, g, "guardrails", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = csn_agent_only(r, g, "guardrails.", keys);
  if (rc == 0)
    rc = csn_agent_text(r, g, "callback", &name);
  if (rc == 0 && !name.n)
    rc = csn_agent_complain(r, g, "guardrails: each needs the name of a `callback`");
  csn_jw_obj(w);
  member(w, "callback", name);
  if (rc == 0)
    rc = read_on(r, g, &is_input, &is_tool, w);
  const csn_json *blocking = csn_json_get(g, "blocking");
  if (rc == 0 && blocking && (!is_input || blocking->kind != CSN_JSON_BOOL))
    rc = csn_agent_complain(r, blocking, "guardrails.blocking: true or false, with `on: input`");
  if (rc == 0 && blocking && blocking->truth) {
    csn_jw_key(w, "blocking");
    csn_jw_bool(w, true);
  }
  if (rc == 0)
    rc = csn_agent_text(r, g, "tool", &tool);
  if (rc == 0 && tool.n && !is_tool)
    rc = csn_agent_complain(r, g, "guardrails.tool: only with `on: tool_input` or tool_output");
  if (tool.n)
    member(w, "tool", tool);
  csn_jw_end(w);
  return rc;
}

int
csn_agent_read_guardrails(const struct csn_agent_reader *r, const csn_json *m)
{
  return csn_agent_read_list(r, m, "guardrails", read_guardrail, &r->a->guardrails);
}

void
csn_agent_write_guardrails(const csn_agent *a, csn_jw *w)
{
  csn_agent_write_list(a->guardrails, "guardrails", w);
}

/* ---- tool_settings ---- */

static int
read_enabled(const struct csn_agent_reader *r, const csn_json *m, csn_jw *w)
{
  static const char *const keys[] = {"callback", NULL};
  csn_str name = CSN_STR("");
  int rc = 0;
  if (m->kind == CSN_JSON_OBJECT) {
    rc = csn_agent_only(r, m, "tool_settings.enabled.", keys);
    if (rc == 0)
      rc = csn_agent_text(r, m, "callback", &name);
  }
  if (rc == 0 && m->kind != CSN_JSON_BOOL && !name.n)
    rc =
        csn_agent_complain(r, m, "tool_settings.enabled: expected true, false or {callback: NAME}");
  csn_jw_key(w, "enabled");
  csn_jw_value(w, m);
  return rc;
}

/* "30s" or 30 as milliseconds. */
static int
read_timeout(const struct csn_agent_reader *r, const csn_json *t, csn_jw *w)
{
  const csn_json *m = csn_json_get(t, "timeout");
  int64_t ms = 0, n;
  int rc = csn_agent_whole(r, t, "timeout_ms", 1, &ms);
  if (rc < 0)
    return rc;
  if (m) {
    csn_str s = m->text;
    bool is_minutes = s.n && s.p[s.n - 1] == 'm';
    if (s.n && (is_minutes || s.p[s.n - 1] == 's'))
      s.n--;
    if ((m->kind != CSN_JSON_STRING && m->kind != CSN_JSON_NUMBER) || !csn_str_int(s, &n) ||
        n < 1 || n > 86400)
      return csn_agent_complain(r, m, "tool_settings.timeout: expected a time like 30s or 5m");
    ms = n * (is_minutes ? 60000 : 1000);
  }
  if (ms) {
    csn_jw_key(w, "timeout_ms");
    csn_jw_int(w, ms);
  }
  int64_t retries = 0;
  rc = csn_agent_whole(r, t, "retries", 0, &retries);
  if (rc == 0 && retries > 10)
    rc = csn_agent_complain(r, t, "tool_settings.retries: at most 10");
  if (retries) {
    csn_jw_key(w, "retries");
    csn_jw_int(w, retries);
  }
  return rc;
}

const csn_json *
csn_agent_tool_setting(const csn_agent *a, csn_str tool, const char *key)
{
  csn_json_each (t, a->tool_settings) {
    const csn_json *m = csn_json_get(t, key);
    if (m && csn_glob(csn_json_str(t, "tool", CSN_STR("")), tool))
      return m;
  }
  return NULL;
}

static int
read_flag(const struct csn_agent_reader *r, const csn_json *t, const char *key, csn_jw *w)
{
  const csn_json *m = csn_json_get(t, key);
  if (!m)
    return 0;
  csn_jw_key(w, key);
  csn_jw_value(w, m);
  return csn_agent_want(r, m, key, CSN_JSON_BOOL);
}

static int
read_setting(const struct csn_agent_reader *r, const csn_json *t, csn_jw *w)
{
  static const char *const keys[] = {"tool",    "enabled", "timeout", ".timeout_ms",
                                     "retries", "defer",   "cache",   NULL};
  csn_str tool = CSN_STR("");
  int rc = csn_agent_want(r, t, "tool_settings", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = csn_agent_only(r, t, "tool_settings.", keys);
  if (rc == 0)
    rc = csn_agent_text(r, t, "tool", &tool);
  if (rc == 0 && (!tool.n || memchr(tool.p, '\n', tool.n)))
    rc = csn_agent_complain(r, t, "tool_settings: each needs a `tool`, a name or a pattern");
  csn_jw_obj(w);
  member(w, "tool", tool);
  const csn_json *enabled = csn_json_get(t, "enabled");
  if (rc == 0 && enabled)
    rc = read_enabled(r, enabled, w);
  if (rc == 0)
    rc = read_timeout(r, t, w);
  if (rc == 0)
    rc = read_flag(r, t, "defer", w);
  if (rc == 0)
    rc = read_flag(r, t, "cache", w);
  csn_jw_end(w);
  return rc;
}

int
csn_agent_read_tool_settings(const struct csn_agent_reader *r, const csn_json *m)
{
  return csn_agent_read_list(r, m, "tool_settings", read_setting, &r->a->tool_settings);
}

void
csn_agent_write_tool_settings(const csn_agent *a, csn_jw *w)
{
  csn_agent_write_list(a->tool_settings, "tool_settings", w);
}

/* ---- tool_use ---- */

int
csn_agent_read_tool_use(const struct csn_agent_reader *r, const csn_json *m)
{
  static const char *const keys[] = {"stop_at", NULL};
  const csn_json *names = csn_json_get(m, "stop_at");
  bool ok = m->kind == CSN_JSON_STRING && (csn_str_eq(m->text, CSN_STR("run_again")) ||
                                           csn_str_eq(m->text, CSN_STR("stop_on_first")));
  if (m->kind == CSN_JSON_OBJECT) {
    ok = csn_json_is(names, CSN_JSON_ARRAY);
    csn_json_each (name, names)
      ok = ok && name->kind == CSN_JSON_STRING;
    int rc = csn_agent_only(r, m, "tool_use.", keys);
    if (rc < 0)
      return rc;
  }
  if (!ok)
    return csn_agent_complain(
        r, m, "tool_use: expected run_again, stop_on_first or {stop_at: [TOOL...]}");
  return csn_agent_keep_value(r, m, &r->a->tool_use);
}

void
csn_agent_write_tool_use(const csn_agent *a, csn_jw *w)
{
  if (!a->tool_use)
    return;
  csn_jw_key(w, "tool_use");
  csn_jw_value(w, a->tool_use);
}

/* ---- reset_tool_choice ---- */

int
csn_agent_read_reset_tool_choice(const struct csn_agent_reader *r, const csn_json *m)
{
  int rc = csn_agent_want(r, m, "reset_tool_choice", CSN_JSON_BOOL);
  r->a->keeps_tool_choice = rc == 0 && !m->truth;
  return rc;
}

/* Only where there is a choice to reset. */
void
csn_agent_write_reset_tool_choice(const csn_agent *a, csn_jw *w)
{
  if (!csn_json_get(a->settings, "tool_choice"))
    return;
  csn_jw_key(w, "reset_tool_choice");
  csn_jw_bool(w, !a->keeps_tool_choice);
}

/* ---- output_schema, in its strict form ---- */

int
csn_agent_strict_schema(const struct csn_agent_reader *r, const csn_json *m, const char *key,
                        const csn_json **out)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20), strict = CSN_BUF(1 << 20);
  csn_err why;
  const csn_json *plain = NULL;
  csn_jw w;
  int rc = csn_agent_want(r, m, key, CSN_JSON_OBJECT);
  csn_jw_init(&w, &text);
  csn_jw_value(&w, m);
  if (rc == 0)
    rc = csn_agent_keep(r, &w, &plain);
  if (rc == 0 && !csn_json_get(plain, "properties"))
    rc = csn_agent_complain(r, m, "%s: expected the schema of an object", key);
  if (rc < 0)
    return rc;
  if (csn_schema_strict(r->a->arena, plain, &strict, &why) < 0)
    return csn_agent_complain(r, m, "%s: %s", key, why.msg);
  csn_str json = csn_arena_dup(r->a->arena, csn_buf_str(&strict));
  return csn_json_parse(r->a->arena, json, out, r->err);
}

int
csn_agent_read_output_schema(const struct csn_agent_reader *r, const csn_json *m)
{
  return csn_agent_strict_schema(r, m, "output_schema", &r->a->output_schema);
}

void
csn_agent_write_output_schema(const csn_agent *a, csn_jw *w)
{
  if (!a->output_schema)
    return;
  csn_jw_key(w, "output_schema");
  csn_jw_value(w, a->output_schema);
}
