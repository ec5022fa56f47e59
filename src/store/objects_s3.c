/* SPDX-License-Identifier: Apache-2.0
 *
 * objects_s3.c - objects in a bucket of S3, and of what speaks like it: R2,
 * MinIO, Google Cloud Storage by its interoperability keys.
 *
 * Every request is signed with its content's SHA-256 (Signature Version 4), so
 * that a server refuses what was changed on the way.  Keys of a command are
 * asked for again when they are about to end, or when the server says they have.
 */
#include <pthread.h>
#include <stdio.h>

#include "caisson/json.h"
#include "core/hash.h"
#include "store/objects_backend.h"
#include "store/secret.h"
#include "wire/sigv4.h"
#include "wire/xml_text.h"

enum { URL_MAX = 8192, SOON_MS = 300000 };

struct s3 {
  csn_objects base;
  csn_str origin; /* "https://HOST[:PORT]" */
  csn_str host;   /* as it is sent */
  csn_str top;    /* "/BUCKET/" or "/", escaped */
  csn_str region;
  const char *const *command;
  pthread_mutex_t lock; /* guards the keys */
  csn_buf id, secret, token;
  bool has_keys;
  int64_t end_ms; /* Unix time; INT64_MAX: never */
};

static struct s3 *
s3_of(csn_objects *o)
{
  return (struct s3 *)o; /* base is the first member */
}

/* ---- keys ---- */

/* As AWS's credential_process prints them. */
static int
ask_keys(struct s3 *s, csn_scope *sc, csn_err *err)
{
  csn_auto(csn_secret_wipe) csn_buf text = CSN_BUF(CSN_SECRET_MAX);
  csn_auto(csn_arena_freep) csn_arena *a = csn_arena_new(1 << 20);
  const csn_json *v = NULL;
  int rc = csn_secret_ask(s->command, sc, "keys of the store", &text, err);
  if (rc < 0)
    return rc;
  if (csn_json_parse(a, csn_buf_str(&text), &v, NULL) < 0 ||
      !csn_json_str(v, "AccessKeyId", CSN_STR("")).n ||
      !csn_json_str(v, "SecretAccessKey", CSN_STR("")).n)
    return csn_fail(err, CSN_E_DENIED,
                    "keys of the store: expected %s to print JSON with AccessKeyId and "
                    "SecretAccessKey",
                    s->command[0]);
  csn_secret_set(&s->id, csn_json_str(v, "AccessKeyId", CSN_STR("")));
  csn_secret_set(&s->secret, csn_json_str(v, "SecretAccessKey", CSN_STR("")));
  csn_secret_set(&s->token, csn_json_str(v, "SessionToken", CSN_STR("")));
  int64_t end = csn_objects_time_ms(csn_json_str(v, "Expiration", CSN_STR("")));
  s->end_ms = end ? end : INT64_MAX;
  s->has_keys = true;
  return 0;
}

/* ---- requests ---- */

struct request {
  const char *method;
  csn_str key;
  const char *query; /* escaped, without '?'; may be NULL */
  csn_str body;
  int64_t from, n; /* of a GET; n < 0: all */
  bool is_new;
};

static csn_str
url_of(const struct s3 *s, const struct request *q, csn_buf *path, csn_buf *url)
{
  csn_buf_add(path, s->top);
  csn_objects_escape(path, q->key, true);
  csn_buf_add(url, s->origin);
  csn_buf_add(url, csn_buf_str(path));
  if (q->query)
    csn_buf_addf(url, "?%s", q->query);
  return csn_buf_str(url);
}

/* Signs what is in req, whose headers are signed with the rest. */
static int
sign(struct s3 *s, csn_scope *sc, csn_http_req *req, csn_sigv4 *rq, csn_buf *out, csn_buf *token,
     csn_err *err)
{
  pthread_mutex_lock(&s->lock);
  int rc = s->command && (!s->has_keys || s->end_ms < csn_objects_now_ms() + SOON_MS)
               ? ask_keys(s, sc, err)
               : 0;
  csn_buf_add(token, csn_buf_str(&s->token));
  csn_header all[8];
  size_t n = 0;
  all[n++] = (csn_header){CSN_STR("Host"), s->host};
  for (size_t i = 0; i < req->n_headers && n < CSN_COUNT(all) - 1; i++)
    all[n++] = req->headers[i];
  if (token->n) {
    all[n++] = (csn_header){CSN_STR("x-amz-security-token"), csn_buf_str(token)};
    req->headers[req->n_headers++] = all[n - 1];
  }
  rq->headers = all;
  rq->n_headers = n;
  csn_aws_keys keys = {csn_buf_str(&s->id), csn_buf_str(&s->secret), csn_buf_str(token)};
  if (rc == 0)
    rc = csn_sigv4_sign(rq, &keys, out, err);
  rq->headers = NULL; /* they end with this function */
  pthread_mutex_unlock(&s->lock);
  req->headers[req->n_headers++] = (csn_header){CSN_STR("Authorization"), csn_buf_str(out)};
  return rc;
}

static int
send_request(csn_objects *o, csn_scope *sc, const void *request, csn_objects_reply *reply,
             csn_err *err)
{
  struct s3 *s = s3_of(o);
  const struct request *q = request;
  csn_auto(csn_buf_finip) csn_buf path = CSN_BUF(URL_MAX), url = CSN_BUF(URL_MAX),
                                  auth = CSN_BUF(16 << 10);
  csn_auto(csn_secret_wipe) csn_buf token = CSN_BUF(16 << 10);
  char date[CSN_AWS_DATE], hex[65], range[64];
  csn_digest sum = csn_sha256_of(q->body);
  csn_aws_date(csn_objects_now_ms() / 1000, date);
  csn_digest_hex(&sum, hex);
  csn_http_req req = {.method = q->method, .url = url_of(s, q, &path, &url), .body = q->body};
  req.headers[req.n_headers++] = (csn_header){CSN_STR("x-amz-content-sha256"), csn_cstr(hex)};
  req.headers[req.n_headers++] = (csn_header){CSN_STR("x-amz-date"), csn_cstr(date)};
  csn_objects_range(&req, range, q->from, q->n);
  if (q->is_new)
    req.headers[req.n_headers++] = (csn_header){CSN_STR("If-None-Match"), CSN_STR("*")};
  csn_sigv4 rq = {.method = csn_cstr(q->method),
                  .path = csn_buf_str(&path),
                  .query = csn_cstr(q->query),
                  .region = s->region,
                  .service = CSN_STR("s3"),
                  .payload = sum,
                  .date = csn_cstr(date)};
  int rc = csn_buf_done(&url, "an address", err);
  if (rc == 0)
    rc = sign(s, sc, &req, &rq, &auth, &token, err);
  if (rc == 0 && req.body.n)
    req.headers[req.n_headers++] =
        (csn_header){CSN_STR("Content-Type"), CSN_STR("application/octet-stream")};
  if (rc == 0)
    rc = csn_objects_send(&s->base, sc, &req, reply, err);
  if (rc == CSN_E_DENIED && s->command) { /* they may have ended early */
    pthread_mutex_lock(&s->lock);
    s->has_keys = false;
    pthread_mutex_unlock(&s->lock);
  }
  return rc;
}

static int
s3_get(csn_objects *o, csn_scope *sc, csn_str key, int64_t from, int64_t n, csn_buf *out,
       csn_err *err)
{
  struct request q = {.method = "GET", .key = key, .from = from, .n = n};
  return csn_objects_get(o, send_request, sc, &q, n, out, err);
}

static int
s3_put(csn_objects *o, csn_scope *sc, csn_str key, csn_str bytes, bool is_new, csn_err *err)
{
  struct request q = {.method = "PUT", .key = key, .body = bytes, .n = -1, .is_new = is_new};
  int rc = csn_objects_do(o, send_request, sc, &q, err);
  if (rc == CSN_E_UNSUPPORTED && is_new) { /* it knows no conditions */
    q.is_new = false;
    rc = csn_objects_do(o, send_request, sc, &q, err);
  }
  return rc;
}

static int
s3_remove(csn_objects *o, csn_scope *sc, csn_str key, csn_err *err)
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
  (void)csn_xml_text(xml, "LastModified", &time);
  if (!csn_xml_text(xml, "Key", &name) || !name.n || !csn_xml_text(xml, "Size", &size) ||
      !csn_str_int(csn_buf_str(&size), &object.bytes))
    return csn_fail(err, CSN_E_PARSE, "the store's list makes no sense");
  object.name = name.p;
  object.modified_ms = csn_objects_time_ms(csn_buf_str(&time));
  return fn(user, &object, err);
}

static int
s3_list(csn_objects *o, csn_scope *sc, csn_str head, csn_buf *next, csn_object_fn *fn, void *user,
        csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf query = CSN_BUF(URL_MAX);
  if (next->n) {
    csn_buf_addz(&query, "continuation-token=");
    csn_objects_escape(&query, csn_buf_str(next), false);
    csn_buf_addc(&query, '&');
  }
  csn_buf_addz(&query, "list-type=2&prefix=");
  csn_objects_escape(&query, head, false);
  csn_buf_clear(next);
  struct request q = {.method = "GET", .query = query.p, .n = -1};
  csn_objects_reply reply;
  csn_objects_reply_init(&reply, CSN_OBJECTS_REPLY_MAX);
  int rc = send_request(o, sc, &q, &reply, err);
  csn_str rest = csn_buf_str(&reply.body), inside;
  if (rc == 0 && csn_str_find(rest, CSN_STR("<ListBucketResult"), 0) == SIZE_MAX)
    rc = csn_fail(err, CSN_E_PARSE, "the store's list makes no sense");
  if (rc == 0)
    (void)csn_xml_text(rest, "NextContinuationToken", next);
  while (rc == 0 && csn_xml_next(&rest, "Contents", &inside))
    rc = read_object(inside, fn, user, err);
  csn_objects_reply_fini(&reply);
  return rc;
}

/* ---- uploads in parts ---- */

static int
s3_upload_begin(csn_objects *o, csn_scope *sc, csn_str key, csn_buf *id, csn_err *err)
{
  struct request q = {.method = "POST", .key = key, .query = "uploads=", .n = -1};
  csn_objects_reply reply;
  csn_objects_reply_init(&reply, CSN_OBJECTS_REPLY_MAX);
  int rc = send_request(o, sc, &q, &reply, err);
  if (rc == 0 && (!csn_xml_text(csn_buf_str(&reply.body), "UploadId", id) || !id->n))
    rc = csn_fail(err, CSN_E_PARSE, "the store began no upload");
  csn_objects_reply_fini(&reply);
  return rc;
}

static int
s3_upload_put(csn_objects *o, csn_scope *sc, csn_str key, const csn_upload_part *part, csn_buf *tag,
              csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf query = CSN_BUF(URL_MAX);
  csn_buf_addf(&query, "partNumber=%d&uploadId=", part->number + 1);
  csn_objects_escape(&query, part->id, false);
  struct request q = {.method = "PUT", .key = key, .query = query.p, .body = part->bytes, .n = -1};
  csn_objects_reply reply;
  csn_objects_reply_init(&reply, CSN_OBJECTS_REPLY_MAX);
  int rc = send_request(o, sc, &q, &reply, err);
  csn_str etag = csn_objects_header(&reply, "etag");
  if (rc == 0 && (!etag.n || etag.n > CSN_OBJECT_TAG_MAX))
    rc = csn_fail(err, CSN_E_PARSE, "the store has no ETag for a part");
  if (rc == 0)
    csn_buf_add(tag, etag);
  csn_objects_reply_fini(&reply);
  return rc;
}

/* The reply may be a failure with the status of a success. */
static int
s3_upload_end(csn_objects *o, csn_scope *sc, csn_str key, csn_str id, const csn_str *tags, int n,
              csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf query = CSN_BUF(URL_MAX), body = CSN_BUF(4 << 20),
                                  code = CSN_BUF(64);
  csn_buf_addz(&query, "uploadId=");
  csn_objects_escape(&query, id, false);
  csn_buf_addz(&body, "<CompleteMultipartUpload>");
  for (int i = 0; i < n; i++) {
    csn_buf_addf(&body, "<Part><PartNumber>%d</PartNumber><ETag>", i + 1);
    csn_xml_add(&body, tags[i]);
    csn_buf_addz(&body, "</ETag></Part>");
  }
  csn_buf_addz(&body, "</CompleteMultipartUpload>");
  struct request q = {
      .method = "POST", .key = key, .query = query.p, .body = csn_buf_str(&body), .n = -1};
  csn_objects_reply reply;
  csn_objects_reply_init(&reply, CSN_OBJECTS_REPLY_MAX);
  int rc = csn_buf_done(&body, "the list of parts", err);
  if (rc == 0)
    rc = send_request(o, sc, &q, &reply, err);
  csn_str said = csn_buf_str(&reply.body);
  if (rc == 0 && csn_str_find(said, CSN_STR("CompleteMultipartUploadResult"), 0) == SIZE_MAX)
    rc = csn_fail(err, CSN_E_UNAVAILABLE, "the store did not put the parts together");
  if (rc == CSN_E_INVALID && csn_xml_text(said, "Code", &code) &&
      csn_str_starts(csn_buf_str(&code), CSN_STR("InvalidPart")))
    rc = csn_fail(err, CSN_E_CONFLICT, "the store's parts are not those that were sent");
  csn_objects_reply_fini(&reply);
  return rc;
}

static int
s3_upload_drop(csn_objects *o, csn_scope *sc, csn_str key, csn_str id, csn_err *err)
{
  csn_auto(csn_buf_finip) csn_buf query = CSN_BUF(URL_MAX);
  csn_buf_addz(&query, "uploadId=");
  csn_objects_escape(&query, id, false);
  struct request q = {.method = "DELETE", .key = key, .query = query.p, .n = -1};
  int rc = csn_objects_do(o, send_request, sc, &q, err);
  return rc == CSN_E_NOT_FOUND ? 0 : rc;
}

/* ---- opening ---- */

static void
s3_close(csn_objects *o)
{
  struct s3 *s = s3_of(o);
  csn_secret_wipe(&s->id);
  csn_secret_wipe(&s->secret);
  csn_secret_wipe(&s->token);
  pthread_mutex_destroy(&s->lock);
  csn_arena_free(o->arena);
  free(s);
}

static const csn_objects_ops s3_ops = {
    .type = "s3",
    .is_parallel = true,
    .close = s3_close,
    .get = s3_get,
    .put = s3_put,
    .remove = s3_remove,
    .list = s3_list,
    .upload_begin = s3_upload_begin,
    .upload_put = s3_upload_put,
    .upload_end = s3_upload_end,
    .upload_drop = s3_upload_drop,
};

/* Without the port that the scheme implies, as libcurl sends it. */
static csn_str
sent_host(csn_str origin)
{
  size_t at = csn_str_find(origin, CSN_STR("://"), 0) + 3;
  csn_str host = csn_strn(origin.p + at, origin.n - at);
  csn_str port = at == 8 ? CSN_STR(":443") : CSN_STR(":80");
  return csn_str_ends(host, port) ? csn_strn(host.p, host.n - port.n) : host;
}

/* Origin, host and path: of the service, or of the endpoint. */
static void
set_place(struct s3 *s, const csn_objects_spec *spec)
{
  csn_arena *a = s->base.arena;
  csn_str end = spec->endpoint;
  csn_auto(csn_buf_finip) csn_buf top = CSN_BUF(URL_MAX);
  if (!end.n)
    end = csn_arena_printf(a, "https://s3.%.*s.amazonaws.com", (int)s->region.n, s->region.p);
  size_t at = csn_str_find(end, CSN_STR("://"), 0) + 3;
  size_t slash = csn_str_find(end, CSN_STR("/"), at);
  csn_str origin = csn_strn(end.p, slash == SIZE_MAX ? end.n : slash);
  if (slash != SIZE_MAX)
    csn_buf_add(&top, csn_strn(end.p + slash, end.n - slash));
  if (top.n == 0 || top.p[top.n - 1] != '/')
    csn_buf_addc(&top, '/');
  if (spec->is_virtual) {
    origin = csn_arena_printf(a, "%.*s%.*s.%.*s", (int)at, end.p, (int)spec->bucket.n,
                              spec->bucket.p, (int)(origin.n - at), origin.p + at);
  } else {
    csn_objects_escape(&top, spec->bucket, false);
    csn_buf_addc(&top, '/');
  }
  s->origin = csn_arena_dup(a, origin);
  s->top = csn_arena_dup(a, csn_buf_str(&top));
  s->host = sent_host(s->origin);
}

int
csn_objects_open_s3(csn_objects **out, const csn_objects_spec *spec, csn_err *err)
{
  const csn_objects_keys *k = &spec->keys;
  if (!k->command && (!k->id.n || !k->secret.n))
    return csn_fail(err, CSN_E_INVALID,
                    "there are no keys for the bucket: set AWS_ACCESS_KEY_ID and "
                    "AWS_SECRET_ACCESS_KEY, or say `command` in its credentials");
  struct s3 *s = csn_alloc(sizeof *s);
  s->base = (csn_objects){.ops = &s3_ops, .arena = csn_arena_new(0)};
  pthread_mutex_init(&s->lock, NULL);
  s->id = s->secret = s->token = CSN_BUF(16 << 10);
  s->region = csn_arena_dup(s->base.arena, spec->region.n ? spec->region : CSN_STR("us-east-1"));
  s->end_ms = INT64_MAX;
  s->command = csn_objects_words(s->base.arena, k->command);
  csn_buf_add(&s->id, k->id);
  csn_buf_add(&s->secret, k->secret);
  csn_buf_add(&s->token, k->token);
  set_place(s, spec);
  *out = &s->base;
  return 0;
}
