/* SPDX-License-Identifier: Apache-2.0
 * http_tool.c - see http_tool.h. */
#include "run/http_tool.h"

#include "core/hash.h"
#include "run/command_tool.h"
#include "run/driver.h"
#include "run/redact.h"
#include "run/trust.h"
#include "wire/http_wait.h"

enum {
  BODY_MAX_BYTES = 4 << 20, /* of what comes back; the rest is left out */
  ARGS_MAX_BYTES = 16 << 20,
  REDIRECTS_MAX = 5,
  IDLE_MS = 60000,
  HEADERS_MAX = 12
};

/* ---- the address ---- */

/* An argument as text: what is no text is its JSON. */
static csn_str
text_of(const csn_json *v)
{
  static const csn_str words[] = {CSN_STR_INIT("false"), CSN_STR_INIT("true")};
  return v->kind == CSN_JSON_BOOL     ? words[v->truth]
         : v->text.n                  ? v->text
         : v->kind == CSN_JSON_STRING ? CSN_STR("")
                                      : v->raw;
}

static bool
is_in_url(const struct csn_http_tool *t, csn_str name)
{
  csn_auto(csn_buf_finip) csn_buf mark = CSN_BUF(1 << 20);
  csn_buf_addc(&mark, '{');
  csn_buf_add(&mark, name);
  csn_buf_addc(&mark, '}');
  return csn_str_find(t->url, csn_buf_str(&mark), 0) != SIZE_MAX;
}

static bool
sends_body(const struct csn_http_tool *t)
{
  return strcmp(t->method, "GET") != 0 && strcmp(t->method, "DELETE") != 0 &&
         strcmp(t->method, "HEAD") != 0;
}

int
csn_http_tool_url(const struct csn_http_tool *t, const csn_json *args, csn_buf *url, csn_buf *rest,
                  csn_err *err)
{
  for (size_t i = 0; i < t->url.n; i++) {
    size_t end = t->url.p[i] == '{' ? csn_str_find(t->url, CSN_STR("}"), i) : SIZE_MAX;
    if (end == SIZE_MAX) {
      csn_buf_addc(url, t->url.p[i]);
      continue;
    }
    csn_auto(csn_freep) char *name = csn_dupz(csn_strn(t->url.p + i + 1, end - i - 1));
    const csn_json *v = csn_json_get(args, name);
    csn_str text = v ? text_of(v) : CSN_STR("");
    if (!text.n || csn_str_eq(text, CSN_STR(".")) || csn_str_eq(text, CSN_STR("..")))
      return csn_fail(err, CSN_E_INVALID, "the argument %s is missing, or no part of an address",
                      name);
    csn_url_add(url, text);
    i = end;
  }
  csn_jw w;
  csn_jw_init(&w, rest);
  csn_jw_obj(&w);
  char mark = csn_str_find(csn_buf_str(url), CSN_STR("?"), 0) == SIZE_MAX ? '?' : '&';
  csn_json_each (m, args) {
    if (is_in_url(t, m->key))
      continue;
    if (sends_body(t)) {
      csn_jw_keyn(&w, m->key);
      csn_jw_value(&w, m);
    } else if (m->kind != CSN_JSON_NULL) {
      csn_buf_addc(url, mark);
      csn_url_add(url, m->key);
      csn_buf_addc(url, '=');
      csn_url_add(url, text_of(m));
      mark = '&';
    }
  }
  csn_jw_end(&w);
  int rc = csn_jw_done(&w, err);
  return rc < 0 ? rc : csn_buf_done(url, "the address", err);
}

/* ---- one request ---- */

struct exchange {
  csn_http *http;
  csn_http_reply reply;
  bool is_cut;
  csn_buf body;
};

static int
on_body(void *user, csn_str bytes)
{
  struct exchange *x = user;
  size_t room = BODY_MAX_BYTES - x->body.n;
  x->is_cut = bytes.n > room;
  csn_buf_add(&x->body, x->is_cut ? csn_strn(bytes.p, room) : bytes);
  return x->is_cut ? CSN_E_LIMIT : 0;
}

static void
exchange_init(struct exchange *x)
{
  *x = (struct exchange){.body = CSN_BUF(BODY_MAX_BYTES)};
  csn_http_reply_init(&x->reply, on_body, x);
}

static void
exchange_fini(struct exchange *x)
{
  csn_buf_fini(&x->body);
  csn_http_reply_fini(&x->reply);
}

/* Sends it and waits for the end of the reply, or of what of it is wanted. */
static int
perform(struct exchange *x, const csn_http_req *req, csn_scope *sc, csn_err *err)
{
  x->is_cut = false;
  csn_buf_clear(&x->body);
  int rc = csn_http_wait(x->http, req, sc, &x->reply, err);
  return rc == CSN_E_LIMIT && x->is_cut ? 0 : rc;
}

/* ---- the tool ---- */

struct request {
  const struct csn_http_tool *tool;
  csn_arena *arena;
  csn_redact *redact;
  csn_buf url, body;
  csn_header headers[HEADERS_MAX], secrets[HEADERS_MAX];
  size_t n_headers, n_secrets;
};

static int
read_headers(struct request *q, csn_err *err)
{
  csn_json_each (m, q->tool->headers)
    if (q->n_headers < HEADERS_MAX / 2)
      q->headers[q->n_headers++] = (csn_header){m->key, m->text};
  csn_json_each (m, q->tool->env) {
    csn_auto(csn_freep) char *name = csn_dupz(m->text);
    csn_str value = csn_arena_dup(q->arena, csn_cstr(getenv(name)));
    if (!value.n)
      return csn_fail(err, CSN_E_INVALID, "the variable %s is not set", name);
    csn_redact_add(q->redact, m->text, value);
    if (q->n_secrets < HEADERS_MAX / 2)
      q->secrets[q->n_secrets++] = (csn_header){m->key, value};
  }
  return 0;
}

/* Follows redirects; secrets go to the first host only. */
static int
exchange_all(struct request *q, struct exchange *x, csn_scope *sc, csn_err *err)
{
  csn_str first = csn_arena_dup(q->arena, csn_buf_str(&q->url)), url = first;
  const char *method = q->tool->method;
  for (int hop = 0; hop <= REDIRECTS_MAX; hop++) {
    csn_http_req req = {.method = method,
                        .url = url,
                        .body = hop == 0 || x->reply.status >= 307 ? csn_buf_str(&q->body)
                                                                   : CSN_STR(""),
                        .idle_ms = IDLE_MS,
                        .is_guarded = true,
                        .allowed = q->tool->allow};
    bool is_same = csn_str_eq(csn_url_origin(url), csn_url_origin(first));
    for (size_t i = 0; i < q->n_headers; i++)
      req.headers[req.n_headers++] = q->headers[i];
    for (size_t i = 0; i < q->n_secrets && is_same; i++)
      req.headers[req.n_headers++] = q->secrets[i];
    if (req.body.n)
      req.headers[req.n_headers++] =
          (csn_header){CSN_STR("Content-Type"), CSN_STR("application/json")};
    int rc = perform(x, &req, sc, err);
    if (rc < 0 || !csn_http_reply_leads_on(&x->reply))
      return rc;
    csn_auto(csn_buf_finip) csn_buf next = CSN_BUF(CSN_URL_MAX);
    rc = csn_url_next(url, csn_buf_str(&x->reply.location), &next, err);
    if (rc < 0)
      return rc;
    if (csn_str_starts(url, CSN_STR("https:")) &&
        !csn_str_starts(csn_buf_str(&next), CSN_STR("https:")))
      return csn_fail(err, CSN_E_DENIED, "a redirect from https to http is not followed");
    if (x->reply.status < 307 && sends_body(q->tool))
      method = "GET";
    url = csn_arena_dup(q->arena, csn_buf_str(&next));
  }
  return csn_fail(err, CSN_E_LIMIT, "more than %d redirects", REDIRECTS_MAX);
}

static bool
has_type(const struct exchange *x, const char *word)
{
  return csn_str_find(csn_buf_str(&x->reply.type), csn_cstr(word), 0) != SIZE_MAX;
}

static void
tell_picture(csn_call *c, const struct exchange *x)
{
  csn_auto(csn_buf_finip) csn_buf b = CSN_BUF(3u * BODY_MAX_BYTES);
  csn_str type = csn_buf_str(&x->reply.type);
  size_t end = csn_str_find(type, CSN_STR(";"), 0);
  csn_buf_addz(&b, "[{\"type\":\"input_image\",\"image_url\":\"data:");
  csn_buf_add(&b, end == SIZE_MAX ? type : csn_strn(type.p, end));
  csn_buf_addz(&b, ";base64,");
  csn_base64_add(&b, csn_buf_str(&x->body));
  csn_buf_addz(&b, "\"}]");
  csn_call_set_content(c, csn_buf_str(&b));
}

/* Without the values that were sent. */
static void
tell_text(csn_call *c, const struct request *q, const struct exchange *x)
{
  csn_auto(csn_buf_finip) csn_buf json = CSN_BUF(8u * BODY_MAX_BYTES);
  const csn_json *v;
  csn_json_quote(&json, csn_buf_str(&x->body));
  csn_redact_json(q->redact, &json);
  if (x->reply.status >= 400)
    csn_buf_addf(csn_call_out(c), "The call failed: HTTP %d\n", x->reply.status);
  if (csn_json_parse(q->arena, csn_buf_str(&json), &v, NULL) == 0)
    csn_tool_add_text(c, v->text);
  if (x->is_cut)
    csn_buf_addf(csn_call_out(c), "\n[cut after %d bytes]", BODY_MAX_BYTES);
}

static void
tell(csn_call *c, const struct request *q, const struct exchange *x)
{
  bool is_text = !x->reply.type.n || has_type(x, "text/") || has_type(x, "json") ||
                 has_type(x, "xml") || has_type(x, "urlencoded") || x->reply.status >= 400;
  bool is_picture = has_type(x, "image/png") || has_type(x, "image/jpeg") ||
                    has_type(x, "image/gif") || has_type(x, "image/webp");
  if (is_picture && !x->is_cut && x->reply.status < 400)
    tell_picture(c, x);
  else if (is_text)
    tell_text(c, q, x);
  else
    csn_buf_addf(csn_call_out(c), "[%zu bytes of type %.*s]", x->body.n,
                 (int)(x->reply.type.n < 100 ? x->reply.type.n : 100), x->reply.type.p);
}

int
csn_http_tool_call(csn_call *c, void *user, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *arena = csn_arena_new(64u << 20);
  struct request q = {.tool = user,
                      .arena = arena,
                      .redact = csn_redact_new(),
                      .url = CSN_BUF(CSN_URL_MAX),
                      .body = CSN_BUF(ARGS_MAX_BYTES)};
  struct exchange x;
  exchange_init(&x);
  int rc = csn_http_tool_url(q.tool, csn_call_args(c), &q.url, &q.body, err);
  if (rc == 0 && !sends_body(q.tool))
    csn_buf_clear(&q.body);
  if (rc == 0)
    rc = read_headers(&q, err);
  if (rc == 0)
    rc = csn_rt_need_http(csn_call_run(c)->rt, &x.http, err);
  if (rc == 0)
    rc = exchange_all(&q, &x, csn_call_scope(c), err);
  if (rc == 0)
    tell(c, &q, &x);
  exchange_fini(&x);
  csn_redact_free(q.redact);
  csn_buf_fini(&q.url);
  csn_buf_fini(&q.body);
  return rc;
}
