/* SPDX-License-Identifier: Apache-2.0
 * answer.c - see answer.h. */
#include "model/answer.h"

#include "model/items.h"

enum { TEXT_MAX = 64 << 20, WORD_MAX = 4096, PIECES_MAX = 1024 };

void
csn_answer_fini(csn_answer *a)
{
  for (size_t i = 0; i < a->n; i++) {
    csn_buf_fini(&a->v[i].text);
    csn_buf_fini(&a->v[i].id);
    csn_buf_fini(&a->v[i].name);
    csn_buf_fini(&a->v[i].seal);
  }
  free(a->v);
  *a = (csn_answer){.api = a->api};
}

csn_piece *
csn_answer_add(csn_answer *a, enum csn_piece_kind kind, int64_t index, csn_err *err)
{
  if (a->n == PIECES_MAX) {
    csn_fail(err, CSN_E_LIMIT, "the model's reply has more than %d parts", PIECES_MAX);
    return NULL;
  }
  if ((a->n & (a->n - 1)) == 0) /* the room is the next power of two */
    a->v = csn_realloc(a->v, a->n ? a->n * 2 : 1, sizeof *a->v);
  csn_piece *p = &a->v[a->n++];
  /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): there is room from the first piece on */
  *p = (csn_piece){.kind = kind,
                   .index = index,
                   .text = CSN_BUF(TEXT_MAX),
                   .id = CSN_BUF(WORD_MAX),
                   .name = CSN_BUF(WORD_MAX),
                   .seal = CSN_BUF(TEXT_MAX)};
  a->n_calls += kind == CSN_PIECE_CALL;
  return p;
}

csn_piece *
csn_answer_find(csn_answer *a, int64_t index)
{
  for (size_t i = a->n; i-- > 0;)
    if (a->v[i].index == index)
      return &a->v[i];
  return NULL;
}

csn_piece *
csn_answer_go_on(csn_answer *a, enum csn_piece_kind kind, csn_err *err)
{
  csn_piece *last = a->n ? &a->v[a->n - 1] : NULL;
  return last && last->kind == kind ? last : csn_answer_add(a, kind, -1, err);
}

bool
csn_answer_says_something(const csn_answer *a)
{
  for (size_t i = 0; i < a->n; i++)
    if (a->v[i].kind == CSN_PIECE_CALL || (a->v[i].kind != CSN_PIECE_THOUGHT && a->v[i].text.n))
      return true;
  return false;
}

int
csn_answer_limit(const csn_answer *a, csn_arena *scratch, csn_err *err)
{
  const csn_json *v;
  const csn_piece *last = a->n ? &a->v[a->n - 1] : NULL;
  if (!csn_answer_says_something(a))
    return csn_fail(err, CSN_E_MODEL,
                    "the model used all of its max_tokens without an answer; allow more");
  csn_arena_clear(scratch);
  if (last && last->kind == CSN_PIECE_CALL && last->text.n &&
      csn_json_parse(scratch, csn_buf_str(&last->text), &v, NULL) < 0)
    return csn_fail(err, CSN_E_MODEL,
                    "the model reached its max_tokens inside a tool call; allow more");
  return 0;
}

/* ---- items ---- */

static void
member(csn_jw *w, const char *key, csn_str value)
{
  csn_jw_key(w, key);
  csn_jw_str(w, value);
}

static void
begin(csn_jw *w, csn_buf *b, const char *type)
{
  csn_buf_clear(b);
  csn_jw_init(w, b);
  csn_jw_obj(w);
  member(w, "type", csn_cstr(type));
}

static int
end(csn_jw *w, csn_buf *b, csn_reply *r, csn_err *err)
{
  csn_jw_end(w);
  int rc = csn_jw_done(w, err);
  return rc < 0 ? rc : csn_reply_add(r, csn_buf_str(b), err);
}

static void
provider_data(const csn_answer *a, csn_jw *w, const csn_piece *p)
{
  bool keeps_id = p->kind == CSN_PIECE_CALL && p->has_id;
  if (!a->api || (!p->seal.n && !keeps_id && p->kind != CSN_PIECE_THOUGHT))
    return;
  csn_jw_key(w, "provider_data");
  csn_jw_obj(w);
  member(w, "api", csn_cstr(a->api));
  if (p->kind != CSN_PIECE_THOUGHT && p->seal.n)
    member(w, "seal", csn_buf_str(&p->seal));
  if (keeps_id)
    member(w, "id", csn_buf_str(&p->id));
  if (p->is_hidden)
    member(w, "hidden", CSN_STR("true"));
  csn_jw_end(w);
}

static int
add_thought(const csn_answer *a, const csn_piece *p, csn_buf *b, csn_reply *r, csn_err *err)
{
  csn_jw w;
  if (!p->text.n && !p->seal.n)
    return 0;
  begin(&w, b, "reasoning");
  csn_jw_key(&w, "summary");
  csn_jw_arr(&w);
  if (!p->is_hidden) {
    csn_jw_obj(&w);
    member(&w, "type", CSN_STR("summary_text"));
    member(&w, "text", csn_buf_str(&p->text));
    csn_jw_end(&w);
  }
  csn_jw_end(&w);
  if (p->seal.n)
    member(&w, "encrypted_content", csn_buf_str(&p->seal));
  provider_data(a, &w, p);
  return end(&w, b, r, err);
}

static bool
is_said(const csn_piece *p)
{
  return p->kind == CSN_PIECE_TEXT || p->kind == CSN_PIECE_REFUSAL;
}

/* All texts and refusals from v[i] on; *after is the index after them. */
static int
add_message(const csn_answer *a, size_t i, size_t *after, csn_buf *b, csn_reply *r, csn_err *err)
{
  csn_jw w;
  const csn_piece *sealed = NULL;
  begin(&w, b, "message");
  member(&w, "role", CSN_STR("assistant"));
  member(&w, "status", CSN_STR("completed"));
  csn_jw_key(&w, "content");
  csn_jw_arr(&w);
  bool is_empty = true;
  for (; i < a->n && is_said(&a->v[i]); i++) {
    const csn_piece *p = &a->v[i];
    bool is_text = p->kind == CSN_PIECE_TEXT;
    if (p->seal.n)
      sealed = p;
    if (!p->text.n)
      continue;
    csn_jw_obj(&w);
    member(&w, "type", is_text ? CSN_STR("output_text") : CSN_STR("refusal"));
    if (is_text) {
      csn_jw_key(&w, "annotations");
      csn_jw_raw(&w, CSN_STR("[]"));
    }
    member(&w, is_text ? "text" : "refusal", csn_buf_str(&p->text));
    csn_jw_end(&w);
    is_empty = false;
  }
  *after = i;
  if (is_empty && csn_answer_says_something(a))
    return 0;
  if (is_empty)
    csn_jw_raw(&w, CSN_STR("{\"type\":\"output_text\",\"annotations\":[],\"text\":\"\"}"));
  csn_jw_end(&w);
  if (sealed)
    provider_data(a, &w, sealed);
  return end(&w, b, r, err);
}

static bool
was_used_before(const csn_answer *a, const csn_piece *p)
{
  for (const csn_piece *q = a->v; q < p; q++)
    if (q->kind == CSN_PIECE_CALL && csn_str_eq(csn_buf_str(&q->id), csn_buf_str(&p->id)))
      return true;
  return false;
}

static int
add_call(const csn_answer *a, csn_piece *p, size_t k, csn_buf *b, csn_reply *r, csn_err *err)
{
  if (!p->name.n)
    return csn_fail(err, CSN_E_UNAVAILABLE, "the model's reply has a tool call without a name");
  for (; !p->id.n || was_used_before(a, p); k++) { /* what we make up may be taken, too */
    csn_buf_clear(&p->id);
    p->has_id = false;
    csn_buf_addf(&p->id, "call_%zu_%zu", r->rq->n_items, k);
  }
  csn_str arguments = p->text.n ? csn_buf_str(&p->text) : CSN_STR("{}");
  csn_str name = csn_buf_str(&p->name), id = csn_buf_str(&p->id);
  bool is_custom = csn_item_custom_tool(r->rq, name) != NULL;
  csn_jw w;
  begin(&w, b, is_custom ? "custom_tool_call" : "function_call");
  member(&w, "call_id", id);
  member(&w, "name", name);
  if (is_custom)
    member(&w, "input", csn_item_custom_input(r->scratch, arguments));
  else
    member(&w, "arguments", arguments);
  if (!is_custom)
    member(&w, "status", CSN_STR("completed"));
  provider_data(a, &w, p);
  return end(&w, b, r, err);
}

static int
check_sizes(const csn_answer *a, csn_err *err)
{
  for (size_t i = 0; i < a->n; i++) {
    const csn_piece *p = &a->v[i];
    if (p->text.over || p->seal.over || p->id.over || p->name.over)
      return csn_fail(err, CSN_E_LIMIT,
                      p->kind == CSN_PIECE_CALL ? "a tool call of the model is too large"
                                                : "a part of the model's reply is too large");
  }
  return 0;
}

int
csn_answer_finish(csn_answer *a, csn_reply *r, csn_model_reply *out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(2 * (size_t)TEXT_MAX);
  size_t calls = 0;
  int rc = check_sizes(a, err);
  if (rc == 0 && !csn_answer_says_something(a) && !csn_answer_go_on(a, CSN_PIECE_TEXT, err))
    rc = CSN_E_LIMIT;
  csn_arena_clear(r->scratch);
  for (size_t i = 0; i < a->n && rc == 0;) {
    csn_piece *p = &a->v[i];
    if (is_said(p)) {
      rc = add_message(a, i, &i, &b, r, err);
      continue;
    }
    rc = p->kind == CSN_PIECE_THOUGHT ? add_thought(a, p, &b, r, err)
                                      : add_call(a, p, calls++, &b, r, err);
    i++;
  }
  if (rc == 0)
    *out = r->out;
  return rc;
}

csn_str
csn_item_provided(const csn_json *item, const char *api, const char *key)
{
  const csn_json *data = csn_json_get(item, "provider_data");
  if (!csn_str_eq(csn_json_str(data, "api", CSN_STR("")), csn_cstr(api)))
    return CSN_STR("");
  return csn_json_str(data, key, CSN_STR(""));
}
