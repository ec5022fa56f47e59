/* SPDX-License-Identifier: Apache-2.0
 *
 * reply.c - the half of a decoder that is the same for every provider.
 *
 * The content type decides how bytes are read; servers that send none, or a
 * wrong one, are told apart by the first byte that is no blank: '{' or '['
 * begins JSON.  Text of an error comes from outside and goes to terminals and
 * logs: control characters and invalid UTF-8 are removed from it.
 */
#include "model/reply.h"

#include <stdio.h>

#include "model/retry.h"

enum {
  BODY_MAX = 64 << 20,    /* a JSON reply or one event */
  TREE_MAX = 512 << 20,   /* its parsed form */
  ERROR_BODY_MAX = 65536, /* what is read of an error's body */
  MESSAGE_MAX = 300,
  SCRATCH_FIRST = 4 << 10, /* parses a delta event without another chunk */
};

void
csn_reply_head_read(csn_reply_head *out, int status, const csn_header *headers, size_t n)
{
  *out = (csn_reply_head){.status = status};
  const struct {
    const char *name;
    csn_str *to;
  } wanted[] = {
      {"content-type", &out->content_type}, {"retry-after-ms", &out->retry_after_ms},
      {"retry-after", &out->retry_after},   {"date", &out->date},
      {"x-request-id", &out->request_id},   {"x-should-retry", &out->should_retry},
      {"request-id", &out->request_id},
  };
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < CSN_COUNT(wanted); k++)
      if (csn_str_eq(headers[i].name, csn_cstr(wanted[k].name)))
        *wanted[k].to = headers[i].value;
}

static int
on_sse(void *user, csn_str event, csn_str data)
{
  csn_reply *r = user;
  if (csn_str_eq(csn_str_trim(data), CSN_STR("[DONE]"))) {
    r->saw_done_mark = true;
    return 0;
  }
  if (r->is_done)
    return 0;
  csn_arena_clear(r->scratch);
  const csn_json *v;
  int rc = csn_json_parse(r->scratch, data, &v, r->err);
  if (rc == CSN_E_PARSE)
    return csn_fail(r->err, CSN_E_UNAVAILABLE, "the model's stream holds an event that is no JSON");
  return rc < 0 ? rc : r->on_event(r, event, v, r->err);
}

void
csn_reply_init(csn_reply *r, csn_arena *arena, const csn_reply_head *head,
               const csn_model_request *rq, csn_delta_fn *fn, void *user, csn_reply_fn *on_event)
{
  *r = (csn_reply){.arena = arena,
                   .rq = rq,
                   .fn = fn,
                   .user = user,
                   .on_event = on_event,
                   .head = *head,
                   .body = CSN_BUF(BODY_MAX),
                   .scratch = csn_arena_new(TREE_MAX)};
  csn_str *texts[] = {&r->head.content_type, &r->head.retry_after_ms, &r->head.retry_after,
                      &r->head.date,         &r->head.should_retry,   &r->head.request_id};
  for (size_t i = 0; i < CSN_COUNT(texts); i++)
    *texts[i] = csn_arena_dup(arena, *texts[i]);
  csn_sse_init(&r->sse, BODY_MAX, on_sse, r);
  (void)csn_arena_alloc(r->scratch, SCRATCH_FIRST);
  csn_str type = r->head.content_type;
  if (head->status < 200 || head->status > 299) {
    r->form = CSN_FORM_ERROR;
    r->body.cap = ERROR_BODY_MAX;
  } else if (csn_str_find(type, CSN_STR("event-stream"), 0) != SIZE_MAX) {
    r->form = CSN_FORM_EVENTS;
  } else if (csn_str_find(type, CSN_STR("json"), 0) != SIZE_MAX &&
             csn_str_find(type, CSN_STR("ndjson"), 0) == SIZE_MAX) {
    r->form = CSN_FORM_JSON;
  }
}

void
csn_reply_fini(csn_reply *r)
{
  csn_sse_fini(&r->sse);
  csn_buf_fini(&r->body);
  csn_arena_free(r->scratch);
}

/* Without a usable content type: takes blanks off the front; false while
 * nothing else came. */
static bool
guess_form(csn_reply *r, csn_str *bytes)
{
  while (bytes->n && strchr(" \t\r\n", bytes->p[0]) && bytes->p[0])
    bytes->p++, bytes->n--;
  if (bytes->n)
    r->form = bytes->p[0] == '{' || bytes->p[0] == '[' ? CSN_FORM_JSON : CSN_FORM_EVENTS;
  return bytes->n > 0;
}

int
csn_reply_feed(csn_reply *r, csn_str bytes, csn_err *err)
{
  if (r->fault < 0) {
    if (err)
      *err = r->fault_err;
    return r->fault;
  }
  if (r->form == CSN_FORM_UNKNOWN && !guess_form(r, &bytes))
    return 0;
  if (r->form == CSN_FORM_ERROR) {
    csn_buf_add(
        &r->body,
        csn_strn(bytes.p, bytes.n < r->body.cap - r->body.n ? bytes.n : r->body.cap - r->body.n));
    return 0;
  }
  r->err = &r->fault_err;
  if (r->form == CSN_FORM_EVENTS) {
    r->fault = csn_sse_feed(&r->sse, bytes, r->err);
  } else {
    csn_buf_add(&r->body, bytes);
    r->fault = csn_buf_done(&r->body, "the model's reply", r->err);
  }
  if (r->fault < 0 && err)
    *err = r->fault_err;
  return r->fault;
}

/* Text that is safe to print, at most MESSAGE_MAX bytes, on one line. */
static csn_str
printable(csn_arena *a, csn_str s)
{
  char *to = csn_arena_alloc(a, MESSAGE_MAX + 4);
  size_t n = 0;
  if (!to)
    return CSN_STR("");
  for (size_t i = 0; i < s.n && n < MESSAGE_MAX;) {
    csn_str rest = csn_strn(s.p + i, s.n - i < 4 ? s.n - i : 4);
    unsigned char c = (unsigned char)s.p[i];
    size_t k = 1;
    if (c >= 0x80) {
      while (k < rest.n && ((unsigned char)rest.p[k] & 0xc0) == 0x80)
        k++;
      bool good = csn_utf8_valid(csn_strn(rest.p, k)) == k;
      bool control = c == 0xc2 && (unsigned char)rest.p[1] < 0xa0; /* C1 */
      if (good && !control) {
        memcpy(to + n, rest.p, k);
        n += k;
      }
    } else if (c > 0x20 && c != 0x7f) {
      to[n++] = (char)c;
    } else if (n && to[n - 1] != ' ' && c != 0x7f) {
      to[n++] = ' ';
    }
    i += k;
  }
  return csn_str_trim(csn_strn(to, n));
}

struct complaint {
  csn_str message, code;
  int64_t status; /* an HTTP status that was repeated as a number in "code", or 0 */
};

/* Providers write {"error":{"message","code","type"}}, {"error":"text"},
 * {"message":"text"}, {"detail":"text"}, {"errors":[...]}, or a list of these. */
static struct complaint
complaint_of(const csn_json *v)
{
  struct complaint c = {CSN_STR(""), CSN_STR(""), 0};
  for (int depth = 0; v && depth < 4; depth++) {
    if (v->kind == CSN_JSON_STRING) {
      c.message = v->text;
      return c;
    }
    const csn_json *inner = v->kind == CSN_JSON_ARRAY ? v->child : csn_json_get(v, "error");
    if (!inner || inner->kind == CSN_JSON_NULL)
      inner = csn_json_get(v, "errors");
    if (!inner) {
      const csn_json *m = csn_json_get(v, "message");
      c.message =
          csn_json_is(m, CSN_JSON_STRING) ? m->text : csn_json_str(v, "detail", CSN_STR(""));
      c.code = csn_json_str(v, "code", CSN_STR(""));
      c.status = csn_json_int(v, "code", 0);
      if (!c.code.n)
        c.code = csn_json_str(v, "type", CSN_STR(""));
      if (csn_str_eq(c.code, CSN_STR("error")))
        c.code = CSN_STR("");
      return c;
    }
    v = inner;
  }
  return c;
}

/* Words with which providers say that the same request may succeed later. */
static bool
is_passing(csn_str code)
{
  static const char *const codes[] = {"server_error",
                                      "rate_limit_exceeded",
                                      "server_is_overloaded",
                                      "overloaded_error",
                                      "overloaded",
                                      "timeout",
                                      "internal_error",
                                      "internal_server_error",
                                      "api_error",
                                      "service_unavailable",
                                      "slow_down",
                                      "rate_limit_error",
                                      "throttlingException",
                                      "internalServerException",
                                      "modelStreamErrorException",
                                      "modelTimeoutException",
                                      "serviceUnavailableException"};
  for (size_t i = 0; i < CSN_COUNT(codes); i++)
    if (csn_str_eq(code, csn_cstr(codes[i])))
      return true;
  return false;
}

/* How providers say that a request is longer than the model takes. */
static bool
is_too_long(const struct complaint *c)
{
  static const char *const codes[] = {"context_length_exceeded", "exceed_context_size_error",
                                      "request_too_large"};
  static const char *const texts[] = {"context length",
                                      "context window",
                                      "context limit",
                                      "context size",
                                      "prompt is too long",
                                      "input is too long",
                                      "maximum number of tokens allowed"};
  for (size_t i = 0; i < CSN_COUNT(codes); i++)
    if (csn_str_eq(c->code, csn_cstr(codes[i])))
      return true;
  for (size_t i = 0; i < CSN_COUNT(texts); i++)
    if (csn_str_find(c->message, csn_cstr(texts[i]), 0) != SIZE_MAX)
      return true;
  return false;
}

static bool
is_passing_status(int64_t status)
{
  return status == 408 || status == 409 || status == 429 || (status >= 500 && status < 600);
}

static enum csn_code
code_of_status(const csn_reply_head *h, csn_str code)
{
  if (csn_str_eq(h->should_retry, CSN_STR("true")))
    return CSN_E_UNAVAILABLE;
  if (csn_str_eq(h->should_retry, CSN_STR("false")) ||
      csn_str_eq(code, CSN_STR("insufficient_quota")))
    return CSN_E_MODEL;
  return is_passing_status(h->status) ? CSN_E_UNAVAILABLE : CSN_E_MODEL;
}

/* "what (code): message (request id)", with the parts that exist. */
static int
complain(csn_reply *r, enum csn_code code, const char *what, struct complaint c, csn_err *err)
{
  csn_str text = printable(r->scratch, c.message), word = printable(r->scratch, c.code);
  csn_str id = printable(r->scratch, r->head.request_id);
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(sizeof err->msg);
  csn_buf_addz(&b, what);
  if (word.n)
    csn_buf_addf(&b, " (%.*s)", (int)(word.n < 80 ? word.n : 80), word.p);
  if (text.n)
    csn_buf_addf(&b, ": %.*s", (int)text.n, text.p);
  if (id.n)
    csn_buf_addf(&b, " (request %.*s)", (int)(id.n < 80 ? id.n : 80), id.p);
  if (code == CSN_E_MODEL && is_too_long(&c))
    code = CSN_E_TOO_LONG;
  csn_fail(err, code, "%s", b.p ? b.p : what);
  if (err)
    err->retry_after_ms = csn_retry_after_ms(&r->head);
  return code;
}

static int
fail_http(csn_reply *r, csn_err *err)
{
  int status = r->head.status;
  csn_arena_clear(r->scratch);
  const csn_json *v;
  struct complaint c = {csn_buf_str(&r->body), CSN_STR(""), 0};
  if (csn_json_parse(r->scratch, c.message, &v, NULL) == 0) {
    struct complaint inner = complaint_of(v);
    if (inner.message.n || inner.code.n)
      c = inner;
  }
  if (status >= 300 && status < 400)
    c.message = CSN_STR("the address of the provider answers with a redirect; check base_url");
  else if (csn_str_starts(csn_str_trim(c.message), CSN_STR("<")))
    c.message = CSN_STR("the answer is a web page; check base_url");
  char what[24];
  snprintf(what, sizeof what, "HTTP %d", status);
  int rc = complain(r, code_of_status(&r->head, c.code), what, c, err);
  if (err)
    err->http_status = status;
  return rc;
}

int
csn_reply_end(csn_reply *r, csn_err *err)
{
  if (r->fault < 0)
    return csn_reply_feed(r, CSN_STR(""), err);
  if (r->form == CSN_FORM_ERROR)
    return fail_http(r, err);
  if (r->form != CSN_FORM_JSON)
    return 0;
  csn_arena_clear(r->scratch);
  const csn_json *v;
  int rc = csn_json_parse(r->scratch, csn_buf_str(&r->body), &v, err);
  if (rc == CSN_E_PARSE)
    return csn_fail(err, CSN_E_UNAVAILABLE, "the model's reply is no whole JSON (%zu bytes)",
                    r->body.n);
  return rc < 0 ? rc : r->on_event(r, CSN_STR(""), v, err);
}

int
csn_reply_cut(csn_reply *r, csn_err *err)
{
  csn_str type = printable(r->scratch, r->head.content_type);
  if (r->form == CSN_FORM_EVENTS && csn_str_find(type, CSN_STR("event-stream"), 0) == SIZE_MAX)
    return csn_fail(err, CSN_E_UNAVAILABLE,
                    "the model's reply is neither JSON nor a whole event stream (content type "
                    "'%.*s'); check base_url",
                    (int)type.n, type.p);
  if (r->form == CSN_FORM_EVENTS)
    return csn_fail(err, CSN_E_UNAVAILABLE, "the model's stream ended before its last event");
  return csn_fail(err, CSN_E_UNAVAILABLE, "the model's reply is empty");
}

void
csn_reply_delta(csn_reply *r, enum csn_delta_kind kind, csn_str text)
{
  if (r->fn && text.n)
    r->fn(r->user, kind, text);
}

int
csn_reply_add(csn_reply *r, csn_str item, csn_err *err)
{
  csn_model_reply *out = &r->out;
  if (out->n_items == r->room) {
    size_t room = r->room ? r->room * 2 : 8;
    csn_str *grown = csn_arena_alloc(r->arena, room * sizeof *grown);
    if (!grown)
      return csn_fail(err, CSN_E_LIMIT, "the model's reply has too many items");
    if (out->n_items)
      memcpy(grown, out->items, out->n_items * sizeof *grown);
    out->items = grown;
    r->room = room;
  }
  csn_str copy = csn_arena_dup(r->arena, item);
  if (copy.n == 0)
    return csn_fail(err, CSN_E_LIMIT, "an item of the model's reply is too large");
  out->items[out->n_items++] = copy;
  return 0;
}

int
csn_reply_fail(csn_reply *r, const csn_json *error, const char *otherwise, csn_err *err)
{
  struct complaint c = complaint_of(error);
  if (!c.message.n)
    c.message = csn_cstr(otherwise);
  bool later = is_passing(c.code) || is_passing_status(c.status);
  return complain(r, later ? CSN_E_UNAVAILABLE : CSN_E_MODEL, "the model failed", c, err);
}
