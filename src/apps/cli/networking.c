/* SPDX-License-Identifier: Apache-2.0
 * networking.c - see networking.h.  The options become the JSON that agent.yaml
 * would hold, so that both are read by the same code. */
#include "networking.h"

#include "sandbox/forward.h"
#include "sandbox/network_json.h"

static void
put_words(csn_jw *w, csn_str list)
{
  csn_str word;
  csn_jw_arr(w);
  while (cli_word(&list, ',', &word))
    csn_jw_str(w, word);
  csn_jw_end(w);
}

static void
put_list(csn_jw *w, const char *key, const cli_list *l)
{
  if (!l->n)
    return;
  csn_jw_key(w, key);
  csn_jw_arr(w);
  for (size_t i = 0; i < l->n; i++)
    csn_jw_strz(w, l->v[i]);
  csn_jw_end(w);
}

static int
put_resolve(csn_jw *w, const cli_list *l, csn_err *err)
{
  csn_jw_key(w, "resolve");
  csn_jw_obj(w);
  for (size_t i = 0; i < l->n; i++) {
    const char *equals = strchr(l->v[i], '=');
    if (!equals)
      return csn_fail(err, CSN_E_INVALID, "option --resolve: '%s' should be NAME=ADDRESS", l->v[i]);
    csn_jw_keyn(w, csn_strn(l->v[i], (size_t)(equals - l->v[i])));
    csn_jw_strz(w, equals + 1);
  }
  csn_jw_end(w);
  return 0;
}

static int
put_policy(csn_jw *w, const cli_network_opts *o, csn_err *err)
{
  csn_str word = csn_cstr(o->network);
  bool is_open = csn_str_eq(word, CSN_STR("open"));
  bool is_list = csn_str_starts(word, CSN_STR("allow:"));
  if (!is_open && !is_list)
    return csn_fail(err, CSN_E_INVALID,
                    "option --network: '%s' should be none, open or allow:HOST[:PORT],...",
                    o->network);
  csn_jw_obj(w);
  csn_jw_key(w, is_open ? "open" : "allow");
  if (is_open)
    csn_jw_bool(w, true);
  else
    put_words(w, csn_strn(word.p + 6, word.n - 6));
  put_list(w, "allow_private", &o->allow_private);
  int rc = put_resolve(w, &o->resolve, err);
  if (o->extra_roots) {
    csn_jw_key(w, "extra_roots");
    csn_jw_strz(w, o->extra_roots);
  }
  csn_jw_end(w);
  return rc;
}

/* NAME@HOST[,HOST][=HEADER] */
static int
put_secret(csn_jw *w, const char *word, csn_err *err)
{
  const char *at = strchr(word, '@'), *equals = at ? strchr(at, '=') : NULL;
  if (!at)
    return csn_fail(err, CSN_E_INVALID, "option --secret: '%s' should be NAME@HOST[,HOST][=HEADER]",
                    word);
  csn_str name = csn_strn(word, (size_t)(at - word));
  csn_str hosts = csn_strn(at + 1, equals ? (size_t)(equals - at - 1) : strlen(at + 1));
  csn_jw_obj(w);
  csn_jw_key(w, "name");
  csn_jw_str(w, name);
  csn_jw_key(w, "from_env");
  csn_jw_str(w, name);
  csn_jw_key(w, "hosts");
  put_words(w, hosts);
  if (equals) {
    csn_jw_key(w, "header");
    csn_jw_strz(w, equals + 1);
  }
  csn_jw_end(w);
  return 0;
}

static int
parse(cli *c, csn_jw *w, const csn_json **out, csn_err *err)
{
  int rc = csn_jw_done(w, err);
  csn_str text = csn_arena_dup(c->arena, csn_buf_str(w->out));
  return rc < 0 ? rc : csn_json_parse(c->arena, text, out, err);
}

/* "HOST:PORT", or what there is of it. */
static void
add_where(csn_buf *out, const csn_json *v)
{
  csn_str host = csn_json_str(v, "host", CSN_STR(""));
  int64_t port = csn_json_int(v, "port", 0);
  csn_buf_add(out, host.n ? host : csn_json_str(v, "address", CSN_STR("-")));
  if (port)
    csn_buf_addf(out, ":%lld", (long long)port);
}

static void
add_sentence(const csn_json *v, csn_buf *out)
{
  csn_str reason = csn_json_str(v, "reason", CSN_STR(""));
  csn_buf_add(out, reason);
  if (reason.n)
    return;
  add_where(out, v);
  csn_buf_addz(out, " was refused");
}

/* Told as they come, but not for ever: a command may try as often as it likes. */
struct refusals {
  cli *cli;
  size_t n; /* lines so far; the I/O thread's */
};

static void
tell_refusal(void *user, csn_str json)
{
  enum { MOST = 50 };
  struct refusals *r = user;
  csn_auto(csn_arena_freep) csn_arena *tmp = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(4096);
  const csn_json *v;
  if (csn_json_parse(tmp, json, &v, NULL) < 0 ||
      csn_str_eq(csn_json_str(v, "verdict", CSN_STR("")), CSN_STR("allowed")) || r->n++ > MOST)
    return;
  csn_buf_addz(&text, r->n > MOST ? "network: more was refused" : "network: ");
  if (r->n <= MOST)
    add_sentence(v, &text);
  cli_note(r->cli, "%s", text.p);
}

int
cli_network_policy(cli *c, const cli_network_opts *o, csn_network **out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf policy = CSN_BUF(1 << 20), list = CSN_BUF(1 << 20);
  const csn_json *network = NULL, *secrets = NULL, *at;
  csn_jw w;
  int rc = 0;
  *out = NULL;
  bool is_none = !o->network || strcmp(o->network, "none") == 0;
  if (is_none && (o->allow_private.n || o->resolve.n || o->extra_roots))
    return csn_fail(err, CSN_E_INVALID, "without --network there is nothing to resolve or trust");
  if (!is_none) {
    csn_jw_init(&w, &policy);
    rc = put_policy(&w, o, err);
    if (rc == 0)
      rc = parse(c, &w, &network, err);
  }
  csn_jw_init(&w, &list);
  csn_jw_arr(&w);
  for (size_t i = 0; rc == 0 && i < o->secrets.n; i++)
    rc = put_secret(&w, o->secrets.v[i], err);
  csn_jw_end(&w);
  if (rc == 0)
    rc = parse(c, &w, &secrets, err);
  if (rc == 0)
    rc = csn_network_from_json(c->arena, network, secrets, ".", CSN_SECRETS_READ, out, &at, err);
  if (rc == 0 && *out) {
    struct refusals *r = csn_arena_alloc(c->arena, sizeof *r);
    *r = (struct refusals){.cli = c};
    (*out)->on_event = tell_refusal;
    (*out)->user = r;
  }
  return rc;
}

/* ---- for people ---- */

static void
add_bytes(csn_buf *out, int64_t n)
{
  if (n < 10000)
    csn_buf_addf(out, "%6lld B  ", (long long)n);
  else if (n < 10000000)
    csn_buf_addf(out, "%6lld kB ", (long long)(n / 1000));
  else
    csn_buf_addf(out, "%6lld MB ", (long long)(n / 1000000));
}

void
cli_network_line(const csn_json *v, csn_buf *out)
{
  csn_auto(csn_buf_finip) csn_buf where = CSN_BUF(4096);
  csn_str none = CSN_STR("");
  int64_t count = csn_json_int(v, "count", 1);
  add_where(&where, v);
  csn_str verdict = csn_json_str(v, "verdict", none), how = csn_json_str(v, "how", none);
  csn_buf_addf(out, "%-8.*s %-11.*s %-40s", (int)(verdict.n & 0xff), verdict.p, (int)(how.n & 0xff),
               how.p, where.p);
  add_bytes(out, csn_json_int(v, "up", 0));
  add_bytes(out, csn_json_int(v, "down", 0));
  csn_buf_addf(out, "%6lld ", (long long)count);
  csn_str method = csn_json_str(v, "method", none), reason = csn_json_str(v, "reason", none);
  if (method.n)
    csn_buf_addf(out, " %.*s", (int)(method.n & 0xff), method.p);
  csn_json_each (name, csn_json_get(v, "secret"))
    csn_buf_addf(out, " [%.*s]", (int)(name->text.n & 0xff), name->text.p);
  if (reason.n)
    csn_buf_addf(out, " %.*s", (int)(reason.n & 0x3ff), reason.p);
}

/* ---- ports ---- */

static bool
is_port(csn_str word, uint16_t *port)
{
  int64_t n;
  if (!csn_str_int(word, &n) || n < 1 || n > UINT16_MAX)
    return false;
  *port = (uint16_t)n;
  return true;
}

bool
cli_port_parse(csn_str word, uint16_t *here, uint16_t *port)
{
  size_t colon = csn_str_find(word, CSN_STR(":"), 0);
  *here = 0;
  if (colon == SIZE_MAX)
    return is_port(word, port);
  return is_port(csn_strn(word.p, colon), here) &&
         is_port(csn_strn(word.p + colon + 1, word.n - colon - 1), port);
}

int
cli_ports_read(cli_ports *p, const cli_list *words, csn_err *err)
{
  *p = (cli_ports){.told = {.folder = -1, .fd = -1}};
  for (size_t i = 0; i < words->n; i++) {
    if (p->n == CSN_COUNT(p->ports))
      return csn_fail(err, CSN_E_LIMIT, "option --expose: at most %zu ports", p->n);
    if (!cli_port_parse(csn_cstr(words->v[i]), &p->here[p->n], &p->ports[p->n]))
      return csn_fail(err, CSN_E_INVALID, "option --expose: '%s' should be [HERE:]PORT",
                      words->v[i]);
    p->n++;
  }
  return 0;
}

/* Whoever asks in another terminal; where there is no state folder of ours
 * that can be written, nobody could ask. */
static void
tell_others(cli *c, cli_ports *p)
{
  csn_auto(csn_closep) int state = -1;
  csn_port list[CSN_COUNT(p->ports)];
  char id[40];
  if (p->n == 0 || cli_state_open(c, false, &state, NULL, NULL) < 0)
    return;
  for (size_t i = 0; i < p->n; i++)
    list[i] = (csn_port){p->ports[i], csn_forward_port(p->forwards[i])};
  snprintf(id, sizeof id, "sandbox-%d", (int)getpid());
  (void)!csn_ports_tell(&p->told, state, id, list, p->n, NULL);
}

int
cli_ports_open(cli *c, cli_ports *p, csn_sandbox *sb, csn_err *err)
{
  for (size_t i = 0; i < p->n; i++) {
    int rc = csn_forward_open(&p->forwards[i], sb, p->ports[i], p->here[i], err);
    if (rc < 0)
      return rc;
  }
  tell_others(c, p);
  for (size_t i = 0; i < p->n; i++)
    cli_note(c, "port %u of the sandbox is at 127.0.0.1:%u", p->ports[i],
             csn_forward_port(p->forwards[i]));
  return 0;
}

void
cli_ports_close(cli_ports **p)
{
  csn_ports_forget(&(*p)->told);
  while ((*p)->n) /* again is fine */
    csn_forward_close((*p)->forwards[--(*p)->n]);
}
