/* SPDX-License-Identifier: Apache-2.0
 *
 * decision.h - what a human decided about a call, as it stands in a journal.
 *
 * A decision is a note {"note":"decision","effect","decision","mac"}.  The mac
 * is HMAC-SHA256 over the run's id, the hash of the record before and the
 * decision, with the key of the state folder: it vouches for all that the
 * approver could see, from record 0 on.  The event `decided` is built from
 * that note and from nothing else, so it needs no mac of its own.
 */
#ifndef CSN_RUN_DECISION_H
#define CSN_RUN_DECISION_H

#include "caisson/run.h"
#include "core/hash.h"
#include "run/step.h"

enum { CSN_KEY_BYTES = 32 };

/* The key of a state folder: the file `key`, 0600, made at first use. */
int csn_key_need(int state_fd, unsigned char key[CSN_KEY_BYTES], csn_err *err) CSN_MUST;

/* The decision d about the pending question p, as a JSON object. */
int csn_decision_write(const csn_decision *d, const csn_state *st, const csn_pending *p,
                       csn_buf *out, csn_err *err) CSN_MUST;
/* The note of it; prev: hash of the record before the note. */
int csn_decision_sign(const unsigned char key[CSN_KEY_BYTES], csn_str run, const csn_digest *prev,
                      int64_t effect, csn_str decision, csn_buf *note, csn_err *err) CSN_MUST;
/* Whether the note v was signed so; false for a note that was altered. */
bool csn_decision_verify(const unsigned char key[CSN_KEY_BYTES], csn_str run,
                         const csn_digest *prev, const csn_json *v);
/* The data of `decided` out of the note of record `note`. */
int csn_decision_event(const csn_json *v, int64_t note, csn_buf *out, csn_err *err) CSN_MUST;

#endif
