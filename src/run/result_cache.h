/* SPDX-License-Identifier: Apache-2.0
 *
 * result_cache.h - results of a run's calls that stand for later, same calls of
 * tools with `cache: true`.
 *
 * Nothing is kept twice: a record tool_returned names the call that it answers
 * by a hash, and its item, which the run holds anyway, is the result.  So a run
 * that is resumed finds what it found before.
 */
#ifndef CSN_RUN_RESULT_CACHE_H
#define CSN_RUN_RESULT_CACHE_H

#include "caisson/json.h"
#include "core/hash.h"

enum { CSN_RESULTS_KEPT = 256 }; /* the oldest goes */

struct csn_kept_result {
  csn_digest call;
  csn_str item; /* lives as long as the run */
  int64_t seq;  /* of its record */
};

typedef struct csn_results {
  struct csn_kept_result *v;
  size_t n; /* that ever were */
} csn_results;

/* args: as they were parsed, so that spaces do not count. */
csn_digest csn_result_call(csn_str agent, csn_str tool, const csn_json *args);
/* Takes what a tool_returned says, if it may stand for later ones. */
void csn_results_keep(csn_results *r, int64_t seq, const csn_json *data);
/* The newest, or NULL. */
const struct csn_kept_result *csn_results_find(const csn_results *r, const csn_digest *call);
void csn_results_fini(csn_results *r);

#endif
