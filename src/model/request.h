/* SPDX-License-Identifier: Apache-2.0
 *
 * request.h - writing a request's body: members that depend on settings, and
 * `extra_body`, whose members replace those that the codec would write (null
 * removes one).
 */
#ifndef CSN_MODEL_REQUEST_H
#define CSN_MODEL_REQUEST_H

#include "caisson/model.h"

typedef struct csn_body {
  csn_jw w;
  const csn_model_request *rq;
  const csn_json *extra; /* the object extra_body, or NULL */
} csn_body;

/* Opens the object; done closes it. */
int csn_body_init(csn_body *b, csn_buf *out, const csn_model_request *rq, csn_err *err) CSN_MUST;
/* Writes the name; false when extra_body has it, so that its value is not to
 * be written. */
bool csn_body_key(csn_body *b, const char *key);
/* Copies a setting that is present and not null under the name `key`. */
void csn_body_setting(csn_body *b, const char *setting, const char *key);
int csn_body_done(csn_body *b, csn_err *err) CSN_MUST;

/* Bodies that go on from the one before (csn_kept_body).  The head, which is
 * small, is written behind the old body and compared with the old head: where
 * they are the same the items stay, so that what a provider has cached of the
 * request is sent again byte for byte. */
/* Before csn_body_init(): where the head begins in out. */
size_t csn_kept_begin(const csn_model_request *rq, csn_buf *out);
/* After the head (and the list's bracket): how many items stand before the end
 * of out now; 0 when all are to be written. */
size_t csn_kept_items(const csn_model_request *rq, csn_buf *out, size_t head_at, bool custom_tools);

#endif
