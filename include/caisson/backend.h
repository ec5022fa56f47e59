/* SPDX-License-Identifier: Apache-2.0
 *
 * backend.h - sandboxes that a program brings itself.
 *
 * A back-end is a table of functions (csn_sandbox_ops).  A runtime that is given
 * some (csn_rt_options.backends) knows them by their names, in agents and in runs
 * that are resumed, like those it has already.  Back-ends that are programs of
 * their own need none of this: docs/exec-backend.md.
 */
#ifndef CAISSON_BACKEND_H
#define CAISSON_BACKEND_H

#include "run.h"
#include "sandbox.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A member of csn_sandbox_spec.options, and a key of the section `sandbox` of
 * agent files: there it is refused unless it is of that kind. */
typedef struct csn_sandbox_option {
  const char *name; /* NULL ends the list */
  enum csn_json_kind kind;
} csn_sandbox_option;

/* csn_agent_load() for an agent whose sandbox is of a back-end of the runtime. */
CSN_API int csn_rt_load_agent(csn_rt *rt, csn_agent **out, const char *path, csn_err *err) CSN_MUST;

#ifdef __cplusplus
}
#endif
#endif
