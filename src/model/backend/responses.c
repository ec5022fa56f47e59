/* SPDX-License-Identifier: Apache-2.0
 *
 * responses.c - the Responses API, plain and streamed.
 *
 * Items have this API's form already: encoding copies them into the body as
 * they are, after everything that stays the same from turn to turn, and
 * decoding keeps the provider's bytes.  Behind `input` stands only a cap of
 * the reply that a budget changes, so that the bodies of a run share their
 * beginning; each is written by adding to the one before (request.h).
 *
 * Where the server knows function tools only (custom_tools: false), free-text
 * tools and their calls are sent in the function form of items.h; replies are
 * translated back, so that nothing above sees a difference.
 */
#include "model/backends.h"
#include "model/items.h"
#include "model/reply.h"
#include "model/request.h"

/* Newer models know "computer", the first ones a form with the screen's size. */
static void
write_hosted(csn_jw *w, const csn_model_request *rq, const csn_tool_decl *t)
{
  const csn_json *v;
  csn_auto(csn_arena_freep) csn_arena *a = NULL;
  if (!csn_str_eq(t->name, CSN_STR("computer"))) {
    csn_jw_raw(w, t->hosted);
    return;
  }
  a = csn_arena_new(0);
  bool is_preview = csn_str_starts(rq->model, CSN_STR("computer-use-preview"));
  csn_jw_obj(w);
  csn_jw_key(w, "type");
  csn_jw_strz(w, is_preview ? "computer_use_preview" : "computer");
  if (is_preview && csn_json_parse(a, t->hosted, &v, NULL) == 0)
    csn_json_each (m, v)
      if (!csn_str_eq(m->key, CSN_STR("type"))) {
        csn_jw_keyn(w, m->key);
        csn_jw_value(w, m);
      }
  csn_jw_end(w);
}

static void
write_tool(csn_jw *w, const csn_endpoint *ep, const csn_model_request *rq, const csn_tool_decl *t)
{
  bool is_custom = !t->schema.n && ep->custom_tools;
  if (t->hosted.n) {
    write_hosted(w, rq, t);
    return;
  }
  csn_jw_obj(w);
  csn_jw_key(w, "type");
  csn_jw_str(w, is_custom ? CSN_STR("custom") : CSN_STR("function"));
  csn_jw_key(w, "name");
  csn_jw_str(w, t->name);
  if (t->description.n) {
    csn_jw_key(w, "description");
    csn_jw_str(w, t->description);
  }
  if (!is_custom) {
    csn_jw_key(w, "parameters");
    csn_jw_raw(w, t->schema.n ? t->schema : csn_cstr(csn_item_custom_schema));
    csn_jw_key(w, "strict");
    csn_jw_bool(w, t->schema.n ? t->strict : true);
  } else if (t->format.n) {
    csn_jw_key(w, "format");
    csn_jw_raw(w, t->format);
  }
  if (t->is_deferred) {
    csn_jw_key(w, "defer_loading");
    csn_jw_bool(w, true);
  }
  csn_jw_end(w);
}

/* "auto", a tool's name, a hosted tool's type, or an object in wire form. */
static void
write_tool_choice(csn_body *b, const csn_endpoint *ep, const csn_json *choice)
{
  static const char *const modes[] = {"auto", "required", "none", NULL};
  static const char *const hosted[] = {
      "file_search",      "web_search", "web_search_preview", "image_generation",
      "code_interpreter", "mcp",        "computer",           NULL};
  csn_jw *w = &b->w;
  if (choice->kind == CSN_JSON_OBJECT && csn_json_get(choice, "server_label") &&
      !csn_json_get(choice, "type")) {
    csn_jw_obj(w);
    csn_jw_key(w, "type");
    csn_jw_str(w, CSN_STR("mcp"));
    csn_json_each (m, choice) {
      csn_jw_keyn(w, m->key);
      csn_jw_value(w, m);
    }
    csn_jw_end(w);
    return;
  }
  if (choice->kind != CSN_JSON_STRING || csn_str_is_one_of(choice->text, modes)) {
    csn_jw_value(w, choice);
    return;
  }
  bool is_hosted = csn_str_is_one_of(choice->text, hosted);
  bool is_custom = ep->custom_tools && csn_item_custom_tool(b->rq, choice->text);
  csn_jw_obj(w);
  csn_jw_key(w, "type");
  csn_jw_str(w, is_hosted ? choice->text : is_custom ? CSN_STR("custom") : CSN_STR("function"));
  if (!is_hosted) {
    csn_jw_key(w, "name");
    csn_jw_str(w, choice->text);
  }
  csn_jw_end(w);
}

static void
write_tools(csn_body *b, const csn_endpoint *ep)
{
  if (b->rq->n_tools == 0)
    return;
  if (csn_body_key(b, "tools")) {
    csn_jw_arr(&b->w);
    for (size_t i = 0; i < b->rq->n_tools; i++)
      write_tool(&b->w, ep, b->rq, &b->rq->tools[i]);
    csn_jw_end(&b->w);
  }
  const csn_json *choice = csn_json_get(b->rq->settings, "tool_choice");
  if (choice && choice->kind != CSN_JSON_NULL && csn_body_key(b, "tool_choice"))
    write_tool_choice(b, ep, choice);
  csn_body_setting(b, "parallel_tool_calls", "parallel_tool_calls");
}

/* From item `from` on. */
static int
write_items(csn_body *b, const csn_endpoint *ep, size_t from, csn_err *err)
{
  const csn_model_request *rq = b->rq;
  csn_auto(csn_arena_freep) csn_arena *a = ep->custom_tools ? NULL : csn_arena_new(0);
  if (!a)
    csn_jw_raws(&b->w, rq->items + from, rq->n_items - from);
  for (size_t i = from; a && i < rq->n_items; i++) {
    if (csn_item_maybe_custom(rq->items[i])) {
      const csn_json *v;
      csn_arena_clear(a);
      int rc = csn_json_parse(a, rq->items[i], &v, err);
      if (rc < 0)
        return csn_wrap(err, rc, "input item %zu", i);
      if (csn_item_write_function(&b->w, v))
        continue;
    }
    csn_jw_raw(&b->w, rq->items[i]);
  }
  return 0;
}

/* head_at: where this request begins in the body; before it stands the last. */
static int
write_input(csn_body *b, const csn_endpoint *ep, size_t head_at, csn_err *err)
{
  const csn_model_request *rq = b->rq;
  csn_buf *body = b->w.out;
  bool has_input = csn_body_key(b, "input");
  if (has_input)
    csn_jw_arr(&b->w);
  size_t items_at = body->n - head_at;
  size_t from = csn_kept_items(rq, body, head_at, ep->custom_tools);
  if (!has_input)
    return 0;
  if (from && from < rq->n_items)
    csn_buf_addc(body, ',');
  int rc = write_items(b, ep, from, err);
  if (rc == 0 && rq->kept)
    *rq->kept = (csn_kept_body){items_at, body->n, rq->n_items, ep->custom_tools};
  csn_jw_end(&b->w);
  return rc;
}

/* Settings whose name and form are those of the API. */
static const char *const same_settings[] = {
    "temperature",
    "top_p",
    "truncation",
    "reasoning",
    "store",
    "metadata",
    "top_logprobs",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "context_management",
};

/* {"format":{"type":"json_schema",...}} */
static void
write_format(csn_jw *w, const csn_model_request *rq)
{
  if (!rq->output_schema.n)
    return;
  csn_jw_key(w, "format");
  csn_jw_obj(w);
  csn_jw_key(w, "type");
  csn_jw_strz(w, "json_schema");
  csn_jw_key(w, "name");
  csn_jw_strz(w, "final_output");
  csn_jw_key(w, "schema");
  csn_jw_raw(w, rq->output_schema);
  csn_jw_key(w, "strict");
  csn_jw_bool(w, true);
  csn_jw_end(w);
}

static int
encode(const csn_endpoint *ep, const csn_model_request *rq, csn_buf *body, csn_buf *path,
       csn_err *err)
{
  csn_body b;
  size_t head_at = csn_kept_begin(rq, body);
  int rc = csn_body_init(&b, body, rq, err);
  if (rc < 0)
    return rc;
  csn_jw *w = &b.w;
  if (csn_body_key(&b, "model"))
    csn_jw_str(w, rq->model);
  if (rq->instructions.n && csn_body_key(&b, "instructions"))
    csn_jw_str(w, rq->instructions);
  const csn_json *include = csn_json_get(rq->settings, "response_include");
  if (csn_body_key(&b, "include")) {
    csn_jw_arr(w);
    csn_json_each (m, include)
      csn_jw_value(w, m);
    for (size_t i = 0; i < rq->n_tools; i++)
      if (rq->tools[i].include.n)
        csn_jw_str(w, rq->tools[i].include);
    if (csn_json_is(csn_json_get(rq->settings, "top_logprobs"), CSN_JSON_NUMBER))
      csn_jw_strz(w, "message.output_text.logprobs");
    csn_jw_end(w);
  }
  write_tools(&b, ep);
  for (size_t i = 0; i < CSN_COUNT(same_settings); i++)
    csn_body_setting(&b, same_settings[i], same_settings[i]);
  if (!rq->cap_is_last)
    csn_body_setting(&b, "max_tokens", "max_output_tokens");
  const csn_json *verbosity = csn_json_get(rq->settings, "verbosity");
  bool has_verbosity = csn_json_is(verbosity, CSN_JSON_STRING);
  if ((has_verbosity || rq->output_schema.n) && csn_body_key(&b, "text")) {
    csn_jw_obj(w);
    write_format(w, rq);
    if (has_verbosity) {
      csn_jw_key(w, "verbosity");
      csn_jw_value(w, verbosity);
    }
    csn_jw_end(w);
  }
  if (rq->stream && csn_body_key(&b, "stream"))
    csn_jw_bool(w, true);
  rc = write_input(&b, ep, head_at, err);
  if (rc < 0)
    return rc;
  if (rq->cap_is_last)
    csn_body_setting(&b, "max_tokens", "max_output_tokens");
  csn_buf_addz(path, "/responses");
  return csn_body_done(&b, err);
}

enum { IDS_MAX = 1024 /* calls of one reply; more are refused as too many */ };

struct csn_decoder {
  csn_reply reply; /* first */
  csn_str *ids;    /* of its calls */
  size_t n_ids;
};

/* With two calls of one id a result could be taken for that of the other. */
static int
note_id(csn_reply *r, const csn_json *item, csn_str type, csn_err *err)
{
  static const char *const calls[] = {"function_call", "custom_tool_call", "computer_call", NULL};
  csn_decoder *d = (csn_decoder *)r;
  bool asks = csn_str_eq(type, CSN_STR("mcp_approval_request"));
  if ((!asks && !csn_str_is_one_of(type, calls)) || d->n_ids == IDS_MAX)
    return 0;
  csn_str id = csn_json_str(item, asks ? "id" : "call_id", CSN_STR(""));
  for (size_t i = 0; i < d->n_ids; i++)
    if (csn_str_eq(d->ids[i], id))
      return csn_fail(err, CSN_E_UNAVAILABLE,
                      "two tool calls of the model's reply have the same id, so their results "
                      "could be mistaken for each other");
  if ((d->n_ids & (d->n_ids - 1)) == 0) /* the room is the next power of two */
    d->ids = csn_realloc(d->ids, d->n_ids ? d->n_ids * 2 : 1, sizeof *d->ids);
  d->ids[d->n_ids++] = csn_arena_dup(r->arena, id);
  return 0;
}

/* One output item: cleaned, and in free-text form when that is how its tool
 * was declared. */
static int
on_item(csn_reply *r, const csn_json *item, csn_err *err)
{
  if (!csn_json_is(item, CSN_JSON_OBJECT))
    return csn_fail(err, CSN_E_UNAVAILABLE, "the model's reply holds an item that is no object");
  csn_str type = csn_json_str(item, "type", CSN_STR(""));
  if (note_id(r, item, type, err) < 0)
    return CSN_E_UNAVAILABLE;
  if (csn_str_eq(type, CSN_STR("function_call"))) {
    csn_str name = csn_json_str(item, "name", CSN_STR(""));
    if (csn_item_custom_tool(r->rq, name))
      return csn_reply_add(r,
                           csn_item_custom_call(r->scratch,
                                                csn_json_str(item, "call_id", CSN_STR("")), name,
                                                csn_json_str(item, "arguments", CSN_STR(""))),
                           err);
  }
  return csn_reply_add(r, csn_item_clean(r->scratch, item), err);
}

static void
read_usage(csn_usage *u, const csn_json *v)
{
  u->input_tokens = csn_json_int(v, "input_tokens", 0);
  const csn_json *details = csn_json_get(v, "input_tokens_details");
  u->cached_tokens = csn_json_int(details, "cached_tokens", 0);
  u->cache_write_tokens = csn_json_int(details, "cache_write_tokens", 0);
  u->output_tokens = csn_json_int(v, "output_tokens", 0);
  u->reasoning_tokens =
      csn_json_int(csn_json_get(v, "output_tokens_details"), "reasoning_tokens", 0);
  u->total_tokens = csn_json_int(v, "total_tokens", u->input_tokens + u->output_tokens);
}

/* The response object: of a plain reply or of a terminal event. */
static int
on_response(csn_reply *r, const csn_json *v, csn_err *err)
{
  read_usage(&r->out.usage, csn_json_get(v, "usage"));
  const csn_json *error = csn_json_get(v, "error");
  csn_str status = csn_json_str(v, "status", CSN_STR("completed"));
  if (error && error->kind != CSN_JSON_NULL)
    return csn_reply_fail(r, error, "no reason given", err);
  if (csn_str_eq(status, CSN_STR("incomplete"))) {
    csn_str why =
        csn_json_str(csn_json_get(v, "incomplete_details"), "reason", CSN_STR("unknown reason"));
    csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(200);
    csn_buf_addf(&b, "the response is incomplete: %.*s", (int)(why.n < 100 ? why.n : 100), why.p);
    return csn_reply_fail(r, NULL, b.p, err);
  }
  if (!csn_str_eq(status, CSN_STR("completed")))
    return csn_reply_fail(r, NULL, "the response did not complete", err);
  const csn_json *output = csn_json_get(v, "output");
  if (!csn_json_is(output, CSN_JSON_ARRAY) && r->form == CSN_FORM_JSON)
    return csn_fail(err, CSN_E_UNAVAILABLE, "the model's reply has no list `output`");
  if (csn_json_is(output, CSN_JSON_ARRAY) && output->n) {
    ((csn_decoder *)r)->n_ids = 0;
    r->out.n_items = 0; /* the whole list takes the place of what was collected */
    csn_json_each (item, output) {
      int rc = on_item(r, item, err);
      if (rc < 0)
        return rc;
    }
  }
  r->out.response_id = csn_arena_dup(r->arena, csn_json_str(v, "id", CSN_STR("")));
  r->is_done = true;
  return 0;
}

enum event_kind { DELTA, PART, ITEM, COMPLETED, FAILED, FAULT };

static const struct {
  csn_str type;
  enum event_kind kind;
  enum csn_delta_kind delta;
} events[] = {
    {CSN_STR_INIT("response.output_text.delta"), DELTA, CSN_DELTA_TEXT},
    {CSN_STR_INIT("response.function_call_arguments.delta"), DELTA, CSN_DELTA_ARGUMENTS},
    {CSN_STR_INIT("response.custom_tool_call_input.delta"), DELTA, CSN_DELTA_ARGUMENTS},
    {CSN_STR_INIT("response.reasoning_summary_text.delta"), DELTA, CSN_DELTA_REASONING},
    {CSN_STR_INIT("response.reasoning_text.delta"), DELTA, CSN_DELTA_REASONING},
    {CSN_STR_INIT("response.refusal.delta"), DELTA, CSN_DELTA_REFUSAL},
    {CSN_STR_INIT("response.reasoning_summary_part.added"), PART, CSN_DELTA_REASONING},
    {CSN_STR_INIT("response.output_item.done"), ITEM, 0},
    {CSN_STR_INIT("response.completed"), COMPLETED, 0},
    {CSN_STR_INIT("response.incomplete"), FAILED, 0},
    {CSN_STR_INIT("response.failed"), FAILED, 0},
    {CSN_STR_INIT("error"), FAULT, 0},
    {CSN_STR_INIT("response.error"), FAULT, 0},
};

static int
on_event(csn_reply *r, csn_str event, const csn_json *v, csn_err *err)
{
  if (r->form == CSN_FORM_JSON)
    return on_response(r, v, err);
  csn_str type = csn_json_str(v, "type", event);
  size_t i = 0;
  while (i < CSN_COUNT(events) && !csn_str_eq(type, events[i].type))
    i++;
  if (i == CSN_COUNT(events)) {
    const csn_json *error = csn_json_get(v, "error"); /* of a gateway, without a type */
    return type.n || !error ? 0 : csn_reply_fail(r, error, "no reason given", err);
  }
  switch (events[i].kind) {
  case DELTA:
    csn_reply_delta(r, events[i].delta, csn_json_str(v, "delta", CSN_STR("")));
    return 0;
  case PART:
    if (csn_json_int(v, "summary_index", 0) > 0)
      csn_reply_delta(r, events[i].delta, CSN_STR("\n\n"));
    return 0;
  case ITEM:
    return on_item(r, csn_json_get(v, "item"), err);
  case COMPLETED:
  case FAILED: {
    int rc = on_response(r, csn_json_get(v, "response"), err);
    bool contradicts = rc == 0 && events[i].kind == FAILED;
    return contradicts ? csn_reply_fail(r, NULL, "the response did not complete", err) : rc;
  }
  case FAULT:
    break;
  }
  return csn_reply_fail(r, v, "no reason given", err);
}

static csn_decoder *
decoder(csn_arena *arena, const csn_reply_head *head, const csn_model_request *rq, csn_delta_fn *fn,
        void *user)
{
  csn_decoder *d = csn_alloc(sizeof *d);
  csn_reply_init(&d->reply, arena, head, rq, fn, user, on_event);
  return d;
}

static int
feed(csn_decoder *d, csn_str bytes, csn_err *err)
{
  return csn_reply_feed(&d->reply, bytes, err);
}

static int
finish(csn_decoder *d, csn_model_reply *out, csn_err *err)
{
  int rc = csn_reply_end(&d->reply, err);
  out->usage = d->reply.out.usage;
  if (rc < 0)
    return rc;
  if (!d->reply.is_done)
    return csn_reply_cut(&d->reply, err);
  *out = d->reply.out;
  return 0;
}

static bool
is_done(const csn_decoder *d)
{
  return d->reply.is_done;
}

static void
close_decoder(csn_decoder *d)
{
  csn_reply_fini(&d->reply);
  free(d->ids);
  free(d);
}

static const char *const hosted_tools[] = {"web_search",       "file_search", "code_interpreter",
                                           "image_generation", "mcp",         "computer",
                                           "tool_search",      NULL};

static const char *const rare_settings[] = {"top_logprobs",
                                            "response_include",
                                            "prompt_cache_key",
                                            "prompt_cache_retention",
                                            "prompt_cache_options",
                                            "service_tier",
                                            NULL};

const csn_model_ops csn_model_responses = {
    .size = sizeof(csn_model_ops),
    .name = "responses",
    .hosted = hosted_tools,
    .settings = rare_settings,
    .appends = true,
    .encode = encode,
    .decoder = decoder,
    .feed = feed,
    .finish = finish,
    .close = close_decoder,
    .is_done = is_done,
};
