/* SPDX-License-Identifier: Apache-2.0
 * agent_team.c - the sections `agents` and `handoffs`: several agents in one
 * run.  They share its workspace, limits and rules; each has a model,
 * instructions, tools and guardrails of its own. */
#include "run/agent_read.h"
#include "run/instructions.h"

/* "Spanish agent" -> "transfer_to_spanish_agent" */
static csn_str
tool_name(csn_arena *a, const char *head, csn_str agent)
{
  csn_str s = csn_arena_printf(a, "%s%.*s", head, (int)agent.n, agent.p);
  char *p = (char *)(uintptr_t)s.p;
  for (size_t i = 0; i < s.n; i++)
    if (p[i] >= 'A' && p[i] <= 'Z')
      p[i] = (char)(p[i] - 'A' + 'a');
    else if (!(p[i] >= 'a' && p[i] <= 'z') && !(p[i] >= '0' && p[i] <= '9'))
      p[i] = '_';
  return s;
}

const csn_agent *
csn_agent_member(const csn_agent *root, csn_str name)
{
  if (csn_str_eq(name, csn_cstr(root->name)))
    return root;
  for (size_t i = 0; i < root->n_agents; i++)
    if (csn_str_eq(name, csn_cstr(root->agents[i]->name)))
      return root->agents[i];
  return NULL;
}

const csn_callback *
csn_agent_callback(const csn_agent *a, csn_str name)
{
  for (const csn_agent *at = a; at; at = at->parent)
    for (size_t i = 0; i < at->n_callbacks; i++)
      if (csn_str_eq(name, csn_cstr(at->callbacks[i].name)))
        return &at->callbacks[i];
  return NULL;
}

int
csn_agent_add_agent(csn_agent *a, csn_agent *member, csn_err *err)
{
  int rc = 0;
  if (a->parent || member->n_agents)
    rc = csn_fail(err, CSN_E_INVALID, "agent %s: agents are added to the first one only", a->name);
  else if (csn_agent_member(a, csn_cstr(member->name)))
    rc = csn_fail(err, CSN_E_EXISTS, "agent %s: there is an agent %s already", a->name,
                  member->name);
  else if (a->n_boxes && member->parent != a && (member->has_shell || member->has_files))
    rc = csn_fail(err, CSN_E_UNSUPPORTED,
                  "agent %s: its tools do not know of the sandboxes of agent %s; write it into "
                  "`agents` of the agent file",
                  member->name, a->name);
  if (rc < 0) {
    csn_agent_free(member);
    return rc;
  }
  a->agents = csn_realloc(a->agents, a->n_agents + 1, sizeof *a->agents);
  a->agents[a->n_agents++] = member;
  member->parent = a;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(16 << 20); /* now with the workspace */
  rc = csn_instructions_write(member, member->instructions, NULL, &text, err);
  member->full_instructions = csn_arena_dup(member->arena, csn_buf_str(&text));
  if (!a->has_sandbox && (member->has_shell || member->has_files)) {
    a->has_sandbox = true;
    a->sandbox.backend = "jail";
  }
  return rc;
}

/* ---- agents ---- */

int
csn_agent_read_agents(const struct csn_agent_reader *r, const csn_json *m)
{
  int rc = csn_agent_want(r, m, "agents", CSN_JSON_ARRAY);
  if (rc == 0 && r->a->parent)
    rc = csn_agent_complain(r, m, "agents: only the first agent has them");
  csn_json_each (v, m) {
    csn_agent *member = NULL;
    if (rc == 0)
      rc = csn_agent_read_member(r, v, &member);
    if (rc == 0)
      rc = csn_agent_add_agent(r->a, member, r->err);
    if (rc < 0)
      return rc;
  }
  return rc;
}

void
csn_agent_write_agents(const csn_agent *a, csn_jw *w)
{
  if (!a->n_agents)
    return;
  csn_jw_key(w, "agents");
  csn_jw_arr(w);
  for (size_t i = 0; i < a->n_agents; i++)
    csn_agent_to_json(a->agents[i], w);
  csn_jw_end(w);
}

/* ---- handoffs ---- */

static void
member(csn_jw *w, const char *key, csn_str s)
{
  if (!s.n)
    return;
  csn_jw_key(w, key);
  csn_jw_str(w, s);
}

/* all, messages, last or {callback: NAME}, which is left in *callback. */
static int
read_filter(const struct csn_agent_reader *r, const csn_json *h, csn_str *filter, csn_str *callback)
{
  static const char *const words[] = {"all", "messages", "last"};
  static const char *const keys[] = {"callback", NULL};
  const csn_json *m = csn_json_get(h, "filter");
  if (csn_json_is(m, CSN_JSON_OBJECT)) {
    int rc = csn_agent_only(r, m, "handoffs.filter.", keys);
    if (rc == 0)
      rc = csn_agent_text(r, m, "callback", callback);
    return rc < 0 || callback->n ? rc
                                 : csn_agent_complain(r, m, "handoffs.filter.callback: missing");
  }
  int rc = csn_agent_text(r, h, "filter", filter);
  for (size_t i = 0; rc == 0 && i < CSN_COUNT(words); i++)
    if (!filter->n || csn_str_eq(*filter, csn_cstr(words[i])))
      return 0;
  return rc < 0 ? rc
                : csn_agent_complain(
                      r, h, "handoffs.filter: expected all, messages, last or {callback: NAME}");
}

/* A name, or {agent, tool?, description?} and what else is among the keys. */
static int
read_use(const struct csn_agent_reader *r, const csn_json *h, const char *section, const char *head,
         const char *const *keys, csn_jw *w)
{
  csn_str agent = CSN_STR(""), tool = CSN_STR(""), text = CSN_STR(""), filter = CSN_STR("");
  csn_str callback = CSN_STR("");
  const csn_json *input = csn_json_get(h, "input_schema");
  int rc = 0;
  if (h->kind == CSN_JSON_STRING) {
    agent = csn_arena_dup(r->a->arena, h->text);
  } else {
    rc = csn_agent_want(r, h, section, CSN_JSON_OBJECT);
    if (rc == 0)
      rc = csn_agent_only(r, h, "", keys);
    if (rc == 0)
      rc = csn_agent_text(r, h, "agent", &agent);
    if (rc == 0)
      rc = csn_agent_text(r, h, "tool", &tool);
    if (rc == 0)
      rc = csn_agent_text(r, h, "description", &text);
    if (rc == 0)
      rc = read_filter(r, h, &filter, &callback);
    if (rc == 0 && input)
      rc = csn_agent_strict_schema(r, input, "handoffs.input_schema", &input);
  }
  if (rc == 0 && !agent.n)
    rc = csn_agent_complain(r, h, "%s: each needs the name of an `agent`", section);
  csn_jw_obj(w);
  member(w, "agent", agent);
  member(w, "tool", tool.n ? tool : tool_name(r->a->arena, head, agent));
  member(w, "description", text);
  member(w, "filter", filter);
  if (callback.n) {
    csn_jw_key(w, "filter");
    csn_jw_obj(w);
    member(w, "callback", callback);
    csn_jw_end(w);
  }
  if (input) {
    csn_jw_key(w, "input_schema");
    csn_jw_value(w, input);
  }
  csn_jw_end(w);
  return rc;
}

static int
read_handoff(const struct csn_agent_reader *r, const csn_json *h, csn_jw *w)
{
  static const char *const keys[] = {"agent",  "tool",         "description",
                                     "filter", "input_schema", NULL};
  return read_use(r, h, "handoffs", "transfer_to_", keys, w);
}

static int
read_agent_tool(const struct csn_agent_reader *r, const csn_json *h, csn_jw *w)
{
  static const char *const keys[] = {"agent", "tool", "description", NULL};
  return read_use(r, h, "agent_tools", "", keys, w);
}

int
csn_agent_read_agent_tools(const struct csn_agent_reader *r, const csn_json *m)
{
  return csn_agent_read_list(r, m, "agent_tools", read_agent_tool, &r->a->agent_tools);
}

void
csn_agent_write_agent_tools(const csn_agent *a, csn_jw *w)
{
  csn_agent_write_list(a->agent_tools, "agent_tools", w);
}

csn_tool_decl
csn_agent_child_decl(const csn_agent *a, const csn_json *t)
{
  csn_str name = csn_json_str(t, "agent", CSN_STR(""));
  csn_str text = csn_json_str(t, "description", CSN_STR(""));
  const csn_agent *to = csn_agent_member(a->parent ? a->parent : a, name);
  if (!text.n && to)
    text = csn_cstr(to->description);
  return (csn_tool_decl){.name = csn_json_str(t, "tool", CSN_STR("")),
                         .description = text,
                         .schema =
                             CSN_STR("{\"type\":\"object\",\"properties\":{\"input\":{\"type\":"
                                     "\"string\"}},\"additionalProperties\":false,"
                                     "\"required\":[\"input\"]}"),
                         .strict = true};
}

int
csn_agent_read_handoffs(const struct csn_agent_reader *r, const csn_json *m)
{
  return csn_agent_read_list(r, m, "handoffs", read_handoff, &r->a->handoffs);
}

void
csn_agent_write_handoffs(const csn_agent *a, csn_jw *w)
{
  csn_agent_write_list(a->handoffs, "handoffs", w);
}

csn_tool_decl
csn_agent_handoff_decl(const csn_agent *a, const csn_json *h, csn_arena *arena)
{
  csn_str name = csn_json_str(h, "agent", CSN_STR(""));
  csn_str text = csn_json_str(h, "description", CSN_STR(""));
  const csn_agent *to = csn_agent_member(a->parent ? a->parent : a, name);
  if (!text.n)
    text = csn_arena_printf(arena, "Handoff to the %.*s agent to handle the request. %s",
                            (int)name.n, name.p, to && to->description ? to->description : "");
  const csn_json *input = csn_json_get(h, "input_schema");
  return (csn_tool_decl){.name = csn_json_str(h, "tool", CSN_STR("")),
                         .description = text,
                         .schema = input ? input->raw
                                         : CSN_STR("{\"additionalProperties\":false,\"type\":"
                                                   "\"object\",\"properties\":{},\"required\":[]}"),
                         .strict = true};
}

/* ---- what a model may call, by name ---- */

enum { SHOWN = 100 /* bytes of a name in a complaint */ };

/* One of them; a complaint speaks of it as `what` and `of`. */
struct named {
  csn_str name;
  const char *what;
  csn_str of;
};

static void
describe(const struct named *n, csn_buf *out)
{
  csn_buf_addz(out, n->what);
  csn_buf_add(out, csn_strn(n->of.p, n->of.n < SHOWN ? n->of.n : SHOWN));
}

static int
complain_of_two(const csn_agent *a, const struct named *x, const struct named *y, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf one = CSN_BUF(200), other = CSN_BUF(200);
  describe(x, &one);
  describe(y, &other);
  return csn_fail(err, CSN_E_INVALID,
                  "agent %s: %s and %s are both named %.*s to the model; give one of them another "
                  "name (a hand-off and an agent tool by `tool: NAME`)",
                  a->name, one.p, other.p, (int)(x->name.n < SHOWN ? x->name.n : SHOWN), x->name.p);
}

static size_t
add_uses(struct named *all, size_t n, const csn_json *uses, const char *what)
{
  csn_json_each (u, uses)
    all[n++] = (struct named){csn_json_str(u, "tool", CSN_STR("")), what,
                              csn_json_str(u, "agent", CSN_STR(""))};
  return n;
}

/* Hosted tools may be there twice (servers), and what acts on the computer is a
 * function of its name. */
static bool
may_share(const struct named *x, const struct named *y, size_t i, size_t n_hosted)
{
  return i < n_hosted ||
         (strcmp(x->what, "the hosted tool ") == 0 && strcmp(y->what, "the tool ") == 0 &&
          csn_str_eq(y->name, CSN_STR("computer")));
}

static int
check_names(const csn_agent *a, csn_err *err)
{
  size_t n = 0, room = a->n_tools + a->n_hosted + (a->agent_tools ? a->agent_tools->n : 0) +
                       (a->handoffs ? a->handoffs->n : 0);
  csn_auto(csn_freep) struct named *all = csn_alloc((room + 1) * sizeof *all);
  for (; n < a->n_hosted; n++) {
    csn_str type = csn_cstr(a->hosted[n].type);
    all[n] = (struct named){type, "the hosted tool ", type};
  }
  for (size_t i = 0; i < a->n_tools; i++) {
    csn_str name = csn_cstr(a->tools[i].tool.name);
    all[n++] = (struct named){name, "the tool ", name};
  }
  n = add_uses(all, n, a->agent_tools, "the agent tool for ");
  n = add_uses(all, n, a->handoffs, "the hand-off to ");
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < i; k++)
      if (csn_str_eq(all[i].name, all[k].name) && !may_share(&all[k], &all[i], i, a->n_hosted))
        return complain_of_two(a, &all[k], &all[i], err);
  return 0;
}

static int
check_handoffs(const csn_agent *root, const csn_agent *a, csn_err *err)
{
  csn_json_each (h, a->handoffs) {
    csn_str name = csn_json_str(h, "agent", CSN_STR(""));
    if (!csn_agent_member(root, name))
      return csn_fail(err, CSN_E_INVALID, "agent %s hands off to %.*s, which is no agent here",
                      a->name, (int)(name.n & 0xff), name.p);
  }
  csn_json_each (t, a->agent_tools) {
    csn_str name = csn_json_str(t, "agent", CSN_STR(""));
    const csn_agent *to = csn_agent_member(root, name);
    if (!to || to == a || to == root)
      return csn_fail(err, CSN_E_INVALID,
                      "agent %s calls %.*s as a tool, which is none of `agents`", a->name,
                      (int)(name.n & 0xff), name.p);
  }
  return 0;
}

int
csn_agent_check_team(const csn_agent *a, csn_err *err)
{
  int rc = check_handoffs(a, a, err);
  if (rc == 0)
    rc = check_names(a, err);
  for (size_t i = 0; rc == 0 && i < a->n_agents; i++) {
    rc = check_handoffs(a, a->agents[i], err);
    if (rc == 0)
      rc = check_names(a->agents[i], err);
  }
  return rc;
}
