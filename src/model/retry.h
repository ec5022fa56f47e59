/* SPDX-License-Identifier: Apache-2.0
 *
 * retry.h - whether a failed model call is made again, and when.  Pure: no
 * clock, no randomness of its own, no waiting; the driver sleeps.
 */
#ifndef CSN_MODEL_RETRY_H
#define CSN_MODEL_RETRY_H

#include "caisson/model.h"

typedef struct csn_retry_policy {
  int max_retries;          /* after the first call */
  int64_t first_ms, max_ms; /* wait before the first retry, and the longest */
  double factor;            /* from one wait to the next */
  bool jitter;              /* each wait times 0.875 to 1.125 */
  int64_t max_hint_ms;      /* a provider that asks for a longer wait ends the retries */
} csn_retry_policy;

/* 3 retries (4 calls) after 0.5, 1 and 2 s, never more than 8 s; hints up to 60 s. */
extern const csn_retry_policy csn_retry_default;

/* The member `retry` of an agent's model settings, over the default:
 * {"max_retries": N, "backoff": {"initial_delay", "max_delay" (seconds),
 * "multiplier", "jitter"}}.  v may be NULL. */
int csn_retry_from_json(csn_retry_policy *p, const csn_json *v, csn_err *err) CSN_MUST;

typedef struct csn_retry {
  bool again;
  int64_t delay_ms;
} csn_retry;

/* attempt: calls made so far, from 1.  acted: an output item of the failed
 * call was acted on already (deltas that were only shown do not count).
 * random01: [0, 1).  Retried are CSN_E_UNAVAILABLE and CSN_E_TIMEOUT; that
 * the run's own scope has ended is for the driver to check first. */
csn_retry csn_retry_decide(const csn_retry_policy *p, int attempt, const csn_err *err, bool acted,
                           double random01);

/* How long the provider asks to wait, or -1.  A date counts from the reply's
 * own Date header, so no clock is needed. */
int64_t csn_retry_after_ms(const csn_reply_head *head);

#endif
