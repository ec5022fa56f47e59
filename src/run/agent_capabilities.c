/* SPDX-License-Identifier: Apache-2.0
 * agent_capabilities.c - the list `capabilities` of agent.yaml: words, or objects
 * with a `type` where there is more to say.
 *
 * Settings of skills, memory and compaction are the run's: they stand in the first
 * agent, and the others say by the word whether they have them. */
#include "run/agent_read.h"

/* `read` gets the word or the object; NULL: there is only the word. */
static const struct capability {
  const char *word;
  int (*read)(const struct csn_agent_reader *r, const csn_json *m);
} known[CSN_CAPABILITIES] = {
    [CSN_CAPABILITY_FILES] = {"filesystem", NULL},
    [CSN_CAPABILITY_SHELL] = {"shell", NULL},
    [CSN_CAPABILITY_SKILLS] = {"skills", csn_agent_read_skills},
    [CSN_CAPABILITY_MEMORY] = {"memory", csn_agent_read_memory},
    [CSN_CAPABILITY_COMPACTION] = {"compaction", csn_agent_read_compaction},
};

bool
csn_agent_has_capability(const csn_agent *a, enum csn_capability which)
{
  for (size_t i = 0; i < a->n_capabilities; i++)
    if (a->capabilities[i] == which)
      return true;
  return false;
}

static void
add(csn_agent *a, enum csn_capability which)
{
  if (!csn_agent_has_capability(a, which))
    a->capabilities[a->n_capabilities++] = which;
  a->has_files = a->has_files || which == CSN_CAPABILITY_FILES;
  a->has_shell = a->has_shell || which == CSN_CAPABILITY_SHELL;
}

static int
read_one(const struct csn_agent_reader *r, const csn_json *m)
{
  bool is_word = m->kind == CSN_JSON_STRING;
  csn_str word = is_word ? m->text : csn_json_str(m, "type", CSN_STR(""));
  for (size_t i = 0; i < CSN_COUNT(known); i++) {
    if (!csn_str_eq(word, csn_cstr(known[i].word)) || (!is_word && !known[i].read))
      continue;
    bool is_shared = r->a->parent && (i == CSN_CAPABILITY_SKILLS || i == CSN_CAPABILITY_MEMORY);
    if (is_shared && !is_word)
      return csn_agent_complain(r, m,
                                "agents: %s is shared; write its settings in the first agent and "
                                "the word `%s` here",
                                known[i].word, known[i].word);
    if (is_shared && !(i == CSN_CAPABILITY_SKILLS ? r->a->parent->skills : r->a->parent->memory))
      return csn_agent_complain(r, m, "agents: the first agent does not have the capability %s",
                                known[i].word);
    int rc = known[i].read && !is_shared && (!is_word || i != CSN_CAPABILITY_COMPACTION)
                 ? known[i].read(r, m)
                 : 0;
    if (rc == 0)
      add(r->a, (enum csn_capability)i);
    return rc;
  }
  return csn_agent_complain(r, m,
                            "capabilities: unknown capability; there are filesystem, shell, "
                            "skills, memory and compaction");
}

/* Without a list an agent has what the first one has, and that one a workspace. */
static void
take_default(csn_agent *a)
{
  const csn_agent *parent = a->parent;
  if (!parent) {
    add(a, CSN_CAPABILITY_FILES);
    add(a, CSN_CAPABILITY_SHELL);
    return;
  }
  for (size_t i = 0; i < parent->n_capabilities; i++)
    if (parent->capabilities[i] != CSN_CAPABILITY_COMPACTION)
      add(a, parent->capabilities[i]);
}

int
csn_agent_read_capabilities(const struct csn_agent_reader *r, const csn_json *v)
{
  const csn_json *m = csn_json_get(v, "capabilities");
  if (!m) {
    take_default(r->a);
    return 0;
  }
  int rc = csn_agent_want(r, m, "capabilities", CSN_JSON_ARRAY);
  csn_json_each (one, m)
    if (rc == 0)
      rc = read_one(r, one);
  return rc;
}

void
csn_agent_write_capabilities(const csn_agent *a, csn_jw *w)
{
  csn_jw_key(w, "capabilities");
  csn_jw_arr(w);
  for (size_t i = 0; i < a->n_capabilities; i++) {
    enum csn_capability which = a->capabilities[i];
    const csn_json *settings = which == CSN_CAPABILITY_SKILLS       ? a->skills
                               : which == CSN_CAPABILITY_MEMORY     ? a->memory
                               : which == CSN_CAPABILITY_COMPACTION ? a->compaction
                                                                    : NULL;
    if (settings)
      csn_jw_value(w, settings);
    else
      csn_jw_strz(w, known[which].word);
  }
  csn_jw_end(w);
}
