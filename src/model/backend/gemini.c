/* SPDX-License-Identifier: Apache-2.0
 *
 * gemini.c - the Gemini API (generateContent, streamGenerateContent): requests.
 *
 * Items become parts; neighbours of one side share a content, so that all
 * results of a turn stand together and in the order of their calls, before the
 * images they hold.  The provider's seals ("thoughtSignature") go back on the parts they came with;
 * thoughts themselves are not sent back.
 *
 * A result names the function it answers, which the item does not, so calls
 * are remembered by id.  Ids are sent only where this API gave them.
 */
#include "model/backend/gemini.h"

#include "model/answer.h"
#include "model/backends.h"
#include "model/items.h"
#include "model/request.h"
#include "model/walk.h"

enum { TEXT_MAX = 256 << 20 };

struct call {
  csn_str id, name, wire_id;
};

struct writer {
  csn_jw *w;
  csn_arena *scratch; /* of the whole request */
  const char *role;   /* of the open content, or NULL */
  csn_buf media;      /* parts of results that wait until all results are written */
  struct call *calls;
  size_t n_calls, room;
};

static const char user[] = "user", model[] = "model";

static void
member(csn_jw *w, const char *key, csn_str value)
{
  csn_jw_key(w, key);
  csn_jw_str(w, value);
}

static void
flush_media(struct writer *m)
{
  if (m->media.n)
    csn_jw_raw(m->w, csn_buf_str(&m->media)); /* parts with commas between them */
  csn_buf_clear(&m->media);
}

static void
close_content(struct writer *m)
{
  flush_media(m);
  if (m->role) {
    csn_jw_end(m->w);
    csn_jw_end(m->w);
  }
  m->role = NULL;
}

static void
open_part(struct writer *m, const char *role)
{
  if (m->role != role) { /* both are literals of this file */
    close_content(m);
    csn_jw_obj(m->w);
    member(m->w, "role", csn_cstr(role));
    csn_jw_key(m->w, "parts");
    csn_jw_arr(m->w);
    m->role = role;
  }
}

static void
close_part(struct writer *m, csn_str seal)
{
  if (seal.n)
    member(m->w, "thoughtSignature", seal);
  csn_jw_end(m->w);
}

static void
add_text(struct writer *m, const char *role, csn_str text, csn_str seal)
{
  if (!text.n && !seal.n)
    return;
  open_part(m, role);
  flush_media(m);
  csn_jw_obj(m->w);
  member(m->w, "text", text);
  close_part(m, seal);
}

/* An image or a file: data URLs travel inside, others as a reference. */
static int
write_media(csn_jw *w, const csn_json *part, csn_err *err)
{
  csn_str media, data;
  csn_str type = csn_json_str(part, "type", CSN_STR(""));
  bool is_image = csn_str_eq(type, CSN_STR("input_image"));
  csn_str url = csn_json_str(part, is_image ? "image_url" : "file_data", CSN_STR(""));
  if (!is_image && !url.n)
    url = csn_json_str(part, "file_url", CSN_STR(""));
  if ((!is_image && !csn_str_eq(type, CSN_STR("input_file"))) || !url.n)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "the Gemini API takes images and files by URL or data URL only, not '%.*s'",
                    (int)(type.n < 60 ? type.n : 60), type.p);
  csn_jw_obj(w);
  if (csn_data_url_cut(url, &media, &data)) {
    csn_jw_key(w, "inlineData");
    csn_jw_obj(w);
    member(w, "mimeType", media);
    member(w, "data", data);
  } else {
    csn_jw_key(w, "fileData");
    csn_jw_obj(w);
    member(w, "fileUri", url);
  }
  csn_jw_end(w);
  csn_jw_end(w);
  return 0;
}

static int
add_media(struct writer *m, const csn_json *part, csn_err *err)
{
  open_part(m, user);
  flush_media(m);
  return write_media(m->w, part, err);
}

static int
add_message(void *writer, const csn_json *item, csn_err *err)
{
  struct writer *m = writer;
  bool is_answer = csn_str_eq(csn_json_str(item, "role", CSN_STR("")), CSN_STR("assistant"));
  const char *role = is_answer ? model : user;
  const csn_json *content = csn_json_get(item, "content");
  csn_str seal = csn_item_provided(item, CSN_GEMINI, "seal");
  if (csn_json_is(content, CSN_JSON_STRING)) {
    add_text(m, role, content->text, seal);
    return 0;
  }
  csn_json_each (part, content) {
    csn_str mine = part->next ? CSN_STR("") : seal; /* it came with the last part */
    int rc = 0;
    if (csn_part_is_text(part))
      add_text(m, role, csn_json_str(part, "text", CSN_STR("")), mine);
    else if (is_answer)
      add_text(m, role, csn_json_str(part, "refusal", CSN_STR("")), mine);
    else
      rc = add_media(m, part, err);
    if (rc < 0)
      return rc;
  }
  return 0;
}

static void
remember_call(struct writer *m, struct call c)
{
  if (m->n_calls == m->room) {
    m->room = m->room ? m->room * 2 : 64;
    m->calls = csn_realloc(m->calls, m->room, sizeof *m->calls);
  }
  m->calls[m->n_calls++] = c;
}

static void
add_call(void *writer, const csn_json *item, bool is_custom)
{
  struct writer *m = writer;
  struct call c = {.id = csn_json_str(item, "call_id", CSN_STR("")),
                   .name = csn_json_str(item, "name", CSN_STR("")),
                   .wire_id = csn_item_provided(item, CSN_GEMINI, "id")};
  remember_call(m, c);
  open_part(m, model);
  csn_jw_obj(m->w);
  csn_jw_key(m->w, "functionCall");
  csn_jw_obj(m->w);
  if (c.wire_id.n)
    member(m->w, "id", c.wire_id);
  member(m->w, "name", c.name);
  csn_jw_key(m->w, "args");
  csn_item_write_input(m->w, m->scratch, item, is_custom);
  csn_jw_end(m->w);
  close_part(m, csn_item_provided(item, CSN_GEMINI, "seal"));
}

static struct call
call_of(const struct writer *m, csn_str id)
{
  for (size_t i = m->n_calls; i-- > 0;)
    if (csn_str_eq(m->calls[i].id, id))
      return m->calls[i];
  return (struct call){.id = id, .name = CSN_STR("unknown"), .wire_id = CSN_STR("")};
}

static int
delay_media(struct writer *m, const csn_json *part, csn_err *err)
{
  csn_jw w;
  if (m->media.n)
    csn_buf_addc(&m->media, ',');
  csn_jw_init(&w, &m->media);
  int rc = write_media(&w, part, err);
  return rc < 0 ? rc : csn_jw_done(&w, err);
}

static int
add_output(void *writer, const csn_json *item, csn_err *err)
{
  struct writer *m = writer;
  const csn_json *output = csn_json_get(item, "output");
  struct call c = call_of(m, csn_json_str(item, "call_id", CSN_STR("")));
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(TEXT_MAX);
  if (csn_json_is(output, CSN_JSON_STRING))
    csn_buf_add(&text, output->text);
  else
    csn_json_each (part, output)
      if (csn_part_is_text(part))
        csn_buf_add(&text, csn_json_str(part, "text", CSN_STR("")));
  open_part(m, user);
  csn_jw_obj(m->w);
  csn_jw_key(m->w, "functionResponse");
  csn_jw_obj(m->w);
  if (c.wire_id.n)
    member(m->w, "id", c.wire_id);
  member(m->w, "name", c.name);
  csn_jw_key(m->w, "response");
  csn_jw_obj(m->w);
  member(m->w, "output", csn_buf_str(&text));
  csn_jw_end(m->w);
  csn_jw_end(m->w);
  close_part(m, CSN_STR(""));
  int rc = csn_buf_done(&text, "a tool's output", err);
  if (csn_json_is(output, CSN_JSON_ARRAY))
    csn_json_each (part, output)
      if (rc == 0 && !csn_part_is_text(part))
        rc = delay_media(m, part, err);
  return rc;
}

static const csn_item_writer items = {.api = "the Gemini API",
                                      .keeps_items = true, /* results look for their calls */
                                      .message = add_message,
                                      .output = add_output,
                                      .call = add_call};

static int
write_contents(csn_body *b, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *scratch = csn_arena_new(0);
  struct writer m = {.w = &b->w, .scratch = scratch, .media = CSN_BUF(TEXT_MAX)};
  csn_jw_arr(m.w);
  int rc = csn_items_write(&items, &m, b->rq, scratch, NULL, err);
  close_content(&m);
  csn_jw_end(m.w);
  csn_buf_fini(&m.media);
  free(m.calls);
  return rc;
}

static void
write_tools(csn_body *b)
{
  csn_jw *w = &b->w;
  if (b->rq->n_tools == 0 || !csn_body_key(b, "tools"))
    return;
  csn_jw_arr(w);
  csn_jw_obj(w);
  csn_jw_key(w, "functionDeclarations");
  csn_jw_arr(w);
  for (size_t i = 0; i < b->rq->n_tools; i++) {
    const csn_tool_decl *t = &b->rq->tools[i];
    csn_jw_obj(w);
    member(w, "name", t->name);
    if (t->description.n)
      member(w, "description", t->description);
    csn_jw_key(w, "parametersJsonSchema");
    csn_jw_raw(w, t->schema.n ? t->schema : csn_cstr(csn_item_custom_schema));
    csn_jw_end(w);
  }
  csn_jw_end(w);
  csn_jw_end(w);
  csn_jw_end(w);
}

static void
write_tool_choice(csn_body *b)
{
  csn_jw *w = &b->w;
  const csn_json *value;
  enum csn_choice choice = csn_choice_of(b->rq, &value);
  if (choice == CSN_CHOICE_NONE_GIVEN || !csn_body_key(b, "toolConfig"))
    return;
  if (choice == CSN_CHOICE_WIRE) {
    csn_jw_value(w, value);
    return;
  }
  csn_jw_obj(w);
  csn_jw_key(w, "functionCallingConfig");
  csn_jw_obj(w);
  member(w, "mode",
         choice == CSN_CHOICE_AUTO   ? CSN_STR("AUTO")
         : choice == CSN_CHOICE_NONE ? CSN_STR("NONE")
                                     : CSN_STR("ANY"));
  if (choice == CSN_CHOICE_TOOL) {
    csn_jw_key(w, "allowedFunctionNames");
    csn_jw_arr(w);
    csn_jw_str(w, value->text);
    csn_jw_end(w);
  }
  csn_jw_end(w);
  csn_jw_end(w);
}

/* {effort} is a level of thinking, {budget_tokens} a number of tokens. */
static void
write_thinking(csn_jw *w, const csn_json *reasoning)
{
  int64_t budget = csn_json_int(reasoning, "budget_tokens", -1);
  csn_str effort = csn_json_str(reasoning, "effort", CSN_STR(""));
  if (budget < 0 && !effort.n)
    return;
  csn_jw_key(w, "thinkingConfig");
  csn_jw_obj(w);
  csn_jw_key(w, "includeThoughts");
  csn_jw_bool(w, true);
  if (budget >= 0) {
    csn_jw_key(w, "thinkingBudget");
    csn_jw_int(w, budget);
  } else {
    member(w, "thinkingLevel", effort);
  }
  csn_jw_end(w);
}

static void
write_generation(csn_body *b)
{
  static const char *const keys[][2] = {{"temperature", "temperature"},
                                        {"top_p", "topP"},
                                        {"frequency_penalty", "frequencyPenalty"},
                                        {"presence_penalty", "presencePenalty"},
                                        {"max_tokens", "maxOutputTokens"}};
  csn_jw *w = &b->w;
  csn_str schema = b->rq->output_schema;
  bool is_empty = !csn_json_get(b->rq->settings, "reasoning") && !schema.n;
  for (size_t i = 0; i < CSN_COUNT(keys); i++)
    is_empty = is_empty && !csn_json_get(b->rq->settings, keys[i][0]);
  if (is_empty || !csn_body_key(b, "generationConfig"))
    return;
  csn_jw_obj(w);
  for (size_t i = 0; i < CSN_COUNT(keys); i++) {
    const csn_json *v = csn_json_get(b->rq->settings, keys[i][0]);
    if (!v || v->kind == CSN_JSON_NULL)
      continue;
    csn_jw_key(w, keys[i][1]);
    csn_jw_value(w, v);
  }
  write_thinking(w, csn_json_get(b->rq->settings, "reasoning"));
  if (schema.n) {
    member(w, "responseMimeType", CSN_STR("application/json"));
    csn_jw_key(w, "responseJsonSchema");
    csn_jw_raw(w, schema);
  }
  csn_jw_end(w);
}

/* The model's name is a part of the path: it may hold nothing that ends it. */
static void
write_path(csn_buf *path, const csn_model_request *rq)
{
  csn_buf_addz(path, "/models/");
  for (size_t i = 0; i < rq->model.n; i++) {
    unsigned char c = (unsigned char)rq->model.p[i];
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 c == '-' || c == '_' || c == '.';
    if (plain)
      csn_buf_addc(path, (char)c);
    else
      csn_buf_addf(path, "%%%02X", c);
  }
  csn_buf_addz(path, rq->stream ? ":streamGenerateContent?alt=sse" : ":generateContent");
}

static int
encode(const csn_endpoint *ep, const csn_model_request *rq, csn_buf *body, csn_buf *path,
       csn_err *err)
{
  csn_body b;
  int rc = csn_body_init(&b, body, rq, err);
  if (rc < 0)
    return rc;
  (void)ep;
  write_path(path, rq);
  write_tools(&b);
  write_tool_choice(&b);
  write_generation(&b);
  if (rq->instructions.n && csn_body_key(&b, "systemInstruction")) {
    csn_jw_obj(&b.w);
    csn_jw_key(&b.w, "parts");
    csn_jw_arr(&b.w);
    csn_jw_obj(&b.w);
    member(&b.w, "text", rq->instructions);
    csn_jw_end(&b.w);
    csn_jw_end(&b.w);
    csn_jw_end(&b.w);
  }
  if (csn_body_key(&b, "contents"))
    rc = write_contents(&b, err);
  return rc < 0 ? rc : csn_body_done(&b, err);
}

static const char *const rare_settings[] = {"frequency_penalty", "presence_penalty", NULL};

const csn_model_ops csn_model_gemini = {
    .size = sizeof(csn_model_ops),
    .name = CSN_GEMINI,
    .settings = rare_settings,
    .key_header = "x-goog-api-key",
    .encode = encode,
    .decoder = csn_gemini_decoder,
    .feed = csn_gemini_feed,
    .finish = csn_gemini_finish,
    .close = csn_gemini_close,
};
