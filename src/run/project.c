/* SPDX-License-Identifier: Apache-2.0
 * project.c - see project.h. */
#include "run/project.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/yaml.h"
#include "core/fd.h"
#include "model/reply.h"
#include "run/prices.h"
#include "run/statedir.h"
#include "run/trust.h"

/* Providers that need no caisson.yaml, by the prefix of the model's name.  The
 * first variable that is set counts. */
static const struct service {
  const char *prefix;
  const char *url_env, *key_env[3];
  const char *base_url;
} services[] = {
    {"openai", "OPENAI_BASE_URL", {"OPENAI_API_KEY"}, "https://api.openai.com/v1"},
    {"responses", "OPENAI_BASE_URL", {"OPENAI_API_KEY"}, "https://api.openai.com/v1"},
    {"chat", "OPENAI_BASE_URL", {"OPENAI_API_KEY"}, "https://api.openai.com/v1"},
    {"anthropic", "ANTHROPIC_BASE_URL", {"ANTHROPIC_API_KEY"}, "https://api.anthropic.com"},
    {"gemini",
     "GEMINI_BASE_URL",
     {"GEMINI_API_KEY", "GOOGLE_API_KEY"},
     "https://generativelanguage.googleapis.com/v1beta"},
};

static const char *const apis[] = {"chat", "responses", "anthropic", "gemini"};

enum { TIMEOUT_MAX_S = 86400 };

struct csn_project {
  csn_arena *arena;
  char *file; /* path of caisson.yaml, or NULL */
  const csn_json *root;
  csn_buf text;
  struct stat st;
  bool is_trusted; /* to send requests to other machines; see trust.h */
};

static int
check_keys(const struct csn_project *p, const csn_json *v, const char *const *keys,
           const char *where, csn_err *err)
{
  if (!csn_json_is(v, CSN_JSON_OBJECT))
    return csn_fail(err, CSN_E_INVALID, "%s:%u: %s: expected an object", p->file, v ? v->line : 0,
                    where);
  csn_json_each (m, v) {
    bool known = false;
    for (const char *const *k = keys; *k; k++)
      known = known || csn_str_eq(m->key, csn_cstr(*k));
    if (!known)
      return csn_fail(err, CSN_E_INVALID, "%s:%u: unknown key %s%.*s; see `caisson schema`",
                      p->file, m->line, where, (int)m->key.n, m->key.p);
  }
  return 0;
}

static int
check_kind(const struct csn_project *p, const csn_json *v, const char *key, enum csn_json_kind kind,
           csn_err *err)
{
  const csn_json *m = csn_json_get(v, key);
  if (!m || m->kind == kind)
    return 0;
  return csn_fail(err, CSN_E_INVALID, "%s:%u: %s: expected %s, got %s", p->file, m->line, key,
                  csn_json_kind_name(kind), csn_json_kind_name((enum csn_json_kind)m->kind));
}

static int
check_provider(const struct csn_project *p, const csn_json *v, csn_err *err)
{
  static const char *const keys[] = {"api",          "base_url", "key_env", "custom_tools",
                                     "null_content", "timeout",  NULL};
  int rc = check_keys(p, v, keys, "providers.", err);
  for (size_t i = 0; i < 3 && rc == 0; i++)
    rc = check_kind(p, v, keys[i], CSN_JSON_STRING, err);
  if (rc == 0)
    rc = check_kind(p, v, "custom_tools", CSN_JSON_BOOL, err);
  if (rc == 0)
    rc = check_kind(p, v, "null_content", CSN_JSON_BOOL, err);
  if (rc < 0)
    return rc;
  const csn_json *timeout = csn_json_get(v, "timeout");
  int64_t seconds = 1;
  if (timeout && (!csn_json_to_int(timeout, &seconds) || seconds < 1 || seconds > TIMEOUT_MAX_S))
    return csn_fail(err, CSN_E_INVALID, "%s:%u: timeout: expected 1 to %d seconds", p->file,
                    timeout->line, TIMEOUT_MAX_S);
  csn_str api = csn_json_str(v, "api", CSN_STR("chat"));
  bool is_known = false;
  for (size_t i = 0; i < CSN_COUNT(apis); i++)
    is_known = is_known || csn_str_eq(api, csn_cstr(apis[i]));
  if (!is_known)
    return csn_fail(err, CSN_E_INVALID, "%s:%u: api: expected responses, chat, anthropic or gemini",
                    p->file, v->line);
  csn_str url = csn_json_str(v, "base_url", CSN_STR(""));
  if (!csn_str_starts(url, CSN_STR("http://")) && !csn_str_starts(url, CSN_STR("https://")))
    return csn_fail(err, CSN_E_INVALID, "%s:%u: base_url: expected http:// or https://", p->file,
                    v->line);
  return 0;
}

static int
check_prices(const struct csn_project *p, csn_err *err)
{
  const csn_json *prices = csn_json_get(p->root, "prices");
  csn_price price;
  if (prices && prices->kind != CSN_JSON_OBJECT)
    return csn_fail(err, CSN_E_INVALID, "%s:%u: prices: expected an object", p->file, prices->line);
  csn_json_each (v, prices) {
    int rc = v->kind == CSN_JSON_OBJECT ? csn_price_from_json(v, &price, err)
                                        : csn_fail(err, CSN_E_INVALID, "expected an object");
    if (rc < 0)
      return csn_wrap(err, rc, "%s:%u: prices.%.*s", p->file, v->line, (int)(v->key.n & 0xff),
                      v->key.p);
  }
  return 0;
}

static int
check(const struct csn_project *p, csn_err *err)
{
  static const char *const keys[] = {"model", "providers", "prices", NULL};
  int rc = check_keys(p, p->root, keys, "", err);
  if (rc == 0)
    rc = check_kind(p, p->root, "model", CSN_JSON_STRING, err);
  if (rc < 0)
    return rc;
  const csn_json *providers = csn_json_get(p->root, "providers");
  if (providers && providers->kind != CSN_JSON_OBJECT)
    return csn_fail(err, CSN_E_INVALID, "%s:%u: providers: expected an object", p->file,
                    providers->line);
  csn_json_each (v, providers) {
    rc = check_provider(p, v, err);
    if (rc < 0)
      return rc;
  }
  return check_prices(p, err);
}

/* It says which server gets which key, and anybody can make a
 * /tmp/caisson.yaml. */
static int
check_owner(struct csn_project *p, int fd, csn_err *err)
{
  if (fstat(fd, &p->st) < 0)
    return csn_fail_errno(err, "cannot look at %s", p->file);
  if (p->st.st_uid == geteuid() || p->st.st_uid == 0)
    return 0;
  return csn_fail(err, CSN_E_DENIED,
                  "%s belongs to user %u and is not used, because it says where keys go; make it "
                  "yours with chown, or start elsewhere",
                  p->file, (unsigned)p->st.st_uid);
}

static bool
is_local(const csn_json *provider)
{
  return csn_url_is_local(csn_json_str(provider, "base_url", CSN_STR("")));
}

static void
look_up_trust(struct csn_project *p)
{
  bool is_needed = false;
  csn_json_each (v, csn_json_get(p->root, "providers"))
    is_needed = is_needed || !is_local(v);
  p->is_trusted = is_needed && csn_trust_has(p->file, &p->st, csn_buf_str(&p->text));
}

const char *
csn_project_file(const struct csn_project *p)
{
  return p->file;
}

void
csn_project_list(const struct csn_project *p, csn_buf *out)
{
  csn_json_each (v, csn_json_get(p->root, "providers")) {
    csn_str url = csn_url_host(csn_json_str(v, "base_url", CSN_STR("")));
    csn_str key = csn_json_str(v, "key_env", CSN_STR(""));
    csn_buf_addf(out, "%.*s: %.*s%s%.*s%s\n", (int)v->key.n, v->key.p, (int)url.n, url.p,
                 key.n ? ", with the key in " : ", without a key", (int)key.n, key.p,
                 is_local(v) ? " (this machine)" : "");
  }
}

int
csn_project_trust(const struct csn_project *p, csn_err *err)
{
  return csn_trust_add(p->file, csn_buf_str(&p->text), err);
}

int
csn_project_load(struct csn_project **out, csn_err *err)
{
  struct csn_project *p = csn_alloc(sizeof *p);
  p->arena = csn_arena_new(0);
  p->text = CSN_BUF(CSN_YAML_MAX);
  p->file = csn_find_upward("caisson.yaml");
  csn_auto(csn_closep) int fd = p->file ? open(p->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
  int rc = p->file && fd < 0 ? csn_fail_errno(err, "cannot open %s", p->file) : 0;
  if (fd >= 0) {
    rc = check_owner(p, fd, err);
    if (rc == 0)
      rc = csn_fd_read_all(fd, &p->text, err);
    if (rc == 0)
      rc = csn_yaml_parse(p->arena, csn_buf_str(&p->text), p->file, &p->root, err);
    if (rc == 0)
      rc = check(p, err);
    if (rc == 0)
      look_up_trust(p);
  }
  if (rc < 0)
    csn_project_free(p);
  else
    *out = p;
  return rc;
}

void
csn_project_file_id(const struct csn_project *p, dev_t *dev, ino_t *ino)
{
  *dev = p->st.st_dev;
  *ino = p->st.st_ino;
}

void
csn_project_free(struct csn_project *p)
{
  if (!p)
    return;
  csn_arena_free(p->arena);
  csn_buf_fini(&p->text);
  free(p->file);
  free(p);
}

static const char *
env_or_null(const char *name)
{
  const char *v = getenv(name);
  return v && *v ? v : NULL;
}

const csn_json *
csn_project_prices(const struct csn_project *p)
{
  return csn_json_get(p->root, "prices");
}

const char *
csn_model_beside(csn_arena *a, const char *model, const char *folder)
{
  static const char *const kinds[] = {"script", "replay"};
  csn_str m = csn_cstr(model);
  for (size_t i = 0; i < CSN_COUNT(kinds); i++) {
    size_t n = strlen(kinds[i]);
    if (csn_str_starts(m, csn_cstr(kinds[i])) && m.n > n + 1 && (m.p[n] == ':' || m.p[n] == '/') &&
        m.p[n + 1] != '/')
      return csn_arena_printf(a, "%s:%s/%s", kinds[i], folder, model + n + 1).p;
  }
  return model;
}

const char *
csn_project_model(const struct csn_project *p)
{
  csn_str m = csn_json_str(p->root, "model", CSN_STR(""));
  const char *by_env = env_or_null("CAISSON_MODEL");
  if (m.n) {
    const char *slash = strrchr(p->file, '/');
    csn_str folder = csn_arena_dup(p->arena, csn_strn(p->file, (size_t)(slash - p->file)));
    return csn_model_beside(p->arena, csn_arena_dup(p->arena, m).p, folder.p);
  }
  csn_auto(csn_freep) char *cwd = by_env ? getcwd(NULL, 0) : NULL;
  return cwd ? csn_model_beside(p->arena, by_env, cwd) : by_env;
}

static csn_str
without_slash(csn_str url)
{
  while (url.n && url.p[url.n - 1] == '/')
    url.n--;
  return url;
}

static int
route_to_service(struct csn_route *r, csn_str prefix, csn_err *err)
{
  const struct service *s = services;
  while (!csn_str_eq(prefix, csn_cstr(s->prefix)))
    s++;
  const char *url = env_or_null(s->url_env), *key = NULL;
  for (size_t i = 0; s->key_env[i] && !key; i++)
    key = env_or_null(s->key_env[i]);
  if (!key && !url)
    return csn_fail(err, CSN_E_INVALID,
                    "no key for the model: set %s (or %s for a server that needs none)",
                    s->key_env[0], s->url_env);
  r->endpoint = (csn_endpoint){
      .base_url = csn_arena_dup(r->arena, without_slash(csn_cstr(url ? url : s->base_url))),
      .api_key = csn_arena_dup(r->arena, csn_cstr(key)),
      .custom_tools = r->ops == csn_model_find(CSN_STR("responses")),
  };
  return 0;
}

static int
route_to_provider(struct csn_route *r, const struct csn_project *p, const csn_json *v, csn_err *err)
{
  if (!p->is_trusted && !is_local(v)) {
    csn_str url = csn_url_host(csn_json_str(v, "base_url", CSN_STR("")));
    return csn_fail(err, CSN_E_INVALID,
                    "%s:%u: requests would go to %.*s, and nobody has said that this file may do "
                    "that; if it may: caisson trust",
                    p->file, v->line, (int)(url.n < 100 ? url.n : 100), url.p);
  }
  csn_str api = csn_json_str(v, "api", CSN_STR("chat"));
  csn_str key_env = csn_json_str(v, "key_env", CSN_STR(""));
  r->ops = csn_model_find(api);
  csn_auto(csn_freep) char *name = csn_dupz(key_env);
  const char *key = key_env.n ? env_or_null(name) : NULL;
  if (key_env.n && !key)
    return csn_fail(err, CSN_E_INVALID, "no key for the model: set %s", name);
  r->timeout_ms = csn_json_int(v, "timeout", 0) * 1000;
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
  csn_json_each (v, csn_json_get(p->root, "providers"))
    csn_buf_addf(&list, ", %.*s", (int)v->key.n, v->key.p);
  return csn_fail(err, CSN_E_INVALID,
                  "model '%.*s': no such provider; write PREFIX/NAME with one of: openai, chat, "
                  "anthropic, gemini, script, replay%s",
                  (int)name.n, name.p, list.n ? list.p : "");
}

int
csn_route_find(const struct csn_project *p, csn_str name, struct csn_route *out, csn_err *err)
{
  size_t cut = 0;
  while (cut < name.n && name.p[cut] != '/' && name.p[cut] != ':')
    cut++;
  csn_str prefix = csn_strn(name.p, cut);
  *out = (struct csn_route){.arena = csn_arena_new(1 << 20)};
  if (cut + 1 >= name.n)
    return unknown_prefix(p, name, err);
  out->model = csn_arena_dup(out->arena, csn_strn(name.p + cut + 1, name.n - cut - 1));
  csn_json_each (v, csn_json_get(p->root, "providers")) {
    if (csn_str_eq(v->key, prefix))
      return route_to_provider(out, p, v, err);
  }
  out->ops = csn_model_find(prefix);
  if (!out->ops)
    return unknown_prefix(p, name, err);
  if (out->ops->answer)
    return 0;
  return route_to_service(out, prefix, err);
}

void
csn_route_fini(struct csn_route *r)
{
  csn_arena_free(r->arena);
  *r = (struct csn_route){0};
}

/* Whole or cut off at the end of the text. */
void
csn_route_hide_key(const struct csn_route *r, csn_err *err)
{
  enum { LEAST = 8 };
  static const char mark[] = "[key]";
  csn_str key = r->endpoint.api_key;
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

static void
add_header(csn_http_req *req, csn_str name, csn_str value)
{
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
  csn_str key = r->endpoint.api_key;
  if (key.n && r->ops->key_header)
    add_header(req, csn_cstr(r->ops->key_header), key);
  else if (key.n)
    add_header(req, CSN_STR("Authorization"),
               csn_arena_printf(a, "Bearer %.*s", (int)key.n, key.p));
}

csn_decoder *
csn_route_decoder(const struct csn_route *r, csn_arena *a, int status, const csn_header *headers,
                  size_t n, const csn_model_request *rq, csn_delta_fn *fn, void *user)
{
  csn_reply_head head;
  csn_reply_head_read(&head, status, headers, n);
  return r->ops->decoder(a, &head, rq, fn, user);
}
