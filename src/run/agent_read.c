/* SPDX-License-Identifier: Apache-2.0
 * agent_read.c - checks and complaints that all parts of agent.yaml share. */
#include "run/agent_read.h"

#include <stdio.h>

int
csn_agent_complain(const struct csn_agent_reader *r, const csn_json *at, const char *fmt, ...)
{
  char text[300];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  if (at && at->line)
    return csn_fail(r->err, CSN_E_INVALID, "%s:%u: %s", r->file, at->line, text);
  return csn_fail(r->err, CSN_E_INVALID, "%s: %s", r->file, text);
}

int
csn_agent_want(const struct csn_agent_reader *r, const csn_json *v, const char *key,
               enum csn_json_kind kind)
{
  if (v->kind == kind)
    return 0;
  return csn_agent_complain(r, v, "%s: expected %s, got %s", key, csn_json_kind_name(kind),
                            csn_json_kind_name((enum csn_json_kind)v->kind));
}

int
csn_agent_only(const struct csn_agent_reader *r, const csn_json *v, const char *where,
               const char *const *keys)
{
  csn_json_each (m, v) {
    bool known = false;
    for (const char *const *k = keys; *k; k++)
      known = known || csn_str_eq(m->key, csn_cstr(**k == CSN_UNTOLD ? *k + 1 : *k));
    if (known)
      continue;
    csn_auto(csn_buf_finip) csn_buf list = CSN_BUF(1000);
    for (const char *const *k = keys; *k; k++)
      if (**k != CSN_UNTOLD)
        csn_buf_addf(&list, "%s%s", list.n ? ", " : "", *k);
    return csn_agent_complain(r, m, "unknown key %s%.*s; the keys here are: %s", where,
                              (int)m->key.n, m->key.p, list.p);
  }
  return 0;
}

int
csn_agent_text(const struct csn_agent_reader *r, const csn_json *v, const char *key, csn_str *out)
{
  const csn_json *m = csn_json_get(v, key);
  if (!m)
    return 0;
  int rc = csn_agent_want(r, m, key, CSN_JSON_STRING);
  if (rc == 0 && memchr(m->text.p, '\0', m->text.n))
    rc = csn_agent_complain(r, m, "%s: a NUL character is not allowed", key);
  if (rc == 0)
    *out = csn_arena_dup(r->a->arena, m->text);
  return rc;
}

int
csn_agent_whole(const struct csn_agent_reader *r, const csn_json *v, const char *key, int64_t least,
                int64_t *out)
{
  const csn_json *m = csn_json_get(v, key);
  if (!m)
    return 0;
  int64_t n;
  if (!csn_json_to_int(m, &n) || n < least)
    return csn_agent_complain(r, m, "%s: expected a whole number of at least %lld", key,
                              (long long)least);
  *out = n;
  return 0;
}
