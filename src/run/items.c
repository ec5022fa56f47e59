/* SPDX-License-Identifier: Apache-2.0
 * items.c - see items.h. */
#include "run/items.h"

static bool
is_hosted(csn_str type)
{
  static const char *const types[] = {
      "web_search_call", "file_search_call",      "mcp_list_tools",   "code_interpreter_call",
      "mcp_call",        "image_generation_call", "tool_search_call", "tool_search_output"};
  for (size_t i = 0; i < CSN_COUNT(types); i++)
    if (csn_str_eq(type, csn_cstr(types[i])))
      return true;
  return false;
}

static bool
only_looks(csn_str type)
{
  static const char *const types[] = {"mcp_list_tools", "tool_search_call", "tool_search_output",
                                      NULL};
  return csn_str_is_one_of(type, types);
}

struct csn_reply_shape
csn_reply_shape_of(const csn_json *items)
{
  struct csn_reply_shape r = {0};
  csn_json_each (item, items) {
    csn_str type = csn_json_str(item, "type", CSN_STR(""));
    if (csn_str_eq(type, CSN_STR("message")))
      r.last_message = item;
    else if (csn_str_eq(type, CSN_STR("function_call")) ||
             csn_str_eq(type, CSN_STR("custom_tool_call")) ||
             csn_str_eq(type, CSN_STR("computer_call")) ||
             csn_str_eq(type, CSN_STR("mcp_approval_request")))
      r.n_calls++;
    else if (is_hosted(type))
      r.n_hosted++;
    r.uses_tools = r.n_calls || r.uses_tools || (is_hosted(type) && !only_looks(type));
  }
  csn_json_each (part, csn_json_get(r.last_message, "content")) {
    if (csn_str_eq(csn_json_str(part, "type", CSN_STR("")), CSN_STR("refusal")))
      r.refusal = csn_json_str(part, "refusal", CSN_STR("the model refused"));
  }
  return r;
}

bool
csn_item_is_message(const csn_json *item)
{
  return csn_json_get(item, "role") ||
         csn_str_eq(csn_json_str(item, "type", CSN_STR("")), CSN_STR("message"));
}

void
csn_message_text(const csn_json *message, csn_buf *out)
{
  const csn_json *content = csn_json_get(message, "content");
  if (csn_json_is(content, CSN_JSON_STRING))
    csn_buf_add(out, content->text);
  if (!csn_json_is(content, CSN_JSON_ARRAY))
    return;
  csn_json_each (part, content) {
    if (csn_str_eq(csn_json_str(part, "type", CSN_STR("")), CSN_STR("output_text")))
      csn_buf_add(out, csn_json_str(part, "text", CSN_STR("")));
  }
}

void
csn_item_user(csn_jw *w, csn_str text)
{
  csn_jw_obj(w);
  csn_jw_key(w, "role");
  csn_jw_str(w, CSN_STR("user"));
  csn_jw_key(w, "content");
  csn_jw_str(w, text);
  csn_jw_end(w);
}

void
csn_item_assistant(csn_jw *w, csn_str text)
{
  csn_jw_obj(w);
  csn_jw_key(w, "type");
  csn_jw_strz(w, "message");
  csn_jw_key(w, "role");
  csn_jw_strz(w, "assistant");
  csn_jw_key(w, "content");
  csn_jw_arr(w);
  csn_jw_obj(w);
  csn_jw_key(w, "type");
  csn_jw_strz(w, "output_text");
  csn_jw_key(w, "text");
  csn_jw_str(w, text);
  csn_jw_end(w);
  csn_jw_end(w);
  csn_jw_end(w);
}

void
csn_item_output(csn_jw *w, bool is_custom, csn_str call_id, csn_str text, csn_str parts)
{
  csn_jw_obj(w);
  csn_jw_key(w, "type");
  csn_jw_strz(w, is_custom ? "custom_tool_call_output" : "function_call_output");
  csn_jw_key(w, "call_id");
  csn_jw_str(w, call_id);
  csn_jw_key(w, "output");
  if (parts.n)
    csn_jw_raw(w, parts);
  else
    csn_jw_str(w, text);
  csn_jw_end(w);
}

const char *
csn_call_how_name(enum csn_call_how how)
{
  static const char *const names[] = {NULL, "computer", "mcp"};
  return names[how];
}

enum csn_call_how
csn_call_how_of(csn_str name)
{
  return csn_str_eq(name, CSN_STR("computer")) ? CSN_HOW_COMPUTER
         : csn_str_eq(name, CSN_STR("mcp"))    ? CSN_HOW_MCP
                                               : CSN_HOW_CALL;
}

/* A picture of one dot, where the API wants one and there is none. */
#define NO_PICTURE                                                                                 \
  "data:image/"                                                                                    \
  "png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAAB" \
  "JRU5ErkJggg=="

static void
computer_output(csn_jw *w, const struct csn_call_answer *a)
{
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(0);
  const csn_json *parts = NULL, *input = NULL;
  csn_str picture = CSN_STR("");
  if (a->parts.n && csn_json_parse(arena, a->parts, &parts, NULL) == 0)
    csn_json_each (part, parts)
      if (!picture.n)
        picture = csn_json_str(part, "image_url", CSN_STR(""));
  csn_jw_obj(w);
  csn_jw_key(w, "type");
  csn_jw_strz(w, "computer_call_output");
  csn_jw_key(w, "call_id");
  csn_jw_str(w, a->call_id);
  csn_jw_key(w, "output");
  csn_jw_obj(w);
  csn_jw_key(w, "type");
  csn_jw_strz(w, "computer_screenshot");
  csn_jw_key(w, "image_url");
  csn_jw_str(w, picture.n ? picture : CSN_STR(NO_PICTURE));
  csn_jw_end(w);
  /* Who let it pass has seen what the provider was afraid of. */
  const csn_json *checks = NULL;
  if (!a->is_denied && csn_json_parse(arena, a->input, &input, NULL) == 0)
    checks = csn_json_get(input, "pending_safety_checks");
  if (checks) {
    csn_jw_key(w, "acknowledged_safety_checks");
    csn_jw_value(w, checks);
  }
  csn_jw_end(w);
  if (picture.n || !a->text.n)
    return;
  csn_jw_obj(w);
  csn_jw_key(w, "role");
  csn_jw_strz(w, "developer");
  csn_jw_key(w, "content");
  csn_jw_str(w, a->text);
  csn_jw_end(w);
}

static void
mcp_response(csn_jw *w, const struct csn_call_answer *a)
{
  csn_jw_obj(w);
  csn_jw_key(w, "type");
  csn_jw_strz(w, "mcp_approval_response");
  csn_jw_key(w, "approval_request_id");
  csn_jw_str(w, a->call_id);
  csn_jw_key(w, "approve");
  csn_jw_bool(w, !a->is_denied);
  if (a->is_denied && a->text.n) {
    csn_jw_key(w, "reason");
    csn_jw_str(w, a->text);
  }
  csn_jw_end(w);
}

void
csn_item_answer(csn_jw *w, const struct csn_call_answer *a)
{
  if (a->how == CSN_HOW_COMPUTER)
    computer_output(w, a);
  else if (a->how == CSN_HOW_MCP)
    mcp_response(w, a);
  else
    csn_item_output(w, a->is_custom, a->call_id, a->text, a->parts);
}

/* Few providers tell; records of before had no such members. */
static void
written(csn_jw *w, const char *key, int64_t tokens)
{
  if (!tokens)
    return;
  csn_jw_key(w, key);
  csn_jw_int(w, tokens);
}

void
csn_usage_to_json(const csn_usage *u, csn_jw *w)
{
  csn_jw_obj(w);
  csn_jw_key(w, "input_tokens");
  csn_jw_int(w, u->input_tokens);
  csn_jw_key(w, "cached_tokens");
  csn_jw_int(w, u->cached_tokens);
  csn_jw_key(w, "output_tokens");
  csn_jw_int(w, u->output_tokens);
  csn_jw_key(w, "reasoning_tokens");
  csn_jw_int(w, u->reasoning_tokens);
  csn_jw_key(w, "total_tokens");
  csn_jw_int(w, u->total_tokens);
  written(w, "cache_write_tokens", u->cache_write_tokens);
  written(w, "cache_write_1h_tokens", u->cache_write_1h_tokens);
  csn_jw_end(w);
}

static void
add(int64_t *sum, const csn_json *v, const char *key)
{
  int64_t n = csn_json_int(v, key, 0);
  if (n > 0 && __builtin_add_overflow(*sum, n, sum))
    *sum = INT64_MAX;
}

void
csn_usage_add(csn_usage *u, const csn_json *v)
{
  add(&u->input_tokens, v, "input_tokens");
  add(&u->cached_tokens, v, "cached_tokens");
  add(&u->output_tokens, v, "output_tokens");
  add(&u->reasoning_tokens, v, "reasoning_tokens");
  add(&u->total_tokens, v, "total_tokens");
  add(&u->cache_write_tokens, v, "cache_write_tokens");
  add(&u->cache_write_1h_tokens, v, "cache_write_1h_tokens");
}
