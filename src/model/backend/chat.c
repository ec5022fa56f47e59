/* SPDX-License-Identifier: Apache-2.0
 *
 * chat.c - Chat Completions: requests.
 *
 * Items become messages one after the other.  An assistant message is built
 * up while text and calls of one turn follow each other, and written when
 * something else comes.  The protocol has no place for images in a tool's
 * result and wants all results of a turn together, so images wait and follow
 * the results in one user message.  Free-text tools are sent in the function
 * form of items.h.
 *
 * Reasoning is sent back only to DeepSeek models, which need it beside their
 * tool calls.  Records of a provider's own tools (web search and the like) and
 * unknown items mean nothing here and are left out; what would lose context
 * (compaction, item_reference) is refused.
 */
#include "model/backend/chat.h"

#include <strings.h>

#include "model/backends.h"
#include "model/items.h"
#include "model/request.h"
#include "model/walk.h"

enum { TEXT_MAX = 256 << 20 };

struct writer {
  csn_jw *w;
  csn_arena *scratch;
  bool keeps_reasoning, no_null;
  /* The assistant message that is being built. */
  bool is_open, has_text;
  csn_buf text, refusal, calls, reasoning;
  /* Image parts of tool results that wait for the end of the results. */
  csn_buf images;
};

static void
write_member(csn_jw *w, const char *key, csn_str value)
{
  csn_jw_key(w, key);
  csn_jw_str(w, value);
}

static void
flush_assistant(struct writer *m)
{
  if (!m->is_open) {
    csn_buf_clear(&m->reasoning); /* of a turn whose calls are gone */
    return;
  }
  csn_jw *w = m->w;
  csn_jw_obj(w);
  write_member(w, "role", CSN_STR("assistant"));
  csn_jw_key(w, "content");
  if (m->has_text || m->no_null)
    csn_jw_str(w, csn_buf_str(&m->text));
  else
    csn_jw_null(w);
  if (m->refusal.n)
    write_member(w, "refusal", csn_buf_str(&m->refusal));
  if (m->reasoning.n && m->calls.n)
    write_member(w, "reasoning_content", csn_buf_str(&m->reasoning));
  if (m->calls.n) {
    csn_jw_key(w, "tool_calls");
    csn_buf_addc(&m->calls, ']');
    csn_jw_raw(w, csn_buf_str(&m->calls));
  }
  csn_jw_end(w);
  m->is_open = m->has_text = false;
  csn_buf_clear(&m->text);
  csn_buf_clear(&m->refusal);
  csn_buf_clear(&m->calls);
  csn_buf_clear(&m->reasoning);
}

static void
flush_images(struct writer *m)
{
  if (!m->images.n)
    return;
  csn_jw_obj(m->w);
  write_member(m->w, "role", CSN_STR("user"));
  csn_jw_key(m->w, "content");
  csn_buf_addc(&m->images, ']');
  csn_jw_raw(m->w, csn_buf_str(&m->images));
  csn_jw_end(m->w);
  csn_buf_clear(&m->images);
}

/* Adds the text parts of a content, joined by newlines; returns how many. */
static size_t
add_texts(csn_buf *out, const csn_json *content)
{
  if (csn_json_is(content, CSN_JSON_STRING)) {
    csn_buf_add(out, content->text);
    return 1;
  }
  size_t n = 0;
  csn_json_each (part, content) {
    if (!csn_part_is_text(part))
      continue;
    if (n++)
      csn_buf_addc(out, '\n');
    csn_buf_add(out, csn_json_str(part, "text", CSN_STR("")));
  }
  return n;
}

static int
write_image(csn_jw *w, const csn_json *part, csn_err *err)
{
  csn_str url = csn_json_str(part, "image_url", CSN_STR(""));
  csn_str detail = csn_json_str(part, "detail", CSN_STR("auto"));
  if (!url.n)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "Chat Completions takes images by URL or data URL only (image_url)");
  csn_jw_obj(w);
  write_member(w, "type", CSN_STR("image_url"));
  csn_jw_key(w, "image_url");
  csn_jw_obj(w);
  write_member(w, "url", url);
  write_member(w, "detail", csn_str_eq(detail, CSN_STR("original")) ? CSN_STR("high") : detail);
  csn_jw_end(w);
  csn_jw_end(w);
  return 0;
}

static void
write_file(csn_jw *w, const csn_json *part)
{
  static const char *const keys[] = {"file_data", "file_id", "filename"};
  csn_jw_obj(w);
  write_member(w, "type", CSN_STR("file"));
  csn_jw_key(w, "file");
  csn_jw_obj(w);
  for (size_t i = 0; i < CSN_COUNT(keys); i++) {
    csn_str value = csn_json_str(part, keys[i], CSN_STR(""));
    if (value.n)
      write_member(w, keys[i], value);
  }
  csn_jw_end(w);
  csn_jw_end(w);
}

static int
write_user_part(csn_jw *w, const csn_json *part, csn_err *err)
{
  csn_str type = csn_json_str(part, "type", CSN_STR(""));
  if (csn_str_eq(type, CSN_STR("input_image")))
    return write_image(w, part, err);
  if (csn_part_is_text(part)) {
    csn_jw_obj(w);
    write_member(w, "type", CSN_STR("text"));
    write_member(w, "text", csn_json_str(part, "text", CSN_STR("")));
    csn_jw_end(w);
  } else if (csn_str_eq(type, CSN_STR("input_file"))) {
    write_file(w, part);
  } else if (csn_str_eq(type, CSN_STR("input_audio")) || csn_str_eq(type, CSN_STR("image_url")) ||
             csn_str_eq(type, CSN_STR("video_url"))) {
    csn_jw_value(w, part);
  } else {
    return csn_fail(err, CSN_E_UNSUPPORTED, "Chat Completions has no content of type '%.*s'",
                    (int)type.n, type.p ? type.p : "");
  }
  return 0;
}

static int
write_user(struct writer *m, const csn_json *item, csn_err *err)
{
  const csn_json *content = csn_json_get(item, "content");
  bool is_plain = csn_json_is(content, CSN_JSON_STRING) ||
                  (content && content->n == 1 && csn_part_is_text(content->child));
  int rc = 0;
  csn_jw_obj(m->w);
  write_member(m->w, "role", CSN_STR("user"));
  csn_jw_key(m->w, "content");
  if (is_plain) {
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(TEXT_MAX);
    add_texts(&text, content);
    csn_jw_str(m->w, csn_buf_str(&text));
  } else {
    csn_jw_arr(m->w);
    csn_json_each (part, content)
      rc = rc < 0 ? rc : write_user_part(m->w, part, err);
    csn_jw_end(m->w);
  }
  csn_jw_end(m->w);
  return rc;
}

static void
add_assistant(struct writer *m, const csn_json *item)
{
  if (m->has_text || m->refusal.n)
    flush_assistant(m);
  m->is_open = true;
  const csn_json *content = csn_json_get(item, "content");
  if (add_texts(&m->text, content))
    m->has_text = true;
  if (csn_json_is(content, CSN_JSON_ARRAY))
    csn_json_each (part, content)
      csn_buf_add(&m->refusal, csn_json_str(part, "refusal", CSN_STR("")));
}

static int
add_message(void *writer, const csn_json *item, csn_err *err)
{
  struct writer *m = writer;
  csn_str role = csn_json_str(item, "role", CSN_STR(""));
  flush_images(m);
  if (csn_str_eq(role, CSN_STR("assistant"))) {
    add_assistant(m, item);
    return 0;
  }
  flush_assistant(m);
  if (csn_str_eq(role, CSN_STR("user")))
    return write_user(m, item, err);
  if (!csn_str_eq(role, CSN_STR("system")) && !csn_str_eq(role, CSN_STR("developer")))
    return csn_fail(err, CSN_E_UNSUPPORTED, "unknown role '%.*s' of a message", (int)role.n,
                    role.p);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(TEXT_MAX);
  add_texts(&text, csn_json_get(item, "content"));
  csn_jw_obj(m->w);
  write_member(m->w, "role", role);
  write_member(m->w, "content", csn_buf_str(&text));
  csn_jw_end(m->w);
  return 0;
}

static void
add_call(struct writer *m, csn_str call_id, csn_str name, csn_str arguments)
{
  flush_images(m);
  m->is_open = true;
  csn_buf *b = &m->calls;
  csn_buf_addc(b, b->n ? ',' : '[');
  csn_buf_addz(b, "{\"id\":");
  csn_json_quote(b, call_id);
  csn_buf_addz(b, ",\"type\":\"function\",\"function\":{\"name\":");
  csn_json_quote(b, name);
  csn_buf_addz(b, ",\"arguments\":");
  csn_json_quote(b, arguments.n ? arguments : CSN_STR("{}"));
  csn_buf_addz(b, "}}");
}

/* Moves the image parts of a tool's output to the user message that follows. */
static int
add_images(struct writer *m, csn_str call_id, const csn_json *output, csn_err *err)
{
  bool is_first = true;
  if (!csn_json_is(output, CSN_JSON_ARRAY))
    return 0;
  csn_json_each (part, output) {
    if (!csn_str_eq(csn_json_str(part, "type", CSN_STR("")), CSN_STR("input_image")))
      continue;
    csn_buf_addc(&m->images, m->images.n ? ',' : '[');
    if (is_first) {
      csn_buf_addz(&m->images, "{\"type\":\"text\",\"text\":");
      csn_str text = csn_arena_printf(
          m->scratch, "Images from the result of tool call %.*s:", (int)call_id.n, call_id.p);
      csn_json_quote(&m->images, text);
      csn_buf_addz(&m->images, "},");
      is_first = false;
    }
    csn_jw w;
    csn_jw_init(&w, &m->images);
    int rc = write_image(&w, part, err);
    if (rc < 0)
      return rc;
  }
  return 0;
}

static int
add_output(void *writer, const csn_json *item, csn_err *err)
{
  struct writer *m = writer;
  flush_assistant(m);
  csn_str call_id = csn_json_str(item, "call_id", CSN_STR(""));
  const csn_json *output = csn_json_get(item, "output");
  size_t images = m->images.n;
  int rc = add_images(m, call_id, output, err);
  if (rc < 0)
    return rc;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(TEXT_MAX);
  if (!add_texts(&text, output))
    csn_buf_addz(&text, m->images.n > images ? "[image below]" : "[tool output omitted]");
  csn_jw_obj(m->w);
  write_member(m->w, "role", CSN_STR("tool"));
  write_member(m->w, "tool_call_id", call_id);
  write_member(m->w, "content", csn_buf_str(&text));
  csn_jw_end(m->w);
  return 0;
}

static void
add_any_call(void *writer, const csn_json *item, bool is_custom)
{
  csn_auto(csn_buf_finip) csn_buf arguments = CSN_BUF(TEXT_MAX);
  if (is_custom)
    csn_item_custom_arguments(&arguments, csn_json_str(item, "input", CSN_STR("")));
  add_call(writer, csn_json_str(item, "call_id", CSN_STR("")),
           csn_json_str(item, "name", CSN_STR("")),
           is_custom ? csn_buf_str(&arguments) : csn_json_str(item, "arguments", CSN_STR("")));
}

static void
add_thought(void *writer, const csn_json *item)
{
  struct writer *m = writer;
  if (!m->keeps_reasoning)
    return;
  flush_images(m);
  if (m->is_open && m->calls.n == 0)
    flush_assistant(m);
  csn_json_each (part, csn_json_get(item, "summary"))
    csn_buf_add(&m->reasoning, csn_json_str(part, "text", CSN_STR("")));
}

static const csn_item_writer items = {.api = "Chat Completions",
                                      .message = add_message,
                                      .output = add_output,
                                      .call = add_any_call,
                                      .thought = add_thought};

static bool
holds_word(csn_str s, const char *word)
{
  size_t n = strlen(word);
  for (size_t i = 0; i + n <= s.n; i++)
    if (strncasecmp(s.p + i, word, n) == 0)
      return true;
  return false;
}

static int
write_messages(csn_body *b, bool no_null, csn_err *err)
{
  const csn_model_request *rq = b->rq;
  csn_auto(csn_arena_freep) csn_arena *scratch = csn_arena_new(0);
  struct writer m = {.w = &b->w,
                     .scratch = scratch,
                     .keeps_reasoning = holds_word(rq->model, "deepseek"),
                     .no_null = no_null,
                     .text = CSN_BUF(TEXT_MAX),
                     .refusal = CSN_BUF(TEXT_MAX),
                     .calls = CSN_BUF(TEXT_MAX),
                     .reasoning = CSN_BUF(TEXT_MAX),
                     .images = CSN_BUF(TEXT_MAX)};
  csn_jw_arr(m.w);
  if (rq->instructions.n) {
    csn_jw_obj(m.w);
    write_member(m.w, "role", CSN_STR("system"));
    write_member(m.w, "content", rq->instructions);
    csn_jw_end(m.w);
  }
  int rc = csn_items_write(&items, &m, rq, scratch, NULL, err);
  flush_assistant(&m);
  flush_images(&m);
  csn_jw_end(m.w);
  csn_buf *all[] = {&m.text, &m.refusal, &m.calls, &m.reasoning, &m.images};
  for (size_t i = 0; i < CSN_COUNT(all); i++) {
    if (rc == 0)
      rc = csn_buf_done(all[i], "a message to the model", err);
    csn_buf_fini(all[i]);
  }
  return rc;
}

static void
write_tools(csn_body *b)
{
  csn_jw *w = &b->w;
  if (b->rq->n_tools == 0)
    return;
  if (csn_body_key(b, "tools")) {
    csn_jw_arr(w);
    for (size_t i = 0; i < b->rq->n_tools; i++) {
      const csn_tool_decl *t = &b->rq->tools[i];
      csn_jw_obj(w);
      write_member(w, "type", CSN_STR("function"));
      csn_jw_key(w, "function");
      csn_jw_obj(w);
      write_member(w, "name", t->name);
      if (t->description.n)
        write_member(w, "description", t->description);
      csn_jw_key(w, "parameters");
      csn_jw_raw(w, t->schema.n ? t->schema : csn_cstr(csn_item_custom_schema));
      if (t->strict && t->schema.n) { /* not every server knows the word */
        csn_jw_key(w, "strict");
        csn_jw_bool(w, true);
      }
      csn_jw_end(w);
      csn_jw_end(w);
    }
    csn_jw_end(w);
  }
  const csn_json *value;
  enum csn_choice choice = csn_choice_of(b->rq, &value);
  if (choice != CSN_CHOICE_NONE_GIVEN && csn_body_key(b, "tool_choice")) {
    if (choice != CSN_CHOICE_TOOL) {
      csn_jw_value(w, value);
    } else {
      csn_jw_obj(w);
      write_member(w, "type", CSN_STR("function"));
      csn_jw_key(w, "function");
      csn_jw_obj(w);
      write_member(w, "name", value->text);
      csn_jw_end(w);
      csn_jw_end(w);
    }
  }
  csn_body_setting(b, "parallel_tool_calls", "parallel_tool_calls");
}

static const char *const same_settings[] = {
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "max_tokens",
    "verbosity",
    "store",
    "metadata",
    "prompt_cache_key",
    "service_tier",
    "top_logprobs",
    "logprobs",
    "prompt_cache_retention",
    "prompt_cache_options",
};

static void
write_format(csn_jw *w, csn_str schema)
{
  csn_jw_obj(w);
  write_member(w, "type", CSN_STR("json_schema"));
  csn_jw_key(w, "json_schema");
  csn_jw_obj(w);
  write_member(w, "name", CSN_STR("final_output"));
  csn_jw_key(w, "strict");
  csn_jw_bool(w, true);
  csn_jw_key(w, "schema");
  csn_jw_raw(w, schema);
  csn_jw_end(w);
  csn_jw_end(w);
}

static int
encode(const csn_endpoint *ep, const csn_model_request *rq, csn_buf *body, csn_buf *path,
       csn_err *err)
{
  csn_body b;
  int rc = csn_body_init(&b, body, rq, err);
  if (rc < 0)
    return rc;
  if (csn_body_key(&b, "model"))
    csn_jw_str(&b.w, rq->model);
  write_tools(&b);
  for (size_t i = 0; i < CSN_COUNT(same_settings); i++)
    csn_body_setting(&b, same_settings[i], same_settings[i]);
  csn_str effort = csn_json_str(csn_json_get(rq->settings, "reasoning"), "effort", CSN_STR(""));
  if (effort.n && csn_body_key(&b, "reasoning_effort"))
    csn_jw_str(&b.w, effort);
  if (csn_json_get(rq->settings, "top_logprobs") && !csn_json_get(rq->settings, "logprobs") &&
      csn_body_key(&b, "logprobs"))
    csn_jw_bool(&b.w, true);
  if (rq->output_schema.n && csn_body_key(&b, "response_format"))
    write_format(&b.w, rq->output_schema);
  if (rq->stream && csn_body_key(&b, "stream"))
    csn_jw_bool(&b.w, true);
  if (rq->stream && csn_body_key(&b, "stream_options"))
    csn_jw_raw(&b.w, CSN_STR("{\"include_usage\":true}"));
  if (csn_body_key(&b, "messages"))
    rc = write_messages(&b, ep->no_null_content, err);
  csn_buf_addz(path, "/chat/completions");
  return rc < 0 ? rc : csn_body_done(&b, err);
}

static const char *const rare_settings[] = {
    "frequency_penalty",      "presence_penalty",     "top_logprobs", "prompt_cache_key",
    "prompt_cache_retention", "prompt_cache_options", "service_tier", NULL};

const csn_model_ops csn_model_chat = {
    .size = sizeof(csn_model_ops),
    .name = "chat",
    .settings = rare_settings,
    .encode = encode,
    .decoder = csn_chat_decoder,
    .feed = csn_chat_feed,
    .finish = csn_chat_finish,
    .close = csn_chat_close,
};
