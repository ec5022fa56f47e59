/* SPDX-License-Identifier: Apache-2.0
 *
 * objects_azure.c - objects in a container of Azure Blob Storage: block blobs,
 * signed with the account's key (SharedKey), let in by a shared access
 * signature, or by a token that a command gives.
 *
 * An upload is blocks that wait for a list of them.  Their names hold a random
 * word, so that two uploads of one object do not mix; that word is its id.
 * Blocks that no list names go away by themselves after a week.
 */
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "caisson/json.h"
#include "core/hash.h"
#include "store/objects_backend.h"
#include "store/secret.h"
#include "wire/xml_text.h"

enum { URL_MAX = 16384, ID_BYTES = 16, KEEP_MS = 2700000, WORDS_MAX = 8 };

struct azure {
  csn_objects base;
  csn_str origin, top; /* "https://HOST", and "/[ACCOUNT/]CONTAINER" */
  csn_str account;
  const char *const *command;
  pthread_mutex_t lock; /* guards the keys */
  csn_buf key, sas, token;
  bool has_keys;
  int64_t end_ms; /* when the command is asked again; Unix time */
};

static struct azure *
azure_of(csn_objects *o)
{
  return (struct azure *)o; /* base is the first member */
}

/* ---- keys ---- */

static int
ask_keys(struct azure *z, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_secret_wipe) csn_buf text = CSN_BUF(CSN_SECRET_MAX);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(1 << 20);
  const csn_json *v = NULL;
  int rc = csn_secret_ask(z->command, sc, "keys of the store", &text, err);
  if (rc < 0)
    return rc;
  if (csn_json_parse(a, csn_buf_str(&text), &v, NULL) < 0)
    v = NULL;
  csn_str key = csn_json_str(v, "accountKey", CSN_STR(""));
  csn_str sas = csn_json_str(v, "sas", CSN_STR(""));
  csn_str token = csn_json_str(v, "accessToken", CSN_STR(""));
  if (!key.n && !sas.n && !token.n)
    return csn_fail(err, CSN_E_DENIED,
                    "keys of the store: expected %s to print JSON with accountKey, sas or "
                    "accessToken",
                    z->command[0]);
  csn_secret_set(&z->key, key);
  csn_secret_set(&z->sas, sas);
  csn_secret_set(&z->token, token);
  z->end_ms = csn_objects_now_ms() + KEEP_MS;
  z->has_keys = true;
  return 0;
}

/* ---- requests ---- */

struct word {
  const char *name;
  csn_str value;
};

struct request {
  const char *method;
  csn_str key;
  struct word words[WORDS_MAX]; /* of the query, in the order of their names */
  size_t n_words;
  csn_str body;
  int64_t from, n; /* of a GET; n < 0: all */
  bool is_new, is_blob;
};

static void
add_word(struct request *q, const char *name, csn_str value)
{
  q->words[q->n_words++] = (struct word){name, value};
}

static void
write_url(const struct azure *z, const struct request *q, csn_str sas, csn_buf *path, csn_buf *url)
{
  csn_buf_add(path, z->top);
  if (q->key.n) {
    csn_buf_addc(path, '/');
    csn_objects_escape(path, q->key, true);
  }
  csn_buf_add(url, z->origin);
  csn_buf_add(url, csn_buf_str(path));
  for (size_t i = 0; i < q->n_words; i++) {
    csn_buf_addf(url, "%c%s=", i ? '&' : '?', q->words[i].name);
    csn_objects_escape(url, q->words[i].value, false);
  }
  if (!sas.n)
    return;
  csn_buf_addc(url, q->n_words ? '&' : '?');
  csn_buf_add(url, *sas.p == '?' ? csn_strn(sas.p + 1, sas.n - 1) : sas);
}

static csn_str
header_of(const csn_http_req *req, const char *name)
{
  for (size_t i = 0; i < req->n_headers; i++)
    if (csn_str_eq(req->headers[i].name, csn_cstr(name)))
      return req->headers[i].value;
  return CSN_STR("");
}

/* What is signed: what the request says, in one spelling.  Its own headers are
 * in the order of their names. */
static void
write_text(const struct azure *z, const struct request *q, const csn_http_req *req, csn_str path,
           csn_buf *out)
{
  csn_buf_addf(out, "%s\n\n\n", q->method);
  if (q->body.n)
    csn_buf_addf(out, "%zu", q->body.n);
  csn_buf_addz(out, "\n\n");
  csn_buf_add(out, header_of(req, "Content-Type"));
  csn_buf_addz(out, "\n\n\n\n");
  csn_buf_add(out, header_of(req, "If-None-Match"));
  csn_buf_addz(out, "\n\n");
  csn_buf_add(out, header_of(req, "Range"));
  csn_buf_addc(out, '\n');
  for (size_t i = 0; i < req->n_headers; i++)
    if (csn_str_starts(req->headers[i].name, CSN_STR("x-ms-"))) {
      csn_buf_add(out, req->headers[i].name);
      csn_buf_addc(out, ':');
      csn_buf_add(out, req->headers[i].value);
      csn_buf_addc(out, '\n');
    }
  csn_buf_addc(out, '/');
  csn_buf_add(out, z->account);
  csn_buf_add(out, path);
  for (size_t i = 0; i < q->n_words; i++) {
    csn_buf_addf(out, "\n%s:", q->words[i].name);
    csn_buf_add(out, q->words[i].value);
  }
}

/* With the lock held: the value of Authorization, or nothing with a SAS. */
static int
authorize(struct azure *z, const struct request *q, const csn_http_req *req, csn_str path,
          csn_buf *out, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf text = CSN_BUF(64 << 10);
  csn_auto(csn_secret_wipe) csn_buf key = CSN_BUF(1024);
  if (z->token.n) {
    csn_buf_addz(out, "Bearer ");
    csn_buf_add(out, csn_buf_str(&z->token));
    return 0;
  }
  if (z->sas.n)
    return 0;
  if (!csn_base64_decode(&key, csn_buf_str(&z->key)) || !key.n)
    return csn_fail(err, CSN_E_INVALID, "the account's key is not in base64");
  write_text(z, q, req, path, &text);
  csn_digest sum = csn_hmac_sha256(csn_buf_str(&key), csn_buf_str(&text));
  csn_buf_addf(out, "SharedKey %.*s:", (int)z->account.n, z->account.p);
  csn_base64_add(out, csn_strn((const char *)sum.b, sizeof sum.b));
  return csn_buf_done(&text, "a request to sign", err);
}

static void
add_header(csn_http_req *req, const char *name, csn_str value)
{
  req->headers[req->n_headers++] = (csn_header){csn_cstr(name), value};
}

static int
send_request(csn_objects *o, csn_scope *sc, const void *request, csn_objects_reply *reply,
             csn_err *err)
{
  struct azure *z = azure_of(o);
  const struct request *q = request;
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(URL_MAX);
  csn_auto(csn_secret_wipe) csn_buf url = CSN_BUF(URL_MAX), auth = CSN_BUF(URL_MAX);
  char range[64], date[40];
  csn_http_req req = {.method = q->method, .body = q->body};
  time_t now = (time_t)(csn_objects_now_ms() / 1000);
  struct tm tm;
  gmtime_r(&now, &tm);
  strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
  if (q->is_blob)
    add_header(&req, "x-ms-blob-type", CSN_STR("BlockBlob"));
  add_header(&req, "x-ms-date", csn_cstr(date));
  add_header(&req, "x-ms-version", CSN_STR("2021-08-06"));
  if (q->body.n)
    add_header(&req, "Content-Type", CSN_STR("application/octet-stream"));
  if (q->is_new)
    add_header(&req, "If-None-Match", CSN_STR("*"));
  csn_objects_range(&req, range, q->from, q->n);
  pthread_mutex_lock(&z->lock);
  int rc =
      z->command && (!z->has_keys || z->end_ms < csn_objects_now_ms()) ? ask_keys(z, sc, err) : 0;
  write_url(z, q, csn_buf_str(&z->sas), &path, &url);
  if (rc == 0)
    rc = authorize(z, q, &req, csn_buf_str(&path), &auth, err);
  pthread_mutex_unlock(&z->lock);
  req.url = csn_buf_str(&url);
  if (auth.n)
    add_header(&req, "Authorization", csn_buf_str(&auth));
  if (rc == 0)
    rc = csn_buf_done(&url, "an address", err);
  if (rc == 0)
    rc = csn_objects_send(&z->base, sc, &req, reply, err);
  if (rc == CSN_E_DENIED && z->command) { /* they may have ended early */
    pthread_mutex_lock(&z->lock);
    z->has_keys = false;
    pthread_mutex_unlock(&z->lock);
  }
  return rc;
}

static int
azure_get(csn_objects *o, csn_scope *sc, csn_str key, int64_t from, int64_t n, csn_buf *out,
          csn_err *err)
{
  struct request q = {.method = "GET", .key = key, .from = from, .n = n};
  return csn_objects_get(o, send_request, sc, &q, n, out, err);
}

static int
azure_put(csn_objects *o, csn_scope *sc, csn_str key, csn_str bytes, bool is_new, csn_err *err)
{
  struct request q = {
      .method = "PUT", .key = key, .body = bytes, .n = -1, .is_new = is_new, .is_blob = true};
  return csn_objects_do(o, send_request, sc, &q, err);
}

static int
azure_remove(csn_objects *o, csn_scope *sc, csn_str key, csn_err *err)
{
  struct request q = {.method = "DELETE", .key = key, .n = -1};
  int rc = csn_objects_do(o, send_request, sc, &q, err);
  return rc == CSN_E_NOT_FOUND ? 0 : rc;
}

/* ---- lists ---- */

static int
read_object(csn_str xml, csn_object_fn *fn, void *user, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf name = CSN_BUF(4096), size = CSN_BUF(64), time = CSN_BUF(64);
  csn_object object = {0};
  (void)csn_xml_text(xml, "Last-Modified", &time);
  if (!csn_xml_text(xml, "Name", &name) || !name.n || !csn_xml_text(xml, "Content-Length", &size) ||
      !csn_str_int(csn_buf_str(&size), &object.bytes))
    return csn_fail(err, CSN_E_PARSE, "the store's list makes no sense");
  object.name = name.p;
  object.modified_ms = csn_objects_time_ms(csn_buf_str(&time));
  return fn(user, &object, err);
}

static int
azure_list(csn_objects *o, csn_scope *sc, csn_str head, csn_buf *next, csn_object_fn *fn,
           void *user, csn_err *err)
{
  struct request q = {.method = "GET", .n = -1};
  csn_auto(csn_buf_finip) csn_buf at = CSN_BUF(next->cap);
  csn_buf_add(&at, csn_buf_str(next));
  csn_buf_clear(next);
  add_word(&q, "comp", CSN_STR("list"));
  if (at.n)
    add_word(&q, "marker", csn_buf_str(&at));
  add_word(&q, "prefix", head);
  add_word(&q, "restype", CSN_STR("container"));
  csn_objects_reply reply;
  csn_objects_reply_init(&reply, CSN_OBJECTS_REPLY_MAX);
  int rc = send_request(o, sc, &q, &reply, err);
  csn_str rest = csn_buf_str(&reply.body), inside;
  if (rc == 0 && csn_str_find(rest, CSN_STR("<EnumerationResults"), 0) == SIZE_MAX)
    rc = csn_fail(err, CSN_E_PARSE, "the store's list makes no sense");
  if (rc == 0)
    (void)csn_xml_text(rest, "NextMarker", next);
  while (rc == 0 && csn_xml_next(&rest, "Blob", &inside))
    rc = read_object(inside, fn, user, err);
  csn_objects_reply_fini(&reply);
  return rc;
}

/* ---- uploads in blocks ---- */

static int
azure_upload_begin(csn_objects *o, csn_scope *sc, csn_str key, csn_buf *id, csn_err *err)
{
  char word[ID_BYTES + 1];
  (void)o;
  (void)key;
  csn_random_name(word, ID_BYTES);
  csn_buf_addz(id, word);
  return csn_scope_check(sc, err);
}

/* All of one length, as Azure wants it. */
static void
block_name(csn_str id, int number, csn_buf *out)
{
  char text[ID_BYTES + 16];
  int n = snprintf(text, sizeof text, "%.*s-%06d", (int)(id.n < ID_BYTES ? id.n : ID_BYTES), id.p,
                   number);
  csn_base64_add(out, csn_strn(text, (size_t)n));
}

static int
azure_upload_put(csn_objects *o, csn_scope *sc, csn_str key, const csn_upload_part *part,
                 csn_buf *tag, csn_err *err)
{
  struct request q = {.method = "PUT", .key = key, .body = part->bytes, .n = -1};
  block_name(part->id, part->number, tag);
  add_word(&q, "blockid", csn_buf_str(tag));
  add_word(&q, "comp", CSN_STR("block"));
  int rc = csn_objects_do(o, send_request, sc, &q, err);
  if (rc < 0)
    csn_buf_clear(tag);
  return rc;
}

static int
azure_upload_end(csn_objects *o, csn_scope *sc, csn_str key, csn_str id, const csn_str *tags, int n,
                 csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf body = CSN_BUF(4 << 20), code = CSN_BUF(64);
  (void)id;
  csn_buf_addz(&body, "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
  for (int i = 0; i < n; i++) {
    csn_buf_addz(&body, "<Uncommitted>");
    csn_xml_add(&body, tags[i]);
    csn_buf_addz(&body, "</Uncommitted>");
  }
  csn_buf_addz(&body, "</BlockList>");
  struct request q = {.method = "PUT", .key = key, .body = csn_buf_str(&body), .n = -1};
  add_word(&q, "comp", CSN_STR("blocklist"));
  csn_objects_reply reply;
  csn_objects_reply_init(&reply, CSN_OBJECTS_REPLY_MAX);
  int rc = csn_buf_done(&body, "the list of blocks", err);
  if (rc == 0)
    rc = send_request(o, sc, &q, &reply, err);
  if (rc == CSN_E_INVALID && csn_xml_text(csn_buf_str(&reply.body), "Code", &code) &&
      csn_str_starts(csn_buf_str(&code), CSN_STR("InvalidBlock")))
    rc = csn_fail(err, CSN_E_CONFLICT, "the store has forgotten the blocks");
  csn_objects_reply_fini(&reply);
  return rc;
}

static int
azure_upload_drop(csn_objects *o, csn_scope *sc, csn_str key, csn_str id, csn_err *err)
{
  (void)o;
  (void)key;
  (void)id;
  return csn_scope_check(sc, err);
}

/* ---- opening ---- */

static void
azure_close(csn_objects *o)
{
  struct azure *z = azure_of(o);
  csn_secret_wipe(&z->key);
  csn_secret_wipe(&z->sas);
  csn_secret_wipe(&z->token);
  pthread_mutex_destroy(&z->lock);
  csn_arena_free(o->arena);
  free(z);
}

static const csn_objects_ops azure_ops = {
    .type = "azure",
    .is_parallel = true,
    .close = azure_close,
    .get = azure_get,
    .put = azure_put,
    .remove = azure_remove,
    .list = azure_list,
    .upload_begin = azure_upload_begin,
    .upload_put = azure_upload_put,
    .upload_end = azure_upload_end,
    .upload_drop = azure_upload_drop,
};

int
csn_objects_open_azure(csn_objects **out, const csn_objects_spec *spec, csn_err *err)
{
  const csn_objects_keys *k = &spec->keys;
  if (!k->command && !k->account_key.n && !k->sas.n)
    return csn_fail(err, CSN_E_INVALID,
                    "there are no keys for the container: set AZURE_STORAGE_KEY or "
                    "AZURE_STORAGE_SAS_TOKEN, or say `command` in its credentials");
  struct azure *z = csn_alloc(sizeof *z);
  csn_arena *a = csn_arena_new(0);
  z->base = (csn_objects){.ops = &azure_ops, .arena = a};
  pthread_mutex_init(&z->lock, NULL);
  z->key = z->sas = z->token = CSN_BUF(8192);
  csn_buf_add(&z->key, k->account_key);
  csn_buf_add(&z->sas, k->account_key.n ? CSN_STR("") : k->sas);
  z->command = csn_objects_words(a, k->command);
  z->account = csn_arena_dup(a, spec->account);
  csn_str end = spec->endpoint;
  if (!end.n)
    end =
        csn_arena_printf(a, "https://%.*s.blob.core.windows.net", (int)z->account.n, z->account.p);
  z->origin = csn_arena_dup(a, csn_url_origin(end));
  csn_str rest = csn_strn(end.p + z->origin.n, end.n - z->origin.n);
  if (csn_str_ends(rest, CSN_STR("/")))
    rest.n--;
  z->top = csn_arena_printf(a, "%.*s/%.*s", (int)rest.n, rest.n ? rest.p : "", (int)spec->bucket.n,
                            spec->bucket.p);
  *out = &z->base;
  return 0;
}
