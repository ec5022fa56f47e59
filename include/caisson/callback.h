/* SPDX-License-Identifier: Apache-2.0
 *
 * callback.h - functions of a program that can change a run: guardrails,
 * instructions, predicates.  A run names them; they are bound by name when it
 * starts and again when it is resumed.  What they answer stands in the
 * journal, so replaying a run calls none of them.
 *
 * A function that only wants to see what happens is a csn_listener (run.h).
 */
#ifndef CAISSON_CALLBACK_H
#define CAISSON_CALLBACK_H

#include "json.h"
#include "scope.h"

#ifdef __cplusplus
extern "C" {
#endif

/* in: what is asked, an object whose `for` says what about; docs/callbacks.md
 * lists the members of `in` and of the object that is written to `out`
 * (nothing written means {}).  Runs in a thread of ours; several may run at once,
 * and one may be called again after a crash.  A negative return fails the run:
 * a guardrail that cannot look lets nothing pass. */
typedef int csn_callback_fn(void *user, csn_scope *sc, const csn_json *in, csn_buf *out,
                            csn_err *err);

typedef struct csn_callback {
  size_t size; /* sizeof(csn_callback) */
  const char *name;
  csn_callback_fn *fn;
  void *user;
} csn_callback;

#ifdef __cplusplus
}
#endif
#endif
