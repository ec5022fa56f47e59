/* SPDX-License-Identifier: Apache-2.0
 * objects_backend.h - what a place of objects must know how to do; see objects.h.
 * Each function tries once. */
#ifndef CSN_STORE_OBJECTS_BACKEND_H
#define CSN_STORE_OBJECTS_BACKEND_H

#include "store/objects.h"
#include "wire/http_wait.h"

typedef struct csn_objects_ops {
  const char *type;
  bool is_parallel;
  void (*close)(csn_objects *o);
  int (*get)(csn_objects *o, csn_scope *sc, csn_str key, int64_t from, int64_t n, csn_buf *out,
             csn_err *err);
  int (*put)(csn_objects *o, csn_scope *sc, csn_str key, csn_str bytes, bool is_new, csn_err *err);
  int (*remove)(csn_objects *o, csn_scope *sc, csn_str key, csn_err *err);
  /* A page; `next` is where it begins, and the next one (empty: there is none). */
  int (*list)(csn_objects *o, csn_scope *sc, csn_str head, csn_buf *next, csn_object_fn *fn,
              void *user, csn_err *err);
  int (*upload_begin)(csn_objects *o, csn_scope *sc, csn_str key, csn_buf *id, csn_err *err);
  int (*upload_put)(csn_objects *o, csn_scope *sc, csn_str key, const csn_upload_part *part,
                    csn_buf *tag, csn_err *err);
  int (*upload_end)(csn_objects *o, csn_scope *sc, csn_str key, csn_str id, const csn_str *tags,
                    int n, csn_err *err);
  int (*upload_drop)(csn_objects *o, csn_scope *sc, csn_str key, csn_str id, csn_err *err);
} csn_objects_ops;

/* The beginning of every back-end's struct. */
struct csn_objects {
  const csn_objects_ops *ops;
  csn_http *http;
  csn_arena *arena; /* of the texts; one thread: only while it is opened */
  csn_str prefix;   /* with '/' at its end, or empty */
  const char *place;
};

/* One for each back-end: *out has ops, http, arena, prefix and place to be set. */
int csn_objects_open_s3(csn_objects **out, const csn_objects_spec *spec, csn_err *err) CSN_MUST;
int csn_objects_open_gcs(csn_objects **out, const csn_objects_spec *spec, csn_err *err) CSN_MUST;
int csn_objects_open_azure(csn_objects **out, const csn_objects_spec *spec, csn_err *err) CSN_MUST;
int csn_objects_open_folder(csn_objects **out, const csn_objects_spec *spec, csn_err *err) CSN_MUST;

/* A copy of a list of words that ends with NULL; NULL of NULL. */
const char *const *csn_objects_words(csn_arena *a, const char *const *words);

/* ---- for those that speak HTTP ---- */

typedef struct csn_objects_reply {
  csn_http_reply http;
  csn_buf body;
} csn_objects_reply;
void csn_objects_reply_init(csn_objects_reply *r, size_t body_max);
void csn_objects_reply_fini(csn_objects_reply *r);
csn_str csn_objects_header(const csn_objects_reply *r, const char *name);

enum { CSN_OBJECTS_REPLY_MAX = 16 << 20 }; /* of a list, or of what went wrong */

/* Bytes but letters, digits and "-_.~" become %XX; '/' stays when `slashes`. */
void csn_objects_escape(csn_buf *out, csn_str text, bool slashes);
/* Sends it; idle_ms is set by the size of its body.  A status of 300 and more
 * but 308 is an error: `code` is the store's word for it, or empty. */
int csn_objects_send(csn_objects *o, csn_scope *sc, csn_http_req *req, csn_objects_reply *reply,
                     csn_err *err) CSN_MUST;
/* Sends the part of a GET that asks for bytes: adds the header Range when n >= 0,
 * and checks what came. */
void csn_objects_range(csn_http_req *req, char text[64], int64_t from, int64_t n);
/* Makes a request of a back-end's own kind and sends it. */
typedef int csn_objects_sender(csn_objects *o, csn_scope *sc, const void *request,
                               csn_objects_reply *reply, csn_err *err);
/* Where nothing of the reply is needed. */
int csn_objects_do(csn_objects *o, csn_objects_sender *send, csn_scope *sc, const void *request,
                   csn_err *err) CSN_MUST;
/* A GET of n bytes (< 0: all) into `out`. */
int csn_objects_get(csn_objects *o, csn_objects_sender *send, csn_scope *sc, const void *request,
                    int64_t n, csn_buf *out, csn_err *err) CSN_MUST;
/* Unix time. */
int64_t csn_objects_now_ms(void);
/* "2026-11-21T10:00:00.000Z" or "Sat, 21 Nov 2026 10:00:00 GMT" in Unix milliseconds; 0. */
int64_t csn_objects_time_ms(csn_str text);

#endif
