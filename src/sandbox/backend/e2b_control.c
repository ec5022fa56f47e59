/* SPDX-License-Identifier: Apache-2.0
 * e2b_control.c - the service that makes sandboxes: JSON over HTTP with the
 * account's key.
 *
 * A new sandbox is asked for with a key that makes the request safe to repeat
 * (version 2); a service that has only version 1 says 404 to that. */
#include <ctype.h>
#include <stdio.h>

#include "core/hash.h"
#include "core/poll.h"
#include "sandbox/backend/e2b.h"
#include "sandbox/strings.h"

enum {
  REPLIES_MAX = 4 << 20, /* memory of a parsed reply */
  BODY_MAX = 4 << 20,
  WAIT_MAX_MS = 10000,
  ONCE = 32, /* characters */
};

/* Of a sandbox's metadata. */
#define OWNER_KEY "caisson-owner"
#define NAME_KEY "caisson-run"

/* ---- requests ---- */

bool
csn_e2b_again(csn_scope *sc, int tries, bool is_safe, int rc, const csn_err *err)
{
  bool was_refused = err->http_status == 429; /* nothing was done */
  bool may_pass = rc == CSN_E_UNAVAILABLE || rc == CSN_E_TIMEOUT || err->http_status == 500;
  if (tries >= CSN_E2B_TRIES || !(was_refused || (is_safe && may_pass)))
    return false;
  int64_t ms = err->retry_after_ms > 0 ? err->retry_after_ms : 250 << (tries - 1);
  csn_scope wait;
  csn_scope_init(&wait, sc, ms < WAIT_MAX_MS ? ms : WAIT_MAX_MS);
  (void)!csn_poll(&wait, NULL, 0, NULL);
  csn_scope_fini(&wait);
  return csn_scope_check(sc, NULL) == 0;
}

/* A service may say back what it was sent. */
static void
hide(char *text, size_t n, csn_str key)
{
  for (size_t at; (at = csn_str_find(csn_strn(text, n), key, 0)) != SIZE_MAX;)
    memset(text + at, '*', key.n);
}

/* The reason of a reply with a status of 400 and more. */
static int
explain(csn_exchange *x, const struct csn_e2b_account *account, csn_err *err)
{
  hide(x->body.p, x->body.n, account->key);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(REPLIES_MAX);
  const csn_json *v = NULL;
  int64_t seconds = 0;
  if (csn_json_parse(a, csn_buf_str(&x->body), &v, NULL) < 0)
    v = NULL;
  int rc = csn_connect_fail(err, x->status, v);
  hide(err->msg, strlen(err->msg), account->key); /* which had come with escapes */
  if (csn_str_int(csn_http_reply_header(&x->reply, "retry-after"), &seconds) && seconds > 0)
    err->retry_after_ms = seconds < WAIT_MAX_MS / 1000 ? seconds * 1000 : WAIT_MAX_MS;
  if (x->status == 401 && account->key_env)
    return csn_wrap(err, rc, "the service refuses the key in %s; look it up in your account",
                    account->key_env);
  return csn_wrap(err, rc, "HTTP %d", x->status);
}

static int
ask_once(const struct csn_e2b_account *at, csn_scope *sc, const struct csn_e2b_request *q,
         csn_exchange *x, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf url = CSN_BUF(16384);
  csn_buf_add(&url, at->api_url);
  csn_buf_add(&url, q->path);
  csn_http_req req = {.method = q->method,
                      .url = csn_buf_str(&url),
                      .body = q->body,
                      .timeout_ms = q->timeout_ms ? q->timeout_ms : CSN_E2B_CALL_MS};
  req.headers[req.n_headers++] = (csn_header){CSN_STR("X-API-KEY"), at->key};
  req.headers[req.n_headers++] =
      (csn_header){CSN_STR("User-Agent"), CSN_STR("caisson/" CSN_VERSION)};
  req.headers[req.n_headers++] = (csn_header){CSN_STR("Accept"), CSN_STR("application/json")};
  if (q->body.n)
    req.headers[req.n_headers++] =
        (csn_header){CSN_STR("Content-Type"), CSN_STR("application/json")};
  if (q->once)
    req.headers[req.n_headers++] = (csn_header){CSN_STR("Idempotency-Key"), csn_cstr(q->once)};
  int rc = csn_exchange_perform(x, &req, sc, err);
  if (rc == 0 && x->status >= 300)
    rc = explain(x, at, err);
  else if (rc == 0 && x->is_cut)
    rc = csn_fail(err, CSN_E_LIMIT, "a reply of more than %d bytes", CSN_E2B_REPLY_MAX);
  return rc;
}

int
csn_e2b_ask(const struct csn_e2b_account *at, csn_scope *sc, const struct csn_e2b_request *q,
            csn_exchange *x, csn_arena *a, const csn_json **reply, csn_err *err)
{
  csn_err why = {0};
  int rc, tries = 0;
  x->http = at->http;
  do
    rc = ask_once(at, sc, q, x, &why);
  while (rc < 0 && csn_e2b_again(sc, ++tries, q->is_safe || q->once, rc, &why));
  if (rc == 0 && reply)
    rc = csn_json_parse(a, csn_arena_dup(a, csn_buf_str(&x->body)), reply, &why);
  if (rc < 0 && err)
    *err = why;
  if (rc < 0)
    return csn_wrap(err, rc, "%s %.*s%.*s", q->method, (int)(at->api_url.n & 0xff), at->api_url.p,
                    (int)(q->path.n < 100 ? q->path.n : 100), q->path.p);
  return x->status;
}

int
csn_e2b_desk_open(struct csn_e2b_desk *d, const csn_json *options, csn_err *err)
{
  *d = (struct csn_e2b_desk){.arena = csn_arena_new(REPLIES_MAX)};
  int rc = csn_e2b_config(&d->config, d->arena, options, err);
  if (rc == 0)
    rc = csn_loop_new(&d->loop, err);
  if (rc == 0)
    d->account = (struct csn_e2b_account){csn_http_new(d->loop), d->config.api_url, d->config.key,
                                          d->config.key_env};
  return rc;
}

void
csn_e2b_desk_close(struct csn_e2b_desk *d)
{
  if (d->loop) {
    csn_http_free(d->account.http);
    csn_loop_free(d->loop);
  }
  csn_e2b_forget(d->config.key);
  csn_arena_free(d->arena);
}

/* All of them before anything is done with one, so that none is skipped. */
int
csn_e2b_pages(const struct csn_e2b_account *at, csn_scope *sc, csn_str path, csn_arena *a,
              const csn_json *pages[CSN_E2B_PAGES], csn_err *err)
{
  csn_auto(csn_exchange_finip) csn_exchange x;
  csn_str token = {0};
  int rc = 0, n = 0;
  csn_exchange_init(&x, at->http, CSN_E2B_REPLY_MAX);
  do {
    csn_auto(csn_buf_finip) csn_buf whole = CSN_BUF(16384);
    csn_buf_add(&whole, path);
    if (token.n) {
      csn_buf_addz(&whole, "&nextToken=");
      csn_url_add(&whole, token);
    }
    struct csn_e2b_request q = {"GET", csn_buf_str(&whole), CSN_STR(""), true, NULL};
    pages[n] = NULL;
    rc = csn_e2b_ask(at, sc, &q, &x, a, &pages[n], err);
    if (rc >= 0 && !csn_json_is(pages[n], CSN_JSON_ARRAY))
      rc = csn_fail(err, CSN_E_PARSE, "the service's list is none");
    token = csn_arena_dup(a, csn_http_reply_header(&x.reply, "x-next-token"));
  } while (rc >= 0 && ++n < CSN_E2B_PAGES && token.n);
  return rc < 0 ? rc : n;
}

/* ---- what a sandbox is ---- */

static bool
is_id(csn_str s)
{
  for (size_t i = 0; i < s.n; i++)
    if (!isalnum((unsigned char)s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
      return false;
  return s.n > 0 && s.n <= CSN_E2B_ID_MAX;
}

static bool
is_host(csn_str s)
{
  for (size_t i = 0; i < s.n; i++)
    if (!isalnum((unsigned char)s.p[i]) && s.p[i] != '-' && s.p[i] != '.')
      return false;
  return s.n > 0 && s.n < 254;
}

/* From the reply to a creation or a connection. */
static int
adopt(struct csn_e2b *e, const csn_json *v, csn_err *err)
{
  csn_str id, token = csn_json_str(v, "envdAccessToken", CSN_STR(""));
  csn_str domain = csn_json_str(v, "domain", CSN_STR(""));
  int rc = csn_json_need_str(v, "sandboxID", &id, err);
  if (rc < 0)
    return rc;
  if (!is_id(id) || (e->id.n && !csn_str_eq(e->id, id)))
    return csn_fail(err, CSN_E_PARSE, "the service gave a sandbox that was not asked for");
  if ((domain.n && !is_host(domain)) || token.n > 4096)
    return csn_fail(err, CSN_E_PARSE, "the service gave a domain or a token that cannot be");
  csn_arena *a = e->arena;
  pthread_mutex_lock(&e->lock);
  if (!e->id.n)
    e->id = csn_arena_dup(a, id);
  if (!csn_str_eq(token, e->token))
    e->token = csn_arena_dup(a, token);
  domain = domain.n ? domain : e->config.domain;
  if (!csn_str_eq(domain, e->domain)) {
    e->domain = csn_arena_dup(a, domain);
    e->envd_url = e->config.sandbox_url.n
                      ? e->config.sandbox_url
                      : csn_arena_printf(a, "https://49983-%.*s.%.*s", (int)e->id.n, e->id.p,
                                         (int)domain.n, domain.p);
  }
  e->renew_ns = csn_now_ns() + e->config.timeout_s * 500000000;
  e->base.ends_ns = csn_now_ns() + e->config.life_s * 1000000000;
  pthread_mutex_unlock(&e->lock);
  return 0;
}

/* ---- creation ---- */

static void
write_network(csn_jw *w, const csn_network *n)
{
  bool is_open = n && n->open && n->restriction != CSN_NETWORK_NOTHING;
  csn_jw_key(w, "allow_internet_access");
  csn_jw_bool(w, is_open);
  csn_jw_key(w, "network");
  csn_jw_obj(w);
  csn_jw_key(w, "allowPublicTraffic");
  csn_jw_bool(w, false);
  if (n && n->n_hosts && !is_open && n->restriction != CSN_NETWORK_NOTHING) {
    csn_jw_key(w, "allowOut");
    csn_jw_arr(w);
    for (size_t i = 0; i < n->n_hosts; i++)
      csn_jw_strz(w, n->hosts[i].host);
    csn_jw_end(w);
    csn_jw_key(w, "denyOut");
    csn_jw_arr(w);
    csn_jw_strz(w, "0.0.0.0/0");
    csn_jw_end(w);
  }
  csn_jw_end(w);
}

static void
write_metadata(csn_jw *w, const struct csn_e2b_config *c, const char *label)
{
  const char *slash = label ? strchr(label, '/') : NULL;
  csn_jw_key(w, "metadata");
  csn_jw_obj(w);
  csn_json_each (m, c->metadata) {
    csn_jw_keyn(w, m->key);
    csn_jw_value(w, m);
  }
  if (slash) {
    csn_jw_key(w, OWNER_KEY);
    csn_jw_str(w, csn_strn(label, (size_t)(slash - label)));
    csn_jw_key(w, NAME_KEY);
    csn_jw_strz(w, slash + 1);
  }
  csn_jw_end(w);
}

static int
write_creation(csn_buf *body, const struct csn_e2b *e, const csn_sandbox_spec *spec, bool is_v1,
               csn_err *err)
{
  const struct csn_e2b_config *c = &e->config;
  csn_jw w;
  csn_buf_clear(body);
  csn_jw_init(&w, body);
  csn_jw_obj(&w);
  csn_jw_key(&w, "templateID");
  csn_jw_str(&w, c->template);
  csn_jw_key(&w, "timeout");
  csn_jw_int(&w, c->timeout_s);
  csn_jw_key(&w, "autoPause");
  csn_jw_bool(&w, !c->is_killed_after);
  csn_jw_key(&w, "autoResume");
  csn_jw_obj(&w);
  csn_jw_key(&w, "enabled"); /* by traffic, anybody's: we ask for it ourselves */
  csn_jw_bool(&w, false);
  csn_jw_end(&w);
  if (is_v1) {
    csn_jw_key(&w, "secure");
    csn_jw_bool(&w, true);
  }
  write_network(&w, spec->network);
  write_metadata(&w, c, spec->label);
  csn_jw_key(&w, "envVars");
  csn_jw_obj(&w);
  for (const char *const *v = e->environment; v && *v; v++) {
    const char *equals = strchr(*v, '=');
    csn_jw_keyn(&w, csn_strn(*v, (size_t)(equals - *v)));
    csn_jw_strz(&w, equals + 1);
  }
  csn_jw_end(&w);
  csn_jw_end(&w);
  return csn_jw_done(&w, err);
}

static bool
is_unknown_path(const csn_exchange *x)
{
  return x->status == 404 || x->status == 405;
}

int
csn_e2b_create(struct csn_e2b *e, csn_scope *sc, const csn_sandbox_spec *spec, csn_err *err)
{
  char once[ONCE + 1];
  csn_random_name(once, ONCE);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(REPLIES_MAX);
  csn_auto(csn_buf_finip) csn_buf body = CSN_BUF(BODY_MAX);
  csn_exchange x;
  const csn_json *reply = NULL;
  csn_exchange_init(&x, e->account.http, CSN_E2B_REPLY_MAX);
  int rc = write_creation(&body, e, spec, false, err);
  struct csn_e2b_request q = {.method = "POST", .path = CSN_STR("/v2/sandboxes"), .once = once};
  q.body = csn_buf_str(&body);
  if (rc == 0)
    rc = csn_e2b_ask(&e->account, sc, &q, &x, a, &reply, err);
  if (rc < 0 && is_unknown_path(&x)) {
    rc = write_creation(&body, e, spec, true, err);
    q = (struct csn_e2b_request){"POST", CSN_STR("/sandboxes"), csn_buf_str(&body), false, NULL};
    if (rc == 0)
      rc = csn_e2b_ask(&e->account, sc, &q, &x, a, &reply, err);
  }
  csn_exchange_fini(&x);
  if (rc == CSN_E_NOT_FOUND)
    return csn_wrap(err, CSN_E_NOT_FOUND, "template \"%.*s\"", (int)e->config.template.n,
                    e->config.template.p);
  return rc < 0 ? rc : adopt(e, reply, err);
}

/* The account's plan bounds how long a sandbox runs, which nobody tells: its end
 * does not move on any more then, whatever time-out was asked for.  By the clock of
 * the service; failing is no failure of who wants to know. */
static void
learn_end(struct csn_e2b *e, csn_scope *sc, int64_t timeout_s)
{
  enum { SLACK_MS = 3000 }; /* between two requests, and of whole seconds */
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(REPLIES_MAX);
  csn_auto(csn_exchange_finip) csn_exchange x;
  const csn_json *v = NULL;
  csn_exchange_init(&x, NULL, CSN_E2B_REPLY_MAX);
  csn_str path = csn_arena_printf(a, "/sandboxes/%.*s", (int)e->id.n, e->id.p);
  struct csn_e2b_request q = {"GET", path, CSN_STR(""), true, NULL};
  if (csn_e2b_ask(&e->account, sc, &q, &x, a, &v, NULL) < 0)
    return;
  int64_t now = csn_http_time_ms(csn_http_reply_header(&x.reply, "date"));
  int64_t began = csn_http_time_ms(csn_json_str(v, "startedAt", CSN_STR("")));
  int64_t ends = csn_http_time_ms(csn_json_str(v, "endAt", CSN_STR("")));
  if (!now || !began || !ends)
    return;
  int64_t left = began + e->config.life_s * 1000 - now;
  if (ends - now < timeout_s * 1000 - SLACK_MS && ends - now < left)
    left = ends - now;
  pthread_mutex_lock(&e->lock);
  e->base.ends_ns = csn_now_ns() + left * 1000000;
  pthread_mutex_unlock(&e->lock);
}

int
csn_e2b_connect(struct csn_e2b *e, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(REPLIES_MAX);
  static const char *const versions[] = {"/v2", ""};
  csn_auto(csn_exchange_finip) csn_exchange x;
  const csn_json *reply = NULL;
  int rc = 0;
  csn_exchange_init(&x, e->account.http, CSN_E2B_REPLY_MAX);
  csn_str body = csn_arena_printf(a, "{\"timeout\":%lld}", (long long)e->config.timeout_s);
  for (size_t i = 0; i < CSN_COUNT(versions); i++) {
    csn_str path =
        csn_arena_printf(a, "%s/sandboxes/%.*s/connect", versions[i], (int)e->id.n, e->id.p);
    struct csn_e2b_request q = {"POST", path, body, true, NULL};
    rc = csn_e2b_ask(&e->account, sc, &q, &x, a, &reply, err);
    if (rc >= 0 || !is_unknown_path(&x))
      break;
  }
  bool was_running = rc == 200; /* else a life of its own begins */
  if (rc >= 0)
    rc = adopt(e, reply, err);
  if (rc == 0 && was_running)
    learn_end(e, sc, e->config.timeout_s);
  return rc;
}

/* ---- what is done with one ---- */

/* A request about one sandbox that gives nothing back. */
static int
tell(const struct csn_e2b_account *at, csn_scope *sc, const char *method, csn_str id,
     const char *what, csn_str body, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(400);
  csn_auto(csn_exchange_finip) csn_exchange x;
  csn_exchange_init(&x, at->http, CSN_E2B_REPLY_MAX);
  csn_buf_addf(&path, "/sandboxes/%.*s%s", (int)id.n, id.p, what);
  struct csn_e2b_request q = {method, csn_buf_str(&path), body, true, NULL};
  return csn_e2b_ask(at, sc, &q, &x, NULL, NULL, err);
}

int
csn_e2b_kill(const struct csn_e2b_account *at, csn_scope *sc, csn_str id, csn_err *err)
{
  int rc = tell(at, sc, "DELETE", id, "", CSN_STR(""), err);
  return rc == CSN_E_NOT_FOUND || rc > 0 ? 0 : rc;
}

int
csn_e2b_pause(struct csn_e2b *e, csn_scope *sc, csn_err *err)
{
  int rc = tell(&e->account, sc, "POST", e->id, "/pause", CSN_STR("{}"), err);
  return rc == CSN_E_CONFLICT || rc > 0 ? 0 : rc; /* conflict: it rests already */
}

void
csn_e2b_renew(struct csn_e2b *e, csn_scope *sc)
{
  int64_t now = csn_now_ns();
  pthread_mutex_lock(&e->lock);
  bool is_due = now >= e->renew_ns && !e->is_ended && !e->is_gone;
  if (is_due)
    e->renew_ns = now + e->config.timeout_s * 500000000;
  int64_t left_s = (e->base.ends_ns - now) / 1000000000;
  pthread_mutex_unlock(&e->lock);
  if (!is_due || left_s < 1)
    return;
  char body[60];
  int64_t s = left_s < e->config.timeout_s ? left_s : e->config.timeout_s;
  int n = snprintf(body, sizeof body, "{\"timeout\":%lld}", (long long)s);
  if (tell(&e->account, sc, "POST", e->id, "/timeout", csn_strn(body, (size_t)n), NULL) < 0) {
    pthread_mutex_lock(&e->lock);
    e->renew_ns = now + e->config.timeout_s * 50000000; /* soon again */
    pthread_mutex_unlock(&e->lock);
  } else {
    learn_end(e, sc, s);
  }
}

int
csn_e2b_restrict(csn_sandbox *sb, csn_scope *sc, enum csn_network_restriction to, int64_t *reached,
                 csn_err *err)
{
  struct csn_e2b *e = csn_e2b_of(sb);
  *reached = 0; /* it keeps no count that we could ask for */
  if (to == CSN_NETWORK_AS_LISTED)
    return 0;
  if (to == CSN_NETWORK_NO_WRITES)
    return csn_fail(err, CSN_E_UNSUPPORTED, "e2b does not look into requests");
  csn_str body = CSN_STR("{\"allow_internet_access\":false,\"denyOut\":[\"0.0.0.0/0\"]}");
  int rc = tell(&e->account, sc, "PUT", e->id, "/network", body, err);
  return rc < 0 ? rc : 0;
}

/* ---- what was left behind ---- */

static int
sweep_one(const struct csn_e2b_account *at, csn_scope *sc, const csn_json *v,
          const csn_sandbox_sweep *how, csn_err *err)
{
  const csn_json *metadata = csn_json_get(v, "metadata");
  csn_str id = csn_json_str(v, "sandboxID", CSN_STR(""));
  csn_str owner = csn_json_str(metadata, OWNER_KEY, CSN_STR(""));
  csn_str name = csn_json_str(metadata, NAME_KEY, CSN_STR(""));
  if (!is_id(id) || !owner.n || owner.n > 500 || name.n > 500 ||
      (how->owner && !csn_str_eq(owner, csn_cstr(how->owner))))
    return 0;
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(2000);
  csn_buf_addf(&text, "%.*s/%.*s", (int)owner.n, owner.p, (int)name.n, name.p);
  if (how->is_wanted && how->is_wanted(how->user, text.p))
    return 0;
  int rc = csn_e2b_kill(at, sc, id, err);
  if (rc < 0)
    return rc;
  csn_buf_clear(&text);
  csn_buf_addf(&text, "e2b sandbox %.*s of %.*s", (int)id.n, id.p, (int)name.n, name.p);
  if (how->removed)
    how->removed(how->user, text.p);
  return 1;
}

static int
sweep_account(const struct csn_e2b_account *at, csn_scope *sc, const csn_sandbox_sweep *how,
              csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(0);
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(8000), pair = CSN_BUF(4000);
  const csn_json *pages[CSN_E2B_PAGES];
  int ended = 0;
  csn_buf_addf(&path, "/v2/sandboxes?state=running,paused&limit=%d", CSN_E2B_PAGE);
  if (how->owner) { /* a query inside of the query */
    csn_buf_addz(&pair, OWNER_KEY "=");
    csn_url_add(&pair, csn_cstr(how->owner));
    csn_buf_addz(&path, "&metadata=");
    csn_url_add(&path, csn_buf_str(&pair));
  }
  int rc = csn_e2b_pages(at, sc, csn_buf_str(&path), a, pages, err), n = rc;
  for (int i = 0; i < n; i++)
    csn_json_each (v, pages[i])
      if (rc >= 0 && (rc = sweep_one(at, sc, v, how, err)) > 0)
        ended += rc;
  return rc < 0 ? rc : ended;
}

int
csn_e2b_sweep(csn_scope *sc, const csn_json *options, const csn_sandbox_sweep *how, csn_err *err)
{
  struct csn_e2b_desk d;
  int rc = csn_e2b_desk_open(&d, options, err);
  if (rc == 0)
    rc = sweep_account(&d.account, sc, how, err);
  csn_e2b_desk_close(&d);
  return rc;
}
