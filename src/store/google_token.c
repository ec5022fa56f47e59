/* SPDX-License-Identifier: Apache-2.0
 * google_token.c - see google_token.h. */
#include "store/google_token.h"

#include <pthread.h>

#include "caisson/json.h"
#include "core/hash.h"
#include "store/objects_backend.h"
#include "store/secret.h"
#include "wire/seal.h"

enum { TOKEN_MAX = 16 << 10, USUAL_MS = 2700000, EARLY_MS = 300000, LIFE_S = 3600 };

struct csn_google_token {
  csn_arena *arena;
  const char *file;
  const char *const *command;
  pthread_mutex_t lock; /* guards what follows */
  csn_buf token;
  int64_t end_ms; /* when another is asked for; Unix time, INT64_MAX: never */
};

csn_google_token *
csn_google_token_new(const csn_objects_keys *keys)
{
  csn_google_token *t = csn_alloc(sizeof *t);
  t->arena = csn_arena_new(0);
  pthread_mutex_init(&t->lock, NULL);
  t->file = keys->file ? csn_arena_dup(t->arena, csn_cstr(keys->file)).p : NULL;
  t->command = csn_objects_words(t->arena, keys->command);
  t->token = CSN_BUF(TOKEN_MAX);
  if (!t->file && !t->command) {
    csn_buf_add(&t->token, keys->token);
    t->end_ms = INT64_MAX;
  }
  return t;
}

void
csn_google_token_free(csn_google_token *t)
{
  if (!t)
    return;
  csn_secret_wipe(&t->token);
  pthread_mutex_destroy(&t->lock);
  csn_arena_free(t->arena);
  free(t);
}

void
csn_google_token_drop(csn_google_token *t)
{
  pthread_mutex_lock(&t->lock);
  if (t->end_ms != INT64_MAX)
    t->end_ms = 0;
  pthread_mutex_unlock(&t->lock);
}

/* JSON {access_token, expires_in}, or (of commands) the bare token. */
static int
take_token(csn_google_token *t, csn_str text, csn_err *err)
{
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(1 << 20);
  const csn_json *v = NULL;
  text = csn_str_trim(text);
  csn_str token = text;
  int64_t life_ms = USUAL_MS;
  if (text.n && *text.p == '{') {
    if (csn_json_parse(a, text, &v, NULL) < 0)
      v = NULL;
    token = csn_json_str(v, "access_token", CSN_STR(""));
    life_ms = csn_json_int(v, "expires_in", USUAL_MS / 1000) * 1000;
  }
  for (size_t i = 0; i < token.n; i++)
    if ((unsigned char)token.p[i] <= ' ' || (unsigned char)token.p[i] >= 0x7f)
      token.n = 0;
  if (!token.n)
    return csn_fail(err, CSN_E_DENIED, "what was to be a token for the store is none");
  csn_secret_set(&t->token, token);
  t->end_ms = csn_objects_now_ms() + (life_ms > 2 * EARLY_MS ? life_ms - EARLY_MS : life_ms / 2);
  return csn_buf_done(&t->token, "a token", err);
}

/* ---- a service account */

static void
add_base64url(csn_buf *out, csn_str bytes)
{
  size_t from = out->n;
  csn_base64_add(out, bytes);
  while (out->n > from && out->p[out->n - 1] == '=')
    out->n--;
  for (size_t i = from; i < out->n; i++)
    out->p[i] = out->p[i] == '+' ? '-' : out->p[i] == '/' ? '_' : out->p[i];
}

struct account {
  csn_str email, key, key_id, uri;
};

static void
write_claims(const struct account *who, csn_buf *head, csn_buf *claims)
{
  csn_jw w;
  int64_t now_s = csn_objects_now_ms() / 1000;
  const struct {
    const char *key;
    csn_str value;
  } texts[] = {{"iss", who->email},
               {"scope", CSN_STR("https://www.googleapis.com/auth/devstorage.read_write")},
               {"aud", who->uri}};
  csn_jw_init(&w, head);
  csn_jw_obj(&w);
  csn_jw_key(&w, "alg");
  csn_jw_strz(&w, "RS256");
  csn_jw_key(&w, "typ");
  csn_jw_strz(&w, "JWT");
  csn_jw_key(&w, "kid");
  csn_jw_str(&w, who->key_id);
  csn_jw_end(&w);
  csn_jw_init(&w, claims);
  csn_jw_obj(&w);
  for (size_t i = 0; i < CSN_COUNT(texts); i++) {
    csn_jw_key(&w, texts[i].key);
    csn_jw_str(&w, texts[i].value);
  }
  csn_jw_key(&w, "iat");
  csn_jw_int(&w, now_s);
  csn_jw_key(&w, "exp");
  csn_jw_int(&w, now_s + LIFE_S);
  csn_jw_end(&w);
}

static int
write_request(const struct account *who, csn_buf *out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf head = CSN_BUF(4096), claims = CSN_BUF(4096),
                                  text = CSN_BUF(16384);
  const csn_module *m = NULL;
  unsigned char signature[1024];
  int rc = csn_module_open("caisson-seal.so", "csn_seal_entry", CSN_SEAL_ABI, &m, err);
  if (rc < 0)
    return rc;
  write_claims(who, &head, &claims);
  add_base64url(&text, csn_buf_str(&head));
  csn_buf_addc(&text, '.');
  add_base64url(&text, csn_buf_str(&claims));
  /* The module is the first member of its table. */
  int n = ((const csn_seal_module *)m)->sign_rs256(who->key, csn_buf_str(&text), signature);
  if (n < 0)
    return csn_fail(err, CSN_E_DENIED, "the account's private_key is no RSA key in PEM");
  csn_buf_addz(out, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
  csn_buf_add(out, csn_buf_str(&text));
  csn_buf_addc(out, '.');
  add_base64url(out, csn_strn((const char *)signature, (size_t)n));
  return csn_buf_done(out, "a request for a token", err);
}

static int
ask_google(csn_google_token *t, csn_http *http, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_secret_wipe) csn_buf text = CSN_BUF(CSN_SECRET_MAX);
  csn_auto(csn_buf_finip) csn_buf body = CSN_BUF(32 << 10);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(1 << 20);
  const csn_json *v = NULL;
  int rc = csn_secret_read(t->file, "the service account", &text, err);
  if (rc < 0)
    return rc;
  if (csn_json_parse(a, csn_buf_str(&text), &v, NULL) < 0)
    v = NULL;
  struct account who = {
      .email = csn_json_str(v, "client_email", CSN_STR("")),
      .key = csn_json_str(v, "private_key", CSN_STR("")),
      .key_id = csn_json_str(v, "private_key_id", CSN_STR("")),
      .uri = csn_json_str(v, "token_uri", CSN_STR("https://oauth2.googleapis.com/token"))};
  if (!who.email.n || !who.key.n)
    return csn_fail(err, CSN_E_DENIED,
                    "%s is no key of a service account: expected client_email and private_key",
                    t->file);
  rc = csn_wrap(err, write_request(&who, &body, err), "%s", t->file);
  csn_http_req req = {.method = "POST", .url = who.uri, .body = csn_buf_str(&body)};
  req.headers[req.n_headers++] =
      (csn_header){CSN_STR("Content-Type"), CSN_STR("application/x-www-form-urlencoded")};
  csn_objects o = {.http = http};
  csn_objects_reply reply;
  csn_objects_reply_init(&reply, TOKEN_MAX);
  if (rc == 0)
    rc = csn_wrap(err, csn_objects_send(&o, sc, &req, &reply, err), "a token for the store");
  if (rc == CSN_E_INVALID)
    rc = CSN_E_DENIED;
  if (rc == 0)
    rc = take_token(t, csn_buf_str(&reply.body), err);
  if (reply.body.p)
    explicit_bzero(reply.body.p, reply.body.n);
  csn_objects_reply_fini(&reply);
  return rc;
}

static int
ask_command(csn_google_token *t, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_secret_wipe) csn_buf text = CSN_BUF(CSN_SECRET_MAX);
  int rc = csn_secret_ask(t->command, sc, "a token for the store", &text, err);
  return rc < 0 ? rc : take_token(t, csn_buf_str(&text), err);
}

int
csn_google_token_add(csn_google_token *t, csn_http *http, csn_scope *sc, csn_buf *out, csn_err *err)
{
  int rc = 0;
  pthread_mutex_lock(&t->lock);
  if (t->end_ms != INT64_MAX && t->end_ms <= csn_objects_now_ms())
    rc = t->command ? ask_command(t, sc, err) : ask_google(t, http, sc, err);
  if (rc == 0) {
    csn_buf_addz(out, "Bearer ");
    csn_buf_add(out, csn_buf_str(&t->token));
  }
  pthread_mutex_unlock(&t->lock);
  return rc;
}
