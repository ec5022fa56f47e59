/* SPDX-License-Identifier: Apache-2.0
 * agent_sections.c - the sections of agent.yaml that stand by themselves: a
 * table of how each is read and how the resolved form writes it. */
#include "run/agent_read.h"

/* One section.  `read` gets its value; `write` adds nothing when the agent
 * does not have it. */
struct section {
  const char *key;
  int (*read)(const struct csn_agent_reader *r, const csn_json *m);
  void (*write)(const csn_agent *a, csn_jw *w);
};

/* In the order in which the resolved form has them. */
static const struct section sections[] = {
    {"settings", csn_agent_read_settings, NULL}, /* written before them, as the next */
    {"limits", csn_agent_read_budget, NULL},
    {"environment", csn_agent_read_environment, csn_agent_write_environment},
    {"tools", csn_agent_read_tools, csn_agent_write_tools},
    {"output_schema", csn_agent_read_output_schema, csn_agent_write_output_schema},
    {"tool_use", csn_agent_read_tool_use, csn_agent_write_tool_use},
    {"reset_tool_choice", csn_agent_read_reset_tool_choice, csn_agent_write_reset_tool_choice},
    {"guardrails", csn_agent_read_guardrails, csn_agent_write_guardrails},
    {"error_handlers", csn_agent_read_errors, csn_agent_write_errors},
    {"tool_settings", csn_agent_read_tool_settings, csn_agent_write_tool_settings},
    {"handoffs", csn_agent_read_handoffs, csn_agent_write_handoffs},
    {"agent_tools", csn_agent_read_agent_tools, csn_agent_write_agent_tools},
    {"agents", csn_agent_read_agents, csn_agent_write_agents},
    {"untrusted", csn_agent_read_untrusted, csn_agent_write_untrusted},
    {"approvals", csn_agent_read_approvals, csn_agent_write_approvals},
    {"scopes", csn_agent_read_scopes, csn_agent_write_scopes},
};

int
csn_agent_keep(const struct csn_agent_reader *r, csn_jw *w, const csn_json **out)
{
  int rc = csn_jw_done(w, r->err);
  csn_str json = csn_arena_dup(r->a->arena, csn_buf_str(w->out));
  return rc < 0 ? rc : csn_json_parse(r->a->arena, json, out, r->err);
}

int
csn_agent_keep_value(const struct csn_agent_reader *r, const csn_json *v, const csn_json **out)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_value(&w, v);
  return csn_agent_keep(r, &w, out);
}

int
csn_agent_read_list(const struct csn_agent_reader *r, const csn_json *m, const char *key,
                    int (*one)(const struct csn_agent_reader *r, const csn_json *v, csn_jw *w),
                    const csn_json **out)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(4 << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_arr(&w);
  int rc = csn_agent_want(r, m, key, CSN_JSON_ARRAY);
  csn_json_each (v, m) {
    if (rc < 0)
      return rc;
    rc = one(r, v, &w);
  }
  csn_jw_end(&w);
  return rc < 0 ? rc : csn_agent_keep(r, &w, out);
}

void
csn_agent_write_list(const csn_json *list, const char *key, csn_jw *w)
{
  if (!list || !list->n)
    return;
  csn_jw_key(w, key);
  csn_jw_value(w, list);
}

static const struct section *
find(csn_str key)
{
  for (size_t i = 0; i < CSN_COUNT(sections); i++)
    if (csn_str_eq(key, csn_cstr(sections[i].key)))
      return &sections[i];
  return NULL;
}

size_t
csn_agent_section_keys(const char **keys)
{
  for (size_t i = 0; i < CSN_COUNT(sections); i++)
    keys[i] = sections[i].key;
  return CSN_COUNT(sections);
}

int
csn_agent_read_sections(const struct csn_agent_reader *r, const csn_json *v)
{
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < CSN_COUNT(sections); i++) {
    const csn_json *m = csn_json_get(v, sections[i].key);
    if (m)
      rc = sections[i].read(r, m);
  }
  return rc;
}

void
csn_agent_write_sections(const csn_agent *a, csn_jw *w)
{
  for (size_t i = 0; i < CSN_COUNT(sections); i++)
    if (sections[i].write)
      sections[i].write(a, w);
}

int
csn_agent_set(csn_agent *a, const char *section, csn_str json, csn_err *err)
{
  const struct section *s = find(csn_cstr(section));
  if (!s)
    return csn_fail(err, CSN_E_INVALID, "an agent has no section %s", section);
  const csn_json *v;
  csn_str kept = csn_arena_dup(a->arena, json);
  int rc = csn_json_parse(a->arena, kept, &v, err);
  if (rc < 0)
    return csn_wrap(err, rc, "%s", section);
  struct csn_agent_reader r = {a, a->name, err, NULL};
  return s->read(&r, v);
}
