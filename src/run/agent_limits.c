/* SPDX-License-Identifier: Apache-2.0
 * agent_limits.c - `limits` and `strict` of the section `sandbox`: how much the
 * commands of an agent may use. */
#include "run/agent_read.h"
#include "sandbox/limits.h"

static int
read_one(const struct csn_agent_reader *r, const csn_json *m, enum csn_limit which)
{
  int64_t value;
  csn_err why;
  if (m->kind != CSN_JSON_STRING && m->kind != CSN_JSON_NUMBER)
    return csn_agent_complain(r, m, "sandbox.limits.%s: expected a text or a number, got %s",
                              csn_limit_name(which),
                              csn_json_kind_name((enum csn_json_kind)m->kind));
  if (csn_limit_parse(which, m->text, &value, &why) < 0)
    return csn_agent_complain(r, m, "sandbox.limits: %s", why.msg);
  csn_limit_ask(&r->a->sandbox.limits, which, value);
  return 0;
}

int
csn_agent_read_limits(const struct csn_agent_reader *r, const csn_json *limits)
{
  const char *keys[CSN_LIMITS + 1] = {NULL};
  for (enum csn_limit i = 0; i < CSN_LIMITS; i++)
    keys[i] = csn_limit_name(i);
  int rc = csn_agent_want(r, limits, "sandbox.limits", CSN_JSON_OBJECT);
  if (rc == 0)
    rc = csn_agent_only(r, limits, "sandbox.limits.", keys);
  for (enum csn_limit i = 0; i < CSN_LIMITS && rc == 0; i++) {
    const csn_json *m = csn_json_get(limits, csn_limit_name(i));
    if (m)
      rc = read_one(r, m, i);
  }
  return rc;
}

void
csn_agent_write_limits(const csn_agent *a, csn_jw *w)
{
  bool has_any = false;
  for (enum csn_limit i = 0; i < CSN_LIMITS; i++) {
    csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(64);
    int64_t value = csn_limit_asked(&a->sandbox.limits, i);
    if (!value)
      continue;
    if (!has_any) {
      csn_jw_key(w, "limits");
      csn_jw_obj(w);
      has_any = true;
    }
    csn_limit_write(i, value, &text);
    csn_jw_key(w, csn_limit_name(i));
    csn_jw_strz(w, text.p);
  }
  if (has_any)
    csn_jw_end(w);
}

int
csn_agent_read_strict(const struct csn_agent_reader *r, const csn_json *m)
{
  int rc = csn_agent_want(r, m, "sandbox.strict", CSN_JSON_BOOL);
  r->a->sandbox.limits.strict = rc == 0 && m->truth;
  return rc;
}

void
csn_agent_write_strict(const csn_agent *a, csn_jw *w)
{
  if (!a->sandbox.limits.strict)
    return;
  csn_jw_key(w, "strict");
  csn_jw_bool(w, true);
}
