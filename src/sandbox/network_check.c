/* SPDX-License-Identifier: Apache-2.0
 *
 * network_check.c - what may stand in a network policy.
 *
 * The egress process would refuse most of it, too, but later and without the
 * words of who wrote it. */
#include <strings.h>

#include "sandbox/network.h"
#include "wire/address.h"

enum { MOST_HOSTS = 1024, MOST_SECRETS = 64, MOST_EXCEPTIONS = 256, MOST_METHODS = 32 };
enum { NAME_MAX_BYTES = 253, LABEL_MAX = 63, VALUE_MIN = 8, VALUE_MAX = 8192, HEADER_MAX = 512 };

static bool
is_name_byte(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

static bool
is_number(csn_str s)
{
  for (size_t i = 0; i < s.n; i++)
    if (s.p[i] < '0' || s.p[i] > '9')
      return false;
  return true;
}

/* A host name; what could be taken for an address is none. */
static bool
is_name(csn_str s)
{
  size_t from = 0;
  if (s.n == 0 || s.n > NAME_MAX_BYTES)
    return false;
  for (size_t i = 0; i <= s.n; i++) {
    if (i < s.n && s.p[i] != '.') {
      if (!is_name_byte(s.p[i]))
        return false;
      continue;
    }
    if (i == from || i - from > LABEL_MAX)
      return false;
    if (i == s.n)
      return !is_number(csn_strn(s.p + from, i - from));
    from = i + 1;
  }
  return false;
}

static csn_str
without_star(csn_str s)
{
  return csn_str_starts(s, CSN_STR("*.")) ? csn_strn(s.p + 2, s.n - 2) : s;
}

static bool
is_private_address_allowed(const csn_network *n, const csn_address *a)
{
  csn_address other;
  uint16_t port;
  for (const char *const *e = n->allow_private; e && *e; e++)
    if (csn_endpoint_parse(csn_cstr(*e), &other, &port) && csn_address_eq(&other, a))
      return true;
  return false;
}

static int
check_host(const csn_network *n, const csn_network_host *h, csn_err *err)
{
  csn_str host = csn_cstr(h->host);
  csn_address a;
  if (csn_address_parse(host, &a)) {
    const char *what = csn_address_refusal(&a);
    if (what && !is_private_address_allowed(n, &a))
      return csn_fail(err, CSN_E_INVALID,
                      "network: %s is %s, not public; to reach it all the same, list it with its "
                      "port in allow_private",
                      h->host, what);
  } else if (csn_str_eq(host, CSN_STR("*"))) {
    return csn_fail(err, CSN_E_INVALID, "network: \"*\" is no host; open: true allows every one");
  } else if (!is_name(without_star(host))) {
    return csn_fail(err, CSN_E_INVALID,
                    "network: \"%.100s\" is neither a host name (example.com, *.example.com) nor "
                    "an address",
                    h->host);
  }
  for (size_t i = 0; i < h->n_ports; i++)
    if (h->ports[i] == 0)
      return csn_fail(err, CSN_E_INVALID, "network: %s: port 0", h->host);
  size_t k = 0;
  for (; h->methods && h->methods[k]; k++)
    for (const char *c = h->methods[k]; *c || c == h->methods[k]; c++)
      if (*c < 'A' || *c > 'Z' || k == MOST_METHODS)
        return csn_fail(err, CSN_E_INVALID, "network: %s: \"%.30s\" is no method of HTTP", h->host,
                        h->methods[k]);
  return 0;
}

/* ---- secrets ---- */

static bool
is_same(csn_str a, csn_str b)
{
  return a.n == b.n && (a.n == 0 || (a.p && b.p && strncasecmp(a.p, b.p, a.n) == 0));
}

/* Whether everything that `wanted` stands for is allowed by the policy. */
static bool
is_allowed(const csn_network *n, const char *wanted)
{
  csn_str w = csn_cstr(wanted);
  for (size_t i = 0; i < n->n_hosts; i++) {
    csn_str h = csn_cstr(n->hosts[i].host);
    if (is_same(h, w))
      return true;
    if (!csn_str_starts(h, CSN_STR("*.")))
      continue;
    csn_str tail = csn_strn(h.p + 1, h.n - 1); /* ".example.com" */
    if (w.n > tail.n && is_same(csn_strn(w.p + w.n - tail.n, tail.n), tail))
      return true;
  }
  return n->open;
}

static bool
is_variable(const char *name)
{
  if (!*name || (*name >= '0' && *name <= '9') || strlen(name) > NAME_MAX_BYTES)
    return false;
  for (; *name; name++)
    if (!is_name_byte(*name) || *name == '-')
      return false;
  return true;
}

/* What may stand in a header field as it is. */
static bool
is_printable(const char *text)
{
  for (; *text; text++)
    if ((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7e)
      return false;
  return true;
}

/* "Name: text with one {}" */
static bool
is_header(const char *header)
{
  const char *hole = strstr(header, "{}"), *colon = strchr(header, ':');
  if (!colon || colon == header || !hole || hole < colon || strstr(hole + 2, "{}") ||
      strlen(header) > HEADER_MAX || !is_printable(header))
    return false;
  for (const char *c = header; c < colon; c++)
    if (!is_name_byte(*c))
      return false;
  return true;
}

static int
check_secret(const csn_network *n, const csn_network_secret *s, csn_err *err)
{
  if (!s->name || !is_variable(s->name))
    return csn_fail(err, CSN_E_INVALID, "secrets: \"%.60s\" is no name for a variable",
                    s->name ? s->name : "");
  size_t len = s->value ? strlen(s->value) : 0;
  if (len < VALUE_MIN || len > VALUE_MAX)
    return csn_fail(err, CSN_E_INVALID,
                    "secret %s: its value has %zu bytes; %d to %d can be kept secret", s->name, len,
                    VALUE_MIN, VALUE_MAX);
  if (!is_printable(s->value))
    return csn_fail(err, CSN_E_INVALID,
                    "secret %s: its value has bytes that no header field may have", s->name);
  if (s->header && !is_header(s->header))
    return csn_fail(err, CSN_E_INVALID,
                    "secret %s: header should be like \"Authorization: Bearer {}\", with one {}",
                    s->name);
  if (!s->hosts || !s->hosts[0])
    return csn_fail(err, CSN_E_INVALID, "secret %s: hosts is missing: where may it be sent?",
                    s->name);
  for (size_t i = 0; s->hosts[i]; i++)
    if (i == MOST_EXCEPTIONS || !is_allowed(n, s->hosts[i]))
      return csn_fail(err, CSN_E_INVALID,
                      "secret %s: the network policy does not allow its host %.100s", s->name,
                      s->hosts[i]);
  for (const csn_network_secret *other = n->secrets; other < s; other++)
    if (strcmp(other->name, s->name) == 0)
      return csn_fail(err, CSN_E_INVALID, "secret %s is given twice", s->name);
  return 0;
}

/* ---- exceptions ---- */

static int
check_exceptions(const csn_network *n, csn_err *err)
{
  csn_address a;
  uint16_t port;
  size_t i = 0;
  for (; n->allow_private && n->allow_private[i]; i++)
    if (i == MOST_EXCEPTIONS || !csn_endpoint_parse(csn_cstr(n->allow_private[i]), &a, &port))
      return csn_fail(err, CSN_E_INVALID,
                      "network: allow_private: \"%.100s\" is no address with a port, like "
                      "127.0.0.1:8080 or [::1]:8080",
                      n->allow_private[i]);
  for (i = 0; n->resolve && n->resolve[i]; i++) {
    const char *equals = strchr(n->resolve[i], '=');
    if (i == MOST_EXCEPTIONS || !equals ||
        !is_name(csn_strn(n->resolve[i], (size_t)(equals - n->resolve[i]))) ||
        !csn_address_parse(csn_cstr(equals + 1), &a))
      return csn_fail(err, CSN_E_INVALID,
                      "network: resolve: \"%.100s\" is not a name and its address", n->resolve[i]);
  }
  return 0;
}

int
csn_network_check(const csn_network *n, csn_err *err)
{
  uint16_t ports[CSN_JAIL_PORTS_MAX];
  if (n->n_hosts == 0 && !n->open)
    return csn_fail(err, CSN_E_INVALID,
                    "network: the list of allowed hosts is empty; leave the network out for none");
  if (n->n_hosts > MOST_HOSTS || n->n_secrets > MOST_SECRETS)
    return csn_fail(err, CSN_E_LIMIT, "network: at most %d hosts and %d secrets", MOST_HOSTS,
                    MOST_SECRETS);
  int rc = check_exceptions(n, err);
  for (size_t i = 0; rc == 0 && i < n->n_hosts; i++)
    rc = check_host(n, &n->hosts[i], err);
  for (size_t i = 0; rc == 0 && i < n->n_secrets; i++)
    rc = check_secret(n, &n->secrets[i], err);
  if (rc == 0)
    rc = csn_network_ports(n, ports, err);
  return rc < 0 ? rc : 0;
}
