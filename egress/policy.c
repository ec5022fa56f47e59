/* SPDX-License-Identifier: Apache-2.0
 *
 * policy.c - verdicts; see policy.h.
 *
 * Of several rules that match a host, the most exact ones count: a name before
 * a pattern, a longer pattern before a shorter one.  Among equals one that has
 * the port is taken.
 */
#include "egress/policy.h"

/* ---- destinations ---- */

static bool
is_name_char(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Labels of 1 to 63 characters, and a last one that is no number: "127.1" and
 * "0x7f000001" are addresses to some and names to others. */
static bool
is_name(csn_str s)
{
  size_t label = 0, start = 0;
  for (size_t i = 0; i <= s.n; i++) {
    if (i < s.n && s.p[i] != '.') {
      if (!is_name_char(s.p[i]) || ++label > 63)
        return false;
      continue;
    }
    if (label == 0)
      return false;
    label = 0;
    if (i < s.n)
      start = i + 1;
  }
  csn_str last = csn_strn(s.p + start, s.n - start);
  bool number = true;
  for (size_t i = 0; i < last.n; i++)
    number = number && last.p[i] >= '0' && last.p[i] <= '9';
  return !number && !csn_str_starts(last, CSN_STR("0x"));
}

/* Lower case, without the last dot. */
static bool
normal(char out[CSN_HOST_TEXT], csn_str host)
{
  if (host.n > 0 && host.p[host.n - 1] == '.')
    host.n--;
  if (host.n == 0 || host.n >= CSN_HOST_TEXT)
    return false;
  for (size_t i = 0; i < host.n; i++)
    out[i] = (char)(host.p[i] >= 'A' && host.p[i] <= 'Z' ? host.p[i] + 32 : host.p[i]);
  out[host.n] = '\0';
  return true;
}

void
csn_dest_set_address(csn_dest *d, const csn_address *a, uint16_t port)
{
  *d = (csn_dest){.port = port, .is_address = true, .address = *a};
  csn_address_text(a, d->host);
}

bool
csn_dest_set(csn_dest *d, csn_str host, uint16_t port)
{
  csn_address a;
  if (csn_address_parse(host, &a)) {
    csn_dest_set_address(d, &a, port);
    return true;
  }
  *d = (csn_dest){.port = port};
  return normal(d->host, host) && is_name(csn_cstr(d->host));
}

/* ---- patterns ---- */

int
csn_pattern_parse(csn_pattern *out, csn_arena *a, csn_str text, csn_err *err)
{
  csn_dest d;
  bool wild = csn_str_starts(text, CSN_STR("*."));
  csn_str name = wild ? csn_strn(text.p + 2, text.n - 2) : text;
  if (!csn_dest_set(&d, name, 0) || (wild && d.is_address))
    return csn_fail(err, CSN_E_INVALID,
                    "'%.*s' is no host: expected a name, *.NAME or an address (names beyond ASCII "
                    "in their xn-- form)",
                    (int)(text.n < 200 ? text.n : 200), text.p);
  *out = (csn_pattern){.wild = wild, .is_address = d.is_address, .address = d.address};
  out->name = csn_arena_dup(a, csn_cstr(d.host));
  return out->name.n ? 0 : csn_fail(err, CSN_E_LIMIT, "the configuration is too large");
}

bool
csn_pattern_matches(const csn_pattern *p, const csn_dest *d)
{
  csn_str host = csn_dest_host(d);
  if (p->is_address || d->is_address)
    return p->is_address && d->is_address && csn_address_eq(&p->address, &d->address);
  if (!p->wild)
    return csn_str_eq(p->name, host);
  return host.n > p->name.n + 1 && csn_str_ends(host, p->name) &&
         host.p[host.n - p->name.n - 1] == '.';
}

/* ---- verdicts ---- */

static bool
rule_has_port(const csn_rule *r, uint16_t port)
{
  for (size_t i = 0; i < r->n_ports; i++)
    if (r->ports[i] == port)
      return true;
  return r->n_ports == 0 && (port == 80 || port == 443);
}

/* Any name beats any pattern. */
static size_t
exactness(const csn_rule *r)
{
  return r->host.wild ? r->host.name.n : CSN_HOST_TEXT + 1;
}

csn_verdict
csn_policy_judge(const csn_config *c, const csn_dest *d)
{
  csn_verdict v = {.allowed = c->open};
  size_t best = 0;
  for (size_t i = 0; i < c->n_rules; i++) {
    const csn_rule *r = &c->rules[i];
    size_t exact = exactness(r);
    if (exact < best || !csn_pattern_matches(&r->host, d))
      continue;
    bool has_port = rule_has_port(r, d->port);
    if (exact == best && !has_port)
      continue;
    best = exact;
    v.rule = r;
    v.allowed = c->open || has_port;
  }
  v.terminate = c->sees_requests || (v.rule && v.rule->n_methods > 0);
  for (size_t i = 0; i < c->n_secrets && !v.terminate; i++)
    v.terminate = csn_secret_belongs(&c->secrets[i], d);
  return v;
}

bool
csn_policy_lists(const csn_config *c, const csn_dest *d)
{
  for (size_t i = 0; i < c->n_rules; i++)
    if (csn_pattern_matches(&c->rules[i].host, d))
      return true;
  return c->open;
}

bool
csn_policy_method(const csn_verdict *v, csn_str method)
{
  if (!v->rule || v->rule->n_methods == 0)
    return true;
  for (size_t i = 0; i < v->rule->n_methods; i++)
    if (csn_str_eq(v->rule->methods[i], method))
      return true;
  return false;
}

bool
csn_policy_reads(csn_str method)
{
  static const char *const reading[] = {"GET", "HEAD", "OPTIONS"};
  for (size_t i = 0; i < CSN_COUNT(reading); i++)
    if (csn_str_eq(method, csn_cstr(reading[i])))
      return true;
  return false;
}

bool
csn_secret_belongs(const csn_secret *s, const csn_dest *d)
{
  for (size_t i = 0; i < s->n_hosts; i++)
    if (csn_pattern_matches(&s->hosts[i], d))
      return true;
  return false;
}

bool
csn_policy_is_private(const csn_config *c, const csn_address *a, uint16_t port)
{
  for (size_t i = 0; i < c->n_privates; i++)
    if (c->privates[i].port == port && csn_address_eq(&c->privates[i].address, a))
      return true;
  return false;
}

const char *
csn_policy_address(const csn_config *c, const csn_address *a, uint16_t port)
{
  return csn_policy_is_private(c, a, port) ? NULL : csn_address_refusal(a);
}
