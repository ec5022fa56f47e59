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

#endif
