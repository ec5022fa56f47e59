/* SPDX-License-Identifier: Apache-2.0
 *
 * network_json.c - reads network policies; see network_json.h.
 *
 * A secret's value never is in the JSON: it says where the value is.  It is
 * read as late as possible and lives in the arena of who asked.
 */
#include "sandbox/network_json.h"

#include <fcntl.h>
#include <limits.h>

#include "core/fd.h"
#include "wire/address.h"

enum { VALUE_MAX = 8192, ROOTS_MAX = 1 << 20, MOST_PORTS = 64 };

struct reader {
  csn_arena *a;
  const char *folder;
  enum csn_secret_values values;
  const csn_json **at;
  csn_err *err;
};

static int complain(const struct reader *r, const csn_json *at, const char *fmt, ...)
    CSN_PRINTF(3, 4);

static int
complain(const struct reader *r, const csn_json *at, const char *fmt, ...)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(400);
  va_list ap;
  va_start(ap, fmt);
  csn_buf_addv(&text, fmt, ap);
  va_end(ap);
  *r->at = at;
  return csn_fail(r->err, CSN_E_INVALID, "%s", text.p ? text.p : "");
}

static int
only(const struct reader *r, const csn_json *v, const char *where, const char *const *keys)
{
  if (v->kind != CSN_JSON_OBJECT)
    return complain(r, v, "%s: expected an object, got %s", where,
                    csn_json_kind_name((enum csn_json_kind)v->kind));
  csn_json_each (m, v) {
    csn_auto(csn_buf_finip) csn_buf list = CSN_BUF(200);
    bool known = false;
    for (const char *const *k = keys; *k; k++) {
      known |= csn_str_eq(m->key, csn_cstr(*k));
      csn_buf_addf(&list, "%s%s", list.n ? ", " : "", *k);
    }
    if (!known)
      return complain(r, m, "unknown key %s.%.*s; the keys here are: %s", where,
                      (int)(m->key.n & 0xff), m->key.p, list.p);
  }
  return 0;
}

/* A text without NUL; *out stays when there is none. */
static int
text_of(const struct reader *r, const csn_json *m, const char *where, const char **out)
{
  if (!m)
    return 0;
  if (m->kind != CSN_JSON_STRING || memchr(m->text.p, '\0', m->text.n))
    return complain(r, m, "%s: expected a text", where);
  *out = csn_arena_dup(r->a, m->text).p;
  return 0;
}

static int
texts_of(const struct reader *r, const csn_json *list, const char *where, const char *const **out)
{
  if (!list)
    return 0;
  if (list->kind != CSN_JSON_ARRAY)
    return complain(r, list, "%s: expected a list of texts", where);
  const char **texts = csn_arena_alloc(r->a, (list->n + 1) * sizeof *texts);
  size_t n = 0;
  csn_json_each (m, list) {
    int rc = text_of(r, m, where, &texts[n++]);
    if (rc < 0)
      return rc;
  }
  *out = texts;
  return 0;
}

/* ---- hosts ---- */

int
csn_ports_from_json(csn_arena *a, const csn_json *list, uint16_t **out, size_t *n, csn_err *err)
{
  *n = 0;
  if (!list)
    return 0;
  if (list->kind != CSN_JSON_ARRAY || list->n > MOST_PORTS)
    return csn_fail(err, CSN_E_INVALID, "expected a list of at most %d ports", MOST_PORTS);
  uint16_t *ports = *out = csn_arena_alloc(a, (list->n + 1) * sizeof *ports);
  csn_json_each (m, list) {
    int64_t port;
    if (!csn_json_to_int(m, &port) || port < 1 || port > UINT16_MAX)
      return csn_fail(err, CSN_E_INVALID, "expected ports from 1 to 65535");
    ports[(*n)++] = (uint16_t)port;
  }
  return 0;
}

/* "HOST", or "HOST:PORT" where HOST is no IPv6 address. */
static int
host_word(const struct reader *r, const csn_json *m, csn_network_host *h)
{
  csn_address a;
  int64_t port;
  int rc = text_of(r, m, "network.allow", &h->host);
  csn_str word = csn_cstr(h->host);
  size_t colon = csn_str_find(word, CSN_STR(":"), 0);
  if (rc < 0 || colon == SIZE_MAX || csn_address_parse(word, &a))
    return rc;
  csn_str digits = csn_strn(word.p + colon + 1, word.n - colon - 1);
  if (!csn_str_int(digits, &port) || port < 1 || port > UINT16_MAX)
    return complain(r, m, "network.allow: \"%.100s\" is neither HOST nor HOST:PORT", h->host);
  uint16_t *one = csn_arena_alloc(r->a, sizeof *one);
  *one = (uint16_t)port;
  h->host = csn_arena_dup(r->a, csn_strn(word.p, colon)).p;
  h->ports = one;
  h->n_ports = 1;
  return 0;
}

static int
read_host(const struct reader *r, const csn_json *m, csn_network_host *h)
{
  static const char *const keys[] = {"host", "ports", "methods", NULL};
  if (m->kind == CSN_JSON_STRING)
    return host_word(r, m, h);
  csn_err why;
  uint16_t *ports = NULL;
  int rc = only(r, m, "network.allow", keys);
  if (rc == 0)
    rc = text_of(r, csn_json_get(m, "host"), "network.allow.host", &h->host);
  if (rc == 0 && !h->host)
    rc = complain(r, m, "network.allow: host is missing");
  if (rc == 0)
    rc = texts_of(r, csn_json_get(m, "methods"), "network.allow.methods", &h->methods);
  if (rc == 0 && csn_ports_from_json(r->a, csn_json_get(m, "ports"), &ports, &h->n_ports, &why) < 0)
    rc = complain(r, m, "network.allow.ports: %s", why.msg);
  h->ports = ports;
  return rc;
}

static int
read_allow(const struct reader *r, const csn_json *list, csn_network *n)
{
  if (!list)
    return 0;
  if (list->kind != CSN_JSON_ARRAY)
    return complain(r, list, "network.allow: expected a list of hosts");
  csn_network_host *hosts = csn_arena_alloc(r->a, (list->n + 1) * sizeof *hosts);
  n->hosts = hosts;
  csn_json_each (m, list) {
    int rc = read_host(r, m, &hosts[n->n_hosts]);
    if (rc < 0)
      return rc;
    n->n_hosts++;
  }
  return 0;
}

/* ---- exceptions ---- */

static int
read_resolve(const struct reader *r, const csn_json *v, csn_network *n)
{
  if (!v)
    return 0;
  if (v->kind != CSN_JSON_OBJECT)
    return complain(r, v, "network.resolve: expected names with their addresses");
  const char **list = csn_arena_alloc(r->a, (v->n + 1) * sizeof *list);
  size_t k = 0;
  csn_json_each (m, v) {
    const char *address = NULL;
    int rc = text_of(r, m, "network.resolve", &address);
    if (rc < 0)
      return rc;
    list[k++] = csn_arena_printf(r->a, "%.*s=%s", (int)m->key.n, m->key.p, address).p;
  }
  n->resolve = list;
  return 0;
}

/* The bytes of a small file, without the line end that editors add. */
static int
read_file(const struct reader *r, const char *path, size_t max, const char **out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf full = CSN_BUF(PATH_MAX), text = CSN_BUF(max + 2);
  if (!path)
    return csn_fail(err, CSN_E_INVALID, "the path of a file is missing");
  csn_buf_addf(&full, "%s%s%s", path[0] == '/' ? "" : r->folder, path[0] == '/' ? "" : "/", path);
  int rc = csn_buf_done(&full, "the path of a file", err);
  csn_auto(csn_closep) int fd =
      rc < 0 ? -1 : open(full.p, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (rc == 0 && fd < 0)
    rc = csn_fail_errno(err, "%s", path);
  if (rc == 0)
    rc = csn_fd_read_all(fd, &text, err);
  csn_str s = csn_buf_str(&text);
  if (rc == 0 && csn_str_ends(s, CSN_STR("\n")))
    s.n--;
  if (rc == 0 && csn_str_ends(s, CSN_STR("\r")))
    s.n--;
  if (rc == 0 && (s.n > max || (s.n && memchr(s.p, '\0', s.n))))
    rc = csn_fail(err, CSN_E_INVALID, "%s: longer than %zu bytes, or not a text", path, max);
  if (rc == 0)
    *out = csn_arena_dup(r->a, s).p;
  if (text.p)
    explicit_bzero(text.p, text.n);
  return rc;
}

static int
read_roots(const struct reader *r, const csn_json *m, csn_network *n)
{
  const char *path = NULL;
  csn_err why;
  int rc = text_of(r, m, "network.extra_roots", &path);
  if (rc == 0 && path && read_file(r, path, ROOTS_MAX, &n->extra_roots, &why) < 0)
    rc = complain(r, m, "network.extra_roots: %s", why.msg);
  return rc;
}

static int
read_policy(const struct reader *r, const csn_json *v, csn_network *n)
{
  static const char *const keys[] = {"allow",   "open",        "allow_private",
                                     "resolve", "extra_roots", NULL};
  int rc = only(r, v, "network", keys);
  const csn_json *open = csn_json_get(v, "open");
  if (rc == 0 && open && open->kind != CSN_JSON_BOOL)
    rc = complain(r, open, "network.open: expected true or false");
  n->open = csn_json_bool(v, "open", false);
  if (rc == 0)
    rc = read_allow(r, csn_json_get(v, "allow"), n);
  if (rc == 0)
    rc = texts_of(r, csn_json_get(v, "allow_private"), "network.allow_private", &n->allow_private);
  if (rc == 0)
    rc = read_resolve(r, csn_json_get(v, "resolve"), n);
  return rc < 0 ? rc : read_roots(r, csn_json_get(v, "extra_roots"), n);
}

/* ---- secrets ---- */

static int
read_value(const struct reader *r, const csn_json *m, const char *from_env, const char *from_file,
           csn_network_secret *s)
{
  csn_err why;
  if (r->values == CSN_SECRETS_NOT_READ) {
    s->value = "(not read)";
    return 0;
  }
  if (from_env) {
    const char *value = getenv(from_env);
    if (!value || !*value)
      return complain(r, m, "secret %s: the environment variable %s is not set", s->name, from_env);
    s->value = csn_arena_dup(r->a, csn_cstr(value)).p;
    return 0;
  }
  if (read_file(r, from_file, VALUE_MAX, &s->value, &why) < 0)
    return complain(r, m, "secret %s: %s", s->name, why.msg);
  return 0;
}

static int
read_secret(const struct reader *r, const csn_json *m, csn_network_secret *s)
{
  static const char *const keys[] = {"name", "from_env", "from_file", "hosts", "header", NULL};
  const char *from_env = NULL, *from_file = NULL;
  int rc = only(r, m, "secrets", keys);
  if (rc == 0)
    rc = text_of(r, csn_json_get(m, "name"), "secrets.name", &s->name);
  if (rc == 0 && !s->name)
    rc = complain(r, m, "secrets: name is missing");
  if (rc == 0)
    rc = text_of(r, csn_json_get(m, "from_env"), "secrets.from_env", &from_env);
  if (rc == 0)
    rc = text_of(r, csn_json_get(m, "from_file"), "secrets.from_file", &from_file);
  if (rc == 0 && (from_env != NULL) == (from_file != NULL))
    rc = complain(r, m, "secret %s: it needs one of from_env and from_file", s->name);
  if (rc == 0)
    rc = texts_of(r, csn_json_get(m, "hosts"), "secrets.hosts", &s->hosts);
  if (rc == 0)
    rc = text_of(r, csn_json_get(m, "header"), "secrets.header", &s->header);
  return rc < 0 ? rc : read_value(r, m, from_env, from_file, s);
}

static int
read_secrets(const struct reader *r, const csn_json *list, csn_network *n)
{
  if (!list)
    return 0;
  if (list->kind != CSN_JSON_ARRAY)
    return complain(r, list, "secrets: expected a list");
  csn_network_secret *secrets = csn_arena_alloc(r->a, (list->n + 1) * sizeof *secrets);
  n->secrets = secrets;
  csn_json_each (m, list) {
    int rc = read_secret(r, m, &secrets[n->n_secrets]);
    if (rc < 0)
      return rc;
    n->n_secrets++;
  }
  return 0;
}

int
csn_network_from_json(csn_arena *a, const csn_json *network, const csn_json *secrets,
                      const char *folder, enum csn_secret_values values, csn_network **out,
                      const csn_json **at, csn_err *err)
{
  struct reader r = {a, folder, values, at, err};
  csn_str word = network && network->kind == CSN_JSON_STRING ? network->text : CSN_STR("");
  *out = NULL;
  *at = network;
  if (!network || csn_str_eq(word, CSN_STR("none"))) {
    if (secrets && secrets->child)
      return complain(&r, secrets, "secrets: without a network they have nowhere to go");
    return 0;
  }
  csn_network *n = csn_arena_alloc(a, sizeof *n);
  int rc = 0;
  if (csn_str_eq(word, CSN_STR("open")))
    n->open = true;
  else if (network->kind == CSN_JSON_STRING)
    rc = complain(&r, network, "network: expected none, open or {allow: [HOST, ...]}");
  else
    rc = read_policy(&r, network, n);
  if (rc == 0)
    rc = read_secrets(&r, secrets, n);
  if (rc < 0)
    return rc;
  *out = n;
  return csn_network_check(n, err);
}
