/* SPDX-License-Identifier: Apache-2.0
 * place.c - see place.h. */
#include "store/place.h"

static const char *const schemes[] = {"postgres://", "postgresql://", "redis://"};

bool
csn_place_is_url(csn_str text)
{
  for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
    if (csn_str_starts(text, csn_cstr(schemes[i])))
      return true;
  return false;
}

/* Cuts *s at the first `c`: what is before it; *s keeps what is behind. */
static csn_str
cut(csn_str *s, char c)
{
  size_t n = 0;
  while (n < s->n && s->p[n] != c)
    n++;
  csn_str head = csn_strn(s->p, n);
  *s = csn_strn(s->p + n + (n < s->n), s->n - n - (n < s->n));
  return head;
}

/* The port of "host", "host:port", "[::1]" or "[::1]:port"; empty: none. */
static csn_str
port_of(csn_str host)
{
  if (host.n && *host.p == '[')
    (void)cut(&host, ']');
  (void)cut(&host, ':');
  return host;
}

static bool
is_port(csn_str port)
{
  int64_t n;
  return !port.n || (csn_str_int(port, &n) && n > 0 && n < 65536);
}

int
csn_place_parse(csn_str text, csn_place *out, csn_err *err)
{
  *out = (csn_place){0};
  if (!csn_place_is_url(text))
    return csn_fail(err, CSN_E_INVALID, "expected postgres://... or redis://...");
  for (size_t i = 0; i < text.n; i++)
    if ((unsigned char)text.p[i] <= ' ' || text.p[i] == 0x7f)
      return csn_fail(err, CSN_E_INVALID, "the URL holds a blank or a control character");
  size_t colon = csn_str_find(text, CSN_STR(":"), 0);
  out->scheme = csn_strn(text.p, colon);
  csn_str rest = csn_strn(text.p + colon + 3, text.n - colon - 3);
  csn_str tail = rest, before_query = cut(&tail, '?');
  out->query = tail;
  csn_str path = before_query, authority = cut(&path, '/');
  out->path = path;
  if (csn_str_find(path, CSN_STR("@"), 0) != SIZE_MAX)
    return csn_fail(err, CSN_E_INVALID,
                    "the URL has an '@' behind its host: write '/', '@', ':' and '?' in a name as "
                    "%%2F, %%40, %%3A and %%3F");
  if (csn_str_find(authority, CSN_STR("@"), 0) != SIZE_MAX) {
    csn_str user = cut(&authority, '@');
    out->user = cut(&user, ':');
    out->password = user;
  }
  out->hosts = authority;
  for (csn_str list = authority; list.n;)
    if (!is_port(port_of(cut(&list, ','))))
      return csn_fail(err, CSN_E_INVALID, "the URL's port is no number from 1 to 65535");
  for (csn_str list = out->query; list.n;) {
    csn_str pair = cut(&list, '&'), key = cut(&pair, '=');
    if (csn_str_find(key, CSN_STR("%"), 0) != SIZE_MAX)
      return csn_fail(err, CSN_E_INVALID, "the URL has a %% in the name of an option");
  }
  return 0;
}

bool
csn_place_has_password(const csn_place *p)
{
  for (csn_str list = p->query; list.n;) {
    csn_str pair = cut(&list, '&'), key = cut(&pair, '=');
    if (csn_str_eq(key, CSN_STR("password")) || csn_str_eq(key, CSN_STR("sslpassword")))
      return true;
  }
  return p->password.n > 0;
}

int
csn_place_check_open(csn_str text, const char *where, csn_err *err)
{
  csn_place p;
  int rc = csn_place_parse(text, &p, err);
  if (rc < 0 || !csn_place_has_password(&p))
    return csn_wrap(err, rc, "%s", where);
  if (csn_str_starts(p.scheme, CSN_STR("redis")))
    return csn_fail(err, CSN_E_INVALID,
                    "%s: a password does not belong there, others can read it; leave it out and "
                    "set REDISCLI_AUTH",
                    where);
  return csn_fail(err, CSN_E_INVALID,
                  "%s: a password does not belong there, others can read it; leave it out and put "
                  "it into ~/.pgpass (or the file that PGPASSFILE names), a service file or "
                  "PGPASSWORD",
                  where);
}

static bool
is_local_host(csn_str host)
{
  if (!host.n || *host.p == '/' || csn_str_starts(host, CSN_STR("%2F")) ||
      csn_str_starts(host, CSN_STR("%2f")) || csn_str_starts(host, CSN_STR("[::1]")))
    return true;
  csn_str name = cut(&host, ':');
  if (csn_str_eq(name, CSN_STR("localhost")) || csn_str_eq(name, CSN_STR("::1")))
    return true;
  bool digits = csn_str_starts(name, CSN_STR("127."));
  for (size_t i = 0; digits && i < name.n; i++)
    digits = (name.p[i] >= '0' && name.p[i] <= '9') || name.p[i] == '.';
  return digits;
}

bool
csn_place_is_local(const csn_place *p)
{
  static const char *const names[] = {"host", "hostaddr", "service"};
  bool is_local = true;
  for (csn_str list = p->hosts; list.n;)
    is_local = is_local_host(cut(&list, ',')) && is_local;
  for (csn_str list = p->query; list.n;) {
    csn_str pair = cut(&list, '&'), key = cut(&pair, '=');
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
      if (csn_str_eq(key, csn_cstr(names[i])))
        is_local = is_local && pair.n && i < 2 && is_local_host(pair);
  }
  return is_local;
}
