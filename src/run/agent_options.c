/* SPDX-License-Identifier: Apache-2.0
 *
 * agent_options.c - keys of the section `sandbox` that only one back-end has:
 * its table says which, and gets them as one object. */
#include <stdio.h>

#include "run/agent_read.h"
#include "sandbox/backends.h"

static const csn_sandbox_option *
options_of(const struct csn_agent_reader *r)
{
  static const csn_sandbox_option none[] = {{0}};
  const csn_sandbox_ops *ops = csn_sandbox_find_in(r->backends, r->a->sandbox.backend);
  return ops && ops->options ? ops->options : none;
}

size_t
csn_agent_option_keys(const struct csn_agent_reader *r, const char **keys)
{
  size_t n = 0;
  for (const csn_sandbox_option *o = options_of(r); o->name && n < CSN_OPTIONS_MAX; o++)
    keys[n++] = o->name;
  return n;
}

int
csn_agent_read_options(const struct csn_agent_reader *r, const csn_json *m)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_jw w;
  size_t n = 0;
  csn_jw_init(&w, &text);
  csn_jw_obj(&w);
  for (const csn_sandbox_option *o = options_of(r); o->name; o++) {
    char key[80];
    const csn_json *v = csn_json_get(m, o->name);
    if (!v)
      continue;
    snprintf(key, sizeof key, "sandbox.%s", o->name);
    int rc = csn_agent_want(r, v, key, o->kind);
    if (rc == 0 && v->kind == CSN_JSON_STRING && memchr(v->text.p, '\0', v->text.n))
      rc = csn_agent_complain(r, v, "%s: a NUL character is not allowed", key);
    if (rc < 0)
      return rc;
    csn_jw_key(&w, o->name);
    csn_jw_value(&w, v);
    n++;
  }
  csn_jw_end(&w);
  return n ? csn_agent_keep(r, &w, &r->a->sandbox.options) : 0;
}

void
csn_agent_write_options(const csn_agent *a, csn_jw *w)
{
  csn_json_each (v, a->sandbox.options) {
    csn_jw_keyn(w, v->key);
    csn_jw_value(w, v);
  }
}
