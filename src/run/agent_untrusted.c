/* SPDX-License-Identifier: Apache-2.0
 * agent_untrusted.c - the section `untrusted` of agent.yaml: where planted
 * instructions may come from.
 *
 *   untrusted: {entries: [repo], tools: ["fetch_*"]} */
#include "run/agent_read.h"
#include "run/glob.h"

int
csn_agent_read_untrusted(const struct csn_agent_reader *r, const csn_json *m)
{
  static const char *const keys[] = {"entries", "tools", NULL};
  int rc = csn_agent_want(r, m, "untrusted", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = csn_agent_only(r, m, "untrusted.", keys);
  csn_json_each (list, rc == 0 ? m : NULL) {
    rc = rc < 0 ? rc : csn_agent_want(r, list, "untrusted", CSN_JSON_ARRAY);
    csn_json_each (name, rc == 0 ? list : NULL)
      if (rc == 0 && (name->kind != CSN_JSON_STRING || !name->text.n))
        rc = csn_agent_complain(r, name, "untrusted: expected names");
  }
  if (rc < 0)
    return rc;
  return csn_agent_keep_value(r, m, &r->a->untrusted);
}

void
csn_agent_write_untrusted(const csn_agent *a, csn_jw *w)
{
  if (!a->untrusted)
    return;
  csn_jw_key(w, "untrusted");
  csn_jw_value(w, a->untrusted);
}

/* Members share the section of the first. */
static const csn_json *
section(const csn_agent *a)
{
  return a->parent ? a->parent->untrusted : a->untrusted;
}

bool
csn_agent_has_untrusted_files(const csn_agent *a)
{
  const csn_json *entries = csn_json_get(section(a), "entries");
  return entries && entries->n > 0;
}

bool
csn_agent_is_untrusted_tool(const csn_agent *a, csn_str tool)
{
  csn_json_each (pattern, csn_json_get(section(a), "tools"))
    if (csn_glob(pattern->text, tool))
      return true;
  return false;
}

int
csn_agent_check_untrusted(const csn_agent *a, csn_err *err)
{
  csn_json_each (name, csn_json_get(a->untrusted, "entries")) {
    csn_auto(csn_freep) char *key = csn_dupz(name->text);
    const csn_agent *box;
    bool is_there = false;
    for (size_t i = 0; (box = csn_agent_box(a, i)); i++)
      is_there = is_there || csn_json_get(csn_json_get(box->manifest_json, "entries"), key);
    if (!is_there)
      return csn_fail(err, CSN_E_INVALID, "untrusted: the manifest of agent %s has no entry %s",
                      a->name, key);
  }
  return 0;
}
