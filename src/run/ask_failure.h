/* SPDX-License-Identifier: Apache-2.0
 * ask_failure.h - a model call that failed, as the event and the note that say so. */
#ifndef CSN_RUN_ASK_FAILURE_H
#define CSN_RUN_ASK_FAILURE_H

#include "caisson/model.h"

typedef struct csn_ask_failure {
  int64_t effect; /* seq of the call */
  const csn_err *err;
  const csn_usage *usage; /* that the provider told; NULL: none */
  int again;              /* the attempt after which another is made; 0: none is */
} csn_ask_failure;

/* What an attempt that failed used, read back from its note. */
struct csn_billed {
  int64_t of; /* seq of the call */
  csn_usage usage;
};

/* Data of `model_failed`. */
void csn_ask_write_failure(csn_buf *out, const csn_ask_failure *f);
/* Of the note about an attempt. */
void csn_ask_write_note(csn_buf *out, const csn_ask_failure *f, int64_t delay_ms);

#endif
