/* SPDX-License-Identifier: Apache-2.0
 *
 * anthropic.c - the Messages API (POST /v1/messages, version 2023-06-01):
 * requests.
 *
 * Items become blocks; neighbours of one side share a message, as the API
 * wants all results of a turn in the user message that follows it.  Thoughts
 * are sent back as they came, with their signature; those of other providers
 * are left out, as they could not be verified.
 *
 * One mark at the top of the request has the provider cache all of it, so that
 * each turn reads what the turn before has written; the bytes of the
 * conversation are the same in every turn.  Where that mark is not known
 * (Bedrock) the system text and the last block have one.
 *
 * `max_tokens` is required here; MAX_TOKENS is sent when the agent names none.
 * `reasoning` {effort} lets the model think as much as it finds right;
 * {budget_tokens} is the older form, a number.  Both exclude temperature and
 * top_p.
 */
#include "model/backend/anthropic.h"

#include "model/answer.h"
#include "model/backends.h"
#include "model/items.h"
#include "model/request.h"
#include "model/walk.h"

enum { MAX_TOKENS = 8192 };

struct writer {
  csn_jw *w;
  csn_arena *scratch;
  csn_str mark;     /* of the last block; empty: none */
  size_t left;      /* items after the one that is written */
  const char *role; /* of the open message, or NULL */
};

static void
member(csn_jw *w, const char *key, csn_str value)
{
  csn_jw_key(w, key);
  csn_jw_str(w, value);
}

/* Five minutes unless the agent says an hour. */
static csn_str
mark_of(const csn_model_request *rq)
{
  csn_str keep = csn_json_str(rq->settings, "prompt_cache_retention", CSN_STR(""));
  return csn_str_eq(keep, CSN_STR("1h")) ? CSN_STR("{\"type\":\"ephemeral\",\"ttl\":\"1h\"}")
                                         : CSN_STR("{\"type\":\"ephemeral\"}");
}

static void
mark(csn_jw *w, csn_str text)
{
  csn_jw_key(w, "cache_control");
  csn_jw_raw(w, text);
}

static void
close_message(struct writer *m)
{
  if (m->role) {
    csn_jw_end(m->w);
    csn_jw_end(m->w);
  }
  m->role = NULL;
}

static void
open_block(struct writer *m, const char *role, const char *type)
{
  if (m->role != role) { /* both are literals of this file */
    close_message(m);
    csn_jw_obj(m->w);
    member(m->w, "role", csn_cstr(role));
    csn_jw_key(m->w, "content");
    csn_jw_arr(m->w);
    m->role = role;
  }
  csn_jw_obj(m->w);
  member(m->w, "type", csn_cstr(type));
}

static const char user[] = "user", assistant[] = "assistant";

static void
close_block(struct writer *m, bool is_last)
{
  if (is_last && m->mark.n && !m->left)
    mark(m->w, m->mark);
  csn_jw_end(m->w);
}

static void
add_text(struct writer *m, const char *role, csn_str text, bool is_last)
{
  if (!csn_str_trim(text).n) /* refused by the API */
    return;
  open_block(m, role, "text");
  member(m->w, "text", text);
  close_block(m, is_last);
}

static void
write_source(csn_jw *w, csn_str url)
{
  csn_str type, data;
  csn_jw_key(w, "source");
  csn_jw_obj(w);
  if (csn_data_url_cut(url, &type, &data)) {
    member(w, "type", CSN_STR("base64"));
    member(w, "media_type", type);
    member(w, "data", data);
  } else {
    member(w, "type", CSN_STR("url"));
    member(w, "url", url);
  }
  csn_jw_end(w);
}

/* Image or document parts, in a message or in a tool's result. */
static int
write_media(csn_jw *w, const csn_json *part, csn_err *err)
{
  csn_str type = csn_json_str(part, "type", CSN_STR(""));
  bool is_image = csn_str_eq(type, CSN_STR("input_image"));
  csn_str url = csn_json_str(part, is_image ? "image_url" : "file_data", CSN_STR(""));
  if (!is_image && !url.n)
    url = csn_json_str(part, "file_url", CSN_STR(""));
  if ((!is_image && !csn_str_eq(type, CSN_STR("input_file"))) || !url.n)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "the Messages API takes images and files by URL or data URL only, not '%.*s'",
                    (int)(type.n < 60 ? type.n : 60), type.p);
  write_source(w, url);
  csn_str title = csn_json_str(part, "filename", CSN_STR(""));
  if (title.n)
    member(w, "title", title);
  return 0;
}

static const char *
media_type(const csn_json *part)
{
  return csn_str_eq(csn_json_str(part, "type", CSN_STR("")), CSN_STR("input_image")) ? "image"
                                                                                     : "document";
}

static int
add_message(void *writer, const csn_json *item, csn_err *err)
{
  struct writer *m = writer;
  bool is_answer = csn_str_eq(csn_json_str(item, "role", CSN_STR("")), CSN_STR("assistant"));
  const char *role = is_answer ? assistant : user;
  const csn_json *content = csn_json_get(item, "content");
  int rc = 0;
  if (csn_json_is(content, CSN_JSON_STRING))
    add_text(m, role, content->text, true);
  csn_json_each (part, content) {
    if (rc < 0)
      return rc;
    if (csn_part_is_text(part)) {
      add_text(m, role, csn_json_str(part, "text", CSN_STR("")), !part->next);
    } else if (is_answer) {
      add_text(m, role, csn_json_str(part, "refusal", CSN_STR("")), false);
    } else {
      open_block(m, role, media_type(part));
      rc = write_media(m->w, part, err);
      close_block(m, !part->next);
    }
  }
  return rc;
}

/* The API accepts letters, digits, "_" and "-" only. */
static csn_str
call_id(struct writer *m, const csn_json *item)
{
  csn_str id = csn_json_str(item, "call_id", CSN_STR(""));
  char *to = csn_arena_alloc(m->scratch, id.n + 1);
  for (size_t i = 0; to && i < id.n; i++) {
    char c = id.p[i];
    bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-';
    to[i] = c;
    if (!ok)
      to[i] = '_';
  }
  return to ? csn_strn(to, id.n) : CSN_STR("");
}

static void
add_call(void *writer, const csn_json *item, bool is_custom)
{
  struct writer *m = writer;
  csn_jw *w = m->w;
  open_block(m, assistant, "tool_use");
  member(w, "id", call_id(m, item));
  member(w, "name", csn_json_str(item, "name", CSN_STR("")));
  csn_jw_key(w, "input");
  csn_item_write_input(w, m->scratch, item, is_custom);
  csn_jw_end(w);
}

static int
write_result(csn_jw *w, const csn_json *output, csn_err *err)
{
  int rc = 0;
  csn_jw_arr(w);
  csn_json_each (part, output) {
    csn_str text = csn_json_str(part, "text", CSN_STR(""));
    bool is_text = csn_part_is_text(part);
    if (rc < 0 || (is_text && !csn_str_trim(text).n))
      continue;
    csn_jw_obj(w);
    member(w, "type", csn_cstr(is_text ? "text" : media_type(part)));
    if (is_text)
      member(w, "text", text);
    else
      rc = write_media(w, part, err);
    csn_jw_end(w);
  }
  csn_jw_end(w);
  return rc;
}

static int
add_output(void *writer, const csn_json *item, csn_err *err)
{
  struct writer *m = writer;
  const csn_json *output = csn_json_get(item, "output");
  int rc = 0;
  open_block(m, user, "tool_result");
  member(m->w, "tool_use_id", call_id(m, item));
  csn_jw_key(m->w, "content");
  if (csn_json_is(output, CSN_JSON_ARRAY))
    rc = write_result(m->w, output, err);
  else
    csn_jw_str(m->w, csn_json_is(output, CSN_JSON_STRING) ? output->text : CSN_STR(""));
  close_block(m, true);
  return rc;
}

static void
add_thought(void *writer, const csn_json *item)
{
  struct writer *m = writer;
  csn_str seal = csn_json_str(item, "encrypted_content", CSN_STR(""));
  csn_str api = csn_json_str(csn_json_get(item, "provider_data"), "api", CSN_STR(""));
  if (!seal.n || !csn_str_eq(api, CSN_STR(CSN_ANTHROPIC)))
    return;
  bool is_hidden = csn_item_provided(item, CSN_ANTHROPIC, "hidden").n > 0;
  open_block(m, assistant, is_hidden ? "redacted_thinking" : "thinking");
  if (is_hidden) {
    member(m->w, "data", seal);
  } else {
    member(m->w, "thinking",
           csn_json_str(csn_json_at(csn_json_get(item, "summary"), 0), "text", CSN_STR("")));
    member(m->w, "signature", seal);
  }
  csn_jw_end(m->w);
}

static const csn_item_writer items = {.api = "the Messages API",
                                      .message = add_message,
                                      .output = add_output,
                                      .call = add_call,
                                      .thought = add_thought};

static int
write_messages(csn_body *b, bool is_marked, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *scratch = csn_arena_new(0);
  struct writer m = {
      .w = &b->w, .scratch = scratch, .mark = is_marked ? mark_of(b->rq) : CSN_STR("")};
  csn_jw_arr(m.w);
  int rc = csn_items_write(&items, &m, b->rq, scratch, &m.left, err);
  close_message(&m);
  csn_jw_end(m.w);
  return rc;
}

static void
write_tools(csn_body *b)
{
  csn_jw *w = &b->w;
  if (b->rq->n_tools == 0 || !csn_body_key(b, "tools"))
    return;
  csn_jw_arr(w);
  for (size_t i = 0; i < b->rq->n_tools; i++) {
    const csn_tool_decl *t = &b->rq->tools[i];
    csn_jw_obj(w);
    member(w, "name", t->name);
    if (t->description.n)
      member(w, "description", t->description);
    csn_jw_key(w, "input_schema");
    csn_jw_raw(w, t->schema.n ? t->schema : csn_cstr(csn_item_custom_schema));
    csn_jw_end(w);
  }
  csn_jw_end(w);
}

static void
write_tool_choice(csn_body *b)
{
  static const char *const words[] = {
      [CSN_CHOICE_NONE_GIVEN] = "auto", [CSN_CHOICE_AUTO] = "auto", [CSN_CHOICE_NONE] = "none",
      [CSN_CHOICE_ANY] = "any",         [CSN_CHOICE_TOOL] = "tool", [CSN_CHOICE_WIRE] = NULL};
  csn_jw *w = &b->w;
  const csn_json *value;
  enum csn_choice choice = csn_choice_of(b->rq, &value);
  bool is_single = !csn_json_bool(b->rq->settings, "parallel_tool_calls", true);
  if (b->rq->n_tools == 0 || (choice == CSN_CHOICE_NONE_GIVEN && !is_single) ||
      !csn_body_key(b, "tool_choice"))
    return;
  if (choice == CSN_CHOICE_WIRE) {
    csn_jw_value(w, value);
    return;
  }
  csn_jw_obj(w);
  member(w, "type", csn_cstr(words[choice]));
  if (choice == CSN_CHOICE_TOOL)
    member(w, "name", value->text);
  if (is_single && choice != CSN_CHOICE_NONE) {
    csn_jw_key(w, "disable_parallel_tool_use");
    csn_jw_bool(w, true);
  }
  csn_jw_end(w);
}

static void
write_thinking(csn_body *b)
{
  csn_jw *w = &b->w;
  const csn_json *reasoning = csn_json_get(b->rq->settings, "reasoning");
  int64_t budget = csn_json_int(reasoning, "budget_tokens", 0);
  csn_str effort = csn_json_str(reasoning, "effort", CSN_STR(""));
  if (effort.n && csn_body_key(b, "output_config")) {
    csn_jw_obj(w);
    member(w, "effort", effort);
    csn_jw_end(w);
  }
  if ((effort.n || budget > 0) && csn_body_key(b, "thinking")) {
    csn_jw_obj(w);
    member(w, "type", budget > 0 ? CSN_STR("enabled") : CSN_STR("adaptive"));
    if (budget > 0) {
      csn_jw_key(w, "budget_tokens");
      csn_jw_int(w, budget);
    }
    csn_jw_end(w);
  }
}

static void
write_limits(csn_body *b)
{
  const csn_json *settings = b->rq->settings;
  const csn_json *reasoning = csn_json_get(settings, "reasoning");
  int64_t budget = csn_json_int(reasoning, "budget_tokens", 0);
  if (csn_body_key(b, "max_tokens"))
    csn_jw_int(&b->w, csn_json_int(settings, "max_tokens", MAX_TOKENS + (budget > 0 ? budget : 0)));
  if (budget <= 0 && !csn_json_get(reasoning, "effort")) {
    csn_body_setting(b, "temperature", "temperature");
    csn_body_setting(b, "top_p", "top_p");
  }
}

static void
write_system(csn_body *b, bool is_marked)
{
  csn_str text = b->rq->instructions;
  if (!csn_str_trim(text).n || !csn_body_key(b, "system"))
    return;
  if (!is_marked) {
    csn_jw_str(&b->w, text);
    return;
  }
  csn_jw_arr(&b->w);
  csn_jw_obj(&b->w);
  member(&b->w, "type", CSN_STR("text"));
  member(&b->w, "text", text);
  mark(&b->w, mark_of(b->rq));
  csn_jw_end(&b->w);
  csn_jw_end(&b->w);
}

int
csn_anthropic_body(const csn_model_request *rq, const char *version, csn_buf *body, csn_err *err)
{
  csn_body b;
  int rc = csn_body_init(&b, body, rq, err);
  if (rc < 0)
    return rc;
  if (version && csn_body_key(&b, "anthropic_version"))
    csn_jw_strz(&b.w, version);
  if (!version && csn_body_key(&b, "model"))
    csn_jw_str(&b.w, rq->model);
  if (!version && csn_body_key(&b, "cache_control"))
    csn_jw_raw(&b.w, mark_of(rq));
  write_limits(&b);
  write_thinking(&b);
  csn_body_setting(&b, "metadata", "metadata");
  if (!version)
    csn_body_setting(&b, "service_tier", "service_tier");
  if (!version && rq->stream && csn_body_key(&b, "stream"))
    csn_jw_bool(&b.w, true);
  write_tools(&b);
  write_tool_choice(&b);
  write_system(&b, version != NULL);
  if (csn_body_key(&b, "messages"))
    rc = write_messages(&b, version != NULL, err);
  return rc < 0 ? rc : csn_body_done(&b, err);
}

static int
encode(const csn_endpoint *ep, const csn_model_request *rq, csn_buf *body, csn_buf *path,
       csn_err *err)
{
  (void)ep;
  csn_buf_addz(path, "/v1/messages");
  return csn_anthropic_body(rq, NULL, body, err);
}

static const char *const headers[] = {"anthropic-version", "2023-06-01", NULL};

static const char *const rare_settings[] = {"prompt_cache_retention", "service_tier", NULL};

const csn_model_ops csn_model_anthropic = {
    .size = sizeof(csn_model_ops),
    .name = CSN_ANTHROPIC,
    .settings = rare_settings,
    .caches_by_mark = true,
    .key_header = "x-api-key",
    .headers = headers,
    .encode = encode,
    .decoder = csn_anthropic_decoder,
    .feed = csn_anthropic_feed,
    .finish = csn_anthropic_finish,
    .close = csn_anthropic_close,
};
