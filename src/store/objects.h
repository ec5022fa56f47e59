/* SPDX-License-Identifier: Apache-2.0
 *
 * objects.h - a place that keeps objects by name: a bucket of an S3-compatible
 * store, of Google Cloud Storage or of Azure Blob Storage, or a folder.
 *
 * Names are ours ("packs/NAME"): letters, digits, '.', '_', '-' and '/'; what
 * the store's prefix adds may be anything.  Every call may come from several
 * threads, is tried again when the network or the server fails, with growing
 * pauses, and ends with its scope.  An error tells the store's word for it and
 * no more of what the server said, because that may quote keys.
 *
 * Errors: CSN_E_NOT_FOUND, CSN_E_DENIED, CSN_E_EXISTS, CSN_E_UNAVAILABLE after
 * the last try, CSN_E_PARSE for replies that make no sense.
 */
#ifndef CSN_STORE_OBJECTS_H
#define CSN_STORE_OBJECTS_H

#include "base/loop.h"
#include "caisson/mem.h"

typedef struct csn_objects csn_objects;
struct csn_http;

/* How the harness is let in.  What is empty is not given. */
typedef struct csn_objects_keys {
  csn_str id, secret, token;  /* S3; token: GCS too, a bearer's */
  csn_str account_key, sas;   /* Azure */
  const char *file;           /* GCS: the JSON file of a service account, for its owner only */
  const char *const *command; /* prints them: docs/stores.md has the forms */
} csn_objects_keys;

typedef struct csn_objects_spec {
  const char *type;   /* "s3", "gcs", "azure", "folder" */
  csn_str bucket;     /* Azure: the container */
  csn_str prefix;     /* of all names; without '/' at its ends */
  csn_str endpoint;   /* http(s)://HOST[:PORT][/PATH]; empty: the service's own */
  csn_str region;     /* S3 */
  csn_str account;    /* Azure */
  const char *folder; /* of a folder */
  bool is_virtual;    /* S3: the bucket is a part of the host's name */
  csn_objects_keys keys;
} csn_objects_spec;

/* Copies what it needs and asks nobody.  http outlives it; NULL for a folder. */
int csn_objects_open(csn_objects **out, struct csn_http *http, const csn_objects_spec *spec,
                     csn_err *err) CSN_MUST;
void csn_objects_free(csn_objects *o);
CSN_FREER(objects)
/* "s3://BUCKET/PREFIX": for people, and to know it again. */
const char *csn_objects_place(const csn_objects *o);

/* Appends to out n bytes from `from` on, all of them; n < 0: the whole object,
 * up to out->cap. */
int csn_object_get(csn_objects *o, csn_scope *sc, const char *name, int64_t from, int64_t n,
                   csn_buf *out, csn_err *err) CSN_MUST;
/* In one request; `is_new`: CSN_E_EXISTS when it is there already, as far as
 * the store can tell. */
int csn_object_put(csn_objects *o, csn_scope *sc, const char *name, csn_str bytes, bool is_new,
                   csn_err *err) CSN_MUST;
/* One that is not there is fine. */
int csn_object_remove(csn_objects *o, csn_scope *sc, const char *name, csn_err *err) CSN_MUST;

typedef struct csn_object {
  const char *name;
  int64_t bytes, modified_ms; /* Unix time; 0: not known */
} csn_object;
/* Every object whose name begins with `head`, in no order. */
typedef int csn_object_fn(void *user, const csn_object *object, csn_err *err);
int csn_objects_list(csn_objects *o, csn_scope *sc, const char *head, csn_object_fn *fn, void *user,
                     csn_err *err) CSN_MUST;

/* An upload in parts: all of CSN_OBJECT_PART bytes but the last.  It can go on
 * in another process, which has kept `id` and the tags of parts. */
enum { CSN_OBJECT_PART = 8 << 20, CSN_OBJECT_PARTS_MAX = 10000, CSN_OBJECT_TAG_MAX = 200 };
/* Whether parts may be sent at once and in any order. */
bool csn_objects_is_parallel(const csn_objects *o);
int csn_upload_begin(csn_objects *o, csn_scope *sc, const char *name, csn_buf *id,
                     csn_err *err) CSN_MUST;

typedef struct csn_upload_part {
  csn_str id;
  int number; /* from 0 */
  bool is_last;
  csn_str bytes;
} csn_upload_part;
/* CSN_E_NOT_FOUND: the store does not know the upload any more. */
int csn_upload_put(csn_objects *o, csn_scope *sc, const char *name, const csn_upload_part *part,
                   csn_buf *tag, csn_err *err) CSN_MUST;
/* The object is there.  CSN_E_CONFLICT: the store's parts are not those; begin
 * again. */
int csn_upload_end(csn_objects *o, csn_scope *sc, const char *name, csn_str id, const csn_str *tags,
                   int n, csn_err *err) CSN_MUST;
int csn_upload_drop(csn_objects *o, csn_scope *sc, const char *name, csn_str id,
                    csn_err *err) CSN_MUST;

#endif
