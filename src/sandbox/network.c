/* SPDX-License-Identifier: Apache-2.0
 *
 * network.c - from a policy to what the jail and the egress process are told;
 * see network.h. */
#include "sandbox/network.h"

#include <fcntl.h>

#include "core/fd.h"
#include "core/hash.h"
#include "sandbox/strings.h"

enum { ROOTS_MAX = 4 << 20, PLACEHOLDER_RANDOM = 32 };

static const uint16_t usual_ports[] = {443, 80};

int
csn_network_refuse(const csn_sandbox_spec *spec, const char *name, csn_err *err)
{
  if (spec->network)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "back-end %s cannot hold a network policy; the jail can (backend: jail)", name);
  if (spec->n_expose)
    return csn_fail(err, CSN_E_UNSUPPORTED,
                    "back-end %s cannot expose ports; jail, docker and e2b can", name);
  return 0;
}

/* ---- ports ---- */

static bool
add_port(uint16_t port, uint16_t ports[CSN_JAIL_PORTS_MAX], size_t *n)
{
  if (port == CSN_JAIL_PROXY_PORT || port == CSN_JAIL_DNS_PORT)
    return true; /* there is a listener */
  for (size_t i = 0; i < *n; i++)
    if (ports[i] == port)
      return true;
  if (*n == CSN_JAIL_PORTS_MAX)
    return false;
  ports[(*n)++] = port;
  return true;
}

int
csn_network_ports(const csn_network *n, uint16_t ports[CSN_JAIL_PORTS_MAX], csn_err *err)
{
  size_t count = 0;
  bool fits = true, usual = n->open;
  for (size_t i = 0; i < n->n_hosts; i++) {
    usual |= n->hosts[i].n_ports == 0;
    for (size_t k = 0; k < n->hosts[i].n_ports; k++)
      fits &= add_port(n->hosts[i].ports[k], ports, &count);
  }
  for (size_t i = 0; usual && i < CSN_COUNT(usual_ports); i++)
    fits &= add_port(usual_ports[i], ports, &count);
  if (!fits)
    return csn_fail(err, CSN_E_LIMIT, "network: more than %d different ports", CSN_JAIL_PORTS_MAX);
  return (int)count;
}

/* ---- the environment ---- */

const char *const *
csn_network_placeholders(csn_arena *a, const csn_network *n)
{
  const char **list = csn_arena_alloc(a, (n->n_secrets + 1) * sizeof *list);
  for (size_t i = 0; i < n->n_secrets; i++) {
    char random[PLACEHOLDER_RANDOM + 1];
    csn_random_name(random, PLACEHOLDER_RANDOM);
    list[i] = csn_arena_printf(a, "csn-secret-%s", random).p;
  }
  return list;
}

const char *const *
csn_network_variables(csn_arena *a, const csn_network *n, const char *const *placeholders)
{
  static const char *const proxies[] = {"HTTP_PROXY",  "http_proxy", "HTTPS_PROXY",
                                        "https_proxy", "ALL_PROXY",  "all_proxy"};
  static const char *const excepted[] = {"NO_PROXY", "no_proxy"};
  /* Each of these programs and libraries looks at one of its own. */
  static const char *const trusted[] = {"SSL_CERT_FILE",
                                        "CURL_CA_BUNDLE",
                                        "REQUESTS_CA_BUNDLE",
                                        "NODE_EXTRA_CA_CERTS",
                                        "GIT_SSL_CAINFO",
                                        "PIP_CERT",
                                        "CARGO_HTTP_CAINFO",
                                        "AWS_CA_BUNDLE",
                                        "NIX_SSL_CERT_FILE",
                                        "DENO_CERT",
                                        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"};
  size_t k = 0, room = CSN_COUNT(proxies) + CSN_COUNT(excepted) + CSN_COUNT(trusted);
  const char **list = csn_arena_alloc(a, (room + n->n_secrets + 1) * sizeof *list);
  for (size_t i = 0; i < CSN_COUNT(proxies); i++)
    list[k++] = csn_arena_printf(a, "%s=http://127.0.0.1:%d", proxies[i], CSN_JAIL_PROXY_PORT).p;
  for (size_t i = 0; i < CSN_COUNT(excepted); i++)
    list[k++] = csn_arena_printf(a, "%s=localhost,127.0.0.1,::1", excepted[i]).p;
  for (size_t i = 0; i < CSN_COUNT(trusted); i++)
    list[k++] = csn_arena_printf(a, "%s=%s", trusted[i], CSN_JAIL_TRUST_FILE).p;
  for (size_t i = 0; i < n->n_secrets; i++)
    list[k++] = csn_arena_printf(a, "%s=%s", n->secrets[i].name, placeholders[i]).p;
  return list;
}

/* ---- the configuration ---- */

static void
put_member(csn_jw *w, const char *key, const char *text)
{
  csn_jw_key(w, key);
  csn_jw_strz(w, text);
}

/* Names are compared in lower case. */
static csn_str
lower(char out[256], csn_str name)
{
  size_t n = name.n < 256 ? name.n : 256;
  for (size_t i = 0; i < n; i++)
    out[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] | 32) : name.p[i];
  return csn_strn(out, n);
}

static void
put_host(csn_jw *w, const csn_network_host *h)
{
  char text[256];
  csn_jw_obj(w);
  csn_jw_key(w, "host");
  csn_jw_str(w, lower(text, csn_cstr(h->host)));
  if (h->n_ports) {
    csn_jw_key(w, "ports");
    csn_jw_arr(w);
    for (size_t i = 0; i < h->n_ports; i++)
      csn_jw_int(w, h->ports[i]);
    csn_jw_end(w);
  }
  csn_strings_to_json(w, "methods", h->methods);
  csn_jw_end(w);
}

static void
put_secret(csn_jw *w, const csn_network_secret *s, const char *placeholder)
{
  char text[256];
  csn_jw_obj(w);
  put_member(w, "name", s->name);
  put_member(w, "value", s->value);
  put_member(w, "placeholder", placeholder);
  csn_jw_key(w, "hosts");
  csn_jw_arr(w);
  for (const char *const *h = s->hosts; *h; h++)
    csn_jw_str(w, lower(text, csn_cstr(*h)));
  csn_jw_end(w);
  if (s->header)
    put_member(w, "header", s->header);
  csn_jw_end(w);
}

static void
put_resolve(csn_jw *w, const char *const *list)
{
  char text[256];
  csn_jw_key(w, "resolve");
  csn_jw_obj(w);
  for (; list && *list; list++) {
    const char *equals = strchr(*list, '=');
    csn_jw_keyn(w, lower(text, csn_strn(*list, (size_t)(equals - *list))));
    csn_jw_strz(w, equals + 1);
  }
  csn_jw_end(w);
}

static void
put_listener(csn_jw *w, const char *kind, int port)
{
  csn_jw_obj(w);
  put_member(w, "kind", kind);
  csn_jw_key(w, "port");
  csn_jw_int(w, port);
  csn_jw_end(w);
}

/* In the order of the sockets that the jail hands over. */
static void
put_listeners(csn_jw *w, const uint16_t *ports, size_t n)
{
  csn_jw_key(w, "listeners");
  csn_jw_arr(w);
  put_listener(w, "proxy", CSN_JAIL_PROXY_PORT);
  put_listener(w, "dns_udp", CSN_JAIL_DNS_PORT);
  put_listener(w, "dns_tcp", CSN_JAIL_DNS_PORT);
  for (size_t i = 0; i < n; i++)
    put_listener(w, "tcp", ports[i]);
  csn_jw_end(w);
}

int
csn_network_config(csn_buf *out, const csn_network *n, const char *const *placeholders,
                   const uint16_t *ports, size_t n_ports, csn_err *err)
{
  csn_jw jw, *w = &jw;
  csn_jw_init(w, out);
  csn_jw_obj(w);
  put_member(w, "policy", n->open ? "open" : "allow");
  csn_jw_key(w, "hosts");
  csn_jw_arr(w);
  for (size_t i = 0; i < n->n_hosts; i++)
    put_host(w, &n->hosts[i]);
  csn_jw_end(w);
  csn_jw_key(w, "secrets");
  csn_jw_arr(w);
  for (size_t i = 0; i < n->n_secrets; i++)
    put_secret(w, &n->secrets[i], placeholders[i]);
  csn_jw_end(w);
  csn_strings_to_json(w, "allow_private", n->allow_private);
  put_resolve(w, n->resolve);
  if (n->extra_roots)
    put_member(w, "extra_roots", n->extra_roots);
  if (n->restriction)
    put_member(w, "restrict", n->restriction == CSN_NETWORK_NOTHING ? "all" : "writes");
  if (n->sees_requests) {
    csn_jw_key(w, "sees_requests");
    csn_jw_bool(w, true);
  }
  put_listeners(w, ports, n_ports);
  csn_jw_end(w);
  return csn_jw_done(w, err);
}

/* ---- certificates ---- */

int
csn_network_bundle(csn_buf *out, const csn_network *n, csn_str ca_pem, csn_err *err)
{
  static const char *const roots[] = {
      "/etc/ssl/certs/ca-certificates.crt",
      "/etc/pki/tls/certs/ca-bundle.crt",
      "/etc/ssl/ca-bundle.pem",
      "/etc/ssl/cert.pem",
  };
  /* A machine without roots is no mistake here: the egress process says so
   * when it has to trust somebody. */
  for (size_t i = 0; i < CSN_COUNT(roots) && out->n == 0; i++) {
    csn_auto(csn_closep) int fd = open(roots[i], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(ROOTS_MAX);
    if (fd >= 0 && csn_fd_read_all(fd, &text, NULL) == 0)
      csn_buf_add(out, csn_buf_str(&text));
  }
  if (out->n && out->p[out->n - 1] != '\n')
    csn_buf_addc(out, '\n');
  if (n->extra_roots)
    csn_buf_addf(out, "%s\n", n->extra_roots);
  csn_buf_add(out, ca_pem);
  return csn_buf_done(out, "the certificates that a sandbox trusts", err);
}
