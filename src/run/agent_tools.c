/* SPDX-License-Identifier: Apache-2.0
 * agent_tools.c - the section `tools` of agent.yaml: tools that are commands,
 * in any language.  Requests are in agent_http.c, those of the provider in
 * agent_hosted.c. */
#include "run/agent_read.h"
#include "run/command_tool.h"

static int
read_command(const struct csn_agent_reader *r, const csn_json *t, struct csn_command_tool *tool,
             csn_jw *w)
{
  const csn_json *m = csn_json_get(t, "command");
  bool ok = csn_json_is(m, CSN_JSON_ARRAY) && m->n > 0;
  csn_json_each (word, ok ? m : NULL)
    ok = ok && word->kind == CSN_JSON_STRING && !memchr(word->text.p, '\0', word->text.n);
  if (!ok)
    return csn_agent_complain(r, m ? m : t,
                              "tools.command: expected a program and its arguments, as a list");
  const char **argv = csn_arena_alloc(r->a->arena, (m->n + 1) * sizeof *argv);
  size_t n = 0;
  csn_json_each (word, m)
    argv[n++] = csn_arena_dup(r->a->arena, word->text).p;
  tool->argv = argv;
  csn_jw_key(w, "command");
  csn_jw_value(w, m);
  return 0;
}

/* In which of several sandboxes: the operator's choice, not the model's. */
static int
read_box(const struct csn_agent_reader *r, const csn_json *t, struct csn_command_tool *tool,
         csn_jw *w)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_str name = CSN_STR("");
  size_t i;
  int rc = csn_agent_text(r, t, "sandbox", &name);
  if (rc < 0 || !name.n)
    return rc;
  if (tool->in_harness)
    return csn_agent_complain(r, t, "tools.sandbox: the tool runs in the harness");
  csn_str names = csn_agent_box_names(r->a, a);
  if (!csn_agent_box_find(r->a, name, &i))
    return csn_agent_complain(
        r, t, "tools.sandbox: there is no sandbox '%.*s'; %s%.*s", name.n < 40 ? (int)name.n : 40,
        name.p, names.n ? "there are: " : "the agent has no `sandboxes`", (int)names.n, names.p);
  tool->box = name.p;
  csn_jw_key(w, "sandbox");
  csn_jw_str(w, name);
  return 0;
}

static int
read_where(const struct csn_agent_reader *r, const csn_json *t, struct csn_command_tool *tool,
           csn_jw *w)
{
  csn_str where = CSN_STR("sandbox");
  int rc = csn_agent_text(r, t, "where", &where);
  tool->in_harness = csn_str_eq(where, CSN_STR("harness"));
  if (rc == 0 && !tool->in_harness && !csn_str_eq(where, CSN_STR("sandbox")))
    rc = csn_agent_complain(r, t, "tools.where: expected sandbox or harness");
  csn_jw_key(w, "where");
  csn_jw_strz(w, tool->in_harness ? "harness" : "sandbox");
  return rc < 0 ? rc : read_box(r, t, tool, w);
}

static int
read_environment(const struct csn_agent_reader *r, const csn_json *t, struct csn_command_tool *tool,
                 csn_jw *w)
{
  const csn_json *m = csn_json_get(t, "environment");
  int rc = m ? csn_agent_want(r, m, "tools.environment", CSN_JSON_OBJECT) : 0;
  csn_json_each (v, rc == 0 ? m : NULL)
    if (v->kind != CSN_JSON_STRING || !v->key.n || memchr(v->key.p, '=', v->key.n) ||
        memchr(v->key.p, '\0', v->key.n) || memchr(v->text.p, '\0', v->text.n))
      return csn_agent_complain(r, v, "tools.environment: expected names and texts");
  if (rc < 0 || !m)
    return rc;
  tool->environment = csn_environment_of(r->a->arena, m);
  csn_jw_key(w, "environment");
  csn_jw_value(w, m);
  return 0;
}

static int
read_replay(const struct csn_agent_reader *r, const csn_json *t, enum csn_replay *replay, csn_jw *w)
{
  static const char *const words[] = {"once", "safe", "ask"};
  csn_str word = csn_cstr(words[*replay]);
  int rc = csn_agent_text(r, t, "replay", &word);
  for (size_t i = 0; rc == 0 && i < CSN_COUNT(words); i++)
    if (csn_str_eq(word, csn_cstr(words[i]))) {
      *replay = (enum csn_replay)i;
      csn_jw_key(w, "replay");
      csn_jw_strz(w, words[i]);
      return 0;
    }
  return rc < 0 ? rc : csn_agent_complain(r, t, "tools.replay: expected once, safe or ask");
}

static int
read_schema(const struct csn_agent_reader *r, const csn_json *t, csn_tool *tool, csn_jw *w)
{
  const csn_json *m = csn_json_get(t, "schema"), *strict = csn_json_get(t, "strict");
  if (m && csn_agent_want(r, m, "tools.schema", CSN_JSON_OBJECT) < 0)
    return CSN_E_INVALID;
  if (strict && csn_agent_want(r, strict, "tools.strict", CSN_JSON_BOOL) < 0)
    return CSN_E_INVALID;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_jw schema;
  csn_jw_init(&schema, &text);
  csn_jw_value(&schema, m);
  int rc = m ? csn_jw_done(&schema, r->err) : 0;
  tool->schema = m ? csn_arena_dup(r->a->arena, csn_buf_str(&text)).p : "{}";
  tool->is_loose = strict && !strict->truth;
  csn_jw_key(w, "schema");
  csn_jw_raw(w, csn_cstr(tool->schema));
  csn_jw_key(w, "strict");
  csn_jw_bool(w, !tool->is_loose);
  return rc;
}

/* The parts of a command that are its own; fills the function. */
static int
read_program(const struct csn_agent_reader *r, const csn_json *t, csn_tool *decl, csn_jw *w)
{
  struct csn_command_tool *tool = csn_arena_alloc(r->a->arena, sizeof *tool);
  int rc = read_command(r, t, tool, w);
  if (rc == 0)
    rc = read_where(r, t, tool, w);
  if (rc == 0)
    rc = read_environment(r, t, tool, w);
  tool->name = decl->name;
  tool->folder = r->a->folder;
  decl->call = csn_command_tool_call;
  decl->user = tool;
  r->a->has_commands = r->a->has_commands || (rc == 0 && !tool->in_harness);
  r->a->harness_tool = tool->in_harness ? tool->name : r->a->harness_tool;
  return rc;
}

static int
read_own_tool(const struct csn_agent_reader *r, const csn_json *t, csn_jw *w)
{
  static const char *const of_command[] = {"name",    "description", "schema",  "strict",
                                           "command", "where",       "sandbox", "environment",
                                           "replay",  NULL};
  static const char *const of_http[] = {"name",   "description",   "schema",  "strict",
                                        "http",   "method",        "headers", "header_env",
                                        "replay", "allow_private", NULL};
  bool is_http = csn_json_get(t, "http") != NULL;
  csn_str name = CSN_STR(""), text = CSN_STR("");
  csn_tool decl = {.size = sizeof decl};
  int rc = csn_agent_only(r, t, "tools.", is_http ? of_http : of_command);
  if (rc == 0)
    rc = csn_agent_text(r, t, "name", &name);
  if (rc == 0 && !name.n)
    rc = csn_agent_complain(r, t, "tools: each needs a `name`");
  if (rc == 0)
    rc = csn_agent_text(r, t, "description", &text);
  decl.name = name.p;
  decl.description = text.p;
  csn_jw_obj(w);
  csn_jw_key(w, "name");
  csn_jw_str(w, name);
  csn_jw_key(w, "description");
  csn_jw_str(w, text);
  if (rc == 0)
    rc = read_schema(r, t, &decl, w);
  if (rc == 0)
    rc = is_http ? csn_agent_read_http(r, t, &decl, w) : read_program(r, t, &decl, w);
  if (rc == 0)
    rc = read_replay(r, t, &decl.replay, w);
  csn_jw_end(w);
  if (is_http) /* a request leaves from this machine, too */
    r->a->harness_tool = decl.name;
  csn_err why;
  if (rc == 0 && csn_agent_add_tool(r->a, &decl, &why) < 0)
    rc = csn_agent_complain(r, t, "%s", why.msg);
  if (rc < 0)
    return rc;
  r->a->tools[r->a->n_tools - 1].is_builtin = true;
  return 0;
}

/* What acts on the computer is a command like others, with a name that is given. */
static int
read_computer(const struct csn_agent_reader *r, const csn_json *t)
{
  static const char *const passed[] = {"command", "where", "sandbox", "replay"};
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20), none = CSN_BUF(1 << 20);
  const csn_json *as_tool;
  csn_jw w, unused;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_jw_key(&w, "name");
  csn_jw_strz(&w, "computer");
  csn_jw_key(&w, "strict");
  csn_jw_bool(&w, false);
  for (size_t i = 0; i < CSN_COUNT(passed); i++)
    if (csn_json_get(t, passed[i])) {
      csn_jw_key(&w, passed[i]);
      csn_jw_value(&w, csn_json_get(t, passed[i]));
    }
  csn_jw_end(&w);
  csn_jw_init(&unused, &none);
  int rc = csn_agent_keep(r, &w, &as_tool);
  return rc < 0 ? rc : read_own_tool(r, as_tool, &unused);
}

static int
read_tool(const struct csn_agent_reader *r, const csn_json *t, csn_jw *w)
{
  int rc = csn_agent_want(r, t, "tools", CSN_JSON_OBJECT);
  if (rc < 0 || !csn_json_get(t, "hosted"))
    return rc < 0 ? rc : read_own_tool(r, t, w);
  rc = csn_agent_read_hosted(r, t, w);
  return rc < 0 || !csn_json_get(t, "command") ? rc : read_computer(r, t);
}

int
csn_agent_read_tools(const struct csn_agent_reader *r, const csn_json *m)
{
  if (r->a->tools_json)
    return csn_agent_complain(r, m, "tools: can be set once");
  int rc = csn_agent_read_list(r, m, "tools", read_tool, &r->a->tools_json);
  csn_agent *first = r->a->parent ? r->a->parent : r->a;
  if (rc == 0 && r->a->has_commands && !first->has_sandbox) {
    first->has_sandbox = true;
    first->sandbox.backend = "jail";
  }
  return rc;
}

void
csn_agent_write_tools(const csn_agent *a, csn_jw *w)
{
  csn_agent_write_list(a->tools_json, "tools", w);
}

/* Code of the agent file on this machine, outside of any sandbox, is the
 * operator's choice and not the file's. */
int
csn_agent_check_harness(const csn_agent *a, bool is_allowed, csn_err *err)
{
  const char *name = a->harness_tool;
  for (size_t i = 0; !name && i < a->n_agents; i++)
    name = a->agents[i]->harness_tool;
  if (!name || is_allowed)
    return 0;
  return csn_fail(err, CSN_E_DENIED,
                  "tool %s runs on this machine, outside of the sandbox; give --harness-tools if "
                  "you trust what the agent file says",
                  name);
}
