/* SPDX-License-Identifier: Apache-2.0
 * route.c - from a model's name to a server, and what its requests need. */
#include <ctype.h>
#include <strings.h>

#include "model/reply.h"
#include "run/project.h"
#include "run/provider.h"
#include "run/trust.h"
#include "wire/http.h"

/* Providers that need no caisson.yaml, by the prefix of the model's name.  The
 * first variable that is set counts.  Those of one `group` share their limits. */
static const struct service {
  const char *prefix, *group;
  const char *url_env, *key_env[3];
  const char *base_url; /* NULL: the variable must be set */
  const char *below;    /* after what the variable says */
  const char *key_header;
} services[] = {
    {"openai",
     "openai",
     "OPENAI_BASE_URL",
     {"OPENAI_API_KEY"},
     "https://api.openai.com/v1",
     "",
     NULL},
    {"responses",
     "openai",
     "OPENAI_BASE_URL",
     {"OPENAI_API_KEY"},
     "https://api.openai.com/v1",
     "",
     NULL},
    {"chat",
     "openai",
     "OPENAI_BASE_URL",
     {"OPENAI_API_KEY"},
     "https://api.openai.com/v1",
     "",
     NULL},
    {"anthropic",
     "anthropic",
     "ANTHROPIC_BASE_URL",
     {"ANTHROPIC_API_KEY"},
     "https://api.anthropic.com",
     "",
     NULL},
    {"gemini",
     "gemini",
     "GEMINI_BASE_URL",
     {"GEMINI_API_KEY", "GOOGLE_API_KEY"},
     "https://generativelanguage.googleapis.com/v1beta",
     "",
     NULL},
    {"azure",
     "azure",
     "AZURE_OPENAI_ENDPOINT",
     {"AZURE_OPENAI_API_KEY"},
     NULL,
     "/openai/v1",
     "api-key"},
};

static const struct service *
find_service(csn_str prefix)
{
  for (size_t i = 0; i < CSN_COUNT(services); i++)
    if (csn_str_eq(prefix, csn_cstr(services[i].prefix)))
      return &services[i];
  return NULL;
}

bool
csn_service_is_known(csn_str name)
{
  for (size_t i = 0; i < CSN_COUNT(services); i++)
    if (csn_str_eq(name, csn_cstr(services[i].group)))
      return true;
  return csn_str_eq(name, CSN_STR("bedrock"));
}

static const char *
env_or_null(const char *name)
{
  const char *v = getenv(name);
  return v && *v ? v : NULL;
}

static csn_str
without_slash(csn_str url)
{
  while (url.n && url.p[url.n - 1] == '/')
    url.n--;
  return url;
}

/* What an entry says whether it has an address or not. */
static void
read_common(struct csn_route *r, const csn_json *v)
{
  const csn_json *limits = csn_json_get(v, "limits");
  r->timeout_ms = csn_json_int(v, "timeout", 0) * 1000;
  r->by_socket = csn_str_eq(csn_json_str(v, "transport", CSN_STR("")), CSN_STR("websocket")) &&
                 r->ops->is_done;
  r->limits = (csn_gate_limits){.requests = csn_json_int(limits, "requests", 0),
                                .tokens = csn_json_int(limits, "tokens", 0),
                                .concurrency = csn_json_int(limits, "concurrency", 0)};
}

static int
route_to_service(struct csn_route *r, const struct service *s, const csn_json *providers,
                 csn_err *err)
{
  const char *url = env_or_null(s->url_env), *key = NULL;
  for (size_t i = 0; s->key_env[i] && !key; i++)
    key = env_or_null(s->key_env[i]);
  if (!url && !s->base_url)
    return csn_fail(err, CSN_E_INVALID, "no address of the model: set %s and %s", s->url_env,
                    s->key_env[0]);
  if (!key && !url)
    return csn_fail(err, CSN_E_INVALID,
                    "no key for the model: set %s (or %s for a server that needs none)",
                    s->key_env[0], s->url_env);
  csn_str base = without_slash(csn_cstr(url ? url : s->base_url));
  if (csn_str_ends(base, csn_cstr(s->below)))
    base.n -= strlen(s->below);
  r->provider = csn_cstr(s->group);
  r->key_header = csn_cstr(s->key_header ? s->key_header : r->ops->key_header);
  r->endpoint = (csn_endpoint){
      .base_url = csn_arena_printf(r->arena, "%.*s%s", (int)base.n, base.p, s->below),
      .api_key = csn_arena_dup(r->arena, csn_cstr(key)),
      .custom_tools = r->ops == csn_model_find(CSN_STR("responses")),
  };
  r->compacts = r->endpoint.custom_tools && !url;
  csn_json_each (v, providers)
    if (csn_str_eq(v->key, r->provider) && !csn_json_get(v, "base_url"))
      read_common(r, v);
  return 0;
}

/* ---- Amazon Bedrock ---- */

static const char *
first_set(const char *const *names)
{
  for (; *names; names++)
    if (env_or_null(*names))
      return getenv(*names);
  return NULL;
}

/* A variable that aws of an entry names, or the one that everybody uses. */
static csn_str
aws_variable(struct csn_route *r, const csn_json *aws, const char *key, const char *usual)
{
  csn_auto(csn_freep) char *name = csn_dupz(csn_json_str(aws, key, csn_cstr(usual)));
  return csn_arena_dup(r->arena, csn_cstr(env_or_null(name)));
}

/* The region becomes a part of a host's name. */
static bool
is_region(csn_str s)
{
  for (size_t i = 0; i < s.n; i++)
    if (!isalnum((unsigned char)s.p[i]) && s.p[i] != '-')
      return false;
  return s.n > 0 && s.n < 64;
}

/* Where requests go, and with which token; v: an entry, or NULL for what the
 * environment says. */
static int
find_bedrock(struct csn_route *r, const csn_json *v, csn_err *err)
{
  static const char *const region_env[] = {"AWS_REGION", "AWS_DEFAULT_REGION", NULL};
  const csn_json *aws = csn_json_get(v, "aws");
  csn_str region = csn_json_str(aws, "region", csn_cstr(v ? NULL : first_set(region_env)));
  csn_str url = v ? csn_json_str(v, "base_url", CSN_STR(""))
                  : csn_cstr(env_or_null("AWS_ENDPOINT_URL_BEDROCK_RUNTIME"));
  csn_auto(csn_freep) char *name =
      csn_dupz(csn_json_str(v, "key_env", CSN_STR("AWS_BEARER_TOKEN_BEDROCK")));
  bool has_token = !v || csn_json_get(v, "key_env");
  if (!is_region(region))
    return csn_fail(err, CSN_E_INVALID, "no region for Bedrock: set AWS_REGION");
  r->region = csn_arena_dup(r->arena, region);
  r->endpoint.base_url =
      url.n ? csn_arena_dup(r->arena, without_slash(url))
            : csn_arena_printf(r->arena, "https://bedrock-runtime.%.*s.amazonaws.com",
                               (int)region.n, region.p);
  r->endpoint.api_key = csn_arena_dup(r->arena, csn_cstr(has_token ? env_or_null(name) : NULL));
  return 0;
}

static int
route_to_bedrock(struct csn_route *r, const csn_json *v, const csn_json *providers, csn_err *err)
{
  const csn_json *aws = csn_json_get(v, "aws");
  int rc = find_bedrock(r, v, err);
  if (rc < 0)
    return rc;
  r->ops = csn_model_find(CSN_STR("bedrock"));
  r->provider = v ? csn_arena_dup(r->arena, v->key) : CSN_STR("bedrock");
  if (v)
    read_common(r, v);
  csn_json_each (e, v ? NULL : providers)
    if (csn_str_eq(e->key, r->provider) && !csn_json_get(e, "aws"))
      read_common(r, e);
  if (r->endpoint.api_key.n)
    return 0;
  r->aws = (csn_aws_keys){aws_variable(r, aws, "id_env", "AWS_ACCESS_KEY_ID"),
                          aws_variable(r, aws, "secret_env", "AWS_SECRET_ACCESS_KEY"),
                          aws_variable(r, aws, "token_env", "AWS_SESSION_TOKEN")};
  if (!r->aws.id.n || !r->aws.secret.n)
    return csn_fail(err, CSN_E_INVALID,
                    "no key for Bedrock: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and "
                    "AWS_SESSION_TOKEN), or AWS_BEARER_TOKEN_BEDROCK");
  return 0;
}

/* ---- of caisson.yaml ---- */

static int
route_to_provider(struct csn_route *r, const struct csn_project *p, const csn_json *v, csn_err *err)
{
  if (!csn_project_may_use(p, v)) {
    csn_str url = csn_url_host(csn_json_str(v, "base_url", CSN_STR("")));
    return csn_fail(err, CSN_E_INVALID,
                    "%s:%u: requests would go to %.*s, and nobody has said that this file may do "
                    "that; if it may: caisson trust",
                    csn_project_file(p), v->line, (int)(url.n < 100 ? url.n : 100), url.p);
  }
  csn_str api = csn_json_str(v, "api", CSN_STR("chat"));
  csn_str key_env = csn_json_str(v, "key_env", CSN_STR(""));
  if (csn_str_eq(api, CSN_STR("bedrock")))
    return route_to_bedrock(r, v, NULL, err);
  r->ops = csn_model_find(api);
  csn_auto(csn_freep) char *name = csn_dupz(key_env);
  const char *key = key_env.n ? env_or_null(name) : NULL;
  if (key_env.n && !key)
    return csn_fail(err, CSN_E_INVALID, "no key for the model: set %s", name);
  read_common(r, v);
  r->compacts = csn_str_eq(api, CSN_STR("responses")) && csn_json_bool(v, "compaction", false);
  r->provider = csn_arena_dup(r->arena, v->key);
  r->key_header =
      csn_arena_dup(r->arena, csn_json_str(v, "key_header", csn_cstr(r->ops->key_header)));
  r->api_version = csn_arena_dup(r->arena, csn_json_str(v, "api_version", CSN_STR("")));
  r->has_deployments = csn_json_bool(v, "deployments", false);
  r->endpoint = (csn_endpoint){
      .base_url = csn_arena_dup(r->arena, without_slash(csn_json_str(v, "base_url", CSN_STR("")))),
      .api_key = csn_arena_dup(r->arena, csn_cstr(key)),
      .custom_tools = csn_json_bool(v, "custom_tools", csn_str_eq(api, CSN_STR("responses"))),
      .no_null_content = !csn_json_bool(v, "null_content", true),
  };
  return 0;
}

static int
unknown_prefix(const struct csn_project *p, csn_str name, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf list = CSN_BUF(2000);
  csn_json_each (v, csn_project_providers(p))
    csn_buf_addf(&list, ", %.*s", (int)v->key.n, v->key.p);
  return csn_fail(err, CSN_E_INVALID,
                  "model '%.*s': no such provider; write PREFIX/NAME with one of: openai, chat, "
                  "anthropic, gemini, azure, bedrock, script, replay%s",
                  (int)name.n, name.p, list.n ? list.p : "");
}

csn_str
csn_model_prefix(csn_str name)
{
  size_t cut = 0;
  while (cut < name.n && name.p[cut] != '/' && name.p[cut] != ':')
    cut++;
  return csn_strn(name.p, cut);
}

int
csn_route_find(const struct csn_project *p, csn_str name, struct csn_route *out, csn_err *err)
{
  csn_str prefix = csn_model_prefix(name);
  size_t cut = prefix.n;
  *out = (struct csn_route){.arena = csn_arena_new(1 << 20)};
  if (cut + 1 >= name.n)
    return unknown_prefix(p, name, err);
  out->model = csn_arena_dup(out->arena, csn_strn(name.p + cut + 1, name.n - cut - 1));
  csn_json_each (v, csn_project_providers(p)) {
    bool has_place = csn_json_get(v, "base_url") || csn_json_get(v, "aws");
    if (csn_str_eq(v->key, prefix) && has_place)
      return route_to_provider(out, p, v, err);
  }
  out->ops = csn_model_find(prefix);
  if (!out->ops)
    return unknown_prefix(p, name, err);
  if (out->ops->answer)
    return 0;
  if (csn_str_eq(prefix, CSN_STR("bedrock")))
    return route_to_bedrock(out, NULL, csn_project_providers(p), err);
  return route_to_service(out, find_service(prefix), csn_project_providers(p), err);
}

void
csn_route_fini(struct csn_route *r)
{
  csn_arena_free(r->arena);
  *r = (struct csn_route){0};
}

/* Whole or cut off at the end of the text. */
static void
hide(csn_err *err, csn_str key)
{
  enum { LEAST = 8 };
  static const char mark[] = "[key]";
  size_t n = strlen(err->msg);
  for (size_t at = 0; key.n >= LEAST && at + LEAST <= n; at++) {
    size_t len = n - at < key.n ? n - at : key.n;
    if (memcmp(err->msg + at, key.p, len) != 0)
      continue;
    memcpy(err->msg + at, mark, sizeof mark - 1);
    memmove(err->msg + at + sizeof mark - 1, err->msg + at + len, n - at - len + 1);
    n = strlen(err->msg);
  }
}

void
csn_route_hide_key(const struct csn_route *r, csn_err *err)
{
  hide(err, r->endpoint.api_key);
  hide(err, r->aws.secret);
  hide(err, r->aws.token);
}

/* ---- a request ---- */

static void
add_param(csn_buf *url, csn_str name, csn_str value)
{
  bool has_query = csn_str_find(csn_buf_str(url), CSN_STR("?"), 0) != SIZE_MAX;
  csn_buf_addc(url, has_query ? '&' : '?');
  csn_url_add(url, name);
  csn_buf_addc(url, '=');
  csn_url_add(url, value);
}

int
csn_route_url(const struct csn_route *r, const csn_json *settings, csn_str path, csn_buf *url,
              csn_err *err)
{
  /* Of the two APIs with deployments only this one has them in its path. */
  bool is_below = r->has_deployments && csn_str_eq(path, CSN_STR("/chat/completions"));
  csn_buf_add(url, r->endpoint.base_url);
  if (is_below) {
    csn_buf_addz(url, "/deployments/");
    csn_url_add(url, r->model);
  }
  csn_buf_add(url, path);
  if (r->api_version.n)
    add_param(url, CSN_STR("api-version"), r->api_version);
  csn_json_each (m, csn_json_get(settings, "extra_query"))
    add_param(url, m->key, m->kind == CSN_JSON_STRING ? m->text : m->raw);
  return csn_buf_done(url, "the address of the model", err);
}

static void
add_header(csn_http_req *req, csn_str name, csn_str value)
{
  for (size_t i = 0; i < req->n_headers; i++) {
    csn_header *h = &req->headers[i];
    if (h->name.n == name.n && strncasecmp(h->name.p, name.p, name.n) == 0) {
      h->value = value;
      return;
    }
  }
  if (req->n_headers < CSN_COUNT(req->headers))
    req->headers[req->n_headers++] = (csn_header){name, value};
}

void
csn_route_headers(const struct csn_route *r, csn_arena *a, const csn_model_request *rq,
                  csn_http_req *req)
{
  add_header(req, CSN_STR("Content-Type"), CSN_STR("application/json"));
  add_header(req, CSN_STR("User-Agent"), CSN_STR("caisson/" CSN_VERSION));
  add_header(req, CSN_STR("Accept"),
             rq->stream ? CSN_STR("text/event-stream") : CSN_STR("application/json"));
  for (const char *const *h = r->ops->headers; h && *h; h += 2)
    add_header(req, csn_cstr(h[0]), csn_cstr(h[1]));
  csn_json_each (m, csn_json_get(rq->settings, "extra_headers"))
    add_header(req, m->key, m->text);
  csn_str key = r->endpoint.api_key;
  if (key.n && r->key_header.n)
    add_header(req, r->key_header, key);
  else if (key.n)
    add_header(req, CSN_STR("Authorization"),
               csn_arena_printf(a, "Bearer %.*s", (int)key.n, key.p));
}

int
csn_route_sign(const struct csn_route *r, csn_arena *a, int64_t now_s, csn_http_req *req,
               csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf out = CSN_BUF(16 << 10);
  csn_header signed_ones[4];
  char date[CSN_AWS_DATE];
  size_t n = 0;
  if (!r->aws.id.n)
    return 0;
  csn_aws_date(now_s, date);
  csn_str when = csn_arena_dup(a, csn_cstr(date)), host = csn_url_host(req->url);
  size_t at = (size_t)(host.p + host.n - req->url.p);
  signed_ones[n++] = (csn_header){CSN_STR("Host"), host};
  signed_ones[n++] = (csn_header){CSN_STR("X-Amz-Date"), when};
  if (r->aws.token.n)
    signed_ones[n++] = (csn_header){CSN_STR("X-Amz-Security-Token"), r->aws.token};
  csn_sigv4 rq = {.method = csn_cstr(req->method),
                  .path = csn_strn(req->url.p + at, req->url.n - at), /* has no query */
                  .region = r->region,
                  .service = CSN_STR("bedrock"),
                  .headers = signed_ones,
                  .n_headers = n,
                  .payload = csn_sha256_of(req->body),
                  .date = when};
  int rc = csn_sigv4_sign(&rq, &r->aws, &out, err);
  for (size_t i = 1; i < n; i++)
    add_header(req, signed_ones[i].name, signed_ones[i].value);
  add_header(req, CSN_STR("Authorization"), csn_arena_dup(a, csn_buf_str(&out)));
  return rc;
}

csn_decoder *
csn_route_decoder(const struct csn_route *r, csn_arena *a, int status, const csn_header *headers,
                  size_t n, const csn_model_request *rq, csn_delta_fn *fn, void *user)
{
  csn_reply_head head;
  csn_reply_head_read(&head, status, headers, n);
  return r->ops->decoder(a, &head, rq, fn, user);
}
