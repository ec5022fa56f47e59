/* SPDX-License-Identifier: Apache-2.0
 * e2b_config.c - what the operator says of the back-end "e2b": its options, the
 * account's key, and which network policies the service can hold. */
#include <ctype.h>

#include "sandbox/backend/e2b.h"
#include "sandbox/limits.h"

enum { KEY_MAX = 4096, METADATA_MAX = 32, DAY_S = 86400, TIMEOUT_S = 600 };

/* ---- options ---- */

/* Of agent files.  Where the key is sent, and which, is not theirs to say: they
 * may come from elsewhere. */
const csn_sandbox_option csn_e2b_options[] = {
    {"template", CSN_JSON_STRING},   {"timeout", CSN_JSON_STRING},  {"life", CSN_JSON_STRING},
    {"on_timeout", CSN_JSON_STRING}, {"metadata", CSN_JSON_OBJECT}, {0}};

static int
complain(const csn_json *v, csn_err *err, const char *expected)
{
  return csn_fail(err, CSN_E_INVALID, "%.*s: expected %s", (int)(v->key.n & 0xff), v->key.p,
                  expected);
}

static int
read_text(const csn_json *v, csn_arena *a, csn_str *out, csn_err *err)
{
  if (v->kind != CSN_JSON_STRING || !v->text.n || v->text.n > 1000 ||
      memchr(v->text.p, '\0', v->text.n))
    return complain(v, err, "a text");
  *out = csn_arena_dup(a, v->text);
  return 0;
}

static int
read_seconds(const csn_json *v, int64_t *out, csn_err *err)
{
  int64_t ms = 0;
  if (v->kind != CSN_JSON_STRING || csn_limit_parse(CSN_LIMIT_WALL, v->text, &ms, NULL) < 0 ||
      ms < 10000 || ms > DAY_S * 1000LL)
    return complain(v, err, "a time from 10s to 24h");
  *out = ms / 1000;
  return 0;
}

static int
read_metadata(struct csn_e2b_config *c, csn_arena *a, const csn_json *v, csn_err *err)
{
  if (v->kind != CSN_JSON_OBJECT || v->n > METADATA_MAX)
    return complain(v, err, "an object of at most 32 texts");
  csn_json_each (m, v)
    if (m->kind != CSN_JSON_STRING || m->key.n > 246 || m->text.n > 1000)
      return complain(v, err, "texts, with names of at most 246 bytes");
  return csn_json_parse(a, csn_arena_dup(a, v->raw), &c->metadata, err);
}

static int
read_one(struct csn_e2b_config *c, csn_arena *a, const csn_json *v, csn_err *err)
{
  const struct {
    const char *key;
    csn_str *to;
  } texts[] = {{"template", &c->template},
               {"api_url", &c->api_url},
               {"sandbox_url", &c->sandbox_url},
               {"domain", &c->domain}};
  for (size_t i = 0; i < CSN_COUNT(texts); i++)
    if (csn_str_eq(v->key, csn_cstr(texts[i].key)))
      return read_text(v, a, texts[i].to, err);
  if (csn_str_eq(v->key, CSN_STR("timeout")))
    return read_seconds(v, &c->timeout_s, err);
  if (csn_str_eq(v->key, CSN_STR("life")))
    return read_seconds(v, &c->life_s, err);
  if (csn_str_eq(v->key, CSN_STR("metadata")))
    return read_metadata(c, a, v, err);
  if (csn_str_eq(v->key, CSN_STR("key_env"))) {
    csn_str name = {0};
    int rc = read_text(v, a, &name, err);
    c->key_env = name.p;
    return rc;
  }
  if (!csn_str_eq(v->key, CSN_STR("on_timeout")))
    return csn_fail(err, CSN_E_INVALID,
                    "%.*s: e2b has template, timeout, life, on_timeout, metadata, key_env, "
                    "domain, api_url and sandbox_url",
                    (int)(v->key.n & 0xff), v->key.p);
  c->is_killed_after = csn_str_eq(v->text, CSN_STR("kill"));
  if (v->kind != CSN_JSON_STRING || (!c->is_killed_after && !csn_str_eq(v->text, CSN_STR("pause"))))
    return complain(v, err, "pause or kill");
  return 0;
}

/* ---- addresses and the key ---- */

void
csn_e2b_forget(csn_str secret)
{
  if (secret.n)
    explicit_bzero((char *)(uintptr_t)secret.p, secret.n);
}

static csn_str
variable(csn_arena *a, const char *name)
{
  return csn_arena_dup(a, csn_cstr(getenv(name)));
}

/* The host of "http://HOST:PORT/...". */
static csn_str
host_of(csn_str url, size_t from)
{
  size_t end = from;
  if (from < url.n && url.p[from] == '[') {
    while (end < url.n && url.p[end] != ']')
      end++;
    return csn_strn(url.p + from, end < url.n ? end + 1 - from : 0);
  }
  while (end < url.n && !strchr(":/?#", url.p[end]))
    end++;
  return csn_strn(url.p + from, end - from);
}

static bool
is_here(csn_str host)
{
  for (size_t i = 0; csn_str_starts(host, CSN_STR("127.")) && i < host.n; i++)
    if (host.p[i] != '.' && !isdigit((unsigned char)host.p[i]))
      return false;
  return csn_str_starts(host, CSN_STR("127.")) || csn_str_eq(host, CSN_STR("localhost")) ||
         csn_str_eq(host, CSN_STR("[::1]"));
}

/* The key must not travel where others can read it. */
static int
check_url(csn_str *url, const char *what, csn_err *err)
{
  static const csn_str clear = CSN_STR_INIT("http://"), sealed = CSN_STR_INIT("https://");
  while (url->n && url->p[url->n - 1] == '/')
    url->n--;
  if (csn_str_starts(*url, sealed) && host_of(*url, sealed.n).n)
    return 0;
  if (csn_str_starts(*url, clear) && is_here(host_of(*url, clear.n)))
    return 0;
  return csn_fail(err, CSN_E_INVALID,
                  "%s: expected https://HOST, or http:// to an address of this machine, got "
                  "%.*s",
                  what, (int)(url->n < 100 ? url->n : 100), url->p);
}

static int
check_domain(csn_str domain, csn_err *err)
{
  bool is_fine = domain.n > 0 && domain.n < 254;
  for (size_t i = 0; i < domain.n; i++)
    is_fine = is_fine && (isalnum((unsigned char)domain.p[i]) || strchr(".-", domain.p[i]));
  return is_fine ? 0 : csn_fail(err, CSN_E_INVALID, "domain: expected a name such as e2b.app");
}

static int
check_key(struct csn_e2b_config *c, csn_err *err)
{
  bool is_fine = c->key.n <= KEY_MAX;
  for (size_t i = 0; i < c->key.n; i++)
    is_fine = is_fine && c->key.p[i] > ' ' && c->key.p[i] < 0x7f;
  if (!c->key.n)
    return csn_fail(err, CSN_E_DENIED,
                    "no key: set the variable %s to the account's API key, or name another one in "
                    "key_env",
                    c->key_env);
  return is_fine ? 0
                 : csn_fail(err, CSN_E_INVALID, "the variable %s holds what cannot be a key",
                            c->key_env);
}

int
csn_e2b_config(struct csn_e2b_config *c, csn_arena *a, const csn_json *options, csn_err *err)
{
  *c = (struct csn_e2b_config){.template = CSN_STR("base"),
                               .key_env = CSN_E2B_KEY,
                               .timeout_s = TIMEOUT_S,
                               .life_s = DAY_S,
                               .api_url = variable(a, "E2B_API_URL"),
                               .sandbox_url = variable(a, "E2B_SANDBOX_URL"),
                               .domain = variable(a, "E2B_DOMAIN")};
  csn_json_each (v, options) {
    int rc = read_one(c, a, v, err);
    if (rc < 0)
      return rc;
  }
  c->key = variable(a, c->key_env);
  if (!c->domain.n)
    c->domain = CSN_STR("e2b.app");
  int rc = check_domain(c->domain, err);
  if (rc == 0 && !c->api_url.n)
    c->api_url = csn_arena_printf(a, "https://api.%.*s", (int)c->domain.n, c->domain.p);
  if (rc == 0)
    rc = check_url(&c->api_url, "api_url (or E2B_API_URL)", err);
  if (rc == 0 && c->sandbox_url.n)
    rc = check_url(&c->sandbox_url, "sandbox_url (or E2B_SANDBOX_URL)", err);
  return rc < 0 ? rc : check_key(c, err);
}

/* ---- the network ---- */

/* Names and addresses as a whole: the service looks at the name in a TLS hello or
 * a Host header on ports 443 and 80, and at addresses elsewhere. */
static bool
has_common_ports(const csn_network_host *h)
{
  for (size_t i = 0; i < h->n_ports; i++)
    if (h->ports[i] != 80 && h->ports[i] != 443)
      return false;
  return true;
}

static int
lacks(csn_err *err, const char *what, const char *why)
{
  return csn_fail(err, CSN_E_UNSUPPORTED,
                  "back-end e2b cannot hold %s: %s; the jail can (backend: jail)", what, why);
}

int
csn_e2b_check_network(const csn_network *n, csn_err *err)
{
  if (n->n_secrets)
    return lacks(err, "secrets", "they would have to be given to the provider");
  if (n->sees_requests || n->restriction == CSN_NETWORK_NO_WRITES)
    return lacks(err, "rules on requests", "it does not look into them");
  if ((n->allow_private && n->allow_private[0]) || (n->resolve && n->resolve[0]))
    return lacks(err, "allow_private and resolve", "its network is not this machine's");
  for (size_t i = 0; i < n->n_hosts; i++) {
    if (n->hosts[i].methods)
      return lacks(err, "methods of a host", "it does not look into requests");
    if (!has_common_ports(&n->hosts[i]))
      return lacks(err, "ports other than 80 and 443 of a host",
                   "it knows a name by TLS and by HTTP alone");
  }
  return 0;
}
