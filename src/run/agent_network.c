/* SPDX-License-Identifier: Apache-2.0
 * agent_network.c - `network`, `secrets` and `expose` of the section `sandbox`:
 * what the commands of an agent may reach, and the ports that they offer.
 *
 * They are kept as JSON, without the values of secrets, which are read when a
 * sandbox is opened. */
#include "run/agent_read.h"
#include "sandbox/backends.h"
#include "sandbox/network_json.h"

/* Keeps a value; relative files of it become absolute. */
static void
copy(csn_jw *w, const csn_json *v, const char *folder)
{
  bool is_file =
      csn_str_eq(v->key, CSN_STR("extra_roots")) || csn_str_eq(v->key, CSN_STR("from_file"));
  if (v->kind == CSN_JSON_OBJECT || v->kind == CSN_JSON_ARRAY) {
    if (v->kind == CSN_JSON_OBJECT)
      csn_jw_obj(w);
    else
      csn_jw_arr(w);
    csn_json_each (m, v) {
      if (v->kind == CSN_JSON_OBJECT)
        csn_jw_keyn(w, m->key);
      copy(w, m, folder);
    }
    csn_jw_end(w);
  } else if (is_file && v->kind == CSN_JSON_STRING && v->text.n && v->text.p[0] != '/') {
    csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(8192);
    csn_buf_addf(&path, "%s/", folder);
    csn_buf_add(&path, v->text);
    csn_jw_str(w, csn_buf_str(&path));
  } else {
    csn_jw_value(w, v);
  }
}

static int
keep(const struct csn_agent_reader *r, const csn_json *m, const csn_json **out)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(1 << 20);
  csn_jw w;
  csn_jw_init(&w, &text);
  copy(&w, m, r->a->folder);
  return csn_agent_keep(r, &w, out);
}

/* The whole policy is checked with each of its two keys, so that the mistake
 * has its line. */
static int
check(const struct csn_agent_reader *r, const csn_json *network, const csn_json *secrets,
      const csn_json *otherwise)
{
  csn_auto(csn_arena_freep) csn_arena *tmp = csn_arena_new(0);
  const csn_json *at = NULL;
  csn_network *n;
  csn_err why;
  if (csn_network_from_json(tmp, network, secrets, r->a->folder, CSN_SECRETS_NOT_READ, &n, &at,
                            &why) < 0)
    return csn_agent_complain(r, at ? at : otherwise, "sandbox.%s", why.msg);
  const csn_sandbox_ops *ops = csn_sandbox_find_in(r->backends, r->a->sandbox.backend);
  if (n && (!ops || !ops->restrict_network))
    return csn_agent_complain(
        r, otherwise,
        "sandbox.network: the back-end %s cannot hold a policy; jail, docker and e2b can",
        r->a->sandbox.backend ? r->a->sandbox.backend : "jail");
  if (n && ops->check_network && ops->check_network(n, &why) < 0)
    return csn_agent_complain(r, otherwise, "sandbox.network: %s", why.msg);
  return 0;
}

int
csn_agent_read_network(const struct csn_agent_reader *r, const csn_json *m)
{
  int rc = check(r, m, NULL, m);
  return rc < 0 ? rc : keep(r, m, &r->a->sandbox.network);
}

/* After the network, without which there are none. */
int
csn_agent_read_secrets(const struct csn_agent_reader *r, const csn_json *m)
{
  int rc = check(r, r->a->sandbox.network, m, m);
  return rc < 0 ? rc : keep(r, m, &r->a->sandbox.secrets);
}

int
csn_agent_read_expose(const struct csn_agent_reader *r, const csn_json *m)
{
  csn_err why;
  struct csn_agent_sandbox *s = &r->a->sandbox;
  if (csn_ports_from_json(r->a->arena, m, &s->expose, &s->n_expose, &why) < 0)
    return csn_agent_complain(r, m, "sandbox.expose: %s", why.msg);
  const csn_sandbox_ops *ops = csn_sandbox_find(s->backend);
  if (s->n_expose && (!ops || !ops->dial))
    return csn_agent_complain(
        r, m, "sandbox.expose: the back-end %s cannot expose ports; jail, docker and e2b can",
        s->backend);
  return 0;
}

void
csn_agent_write_network(const csn_agent *a, csn_jw *w)
{
  if (!a->sandbox.network)
    return;
  csn_jw_key(w, "network");
  csn_jw_value(w, a->sandbox.network);
}

void
csn_agent_write_secrets(const csn_agent *a, csn_jw *w)
{
  if (!a->sandbox.secrets)
    return;
  csn_jw_key(w, "secrets");
  csn_jw_value(w, a->sandbox.secrets);
}

void
csn_agent_write_expose(const csn_agent *a, csn_jw *w)
{
  if (!a->sandbox.n_expose)
    return;
  csn_jw_key(w, "expose");
  csn_jw_arr(w);
  for (size_t i = 0; i < a->sandbox.n_expose; i++)
    csn_jw_int(w, a->sandbox.expose[i]);
  csn_jw_end(w);
}

int
csn_agent_network(const csn_agent *a, csn_arena *to, csn_network **out, csn_err *err)
{
  const csn_json *at;
  int rc = csn_network_from_json(to, a->sandbox.network, a->sandbox.secrets, a->folder,
                                 CSN_SECRETS_READ, out, &at, err);
  return csn_wrap(err, rc, "agent %s", a->name);
}
