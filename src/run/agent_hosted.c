/* SPDX-License-Identifier: Apache-2.0
 * agent_hosted.c - entries `hosted` of the section `tools`: what the provider
 * runs itself.  They are sent in the wire form of the Responses API; a model
 * whose API has no such tool is refused before the run. */
#include "run/agent_read.h"
#include "run/project.h"

/* A kind of tool: what it needs, and what is sent where the file says nothing. */
static const struct kind {
  const char *type;
  const char *needs[2];
  const char *defaults; /* members of a JSON object */
  bool is_closed;       /* its settings are those of `keys` */
  const char *keys[8];
} kinds[] = {
    {"web_search",
     {NULL},
     "{\"filters\":null,\"user_location\":null,\"search_context_size\":\"medium\"}",
     true,
     {"filters", "user_location", "search_context_size", "external_web_access",
      "search_content_types", "image_settings"}},
    {"file_search",
     {"vector_store_ids"},
     "{}",
     true,
     {"vector_store_ids", "max_num_results", "ranking_options", "filters",
      "include_search_results"}},
    {"code_interpreter", {NULL}, "{\"container\":{\"type\":\"auto\"}}", false, {NULL}},
    {"image_generation", {NULL}, "{}", false, {NULL}},
    {"mcp", {"server_label"}, "{}", false, {NULL}},
    {"computer",
     {NULL},
     "{\"environment\":\"browser\",\"display_width\":1024,\"display_height\":768}",
     true,
     {"environment", "display_width", "display_height", "command", "where", "sandbox", "replay"}},
    {"tool_search", {NULL}, "{}", true, {"description", "execution", "parameters"}},
};

static const struct kind *
find_kind(csn_str type)
{
  for (size_t i = 0; i < CSN_COUNT(kinds); i++)
    if (csn_str_eq(type, csn_cstr(kinds[i].type)))
      return &kinds[i];
  return NULL;
}

/* What is for us and not for the provider. */
static bool
is_ours(csn_str key)
{
  static const char *const keys[] = {"hosted",  "command", "where",
                                     "sandbox", "replay",  "include_search_results"};
  for (size_t i = 0; i < CSN_COUNT(keys); i++)
    if (csn_str_eq(key, csn_cstr(keys[i])))
      return true;
  return false;
}

/* ---- checking ---- */

static int
check_keys(const struct csn_agent_reader *r, const csn_json *t, const struct kind *k)
{
  csn_json_each (m, k->is_closed ? t : NULL) {
    bool known = csn_str_eq(m->key, CSN_STR("hosted"));
    for (size_t i = 0; i < CSN_COUNT(k->keys) && k->keys[i]; i++)
      known = known || csn_str_eq(m->key, csn_cstr(k->keys[i]));
    if (!known)
      return csn_agent_complain(r, m, "tools: the hosted tool %s has no %.*s", k->type,
                                (int)m->key.n, m->key.p);
  }
  for (size_t i = 0; i < CSN_COUNT(k->needs) && k->needs[i]; i++)
    if (!csn_json_get(t, k->needs[i]))
      return csn_agent_complain(r, t, "tools: the hosted tool %s needs `%s`", k->type, k->needs[i]);
  return 0;
}

static int
check_values(const struct csn_agent_reader *r, const csn_json *t, const struct kind *k)
{
  const csn_json *stores = csn_json_get(t, "vector_store_ids");
  const csn_json *most = csn_json_get(t, "max_num_results");
  const csn_json *env = csn_json_get(t, "authorization_env");
  int64_t n = 0;
  if (stores && (stores->kind != CSN_JSON_ARRAY || !stores->n))
    return csn_agent_complain(r, stores, "tools.vector_store_ids: expected a list of ids");
  if (most && (!csn_json_to_int(most, &n) || n < 0 || n > 50))
    return csn_agent_complain(r, most, "tools.max_num_results: expected 1 to 50");
  bool is_mcp = strcmp(k->type, "mcp") == 0;
  if (is_mcp && !csn_json_get(t, "server_url") && !csn_json_get(t, "connector_id"))
    return csn_agent_complain(r, t, "tools: a hosted mcp needs `server_url` or `connector_id`");
  if (is_mcp && (csn_json_get(t, "authorization") || csn_json_get(t, "headers")))
    return csn_agent_complain(r, t,
                              "tools: a hosted mcp takes no key from a file; name its variable "
                              "with `authorization_env`");
  if (env && (!is_mcp || env->kind != CSN_JSON_STRING))
    return csn_agent_complain(r, env, "tools.authorization_env: the name of a variable, of mcp");
  if (csn_str_eq(csn_json_str(t, "execution", CSN_STR("")), CSN_STR("client")))
    return csn_agent_complain(r, t, "tools: tool_search is run by the provider here, not by us");
  return 0;
}

/* ---- reading ---- */

static void
write_wire(const csn_json *t, const struct kind *k, csn_arena *arena, csn_jw *w)
{
  const csn_json *defaults;
  csn_jw_obj(w);
  csn_jw_key(w, "type");
  csn_jw_strz(w, k->type);
  if (csn_json_parse(arena, csn_cstr(k->defaults), &defaults, NULL) == 0)
    csn_json_each (m, defaults) {
      csn_auto(csn_freep) char *key = csn_dupz(m->key);
      csn_jw_key(w, key);
      csn_jw_value(w, csn_json_get(t, key) ? csn_json_get(t, key) : m);
    }
  csn_json_each (m, t) {
    csn_auto(csn_freep) char *key = csn_dupz(m->key);
    bool is_none =
        csn_str_eq(m->key, CSN_STR("max_num_results")) && m->text.n == 1 && m->text.p[0] == '0';
    if (is_ours(m->key) || csn_json_get(defaults, key) || is_none)
      continue;
    csn_jw_keyn(w, m->key);
    csn_jw_value(w, m);
  }
  csn_jw_end(w);
}

static int
add_hosted(const struct csn_agent_reader *r, const csn_json *t, const struct kind *k)
{
  csn_agent *a = r->a;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  write_wire(t, k, a->arena, &w);
  int rc = csn_jw_done(&w, r->err);
  bool is_mcp = strcmp(k->type, "mcp") == 0;
  for (size_t i = 0; i < a->n_hosted && !is_mcp; i++)
    if (strcmp(a->hosted[i].type, k->type) == 0)
      return csn_agent_complain(r, t, "tools: the hosted tool %s is there twice", k->type);
  if (rc < 0)
    return rc;
  struct csn_agent_hosted *all = csn_arena_alloc(a->arena, (a->n_hosted + 1) * sizeof *all);
  if (a->n_hosted)
    memcpy(all, a->hosted, a->n_hosted * sizeof *all);
  all[a->n_hosted++] = (struct csn_agent_hosted){
      .type = k->type,
      .wire = csn_arena_dup(a->arena, csn_buf_str(&text)),
      .label = csn_arena_dup(a->arena, csn_json_str(t, "server_label", CSN_STR(""))),
      .has_results = csn_json_bool(t, "include_search_results", false)};
  a->hosted = all;
  return 0;
}

int
csn_agent_read_hosted(const struct csn_agent_reader *r, const csn_json *t, csn_jw *w)
{
  csn_str type = CSN_STR("");
  int rc = csn_agent_text(r, t, "hosted", &type);
  const struct kind *k = find_kind(type);
  if (rc == 0 && !k)
    return csn_agent_complain(r, t,
                              "tools.hosted: expected web_search, file_search, code_interpreter, "
                              "image_generation, mcp, computer or tool_search");
  if (rc == 0)
    rc = check_keys(r, t, k);
  if (rc == 0)
    rc = check_values(r, t, k);
  if (rc == 0)
    rc = add_hosted(r, t, k);
  csn_jw_value(w, t);
  return rc;
}

/* ---- before a run ---- */

static bool
defers(const csn_agent *a, csn_str tool)
{
  const csn_json *m = csn_agent_tool_setting(a, tool, "defer");
  return m && m->truth;
}

bool
csn_agent_defers(const csn_agent *a, csn_str tool)
{
  return a->tool_settings && defers(a, tool);
}

static bool
has_hosted(const csn_agent *a, const char *type)
{
  for (size_t i = 0; i < a->n_hosted; i++)
    if (strcmp(a->hosted[i].type, type) == 0)
      return true;
  return false;
}

/* Tools that come when they are searched for, and the search. */
static int
check_search(const csn_agent *a, csn_err *err)
{
  const char *deferred = NULL;
  csn_str choice = csn_json_str(a->settings, "tool_choice", CSN_STR(""));
  for (size_t i = 0; i < a->n_tools; i++)
    if (defers(a, csn_cstr(a->tools[i].tool.name))) {
      deferred = a->tools[i].tool.name;
      if (csn_str_eq(choice, csn_cstr(deferred)))
        return csn_fail(err, CSN_E_INVALID,
                        "agent %s: settings.tool_choice names %s, which is deferred", a->name,
                        deferred);
    }
  for (size_t i = 0; i < a->n_hosted; i++)
    if (csn_str_find(a->hosted[i].wire, CSN_STR("\"defer_loading\":true"), 0) != SIZE_MAX)
      deferred = a->hosted[i].label.p;
  bool searches = has_hosted(a, "tool_search");
  if (deferred && !searches)
    return csn_fail(err, CSN_E_INVALID,
                    "agent %s: %s is deferred, so nothing would find it; add {hosted: tool_search} "
                    "to its tools",
                    a->name, deferred);
  if (searches && !deferred)
    return csn_fail(err, CSN_E_INVALID,
                    "agent %s: tool_search has nothing to find; defer tools with tool_settings: "
                    "[{tool: PATTERN, defer: true}]",
                    a->name);
  if (searches && csn_str_eq(choice, CSN_STR("tool_search")))
    return csn_fail(err, CSN_E_INVALID, "agent %s: tool_search cannot be a tool_choice", a->name);
  return 0;
}

static bool
takes(const csn_model_ops *ops, const char *type)
{
  for (const char *const *t = ops->hosted; t && *t; t++)
    if (strcmp(*t, type) == 0)
      return true;
  return false;
}

static int
check_model(const struct csn_project *p, const char *model, void *user, csn_err *err)
{
  const csn_agent *a = user;
  struct csn_route r = {0};
  int rc = csn_route_find(p, csn_cstr(model), &r, err);
  for (size_t i = 0; rc == 0 && i < a->n_hosted; i++)
    if (!r.ops->answer && !takes(r.ops, a->hosted[i].type))
      rc = csn_fail(err, CSN_E_UNSUPPORTED,
                    "agent %s: model %s has no hosted tool %s; the Responses API has (openai/, "
                    "azure/)",
                    a->name, model, a->hosted[i].type);
  csn_route_fini(&r);
  return rc;
}

static int
check_one(const csn_agent *a, const struct csn_project *p, csn_err *err)
{
  int rc = check_search(a, err);
  if (rc < 0 || !a->n_hosted)
    return rc;
  bool has_computer = false;
  for (size_t i = 0; i < a->n_tools; i++)
    has_computer = has_computer || strcmp(a->tools[i].tool.name, "computer") == 0;
  if (has_hosted(a, "computer") && !has_computer)
    return csn_fail(err, CSN_E_INVALID,
                    "agent %s: who acts on the computer? give the entry a `command`, or the "
                    "program a tool `computer`",
                    a->name);
  void *user = (void *)(uintptr_t)a;
  return csn_agent_own_models(*a->model || !a->parent ? a : a->parent, p, check_model, user, err);
}

int
csn_agent_check_hosted(const csn_agent *a, const struct csn_project *p, csn_err *err)
{
  int rc = check_one(a, p, err);
  for (size_t i = 0; rc == 0 && i < a->n_agents; i++)
    rc = check_one(a->agents[i], p, err);
  if (rc == 0 && a->limits.soft_model)
    rc = check_model(p, a->limits.soft_model, (void *)(uintptr_t)a, err);
  return rc;
}

/* ---- for a request ---- */

/* With the key that authorization_env names; only here, for the wire. */
static csn_str
with_key(const csn_json *v, csn_arena *arena)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  csn_json_each (m, v) {
    if (!csn_str_eq(m->key, CSN_STR("authorization_env"))) {
      csn_jw_keyn(&w, m->key);
      csn_jw_value(&w, m);
      continue;
    }
    csn_auto(csn_freep) char *name = csn_dupz(m->text);
    const char *key = getenv(name);
    if (!key || !*key)
      continue; /* the server says that it is missing */
    csn_jw_key(&w, "authorization");
    csn_jw_strz(&w, key);
  }
  csn_jw_end(&w);
  return csn_jw_done(&w, NULL) < 0 ? CSN_STR("{}") : csn_arena_dup(arena, csn_buf_str(&text));
}

csn_tool_decl
csn_agent_hosted_decl(const csn_agent *a, size_t i, csn_arena *arena)
{
  const struct csn_agent_hosted *h = &a->hosted[i];
  const csn_json *v;
  csn_tool_decl d = {.name = csn_cstr(h->type),
                     .hosted = h->wire,
                     .include = h->has_results ? CSN_STR("file_search_call.results") : CSN_STR("")};
  if (csn_str_find(h->wire, CSN_STR("\"authorization_env\""), 0) != SIZE_MAX &&
      csn_json_parse(arena, h->wire, &v, NULL) == 0)
    d.hosted = with_key(v, arena);
  return d;
}
