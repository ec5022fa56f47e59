/* SPDX-License-Identifier: Apache-2.0
 * agent_http.c - entries `http` of the section `tools`: requests to a server. */
#include <ctype.h>

#include "run/agent_read.h"
#include "run/http_tool.h"
#include "run/trust.h"
#include "wire/address.h"

enum { HEADERS_MAX = 6 };

/* The host is the file's: no argument may change where a request goes. */
static int
read_url(const struct csn_agent_reader *r, const csn_json *t, struct csn_http_tool *tool, csn_jw *w)
{
  const csn_json *m = csn_json_get(t, "http");
  int rc = csn_agent_text(r, t, "http", &tool->url);
  if (rc < 0)
    return rc;
  bool is_http = csn_str_starts(tool->url, CSN_STR("http://")) ||
                 csn_str_starts(tool->url, CSN_STR("https://"));
  csn_str host = is_http ? csn_url_host(tool->url) : CSN_STR("");
  size_t at = host.n ? (size_t)(host.p + host.n - tool->url.p) : 0;
  csn_str head = csn_strn(tool->url.p, at);
  if (!host.n || csn_str_find(head, CSN_STR("{"), 0) != SIZE_MAX ||
      csn_str_find(head, CSN_STR("@"), 0) != SIZE_MAX)
    return csn_agent_complain(r, m,
                              "tools.http: expected http:// or https:// and a host; {NAME} may "
                              "stand in what follows it");
  csn_jw_key(w, "http");
  csn_jw_str(w, tool->url);
  return 0;
}

static int
read_method(const struct csn_agent_reader *r, const csn_json *t, struct csn_http_tool *tool,
            csn_jw *w)
{
  static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
  csn_str word = CSN_STR("GET");
  int rc = csn_agent_text(r, t, "method", &word);
  for (size_t i = 0; rc == 0 && i < CSN_COUNT(methods); i++)
    if (csn_str_eq(word, csn_cstr(methods[i])))
      tool->method = methods[i];
  if (rc == 0 && !tool->method)
    return csn_agent_complain(r, t, "tools.method: expected GET, POST, PUT, PATCH or DELETE");
  csn_jw_key(w, "method");
  csn_jw_str(w, word);
  return rc;
}

static bool
is_header(const csn_json *m)
{
  for (size_t i = 0; i < m->key.n; i++)
    if (!isalnum((unsigned char)m->key.p[i]) && m->key.p[i] != '-' && m->key.p[i] != '_')
      return false;
  for (size_t i = 0; i < m->text.n; i++)
    if ((unsigned char)m->text.p[i] < 0x20)
      return false;
  return m->key.n && m->kind == CSN_JSON_STRING;
}

/* An object of texts, kept in the agent's arena. */
static int
read_headers(const struct csn_agent_reader *r, const csn_json *t, const char *key,
             const csn_json **out, csn_jw *w)
{
  const csn_json *m = csn_json_get(t, key);
  if (!m)
    return 0;
  int rc = csn_agent_want(r, m, key, CSN_JSON_OBJECT);
  if (rc == 0 && m->n > HEADERS_MAX)
    rc = csn_agent_complain(r, m, "tools.%s: at most %d", key, HEADERS_MAX);
  csn_json_each (h, rc == 0 ? m : NULL)
    if (!is_header(h))
      return csn_agent_complain(r, h, "tools.%s: expected names of headers and texts", key);
  if (rc < 0)
    return rc;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_jw kept;
  csn_jw_init(&kept, &text);
  csn_jw_value(&kept, m);
  csn_jw_key(w, key);
  csn_jw_value(w, m);
  return csn_agent_keep(r, &kept, out);
}

static int
read_allowed(const struct csn_agent_reader *r, const csn_json *t, struct csn_http_tool *tool,
             csn_jw *w)
{
  const csn_json *m = csn_json_get(t, "allow_private");
  csn_address address;
  uint16_t port;
  if (!m)
    return 0;
  int rc = csn_agent_want(r, m, "tools.allow_private", CSN_JSON_ARRAY);
  const char **all = csn_arena_alloc(r->a->arena, (m->n + 1) * sizeof *all);
  size_t n = 0;
  csn_json_each (v, rc == 0 ? m : NULL) {
    if (v->kind != CSN_JSON_STRING || !csn_endpoint_parse(v->text, &address, &port))
      return csn_agent_complain(r, v, "tools.allow_private: expected ADDRESS:PORT");
    all[n++] = csn_arena_dup(r->a->arena, v->text).p;
  }
  tool->allow = all;
  csn_jw_key(w, "allow_private");
  csn_jw_value(w, m);
  return rc;
}

int
csn_agent_read_http(const struct csn_agent_reader *r, const csn_json *t, csn_tool *decl, csn_jw *w)
{
  struct csn_http_tool *tool = csn_arena_alloc(r->a->arena, sizeof *tool);
  int rc = read_url(r, t, tool, w);
  if (rc == 0)
    rc = read_method(r, t, tool, w);
  if (rc == 0)
    rc = read_headers(r, t, "headers", &tool->headers, w);
  if (rc == 0)
    rc = read_headers(r, t, "header_env", &tool->env, w);
  if (rc == 0)
    rc = read_allowed(r, t, tool, w);
  if (rc < 0)
    return rc;
  tool->name = decl->name;
  decl->call = csn_http_tool_call;
  decl->user = tool;
  decl->replay = strcmp(tool->method, "GET") == 0 ? CSN_REPLAY_SAFE : CSN_REPLAY_ONCE;
  return 0;
}
