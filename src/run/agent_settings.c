/* SPDX-License-Identifier: Apache-2.0
 * agent_settings.c - the section `settings` of agent.yaml: what each request
 * says beside the conversation.
 *
 * Values are checked by their kind when the file is read.  Which API has a
 * setting is known when the model is: what only some have is refused by name
 * before the run (a codec lists what it sends), so that nobody believes in a
 * setting that goes nowhere.  Headers and query parameters go to any server,
 * but for those that carry keys or frame the message. */
#include <strings.h>

#include "model/retry.h"
#include "run/agent_read.h"
#include "run/project.h"

enum { MORE_MAX = 12, VALUE_MAX_BYTES = 4096 };

#define KIND(k) (1u << CSN_JSON_##k)

static const struct known {
  const char *key;
  unsigned kinds;
  bool is_rare; /* not every API has it */
} known[] = {
    {"temperature", KIND(NUMBER), false},
    {"top_p", KIND(NUMBER), false},
    {"max_tokens", KIND(NUMBER), false},
    {"tool_choice", KIND(STRING) | KIND(OBJECT), false},
    {"parallel_tool_calls", KIND(BOOL), false},
    {"reasoning", KIND(OBJECT), false},
    {"verbosity", KIND(STRING), false},
    {"store", KIND(BOOL), false},
    {"truncation", KIND(STRING), false},
    {"metadata", KIND(OBJECT), false},
    {"frequency_penalty", KIND(NUMBER), true},
    {"presence_penalty", KIND(NUMBER), true},
    {"top_logprobs", KIND(NUMBER), true},
    {"response_include", KIND(ARRAY), true},
    {"prompt_cache_key", KIND(STRING), true},
    {"prompt_cache_retention", KIND(STRING), true},
    {"prompt_cache_options", KIND(OBJECT), true},
    {"service_tier", KIND(STRING), true},
    {"extra_headers", KIND(OBJECT), false},
    {"extra_query", KIND(OBJECT), false},
    {"extra_body", KIND(OBJECT), false},
    {"retry", KIND(OBJECT), false},
};

static const struct known *
find(csn_str key)
{
  for (size_t i = 0; i < CSN_COUNT(known); i++)
    if (csn_str_eq(key, csn_cstr(known[i].key)))
      return &known[i];
  return NULL;
}

static void
name_kinds(unsigned kinds, csn_buf *out)
{
  for (int k = CSN_JSON_NULL; k <= CSN_JSON_OBJECT; k++)
    if (kinds & 1u << k)
      csn_buf_addf(out, "%s%s", out->n ? " or " : "", csn_json_kind_name((enum csn_json_kind)k));
}

static int
read_kinds(const struct csn_agent_reader *r, const csn_json *m)
{
  const char *keys[CSN_COUNT(known) + 1] = {0};
  for (size_t i = 0; i < CSN_COUNT(known); i++)
    keys[i] = known[i].key;
  int rc = csn_agent_only(r, m, "settings.", keys);
  csn_json_each (v, rc == 0 ? m : NULL) {
    const struct known *k = find(v->key);
    csn_auto(csn_buf_finip) csn_buf want = CSN_BUF(200);
    if (v->kind == CSN_JSON_NULL || k->kinds & 1u << v->kind)
      continue;
    name_kinds(k->kinds, &want);
    return csn_agent_complain(r, v, "settings.%s: expected %s, got %s", k->key, want.p,
                              csn_json_kind_name((enum csn_json_kind)v->kind));
  }
  csn_json_each (v, csn_json_get(m, "response_include"))
    if (rc == 0 && v->kind != CSN_JSON_STRING)
      rc = csn_agent_complain(r, v, "settings.response_include: expected a list of texts");
  return rc;
}

/* ---- headers and query parameters ---- */

static char
lower(char c)
{
  return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool
holds(csn_str name, const char *word)
{
  size_t n = strlen(word), k;
  for (size_t i = 0; i + n <= name.n; i++) {
    for (k = 0; k < n && lower(name.p[i + k]) == word[k];)
      k++;
    if (k == n)
      return true;
  }
  return false;
}

static bool
is_token(csn_str name)
{
  for (size_t i = 0; i < name.n; i++) {
    unsigned char c = (unsigned char)name.p[i];
    if (c <= ' ' || c >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", c))
      return false;
  }
  return name.n > 0 && name.n <= 100;
}

static bool
is_plain(csn_str text)
{
  for (size_t i = 0; i < text.n; i++)
    if ((unsigned char)text.p[i] < ' ' || text.p[i] == 0x7f)
      return false;
  return text.n <= VALUE_MAX_BYTES;
}

/* Where keys go: who holds the file is not who holds the key. */
static const char *const key_words[] = {"authorization", "cookie",   "api-key", "api_key", "apikey",
                                        "x-amz-",        "password", "secret",  NULL};
static const char *const key_params[] = {"key", "token", "access_token", "sig", "signature", NULL};
/* What says where the message goes and where it ends. */
static const char *const framing[] = {"host",
                                      "content-length",
                                      "content-type",
                                      "connection",
                                      "transfer-encoding",
                                      "upgrade",
                                      "expect",
                                      "te",
                                      "trailer",
                                      "accept",
                                      "keep-alive",
                                      NULL};

static bool
is_word(csn_str name, const char *const *words)
{
  for (; *words; words++)
    if (strlen(*words) == name.n && holds(name, *words))
      return true;
  return false;
}

static bool
is_key(csn_str name, bool is_header)
{
  for (const char *const *w = key_words; *w; w++)
    if (holds(name, *w))
      return true;
  return !is_header && is_word(name, key_params);
}

static int
read_more(const struct csn_agent_reader *r, const csn_json *settings, bool is_header)
{
  const char *key = is_header ? "extra_headers" : "extra_query";
  const csn_json *m = csn_json_get(settings, key);
  if (m && m->n > MORE_MAX)
    return csn_agent_complain(r, m, "settings.%s: at most %d", key, MORE_MAX);
  csn_json_each (v, m) {
    int n = (int)(v->key.n < 60 ? v->key.n : 60);
    bool is_scalar = v->kind == CSN_JSON_STRING ||
                     (!is_header && (v->kind == CSN_JSON_NUMBER || v->kind == CSN_JSON_BOOL));
    if (is_header ? !is_token(v->key) : !v->key.n || !is_plain(v->key))
      return csn_agent_complain(r, v, "settings.%s: '%.*s' is no name for one", key, n, v->key.p);
    if (!is_scalar || !is_plain(v->text))
      return csn_agent_complain(r, v,
                                "settings.%s.%.*s: expected a text of one line, at most %d "
                                "bytes",
                                key, n, v->key.p, VALUE_MAX_BYTES);
    if (is_key(v->key, is_header))
      return csn_agent_complain(r, v,
                                "settings.%s.%.*s: keys are not set here; name the variable that "
                                "holds the key in caisson.yaml (providers: key_env, key_header)",
                                key, n, v->key.p);
    if (is_header && (is_word(v->key, framing) || holds(v->key, "sec-websocket")))
      return csn_agent_complain(r, v, "settings.%s.%.*s: this header is the transport's own", key,
                                n, v->key.p);
  }
  return 0;
}

int
csn_agent_read_settings(const struct csn_agent_reader *r, const csn_json *m)
{
  csn_retry_policy policy;
  csn_err why;
  int rc = csn_agent_want(r, m, "settings", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = read_kinds(r, m);
  if (rc == 0)
    rc = read_more(r, m, true);
  if (rc == 0)
    rc = read_more(r, m, false);
  if (rc == 0 && csn_retry_from_json(&policy, csn_json_get(m, "retry"), &why) < 0)
    rc = csn_agent_complain(r, csn_json_get(m, "retry"), "settings.%s", why.msg);
  return rc < 0 ? rc : csn_agent_keep_value(r, m, &r->a->settings);
}

/* ---- whether the model's API has them ---- */

static bool
sends(const csn_model_ops *ops, csn_str key)
{
  for (const char *const *s = ops->settings; s && *s; s++)
    if (csn_str_eq(key, csn_cstr(*s)))
      return true;
  return false;
}

static int
check_route(const csn_agent *a, const char *model, const struct csn_route *r, csn_err *err)
{
  csn_json_each (m, a->settings) {
    const struct known *k = find(m->key);
    if (k && k->is_rare && m->kind != CSN_JSON_NULL && !sends(r->ops, m->key))
      return csn_fail(err, CSN_E_UNSUPPORTED,
                      "agent %s: settings.%s: the API of model %s (%s) has no such setting; leave "
                      "it out, or send it as it is with settings.extra_body",
                      a->name, k->key, model, r->ops->name);
  }
  csn_str keep = csn_json_str(a->settings, "prompt_cache_retention", CSN_STR(""));
  bool is_time = csn_str_eq(keep, CSN_STR("5m")) || csn_str_eq(keep, CSN_STR("1h"));
  if (keep.n && r->ops->caches_by_mark != is_time)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "agent %s: settings.prompt_cache_retention: model %s takes %s, not '%.*s'",
                    a->name, model, r->ops->caches_by_mark ? "5m or 1h" : "in_memory or 24h",
                    (int)(keep.n < 40 ? keep.n : 40), keep.p);
  csn_json_each (m, csn_json_get(a->settings, "extra_headers"))
    if (m->key.n == r->key_header.n && strncasecmp(m->key.p, r->key_header.p, m->key.n) == 0)
      return csn_fail(err, CSN_E_INVALID,
                      "agent %s: settings.extra_headers: %.*s carries the key of model %s and is "
                      "not set here",
                      a->name, (int)m->key.n, m->key.p, model);
  const csn_json *query = csn_json_get(a->settings, "extra_query");
  if (query && query->n && r->aws.id.n)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "agent %s: settings.extra_query: requests of model %s are signed without a "
                    "query",
                    a->name, model);
  if (r->api_version.n && csn_json_get(query, "api-version"))
    return csn_fail(err, CSN_E_INVALID,
                    "agent %s: settings.extra_query: api-version is set in caisson.yaml", a->name);
  return 0;
}

static int
check_model(const struct csn_project *p, const char *model, void *user, csn_err *err)
{
  const csn_agent *a = user;
  struct csn_route r = {0};
  int rc = csn_route_find(p, csn_cstr(model), &r, err);
  if (rc == 0 && !r.ops->answer)
    rc = check_route(a, model, &r, err);
  csn_route_fini(&r);
  return rc;
}

static int
check_one(const csn_agent *a, const struct csn_project *p, csn_err *err)
{
  void *user = (void *)(uintptr_t)a;
  if (!a->settings)
    return 0;
  return csn_agent_own_models(*a->model || !a->parent ? a : a->parent, p, check_model, user, err);
}

int
csn_agent_check_settings(const csn_agent *a, const struct csn_project *p, csn_err *err)
{
  int rc = check_one(a, p, err);
  for (size_t i = 0; rc == 0 && i < a->n_agents; i++)
    rc = check_one(a->agents[i], p, err);
  if (rc == 0 && a->limits.soft_model && a->settings)
    rc = check_model(p, a->limits.soft_model, (void *)(uintptr_t)a, err);
  return rc;
}
