/* SPDX-License-Identifier: Apache-2.0
 * provider.c - see provider.h. */
#include "run/provider.h"

static const char *const apis[] = {"chat", "responses", "anthropic", "gemini", "bedrock"};

enum { TIMEOUT_MAX_S = 86400 };

/* One of caisson.yaml. */
struct entry {
  const csn_json *v;
  const char *file;
  csn_err *err;
};

static int
complain(const struct entry *e, const csn_json *at, const char *key, const char *expected)
{
  return csn_fail(e->err, CSN_E_INVALID, "%s:%u: %s: expected %s", e->file,
                  at && at->line ? at->line : e->v->line, key, expected);
}

static int
check_kinds(const struct entry *e)
{
  static const struct {
    const char *key;
    enum csn_json_kind kind;
  } known[] = {{"api", CSN_JSON_STRING},         {"base_url", CSN_JSON_STRING},
               {"key_env", CSN_JSON_STRING},     {"key_header", CSN_JSON_STRING},
               {"api_version", CSN_JSON_STRING}, {"deployments", CSN_JSON_BOOL},
               {"custom_tools", CSN_JSON_BOOL},  {"null_content", CSN_JSON_BOOL},
               {"timeout", CSN_JSON_NUMBER},     {"limits", CSN_JSON_OBJECT},
               {"aws", CSN_JSON_OBJECT},         {"transport", CSN_JSON_STRING},
               {"compaction", CSN_JSON_BOOL}};
  if (!csn_json_is(e->v, CSN_JSON_OBJECT))
    return complain(e, e->v, "providers", "an object");
  csn_json_each (m, e->v) {
    size_t i = 0;
    while (i < CSN_COUNT(known) && !csn_str_eq(m->key, csn_cstr(known[i].key)))
      i++;
    if (i == CSN_COUNT(known))
      return csn_fail(e->err, CSN_E_INVALID,
                      "%s:%u: unknown key providers.%.*s; see `caisson schema`", e->file, m->line,
                      (int)m->key.n, m->key.p);
    if (m->kind != known[i].kind)
      return complain(e, m, known[i].key, csn_json_kind_name(known[i].kind));
  }
  return 0;
}

static int
check_limits(const struct entry *e)
{
  static const char *const keys[] = {"requests", "tokens", "concurrency"};
  csn_json_each (m, csn_json_get(e->v, "limits")) {
    int64_t n;
    bool is_known = false;
    for (size_t i = 0; i < CSN_COUNT(keys); i++)
      is_known = is_known || csn_str_eq(m->key, csn_cstr(keys[i]));
    if (!is_known)
      return complain(e, m, "limits", "requests, tokens (a minute) and concurrency");
    if (!csn_json_to_int(m, &n) || n < 1)
      return complain(e, m, "limits", "whole numbers of at least 1");
  }
  return 0;
}

static int
check_aws(const struct entry *e)
{
  static const char *const keys[] = {"region", "id_env", "secret_env", "token_env"};
  const csn_json *aws = csn_json_get(e->v, "aws");
  bool is_bedrock = csn_str_eq(csn_json_str(e->v, "api", CSN_STR("")), CSN_STR("bedrock"));
  if (is_bedrock != (aws != NULL))
    return complain(e, aws, "aws", "beside `api: bedrock`, with a `region`");
  csn_json_each (m, aws) {
    bool is_known = false;
    for (size_t i = 0; i < CSN_COUNT(keys); i++)
      is_known = is_known || csn_str_eq(m->key, csn_cstr(keys[i]));
    if (!is_known || m->kind != CSN_JSON_STRING || !m->text.n)
      return complain(e, m, "aws", "region, and names of variables: id_env, secret_env, token_env");
  }
  return aws && !csn_json_get(aws, "region") ? complain(e, aws, "aws.region", "us-east-1, say") : 0;
}

/* Of the Responses API, whose services these are where no api is named. */
static int
check_transport(const struct entry *e)
{
  static const char *const services[] = {"openai", "azure"};
  const csn_json *m = csn_json_get(e->v, "transport");
  bool is_fit = csn_str_eq(csn_json_str(e->v, "api", CSN_STR("")), CSN_STR("responses"));
  for (size_t i = 0; i < CSN_COUNT(services); i++)
    is_fit =
        is_fit || (!csn_json_get(e->v, "base_url") && csn_str_eq(e->v->key, csn_cstr(services[i])));
  if (!m || csn_str_eq(m->text, CSN_STR("http")))
    return 0;
  if (!is_fit || !csn_str_eq(m->text, CSN_STR("websocket")))
    return complain(e, m, "transport", "http, or websocket for the Responses API");
  return 0;
}

static bool
is_api(csn_str api)
{
  for (size_t i = 0; i < CSN_COUNT(apis); i++)
    if (csn_str_eq(api, csn_cstr(apis[i])))
      return true;
  return false;
}

/* Without an address it says more about a service that is known by its name. */
static int
check_service(const struct entry *e)
{
  csn_json_each (m, e->v)
    if (!csn_str_eq(m->key, CSN_STR("limits")) && !csn_str_eq(m->key, CSN_STR("transport")) &&
        !csn_str_eq(m->key, CSN_STR("timeout")))
      return complain(e, m, "base_url", "http:// or https://");
  if (!csn_service_is_known(e->v->key))
    return complain(e, e->v, "base_url", "http:// or https://");
  return 0;
}

int
csn_provider_check(const csn_json *v, const char *file, csn_err *err)
{
  struct entry e = {v, file, err};
  int rc = check_kinds(&e);
  if (rc == 0)
    rc = check_limits(&e);
  if (rc == 0)
    rc = check_aws(&e);
  if (rc == 0)
    rc = check_transport(&e);
  if (rc < 0)
    return rc;
  const csn_json *timeout = csn_json_get(v, "timeout");
  int64_t seconds = 1;
  if (timeout && (!csn_json_to_int(timeout, &seconds) || seconds < 1 || seconds > TIMEOUT_MAX_S))
    return complain(&e, timeout, "timeout", "1 to 86400 seconds");
  csn_str api = csn_json_str(v, "api", CSN_STR("chat"));
  csn_str url = csn_json_str(v, "base_url", CSN_STR(""));
  if (!url.n && !csn_json_get(v, "aws"))
    return check_service(&e);
  if (!is_api(api))
    return complain(&e, csn_json_get(v, "api"), "api",
                    "responses, chat, anthropic, gemini or bedrock");
  if (url.n && !csn_str_starts(url, CSN_STR("http://")) &&
      !csn_str_starts(url, CSN_STR("https://")))
    return complain(&e, csn_json_get(v, "base_url"), "base_url", "http:// or https://");
  if (csn_json_bool(v, "deployments", false) && !csn_json_get(v, "api_version"))
    return complain(&e, csn_json_get(v, "deployments"), "deployments", "an api_version beside it");
  return 0;
}
