/* SPDX-License-Identifier: Apache-2.0
 *
 * config.c - reads the configuration; see config.h.
 */
#include "egress/config.h"

#include "caisson/json.h"
#include "egress/policy.h"
#include "wire/http1.h"

enum { RULES_MAX = 4096, VALUE_MAX = 16 << 10, LIST_MAX = 256 };

struct parser {
  csn_arena *a;
  csn_err *err;
};

static int
too_large(const struct parser *p)
{
  return csn_fail(p->err, CSN_E_LIMIT, "the configuration is too large");
}

/* Room for each member of a list; *n of them.  A missing list is empty. */
static int
take_list(const struct parser *p, const csn_json *v, const char *key, size_t max, size_t size,
          const csn_json **list, void **room)
{
  *list = csn_json_get(v, key);
  *room = NULL;
  if (!*list)
    return 0;
  if (!csn_json_is(*list, CSN_JSON_ARRAY))
    return csn_fail(p->err, CSN_E_INVALID, "%s: expected a list", key);
  if ((*list)->n > max)
    return csn_fail(p->err, CSN_E_LIMIT, "%s: more than %zu", key, max);
  *room = csn_arena_alloc(p->a, (*list)->n * size + 1);
  return *room ? (int)(*list)->n : too_large(p);
}

static int
take_port(const struct parser *p, const csn_json *v, uint16_t *out)
{
  int64_t n = 0;
  if (!csn_json_to_int(v, &n) || n < 1 || n > 65535)
    return csn_fail(p->err, CSN_E_INVALID, "port: expected a number from 1 to 65535");
  *out = (uint16_t)n;
  return 0;
}

static int
take_patterns(const struct parser *p, const csn_json *v, const char *key, const csn_pattern **out,
              size_t *n)
{
  const csn_json *list;
  void *room;
  int rc = take_list(p, v, key, LIST_MAX, sizeof **out, &list, &room);
  csn_pattern *to = room;
  *out = to;
  csn_json_each (it, rc > 0 ? list : NULL) {
    rc = csn_pattern_parse(&to[(*n)++], p->a, it->text, p->err);
    if (rc < 0)
      return csn_wrap(p->err, rc, "%s", key);
  }
  return rc < 0 ? rc : (int)*n;
}

/* ---- hosts ---- */

static int
take_rule(const struct parser *p, const csn_json *v, csn_rule *r)
{
  csn_str host;
  const csn_json *list;
  void *room;
  int rc = csn_json_need_str(v, "host", &host, p->err);
  if (rc >= 0)
    rc = csn_pattern_parse(&r->host, p->a, host, p->err);
  if (rc >= 0)
    rc = take_list(p, v, "ports", LIST_MAX, sizeof(uint16_t), &list, &room);
  if (rc < 0)
    return rc;
  uint16_t *ports = room;
  r->ports = ports;
  csn_json_each (it, list) {
    if ((rc = take_port(p, it, &ports[r->n_ports++])) < 0)
      return rc;
  }
  rc = take_list(p, v, "methods", LIST_MAX, sizeof(csn_str), &list, &room);
  if (rc < 0)
    return rc;
  csn_str *methods = room;
  r->methods = methods;
  csn_json_each (it, list) {
    if (!csn_http1_is_token(it->text))
      return csn_fail(p->err, CSN_E_INVALID, "methods: expected words such as GET");
    methods[r->n_methods++] = it->text;
  }
  return 0;
}

static int
take_rules(const struct parser *p, const csn_json *v, csn_config *c)
{
  const csn_json *list;
  void *room;
  int rc = take_list(p, v, "hosts", RULES_MAX, sizeof(csn_rule), &list, &room);
  csn_rule *rules = room;
  c->rules = rules;
  csn_json_each (it, rc > 0 ? list : NULL) {
    rc = take_rule(p, it, &rules[c->n_rules++]);
    if (rc < 0)
      return csn_wrap(p->err, rc, "hosts[%zu]", c->n_rules - 1);
  }
  return rc;
}

/* ---- secrets ---- */

/* "Authorization: Bearer {}" */
static int
take_header(const struct parser *p, csn_str text, csn_secret *s)
{
  size_t colon = csn_str_find(text, CSN_STR(":"), 0), hole = csn_str_find(text, CSN_STR("{}"), 0);
  if (colon == SIZE_MAX || hole == SIZE_MAX || hole < colon ||
      csn_str_find(text, CSN_STR("{}"), hole + 2) != SIZE_MAX || !csn_http1_is_value(text) ||
      !csn_http1_is_token(csn_strn(text.p, colon)))
    return csn_fail(p->err, CSN_E_INVALID, "header: expected \"Name: text {} text\"");
  s->header = csn_strn(text.p, colon);
  s->before = csn_strn(text.p + colon + 1, hole - colon - 1);
  while (s->before.n && s->before.p[0] == ' ')
    s->before = csn_strn(s->before.p + 1, s->before.n - 1);
  s->after = csn_strn(text.p + hole + 2, text.n - hole - 2);
  return 0;
}

static int
take_secret(const struct parser *p, const csn_json *v, csn_secret *s)
{
  int rc = csn_json_need_str(v, "name", &s->name, p->err);
  if (rc >= 0)
    rc = csn_json_need_str(v, "value", &s->value, p->err);
  if (rc < 0)
    return rc;
  s->placeholder = csn_json_str(v, "placeholder", CSN_STR(""));
  /* It goes into a header, where these would end it. */
  if (s->value.n == 0 || s->value.n > VALUE_MAX || !csn_http1_is_value(s->value))
    return csn_fail(p->err, CSN_E_INVALID,
                    "value: expected 1 to %d bytes of text without control characters", VALUE_MAX);
  if (csn_json_get(v, "header")) {
    rc = take_header(p, csn_json_str(v, "header", CSN_STR("")), s);
    if (rc < 0)
      return rc;
  } else if (s->placeholder.n < 8 || s->placeholder.n > 128) {
    return csn_fail(p->err, CSN_E_INVALID, "placeholder: expected 8 to 128 bytes");
  }
  rc = take_patterns(p, v, "hosts", &s->hosts, &s->n_hosts);
  if (rc == 0)
    return csn_fail(p->err, CSN_E_INVALID, "hosts: a secret belongs to one host at least");
  return rc;
}

static int
take_secrets(const struct parser *p, const csn_json *v, csn_config *c)
{
  const csn_json *list;
  void *room;
  int rc = take_list(p, v, "secrets", CSN_SECRETS_MAX, sizeof(csn_secret), &list, &room);
  csn_secret *secrets = room;
  c->secrets = secrets;
  csn_json_each (it, rc > 0 ? list : NULL) {
    rc = take_secret(p, it, &secrets[c->n_secrets++]);
    if (rc < 0)
      return csn_wrap(p->err, rc, "secrets[%zu]", c->n_secrets - 1);
  }
  return rc;
}

/* ---- the rest ---- */

static int
take_endpoints(const struct parser *p, const csn_json *v, const char *key, size_t max,
               const csn_endpoint **out, size_t *n)
{
  const csn_json *list;
  void *room;
  int rc = take_list(p, v, key, max, sizeof **out, &list, &room);
  csn_endpoint *to = room;
  *out = to;
  csn_json_each (it, rc > 0 ? list : NULL) {
    csn_endpoint *e = &to[(*n)++];
    if (!csn_endpoint_parse(it->text, &e->address, &e->port))
      return csn_fail(p->err, CSN_E_INVALID, "%s: expected ADDRESS:PORT", key);
  }
  return rc;
}

static int
take_fixed(const struct parser *p, const csn_json *v, csn_config *c)
{
  const csn_json *map = csn_json_get(v, "resolve");
  if (!map)
    return 0;
  csn_fixed_name *to = csn_arena_alloc(p->a, (size_t)map->n * sizeof *to + 1);
  if (!to)
    return too_large(p);
  c->fixed = to;
  csn_json_each (it, map) {
    csn_pattern name;
    int rc = csn_pattern_parse(&name, p->a, it->key, p->err);
    if (rc < 0 || name.wild || !csn_address_parse(it->text, &to[c->n_fixed].address))
      return csn_fail(p->err, CSN_E_INVALID, "resolve: expected NAME and ADDRESS");
    to[c->n_fixed++].name = name.name;
  }
  return 0;
}

static int
take_listeners(const struct parser *p, const csn_json *v, csn_config *c)
{
  static const char *const kinds[] = {"proxy", "tcp", "dns_udp", "dns_tcp"};
  const csn_json *list;
  int rc = csn_json_need(v, "listeners", CSN_JSON_ARRAY, &list, p->err);
  if (rc < 0)
    return rc;
  csn_json_each (it, list) {
    csn_str kind = csn_json_str(it, "kind", CSN_STR(""));
    size_t k = 0;
    while (k < CSN_COUNT(kinds) && !csn_str_eq(kind, csn_cstr(kinds[k])))
      k++;
    if (k == CSN_COUNT(kinds) || c->n_listeners == CSN_LISTENERS_MAX)
      return csn_fail(p->err, CSN_E_INVALID, "listeners: an unknown kind, or more than %d",
                      CSN_LISTENERS_MAX);
    csn_listener_config *l = &c->listeners[c->n_listeners++];
    l->kind = (enum csn_listener_kind)k;
    rc = take_port(p, csn_json_get(it, "port"), &l->port);
    if (rc < 0)
      return csn_wrap(p->err, rc, "listeners");
  }
  return 0;
}

static int64_t
cap(const csn_json *v, const char *key, int64_t otherwise)
{
  int64_t n = csn_json_int(csn_json_get(v, "caps"), key, 0);
  return n > 0 ? n : otherwise;
}

int
csn_config_parse(csn_config *c, csn_arena *a, csn_str text, csn_err *err)
{
  struct parser p = {a, err};
  const csn_json *v;
  csn_str policy;
  *c = (csn_config){0};
  int rc = csn_json_parse(a, text, &v, err);
  if (rc >= 0)
    rc = csn_json_need_str(v, "policy", &policy, err);
  if (rc < 0)
    return rc;
  c->open = csn_str_eq(policy, CSN_STR("open"));
  if (!c->open && !csn_str_eq(policy, CSN_STR("allow")))
    return csn_fail(err, CSN_E_INVALID, "policy: expected \"allow\" or \"open\"");
  if ((rc = take_rules(&p, v, c)) < 0 || (rc = take_secrets(&p, v, c)) < 0 ||
      (rc = take_endpoints(&p, v, "allow_private", LIST_MAX, &c->privates, &c->n_privates)) < 0 ||
      (rc = take_endpoints(&p, csn_json_get(v, "dns"), "servers", CSN_NAMESERVERS_MAX,
                           &c->nameservers, &c->n_nameservers)) < 0 ||
      (rc = take_fixed(&p, v, c)) < 0 || (rc = take_listeners(&p, v, c)) < 0)
    return rc;
  c->extra_roots = csn_json_str(v, "extra_roots", CSN_STR(""));
  c->sees_requests = csn_json_bool(v, "sees_requests", false);
  csn_str restriction = csn_json_str(v, "restrict", CSN_STR(""));
  c->restriction = csn_str_eq(restriction, CSN_STR("all"))      ? CSN_RESTRICT_ALL
                   : csn_str_eq(restriction, CSN_STR("writes")) ? CSN_RESTRICT_WRITES
                                                                : CSN_RESTRICT_NONE;
  c->max_connections = cap(v, "connections", 256);
  if (c->max_connections > 8192)
    c->max_connections = 8192;
  c->max_up_bytes = cap(v, "bytes_up", 0);
  c->max_down_bytes = cap(v, "bytes_down", 0);
  c->idle_ms = cap(v, "idle_ms", 300000);
  c->header_ms = cap(v, "header_ms", 10000);
  return 0;
}

bool
csn_config_terminates(const csn_config *c)
{
  for (size_t i = 0; i < c->n_rules; i++)
    if (c->rules[i].n_methods)
      return true;
  return c->n_secrets > 0 || c->sees_requests;
}
