/* SPDX-License-Identifier: Apache-2.0
 *
 * objects_gcs.c - objects in a bucket of Google Cloud Storage, by its JSON API.
 *
 * An upload is a resumable session: parts come one after another, and what the
 * store has got already of one is passed over when it comes again.
 */
#include <stdio.h>

#include "caisson/json.h"
#include "store/google_token.h"
#include "store/objects_backend.h"
#include "store/secret.h"

enum { URL_MAX = 8192 };

struct gcs {
  csn_objects base;
  csn_str origin, bucket; /* bucket: escaped */
  csn_google_token *token;
};

static struct gcs *
gcs_of(csn_objects *o)
{
  return (struct gcs *)o; /* base is the first member */
}

struct request {
  const char *method;
  csn_str url;
  csn_str body, range; /* range: the value of Content-Range, or empty */
  int64_t from, n;     /* of a GET; n < 0: all */
};

static int
send_request(csn_objects *o, csn_scope *sc, const void *request, csn_objects_reply *reply,
             csn_err *err)
{
  struct gcs *g = gcs_of(o);
  const struct request *q = request;
  csn_auto(csn_secret_wipe) csn_buf auth = CSN_BUF(32 << 10);
  char range[64];
  csn_http_req req = {.method = q->method, .url = q->url, .body = q->body};
  int rc = csn_google_token_add(g->token, g->base.http, sc, &auth, err);
  req.headers[req.n_headers++] = (csn_header){CSN_STR("Authorization"), csn_buf_str(&auth)};
  if (q->body.n)
    req.headers[req.n_headers++] =
        (csn_header){CSN_STR("Content-Type"), CSN_STR("application/octet-stream")};
  if (q->range.n)
    req.headers[req.n_headers++] = (csn_header){CSN_STR("Content-Range"), q->range};
  csn_objects_range(&req, range, q->from, q->n);
  if (rc == 0)
    rc = csn_objects_send(&g->base, sc, &req, reply, err);
  if (rc == CSN_E_DENIED && reply->http.status == 401)
    csn_google_token_drop(g->token);
  return rc;
}

/* The address of an object, or of what is below the bucket. */
static csn_str
object_url(const struct gcs *g, csn_str key, const char *query, csn_buf *url)
{
  csn_buf_add(url, g->origin);
  csn_buf_addz(url, "/storage/v1/b/");
  csn_buf_add(url, g->bucket);
  csn_buf_addz(url, "/o");
  if (key.n) {
    csn_buf_addc(url, '/');
    csn_objects_escape(url, key, false);
  }
  csn_buf_addz(url, query);
  return csn_buf_str(url);
}

static csn_str
upload_url(const struct gcs *g, csn_str key, const char *type, bool is_new, csn_buf *url)
{
  csn_buf_add(url, g->origin);
  csn_buf_addz(url, "/upload/storage/v1/b/");
  csn_buf_add(url, g->bucket);
  csn_buf_addf(url, "/o?uploadType=%s%s&name=", type, is_new ? "&ifGenerationMatch=0" : "");
  csn_objects_escape(url, key, false);
  return csn_buf_str(url);
}

static int
gcs_get(csn_objects *o, csn_scope *sc, csn_str key, int64_t from, int64_t n, csn_buf *out,
        csn_err *err)
{
  struct gcs *g = gcs_of(o);
  csn_auto(csn_buf_finip) csn_buf url = CSN_BUF(URL_MAX);
  struct request q = {
      .method = "GET", .url = object_url(g, key, "?alt=media", &url), .from = from, .n = n};
  return csn_objects_get(o, send_request, sc, &q, n, out, err);
}

static int
gcs_put(csn_objects *o, csn_scope *sc, csn_str key, csn_str bytes, bool is_new, csn_err *err)
{
  struct gcs *g = gcs_of(o);
  csn_auto(csn_buf_finip) csn_buf url = CSN_BUF(URL_MAX);
  struct request q = {
      .method = "POST", .url = upload_url(g, key, "media", is_new, &url), .body = bytes, .n = -1};
  return csn_objects_do(o, send_request, sc, &q, err);
}

static int
gcs_remove(csn_objects *o, csn_scope *sc, csn_str key, csn_err *err)
{
  struct gcs *g = gcs_of(o);
  csn_auto(csn_buf_finip) csn_buf url = CSN_BUF(URL_MAX);
  struct request q = {.method = "DELETE", .url = object_url(g, key, "", &url), .n = -1};
  int rc = csn_objects_do(o, send_request, sc, &q, err);
  return rc == CSN_E_NOT_FOUND ? 0 : rc;
}

/* ---- lists ---- */

static int
read_object(const csn_json *v, csn_object_fn *fn, void *user, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf name = CSN_BUF(4096);
  csn_object object = {0};
  csn_buf_add(&name, csn_json_str(v, "name", CSN_STR("")));
  if (!name.n || name.over ||
      !csn_str_int(csn_json_str(v, "size", CSN_STR("0")), &object.bytes)) /* a number in a text */
    return csn_fail(err, CSN_E_PARSE, "the store's list makes no sense");
  object.name = name.p;
  object.modified_ms = csn_objects_time_ms(csn_json_str(v, "updated", CSN_STR("")));
  return fn(user, &object, err);
}

static int
gcs_list(csn_objects *o, csn_scope *sc, csn_str head, csn_buf *next, csn_object_fn *fn, void *user,
         csn_err *err)
{
  struct gcs *g = gcs_of(o);
  csn_auto(csn_buf_finip) csn_buf url = CSN_BUF(URL_MAX);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new((size_t)8 * CSN_OBJECTS_REPLY_MAX);
  const csn_json *v = NULL;
  (void)object_url(g, CSN_STR(""), "?fields=items(name,size,updated),nextPageToken&prefix=", &url);
  csn_objects_escape(&url, head, false);
  if (next->n) {
    csn_buf_addz(&url, "&pageToken=");
    csn_objects_escape(&url, csn_buf_str(next), false);
  }
  csn_buf_clear(next);
  struct request q = {.method = "GET", .url = csn_buf_str(&url), .n = -1};
  csn_objects_reply reply;
  csn_objects_reply_init(&reply, CSN_OBJECTS_REPLY_MAX);
  int rc = send_request(o, sc, &q, &reply, err);
  if (rc == 0 && csn_json_parse(a, csn_buf_str(&reply.body), &v, NULL) < 0)
    rc = csn_fail(err, CSN_E_PARSE, "the store's list makes no sense");
  if (rc == 0)
    csn_buf_add(next, csn_json_str(v, "nextPageToken", CSN_STR("")));
  csn_json_each (item, rc == 0 ? csn_json_get(v, "items") : NULL)
    if (rc == 0)
      rc = read_object(item, fn, user, err);
  csn_objects_reply_fini(&reply);
  return rc;
}

/* ---- resumable uploads ---- */

static int
gcs_upload_begin(csn_objects *o, csn_scope *sc, csn_str key, csn_buf *id, csn_err *err)
{
  struct gcs *g = gcs_of(o);
  csn_auto(csn_buf_finip) csn_buf url = CSN_BUF(URL_MAX);
  struct request q = {
      .method = "POST", .url = upload_url(g, key, "resumable", false, &url), .n = -1};
  csn_objects_reply reply;
  csn_objects_reply_init(&reply, CSN_OBJECTS_REPLY_MAX);
  int rc = send_request(o, sc, &q, &reply, err);
  csn_str where = csn_objects_header(&reply, "location");
  if (rc == 0 && !where.n)
    rc = csn_fail(err, CSN_E_PARSE, "the store began no upload");
  if (rc == 0)
    csn_buf_add(id, where);
  csn_objects_reply_fini(&reply);
  return rc;
}

/* The token goes to the store and nowhere else. */
static int
check_session(const struct gcs *g, csn_str id, csn_err *err)
{
  return csn_str_eq(csn_url_origin(id), g->origin)
             ? 0
             : csn_fail(err, CSN_E_NOT_FOUND, "the upload leads to another server");
}

static int
gcs_upload_put(csn_objects *o, csn_scope *sc, csn_str key, const csn_upload_part *part,
               csn_buf *tag, csn_err *err)
{
  struct gcs *g = gcs_of(o);
  char range[100], got[64];
  int64_t from = (int64_t)part->number * CSN_OBJECT_PART, end = from + (int64_t)part->bytes.n;
  int n = part->is_last ? snprintf(range, sizeof range, "bytes %lld-%lld/%lld", (long long)from,
                                   (long long)end - 1, (long long)end)
                        : snprintf(range, sizeof range, "bytes %lld-%lld/*", (long long)from,
                                   (long long)end - 1);
  struct request q = {.method = "PUT",
                      .url = part->id,
                      .body = part->bytes,
                      .range = csn_strn(range, (size_t)n),
                      .n = -1};
  csn_objects_reply reply;
  (void)key;
  csn_objects_reply_init(&reply, CSN_OBJECTS_REPLY_MAX);
  int rc = check_session(g, part->id, err);
  if (rc == 0)
    rc = send_request(o, sc, &q, &reply, err);
  snprintf(got, sizeof got, "-%lld", (long long)end - 1);
  if (rc == 0 && reply.http.status == 308 &&
      (part->is_last || !csn_str_ends(csn_objects_header(&reply, "range"), csn_cstr(got))))
    rc = csn_fail(err, CSN_E_UNAVAILABLE, "the store did not take all of a part");
  if (rc == CSN_E_INVALID && reply.http.status == 400) /* of a session that has ended */
    rc = csn_fail(err, CSN_E_NOT_FOUND, "the store does not know the upload any more");
  if (rc == 0)
    csn_buf_addz(tag, "taken");
  csn_objects_reply_fini(&reply);
  return rc;
}

/* The last part has ended it. */
static int
gcs_upload_end(csn_objects *o, csn_scope *sc, csn_str key, csn_str id, const csn_str *tags, int n,
               csn_err *err)
{
  (void)o;
  (void)key;
  (void)id;
  (void)tags;
  (void)n;
  return csn_scope_check(sc, err);
}

static int
gcs_upload_drop(csn_objects *o, csn_scope *sc, csn_str key, csn_str id, csn_err *err)
{
  struct gcs *g = gcs_of(o);
  struct request q = {.method = "DELETE", .url = id, .n = -1};
  (void)key;
  if (check_session(g, id, NULL) < 0)
    return 0;
  int rc = csn_objects_do(o, send_request, sc, &q, err);
  return rc == CSN_E_NOT_FOUND || rc == CSN_E_INVALID ? 0 : rc; /* 499 is its way to say yes */
}

/* ---- opening ---- */

static void
gcs_close(csn_objects *o)
{
  struct gcs *g = gcs_of(o);
  csn_google_token_free(g->token);
  csn_arena_free(o->arena);
  free(g);
}

static const csn_objects_ops gcs_ops = {
    .type = "gcs",
    .close = gcs_close,
    .get = gcs_get,
    .put = gcs_put,
    .remove = gcs_remove,
    .list = gcs_list,
    .upload_begin = gcs_upload_begin,
    .upload_put = gcs_upload_put,
    .upload_end = gcs_upload_end,
    .upload_drop = gcs_upload_drop,
};

int
csn_objects_open_gcs(csn_objects **out, const csn_objects_spec *spec, csn_err *err)
{
  const csn_objects_keys *k = &spec->keys;
  csn_auto(csn_buf_finip) csn_buf bucket = CSN_BUF(URL_MAX);
  if (!k->command && !k->file && !k->token.n)
    return csn_fail(err, CSN_E_INVALID,
                    "there are no keys for the bucket: say `file` (of a service account) or "
                    "`command` (that prints a token) in its credentials, or set "
                    "GOOGLE_APPLICATION_CREDENTIALS");
  struct gcs *g = csn_alloc(sizeof *g);
  g->base = (csn_objects){.ops = &gcs_ops, .arena = csn_arena_new(0)};
  g->token = csn_google_token_new(k);
  csn_objects_escape(&bucket, spec->bucket, false);
  csn_str end = spec->endpoint.n ? spec->endpoint : CSN_STR("https://storage.googleapis.com");
  g->origin = csn_arena_dup(g->base.arena, csn_url_origin(end));
  g->bucket = csn_arena_dup(g->base.arena, csn_buf_str(&bucket));
  *out = &g->base;
  return 0;
}
