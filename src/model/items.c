/* SPDX-License-Identifier: Apache-2.0
 * items.c - cleaning of items and the function form of free-text tools. */
#include "model/items.h"

enum { ITEM_MAX = 64 << 20 };

const char csn_item_custom_schema[] =
    "{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\",\"description\":"
    "\"The whole text for the tool, in the form its description asks for.\"}},"
    "\"required\":[\"input\"],\"additionalProperties\":false}";

/* Types whose server-made members are known. */
static bool
is_known(csn_str type)
{
  static const char *const heads[] = {"message",          "function_call", "custom_tool_call",
                                      "reasoning",        "shell_call",    "local_shell_call",
                                      "apply_patch_call", "computer_call", "file_search_call",
                                      "web_search_call",  "compaction",    "code_interpreter_call",
                                      "tool_search",      "mcp_",          "image_generation_call"};
  if (type.n == 0)
    return true; /* a message in its short form */
  for (size_t i = 0; i < CSN_COUNT(heads); i++)
    if (csn_str_starts(type, csn_cstr(heads[i])))
      return true;
  return false;
}

static bool
is_dropped(const csn_json *m)
{
  if (csn_str_eq(m->key, CSN_STR("created_by")))
    return true;
  bool is_null = m->kind == CSN_JSON_NULL;
  if (csn_str_eq(m->key, CSN_STR("status")))
    return is_null;
  if (csn_str_eq(m->key, CSN_STR("id")))
    return is_null || csn_str_eq(m->text, CSN_STR("__fake_id__"));
  return false;
}

/* The same tokens without the blanks between them. */
static csn_str
on_one_line(csn_arena *a, csn_str raw)
{
  char *to = csn_arena_alloc(a, raw.n + 1), *o = to;
  if (!to)
    return CSN_STR("");
  bool in_string = false;
  for (size_t i = 0; i < raw.n; i++) {
    char c = raw.p[i];
    if (in_string && c == '\\')
      *o++ = raw.p[i++];
    else if (c == '"')
      in_string = !in_string;
    else if (!in_string && (c == ' ' || c == '\n' || c == '\r' || c == '\t'))
      continue;
    *o++ = raw.p[i];
  }
  return csn_strn(to, (size_t)(o - to));
}

static csn_str
without_dropped(csn_arena *a, const csn_json *v)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(ITEM_MAX);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_json_each (m, v) {
    if (is_dropped(m))
      continue;
    csn_jw_keyn(&w, m->key);
    csn_jw_value(&w, m);
  }
  csn_jw_end(&w);
  return csn_jw_done(&w, NULL) < 0 ? CSN_STR("") : csn_arena_dup(a, csn_buf_str(&b));
}

csn_str
csn_item_clean(csn_arena *a, const csn_json *v)
{
  bool dirty = false;
  if (v->kind == CSN_JSON_OBJECT && is_known(csn_json_str(v, "type", CSN_STR(""))))
    csn_json_each (m, v)
      dirty = dirty || is_dropped(m);
  csn_str item = dirty ? without_dropped(a, v) : v->raw;
  return item.n && memchr(item.p, '\n', item.n) ? on_one_line(a, item) : item;
}

void
csn_item_write_input(csn_jw *w, csn_arena *scratch, const csn_json *item, bool is_custom)
{
  const csn_json *v;
  const char *key = is_custom ? "input" : "arguments";
  csn_str text = csn_json_str(item, key, CSN_STR(""));
  if (!is_custom && csn_json_parse(scratch, text, &v, NULL) == 0 && v->kind == CSN_JSON_OBJECT) {
    csn_jw_raw(w, v->raw);
    return;
  }
  csn_jw_obj(w);
  if (text.n) {
    csn_jw_key(w, key);
    csn_jw_str(w, text);
  }
  csn_jw_end(w);
}

bool
csn_data_url_cut(csn_str url, csn_str *type, csn_str *data)
{
  static const csn_str scheme = CSN_STR_INIT("data:"), mark = CSN_STR_INIT(";base64,");
  size_t at = csn_str_find(url, mark, 0);
  if (!csn_str_starts(url, scheme) || at == SIZE_MAX)
    return false;
  *type = csn_strn(url.p + scheme.n, at - scheme.n);
  *data = csn_strn(url.p + at + mark.n, url.n - at - mark.n);
  return true;
}

csn_str
csn_item_for(csn_arena *a, const csn_json *v, const char *api)
{
  const csn_json *data = csn_json_get(v, "provider_data");
  csn_str from = csn_json_str(data, "api", CSN_STR(""));
  bool is_thought = csn_str_eq(csn_json_str(v, "type", CSN_STR("")), CSN_STR("reasoning"));
  /* The Responses API knows its own thoughts by their id. */
  bool is_ours = data ? csn_str_eq(from, csn_cstr(api))
                      : !is_thought || (csn_json_get(v, "id") != NULL) ==
                                           csn_str_eq(csn_cstr(api), CSN_STR("responses"));
  if (is_ours)
    return v->raw;
  if (is_thought)
    return CSN_STR("");
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(ITEM_MAX);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_json_each (m, v) {
    if (m == data)
      continue;
    csn_jw_keyn(&w, m->key);
    csn_jw_value(&w, m);
  }
  csn_jw_end(&w);
  return csn_jw_done(&w, NULL) < 0 ? CSN_STR("") : csn_arena_dup(a, csn_buf_str(&b));
}

csn_str
csn_item_foreign(csn_arena *a, const csn_json *v)
{
  static const char *const kept[] = {"message", "function_call", "custom_tool_call",
                                     "function_call_output", "custom_tool_call_output"};
  csn_str type = csn_json_str(v, "type", CSN_STR("message"));
  bool is_common = false;
  for (size_t i = 0; i < CSN_COUNT(kept); i++)
    is_common = is_common || csn_str_eq(type, csn_cstr(kept[i]));
  if (!is_common)
    return CSN_STR("");
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(ITEM_MAX);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_json_each (m, v) {
    if (csn_str_eq(m->key, CSN_STR("provider_data")) || csn_str_eq(m->key, CSN_STR("id")))
      continue;
    csn_jw_keyn(&w, m->key);
    csn_jw_value(&w, m);
  }
  csn_jw_end(&w);
  return csn_jw_done(&w, NULL) < 0 ? v->raw : csn_arena_dup(a, csn_buf_str(&b));
}

const csn_tool_decl *
csn_item_custom_tool(const csn_model_request *rq, csn_str name)
{
  for (size_t i = 0; i < rq->n_tools; i++)
    if (csn_str_eq(rq->tools[i].name, name))
      return rq->tools[i].schema.n ? NULL : &rq->tools[i];
  return NULL;
}

bool
csn_item_maybe_custom(csn_str raw)
{
  return csn_str_find(raw, CSN_STR("custom_tool_call"), 0) != SIZE_MAX;
}

void
csn_item_custom_arguments(csn_buf *out, csn_str input)
{
  csn_buf_addz(out, "{\"input\":");
  csn_json_quote(out, input);
  csn_buf_addc(out, '}');
}

csn_str
csn_item_custom_input(csn_arena *a, csn_str arguments)
{
  const csn_json *v;
  if (csn_json_parse(a, arguments, &v, NULL) < 0)
    return arguments;
  if (v->kind == CSN_JSON_STRING)
    return v->text;
  const csn_json *m = csn_json_get(v, "input");
  if (!m && v->kind == CSN_JSON_OBJECT && v->n == 1)
    m = v->child;
  return csn_json_is(m, CSN_JSON_STRING) ? m->text : arguments;
}

csn_str
csn_item_custom_call(csn_arena *a, csn_str call_id, csn_str name, csn_str arguments)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(ITEM_MAX);
  csn_jw w;
  csn_jw_init(&w, &b);
  csn_jw_obj(&w);
  csn_jw_key(&w, "type");
  csn_jw_str(&w, CSN_STR("custom_tool_call"));
  csn_jw_key(&w, "call_id");
  csn_jw_str(&w, call_id);
  csn_jw_key(&w, "name");
  csn_jw_str(&w, name);
  csn_jw_key(&w, "input");
  csn_jw_str(&w, csn_item_custom_input(a, arguments));
  csn_jw_end(&w);
  return csn_jw_done(&w, NULL) < 0 ? CSN_STR("") : csn_arena_dup(a, csn_buf_str(&b));
}

bool
csn_item_write_function(csn_jw *w, const csn_json *v)
{
  csn_str type = csn_json_str(v, "type", CSN_STR(""));
  bool is_call = csn_str_eq(type, CSN_STR("custom_tool_call"));
  if (!is_call && !csn_str_eq(type, CSN_STR("custom_tool_call_output")))
    return false;
  csn_jw_obj(w);
  csn_jw_key(w, "type");
  csn_jw_str(w, is_call ? CSN_STR("function_call") : CSN_STR("function_call_output"));
  csn_jw_key(w, "call_id");
  csn_jw_str(w, csn_json_str(v, "call_id", CSN_STR("")));
  if (is_call) {
    csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(ITEM_MAX);
    csn_item_custom_arguments(&b, csn_json_str(v, "input", CSN_STR("")));
    csn_jw_key(w, "name");
    csn_jw_str(w, csn_json_str(v, "name", CSN_STR("")));
    csn_jw_key(w, "arguments");
    csn_jw_str(w, csn_buf_str(&b));
  } else {
    csn_jw_key(w, "output");
    csn_jw_value(w, csn_json_get(v, "output"));
  }
  csn_jw_end(w);
  return true;
}
